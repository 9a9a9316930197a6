import type { Route } from '../src/client/route.ts';
import type { CalibrationResult } from './calibration.ts';
import { COMPARED_MODES, medianOf } from './compare-ratio.ts';
import type { ComparedMode, Ratio, RoundResult, WorkloadRatio } from './compare-ratio.ts';
import type { LatencySummary } from './histogram.ts';
import { formatHead } from './report.ts';
import type { BenchReport, ReportHead } from './report.ts';
import { alignColumns, count, decimals, megabytes, microseconds } from './report-text.ts';
import { sumCounts } from './result.ts';
import type { RunResult } from './result.ts';
import type { LoadSummary } from './target.ts';
import { OPERATION_TYPES } from './workload.ts';
import type { OperationType } from './workload.ts';

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

/** The direct route goes without saying. */
function nameOf({ workload, mode, route }: { workload: string; mode: string; route: Route }): string {
  return route === 'direct' ? `${workload} ${mode}` : `${workload} ${mode}, ${route}`;
}

function medianRuns(rounds: readonly RoundResult[]): RunResult[] {
  const groups = new Map<string, RoundResult[]>();
  for (const result of rounds) {
    const name = nameOf(result);
    groups.set(name, [...(groups.get(name) ?? []), result]);
  }
  return [...groups.values()].map((results) => medianRun(results.map(({ round: _round, ...result }) => result)));
}

/** @param results At least one. */
export function medianRun(results: readonly RunResult[]): RunResult {
  const first = results[0]!;
  const latencyUs: Partial<Record<OperationType, LatencySummary>> = {};
  const opsPerSecByType: Partial<Record<OperationType, number>> = {};
  for (const type of OPERATION_TYPES) {
    const summary = medianSummary(results.map((result) => result.latencyUs[type]));
    if (summary === null) continue;
    latencyUs[type] = summary;
    opsPerSecByType[type] = medianOf(results.map((result) => result.opsPerSecByType[type] ?? 0));
  }
  const replicasCpu = results.map((result) => result.cpuUsPerOp.replicas).filter((value) => value !== null);
  const sum = (figure: (result: RunResult) => number): number =>
    results.reduce((total, result) => total + figure(result), 0);
  const median = (figure: (result: RunResult) => number): number => medianOf(results.map(figure));
  return {
    ...first,
    durationMs: median((result) => result.durationMs),
    operations: sum((result) => result.operations),
    completed: sum((result) => result.completed),
    opsPerSec: median((result) => result.opsPerSec),
    clientOpsPerSec: {
      min: median((result) => result.clientOpsPerSec.min),
      max: median((result) => result.clientOpsPerSec.max),
    },
    opsPerSecByType,
    bytesPerSec: {
      read: median((result) => result.bytesPerSec.read),
      written: median((result) => result.bytesPerSec.written),
    },
    latencyUs,
    latencyUsAll: medianSummary(results.map((result) => result.latencyUsAll ?? undefined)),
    errors: sum((result) => result.errors),
    errorsByKind: sumCounts(results.map((result) => result.errorsByKind)),
    retransmissions: sum((result) => result.retransmissions),
    hedges: sum((result) => result.hedges),
    writeBacks: sum((result) => result.writeBacks),
    tampered: sum((result) => result.tampered),
    repairs: sum((result) => result.repairs),
    helped: sum((result) => result.helped),
    backOffs: sum((result) => result.backOffs),
    cpuUsPerOp: {
      replicas: replicasCpu.length === 0 ? null : medianOf(replicasCpu),
      clients: median((result) => result.cpuUsPerOp.clients),
    },
    drops: sumCounts(results.map((result) => result.drops)),
    clientDrops: sumCounts(results.map((result) => result.clientDrops)),
    overflows: {
      replicas: sumKnown(results.map((result) => result.overflows.replicas)),
      clients: sumKnown(results.map((result) => result.overflows.clients)),
    },
  };
}

