import { cpus } from 'node:os';
import { DATAGRAM_BYTES_LOOPBACK } from '../net/limits.ts';
import type { Route } from '../src/client/route.ts';
import { formatBeside } from './beside.ts';
import type { BesideResult } from './beside.ts';
import type { LatencySummary } from './histogram.ts';
import type { LoadSettings, RecordFields } from './load-options.ts';
import { alignColumns, count, decimals, formatCounts, megabytes, microseconds, seconds } from './report-text.ts';
import type { RunResult, WorkersResult } from './result.ts';
import type { LoadSummary } from './target.ts';
import { describeSizes } from './value-sizes.ts';
import type { ValueSize } from './value-sizes.ts';
import {
  INSERT_DESCRIPTION,
  OPERATION_TYPES,
  SCAN_DESCRIPTION,
  UPDATE_DESCRIPTION,
  describeDistributions,
  describeMix,
  describeRmw,
} from './workload.ts';
import type { Workload } from './workload.ts';

/** The report of `avocado bench`: what is written as JSON, and the same as text. */
export interface ReportHead {
  readonly tool: string;
  readonly startedAt: string;
  readonly machine: {
    readonly cores: number;
    readonly cpuModel: string;
    readonly nodeVersion: string;
    readonly platform: string;
  };
  readonly settings: {
    readonly embedded: boolean;
    readonly records: number;
    /** The largest. */
    readonly valueBytes: number;
    readonly valueSizes: readonly ValueSize[];
    /** Null: a value is not divided. */
    readonly fields: RecordFields | null;
    /** Null: the client takes it from the interface's MTU. */
    readonly routes: readonly Route[];
    readonly datagramBytes: number | null;
    /** Asked of the system; null: the usual. `runs` tells what was granted. */
    readonly receiveBufferBytes: number | null;
    readonly outstanding: number;
    readonly clients: number;
    readonly processes: number;
    readonly seed: number;
    readonly warmupMs: number;
    readonly durationMs: number;
  };
  readonly distribution: string;
  readonly update: string;
  /** Where a workload has such operations. */
  readonly insert?: string;
  readonly rmw?: string;
  readonly scan?: string;
}

export interface BenchReport extends ReportHead {
  readonly replicas: number;
  /** By mode. */
  readonly load: Readonly<Record<string, LoadSummary>>;
  readonly runs: readonly RunResult[];
  /** With --beside; `runs` has the load beside the stream. */
  readonly beside?: BesideResult;
}

export function headOf(
  tool: string,
  settings: LoadSettings,
  workloads: readonly Workload[],
  embedded: boolean,
  routes: readonly Route[] = ['direct'],
): ReportHead {
  const cores = cpus();
  const rmw = describeRmw(workloads);
  return {
    tool,
    startedAt: new Date().toISOString(),
    machine: {
      cores: cores.length,
      cpuModel: cores[0]?.model.trim() ?? 'unknown',
      nodeVersion: process.version,
      platform: `${process.platform} ${process.arch}`,
    },
    settings: {
      embedded,
      routes,
      records: settings.records,
      valueBytes: settings.valueBytes,
      valueSizes: settings.valueSizes,
      fields: settings.fields ?? null,
      datagramBytes: settings.datagramBytes ?? (embedded ? DATAGRAM_BYTES_LOOPBACK : null),
      receiveBufferBytes: settings.receiveBufferBytes ?? null,
      outstanding: settings.outstanding,
      clients: settings.clients,
      processes: settings.processes,
      seed: settings.seed,
      warmupMs: settings.warmupMs,
      durationMs: settings.durationMs,
    },
    distribution: describeDistributions(workloads),
    update: UPDATE_DESCRIPTION,
    ...(workloads.some(({ write }) => write === 'insert') && { insert: INSERT_DESCRIPTION }),
    ...(rmw !== undefined && { rmw }),
    ...(workloads.some(({ scans }) => scans === true) && { scan: SCAN_DESCRIPTION }),
  };
}

export function formatBench(report: BenchReport): string {
  const blocks = [formatHead(report, report.replicas)];
  for (const result of report.runs) {
    blocks.push(formatRun(report, result));
    if (report.beside !== undefined) blocks.push(formatBeside(report.beside, result));
  }
  return `${blocks.join('\n\n')}\n`;
}

/** @param records How many, and how large; default: as the settings have it. */
export function formatHead(
  head: ReportHead,
  replicas: number,
  records = `${count(head.settings.records)} of ${describeValues(head.settings)}`,
): string {
  const { settings, machine } = head;
  const datagrams =
    settings.datagramBytes === null
      ? 'datagrams as the interface has them'
      : `datagrams of ${settings.datagramBytes} bytes`;
  return alignColumns([
    [
      'cluster',
      `${replicas} replicas${settings.embedded ? ' on this machine' : ''}, ${settings.routes.join(' and ')} route, ${datagrams}`,
    ],
    ['records', `${records}, ${head.distribution}`],
    ['updates', head.update],
    ...(head.insert === undefined ? [] : [['inserts', head.insert]]),
    ...(head.rmw === undefined ? [] : [['rmw', head.rmw]]),
    ...(head.scan === undefined ? [] : [['scans', head.scan]]),
    [
      'load',
      `${describeClients(settings)}, ${settings.outstanding} outstanding each, closed loop, seed ${settings.seed}`,
    ],
    ['time', `${seconds(settings.durationMs)} after ${seconds(settings.warmupMs)} of warm-up`],
    ['machine', `${machine.cores} cores, ${machine.cpuModel}, Node ${machine.nodeVersion}, ${machine.platform}`],
  ]);
}

