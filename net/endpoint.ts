import { assert } from './assert.ts';
import type { Region } from './bytes.ts';
import { alignUp, regionOf } from './bytes.ts';
import type { DropCounters } from './drops.ts';
import { Handshakes } from './handshakes.ts';
import type { Link } from './handshakes.ts';
import {
  ACKNOWLEDGE_AFTER_MS,
  CREDIT_SHARE,
  DATAGRAM_BYTES_MAX,
  DATAGRAM_BYTES_MIN,
  EVICT_IDLE_MS,
  FORGERIES_MAX,
  HALF_OPEN_TIMEOUT_MS,
  RECEIVE_SLOTS,
  RETIRE_GRACE_MS,
  SEND_SLOTS,
  SESSIONS_MAX,
  SESSION_BYTES,
  TICK_INTERVAL_MS,
  WIRE_VERSION,
} from './limits.ts';
import type { SecurityMode } from './mode.ts';
import type { DatagramSealing, HandshakeCrypto, SealingSink } from './sealing.ts';
import type { Session } from './session.ts';
import { SessionTable } from './session.ts';
import { SlotRing } from './slot-ring.ts';
import type { Transport, TransportHandler } from './transport.ts';
import {
  HEADER_BYTES,
  HINT_BYTES,
  KIND_COOKIE,
  KIND_DATA,
  KIND_HINT,
  KIND_REQUEST,
  KIND_RESPONSE,
  OFFSET_KIND,
  OFFSET_VERSION,
  PREAMBLE_BYTES,
  readPacketNumber,
  readSessionIndex,
  readValueBytes,
  reservedIsZero,
  writeDataHeader,
} from './wire.ts';

/**
 * One end of the message layer: sessions with peers over a transport. Pure: time, randomness, cryptography and the
 * transport are handed in.
 *
 * The life of a datagram that arrives:
 *   receive()           queued by the transport, nothing looked at
 *   turn()              header checked, session found, handed to the sealing to open
 *   onDatagramOpened()  replay window committed, messages handed to the application
 * and of one that leaves:
 *   append()            messages gather in a ring slot: values in the packet, control messages in its staging area
 *   flush()             at the end of the turn (or when the slot is full): header written, handed to the sealing
 *   onDatagramSealed()  handed to the transport
 *   onSent()            slot free again
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

/** An opened datagram. One object, reused: valid during onMessages only. */
export interface Incoming<P> {
  session: Session<P>;
  region: Region;
  /** Messages are words [word, wordEnd) of the region. */
  word: number;
  wordEnd: number;
  /** Values are words [valueWord, valueWordEnd), back to back in the order of their messages. */
  valueWord: number;
  valueWordEnd: number;
  epoch: number;
}

/** Where an appended message is to be written. One object, reused: valid until the next append() or flush(). */
export interface Outgoing {
  control: Region;
  word: number;
  packet: Region;
  valueWord: number;
}

export interface EndpointOptions<P> {
  readonly mode: SecurityMode;
  readonly clusterId: Uint8Array;
  readonly transport: Transport;
  readonly sealing: DatagramSealing;
  readonly crypto: HandshakeCrypto;
  readonly application: EndpointApplication<P>;
  readonly datagramBytes: number;
  readonly drops: DropCounters;
}

export class Endpoint<P> implements TransportHandler, SealingSink {
  readonly drops: DropCounters;
  readonly sessions = new SessionTable<P>();
  readonly datagramBytes: number;
  readonly creditBytes: number;
  /** Written into each datagram of messages. */
  epoch = 0;
  nowMs = 0;
  readonly out: Outgoing;

  readonly #transport: Transport;
  readonly #sealing: DatagramSealing;
  readonly #application: EndpointApplication<P>;
  readonly #handshakes: Handshakes<P>;
  readonly #ring: SlotRing;
  readonly #slotSessions: (Session<P> | undefined)[] = [];
  readonly #slotBytes = new Int32Array(SEND_SLOTS);
  /** Sessions with a datagram under construction. */
  readonly #unflushed: Session<P>[] = [];
  #tickedMs = -Infinity;
  readonly #liveByPeer = new Map<string, Session<P>>();

