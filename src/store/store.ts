import { assert } from '../../net/assert.ts';
import type { Region } from '../../net/bytes.ts';
import { alignUp, copyPadded, copyWords, readU53, writeU53 } from '../../net/bytes.ts';
import { AvocadoError } from '../errors.ts';
import type { Order } from '../stamp.ts';
import { compareStamps } from '../stamp.ts';
import { ConsensusRecords } from './consensus-records.ts';
import type { EntryArena } from './entry-arena.ts';
import {
  ENTRY_COUNTER,
  ENTRY_HOST_REF,
  ENTRY_LENGTHS,
  ENTRY_RMW,
  ENTRY_TAG,
  ENTRY_WRITER_HIGH,
  ENTRY_WRITER_LOW,
  ENVELOPE_BYTES_MASK,
  KEY_BYTES_BITS,
  KEY_BYTES_MAX,
  TOMBSTONE_BIT,
} from './entry-arena.ts';
import type { HostMemory } from './host-memory.ts';
import { NO_REF } from './host-memory.ts';
import { compareKeys } from './key-order.ts';
import { OrderedView } from './ordered-view.ts';
import type { TrustedBudget } from './trusted-budget.ts';
import { NO_ENTRY, TrustedIndex } from './trusted-index.ts';
import type { Refusal, WriteResult } from './write-result.ts';
import { APPLIED, HOST_FULL, TRUSTED_FULL } from './write-result.ts';

/**
 * A replica's store. Trusted memory holds an entry a key (stamp, tag, length and place of the value; see entry-arena.ts),
 * found through the trusted index, and in the order of the keys through the ordered view; host memory holds the values as opaque envelopes (workers/sealing.ts). The store knows
 * no cryptography: whoever opens an envelope checks it against the tag that is kept here.
 *
 * A large value comes in fragments: the caller reserves a block, has each fragment put in its place, and when all are
 * there gives the block to the entry (adopt). Until then no entry knows of it; each live block has one owner, an entry or
 * a reservation.
 *
 * A write that is refused for want of memory has changed nothing. Entries are never removed: a deleted key stays as a
 * tombstone, and so does its key, until a later feature collects them. Hence an entry id, once found, is good for ever.
 *
 * Keys and envelopes come as words: the caller has checked that keys are padded with zeros to 8 bytes, and that lengths
 * are within bounds. Stamps are four numbers, see src/stamp.ts. No call allocates, but for what the engine does with
 * counters from 2^31 on: it boxes them (16 short-lived bytes) on their way into a call that it doesn't inline.
 */
export interface StoreOptions {
  readonly budget: TrustedBudget;
  /** The store's own: nobody else allocates from it. */
  readonly hostMemory: HostMemory;
  /** 8 random bytes, see keyed-hash.ts. */
  readonly seed: Uint8Array;
  /** Keep the keys in order, too, for scans: some 13 bytes a key. Default: true. */
  readonly isOrdered?: boolean;
  /** After so long without a change what is kept of a key's read-modify-writes may become compact. Default: RECORD_IDLE_MS. */
  readonly recordIdleMs?: number | undefined;
}

export interface StoreStats {
  /** Entries, tombstones included. */
  readonly keys: number;
  readonly tombstones: number;
  readonly trustedBytes: number;
  readonly trustedBytesMax: number;
  /** In blocks that hold values, and in segments taken from the host. */
  readonly hostBytes: number;
  readonly hostCapacityBytes: number;
}

const NO_TAG = new Int32Array(4);

export class Store {
  /** Why the last write, adopt or reserve was refused, or the last hasRoom...() was false. */
  lastRefusal: Refusal = TRUSTED_FULL;
  /** Undefined: it was switched off. */
  readonly view: OrderedView | undefined;

  /** Of keys that had read-modify-writes; protocol/rmw-acceptor.ts keeps them. */
  readonly consensus: ConsensusRecords;

  private readonly budget: TrustedBudget;
  private readonly hostMemory: HostMemory;
  private readonly index: TrustedIndex;
  private readonly entries: EntryArena;
  private tombstoneCount = 0;

