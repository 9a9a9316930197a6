import type { CalibrationResult } from './calibration.ts';
import { COMPARED_MODES, medianOf } from './compare-ratio.ts';
import type { ComparedMode, Ratio, RoundResult, WorkloadRatio } from './compare-ratio.ts';
import type { LatencySummary } from './histogram.ts';
import { formatHead } from './report.ts';
import type { BenchReport, ReportHead } from './report.ts';
import { alignColumns, count, decimals, microseconds } from './report-text.ts';
import type { RunResult } from './result.ts';
import type { LoadSummary } from './target.ts';

/** The report of `avocado bench compare`. In `runs`, figures are medians over rounds and counts are sums. */
export interface CompareReport extends BenchReport {
  readonly roundCount: number;
  /** Each measurement by itself. */
  readonly rounds: readonly RoundResult[];
  /** To plaintext, in the first workload: medians of the rounds' ratios. */
  readonly ratio: Readonly<Partial<Record<ComparedMode, { readonly opsPerSec: number; readonly p99: number }>>>;
  /** For each workload, with the spread. */
  readonly ratios: readonly WorkloadRatio[];
  readonly calibration: CalibrationResult;
}

export function compareReportOf(
  head: ReportHead,
  replicas: number,
  load: Readonly<Record<string, LoadSummary>>,
  rounds: readonly RoundResult[],
  ratios: readonly WorkloadRatio[],
  calibration: CalibrationResult,
): CompareReport {
  const ratio: Partial<Record<ComparedMode, { opsPerSec: number; p99: number }>> = {};
  for (const mode of COMPARED_MODES) {
    const first = ratios.find((candidate) => candidate.mode === mode);
    if (first !== undefined) ratio[mode] = { opsPerSec: first.opsPerSec.median, p99: first.p99.median };
  }
  return {
    ...head,
    replicas,
    load,
    runs: medianRuns(rounds),
    roundCount: new Set(rounds.map((result) => result.round)).size,
    rounds,
    ratio,
    ratios,
    calibration,
  };
}

function medianRuns(rounds: readonly RoundResult[]): RunResult[] {
  const groups = new Map<string, RoundResult[]>();
  for (const result of rounds) {
    const name = `${result.workload} ${result.mode}`;
    groups.set(name, [...(groups.get(name) ?? []), result]);
  }
  return [...groups.values()].map(medianRun);
}

function medianRun(results: readonly RoundResult[]): RunResult {
  const { round: _round, ...first } = results[0]!;
  const read = medianSummary(results.map((result) => result.latencyUs.read));
  const update = medianSummary(results.map((result) => result.latencyUs.update));
  const replicasCpu = results.map((result) => result.cpuUsPerOp.replicas).filter((value) => value !== null);
  const sum = (figure: (result: RunResult) => number): number =>
    results.reduce((total, result) => total + figure(result), 0);
  const median = (figure: (result: RunResult) => number): number => medianOf(results.map(figure));
  return {
    ...first,
    durationMs: median((result) => result.durationMs),
    operations: sum((result) => result.operations),
    opsPerSec: median((result) => result.opsPerSec),
    latencyUs: { ...(read !== null && { read }), ...(update !== null && { update }) },
    latencyUsAll: medianSummary(results.map((result) => result.latencyUsAll ?? undefined)),
    errors: sum((result) => result.errors),
    errorsByKind: sumCounts(results.map((result) => result.errorsByKind)),
    retransmissions: sum((result) => result.retransmissions),
    hedges: sum((result) => result.hedges),
    writeBacks: sum((result) => result.writeBacks),
    tampered: sum((result) => result.tampered),
    repairs: sum((result) => result.repairs),
    cpuUsPerOp: {
      replicas: replicasCpu.length === 0 ? null : medianOf(replicasCpu),
      clients: median((result) => result.cpuUsPerOp.clients),
    },
    drops: sumCounts(results.map((result) => result.drops)),
  };
}