/** Null when one of them is not known. */
function sumKnown(counts: readonly (number | null)[]): number | null {
  let sum = 0;
  for (const value of counts) {
    if (value === null) return null;
    sum += value;
  }
  return sum;
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

export function formatCompare(report: CompareReport): string {
  const rounds = report.roundCount === 1 ? '1 round' : `${report.roundCount} interleaved rounds`;
  const blocks = [
    formatHead(report, report.replicas),
    `Medians of ${rounds}; errors are sums. Latencies in µs.`,
    formatRuns(report),
    'Ratio to plaintext in the same round: median (lowest to highest)',
    formatRatios(report),
    formatCalibration(report),
  ];
  return `${blocks.join('\n\n')}\n`;
}

function formatRuns(report: CompareReport): string {
  const types = typesIn(report);
  const heading = [
    'workload, mode',
    'ops/s',
    ...types.flatMap((type) => [`${type} p50`, 'p99']),
    'CPU/op replicas',
    'clients',
    'errors',
  ];
  const rows = report.runs.map((run) => [
    nameOf(run),
    count(run.opsPerSec),
    ...types.flatMap((type) => [cell(run.latencyUs[type]?.p50), cell(run.latencyUs[type]?.p99)]),
    run.cpuUsPerOp.replicas === null ? '-' : microseconds(run.cpuUsPerOp.replicas),
    microseconds(run.cpuUsPerOp.clients),
    count(run.errors),
  ]);
  return alignColumns([heading, ...rows], 'right');
}

/** Reads and updates always, so that tables look alike; the others where there are any. */
function typesIn(report: CompareReport): OperationType[] {
  return OPERATION_TYPES.filter(
    (type) => type === 'read' || type === 'update' || report.runs.some((run) => run.latencyUs[type] !== undefined),
  );
}

function cell(value: number | undefined): string {
  return value === undefined ? '-' : count(value);
}

function formatRatios(report: CompareReport): string {
  const types = typesIn(report);
  const rows = report.ratios.map((ratio) => [
    nameOf(ratio),
    formatRatio(ratio.opsPerSec),
    formatRatio(ratio.p99),
    ...types.map((type) => formatRatio(ratio[`${type}P50`])),
  ]);
  return alignColumns([['workload, mode', 'ops/s', 'p99', ...types.map((type) => `${type} p50`)], ...rows], 'right');
}

function formatRatio(ratio: Ratio | undefined): string {
  if (ratio === undefined) return '-';
  return `${decimals(ratio.median)} (${decimals(ratio.min)} to ${decimals(ratio.max)})`;
}

function formatCalibration(report: CompareReport): string {
  const { calibration, settings } = report;
  const { echoUs, datagramBytes, datagramsPerSec, rawRates, aeadCallsPerSec } = calibration;
  const rows = [
    [
      'raw UDP echo',
      `p50 ${count(echoUs.p50)} µs, p99 ${count(echoUs.p99)} µs, one datagram of ${datagramBytes} bytes at a time`,
    ],
    [
      'raw UDP one way',
      `${count(datagramsPerSec.received)} datagrams/s received of ${count(datagramsPerSec.sent)} sent`,
    ],
    ...rawRates.map((rate) => [
      'raw UDP bytes',
      `${megabytes(rate.bytesPerSec)} in datagrams of ${rate.datagramBytes} bytes, paced by credit; ${(rate.lostShare * 100).toFixed(1)} % lost`,
    ]),
    ['AEAD', `${count(aeadCallsPerSec)} calls/s, values of ${datagramBytes} bytes sealed and opened`],
  ];
  // With more outstanding, operations wait for each other, and an echo says nothing about them.
  if (settings.outstanding === 1 && settings.clients === 1) {
    const parts = report.runs.flatMap((run) => {
      const p50 = run.latencyUs.read?.p50;
      return p50 === undefined ? [] : [`${nameOf(run)} ${decimals(p50 / echoUs.p50)}`];
    });
    if (parts.length > 0) rows.push(['read p50 to echo', parts.join(', ')]);
  }
  return ['Calibration', alignColumns(rows), formatBytes(report)].join('\n\n');
}

/** Bytes of values, and how much of what bare node:dgram moved in the same run that is. */
function formatBytes({ runs, replicas, calibration: { rawRates } }: CompareReport): string {
  const ratios = (bytesPerSec: number): string[] => rawRates.map((raw) => decimals(bytesPerSec / raw.bytesPerSec));
  const heading = [
    'workload, mode',
    'values read',
    ...rawRates.map(({ datagramBytes }) => `of raw ${datagramBytes}`),
    'values put',
    `x ${replicas} copies`,
    ...rawRates.map(({ datagramBytes }) => `of raw ${datagramBytes}`),
  ];
  const rows = runs.map(({ workload, mode, route, bytesPerSec: { read, written } }) => [
    nameOf({ workload, mode, route }),
    megabytes(read),
    ...ratios(read),
    megabytes(written),
    megabytes(written * replicas),
    ...ratios(written * replicas),
  ]);
  return alignColumns([heading, ...rows], 'right');
}
