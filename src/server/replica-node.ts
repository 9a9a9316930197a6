import { assert } from '../../net/assert.ts';
import { DropCounters } from '../../net/drops.ts';
import { Endpoint } from '../../net/endpoint.ts';
import type { Admission, EndpointApplication } from '../../net/endpoint.ts';
import type { Incoming } from '../../net/inbox.ts';
import type { Link } from '../../net/handshakes.ts';
import type { HandshakeCrypto } from '../../net/sealing.ts';
import type { Session } from '../../net/session.ts';
import type { Transport, TransportHandler } from '../../net/transport.ts';
import type { Sealing } from '../../workers/sealing.ts';
import { hash } from '../../workers/signing.ts';
import { AvocadoError } from '../errors.ts';
import { Formation } from '../protocol/formation.ts';
import { acceptResponse, admitRequest, requestPayload, responsePayload } from '../protocol/handshake-payload.ts';
import { toHex } from '../protocol/instance.ts';
import { INCARNATION_BYTES } from '../protocol/messages.ts';
import type { Peer } from '../protocol/peer.ts';
import { REASSEMBLIES_MAX, REASSEMBLY_BYTES } from '../protocol/reassemblies.ts';
import { Repairs } from '../protocol/repairs.ts';
import { Replica, TRUSTED_MARGIN_BYTES } from '../protocol/replica.ts';
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
 *
 * The owner starts the transport with this as its handler, and calls turn() after datagrams have arrived and every few
 * tens of milliseconds.
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
  randomBytes(count: number): Uint8Array;
  /** Unix time, for the dates of certificates. */
  nowSeconds(): number;
  onStateChange(state: MemberState, reason: string): void;
  /** What the process around it adds to the figures of `avocado status`. */
  processFigures(): Record<string, unknown>;
}

/** What is left of a small budget, e.g. in tests, must not be all margin. */
const MARGIN_SHARE = 8;

export class ReplicaNode implements TransportHandler, EndpointApplication<Peer> {
  readonly drops = new DropCounters();
  readonly endpoint: Endpoint<Peer>;
  readonly formation: Formation;
  readonly hostMemory: HostMemory;
  readonly store: Store;
  readonly repairs: Repairs;
  readonly replica: Replica;
  readonly #options: ReplicaNodeOptions;
  readonly #links: Link<Peer>[] = [];

  constructor(options: ReplicaNodeOptions) {
    this.#options = options;
    const { authority, sealing, memberIndex } = options;
    const { configuration } = authority;
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
    });
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
    this.hostMemory = new HostMemory({ budget, hostBytesMax: options.hostBytesMax });
    this.store = new Store({ budget, hostMemory: this.hostMemory, seed: options.randomBytes(8) });
    this.repairs = new Repairs(this.store, sealing, this.drops);
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
    this.replica = new Replica({
      store: this.store,
      formation: this.formation,
      messenger: this.endpoint,
      drops: this.drops,
      repairs: this.repairs,
      trustedMarginBytes: Math.min(TRUSTED_MARGIN_BYTES, Math.floor(budget.available / MARGIN_SHARE)),
      onStatusRequest: (session, slot, generation) =>
        sendStatus(this.endpoint, session, slot, generation, this.#status()),
    });
    this.endpoint.epoch = configuration.epoch;
    for (const member of configuration.members) {
      if (member.index === memberIndex) continue;
      this.#links.push(this.endpoint.openLink(options.hosts[member.index]!, member.port, member.staticKey));
    }
    if (!this.formation.isActive) {
      options.onStateChange('forming', `waits for all ${configuration.members.length} members`);
    }
  }

  turn(nowMs: number): void {
    this.endpoint.turn(nowMs);
    this.replica.endTurn(nowMs);
    this.#options.sealing.drainValues(this.#valueSink);
    this.endpoint.tick(nowMs);
    this.formation.tick(nowMs);
    this.endpoint.flush(nowMs);
  }

  /** Whether the next turn is due at once: there is sealing to go on with. */
  get isWorkLeft(): boolean {
    return this.#options.sealing.pendingValueJobs > 0;
  }

  /** Ends all sessions. Transport and sealing stay the owner's. */
  close(): void {
    this.endpoint.close();
  }

  invariants(): void {
    this.endpoint.invariants();
    this.store.invariants();
  }

  readonly #valueSink = {
    onValueSealed: (): void => {},
    onValueOpened: (token: number, opened: boolean): void => this.repairs.onValueOpened(token, opened),
  };

  *#peerSessions(): IterableIterator<Session<Peer>> {
    for (const link of this.#links) if (link.session !== undefined) yield link.session;
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
    // A replica writes nothing of its own: no writer id.
    return requestPayload(0, 0, this.#options.authority.certificate);
  }

  responsePayload(): Uint8Array {
    return responsePayload(this.formation.incarnation, this.formation.epoch);
  }

  admit(payload: Uint8Array, staticKey: Uint8Array): Admission<Peer> {
    return admitRequest(this.#options.authority, payload, staticKey, this.#options.nowSeconds());
  }

  accept(link: Link<Peer>, payload: Uint8Array): Admission<Peer> {
    const linkIndex = this.#links.indexOf(link);
    return acceptResponse(linkIndex < this.#options.memberIndex ? linkIndex : linkIndex + 1, payload);
  }

  peerKey(peer: Peer): string {
    return peer.key;
  }

  onSessionLive(session: Session<Peer>): void {
    // A replica that has just come wants to know; so does a client, who asks by itself.
    if (session.peer.identity.role === 'replica' && session.initiator) this.formation.onStateRequest(session);
  }

  onMessages(incoming: Incoming<Peer>): void {
    this.replica.onMessages(incoming, this.endpoint.nowMs);
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
    };
  }
}