  constructor(options: StoreOptions) {
    this.budget = options.budget;
    this.hostMemory = options.hostMemory;
    assert(this.hostMemory.blockBytesMax <= ENVELOPE_BYTES_MASK, 'an entry holds the length of any block');
    this.index = new TrustedIndex(this.budget, options.seed);
    this.entries = this.index.entries;
    this.consensus = new ConsensusRecords(this.budget, (entry) => this.entries.hashOf(entry), options.recordIdleMs);
    const { isOrdered = true } = options;
    if (isOrdered && OrderedView.trustedBytesAtStart <= this.budget.available) {
      this.view = new OrderedView(this.budget, this.entries);
    }
    const isWhole = this.view !== undefined || !isOrdered;
    if (!isWhole || !this.hasRoomForKey(KEY_BYTES_MAX, 1, 0)) {
      throw new AvocadoError(
        'INVALID_ARGUMENT',
        `Trusted memory of ${this.budget.bytesMax} bytes holds no key: give at least 1 MiB (default 128 MiB).`,
      );
    }
  }

  /** The entry of a key, or NO_ENTRY. */
  find(
    keyWords: Int32Array,
    keyWord: number,
    keyBytes: number,
    hash = this.hashOf(keyWords, keyWord, keyBytes),
  ): number {
    return this.index.find(keyWords, keyWord, keyBytes, hash);
  }

  hashOf(keyWords: Int32Array, keyWord: number, keyBytes: number): number {
    return this.index.hashOf(keyWords, keyWord, keyBytes);
  }

  /** Before several find(): lets their cache misses overlap. At most TOUCH_COUNT_MAX hashes. */
  touch(hashes: Int32Array, count: number): void {
    this.index.touch(hashes, count);
  }

  /** Order of an entry's stamp and the given one. NO_ENTRY counts as "none", older than any stamp. */
  compareStamp(entry: number, counter: number, writerHigh: number, writerLow: number, rmw: number): Order {
    if (entry === NO_ENTRY) return compareStamps(0, 0, 0, 0, counter, writerHigh, writerLow, rmw);
    const words = this.entries.words(entry);
    const word = this.entries.wordOffset(entry);
    return compareStamps(
      readU53(words, word + ENTRY_COUNTER),
      words[word + ENTRY_WRITER_HIGH]!,
      words[word + ENTRY_WRITER_LOW]!,
      words[word + ENTRY_RMW]!,
      counter,
      writerHigh,
      writerLow,
      rmw,
    );
  }

  /** With entryInSlot(): goes through all entries, also bit by bit. */
  get slotCount(): number {
    return this.index.slotCount;
  }

  /** The entry in a slot, or NO_ENTRY. */
  entryInSlot(at: number): number {
    return this.index.entryInSlot(at);
  }

  counter(entry: number): number {
    return readU53(this.entries.words(entry), this.entries.wordOffset(entry) + ENTRY_COUNTER);
  }

  writerHigh(entry: number): number {
    return this.field(entry, ENTRY_WRITER_HIGH);
  }

  writerLow(entry: number): number {
    return this.field(entry, ENTRY_WRITER_LOW);
  }

  rmw(entry: number): number {
    return this.field(entry, ENTRY_RMW);
  }

  isTombstone(entry: number): boolean {
    return this.field(entry, ENTRY_LENGTHS) < 0;
  }

  envelopeBytes(entry: number): number {
    return this.field(entry, ENTRY_LENGTHS) & ENVELOPE_BYTES_MASK;
  }

  keyBytes(entry: number): number {
    return this.entries.keyBytes(entry);
  }

  /** The key, padded with zeros to 8 bytes. */
  copyKey(entry: number, targetWords: Int32Array, targetWord: number): void {
    const wordCount = alignUp(this.entries.keyBytes(entry)) >> 2;
    copyWords(targetWords, targetWord, this.entries.words(entry), this.entries.keyWordOffset(entry), wordCount);
  }

  /** Order of an entry's key and the given one: negative, zero or positive. */
  compareKey(entry: number, keyWords: Int32Array, keyWord: number, keyBytes: number): number {
    const words = this.entries.words(entry);
    const word = this.entries.keyWordOffset(entry);
    return compareKeys(words, word, this.entries.keyBytes(entry), keyWords, keyWord, keyBytes);
  }

  /** Place of the envelope in host memory; NO_REF when it has no bytes. Changes with a write. */
  hostRef(entry: number): number {
    return this.field(entry, ENTRY_HOST_REF);
  }

