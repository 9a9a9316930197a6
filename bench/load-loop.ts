import { assert } from '../net/assert.ts';
import { TABLE_FULL } from '../src/client/operations.ts';
import { add } from '../src/client/read-modify-write.ts';
import { CONDITION_VERSION, RMW_SET } from '../src/protocol/rmw-request.ts';
import type { RmwRequest, Stamp } from '../src/protocol/rmw-request.ts';
import type { Operations, OperationSink, Outcome } from '../src/client/operations.ts';
import type { ScanOutcome } from '../src/protocol/outcome.ts';
import type { HistorySink } from './history.ts';
import type { Inserts } from './inserts.ts';
import { LoadPhase } from './load-phase.ts';
import type { ScanEnded } from './load-scans.ts';
import { LoadScans, SCAN_LENGTH_MAX } from './load-scans.ts';
import { WindowMeter } from './load-window.ts';
import type { LoadWindow } from './load-window.ts';
import { recordOperation } from './operation-history.ts';
import {
  ATOMIC_GET,
  ATOMIC_SET,
  FIRST_KINDS,
  INCREMENT,
  INSERT,
  READ,
  RMW,
  RMW_GET,
  RMW_PUT,
  SCAN,
  UPDATE,
  isFirstHalf,
  isGet,
} from './operation-kinds.ts';
import type { Random } from './random.ts';
import type { RecordKeys, RecordValues } from './record.ts';
import type { WriteType } from './workload.ts';
import type { RecordChoice } from './zipfian.ts';

/**
 * The closed loop of one client. A fixed number of operations is outstanding; whoever ends starts the next from
 * inside the same call, so that the pressure never sinks and nothing waits for a timer. The loop knows neither clock
 * nor network: it drives any Operations with any clock.
 *
 * Each outstanding operation has a slot, whose index is its token. One reading of the clock a completion ends one
 * operation and starts the next. A read-modify-write keeps its slot for its get and then its put; as in YCSB nothing keeps
 * others from writing in between. An atomic one has a compare-and-set in place of the put, and as many as it takes.
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
  /** What the other operations do. Absent: they update. */
  readonly write?: WriteType;
  /** What would be reads are scans. */
  readonly scans?: boolean;
  readonly random: Random;
  readonly records: RecordChoice;
  /** Which records inserts write. */
  readonly inserts?: Inserts;
}

/** A value that is not its key's, and a loaded record that is not there. Either means lost or mixed-up data. */
export const WRONG_VALUE = 'wrong value';
export const MISSING_RECORD = 'missing record';

const ADD_ONE = add(1n);
const NO_BYTES = new Uint8Array(0);

function setIfUnchanged(version: Stamp, value: Uint8Array): RmwRequest {
  return { change: RMW_SET, condition: CONDITION_VERSION, version, value, expected: NO_BYTES, delta: 0n };
}

type Phase = 'idle' | 'load' | 'run' | 'drain';

export class LoadLoop implements OperationSink {
  readonly #options: LoadLoopOptions;
  #operations: Operations | undefined;
  #scans: LoadScans | undefined;
  #phase: Phase = 'idle';
  #inFlight = 0;
  #whenIdle: (() => void) | undefined;

  /** Slots. */
  readonly #kind: Uint8Array;
  readonly #record: Int32Array;
  readonly #startMs: Float64Array;
  readonly #startNs: Float64Array;
  readonly #sequence: Float64Array;
  /** Of a put. */
  readonly #valueBytes: Int32Array;
  /** Of a read-modify-write's get. */
  readonly #pairStartMs: Float64Array;
  /** That an atomic one has read, and expects. */
  readonly #versions: Stamp[] = [];

  /** Grows with each put of this client, retries included, so that no two values are the same. */
  #lastSequence = 0;
  #mix: Mix | undefined;
  #writeKind = UPDATE;

  #loadPhase: LoadPhase | undefined;

  /** Since the phase began, for the progress line. */
  completed = 0;
  failed = 0;
  /** Failed operations of the run by kind. Warm-up and drain count too: a wrong value is one whenever it comes. */
  readonly errors = new Map<string, number>();
  #closed = false;

  readonly #meter = new WindowMeter();

