import type { WorkerOptions } from '../src/server/open-sealing.ts';
import type { WorkerFigures } from '../workers/process-sealing.ts';
import type { ClientCounters, MemberStatus, Outcome } from '../src/client/operations.ts';
import type { Route } from '../src/client/route.ts';
import type { ValueSize } from './value-sizes.ts';
import type { OperationType, WriteType } from './workload.ts';

/**
 * What the bench and its load processes tell each other over the channel of child_process.fork, as JSON. The parent
 * asks, each question has one answer; progress comes unasked. `failed` answers any question and is a process's last word.
 */
export interface OpenTask extends WorkerOptions {
  readonly type: 'open';
  readonly clusterDirectory: string;
  /** Those that live in this process. */
  readonly clients: readonly ClientTask[];
  /** In all processes together. */
  readonly clientCount: number;
  readonly records: number;
  /** The number of the first; default: 0. */
  readonly firstRecord?: number;
  readonly valueSizes: readonly ValueSize[];
  /** Of the load phase. */
  readonly seed: number;
  readonly datagramBytes: number | null;
  /** Default: direct. */
  readonly route?: Route;
  /** Asked of the system for each client's socket. */
  readonly receiveBufferBytes: number | null;
  /** Of each client. */
  readonly outstanding: number;
  /** Of each operation; default: far above any latency of a cluster that works. */
  readonly deadlineMs?: number;
  /** The run's start by process.hrtime.bigint(), in decimal: JSON has no 64-bit numbers. */
  readonly originNs: string;
}

export interface ClientTask {
  /** Among the clients of all processes. */
  readonly index: number;
  /** Where it writes its part of the history. */
  readonly historyPath: string | null;
}

export interface RunTask {
  readonly type: 'run';
  readonly readProportion: number;
  readonly write: WriteType;
  readonly scans?: boolean;
  readonly seed: number;
  readonly warmupMs: number;
  readonly durationMs: number;
}

export type ParentMessage = OpenTask | { readonly type: 'load' } | RunTask | { readonly type: 'close' };

export interface Opened {
  readonly type: 'opened';
  /** Beside any of the records' keys. */
  readonly memberCount: number;
}

export interface Loaded {
  readonly type: 'loaded';
  readonly puts: number;
  /** Puts that ended without success and were tried again. */
  readonly retries: number;
  readonly elapsedMs: number;
  /** Why a client gave up. */
  readonly failure: Outcome | null;
}

export interface RanType {
  readonly count: number;
  /** Encoded by LatencyHistogram. */
  readonly latency: string;
}

/** All clients of a process together. */
export interface Ran {
  readonly type: 'ran';
  readonly windowMs: number;
  /** A read-modify-write is one. */
  readonly operations: number;
  /** Ended well since the run's start, warm-up and drain included. */
  readonly completed: number;
  /** Of each client by itself. */
  readonly operationsByClient: readonly number[];
  /** Bytes of values that gets returned, and that puts wrote (once, however many replicas took them). */
  readonly readBytes: number;
  readonly writtenBytes: number;
  /** Compare-and-sets that met another version, and were tried again. */
  readonly conflicts: number;
  readonly errors: Readonly<Record<string, number>>;
  readonly byType: Readonly<Record<OperationType, RanType>>;
  /** User and system time of the load process in the window. */
  readonly cpuUs: number;
  /** Grown in the window. */
  readonly counters: ClientCounters;
  /** At the end of the window; null: the process has none. */
  readonly workers: WorkerFigures | null;
  /** Datagrams and messages that clients did not send or act on, grown in the window, by reason. */
  readonly clientDrops: Readonly<Record<string, number>>;
  /** Of each client's socket, as the system granted it; the smallest. */
  readonly receiveBufferBytes: number;
  /** The members at the window's two ends, from client 0. */
  readonly members: { readonly before: readonly MemberStatus[]; readonly after: readonly MemberStatus[] } | null;
}

export interface Progress {
  readonly type: 'progress';
  /** Of the present phase. */
  readonly completed: number;
  readonly failed: number;
  /** Since the last such message. */
  readonly opsPerSec: number;
}

export interface Failed {
  readonly type: 'failed';
  /** Of an AvocadoError. */
  readonly code: string | null;
  readonly message: string;
}

export type Answer = Opened | Loaded | Ran | { readonly type: 'closed' };
export type ChildMessage = Answer | Progress | Failed;
