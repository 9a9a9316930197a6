import { assert } from '../../net/assert.ts';
import type { Region } from '../../net/bytes.ts';
import { regionOf } from '../../net/bytes.ts';
import { ENVELOPE_BYTES_MAX } from '../../workers/sealing.ts';
import { AvocadoError } from '../errors.ts';
import { SegmentPlan } from './segment-plan.ts';
import { BLOCK_STEP_BYTES, sizeClassOf } from './size-classes.ts';
import type { TrustedBudget } from './trusted-budget.ts';
import { TYPED_ARRAY_OVERHEAD_BYTES } from './trusted-budget.ts';
import type { Refusal } from './write-result.ts';
import { HOST_FULL, TRUSTED_FULL } from './write-result.ts';

/**
 * Memory outside of what is trusted, where sealed values lie. It stands for memory that the host can read and change at
 * any time: nothing is ever read from it to decide anything here. Which blocks are free, how long they are and where
 * they lie is known from trusted memory alone.
 *
 * It consists of segments, each cut into blocks of one size class. A block is named by a ref, an int32 that is never negative: segment index and block index.
 *
 *     segment state: nextFree[block] = the next free block of the segment, NO_BLOCK at the end,
 *                    ALLOCATED or RESERVED for a live one
 *     size class:    a doubly linked list of its segments that have free blocks
 *
 * Segments are 1 MiB long, but for some classes of large blocks (segment-plan.ts). A segment that has become empty stays
 * with its class until another class finds no free block. That one takes it over as it is when the length is its own;
 * else it gets a new segment, and empty ones are given back to the host as far as a limit demands it. The host may refuse
 * a new one at any time: what is live is never touched by that.
 */
export const NO_REF = -1;

/** Large enough that state and typed arrays are small beside it, small enough that each of 61 classes can have its own. */
const SEGMENT_BYTES_DEFAULT = 1024 * 1024;
/** A ref is segment index (15 bits) and block index (16 bits): 32 GiB in segments of 1 MiB, 20 with 600 KiB in each. */
const REF_BLOCK_BITS = 16;
const REF_BLOCK_MASK = 0xffff;
const SEGMENTS_MAX = 1 << 15;
/** More than this no replica can use. */
export const HOST_BYTES_MAX = SEGMENTS_MAX * SEGMENT_BYTES_DEFAULT;

/** What nextFree holds for blocks that have no next one; none is a block's index, so a segment has at most 65,533. */
const ALLOCATED = 0xffff;
/** Live, and held by whoever fills it before it belongs to an entry. */
const RESERVED = 0xfffe;
const NO_BLOCK = 0xfffd;
const SEGMENT_BLOCKS_MAX = NO_BLOCK;

const NO_SEGMENT = -1;
/** Class of a place in the tables whose segment was given back. */
const NO_CLASS = 0xffff;
/** What such a place holds. */
const NO_REGION = regionOf(new ArrayBuffer(0));
const NO_STATE = new Uint16Array(0);

/** Trusted bytes a segment costs in the tables below: class, used, freeHead, previous, next, two bytes each. */
const SEGMENT_TABLE_BYTES = 5 * 2;
/** The buffer's record, its two views, and the state's own array. */
const SEGMENT_OVERHEAD_BYTES = 4 * TYPED_ARRAY_OVERHEAD_BYTES;

const ACCOUNT = 'host memory state';

export interface HostMemoryOptions {
  /** Pays for the allocator's state. */
  readonly budget: TrustedBudget;
  readonly hostBytesMax: number;
  /** Longest block, a multiple of 16. */
  readonly blockBytesMax?: number;
  /** Of all classes but those that would waste too much of it. */
  readonly segmentBytes?: number;
  /**
   * The sealing has workers, which seal and open in place: segments are SharedArrayBuffers. V8 copies to and from these by
   * words, where memmove does it for others (measured for 16 KiB: 1.4 us and 0.6).
   */
  readonly isShared?: boolean;
}

export class HostMemory {
  readonly blockBytesMax: number;
  readonly segmentBytes: number;
  readonly hostBytesMax: number;
  /** Why the last allocate() gave NO_REF. */
  lastRefusal: Refusal = HOST_FULL;

