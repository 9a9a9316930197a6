import { assert } from '../net/assert.ts';
import type { SecurityMode } from '../net/mode.ts';
import { workerCountOf } from '../workers/worker-count.ts';
import { CommandFailure, EXIT_FAILED } from '../src/cli/failure.ts';
import type { Route } from '../src/client/route.ts';
import { REPLICAS_DEFAULT, startEmbeddedCluster } from '../src/server/embedded-cluster.ts';
import type { EmbeddedCluster } from '../src/server/embedded-cluster.ts';
import type { HistoryParts } from './history-parts.ts';
import { LoadProcess } from './load-process.ts';
import type { Answer, ClientTask, ParentMessage, Progress as LoadProgress, Ran } from './messages.ts';
import type { LoadSettings } from './load-options.ts';
import type { Progress } from './progress.ts';
import { count } from './report-text.ts';
import { resultOf } from './result.ts';
import type { RunResult } from './result.ts';
import { overflowsOf } from './udp-sockets.ts';
import type { Workload } from './workload.ts';

/**
 * A cluster under load: the cluster itself if it is an embedded one, and the load processes that work on it in step.
 * It is opened, loaded, measured any number of times, and closed whatever happened.
 */
export interface TargetOptions {
  readonly mode: SecurityMode;
  /** Default: direct. */
  readonly route?: Route;
  /** A cluster that runs already; undefined: start one. */
  readonly directory: string | undefined;
  /** Of the cluster that runs already, where they are known. */
  readonly replicaProcessIds?: readonly number[];
  /** Of the cluster that is started; undefined: as the embedded cluster has it. */
  readonly replicas?: number | undefined;
  /** Whether they keep their keys in order; undefined: they do. */
  readonly scans?: boolean;
  readonly settings: LoadSettings;
  /** The number of the first record; default: 0. */
  readonly firstRecord?: number;
  /** Of each operation; default: the load processes' own. */
  readonly deadlineMs?: number;
  /** Where clients put their parts of a history, and the run's start. */
  readonly history: HistoryParts | undefined;
  /** Ends everything; its reason is the error that the caller gets. */
  readonly signal: AbortSignal;
  readonly progress: Progress;
  /** Begins each line of progress. */
  readonly label: string;
}

export interface LoadSummary {
  readonly puts: number;
  readonly retries: number;
  readonly elapsedMs: number;
}

const PROGRESS_INTERVAL_MS = 1_000;
const NO_PROGRESS: LoadProgress = { type: 'progress', completed: 0, failed: 0, opsPerSec: 0 };

export class LoadTarget {
  readonly mode: SecurityMode;
  readonly route: Route;
  readonly #options: TargetOptions;
  #cluster: EmbeddedCluster | undefined;
  #directory: string | undefined;
  #processes: LoadProcess[] = [];
  /** The latest of each process. */
  readonly #reports: LoadProgress[] = [];
  memberCount = 0;

  private constructor(options: TargetOptions) {
    this.mode = options.mode;
    this.route = options.route ?? 'direct';
    this.#options = options;
  }

  static async open(options: TargetOptions): Promise<LoadTarget> {
    const target = new LoadTarget(options);
    try {
      await target.#open();
      return target;
    } catch (error) {
      await target.close();
      throw error;
    }
  }

