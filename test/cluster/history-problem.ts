import { checkHistory } from '../../bench/checker/check.ts';
import { describeViolation } from '../../bench/checker/describe.ts';
import type { Operation } from '../../bench/checker/operation.ts';

/** What is wrong with the history of a scripted cluster, if anything; it is short, so not knowing it is wrong, too. */
export function historyProblem(history: readonly Operation[]): string | undefined {
  const { verdict, violation, undecidedKeys } = checkHistory(history);
  switch (verdict) {
    case 'linearizable':
      return undefined;
    case 'violation':
      return describeViolation(violation!);
    case 'undecided':
      return `the history of ${undecidedKeys.join(', ')} could not be decided`;
  }
}
