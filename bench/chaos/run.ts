import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { workerCountOf } from '../../workers/worker-count.ts';
import { HistoryParts } from '../history-parts.ts';
import type { Ran } from '../messages.ts';
import type { Progress } from '../progress.ts';
import { headOf } from '../report.ts';
import { resultOf } from '../result.ts';
import { LoadTarget } from '../target.ts';
import { ChaosCluster } from './chaos-cluster.ts';
import { planFaults } from './fault-plan.ts';
import { FaultRunner } from './fault-runner.ts';
import type { World } from './fault-runner.ts';
import type { Fault } from './faults.ts';
import { checkHistoryFile } from './history-check.ts';
import { summarizeHistory } from './history-summary.ts';
import { DEADLINE_MS } from './options.ts';
import type { ChaosOptions } from './options.ts';
import type { ChaosReport } from './report.ts';
import { failuresOf } from './verdict.ts';

/**
 * One chaos run: a cluster behind bad proxies, the bench's load on it, faults by plan, calm at the end, and then the
 * judgement of what the clients saw. Whatever happens, processes end and temporary files are removed.
 */
export interface ChaosContext {
  /** Its reason is what the run then rejects with. */
  readonly signal: AbortSignal;
  readonly progress: Progress;
}

/** Handshakes that nobody answered are repeated after 2 s at the latest (net/limits.ts); the rest is for a busy machine. */
const RECOVERY_MS_MAX = 3_000;
/** Load after the last fault: what begins within the bound may fail, what comes after it must not. */
const SETTLE_MS = 4_000;
/** The members are asked for their counters when the load's window opens; the faults let them answer. */
const LEAD_MS = 250;

export async function runChaos(options: ChaosOptions, context: ChaosContext): Promise<ChaosReport> {
  for (const notice of options.notices) context.progress.note(`note: ${notice}`);
  const temporaryDirectory = mkdtempSync(join(tmpdir(), 'avocado-chaos-'));
  const historyPath = options.historyPath ?? join(temporaryDirectory, 'history.jsonl');
  let isKept = false;
  try {
    const observed = await observe(options, context, historyPath);
    context.progress.update('the history is checked');
    const report = await reportOf(options, observed, historyPath);
    // Real processes don't repeat a run: the history is the evidence.
    isKept = report.failures.length > 0 && options.historyPath === undefined;
    return isKept ? report : { ...report, history: { ...report.history, path: options.historyPath ?? null } };
  } finally {
    context.progress.clear();
    if (!isKept) rmSync(temporaryDirectory, { recursive: true, force: true });
  }
}

/** What a run leaves behind, beside its history. */
interface Observed {
  readonly parts: readonly Ran[];
  readonly plan: readonly Fault[];
  readonly counts: FaultRunner['counts'];
  readonly network: ChaosReport['network'];
  readonly unexpectedExits: readonly string[];
  /** Milliseconds since the history's start. */
  readonly loadedMs: number;
  readonly startMs: number;
  readonly calmMs: number;
  readonly endMs: number;
}

async function observe(options: ChaosOptions, context: ChaosContext, historyPath: string): Promise<Observed> {
  const { signal, progress } = context;
  const { mode, replicas, datagramBytes, workersFromBytes, seed, clients, processes, durationMs, warmupMs } = options;
  const workers = workerCountOf(options.workers ?? 0, replicas + processes);
  const history = new HistoryParts(historyPath);
  const sinceStartMs = (): number => Number(process.hrtime.bigint() - history.originNs) / 1e6;
  const tell = (text: string): void => progress.note(`+${(sinceStartMs() / 1_000).toFixed(2)} s  ${text}`);
  const unexpectedExits: string[] = [];
  const killed = new Set<number>();
  const plan = planFaults({ seed, kinds: options.kinds, durationMs, replicas, loadProcesses: processes });
  let chaos: ChaosCluster | undefined;
  let target: LoadTarget | undefined;
  let runner: FaultRunner | undefined;
  try {
    progress.update('starting');
    chaos = await ChaosCluster.start({
      mode,
      replicas,
      datagramBytes,
      workers,
      ...(workersFromBytes !== undefined && { workersFromBytes }),
      seed,
      signal,
      log: (line) => progress.note(line),
      onReplicaExit: (index, description) => {
        if (!killed.has(index)) unexpectedExits.push(`replica ${index} was not killed: ${description}`);
      },
    });
    target = await LoadTarget.open({
      mode,
      route: options.route,
      directory: chaos.cluster.directory,
      settings: { ...options, workers, durationMs: LEAD_MS + durationMs + SETTLE_MS },
      deadlineMs: DEADLINE_MS,
      history,
      signal,
      progress,
      label: 'chaos',
    });
    await target.load();
    const loadedMs = sinceStartMs();
    runner = new FaultRunner(plan, worldOf(chaos, target, killed), tell);
    const [parts, times] = await Promise.all([
      target.measure(options.workload, seed),
      strike(runner, warmupMs + LEAD_MS, signal, sinceStartMs, tell),
    ]);
    await target.finish();
    await target.close();
    await history.merge(clients);
    const endMs = times.calmMs + SETTLE_MS;
    const network = chaos.networkCounts();
    return { parts, plan, counts: runner.counts, network, unexpectedExits, loadedMs, ...times, endMs };
  } finally {
    runner?.end();
    await target?.close();
    await chaos?.stop();
    history.remove();
  }
}

