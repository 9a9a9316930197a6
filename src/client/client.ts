import { SEALED_VALUE_BYTES_MAX } from '../../workers/sealing.ts';
import { AvocadoError } from '../errors.ts';
import type { RmwRequest } from '../protocol/rmw-request.ts';
import { count, keyBytesOf, positive, valueBytesOf, workerSetting } from './arguments.ts';
import type { CallKind } from './call-kind.ts';
import { DELETE, GET, PUT } from './call-kind.ts';
import { Calls } from './calls.ts';
import { openEngine } from './engine.ts';
import type { Engine, MemberStatus } from './operations.ts';
import {
  add,
  COMPARE_AND_SET,
  DELETE_IF,
  deleteIf,
  GET_AND_SET,
  GET_WITH_VERSION,
  INCREMENT,
  PUT_IF_ABSENT,
  rmwBytes,
  setIf,
  setTo,
} from './read-modify-write.ts';
import type { ConditionalResult, Expected, Value, Versioned } from './read-modify-write.ts';
import { ROUTES } from './route.ts';
import type { Route } from './route.ts';
import { ATTEMPTS_DEFAULT, runUpdate } from './update.ts';
import type { Change } from './update.ts';
import { scanPages, throwIfAborted } from './scans.ts';
import type { CountOptions, ScanOptions, ScannedKey, ScannedPair } from './scans.ts';
import type { ScanPage } from '../protocol/scan-request.ts';

/** A key: 1 to 1,024 bytes; strings are taken as UTF-8. */
export type Key = string | Uint8Array;

export interface ConnectOptions {
  /** Cluster directory, as `avocado init` writes it and `avocado dev` prints it. */
  readonly cluster: string;
  /**
   * 'direct' (default): this process asks a quorum of replicas itself, and seals and opens values. 'coordinated': a replica
   * does that for it; one session is enough, and no data key is needed.
   */
  readonly route?: Route;
  /** As which client: a profile at CAS, or a file client-<name>.json of the directory. Default: the one without a name. */
  readonly as?: string;
  /** File of the key by which CAS knows who may have that profile (`avocado cas enrolment-key`). */
  readonly enrolmentKeyFile?: string;
  /** Time to find a quorum; default 5,000 ms. */
  readonly connectTimeoutMs?: number;
  /** Deadline of an operation that gives none; default 5,000 ms. */
  readonly deadlineMs?: number;
  /** Operations in flight at once; default 1,024, at most 65,000. */
  readonly concurrency?: number;
  /** Operations that may wait for a place beyond those in flight; default 65,536. More end with QUEUE_FULL. */
  readonly queueLimit?: number;
  /** UDP payload of a datagram, bytes; default 16,640 on loopback and 1,472 elsewhere. */
  readonly datagramBytes?: number;
  /**
   * Threads that seal and open large values: 0 for none, a number, or (default) 'auto': none with one or two cores, else
   * as many as leave one for the event loop, at most 4. Clients of one process share them.
   */
  readonly workers?: number | 'auto';
  /** Cluster instance that must be met (see Client.instance): else INSTANCE_CHANGED, its data would be gone. */
  readonly instance?: string;
}

export interface OperationOptions {
  /** From now on, milliseconds. */
  readonly deadlineMs?: number;
  /** Ends the operation: ABORTED, or OUTCOME_UNKNOWN for a write that was sent. */
  readonly signal?: AbortSignal;
}

export interface UpdateOptions extends OperationOptions {
  /** How often the function is run at most, before the update ends with CONTENDED; default 100. */
  readonly attempts?: number;
}

/** Operations have 65,536 places on the wire; the gets of scans, and large values that still go out, take a few. */
const CONCURRENCY_MAX = 65_000;
/** Keys alone: a full datagram of them. */
const COUNT_PAGE_SIZE = 4_096;

/**
 * Connects to a cluster.
 *
 *     const client = await connect({ cluster: './cluster' });
 *     await client.put('greeting', 'hello');
 *     const value = await client.get('greeting'); // Buffer, or undefined when absent
 *     await client.close();
 *
 * @throws AvocadoError NO_QUORUM, REFUSED, INSTANCE_CHANGED, CLUSTER_FILES or INVALID_ARGUMENT.
 */
