import { assert } from '../../net/assert.ts';
import { alignUp, regionOf } from '../../net/bytes.ts';

/** Longest prefix that names a part of the keys. */
export const KEY_PREFIX_BYTES_MAX = 64;

/** The beginning of keys, compared with keys as messages and blocks hold them: in words, the rest of the last one unused. */
export class KeyPrefix {
  readonly bytes: Uint8Array;
  readonly #words: Int32Array;
  readonly #wholeWords: number;
  /** Of the word behind the whole ones; 0: the prefix ends on a word. */
  readonly #lastMask: number;

  constructor(bytes: Uint8Array) {
    assert(bytes.length <= KEY_PREFIX_BYTES_MAX, 'a prefix has at most 64 bytes');
    this.bytes = bytes.slice();
    const region = regionOf(new ArrayBuffer(alignUp(bytes.length)));
    region.bytes.set(bytes);
    this.#words = region.words;
    this.#wholeWords = bytes.length >> 2;
    // Little-endian, as all words here: the first bytes of a word are its low ones.
    this.#lastMask = (1 << (8 * (bytes.length & 3))) - 1;
  }

  get byteCount(): number {
    return this.bytes.length;
  }

  /** Whether the key of keyBytes from keyWords[keyWord] on begins with it. Allocates nothing. */
  isPrefixOf(keyWords: Int32Array, keyWord: number, keyBytes: number): boolean {
    if (keyBytes < this.bytes.length) return false;
    const words = this.#words;
    const whole = this.#wholeWords;
    for (let i = 0; i < whole; i++) if (keyWords[keyWord + i] !== words[i]) return false;
    return this.#lastMask === 0 || ((keyWords[keyWord + whole]! ^ words[whole]!) & this.#lastMask) === 0;
  }

  /** Whether all keys that begin with the other one begin with this one as well. */
  covers(other: KeyPrefix): boolean {
    const { bytes } = this;
    return bytes.length <= other.bytes.length && bytes.every((byte, i) => byte === other.bytes[i]);
  }
}
