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
  /** Coordinated route: the value that a read-modify-write found does not fit into a datagram to the client. Nothing was changed. */
  'too-large',
  /** A read-modify-write whose condition did not hold: nothing was changed. The value found comes with it. */
  'mismatch',
  /** An increment of a value that is no decimal text of a signed 64-bit integer; of one that would leave these. */
  'not-an-integer',
  'overflow',
  /** Read-modify-writes take values of one datagram: the value found, or the new one, is larger. Nothing was changed. */
  'value-too-large',
  /** Coordinated route: a read-modify-write was done, and the value before is too large for the client's datagrams. */
  'done-too-large',
] as const;
export type Outcome = (typeof OUTCOMES)[number];

/** How a page of a scan ended. 'scans-off': too few replicas keep their keys in order. */
export type ScanOutcome = Outcome | 'scans-off';

/** Outcomes that answer what was asked: what was read or done, or that a condition did not hold. */
export type Answer = Extract<Outcome, 'ok' | 'absent' | 'mismatch'>;

export function isAnswer(outcome: ScanOutcome): outcome is Answer {
  return outcome === 'ok' || outcome === 'absent' || outcome === 'mismatch';
}

/** Ends the operation of a slot. */
export type EndOperation = (slot: number, outcome: Outcome) => void;

/** What a member's refusal of a write means for the operation. */
export function refusalOf(flags: number): Outcome {
  if ((flags & FLAG_NOT_PERMITTED) !== 0) return 'not-permitted';
  if ((flags & FLAG_CONFLICT) !== 0) return 'unreadable';
  return (flags & FLAG_HOST_FULL) !== 0 ? 'host-memory-full' : 'trusted-memory-full';
}

/**
 * The stamp that an operation returned, wrote or found, and whether a value came with it. Told by the coordinator during
 * onOperationEnded() only, for the outcomes ok, absent and mismatch: one object, reused.
 *
 *     get                 the stamp read; all zero when the key was never written
 *     put, delete         the stamp written
 *     read-modify-write   ok: the stamp created; mismatch: the stamp found
 */
export interface EndedStamp {
  counter: number;
  writerHigh: number;
  writerLow: number;
  rmw: number;
  /** A value is handed over, which may be empty. False: the key was absent, or the answer has none. */
  hasValue: boolean;
}

export interface OperationSink {
  /**
   * @param token As given to start.
   * @param value Bytes [0, valueBytes) hold the value of a get that ended 'ok'; of a read-modify-write: getAndSet the value
   * before, increment the new value's text, mismatch the value found. Valid during the call only.
   */
  onOperationEnded(token: number, outcome: Outcome, value: Uint8Array, valueBytes: number): void;
}
