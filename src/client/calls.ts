import { AvocadoError } from '../errors.ts';
import { isAnswer } from '../protocol/outcome.ts';
import type { ScanOutcome } from '../protocol/outcome.ts';
import type { RmwRequest } from '../protocol/rmw-request.ts';
import type { ScanPage } from '../protocol/scan-request.ts';
import type { CallInput, CallKind } from './call-kind.ts';
import { errorOf, noDataKeyError } from './failures.ts';
import type { Engine, Operations, OperationSink, Outcome } from './operations.ts';
import { TABLE_FULL } from './operations.ts';
import { ScanCall } from './scan-call.ts';
import type { PageRequest } from './scans.ts';

/** Joins the promises of the public API to operations: calls in flight by token, and a bounded queue before them. */

/** Deadlines of calls that still wait for a place are looked at so often. */
const SWEEP_INTERVAL_MS = 20;
/** The queue's array is cut when so many places at its front are done with. */
const COMPACT_COUNT = 1_024;

export class Calls implements OperationSink {
  readonly #inFlight: (Call | undefined)[] = [];
  readonly #freeTokens: number[] = [];
  /** In the order of arrival, from #waitingFirst on; settled ones are skipped. */
  #waiting: Call[] = [];
  #waitingFirst = 0;
  #waitingCount = 0;
  #queueLimit = 0;
  #engine: Engine | undefined;
  #sweep: NodeJS.Timeout | undefined;
  #closed = false;

  attach(engine: Engine, queueLimit: number): void {
    this.#engine = engine;
    this.#queueLimit = queueLimit;
  }

