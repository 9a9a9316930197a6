import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { SecurityMode } from '../../net/mode.ts';
import { UdpTransport } from '../../net/udp.ts';
import { AvocadoError } from '../errors.ts';
import { initClusterDirectory } from '../trust/cluster-directory.ts';
import type { NamedClient } from '../trust/cluster-directory.ts';
import type { ChainAccess } from '../trust/chain/chain-access.ts';
import type { EmbeddedChain, EmbeddedChainOptions } from './embedded-chain.ts';
import type { WorkerOptions } from './open-sealing.ts';
import { ReplicaProcess } from './replica-process.ts';

/**
 * A whole cluster on this machine for `avocado dev`, the bench and tests: cluster files of its own, and a child
 * process a replica on free loopback ports. Children end with their parent, however it ends, and take the temporary
 * directory with them.
 */
export interface EmbeddedClusterOptions extends WorkerOptions {
  /** Starting in plaintext mode is the permission for it: nothing but loopback is reached. */
  readonly mode: SecurityMode;
  /** 1, 3, 5 or 7. */
  readonly replicas?: number;
  readonly datagramBytes?: number;
  readonly receiveBufferBytes?: number;
  readonly trustedBytesMax?: number;
  readonly hostBytesMax?: number;
  /** See ReplicaServerOptions. */
  readonly scans?: boolean;
  readonly resealsPerSecond?: number;
  /** New directory for the cluster files, kept by stop(). Default: a temporary one, removed by stop(). */
  readonly directory?: string;
  /**
   * Opens a forwarder to the port at which a replica will listen, and returns the port of this machine at which everybody
   * else is to reach it. Called for each replica before it starts; a start that is tried again calls it again.
   */
  readonly forward?: (index: number, port: number) => Promise<number>;
  /**
   * Keys come from a CAS and a LAS that run in this process, on simulated platforms. Default: from files, without
   * attestation.
   */
  readonly chain?: EmbeddedChainOptions;
  /** With keys from files: clients with fewer rights. CAS has profiles for them. */
  readonly clients?: readonly NamedClient[];
  /** Ends the start: everything is stopped and the promise rejects with the signal's reason. */
  readonly signal?: AbortSignal;
  /** Receives what replicas print and report, a line each. Default: stderr. */
  readonly log?: (line: string) => void;
  /** A replica ended that was not told to. */
  readonly onReplicaExit?: (index: number, description: string) => void;
}

export interface EmbeddedCluster {
  readonly directory: string;
  /** https://host:port#key of its CAS, if it has one. */
  readonly cas?: string;
  readonly mode: SecurityMode;
  readonly members: readonly { readonly index: number; readonly host: string; readonly port: number }[];
  /** By member index; a replica that was started again has a new one. */
  readonly processIds: readonly number[];
  /** Starts a replica again once it has ended. It is empty, so it stays outside; nobody waits for it to become active. */
  restart(index: number): Promise<void>;
  /** Ends the replicas and removes what start made. Safe to call more than once. */
  stop(): Promise<void>;
}

export const REPLICAS_DEFAULT = 3;
const HOST = '127.0.0.1';
/** Another process may take a port between its probe and the replica's bind; it won't three times. */
const START_ATTEMPTS = 3;

export async function startEmbeddedCluster(options: EmbeddedClusterOptions): Promise<EmbeddedCluster> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await startOnce(options, attempt > 1);
    } catch (error) {
      const portTaken = error instanceof AvocadoError && error.code === 'PORT_IN_USE';
      if (!portTaken || attempt === START_ATTEMPTS) throw error;
    }
  }
}

/** @param again The directory holds what the attempt before this one wrote. */
async function startOnce(options: EmbeddedClusterOptions, again: boolean): Promise<EmbeddedCluster> {
  options.signal?.throwIfAborted();
  const ports = await freeLoopbackPorts(options.replicas ?? REPLICAS_DEFAULT);
  const reachedAt: number[] = [];
  for (const [index, port] of ports.entries()) reachedAt.push((await options.forward?.(index, port)) ?? port);
  const members = reachedAt.map((port, index) => ({ index, host: HOST, port }));
  // mkdtemp makes it 0700.
  const directory = options.directory ?? mkdtempSync(join(tmpdir(), 'avocado-'));
  const temporary = options.directory === undefined;
  const replicas: ReplicaProcess[] = [];
  let chain: EmbeddedChain | undefined;
  const start = (index: number): ReplicaProcess =>
    startReplica(options, directory, index, ports[index]!, chain?.access);

  let stopped: Promise<void> | undefined;
  const stop = async (): Promise<void> => {
    await Promise.all(replicas.map((replica) => replica.stop()));
    await chain?.close();
    if (temporary) rmSync(directory, { recursive: true, force: true });
  };
  const stopOnce = (): Promise<void> => (stopped ??= stop());

  try {
    if (options.chain === undefined) {
      initClusterDirectory({ directory, members, mode: options.mode, clients: options.clients ?? [], force: again });
    } else {
      const { startEmbeddedChain } = await import('./embedded-chain.ts');
      chain = await startEmbeddedChain({ ...options.chain, directory, members, mode: options.mode });
    }
    for (const { index } of members) replicas.push(start(index));
    await Promise.all(replicas.map((replica) => replica.active(options.signal)));
  } catch (error) {
    await stopOnce();
    throw error;
  }
  const processIds = replicas.map((replica) => replica.processId);
  const restart = async (index: number): Promise<void> => {
    await replicas[index]!.ended;
    if (stopped !== undefined) return;
    replicas[index] = start(index);
    processIds[index] = replicas[index].processId;
  };
  return {
    directory,
    ...(chain !== undefined && { cas: chain.access.cas }),
    mode: options.mode,
    members,
    processIds,
    restart,
    stop: stopOnce,
  };
}

function startReplica(
  options: EmbeddedClusterOptions,
  directory: string,
  index: number,
  bindPort: number,
  chain: ChainAccess | undefined,
): ReplicaProcess {
  const {
    trustedBytesMax,
    hostBytesMax,
    scans,
    resealsPerSecond,
    datagramBytes,
    receiveBufferBytes,
    workers,
    workersFromBytes,
    onReplicaExit,
  } = options;
  const log = options.log ?? ((line: string): void => void process.stderr.write(`${line}\n`));
  return new ReplicaProcess(
    {
      clusterDirectory: directory,
      ...(chain !== undefined && { chain }),
      index,
      bindPort,
      ...(trustedBytesMax !== undefined && { trustedBytesMax }),
      ...(hostBytesMax !== undefined && { hostBytesMax }),
      ...(scans !== undefined && { scans }),
      ...(resealsPerSecond !== undefined && { resealsPerSecond }),
      ...(datagramBytes !== undefined && { datagramBytes }),
      ...(receiveBufferBytes !== undefined && { receiveBufferBytes }),
      ...(workers !== undefined && { workers }),
      ...(workersFromBytes !== undefined && { workersFromBytes }),
      allowPlaintext: options.mode === 'plaintext',
      removeDirectoryWhenOrphaned: options.directory === undefined,
    },
    (line) => log(`[replica ${index}] ${line}`),
    (description) => onReplicaExit?.(index, description),
  );
}

/** All are held open until the last is found, so that none is found twice. */
async function freeLoopbackPorts(count: number): Promise<number[]> {
  const probes: UdpTransport[] = [];
  try {
    while (probes.length < count) probes.push(await UdpTransport.open({ host: HOST, port: 0 }));
    return probes.map((probe) => probe.port);
  } finally {
    await Promise.all(probes.map((probe) => probe.close()));
  }
}