  /** Puts each record once, each client its share. */
  async load(): Promise<LoadSummary> {
    const { records } = this.#options.settings;
    const answers = await this.#withProgress(
      (done) => `load ${count(done)} of ${count(records)} records`,
      this.#askAll(() => ({ type: 'load' }), 'loaded'),
    );
    const failure = answers.find((answer) => answer.failure !== null)?.failure;
    if (failure !== undefined) {
      const puts = answers.reduce((sum, answer) => sum + answer.puts, 0);
      throw new CommandFailure(`error: ${adviceOn(String(failure), puts)}`, EXIT_FAILED);
    }
    return {
      puts: answers.reduce((sum, answer) => sum + answer.puts, 0),
      retries: answers.reduce((sum, answer) => sum + answer.retries, 0),
      elapsedMs: Math.max(...answers.map((answer) => answer.elapsedMs)),
    };
  }

  async run(workload: Workload, seed: number): Promise<RunResult> {
    const replicas = this.#replicaProcessIds;
    const before = { replicas: overflowsOf(replicas), clients: overflowsOf(this.processIds) };
    const parts = await this.measure(workload, seed);
    return resultOf({ mode: this.mode, route: this.route, workload, seed }, parts, {
      replicas: grown(before.replicas, overflowsOf(replicas)),
      clients: grown(before.clients, overflowsOf(this.processIds)),
    });
  }

  /** What each load process found. */
  async measure(workload: Workload, seed: number): Promise<readonly Ran[]> {
    const { warmupMs, durationMs } = this.#options.settings;
    const { readProportion, write, scans = false } = workload;
    const startMs = performance.now();
    return await this.#withProgress(
      () => {
        const elapsedMs = performance.now() - startMs;
        if (elapsedMs < warmupMs) return `workload ${workload.name}, warm-up`;
        const seconds = Math.min(elapsedMs - warmupMs, durationMs) / 1_000;
        return `workload ${workload.name}, ${seconds.toFixed(0)} of ${durationMs / 1_000} s`;
      },
      this.#askAll(() => ({ type: 'run', readProportion, write, scans, seed, warmupMs, durationMs }), 'ran'),
    );
  }

  /** For others that work on the same cluster; it ends with this target if this one started it. */
  get cluster(): { readonly directory: string; readonly replicaProcessIds: readonly number[] } {
    assert(this.#directory !== undefined, 'the target is open');
    return { directory: this.#directory, replicaProcessIds: this.#replicaProcessIds };
  }

  get #replicaProcessIds(): readonly number[] {
    return this.#cluster?.processIds ?? this.#options.replicaProcessIds ?? [];
  }

  /** Of the load processes. */
  get processIds(): readonly number[] {
    return this.#processes.flatMap(({ pid }) => pid ?? []);
  }

  /** Ends processes and cluster, whatever they do. Safe to call more than once. */
  async close(): Promise<void> {
    await Promise.all(this.#processes.map((process) => process.end()));
    await this.#cluster?.stop();
  }

  /** Lets the load processes end in their own time: their histories are whole afterwards. */
  async finish(): Promise<void> {
    await this.#askAll(() => ({ type: 'close' }), 'closed');
  }

  async #open(): Promise<void> {
    const { settings, signal, progress, label, deadlineMs } = this.#options;
    signal.throwIfAborted();
    progress.update(`${label}: starting`);
    const directory = this.#options.directory ?? (await this.#startCluster()).directory;
    this.#directory = directory;
    for (let index = 0; index < settings.processes; index++) {
      this.#reports.push(NO_PROGRESS);
      this.#processes.push(new LoadProcess(index, (from, report) => (this.#reports[from] = report)));
    }
    const opened = await this.#askAll(
      (processIndex) => ({
        type: 'open',
        clusterDirectory: directory,
        clients: this.#clientsOf(processIndex),
        clientCount: settings.clients,
        records: settings.records,
        firstRecord: this.#options.firstRecord ?? 0,
        valueSizes: settings.valueSizes,
        seed: settings.seed,
        datagramBytes: settings.datagramBytes ?? null,
        receiveBufferBytes: settings.receiveBufferBytes ?? null,
        route: this.route,
        workers: this.#workerCount(),
        ...(this.#options.scans !== undefined && { scans: this.#options.scans }),
        ...(settings.workersFromBytes !== undefined && { workersFromBytes: settings.workersFromBytes }),
        outstanding: settings.outstanding,
        ...(deadlineMs !== undefined && { deadlineMs }),
        originNs: String(this.#options.history?.originNs ?? 0n),
      }),
      'opened',
    );
    this.memberCount = opened[0]?.memberCount ?? 0;
  }

  /** Clients are dealt out to the processes in turn. */
  #clientsOf(processIndex: number): ClientTask[] {
    const { settings, history } = this.#options;
    const clients: ClientTask[] = [];
    for (let index = processIndex; index < settings.clients; index += settings.processes) {
      clients.push({ index, historyPath: history?.part(index) ?? null });
    }
    return clients;
  }

  async #startCluster(): Promise<EmbeddedCluster> {
    const { mode, settings, signal, progress, label } = this.#options;
    this.#cluster = await startEmbeddedCluster({
      mode,
      signal,
      ...(this.#options.replicas !== undefined && { replicas: this.#options.replicas }),
      ...(settings.datagramBytes !== undefined && { datagramBytes: settings.datagramBytes }),
      ...(settings.receiveBufferBytes !== undefined && { receiveBufferBytes: settings.receiveBufferBytes }),
      workers: this.#workerCount(),
      ...(settings.workersFromBytes !== undefined && { workersFromBytes: settings.workersFromBytes }),
      log: (line) => progress.note(`${label}: ${line}`),
      onReplicaExit: (index, description) => progress.note(`${label}: replica ${index}: ${description}`),
    });
    return this.#cluster;
  }

  /** Of each process: all of them share the machine. */
  #workerCount(): number {
    const { directory, replicas, settings } = this.#options;
    const replicaCount = directory === undefined ? (replicas ?? REPLICAS_DEFAULT) : 0;
    return workerCountOf(settings.workers ?? 0, replicaCount + settings.processes);
  }

  /** All at once, and the signal in between: what is under way then is left to close(). */
  async #askAll<T extends Answer['type']>(
    messageFor: (processIndex: number) => ParentMessage,
    type: T,
  ): Promise<Extract<Answer, { type: T }>[]> {
    const { signal } = this.#options;
    signal.throwIfAborted();
    let onAbort = (): void => {};
    const aborted = new Promise<never>((_resolve, reject) => {
      onAbort = (): void => reject(signal.reason as Error);
      signal.addEventListener('abort', onAbort);
    });
    const answers = this.#processes.map((process, index) => process.ask(messageFor(index), type));
    try {
      return await Promise.race([Promise.all(answers), aborted]);
    } finally {
      signal.removeEventListener('abort', onAbort);
    }
  }

  async #withProgress<T>(describe: (completed: number) => string, work: Promise<T>): Promise<T> {
    const { progress, label } = this.#options;
    this.#reports.fill(NO_PROGRESS);
    const sum = (figure: (report: LoadProgress) => number): number =>
      this.#reports.reduce((total, report) => total + figure(report), 0);
    const timer = setInterval(() => {
      const rate = count(sum((report) => report.opsPerSec));
      const failed = count(sum((report) => report.failed));
      progress.update(`${label}: ${describe(sum((report) => report.completed))}, ${rate} ops/s, ${failed} errors`);
    }, PROGRESS_INTERVAL_MS);
    try {
      return await work;
    } finally {
      clearInterval(timer);
      progress.clear();
    }
  }
}

function grown(before: number | undefined, after: number | undefined): number | null {
  return before === undefined || after === undefined ? null : after - before;
}

function adviceOn(outcome: string, puts: number): string {
  switch (outcome) {
    case 'trusted-memory-full':
      return `trusted memory was full after ${puts} records: give fewer --records, or a cluster with a larger budget`;
    case 'host-memory-full':
      return `host memory was full after ${puts} records: give fewer --records or --value-bytes`;
    case 'not-permitted':
      return 'the certificate of this cluster directory does not permit writing: give one that does';
    default:
      return `the load ended after ${puts} records, a put ended ${outcome} again and again: look at avocado status`;
  }
}
