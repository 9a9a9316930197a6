import { assert } from '../../net/assert.ts';
import { AvocadoError } from '../errors.ts';
import { ENTRY_HASH, EntryArena, UNIT_BYTES } from './entry-arena.ts';
import { KeyedHash } from './keyed-hash.ts';
import type { TrustedBudget } from './trusted-budget.ts';
import { TYPED_ARRAY_OVERHEAD_BYTES } from './trusted-budget.ts';

/**
 * Finds the entry of a key: an open-addressing table with linear probing over the entries (entry-arena.ts). All of it is
 * trusted memory.
 *
 *     slot = 0                                  nothing was ever here: a search ends
 *     slot = hash's upper bits | entry id + 1   the lower bits hold the id, as many as the budget's ids need
 *
 * A key's home slot are the lower bits of its hash. The upper ones in the slot save the look at most entries of other
 * keys (255 of 256 with a budget of 128 MiB), so that a search costs two cache misses: a line of the table, and the
 * entry. The table is sized once, for as many entries as the budget can hold: nothing ever stops for a rehash.
 */
export const NO_ENTRY = -1;

/**
 * A slot for 64 bytes of budget is enough for entries of keys of 16 bytes, with values (66 bytes, the allocator's state
 * included); with shorter keys the table can be full first. Rounded up to a power of two, the table takes between 6 and
 * 13 % of the budget. It is paid for at the start, but pages of it that were never touched take no memory.
 */
const BUDGET_BYTES_PER_SLOT = 64;
const SLOT_BITS_MIN = 4;
/** Slot numbers stay positive int32: enough for budgets of 64 GiB, and entries end at 16. */
const SLOT_BITS_MAX = 30;
/** Entry ids, see entry-arena.ts. */
const ID_BITS_MAX = 31;
/** At this load a search for an absent key looks at 128 slots on average (Knuth 6.4): 8 cache lines, one after another. */
const LOAD_MAX = 15 / 16;

/** Keys that touch() takes at once: more than that would push each other out of the processor's first cache again. */
export const TOUCH_COUNT_MAX = 256;

const ACCOUNT = 'index';

export class TrustedIndex {
  readonly entries: EntryArena;

  private readonly budget: TrustedBudget;
  private readonly hash: KeyedHash;
  private readonly slots: Int32Array;
  private readonly slotMask: number;
  private readonly idMask: number;
  private readonly entryCountMax: number;
  private entryCount = 0;
  private readonly homes = new Int32Array(TOUCH_COUNT_MAX);
  private touched = 0;

  constructor(budget: TrustedBudget, seed: Uint8Array) {
    this.budget = budget;
    this.hash = new KeyedHash(seed);
    const slotBits = Math.min(Math.max(bitsFor(budget.bytesMax / BUDGET_BYTES_PER_SLOT), SLOT_BITS_MIN), SLOT_BITS_MAX);
    const slotCount = 1 << slotBits;
    if (!budget.tryReserve(ACCOUNT, indexBytes(slotCount))) {
      throw new AvocadoError(
        'INVALID_ARGUMENT',
        `Trusted memory of ${budget.bytesMax} bytes is too small: its index takes ${indexBytes(slotCount)} bytes, ` +
          `${budget.available} are left.`,
      );
    }
    this.slots = new Int32Array(slotCount);
    this.slotMask = slotCount - 1;
    this.idMask = -1 >>> (32 - Math.min(bitsFor(budget.bytesMax / UNIT_BYTES), ID_BITS_MAX));
    this.entryCountMax = Math.floor(slotCount * LOAD_MAX);
    this.entries = new EntryArena(budget);
  }

  get count(): number {
    return this.entryCount;
  }

  /** Hash of a key: keyBytes from keyWords[keyWord] on, padded with zeros to 8 bytes. */
  hashOf(keyWords: Int32Array, keyWord: number, keyBytes: number): number {
    return this.hash.hashWords(keyWords, keyWord, keyBytes);
  }

