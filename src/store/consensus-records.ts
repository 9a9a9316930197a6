import { assert } from '../../net/assert.ts';
import { copyWords, readU53, writeU53 } from '../../net/bytes.ts';
import { CELL_FIRST, CELL_SECOND, ConsensusCells } from './consensus-cells.ts';
import { NO_REF } from './host-memory.ts';
import type { TrustedBudget } from './trusted-budget.ts';
import { TYPED_ARRAY_OVERHEAD_BYTES } from './trusted-budget.ts';

/**
 * What a replica remembers of a key that had a read-modify-write (protocol/rmw-acceptor.ts): a record, made when the key
 * first sees one and kept. Keys that never did have none, and pay nothing. All of it counts against the trusted budget.
 *
 * A record is *full* while its key is at work, 304 bytes, and *compact* when it has been idle for a while: then its cell
 * (consensus-cells.ts) is all that is left of it, 12 bytes, 15 to 29 as pages are never quite filled.
 *
 *     full       cell: number of the full record, FULL        record: slot, promise, what is accepted, ring
 *     compact    cell: slot, promise, rounded up
 *
 * That loses nothing that safety needs (docs/protocol.md, "Idle keys"): a record in which something is accepted stays full;
 * the slot is kept; a greater promise than was given refuses more; a ring only tells owners what became of their proposals,
 * and those whose calls may run so long have ended.
 *
 * Full records lie without gaps: the last one moves to where one was made compact. So the number of one is good until the
 * next expand() or tick().
 *
 * Word offsets within a full record; numbers of two words are u53 (low, high), writers two words (low, high):
 */
export const RECORD_ENTRY = 0;
/** When something was last promised, accepted or decided: milliseconds, the low 32 bits. */
export const RECORD_CHANGED_MS = 1;
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

/**
 * Idle for so long: as long as a replica runs a call (CALL_DEADLINE_MS_MAX). Of the direct route, whose deadlines are the
 * client's, an operation with a longer one may find its proposal forgotten, and end as outcome-unknown.
 */
export const RECORD_IDLE_MS = 60_000;
/**
 * The same where memory is short, and of a record in which nothing is promised: a proposer who is there comes with his proposal,
 * or asks what became of it, within milliseconds. A proposal forgotten is better than a read-modify-write refused.
 */
const PRESSED_IDLE_MS = 1_000;
const PRESSED_DECIDED_IDLE_MS = 100;
/** Memory is short when less than this part of the budget is left, 16 MiB of 128, or less than full records take. */
const PRESSED_PART = 1 / 8;
/** Each full record is looked at so often in the time that makes it idle. */
const LOOKS_PER_IDLE = 8;
/** At once: 64 that are made compact take 25 us, with 40,000 full records. */
const LOOKS_MAX = 64;
/** To split a page of cells. */
const CHUNKS_PER_SPLIT = 2;
const LOOKS_SPLIT_MAX = 4 * LOOKS_MAX;

/** 19 KiB a chunk: the array costs 5 % beside that. */
const CHUNK_BITS = 6;
const CHUNK_RECORDS = 1 << CHUNK_BITS;
const CHUNK_BYTES = CHUNK_RECORDS * RECORD_WORDS * 4 + TYPED_ARRAY_OVERHEAD_BYTES;
/** Not given back: with no other memory so many keys a second can still be expanded, 256. */
const CHUNKS_KEPT = 4;

/** Second word of the cell of a full record; no promise is packed so. */
const FULL = -1;
const SLOT_MAX = 2 ** 32 - 1;
/** Below the greatest ballot number, so that it can be rounded up. */
const PROMISE_MAX = 2 ** 52;
const PACKED_BITS = 27;
const SHIFT_BITS = 5;

const ACCOUNT = 'consensus records';
export const NO_RECORD = -1;
/** To be read through words() and wordOffset(), until the next find(). */
const COMPACT_RECORD = -2;

export class ConsensusRecords {
  readonly #budget: TrustedBudget;
  readonly #idleMs: number;
  readonly #cells: ConsensusCells;
  readonly #chunks: Int32Array[] = [];
  #fullCount = 0;
  /** The compact record found last, in full. */
  readonly #found = new Int32Array(RECORD_WORDS);
  /** The full record that is looked at next. */
  #hand = 0;
  #lookedMs = 0;

  /**
   * @param hashOf Keyed hash of an entry's key: chosen keys can't pile up.
   * @param idleMs After so long without a change a record may become compact.
   */
  constructor(budget: TrustedBudget, hashOf: (entry: number) => number, idleMs = RECORD_IDLE_MS) {
    this.#budget = budget;
    this.#idleMs = idleMs;
    this.#cells = new ConsensusCells(budget, ACCOUNT, hashOf);
    this.#found[RECORD_REF] = NO_REF;
  }

  /** Of full and compact ones. */
  get count(): number {
    return this.#cells.count;
  }

