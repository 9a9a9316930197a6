import { assert } from './assert.ts';
import { CookieJar } from './cookie-jar.ts';
import type { DropCounters } from './drops.ts';
import { HalfOpenSessions } from './half-open.ts';
import type { EndpointApplication } from './endpoint.ts';
import {
  DATAGRAM_BYTES_MIN,
  HANDSHAKE_GIVE_UP_MS,
  HANDSHAKE_RETRY_MS_MAX,
  HANDSHAKE_RETRY_MS_MIN,
  HINTS_INTERVAL_MS,
  HINTS_MAX,
  SILENCE_MS,
  WIRE_VERSION,
} from './limits.ts';
import type { SecurityMode } from './mode.ts';
import { SECURITY_MODES } from './mode.ts';
import type { HandshakeCrypto, HandshakeInitiator } from './sealing.ts';
import type { SessionTable } from './session.ts';
import { Session } from './session.ts';
import {
  COOKIE_BYTES,
  COOKIE_OFFSET,
  HINT_BYTES,
  HINT_ECHO_OFFSET,
  HINT_REASONS,
  KIND_COOKIE,
  KIND_HINT,
  KIND_REQUEST,
  KIND_RESPONSE,
  MAC_BYTES,
  OFFSET_KIND,
  OFFSET_MODE,
  OFFSET_REASON,
  OFFSET_SENDER_SESSION,
  OFFSET_SESSION,
  OFFSET_VERSION,
  REQUEST_HEADER_BYTES,
  RESPONSE_HEADER_BYTES,
} from './wire.ts';
import type { HintReason } from './wire.ts';

/**
 * How sessions come to be: Noise IK between a link (initiator) and a peer that answers, with WireGuard's mac1 before
 * any Diffie-Hellman and a cookie when it is busy (always in plaintext, so that a spoofed address gets no data).
 *
 *   initiator                                   responder
 *   REQUEST (mac1)            ->                mac1 checked; cookie due?  -> COOKIE
 *   REQUEST (mac1, mac2)      ->                message 1 read, certificate judged, half-open session
 *                             <-                RESPONSE
 *   session live; empty DATA  ->                first valid packet: session live, older one of the same peer retires
 *
 * Nothing acts on message 1 alone, it can be a replay. While a session is renewed the old one serves on.
 */

/** Our part of both payloads, before the application's: largest datagram u32, credit u32. */
const TERMS_BYTES = 8;
/** Message 1 begins with the ephemeral key (Noise, 7.5). */
const EPHEMERAL_BYTES = 32;

/** A peer that this endpoint keeps a session with. */
export class Link<P> {
  readonly host: string;
  readonly port: number;
  readonly staticKey: Uint8Array;
  /** The session to send on; undefined until the first handshake is done. */
  session: Session<P> | undefined;
  /** Latest reason why the peer would not have us: a clear-text hint or our own judgement; for people. */
  refusal: string | undefined;
  attempt: Attempt<P> | undefined;
  begunMs = -Infinity;
  cookie: { readonly bytes: Uint8Array; readonly receivedMs: number } | undefined;

  constructor(host: string, port: number, staticKey: Uint8Array) {
    this.host = host;
    this.port = port;
    this.staticKey = staticKey;
  }
}

/** A handshake under way. */
interface Attempt<P> {
  readonly session: Session<P>;
  readonly initiator: HandshakeInitiator;
  /** The application's in the request. */
  readonly payload: Uint8Array;
  /** The whole request; mac2 is filled in when a cookie comes. */
  readonly request: Uint8Array;
  nextSendMs: number;
  retryMs: number;
  /** A cookie that answers the last request is sent back at once, but once only: cookies can be replayed. */
  takesCookie: boolean;
}

export interface HandshakesOptions<P> {
  readonly mode: SecurityMode;
  readonly clusterId: Uint8Array;
  readonly crypto: HandshakeCrypto;
  readonly application: EndpointApplication<P>;
  readonly drops: DropCounters;
  readonly sessions: SessionTable<P>;
  readonly datagramBytes: number;
  /** What may be in flight to this end, from one more peer. */
  creditBytes(): number;
  send(bytes: Uint8Array, host: string, port: number): void;
  makeRoom(): void;
  onEstablished(link: Link<P>, session: Session<P>): void;
  endSession(session: Session<P>): void;
}

