import { alignUp } from '../../net/bytes.ts';
import { VALUE_TAG_BYTES } from '../../workers/sealing.ts';
import { KEY_BYTES_MAX, flagsOf, isZeroPadded } from './message-fields.ts';

/**
 * Messages of scans (docs/wire.md): the keys of a range in their order, with stamps, and values as far as they fit.
 *
 *     SCAN        ->   range, direction, entries wanted, whether values are
 *     SCAN_REPLY  <-   entries in that direction from the range's end nearest to it, deleted keys among them
 */
export const MESSAGE_SCAN = 32;
export const MESSAGE_SCAN_REPLY = 33;

/** SCAN: send values, too. The same bit as FLAG_VALUE of READ. */
export const FLAG_SCAN_VALUES = 1;
/** SCAN: from the end of the range down. */
export const FLAG_SCAN_REVERSE = 2;
/** SCAN: the start itself does not belong to the range. */
export const FLAG_SCAN_AFTER = 4;
/** SCAN_REPLY: the range goes on behind the last entry; there is at least one. */
export const FLAG_SCAN_MORE = 1;
/** SCAN_REPLY: this replica keeps no ordered view. */
export const FLAG_SCANS_OFF = 2;

/**
 * SCAN: start bytes u32 (0: from the first key), end bytes u32 (0: up to the last key), entries wanted u32, 0 u32; then
 * start and end, padded each. The end does not belong to the range.
 */
export const WORD_SCAN_START_BYTES = 2;
export const WORD_SCAN_END_BYTES = 3;
export const WORD_SCAN_ENTRIES = 4;
export const WORD_SCAN_START = 6;
export const SCAN_BYTES = 24;
/** More than the largest datagram holds. */
export const SCAN_ENTRIES_MAX = 4_096;

/** SCAN_REPLY: bytes of entries u32, bytes in the value part u32; then the entries. */
export const WORD_SCAN_ENTRY_BYTES = 2;
export const WORD_SCAN_VALUE_BYTES = 3;
export const WORD_SCAN_FIRST_ENTRY = 4;
export const SCAN_REPLY_BYTES = 16;

/**
 * Entry: key bytes and flags u16, envelope bytes u16, rmw u32, counter u64, writer u64; the tag (16) when there is a value;
 * the key, padded. Envelopes lie in the value part, in the order of the entries, each padded.
 */
export const WORD_ENTRY_RMW = 1;
export const WORD_ENTRY_COUNTER = 2;
export const WORD_ENTRY_WRITER = 4;
export const WORD_ENTRY_TAG = 6;
export const SCAN_ENTRY_BYTES = 24;
export const SCAN_ENTRY_VALUE_BYTES = SCAN_ENTRY_BYTES + VALUE_TAG_BYTES;
const ENTRY_KEY_BYTES_MASK = 0x7ff;
/** The key is deleted. */
export const ENTRY_TOMBSTONE = 1 << 14;
/** A value comes with it. */
export const ENTRY_VALUE = 1 << 15;
const ENTRY_UNUSED = 0xffff & ~(ENTRY_KEY_BYTES_MASK | ENTRY_TOMBSTONE | ENTRY_VALUE);

export function entryKeyBytes(words: Int32Array, entryWord: number): number {
  return words[entryWord]! & ENTRY_KEY_BYTES_MASK;
}

export function entryHas(words: Int32Array, entryWord: number, flag: number): boolean {
  return (words[entryWord]! & flag) !== 0;
}

export function entryEnvelopeBytes(words: Int32Array, entryWord: number): number {
  return words[entryWord]! >>> 16;
}

export function entryKeyWord(words: Int32Array, entryWord: number): number {
  return entryWord + ((entryHas(words, entryWord, ENTRY_VALUE) ? SCAN_ENTRY_VALUE_BYTES : SCAN_ENTRY_BYTES) >> 2);
}

export function nextEntryWord(words: Int32Array, entryWord: number): number {
  return entryKeyWord(words, entryWord) + (alignUp(entryKeyBytes(words, entryWord)) >> 2);
}

/** As messageBytes() of messages.ts has it: the bytes of the SCAN at `word`, or -1 when it is malformed. */
export function scanBytes(words: Int32Array, word: number, bytesLeft: number): number {
  if (bytesLeft < SCAN_BYTES) return -1;
  const startBytes = words[word + WORD_SCAN_START_BYTES]! >>> 0;
  const endBytes = words[word + WORD_SCAN_END_BYTES]! >>> 0;
  const entryCount = words[word + WORD_SCAN_ENTRIES]! >>> 0;
  if (startBytes > KEY_BYTES_MAX || endBytes > KEY_BYTES_MAX) return -1;
  if (entryCount < 1 || entryCount > SCAN_ENTRIES_MAX) return -1;
  const startWord = word + WORD_SCAN_START;
  const endWord = startWord + (alignUp(startBytes) >> 2);
  const byteCount = SCAN_BYTES + alignUp(startBytes) + alignUp(endBytes);
  if (byteCount > bytesLeft) return -1;
  if (startBytes > 0 && !isZeroPadded(words, startWord, startBytes)) return -1;
  return endBytes > 0 && !isZeroPadded(words, endWord, endBytes) ? -1 : byteCount;
}

/** The same for the SCAN_REPLY at `word`: all of its entries are checked, but not that they are in order. */
export function scanReplyBytes(words: Int32Array, word: number, bytesLeft: number, valueBytesLeft: number): number {
  if (bytesLeft < SCAN_REPLY_BYTES) return -1;
  const entryBytes = words[word + WORD_SCAN_ENTRY_BYTES]! >>> 0;
  if (entryBytes % 8 !== 0 || entryBytes > bytesLeft - SCAN_REPLY_BYTES) return -1;
  const wordEnd = word + WORD_SCAN_FIRST_ENTRY + (entryBytes >> 2);
  let valueBytes = 0;
  let at = word + WORD_SCAN_FIRST_ENTRY;
  while (at < wordEnd) {
    const left = (wordEnd - at) * 4;
    if (left < SCAN_ENTRY_VALUE_BYTES && (left < SCAN_ENTRY_BYTES || entryHas(words, at, ENTRY_VALUE))) return -1;
    const keyBytes = entryKeyBytes(words, at);
    if (keyBytes < 1 || keyBytes > KEY_BYTES_MAX || entryHas(words, at, ENTRY_UNUSED)) return -1;
    if (words[at + WORD_ENTRY_COUNTER + 1]! >>> 21 !== 0) return -1;
    const hasValue = entryHas(words, at, ENTRY_VALUE);
    if (hasValue ? entryHas(words, at, ENTRY_TOMBSTONE) : entryEnvelopeBytes(words, at) !== 0) return -1;
    const next = nextEntryWord(words, at);
    if (next > wordEnd || !isZeroPadded(words, entryKeyWord(words, at), keyBytes)) return -1;
    valueBytes += alignUp(entryEnvelopeBytes(words, at));
    at = next;
  }
  const hasMore = (flagsOf(words, word) & FLAG_SCAN_MORE) !== 0;
  if (at !== wordEnd || (hasMore && entryBytes === 0)) return -1;
  const isWhole = valueBytes === words[word + WORD_SCAN_VALUE_BYTES]! && valueBytes <= valueBytesLeft;
  return isWhole ? SCAN_REPLY_BYTES + entryBytes : -1;
}