  /** Full ones have the numbers below it. */
  get fullCount(): number {
    return this.#fullCount;
  }

  /** The record of an entry, or NO_RECORD. Only full ones are written by words(). */
  find(entry: number): number {
    const cells = this.#cells;
    if (!cells.find(entry)) return NO_RECORD;
    const second = cells.page[cells.word + CELL_SECOND]!;
    if (second === FULL) return cells.page[cells.word + CELL_FIRST]!;
    this.#unpack(this.#found, 0);
    return COMPACT_RECORD;
  }

  isFull(record: number): boolean {
    return record >= 0;
  }

  /**
   * A full record of an entry: its own, expanded when it was compact, or a new one, all zero but for entry and time. NO_RECORD
   * when the budget has no room, and no full record is idle.
   * @param marginBytes What is to be left of the budget.
   */
  expand(entry: number, marginBytes: number, nowMs: number): number {
    const found = this.find(entry);
    if (this.isFull(found)) return found;
    if (!this.#makePlace(marginBytes, nowMs)) return NO_RECORD;
    const cells = this.#cells;
    // It is sought again: making place uses other cells.
    if (!cells.find(entry) && !this.#addCell(entry, marginBytes, nowMs)) return NO_RECORD;
    const record = this.#fullCount++;
    const words = this.words(record);
    const word = this.wordOffset(record);
    words.fill(0, word, word + RECORD_WORDS);
    words[word + RECORD_ENTRY] = entry;
    words[word + RECORD_CHANGED_MS] = nowMs | 0;
    words[word + RECORD_REF] = NO_REF;
    this.#unpack(words, word);
    this.#pointTo(record);
    return record;
  }

  /** Whether a record may be compact, as long as nothing is accepted in it. @param promise Its ballot number; 0: none. */
  fitsCompact(slot: number, promise: number): boolean {
    return slot <= SLOT_MAX && promise <= PROMISE_MAX;
  }

  /**
   * Writes an entry's compact record. Ballots of the promise's number are refused from then on, whoever's they are; that they
   * were promised so is for who can't accept.
   */
  setCompact(entry: number, slot: number, promise: number): void {
    const cells = this.#cells;
    assert(cells.find(entry), 'a record has a cell');
    assert(this.fitsCompact(slot, promise), 'it may be compact');
    cells.page[cells.word + CELL_FIRST] = slot | 0;
    cells.page[cells.word + CELL_SECOND] = promise === 0 ? 0 : packUp(promise + 1);
  }

  words(record: number): Int32Array {
    return record < 0 ? this.#found : this.#chunks[record >> CHUNK_BITS]!;
  }

  wordOffset(record: number): number {
    return record < 0 ? 0 : (record & (CHUNK_RECORDS - 1)) * RECORD_WORDS;
  }

  /** Where in words(record) the ring has its entry for a slot: it is there when the entry names that slot. */
  ringWord(record: number, slot: number): number {
    return this.wordOffset(record) + RECORD_RING + (slot % RECORD_RING_COUNT) * RING_ENTRY_WORDS;
  }

  /** Makes some of those compact that are idle. To be called every few milliseconds. */
  tick(nowMs: number): void {
    const isPressed = this.#isPressed;
    const idleMs = isPressed ? Math.min(PRESSED_IDLE_MS, this.#idleMs) : this.#idleMs;
    const dueCount = Math.floor(((nowMs - this.#lookedMs) * this.#fullCount * LOOKS_PER_IDLE) / idleMs);
    if (dueCount < 1 && this.#fullCount > 0) return;
    this.#lookedMs = nowMs;
    for (let left = Math.min(dueCount, LOOKS_MAX); left > 0 && this.#fullCount > 0; left--)
      this.#look(nowMs, isPressed);
  }

  get #isPressed(): boolean {
    const { available, bytesMax } = this.#budget;
    return available < bytesMax * PRESSED_PART || available < this.#chunks.length * CHUNK_BYTES;
  }

  /** Room for one full record more; where memory is short that of an idle one first, as cells need what is left. */
  #makePlace(marginBytes: number, nowMs: number): boolean {
    if (this.#fullCount < this.#chunks.length * CHUNK_RECORDS) return true;
    return this.#isPressed
      ? this.#takePlace(nowMs) || this.#addChunk(marginBytes)
      : this.#addChunk(marginBytes) || this.#takePlace(nowMs);
  }

  #addChunk(marginBytes: number): boolean {
    const isThere = CHUNK_BYTES + marginBytes <= this.#budget.available;
    if (!isThere || !this.#budget.tryReserve(ACCOUNT, CHUNK_BYTES)) return false;
    this.#chunks.push(new Int32Array(CHUNK_RECORDS * RECORD_WORDS));
    return true;
  }

  #addCell(entry: number, marginBytes: number, nowMs: number): boolean {
    if (this.#cells.add(entry, marginBytes)) return true;
    // A page is full. Chunks of records that are idle have the memory to split it.
    const enoughCount = this.#chunks.length - CHUNKS_PER_SPLIT;
    let left = LOOKS_SPLIT_MAX;
    for (; left > 0 && this.#fullCount > 0 && this.#chunks.length > enoughCount; left--) this.#look(nowMs, true);
    return this.#cells.add(entry, marginBytes);
  }

  /** Of one that is idle. That takes no memory: a cell holds either. */
  #takePlace(nowMs: number): boolean {
    const lookCount = Math.min(LOOKS_MAX, this.#fullCount);
    for (let i = 0; i < lookCount; i++) if (this.#look(nowMs, true)) return true;
    return false;
  }

  /** At the next one; true when it was made compact. */
  #look(nowMs: number, isPressed: boolean): boolean {
    if (this.#hand >= this.#fullCount) this.#hand = 0;
    const isIdle = this.#isIdle(this.#hand, nowMs, isPressed);
    if (isIdle) this.#compact(this.#hand);
    else this.#hand++;
    return isIdle;
  }

  #isIdle(record: number, nowMs: number, isPressed: boolean): boolean {
    const words = this.words(record);
    const word = this.wordOffset(record);
    if (readU53(words, word + RECORD_BALLOT) !== 0) return false;
    const promise = readU53(words, word + RECORD_PROMISE);
    const pressedMs = promise === 0 ? PRESSED_DECIDED_IDLE_MS : PRESSED_IDLE_MS;
    const idleMs = isPressed ? Math.min(pressedMs, this.#idleMs) : this.#idleMs;
    // Negative: so long ago that the low 32 bits have come round.
    const ageMs = ((nowMs | 0) - words[word + RECORD_CHANGED_MS]!) | 0;
    if (ageMs >= 0 && ageMs < idleMs) return false;
    return this.fitsCompact(readU53(words, word + RECORD_SLOT), promise);
  }

  #compact(record: number): void {
    const words = this.words(record);
    const word = this.wordOffset(record);
    const promise = readU53(words, word + RECORD_PROMISE);
    this.setCompact(words[word + RECORD_ENTRY]!, readU53(words, word + RECORD_SLOT), promise);
    this.#remove(record);
  }

  #remove(record: number): void {
    const last = --this.#fullCount;
    if (record !== last) {
      const words = this.words(record);
      const word = this.wordOffset(record);
      copyWords(words, word, this.words(last), this.wordOffset(last), RECORD_WORDS);
      assert(this.#cells.find(words[word + RECORD_ENTRY]!), 'a record has a cell');
      this.#pointTo(record);
    }
    // One chunk more than needed stays, as the next one may be expanded soon.
    const chunkCountMin = Math.max(CHUNKS_KEPT, (last >> CHUNK_BITS) + 2);
    if (this.#chunks.length <= chunkCountMin) return;
    this.#chunks.pop();
    this.#budget.release(ACCOUNT, CHUNK_BYTES);
  }

  /** The cell found last is that of a full record. */
  #pointTo(record: number): void {
    const { page, word } = this.#cells;
    page[word + CELL_FIRST] = record;
    page[word + CELL_SECOND] = FULL;
  }

  /** Slot and promise of the cell found last, which is compact, or new. */
  #unpack(words: Int32Array, word: number): void {
    const { page, word: cellWord } = this.#cells;
    writeU53(words, word + RECORD_SLOT, page[cellWord + CELL_FIRST]! >>> 0);
    writeU53(words, word + RECORD_PROMISE, unpack(page[cellWord + CELL_SECOND]!));
  }

  /** Blocks of host memory that hold accepted values. */
  *refs(): IterableIterator<number> {
    for (let record = 0; record < this.#fullCount; record++) {
      const ref = this.words(record)[this.wordOffset(record) + RECORD_REF]!;
      if (ref !== NO_REF) yield ref;
    }
  }

  invariants(): void {
    this.#cells.invariants();
    const reserved = this.#budget.byAccount().get(ACCOUNT) ?? 0;
    const chunksBytes = this.#chunks.length * CHUNK_BYTES;
    assert(reserved === chunksBytes + this.#cells.trustedBytes, 'records are paid for, and nothing else');
    for (let record = 0; record < this.#fullCount; record++) {
      assert(
        this.find(this.words(record)[this.wordOffset(record) + RECORD_ENTRY]!) === record,
        'a full record is found',
      );
    }
    assert(this.#fullCount <= this.count, 'a full record has a cell');
  }
}

/** In 32 bits a number that is at least that: its upper 27 bits, and how many are left out. Below 2^27 it is the same. */
function packUp(number: number): number {
  let upper = number;
  let shift = 0;
  for (; upper >= 2 ** PACKED_BITS; shift++) upper = Math.ceil(upper / 2);
  return (upper << SHIFT_BITS) | shift;
}

function unpack(packed: number): number {
  return (packed >>> SHIFT_BITS) * 2 ** (packed & (2 ** SHIFT_BITS - 1));
}
