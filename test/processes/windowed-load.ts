import { setTimeout as sleep } from 'node:timers/promises';
import { LatencyHistogram } from '../../bench/histogram.ts';
import type { LatencySummary } from '../../bench/histogram.ts';
import { LoadLoop } from '../../bench/load-loop.ts';
import type { LoadWindow } from '../../bench/load-window.ts';
import { Random } from '../../bench/random.ts';
import { RecordKeys, RecordValues } from '../../bench/record.ts';
import { ScrambledZipfian } from '../../bench/zipfian.ts';
import { openEngine } from '../../src/client/engine.ts';
import type { Engine, Outcome } from '../../src/client/operations.ts';

/** The bench's closed loop in this process, looked at in short windows: what a fault does shows when it happens. */
export interface LoadOptions {
  readonly clusterDirectory: string;
  readonly records: number;
  readonly outstanding: number;
  readonly valueBytes?: number;
  readonly deadlineMs?: number;
}

export const WINDOW_MS = 250;

const VALUE_BYTES_DEFAULT = 256;
/** As the bench's: far above any latency of a cluster that works. */
const DEADLINE_MS_DEFAULT = 10_000;
const SEED = 1;

export class WindowedLoad {
  readonly engine: Engine;
  readonly #options: LoadOptions;
  readonly #loop: LoadLoop;
  readonly #gate: { isOpen: boolean };

  private constructor(options: LoadOptions, loop: LoadLoop, engine: Engine, gate: { isOpen: boolean }) {
    this.#options = options;
    this.#loop = loop;
    this.#gate = gate;
    this.engine = engine;
  }

  static async open(options: LoadOptions): Promise<WindowedLoad> {
    const loop = new LoadLoop({
      keys: new RecordKeys(options.records),
      values: new RecordValues(options.valueBytes ?? VALUE_BYTES_DEFAULT, 0),
      outstanding: options.outstanding,
      nowMs: () => performance.now(),
      deadlineMs: options.deadlineMs ?? DEADLINE_MS_DEFAULT,
    });
    const gate = { isOpen: true };
    const engine = await openEngine({
      clusterDirectory: options.clusterDirectory,
      sink: {
        onOperationEnded: (token, outcome, value, valueBytes) => {
          if (gate.isOpen) loop.onOperationEnded(token, outcome, value, valueBytes);
        },
      },
      // One that misses its deadline while its value is at the sealing keeps its place a little longer.
      capacity: options.outstanding * 2,
    });
    loop.attach(engine.operations);
    return new WindowedLoad(options, loop, engine, gate);
  }

  /** Puts each record once. */
  async fill(): Promise<void> {
    const failure = await new Promise<Outcome | undefined>((resolve) =>
      this.#loop.load(0, this.#options.records, resolve),
    );
    if (failure !== undefined) throw new Error(`the load phase ended with ${failure}`);
  }

  /** Runs until drain(). */
  start(readProportion: number): void {
    const random = new Random(SEED);
    const records = new ScrambledZipfian(random, this.#options.records);
    this.#loop.run({ readProportion, random, records });
  }

  async windows(forMs: number): Promise<LoadWindow[]> {
    const windows: LoadWindow[] = [];
    while (windows.length < Math.ceil(forMs / WINDOW_MS)) {
      this.#loop.beginWindow();
      await sleep(WINDOW_MS);
      windows.push(this.#loop.endWindow());
    }
    return windows;
  }

  /** Operations that failed since start(), by what happened. Values that were not their key's are among them. */
  get errors(): Record<string, number> {
    return Object.fromEntries(this.#loop.errors);
  }

  /** Succeeded since start(). */
  get completed(): number {
    return this.#loop.completed;
  }

  drain(): Promise<void> {
    return new Promise((resolve) => this.#loop.drain(resolve));
  }

  /** Also in the middle of a run: what ends by it starts nothing more. */
  async close(): Promise<void> {
    this.#gate.isOpen = false;
    await this.engine.close();
  }
}

/** Reads and updates of these windows together; undefined when nothing ended in them. */
export function latenciesIn(windows: readonly LoadWindow[]): LatencySummary | undefined {
  const all = new LatencyHistogram();
  for (const window of windows) {
    all.add(window.read);
    all.add(window.update);
  }
  return all.summary();
}

export function operationsIn(windows: readonly LoadWindow[]): number {
  return windows.reduce((sum, window) => sum + window.operations, 0);
}
