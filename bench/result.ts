import type { SecurityMode } from '../net/mode.ts';
import type { Route } from '../src/client/route.ts';
import type { ClientCounters, MemberStatus } from '../src/client/operations.ts';
import type { WorkerFigures } from '../workers/process-sealing.ts';
import { LatencyHistogram } from './histogram.ts';
import type { LatencySummary } from './histogram.ts';
import { MISSING_RECORD, WRONG_VALUE } from './load-loop.ts';
import { WRONG_SCAN } from './load-scans.ts';
import type { Ran } from './messages.ts';
import { OPERATION_TYPES } from './workload.ts';
import type { OperationType, Workload, WriteType } from './workload.ts';

/** What one measurement found, put together from what each load process found: an entry of `runs` in the JSON report. */
export interface RunResult {
  readonly mode: SecurityMode;
  readonly route: Route;
  readonly workload: string;
  readonly readProportion: number;
  /** What the other operations do. */
  readonly write: WriteType;
  /** What would be reads are scans; left out where they are not. */
  readonly scans?: boolean;
  readonly seed: number;
  readonly durationMs: number;
  /** Ended well in the window; a read-modify-write is one. */
  readonly operations: number;
  /** Ended well from the warm-up's start to the last operation's end. */
  readonly completed: number;
  readonly opsPerSec: number;
  /** Of the clients by themselves: the slowest, and the fastest. */
  readonly clientOpsPerSec: { readonly min: number; readonly max: number };
  /** Where there are read-modify-writes, their gets and puts count as reads and updates too. */
  readonly opsPerSecByType: Readonly<Partial<Record<OperationType, number>>>;
  /** Bytes of values that gets returned, and that puts wrote; each replica takes a copy of the latter. */
  readonly bytesPerSec: { readonly read: number; readonly written: number };
  readonly latencyUs: Readonly<Partial<Record<OperationType, LatencySummary>>>;
  /** Reads, updates, inserts and scans together: each get and put once. */
  readonly latencyUsAll: LatencySummary | null;
  /** Compare-and-sets that met another version, and were tried again; left out where the workload has none. */
  readonly conflicts?: number;
  /** From the warm-up's start to the last operation's end. */
  readonly errors: number;
  readonly errorsByKind: Readonly<Record<string, number>>;
  readonly retransmissions: number;
  readonly hedges: number;
  readonly writeBacks: number;
  readonly tampered: number;
  readonly repairs: number;
  /** Of read-modify-writes: others' that clients decided, and times that another's ballot was in the way. */
  readonly helped: number;
  readonly backOffs: number;
  /** Null where a replica's processor time is not known for the whole window. */
  readonly cpuUsPerOp: { readonly replicas: number | null; readonly clients: number };
  /** Left out where no process has workers. */
  readonly workers?: WorkersResult;
  /** Datagrams and messages that replicas did not act on in the window, by reason. */
  readonly drops: Readonly<Record<string, number>>;
  /** The same of clients; what they held back for want of credit is `flight-full`. */
  readonly clientDrops: Readonly<Record<string, number>>;
  /**
   * Datagrams that the system dropped because a receive buffer was full, from the warm-up's start to the last operation's
   * end. Null where the system doesn't tell, or the replicas are not the bench's own.
   */
  readonly overflows: Overflows;
  /** Of the sockets, as the system granted them, the smallest; null where no replica told. */
  readonly receiveBufferBytes: { readonly replicas: number | null; readonly clients: number };
}

export interface Overflows {
  readonly replicas: number | null;
  readonly clients: number | null;
}

/** Of all processes together. */
export interface WorkersResult {
  /** Of each process that has any. */
  readonly workers: number;
  /** The least and the greatest that processes measured, or were told. */
  readonly fromBytes: readonly [number, number];
  /** Jobs done by workers since the processes started. */
  readonly clientJobs: number;
  readonly replicaJobs: number;
  /** Workers that died and were replaced. */
  readonly deaths: number;
}

