import { assert } from '../net/assert.ts';
import { TABLE_FULL } from '../src/client/operations.ts';
import type { Operations, OperationSink, Outcome } from '../src/client/operations.ts';
import { LatencyHistogram } from './histogram.ts';
import type { HistorySink } from './history.ts';
import type { Random } from './random.ts';
import { idInValue } from './record.ts';
import type { RecordKeys, RecordValues } from './record.ts';
import type { ScrambledZipfian } from './zipfian.ts';

/**
 * The closed loop of one load process. A fixed number of operations is outstanding; whoever ends starts the next from
 * inside the same call, so that the pressure never sinks and nothing waits for a timer. The loop knows neither clock
 * nor network: it drives any Operations with any clock.
 *
 * Each outstanding operation has a slot, whose index is its token. One reading of the clock a completion ends one
 * operation and starts the next.
 */
export interface LoadLoopOptions {
  readonly keys: RecordKeys;
  readonly values: RecordValues;
  readonly outstanding: number;
  /** Monotonic, fractions included. */
  readonly nowMs: () => number;
  /** Of each operation. */
  readonly deadlineMs: number;
  readonly history?: HistorySink | undefined;
}

export interface Mix {
  readonly readProportion: number;
  readonly random: Random;
  readonly records: ScrambledZipfian;
}

/** What succeeded between beginWindow and endWindow. */
export interface LoadWindow {
  readonly windowMs: number;
  readonly reads: number;
  readonly updates: number;
  readonly read: LatencyHistogram;
  readonly update: LatencyHistogram;
}

/** A value that is not its key's, and a loaded record that is not there. Either means lost or mixed-up data. */
export const WRONG_VALUE = 'wrong value';
export const MISSING_RECORD = 'missing record';

/** How often the load tries to put one record whose put ended without a clear success. */
const LOAD_ATTEMPTS_MAX = 5;
/** Outcomes that trying again does not mend. */
const FINAL_OUTCOMES: readonly Outcome[] = ['trusted-memory-full', 'host-memory-full', 'not-permitted', 'closed'];

const READ = 0;
const UPDATE = 1;

type Phase = 'idle' | 'load' | 'run' | 'drain';

export class LoadLoop implements OperationSink {
  readonly #options: LoadLoopOptions;
  #operations: Operations | undefined;
  #phase: Phase = 'idle';
  #inFlight = 0;
  #whenIdle: (() => void) | undefined;

  /** Slots. */
  readonly #kind: Uint8Array;
  readonly #record: Int32Array;
  readonly #startMs: Float64Array;
  readonly #startNs: Float64Array;
  readonly #sequence: Float64Array;

  /** Grows with each put of this process, retries included, so that no two values are the same. */
  #lastSequence = 0;
  #mix: Mix | undefined;

  #loadNext = 0;
  #loadEnd = 0;
  readonly #loadAgain: number[] = [];
  readonly #loadAttempts = new Map<number, number>();
  #loadFailure: Outcome | undefined;

  /** Since the phase began, for the progress line. */
  completed = 0;
  failed = 0;
  /** Failed operations of the run by kind. Warm-up and drain count too: a wrong value is one whenever it comes. */
  readonly errors = new Map<string, number>();
  #closed = false;

  #measuring = false;
  #windowStartMs = 0;
  #reads = 0;
  #updates = 0;
  #readLatency = new LatencyHistogram();
  #updateLatency = new LatencyHistogram();

  constructor(options: LoadLoopOptions) {
    const slots = options.outstanding;
    this.#options = options;
    this.#kind = new Uint8Array(slots);
    this.#record = new Int32Array(slots);
    this.#startMs = new Float64Array(slots);
    this.#startNs = new Float64Array(slots);
    this.#sequence = new Float64Array(slots);
  }