export async function connect(options: ConnectOptions): Promise<Client> {
  const concurrency = count('concurrency', options.concurrency ?? 1_024, CONCURRENCY_MAX);
  const queueLimit = count('queueLimit', options.queueLimit ?? 65_536, Number.MAX_SAFE_INTEGER);
  const deadlineMs = positive('deadlineMs', options.deadlineMs ?? 5_000, Number.MAX_SAFE_INTEGER);
  const connectTimeoutMs = positive('connectTimeoutMs', options.connectTimeoutMs ?? 5_000, Number.MAX_SAFE_INTEGER);
  const route = options.route ?? 'direct';
  if (!ROUTES.includes(route)) {
    throw new AvocadoError('INVALID_ARGUMENT', `route is ${route}: give one of ${ROUTES.join(', ')}`);
  }
  const workers = workerSetting(options.workers ?? 'auto');
  const calls = new Calls();
  const engine = await openEngine({
    clusterDirectory: options.cluster,
    sink: calls,
    route,
    ...(options.as !== undefined && { profile: options.as }),
    ...(options.enrolmentKeyFile !== undefined && { enrolmentKeyFile: options.enrolmentKeyFile }),
    capacity: concurrency,
    connectTimeoutMs,
    workers,
    ...(options.datagramBytes !== undefined && { datagramBytes: options.datagramBytes }),
    ...(options.instance !== undefined && { instance: options.instance }),
  });
  calls.attach(engine, queueLimit);
  return new Client(engine, calls, deadlineMs, route);
}

export class Client {
  readonly #engine: Engine;
  readonly #calls: Calls;
  readonly #route: Route;
  readonly #deadlineMs: number;

  /** Use connect(). */
  constructor(engine: Engine, calls: Calls, deadlineMs: number, route: Route = 'direct') {
    this.#engine = engine;
    this.#calls = calls;
    this.#route = route;
    this.#deadlineMs = deadlineMs;
  }

  /** The pinned cluster instance: keep it and give it to connect() to notice a cluster that lost its data. */
  get instance(): string {
    return this.#engine.instance ?? '';
  }

  /** The value of a key; undefined when it was never put, or deleted. Linearizable. */
  get(key: Key, options?: OperationOptions): Promise<Buffer | undefined> {
    return this.#run(GET, key, options);
  }

  /** Sets a key. Resolves once a quorum has it; it then survives the crash of a minority. */
  put(key: Key, value: Value, options?: OperationOptions): Promise<void> {
    return this.#run(PUT, key, options, value);
  }

  /** Removes a key, whether it was there or not. */
  delete(key: Key, options?: OperationOptions): Promise<void> {
    return this.#run(DELETE, key, options);
  }

  // -- read-modify-writes: each one atomic, also against plain puts and deletes ----------------------------------------

  /** The value of a key and the version of its state, which absent keys have, too. As fast as get(). */
  getWithVersion(key: Key, options?: OperationOptions): Promise<Versioned> {
    return this.#run(GET_WITH_VERSION, key, options);
  }

  /**
   * Sets a key if it is as expected.
   *
   *     const client = await connect({ cluster: './cluster' });
   *     const { version } = await client.getWithVersion('light');
   *     const { ok } = await client.compareAndSet('light', { version }, 'off'); // false if somebody else was here
   *     await client.close();
   *
   * @param expected `{ value }` compares bytes; `{ version }` also tells a value from an equal one that came later;
   * `{ absent: true }` is putIfAbsent().
   * @returns `{ ok: true, version }` of the new state, or `{ ok: false, value, version }` of what was found instead.
   */
  compareAndSet(key: Key, expected: Expected, value: Value, options?: OperationOptions): Promise<ConditionalResult> {
    return this.#change(COMPARE_AND_SET, key, () => setIf(expected, value), options);
  }

  /** Sets a key that was never put, or is deleted. Returns what compareAndSet() does. */
  putIfAbsent(key: Key, value: Value, options?: OperationOptions): Promise<ConditionalResult> {
    return this.#change(PUT_IF_ABSENT, key, () => setIf({ absent: true }, value), options);
  }