  private readonly isShared: boolean;
  private readonly budget: TrustedBudget;
  private readonly plan: SegmentPlan;
  private readonly segmentCountMax: number;
  /** Places of the tables in use, vacant ones among them included. */
  private segmentCount = 0;
  /** Places whose segment was given back, linked by segmentNext. */
  private vacantHead = NO_SEGMENT;
  private segmentsBytes = 0;
  private emptySegmentCount = 0;
  private emptySegmentsBytes = 0;
  private emptyTrustedBytes = 0;
  private usedBlockBytes = 0;
  private usedBlockCount = 0;
  private reservedBlockCount = 0;
  private paidBytes = 0;

  /** By size class. */
  private readonly classBlockBytes: Int32Array;
  /** First segment with a free block. */
  private readonly classHead: Int16Array;

  /** By segment. One Region a segment, made once. */
  private readonly regions: Region[] = [];
  private readonly nextFree: Uint16Array[] = [];
  private readonly segmentClass: Uint16Array;
  private readonly segmentUsed: Uint16Array;
  /** NO_BLOCK when the segment is full, and then it is in no list. */
  private readonly segmentFreeHead: Uint16Array;
  private readonly segmentPrevious: Int16Array;
  private readonly segmentNext: Int16Array;

  constructor(options: HostMemoryOptions) {
    this.isShared = options.isShared ?? false;
    this.budget = options.budget;
    this.hostBytesMax = options.hostBytesMax;
    this.segmentBytes = options.segmentBytes ?? SEGMENT_BYTES_DEFAULT;
    this.blockBytesMax = options.blockBytesMax ?? ENVELOPE_BYTES_MAX;
    assert(this.segmentBytes % BLOCK_STEP_BYTES === 0, 'segments are cut into steps of 16 bytes');
    assert(this.blockBytesMax % BLOCK_STEP_BYTES === 0 && this.blockBytesMax > 0, 'blocks are multiples of 16 bytes');
    this.plan = new SegmentPlan(this.blockBytesMax, this.segmentBytes, SEGMENT_BLOCKS_MAX);
    const isEnough = this.hostBytesMax >= this.segmentBytes;
    this.segmentCountMax = isEnough ? this.plan.segmentCountMax(this.hostBytesMax, SEGMENTS_MAX) : 0;
    if (this.segmentCountMax < 1) {
      throw new AvocadoError(
        'INVALID_ARGUMENT',
        `Host memory of ${this.hostBytesMax} bytes is too small: give at least a segment, ${this.segmentBytes} bytes.`,
      );
    }
    const tableBytes = this.segmentCountMax * SEGMENT_TABLE_BYTES;
    if (!this.pay(tableBytes)) {
      throw new AvocadoError(
        'INVALID_ARGUMENT',
        `Trusted memory of ${this.budget.bytesMax} bytes is too small: ` +
          `to manage ${this.hostBytesMax} bytes of host memory takes ${tableBytes} bytes.`,
      );
    }

    this.classBlockBytes = this.plan.blockBytes;
    this.classHead = new Int16Array(this.classBlockBytes.length).fill(NO_SEGMENT);
    this.segmentClass = new Uint16Array(this.segmentCountMax);
    this.segmentUsed = new Uint16Array(this.segmentCountMax);
    this.segmentFreeHead = new Uint16Array(this.segmentCountMax);
    this.segmentPrevious = new Int16Array(this.segmentCountMax);
    this.segmentNext = new Int16Array(this.segmentCountMax);
  }

  /** Bytes in live blocks. */
  get usedBytes(): number {
    return this.usedBlockBytes;
  }

  get usedBlocks(): number {
    return this.usedBlockCount;
  }

  /** Live blocks that no entry owns yet. */
  get reservedBlocks(): number {
    return this.reservedBlockCount;
  }

  /** Bytes in segments; never more than hostBytesMax. */
  get capacityBytes(): number {
    return this.segmentsBytes;
  }

