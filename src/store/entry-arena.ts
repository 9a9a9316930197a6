import { assert } from '../../net/assert.ts';
import { alignUp, copyWords } from '../../net/bytes.ts';
import type { TrustedBudget } from './trusted-budget.ts';
import { TYPED_ARRAY_OVERHEAD_BYTES } from './trusted-budget.ts';

/**
 * What trusted memory keeps of each key: an entry of 48 bytes and behind it the key itself, padded with zeros to 8 bytes.
 * They lie together because each search reads both: one cache miss less than with keys in a place of their own.
 *
 * Entries are laid back to back by moving a mark forward, and never removed: a deleted key keeps its entry as a
 * tombstone, until tombstones are collected by a later feature. So an entry never moves either.
 *
 * An entry id is the entry's place in units of 8 bytes: chunk index and unit index. Word offsets within an entry:
 */
/** Stamp: counter (low, high), writer (low, high), rmw. */
export const ENTRY_COUNTER = 0;
export const ENTRY_WRITER_LOW = 2;
export const ENTRY_WRITER_HIGH = 3;
export const ENTRY_RMW = 4;
/** The value's tag, 16 bytes: it is the checksum of what lies in host memory. */
export const ENTRY_TAG = 5;
/** Place of the envelope in host memory; NO_REF when it has no bytes. */
export const ENTRY_HOST_REF = 9;
/** Length of the envelope, length of the key, tombstone flag: see the bits below. */
export const ENTRY_LENGTHS = 10;
/** Of the key, all 32 bits; the index keeps a part of it. Next to the key, as a search reads hash, lengths and key. */
export const ENTRY_HASH = 11;
const ENTRY_KEY = 12;

/** Bits of ENTRY_LENGTHS: envelopes up to 2 MiB less one (values end at 1 MiB), then keys less one, then the flag. */
export const ENVELOPE_BYTES_MASK = 0x1f_ffff;
const KEY_BYTES_SHIFT = 21;
const KEY_BYTES_MASK = 0x3ff;
export const TOMBSTONE_BIT = 1 << 31;
/** What a write leaves as it is. */
export const KEY_BYTES_BITS = KEY_BYTES_MASK << KEY_BYTES_SHIFT;
export const KEY_BYTES_MAX = KEY_BYTES_MASK + 1;

export const UNIT_BYTES = 8;
const UNIT_WORDS = UNIT_BYTES / 4;
const CHUNK_UNIT_BITS = 13;
const CHUNK_UNIT_MASK = (1 << CHUNK_UNIT_BITS) - 1;
/**
 * 64 KiB a chunk: an array costs under 2 % beside that, no more than that of the budget is reserved ahead, and as no entry
 * crosses a chunk's end, less than 2 % of it is lost even with the longest keys (half an entry on average).
 */
const CHUNK_WORDS = (1 << CHUNK_UNIT_BITS) * UNIT_WORDS;
const CHUNK_BYTES = CHUNK_WORDS * 4 + TYPED_ARRAY_OVERHEAD_BYTES;
/** Ids have 31 bits, less the last one, for the index keeps id + 1: 16 GiB of entries. */
const CHUNKS_MAX = (1 << (31 - CHUNK_UNIT_BITS)) - 1;

const ACCOUNT = 'entries';

export class EntryArena {
  private readonly budget: TrustedBudget;
  private readonly chunks: Int32Array[] = [];
  /** Words used of the last chunk. */
  private usedWords = CHUNK_WORDS;

  constructor(budget: TrustedBudget) {
    this.budget = budget;
  }

  /** Trusted bytes that add() will reserve for a key of this length; Infinity when there are no ids left. */
  trustedBytesToAdd(keyBytes: number): number {
    if (this.usedWords + entryWords(keyBytes) <= CHUNK_WORDS) return 0;
    return this.chunks.length < CHUNKS_MAX ? CHUNK_BYTES : Number.POSITIVE_INFINITY;
  }

  /** An entry with hash and key set and all else zero. The budget must have trustedBytesToAdd(keyBytes). */
  add(keyWords: Int32Array, keyWord: number, keyBytes: number, hash: number): number {
    assert(keyBytes >= 1 && keyBytes <= KEY_BYTES_MAX, 'a key has 1 to 1,024 bytes');
    const wordCount = entryWords(keyBytes);
    if (this.usedWords + wordCount > CHUNK_WORDS) {
      assert(this.chunks.length < CHUNKS_MAX && this.budget.tryReserve(ACCOUNT, CHUNK_BYTES), 'there is room');
      this.chunks.push(new Int32Array(CHUNK_WORDS));
      this.usedWords = 0;
    }
    const chunkIndex = this.chunks.length - 1;
    const words = this.chunks[chunkIndex]!;
    const word = this.usedWords;
    words[word + ENTRY_HASH] = hash;
    words[word + ENTRY_LENGTHS] = (keyBytes - 1) << KEY_BYTES_SHIFT;
    copyWords(words, word + ENTRY_KEY, keyWords, keyWord, wordCount - ENTRY_KEY);
    this.usedWords += wordCount;
    return (chunkIndex << CHUNK_UNIT_BITS) | (word / UNIT_WORDS);
  }

  words(entry: number): Int32Array {
    return this.chunks[entry >> CHUNK_UNIT_BITS]!;
  }

  wordOffset(entry: number): number {
    return (entry & CHUNK_UNIT_MASK) * UNIT_WORDS;
  }

  /** Where the key begins in words(entry). */
  keyWordOffset(entry: number): number {
    return this.wordOffset(entry) + ENTRY_KEY;
  }

  keyBytes(entry: number): number {
    return ((this.words(entry)[this.wordOffset(entry) + ENTRY_LENGTHS]! >> KEY_BYTES_SHIFT) & KEY_BYTES_MASK) + 1;
  }

  /** Hash of an entry's key. */
  hashOf(entry: number): number {
    return this.words(entry)[this.wordOffset(entry) + ENTRY_HASH]!;
  }

  isOfKey(entry: number, hash: number, keyWords: Int32Array, keyWord: number, keyBytes: number): boolean {
    const words = this.words(entry);
    const word = this.wordOffset(entry);
    if (words[word + ENTRY_HASH] !== hash) return false;
    if (((words[word + ENTRY_LENGTHS]! >> KEY_BYTES_SHIFT) & KEY_BYTES_MASK) !== keyBytes - 1) return false;
    const keyWordCount = alignUp(keyBytes) >> 2;
    for (let i = 0; i < keyWordCount; i++) {
      if (words[word + ENTRY_KEY + i] !== keyWords[keyWord + i]) return false;
    }
    return true;
  }

  invariants(): void {
    const reserved = this.budget.byAccount().get(ACCOUNT) ?? 0;
    assert(reserved === this.chunks.length * CHUNK_BYTES, 'entries are paid for, and nothing else');
  }
}

function entryWords(keyBytes: number): number {
  return ENTRY_KEY + (alignUp(keyBytes) >> 2);
}