  constructor(options: LoadLoopOptions) {
    const slots = options.outstanding;
    this.#options = options;
    this.#kind = new Uint8Array(slots);
    this.#record = new Int32Array(slots);
    this.#startMs = new Float64Array(slots);
    this.#startNs = new Float64Array(slots);
    this.#sequence = new Float64Array(slots);
    this.#valueBytes = new Int32Array(slots);
    this.#pairStartMs = new Float64Array(slots);
  }

  /** An engine needs its sink before it has operations, so these come afterwards. */
  attach(operations: Operations): void {
    assert(operations.capacity >= this.#options.outstanding, 'the engine has a place for each outstanding operation');
    this.#operations = operations;
    const { values, deadlineMs, history } = this.#options;
    this.#scans = new LoadScans(operations, values, deadlineMs, history, (slot, ended) => this.#scanEnded(slot, ended));
  }

  get inFlight(): number {
    return this.#inFlight;
  }

  /** Puts each record in [first, end) once. Calls back with the outcome that made it give up, if any. */
  load(first: number, end: number, whenDone: (failure: Outcome | undefined) => void): void {
    this.#begin('load');
    const loadPhase = new LoadPhase(first, end);
    this.#loadPhase = loadPhase;
    this.#whenIdle = () => whenDone(loadPhase.failure);
    this.#startAll();
  }

  /** Runs the mix until drain(). */
  run(mix: Mix): void {
    this.#begin('run');
    const { write = 'update' } = mix;
    assert(write !== 'insert' || mix.inserts !== undefined, 'inserts have their records from somewhere');
    this.#mix = mix;
    this.#writeKind = FIRST_KINDS[write];
    this.#startAll();
  }

  beginWindow(): void {
    this.#meter.begin(this.#options.nowMs());
  }

  endWindow(): LoadWindow {
    return this.#meter.end(this.#options.nowMs());
  }

  /**
   * Starts nothing more but the second halves of what is under way; calls back when the last operation has ended, at the
   * latest after its deadline.
   */
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
    let goesOn = false;
    if (this.#phase === 'load') this.#loadEnded(slot, outcome);
    else goesOn = this.#runEnded(slot, outcome, value, valueBytes, nowMs);
    if (goesOn) this.#startSecondHalf(slot, nowMs);
    else this.#startNext(slot, nowMs);
    if (this.#inFlight === 0 && this.#phase !== 'run') this.#idle();
  }

  #scanEnded(slot: number, { outcome, error, valueBytes }: ScanEnded): void {
    const nowMs = this.#options.nowMs();
    this.#inFlight--;
    if (error !== undefined) this.#runFailed(slot, outcome, error);
    else {
      this.#meter.valueMoved(true, valueBytes);
      this.completed++;
      this.#meter.operationEnded(SCAN, nowMs - this.#startMs[slot]!);
    }
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
      this.#choose(slot, nowMs);
    } else {
      if (this.#phase !== 'load') return;
      const record = this.#loadPhase!.next();
      if (record === undefined) return;
      this.#kind[slot] = UPDATE;
      this.#record[slot] = record;
    }
    this.#start(slot, nowMs);
  }

  #choose(slot: number, nowMs: number): void {
    const { readProportion, random, records, inserts, scans } = this.#mix!;
    const readKind = scans === true ? SCAN : READ;
    let kind = random.nextDouble() < readProportion ? readKind : this.#writeKind;
    if (kind === INSERT) {
      if (!inserts!.isFull) {
        this.#kind[slot] = INSERT;
        this.#record[slot] = inserts!.next();
        return;
      }
      kind = readKind;
    }
    if (isFirstHalf(kind)) this.#pairStartMs[slot] = nowMs;
    this.#kind[slot] = kind;
    this.#record[slot] = records.next();
  }

  /** In a drain too: a pair is one operation. */
  #startSecondHalf(slot: number, nowMs: number): void {
    if (this.#closed) return;
    this.#kind[slot] = this.#kind[slot] === RMW_GET ? RMW_PUT : ATOMIC_SET;
    this.#start(slot, nowMs);
  }

