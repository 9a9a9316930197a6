import { TABLE_FULL } from '../../src/client/operations.ts';
import type { OperationSink, Operations, Outcome } from '../../src/client/operations.ts';
import { CONDITION_NONE, RMW_SET } from '../../src/protocol/rmw-request.ts';
import type { RmwRequest } from '../../src/protocol/rmw-request.ts';

/** Puts many keys of 16 bytes, each with a small value of its own, sets them by read-modify-writes, and gets all of them back. */
const OUTSTANDING = 512;
const DEADLINE_MS = 10_000;
/** A put that is lost on a machine that is too busy is tried again; what fails so often fails for good. */
const ATTEMPTS_MAX = 5;

type Sweep = 'put' | 'change' | 'get';

const NO_BYTES = new Uint8Array(0);
const SET: RmwRequest = {
  change: RMW_SET,
  condition: CONDITION_NONE,
  value: NO_BYTES,
  expected: NO_BYTES,
  version: undefined,
  delta: 0n,
};

export class KeySweep implements OperationSink {
  /** Operation places that an engine needs for it. */
  static readonly PLACES = OUTSTANDING * 2;

  right = 0;
  wrong = 0;
  readonly #keyCount: number;
  #operations: Operations | undefined;
  #kind: Sweep = 'put';
  #next = 0;
  #inFlight = 0;
  /** By key index; tokens are key indexes. */
  readonly #attempts = new Map<number, number>();
  #settle: ((failure: Error | undefined) => void) | undefined;
  #failure: Error | undefined;

  constructor(keyCount: number) {
    this.#keyCount = keyCount;
  }

  put(operations: Operations): Promise<void> {
    return this.#sweep('put', operations);
  }

  /** A read-modify-write of each, which leaves the value that was put. */
  change(operations: Operations): Promise<void> {
    return this.#sweep('change', operations);
  }

  get(operations: Operations): Promise<void> {
    return this.#sweep('get', operations);
  }

  onOperationEnded(token: number, outcome: Outcome, value: Uint8Array, valueBytes: number): void {
    this.#inFlight--;
    if (this.#kind === 'get') {
      if (outcome === 'ok' && valueOf(token).equals(value.subarray(0, valueBytes))) this.right++;
      else this.wrong++;
    } else if (outcome !== 'ok') this.#again(token, outcome);
    this.#startMore();
  }

  #sweep(kind: Sweep, operations: Operations): Promise<void> {
    this.#kind = kind;
    this.#operations = operations;
    this.#next = 0;
    this.#attempts.clear();
    return new Promise((resolve, reject) => {
      this.#settle = (failure) => (failure === undefined ? resolve() : reject(failure));
      this.#startMore();
    });
  }

  #again(index: number, outcome: Outcome): void {
    const attempts = (this.#attempts.get(index) ?? 0) + 1;
    this.#attempts.set(index, attempts);
    if (attempts < ATTEMPTS_MAX && outcome !== 'trusted-memory-full') this.#start(index);
    else this.#failure ??= new Error(`the ${this.#kind} of key ${index} of ${this.#keyCount} ended ${outcome}`);
  }

  #startMore(): void {
    while (this.#failure === undefined && this.#next < this.#keyCount && this.#inFlight < OUTSTANDING) {
      this.#start(this.#next++);
    }
    if (this.#inFlight > 0) return;
    const settle = this.#settle;
    this.#settle = undefined;
    settle?.(this.#failure);
  }

  #start(index: number): void {
    const operations = this.#operations!;
    const key = Buffer.from(`key ${String(index).padStart(12, '0')}`);
    const id = this.#startOne(operations, index, key);
    if (id === TABLE_FULL) throw new Error('the engine has fewer places than were asked for');
    this.#inFlight++;
  }

  #startOne(operations: Operations, index: number, key: Uint8Array): number {
    switch (this.#kind) {
      case 'put':
        return operations.startPut(index, key, valueOf(index), DEADLINE_MS);
      case 'change':
        return operations.startRmw(index, key, { ...SET, value: valueOf(index) }, DEADLINE_MS);
      case 'get':
        return operations.startGet(index, key, DEADLINE_MS);
    }
  }
}

function valueOf(index: number): Buffer {
  return Buffer.from(`value ${index}`);
}
