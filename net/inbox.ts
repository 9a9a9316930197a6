import { regionOf } from './bytes.ts';
import type { Region } from './bytes.ts';
import type { DropCounters } from './drops.ts';
import type { Initiator } from './initiator.ts';
import {
  FORGERIES_MAX,
  RECEIVE_SLOTS,
  RELEASE_BYTES_MIN,
  REQUESTS_AT_ONCE_MAX,
  REQUESTS_URGENT_INTERVAL_MS,
  REQUESTS_URGENT_MAX,
  REQUESTS_WAIT_MS,
  WIRE_VERSION,
} from './limits.ts';
import type { Responder } from './responder.ts';
import type { DatagramSealing } from './sealing.ts';
import type { Session, SessionTable } from './session.ts';
import { TokenBucket } from './token-bucket.ts';
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
  readCreditBytes,
  readPacketNumber,
  readSessionIndex,
  readValueBytes,
  reservedIsZero,
} from './wire.ts';

/**
 * The receiving half of an endpoint. The life of a datagram that arrives:
 *
 *     queue()             as the transport brings it, nothing looked at
 *     turn()              a few at a time: header checked, session found, handed to the sealing to open
 *     onDatagramOpened()  replay window committed, messages handed to the application; its memory is given back when it
 *                         is large and spent
 *     turnRequests()      the end of the turn: message 1 of strangers, when those with sessions have their answers; a few at a
 *                         time, and when there are many, not one by one
 */

/**
 * An opened datagram. One object, reused: valid during onMessages only. The region is never written again, unless the
 * application says that it is spent.
 */
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
  /** Set by the application: nothing of the region is looked at after onMessages. */
  isSpent: boolean;
}

export interface InboxOptions<P> {
  readonly sealing: DatagramSealing;
  readonly drops: DropCounters;
  readonly sessions: SessionTable<P>;
  readonly initiator: Initiator<P>;
  readonly responder: Responder<P>;
  /** The first valid data packet of a half-open session. */
  onFirstData(session: Session<P>): void;
  onMessages(incoming: Incoming<P>): void;
  endSession(session: Session<P>): void;
  /** The memory of a datagram that is spent. */
  release(datagram: Uint8Array): void;
  /** A job of a dead session is done. */
  onDeadSessionIdle(session: Session<P>): void;
}

interface Arrived {
  readonly datagram: Uint8Array;
  readonly host: string;
  readonly port: number;
}

/** Datagrams that were handled and still lie in the queue: seldom enough that what waits behind them is moved up. */
const HANDLED_KEPT_MAX = 64;

export class Inbox<P> {
  /** Time of the turn, handed in by the endpoint. */
  nowMs = 0;
  readonly #options: InboxOptions<P>;
  readonly #sealing: DatagramSealing;
  readonly #drops: DropCounters;
  readonly #queue: Arrived[] = [];
  readonly #requests: Arrived[] = [];
  /** The first of them came then. */
  #requestsSinceMs = 0;
  /** One of them is not to wait. */
  #isRequestUrgent = false;
  readonly #urgentRequests = new TokenBucket(REQUESTS_URGENT_MAX, REQUESTS_URGENT_INTERVAL_MS);
  /** The first of the queue that waits. */
  #next = 0;
  readonly #openRegions: (Region | undefined)[] = Array.from<Region | undefined>({ length: RECEIVE_SLOTS });
  readonly #openSessions: (Session<P> | undefined)[] = Array.from<Session<P> | undefined>({ length: RECEIVE_SLOTS });
  readonly #openNumbers = new Float64Array(RECEIVE_SLOTS);
  readonly #openFree: number[] = [];
  readonly #incoming: Incoming<P> | { [K in keyof Incoming<P>]?: Incoming<P>[K] } = {};

  constructor(options: InboxOptions<P>) {
    this.#options = options;
    this.#sealing = options.sealing;
    this.#drops = options.drops;
    for (let token = RECEIVE_SLOTS - 1; token >= 0; token--) this.#openFree.push(token);
  }

