import { assert } from './assert.ts';
import { CookieJar } from './cookie-jar.ts';
import { HalfOpenSessions } from './half-open.ts';
import type { HandshakesOptions } from './handshakes.ts';
import {
  TERMS_BYTES,
  modeByteOf,
  prologueOf,
  mac1Of,
  readTerms,
  readU32,
  cookieKeyOf,
  withTerms,
  withHeader,
  writeU32,
} from './handshakes.ts';
import { HINTS_INTERVAL_MS, HINTS_MAX } from './limits.ts';
import type { HandshakeRequest } from './sealing.ts';
import { Session } from './session.ts';
import type { HintReason } from './wire.ts';
import {
  COOKIE_BYTES,
  COOKIE_OFFSET,
  HINT_BYTES,
  HINT_ECHO_OFFSET,
  HINT_REASONS,
  KIND_COOKIE,
  KIND_HINT,
  KIND_RESPONSE,
  MAC_BYTES,
  OFFSET_MODE,
  OFFSET_REASON,
  OFFSET_SENDER_SESSION,
  OFFSET_SESSION,
  REQUEST_HEADER_BYTES,
  RESPONSE_HEADER_BYTES,
} from './wire.ts';

/** Message 1 begins with the ephemeral key (Noise, 7.5). */
const EPHEMERAL_BYTES = 32;

/** The side of handshakes.ts that strangers ask: it bounds what they cost, and keeps their sessions half-open. */
export class Responder<P> {
  readonly #options: HandshakesOptions<P>;
  readonly #prologue: Uint8Array;
  readonly #modeByte: number;
  readonly #cookies: CookieJar;
  readonly #halfOpen = new HalfOpenSessions<P>();
  #hintCount = 0;
  #hintsSinceMs = 0;

  constructor(options: HandshakesOptions<P>) {
    this.#options = options;
    this.#modeByte = modeByteOf(options.mode);
    this.#prologue = prologueOf(options.clusterId, options.mode);
    this.#cookies = new CookieJar(options.crypto, options.mode === 'plaintext');
  }

  onHalfOpenEnded(session: Session<P>): void {
    this.#halfOpen.remove(session);
  }

