import { OUTCOMES } from '../protocol/outcome.ts';
import type { Outcome } from '../protocol/outcome.ts';

/**
 * How a call ended: an operation's outcome, or
 *
 * - busy: it was not started, and never will be under this generation
 * - stream-unknown: the replica has forgotten the client's stream, or never knew it: it can't tell what became of the call
 *
 * Its place here is its number on the wire: outcomes are added at the end, never moved.
 */
export const CALL_OUTCOMES = [...OUTCOMES, 'busy', 'stream-unknown'] as const;
export type CallOutcome = Outcome | 'busy' | 'stream-unknown';

export const CALL_OUTCOME_NUMBERS = Object.fromEntries(
  CALL_OUTCOMES.map((outcome, number) => [outcome, number]),
) as Readonly<Record<CallOutcome, number>>;

/** What the client of a call makes of its end. */
export type CallEnding =
  /** What was asked for has been done, or read, and comes along. */
  | 'answer'
  /** It is over. */
  | 'over'
  /** It was not carried out, and never will be under its generation. */
  | 'not-done'
  /** The replica knows nothing of it. */
  | 'stream-unknown';

export function endingOf(outcome: CallOutcome): CallEnding {
  switch (outcome) {
    case 'ok':
    case 'absent':
    case 'mismatch':
      return 'answer';
    case 'busy':
    case 'closed':
    case 'deadline':
    case 'aborted':
      return 'not-done';
    case 'stream-unknown':
      return 'stream-unknown';
    case 'outcome-unknown':
    case 'trusted-memory-full':
    case 'host-memory-full':
    case 'unreadable':
    case 'too-large':
    case 'stamps-exhausted':
    case 'not-permitted':
    case 'not-an-integer':
    case 'overflow':
    case 'value-too-large':
    case 'done-too-large':
      return 'over';
  }
}
