import { addressBlock } from './address-block.ts';
import {
  COOKIE_HALF_OPEN_MIN,
  COOKIE_HANDSHAKES_INTERVAL_MS,
  COOKIE_HANDSHAKES_MIN,
  COOKIE_INTERVAL_MS,
  COOKIE_SECRET_MS,
  HANDSHAKES_PER_HOST_MAX,
  PROVED_HANDSHAKES_MAX,
} from './limits.ts';
import type { HandshakeCrypto } from './sealing.ts';
import { TokenBucket } from './token-bucket.ts';

/**
 * Cookies prove that a peer receives at the address it claims (WireGuard whitepaper 5.3): a MAC of the address under a
 * secret that nobody else knows and that changes every two minutes, so that the responder remembers nothing. Whoever
 * has proved its address still gets only so many handshakes an interval. Diffie-Hellman for strangers is spread over
 * time, as those who have sessions wait while it is done.
 */
export class CookieJar {
  readonly #crypto: HandshakeCrypto;
  /** In plaintext any request could be spoofed and its answer, ten thousand times longer, go to a victim. */
  readonly #always: boolean;
  #secret: Uint8Array;
  #secretSinceMs = -Infinity;
  /** Handshakes without a cookie. */
  readonly #unproved = new TokenBucket(COOKIE_HANDSHAKES_MIN, COOKIE_HANDSHAKES_INTERVAL_MS);
  /** Further ones, whose hosts have returned one: all, and of the present interval by host. */
  readonly #proved = new TokenBucket(PROVED_HANDSHAKES_MAX, COOKIE_INTERVAL_MS);
  readonly #handshakesByHost = new Map<string, number>();
  #intervalSinceMs = -Infinity;
  #busyUntilMs = -Infinity;

  constructor(crypto: HandshakeCrypto, always: boolean) {
    this.#crypto = crypto;
    this.#always = always;
    this.#secret = crypto.randomBytes(32);
  }

  /** Whether this message 1 must carry a cookie. Once one must, all must, until none has come for a while. */
  isDue(halfOpenCount: number, nowMs: number): boolean {
    const isBusy = nowMs < this.#busyUntilMs || halfOpenCount >= COOKIE_HALF_OPEN_MIN || this.#unproved.isEmpty(nowMs);
    if (isBusy) this.#busyUntilMs = nowMs + COOKIE_HANDSHAKES_INTERVAL_MS;
    return this.#always || isBusy;
  }

  /** Whether Diffie-Hellman may be spent on another message 1 of this host; if so, it is counted. */
  allowsHandshake(host: string, nowMs: number): boolean {
    // Addresses are not proved here: a limit by host would let anybody use up another's.
    if (this.#unproved.take(nowMs)) return true;
    this.#turnInterval(nowMs);
    const block = addressBlock(host);
    const ofHost = this.#handshakesByHost.get(block) ?? 0;
    if (ofHost >= HANDSHAKES_PER_HOST_MAX || !this.#proved.take(nowMs)) return false;
    this.#handshakesByHost.set(block, ofHost + 1);
    return true;
  }

  /** The cookie of an address, 16 bytes. */
  bake(host: string, port: number, nowMs: number): Uint8Array {
    if (nowMs - this.#secretSinceMs >= COOKIE_SECRET_MS) {
      this.#secret = this.#crypto.randomBytes(32);
      this.#secretSinceMs = nowMs;
    }
    return this.#crypto.mac(this.#secret, new TextEncoder().encode(`${host} ${port}`));
  }

  /** Initiator: whether a received cookie is still worth sending. */
  static isFresh(receivedMs: number, nowMs: number): boolean {
    return nowMs - receivedMs < COOKIE_SECRET_MS;
  }

  #turnInterval(nowMs: number): void {
    if (nowMs - this.#intervalSinceMs < COOKIE_INTERVAL_MS) return;
    this.#intervalSinceMs = nowMs;
    this.#handshakesByHost.clear();
  }
}
