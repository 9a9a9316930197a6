import { assert } from '../../net/assert.ts';
import { alignUp } from '../../net/bytes.ts';
import { DropCounters } from '../../net/drops.ts';
import { Endpoint } from '../../net/endpoint.ts';
import type { Admission, EndpointApplication } from '../../net/endpoint.ts';
import type { Incoming } from '../../net/inbox.ts';
import type { Link } from '../../net/link.ts';
import { CREDIT_PART } from '../../net/limits.ts';
import type { HandshakeCrypto } from '../../net/sealing.ts';
import type { Session } from '../../net/session.ts';
import type { Transport, TransportHandler } from '../../net/transport.ts';
import { SEALED_VALUE_BYTES_MAX } from '../../workers/sealing.ts';
import type { Sealing } from '../../workers/sealing.ts';
import { hash } from '../../workers/signing.ts';
import { CallClient } from '../coordinated/call-client.ts';
import { CALL_BYTES } from '../protocol/call-messages.ts';
import { CALL_RMW_BYTES } from '../protocol/call-rmw.ts';
import { Coordinator } from '../protocol/coordinator.ts';
import { acceptResponse, endRevokedSessions, requestPayload } from '../protocol/handshake-payload.ts';
import { MESSAGE_STATE, MESSAGE_STATUS, typeOf } from '../protocol/messages.ts';
import type { OperationSink } from '../protocol/outcome.ts';
import type { Peer } from '../protocol/peer.ts';
import { HostMemory } from '../store/host-memory.ts';
import { TrustedBudget } from '../store/trusted-budget.ts';
import type { Authority } from '../trust/authority.ts';
import { OwnRights } from '../trust/own-rights.ts';
import { quorumOf } from '../protocol/quorum.ts';
import { ClusterView } from './cluster-view.ts';
import type { OperationCore, Route } from './route.ts';

/**
 * A client put together from the pure cores. Transport, sealing, randomness and clock are handed in, so that the same
 * code runs over UDP (engine.ts) and in a simulated network in simulated time.
 *
 * In the direct route:
 *
 *     start*() -> Coordinator writes requests -> Endpoint seals and sends them at the end of the turn
 *     datagram -> Endpoint opens it -> Coordinator counts the answers -> value opened -> sink.onOperationEnded()
 *
 * In the coordinated route CallClient has the Coordinator's place.
 *
 * The owner starts the transport with this as its handler, and calls turn() after datagrams have arrived, after
 * operations were started, every millisecond while operations are in flight, and every few tens of milliseconds else.
 */
export interface ClientNodeOptions {
  readonly route: Route;
  readonly authority: Authority;
  /** IP addresses of the members, in their order. */
  readonly hosts: readonly string[];
  readonly transport: Transport;
  readonly sealing: Sealing;
  readonly crypto: HandshakeCrypto;
  readonly datagramBytes: number;
  /** Operations in flight at once. */
  readonly capacity: number;
  readonly sink: OperationSink;
  /** Instance id that the caller has pinned before. */
  readonly pinnedInstance: string | undefined;
  /** The sealing has workers. */
  readonly sharedBuffers?: boolean;
  randomBytes(count: number): Uint8Array;
  /** Unix time, for the dates of certificates. */
  nowSeconds(): number;
  /** In each turn, before what has gathered is sent. */
  onTick(nowMs: number): void;
  /** A STATUS message; operations know nothing of it. */
  onStatus(incoming: Incoming<Peer>, word: number): void;
}

/** Keys and values in flight; over it, operations are refused as when the table is full. */
const FLIGHT_MEMORY_BYTES_MAX = 1024 ** 3;
const WRITER_BYTES = 8;
const FIRST_CHOICE_BYTES = 4;