  /** What giving all empty segments back would release of the trusted budget. */
  get reclaimableBytes(): number {
    return this.emptyTrustedBytes;
  }

  /** A block of at least byteCount bytes (1 to blockBytesMax), contents undefined, or NO_REF: see lastRefusal. */
  allocate(byteCount: number): number {
    assert(byteCount >= 1 && byteCount <= this.blockBytesMax, 'a block has 1 to blockBytesMax bytes');
    const sizeClass = sizeClassOf(byteCount);
    let segment = this.classHead[sizeClass]!;
    if (segment === NO_SEGMENT) {
      segment = this.gainSegment(sizeClass);
      if (segment === NO_SEGMENT) return NO_REF;
    }
    const nextFree = this.nextFree[segment]!;
    const block = this.segmentFreeHead[segment]!;
    const next = nextFree[block]!;
    assert(next <= NO_BLOCK, 'what heads a free list is free');
    nextFree[block] = ALLOCATED;
    this.segmentFreeHead[segment] = next;
    if (next === NO_BLOCK) this.unlink(segment);
    if (this.segmentUsed[segment] === 0) this.countEmpty(sizeClass, -1);
    this.segmentUsed[segment]!++;
    this.usedBlockBytes += this.classBlockBytes[sizeClass]!;
    this.usedBlockCount++;
    return (segment << REF_BLOCK_BITS) | block;
  }

  free(ref: number): void {
    const segment = ref >> REF_BLOCK_BITS;
    const block = ref & REF_BLOCK_MASK;
    assert(ref >= 0 && segment < this.segmentCount, 'the block is of this memory');
    const nextFree = this.nextFree[segment]!;
    assert(nextFree[block] === ALLOCATED, 'only a live block that nobody has reserved is freed');
    const head = this.segmentFreeHead[segment]!;
    nextFree[block] = head;
    this.segmentFreeHead[segment] = block;
    if (head === NO_BLOCK) this.link(segment);
    const sizeClass = this.segmentClass[segment]!;
    this.segmentUsed[segment]!--;
    if (this.segmentUsed[segment] === 0) this.countEmpty(sizeClass, 1);
    this.usedBlockBytes -= this.classBlockBytes[sizeClass]!;
    this.usedBlockCount--;
  }

  /** Marks a live block as held by whoever fills it: it can't be freed, or reserved again, until it is released. */
  reserve(ref: number): void {
    assert(this.isAllocated(ref), 'only a live block is reserved, and once');
    this.nextFree[ref >> REF_BLOCK_BITS]![ref & REF_BLOCK_MASK] = RESERVED;
    this.reservedBlockCount++;
  }

  /** Takes the mark away; the block stays live. */
  release(ref: number): void {
    assert(this.isReserved(ref), 'only a reserved block is released');
    this.nextFree[ref >> REF_BLOCK_BITS]![ref & REF_BLOCK_MASK] = ALLOCATED;
    this.reservedBlockCount--;
  }

  isReserved(ref: number): boolean {
    return ref >= 0 && this.nextFree[ref >> REF_BLOCK_BITS]?.[ref & REF_BLOCK_MASK] === RESERVED;
  }

  blockBytes(ref: number): number {
    return this.classBlockBytes[this.segmentClass[ref >> REF_BLOCK_BITS]!]!;
  }

  /** The segment that the block lies in. */
  region(ref: number): Region {
    return this.regions[ref >> REF_BLOCK_BITS]!;
  }

  /** The block's first word in its region. */
  wordOffset(ref: number): number {
    return (this.blockBytes(ref) >> 2) * (ref & REF_BLOCK_MASK);
  }

  /** True when a block of this ref's size would serve for byteCount bytes too. */
  fits(ref: number, byteCount: number): boolean {
    return this.segmentClass[ref >> REF_BLOCK_BITS] === sizeClassOf(byteCount);
  }

