import type { DropReason } from '../../net/drops.ts';
import { UdpTransport, resolveHost } from '../../net/udp.ts';
import { createHandshakeCrypto } from '../../workers/noise.ts';
import type { ProcessSealing, WorkerFigures } from '../../workers/process-sealing.ts';
import { randomBytes } from '../../workers/signing.ts';
import type { CoordinatorCounters } from '../protocol/coordinator.ts';
import type { EndedStamp } from '../protocol/outcome.ts';
import type { ScanRequest } from '../protocol/scan-request.ts';
import { quorumOf } from '../protocol/quorum.ts';
import type { RmwRequest } from '../protocol/rmw-request.ts';
import { datagramBytesFor, isLoopback } from '../server/datagram-bytes.ts';
import { openSealing } from '../server/open-sealing.ts';
import { TurnLoop } from '../server/turn-loop.ts';
import type { Authority, Member } from '../trust/authority.ts';
import { obtainAuthority } from '../trust/obtain-authority.ts';
import { ClientNode } from './client-node.ts';
import { Connecting } from './connecting.ts';
import type { Engine, EngineOptions, EngineSettings, MemberStatus, Operations } from './operations.ts';
import { StatusQueries } from './status-queries.ts';

/** A client process without promises on its hot path: a ClientNode with a socket, a clock and randomness, in turns. */
const CAPACITY_DEFAULT = 1_024;
const CONNECT_TIMEOUT_MS_DEFAULT = 5_000;

export async function openEngine(options: EngineOptions): Promise<Engine> {
  const route = options.route ?? 'direct';
  const { profile, enrolmentKeyFile } = options;
  const role = { role: 'client', needsDataKeys: route === 'direct', profile, enrolmentKeyFile } as const;
  const timeoutMs = options.connectTimeoutMs ?? CONNECT_TIMEOUT_MS_DEFAULT;
  const authority = await obtainAuthority(options.clusterDirectory, role, { timeoutMs });
  try {
    return await openEngineFor(authority, options);
  } catch (error) {
    authority.close?.();
    throw error;
  }
}

/** For a client whose place in the cluster comes from somewhere else than a directory. */
export async function openEngineFor(authority: Authority, options: EngineSettings): Promise<Engine> {
  const hosts = await Promise.all(authority.configuration.members.map((member) => resolveHost(member.host)));
  const datagramBytes = datagramBytesFor(hosts, options.datagramBytes);
  const isIpv6 = hosts.every((host) => host.includes(':'));
  const bindHost = hosts.every(isLoopback) ? (isIpv6 ? '::1' : '127.0.0.1') : isIpv6 ? '::' : '0.0.0.0';
  const sealing = await openSealing(authority, options);
  let transport: UdpTransport;
  try {
    const { receiveBufferBytes } = options;
    transport = await UdpTransport.open({ host: bindHost, port: 0, receiveBufferBytes });
  } catch (error) {
    await sealing.close();
    throw error;
  }
  const engine = new UdpEngine(options, authority, hosts, transport, sealing, datagramBytes);
  try {
    await engine.connected(options.connectTimeoutMs ?? CONNECT_TIMEOUT_MS_DEFAULT);
  } catch (error) {
    await engine.close();
    throw error;
  }
  return engine;
}

class UdpEngine implements Engine, Operations {
  readonly memberCount: number;
  readonly quorum: number;
  readonly #authority: Authority;
  /** In the coordinated route replicas do that, in plaintext nobody. */
  readonly #sealsValues: boolean;
  readonly #members: readonly Member[];
  readonly #sealing: ProcessSealing;
  readonly #transport: UdpTransport;
  readonly #node: ClientNode;
  readonly #statusQueries: StatusQueries;
  readonly #loop: TurnLoop;
  /** Called after each turn while somebody waits for the cluster. */
  #onTurn: (() => void) | undefined;
  /** Time of the turn that is under way. */
  #turnMs: number | undefined;
  #closed = false;