  /** Four words. */
  copyTag(entry: number, targetWords: Int32Array, targetWord: number): void {
    const words = this.entries.words(entry);
    const word = this.entries.wordOffset(entry) + ENTRY_TAG;
    for (let i = 0; i < 4; i++) targetWords[targetWord + i] = words[word + i]!;
  }

  tagEquals(entry: number, tagWords: Int32Array, tagWord: number): boolean {
    const words = this.entries.words(entry);
    const word = this.entries.wordOffset(entry) + ENTRY_TAG;
    for (let i = 0; i < 4; i++) if (words[word + i] !== tagWords[tagWord + i]) return false;
    return true;
  }

  /**
   * Copies envelopeBytes(entry) bytes out of host memory, padded with zeros to 8 bytes. They are whatever the host has
   * made of them: only opening them against the entry's tag tells.
   */
  copyEnvelope(entry: number, target: Region, targetWord: number): void {
    this.copyOut(this.hostRef(entry), 0, this.envelopeBytes(entry), target, targetWord);
  }

  /** The same for a part of it. @param byteOffset A multiple of 8. */
  copyEnvelopePart(entry: number, byteOffset: number, byteCount: number, target: Region, targetWord: number): void {
    assert(byteOffset >= 0 && byteOffset % 8 === 0, 'a part starts on 8 bytes');
    assert(byteCount >= 0 && byteOffset + byteCount <= this.envelopeBytes(entry), 'a part lies in its envelope');
    this.copyOut(this.hostRef(entry), byteOffset, byteCount, target, targetWord);
  }

  /**
   * Creates or replaces. The rule that only a greater stamp is applied is the caller's (it answers either way), so a
   * stamp that is not greater is an error of the program.
   * @param found The key's entry or NO_ENTRY, for a caller that has looked for it already.
   */
  write(
    keyWords: Int32Array,
    keyWord: number,
    keyBytes: number,
    counter: number,
    writerHigh: number,
    writerLow: number,
    rmw: number,
    tombstone: boolean,
    tagWords: Int32Array,
    tagWord: number,
    envelopeWords: Int32Array,
    envelopeWord: number,
    envelopeBytes: number,
    found = this.find(keyWords, keyWord, keyBytes),
  ): WriteResult {
    let entry = found;
    if (entry === NO_ENTRY) {
      assert(counter >= 1 || rmw !== 0, 'a written stamp is not none');
      entry = this.create(keyWords, keyWord, keyBytes, envelopeBytes);
      if (entry === NO_ENTRY) return this.lastRefusal;
    }
    return this.replace(
      entry,
      counter,
      writerHigh,
      writerLow,
      rmw,
      tombstone,
      tagWords,
      tagWord,
      envelopeWords,
      envelopeWord,
      envelopeBytes,
    );
  }

  /**
   * An entry for a key that was never written: a tombstone whose stamp is none, as if there were no entry. NO_ENTRY when the
   * budget has no room: see lastRefusal.
   * @param marginBytes As for hasRoomForKey().
   */
  addAbsent(keyWords: Int32Array, keyWord: number, keyBytes: number, marginBytes: number): number {
    if (!this.hasRoomForKey(keyBytes, 0, marginBytes)) return NO_ENTRY;
    const entry = this.addKey(keyWords, keyWord, keyBytes);
    this.setHostRef(entry, NO_REF);
    this.describe(entry, 0, 0, 0, 0, true, NO_TAG, 0, 0);
    return entry;
  }

  /** write() for a caller that has found the entry already. */
  replace(
    entry: number,
    counter: number,
    writerHigh: number,
    writerLow: number,
    rmw: number,
    tombstone: boolean,
    tagWords: Int32Array,
    tagWord: number,
    envelopeWords: Int32Array,
    envelopeWord: number,
    envelopeBytes: number,
  ): WriteResult {
    assert(this.compareStamp(entry, counter, writerHigh, writerLow, rmw) < 0, 'only a greater stamp is written');
    if (!this.makePlace(entry, envelopeBytes)) return this.lastRefusal;
    this.describe(entry, counter, writerHigh, writerLow, rmw, tombstone, tagWords, tagWord, envelopeBytes);
    this.fill(this.hostRef(entry), 0, envelopeWords, envelopeWord, envelopeBytes);
    return APPLIED;
  }

