import type { WorkerSetting } from '../../workers/worker-count.ts';
import { parseWorkerSetting, WORKERS_MAX } from '../../workers/worker-count.ts';
import { AvocadoError } from '../errors.ts';
import { KEY_BYTES_MAX } from '../protocol/messages.ts';
import { Calls } from './calls.ts';
import type { CallKind } from './calls.ts';
import { openEngine } from './engine.ts';
import type { Engine, MemberStatus } from './operations.ts';
import { ROUTES } from './route.ts';
import type { Route } from './route.ts';
import { scanPages } from './scans.ts';
import type { CountOptions, ScanOptions, ScannedKey, ScannedPair } from './scans.ts';
import type { ScanPage } from '../protocol/scan-request.ts';

/** A key: 1 to 1,024 bytes; strings are taken as UTF-8. */
export type Key = string | Uint8Array;
/** A value: up to 1 MiB; strings are taken as UTF-8. */
export type Value = string | Uint8Array;

export interface ConnectOptions {
  /** Cluster directory, as `avocado init` writes it and `avocado dev` prints it. */
  readonly cluster: string;
  /**
   * 'direct' (default): this process asks a quorum of replicas itself, and seals and opens values. 'coordinated': a replica
   * does that for it; one session is enough, and no data key is needed.
   */
  readonly route?: Route;
  /** Time to find a quorum; default 5,000 ms. */
  readonly connectTimeoutMs?: number;
  /** Deadline of an operation that gives none; default 5,000 ms. */
  readonly deadlineMs?: number;
  /** Operations in flight at once; default 1,024, at most 65,000. */
  readonly concurrency?: number;
  /** Operations that may wait for a place beyond those in flight; default 65,536. More end with QUEUE_FULL. */
  readonly queueLimit?: number;
  /** UDP payload of a datagram, bytes; default 16,384 on loopback and 1,472 elsewhere. */
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
    return this.#run('get', key, undefined, options);
  }

  /** Sets a key. Resolves once a quorum has it; it then survives the crash of a minority. */
  async put(key: Key, value: Value, options?: OperationOptions): Promise<void> {
    await this.#run('put', key, value, options);
  }

  /** Removes a key, whether it was there or not. */
  async delete(key: Key, options?: OperationOptions): Promise<void> {
    await this.#run('delete', key, undefined, options);
  }

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
      for (const [i, key] of keys.entries()) yield options.keysOnly === true ? { key } : { key, value: values[i]! };
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

  async #run(
    kind: CallKind,
    key: Key,
    value: Value | undefined,
    options: OperationOptions = {},
  ): Promise<Buffer | undefined> {
    const keyBytes = bytesOf(key, 'INVALID_KEY', 'keys are strings or Uint8Arrays');
    if (keyBytes.length === 0 || keyBytes.length > KEY_BYTES_MAX) {
      throw new AvocadoError('INVALID_KEY', `a key has 1 to ${KEY_BYTES_MAX} bytes, this one ${keyBytes.length}`);
    }
    const valueBytes =
      kind === 'put' ? bytesOf(value, 'INVALID_ARGUMENT', 'values are strings or Uint8Arrays') : undefined;
    const valueBytesMax = this.#engine.operations.valueBytesMax(keyBytes.length);
    if (valueBytes !== undefined && valueBytes.length > valueBytesMax) {
      throw new AvocadoError(
        'VALUE_TOO_LARGE',
        `a value has at most ${valueBytesMax} bytes, this one ${valueBytes.length}` +
          (this.#route === 'direct'
            ? ''
            : ': the coordinated route takes what fits into one datagram, the direct one more'),
      );
    }
    const deadlineMs = positive('deadlineMs', options.deadlineMs ?? this.#deadlineMs, Number.MAX_SAFE_INTEGER);
    return this.#calls.run(kind, keyBytes, valueBytes, performance.now() + deadlineMs, options.signal);
  }
}

function bytesOf(data: unknown, code: 'INVALID_KEY' | 'INVALID_ARGUMENT', message: string): Uint8Array {
  if (typeof data === 'string') return Buffer.from(data, 'utf8');
  if (data instanceof Uint8Array) return data;
  throw new AvocadoError(code, message);
}

function positive(name: string, value: number, max: number): number {
  if (typeof value === 'number' && value > 0 && value <= max) return value;
  throw new AvocadoError('INVALID_ARGUMENT', `${name} is ${value}: give a positive number up to ${max}`);
}

function workerSetting(value: number | 'auto'): WorkerSetting {
  const setting = parseWorkerSetting(String(value));
  if (setting !== undefined) return setting;
  throw new AvocadoError('INVALID_ARGUMENT', `workers is ${value}: give 'auto', or a number from 0 to ${WORKERS_MAX}`);
}

function count(name: string, value: number, max: number): number {
  if (Number.isInteger(value)) return positive(name, value, max);
  throw new AvocadoError('INVALID_ARGUMENT', `${name} is ${value}: give a whole number from 1 to ${max}`);
}
