import { DATA_ERRORS } from '../result.ts';
import type { HistorySummary } from './history-summary.ts';

/** What a linearizability checker says of a history. */
export interface HistoryVerdict {
  readonly verdict: 'linearizable' | 'violation' | 'undecided';
  /** One line: what was checked, or what fits no order. */
  readonly detail: string;
}

export interface Findings {
  readonly history: HistoryVerdict;
  readonly summary: HistorySummary;
  readonly recoveryMsMax: number;
  readonly errorsByKind: Readonly<Record<string, number>>;
  /** Replicas that ended and were not killed. */
  readonly unexpectedExits: readonly string[];
  /** Replicas that were killed, started again empty, and vote. */
  readonly votingRestarted: readonly number[];
}

/**
 * What a run shows to be broken, a line each; none: it passed. Deadlines and unknown outcomes are what faults do, as
 * long as they end with them.
 */
export function failuresOf(findings: Findings): string[] {
  const { history, summary, errorsByKind, recoveryMsMax } = findings;
  const failures: string[] = [];
  if (history.verdict === 'violation') failures.push(`the history is not linearizable: ${history.detail}`);
  if (history.verdict === 'undecided')
    failures.push(`whether the history is linearizable is undecided: ${history.detail}`);
  for (const kind of DATA_ERRORS) {
    const times = errorsByKind[kind];
    if (times !== undefined) failures.push(`${times} x ${kind}`);
  }
  for (const index of findings.votingRestarted) {
    failures.push(`replica ${index} was started again empty and did not stay outside`);
  }
  for (const exit of findings.unexpectedExits) failures.push(exit);
  const bound = `${recoveryMsMax / 1_000} s`;
  if (summary.recoveryMs === null) {
    failures.push('a load process had no success after the last fault');
  } else if (summary.recoveryMs > recoveryMsMax) {
    failures.push(
      `operations succeeded again only ${(summary.recoveryMs / 1_000).toFixed(2)} s after the last fault (at most ${bound})`,
    );
  }
  if (summary.lateFailures > 0) {
    failures.push(`${summary.lateFailures} operations that began over ${bound} after the last fault did not succeed`);
  }
  return failures;
}
