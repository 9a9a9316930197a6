import { assert } from '../../net/assert.ts';
import type { TrustedBudget } from './trusted-budget.ts';
import { TYPED_ARRAY_OVERHEAD_BYTES } from './trusted-budget.ts';

/**
 * A cell of three words for each key that had a read-modify-write, found by the key's entry. What the last two hold is its
 * owner's (consensus-records.ts); they begin as zeros. Cells are never removed.
 *
 * Extendible hashing (Fagin, Nievergelt, Pippenger and Strong, ACM TODS 1979): the upper bits of an entry's hash name a page,
 * in which the cell is found by linear probing, and a page that is full is split in two. So nothing ever stops for a rehash
 * of all, as one table that doubles would for a tenth of a second at half a million keys, nor asks for much memory at once.
 */
/** The entry + 1; 0: free. */
const CELL_ENTRY = 0;
export const CELL_FIRST = 1;
export const CELL_SECOND = 2;
const CELL_WORDS = 3;

/** 16 KiB a page: the array costs 6 % beside that, and a split is done in a fraction of a millisecond. */
const PAGE_WORDS = 4_096;
const CELL_COUNT = Math.floor(PAGE_WORDS / CELL_WORDS);
/** The word left over: how many cells are used, and below that how many upper bits of the hash its entries share. */
const PAGE_STATE = PAGE_WORDS - 1;
const DEPTH_BITS = 5;
/** At this load a search for what is not there looks at 32 cells on average (Knuth 6.4): six cache lines, in a row. */
const CELLS_USED_MAX = Math.floor((CELL_COUNT * 7) / 8);
const PAGE_BYTES = PAGE_WORDS * 4 + TYPED_ARRAY_OVERHEAD_BYTES;
/** A place in the directory is a reference to a page. */
const REFERENCE_BYTES = 8;
/** A thousand million keys; hashes are spread by a secret, so pages fill evenly. */
const DEPTH_MAX = 20;
/** Lower bits of a hash, by which the cell is found in its page. */
const HOME_BITS = 16;

assert(CELL_COUNT * CELL_WORDS < PAGE_WORDS, 'a page has a word left over');
assert(CELL_COUNT < 2 ** HOME_BITS, 'each cell is some home');

export class ConsensusCells {
  /** After find() or add(): where the cell lies. */
  page: Int32Array = new Int32Array(0);
  word = 0;

  readonly #budget: TrustedBudget;
  readonly #account: string;
  readonly #hashOf: (entry: number) => number;
  /** By the upper bits of the hash. Neighbours may be the same page. */
  #directory: Int32Array[] = [];
  #depth = 0;
  #pageCount = 0;
  #count = 0;

  /** @param hashOf Keyed hash of an entry's key: chosen keys can't pile up. */
  constructor(budget: TrustedBudget, account: string, hashOf: (entry: number) => number) {
    this.#budget = budget;
    this.#account = account;
    this.#hashOf = hashOf;
  }

  get count(): number {
    return this.#count;
  }

  get trustedBytes(): number {
    return this.#pageCount * PAGE_BYTES + this.#directory.length * REFERENCE_BYTES;
  }

