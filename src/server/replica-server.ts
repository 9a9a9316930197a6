import { UdpTransport, resolveHost } from '../../net/udp.ts';
import { createHandshakeCrypto } from '../../workers/noise.ts';
import type { ProcessSealing } from '../../workers/process-sealing.ts';
import { randomBytes } from '../../workers/signing.ts';
import { AvocadoError } from '../errors.ts';
import type { MemberState } from '../protocol/state-message.ts';
import { TRUSTED_BYTES_DEFAULT } from '../store/trusted-budget.ts';
import type { Authority, Member } from '../trust/authority.ts';
import type { ChainAccess } from '../trust/chain/chain-access.ts';
import { obtainAuthority } from '../trust/obtain-authority.ts';
import { datagramBytesFor, isLoopback } from './datagram-bytes.ts';
import { openSealing } from './open-sealing.ts';
import type { WorkerOptions } from './open-sealing.ts';
import { ReplicaNode } from './replica-node.ts';
import { TurnLoop } from './turn-loop.ts';

/** One replica process: a ReplicaNode with a socket, a clock and randomness, run in turns. */
export interface ReplicaServerOptions extends WorkerOptions {
  readonly clusterDirectory: string;
  /** In place of the directory: CAS gives keys, certificate and configuration. */
  readonly chain?: ChainAccess;
  /** Ends waiting for CAS and the other members. */
  readonly signal?: AbortSignal;
  readonly index: number;
  /** Limit of trusted memory, bytes; default 128 MiB. */
  readonly trustedBytesMax?: number;
  /** Limit of sealed values in host memory, bytes; default 4 GiB. */
  readonly hostBytesMax?: number;
  /** Keep the keys in order for scans, some 13 bytes of trusted memory a key; default: true. */
  readonly scans?: boolean;
  /** Values that are sealed anew a second, at most, when a data key retires; default: 200. */
  readonly resealsPerSecond?: number;
  readonly datagramBytes?: number;
  /** Asked of the system for the socket; default 4 MiB. It may grant less. */
  readonly receiveBufferBytes?: number;
  /** Serve a cluster of mode plaintext; on loopback only, unless bindHost says otherwise. */
  readonly allowPlaintext?: boolean;
  /** Address to bind in place of the one in the configuration. */
  readonly bindHost?: string;
  /** Port to bind in place of the one in the configuration, for a replica behind a port forwarder. */
  readonly bindPort?: number;
  /** joining: it waits for CAS, its LAS or other members to get its place. */
  onStateChange(state: MemberState | 'joining', reason: string): void;
}

export interface RunningReplica {
  close(): Promise<void>;
}

const HOST_BYTES_DEFAULT = 4 * 1024 ** 3;

/** Rejects with AvocadoError CLUSTER_FILES, PORT_IN_USE or INVALID_ARGUMENT. */
export async function runReplica(options: ReplicaServerOptions): Promise<RunningReplica> {
  const role = { role: 'replica', index: options.index } as const;
  let isPlaced = false;
  const authority = await obtainAuthority(options.chain ?? options.clusterDirectory, role, {
    timeoutMs: Infinity,
    ...(options.signal !== undefined && { signal: options.signal }),
    onWaiting: (reason) => {
      if (isPlaced) process.stderr.write(`warning: ${reason}; what runs goes on\n`);
      else options.onStateChange('joining', reason);
    },
  });
  isPlaced = true;
  try {
    return await serve(options, authority);
  } catch (error) {
    authority.close?.();
    throw error;
  }
}

async function serve(options: ReplicaServerOptions, authority: Authority): Promise<RunningReplica> {
  const own = authority.configuration.members[options.index]!;
  const hosts = await Promise.all(authority.configuration.members.map((member) => resolveHost(member.host)));
  const bindHost = options.bindHost ?? hosts[options.index]!;
  if (authority.mode === 'plaintext') warnOfPlaintext(options, bindHost);
  const datagramBytes = datagramBytesFor(hosts, options.datagramBytes);
  const transport = await openTransport(options, bindHost, own);
  let sealing: ProcessSealing | undefined;
  try {
    sealing = await openSealing(authority, options);
    return new ReplicaServer(options, authority, hosts, transport, sealing, datagramBytes);
  } catch (error) {
    await sealing?.close();
    await transport.close();
    throw error;
  }
}

