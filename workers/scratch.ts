/**
 * Fixed memory that values pass through on their way into and out of sodium-native. The library wants views of exactly
 * the right length, and making one costs 80 ns; copying 256 bytes into memory that has its views ready costs 40.
 */
import { assert } from '../net/assert.ts';
import type { Region } from '../net/bytes.ts';
import { allocateRegion, copyWords } from '../net/bytes.ts';

/** Above this a view is a small part of the call's cost (4 KiB: 4.8 us), and one is made each time. */
const CACHED_VIEW_BYTES_MAX = 4_096 + 16;

export class Scratch {
  readonly region: Region;
  readonly #views: (Uint8Array | undefined)[];

  constructor(byteCount: number) {
    this.region = allocateRegion(byteCount);
    this.#views = new Array<undefined>(Math.min(byteCount, CACHED_VIEW_BYTES_MAX) + 1).fill(undefined);
  }

  /** The first byteCount bytes. */
  view(byteCount: number): Uint8Array {
    if (byteCount >= this.#views.length) return this.region.bytes.subarray(0, byteCount);
    let view = this.#views[byteCount];
    if (view === undefined) {
      view = this.region.bytes.subarray(0, byteCount);
      this.#views[byteCount] = view;
    }
    return view;
  }

  /** Copies words[word ..) to the beginning: byteCount bytes, rounded up to words. */
  load(words: Int32Array, word: number, byteCount: number): void {
    const wordCount = (byteCount + 3) >> 2;
    assert(word + wordCount <= words.length, 'what is loaded lies within its region');
    copyWords(this.region.words, 0, words, word, wordCount);
  }

  /** Copies exactly the first byteCount bytes to region.words[word ..). */
  store(target: Region, word: number, byteCount: number): void {
    const wholeWords = byteCount >> 2;
    copyWords(target.words, word, this.region.words, 0, wholeWords);
    for (let i = wholeWords << 2; i < byteCount; i++) target.bytes[(word << 2) + i] = this.region.bytes[i]!;
  }

  /** Copies the 16 bytes at byteOffset to words[word ..). */
  storeTag(words: Int32Array, word: number, byteOffset: number): void {
    const bytes = this.region.bytes;
    for (let i = 0; i < 4; i++) {
      const at = byteOffset + (i << 2);
      words[word + i] = bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24);
    }
  }

  /** Copies 16 bytes from words[word ..) to byteOffset. */
  loadTag(words: Int32Array, word: number, byteOffset: number): void {
    const bytes = this.region.bytes;
    for (let i = 0; i < 4; i++) {
      const at = byteOffset + (i << 2);
      const tag = words[word + i]!;
      bytes[at] = tag;
      bytes[at + 1] = tag >> 8;
      bytes[at + 2] = tag >> 16;
      bytes[at + 3] = tag >> 24;
    }
  }
}
