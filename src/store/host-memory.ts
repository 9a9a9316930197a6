import { assert } from '../../net/assert.ts';
import type { Region } from '../../net/bytes.ts';
import { regionOf } from '../../net/bytes.ts';
import { ENVELOPE_HEADER_BYTES } from '../../workers/sealing.ts';
import { AvocadoError } from '../errors.ts';
import { BLOCK_STEP_BYTES, sizeClassBytes, sizeClassOf } from './size-classes.ts';
import type { TrustedBudget } from './trusted-budget.ts';
import { TYPED_ARRAY_OVERHEAD_BYTES } from './trusted-budget.ts';
import type { Refusal } from './write-result.ts';
import { HOST_FULL, TRUSTED_FULL } from './write-result.ts';

/**
 * Memory outside of what is trusted, where sealed values lie. It stands for memory that the host can read and change at
 * any time: nothing is ever read from it to decide anything here. Which blocks are free, how long they are and where
 * they lie is known from trusted memory alone.
 *
 * It consists of segments (SharedArrayBuffers, so that workers can seal and open in place), each cut into blocks of one
 * size class. A block is named by a ref, an int32 that is never negative: segment index and block index.
 *
 *     segment state: nextFree[block] = the next free block of the segment, NO_BLOCK at the end, ALLOCATED for a live one
 *     size class:    a doubly linked list of its segments that have free blocks
 *
 * A segment that has become empty stays with its class until another class finds no free block: then it changes over.
 */
export const NO_REF = -1;

/** Large enough that state and typed arrays are small beside it, small enough that each of 45 classes can have its own. */
const SEGMENT_BYTES_DEFAULT = 1024 * 1024;
/** Values up to what one UDP datagram holds (under 64 KiB) and their header; larger ones come with larger segments. */
const BLOCK_BYTES_MAX_DEFAULT = 64 * 1024 + ENVELOPE_HEADER_BYTES;

/** A ref is segment index (15 bits) and block index (16 bits): 32 GiB in segments of 1 MiB. */
const REF_BLOCK_BITS = 16;
const REF_BLOCK_MASK = 0xffff;
const SEGMENTS_MAX = 1 << 15;
/** More than this no replica can use. */
export const HOST_BYTES_MAX = SEGMENTS_MAX * SEGMENT_BYTES_DEFAULT;

/** What nextFree holds for blocks that have no next one; both are no block's index, so a segment has at most 65,534. */
const ALLOCATED = 0xffff;
const NO_BLOCK = 0xfffe;
const SEGMENT_BLOCKS_MAX = NO_BLOCK;

const NO_SEGMENT = -1;

/** Trusted bytes a segment costs in the tables below: class, used, freeHead, previous, next, two bytes each. */
const SEGMENT_TABLE_BYTES = 5 * 2;
/** The shared buffer's record, its two views, and the state's own array. */
const SEGMENT_OVERHEAD_BYTES = 4 * TYPED_ARRAY_OVERHEAD_BYTES;

const ACCOUNT = 'host memory state';

export interface HostMemoryOptions {
  /** Pays for the allocator's state. */
  readonly budget: TrustedBudget;
  readonly hostBytesMax: number;
  /** Longest block, a multiple of 16. */
  readonly blockBytesMax?: number;
  readonly segmentBytes?: number;
}

export class HostMemory {
  readonly blockBytesMax: number;
  readonly segmentBytes: number;
  readonly hostBytesMax: number;
  /** Why the last allocate() gave NO_REF. */
  lastRefusal: Refusal = HOST_FULL;

  private readonly budget: TrustedBudget;
  private readonly segmentCountMax: number;
  private segmentCount = 0;
  private emptySegmentCount = 0;
  private usedBlockBytes = 0;
  private usedBlockCount = 0;
  private reservedBytes = 0;