  /** An engine needs its sink before it has operations, so these come afterwards. */
  attach(operations: Operations): void {
    assert(operations.capacity >= this.#options.outstanding, 'the engine has a place for each outstanding operation');
    this.#operations = operations;
  }

  get inFlight(): number {
    return this.#inFlight;
  }

  /** Puts each record in [first, end) once. Calls back with the outcome that made it give up, if any. */
  load(first: number, end: number, whenDone: (failure: Outcome | undefined) => void): void {
    this.#begin('load');
    this.#loadNext = first;
    this.#loadEnd = end;
    this.#loadFailure = undefined;
    this.#loadAttempts.clear();
    this.#whenIdle = () => whenDone(this.#loadFailure);
    this.#startAll();
  }

  /** Runs the mix until drain(). */
  run(mix: Mix): void {
    this.#begin('run');
    this.#mix = mix;
    this.#startAll();
  }

  beginWindow(): void {
    this.#reads = 0;
    this.#updates = 0;
    this.#readLatency = new LatencyHistogram();
    this.#updateLatency = new LatencyHistogram();
    this.#windowStartMs = this.#options.nowMs();
    this.#measuring = true;
  }

  endWindow(): LoadWindow {
    assert(this.#measuring, 'a window is ended once');
    this.#measuring = false;
    return {
      windowMs: this.#options.nowMs() - this.#windowStartMs,
      reads: this.#reads,
      updates: this.#updates,
      read: this.#readLatency,
      update: this.#updateLatency,
    };
  }

  /** Starts nothing more; calls back when the last operation has ended, at the latest after its deadline. */
  drain(whenIdle: () => void): void {
    assert(this.#phase === 'run', 'only a run is drained, a load ends by itself');
    this.#phase = 'drain';
    this.#whenIdle = whenIdle;
    if (this.#inFlight === 0) this.#idle();
  }

  onOperationEnded(slot: number, outcome: Outcome, value: Uint8Array, valueBytes: number): void {
    const nowMs = this.#options.nowMs();
    this.#inFlight--;
    if (this.#options.history !== undefined) this.#recordHistory(slot, outcome, value, valueBytes);
    if (this.#phase === 'load') this.#loadEnded(slot, outcome);
    else this.#runEnded(slot, outcome, value, valueBytes, nowMs);
    this.#startNext(slot, nowMs);
    if (this.#inFlight === 0 && this.#phase !== 'run') this.#idle();
  }

  #begin(phase: 'load' | 'run'): void {
    assert(this.#phase === 'idle' && this.#inFlight === 0, 'one phase at a time');
    this.#phase = phase;
    this.completed = 0;
    this.failed = 0;
    this.errors.clear();
  }

  #startAll(): void {
    const nowMs = this.#options.nowMs();
    for (let slot = 0; slot < this.#options.outstanding; slot++) this.#startNext(slot, nowMs);
    if (this.#inFlight === 0 && this.#phase === 'load') this.#idle();
  }

  #idle(): void {
    const whenIdle = this.#whenIdle;
    this.#phase = 'idle';
    this.#whenIdle = undefined;
    whenIdle?.();
  }

  #startNext(slot: number, nowMs: number): void {
    if (this.#closed) return;
    if (this.#phase === 'run') {
      const mix = this.#mix!;
      this.#kind[slot] = mix.random.nextDouble() < mix.readProportion ? READ : UPDATE;
      this.#record[slot] = mix.records.next();
    } else {
      if (this.#phase !== 'load') return;
      const record = this.#nextToLoad();
      if (record === undefined) return;
      this.#kind[slot] = UPDATE;
      this.#record[slot] = record;
    }
    this.#start(slot, nowMs);
  }

  #start(slot: number, nowMs: number): void {
    const { keys, values, deadlineMs, history } = this.#options;
    const operations = this.#operations!;
    const record = this.#record[slot]!;
    this.#startMs[slot] = nowMs;
    if (history !== undefined) this.#startNs[slot] = history.nowNs();
    let operationId: number;
    if (this.#kind[slot] === READ) {
      operationId = operations.startGet(slot, keys.key(record), deadlineMs);
    } else {
      const sequence = ++this.#lastSequence;
      this.#sequence[slot] = sequence;
      const value = values.write(keys.fingerprintLow(record), keys.fingerprintHigh(record), sequence);
      operationId = operations.startPut(slot, keys.key(record), value, deadlineMs);
    }
    assert(operationId !== TABLE_FULL, 'the engine has a place for each outstanding operation');
    this.#inFlight++;
  }

  #nextToLoad(): number | undefined {
    if (this.#loadFailure !== undefined) return undefined;
    const again = this.#loadAgain.pop();
    if (again !== undefined) return again;
    return this.#loadNext < this.#loadEnd ? this.#loadNext++ : undefined;
  }

  #loadEnded(slot: number, outcome: Outcome): void {
    if (outcome === 'ok') {
      this.completed++;
      return;
    }
    this.failed++;
    const record = this.#record[slot]!;
    const attempts = (this.#loadAttempts.get(record) ?? 0) + 1;
    this.#loadAttempts.set(record, attempts);
    if (attempts >= LOAD_ATTEMPTS_MAX || FINAL_OUTCOMES.includes(outcome)) this.#loadFailure ??= outcome;
    else this.#loadAgain.push(record);
  }

  #runEnded(slot: number, outcome: Outcome, value: Uint8Array, valueBytes: number, nowMs: number): void {
    const isRead = this.#kind[slot] === READ;
    const error = isRead ? this.#readError(slot, outcome, value, valueBytes) : outcome === 'ok' ? undefined : outcome;
    if (error !== undefined) {
      // An engine that is closed answers at once and for ever: asking it again would spin.
      if (outcome === 'closed') this.#closed = true;
      this.failed++;
      this.errors.set(error, (this.errors.get(error) ?? 0) + 1);
      return;
    }
    this.completed++;
    if (!this.#measuring) return;
    const latencyMs = nowMs - this.#startMs[slot]!;
    if (isRead) {
      this.#reads++;
      this.#readLatency.recordMs(latencyMs);
    } else {
      this.#updates++;
      this.#updateLatency.recordMs(latencyMs);
    }
  }

  #readError(slot: number, outcome: Outcome, value: Uint8Array, valueBytes: number): string | undefined {
    if (outcome === 'absent') return MISSING_RECORD;
    if (outcome !== 'ok') return outcome;
    const { keys, values } = this.#options;
    const record = this.#record[slot]!;
    const right = values.verify(keys.fingerprintLow(record), keys.fingerprintHigh(record), value, valueBytes);
    return right ? undefined : WRONG_VALUE;
  }

  #recordHistory(slot: number, outcome: Outcome, value: Uint8Array, valueBytes: number): void {
    const { keys, values, history } = this.#options;
    const endNs = history!.nowNs();
    const key = keys.keyString(this.#record[slot]!);
    const startNs = this.#startNs[slot]!;
    if (this.#kind[slot] === READ) {
      const found = outcome === 'ok' ? idInValue(value, valueBytes) : null;
      history!.record('get', key, found, startNs, endNs, outcome === 'ok' || outcome === 'absent' ? 'ok' : 'error');
      return;
    }
    const id = values.idOf(this.#sequence[slot]!);
    if (outcome === 'outcome-unknown') history!.record('put', key, id, startNs, null, 'unknown');
    else history!.record('put', key, id, startNs, endNs, outcome === 'ok' ? 'ok' : 'error');
  }
}
