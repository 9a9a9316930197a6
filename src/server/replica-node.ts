import { assert } from '../../net/assert.ts';
import { DropCounters } from '../../net/drops.ts';
import { Endpoint } from '../../net/endpoint.ts';
import type { Admission, EndpointApplication } from '../../net/endpoint.ts';
import type { Incoming } from '../../net/inbox.ts';
import { CREDIT_PART } from '../../net/limits.ts';
import type { Link } from '../../net/link.ts';
import type { HandshakeCrypto } from '../../net/sealing.ts';
import type { Session } from '../../net/session.ts';
import type { Transport, TransportHandler } from '../../net/transport.ts';
import type { Sealing } from '../../workers/sealing.ts';
import { hash } from '../../workers/signing.ts';
import type { DataKeyFigures, RmwFigures } from '../client/operations.ts';
import { ReplicaRoute } from '../coordinated/replica-route.ts';
import { AvocadoError } from '../errors.ts';
import { CounterGuard } from '../protocol/counter-guard.ts';
import { Formation } from '../protocol/formation.ts';
import {
  acceptResponse,
  admitRequest,
  endRevokedSessions,
  requestPayload,
  responsePayload,
} from '../protocol/handshake-payload.ts';
import { toHex } from '../protocol/instance.ts';
import { INCARNATION_BYTES } from '../protocol/messages.ts';
import type { Peer } from '../protocol/peer.ts';
import type { Writer } from '../protocol/put-flow.ts';
import { REASSEMBLIES_MAX, REASSEMBLY_BYTES } from '../protocol/reassemblies.ts';
import { REPAIR_TOKENS, Repairs } from '../protocol/repairs.ts';
import { Replica, TRUSTED_MARGIN_BYTES } from '../protocol/replica.ts';
import { Resealer } from '../protocol/resealer.ts';
import type { MemberState } from '../protocol/state-message.ts';
import { sendStatus } from '../protocol/status-message.ts';
import { HostMemory } from '../store/host-memory.ts';
import { Store } from '../store/store.ts';
import { TrustedBudget } from '../store/trusted-budget.ts';
import type { Authority } from '../trust/authority.ts';

/**
 * A replica put together from the pure cores. Transport, sealing, randomness and clocks are handed in, so that the same
 * code runs over UDP (replica-server.ts) and in a simulated network in simulated time.
 *
 *     datagram -> Endpoint (net/) opens it -> Replica reads and writes the Store -> answers -> Endpoint seals and sends
 *                                          -> CALLs and their answers: ReplicaRoute coordinates operations for clients
 *
 * The owner starts the transport with this as its handler, and calls turn() after datagrams have arrived, when
 * nextTurnMs says so, and every few tens of milliseconds.
 */
export interface ReplicaNodeOptions {
  readonly authority: Authority;
  readonly memberIndex: number;
  /** IP addresses of the members, in their order. */
  readonly hosts: readonly string[];
  readonly transport: Transport;
  readonly sealing: Sealing;
  readonly crypto: HandshakeCrypto;
  readonly datagramBytes: number;
  readonly trustedBytesMax: number;
  readonly hostBytesMax: number;
  /** Values that are sealed anew a second, at most, when a data key retires; default: 200. */
  readonly resealsPerSecond?: number;
  /** Keep the keys in order for scans; default: true. */
  readonly scans?: boolean;
  /** See StoreOptions. */
  readonly recordIdleMs?: number | undefined;
  /** Trusted memory of the sealing's workers; 0 when it has none. */
  readonly workerBytes?: number;
  randomBytes(count: number): Uint8Array;
  /** Unix time, for the dates of certificates. */
  nowSeconds(): number;
  onStateChange(state: MemberState, reason: string): void;
  /** What the process around it adds to the figures of `avocado status`. */
  processFigures(): Record<string, unknown>;
}

/** What is left of a small budget, e.g. in tests, must not be all margin. */
const MARGIN_SHARE = 8;
const WRITER_BYTES = 8;
/** A million values in half an hour, by three replicas that have little else to do. */
export const RESEALS_PER_SECOND_DEFAULT = 200;
/** Messages of coordinator and own replica in one turn: an operation has a few phases. What is left waits for the next. */
const LOCAL_ROUNDS_MAX = 16;

