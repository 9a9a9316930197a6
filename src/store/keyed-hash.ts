import { assert } from '../../net/assert.ts';

/**
 * HalfSipHash with a secret seed, 32 bits out: the hash of the store's index. The seed is random a process, so that
 * nobody who chooses keys can make them pile up in one place of the table.
 *
 * It is a hash-table hash against flooding and no MAC: a 64-bit seed and 32 bits of output authenticate nothing, and
 * hash values must not leave the process, since enough of them could give the seed away.
 *
 * Source: J.-P. Aumasson and D. J. Bernstein, "SipHash: a fast short-input PRF" (INDOCRYPT 2012); HalfSipHash is its
 * variant with 32-bit words from the authors' reference implementation. One round a word and three at the end is what
 * the Linux kernel takes for hash tables (hsiphash, Documentation/security/siphash.rst, on 32-bit machines). JavaScript
 * has 32-bit integers only, which makes it a 32-bit machine here: everything below stays an int32 and allocates nothing.
 */
export const HASH_SEED_BYTES = 8;

const WORD_ROUNDS = 1;
const FINAL_ROUNDS = 3;

export class KeyedHash {
  private readonly seedLow: number;
  private readonly seedHigh: number;
  private readonly wordRounds: number;
  private readonly finalRounds: number;

  /** The numbers of rounds are parameters for the sake of the published test vectors, which are HalfSipHash-2-4's. */
  constructor(seed: Uint8Array, wordRounds = WORD_ROUNDS, finalRounds = FINAL_ROUNDS) {
    assert(seed.length === HASH_SEED_BYTES, 'the seed has 8 bytes');
    this.seedLow = seed[0]! | (seed[1]! << 8) | (seed[2]! << 16) | (seed[3]! << 24);
    this.seedHigh = seed[4]! | (seed[5]! << 8) | (seed[6]! << 16) | (seed[7]! << 24);
    this.wordRounds = wordRounds;
    this.finalRounds = finalRounds;
  }

  /**
   * An int32 over byteCount bytes that start at words[wordOffset]. The rest of the last word must be zero, as in every
   * key that was padded: it is hashed unmasked.
   */
  hashWords(words: Int32Array, wordOffset: number, byteCount: number): number {
    // The initial state is the seed, the upper half of it mixed with two constants of the reference ("lyge", "tedb").
    let v0 = this.seedLow;
    let v1 = this.seedHigh;
    let v2 = this.seedLow ^ 0x6c79_6765;
    let v3 = this.seedHigh ^ 0x7465_6462;

    const wholeWords = byteCount >> 2;
    for (let i = 0; i <= wholeWords; i++) {
      let m = 0;
      if (i < wholeWords) {
        m = words[wordOffset + i]!;
      } else {
        // The last block: what is left, and the length modulo 256 in the top byte.
        m = byteCount << 24;
        if ((byteCount & 3) !== 0) m |= words[wordOffset + i]!;
      }
      v3 ^= m;
      for (let round = 0; round < this.wordRounds; round++) {
        v0 = (v0 + v1) | 0;
        v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0;
        v0 = (v0 << 16) | (v0 >>> 16);
        v2 = (v2 + v3) | 0;
        v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2;
        v0 = (v0 + v3) | 0;
        v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0;
        v2 = (v2 + v1) | 0;
        v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2;
        v2 = (v2 << 16) | (v2 >>> 16);
      }
      v0 ^= m;
    }

    v2 ^= 0xff;
    for (let round = 0; round < this.finalRounds; round++) {
      v0 = (v0 + v1) | 0;
      v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0;
      v0 = (v0 << 16) | (v0 >>> 16);
      v2 = (v2 + v3) | 0;
      v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2;
      v0 = (v0 + v3) | 0;
      v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0;
      v2 = (v2 + v1) | 0;
      v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2;
      v2 = (v2 << 16) | (v2 >>> 16);
    }
    return v1 ^ v3;
  }
}
