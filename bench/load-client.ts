import { setTimeout as sleep } from 'node:timers/promises';
import { openEngine } from '../src/client/engine.ts';
import type { ClientCounters, Engine, MemberStatus } from '../src/client/operations.ts';
import { AvocadoError } from '../src/errors.ts';
import { HistoryWriter } from './history.ts';
import type { LatencyHistogram } from './histogram.ts';
import { Inserts } from './inserts.ts';
import { LoadLoop } from './load-loop.ts';
import type { Mix } from './load-loop.ts';
import type { LoadWindow } from './load-window.ts';
import type { Loaded, OpenTask, Opened, ParentMessage, Ran, RanType, RunTask, ChildMessage } from './messages.ts';
import { Random } from './random.ts';
import { RECORD_KEY_BYTES_MAX, RecordKeys, RecordValues } from './record.ts';
import { SizeChoice } from './value-sizes.ts';
import { ScrambledZipfian, SkewedLatest } from './zipfian.ts';

/**
 * A load process: one engine, one closed loop. It does what its parent asks over the channel (messages.ts), one thing
 * at a time, and ends with its parent.
 */

/** Ends an operation whose quorum is gone; far above any latency of a cluster that works. */
const DEADLINE_MS_DEFAULT = 10_000;
/** An operation that misses its deadline while its value is being sealed or opened keeps its place a little longer. */
const PLACES_AN_OPERATION = 2;
const PROGRESS_INTERVAL_MS = 1_000;
/** Status is asked on the side of a saturated run; a member that needs longer is reported as unreachable. */
const STATUS_TIMEOUT_MS = 2_000;

/** Sizes are drawn by a source of their own, so that they don't change which records are taken. */
const SIZES_STREAM = 0x1_0000;

class LoadClient {
  readonly #task: OpenTask;
  readonly #keys: RecordKeys;
  readonly #sizes: SizeChoice;
  readonly #loop: LoadLoop;
  readonly #engine: Engine;
  readonly #history: HistoryWriter | undefined;
  readonly #opened: Opened;

  /** All inserts of this process; a run goes on where the one before ended. */
  #inserts: Inserts | undefined;

