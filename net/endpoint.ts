import { assert } from './assert.ts';
import type { DropCounters } from './drops.ts';
import type { HandshakesOptions } from './handshakes.ts';
import { Inbox } from './inbox.ts';
import type { Incoming } from './inbox.ts';
import { Initiator } from './initiator.ts';
import {
  ACKNOWLEDGE_AFTER_MS,
  CREDIT_AGE_MS,
  CREDIT_BYTES_MIN,
  CREDIT_PART,
  DATAGRAM_BYTES_MAX,
  DATAGRAM_BYTES_MIN,
  EVICT_IDLE_MS,
  HALF_OPEN_TIMEOUT_MS,
  HANDLED_AT_ONCE_MAX,
  RETIRE_GRACE_MS,
  SEND_SLOTS_FREE_MIN,
  SESSIONS_MAX,
  SESSION_BYTES,
  TICK_INTERVAL_MS,
} from './limits.ts';
import type { Link } from './link.ts';
import type { SecurityMode } from './mode.ts';
import { Outbox } from './outbox.ts';
import type { Outgoing } from './outbox.ts';
import { Responder } from './responder.ts';
import type { DatagramSealing, HandshakeCrypto, SealingSink } from './sealing.ts';
import type { Session } from './session.ts';
import { SessionTable } from './session.ts';
import type { Transport, TransportHandler } from './transport.ts';

/**
 * One end of the message layer: sessions with peers over a transport. Pure: time, randomness, cryptography and the
 * transport are handed in.
 *
 *     inbox.ts        what arrives: checked, opened, handed to the application
 *     outbox.ts       what leaves: gathered in ring slots, sealed and sent at the end of the turn
 *     handshakes.ts   how sessions are made and renewed: initiator.ts by who has a link, responder.ts by who is asked
 *
 * and here how they live and end.
 */
export interface EndpointApplication<P> {
  /** What message 1 and message 2 carry for the application; fixed lengths, multiples of 8, 2 no longer than 1. */
  requestPayload(): Uint8Array;
  responsePayload(): Uint8Array;
  /** The peer that message 1 proves, or why it is refused. */
  admit(payload: Uint8Array, staticKey: Uint8Array): Admission<P>;
  /** The peer that message 2 proves; the link's static key is already authenticated. */
  accept(link: Link<P>, payload: Uint8Array): Admission<P>;
  /** Sessions whose peers have the same key replace one another. */
  peerKey(peer: P): string;
  onSessionLive(session: Session<P>): void;
  onMessages(incoming: Incoming<P>): void;
}

export type Admission<P> = { readonly ok: true; readonly peer: P } | { readonly ok: false; readonly reason: string };

export interface EndpointOptions<P> {
  readonly mode: SecurityMode;
  readonly clusterId: Uint8Array;
  readonly transport: Transport;
  readonly sealing: DatagramSealing;
  readonly crypto: HandshakeCrypto;
  readonly application: EndpointApplication<P>;
  readonly datagramBytes: number;
  readonly drops: DropCounters;
  /** The sealing has workers: outgoing datagrams are made in memory that they can see. Copying to and from it is slower. */
  readonly sharedBuffers?: boolean;
}

export class Endpoint<P> implements TransportHandler, SealingSink {
  readonly drops: DropCounters;
  readonly sessions = new SessionTable<P>();
  readonly datagramBytes: number;
  readonly #sealing: DatagramSealing;
  readonly #application: EndpointApplication<P>;
  readonly #initiator: Initiator<P>;
  readonly #responder: Responder<P>;
  readonly #inbox: Inbox<P>;
  readonly #outbox: Outbox<P>;
  readonly #liveByPeer = new Map<string, Session<P>>();
  /** Of the receive buffer: divided among those that send. */
  readonly #sharedBytes: number;
  /** Peers that have sent of late. */
  #senderCount = 0;
  #nowMs = 0;
  #tickedMs = -Infinity;