  /**
   * A block for an envelope (of at least one byte) that is filled before it belongs to an entry, or NO_REF: see
   * lastRefusal. The caller owns it, until releaseReserved() or an adopt...() takes it. Its contents are undefined, and
   * when it is filled they are still whatever the host makes of them.
   * @param marginBytes As for hasRoomForEnvelope().
   */
  reserve(envelopeBytes: number, marginBytes: number): number {
    if (!this.hasRoomForBlock(envelopeBytes, marginBytes)) return NO_REF;
    const ref = this.takeBlock(envelopeBytes);
    if (ref !== NO_REF) this.hostMemory.reserve(ref);
    return ref;
  }

  releaseReserved(ref: number): void {
    this.hostMemory.release(ref);
    this.hostMemory.free(ref);
  }

  /**
   * Puts a fragment in its place. One that doesn't end on 8 bytes is the envelope's last: zeros follow it up to there.
   * @param byteOffset A multiple of 8.
   */
  fillReserved(ref: number, byteOffset: number, sourceWords: Int32Array, sourceWord: number, byteCount: number): void {
    assert(this.hostMemory.isReserved(ref), 'only a reserved block is filled before it has an entry');
    assert(byteOffset >= 0 && byteOffset % 8 === 0, 'a fragment starts on 8 bytes');
    assert(byteOffset + alignUp(byteCount) <= this.hostMemory.blockBytes(ref), 'a fragment lies in its block');
    this.fill(ref, byteOffset, sourceWords, sourceWord, byteCount);
  }

  /**
   * Where a live block lies, of an entry or reserved: this region, from hostWord() on. For opening an envelope there; the
   * host may change it at any time.
   */
  hostRegion(ref: number): Region {
    assert(this.hostMemory.isAllocated(ref) || this.hostMemory.isReserved(ref), 'the block is live');
    return this.hostMemory.region(ref);
  }

  hostWord(ref: number): number {
    return this.hostMemory.wordOffset(ref);
  }

  /**
   * write() with an envelope that lies in a reserved block already: the entry takes the block over. When it is refused,
   * the block stays the caller's.
   */
  adopt(
    keyWords: Int32Array,
    keyWord: number,
    keyBytes: number,
    counter: number,
    writerHigh: number,
    writerLow: number,
    rmw: number,
    tagWords: Int32Array,
    tagWord: number,
    ref: number,
    envelopeBytes: number,
    found = this.find(keyWords, keyWord, keyBytes),
  ): WriteResult {
    assert(this.compareStamp(found, counter, writerHigh, writerLow, rmw) < 0, 'only a greater stamp is written');
    assert(this.hostMemory.isReserved(ref), 'only a reserved block is adopted');
    let entry = found;
    if (entry === NO_ENTRY) {
      if (!this.hasRoomForKey(keyBytes, 0, 0)) return this.lastRefusal;
      entry = this.addKey(keyWords, keyWord, keyBytes);
      this.setHostRef(entry, NO_REF);
    }
    this.takeOver(entry, ref, envelopeBytes);
    this.describe(entry, counter, writerHigh, writerLow, rmw, false, tagWords, tagWord, envelopeBytes);
    return APPLIED;
  }

  /** overwriteEnvelope() with a good copy that lies in a reserved block already: the entry takes the block over. */
  adoptRepair(entry: number, ref: number): void {
    this.takeOver(entry, ref, this.envelopeBytes(entry));
  }

  /**
   * For REPAIR: puts a good copy in place of a bad one. The caller has found the offered stamp, tag and length to be the
   * entry's and has opened the offered envelope.
   */
  overwriteEnvelope(entry: number, envelopeWords: Int32Array, envelopeWord: number, envelopeBytes: number): void {
    assert(envelopeBytes === this.envelopeBytes(entry), 'a repair has the length of what it repairs');
    this.fill(this.hostRef(entry), 0, envelopeWords, envelopeWord, envelopeBytes);
  }

  /**
   * Would a new key fit now, with marginBytes of the budget left over? Asked before a put writes anything anywhere, so
   * that it is refused whole; the margin is room for puts that were let through and are still to be written.
   */
  hasRoomForKey(keyBytes: number, envelopeBytes: number, marginBytes: number): boolean {
    return this.hasRoom(this.trustedBytesToAdd(keyBytes), envelopeBytes, marginBytes);
  }