  /**
   * Reads what find() will read for hashes[0 .. count), so that its cache misses overlap instead of coming one after the
   * other (group prefetching; Chen et al., "Improving Hash Join Performance through Prefetching", 2004). The sum keeps
   * the reads from being left out.
   */
  touch(hashes: Int32Array, count: number): void {
    const { slots, slotMask, idMask, homes } = this;
    let sum = 0;
    for (let i = 0; i < count; i++) homes[i] = slots[hashes[i]! & slotMask]!;
    for (let i = 0; i < count; i++) {
      const slot = homes[i]!;
      if (slot !== 0) sum ^= this.entries.hashOf((slot & idMask) - 1);
    }
    this.touched ^= sum;
  }

  /** The entry of a key, or NO_ENTRY. */
  find(keyWords: Int32Array, keyWord: number, keyBytes: number, hash: number): number {
    const slots = this.slots;
    const slotMask = this.slotMask;
    const idMask = this.idMask;
    // Ends, because the table is never full.
    for (let at = hash & slotMask; ; at = (at + 1) & slotMask) {
      const slot = slots[at]!;
      if (slot === 0) return NO_ENTRY;
      if (((slot ^ hash) & ~idMask) !== 0) continue;
      const entry = (slot & idMask) - 1;
      if (this.entries.isOfKey(entry, hash, keyWords, keyWord, keyBytes)) return entry;
    }
  }

  /** Trusted bytes that add() will reserve for a key of this length; Infinity when the table is full. */
  trustedBytesToAdd(keyBytes: number): number {
    return this.entryCount < this.entryCountMax ? this.entries.trustedBytesToAdd(keyBytes) : Number.POSITIVE_INFINITY;
  }

  /** A new entry for a key that has none, see EntryArena.add. There must be room for it. */
  add(keyWords: Int32Array, keyWord: number, keyBytes: number): number {
    assert(this.entryCount < this.entryCountMax, 'the table has a free slot');
    const hash = this.hash.hashWords(keyWords, keyWord, keyBytes);
    const entry = this.entries.add(keyWords, keyWord, keyBytes, hash);
    assert(entry < this.idMask, 'an id fits in a slot');
    let at = hash & this.slotMask;
    while (this.slots[at] !== 0) at = (at + 1) & this.slotMask;
    this.slots[at] = (hash & ~this.idMask) | (entry + 1);
    this.entryCount++;
    return entry;
  }

  /** With entryInSlot(): goes through all entries, also bit by bit, as slots never move. */
  get slotCount(): number {
    return this.slots.length;
  }

  /** The entry in a slot, or NO_ENTRY. */
  entryInSlot(at: number): number {
    return (this.slots[at]! & this.idMask) - 1;
  }

  /** The most slots that any search for a present key looks at. Walks the whole table: for tests and diagnosis. */
  longestProbe(): number {
    let longest = 0;
    for (let at = 0; at < this.slotCount; at++) {
      const entry = this.entryInSlot(at);
      if (entry === NO_ENTRY) continue;
      const home = this.entries.words(entry)[this.entries.wordOffset(entry) + ENTRY_HASH]! & this.slotMask;
      longest = Math.max(longest, ((at - home) & this.slotMask) + 1);
    }
    return longest;
  }

  invariants(): void {
    this.entries.invariants();
    let found = 0;
    for (let at = 0; at < this.slotCount; at++) {
      const entry = this.entryInSlot(at);
      if (entry === NO_ENTRY) continue;
      found++;
      const words = this.entries.words(entry);
      // Finding itself means: the hash is right, the slot can be reached, and no other entry has the key.
      const keyWord = this.entries.keyWordOffset(entry);
      const keyBytes = this.entries.keyBytes(entry);
      const same = this.find(words, keyWord, keyBytes, this.hashOf(words, keyWord, keyBytes));
      assert(same === entry, 'each entry is found by its key');
    }
    assert(found === this.entryCount, 'each entry has one slot');
    assert(this.entryCount <= this.entryCountMax, 'the table is never full');
    assert(this.budget.byAccount().get(ACCOUNT) === indexBytes(this.slotCount), 'the index is paid for');
  }
}

function indexBytes(slotCount: number): number {
  return slotCount * 4 + TYPED_ARRAY_OVERHEAD_BYTES;
}

/** Bits that numbers below count need. */
function bitsFor(count: number): number {
  return Math.ceil(Math.log2(Math.max(2, count)));
}
