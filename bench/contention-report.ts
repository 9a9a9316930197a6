import { medianRun } from './compare-report.ts';
import { formatHead } from './report.ts';
import type { BenchReport, ReportHead } from './report.ts';
import { alignColumns, count, decimals, formatCounts } from './report-text.ts';
import { sumCounts } from './result.ts';
import type { RunResult } from './result.ts';

/** The report of `avocado bench contention`: what is written as JSON, and the same as text. */
export interface ContentionReport extends BenchReport {
  /** In the order of their numbers of keys. Figures are medians over the rounds, counts are sums. */
  readonly runs: readonly ContentionPoint[];
  readonly roundCount: number;
  readonly rounds: readonly ContentionRound[];
}

export interface ContentionRound extends RunResult {
  readonly round: number;
  readonly keys: number;
  /** Of all counters afterwards, in decimal: JSON has no 64-bit numbers. */
  readonly sum: string;
}

export interface ContentionPoint extends RunResult {
  readonly keys: number;
  /** Whether in each round the sum is what was acknowledged, and at most what is of unknown outcome more. */
  readonly isExact: boolean;
  /** Of an operation in the window: others' that it decided, and times that it had to wait for another. */
  readonly helpedPerOp: number;
  readonly backOffsPerOp: number;
}

export function contentionReportOf(
  head: ReportHead,
  replicas: number,
  rounds: readonly ContentionRound[],
): ContentionReport {
  const keyCounts = [...new Set(rounds.map(({ keys }) => keys))].sort((a, b) => a - b);
  const runs = keyCounts.map((keys) => {
    const own = rounds.filter((round) => round.keys === keys);
    const median = medianRun(own);
    return {
      ...median,
      keys,
      isExact: own.every((round) => problemOf(round) === undefined),
      helpedPerOp: perOperation(median, median.helped),
      backOffsPerOp: perOperation(median, median.backOffs),
    };
  });
  return { ...head, replicas, load: {}, runs, roundCount: new Set(rounds.map(({ round }) => round)).size, rounds };
}

function perOperation({ operations }: RunResult, times: number): number {
  return operations === 0 ? 0 : times / operations;
}

/** An increment was lost, or counted twice. */
export function problemOf({ keys, sum, completed, errorsByKind }: ContentionRound): string | undefined {
  const more = BigInt(sum) - BigInt(completed);
  const unknown = errorsByKind['outcome-unknown'] ?? 0;
  if (more >= 0n && more <= BigInt(unknown)) return undefined;
  return `${keys === 1 ? '1 counter' : `${keys} counters`} sum up to ${sum}, where ${completed} increments were acknowledged and ${unknown} are of unknown outcome`;
}

export function formatContention(report: ContentionReport): string {
  const [first] = report.runs;
  const rounds = report.roundCount === 1 ? '1 round' : `${report.roundCount} rounds, each the other way round`;
  return `${[
    formatHead(report, report.replicas, 'counters, chosen evenly'),
    first === undefined ? '' : `Increments, mode ${first.mode}, by how many counters they are dealt out to`,
    `Medians of ${rounds}; counts are sums.`,
    formatContentionTable(report.runs),
    alignColumns([
      ['errors', formatCounts(sumCounts(report.runs.map(({ errorsByKind }) => errorsByKind)))],
      ['helped', 'increments of other clients that one had to finish before its own'],
      ['waits', 'times that one met another’s ballot, and waited for a random time'],
      ['sum', 'exact: what was acknowledged, and of what is of unknown outcome some'],
    ]),
  ].join('\n\n')}\n`;
}

export function formatContentionTable(runs: readonly ContentionPoint[]): string {
  const heading = [
    'counters',
    'ops/s',
    'slowest client',
    'p50 µs',
    'p99 µs',
    'max µs',
    'CPU/op µs',
    'helped/op',
    'waits/op',
    'retransmissions',
    'unknown',
    'other errors',
    'sum',
  ];
  const rows = runs.map((run) => {
    const unknown = run.errorsByKind['outcome-unknown'] ?? 0;
    const { replicas, clients } = run.cpuUsPerOp;
    return [
      count(run.keys),
      count(run.opsPerSec),
      count(run.clientOpsPerSec.min),
      ...[run.latencyUs.rmw?.p50, run.latencyUs.rmw?.p99, run.latencyUs.rmw?.max].map((us) =>
        us === undefined ? '-' : count(us),
      ),
      replicas === null ? '-' : decimals(replicas + clients),
      decimals(run.helpedPerOp),
      decimals(run.backOffsPerOp),
      count(run.retransmissions),
      count(unknown),
      count(run.errors - unknown),
      run.isExact ? 'exact' : 'WRONG',
    ];
  });
  return alignColumns([heading, ...rows], 'right');
}