  /** By size class. */
  private readonly classBlockBytes: Int32Array;
  private readonly classBlockCount: Int32Array;
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
    this.budget = options.budget;
    this.hostBytesMax = options.hostBytesMax;
    this.segmentBytes = options.segmentBytes ?? SEGMENT_BYTES_DEFAULT;
    this.blockBytesMax = options.blockBytesMax ?? BLOCK_BYTES_MAX_DEFAULT;
    assert(this.segmentBytes % BLOCK_STEP_BYTES === 0, 'segments are cut into steps of 16 bytes');
    assert(this.blockBytesMax % BLOCK_STEP_BYTES === 0 && this.blockBytesMax > 0, 'blocks are multiples of 16 bytes');
    assert(this.blockBytesMax <= this.segmentBytes, 'a block lies in one segment');
    this.segmentCountMax = Math.min(Math.floor(this.hostBytesMax / this.segmentBytes), SEGMENTS_MAX);
    if (this.segmentCountMax < 1) {
      throw new AvocadoError(
        'INVALID_ARGUMENT',
        `Host memory of ${this.hostBytesMax} bytes is too small: give at least a segment, ${this.segmentBytes} bytes.`,
      );
    }
    const tableBytes = this.segmentCountMax * SEGMENT_TABLE_BYTES;
    if (!this.tryReserve(tableBytes)) {
      throw new AvocadoError(
        'INVALID_ARGUMENT',
        `Trusted memory of ${this.budget.bytesMax} bytes is too small: ` +
          `to manage ${this.hostBytesMax} bytes of host memory takes ${tableBytes} bytes.`,
      );
    }

    const classCount = sizeClassOf(this.blockBytesMax) + 1;
    this.classBlockBytes = new Int32Array(classCount);
    this.classBlockCount = new Int32Array(classCount);
    this.classHead = new Int16Array(classCount).fill(NO_SEGMENT);
    for (let sizeClass = 0; sizeClass < classCount; sizeClass++) {
      // The last class ends at the maximum: its regular length could waste, or not fit, a segment.
      const blockBytes = Math.min(sizeClassBytes(sizeClass), this.blockBytesMax);
      this.classBlockBytes[sizeClass] = blockBytes;
      this.classBlockCount[sizeClass] = Math.min(Math.floor(this.segmentBytes / blockBytes), SEGMENT_BLOCKS_MAX);
    }
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

