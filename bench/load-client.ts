import type { WorkerFigures } from '../workers/process-sealing.ts';
import { openEngine } from '../src/client/engine.ts';
import type { ClientCounters, Engine, MemberStatus } from '../src/client/operations.ts';
import { HistoryWriter } from './history.ts';
import { Inserts } from './inserts.ts';
import { LoadLoop } from './load-loop.ts';
import type { Mix } from './load-loop.ts';
import type { LoadWindow } from './load-window.ts';
import type { ClientTask, Loaded, OpenTask, Opened, RunTask } from './messages.ts';
import { Random } from './random.ts';
import { RECORD_KEY_BYTES_MAX, RecordValues } from './record.ts';
import type { RecordKeys } from './record.ts';
import { countsSince } from './result.ts';
import { SizeChoice } from './value-sizes.ts';
import { ScrambledZipfian, SkewedLatest, UniformChoice } from './zipfian.ts';

/**
 * One client of the bench: an engine with its own socket, sessions and writer id, and a closed loop that drives it.
 * Several of them share a process (load-child.ts) and its event loop, and nothing else that can be told from outside.
 */

/** Ends an operation whose quorum is gone; far above any latency of a cluster that works. */
const DEADLINE_MS_DEFAULT = 10_000;
/** An operation that misses its deadline while its value is being sealed or opened keeps its place a little longer. */
const PLACES_AN_OPERATION = 2;

/** Sizes are drawn by a source of their own, so that they don't change which records are taken. */
const SIZES_STREAM = 0x1_0000;

/** What one client did in a window. */
export interface ClientWindow {
  readonly window: LoadWindow;
  /** Grown in the window. */
  readonly counters: ClientCounters;
  readonly drops: Readonly<Record<string, number>>;
}

export class LoadClient {
  readonly loop: LoadLoop;
  readonly #task: OpenTask;
  readonly #index: number;
  readonly #keys: RecordKeys;
  readonly #sizes: SizeChoice;
  readonly #engine: Engine;
  readonly #history: HistoryWriter | undefined;
  #countersBefore: ClientCounters;
  #dropsBefore: Readonly<Record<string, number>> = {};

  /** All inserts of this client; a run goes on where the one before ended. */
  #inserts: Inserts | undefined;

  private constructor(
    task: OpenTask,
    index: number,
    records: { readonly keys: RecordKeys; readonly sizes: SizeChoice },
    loop: LoadLoop,
    engine: Engine,
    history: HistoryWriter | undefined,
  ) {
    this.#task = task;
    this.#index = index;
    this.#keys = records.keys;
    this.#sizes = records.sizes;
    this.loop = loop;
    this.#engine = engine;
    this.#history = history;
    this.#countersBefore = { ...engine.counters };
  }

  /** @param allKeys Of the loaded records, for all clients of the process; this one appends to a branch of its own. */
  static async open(task: OpenTask, { index, historyPath }: ClientTask, allKeys: RecordKeys): Promise<LoadClient> {
    const history = historyPath === null ? undefined : new HistoryWriter(historyPath, index, BigInt(task.originNs));
    const keys = allKeys.branch();
    const sizes = new SizeChoice(task.valueSizes, sizesRandom(task.seed, index));
    const loop = new LoadLoop({
      keys,
      values: new RecordValues(sizes, index),
      outstanding: task.outstanding,
      nowMs: () => performance.now(),
      deadlineMs: task.deadlineMs ?? DEADLINE_MS_DEFAULT,
      history,
    });
    const engine = await openEngine({
      clusterDirectory: task.clusterDirectory,
      sink: loop,
      ...(task.route !== undefined && { route: task.route }),
      capacity: task.outstanding * PLACES_AN_OPERATION,
      ...(task.datagramBytes === null ? {} : { datagramBytes: task.datagramBytes }),
      ...(task.receiveBufferBytes === null ? {} : { receiveBufferBytes: task.receiveBufferBytes }),
      ...(task.workers !== undefined && { workers: task.workers }),
      ...(task.workersFromBytes !== undefined && { workersFromBytes: task.workersFromBytes }),
    });
    loop.attach(engine.operations);
    return new LoadClient(task, index, { keys, sizes }, loop, engine, history);
  }

  get opened(): Omit<Opened, 'type'> {
    return {
      valueBytesMax: this.#engine.operations.valueBytesMax(RECORD_KEY_BYTES_MAX),
      memberCount: this.#engine.memberCount,
    };
  }

  /** Puts this client's share of the records. */
  async load(): Promise<Loaded['failure']> {
    const { clientCount, records } = this.#task;
    const first = Math.floor((records * this.#index) / clientCount);
    const end = Math.floor((records * (this.#index + 1)) / clientCount);
    return await new Promise((resolve) => this.loop.load(first, end, (outcome) => resolve(outcome ?? null)));
  }

  run(task: RunTask): void {
    this.loop.run(this.#mixOf(task));
  }

  beginWindow(): void {
    this.loop.beginWindow();
    this.#countersBefore = { ...this.#engine.counters };
    this.#dropsBefore = this.#engine.drops;
  }

  endWindow(): ClientWindow {
    const window = this.loop.endWindow();
    const { counters, drops } = this.#engine;
    return {
      window,
      counters: countersSince(this.#countersBefore, counters),
      drops: countsSince(this.#dropsBefore, drops),
    };
  }

  get workers(): WorkerFigures | undefined {
    return this.#engine.workers;
  }

  get receiveBufferBytes(): number {
    return this.#engine.receiveBufferBytes;
  }

  async drain(): Promise<void> {
    await new Promise<void>((resolve) => this.loop.drain(resolve));
  }

  /** Undefined when they can't be asked: a report without the replicas' figures is better than none. */
  async members(timeoutMs: number): Promise<MemberStatus[] | undefined> {
    try {
      return await this.#engine.status(timeoutMs);
    } catch {
      return undefined;
    }
  }

  async close(): Promise<void> {
    this.#history?.close();
    await this.#engine.close();
  }

  #mixOf({ seed, readProportion, write, scans = false }: RunTask): Mix {
    const { clientCount, records } = this.#task;
    this.#sizes.reseed(sizesRandom(seed, this.#index));
    const random = new Random(seed, this.#index);
    if (write === 'increment') return { readProportion, write, random, records: new UniformChoice(random, records) };
    if (write !== 'insert') {
      return { readProportion, write, scans, random, records: new ScrambledZipfian(random, records) };
    }
    this.#inserts ??= new Inserts(this.#keys, this.#index, clientCount);
    const inserts = this.#inserts;
    // YCSB lets scans begin at inserted records, too, and draws again for those that are still to come.
    const choice = scans ? new ScrambledZipfian(random, records) : new SkewedLatest(random, inserts);
    return { readProportion, write, scans, random, records: choice, inserts };
  }
}

function sizesRandom(seed: number, clientIndex: number): Random {
  return new Random(seed, SIZES_STREAM + clientIndex);
}

function countersSince(before: ClientCounters, now: Readonly<ClientCounters>): ClientCounters {
  return {
    retransmissions: now.retransmissions - before.retransmissions,
    hedges: now.hedges - before.hedges,
    tampered: now.tampered - before.tampered,
    repairs: now.repairs - before.repairs,
    writeBacks: now.writeBacks - before.writeBacks,
    resolves: now.resolves - before.resolves,
    partsRepeated: now.partsRepeated - before.partsRepeated,
    helped: now.helped - before.helped,
    backOffs: now.backOffs - before.backOffs,
  };
}