  /** Removes a key if it is as expected, by value or version. Returns what compareAndSet() does. */
  deleteIf(key: Key, expected: Expected, options?: OperationOptions): Promise<ConditionalResult> {
    return this.#change(DELETE_IF, key, () => deleteIf(expected), options);
  }

  /** Sets a key and returns the value that it had; undefined when it was absent. */
  getAndSet(key: Key, value: Value, options?: OperationOptions): Promise<Buffer | undefined> {
    return this.#change(GET_AND_SET, key, () => setTo(value), options);
  }

  /**
   * Adds to a whole number of signed 64 bits and returns the sum; an absent key counts as 0. The number is kept as decimal
   * text, so that get() and put() can be used on the same key.
   *
   * @param delta A bigint, or a number that is a safe integer; may be negative.
   * @throws AvocadoError NOT_AN_INTEGER, OVERFLOW; the value is then as it was.
   */
  increment(key: Key, delta: bigint | number = 1n, options?: OperationOptions): Promise<bigint> {
    return this.#change(INCREMENT, key, () => add(delta), options);
  }

  /**
   * Replaces a value by what a function makes of it, so that no change of others in between is lost. The function may
   * run several times, may be async, and removes the key by returning undefined; returning an equal value changes nothing.
   * An async one is waited for no longer than the deadline.
   *
   *     const client = await connect({ cluster: './cluster' });
   *     await client.update('list', (current) => `${current ?? ''}milk\n`);
   *     await client.close();
   *
   * @returns The state that the update made, or left.
   * @throws AvocadoError CONTENDED when others came first in all attempts; what the function throws, too.
   */
  async update(key: Key, change: Change, options: UpdateOptions = {}): Promise<Versioned> {
    const attempts = count('attempts', options.attempts ?? ATTEMPTS_DEFAULT, Number.MAX_SAFE_INTEGER);
    const endMs = performance.now() + this.#deadlineOf(options);
    const { signal } = options;
    const leftMs = (): number => Math.max(endMs - performance.now(), Number.MIN_VALUE);
    const step = (): OperationOptions => ({
      // One that has run out ends as any does, by its outcome.
      deadlineMs: leftMs(),
      ...(signal !== undefined && { signal }),
    });
    return await runUpdate(
      {
        read: () => this.getWithVersion(key, step()),
        setIf: (expected, value) => this.compareAndSet(key, expected, value, step()),
        deleteIf: (expected) => this.deleteIf(key, expected, step()),
        signal,
        leftMs,
      },
      change,
      attempts,
    );
  }

  // -- many ------------------------------------------------------------------------------------------------------------

  /** Values in the order of the keys. Each get is an operation of its own; the first that fails rejects the call. */
  getMany(keys: Iterable<Key>, options?: OperationOptions): Promise<(Buffer | undefined)[]> {
    return Promise.all(Array.from(keys, (key) => this.get(key, options)));
  }

  /** Puts pairs, in no order, each an operation of its own. When one fails, the others may have taken effect. */
  async putMany(pairs: Iterable<readonly [Key, Value]>, options?: OperationOptions): Promise<void> {
    await Promise.all(Array.from(pairs, ([key, value]) => this.put(key, value, options)));
  }

  async deleteMany(keys: Iterable<Key>, options?: OperationOptions): Promise<void> {
    await Promise.all(Array.from(keys, (key) => this.delete(key, options)));
  }

  /**
   * The pairs of a range in bytewise order of their keys, a page ahead of the loop.
   *
   *     for await (const { key, value } of client.scan({ prefix: 'user:' })) console.log(String(key), String(value));
   *
   * Each pair is what a get of its key would have returned at some moment between the asking for its page and the page's
   * arrival; a key that is there all that time is not left out. The scan as a whole is no snapshot: of two keys written
   * one after the other it may have the second and not the first.
   *
   * @throws AvocadoError SCANS_OFF, NOT_SUPPORTED (coordinated route), or what a get throws.
   */
  scan(options: ScanOptions & { readonly keysOnly: true }): AsyncGenerator<ScannedKey, void, void>;
  scan(options?: ScanOptions): AsyncGenerator<ScannedPair, void, void>;
  async *scan(options: ScanOptions = {}): AsyncGenerator<ScannedKey | ScannedPair, void, void> {
    for await (const { keys, values } of this.#pages(options)) {
      for (const [i, key] of keys.entries()) {
        throwIfAborted(options);
        yield options.keysOnly === true ? { key } : { key, value: values[i]! };
      }
    }
  }

