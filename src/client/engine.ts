import { DropCounters } from '../../net/drops.ts';
import type { DropReason } from '../../net/drops.ts';
import { Endpoint } from '../../net/endpoint.ts';
import type { Admission, EndpointApplication, Incoming } from '../../net/endpoint.ts';
import type { Link } from '../../net/handshakes.ts';
import type { Session } from '../../net/session.ts';
import { UdpTransport, resolveHost } from '../../net/udp.ts';
import { alignUp } from '../../net/bytes.ts';
import { createInlineSealing } from '../../workers/inline-sealing.ts';
import { createHandshakeCrypto } from '../../workers/noise.ts';
import type { Sealing } from '../../workers/sealing.ts';
import { hash, randomBytes } from '../../workers/signing.ts';
import { AvocadoError } from '../errors.ts';
import { Coordinator } from '../protocol/coordinator.ts';
import { acceptResponse, requestPayload } from '../protocol/handshake-payload.ts';
import { MESSAGE_STATE, MESSAGE_STATUS, WRITE_BYTES, typeOf } from '../protocol/messages.ts';
import type { Peer } from '../protocol/peer.ts';
import { memberCountOf, quorumOf } from '../protocol/quorum.ts';
import { HostMemory } from '../store/host-memory.ts';
import { TrustedBudget } from '../store/trusted-budget.ts';
import { datagramBytesFor, isLoopback } from '../server/datagram-bytes.ts';
import { TurnLoop } from '../server/turn-loop.ts';
import type { Authority } from '../trust/authority.ts';
import { openAuthority } from '../trust/open-authority.ts';
import { ClusterView } from './cluster-view.ts';
import type { Engine, EngineOptions, MemberStatus, Operations } from './operations.ts';
import { StatusQueries } from './status-queries.ts';

/**
 * A client process without promises on its hot path: the coordinator and the message layer put together with a socket,
 * a clock and randomness, and run in turns.
 *
 *     start*() -> Coordinator writes requests -> Endpoint seals and sends them at the end of the turn
 *     datagram -> Endpoint opens it -> Coordinator counts the answers -> value opened -> sink.onOperationEnded()
 */
const CAPACITY_DEFAULT = 1_024;
const CONNECT_TIMEOUT_MS_DEFAULT = 5_000;
/** Keys and values in flight; over it, operations are refused as when the table is full. */
const FLIGHT_MEMORY_BYTES_MAX = 1024 ** 3;
/** Once a quorum is there, so long for the rest to join, so that the first writes reach all. */
const STRAGGLER_MS = 100;
/** A refusal in clear can be forged: a fitting answer has so long to come, too. */
const REFUSAL_GRACE_MS = 500;

export async function openEngine(options: EngineOptions): Promise<Engine> {
  const authority = openAuthority(options.clusterDirectory, { role: 'client' });
  const hosts = await Promise.all(authority.configuration.members.map((member) => resolveHost(member.host)));
  const datagramBytes = datagramBytesFor(hosts, options.datagramBytes);
  const isIpv6 = hosts.every((host) => host.includes(':'));
  const bindHost = hosts.every(isLoopback) ? (isIpv6 ? '::1' : '127.0.0.1') : isIpv6 ? '::' : '0.0.0.0';
  const transport = await UdpTransport.open({ host: bindHost, port: 0 });
  const engine = new UdpEngine(options, authority, hosts, transport, datagramBytes);
  try {
    await engine.connected(options.connectTimeoutMs ?? CONNECT_TIMEOUT_MS_DEFAULT);
  } catch (error) {
    await engine.close();
    throw error;
  }
  return engine;
}

class UdpEngine implements Engine, Operations, EndpointApplication<Peer> {
  readonly memberCount: number;
  readonly quorum: number;
  readonly #authority: Authority;
  readonly #drops = new DropCounters();
  readonly #sealing: Sealing;
  readonly #transport: UdpTransport;
  readonly #endpoint: Endpoint<Peer>;
  readonly #links: readonly Link<Peer>[];
  readonly #view: ClusterView;
  readonly #coordinator: Coordinator;
  readonly #statusQueries: StatusQueries;
  readonly #loop: TurnLoop;
  readonly #writerHigh: number;
  readonly #writerLow: number;
  /** Called after each turn while somebody waits for the cluster. */
  #onTurn: (() => void) | undefined;
  #closed = false;