export class ClientNode implements TransportHandler, EndpointApplication<Peer> {
  readonly drops = new DropCounters();
  readonly endpoint: Endpoint<Peer>;
  readonly links: readonly Link<Peer>[];
  readonly view: ClusterView;
  /** Starts and ends operations. */
  readonly core: OperationCore;
  /** The same, by route. */
  readonly #coordinator: Coordinator | undefined;
  readonly #calls: CallClient | undefined;
  readonly #options: ClientNodeOptions;
  readonly #writerHigh: number;
  readonly #writerLow: number;

  constructor(options: ClientNodeOptions) {
    this.#options = options;
    const { authority, sealing } = options;
    const { members } = authority.configuration;
    const writer = Buffer.from(options.randomBytes(WRITER_BYTES));
    this.#writerHigh = writer.readInt32LE(4);
    this.#writerLow = writer.readInt32LE(0);
    this.endpoint = new Endpoint<Peer>({
      mode: authority.mode,
      clusterId: authority.clusterId,
      transport: options.transport,
      sealing,
      crypto: options.crypto,
      application: this,
      datagramBytes: options.datagramBytes,
      drops: this.drops,
      sharedBuffers: options.sharedBuffers ?? false,
    });
    this.links = members.map((member) =>
      this.endpoint.openLink(options.hosts[member.index]!, member.port, member.staticKey),
    );
    this.view = new ClusterView({
      clusterId: authority.clusterId,
      links: this.links,
      messenger: this.endpoint,
      hash,
      pinnedInstance: options.pinnedInstance,
      agreeingCount: this.memberCountNeeded,
    });
    if (options.route === 'direct') this.core = this.#coordinator = this.#createCoordinator();
    else this.core = this.#calls = this.#createCalls();
  }