  constructor(
    options: EngineSettings,
    authority: Authority,
    hosts: readonly string[],
    transport: UdpTransport,
    processSealing: ProcessSealing,
    datagramBytes: number,
  ) {
    const { mode, staticKeyPair, configuration } = authority;
    const route = options.route ?? 'direct';
    this.#authority = authority;
    this.#sealsValues = options.route !== 'coordinated' && authority.mode !== 'plaintext';
    this.#transport = transport;
    this.#members = configuration.members;
    this.memberCount = configuration.members.length;
    this.quorum = quorumOf(this.memberCount);
    const { sealing } = processSealing;
    this.#sealing = processSealing;
    this.#node = new ClientNode({
      route,
      authority,
      hosts,
      transport,
      sealing,
      crypto: createHandshakeCrypto({ mode, staticKeyPair, sealing }),
      datagramBytes,
      capacity: options.capacity ?? CAPACITY_DEFAULT,
      sink: options.sink,
      pinnedInstance: options.instance,
      sharedBuffers: processSealing.figures() !== undefined,
      randomBytes,
      nowSeconds: () => Date.now() / 1000,
      onTick: (nowMs) => this.#statusQueries.tick(nowMs),
      onStatus: (incoming, word) => this.#statusQueries.onStatus(incoming, word),
    });
    const { links, endpoint, view } = this.#node;
    this.#statusQueries = new StatusQueries(configuration.members, links, endpoint, view);
    this.#loop = new TurnLoop({
      turn: (nowMs) => this.#turn(nowMs),
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

  #turn(nowMs: number): void {
    this.#turnMs = nowMs;
    this.#node.turn(nowMs);
    this.#turnMs = undefined;
    this.#onTurn?.();
  }

  /** What is started within a turn, by the end of another operation, leaves with that turn's datagrams. */
  #startMs(): number {
    if (this.#turnMs !== undefined) return this.#turnMs;
    this.#loop.schedule();
    return performance.now();
  }

  /** Resolves once a quorum of one cluster instance is ready; 0 ms: at once. */
  async connected(timeoutMs: number): Promise<void> {
    if (timeoutMs === 0) return;
    const connecting = new Connecting(this.#node, this.#members, timeoutMs, performance.now());
    await new Promise<void>((resolve, reject) => {
      this.#onTurn = () => {
        const verdict = connecting.verdict(performance.now());
        if (verdict === 'ready') resolve();
        else if (verdict !== 'waiting') reject(verdict);
      };
    }).finally(() => {
      this.#onTurn = undefined;
    });
  }

  // -- Engine -----------------------------------------------------------------------------------------------------

  get operations(): Operations {
    return this;
  }

  get counters(): CoordinatorCounters {
    return this.#node.core.counters;
  }

  get drops(): Partial<Record<DropReason, number>> {
    return this.#node.drops.nonZero();
  }

  get receiveBufferBytes(): number {
    return this.#transport.receiveBufferBytes;
  }

  get instance(): string | undefined {
    return this.#node.view.instance;
  }

  get workers(): WorkerFigures | undefined {
    return this.#sealing.figures();
  }

  lacksDataKey(key: Uint8Array): boolean {
    return this.#sealsValues && this.#authority.dataKeys.lacks(key);
  }

  async status(timeoutMs: number): Promise<MemberStatus[]> {
    const statuses = this.#statusQueries.ask(timeoutMs);
    this.#loop.schedule();
    return statuses;
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#loop.close();
    this.#node.close();
    this.#statusQueries.close();
    this.#authority.close?.();
    await this.#transport.close();
    await this.#sealing.close();
  }

  // -- Operations -------------------------------------------------------------------------------------------------

  get capacity(): number {
    return this.#node.core.capacity;
  }

  get active(): number {
    return this.#node.core.active;
  }

  rmwBytesMax(keyBytes: number): number {
    return this.#node.rmwBytesMax(keyBytes);
  }

  get ended(): EndedStamp {
    return this.#node.core.ended;
  }

  startGet(token: number, key: Uint8Array, deadlineMs: number, withVersion = false): number {
    return this.#node.core.startGet(token, key, deadlineMs, this.#startMs(), withVersion);
  }

  startPut(token: number, key: Uint8Array, value: Uint8Array, deadlineMs: number): number {
    return this.#node.core.startPut(token, key, value, deadlineMs, this.#startMs());
  }

  startDelete(token: number, key: Uint8Array, deadlineMs: number): number {
    return this.#node.core.startDelete(token, key, deadlineMs, this.#startMs());
  }

  startRmw(token: number, key: Uint8Array, request: RmwRequest, deadlineMs: number): number {
    return this.#node.core.startRmw(token, key, request, deadlineMs, this.#startMs());
  }

  startScan(request: ScanRequest, deadlineMs: number): number {
    return this.#node.coordinator.startScan(request, deadlineMs, this.#startMs());
  }

  cancel(operationId: number): void {
    this.#node.core.cancel(operationId);
  }
}