  constructor(
    options: EngineOptions,
    authority: Authority,
    hosts: readonly string[],
    transport: UdpTransport,
    datagramBytes: number,
  ) {
    const { mode, clusterId, staticKeyPair, dataKeys, configuration } = authority;
    this.#authority = authority;
    this.#transport = transport;
    this.memberCount = configuration.members.length;
    this.quorum = quorumOf(this.memberCount);
    const writer = Buffer.from(randomBytes(8));
    this.#writerHigh = writer.readInt32LE(4);
    this.#writerLow = writer.readInt32LE(0);
    const sealing = createInlineSealing({ mode, dataKeys });
    this.#sealing = sealing;
    this.#endpoint = new Endpoint<Peer>({
      mode,
      clusterId,
      transport,
      sealing,
      crypto: createHandshakeCrypto({ mode, staticKeyPair, sealing }),
      application: this,
      datagramBytes,
      drops: this.#drops,
    });
    this.#links = configuration.members.map((member) =>
      this.#endpoint.openLink(hosts[member.index]!, member.port, member.staticKey),
    );
    this.#view = new ClusterView({
      clusterId,
      links: this.#links,
      messenger: this.#endpoint,
      hash,
      pinnedInstance: options.instance,
    });
    this.#coordinator = new Coordinator({
      memberCount: this.memberCount,
      capacity: options.capacity ?? CAPACITY_DEFAULT,
      writerHigh: this.#writerHigh,
      writerLow: this.#writerLow,
      memory: new HostMemory({
        budget: new TrustedBudget(Number.MAX_SAFE_INTEGER),
        hostBytesMax: FLIGHT_MEMORY_BYTES_MAX,
      }),
      messenger: this.#endpoint,
      sealing,
      drops: this.#drops,
      sink: options.sink,
      readyMask: () => this.#view.readyMask,
      epoch: () => this.#view.epoch,
      session: (member) => this.#links[member]!.session,
      onOtherMessage: (incoming, word) => this.#onOtherMessage(incoming, word),
    });
    this.#statusQueries = new StatusQueries(configuration.members, this.#links, this.#endpoint, this.#view);
    this.#loop = new TurnLoop({
      turn: (nowMs) => this.#turn(nowMs),
      isBusy: () => this.#coordinator.active > 0,
    });
    transport.start({
      onDatagram: (datagram, host, port) => {
        this.#endpoint.onDatagram(datagram, host, port);
        this.#loop.schedule();
      },
      onSent: (token, failed) => this.#endpoint.onSent(token, failed),
    });
  }

  /**
   * The order within a turn: handle all that arrived, open values and end operations (which may start new ones), send,
   * and only then seal new values, so that sealing overlaps with the first round trip.
   */
  #turn(nowMs: number): void {
    const sink = this.#coordinator;
    this.#endpoint.turn(nowMs);
    this.#sealing.drainValues(sink);
    this.#endpoint.tick(nowMs);
    this.#view.tick(nowMs);
    this.#statusQueries.tick(nowMs);
    this.#endpoint.epoch = this.#view.epoch;
    this.#coordinator.tick(nowMs);
    this.#endpoint.flush(nowMs);
    this.#coordinator.submitSeals();
    if (this.#sealing.drainValues(sink) > 0) this.#endpoint.flush(nowMs);
    this.#onTurn?.();
  }

  // -- connecting -------------------------------------------------------------------------------------------------

  /** Resolves once a quorum of one cluster instance is ready; 0 ms: at once. */
  async connected(timeoutMs: number): Promise<void> {
    if (timeoutMs === 0) return;
    const startedMs = performance.now();
    let quorumMs = Infinity;
    await new Promise<void>((resolve, reject) => {
      this.#onTurn = () => {
        const nowMs = performance.now();
        const readyCount = memberCountOf(this.#view.readyMask);
        if (readyCount >= this.quorum) quorumMs = Math.min(quorumMs, nowMs);
        if (readyCount === this.memberCount || nowMs - quorumMs >= STRAGGLER_MS) return resolve();
        if (quorumMs !== Infinity) return;
        if (this.#view.isForeign) return reject(this.#instanceChanged());
        const refusedCount = this.#links.filter((link) => link.refusal !== undefined).length;
        if (refusedCount > this.memberCount - this.quorum && nowMs - startedMs >= REFUSAL_GRACE_MS) {
          return reject(new AvocadoError('REFUSED', `the replicas refuse this client: ${this.#describeMembers()}`));
        }
        if (nowMs - startedMs >= timeoutMs) {
          reject(
            new AvocadoError(
              'NO_QUORUM',
              `no ${this.quorum} of ${this.memberCount} replicas are ready after ${Math.round(timeoutMs)} ms: ${this.#describeMembers()}`,
            ),
          );
        }
      };
    }).finally(() => {
      this.#onTurn = undefined;
    });
  }

  #instanceChanged(): AvocadoError {
    return new AvocadoError(
      'INSTANCE_CHANGED',
      'the replicas were all started anew since this instance was pinned, so what it held is gone: connect without a pinned instance to use the new one',
    );
  }

  #describeMembers(): string {
    return this.#links
      .map((link, member) => {
        const { host, port } = this.#authority.configuration.members[member]!;
        return `replica ${member} (${host}:${port}) ${this.#describeMember(member, link)}`;
      })
      .join('; ');
  }

  #describeMember(member: number, link: Link<Peer>): string {
    if (link.refusal !== undefined) return link.refusal;
    if (link.session === undefined) return 'does not answer';
    const state = this.#view.stateOf(member);
    return state === undefined ? 'has not told its state' : `is ${state.state}`;
  }

  // -- Engine -----------------------------------------------------------------------------------------------------

  get operations(): Operations {
    return this;
  }

  get counters(): Coordinator['counters'] {
    return this.#coordinator.counters;
  }

  get drops(): Partial<Record<DropReason, number>> {
    return this.#drops.nonZero();
  }

  get instance(): string | undefined {
    return this.#view.instance;
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
    this.#coordinator.close();
    this.#statusQueries.close();
    this.#endpoint.close();
    await this.#transport.close();
    this.#sealing.close();
  }

  // -- Operations -------------------------------------------------------------------------------------------------

  get capacity(): number {
    return this.#coordinator.capacity;
  }

  get active(): number {
    return this.#coordinator.active;
  }

  valueBytesMax(keyBytes: number): number {
    return this.#endpoint.valueBytesMax(WRITE_BYTES + alignUp(keyBytes)) - this.#sealing.envelopeHeaderBytes;
  }

  startGet(token: number, key: Uint8Array, deadlineMs: number): number {
    this.#loop.schedule();
    return this.#coordinator.startGet(token, key, deadlineMs, performance.now());
  }

  startPut(token: number, key: Uint8Array, value: Uint8Array, deadlineMs: number): number {
    this.#loop.schedule();
    return this.#coordinator.startPut(token, key, value, deadlineMs, performance.now());
  }

  startDelete(token: number, key: Uint8Array, deadlineMs: number): number {
    this.#loop.schedule();
    return this.#coordinator.startDelete(token, key, deadlineMs, performance.now());
  }

  cancel(operationId: number): void {
    this.#coordinator.cancel(operationId);
  }

  // -- EndpointApplication ----------------------------------------------------------------------------------------

  requestPayload(): Uint8Array {
    return requestPayload(this.#writerHigh, this.#writerLow, this.#authority.certificate);
  }

  responsePayload(): Uint8Array {
    return new Uint8Array(0);
  }

  /** Clients take no sessions. */
  admit(): Admission<Peer> {
    return { ok: false, reason: 'a client takes no sessions' };
  }

  accept(link: Link<Peer>, payload: Uint8Array): Admission<Peer> {
    return acceptResponse(this.#links.indexOf(link), payload);
  }

  peerKey(peer: Peer): string {
    return peer.key;
  }

  onSessionLive(session: Session<Peer>): void {
    this.#view.onSessionLive(session);
  }

  onMessages(incoming: Incoming<Peer>): void {
    this.#coordinator.onMessages(incoming, this.#endpoint.nowMs);
  }

  /** What is no answer to an operation. */
  #onOtherMessage(incoming: Incoming<Peer>, word: number): void {
    switch (typeOf(incoming.region.words, word)) {
      case MESSAGE_STATE:
        return this.#view.onState(incoming.session, incoming.region.words, word);
      case MESSAGE_STATUS:
        return this.#statusQueries.onStatus(incoming, word);
      default:
        this.#drops.count('unexpected-message');
    }
  }
}
