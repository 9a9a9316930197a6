/**
 * The order of keys: bytewise, a key before those that it begins. Keys lie in words, padded with zeros to 8 bytes, so
 * whole words are compared; bytes of a word come lowest first, as the machine is little-endian (net/bytes.ts).
 */

/** Negative, zero or positive, as the first key is before, the same as or behind the second. */
export function compareKeys(
  wordsA: Int32Array,
  wordA: number,
  keyBytesA: number,
  wordsB: Int32Array,
  wordB: number,
  keyBytesB: number,
): number {
  const wordCount = (Math.min(keyBytesA, keyBytesB) + 3) >> 2;
  for (let i = 0; i < wordCount; i++) {
    const a = wordsA[wordA + i]!;
    const b = wordsB[wordB + i]!;
    if (a !== b) return compareBytes(a, b);
  }
  // Behind the shorter one are zeros, which the longer one may have as bytes of its own: then its length decides.
  return keyBytesA - keyBytesB;
}

/** Order by the first byteCount bytes only; what is behind the end of a key counts as zeros. */
export function compareKeyStarts(
  wordsA: Int32Array,
  wordA: number,
  keyBytesA: number,
  wordsB: Int32Array,
  wordB: number,
  byteCount: number,
): number {
  const ownWords = (keyBytesA + 3) >> 2;
  const wordCount = (byteCount + 3) >> 2;
  for (let i = 0; i < wordCount; i++) {
    const a = i < ownWords ? wordsA[wordA + i]! : 0;
    const restBytes = byteCount - i * 4;
    const mask = restBytes >= 4 ? -1 : (1 << (restBytes * 8)) - 1;
    const difference = (a ^ wordsB[wordB + i]!) & mask;
    if (difference !== 0) return compareBytes(a & mask, wordsB[wordB + i]! & mask);
  }
  return 0;
}

/** Bytes that both keys begin with. */
export function commonBytes(
  wordsA: Int32Array,
  wordA: number,
  keyBytesA: number,
  wordsB: Int32Array,
  wordB: number,
  keyBytesB: number,
): number {
  const keyBytesMin = Math.min(keyBytesA, keyBytesB);
  const wordCount = (keyBytesMin + 3) >> 2;
  for (let i = 0; i < wordCount; i++) {
    const difference = wordsA[wordA + i]! ^ wordsB[wordB + i]!;
    if (difference !== 0) return Math.min(keyBytesMin, i * 4 + (firstByteShift(difference) >> 3));
  }
  return keyBytesMin;
}

/** Four bytes of a key from a byte on, zeros behind its end, as a number that is ordered as they are (signed). */
export function headOf(words: Int32Array, word: number, keyBytes: number, byteOffset: number): number {
  const wordCount = (keyBytes + 3) >> 2;
  const at = byteOffset >> 2;
  const shift = (byteOffset & 3) << 3;
  const low = at < wordCount ? words[word + at]! : 0;
  let bytes = low;
  if (shift !== 0) {
    const high = at + 1 < wordCount ? words[word + at + 1]! : 0;
    bytes = (low >>> shift) | (high << (32 - shift));
  }
  const swapped = (bytes << 24) | ((bytes & 0xff00) << 8) | ((bytes >>> 8) & 0xff00) | (bytes >>> 24);
  return swapped ^ 0x8000_0000;
}

/** Of two different words. */
function compareBytes(a: number, b: number): number {
  const shift = firstByteShift(a ^ b);
  return ((a >>> shift) & 0xff) - ((b >>> shift) & 0xff);
}

/** Bits before the first byte that is not zero. */
function firstByteShift(word: number): number {
  return (31 - Math.clz32(word & -word)) & 0x18;
}