  /**
   * Trusted bytes that allocate(byteCount) takes at most, or -1 when host memory is at its limit. It takes fewer when it
   * has to give an empty segment back.
   */
  trustedBytesToAllocate(byteCount: number): number {
    const sizeClass = sizeClassOf(byteCount);
    if (this.classHead[sizeClass] !== NO_SEGMENT) return 0;
    const empty = this.findEmptySegment(this.plan.segmentBytes[sizeClass]!);
    if (empty !== NO_SEGMENT) return Math.max(0, this.changeOverBytes(empty, sizeClass));
    return this.canHost(sizeClass) ? this.trustedBytes(sizeClass) : -1;
  }

  /** Gives an empty segment back to the host, and what it cost to the budget. False when there is none. */
  giveBackEmpty(): boolean {
    if (this.emptySegmentCount === 0) return false;
    const segment = this.findEmptySegment();
    const sizeClass = this.segmentClass[segment]!;
    this.unlink(segment);
    this.countEmpty(sizeClass, -1);
    this.segmentsBytes -= this.plan.segmentBytes[sizeClass]!;
    this.unpay(this.trustedBytes(sizeClass));
    this.regions[segment] = NO_REGION;
    this.nextFree[segment] = NO_STATE;
    this.segmentClass[segment] = NO_CLASS;
    this.segmentNext[segment] = this.vacantHead;
    this.vacantHead = segment;
    return true;
  }

  /** A segment for a class that has no free block: an empty one of the same length, else a new one. */
  private gainSegment(sizeClass: number): number {
    if (!this.canHost(sizeClass)) return this.refuse(HOST_FULL);
    if (this.trustedBytes(sizeClass) > this.budget.available + this.emptyTrustedBytes) return this.refuse(TRUSTED_FULL);
    for (;;) {
      const empty = this.findEmptySegment(this.plan.segmentBytes[sizeClass]!);
      if (empty !== NO_SEGMENT && this.changeOver(empty, sizeClass)) return empty;
      if (empty === NO_SEGMENT && this.hasPlace(sizeClass) && this.pay(this.trustedBytes(sizeClass))) break;
      // Over a limit, and by the checks above not for want of empty segments.
      assert(this.giveBackEmpty(), 'there is an empty segment to give back');
    }
    const buffer = this.askHost(this.plan.segmentBytes[sizeClass]!);
    if (buffer !== undefined) return this.addSegment(buffer, sizeClass);
    this.unpay(this.trustedBytes(sizeClass));
    return this.refuse(HOST_FULL);
  }

  /** When the host has no more memory, it is asked once more after it has been given back as much, if that is empty. */
  private askHost(byteCount: number): ArrayBufferLike | undefined {
    const buffer = this.allocateBuffer(byteCount);
    if (buffer !== undefined || this.emptySegmentsBytes < byteCount) return buffer;
    const keptBytes = this.segmentsBytes - byteCount;
    while (this.segmentsBytes > keptBytes) this.giveBackEmpty();
    return this.allocateBuffer(byteCount);
  }

  /** Undefined when the host gives no more memory. */
  private allocateBuffer(byteCount: number): ArrayBufferLike | undefined {
    try {
      return this.isShared ? new SharedArrayBuffer(byteCount) : new ArrayBuffer(byteCount);
    } catch {
      return undefined;
    }
  }

  private addSegment(buffer: ArrayBufferLike, sizeClass: number): number {
    let segment = this.vacantHead;
    if (segment === NO_SEGMENT) segment = this.segmentCount++;
    else this.vacantHead = this.segmentNext[segment]!;
    this.segmentsBytes += buffer.byteLength;
    this.regions[segment] = regionOf(buffer);
    this.dedicate(segment, sizeClass);
    return segment;
  }

  /** False when the budget has no room for the state of smaller blocks. */
  private changeOver(segment: number, sizeClass: number): boolean {
    const moreBytes = this.changeOverBytes(segment, sizeClass);
    if (moreBytes > 0 && !this.pay(moreBytes)) return false;
    if (moreBytes < 0) this.unpay(-moreBytes);
    this.unlink(segment);
    this.countEmpty(this.segmentClass[segment]!, -1);
    this.dedicate(segment, sizeClass);
    return true;
  }