  readonly #queue: { datagram: Uint8Array; host: string; port: number }[] = [];
  readonly #openRegions: (Region | undefined)[] = Array.from<Region | undefined>({ length: RECEIVE_SLOTS });
  readonly #openSessions: (Session<P> | undefined)[] = Array.from<Session<P> | undefined>({ length: RECEIVE_SLOTS });
  readonly #openNumbers = new Float64Array(RECEIVE_SLOTS);
  readonly #openFree: number[] = [];
  readonly #incoming: Incoming<P> | { [K in keyof Incoming<P>]?: Incoming<P>[K] } = {};

  constructor(options: EndpointOptions<P>) {
    const { datagramBytes } = options;
    assert(datagramBytes >= DATAGRAM_BYTES_MIN && datagramBytes <= DATAGRAM_BYTES_MAX, 'datagramBytes within limits');
    assert(datagramBytes % 8 === 0, 'datagramBytes is a multiple of 8');
    this.drops = options.drops;
    this.datagramBytes = datagramBytes;
    this.creditBytes = Math.max(datagramBytes, Math.floor(options.transport.receiveBufferBytes / CREDIT_SHARE));
    this.#transport = options.transport;
    this.#sealing = options.sealing;
    this.#application = options.application;
    this.#ring = new SlotRing(SEND_SLOTS, datagramBytes);
    this.out = { control: this.#ring.control(0), word: 0, packet: this.#ring.packet(0), valueWord: 0 };
    for (let token = RECEIVE_SLOTS - 1; token >= 0; token--) this.#openFree.push(token);
    this.#handshakes = new Handshakes<P>({
      mode: options.mode,
      clusterId: options.clusterId,
      crypto: options.crypto,
      application: options.application,
      drops: options.drops,
      sessions: this.sessions,
      datagramBytes,
      creditBytes: this.creditBytes,
      send: (bytes, host, port) => this.#sendRaw(bytes, host, port),
      makeRoom: () => this.#makeRoom(),
      onEstablished: (link, session) => this.#onEstablished(link, session),
      endSession: (session) => this.#end(session),
    });
  }

  /** Trusted bytes the endpoint needs at most: control parts in clear, and a full table of sessions. */
  get trustedBytes(): number {
    return this.#ring.trustedBytes + SESSIONS_MAX * SESSION_BYTES;
  }

  /** Largest value part that one datagram of these sessions holds beside so many control bytes. */
  valueBytesMax(controlBytes: number, sessions: Iterable<Session<P>>): number {
    let datagramBytes = this.datagramBytes;
    for (const session of sessions) datagramBytes = Math.min(datagramBytes, session.datagramBytesMax);
    return (datagramBytes - HEADER_BYTES - PREAMBLE_BYTES - controlBytes - this.#sealing.datagramTagBytes) & ~7;
  }

  /** Opens a link to a peer by its static key; its sessions are made and renewed from tick(). */
  openLink(host: string, port: number, staticKey: Uint8Array): Link<P> {
    return this.#handshakes.openLink(host, port, staticKey);
  }

  // -- receiving --------------------------------------------------------------------------------------------------

  onDatagram(datagram: Uint8Array, host: string, port: number): void {
    if (this.#queue.length >= RECEIVE_SLOTS) this.drops.count('receive-slots-full');
    else this.#queue.push({ datagram, host, port });
  }

  /** Handles all that arrived since the last turn. Returns how many datagrams. */
  turn(nowMs: number): number {
    this.nowMs = nowMs;
    const count = this.#queue.length;
    for (let i = 0; i < count; i++) {
      const { datagram, host, port } = this.#queue[i]!;
      this.#receive(datagram, host, port);
    }
    this.#queue.length = 0;
    this.#sealing.drainDatagrams(this);
    return count;
  }

  #receive(datagram: Uint8Array, host: string, port: number): void {
    // A hint is the shortest kind.
    if (datagram.length < HINT_BYTES || datagram.length % 8 !== 0) return this.drops.count('short');
    // RFC 768: a sender that takes no answers. Sockets refuse to send there.
    if (port === 0) return this.drops.count('wrong-address');
    const kind = datagram[OFFSET_KIND]!;
    // Hints look the same in every version, or nobody could be told that the versions differ.
    if (datagram[OFFSET_VERSION] !== WIRE_VERSION && kind !== KIND_HINT) {
      this.drops.count('unknown-version');
      if (kind === KIND_REQUEST) this.#handshakes.hint('version', datagram, host, port, this.nowMs);
      return;
    }
    switch (kind) {
      case KIND_DATA:
        return this.#receiveData(datagram, host, port);
      case KIND_REQUEST:
        return this.#handshakes.onRequest(datagram, host, port, this.nowMs);
      case KIND_RESPONSE:
        return this.#handshakes.onResponse(datagram, host, port, this.nowMs);
      case KIND_COOKIE:
        return this.#handshakes.onCookie(datagram, host, port, this.nowMs);
      case KIND_HINT:
        return this.#handshakes.onHint(datagram, host, port, this.nowMs);
      default:
        this.drops.count('unknown-kind');
    }
  }

  /** Cheap checks first: a forgery that reaches the AEAD costs an exception. */
  #receiveData(datagram: Uint8Array, host: string, port: number): void {
    const region =
      datagram.byteOffset % 4 === 0
        ? regionOf(datagram.buffer, datagram.byteOffset, datagram.length)
        : regionOf(new Uint8Array(datagram).buffer);
    const tagBytes = this.#sealing.datagramTagBytes;
    if (datagram.length < HEADER_BYTES + PREAMBLE_BYTES + tagBytes) return this.drops.count('short');
    const session = this.sessions.find(readSessionIndex(region.words));
    if (session === undefined || session.state === 'initiating' || session.state === 'dead') {
      this.drops.count('no-session');
      return this.#handshakes.hint('no-session', datagram, host, port, this.nowMs);
    }
    if (session.port !== port || session.host !== host) return this.drops.count('wrong-address');
    if (session.isExpired(this.nowMs)) return this.drops.count('session-expired');
    const valueBytes = readValueBytes(region.words);
    if (valueBytes % 8 !== 0 || HEADER_BYTES + valueBytes + PREAMBLE_BYTES + tagBytes > datagram.length) {
      return this.drops.count('wrong-length');
    }
    const packetNumber = readPacketNumber(region.words);
    if (!Number.isSafeInteger(packetNumber) || !reservedIsZero(region.words)) return this.drops.count('malformed');
    if (!session.window.isNew(packetNumber)) return this.drops.count('replayed');
    const token = this.#openFree.pop();
    if (token === undefined) return this.drops.count('receive-slots-full');
    this.#openRegions[token] = region;
    this.#openSessions[token] = session;
    this.#openNumbers[token] = packetNumber;
    session.jobsPending++;
    this.#sealing.submitOpenDatagram(token, session.receiveKey, packetNumber, region.bytes, HEADER_BYTES + valueBytes);
  }

  onDatagramOpened(token: number, opened: boolean): void {
    const region = this.#openRegions[token]!;
    const session = this.#openSessions[token]!;
    this.#openRegions[token] = undefined;
    this.#openSessions[token] = undefined;
    this.#openFree.push(token);
    session.jobsPending--;
    if (session.state === 'dead') return this.#eraseWhenIdle(session);
    if (!opened) {
      this.drops.count('forged');
      if (++session.forgeries >= FORGERIES_MAX) this.#end(session);
      return;
    }
    if (!session.window.commit(this.#openNumbers[token]!)) return this.drops.count('replayed');
    session.lastReceivedMs = this.nowMs;
    session.unansweredSinceMs = Infinity;
    if (session.state === 'half-open') this.#onFirstData(session);
    const controlWord = (HEADER_BYTES + readValueBytes(region.words)) >> 2;
    session.flight?.onAcknowledged(region.words[controlWord + 1]! >>> 0, this.nowMs);
    const incoming = this.#incoming as Incoming<P>;
    incoming.session = session;
    incoming.region = region;
    incoming.word = controlWord + (PREAMBLE_BYTES >> 2);
    incoming.wordEnd = (region.bytes.length - this.#sealing.datagramTagBytes) >> 2;
    incoming.valueWord = HEADER_BYTES >> 2;
    incoming.valueWordEnd = controlWord;
    incoming.epoch = region.words[controlWord]! >>> 0;
    if (incoming.word < incoming.wordEnd)
      session.unacknowledgedSinceMs = Math.min(session.unacknowledgedSinceMs, this.nowMs);
    this.#application.onMessages(incoming);
  }

  /** Whether a message is small enough for a datagram to this peer at all. */
  fits(session: Session<P>, controlBytes: number, valueBytes: number): boolean {
    const byteCount =
      HEADER_BYTES + PREAMBLE_BYTES + controlBytes + alignUp(valueBytes) + this.#sealing.datagramTagBytes;
    return byteCount <= session.datagramBytesMax;
  }

  // -- sending ----------------------------------------------------------------------------------------------------

  /**
   * Makes room for one message in the session's datagram and points `out` at it; the caller then writes every byte of
   * it. False when it can't be sent now (counted): requests are sent again by their owner, answers by the asker.
   * @param controlBytes Multiple of 8.
   * @param valueBytes Padded here to a multiple of 8.
   */
  append(session: Session<P>, controlBytes: number, valueBytes: number): boolean {
    const valuePadded = alignUp(valueBytes);
    const tagBytes = this.#sealing.datagramTagBytes;
    const bytesMax = session.datagramBytesMax;
    if (
      session.slot !== -1 &&
      session.valueEnd + valuePadded + session.controlEnd + controlBytes + tagBytes > bytesMax
    ) {
      this.#seal(session);
    }
    if (session.slot === -1) {
      if (!this.fits(session, controlBytes, valueBytes) || !this.#beginDatagram(session)) return false;
    }
    const slot = session.slot;
    const out = this.out;
    out.control = this.#ring.control(slot);
    out.word = session.controlEnd >> 2;
    out.packet = this.#ring.packet(slot);
    out.valueWord = session.valueEnd >> 2;
    session.controlEnd += controlBytes;
    session.valueEnd += valuePadded;
    return true;
  }

  #beginDatagram(session: Session<P>): boolean {
    if (!session.canSend()) return false;
    if (session.flight?.allows(session.datagramBytesMax, this.nowMs) === false) {
      this.drops.count('flight-full');
      return false;
    }
    const slot = this.#ring.take();
    if (slot === -1) {
      this.drops.count('send-slots-full');
      return false;
    }
    session.slot = slot;
    session.valueEnd = HEADER_BYTES;
    session.controlEnd = PREAMBLE_BYTES;
    if (!session.listed) {
      session.listed = true;
      this.#unflushed.push(session);
    }
    return true;
  }

  /** Sends what has gathered: the end of a turn. */
  flush(nowMs: number): void {
    this.nowMs = nowMs;
    for (const session of this.#unflushed) {
      session.listed = false;
      if (session.slot !== -1) this.#seal(session);
    }
    this.#unflushed.length = 0;
    this.#sealing.drainDatagrams(this);
  }

  #seal(session: Session<P>): void {
    const slot = session.slot;
    session.slot = -1;
    if (session.state === 'dead') return this.#ring.release(slot);
    const packet = this.#ring.packet(slot);
    const control = this.#ring.control(slot);
    const packetNumber = session.sendNumber++;
    writeDataHeader(packet.words, session.peerIndex, packetNumber, session.valueEnd - HEADER_BYTES);
    control.words[0] = this.epoch;
    control.words[1] = session.window.largest | 0;
    const byteCount = session.valueEnd + session.controlEnd + this.#sealing.datagramTagBytes;
    session.flight?.onSent(packetNumber, byteCount, this.nowMs);
    session.unacknowledgedSinceMs = Infinity;
    // Messages are answered or acknowledged, and so is a session's first packet; nothing else is.
    if (session.controlEnd > PREAMBLE_BYTES || packetNumber === 0) {
      session.unansweredSinceMs = Math.min(session.unansweredSinceMs, this.nowMs);
    }
    this.#slotSessions[slot] = session;
    this.#slotBytes[slot] = byteCount;
    session.jobsPending++;
    this.#sealing.submitSealDatagram(
      slot,
      session.sendKey,
      packetNumber,
      packet.bytes,
      session.valueEnd,
      control.bytes,
      session.controlEnd,
    );
  }

  onDatagramSealed(slot: number): void {
    const session = this.#slotSessions[slot]!;
    this.#slotSessions[slot] = undefined;
    session.jobsPending--;
    if (session.state === 'dead') {
      this.#ring.release(slot);
      return this.#eraseWhenIdle(session);
    }
    this.#transport.send(slot, this.#ring.packet(slot).bytes, this.#slotBytes[slot]!, session.host, session.port);
  }

  onSent(slot: number, failed: boolean): void {
    if (failed) this.drops.count('send-failed');
    this.#ring.release(slot);
  }

  /** Handshake kinds: rare, copied into a slot. */
  #sendRaw(bytes: Uint8Array, host: string, port: number): void {
    const slot = this.#ring.take();
    if (slot === -1) return this.drops.count('send-slots-full');
    this.#ring.packet(slot).bytes.set(bytes);
    this.#transport.send(slot, this.#ring.packet(slot).bytes, bytes.length, host, port);
  }

  // -- life of sessions -------------------------------------------------------------------------------------------

  /** Handshakes, renewal, expiry. To be called each turn; most calls have nothing to do. */
  tick(nowMs: number): void {
    this.nowMs = nowMs;
    if (nowMs - this.#tickedMs < TICK_INTERVAL_MS) return;
    this.#tickedMs = nowMs;
    for (const session of this.sessions) {
      if (session.state === 'half-open') {
        if (nowMs - session.createdMs >= HALF_OPEN_TIMEOUT_MS) this.#end(session);
      } else if (session.state !== 'initiating' && (session.isExpired(nowMs) || nowMs >= session.retireAtMs)) {
        this.#end(session);
      } else if (nowMs - session.unacknowledgedSinceMs >= ACKNOWLEDGE_AFTER_MS) {
        this.append(session, 0, 0);
      }
    }
    this.#handshakes.tick(nowMs);
  }

  /** Ends the sessions that peers have made. */
  endAcceptedSessions(): void {
    for (const session of this.sessions) if (!session.initiator) this.#end(session);
  }

  /** Ends all sessions and erases their keys. */
  close(): void {
    this.#handshakes.close();
    for (const session of this.sessions) this.#end(session);
  }

  /** Responder: message 1 was no replay, its sender has the keys. */
  #onFirstData(session: Session<P>): void {
    this.#handshakes.onHalfOpenEnded(session);
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
    session.retireAtMs = this.nowMs + RETIRE_GRACE_MS;
  }

  #end(session: Session<P>): void {
    if (session.state === 'dead') return;
    if (session.state === 'half-open') this.#handshakes.onHalfOpenEnded(session);
    else if (!session.initiator) {
      const key = this.#application.peerKey(session.peer);
      if (this.#liveByPeer.get(key) === session) this.#liveByPeer.delete(key);
    }
    session.state = 'dead';
    this.#handshakes.onSessionEnded(session);
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
    if (oldest !== undefined && this.nowMs - oldest.lastReceivedMs >= EVICT_IDLE_MS) this.#end(oldest);
  }

  invariants(): void {
    this.#ring.invariants();
    for (const [key, session] of this.#liveByPeer) {
      assert(session.state === 'live', 'the session listed for a peer is live');
      assert(this.#application.peerKey(session.peer) === key, 'a session is listed under its own peer');
    }
  }
}
