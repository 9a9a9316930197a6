import { bytesOfHex } from '../hex.ts';
import { isEqual, keyedHash, randomBytes } from '../../../workers/signing.ts';

/**
 * Nonces that CAS gives to whoever asks. A nonce says by itself when it was made and that it was made here (a keyed
 * hash), so asking for any number of them fills no memory; only those that were used are remembered, until they expire.
 *
 *     offset  bytes  field
 *          0      8  time, milliseconds
 *          8      8  random
 *         16     16  keyed BLAKE2b over the rest, cut
 */
export const NONCE_BYTES = 32;

/** An enclave on a slow host asks its LAS in between; the vendor's path takes seconds. */
export const NONCE_LIFE_MS = 60_000;
/** Each stands for a verified report or voucher: that many in a minute are more than one CAS verifies. */
const USED_MAX = 65_536;

const RANDOM_OFFSET = 8;
const MAC_OFFSET = 16;
const KEY_BYTES = 32;

export type NonceVerdict = 'fresh' | 'foreign' | 'expired' | 'used' | 'full';

export class Nonces {
  readonly #key = randomBytes(KEY_BYTES);
  /** Hex of the nonce -> when it may be forgotten. In the order of use, which is nearly that of expiry. */
  readonly #used = new Map<string, number>();
  /** The latest time seen: what was forgotten by a clock that was ahead must not be good again when it is put back. */
  #latestMs = 0;

  /** Hex. */
  issue(nowMs: number): string {
    const nonce = new Uint8Array(NONCE_BYTES);
    this.#latestMs = Math.max(this.#latestMs, nowMs);
    new DataView(nonce.buffer).setBigUint64(0, BigInt(Math.floor(this.#latestMs)), true);
    nonce.set(randomBytes(MAC_OFFSET - RANDOM_OFFSET), RANDOM_OFFSET);
    nonce.set(this.#mac(nonce), MAC_OFFSET);
    return Buffer.from(nonce).toString('hex');
  }

  /** Whether it would be taken, without using it up. @param nonce Hex of 32 bytes. */
  check(nonce: string, clockMs: number): NonceVerdict {
    this.#latestMs = Math.max(this.#latestMs, clockMs);
    const nowMs = this.#latestMs;
    const bytes = bytesOfHex(nonce);
    if (bytes.length !== NONCE_BYTES || !isEqual(bytes.subarray(MAC_OFFSET), this.#mac(bytes))) return 'foreign';
    const madeMs = Number(new DataView(bytes.buffer).getBigUint64(0, true));
    if (nowMs > madeMs + NONCE_LIFE_MS) return 'expired';
    if (this.#used.has(nonce)) return 'used';
    this.#forget(nowMs);
    return this.#used.size < USED_MAX ? 'fresh' : 'full';
  }

  /** At most once 'fresh' for each nonce. */
  use(nonce: string, nowMs: number): NonceVerdict {
    const verdict = this.check(nonce, nowMs);
    // From the time of use: a nonce is never forgotten while it is valid.
    if (verdict === 'fresh') this.#used.set(nonce, this.#latestMs + NONCE_LIFE_MS);
    return verdict;
  }

  /** How long ago a nonce was made, for one that was found fresh. */
  ageMs(nonce: string, clockMs: number): number {
    this.#latestMs = Math.max(this.#latestMs, clockMs);
    return this.#latestMs - Number(new DataView(bytesOfHex(nonce).buffer).getBigUint64(0, true));
  }

  #forget(nowMs: number): void {
    for (const [nonce, untilMs] of this.#used) {
      if (untilMs >= nowMs) return;
      this.#used.delete(nonce);
    }
  }

  #mac(nonce: Uint8Array): Uint8Array {
    return keyedHash(nonce.subarray(0, MAC_OFFSET), this.#key).subarray(0, NONCE_BYTES - MAC_OFFSET);
  }
}