function medianSummary(summaries: readonly (LatencySummary | undefined)[]): LatencySummary | null {
  const present = summaries.filter((summary) => summary !== undefined);
  if (present.length === 0) return null;
  const median = (figure: (summary: LatencySummary) => number): number => medianOf(present.map(figure));
  return {
    count: present.reduce((total, summary) => total + summary.count, 0),
    p50: median((summary) => summary.p50),
    p95: median((summary) => summary.p95),
    p99: median((summary) => summary.p99),
    p999: median((summary) => summary.p999),
    max: median((summary) => summary.max),
  };
}

function sumCounts(all: readonly Readonly<Record<string, number>>[]): Record<string, number> {
  const sums: Record<string, number> = {};
  for (const counts of all) for (const [name, value] of Object.entries(counts)) sums[name] = (sums[name] ?? 0) + value;
  return sums;
}

export function formatCompare(report: CompareReport): string {
  const rounds = report.roundCount === 1 ? '1 round' : `${report.roundCount} interleaved rounds`;
  const blocks = [
    formatHead(report, report.replicas),
    `Medians of ${rounds}; errors are sums. Latencies in µs.`,
    formatRuns(report),
    'Ratio to plaintext in the same round: median (lowest to highest)',
    formatRatios(report.ratios),
    formatCalibration(report),
  ];
  return `${blocks.join('\n\n')}\n`;
}

function formatRuns(report: CompareReport): string {
  const heading = [
    'workload, mode',
    'ops/s',
    'read p50',
    'p99',
    'update p50',
    'p99',
    'CPU/op replicas',
    'clients',
    'errors',
  ];
  const rows = report.runs.map((run) => {
    const { read, update } = run.latencyUs;
    return [
      `${run.workload} ${run.mode}`,
      count(run.opsPerSec),
      cell(read?.p50),
      cell(read?.p99),
      cell(update?.p50),
      cell(update?.p99),
      run.cpuUsPerOp.replicas === null ? '-' : microseconds(run.cpuUsPerOp.replicas),
      microseconds(run.cpuUsPerOp.clients),
      count(run.errors),
    ];
  });
  return alignColumns([heading, ...rows], 'right');
}

function cell(value: number | undefined): string {
  return value === undefined ? '-' : count(value);
}

function formatRatios(ratios: readonly WorkloadRatio[]): string {
  const rows = ratios.map((ratio) => [
    `${ratio.workload} ${ratio.mode}`,
    formatRatio(ratio.opsPerSec),
    formatRatio(ratio.p99),
    formatRatio(ratio.readP50),
    formatRatio(ratio.updateP50),
  ]);
  return alignColumns([['workload, mode', 'ops/s', 'p99', 'read p50', 'update p50'], ...rows], 'right');
}

function formatRatio(ratio: Ratio | undefined): string {
  if (ratio === undefined) return '-';
  return `${decimals(ratio.median)} (${decimals(ratio.min)} to ${decimals(ratio.max)})`;
}

function formatCalibration(report: CompareReport): string {
  const { calibration, settings } = report;
  const { echoUs, datagramBytes, datagramsPerSec, aeadCallsPerSec } = calibration;
  const rows = [
    [
      'raw UDP echo',
      `p50 ${count(echoUs.p50)} µs, p99 ${count(echoUs.p99)} µs, one datagram of ${datagramBytes} bytes at a time`,
    ],
    [
      'raw UDP one way',
      `${count(datagramsPerSec.received)} datagrams/s received of ${count(datagramsPerSec.sent)} sent`,
    ],
    ['AEAD', `${count(aeadCallsPerSec)} calls/s, values of ${datagramBytes} bytes sealed and opened`],
  ];
  // With more outstanding, operations wait for each other, and an echo says nothing about them.
  if (settings.outstanding === 1 && settings.clients === 1) {
    const parts = report.runs.flatMap((run) => {
      const p50 = run.latencyUs.read?.p50;
      return p50 === undefined ? [] : [`${run.workload} ${run.mode} ${decimals(p50 / echoUs.p50)}`];
    });
    if (parts.length > 0) rows.push(['read p50 to echo', parts.join(', ')]);
  }
  return ['Calibration', alignColumns(rows)].join('\n\n');
}