  private constructor(
    task: OpenTask,
    records: { readonly keys: RecordKeys; readonly sizes: SizeChoice },
    loop: LoadLoop,
    engine: Engine,
    history: HistoryWriter | undefined,
  ) {
    this.#task = task;
    this.#keys = records.keys;
    this.#sizes = records.sizes;
    this.#loop = loop;
    this.#engine = engine;
    this.#history = history;
    this.#opened = {
      type: 'opened',
      valueBytesMax: engine.operations.valueBytesMax(RECORD_KEY_BYTES_MAX),
      memberCount: engine.memberCount,
    };
  }

  static async open(task: OpenTask): Promise<LoadClient> {
    const history =
      task.historyPath === null
        ? undefined
        : new HistoryWriter(task.historyPath, task.processIndex, BigInt(task.originNs));
    const keys = new RecordKeys(task.records);
    const sizes = new SizeChoice(task.valueSizes, sizesRandom(task.seed, task.processIndex));
    const loop = new LoadLoop({
      keys,
      values: new RecordValues(sizes, task.processIndex),
      outstanding: task.outstanding,
      nowMs: () => performance.now(),
      deadlineMs: task.deadlineMs ?? DEADLINE_MS_DEFAULT,
      history,
    });
    const engine = await openEngine({
      clusterDirectory: task.clusterDirectory,
      sink: loop,
      capacity: task.outstanding * PLACES_AN_OPERATION,
      ...(task.datagramBytes === null ? {} : { datagramBytes: task.datagramBytes }),
    });
    loop.attach(engine.operations);
    return new LoadClient(task, { keys, sizes }, loop, engine, history);
  }

  get opened(): Opened {
    return this.#opened;
  }

  /** Puts this process's share of the records. */
  async load(): Promise<Loaded> {
    const { processIndex, processCount, records } = this.#task;
    const first = Math.floor((records * processIndex) / processCount);
    const end = Math.floor((records * (processIndex + 1)) / processCount);
    const startMs = performance.now();
    const failure = await this.#withProgress(
      new Promise<Loaded['failure']>((resolve) => this.#loop.load(first, end, (outcome) => resolve(outcome ?? null))),
    );
    return {
      type: 'loaded',
      puts: this.#loop.completed,
      retries: this.#loop.failed,
      elapsedMs: performance.now() - startMs,
      failure,
    };
  }

  async run(task: RunTask): Promise<Ran> {
    return await this.#withProgress(this.#run(task));
  }

  async #run(task: RunTask): Promise<Ran> {
    const loop = this.#loop;
    loop.run(this.#mixOf(task));
    await sleep(task.warmupMs);

    loop.beginWindow();
    const cpuBefore = process.cpuUsage();
    const countersBefore = { ...this.#engine.counters };
    const membersBefore = this.#members();
    await sleep(task.durationMs);
    const window = loop.endWindow();
    const cpu = process.cpuUsage(cpuBefore);
    const counters = countersSince(countersBefore, this.#engine.counters);
    const membersAfter = this.#members();

    await new Promise<void>((resolve) => loop.drain(resolve));
    const [before, after] = await Promise.all([membersBefore, membersAfter]);
    return {
      type: 'ran',
      windowMs: window.windowMs,
      operations: window.operations,
      errors: Object.fromEntries(loop.errors),
      byType: byTypeOf(window),
      cpuUs: cpu.user + cpu.system,
      counters,
      members: before === undefined || after === undefined ? null : { before, after },
    };
  }

  #mixOf({ seed, readProportion, write }: RunTask): Mix {
    const { processIndex, processCount, records } = this.#task;
    this.#sizes.reseed(sizesRandom(seed, processIndex));
    const random = new Random(seed, processIndex);
    if (write !== 'insert') {
      return { readProportion, write, random, records: new ScrambledZipfian(random, records) };
    }
    this.#inserts ??= new Inserts(this.#keys, processIndex, processCount);
    const inserts = this.#inserts;
    return { readProportion, write, random, records: new SkewedLatest(random, inserts), inserts };
  }

  async close(): Promise<void> {
    this.#history?.close();
    await this.#engine.close();
  }

  /** One process asks for all. */
  async #members(): Promise<MemberStatus[] | undefined> {
    if (this.#task.processIndex !== 0) return undefined;
    try {
      return await this.#engine.status(STATUS_TIMEOUT_MS);
    } catch {
      // A report without the replicas' figures is better than none.
      return undefined;
    }
  }

  async #withProgress<T>(work: Promise<T>): Promise<T> {
    let lastCompleted = 0;
    let lastMs = performance.now();
    const timer = setInterval(() => {
      const { completed, failed } = this.#loop;
      const nowMs = performance.now();
      const opsPerSec = ((completed - lastCompleted) * 1_000) / (nowMs - lastMs);
      tell({ type: 'progress', completed, failed, opsPerSec });
      lastCompleted = completed;
      lastMs = nowMs;
    }, PROGRESS_INTERVAL_MS);
    try {
      return await work;
    } finally {
      clearInterval(timer);
    }
  }
}

function sizesRandom(seed: number, processIndex: number): Random {
  return new Random(seed, SIZES_STREAM + processIndex);
}

function byTypeOf(window: LoadWindow): Ran['byType'] {
  const of = (latency: LatencyHistogram): RanType => ({ count: latency.count, latency: latency.encode() });
  return { read: of(window.read), update: of(window.update), insert: of(window.insert), rmw: of(window.rmw) };
}

function countersSince(before: ClientCounters, now: Readonly<ClientCounters>): ClientCounters {
  return {
    retransmissions: now.retransmissions - before.retransmissions,
    hedges: now.hedges - before.hedges,
    tampered: now.tampered - before.tampered,
    repairs: now.repairs - before.repairs,
    writeBacks: now.writeBacks - before.writeBacks,
    partsRepeated: now.partsRepeated - before.partsRepeated,
  };
}

function tell(message: ChildMessage): void {
  process.send?.(message);
}

let client: LoadClient | undefined;

async function answer(message: ParentMessage): Promise<ChildMessage> {
  if (message.type === 'open') {
    client = await LoadClient.open(message);
    return client.opened;
  }
  if (client === undefined) throw new Error(`asked to ${message.type} before it was opened`);
  switch (message.type) {
    case 'load':
      return await client.load();
    case 'run':
      return await client.run(message);
    case 'close':
      await client.close();
      return { type: 'closed' };
  }
}

async function handle(message: ParentMessage): Promise<void> {
  try {
    tell(await answer(message));
    if (message.type === 'close') process.disconnect();
  } catch (error) {
    const code = error instanceof AvocadoError ? error.code : null;
    // A defect has no code: its stack is for whoever looks for it.
    if (code === null) console.error(error);
    tell({ type: 'failed', code, message: error instanceof Error ? error.message : String(error) });
    process.exitCode = 1;
  }
}

process.on('message', (message: ParentMessage) => void handle(message));
// Ctrl-C reaches the whole group of processes: the parent ends this one in its own time, or by going away itself.
process.on('SIGINT', () => {});
process.on('disconnect', () => process.exit());