  /**
   * Message 1 of somebody. First what costs little: it may be anybody's, from anywhere. Then Diffie-Hellman, of which there
   * is only so much; then who it is.
   */
  onRequest(datagram: Uint8Array, host: string, port: number, nowMs: number): void {
    const { crypto, drops } = this.#options;
    if (!this.#isMeant(datagram, host, port, nowMs) || !this.#isFromThere(datagram, host, port, nowMs)) return;
    const identity = this.#identityOf(datagram);
    const earlier = this.#halfOpen.responseTo(identity, host, port);
    if (earlier !== undefined) return this.#options.send(earlier, host, port);
    if (!this.#cookies.allowsHandshake(host, nowMs)) return drops.count('handshakes-limited');
    const request = crypto.receive(datagram.slice(REQUEST_HEADER_BYTES, -2 * MAC_BYTES), this.#prologue);
    if (request === undefined) return drops.count('handshake-failed');
    this.#admit(request, identity, datagram, host, port, nowMs);
  }

  /** Whether it is of this mode, and by somebody who knows this end's static key; if not, that was counted and hinted. */
  #isMeant(datagram: Uint8Array, host: string, port: number, nowMs: number): boolean {
    const { crypto, drops } = this.#options;
    if (datagram[OFFSET_MODE] !== this.#modeByte) {
      drops.count('wrong-mode');
      this.hint('mode', datagram, host, port, nowMs);
      return false;
    }
    if (datagram.length < REQUEST_HEADER_BYTES + crypto.requestOverheadBytes + TERMS_BYTES + 2 * MAC_BYTES) {
      drops.count('short');
      return false;
    }
    const mac1 = crypto.mac1(crypto.staticKey, datagram.subarray(0, -2 * MAC_BYTES));
    if (crypto.equal(mac1, mac1Of(datagram))) return true;
    drops.count('wrong-mac1');
    this.hint('unknown-key', datagram, host, port, nowMs);
    return false;
  }

  /** Whether its sender receives at its address, or need not prove that now; if not, it was sent a cookie. */
  #isFromThere(datagram: Uint8Array, host: string, port: number, nowMs: number): boolean {
    const { crypto, drops } = this.#options;
    if (!this.#cookies.isDue(this.#halfOpen.count, nowMs)) return true;
    const cookie = this.#cookies.bake(host, port, nowMs);
    const shown = datagram.subarray(-MAC_BYTES);
    // Who has no cookie says so by zeros: what a flood is made of costs one hash less.
    if (shown.some((byte) => byte !== 0)) {
      const mac2 = crypto.mac(cookieKeyOf(cookie), datagram.subarray(0, -MAC_BYTES));
      if (crypto.equal(mac2, shown)) return true;
    }
    drops.count('cookie-due');
    this.#sendCookie(cookie, datagram, host, port);
    return false;
  }

  /** Judges who it is; if the application takes it, and there is room, a half-open session answers. */
  #admit(
    request: HandshakeRequest,
    identity: string,
    datagram: Uint8Array,
    host: string,
    port: number,
    nowMs: number,
  ): void {
    const { application, drops, sessions, datagramBytes } = this.#options;
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
    const session = sessions.add((index) => new Session(index, 'half-open', host, port, datagramBytes, nowMs));
    if (session === undefined) {
      request.refuse();
      drops.count('sessions-full');
      return this.hint('full', datagram, host, port, nowMs);
    }
    const { message, keys } = request.respond(withTerms(this.#options, application.responsePayload()));
    session.establish(admission.peer, readU32(datagram, OFFSET_SESSION), keys, terms.creditBytes, terms.datagramBytes);
    const response = this.#responseOf(session, message, request.peerStaticKey);
    assert(response.length <= datagram.length, 'an answer is never longer than its request');
    this.#halfOpen.add(session, identity, response);
    this.#options.send(response, host, port);
  }

  #responseOf(session: Session<P>, message: Uint8Array, peerStaticKey: Uint8Array): Uint8Array {
    const { crypto, mode } = this.#options;
    const byteCount = RESPONSE_HEADER_BYTES + message.length + MAC_BYTES;
    const response = withHeader(KIND_RESPONSE, mode, session.peerIndex, byteCount);
    writeU32(response, OFFSET_SENDER_SESSION, session.index);
    response.set(message, RESPONSE_HEADER_BYTES);
    response.set(crypto.mac1(peerStaticKey, response.subarray(0, -MAC_BYTES)), byteCount - MAC_BYTES);
    return response;
  }

  /** What tells one message 1 from a copy: the ephemeral key; in plaintext, which has none, the sender's session. */
  #identityOf(request: Uint8Array): string {
    const ephemeral = Buffer.from(request.subarray(REQUEST_HEADER_BYTES, REQUEST_HEADER_BYTES + EPHEMERAL_BYTES));
    const session = this.#options.mode === 'plaintext' ? readU32(request, OFFSET_SESSION) : '';
    return `${ephemeral.toString('hex')} ${session}`;
  }

  #sendCookie(cookie: Uint8Array, request: Uint8Array, host: string, port: number): void {
    const datagram = withHeader(KIND_COOKIE, this.#options.mode, readU32(request, OFFSET_SESSION), COOKIE_BYTES);
    datagram.set(cookie, COOKIE_OFFSET);
    datagram.set(mac1Of(request), COOKIE_OFFSET + MAC_BYTES);
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
    const datagram = withHeader(KIND_HINT, this.#options.mode, index, HINT_BYTES);
    datagram[OFFSET_REASON] = HINT_REASONS.indexOf(reason);
    if (reason === 'no-session') writeU32(datagram, HINT_ECHO_OFFSET, readU32(cause, OFFSET_SESSION));
    else if (cause.length >= 2 * MAC_BYTES) datagram.set(mac1Of(cause), HINT_ECHO_OFFSET);
    this.#options.send(datagram, host, port);
  }
}
