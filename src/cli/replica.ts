import { isIP } from 'node:net';
import { Command, InvalidArgumentError, Option } from 'commander';
import type { WorkerSetting } from '../../workers/worker-count.ts';
import { RESEALS_PER_SECOND_DEFAULT } from '../server/replica-node.ts';
import { runReplica } from '../server/replica-server.ts';
import { HOST_BYTES_MAX } from '../store/host-memory.ts';
import { TRUSTED_BYTES_DEFAULT } from '../store/trusted-budget.ts';
import { bytesBetween, formatBytes } from './bytes.ts';
import type { EvidenceKind } from '../trust/evidence/evidence.ts';
import {
  casOption,
  casPolicyOption,
  chainAccess,
  collateralOption,
  lasOption,
  machineOption,
  teeOption,
  vendorLatencyOption,
} from './chain-options.ts';
import { findCluster } from './find-cluster.ts';
import {
  clusterOption,
  datagramBytesOption,
  receiveBufferOption,
  scansOption,
  wholeNumberBetween,
  workersFromOption,
  workersOption,
} from './shared-options.ts';
import { untilStopSignal } from './stop-signal.ts';

const MIB = 2 ** 20;
const GIB = 2 ** 30;
const RESEAL_RATE_MAX = 1_000_000;

interface BindAddress {
  readonly host: string;
  /** Undefined: the one in cluster.json. */
  readonly port: number | undefined;
}

interface ReplicaCommandOptions {
  readonly cluster?: string;
  readonly index: number;
  readonly trustedMemory: number;
  readonly hostMemory: number;
  readonly datagramBytes?: number;
  readonly receiveBuffer?: number;
  readonly workers: WorkerSetting;
  readonly workersFrom?: number;
  readonly scans: boolean;
  readonly resealRate: number;
  readonly allowPlaintext?: boolean;
  readonly bind?: BindAddress;
  readonly cas?: string;
  readonly las?: string;
  readonly tee: EvidenceKind;
  readonly machine?: string;
  readonly vendorLatency?: number;
  readonly casPolicy?: string;
  readonly collateral?: string;
}

export function replicaCommand(): Command {
  return new Command('replica')
    .description('Run one replica of a cluster until SIGTERM or Ctrl-C.')
    .addOption(clusterOption())
    .addOption(
      new Option('--index <number>', 'which member of the cluster this is')
        .argParser(wholeNumberBetween(0, 6))
        .makeOptionMandatory(),
    )
    .addOption(
      new Option('--trusted-memory <bytes>', 'limit for keys and metadata')
        .argParser(bytesBetween(MIB, 64 * GIB))
        .default(TRUSTED_BYTES_DEFAULT, formatBytes(TRUSTED_BYTES_DEFAULT)),
    )
    .addOption(
      new Option('--host-memory <bytes>', 'limit for sealed values')
        .argParser(bytesBetween(MIB, HOST_BYTES_MAX))
        .default(4 * GIB, '4GiB'),
    )
    .addOption(datagramBytesOption())
    .addOption(receiveBufferOption())
    .addOption(workersOption())
    .addOption(workersFromOption())
    .addOption(scansOption())
    .option(
      '--reseal-rate <values>',
      'values sealed anew a second, at most, after avocado cas rotate',
      wholeNumberBetween(1, RESEAL_RATE_MAX),
      RESEALS_PER_SECOND_DEFAULT,
    )
    .option(
      '--bind <address[:port]>',
      'where to listen, in place of the address in cluster.json: behind a port forwarder, or 0.0.0.0 for all interfaces',
      parseBind,
    )
    .option('--allow-plaintext', 'serve a cluster of mode plaintext, which protects nothing')
    .addOption(casOption())
    .addOption(lasOption())
    .addOption(casPolicyOption())
    .addOption(teeOption())
    .addOption(machineOption())
    .addOption(vendorLatencyOption())
    .addOption(collateralOption())
    .addHelpText(
      'after',
      `
With --cas it needs no files: it is attested, and CAS gives it its keys and the members. It waits for CAS, LAS and the other
members as long as it takes, and says for what.

Examples:
  avocado replica --cas https://10.0.0.1:7480#<key> --las https://127.0.0.1:7481 --index 0
  avocado replica --cluster ./cluster --index 0
  avocado replica --cluster ./cluster --index 2 --trusted-memory 512MiB --bind 0.0.0.0
  avocado replica --cluster ./cluster --index 1 --bind 10.0.0.7:9400
  avocado replica --cluster ./cluster --index 1 --workers 2`,
    )
    .action(replica);
}

/** It prints a line whenever its state changes. */
async function replica(options: ReplicaCommandOptions): Promise<void> {
  const log = (line: string): void =>
    void process.stdout.write(`${new Date().toISOString()} replica ${options.index} ${line}\n`);
  const stopped = untilStopSignal();
  const stopping = new AbortController();
  void stopped.then(() => stopping.abort());
  const running = await runReplica({
    ...(options.cas === undefined
      ? { clusterDirectory: findCluster(options.cluster) }
      : { clusterDirectory: '', chain: chainAccess(options, options.cas) }),
    signal: stopping.signal,
    index: options.index,
    trustedBytesMax: options.trustedMemory,
    hostBytesMax: options.hostMemory,
    allowPlaintext: options.allowPlaintext ?? false,
    workers: options.workers,
    scans: options.scans,
    resealsPerSecond: options.resealRate,
    ...(options.workersFrom !== undefined && { workersFromBytes: options.workersFrom }),
    ...(options.datagramBytes !== undefined && { datagramBytes: options.datagramBytes }),
    ...(options.receiveBuffer !== undefined && { receiveBufferBytes: options.receiveBuffer }),
    ...(options.bind !== undefined && { bindHost: options.bind.host }),
    ...(options.bind?.port !== undefined && { bindPort: options.bind.port }),
    onStateChange: (state, reason) => log(reason === '' ? state : `${state}: ${reason}`),
  });
  const signal = await stopped;
  log(`ends on ${signal}`);
  await running.close();
}

/** An address, address:port or [IPv6]:port. */
function parseBind(text: string): BindAddress {
  if (isIP(text) !== 0) return { host: text, port: undefined };
  const match = /^(?:\[([0-9A-Fa-f:.]+)\]|([^:[\]\s]+))(?::(\d{1,5}))?$/.exec(text);
  const host = match?.[1] ?? match?.[2];
  const port = match?.[3] === undefined ? undefined : Number(match[3]);
  if (host === undefined || port === 0 || (port ?? 0) > 65_535) {
    throw new InvalidArgumentError('Give an address like 0.0.0.0, 10.0.0.7:9400 or [::1]:9400.');
  }
  return { host, port };
}
