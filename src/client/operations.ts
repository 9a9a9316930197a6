import type { DropReason } from '../../net/drops.ts';
import type { WorkerFigures } from '../../workers/process-sealing.ts';
import type { CoordinatorCounters } from '../protocol/coordinator.ts';
import type { EndedStamp, OperationSink } from '../protocol/outcome.ts';
import type { RmwRequest } from '../protocol/rmw-request.ts';
import type { ScanRequest } from '../protocol/scan-request.ts';
import type { Route } from './route.ts';
import type { WorkerOptions } from '../server/open-sealing.ts';

/**
 * The client's operations without promises: what the public library wraps and the bench drives. One process, one event
 * loop; completions come from inside a loop turn.
 */

export type { OperationSink, Outcome } from '../protocol/outcome.ts';

/** Returned by start* when the table of operations is full: try again after one has ended. */
export const TABLE_FULL = -1;

export interface Operations {
  /** Number of operations that can be in flight at once. */
  readonly capacity: number;
  readonly active: number;
  /** Largest new and expected value of a read-modify-write together, each rounded up to 8 bytes. */
  rmwBytesMax(keyBytes: number): number;
  /**
   * Starts an operation and returns its id, or TABLE_FULL. Key and value are copied before the call returns.
   * The key has 1 to 1,024 bytes; a value at most 1 MiB (asserted here, checked by the public API).
   * @param deadlineMs From now on, milliseconds.
   * @param withVersion `ended` is to have the version; in the coordinated route that costs bytes.
   */
  startGet(token: number, key: Uint8Array, deadlineMs: number, withVersion?: boolean): number;
  startPut(token: number, key: Uint8Array, value: Uint8Array, deadlineMs: number): number;
  startDelete(token: number, key: Uint8Array, deadlineMs: number): number;
  /** Values are copied before the call returns; together they have at most rmwBytesMax. */
  startRmw(token: number, key: Uint8Array, request: RmwRequest, deadlineMs: number): number;
  /** One page of a scan, whose end is told to the request. In the direct route only. */
  startScan(request: ScanRequest, deadlineMs: number): number;
  /** Of the operation that ends, while its sink is told so: its version and what comes with it. */
  readonly ended: EndedStamp;
  /** Ends an operation now: 'aborted', or 'outcome-unknown' once something was sent that may take effect. No effect on an ended one. */
  cancel(operationId: number): void;
}

export type ClientCounters = CoordinatorCounters;

/** Of data keys that were rotated, since the replica's start. */
export interface DataKeyFigures {
  /** Ids of those that values are being taken away from. */
  readonly retiring: readonly number[];
  /**
   * Values that the last whole look at the store left under them; of these, values for which there is no trusted memory to
   * seal them anew.
   */
  readonly left: number;
  readonly noMemory: number;
  /** Values sealed anew; attempts that came to nothing and are made again. */
  readonly resealed: number;
  readonly failed: number;
  /** Keys that were destroyed here. */
  readonly destroyed: number;
}

/** Of read-modify-writes, since the replica's start. */
export interface RmwFigures {
  /** That had one; each takes trusted memory for good. */
  readonly keys: number;
  /** That the replica learnt the decision of. */
  readonly decided: number;
  /** Times that a greater ballot was in the way of a proposal. */
  readonly nacked: number;
  /** As a coordinator for others: proposals of others that it decided, and times that it had to wait for one. */
  readonly helped: number;
  readonly backOffs: number;
}

export interface MemberStatus {
  index: number;
  address: string;
  reachable: boolean;
  /** 'forming': waits for all members; 'active': serves; 'outside': its incarnation is not in the cluster instance. */
  state: 'forming' | 'active' | 'outside' | 'unreachable';
  /** Why it is not active, or not reachable; one sentence. */
  reason?: string;
  incarnation?: string;
  instance?: string;
  epoch?: number;
  keys?: number;
  trustedBytes?: number;
  trustedBytesMax?: number;
  hostBytes?: number;
  /** Copies in host memory that failed their check; copies replaced by REPAIR. */
  tampered?: number;
  repaired?: number;
  /** Datagrams and messages not acted on, by reason; reasons that never occurred are left out. */
  drops?: Record<string, number>;
  /** Undefined: it has none. */
  workers?: WorkerFigures;
  uptimeMs?: number;
  /** User and system CPU time of the process since its start. */
  cpuUs?: number;
  rssBytes?: number;
  /** Of its socket, as the system granted it. */
  receiveBufferBytes?: number;
  operations?: number;
  /** Operations that it carried out for clients of the coordinated route. */
  calls?: number;
  /** Left out while no key ever had a read-modify-write. */
  rmw?: RmwFigures;
  /** Left out while no data key was ever rotated. */
  dataKeys?: DataKeyFigures;
}

/** A connected client without promises on its hot path. */
export interface Engine {
  readonly operations: Operations;
  readonly counters: Readonly<ClientCounters>;
  /** Datagrams and messages not acted on, by reason; reasons that never occurred are left out. */
  readonly drops: Partial<Record<DropReason, number>>;
  /** Members of the configuration; how many make a quorum. */
  readonly memberCount: number;
  readonly quorum: number;
  /** Of its socket, as the system granted it. */
  readonly receiveBufferBytes: number;
  /** Id of the cluster instance, once it is pinned. */
  readonly instance: string | undefined;
  /** Undefined: the engine has none. */
  readonly workers: WorkerFigures | undefined;
  /** Whether values of this key are sealed and opened here, and there is no data key for them. */
  lacksDataKey(key: Uint8Array): boolean;
  /** Asks each member for its status; members that don't answer in time are 'unreachable'. */
  status(timeoutMs: number): Promise<MemberStatus[]>;
  close(): Promise<void>;
}

export interface EngineOptions extends EngineSettings {
  /** Cluster directory, see `avocado init`. */
  clusterDirectory: string;
  /** As which client; default: the one without a name. */
  profile?: string;
  enrolmentKeyFile?: string;
}

export interface EngineSettings extends WorkerOptions {
  sink: OperationSink;
  /** Default: direct. */
  route?: Route;
  /** Operations in flight at once. */
  capacity?: number;
  /** Payload of one datagram; default from the interface's MTU (loopback: 16,640 bytes). */
  datagramBytes?: number;
  /** Asked of the system for the socket; default 4 MiB. It may grant less. */
  receiveBufferBytes?: number;
  /** How long to wait for a quorum before connecting fails with NO_QUORUM. */
  connectTimeoutMs?: number;
  /** Hex cluster instance id that must be met, else INSTANCE_CHANGED. */
  instance?: string;
}
