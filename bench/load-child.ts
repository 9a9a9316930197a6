import { setTimeout as sleep } from 'node:timers/promises';
import type { WorkerFigures } from '../workers/process-sealing.ts';
import type { ClientCounters } from '../src/client/operations.ts';
import { AvocadoError } from '../src/errors.ts';
import { LatencyHistogram } from './histogram.ts';
import { LoadClient } from './load-client.ts';
import type { ClientWindow } from './load-client.ts';
import type { ChildMessage, Loaded, OpenTask, Opened, ParentMessage, Ran, RanType, RunTask } from './messages.ts';
import { RecordKeys } from './record.ts';
import { sumCounts } from './result.ts';
import type { OperationType } from './workload.ts';

/**
 * The main of a load process: some clients, measured in step. It does what its parent asks over the channel
 * (messages.ts), one thing at a time, and ends with its parent.
 */

const PROGRESS_INTERVAL_MS = 1_000;
/** Status is asked on the side of a saturated run; a member that needs longer is reported as unreachable. */
const STATUS_TIMEOUT_MS = 2_000;

class LoadHost {
  readonly #clients: readonly LoadClient[];
  /** Client 0, in the process that has it: one client asks for all. */
  readonly #spokesman: LoadClient | undefined;

  private constructor(task: OpenTask, clients: readonly LoadClient[]) {
    this.#clients = clients;
    this.#spokesman = clients[task.clients.findIndex(({ index }) => index === 0)];
  }

  static async open(task: OpenTask): Promise<LoadHost> {
    const keys = new RecordKeys(task.records, task.firstRecord);
    return new LoadHost(task, await Promise.all(task.clients.map((client) => LoadClient.open(task, client, keys))));
  }

  get opened(): Opened {
    const each = this.#clients.map((client) => client.opened);
    const valueBytesMax = Math.min(...each.map((client) => client.valueBytesMax));
    return { type: 'opened', ...each[0]!, valueBytesMax };
  }

  async load(): Promise<Loaded> {
    const startMs = performance.now();
    const failures = await this.#withProgress(Promise.all(this.#clients.map((client) => client.load())));
    return {
      type: 'loaded',
      puts: this.#sum(({ loop }) => loop.completed),
      retries: this.#sum(({ loop }) => loop.failed),
      elapsedMs: performance.now() - startMs,
      failure: failures.find((failure) => failure !== null) ?? null,
    };
  }

  async run(task: RunTask): Promise<Ran> {
    return await this.#withProgress(this.#run(task));
  }

  async #run(task: RunTask): Promise<Ran> {
    const clients = this.#clients;
    for (const client of clients) client.run(task);
    await sleep(task.warmupMs);

    for (const client of clients) client.beginWindow();
    const cpuBefore = process.cpuUsage();
    const membersBefore = this.#spokesman?.members(STATUS_TIMEOUT_MS);
    await sleep(task.durationMs);
    const windows = clients.map((client) => client.endWindow());
    const cpu = process.cpuUsage(cpuBefore);
    const membersAfter = this.#spokesman?.members(STATUS_TIMEOUT_MS);

