import type { SecurityMode } from '../../net/mode.ts';
import type { ReportHead } from '../report.ts';
import { formatHead } from '../report.ts';
import { alignColumns, count, formatCounts, seconds } from '../report-text.ts';
import type { RunResult } from '../result.ts';
import type { Direction, Fault, FaultKind } from './faults.ts';
import type { ChannelCounters } from './faulty-channel.ts';
import type { HistorySummary } from './history-summary.ts';
import type { HistoryVerdict } from './verdict.ts';

/** The report of `avocado bench --chaos`: what is written as JSON, and the same as text. */
export interface ChaosReport extends ReportHead {
  readonly mode: SecurityMode;
  readonly workload: string;
  readonly replicas: number;
  readonly deadlineMs: number;
  readonly operations: HistorySummary['operations'];
  /** Of operations that did not succeed, load phase not included. */
  readonly errorsByKind: Readonly<Record<string, number>>;
  readonly faults: {
    /** Asked for. */
    readonly kinds: readonly FaultKind[];
    /** That took place. */
    readonly counts: Readonly<Partial<Record<FaultKind, number>>>;
    readonly plan: readonly Fault[];
    /** When the plan's times begin, since the history's start. */
    readonly startMs: number;
  };
  /** Datagrams at the proxies: to replicas, and from them. */
  readonly network: Readonly<Record<Direction, ChannelCounters>>;
  readonly longestGap: HistorySummary['longestGap'];
  readonly recoveryMs: number | null;
  readonly retransmissions: number;
  readonly hedges: number;
  readonly writeBacks: number;
  /** What replicas that answered at the end did not act on, by reason. */
  readonly drops: RunResult['drops'];
  readonly members: readonly { readonly index: number; readonly state: string }[];
  readonly history: HistoryVerdict & {
    /** Where it lies, if it was kept. */
    readonly path: string | null;
  };
  /** What is broken; empty: the run passed. */
  readonly failures: readonly string[];
}

export function formatChaos(report: ChaosReport): string {
  const blocks = [
    formatHead(report, report.replicas),
    `Chaos: ${report.faults.kinds.join(', ')}; workload ${report.workload}, mode ${report.mode}`,
    formatOperations(report),
    formatNetwork(report),
    formatFigures(report),
    formatVerdict(report),
  ];
  return `${blocks.join('\n\n')}\n`;
}

function formatOperations({ operations }: ChaosReport): string {
  const rows = [['operations', 'ok', 'outcome unknown', 'error']];
  for (const op of ['get', 'put'] as const) {
    const { ok, unknown, error } = operations[op];
    rows.push([op, count(ok), count(unknown), count(error)]);
  }
  return alignColumns(rows, 'right');
}

const NETWORK_COLUMNS = [
  'received',
  'dropped',
  'duplicated',
  'reordered',
  'delayed',
  'corrupted',
  'overflowed',
] as const;
const DIRECTION_NAMES: Readonly<Record<Direction, string>> = { in: 'to replicas', out: 'from replicas' };

function formatNetwork({ network }: ChaosReport): string {
  const rows: string[][] = [['datagrams', ...NETWORK_COLUMNS]];
  for (const direction of ['in', 'out'] as const) {
    rows.push([DIRECTION_NAMES[direction], ...NETWORK_COLUMNS.map((name) => count(network[direction][name]))]);
  }
  return alignColumns(rows, 'right');
}

function formatFigures(report: ChaosReport): string {
  const { longestGap, recoveryMs } = report;
  const since = `${(longestGap.atMs / 1_000).toFixed(2)} s`;
  return alignColumns([
    ['faults', formatCounts(report.faults.counts)],
    ['errors', formatCounts(report.errorsByKind)],
    ['sent again', `${count(report.retransmissions)} retransmissions, ${count(report.hedges)} hedges`],
    ['mended', `${count(report.writeBacks)} write-backs`],
    ['dropped by replicas', formatCounts(report.drops)],
    ['replicas', report.members.map(({ index, state }) => `${index} ${state}`).join(', ')],
    ['longest time without a success', `${seconds(longestGap.lengthMs)}, from +${since}`],
    ['well again after the last fault', recoveryMs === null ? 'never' : `in ${count(recoveryMs)} ms`],
  ]);
}

function formatVerdict({ history, failures }: ChaosReport): string {
  const lines = failures.map((failure) => `FAILED: ${failure}`);
  if (failures.length === 0) lines.push(`passed: linearizable, ${history.detail}`);
  if (history.path !== null) lines.push(`history: ${history.path}; look at it with avocado check-history`);
  return lines.join('\n');
}
