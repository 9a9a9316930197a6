import { medianRun } from './compare-report.ts';
import { formatHead } from './report.ts';
import type { BenchReport, ReportHead } from './report.ts';
import { alignColumns, count, decimals, formatCounts } from './report-text.ts';
import { sumCounts } from './result.ts';
import type { RunResult } from './result.ts';
import type { LoadSummary } from './target.ts';
import { describeMix } from './workload.ts';

/** The report of `avocado bench goodput`: what is written as JSON, and the same as text. */
export interface GoodputReport extends BenchReport {
  /** In the order of their numbers of clients. Figures are medians over the rounds, counts are sums. */
  readonly runs: readonly GoodputPoint[];
  readonly roundCount: number;
  readonly rounds: readonly GoodputRound[];
}

interface OfClients extends RunResult {
  readonly clients: number;
  readonly processes: number;
}

export interface GoodputRound extends OfClients {
  readonly round: number;
}

export interface GoodputPoint extends OfClients {
  /** Operations that ended without an answer. */
  readonly lost: number;
  /** Goodput to that of the best point. */
  readonly ofBest: number;
}

/** The cluster may have done it, or not: nobody said. */
const LOST_KINDS: readonly string[] = ['deadline', 'outcome-unknown'];

export function goodputReportOf(
  head: ReportHead,
  replicas: number,
  load: Readonly<Record<string, LoadSummary>>,
  rounds: readonly GoodputRound[],
): GoodputReport {
  const clientCounts = [...new Set(rounds.map(({ clients }) => clients))].sort((a, b) => a - b);
  const medians = clientCounts.map((clients) => {
    const own = rounds.filter((round) => round.clients === clients);
    return { ...medianRun(own), clients, processes: own[0]!.processes };
  });
  const bestOpsPerSec = Math.max(...medians.map(({ opsPerSec }) => opsPerSec));
  const runs = medians.map((run) => ({
    ...run,
    lost: LOST_KINDS.reduce((sum, kind) => sum + (run.errorsByKind[kind] ?? 0), 0),
    ofBest: bestOpsPerSec === 0 ? 0 : run.opsPerSec / bestOpsPerSec,
  }));
  return { ...head, replicas, load, runs, roundCount: new Set(rounds.map(({ round }) => round)).size, rounds };
}

export function formatGoodput(report: GoodputReport): string {
  const [first] = report.runs;
  const title =
    first === undefined ? '' : `Workload ${first.workload} (${describeMix(first)}), mode ${first.mode}: goodput`;
  const rounds = report.roundCount === 1 ? '1 round' : `${report.roundCount} rounds, each the other way round`;
  const { outstanding } = report.settings;
  return `${[
    formatHead(report, report.replicas),
    title,
    `Medians of ${rounds}; counts are sums. Each client keeps ${outstanding} operations in flight.`,
    formatGoodputTable(report.runs),
    formatNotes(report.runs),
  ].join('\n\n')}\n`;
}

export function formatGoodputTable(runs: readonly GoodputPoint[]): string {
  const heading = [
    'clients',
    'ops/s',
    'of best',
    'slowest client',
    'p50 µs',
    'p99 µs',
    'CPU/op µs',
    'errors',
    'lost',
    'retransmissions',
    'hedges',
    'held back',
    'over replicas’ buffers',
    'clients’',
  ];
  const rows = runs.map((run) => [
    String(run.clients),
    count(run.opsPerSec),
    decimals(run.ofBest),
    count(run.clientOpsPerSec.min),
    cell(run.latencyUsAll?.p50),
    cell(run.latencyUsAll?.p99),
    run.cpuUsPerOp.replicas === null ? '-' : decimals(run.cpuUsPerOp.replicas + run.cpuUsPerOp.clients),
    count(run.errors),
    count(run.lost),
    count(run.retransmissions),
    count(run.hedges),
    count(run.clientDrops['flight-full'] ?? 0),
    cell(run.overflows.replicas),
    cell(run.overflows.clients),
  ]);
  return alignColumns([heading, ...rows], 'right');
}

function cell(value: number | null | undefined): string {
  return value === null || value === undefined ? '-' : count(value);
}

function formatNotes(runs: readonly GoodputPoint[]): string {
  const replicas = runs.flatMap(({ receiveBufferBytes }) => receiveBufferBytes.replicas ?? []);
  const clients = runs.map(({ receiveBufferBytes }) => receiveBufferBytes.clients);
  return alignColumns([
    [
      'receive buffers',
      `${replicas.length === 0 ? 'unknown' : `${count(Math.min(...replicas))} bytes`} at each replica, ${count(Math.min(...clients))} bytes at each client`,
    ],
    ['errors', formatCounts(sumCounts(runs.map(({ errorsByKind }) => errorsByKind)))],
    ['lost', 'operations that ended without an answer'],
    ['held back', 'messages that waited because a client had used up its share of a replica’s receive buffer'],
    ['over buffers', 'datagrams that the system dropped because a receive buffer was full'],
    ['dropped by replicas', formatCounts(sumCounts(runs.map(({ drops }) => drops)))],
  ]);
}