  /**
   * The same for a new value of a key that is here. Always true for a delete, when it fits in the old one's place, and
   * when a block is free for it: the margin is for what costs trusted memory.
   */
  hasRoomForEnvelope(entry: number, envelopeBytes: number, marginBytes: number): boolean {
    if (envelopeBytes === 0 || this.isPlaceFor(this.hostRef(entry), envelopeBytes)) return true;
    return this.hasRoomForBlock(envelopeBytes, marginBytes);
  }

  stats(): StoreStats {
    return {
      keys: this.index.count,
      tombstones: this.tombstoneCount,
      trustedBytes: this.budget.used,
      trustedBytesMax: this.budget.bytesMax,
      hostBytes: this.hostMemory.usedBytes,
      hostCapacityBytes: this.hostMemory.capacityBytes,
    };
  }

  /** An entry with key and place in host memory, all else still zero. */
  private create(keyWords: Int32Array, keyWord: number, keyBytes: number, envelopeBytes: number): number {
    if (!this.hasRoomForKey(keyBytes, envelopeBytes, 0)) return NO_ENTRY;
    // First what can still fail: the host may give no memory for a segment.
    let ref = NO_REF;
    if (envelopeBytes > 0) {
      ref = this.takeBlock(envelopeBytes);
      if (ref === NO_REF) return NO_ENTRY;
    }
    const entry = this.addKey(keyWords, keyWord, keyBytes);
    this.setHostRef(entry, ref);
    return entry;
  }

  /** There must be room for it. */
  private addKey(keyWords: Int32Array, keyWord: number, keyBytes: number): number {
    const entry = this.index.add(keyWords, keyWord, keyBytes);
    this.view?.add(entry);
    return entry;
  }

  private trustedBytesToAdd(keyBytes: number): number {
    return this.index.trustedBytesToAdd(keyBytes) + (this.view?.trustedBytesToAdd() ?? 0);
  }

  /** Gives an entry a block of the envelope's size class; false when refused, with the old block and value in place. */
  private makePlace(entry: number, envelopeBytes: number): boolean {
    const old = this.hostRef(entry);
    if (this.isPlaceFor(old, envelopeBytes)) return true;
    let ref = NO_REF;
    if (envelopeBytes > 0) {
      ref = this.takeBlock(envelopeBytes);
      if (ref === NO_REF) return false;
    }
    if (old !== NO_REF) this.hostMemory.free(old);
    this.setHostRef(entry, ref);
    return true;
  }

  private takeOver(entry: number, ref: number, envelopeBytes: number): void {
    assert(envelopeBytes > 0 && this.isPlaceFor(ref, envelopeBytes), 'the block is of the size class of its envelope');
    this.hostMemory.release(ref);
    const old = this.hostRef(entry);
    if (old !== NO_REF) this.hostMemory.free(old);
    this.setHostRef(entry, ref);
  }

  private takeBlock(envelopeBytes: number): number {
    const ref = this.hostMemory.allocate(envelopeBytes);
    if (ref === NO_REF) this.lastRefusal = this.hostMemory.lastRefusal;
    return ref;
  }

  private setHostRef(entry: number, ref: number): void {
    this.entries.words(entry)[this.entries.wordOffset(entry) + ENTRY_HOST_REF] = ref;
  }

  /** All of an entry but key and place. */
  private describe(
    entry: number,
    counter: number,
    writerHigh: number,
    writerLow: number,
    rmw: number,
    tombstone: boolean,
    tagWords: Int32Array,
    tagWord: number,
    envelopeBytes: number,
  ): void {
    const words = this.entries.words(entry);
    const word = this.entries.wordOffset(entry);
    this.tombstoneCount += Number(tombstone) - Number(this.isTombstone(entry));
    writeU53(words, word + ENTRY_COUNTER, counter);
    words[word + ENTRY_WRITER_HIGH] = writerHigh;
    words[word + ENTRY_WRITER_LOW] = writerLow;
    words[word + ENTRY_RMW] = rmw;
    words[word + ENTRY_LENGTHS] =
      (words[word + ENTRY_LENGTHS]! & KEY_BYTES_BITS) | envelopeBytes | (tombstone ? TOMBSTONE_BIT : 0);
    for (let i = 0; i < 4; i++) words[word + ENTRY_TAG + i] = tagWords[tagWord + i]!;
  }