export interface RunContext {
  readonly mode: SecurityMode;
  /** Default: direct. */
  readonly route?: Route;
  readonly workload: Workload;
  readonly seed: number;
}

/** Errors that mean lost or mixed-up data, whatever caused them. */
export const DATA_ERRORS: readonly string[] = [WRONG_VALUE, MISSING_RECORD, WRONG_SCAN, 'unreadable'];

/** @param parts One a load process. */
export function resultOf(
  context: RunContext,
  parts: readonly Ran[],
  overflows: Overflows = { replicas: null, clients: null },
): RunResult {
  const all = new LatencyHistogram();
  const latencyUs: Partial<Record<OperationType, LatencySummary>> = {};
  const opsPerSecByType: Partial<Record<OperationType, number>> = {};
  for (const type of OPERATION_TYPES) {
    const latency = new LatencyHistogram();
    for (const part of parts) latency.addEncoded(part.byType[type].latency);
    // Those that are made of a get and a write count as these.
    if (type !== 'rmw' || context.workload.write === 'increment') all.add(latency);
    const summary = latency.summary();
    if (summary === undefined) continue;
    latencyUs[type] = summary;
    opsPerSecByType[type] = rateOf(parts, (part) => part.byType[type].count);
  }
  const errorsByKind = sumCounts(parts.map((part) => part.errors));
  let operations = 0;
  let clientsCpuUs = 0;
  for (const part of parts) {
    operations += part.operations;
    clientsCpuUs += part.cpuUs;
  }
  const members = parts.find((part) => part.members !== null)?.members ?? { before: [], after: [] };
  const replicasCpuUs = cpuUsOf(members.before, members.after);
  return {
    mode: context.mode,
    route: context.route ?? 'direct',
    workload: context.workload.name,
    readProportion: context.workload.readProportion,
    write: context.workload.write,
    ...(context.workload.scans === true && { scans: true }),
    seed: context.seed,
    durationMs: Math.max(...parts.map((part) => part.windowMs)),
    operations,
    completed: parts.reduce((sum, part) => sum + part.completed, 0),
    opsPerSec: rateOf(parts, (part) => part.operations),
    clientOpsPerSec: clientRatesOf(parts),
    opsPerSecByType,
    bytesPerSec: {
      read: rateOf(parts, (part) => part.readBytes),
      written: rateOf(parts, (part) => part.writtenBytes),
    },
    latencyUs,
    ...(context.workload.write === 'atomic rmw' && {
      conflicts: parts.reduce((sum, part) => sum + part.conflicts, 0),
    }),
    latencyUsAll: all.summary() ?? null,
    errors: Object.values(errorsByKind).reduce((sum, count) => sum + count, 0),
    errorsByKind,
    retransmissions: sumOf(parts, 'retransmissions'),
    hedges: sumOf(parts, 'hedges'),
    writeBacks: sumOf(parts, 'writeBacks'),
    tampered: sumOf(parts, 'tampered'),
    repairs: sumOf(parts, 'repairs'),
    helped: sumOf(parts, 'helped'),
    backOffs: sumOf(parts, 'backOffs'),
    cpuUsPerOp: {
      replicas: replicasCpuUs === undefined || operations === 0 ? null : replicasCpuUs / operations,
      clients: operations === 0 ? 0 : clientsCpuUs / operations,
    },
    ...workersOf(
      parts.flatMap(({ workers }) => workers ?? []),
      members.after.flatMap(({ workers }) => workers ?? []),
    ),
    drops: dropsOf(members.before, members.after),
    clientDrops: sumCounts(parts.map((part) => part.clientDrops)),
    overflows,
    receiveBufferBytes: {
      replicas: smallestKnown(members.after.map((member) => member.receiveBufferBytes)),
      clients: Math.min(...parts.map((part) => part.receiveBufferBytes)),
    },
  };
}

