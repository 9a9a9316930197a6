import { Command, Option } from 'commander';
import type { SecurityMode } from '../../net/mode.ts';
import type { WorkerSetting } from '../../workers/worker-count.ts';
import { workerCountOf } from '../../workers/worker-count.ts';
import { startEmbeddedCluster } from '../server/embedded-cluster.ts';
import type { EmbeddedCluster } from '../server/embedded-cluster.ts';
import { claimDevPointer, devPointerPath, readDevPointer, releaseDevPointer } from './dev-pointer.ts';
import type { DevPointer } from './dev-pointer.ts';
import { CommandFailure, EXIT_WRONG_INPUT } from './failure.ts';
import { ownCommandLine } from './own-command-line.ts';
import {
  datagramBytesOption,
  jsonOption,
  modeOption,
  replicaCount,
  scansOption,
  workersFromOption,
  workersOption,
} from './shared-options.ts';
import { untilStopSignal } from './stop-signal.ts';
import { ChainTree } from './chain-tree.ts';
import type { ChainStep } from './chain-tree.ts';
import { durationMs } from './duration.ts';

/** To be said wherever a cluster could be taken for more than it is. */
const SIMULATED_TEE_NOTE =
  'The TEEs are simulated: nothing here is confidential against this machine and whoever controls it.';

/** Short, so that nobody waits for what stands for somebody else's service. */
const VENDOR_LATENCY_MS = 40;

interface DevOptions {
  readonly mode: SecurityMode;
  readonly replicas: number;
  readonly datagramBytes?: number;
  readonly workers: WorkerSetting;
  readonly workersFrom?: number;
  readonly static?: boolean;
  readonly vendorLatency: number;
  readonly scans: boolean;
  readonly json?: boolean;
}

export function devCommand(): Command {
  return new Command('dev')
    .description('Run a cluster on this machine until Ctrl-C; the other commands find it by themselves.')
    .addOption(modeOption())
    .addOption(new Option('--replicas <count>', 'replica processes').argParser(replicaCount).default(3))
    .addOption(datagramBytesOption())
    .addOption(workersOption())
    .addOption(workersFromOption())
    .option('--static', 'keys from files instead of from a CAS and a LAS')
    .addOption(
      new Option('--vendor-latency <duration>', "how long the simulated vendor's service takes; real ones take seconds")
        .argParser(durationMs)
        .default(VENDOR_LATENCY_MS, `${VENDOR_LATENCY_MS}ms`),
    )
    .addOption(scansOption())
    .addOption(jsonOption())
    .addHelpText(
      'after',
      `
It starts the whole chain of trust and shows it: a CAS, which the vendor's service and its own evidence vouch for, a LAS,
which CAS attests once, and replicas, which the LAS vouches for. docs/trust-chain.md explains it.

Data lives in memory and is gone when it ends; its files are temporary and removed.

Examples:
  avocado dev
  avocado dev --replicas 5
  avocado dev --vendor-latency 2.9s
  avocado dev --static --mode plaintext`,
    )
    .action(dev);
}

async function dev(options: DevOptions): Promise<void> {
  refuseSecond(readDevPointer());

  const interrupted = new AbortController();
  const stopSignal = untilStopSignal();
  void stopSignal.then(() => interrupted.abort());
  const health = new Health(options);
  const tree = new ChainTree(options.replicas, options.json === true);
  let cluster: EmbeddedCluster;
  try {
    cluster = await startEmbeddedCluster({
      mode: options.mode,
      replicas: options.replicas,
      ...(options.datagramBytes !== undefined && { datagramBytes: options.datagramBytes }),
      ...(options.static !== true && {
        chain: {
          vendorLatencyMs: options.vendorLatency,
          onCas: (event, reference) => tree.onCas(event, reference),
          onLas: (event) => tree.onLas(event),
        },
      }),
      workers: workerCountOf(options.workers, options.replicas),
      scans: options.scans,
      ...(options.workersFrom !== undefined && { workersFromBytes: options.workersFrom }),
      signal: interrupted.signal,
      onReplicaExit: (index, description) => health.onReplicaExit(index, description),
    });
  } catch (error) {
    if (interrupted.signal.aborted) return;
    throw error;
  }
  try {
    refuseSecond(claimDevPointer(cluster.directory));
    process.stdout.write(options.json === true ? describeJson(cluster, tree.steps) : describe(cluster));
    await stopSignal;
  } finally {
    try {
      releaseDevPointer();
    } finally {
      await cluster.stop();
    }
  }
  process.stdout.write(
    options.json === true ? `${JSON.stringify({ event: 'stopped' })}\n` : 'Stopped; nothing is left.\n',
  );
}

function refuseSecond(other: DevPointer | undefined): void {
  if (other === undefined) return;
  throw new CommandFailure(
    `error: a dev cluster is running already (${other.directory}): use it, or stop it first with Ctrl-C in its terminal or: kill ${other.pid}`,
    EXIT_WRONG_INPUT,
  );
}

/** Tells of replicas that end by themselves, and when too few are left. */
class Health {
  readonly #options: DevOptions;
  #left: number;

  constructor(options: DevOptions) {
    this.#options = options;
    this.#left = options.replicas;
  }

  onReplicaExit(index: number, description: string): void {
    this.#left--;
    const quorum = Math.floor(this.#options.replicas / 2) + 1;
    const serves = this.#left >= quorum;
    if (this.#options.json === true) {
      process.stdout.write(
        `${JSON.stringify({ event: 'replica-ended', index, description, left: this.#left, serves })}\n`,
      );
      return;
    }
    const consequence = serves
      ? `the other ${this.#left} go on`
      : `${this.#left} of ${this.#options.replicas} are too few to serve, stop with Ctrl-C and start anew`;
    process.stderr.write(`replica ${index} is gone, ${description}: ${consequence}\n`);
  }
}

function describeJson(cluster: EmbeddedCluster, chain: readonly ChainStep[]): string {
  const report = {
    event: 'ready',
    pid: process.pid,
    mode: cluster.mode,
    directory: cluster.directory,
    pointer: devPointerPath(),
    members: cluster.members.map((member) => ({ ...member, pid: cluster.processIds[member.index] })),
    ...(cluster.cas !== undefined && { cas: cluster.cas, chain }),
    confidential: false,
    note: SIMULATED_TEE_NOTE,
  };
  return `${JSON.stringify(report)}\n`;
}

function describe(cluster: EmbeddedCluster): string {
  const avocado = ownCommandLine();
  const replicas = cluster.members
    .map(({ index, host, port }) => `  replica ${index}  udp ${host}:${port}  pid ${cluster.processIds[index]}\n`)
    .join('');
  return `Avocado is up: ${cluster.members.length} replicas, mode ${cluster.mode}.
${replicas}  files      ${cluster.directory}

From another terminal:
  ${avocado} put greeting hello
  ${avocado} get greeting
  ${avocado} status
Where this cluster is not found by itself, add: --cluster ${cluster.directory}

${SIMULATED_TEE_NOTE}
Data is in memory only. Ctrl-C stops the cluster.
`;
}