function warnOfPlaintext(options: ReplicaServerOptions, bindHost: string): void {
  if (options.allowPlaintext !== true) {
    throw new AvocadoError(
      'INVALID_ARGUMENT',
      'this cluster is of mode plaintext, which protects nothing: start it with --allow-plaintext, or make a secure one with avocado init',
    );
  }
  if (!isLoopback(bindHost) && options.bindHost === undefined) {
    throw new AvocadoError(
      'INVALID_ARGUMENT',
      `mode plaintext serves loopback only; to serve ${bindHost} unprotected, say so with --bind ${bindHost}`,
    );
  }
  process.stderr.write('warning: mode plaintext: keys and values are neither encrypted nor authenticated\n');
}

async function openTransport(options: ReplicaServerOptions, host: string, member: Member): Promise<UdpTransport> {
  const { bindPort: port = member.port, receiveBufferBytes } = options;
  try {
    return await UdpTransport.open({ host, port, receiveBufferBytes });
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === 'EADDRINUSE') {
      throw new AvocadoError(
        'PORT_IN_USE',
        `UDP port ${port} of ${host} is in use: is replica ${member.index} running already? Stop it, or init with other ports`,
        { cause: error },
      );
    }
    throw new AvocadoError(
      'INVALID_ARGUMENT',
      `cannot bind UDP ${host}:${port} (${code}): give an address of this machine with --bind`,
      { cause: error },
    );
  }
}

class ReplicaServer implements RunningReplica {
  readonly #startedMs = performance.now();
  readonly #authority: Authority;
  readonly #sealing: ProcessSealing;
  readonly #transport: UdpTransport;
  readonly #node: ReplicaNode;
  readonly #loop: TurnLoop;

  constructor(
    options: ReplicaServerOptions,
    authority: Authority,
    hosts: readonly string[],
    transport: UdpTransport,
    processSealing: ProcessSealing,
    datagramBytes: number,
  ) {
    const { mode, staticKeyPair } = authority;
    const { sealing } = processSealing;
    this.#authority = authority;
    this.#sealing = processSealing;
    this.#transport = transport;
    this.#node = new ReplicaNode({
      authority,
      memberIndex: options.index,
      hosts,
      transport,
      sealing,
      crypto: createHandshakeCrypto({ mode, staticKeyPair, sealing }),
      datagramBytes,
      trustedBytesMax: options.trustedBytesMax ?? TRUSTED_BYTES_DEFAULT,
      hostBytesMax: options.hostBytesMax ?? HOST_BYTES_DEFAULT,
      ...(options.scans !== undefined && { scans: options.scans }),
      ...(options.resealsPerSecond !== undefined && { resealsPerSecond: options.resealsPerSecond }),
      workerBytes: processSealing.trustedBytes,
      randomBytes,
      nowSeconds: () => Date.now() / 1000,
      onStateChange: (state, reason) => options.onStateChange(state, reason),
      processFigures: () => this.#processFigures(),
    });
    this.#loop = new TurnLoop({
      turn: (nowMs) => this.#node.turn(nowMs),
      nextTurnMs: () => this.#node.nextTurnMs,
      isWorkLeft: () => this.#node.isWorkLeft,
    });
    authority.onRevoked = () => this.#node.endRevokedSessions();
    processSealing.onReadyToDrain(() => this.#loop.schedule());
    transport.start({
      onDatagram: (datagram, host, port) => {
        if (this.#node.onDatagram(datagram, host, port)) this.#loop.schedule();
      },
      onSent: (token, failed) => this.#node.onSent(token, failed),
    });
  }

  async close(): Promise<void> {
    this.#loop.close();
    this.#node.close();
    this.#authority.close?.();
    await this.#transport.close();
    await this.#sealing.close();
  }

  #processFigures(): Record<string, unknown> {
    const cpu = process.cpuUsage();
    const workers = this.#sealing.figures();
    return {
      ...(workers !== undefined && { workers }),
      uptimeMs: Math.round(performance.now() - this.#startedMs),
      cpuUs: cpu.user + cpu.system,
      rssBytes: process.memoryUsage.rss(),
      receiveBufferBytes: this.#transport.receiveBufferBytes,
    };
  }
}