  #createCoordinator(): Coordinator {
    const { authority, capacity, sealing, sink } = this.#options;
    const rights = new OwnRights(authority, () => this.#options.nowSeconds());
    return new Coordinator({
      memberCount: this.links.length,
      capacity,
      takesScans: true,
      writerHigh: this.#writerHigh,
      writerLow: this.#writerLow,
      pullBytesMax: Math.floor(this.#options.transport.receiveBufferBytes * CREDIT_PART),
      memory: flightMemory(this.#options.sharedBuffers ?? false),
      messenger: this.endpoint,
      sealing,
      drops: this.drops,
      sink,
      readyMask: () => this.view.readyMask,
      epoch: () => this.view.epoch,
      mayWrite: (words, keyWord, keyBytes) => rights.mayWrite(words, keyWord, keyBytes),
      session: (member) => this.links[member]!.session,
      onOtherMessage: (incoming, word) => this.#onOtherMessage(incoming, word),
    });
  }

  #createCalls(): CallClient {
    const { capacity, sink } = this.#options;
    return new CallClient({
      capacity,
      links: this.links,
      firstChoice: Buffer.from(this.#options.randomBytes(FIRST_CHOICE_BYTES)).readUInt32LE(0),
      activeMask: () => this.view.readyMask,
      memory: flightMemory(false),
      pullBytesMax: Math.floor(this.#options.transport.receiveBufferBytes * CREDIT_PART),
      messenger: this.endpoint,
      drops: this.drops,
      sink,
      onOtherMessage: (incoming, word) => this.#onOtherMessage(incoming, word),
    });
  }

  get route(): Route {
    return this.#options.route;
  }

  /** Of the direct route. */
  get coordinator(): Coordinator {
    assert(this.#coordinator !== undefined, 'a client of the coordinated route has no coordinator');
    return this.#coordinator;
  }

  /** Members that must be there before there is a cluster to work with: who coordinates counts a quorum, who calls does not. */
  get memberCountNeeded(): number {
    return this.#options.route === 'direct' ? quorumOf(this.links.length) : 1;
  }

  /** Members that can be asked now. */
  get readyMask(): number {
    return this.#calls === undefined ? this.view.readyMask : this.#calls.members.readyMask;
  }

  /**
   * The order within a turn: handle all that arrived, open values and end operations (which may start new ones), send,
   * and only then seal new values, so that sealing overlaps with the first round trip.
   */
  turn(nowMs: number): void {
    const { sealing } = this.#options;
    const coordinator = this.#coordinator;
    this.endpoint.turn(nowMs);
    if (coordinator !== undefined) sealing.drainValues(coordinator);
    this.endpoint.tick(nowMs);
    this.view.tick(nowMs);
    this.#options.onTick(nowMs);
    this.endpoint.epoch = this.view.epoch;
    this.core.tick(nowMs);
    this.endpoint.flush(nowMs);
    if (coordinator === undefined) return;
    // Sealing may end a phase, and that an operation, whose owner may start another.
    while (coordinator.submitSeals() && sealing.drainValues(coordinator) > 0) {
      coordinator.pump();
      this.endpoint.flush(nowMs);
    }
  }

  /** When turn() is to be called next, if nothing arrives before; Infinity when nothing is in flight. */
  get nextTurnMs(): number {
    return Math.min(this.core.nextTickMs, this.endpoint.roomAtMs);
  }

  /** Whether the next turn is due at once: there is sealing to go on with, or what has arrived to be handled. */
  get isWorkLeft(): boolean {
    return this.#options.sealing.pendingValueJobs > 0 || this.endpoint.isWorkLeft;
  }

  /** Largest new and expected value of a read-modify-write together, padded each. */
  rmwBytesMax(keyBytes: number): number {
    // In the direct route what is larger than a datagram goes by parts.
    if (this.#calls === undefined) return 2 * SEALED_VALUE_BYTES_MAX;
    // It is called in one datagram.
    let bytesMax = SEALED_VALUE_BYTES_MAX;
    for (const { session } of this.links) {
      if (session === undefined) continue;
      const headBytes = CALL_BYTES + alignUp(keyBytes) + CALL_RMW_BYTES;
      bytesMax = Math.min(bytesMax, this.endpoint.valueBytesMax(session, headBytes));
    }
    return bytesMax;
  }

  /** To be called when the authority has revoked more peers. */
  endRevokedSessions(): void {
    endRevokedSessions(this.endpoint, this.#options.authority);
  }

  /** Ends all operations and sessions. Transport and sealing stay the owner's. */
  close(): void {
    this.core.close();
    this.endpoint.close();
  }

  invariants(): void {
    this.endpoint.invariants();
    this.core.invariants();
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
    return requestPayload(this.#writerHigh, this.#writerLow, this.#options.authority.certificate);
  }

  responsePayload(): Uint8Array {
    return new Uint8Array(0);
  }

  /** Clients take no sessions. */
  admit(): Admission<Peer> {
    return { ok: false, reason: 'a client takes no sessions' };
  }

  accept(link: Link<Peer>, payload: Uint8Array): Admission<Peer> {
    return acceptResponse(this.links.indexOf(link), payload, link.staticKey, this.#options.authority);
  }

  peerKey(peer: Peer): string {
    return peer.key;
  }

  onSessionLive(session: Session<Peer>): void {
    this.view.onSessionLive(session);
    this.#calls?.onSessionLive(session);
  }

  onMessages(incoming: Incoming<Peer>): void {
    this.core.onMessages(incoming, this.endpoint.nowMs);
  }

  /** What is no answer to an operation. */
  #onOtherMessage(incoming: Incoming<Peer>, word: number): void {
    switch (typeOf(incoming.region.words, word)) {
      case MESSAGE_STATE:
        return this.view.onState(incoming.session, incoming.region.words, word);
      case MESSAGE_STATUS:
        return this.#options.onStatus(incoming, word);
      default:
        this.drops.count('unexpected-message');
    }
  }
}

/** A client's own memory: it counts against nothing. */
function flightMemory(isShared: boolean): HostMemory {
  return new HostMemory({ budget: TrustedBudget.unbounded(), hostBytesMax: FLIGHT_MEMORY_BYTES_MAX, isShared });
}