/** Lets the faults happen, after some calm. */
async function strike(
  runner: FaultRunner,
  delayMs: number,
  signal: AbortSignal,
  sinceStartMs: () => number,
  tell: (text: string) => void,
): Promise<{ startMs: number; calmMs: number }> {
  // Its rejection would hide the signal's own reason.
  await sleep(delayMs, undefined, { signal }).catch(() => {});
  signal.throwIfAborted();
  const startMs = sinceStartMs();
  const onAbort = (): void => runner.end();
  signal.addEventListener('abort', onAbort);
  await runner.run();
  signal.removeEventListener('abort', onAbort);
  signal.throwIfAborted();
  const calmMs = sinceStartMs();
  tell('the faults are over');
  return { startMs, calmMs };
}

function worldOf(chaos: ChaosCluster, target: LoadTarget, killed: Set<number>): World {
  const { cluster, proxies } = chaos;
  return {
    signal: ({ role, index }, name) => {
      const pid = role === 'replica' ? cluster.processIds[index] : target.processIds[index];
      if (pid === undefined) return false;
      if (name === 'SIGKILL' && role === 'replica') killed.add(index);
      try {
        return process.kill(pid, name);
      } catch {
        // It has ended by itself; that is noticed elsewhere.
        return false;
      }
    },
    restart: (index, whenStarted) => void cluster.restart(index).then(whenStarted),
    setConditions: (index, direction, conditions) => proxies[index]!.set(direction, conditions),
  };
}

async function reportOf(options: ChaosOptions, observed: Observed, historyPath: string): Promise<ChaosReport> {
  const { mode, route, workload, seed, replicas, kinds } = options;
  const { loadedMs, startMs, calmMs, endMs, plan, counts, network, unexpectedExits } = observed;
  const result = resultOf({ mode, route, workload, seed }, observed.parts);
  const summary = await summarizeHistory(historyPath, {
    loadedMs,
    calmMs,
    endMs,
    clientCount: options.clients,
    recoveryMsMax: RECOVERY_MS_MAX,
  });
  const history = await checkHistoryFile(historyPath);
  const members = observed.parts.find((part) => part.members !== null)?.members?.after ?? [];
  const votingRestarted = plan.flatMap((fault) => {
    if (fault.kind !== 'kill') return [];
    return members.find(({ index }) => index === fault.replica)?.state === 'active' ? [fault.replica] : [];
  });
  const { errorsByKind, retransmissions, hedges, writeBacks, drops } = result;
  return {
    ...headOf('avocado bench --chaos', options, [workload], true, [route]),
    mode,
    workload: workload.name,
    replicas,
    deadlineMs: DEADLINE_MS,
    operations: summary.operations,
    errorsByKind,
    faults: { kinds, counts, plan, startMs },
    network,
    longestGap: summary.longestGap,
    recoveryMs: summary.recoveryMs,
    retransmissions,
    hedges,
    writeBacks,
    drops,
    members: members.map(({ index, state }) => ({ index, state })),
    history: { ...history, path: historyPath },
    failures: failuresOf({
      history,
      summary,
      recoveryMsMax: RECOVERY_MS_MAX,
      errorsByKind,
      unexpectedExits,
      votingRestarted,
    }),
  };
}
