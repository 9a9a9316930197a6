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
  'too-large',
  /** The greatest stamp counter is in use: a malicious writer put it there. */
  'stamps-exhausted',
  'not-permitted',
  'closed',
] as const;
export type Outcome = (typeof OUTCOMES)[number];

export interface OperationSink {
  /**
   * @param token As given to start.
   * @param value Bytes [0, valueBytes) hold the value of a get that ended 'ok'; valid during the call only.
   */
  onOperationEnded(token: number, outcome: Outcome, value: Uint8Array, valueBytes: number): void;
}
