import { alignUp } from '../../net/bytes.ts';

/** What all messages of the control part have in common (messages.ts): head, key, and how these are checked. */

/** Of every message with a key: its length. */
export const WORD_KEY_BYTES = 2;

/** Keys (design: limits). */
export const KEY_BYTES_MAX = 1_024;

/** So many parts has the longest envelope in the smallest datagrams (1,200 bytes), its key included. */
export const PARTS_MAX = 1_024;

export function typeOf(words: Int32Array, word: number): number {
  return words[word]! & 0xff;
}

export function flagsOf(words: Int32Array, word: number): number {
  return (words[word]! >>> 8) & 0xff;
}

export function slotOf(words: Int32Array, word: number): number {
  return words[word]! >>> 16;
}

export function writeHead(
  words: Int32Array,
  word: number,
  type: number,
  flags: number,
  slot: number,
  generation: number,
): void {
  words[word] = type | (flags << 8) | (slot << 16);
  words[word + 1] = generation;
}

/** The part left is a multiple of 8, so what fits unpadded fits padded (and padding a hostile length would overflow). */
export function envelopeFits(envelopeBytes: number, valueBytesLeft: number): boolean {
  return envelopeBytes >= 0 && envelopeBytes <= valueBytesLeft;
}

/** Bytes of a message with a key at `keyWord`, or -1: its length is out of bounds, or its padding is not zero. */
export function keyedBytes(
  words: Int32Array,
  word: number,
  bytesLeft: number,
  fixedBytes: number,
  keyWord: number,
): number {
  if (bytesLeft < fixedBytes) return -1;
  const keyBytes = words[word + WORD_KEY_BYTES]!;
  if (keyBytes < 1 || keyBytes > KEY_BYTES_MAX) return -1;
  const byteCount = fixedBytes + alignUp(keyBytes);
  if (byteCount > bytesLeft) return -1;
  return isZeroPadded(words, word + keyWord, keyBytes) ? byteCount : -1;
}

/** Keys are compared and hashed by word, so the padding behind them must be zero. */
export function isZeroPadded(words: Int32Array, keyWord: number, keyBytes: number): boolean {
  const lastWord = keyWord + (alignUp(keyBytes) >> 2) - 1;
  const used = keyBytes & 7;
  if (used === 0) return true;
  if (used === 4) return words[lastWord] === 0;
  if (used < 4) return words[lastWord] === 0 && words[lastWord - 1]! >>> (8 * used) === 0;
  return words[lastWord]! >>> (8 * (used - 4)) === 0;
}