export class Handshakes<P> {
  readonly #options: HandshakesOptions<P>;
  readonly #prologue: Uint8Array;
  readonly #modeByte: number;
  readonly #links: Link<P>[] = [];
  readonly #cookies: CookieJar;
  readonly #halfOpen = new HalfOpenSessions<P>();
  #hintCount = 0;
  #hintsSinceMs = 0;

  constructor(options: HandshakesOptions<P>) {
    this.#options = options;
    this.#modeByte = SECURITY_MODES.indexOf(options.mode);
    this.#prologue = Uint8Array.of(...options.clusterId, WIRE_VERSION, this.#modeByte);
    this.#cookies = new CookieJar(options.crypto, options.mode === 'plaintext');
  }

  openLink(host: string, port: number, staticKey: Uint8Array): Link<P> {
    const link = new Link<P>(host, port, staticKey);
    this.#links.push(link);
    return link;
  }

  /** When links' sessions take again what they refused; Infinity when they refused nothing. */
  roomAtMs(nowMs: number): number {
    let atMs = Infinity;
    for (const { session } of this.#links) atMs = Math.min(atMs, session?.flight?.roomAtMs(nowMs) ?? Infinity);
    return atMs;
  }

  tick(nowMs: number): void {
    for (const link of this.#links) this.#tickLink(link, nowMs);
  }

  onHalfOpenEnded(session: Session<P>): void {
    this.#halfOpen.remove(session);
  }

  onSessionEnded(session: Session<P>): void {
    for (const link of this.#links) if (link.session === session) link.session = undefined;
  }

  close(): void {
    for (const link of this.#links) this.#abandon(link);
    this.#links.length = 0;
  }

  // -- initiator --------------------------------------------------------------------------------------------------

  #tickLink(link: Link<P>, nowMs: number): void {
    if (link.attempt === undefined) {
      const session = link.session;
      const wanted =
        session === undefined || session.needsRenewal(nowMs) || nowMs - session.unansweredSinceMs >= SILENCE_MS;
      // Hints are unauthenticated: they must not make us spend handshakes without bound.
      if (wanted && nowMs - link.begunMs >= HANDSHAKE_RETRY_MS_MIN) this.#begin(link, nowMs);
      return;
    }
    // The session's age counts from its beginning: one that comes about minutes later would expire at once.
    if (nowMs - link.attempt.session.createdMs >= HANDSHAKE_GIVE_UP_MS) return this.#abandon(link);
    if (nowMs < link.attempt.nextSendMs) return;
    // What it says of us has changed, a certificate was renewed: the old one may be refused by now.
    if (Buffer.compare(link.attempt.payload, this.#options.application.requestPayload()) !== 0) {
      return this.#abandon(link);
    }
    link.attempt.takesCookie = true;
    this.#sendRequest(link, link.attempt, nowMs);
  }

  #begin(link: Link<P>, nowMs: number): void {
    const { sessions, crypto, application, datagramBytes } = this.#options;
    link.begunMs = nowMs;
    this.#options.makeRoom();
    const session = sessions.add(
      (index) => new Session(index, 'initiating', link.host, link.port, datagramBytes, nowMs),
    );
    if (session === undefined) return this.#options.drops.count('sessions-full');
    const payload = application.requestPayload();
    const initiator = crypto.initiate(link.staticKey, this.#prologue, this.#withTerms(payload));
    const request = this.#header(
      KIND_REQUEST,
      session.index,
      REQUEST_HEADER_BYTES + initiator.message.length + 2 * MAC_BYTES,
    );
    request.set(initiator.message, REQUEST_HEADER_BYTES);
    request.set(crypto.mac1(link.staticKey, request.subarray(0, -2 * MAC_BYTES)), request.length - 2 * MAC_BYTES);
    link.attempt = {
      session,
      initiator,
      payload,
      request,
      nextSendMs: nowMs,
      retryMs: HANDSHAKE_RETRY_MS_MIN,
      takesCookie: true,
    };
    this.#sendRequest(link, link.attempt, nowMs);
  }

  #sendRequest(link: Link<P>, attempt: Attempt<P>, nowMs: number): void {
    const { request } = attempt;
    if (link.cookie !== undefined && CookieJar.isFresh(link.cookie.receivedMs, nowMs)) {
      request.set(
        this.#options.crypto.mac(widen(link.cookie.bytes), request.subarray(0, -MAC_BYTES)),
        request.length - MAC_BYTES,
      );
    }
    this.#options.send(request, link.host, link.port);
    attempt.nextSendMs = nowMs + attempt.retryMs;
    attempt.retryMs = Math.min(attempt.retryMs * 2, HANDSHAKE_RETRY_MS_MAX);
  }

  onResponse(datagram: Uint8Array, host: string, port: number, nowMs: number): void {
    const { crypto, application, drops } = this.#options;
    const found = this.#attemptOf(datagram, host, port);
    if (found === undefined) return drops.count('no-handshake');
    const { link, attempt } = found;
    if (datagram.length < RESPONSE_HEADER_BYTES + MAC_BYTES) return drops.count('short');
    const macOffset = datagram.length - MAC_BYTES;
    if (!crypto.equal(crypto.mac1(crypto.staticKey, datagram.subarray(0, macOffset)), datagram.subarray(macOffset))) {
      return drops.count('wrong-mac1');
    }
    const finished = attempt.initiator.finish(datagram.slice(RESPONSE_HEADER_BYTES, macOffset));
    if (finished === undefined) return drops.count('handshake-failed');
    link.attempt = undefined;
    const { session } = attempt;
    const terms = readTerms(finished.payload);
    const admission =
      terms === undefined
        ? ({ ok: false, reason: 'its answer has no terms' } as const)
        : application.accept(link, finished.payload.subarray(TERMS_BYTES));
    if (terms === undefined || !admission.ok) {
      link.refusal = admission.ok ? undefined : admission.reason;
      drops.count('certificate-refused');
      session.sendKey = finished.keys.sendKey;
      session.receiveKey = finished.keys.receiveKey;
      return this.#options.endSession(session);
    }
    session.establish(
      admission.peer,
      readU32(datagram, OFFSET_SENDER_SESSION),
      finished.keys,
      terms.creditBytes,
      terms.datagramBytes,
    );
    session.lastReceivedMs = nowMs;
    link.refusal = undefined;
    this.#options.onEstablished(link, session);
  }

  onCookie(datagram: Uint8Array, host: string, port: number, nowMs: number): void {
    const found = this.#attemptOf(datagram, host, port);
    if (found === undefined || datagram.length !== COOKIE_BYTES) return this.#options.drops.count('no-handshake');
    const { link, attempt } = found;
    if (!attempt.takesCookie || !this.#echoes(attempt.request, datagram.subarray(COOKIE_OFFSET + MAC_BYTES))) {
      return this.#options.drops.count('no-handshake');
    }
    attempt.takesCookie = false;
    link.cookie = { bytes: datagram.slice(COOKIE_OFFSET, COOKIE_OFFSET + MAC_BYTES), receivedMs: nowMs };
    this.#sendRequest(link, attempt, nowMs);
  }

  onHint(datagram: Uint8Array, host: string, port: number, nowMs: number): void {
    const reason = HINT_REASONS[datagram[OFFSET_REASON]!];
    const echo = datagram.subarray(HINT_ECHO_OFFSET, HINT_BYTES);
    if (reason === 'no-session') {
      // The peer has forgotten the session: a handshake is begun while the session stays as it is.
      const link = this.#links.find(
        (l) => l.session?.peerIndex === readU32(echo, 0) && l.host === host && l.port === port,
      );
      if (link === undefined) return this.#options.drops.count('no-handshake');
      link.session!.unansweredSinceMs = Math.min(link.session!.unansweredSinceMs, nowMs - SILENCE_MS);
      return;
    }
    const found = this.#attemptOf(datagram, host, port);
    if (found === undefined || reason === undefined || !this.#echoes(found.attempt.request, echo)) {
      return this.#options.drops.count('no-handshake');
    }
    found.link.refusal = refusalText(reason, this.#options.mode, datagram);
  }

  #abandon(link: Link<P>): void {
    if (link.attempt === undefined) return;
    link.attempt.initiator.erase();
    this.#options.endSession(link.attempt.session);
    link.attempt = undefined;
  }

  #attemptOf(datagram: Uint8Array, host: string, port: number): { link: Link<P>; attempt: Attempt<P> } | undefined {
    const index = readU32(datagram, OFFSET_SESSION);
    for (const link of this.#links) {
      const { attempt } = link;
      if (attempt?.session.index === index && link.host === host && link.port === port) return { link, attempt };
    }
    return undefined;
  }