  #start(slot: number, nowMs: number): void {
    const { keys, values, deadlineMs, history } = this.#options;
    const operations = this.#operations!;
    const record = this.#record[slot]!;
    this.#startMs[slot] = nowMs;
    if (history !== undefined) this.#startNs[slot] = history.nowNs();
    const kind = this.#kind[slot]!;
    let operationId: number;
    if (kind === SCAN) {
      const recordCount = 1 + Math.floor(this.#mix!.random.nextDouble() * SCAN_LENGTH_MAX);
      operationId = this.#scans!.start(slot, keys.key(record), recordCount);
    } else if (isGet(kind)) {
      operationId = operations.startGet(slot, keys.key(record), deadlineMs, kind === ATOMIC_GET);
    } else if (kind === INCREMENT) {
      operationId = operations.startRmw(slot, keys.key(record), ADD_ONE, deadlineMs);
    } else {
      const sequence = ++this.#lastSequence;
      this.#sequence[slot] = sequence;
      const value = values.write(keys.fingerprintLow(record), keys.fingerprintHigh(record), sequence);
      this.#valueBytes[slot] = value.length;
      operationId =
        kind === ATOMIC_SET
          ? operations.startRmw(slot, keys.key(record), setIfUnchanged(this.#versions[slot]!, value), deadlineMs)
          : operations.startPut(slot, keys.key(record), value, deadlineMs);
    }
    assert(operationId !== TABLE_FULL, 'the engine has a place for each outstanding operation');
    this.#inFlight++;
  }

  #loadEnded(slot: number, outcome: Outcome): void {
    if (outcome === 'ok') {
      this.completed++;
      return;
    }
    this.failed++;
    this.#loadPhase!.failed(this.#record[slot]!, outcome);
  }

  /** Returns whether the slot goes on with the second half of its operation. */
  #runEnded(slot: number, outcome: Outcome, value: Uint8Array, valueBytes: number, nowMs: number): boolean {
    const kind = this.#kind[slot]!;
    const error = this.#errorOf(slot, outcome, value, valueBytes);
    if (error !== undefined) {
      this.#runFailed(slot, outcome, error);
      return false;
    }
    const latencyMs = nowMs - this.#startMs[slot]!;
    if (kind === ATOMIC_GET || kind === ATOMIC_SET) this.#versions[slot] = { ...this.#operations!.ended };
    if (outcome === 'mismatch') {
      this.#meter.conflictMet();
      return true;
    }
    if (kind === INCREMENT) {
      this.completed++;
      this.#meter.operationEnded(RMW, latencyMs);
      return false;
    }
    this.#meter.valueMoved(isGet(kind), isGet(kind) ? valueBytes : this.#valueBytes[slot]!);
    if (isFirstHalf(kind)) {
      this.#meter.halfEnded(READ, latencyMs);
      return true;
    }
    this.completed++;
    if (kind === RMW_PUT || kind === ATOMIC_SET) {
      this.#meter.halfEnded(UPDATE, latencyMs);
      this.#meter.operationEnded(RMW, nowMs - this.#pairStartMs[slot]!);
      return false;
    }
    if (kind === INSERT) this.#mix!.inserts!.succeeded(this.#record[slot]!);
    this.#meter.operationEnded(kind, latencyMs);
    return false;
  }

  #runFailed(slot: number, outcome: ScanOutcome, error: string): void {
    // An engine that is closed answers at once and for ever: asking it again would spin.
    if (outcome === 'closed') this.#closed = true;
    if (this.#kind[slot] === INSERT) this.#mix!.inserts!.failed(this.#record[slot]!);
    this.failed++;
    this.errors.set(error, (this.errors.get(error) ?? 0) + 1);
  }

  #errorOf(slot: number, outcome: Outcome, value: Uint8Array, valueBytes: number): string | undefined {
    const kind = this.#kind[slot]!;
    if (isGet(kind)) return this.#readError(slot, outcome, value, valueBytes);
    if (outcome === 'ok') return undefined;
    if (outcome !== 'mismatch') return outcome;
    // The state that was found in place of the expected one: a record that is there, and right.
    return this.#readError(slot, this.#operations!.ended.hasValue ? 'ok' : 'absent', value, valueBytes);
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
    const started = {
      kind: this.#kind[slot]!,
      key: keys.keyString(this.#record[slot]!),
      startNs: this.#startNs[slot]!,
      id: values.idOf(this.#sequence[slot]!),
      expected: this.#versions[slot],
    };
    recordOperation(history!, started, outcome, value, valueBytes, this.#operations!.ended);
  }
}
