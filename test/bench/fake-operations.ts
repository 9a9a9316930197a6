import { TABLE_FULL } from '../../src/client/operations.ts';
import type { Operations, OperationSink, Outcome } from '../../src/client/operations.ts';
import { RMW_SET } from '../../src/protocol/rmw-request.ts';
import type { RmwRequest } from '../../src/protocol/rmw-request.ts';

/** Operations over a map, ended one by one by the test. */
export interface FakeOperation {
  readonly type: 'get' | 'put' | 'rmw';
  readonly token: number;
  readonly key: string;
  /** Of a put, and of a read-modify-write that sets. */
  readonly value: Uint8Array;
  readonly request?: RmwRequest;
  readonly deadlineMs: number;
}

export class FakeOperations implements Operations {
  readonly capacity: number;
  readonly store = new Map<string, Uint8Array>();
  /** In flight, the oldest first. */
  readonly pending: FakeOperation[] = [];
  /** All that were ever started. */
  readonly started: FakeOperation[] = [];
  mostActive = 0;
  readonly ended = { counter: 0, writerHigh: 0, writerLow: 0, rmw: 0, hasValue: false };
  /** Of each key, how often it was set. */
  readonly #versions = new Map<string, number>();
  #sink: OperationSink | undefined;

  constructor(capacity: number) {
    this.capacity = capacity;
  }

  connect(sink: OperationSink): void {
    this.#sink = sink;
  }

  get active(): number {
    return this.pending.length;
  }

  startGet(token: number, key: Uint8Array, deadlineMs: number): number {
    return this.#start({ type: 'get', token, key: text(key), value: new Uint8Array(0), deadlineMs });
  }

  startPut(token: number, key: Uint8Array, value: Uint8Array, deadlineMs: number): number {
    return this.#start({ type: 'put', token, key: text(key), value: value.slice(), deadlineMs });
  }

  rmwBytesMax(): number {
    return 65_000;
  }

  startDelete(): number {
    throw new Error('the bench deletes nothing');
  }

  startRmw(token: number, key: Uint8Array, request: RmwRequest, deadlineMs: number): number {
    const value = request.value.slice();
    return this.#start({ type: 'rmw', token, key: text(key), value, request: { ...request, value }, deadlineMs });
  }

  startScan(): number {
    throw new Error('no scans here');
  }

  cancel(): void {
    throw new Error('the bench cancels nothing');
  }

  /** Ends the operation at this place, as a working store would or as the test says. */
  end(at = 0, outcome?: Outcome, value?: Uint8Array): FakeOperation {
    const [operation] = this.pending.splice(at, 1);
    if (operation === undefined) throw new Error('nothing is in flight');
    const stored = this.store.get(operation.key);
    this.ended.counter = this.#versions.get(operation.key) ?? 0;
    if (outcome !== undefined && outcome !== 'ok') {
      this.#report(operation.token, outcome, undefined);
    } else if (operation.type === 'rmw') {
      this.#change(operation, stored);
    } else if (operation.type === 'put') {
      this.#set(operation.key, operation.value);
      this.#report(operation.token, 'ok', undefined);
    } else {
      const found = value ?? stored;
      this.#report(operation.token, found === undefined ? 'absent' : 'ok', found);
    }
    return operation;
  }

  /** Somebody else's put. */
  overwrite(key: string, value: Uint8Array): void {
    this.#set(key, value);
  }

  #set(key: string, value: Uint8Array): void {
    this.store.set(key, value);
    this.ended.counter = (this.#versions.get(key) ?? 0) + 1;
    this.#versions.set(key, this.ended.counter);
  }

  /** A compare-and-set on the version, or an increment. */
  #change({ token, key, value, request }: FakeOperation, stored: Uint8Array | undefined): void {
    if (request!.version !== undefined && request!.version.counter !== this.ended.counter) {
      return this.#report(token, 'mismatch', stored);
    }
    if (request!.change === RMW_SET) {
      this.#set(key, value);
      return this.#report(token, 'ok', undefined);
    }
    const sum = Buffer.from(String(BigInt(Buffer.from(stored ?? []).toString() || '0') + request!.delta));
    this.#set(key, sum);
    this.#report(token, 'ok', sum);
  }

  endAll(): void {
    while (this.pending.length > 0) this.end();
  }

  /** The value lies in a larger array, which is wiped afterwards: it is valid during the call only. */
  #report(token: number, outcome: Outcome, value: Uint8Array | undefined): void {
    const valueBytes = value?.length ?? 0;
    const lent = new Uint8Array(valueBytes + 64).fill(0xee);
    if (value !== undefined) lent.set(value);
    this.ended.hasValue = value !== undefined;
    this.#sink?.onOperationEnded(token, outcome, lent, valueBytes);
    lent.fill(0xdd);
  }

  #start(operation: FakeOperation): number {
    if (this.pending.length === this.capacity) return TABLE_FULL;
    this.pending.push(operation);
    this.started.push(operation);
    this.mostActive = Math.max(this.mostActive, this.pending.length);
    return this.started.length;
  }
}

function text(key: Uint8Array): string {
  return Buffer.from(key).toString('latin1');
}