export class ReplicaNode implements TransportHandler, EndpointApplication<Peer> {
  readonly drops = new DropCounters();
  readonly endpoint: Endpoint<Peer>;
  readonly formation: Formation;
  readonly guard: CounterGuard;
  readonly hostMemory: HostMemory;
  readonly store: Store;
  readonly repairs: Repairs;
  readonly replica: Replica;
  readonly route: ReplicaRoute;
  /** Undefined: values are not sealed. */
  readonly #resealer: Resealer | undefined;
  readonly #options: ReplicaNodeOptions;
  /** By member; undefined at the own place. */
  readonly #links: (Link<Peer> | undefined)[];
  /** Of the writes that this process coordinates. */
  readonly #writer: Writer;

  constructor(options: ReplicaNodeOptions) {
    this.#options = options;
    const { authority, sealing, memberIndex, workerBytes = 0 } = options;
    const { configuration } = authority;
    const isSealed = authority.mode !== 'plaintext';
    const sharedBuffers = workerBytes > 0;
    const writer = Buffer.from(options.randomBytes(WRITER_BYTES));
    this.#writer = { writerHigh: writer.readInt32LE(4), writerLow: writer.readInt32LE(0) };
    const budget = new TrustedBudget(options.trustedBytesMax);
    this.endpoint = new Endpoint<Peer>({
      mode: authority.mode,
      clusterId: authority.clusterId,
      transport: options.transport,
      sealing,
      crypto: options.crypto,
      application: this,
      datagramBytes: options.datagramBytes,
      drops: this.drops,
      sharedBuffers,
    });
    if (!budget.tryReserve('workers', workerBytes)) {
      throw new AvocadoError(
        'INVALID_ARGUMENT',
        `trusted memory of ${options.trustedBytesMax} bytes is too small: workers alone take ${workerBytes}; give --trusted-memory 16MiB or more, or --workers 0`,
      );
    }
    if (!budget.tryReserve('message layer', this.endpoint.trustedBytes)) {
      throw new AvocadoError(
        'INVALID_ARGUMENT',
        `trusted memory of ${options.trustedBytesMax} bytes is too small: the message layer alone takes ${this.endpoint.trustedBytes}; give --trusted-memory 16MiB or more, or smaller --datagram-bytes`,
      );
    }
    assert(
      budget.tryReserve('values by parts', REASSEMBLIES_MAX * REASSEMBLY_BYTES),
      'what is left of the budget holds the places of values that arrive by parts',
    );
    this.hostMemory = new HostMemory({ budget, hostBytesMax: options.hostBytesMax, isShared: sharedBuffers });
    this.store = new Store({
      budget,
      hostMemory: this.hostMemory,
      seed: options.randomBytes(8),
      isOrdered: options.scans ?? true,
      recordIdleMs: options.recordIdleMs,
    });
    this.repairs = new Repairs(this.store, sealing, this.drops);
    this.#links = configuration.members.map((member) =>
      member.index === memberIndex
        ? undefined
        : this.endpoint.openLink(options.hosts[member.index]!, member.port, member.staticKey),
    );
    this.formation = new Formation({
      clusterId: authority.clusterId,
      epoch: configuration.epoch,
      memberIndex,
      memberCount: configuration.members.length,
      messenger: this.endpoint,
      hash,
      drawIncarnation: () => toHex(options.randomBytes(INCARNATION_BYTES)),
      peerSessions: () => this.#peerSessions(),
      onStateChange: (state, reason) => options.onStateChange(state, reason),
      onNewIncarnation: () => this.endpoint.endAcceptedSessions(),
    });
    this.guard = new CounterGuard({
      messenger: this.endpoint,
      drops: this.drops,
      isActive: () => this.formation.isActive,
      peerSessions: () => this.#peerSessions(),
    });
    this.route = new ReplicaRoute({
      memberIndex,
      memberCount: configuration.members.length,
      writer: this.#writer,
      formation: this.formation,
      guard: this.guard,
      links: this.#links,
      messenger: this.endpoint,
      datagramBytes: options.datagramBytes,
      pullBytesMax: Math.floor(options.transport.receiveBufferBytes * CREDIT_PART),
      sealing,
      sharedBuffers,
      drops: this.drops,
      budget,
      onResealed: (outcome) => this.#resealer?.onOperationEnded(outcome),
      serve: (incoming) => this.replica.onMessages(incoming, this.endpoint.nowMs),
    });
    this.replica = new Replica({
      store: this.store,
      formation: this.formation,
      messenger: this.endpoint,
      local: { session: this.route.loopback.session, messenger: this.route.loopback.answers },
      drops: this.drops,
      repairs: this.repairs,
      guard: this.guard,
      trustedMarginBytes: Math.min(TRUSTED_MARGIN_BYTES, Math.floor(budget.available / MARGIN_SHARE)),
      onStatusRequest: (session, slot, generation) =>
        sendStatus(this.endpoint, session, slot, generation, this.#status()),
      onCall: (incoming, word, nowMs) => this.route.onCall(incoming, word, nowMs),
      takesDataKey: isSealed ? (id) => authority.dataKeys.takesNewValues(id) : undefined,
    });
    this.#resealer = !isSealed
      ? undefined
      : new Resealer({
          store: this.store,
          dataKeys: authority.dataKeys,
          memberIndex,
          memberCount: configuration.members.length,
          valuesPerSecond: options.resealsPerSecond ?? RESEALS_PER_SECOND_DEFAULT,
          start: (key, nowMs) => this.route.startReseal(key, nowMs),
        });
    this.endpoint.epoch = configuration.epoch;
    if (!this.formation.isActive) {
      options.onStateChange('forming', `waits for all ${configuration.members.length} members`);
    }
  }

