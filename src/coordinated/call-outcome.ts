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