    await Promise.all(clients.map((client) => client.drain()));
    const [before, after] = await Promise.all([membersBefore, membersAfter]);
    const operationsByClient = windows.map(({ window }) => window.operations);
    return {
      type: 'ran',
      windowMs: Math.max(...windows.map(({ window }) => window.windowMs)),
      operations: operationsByClient.reduce((sum, operations) => sum + operations, 0),
      completed: this.#sum(({ loop }) => loop.completed),
      operationsByClient,
      readBytes: windows.reduce((sum, { window }) => sum + window.readBytes, 0),
      writtenBytes: windows.reduce((sum, { window }) => sum + window.writtenBytes, 0),
      conflicts: windows.reduce((sum, { window }) => sum + window.conflicts, 0),
      errors: sumCounts(clients.map(({ loop }) => Object.fromEntries(loop.errors))),
      byType: byTypeOf(windows),
      cpuUs: cpu.user + cpu.system,
      counters: countersOf(windows),
      clientDrops: sumCounts(windows.map(({ drops }) => drops)),
      receiveBufferBytes: Math.min(...clients.map((client) => client.receiveBufferBytes)),
      workers: this.#workers(),
      members: before === undefined || after === undefined ? null : { before, after },
    };
  }

  async close(): Promise<void> {
    await Promise.all(this.#clients.map((client) => client.close()));
  }

  /** Clients of one process share their workers. */
  #workers(): WorkerFigures | null {
    const each = this.#clients.flatMap(({ workers }) => workers ?? []);
    return each.length === 0 ? null : { ...each[0]!, jobs: each.reduce((sum, { jobs }) => sum + jobs, 0) };
  }

  #sum(figure: (client: LoadClient) => number): number {
    return this.#clients.reduce((sum, client) => sum + figure(client), 0);
  }

  async #withProgress<T>(work: Promise<T>): Promise<T> {
    let lastCompleted = 0;
    let lastMs = performance.now();
    const timer = setInterval(() => {
      const completed = this.#sum(({ loop }) => loop.completed);
      const nowMs = performance.now();
      const opsPerSec = ((completed - lastCompleted) * 1_000) / (nowMs - lastMs);
      tell({ type: 'progress', completed, failed: this.#sum(({ loop }) => loop.failed), opsPerSec });
      lastCompleted = completed;
      lastMs = nowMs;
    }, PROGRESS_INTERVAL_MS);
    try {
      return await work;
    } finally {
      clearInterval(timer);
    }
  }
}

function byTypeOf(windows: readonly ClientWindow[]): Ran['byType'] {
  const of = (type: OperationType): RanType => {
    const latency = new LatencyHistogram();
    for (const { window } of windows) latency.add(window[type]);
    return { count: latency.count, latency: latency.encode() };
  };
  return { read: of('read'), update: of('update'), insert: of('insert'), rmw: of('rmw'), scan: of('scan') };
}

function countersOf(windows: readonly ClientWindow[]): ClientCounters {
  const sum = (counter: keyof ClientCounters): number =>
    windows.reduce((total, { counters }) => total + counters[counter], 0);
  return {
    retransmissions: sum('retransmissions'),
    hedges: sum('hedges'),
    tampered: sum('tampered'),
    repairs: sum('repairs'),
    writeBacks: sum('writeBacks'),
    resolves: sum('resolves'),
    partsRepeated: sum('partsRepeated'),
    helped: sum('helped'),
    backOffs: sum('backOffs'),
  };
}

function tell(message: ChildMessage): void {
  process.send?.(message);
}

let host: LoadHost | undefined;

async function answer(message: ParentMessage): Promise<ChildMessage> {
  if (message.type === 'open') {
    host = await LoadHost.open(message);
    return host.opened;
  }
  if (host === undefined) throw new Error(`asked to ${message.type} before it was opened`);
  switch (message.type) {
    case 'load':
      return await host.load();
    case 'run':
      return await host.run(message);
    case 'close':
      await host.close();
      return { type: 'closed' };
  }
}

async function handle(message: ParentMessage): Promise<void> {
  try {
    tell(await answer(message));
    if (message.type === 'close') process.disconnect();
  } catch (error) {
    const code = error instanceof AvocadoError ? error.code : null;
    // A defect has no code: its stack is for whoever looks for it.
    if (code === null) console.error(error);
    tell({ type: 'failed', code, message: error instanceof Error ? error.message : String(error) });
    process.exitCode = 1;
  }
}

process.on('message', (message: ParentMessage) => void handle(message));
// Ctrl-C reaches the whole group of processes: the parent ends this one in its own time, or by going away itself.
process.on('SIGINT', () => {});
process.on('disconnect', () => process.exit());
