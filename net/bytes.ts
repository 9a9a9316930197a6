import { assert } from './assert.ts';

/**
 * Memory seen as bytes and as 32-bit words at once. Messages, keys and values start on 8-byte boundaries and are padded
 * to 8 bytes, so that the hot path reads fields and copies by word: no DataView, no subarray, no allocation.
 */
export interface Region {
  readonly bytes: Uint8Array;
  /** The same memory; words[i] covers bytes[4i .. 4i+4). Little endian, asserted below. */
  readonly words: Int32Array;
}

assert(
  new Uint8Array(new Uint32Array([1]).buffer)[0] === 1,
  'Avocado runs on little-endian machines only: words are read in place',
);

/** Messages, keys in messages and values in datagrams are padded to multiples of 8 bytes. */
export function alignUp(byteCount: number): number {
  assert(byteCount >= 0 && byteCount <= 0x7fff_fff8, 'lengths from outside are bounded before they are padded');
  return (byteCount + 7) & ~7;
}

export function regionOf(buffer: ArrayBufferLike, byteOffset = 0, byteCount = buffer.byteLength - byteOffset): Region {
  assert(byteOffset % 4 === 0, 'a region starts on a word');
  return {
    bytes: new Uint8Array(buffer, byteOffset, byteCount),
    words: new Int32Array(buffer, byteOffset, byteCount >> 2),
  };
}

export function allocateRegion(byteCount: number): Region {
  return regionOf(new ArrayBuffer(alignUp(byteCount)));
}

/** Memory that other threads of the process can be given to see. */
export function allocateShared(byteCount: number): Region {
  return regionOf(new SharedArrayBuffer(alignUp(byteCount)));
}

/**
 * Above this a native set() is far cheaper than a loop, but it allocates a view, which a message of usual size must not.
 * Measured for 72 words: eight a round 60 ns, set 57, one a round 128; for 256 words: 201, 59, 436.
 */
const COPY_LOOP_WORDS_MAX = 128;

/** Copies words; source and target must not overlap. */
export function copyWords(
  target: Int32Array,
  targetWord: number,
  source: Int32Array,
  sourceWord: number,
  wordCount: number,
): void {
  if (wordCount > COPY_LOOP_WORDS_MAX) {
    target.set(source.subarray(sourceWord, sourceWord + wordCount), targetWord);
    return;
  }
  const eights = wordCount & ~7;
  let i = 0;
  for (; i < eights; i += 8) {
    const from = sourceWord + i;
    const to = targetWord + i;
    target[to] = source[from]!;
    target[to + 1] = source[from + 1]!;
    target[to + 2] = source[from + 2]!;
    target[to + 3] = source[from + 3]!;
    target[to + 4] = source[from + 4]!;
    target[to + 5] = source[from + 5]!;
    target[to + 6] = source[from + 6]!;
    target[to + 7] = source[from + 7]!;
  }
  for (; i < wordCount; i++) target[targetWord + i] = source[sourceWord + i]!;
}

/** Unsigned 64-bit fields that stay below 2^53 are kept as two words: low, high. */
export function readU53(words: Int32Array, word: number): number {
  return (words[word + 1]! >>> 0) * 0x1_0000_0000 + (words[word]! >>> 0);
}

export function writeU53(words: Int32Array, word: number, value: number): void {
  words[word] = value | 0;
  words[word + 1] = Math.floor(value / 0x1_0000_0000) | 0;
}

/**
 * Copies bytes by words and pads with zeros to 8 bytes: nothing that lay beside the source or in the target before
 * crosses the border.
 */
export function copyPadded(
  target: Int32Array,
  targetWord: number,
  source: Int32Array,
  sourceWord: number,
  byteCount: number,
): void {
  const wholeWords = byteCount >> 2;
  copyWords(target, targetWord, source, sourceWord, wholeWords);
  const endWord = targetWord + (alignUp(byteCount) >> 2);
  let word = targetWord + wholeWords;
  const restBits = (byteCount & 3) << 3;
  if (restBits !== 0) target[word++] = source[sourceWord + wholeWords]! & ((1 << restBits) - 1);
  if (word < endWord) target[word] = 0;
}

export function equalWords(a: Int32Array, aWord: number, b: Int32Array, bWord: number, wordCount: number): boolean {
  for (let i = 0; i < wordCount; i++) if (a[aWord + i] !== b[bWord + i]) return false;
  return true;
}
