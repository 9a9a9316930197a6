import { FLAG_CONFLICT, FLAG_HOST_FULL, FLAG_NOT_PERMITTED } from './messages.ts';

/** How an operation ended. */
export const OUTCOMES = [
  'ok',
  /** A get that found nothing (never written, or deleted). */
  'absent',
  'deadline',
  'aborted',
  'outcome-unknown',
  'trusted-memory-full',
  'host-memory-full',
  'unreadable',
  /** The greatest stamp counter is in use: a malicious writer put it there. */
  'stamps-exhausted',
  'not-permitted',
  'closed',
  /** Coordinated route: the value does not fit into a datagram between client and replica. */
  'too-large',
] as const;
export type Outcome = (typeof OUTCOMES)[number];

/** Ends the operation of a slot. */
export type EndOperation = (slot: number, outcome: Outcome) => void;

/** What a member's refusal of a write means for the operation. */
export function refusalOf(flags: number): Outcome {
  if ((flags & FLAG_NOT_PERMITTED) !== 0) return 'not-permitted';
  if ((flags & FLAG_CONFLICT) !== 0) return 'unreadable';
  return (flags & FLAG_HOST_FULL) !== 0 ? 'host-memory-full' : 'trusted-memory-full';
}

export interface OperationSink {
  /**
   * @param token As given to start.
   * @param value Bytes [0, valueBytes) hold the value of a get that ended 'ok'; valid during the call only.
   */
  onOperationEnded(token: number, outcome: Outcome, value: Uint8Array, valueBytes: number): void;
}
