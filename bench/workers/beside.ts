import { assert } from '../../net/assert.ts';
import { openEngine } from '../../src/client/engine.ts';
import type { Engine, OperationSink, Outcome } from '../../src/client/operations.ts';
import type { WorkerOptions } from '../../src/server/open-sealing.ts';
import { CommandFailure, EXIT_FAILED } from '../../src/cli/failure.ts';
import { LatencyHistogram } from '../histogram.ts';
import type { LatencySummary } from '../histogram.ts';

/**
 * Small gets beside a stream of large puts, both in this process and its one event loop: what the sealing of large values
 * does to the latency of small ones.
 */
export interface BesideOptions extends WorkerOptions {
  readonly clusterDirectory: string;
  readonly getsOutstanding: number;
  /** 0: gets only. */
  readonly putsOutstanding: number;
  readonly putBytes: number;
  readonly durationMs: number;
  readonly signal: AbortSignal;
}

export interface BesideResult {
  readonly getsUs: LatencySummary;
  readonly getsPerSec: number;
  readonly putsPerSec: number;
}

const GET_BYTES = 256;
const KEY_COUNT = 64;
const DEADLINE_MS = 10_000;
/** One that was answered may still be on its way to the last replica. */
const PLACES_AN_OPERATION = 2;

export async function measureBeside(options: BesideOptions): Promise<BesideResult> {
  const load = await BesideLoad.open(options);
  try {
    return await load.measure();
  } finally {
    await load.close();
  }
}

class BesideLoad implements OperationSink {
  readonly #options: BesideOptions;
  #opened: Engine | undefined;
  readonly #value: Uint8Array;
  readonly #gets = new LatencyHistogram();
  readonly #startMs: Float64Array;
  #putCount = 0;
  #nextKey = 0;
  #isMeasuring = false;
  #isEnding = false;
  #failure: Outcome | undefined;
  #onIdle: () => void = () => {};

  private constructor(options: BesideOptions) {
    this.#options = options;
    this.#value = new Uint8Array(options.putBytes).fill(0x5a);
    this.#startMs = new Float64Array(options.getsOutstanding + options.putsOutstanding);
  }

  static async open(options: BesideOptions): Promise<BesideLoad> {
    const load = new BesideLoad(options);
    const capacity = PLACES_AN_OPERATION * (options.getsOutstanding + options.putsOutstanding);
    load.#opened = await openEngine({ ...options, capacity, sink: load });
    return load;
  }

  get #engine(): Engine {
    assert(this.#opened !== undefined, 'the load is open');
    return this.#opened;
  }

  async measure(): Promise<BesideResult> {
    const { durationMs, getsOutstanding, putsOutstanding, signal } = this.#options;
    await this.#fill();
    for (let token = 0; token < getsOutstanding + putsOutstanding; token++) this.#start(token);
    await this.#sleep(durationMs / 4);
    this.#isMeasuring = true;
    const startMs = performance.now();
    await this.#sleep(durationMs);
    this.#isMeasuring = false;
    const elapsedMs = performance.now() - startMs;
    signal.throwIfAborted();
    if (this.#failure !== undefined) {
      throw new CommandFailure(`error: an operation ended ${this.#failure}: look at avocado status`, EXIT_FAILED);
    }
    const getsUs = this.#gets.summary();
    if (getsUs === undefined)
      throw new CommandFailure('error: no get ended in time: give a longer --duration', EXIT_FAILED);
    const putsPerSec = (this.#putCount * 1_000) / elapsedMs;
    return { getsUs, getsPerSec: (getsUs.count * 1_000) / elapsedMs, putsPerSec };
  }

  async close(): Promise<void> {
    this.#isEnding = true;
    await this.#engine.close();
  }

  onOperationEnded(token: number, outcome: Outcome): void {
    if (outcome !== 'ok' && !this.#isEnding) this.#failure ??= outcome;
    if (this.#isMeasuring) {
      if (token < this.#options.getsOutstanding) this.#gets.recordMs(performance.now() - this.#startMs[token]!);
      else this.#putCount++;
    }
    if (this.#isEnding || this.#failure !== undefined) this.#onIdle();
    else this.#start(token);
  }

  async #fill(): Promise<void> {
    const { operations } = this.#engine;
    const value = new Uint8Array(GET_BYTES).fill(1);
    this.#isEnding = true;
    for (let key = 0; key < KEY_COUNT; key++) {
      const ended = new Promise<void>((resolve) => {
        this.#onIdle = resolve;
      });
      operations.startPut(0, keyOf('small', key), value, DEADLINE_MS);
      await ended;
    }
    this.#isEnding = false;
  }

  #start(token: number): void {
    const { operations } = this.#engine;
    const nowMs = performance.now();
    this.#startMs[token] = nowMs;
    const key = this.#nextKey++ % KEY_COUNT;
    if (token < this.#options.getsOutstanding) operations.startGet(token, keyOf('small', key), DEADLINE_MS);
    else operations.startPut(token, keyOf('large', token), this.#value, DEADLINE_MS);
  }

  async #sleep(forMs: number): Promise<void> {
    await new Promise((resolve) => setTimeout(resolve, forMs));
  }
}

function keyOf(kind: string, index: number): Uint8Array {
  return Buffer.from(`avocado/bench/${kind}/${index}`);
}