  /** Whether a clear-text answer quotes the mac1 of our request: its sender has seen the request. */
  #echoes(request: Uint8Array, echo: Uint8Array): boolean {
    return this.#options.crypto.equal(request.subarray(-2 * MAC_BYTES, -MAC_BYTES), echo.subarray(0, MAC_BYTES));
  }

  // -- responder --------------------------------------------------------------------------------------------------

  onRequest(datagram: Uint8Array, host: string, port: number, nowMs: number): void {
    const { crypto, application, drops, sessions } = this.#options;
    if (datagram[OFFSET_MODE] !== this.#modeByte) {
      drops.count('wrong-mode');
      return this.hint('mode', datagram, host, port, nowMs);
    }
    if (datagram.length < REQUEST_HEADER_BYTES + crypto.requestOverheadBytes + TERMS_BYTES + 2 * MAC_BYTES) {
      return drops.count('short');
    }
    const mac1Offset = datagram.length - 2 * MAC_BYTES;
    const mac2Offset = datagram.length - MAC_BYTES;
    const mac1 = crypto.mac1(crypto.staticKey, datagram.subarray(0, mac1Offset));
    if (!crypto.equal(mac1, datagram.subarray(mac1Offset, mac2Offset))) {
      drops.count('wrong-mac1');
      return this.hint('unknown-key', datagram, host, port, nowMs);
    }
    if (this.#cookies.isDue(this.#halfOpen.count, nowMs)) {
      const cookie = this.#cookies.bake(host, port, nowMs);
      // Who has no cookie says so by zeros: what a flood is made of costs one hash less.
      const isShown = datagram.subarray(mac2Offset).some((byte) => byte !== 0);
      if (!isShown || !this.#isMac2(cookie, datagram, mac2Offset)) {
        drops.count('cookie-due');
        return this.#sendCookie(cookie, datagram, host, port);
      }
    }
    const identity = this.#identityOf(datagram);
    const earlier = this.#halfOpen.responseTo(identity, host, port);
    if (earlier !== undefined) return this.#options.send(earlier, host, port);
    if (!this.#cookies.allowsHandshake(host, nowMs)) return drops.count('handshakes-limited');
    const request = crypto.receive(datagram.slice(REQUEST_HEADER_BYTES, mac1Offset), this.#prologue);
    if (request === undefined) return drops.count('handshake-failed');
    const terms = readTerms(request.payload);
    const admission =
      terms === undefined ? undefined : application.admit(request.payload.subarray(TERMS_BYTES), request.peerStaticKey);
    if (terms === undefined || admission === undefined || !admission.ok) {
      request.refuse();
      drops.count('certificate-refused');
      return this.hint('certificate', datagram, host, port, nowMs);
    }
    const surplus = this.#halfOpen.surplusFor(host);
    if (surplus !== undefined) {
      drops.count('half-open-full');
      this.#options.endSession(surplus);
    }
    this.#options.makeRoom();
    const { datagramBytes } = this.#options;
    const session = sessions.add((index) => new Session(index, 'half-open', host, port, datagramBytes, nowMs));
    if (session === undefined) {
      request.refuse();
      drops.count('sessions-full');
      return this.hint('full', datagram, host, port, nowMs);
    }
    const { message, keys } = request.respond(this.#withTerms(application.responsePayload()));
    session.establish(admission.peer, readU32(datagram, OFFSET_SESSION), keys, terms.creditBytes, terms.datagramBytes);
    const response = this.#header(KIND_RESPONSE, session.peerIndex, RESPONSE_HEADER_BYTES + message.length + MAC_BYTES);
    writeU32(response, OFFSET_SENDER_SESSION, session.index);
    response.set(message, RESPONSE_HEADER_BYTES);
    response.set(crypto.mac1(request.peerStaticKey, response.subarray(0, -MAC_BYTES)), response.length - MAC_BYTES);
    assert(response.length <= datagram.length, 'an answer is never longer than its request');
    this.#halfOpen.add(session, identity, response);
    this.#options.send(response, host, port);
  }

  #isMac2(cookie: Uint8Array, datagram: Uint8Array, mac2Offset: number): boolean {
    const { crypto } = this.#options;
    const mac2 = crypto.mac(widen(cookie), datagram.subarray(0, mac2Offset));
    return crypto.equal(mac2, datagram.subarray(mac2Offset));
  }

  /** What tells one message 1 from a copy: the ephemeral key; in plaintext, which has none, the sender's session. */
  #identityOf(request: Uint8Array): string {
    const ephemeral = Buffer.from(request.subarray(REQUEST_HEADER_BYTES, REQUEST_HEADER_BYTES + EPHEMERAL_BYTES));
    const session = this.#options.mode === 'plaintext' ? readU32(request, OFFSET_SESSION) : '';
    return `${ephemeral.toString('hex')} ${session}`;
  }

  #sendCookie(cookie: Uint8Array, request: Uint8Array, host: string, port: number): void {
    const datagram = this.#header(KIND_COOKIE, readU32(request, OFFSET_SESSION), COOKIE_BYTES);
    datagram.set(cookie, COOKIE_OFFSET);
    datagram.set(request.subarray(-2 * MAC_BYTES, -MAC_BYTES), COOKIE_OFFSET + MAC_BYTES);
    this.#options.send(datagram, host, port);
  }

  /** Tells a peer in clear why it is refused: bounded in rate, never longer than what it answers. */
  hint(reason: HintReason, cause: Uint8Array, host: string, port: number, nowMs: number): void {
    if (nowMs - this.#hintsSinceMs >= HINTS_INTERVAL_MS) {
      this.#hintsSinceMs = nowMs;
      this.#hintCount = 0;
    }
    if (++this.#hintCount > HINTS_MAX || cause.length < HINT_BYTES) return;
    const index = reason === 'no-session' ? 0 : readU32(cause, OFFSET_SESSION);
    const datagram = this.#header(KIND_HINT, index, HINT_BYTES);
    datagram[OFFSET_REASON] = HINT_REASONS.indexOf(reason);
    if (reason === 'no-session') writeU32(datagram, HINT_ECHO_OFFSET, readU32(cause, OFFSET_SESSION));
    else if (cause.length >= 2 * MAC_BYTES) datagram.set(cause.subarray(-2 * MAC_BYTES, -MAC_BYTES), HINT_ECHO_OFFSET);
    this.#options.send(datagram, host, port);
  }

  // -- both -------------------------------------------------------------------------------------------------------

  #header(kind: number, sessionIndex: number, byteCount: number): Uint8Array {
    const datagram = new Uint8Array(byteCount);
    datagram[OFFSET_KIND] = kind;
    datagram[OFFSET_VERSION] = WIRE_VERSION;
    datagram[OFFSET_MODE] = this.#modeByte;
    writeU32(datagram, OFFSET_SESSION, sessionIndex);
    return datagram;
  }

  #withTerms(payload: Uint8Array): Uint8Array {
    const bytes = new Uint8Array(TERMS_BYTES + payload.length);
    writeU32(bytes, 0, this.#options.datagramBytes);
    writeU32(bytes, 4, this.#options.creditBytes());
    bytes.set(payload, TERMS_BYTES);
    return bytes;
  }
}

