import { medianRun } from './compare-report.ts';
import { formatHead } from './report.ts';
import type { BenchReport, ReportHead } from './report.ts';
import { alignColumns, count, decimals, formatCounts, megabytes } from './report-text.ts';
import { sumCounts } from './result.ts';
import type { RunResult } from './result.ts';

/** The report of `avocado bench sizes`: what is written as JSON, and the same as text. */
export interface SizesReport extends BenchReport {
  /** Gets and puts of each size in turn. Figures are medians over the rounds, counts are sums. */
  readonly runs: readonly SizesPoint[];
  readonly roundCount: number;
  readonly rounds: readonly SizesRound[];
}

export interface SizesPoint extends RunResult {
  readonly valueBytes: number;
  readonly records: number;
}

export interface SizesRound extends SizesPoint {
  readonly round: number;
}

export function sizesReportOf(head: ReportHead, replicas: number, rounds: readonly SizesRound[]): SizesReport {
  const groups = new Map<string, SizesRound[]>();
  for (const round of rounds) {
    const name = `${round.valueBytes} ${round.readProportion}`;
    groups.set(name, [...(groups.get(name) ?? []), round]);
  }
  const runs = [...groups.values()].map((own) => {
    const { valueBytes, records } = own[0]!;
    return { ...medianRun(own.map(({ round: _round, ...result }) => result)), valueBytes, records };
  });
  const roundCount = new Set(rounds.map(({ round }) => round)).size;
  return { ...head, replicas, load: {}, runs, roundCount, rounds };
}

export function formatSizes(report: SizesReport): string {
  const rounds = report.roundCount === 1 ? '1 round' : `${report.roundCount} rounds`;
  const blocks = [
    formatHead(report, report.replicas, 'of one size at a time, as many as the table says'),
    `Mode ${report.runs[0]?.mode ?? '-'}, medians of ${rounds}; errors are sums. Bytes are those of values; each replica takes a copy of what is put.`,
    formatTable(report),
    `errors  ${formatCounts(sumCounts(report.runs.map(({ errorsByKind }) => errorsByKind)))}`,
  ];
  return `${blocks.join('\n\n')}\n`;
}

function formatTable({ runs }: SizesReport): string {
  const heading = [
    'value bytes',
    'records',
    'operation',
    'ops/s',
    'bytes/s',
    'p50 µs',
    'p99 µs',
    'CPU/op µs',
    'errors',
  ];
  const rows = runs.map((run) => {
    const latency = run.latencyUsAll;
    const { replicas, clients } = run.cpuUsPerOp;
    return [
      count(run.valueBytes),
      count(run.records),
      run.readProportion === 1 ? 'get' : 'put',
      count(run.opsPerSec),
      megabytes(run.bytesPerSec.read + run.bytesPerSec.written),
      latency === null ? '-' : count(latency.p50),
      latency === null ? '-' : count(latency.p99),
      replicas === null ? '-' : decimals(replicas + clients),
      count(run.errors),
    ];
  });
  return alignColumns([heading, ...rows], 'right');
}
