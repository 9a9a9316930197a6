import { CookieJar } from './cookie-jar.ts';
import type { HandshakesOptions } from './handshakes.ts';
import {
  TERMS_BYTES,
  mac1Of,
  prologueOf,
  readTerms,
  readU32,
  cookieKeyOf,
  withTerms,
  withHeader,
} from './handshakes.ts';
import {
  HANDSHAKE_GIVE_UP_MS,
  HANDSHAKE_RETRY_MS_MAX,
  HANDSHAKE_RETRY_MS_MIN,
  SILENCE_MS,
  WIRE_VERSION,
} from './limits.ts';
import type { Attempt } from './link.ts';
import { Link } from './link.ts';
import type { SecurityMode } from './mode.ts';
import { SECURITY_MODES } from './mode.ts';
import { Session } from './session.ts';
import type { HintReason } from './wire.ts';
import {
  COOKIE_BYTES,
  COOKIE_OFFSET,
  HINT_BYTES,
  HINT_ECHO_OFFSET,
  HINT_REASONS,
  KIND_REQUEST,
  MAC_BYTES,
  OFFSET_MODE,
  OFFSET_REASON,
  OFFSET_SENDER_SESSION,
  OFFSET_SESSION,
  REQUEST_HEADER_BYTES,
  RESPONSE_HEADER_BYTES,
} from './wire.ts';

/**
 * The side of handshakes.ts that has links: it sees to it that each has a session, and another one before that is too old
 * or when its peer does not answer.
 */
export class Initiator<P> {
  readonly #options: HandshakesOptions<P>;
  readonly #prologue: Uint8Array;
  readonly #links: Link<P>[] = [];

  constructor(options: HandshakesOptions<P>) {
    this.#options = options;
    this.#prologue = prologueOf(options.clusterId, options.mode);
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

  onSessionEnded(session: Session<P>): void {
    for (const link of this.#links) if (link.session === session) link.session = undefined;
  }

  close(): void {
    for (const link of this.#links) this.#abandon(link);
    this.#links.length = 0;
  }

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
    const initiator = crypto.initiate(link.staticKey, this.#prologue, withTerms(this.#options, payload));
    const request = withHeader(
      KIND_REQUEST,
      this.#options.mode,
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
        this.#options.crypto.mac(cookieKeyOf(link.cookie.bytes), request.subarray(0, -MAC_BYTES)),
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
    return this.#options.crypto.equal(mac1Of(request), echo.subarray(0, MAC_BYTES));
  }
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
