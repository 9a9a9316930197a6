import { assert } from '../../net/assert.ts';
import { NO_REF } from './host-memory.ts';
import type { TrustedBudget } from './trusted-budget.ts';
import { TYPED_ARRAY_OVERHEAD_BYTES } from './trusted-budget.ts';

/**
 * What a replica remembers of a key that had a read-modify-write (protocol/rmw-acceptor.ts): a record, made when the key
 * first sees one and kept. Keys that never did have none, and pay nothing: records are found from entries through an index
 * of their own. Records, index and all count against the trusted budget.
 *
 * Word offsets within a record; numbers of two words are u53 (low, high), writers two words (low, high):
 */
export const RECORD_ENTRY = 0;
/** When the promise was given, or something accepted under it: milliseconds, the low 32 bits. */
export const RECORD_PROMISED_MS = 1;
/** The last slot that is decided here. */
export const RECORD_SLOT = 2;
/** The greatest ballot promised or accepted in the slot behind it: number, writer. Zero: none. */
export const RECORD_PROMISE = 4;
/** What was accepted in that slot: ballot (number 0: nothing), id, stamp, length and tombstone flag, place, tag. */
export const RECORD_BALLOT = 8;
export const RECORD_ID = 12;
/** Of the stamp: counter, writer, rmw, five words. */
export const RECORD_COUNTER = 16;
export const RECORD_ENVELOPE_BYTES = 21;
export const RECORD_TOMBSTONE = 22;
/** In host memory, reserved; NO_REF when it has no bytes. */
export const RECORD_REF = 23;
export const RECORD_TAG = 24;
/** Ids of the last slots' decisions: slot, id; that of slot s at place s % RECORD_RING_COUNT. Slot 0: none. */
export const RECORD_RING = 28;
export const RECORD_RING_COUNT = 8;
const RING_ENTRY_WORDS = 6;
const RECORD_WORDS = RECORD_RING + RECORD_RING_COUNT * RING_ENTRY_WORDS;

/** 19 KiB a chunk: the array costs 5 % beside that, and a key that is the only one pays for no more. */
const CHUNK_BITS = 6;
const CHUNK_RECORDS = 1 << CHUNK_BITS;
const CHUNK_BYTES = CHUNK_RECORDS * RECORD_WORDS * 4 + TYPED_ARRAY_OVERHEAD_BYTES;
/** Places of the index at first. It is never more than half full. */
const INDEX_COUNT_MIN = 256;

const ACCOUNT = 'consensus records';
export const NO_RECORD = -1;

export class ConsensusRecords {
  readonly #budget: TrustedBudget;
  /** Keyed hash of an entry's key: chosen keys can't pile up. */
  readonly #hashOf: (entry: number) => number;
  readonly #chunks: Int32Array[] = [];
  #count = 0;
  /** Record + 1, or 0; open addressing with linear probing. Its length is a power of two. */
  #index = new Int32Array(0);

  constructor(budget: TrustedBudget, hashOf: (entry: number) => number) {
    this.#budget = budget;
    this.#hashOf = hashOf;
  }

  get count(): number {
    return this.#count;
  }

  /** The record of an entry, or NO_RECORD. */
  find(entry: number): number {
    const mask = this.#index.length - 1;
    if (mask < 0) return NO_RECORD;
    for (let at = this.#hashOf(entry) & mask; ; at = (at + 1) & mask) {
      const record = this.#index[at]! - 1;
      if (record === NO_RECORD) return NO_RECORD;
      if (this.words(record)[this.wordOffset(record)] === entry) return record;
    }
  }

  /**
   * A record for an entry that has none, all zero but for the entry; NO_RECORD when the budget has no room.
   * @param marginBytes What is to be left of the budget.
   */
  add(entry: number, marginBytes: number): number {
    if (!this.#makeRoom(marginBytes)) return NO_RECORD;
    const record = this.#count++;
    const words = this.words(record);
    const word = this.wordOffset(record);
    words[word + RECORD_ENTRY] = entry;
    words[word + RECORD_REF] = NO_REF;
    this.#insert(this.#index, entry, record);
    return record;
  }

  words(record: number): Int32Array {
    return this.#chunks[record >> CHUNK_BITS]!;
  }

  wordOffset(record: number): number {
    return (record & (CHUNK_RECORDS - 1)) * RECORD_WORDS;
  }

  /** Where in words(record) the ring has its entry for a slot: it is there when the entry names that slot. */
  ringWord(record: number, slot: number): number {
    return this.wordOffset(record) + RECORD_RING + (slot % RECORD_RING_COUNT) * RING_ENTRY_WORDS;
  }

  #makeRoom(marginBytes: number): boolean {
    const needsChunk = this.#count === this.#chunks.length * CHUNK_RECORDS;
    const oldLength = this.#index.length;
    const needsIndex = (this.#count + 1) * 2 > oldLength;
    const newLength = Math.max(INDEX_COUNT_MIN, oldLength * 2);
    // The old index is there until the new one is filled.
    const neededBytes = (needsChunk ? CHUNK_BYTES : 0) + (needsIndex ? indexBytes(newLength) : 0);
    if (neededBytes === 0) return true;
    if (neededBytes + marginBytes > this.#budget.available || !this.#budget.tryReserve(ACCOUNT, neededBytes))
      return false;
    if (needsChunk) this.#chunks.push(new Int32Array(CHUNK_RECORDS * RECORD_WORDS));
    if (needsIndex) {
      const index = new Int32Array(newLength);
      for (let record = 0; record < this.#count; record++) {
        this.#insert(index, this.words(record)[this.wordOffset(record)]!, record);
      }
      this.#index = index;
      if (oldLength > 0) this.#budget.release(ACCOUNT, indexBytes(oldLength));
    }
    return true;
  }

  #insert(index: Int32Array, entry: number, record: number): void {
    const mask = index.length - 1;
    let at = this.#hashOf(entry) & mask;
    while (index[at] !== 0) at = (at + 1) & mask;
    index[at] = record + 1;
  }

  /** Blocks of host memory that hold accepted values. */
  *refs(): IterableIterator<number> {
    for (let record = 0; record < this.#count; record++) {
      const ref = this.words(record)[this.wordOffset(record) + RECORD_REF]!;
      if (ref !== NO_REF) yield ref;
    }
  }

  invariants(): void {
    const reserved = this.#budget.byAccount().get(ACCOUNT) ?? 0;
    const indexedBytes = this.#index.length === 0 ? 0 : indexBytes(this.#index.length);
    assert(reserved === this.#chunks.length * CHUNK_BYTES + indexedBytes, 'records are paid for, and nothing else');
    for (let record = 0; record < this.#count; record++) {
      assert(this.find(this.words(record)[this.wordOffset(record)]!) === record, 'an entry has one record');
    }
  }
}

function indexBytes(length: number): number {
  return length * 4 + TYPED_ARRAY_OVERHEAD_BYTES;
}