function workersOf(clients: readonly WorkerFigures[], replicas: readonly WorkerFigures[]): { workers?: WorkersResult } {
  const all = [...clients, ...replicas];
  if (all.length === 0) return {};
  const fromBytes = all.map((figures) => figures.fromBytes);
  const jobsOf = (processes: readonly WorkerFigures[]): number => processes.reduce((sum, { jobs }) => sum + jobs, 0);
  return {
    workers: {
      workers: Math.max(...all.map(({ workers }) => workers)),
      fromBytes: [Math.min(...fromBytes), Math.max(...fromBytes)],
      clientJobs: jobsOf(clients),
      replicaJobs: jobsOf(replicas),
      deaths: all.reduce((sum, { deaths }) => sum + deaths, 0),
    },
  };
}

/** Why a run counts as failed, if it does. Errors that faults explain (deadlines, unknown outcomes) are reported only. */
export function failureOf(result: RunResult): string | undefined {
  for (const kind of DATA_ERRORS) {
    const count = result.errorsByKind[kind];
    if (count !== undefined) return `${count} x ${kind} in ${nameOf(result)}`;
  }
  if (result.operations === 0) return `no operation succeeded in ${nameOf(result)}`;
  return undefined;
}

function nameOf({ workload, mode, route }: RunResult): string {
  return `workload ${workload}, mode ${mode}${route === 'direct' ? '' : `, ${route} route`}`;
}

/** Each process by its own window. */
function rateOf(parts: readonly Ran[], figure: (part: Ran) => number): number {
  return parts.reduce((sum, part) => sum + (figure(part) * 1_000) / part.windowMs, 0);
}

function clientRatesOf(parts: readonly Ran[]): RunResult['clientOpsPerSec'] {
  const rates = parts.flatMap(({ operationsByClient, windowMs }) =>
    operationsByClient.map((operations) => (operations * 1_000) / windowMs),
  );
  return { min: Math.min(...rates), max: Math.max(...rates) };
}

function sumOf(parts: readonly Ran[], counter: keyof ClientCounters): number {
  return parts.reduce((sum, part) => sum + part.counters[counter], 0);
}

export function sumCounts(all: readonly Readonly<Record<string, number>>[]): Record<string, number> {
  const sums: Record<string, number> = {};
  for (const counts of all) for (const [name, value] of Object.entries(counts)) sums[name] = (sums[name] ?? 0) + value;
  return sums;
}

/** What has grown, by how much. */
export function countsSince(
  before: Readonly<Record<string, number>>,
  now: Readonly<Record<string, number>>,
): Record<string, number> {
  const grown: Record<string, number> = {};
  for (const [name, value] of Object.entries(now)) {
    const by = value - (before[name] ?? 0);
    if (by > 0) grown[name] = by;
  }
  return grown;
}

function smallestKnown(values: readonly (number | undefined)[]): number | null {
  const known = values.filter((value) => value !== undefined);
  return known.length === 0 ? null : Math.min(...known);
}

/** Undefined unless each member that was there before is the same process afterwards. */
function cpuUsOf(before: readonly MemberStatus[], after: readonly MemberStatus[]): number | undefined {
  if (before.length === 0) return undefined;
  let cpuUs = 0;
  for (const member of before) {
    const later = after.find((candidate) => candidate.index === member.index);
    if (member.cpuUs === undefined || later?.cpuUs === undefined) return undefined;
    if (later.incarnation !== member.incarnation) return undefined;
    cpuUs += later.cpuUs - member.cpuUs;
  }
  return cpuUs;
}

function dropsOf(before: readonly MemberStatus[], after: readonly MemberStatus[]): Record<string, number> {
  const grown = after.map((later) => {
    const member = before.find((candidate) => candidate.index === later.index);
    // One that was started anew counts from zero.
    const known = member?.incarnation === later.incarnation ? (member?.drops ?? {}) : {};
    return countsSince(known, later.drops ?? {});
  });
  return sumCounts(grown);
}
