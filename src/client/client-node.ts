import { DropCounters } from '../../net/drops.ts';
import { Endpoint } from '../../net/endpoint.ts';
import type { Admission, EndpointApplication } from '../../net/endpoint.ts';
import type { Incoming } from '../../net/inbox.ts';
import type { Link } from '../../net/handshakes.ts';
import { CREDIT_PART } from '../../net/limits.ts';
import type { HandshakeCrypto } from '../../net/sealing.ts';
import type { Session } from '../../net/session.ts';
import type { Transport, TransportHandler } from '../../net/transport.ts';
import type { Sealing } from '../../workers/sealing.ts';
import { hash } from '../../workers/signing.ts';
import { Coordinator } from '../protocol/coordinator.ts';
import { acceptResponse, requestPayload } from '../protocol/handshake-payload.ts';
import { MESSAGE_STATE, MESSAGE_STATUS, typeOf } from '../protocol/messages.ts';
import type { OperationSink } from '../protocol/outcome.ts';
import type { Peer } from '../protocol/peer.ts';
import { HostMemory } from '../store/host-memory.ts';
import { TrustedBudget } from '../store/trusted-budget.ts';
import type { Authority } from '../trust/authority.ts';
import { ClusterView } from './cluster-view.ts';

/**
 * A client put together from the pure cores. Transport, sealing, randomness and clock are handed in, so that the same
 * code runs over UDP (engine.ts) and in a simulated network in simulated time.
 *
 *     start*() -> Coordinator writes requests -> Endpoint seals and sends them at the end of the turn
 *     datagram -> Endpoint opens it -> Coordinator counts the answers -> value opened -> sink.onOperationEnded()
 *
 * The owner starts the transport with this as its handler, and calls turn() after datagrams have arrived, after
 * operations were started, every millisecond while operations are in flight, and every few tens of milliseconds else.
 */
export interface ClientNodeOptions {
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
  randomBytes(count: number): Uint8Array;
  /** In each turn, before what has gathered is sent. */
  onTick(nowMs: number): void;
  /** A STATUS message; operations know nothing of it. */
  onStatus(incoming: Incoming<Peer>, word: number): void;
}

/** Keys and values in flight; over it, operations are refused as when the table is full. */
const FLIGHT_MEMORY_BYTES_MAX = 1024 ** 3;
const WRITER_BYTES = 8;

export class ClientNode implements TransportHandler, EndpointApplication<Peer> {
  readonly drops = new DropCounters();
  readonly endpoint: Endpoint<Peer>;
  readonly links: readonly Link<Peer>[];
  readonly view: ClusterView;
  readonly coordinator: Coordinator;
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
    });
    this.coordinator = new Coordinator({
      memberCount: members.length,
      capacity: options.capacity,
      writerHigh: this.#writerHigh,
      writerLow: this.#writerLow,
      pullBytesMax: Math.floor(options.transport.receiveBufferBytes * CREDIT_PART),
      memory: new HostMemory({
        budget: new TrustedBudget(Number.MAX_SAFE_INTEGER),
        hostBytesMax: FLIGHT_MEMORY_BYTES_MAX,
      }),
      messenger: this.endpoint,
      sealing,
      drops: this.drops,
      sink: options.sink,
      readyMask: () => this.view.readyMask,
      epoch: () => this.view.epoch,
      session: (member) => this.links[member]!.session,
      onOtherMessage: (incoming, word) => this.#onOtherMessage(incoming, word),
    });
  }

  /**
   * The order within a turn: handle all that arrived, open values and end operations (which may start new ones), send,
   * and only then seal new values, so that sealing overlaps with the first round trip.
   */
  turn(nowMs: number): void {
    const { sealing } = this.#options;
    const sink = this.coordinator;
    this.endpoint.turn(nowMs);
    sealing.drainValues(sink);
    this.endpoint.tick(nowMs);
    this.view.tick(nowMs);
    this.#options.onTick(nowMs);
    this.endpoint.epoch = this.view.epoch;
    this.coordinator.tick(nowMs);
    this.endpoint.flush(nowMs);
    // Sealing may end a phase, and that an operation, whose owner may start another.
    while (this.coordinator.submitSeals() && sealing.drainValues(sink) > 0) {
      this.coordinator.pump();
      this.endpoint.flush(nowMs);
    }
  }

  /** Whether the next turn is due at once: there is sealing to go on with. */
  get isWorkLeft(): boolean {
    return this.#options.sealing.pendingValueJobs > 0;
  }

  /** Ends all operations and sessions. Transport and sealing stay the owner's. */
  close(): void {
    this.coordinator.close();
    this.endpoint.close();
  }

  invariants(): void {
    this.endpoint.invariants();
    this.coordinator.invariants();
  }

  // -- TransportHandler -------------------------------------------------------------------------------------------

  onDatagram(datagram: Uint8Array, host: string, port: number): void {
    this.endpoint.onDatagram(datagram, host, port);
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
    return acceptResponse(this.links.indexOf(link), payload);
  }

  peerKey(peer: Peer): string {
    return peer.key;
  }

  onSessionLive(session: Session<Peer>): void {
    this.view.onSessionLive(session);
  }

  onMessages(incoming: Incoming<Peer>): void {
    this.coordinator.onMessages(incoming, this.endpoint.nowMs);
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
