import type { Incoming } from '../../net/inbox.ts';
import type { CoordinatorCounters } from '../protocol/coordinator.ts';
import type { EndedStamp } from '../protocol/outcome.ts';
import type { Peer } from '../protocol/peer.ts';
import type { RmwRequest } from '../protocol/rmw-request.ts';

/**
 * How a client's operations are carried out:
 *
 * - direct: its own coordinator asks a quorum of replicas; one round trip for a get, and nobody to fail over from
 * - coordinated: it calls one replica, which coordinates, seals and opens for it; it needs no data key and one session
 */
export const ROUTES = ['direct', 'coordinated'] as const;
export type Route = (typeof ROUTES)[number];

/** What both have in common: Coordinator and CallClient. */
export interface OperationCore {
  readonly capacity: number;
  readonly active: number;
  readonly counters: CoordinatorCounters;
  /** When tick() is to be called next; Infinity when nothing is in flight. */
  readonly nextTickMs: number;
  startGet(token: number, key: Uint8Array, deadlineMs: number, nowMs: number, withVersion?: boolean): number;
  startPut(token: number, key: Uint8Array, value: Uint8Array, deadlineMs: number, nowMs: number): number;
  startDelete(token: number, key: Uint8Array, deadlineMs: number, nowMs: number): number;
  startRmw(token: number, key: Uint8Array, request: RmwRequest, deadlineMs: number, nowMs: number): number;
  readonly ended: EndedStamp;
  cancel(operationId: number): void;
  close(): void;
  tick(nowMs: number): void;
  onMessages(incoming: Incoming<Peer>, nowMs: number): void;
  invariants(): void;
}