  /**
   * False when it can wait for a turn that something else asks for.
   */
  queue(datagram: Uint8Array, host: string, port: number): boolean {
    const isRequest = datagram[OFFSET_KIND] === KIND_REQUEST;
    const waitingCount = isRequest ? this.#requests.length : this.waitingCount;
    if (waitingCount >= RECEIVE_SLOTS) this.#drops.count('receive-slots-full');
    else (isRequest ? this.#requests : this.#queue).push({ datagram, host, port });
    if (!isRequest) return true;
    if (waitingCount === 0) this.#requestsSinceMs = this.nowMs;
    if (!this.#urgentRequests.take(this.nowMs)) return false;
    this.#isRequestUrgent = true;
    return true;
  }

  /** Datagrams that wait for their turn; requests for handshakes are not among them. */
  get waitingCount(): number {
    return this.#queue.length - this.#next;
  }

  /** Checks what has arrived, so many datagrams at most, and hands it to the sealing. Returns how many. */
  turn(countMax: number): number {
    const end = Math.min(this.#queue.length, this.#next + countMax);
    const count = end - this.#next;
    while (this.#next < end) {
      const { datagram, host, port } = this.#queue[this.#next++]!;
      this.#receive(datagram, host, port);
    }
    if (this.#next === this.#queue.length || this.#next >= HANDLED_KEPT_MAX) this.#forgetHandled();
    return count;
  }

  get areRequestsDue(): boolean {
    const { length } = this.#requests;
    if (length === 0) return false;
    return (
      this.#isRequestUrgent || length >= REQUESTS_AT_ONCE_MAX || this.nowMs - this.#requestsSinceMs >= REQUESTS_WAIT_MS
    );
  }

  /** Each costs hashes and an answer, or Diffie-Hellman, and its sender has proved nothing yet. */
  turnRequests(): void {
    if (!this.areRequestsDue) return;
    const count = Math.min(this.#requests.length, REQUESTS_AT_ONCE_MAX);
    for (let i = 0; i < count; i++) {
      const { datagram, host, port } = this.#requests[i]!;
      this.#receive(datagram, host, port);
    }
    this.#requests.copyWithin(0, count);
    this.#requests.length -= count;
    this.#requestsSinceMs = this.nowMs;
    if (this.#requests.length === 0) this.#isRequestUrgent = false;
  }

  #forgetHandled(): void {
    this.#queue.copyWithin(0, this.#next);
    this.#queue.length -= this.#next;
    this.#next = 0;
  }

  #receive(datagram: Uint8Array, host: string, port: number): void {
    // A hint is the shortest kind.
    if (datagram.length < HINT_BYTES || datagram.length % 8 !== 0) return this.#drops.count('short');
    // RFC 768: a sender that takes no answers. Sockets refuse to send there.
    if (port === 0) return this.#drops.count('wrong-address');
    const kind = datagram[OFFSET_KIND]!;
    // Hints look the same in every version, or nobody could be told that the versions differ.
    if (datagram[OFFSET_VERSION] !== WIRE_VERSION && kind !== KIND_HINT) {
      this.#drops.count('unknown-version');
      if (kind === KIND_REQUEST) this.#options.responder.hint('version', datagram, host, port, this.nowMs);
      return;
    }
    switch (kind) {
      case KIND_DATA:
        return this.#receiveData(datagram, host, port);
      case KIND_REQUEST:
        return this.#options.responder.onRequest(datagram, host, port, this.nowMs);
      case KIND_RESPONSE:
        return this.#options.initiator.onResponse(datagram, host, port, this.nowMs);
      case KIND_COOKIE:
        return this.#options.initiator.onCookie(datagram, host, port, this.nowMs);
      case KIND_HINT:
        return this.#options.initiator.onHint(datagram, host, port, this.nowMs);
      default:
        this.#drops.count('unknown-kind');
    }
  }

  /** Cheap checks first: a forgery that reaches the AEAD costs an exception. */
  #receiveData(datagram: Uint8Array, host: string, port: number): void {
    const region =
      datagram.byteOffset % 4 === 0
        ? regionOf(datagram.buffer, datagram.byteOffset, datagram.length)
        : regionOf(new Uint8Array(datagram).buffer);
    const tagBytes = this.#sealing.datagramTagBytes;
    if (datagram.length < HEADER_BYTES + PREAMBLE_BYTES + tagBytes) return this.#drops.count('short');
    const session = this.#options.sessions.find(readSessionIndex(region.words));
    if (session === undefined || session.state === 'initiating' || session.state === 'dead') {
      this.#drops.count('no-session');
      return this.#options.responder.hint('no-session', datagram, host, port, this.nowMs);
    }
    if (session.port !== port || session.host !== host) return this.#drops.count('wrong-address');
    if (session.isExpired(this.nowMs)) return this.#drops.count('session-expired');
    const valueBytes = readValueBytes(region.words);
    if (valueBytes % 8 !== 0 || HEADER_BYTES + valueBytes + PREAMBLE_BYTES + tagBytes > datagram.length) {
      return this.#drops.count('wrong-length');
    }
    const packetNumber = readPacketNumber(region.words);
    if (!Number.isSafeInteger(packetNumber) || !reservedIsZero(region.words)) return this.#drops.count('malformed');
    if (!session.window.isNew(packetNumber)) return this.#drops.count('replayed');
    const token = this.#openFree.pop();
    if (token === undefined) return this.#drops.count('receive-slots-full');
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
    if (session.state === 'dead') return this.#options.onDeadSessionIdle(session);
    if (!opened) {
      this.#drops.count('forged');
      if (++session.forgeries >= FORGERIES_MAX) this.#options.endSession(session);
      return;
    }
    if (!session.window.commit(this.#openNumbers[token]!)) return this.#drops.count('replayed');
    session.lastReceivedMs = this.nowMs;
    session.unansweredSinceMs = Infinity;
    if (session.state === 'half-open') this.#options.onFirstData(session);
    const controlWord = (HEADER_BYTES + readValueBytes(region.words)) >> 2;
    if (session.flight !== undefined) {
      session.flight.onAcknowledged(region.words[controlWord + 1]! >>> 0, this.nowMs);
      session.flight.onGranted(readCreditBytes(region.words), this.nowMs);
    }
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
    incoming.isSpent = false;
    this.#options.onMessages(incoming);
    if (incoming.isSpent && region.bytes.length >= RELEASE_BYTES_MIN) this.#options.release(region.bytes);
  }
}