  private isPlaceFor(ref: number, envelopeBytes: number): boolean {
    if (ref === NO_REF || envelopeBytes === 0) return ref === NO_REF && envelopeBytes === 0;
    return this.hostMemory.fits(ref, envelopeBytes);
  }

  private fill(ref: number, byteOffset: number, sourceWords: Int32Array, sourceWord: number, byteCount: number): void {
    if (ref === NO_REF) return;
    const target = this.hostMemory.region(ref).words;
    const targetWord = this.hostMemory.wordOffset(ref) + (byteOffset >> 2);
    copyPadded(target, targetWord, sourceWords, sourceWord, byteCount);
  }

  private copyOut(ref: number, byteOffset: number, byteCount: number, target: Region, targetWord: number): void {
    if (ref === NO_REF) return;
    const source = this.hostMemory.region(ref).words;
    const sourceWord = this.hostMemory.wordOffset(ref) + (byteOffset >> 2);
    copyPadded(target.words, targetWord, source, sourceWord, byteCount);
  }

  /** The margin is for what costs trusted memory, not for a block that is free already. */
  private hasRoomForBlock(envelopeBytes: number, marginBytes: number): boolean {
    return this.hostMemory.trustedBytesToAllocate(envelopeBytes) === 0 || this.hasRoom(0, envelopeBytes, marginBytes);
  }

  private hasRoom(keyTrustedBytes: number, envelopeBytes: number, marginBytes: number): boolean {
    for (;;) {
      const stateBytes = envelopeBytes === 0 ? 0 : this.hostMemory.trustedBytesToAllocate(envelopeBytes);
      if (stateBytes < 0) {
        this.lastRefusal = HOST_FULL;
        return false;
      }
      // Also what needs nothing now: many that are let through at once together need more.
      if (keyTrustedBytes + stateBytes + marginBytes <= this.budget.available) return true;
      // Empty segments cost trusted memory, too.
      const reachableBytes = this.budget.available + this.hostMemory.reclaimableBytes;
      if (keyTrustedBytes + marginBytes > reachableBytes || !this.hostMemory.giveBackEmpty()) {
        this.lastRefusal = TRUSTED_FULL;
        return false;
      }
    }
  }

  private field(entry: number, offset: number): number {
    return this.entries.words(entry)[this.entries.wordOffset(entry) + offset]!;
  }

  invariants(): void {
    this.budget.invariants();
    this.hostMemory.invariants();
    this.index.invariants();
    this.view?.invariants();
    assert(
      this.view === undefined || this.view.count === this.index.count,
      'index and ordered view hold the same keys',
    );
    const refs = new Set<number>();
    let tombstones = 0;
    for (let at = 0; at < this.index.slotCount; at++) {
      const entry = this.index.entryInSlot(at);
      if (entry === NO_ENTRY) continue;
      const ref = this.hostRef(entry);
      const envelopeBytes = this.envelopeBytes(entry);
      const isNone = this.compareStamp(entry, 0, 0, 0, 0) === 0;
      assert(!isNone || this.isTombstone(entry), 'what has a value has a stamp');
      assert(this.isPlaceFor(ref, envelopeBytes), 'an envelope lies in a block of its size class');
      if (this.isTombstone(entry)) tombstones++;
      if (ref === NO_REF) continue;
      assert(this.hostMemory.isAllocated(ref) && !refs.has(ref), 'a block has one owner');
      refs.add(ref);
    }
    const ownedBlocks = refs.size + this.hostMemory.reservedBlocks;
    assert(ownedBlocks === this.hostMemory.usedBlocks, 'each live block has an owner');
    this.consensus.invariants();
    const accepted = [...this.consensus.refs()];
    assert(new Set(accepted).size === accepted.length, 'an accepted value has a block of its own');
    for (const ref of accepted) assert(this.hostMemory.isReserved(ref), 'an accepted value lies in a reserved block');
    assert(tombstones === this.tombstoneCount, 'tombstones are counted');
  }
}