  /** When turn() is to be called next, if nothing arrives before. */
  get nextTurnMs(): number {
    return Math.min(this.route.nextTickMs, this.endpoint.roomAtMs);
  }

  turn(nowMs: number): void {
    this.guard.begin(nowMs);
    this.route.begin(nowMs);
    this.endpoint.turn(nowMs);
    this.#settle();
    this.endpoint.tick(nowMs);
    this.formation.tick(nowMs);
    this.guard.tick(nowMs);
    this.route.tick(nowMs);
    this.store.consensus.tick(nowMs);
    if (this.formation.isActive) this.#resealer?.tick(nowMs);
    this.#settle();
    this.endpoint.flush(nowMs);
    // New values are sealed while the first round of their puts is under way.
    while (this.route.submitSeals()) {
      this.#settle();
      this.route.pump();
      this.#settle();
      this.endpoint.flush(nowMs);
    }
  }

  /** Values that were opened or sealed, and what coordinator and replica of this process have to say to each other. */
  #settle(): void {
    for (let round = 0; round < LOCAL_ROUNDS_MAX; round++) {
      this.route.deliver();
      this.replica.endTurn(this.endpoint.nowMs);
      this.#options.sealing.drainValues(this.#valueSink);
      if (this.route.loopback.isEmpty) return;
    }
  }

  /** Whether the next turn is due at once: there is sealing to go on with, or what has arrived to be handled. */
  get isWorkLeft(): boolean {
    return this.#options.sealing.pendingValueJobs > 0 || this.endpoint.isWorkLeft;
  }

  /** To be called when the authority has revoked more peers. */
  endRevokedSessions(): void {
    endRevokedSessions(this.endpoint, this.#options.authority);
  }

  /** Ends all sessions. Transport and sealing stay the owner's. */
  close(): void {
    this.route.close();
    this.endpoint.close();
  }

  invariants(): void {
    this.endpoint.invariants();
    this.store.invariants();
    this.route.invariants();
    this.guard.invariants();
  }

  /** One sealing serves both: repairs have tokens of their own. */
  readonly #valueSink = {
    onValueSealed: (token: number, sealed: boolean): void => this.route.onValueSealed(token, sealed),
    onValueOpened: (token: number, opened: boolean): void => {
      if (token >= REPAIR_TOKENS) this.repairs.onValueOpened(token, opened);
      else this.route.onValueOpened(token, opened);
    },
  };

  *#peerSessions(): IterableIterator<Session<Peer>> {
    for (const link of this.#links) if (link?.session !== undefined) yield link.session;
  }

  // -- TransportHandler -------------------------------------------------------------------------------------------

  /** Returns false when it can wait for the next turn, whatever that is due to. */
  onDatagram(datagram: Uint8Array, host: string, port: number): boolean {
    return this.endpoint.onDatagram(datagram, host, port);
  }

  onSent(token: number, failed: boolean): void {
    this.endpoint.onSent(token, failed);
  }

  // -- EndpointApplication ----------------------------------------------------------------------------------------

  requestPayload(): Uint8Array {
    return requestPayload(this.#writer.writerHigh, this.#writer.writerLow, this.#options.authority.certificate);
  }

  responsePayload(): Uint8Array {
    return responsePayload(this.formation.incarnation, this.formation.epoch);
  }

  admit(payload: Uint8Array, staticKey: Uint8Array): Admission<Peer> {
    return admitRequest(this.#options.authority, payload, staticKey, this.#options.nowSeconds());
  }

  accept(link: Link<Peer>, payload: Uint8Array): Admission<Peer> {
    return acceptResponse(this.#links.indexOf(link), payload, link.staticKey, this.#options.authority);
  }

  peerKey(peer: Peer): string {
    return peer.key;
  }

  onSessionLive(session: Session<Peer>): void {
    // A replica that has just come wants to know; so does a client, who asks by itself.
    if (session.peer.identity.role === 'replica' && session.initiator) this.formation.onStateRequest(session);
    this.route.onSessionLive();
  }

  onMessages(incoming: Incoming<Peer>): void {
    // On its own sessions this replica asks, and others answer.
    if (incoming.session.initiator && this.route.onAnswers(incoming, this.endpoint.nowMs)) return;
    this.replica.onMessages(incoming, this.endpoint.nowMs);
  }

  /** Nothing, while no key ever had a read-modify-write. */
  #rmwFigures(): { rmw?: RmwFigures } {
    const { acceptor } = this.replica;
    const keys = this.store.consensus.count;
    if (keys === 0) return {};
    const { helped = 0, backOffs = 0 } = this.route.counters ?? {};
    return { rmw: { keys, decided: acceptor.decidedCount, nacked: acceptor.nackedCount, helped, backOffs } };
  }

  /** Nothing, while no data key was ever rotated. */
  #keyFigures(): { dataKeys?: DataKeyFigures } {
    const { dataKeys } = this.#options.authority;
    const reseal = this.#resealer?.figures;
    if (reseal === undefined && dataKeys.retiringIds.length === 0 && dataKeys.destroyedCount === 0) return {};
    const { left = 0, noMemory = 0, resealed = 0, failed = 0 } = reseal ?? {};
    const retiring = [...dataKeys.retiringIds];
    return { dataKeys: { retiring, left, noMemory, resealed, failed, destroyed: dataKeys.destroyedCount } };
  }

  /** For `avocado status`; short enough for the smallest datagram. */
  #status(): Record<string, unknown> {
    const stats = this.store.stats();
    return {
      state: this.formation.isUndecided ? 'forming' : this.formation.state,
      incarnation: this.formation.incarnation,
      instance: this.formation.instance?.id,
      epoch: this.formation.epoch,
      missing: this.formation.missingMembers(),
      keys: stats.keys,
      trustedBytes: stats.trustedBytes,
      trustedBytesMax: stats.trustedBytesMax,
      hostBytes: stats.hostBytes,
      tampered: this.repairs.tamperedCount,
      repaired: this.repairs.repairedCount,
      drops: this.drops.nonZero(),
      ...this.#options.processFigures(),
      operations: this.replica.operationCount,
      calls: this.route.calls.callCount,
      ...this.#rmwFigures(),
      ...this.#keyFigures(),
    };
  }
}