  /** Bytes in segments. Segments are kept for good, so this is also the most that was ever needed. */
  get capacityBytes(): number {
    return this.segmentCount * this.segmentBytes;
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
    assert(next !== ALLOCATED, 'what heads a free list is free');
    nextFree[block] = ALLOCATED;
    this.segmentFreeHead[segment] = next;
    if (next === NO_BLOCK) this.unlink(segment);
    if (this.segmentUsed[segment] === 0) this.emptySegmentCount--;
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
    assert(nextFree[block] === ALLOCATED, 'only a live block is freed');
    const head = this.segmentFreeHead[segment]!;
    nextFree[block] = head;
    this.segmentFreeHead[segment] = block;
    if (head === NO_BLOCK) this.link(segment);
    this.segmentUsed[segment]!--;
    if (this.segmentUsed[segment] === 0) this.emptySegmentCount++;
    this.usedBlockBytes -= this.classBlockBytes[this.segmentClass[segment]!]!;
    this.usedBlockCount--;
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

  /** Trusted bytes that allocate(byteCount) would reserve now, or -1 when host memory is at its limit. */
  trustedBytesToAllocate(byteCount: number): number {
    const sizeClass = sizeClassOf(byteCount);
    if (this.classHead[sizeClass] !== NO_SEGMENT) return 0;
    const empty = this.findEmptySegment();
    if (empty !== NO_SEGMENT) return Math.max(0, this.changeOverBytes(empty, sizeClass));
    return this.segmentCount < this.segmentCountMax ? this.stateBytes(sizeClass) + SEGMENT_OVERHEAD_BYTES : -1;
  }

  /** A segment for a class that has no free block: an empty one of another class, else a new one. */
  private gainSegment(sizeClass: number): number {
    const empty = this.findEmptySegment();
    return empty !== NO_SEGMENT ? this.changeOver(empty, sizeClass) : this.addSegment(sizeClass);
  }

  private addSegment(sizeClass: number): number {
    if (this.segmentCount === this.segmentCountMax) return this.refuse(HOST_FULL);
    const trustedBytes = this.stateBytes(sizeClass) + SEGMENT_OVERHEAD_BYTES;
    if (!this.tryReserve(trustedBytes)) return this.refuse(TRUSTED_FULL);
    const buffer = shareBytes(this.segmentBytes);
    if (buffer === undefined) {
      this.release(trustedBytes);
      return this.refuse(HOST_FULL);
    }
    const segment = this.segmentCount++;
    this.emptySegmentCount++;
    this.regions.push(regionOf(buffer));
    this.nextFree.push(new Uint16Array(this.classBlockCount[sizeClass]!));
    this.dedicate(segment, sizeClass);
    return segment;
  }

  private changeOver(segment: number, sizeClass: number): number {
    const moreBytes = this.changeOverBytes(segment, sizeClass);
    if (moreBytes > 0 && !this.tryReserve(moreBytes)) return this.refuse(TRUSTED_FULL);
    if (moreBytes < 0) this.release(-moreBytes);
    this.unlink(segment);
    this.nextFree[segment] = new Uint16Array(this.classBlockCount[sizeClass]!);
    this.dedicate(segment, sizeClass);
    return segment;
  }

  private dedicate(segment: number, sizeClass: number): void {
    const nextFree = this.nextFree[segment]!;
    const last = nextFree.length - 1;
    for (let block = 0; block < last; block++) nextFree[block] = block + 1;
    nextFree[last] = NO_BLOCK;
    this.segmentClass[segment] = sizeClass;
    this.segmentUsed[segment] = 0;
    this.segmentFreeHead[segment] = 0;
    this.link(segment);
  }

  /** Looks through all segments, but only when a class has run out and there is one to find: once a segment's worth. */
  private findEmptySegment(): number {
    if (this.emptySegmentCount === 0) return NO_SEGMENT;
    for (let segment = 0; segment < this.segmentCount; segment++) {
      if (this.segmentUsed[segment] === 0) return segment;
    }
    assert(false, 'the empty segment that was counted exists');
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

  private stateBytes(sizeClass: number): number {
    return this.classBlockCount[sizeClass]! * Uint16Array.BYTES_PER_ELEMENT;
  }

  private changeOverBytes(segment: number, sizeClass: number): number {
    return this.stateBytes(sizeClass) - this.stateBytes(this.segmentClass[segment]!);
  }

  private tryReserve(bytes: number): boolean {
    if (!this.budget.tryReserve(ACCOUNT, bytes)) return false;
    this.reservedBytes += bytes;
    return true;
  }

  private release(bytes: number): void {
    this.budget.release(ACCOUNT, bytes);
    this.reservedBytes -= bytes;
  }

  private refuse(reason: Refusal): number {
    this.lastRefusal = reason;
    return NO_SEGMENT;
  }

  /** Live blocks only; for the invariants of owners. */
  isAllocated(ref: number): boolean {
    return ref >= 0 && this.nextFree[ref >> REF_BLOCK_BITS]?.[ref & REF_BLOCK_MASK] === ALLOCATED;
  }

  invariants(): void {
    let usedBytes = 0;
    let usedBlocks = 0;
    let emptySegments = 0;
    let stateBytes = this.segmentCountMax * SEGMENT_TABLE_BYTES;
    for (let segment = 0; segment < this.segmentCount; segment++) {
      const sizeClass = this.segmentClass[segment]!;
      const blockCount = this.classBlockCount[sizeClass]!;
      const used = this.segmentUsed[segment]!;
      assert(this.nextFree[segment]!.length === blockCount, 'a segment has the state of its class');
      assert(this.freeBlocks(segment) === blockCount - used, 'each block is free or live');
      assert(used < blockCount === this.isLinked(segment), 'its class lists a segment that has free blocks');
      usedBytes += used * this.classBlockBytes[sizeClass]!;
      usedBlocks += used;
      if (used === 0) emptySegments++;
      stateBytes += this.stateBytes(sizeClass) + SEGMENT_OVERHEAD_BYTES;
    }
    assert(usedBytes === this.usedBlockBytes && usedBlocks === this.usedBlockCount, 'live blocks are counted');
    assert(emptySegments === this.emptySegmentCount, 'empty segments are counted');
    assert(this.capacityBytes <= this.hostBytesMax, 'the limit of host memory is kept');
    assert(stateBytes === this.reservedBytes, 'the state is paid for, and nothing else');
  }

  private freeBlocks(segment: number): number {
    const nextFree = this.nextFree[segment]!;
    let listed = 0;
    for (let block = this.segmentFreeHead[segment]!; block !== NO_BLOCK; block = nextFree[block]!) {
      assert(block !== ALLOCATED && nextFree[block] !== ALLOCATED, 'a free list holds free blocks');
      assert(++listed <= nextFree.length, 'a free list ends');
    }
    let allocated = 0;
    for (const next of nextFree) if (next === ALLOCATED) allocated++;
    assert(listed + allocated === nextFree.length, 'no block is lost');
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

/** Undefined when the host gives no more memory. */
function shareBytes(byteCount: number): SharedArrayBuffer | undefined {
  try {
    return new SharedArrayBuffer(byteCount);
  } catch {
    return undefined;
  }
}
