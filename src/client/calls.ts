import { AvocadoError } from '../errors.ts';
import type { ErrorCode } from '../errors.ts';
import type { ScanOutcome, ScanPage } from '../protocol/scan-request.ts';
import type { Engine, OperationSink, Outcome } from './operations.ts';
import { TABLE_FULL } from './operations.ts';
import type { PageRequest } from './scans.ts';

/** Joins the promises of the public API to operations: calls in flight by token, and a bounded queue before them. */
export type CallKind = 'get' | 'put' | 'delete' | 'scan';

/** Of a call for a page of a scan. */
interface ScanCall {
  readonly request: PageRequest;
  page: ScanPage | undefined;
}

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
  run(
    kind: CallKind,
    key: Uint8Array,
    value: Uint8Array | undefined,
    endMs: number,
    signal: AbortSignal | undefined,
    scan?: ScanCall,
  ): Promise<Buffer | undefined> {
    return new Promise((resolve, reject) => {
      if (this.#closed) return reject(errorOf(kind, 'closed'));
      if (signal?.aborted === true) return reject(errorOf(kind, 'aborted'));
      const call = new Call(kind, key, value, endMs, resolve, reject);
      call.scan = scan;
      if ((this.#waitingCount > 0 || !this.#start(call)) && !this.#enqueue(call)) {
        return reject(
          new AvocadoError(
            'QUEUE_FULL',
            `${this.#queueLimit} operations wait already: await some before starting more, or raise queueLimit`,
          ),
        );
      }
      if (signal !== undefined) call.listen(signal, () => this.#abort(call));
    });
  }

  /** One page of a scan. It waits for a place as other calls do. */
  async runScan(request: PageRequest, endMs: number, signal: AbortSignal): Promise<ScanPage> {
    const scan: ScanCall = { request, page: undefined };
    await this.run('scan', EMPTY, undefined, endMs, signal, scan);
    return scan.page!;
  }

  #startScan(token: number, call: Call, { request }: ScanCall, leftMs: number): number {
    return this.#engine!.operations.startScan(
      {
        ...request,
        onScanEnded: (outcome, page, failedKey) => {
          call.scan!.page = page;
          call.failedKey = failedKey;
          this.#ended(token, outcome, EMPTY, 0);
        },
      },
      leftMs,
    );
  }

  onOperationEnded(token: number, outcome: Outcome, value: Uint8Array, valueBytes: number): void {
    this.#ended(token, outcome, value, valueBytes);
  }

  #ended(token: number, outcome: ScanOutcome, value: Uint8Array, valueBytes: number): void {
    const call = this.#inFlight[token]!;
    this.#inFlight[token] = undefined;
    this.#freeTokens.push(token);
    call.settle(outcome, value, valueBytes);
    this.#startWaiting();
  }

  close(): void {
    this.#closed = true;
    clearInterval(this.#sweep);
    for (const call of this.#waiting) this.#drop(call, 'closed');
    this.#waiting = [];
    this.#waitingFirst = 0;
  }

  #start(call: Call): boolean {
    const { operations } = this.#engine!;
    const token = this.#freeTokens.pop() ?? this.#inFlight.length;
    const leftMs = call.endMs - performance.now();
    const operationId =
      call.scan !== undefined
        ? this.#startScan(token, call, call.scan, leftMs)
        : call.kind === 'get'
          ? operations.startGet(token, call.key, leftMs)
          : call.kind === 'put'
            ? operations.startPut(token, call.key, call.value!, leftMs)
            : operations.startDelete(token, call.key, leftMs);
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
    call.settle(outcome, EMPTY, 0);
  }
}

const EMPTY = new Uint8Array(0);

class Call {
  readonly kind: CallKind;
  key: Uint8Array;
  value: Uint8Array | undefined;
  readonly endMs: number;
  /** TABLE_FULL until it is started. */
  operationId: number = TABLE_FULL;
  isSettled = false;
  scan: ScanCall | undefined;
  failedKey: Buffer | undefined;
  readonly #resolve: (value: Buffer | undefined) => void;
  readonly #reject: (error: Error) => void;
  #signal: AbortSignal | undefined;
  #onAbort: (() => void) | undefined;

  constructor(
    kind: CallKind,
    key: Uint8Array,
    value: Uint8Array | undefined,
    endMs: number,
    resolve: (value: Buffer | undefined) => void,
    reject: (error: Error) => void,
  ) {
    this.kind = kind;
    this.key = key;
    this.value = value;
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
  }

  settle(outcome: ScanOutcome, value: Uint8Array, valueBytes: number): void {
    this.isSettled = true;
    if (this.#onAbort !== undefined) this.#signal?.removeEventListener('abort', this.#onAbort);
    if (outcome === 'absent') this.#resolve(undefined);
    else if (outcome !== 'ok') this.#reject(errorOf(this.kind, outcome, this.failedKey));
    else this.#resolve(this.kind === 'get' ? Buffer.from(value.subarray(0, valueBytes)) : undefined);
  }
}

type Failure = Exclude<ScanOutcome, 'ok' | 'absent'>;

const FAILURES: Record<Failure, readonly [ErrorCode, string]> = {
  deadline: ['DEADLINE_EXCEEDED', 'no quorum answered before the deadline; it had no effect'],
  aborted: ['ABORTED', 'the caller aborted it; it had no effect'],
  'outcome-unknown': [
    'OUTCOME_UNKNOWN',
    'it was sent but a quorum did not acknowledge it in time: it may or may not take effect; read the key to see',
  ],
  'trusted-memory-full': [
    'TRUSTED_MEMORY_FULL',
    'the replicas’ trusted memory has no room for another key; nothing was written: raise --trusted-memory of the replicas',
  ],
  'host-memory-full': [
    'HOST_MEMORY_FULL',
    'the replicas’ host memory has no room for the value; nothing was written: raise --host-memory of the replicas',
  ],
  unreadable: ['VALUE_UNREADABLE', 'every copy of the newest value failed its check; a new put heals the key'],
  'stamps-exhausted': [
    'STAMPS_EXHAUSTED',
    'a writer has used up the stamps of this key; it had no effect: find out whose certificate did that',
  ],
  'scans-off': ['SCANS_OFF', 'too few replicas keep their keys in order: start them without --no-scans'],
  'not-permitted': ['NOT_PERMITTED', 'the certificate does not permit it'],
  closed: ['CLOSED', 'the client is closed; it had no effect'],
  'too-large': [
    'VALUE_TOO_LARGE',
    'the value does not fit into one datagram, as the coordinated route needs it: use the direct route for this key',
  ],
};

export function errorOf(kind: CallKind, outcome: Failure, key?: Buffer): AvocadoError {
  const [code, text] = FAILURES[outcome];
  return new AvocadoError(code, `${kind}${key === undefined ? '' : ` of ${JSON.stringify(String(key))}`}: ${text}`);
}
