import { COOKIE_HALF_OPEN_MIN, COOKIE_HANDSHAKES_MIN, COOKIE_INTERVAL_MS, COOKIE_SECRET_MS } from './limits.ts';
import type { HandshakeCrypto } from './sealing.ts';

/**
 * Cookies prove that a peer receives at the address it claims (WireGuard whitepaper 5.3): a MAC of the address under a
 * secret that nobody else knows and that changes every two minutes, so that the responder remembers nothing.
 */
export class CookieJar {
  readonly #crypto: HandshakeCrypto;
  /** In plaintext any request could be spoofed and its answer, ten thousand times longer, go to a victim. */
  readonly #always: boolean;
  #secret: Uint8Array;
  #secretSinceMs = -Infinity;
  #handshakeCount = 0;
  #handshakesSinceMs = 0;

  constructor(crypto: HandshakeCrypto, always: boolean) {
    this.#crypto = crypto;
    this.#always = always;
    this.#secret = crypto.randomBytes(32);
  }

  /** Whether message 1 must carry a cookie now. */
  isDue(halfOpenCount: number, nowMs: number): boolean {
    return (
      this.#always ||
      halfOpenCount >= COOKIE_HALF_OPEN_MIN ||
      (nowMs - this.#handshakesSinceMs < COOKIE_INTERVAL_MS && this.#handshakeCount >= COOKIE_HANDSHAKES_MIN)
    );
  }

  /** Diffie-Hellman is about to be spent on a message 1. */
  onHandshake(nowMs: number): void {
    if (nowMs - this.#handshakesSinceMs >= COOKIE_INTERVAL_MS) {
      this.#handshakesSinceMs = nowMs;
      this.#handshakeCount = 0;
    }
    this.#handshakeCount++;
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
}
