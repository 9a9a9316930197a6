import { cpus } from 'node:os';
import { alignColumns, count, decimals } from '../report-text.ts';
import type { LoopCostRow } from './loop-cost.ts';
import type { WorkersOptions } from './options.ts';

/** The report of `avocado bench workers`: what is written as JSON, and the same as text. */
export interface Figures {
  readonly opsPerSec: number;
  readonly p99Us: number;
}

export interface SizeRow {
  readonly valueBytes: number;
  readonly without: Figures;
  readonly with: Figures;
  /** Jobs that workers of all processes did, in all rounds. */
  readonly jobs: number;
}

export interface BesideRow {
  readonly name: string;
  readonly p50Us: number;
  readonly p99Us: number;
  readonly getsPerSec: number;
  readonly putsPerSec: number;
}

export interface WorkersReport {
  readonly tool: string;
  readonly startedAt: string;
  readonly cores: number;
  readonly nodeVersion: string;
  readonly workers: number;
  /** Null: each process measured it. */
  readonly workersFromBytes: number | null;
  /** Null where the system doesn't tell. */
  readonly loopCost: readonly LoopCostRow[] | null;
  readonly sizes: readonly SizeRow[];
  readonly beside: readonly BesideRow[];
}

export function workersReportOf(
  options: WorkersOptions,
  loopCost: readonly LoopCostRow[] | undefined,
  sizes: readonly SizeRow[],
  beside: readonly BesideRow[],
): WorkersReport {
  return {
    tool: 'avocado bench workers',
    startedAt: new Date().toISOString(),
    cores: cpus().length,
    nodeVersion: process.version,
    workers: options.workers,
    workersFromBytes: options.workersFromBytes ?? null,
    loopCost: loopCost ?? null,
    sizes,
    beside,
  };
}

export function formatWorkers(report: WorkersReport): string {
  const { workers, cores, nodeVersion, workersFromBytes } = report;
  const threshold = workersFromBytes === null ? 'threshold measured' : `from ${count(workersFromBytes)} bytes on`;
  const head = `Three replicas and one client, ${workers} workers each (${threshold}), on ${cores} cores, Node ${nodeVersion}`;
  const costs = report.loopCost === null ? [] : [formatLoopCost(report.loopCost)];
  return `${[head, ...costs, formatSizes(report), formatBeside(report)].join('\n\n')}\n`;
}

function formatLoopCost(loopCost: readonly LoopCostRow[]): string {
  const rows = loopCost.map((row) => [count(row.valueBytes), count(row.inlineUs), count(row.workerUs)]);
  const heading = ['value bytes', 'sealed by itself', 'handed over'];
  return `Processor time of the loop to have a value sealed, µs\n${alignColumns([heading, ...rows], 'right')}`;
}

function formatSizes({ sizes }: WorkersReport): string {
  const rows = sizes.map((row) => [
    count(row.valueBytes),
    count(row.without.opsPerSec),
    count(row.with.opsPerSec),
    row.without.opsPerSec === 0 ? '-' : decimals(row.with.opsPerSec / row.without.opsPerSec),
    count(row.without.p99Us),
    count(row.with.p99Us),
    count(row.jobs),
  ]);
  const heading = ['value bytes', 'ops/s without', 'with', 'ratio', 'p99 µs without', 'with', 'jobs'];
  return `Half gets, half puts\n${alignColumns([heading, ...rows], 'right')}`;
}

function formatBeside({ beside }: WorkersReport): string {
  const rows = beside.map((row) => [
    row.name,
    count(row.p50Us),
    count(row.p99Us),
    count(row.getsPerSec),
    count(row.putsPerSec),
  ]);
  const heading = ['gets of 256 bytes', 'p50 µs', 'p99 µs', 'gets/s', 'puts/s'];
  return `Small gets and large puts in one client\n${alignColumns([heading, ...rows], 'right')}`;
}

/** Of an odd number of values the middle one, of an even one the lower of the middle two. */
export function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[(values.length - 1) >> 1] ?? 0;
}