  private dedicate(segment: number, sizeClass: number): void {
    const nextFree = new Uint16Array(this.plan.blockCount[sizeClass]!);
    const last = nextFree.length - 1;
    for (let block = 0; block < last; block++) nextFree[block] = block + 1;
    nextFree[last] = NO_BLOCK;
    this.nextFree[segment] = nextFree;
    this.segmentClass[segment] = sizeClass;
    this.segmentUsed[segment] = 0;
    this.segmentFreeHead[segment] = 0;
    this.countEmpty(sizeClass, 1);
    this.link(segment);
  }

  /** Could a segment of this class be had if all empty ones were given back? */
  private canHost(sizeClass: number): boolean {
    const keptBytes = this.segmentsBytes - this.emptySegmentsBytes;
    return (
      keptBytes + this.plan.segmentBytes[sizeClass]! <= this.hostBytesMax &&
      (this.emptySegmentCount > 0 || this.hasVacancy())
    );
  }

  private hasPlace(sizeClass: number): boolean {
    return this.segmentsBytes + this.plan.segmentBytes[sizeClass]! <= this.hostBytesMax && this.hasVacancy();
  }

  private hasVacancy(): boolean {
    return this.vacantHead !== NO_SEGMENT || this.segmentCount < this.segmentCountMax;
  }

  /**
   * An empty segment, of a certain length when one is given. Looks through all segments, but only when a class has run out
   * and there is an empty one: once a segment's worth.
   */
  private findEmptySegment(segmentBytes = 0): number {
    if (this.emptySegmentCount === 0) return NO_SEGMENT;
    for (let segment = 0; segment < this.segmentCount; segment++) {
      const sizeClass = this.segmentClass[segment]!;
      if (this.segmentUsed[segment] !== 0 || sizeClass === NO_CLASS) continue;
      if (segmentBytes === 0 || this.plan.segmentBytes[sizeClass] === segmentBytes) return segment;
    }
    assert(segmentBytes !== 0, 'the empty segment that was counted exists');
    return NO_SEGMENT;
  }

  private countEmpty(sizeClass: number, sign: 1 | -1): void {
    this.emptySegmentCount += sign;
    this.emptySegmentsBytes += sign * this.plan.segmentBytes[sizeClass]!;
    this.emptyTrustedBytes += sign * this.trustedBytes(sizeClass);
  }

  private link(segment: number): void {
    const sizeClass = this.segmentClass[segment]!;
    const head = this.classHead[sizeClass]!;
    this.segmentPrevious[segment] = NO_SEGMENT;
    this.segmentNext[segment] = head;
    if (head !== NO_SEGMENT) this.segmentPrevious[head] = segment;
    this.classHead[sizeClass] = segment;
  }

  private unlink(segment: number): void {
    const previous = this.segmentPrevious[segment]!;
    const next = this.segmentNext[segment]!;
    if (previous === NO_SEGMENT) this.classHead[this.segmentClass[segment]!] = next;
    else this.segmentNext[previous] = next;
    if (next !== NO_SEGMENT) this.segmentPrevious[next] = previous;
  }

  /** What a segment of this class costs. */
  private trustedBytes(sizeClass: number): number {
    return this.plan.blockCount[sizeClass]! * Uint16Array.BYTES_PER_ELEMENT + SEGMENT_OVERHEAD_BYTES;
  }

  private changeOverBytes(segment: number, sizeClass: number): number {
    return this.trustedBytes(sizeClass) - this.trustedBytes(this.segmentClass[segment]!);
  }

  private pay(bytes: number): boolean {
    if (!this.budget.tryReserve(ACCOUNT, bytes)) return false;
    this.paidBytes += bytes;
    return true;
  }

  private unpay(bytes: number): void {
    this.budget.release(ACCOUNT, bytes);
    this.paidBytes -= bytes;
  }

  private refuse(reason: Refusal): number {
    this.lastRefusal = reason;
    return NO_SEGMENT;
  }

  /** Live blocks that nobody has reserved. */
  isAllocated(ref: number): boolean {
    return ref >= 0 && this.nextFree[ref >> REF_BLOCK_BITS]?.[ref & REF_BLOCK_MASK] === ALLOCATED;
  }