  /** How many keys of a range there are; as little a snapshot as scan(). */
  async count(options: CountOptions = {}): Promise<number> {
    let keyCount = 0;
    const pages = this.#pages({ ...options, keysOnly: true, pageSize: COUNT_PAGE_SIZE });
    for await (const { keys } of pages) keyCount += keys.length;
    return keyCount;
  }

  #pages(options: ScanOptions): AsyncGenerator<ScanPage, void, void> {
    if (this.#route !== 'direct') {
      throw new AvocadoError('NOT_SUPPORTED', 'scans go over the direct route: connect with it');
    }
    const deadlineMs = positive('deadlineMs', options.deadlineMs ?? this.#deadlineMs, Number.MAX_SAFE_INTEGER);
    return scanPages(options, (request, signal) =>
      this.#calls.runScan(request, performance.now() + deadlineMs, signal),
    );
  }

  /** What each member says of itself; those that don't answer in time are 'unreachable'. */
  status(timeoutMs = 1_000): Promise<MemberStatus[]> {
    return this.#engine.status(timeoutMs);
  }

  /** Ends what is in flight (CLOSED, or OUTCOME_UNKNOWN for a write that was sent) and releases the socket. */
  async close(): Promise<void> {
    this.#calls.close();
    await this.#engine.close();
  }

  async #run<Result>(kind: CallKind<Result>, key: Key, options: OperationOptions = {}, value?: Value): Promise<Result> {
    const keyBytes = keyBytesOf(key);
    const valueBytes = kind === PUT ? valueBytesOf(value) : undefined;
    if (valueBytes !== undefined && valueBytes.length > SEALED_VALUE_BYTES_MAX) {
      throw tooLarge(kind.name, 'a value has', SEALED_VALUE_BYTES_MAX, valueBytes.length);
    }
    const deadlineMs = this.#deadlineOf(options);
    return this.#calls.run(kind, keyBytes, valueBytes, undefined, performance.now() + deadlineMs, options.signal);
  }

  /** @param requestOf Called here, so that what it finds wrong rejects the promise. */
  async #change<Result>(
    kind: CallKind<Result>,
    key: Key,
    requestOf: () => RmwRequest,
    options: OperationOptions = {},
  ): Promise<Result> {
    const keyBytes = keyBytesOf(key);
    const request = requestOf();
    const longestBytes = Math.max(request.value.length, request.expected.length);
    if (longestBytes > SEALED_VALUE_BYTES_MAX) {
      throw tooLarge(kind.name, 'a value has', SEALED_VALUE_BYTES_MAX, longestBytes);
    }
    const { operations } = this.#engine;
    const bytesMax = operations.rmwBytesMax(keyBytes.length);
    const byteCount = rmwBytes(request);
    if (byteCount > bytesMax) {
      const what = 'values of a read-modify-write of the coordinated route, which go in one datagram, have';
      throw tooLarge(kind.name, what, bytesMax, byteCount);
    }
    const deadlineMs = this.#deadlineOf(options);
    return this.#calls.run(kind, keyBytes, undefined, request, performance.now() + deadlineMs, options.signal);
  }

  #deadlineOf({ deadlineMs = this.#deadlineMs }: OperationOptions): number {
    return positive('deadlineMs', deadlineMs, Number.MAX_SAFE_INTEGER);
  }
}

function tooLarge(callName: string, what: string, bytesMax: number, byteCount: number): AvocadoError {
  return new AvocadoError('VALUE_TOO_LARGE', `${callName}: ${what} at most ${bytesMax} bytes, this one ${byteCount}`);
}
