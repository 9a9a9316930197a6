import { checkHistory } from '../../bench/checker/check.ts';
import { describeViolation } from '../../bench/checker/describe.ts';
import type { Operation } from '../../bench/checker/operation.ts';

/** The problem of a history that the checker can neither accept nor refuse within its bound. */
export const UNDECIDED = /^the history of .+ could not be decided$/;

/** What is wrong with the history of a simulated cluster, if anything; not knowing it is a failure too. */
export function historyProblem(history: readonly Operation[]): string | undefined {
  const { violation, undecidedKeys } = checkHistory(history);
  if (violation !== undefined) return describeViolation(violation);
  return undecidedKeys.length === 0 ? undefined : `the history of ${undecidedKeys.join(', ')} could not be decided`;
}
