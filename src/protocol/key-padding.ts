import { alignUp } from '../../net/bytes.ts';

/** Keys are compared and hashed by word, so the padding behind them must be zero. */
export function isZeroPadded(words: Int32Array, keyWord: number, keyBytes: number): boolean {
  const lastWord = keyWord + (alignUp(keyBytes) >> 2) - 1;
  const used = keyBytes & 7;
  if (used === 0) return true;
  if (used === 4) return words[lastWord] === 0;
  if (used < 4) return words[lastWord] === 0 && words[lastWord - 1]! >>> (8 * used) === 0;
  return words[lastWord]! >>> (8 * (used - 4)) === 0;
}