  /** @param endMs On performance.now()'s clock. */
  run<Result>(
    kind: CallKind<Result>,
    key: Uint8Array,
    value: Uint8Array | undefined,
    request: RmwRequest | undefined,
    endMs: number,
    signal: AbortSignal | undefined,
  ): Promise<Result> {
    return new Promise((resolve, reject) => {
      if (this.#closed) return reject(errorOf(kind.name, 'closed'));
      if (signal?.aborted === true) return reject(errorOf(kind.name, 'aborted'));
      if (kind.usesValues && this.#engine!.lacksDataKey(key)) {
        return reject(noDataKeyError(kind.name));
      }
      const call = new Call(kind, key, value, request, endMs, resolve as (result: unknown) => void, reject);
      if ((this.#waitingCount > 0 || !this.#start(call)) && !this.#enqueue(call)) {
        return reject(
          new AvocadoError(
            'QUEUE_FULL',
            `${this.#queueLimit} operations wait already: await some before starting more, or raise queueLimit`,
          ),
        );
      }
      if (signal !== undefined && !call.isSettled) call.listen(signal, () => this.#abort(call));
    });
  }

  /** One page of a scan. It waits for a place as other calls do. */
  runScan(request: PageRequest, endMs: number, signal: AbortSignal): Promise<ScanPage> {
    const kind = new ScanCall(request, (token, outcome) => this.#ended(token, outcome, EMPTY, 0));
    // The start stands for the range: what may be read of it is of the start's space, or of spaces that are covered.
    return this.run(kind, request.start, undefined, undefined, endMs, signal);
  }

  onOperationEnded(token: number, outcome: Outcome, value: Uint8Array, valueBytes: number): void {
    this.#ended(token, outcome, value, valueBytes);
  }

  #ended(token: number, outcome: ScanOutcome, value: Uint8Array, valueBytes: number): void {
    const call = this.#inFlight[token]!;
    this.#inFlight[token] = undefined;
    this.#freeTokens.push(token);
    call.settle(outcome, value, valueBytes, this.#engine!.operations);
    this.#startWaiting();
  }

  close(): void {
    this.#closed = true;
    clearInterval(this.#sweep);
    for (const call of this.#waiting) this.#drop(call, 'closed');
    this.#waiting = [];
    this.#waitingFirst = 0;
  }

  /** False when there is no place for it now. */
  #start(call: Call): boolean {
    const { operations } = this.#engine!;
    const leftMs = call.endMs - performance.now();
    if (leftMs <= 0) {
      // Nothing is sent that could only end without being known.
      call.settle('deadline', EMPTY, 0, operations);
      return true;
    }
    const token = this.#freeTokens.pop() ?? this.#inFlight.length;
    const operationId = call.kind.start(operations, token, call, leftMs);
    if (operationId === TABLE_FULL) {
      this.#freeTokens.push(token);
      if (token === this.#inFlight.length) this.#inFlight.push(undefined);
      return false;
    }
    call.operationId = operationId;
    this.#inFlight[token] = call;
    return true;
  }

  #enqueue(call: Call): boolean {
    if (this.#waitingCount >= this.#queueLimit) return false;
    call.copyInput();
    this.#waiting.push(call);
    this.#waitingCount++;
    this.#sweep ??= setInterval(() => this.#endOverdue(), SWEEP_INTERVAL_MS);
    return true;
  }

  #startWaiting(): void {
    while (this.#waitingFirst < this.#waiting.length) {
      const call = this.#waiting[this.#waitingFirst]!;
      if (!call.isSettled) {
        if (!this.#start(call)) break;
        this.#waitingCount--;
      }
      this.#waitingFirst++;
    }
    if (this.#waitingFirst >= COMPACT_COUNT || this.#waitingCount === 0) {
      this.#waiting = this.#waiting.slice(this.#waitingFirst);
      this.#waitingFirst = 0;
    }
    if (this.#waitingCount === 0 && this.#sweep !== undefined) {
      clearInterval(this.#sweep);
      this.#sweep = undefined;
    }
  }

  #endOverdue(): void {
    const nowMs = performance.now();
    for (let i = this.#waitingFirst; i < this.#waiting.length; i++) {
      if (this.#waiting[i]!.endMs <= nowMs) this.#drop(this.#waiting[i]!, 'deadline');
    }
    this.#startWaiting();
  }

  #abort(call: Call): void {
    if (call.operationId === TABLE_FULL) this.#drop(call, 'aborted');
    else this.#engine!.operations.cancel(call.operationId);
  }

  /** Ends a call that was never started. */
  #drop(call: Call, outcome: Outcome): void {
    if (call.isSettled || call.operationId !== TABLE_FULL) return;
    this.#waitingCount--;
    call.settle(outcome, EMPTY, 0, this.#engine!.operations);
  }
}

const EMPTY = new Uint8Array(0);

class Call implements CallInput {
  /** Makes of the answer what #resolve takes. */
  readonly kind: CallKind<unknown>;
  key: Uint8Array;
  value: Uint8Array | undefined;
  request: RmwRequest | undefined;
  readonly endMs: number;
  /** TABLE_FULL until it is started. */
  operationId: number = TABLE_FULL;
  isSettled = false;
  readonly #resolve: (result: unknown) => void;
  readonly #reject: (error: Error) => void;
  #signal: AbortSignal | undefined;
  #onAbort: (() => void) | undefined;

  constructor(
    kind: CallKind<unknown>,
    key: Uint8Array,
    value: Uint8Array | undefined,
    request: RmwRequest | undefined,
    endMs: number,
    resolve: (result: unknown) => void,
    reject: (error: Error) => void,
  ) {
    this.kind = kind;
    this.key = key;
    this.value = value;
    this.request = request;
    this.endMs = endMs;
    this.#resolve = resolve;
    this.#reject = reject;
  }

  listen(signal: AbortSignal, onAbort: () => void): void {
    this.#signal = signal;
    this.#onAbort = onAbort;
    signal.addEventListener('abort', onAbort, { once: true });
  }

  /** The caller may change its buffers as soon as its call has returned. (Of a Buffer, slice() would be a view.) */
  copyInput(): void {
    this.key = new Uint8Array(this.key);
    if (this.value !== undefined) this.value = new Uint8Array(this.value);
    const { request } = this;
    if (request === undefined) return;
    this.request = { ...request, value: new Uint8Array(request.value), expected: new Uint8Array(request.expected) };
  }

  settle(outcome: ScanOutcome, value: Uint8Array, valueBytes: number, { ended }: Operations): void {
    this.isSettled = true;
    if (this.#onAbort !== undefined) this.#signal?.removeEventListener('abort', this.#onAbort);
    if (isAnswer(outcome)) this.#resolve(this.kind.answer(outcome, value, valueBytes, ended));
    else this.#reject(errorOf(this.kind.name, outcome));
  }
}