  constructor(options: EndpointOptions<P>) {
    const { application, datagramBytes, drops, sealing, transport } = options;
    const { sessions } = this;
    assert(datagramBytes >= DATAGRAM_BYTES_MIN && datagramBytes <= DATAGRAM_BYTES_MAX, 'datagramBytes within limits');
    assert(datagramBytes % 8 === 0, 'datagramBytes is a multiple of 8');
    this.drops = drops;
    this.datagramBytes = datagramBytes;
    this.#sharedBytes = Math.floor(transport.receiveBufferBytes * CREDIT_PART);
    this.#sealing = sealing;
    this.#application = application;
    const endSession = (session: Session<P>): void => this.#end(session);
    const onDeadSessionIdle = (session: Session<P>): void => this.#eraseWhenIdle(session);
    const sharedBuffers = options.sharedBuffers ?? false;
    this.#outbox = new Outbox({ transport, sealing, drops, datagramBytes, sharedBuffers, onDeadSessionIdle });
    const handshakes: HandshakesOptions<P> = {
      mode: options.mode,
      clusterId: options.clusterId,
      crypto: options.crypto,
      application,
      drops,
      sessions,
      datagramBytes,
      creditBytes: () => this.#creditBytesAmong(this.#senderCount + 1),
      send: (bytes, host, port) => this.#outbox.sendRaw(bytes, host, port),
      makeRoom: () => this.#makeRoom(),
      onEstablished: (link, session) => this.#onEstablished(link, session),
      endSession,
    };
    this.#initiator = new Initiator(handshakes);
    this.#responder = new Responder(handshakes);
    this.#inbox = new Inbox({
      sealing,
      drops,
      sessions,
      initiator: this.#initiator,
      responder: this.#responder,
      onFirstData: (session) => this.#onFirstData(session),
      onMessages: (incoming) => application.onMessages(incoming),
      endSession,
      release: (datagram) => transport.release(datagram),
      onDeadSessionIdle,
    });
  }

  get nowMs(): number {
    return this.#nowMs;
  }

  /** All that happens until the next call happens at this time. */
  #setTime(nowMs: number): void {
    this.#nowMs = nowMs;
    this.#inbox.nowMs = nowMs;
    this.#outbox.nowMs = nowMs;
  }

  /** Written into each datagram of messages. */
  set epoch(epoch: number) {
    this.#outbox.epoch = epoch;
  }

  /** When there is room again for requests that were refused, if answers make none before; Infinity when none were. */
  get roomAtMs(): number {
    return this.#initiator.roomAtMs(this.#nowMs);
  }

  /** Trusted bytes the endpoint needs at most: control parts in clear, and a full table of sessions. */
  get trustedBytes(): number {
    return this.#outbox.trustedBytes + SESSIONS_MAX * SESSION_BYTES;
  }

  /** Opens a link to a peer by its static key; its sessions are made and renewed from tick(). */
  openLink(host: string, port: number, staticKey: Uint8Array): Link<P> {
    return this.#initiator.openLink(host, port, staticKey);
  }

  // -- datagrams and messages -------------------------------------------------------------------------------------

  /** Returns false when it can wait for the next turn, whatever that is due to. */
  onDatagram(datagram: Uint8Array, host: string, port: number): boolean {
    return this.#inbox.queue(datagram, host, port);
  }

  /**
   * Handles what has arrived: all of it, unless there is too little room for answers. Returns how many datagrams.
   */
  turn(nowMs: number): number {
    this.#setTime(nowMs);
    let count = 0;
    do {
      count += this.#inbox.turn(HANDLED_AT_ONCE_MAX);
      this.#sealing.drainDatagrams(this);
    } while (this.#inbox.waitingCount > 0 && this.#outbox.freeCount >= SEND_SLOTS_FREE_MIN);
    return count;
  }

  /** Something that has arrived waits for the next turn. */
  get isWorkLeft(): boolean {
    return this.#inbox.waitingCount > 0 || this.#inbox.areRequestsDue;
  }

  onDatagramOpened(token: number, opened: boolean): void {
    this.#inbox.onDatagramOpened(token, opened);
  }

  /** Where the message that append() made room for is to be written. */
  get out(): Outgoing {
    return this.#outbox.out;
  }

  fits(session: Session<P>, controlBytes: number, valueBytes: number): boolean {
    return this.#outbox.fits(session, controlBytes, valueBytes);
  }

  valueBytesMax(session: Session<P>, controlBytes: number): number {
    return this.#outbox.valueBytesMax(session, controlBytes);
  }

  hasRoom(session: Session<P>): boolean {
    return this.#outbox.hasRoom(session);
  }

  hasSlots(_session: Session<P>, datagramCount: number): boolean {
    return this.#outbox.freeCount - datagramCount >= SEND_SLOTS_FREE_MIN;
  }

  append(session: Session<P>, controlBytes: number, valueBytes: number, isBulk = false): boolean {
    return this.#outbox.append(session, controlBytes, valueBytes, isBulk);
  }

  /** Sends what has gathered: the end of a turn. Only then strangers are looked at. */
  flush(nowMs: number): void {
    this.#setTime(nowMs);
    this.#outbox.flush();
    this.#sealing.drainDatagrams(this);
    this.#inbox.turnRequests();
  }

  onDatagramSealed(slot: number): void {
    this.#outbox.onDatagramSealed(slot);
  }

  onSent(slot: number, failed: boolean): void {
    this.#outbox.onSent(slot, failed);
  }

  // -- life of sessions -------------------------------------------------------------------------------------------

  /** Handshakes, renewal, expiry. To be called each turn; most calls have nothing to do. */
  tick(nowMs: number): void {
    this.#setTime(nowMs);
    if (nowMs - this.#tickedMs < TICK_INTERVAL_MS) return;
    this.#tickedMs = nowMs;
    let senderCount = 0;
    for (const session of this.sessions) {
      // Half-open ones have no share: anybody could make them with a stolen message 1.
      if (session.state === 'live' && !session.initiator && nowMs - session.lastReceivedMs <= CREDIT_AGE_MS)
        senderCount++;
      if (session.state === 'half-open') {
        if (nowMs - session.createdMs >= HALF_OPEN_TIMEOUT_MS) this.#end(session);
      } else if (session.state !== 'initiating' && (session.isExpired(nowMs) || nowMs >= session.retireAtMs)) {
        this.#end(session);
      } else if (nowMs - session.unacknowledgedSinceMs >= ACKNOWLEDGE_AFTER_MS) {
        this.append(session, 0, 0);
      }
    }
    this.#senderCount = senderCount;
    this.#outbox.creditBytes = this.#creditBytesAmong(Math.max(senderCount, 1));
    this.#initiator.tick(nowMs);
  }

  #creditBytesAmong(senderCount: number): number {
    return Math.max(CREDIT_BYTES_MIN, Math.floor(this.#sharedBytes / senderCount));
  }

  /** Ends the sessions that peers have made. */
  endAcceptedSessions(): void {
    for (const session of this.sessions) if (!session.initiator) this.#end(session);
  }

  /** Ends, at once, the sessions with peers that are taken no more, and erases their keys. What is under way in them is lost. */
  endSessions(isRefused: (peer: P) => boolean): void {
    for (const session of this.sessions) {
      // Who has not answered yet is judged when it does.
      if (session.state === 'initiating' || !isRefused(session.peer)) continue;
      this.drops.count('session-revoked');
      this.#end(session);
    }
  }

  /** Ends all sessions and erases their keys. */
  close(): void {
    this.#initiator.close();
    for (const session of this.sessions) this.#end(session);
  }

  /** Responder: message 1 was no replay, its sender has the keys. */
  #onFirstData(session: Session<P>): void {
    this.#responder.onHalfOpenEnded(session);
    this.#goLive(session);
    // Else an initiator that has nothing to ask could not tell whether its first packet was lost.
    this.append(session, 0, 0);
  }

  /** Initiator: message 2 was authentic. An empty datagram tells the responder so. */
  #onEstablished(link: Link<P>, session: Session<P>): void {
    const previous = link.session;
    link.session = session;
    if (previous !== undefined) this.#retire(previous);
    session.state = 'live';
    this.append(session, 0, 0);
    this.#application.onSessionLive(session);
  }

  #goLive(session: Session<P>): void {
    session.state = 'live';
    const key = this.#application.peerKey(session.peer);
    const previous = this.#liveByPeer.get(key);
    if (previous !== undefined && previous.createdMs > session.createdMs) {
      // Its first packet was held back until the peer had renewed: it must not oust the newer one.
      this.#retire(session);
      return;
    }
    if (previous !== undefined) this.#retire(previous);
    this.#liveByPeer.set(key, session);
    this.#application.onSessionLive(session);
  }

  #retire(session: Session<P>): void {
    if (session.state !== 'live') return;
    session.state = 'retiring';
    session.retireAtMs = this.#nowMs + RETIRE_GRACE_MS;
  }

  #end(session: Session<P>): void {
    if (session.state === 'dead') return;
    if (session.state === 'half-open') this.#responder.onHalfOpenEnded(session);
    else if (!session.initiator) {
      const key = this.#application.peerKey(session.peer);
      if (this.#liveByPeer.get(key) === session) this.#liveByPeer.delete(key);
    }
    session.state = 'dead';
    this.#initiator.onSessionEnded(session);
    this.sessions.remove(session);
    this.#eraseWhenIdle(session);
  }

  #eraseWhenIdle(session: Session<P>): void {
    if (session.jobsPending > 0) return;
    if (session.sendKey >= 0) this.#sealing.eraseKey(session.sendKey);
    if (session.receiveKey >= 0) this.#sealing.eraseKey(session.receiveKey);
    session.sendKey = session.receiveKey = -1;
  }

  /** Ends a session that was replaced, or the peer's that has been silent longest, when that is long enough. */
  #makeRoom(): void {
    if (this.sessions.count < SESSIONS_MAX) return;
    let oldest: Session<P> | undefined;
    for (const session of this.sessions) {
      if (session.state === 'retiring') return this.#end(session);
      if (
        session.state === 'live' &&
        !session.initiator &&
        (!oldest || session.lastReceivedMs < oldest.lastReceivedMs)
      ) {
        oldest = session;
      }
    }
    if (oldest !== undefined && this.#nowMs - oldest.lastReceivedMs >= EVICT_IDLE_MS) this.#end(oldest);
  }

  invariants(): void {
    this.#outbox.invariants();
    for (const [key, session] of this.#liveByPeer) {
      assert(session.state === 'live', 'the session listed for a peer is live');
      assert(this.#application.peerKey(session.peer) === key, 'a session is listed under its own peer');
    }
  }
}