function describeClients({ clients, processes }: ReportHead['settings']): string {
  const many = (times: number, one: string, several: string): string => `${times} ${times === 1 ? one : several}`;
  return `${many(clients, 'client', 'clients')} in ${many(processes, 'process', 'processes')}`;
}

function describeValues({ valueSizes, fields }: ReportHead['settings']): string {
  const bytes = describeSizes(valueSizes);
  return fields === null
    ? bytes
    : `${bytes} (fields: ${count(fields.fieldCount)} of ${count(fields.fieldBytes)} bytes)`;
}

function formatRun(report: BenchReport, result: RunResult): string {
  const load = report.load[result.mode];
  const title = `Workload ${result.workload} (${describeMix(result)}), mode ${result.mode}`;
  return [title, formatLatencies(result), formatFigures(report, result, load)].join('\n\n');
}

function formatLatencies(result: RunResult): string {
  const rows = [['latency, µs', 'p50', 'p95', 'p99', 'p99.9', 'max', 'operations', 'ops/s']];
  for (const type of OPERATION_TYPES) {
    const summary = result.latencyUs[type];
    if (summary === undefined) continue;
    rows.push([type, ...latencyCells(summary), count(summary.count), count(result.opsPerSecByType[type] ?? 0)]);
  }
  return alignColumns(rows, 'right');
}

function latencyCells(summary: LatencySummary): string[] {
  return [summary.p50, summary.p95, summary.p99, summary.p999, summary.max].map(count);
}

function formatFigures(report: BenchReport, result: RunResult, load: LoadSummary | undefined): string {
  const rows = [
    ['throughput', `${count(result.opsPerSec)} ops/s${formatClients(report, result)}`],
    [
      'values',
      `${megabytes(result.bytesPerSec.read)} read, ${megabytes(result.bytesPerSec.written)} put x ${report.replicas} copies`,
    ],
    ['CPU an operation', formatCpu(result)],
    ['errors', formatCounts(result.errorsByKind)],
    ['sent again', `${count(result.retransmissions)} retransmissions, ${count(result.hedges)} hedges`],
    [
      'mended',
      `${count(result.writeBacks)} write-backs, ${count(result.tampered)} tampered copies, ${count(result.repairs)} repairs`,
    ],
    ...(result.helped + result.backOffs === 0
      ? []
      : [['contention', `${count(result.helped)} helped, ${count(result.backOffs)} waits for another`]]),
    ...(result.conflicts === undefined
      ? []
      : [['conflicts', `${count(result.conflicts)} compare-and-sets found another version, and were tried again`]]),
    ['dropped', `${formatCounts(result.drops)}${formatOverflows(result)}`],
    ['receive buffers', formatBuffers(result)],
  ];
  if (result.workers !== undefined) rows.push(['workers', formatWorkers(result.workers)]);
  if (load !== undefined) {
    const rate = (load.puts * 1_000) / load.elapsedMs;
    const again = load.retries === 0 ? '' : `, ${count(load.retries)} puts tried again`;
    rows.push(['load phase', `${count(load.puts)} puts in ${seconds(load.elapsedMs)}, ${count(rate)} ops/s${again}`]);
  }
  return alignColumns(rows);
}

/** Nothing is said where nothing is known. */
function formatOverflows({ overflows: { replicas, clients } }: RunResult): string {
  if (replicas === null && clients === null) return '';
  const at = (whose: string, many: number | null): string[] => (many === null ? [] : [`${count(many)} at ${whose}`]);
  return `; datagrams over the receive buffers: ${[...at('replicas', replicas), ...at('clients', clients)].join(', ')}`;
}

function formatBuffers({ receiveBufferBytes: { replicas, clients } }: RunResult): string {
  return `${replicas === null ? 'unknown' : `${count(replicas)} bytes`} at each replica, ${count(clients)} bytes at each client`;
}

function formatClients({ settings }: BenchReport, { clientOpsPerSec }: RunResult): string {
  if (settings.clients === 1) return '';
  return `; the slowest client ${count(clientOpsPerSec.min)}, the fastest ${count(clientOpsPerSec.max)}`;
}

function formatWorkers({ workers, fromBytes, clientJobs, replicaJobs, deaths }: WorkersResult): string {
  const [least, greatest] = fromBytes;
  const from = least === greatest ? count(least) : `${count(least)} to ${count(greatest)}`;
  const died = deaths === 0 ? '' : `; ${count(deaths)} died`;
  return `${workers} a process, from ${from} bytes on: ${count(clientJobs)} jobs in clients, ${count(replicaJobs)} in replicas${died}`;
}

function formatCpu(result: RunResult): string {
  const { replicas, clients } = result.cpuUsPerOp;
  if (replicas === null) return `${decimals(clients)} µs in clients; replicas unknown, one of them did not answer`;
  return `${microseconds(replicas + clients)}: ${decimals(replicas)} in replicas, ${decimals(clients)} in clients`;
}