  invariants(): void {
    let usedBytes = 0;
    let usedBlocks = 0;
    let reservedBlocks = 0;
    let segmentsBytes = 0;
    let emptyBytes = 0;
    let emptyTrustedBytes = 0;
    let emptySegments = 0;
    let vacantPlaces = 0;
    let paidBytes = this.segmentCountMax * SEGMENT_TABLE_BYTES;
    for (let segment = 0; segment < this.segmentCount; segment++) {
      const sizeClass = this.segmentClass[segment]!;
      if (sizeClass === NO_CLASS) {
        assert(this.regions[segment] === NO_REGION, 'a segment that was given back is not kept');
        vacantPlaces++;
        continue;
      }
      const blockCount = this.plan.blockCount[sizeClass]!;
      const blockBytes = this.classBlockBytes[sizeClass]!;
      const segmentBytes = this.regions[segment]!.bytes.length;
      const used = this.segmentUsed[segment]!;
      assert(segmentBytes === this.plan.segmentBytes[sizeClass], 'a segment has the length of its class');
      assert(blockCount * blockBytes <= segmentBytes, 'all blocks lie in their segment');
      assert(this.nextFree[segment]!.length === blockCount, 'a segment has the state of its class');
      assert(this.freeBlocks(segment) === blockCount - used, 'each block is free or live');
      assert(used < blockCount === this.isLinked(segment), 'its class lists a segment that has free blocks');
      usedBytes += used * blockBytes;
      usedBlocks += used;
      for (const next of this.nextFree[segment]!) if (next === RESERVED) reservedBlocks++;
      segmentsBytes += segmentBytes;
      paidBytes += this.trustedBytes(sizeClass);
      if (used > 0) continue;
      emptySegments++;
      emptyBytes += segmentBytes;
      emptyTrustedBytes += this.trustedBytes(sizeClass);
    }
    for (let at = this.vacantHead; at !== NO_SEGMENT; at = this.segmentNext[at]!) {
      assert(this.segmentClass[at] === NO_CLASS && --vacantPlaces >= 0, 'only vacant places are listed, and once');
    }
    assert(vacantPlaces === 0, 'all vacant places are listed');
    assert(usedBytes === this.usedBlockBytes && usedBlocks === this.usedBlockCount, 'live blocks are counted');
    assert(reservedBlocks === this.reservedBlockCount, 'reserved blocks are counted');
    assert(segmentsBytes === this.segmentsBytes, 'segments are counted');
    assert(emptySegments === this.emptySegmentCount, 'empty segments are counted');
    assert(emptyBytes === this.emptySegmentsBytes, 'what could be given back is counted');
    assert(emptyTrustedBytes === this.emptyTrustedBytes, 'what could be released is counted');
    assert(this.capacityBytes <= this.hostBytesMax, 'the limit of host memory is kept');
    assert(paidBytes === this.paidBytes, 'the state is paid for, and nothing else');
    assert(paidBytes === this.budget.byAccount().get(ACCOUNT), 'the account says what was paid');
  }

  private freeBlocks(segment: number): number {
    const nextFree = this.nextFree[segment]!;
    let listed = 0;
    for (let block = this.segmentFreeHead[segment]!; block !== NO_BLOCK; block = nextFree[block]!) {
      assert(block < nextFree.length && !isLive(nextFree[block]!), 'a free list holds free blocks');
      assert(++listed <= nextFree.length, 'a free list ends');
    }
    let live = 0;
    for (const next of nextFree) if (isLive(next)) live++;
    assert(listed + live === nextFree.length, 'no block is lost');
    return listed;
  }

  private isLinked(segment: number): boolean {
    let at = this.classHead[this.segmentClass[segment]!]!;
    for (let steps = 0; at !== NO_SEGMENT && at !== segment; at = this.segmentNext[at]!) {
      assert(++steps <= this.segmentCount, 'a list of segments ends');
    }
    return at === segment;
  }
}

function isLive(next: number): boolean {
  return next === ALLOCATED || next === RESERVED;
}