  /** Whether the entry has a cell. */
  find(entry: number): boolean {
    if (this.#count === 0) return false;
    const hash = this.#hashOf(entry);
    return this.#seek(this.#directory[this.#placeOf(hash)]!, hash, entry);
  }

  /** A cell for an entry that has none; false when the budget has no room. @param marginBytes What is to be left of it. */
  add(entry: number, marginBytes: number): boolean {
    const hash = this.#hashOf(entry);
    if (this.#count === 0 && !this.#begin(marginBytes)) return false;
    let page = this.#directory[this.#placeOf(hash)]!;
    while (usedOf(page) === CELLS_USED_MAX) {
      if (!this.#split(hash, marginBytes)) return false;
      page = this.#directory[this.#placeOf(hash)]!;
    }
    this.#insert(page, hash, entry);
    this.#count++;
    return true;
  }

  #insert(page: Int32Array, hash: number, entry: number): void {
    assert(!this.#seek(page, hash, entry), 'an entry has one cell');
    this.page[this.word + CELL_ENTRY] = entry + 1;
    page[PAGE_STATE]! += 1 << DEPTH_BITS;
  }

  /** To the entry's cell, or the free one where it would be: there is one. */
  #seek(page: Int32Array, hash: number, entry: number): boolean {
    let cell = ((hash & (2 ** HOME_BITS - 1)) * CELL_COUNT) >>> HOME_BITS;
    for (;;) {
      const word = cell * CELL_WORDS;
      const held = page[word + CELL_ENTRY]!;
      if (held === 0 || held === entry + 1) {
        this.page = page;
        this.word = word;
        return held !== 0;
      }
      cell = cell + 1 === CELL_COUNT ? 0 : cell + 1;
    }
  }

  #placeOf(hash: number): number {
    // Shifts count modulo 32.
    return this.#depth === 0 ? 0 : hash >>> (32 - this.#depth);
  }

  #begin(marginBytes: number): boolean {
    if (this.#directory.length > 0) return true;
    if (!this.#reserve(PAGE_BYTES + REFERENCE_BYTES, marginBytes)) return false;
    this.#directory.push(new Int32Array(PAGE_WORDS));
    this.#pageCount = 1;
    return true;
  }

  /** The page of the hash becomes two, by one bit more. */
  #split(hash: number, marginBytes: number): boolean {
    const old = this.#directory[this.#placeOf(hash)]!;
    const depth = depthOf(old);
    if (depth === this.#depth && !this.#double(marginBytes)) return false;
    // The old one is there until both are filled.
    if (!this.#reserve(2 * PAGE_BYTES, marginBytes)) return false;
    const halves = [new Int32Array(PAGE_WORDS), new Int32Array(PAGE_WORDS)] as const;
    for (const half of halves) half[PAGE_STATE] = depth + 1;
    for (let word = 0; word < CELL_COUNT * CELL_WORDS; word += CELL_WORDS) {
      const entry = old[word + CELL_ENTRY]! - 1;
      if (entry < 0) continue;
      const entryHash = this.#hashOf(entry);
      this.#insert(halves[(entryHash >>> (31 - depth)) & 1]!, entryHash, entry);
      this.page[this.word + CELL_FIRST] = old[word + CELL_FIRST]!;
      this.page[this.word + CELL_SECOND] = old[word + CELL_SECOND]!;
    }
    const placeCount = 1 << (this.#depth - depth);
    const first = this.#placeOf(hash) & -placeCount;
    for (let i = 0; i < placeCount; i++) this.#directory[first + i] = halves[i < placeCount / 2 ? 0 : 1];
    this.#pageCount++;
    this.#budget.release(this.#account, PAGE_BYTES);
    return true;
  }

  #double(marginBytes: number): boolean {
    if (this.#depth === DEPTH_MAX || !this.#reserve(this.#directory.length * REFERENCE_BYTES, marginBytes))
      return false;
    this.#directory = this.#directory.flatMap((page) => [page, page]);
    this.#depth++;
    return true;
  }

  #reserve(byteCount: number, marginBytes: number): boolean {
    return byteCount + marginBytes <= this.#budget.available && this.#budget.tryReserve(this.#account, byteCount);
  }

  invariants(): void {
    assert(this.#directory.length === (this.#pageCount === 0 ? 0 : 1 << this.#depth), 'the directory has its depth');
    const pages = new Set(this.#directory);
    assert(pages.size === this.#pageCount, 'pages are counted');
    let count = 0;
    for (const page of pages) {
      let used = 0;
      for (let word = 0; word < CELL_COUNT * CELL_WORDS; word += CELL_WORDS) {
        const entry = page[word + CELL_ENTRY]! - 1;
        if (entry < 0) continue;
        used++;
        assert(this.find(entry) && this.page === page && this.word === word, 'a cell is found by its entry');
      }
      assert(used === usedOf(page) && used <= CELLS_USED_MAX, 'used cells are counted');
      count += used;
    }
    assert(count === this.#count, 'cells are counted');
  }
}

function usedOf(page: Int32Array): number {
  return page[PAGE_STATE]! >>> DEPTH_BITS;
}

function depthOf(page: Int32Array): number {
  return page[PAGE_STATE]! & (2 ** DEPTH_BITS - 1);
}