function readTerms(payload: Uint8Array): { datagramBytes: number; creditBytes: number } | undefined {
  if (payload.length < TERMS_BYTES) return undefined;
  const datagramBytes = readU32(payload, 0);
  if (datagramBytes < DATAGRAM_BYTES_MIN || datagramBytes % 8 !== 0) return undefined;
  return { datagramBytes, creditBytes: readU32(payload, 4) };
}

/** A 16-byte cookie as a 32-byte key. */
function widen(cookie: Uint8Array): Uint8Array {
  const key = new Uint8Array(32);
  key.set(cookie);
  return key;
}

function refusalText(reason: HintReason, mode: SecurityMode, hint: Uint8Array): string {
  switch (reason) {
    case 'mode':
      return `it speaks mode ${SECURITY_MODES[hint[OFFSET_MODE]!] ?? 'unknown'}, this side ${mode}: use the cluster directory that it was started with`;
    case 'version':
      return `it speaks another wire version than ${WIRE_VERSION}: run the same release on both sides`;
    case 'unknown-key':
      return 'it has another static key: it belongs to another cluster, or was initialised anew; copy its cluster directory';
    case 'certificate':
      return 'it refuses our certificate: another cluster, or expired; make a new cluster directory';
    case 'full':
      return 'it has no room for another session: try again later';
    case 'no-session':
      return 'it has forgotten the session';
    default:
      return reason satisfies never;
  }
}

function readU32(bytes: Uint8Array, offset: number): number {
  return (bytes[offset]! | (bytes[offset + 1]! << 8) | (bytes[offset + 2]! << 16) | (bytes[offset + 3]! << 24)) >>> 0;
}

function writeU32(bytes: Uint8Array, offset: number, value: number): void {
  bytes[offset] = value;
  bytes[offset + 1] = value >>> 8;
  bytes[offset + 2] = value >>> 16;
  bytes[offset + 3] = value >>> 24;
}
