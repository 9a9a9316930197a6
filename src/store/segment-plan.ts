import { assert } from '../../net/assert.ts';
import { sizeClassBytes, sizeClassOf } from './size-classes.ts';

/**
 * How a size class cuts its segments: length of a block, blocks a segment, length of the segment.
 *
 * One length serves for nearly all classes, so that an empty segment changes from class to class without asking the host
 * for memory. Classes of large blocks that would leave too much of it unused get segments that end with their last block:
 * with 1 MiB these are the classes of 224, 384, 448, 640, 768 and 896 KiB, and the one that is longer than 1 MiB.
 */

/** The unused end of a segment is at most a sixteenth of it: a quarter of what rounding up to a class can cost. */
const SLACK_DIVISOR = 16;

export class SegmentPlan {
  /** By size class. */
  readonly blockBytes: Int32Array;
  readonly blockCount: Int32Array;
  readonly segmentBytes: Int32Array;

  constructor(blockBytesMax: number, segmentBytes: number, segmentBlocksMax: number) {
    const classCount = sizeClassOf(blockBytesMax) + 1;
    this.blockBytes = new Int32Array(classCount);
    this.blockCount = new Int32Array(classCount);
    this.segmentBytes = new Int32Array(classCount);
    for (let sizeClass = 0; sizeClass < classCount; sizeClass++) {
      // The last class ends at the maximum: its regular length would be wasted.
      const blockBytes = Math.min(sizeClassBytes(sizeClass), blockBytesMax);
      const blockCount = Math.min(Math.max(1, Math.floor(segmentBytes / blockBytes)), segmentBlocksMax);
      const usedBytes = blockCount * blockBytes;
      const isUsual = usedBytes <= segmentBytes && segmentBytes - usedBytes <= segmentBytes / SLACK_DIVISOR;
      this.blockBytes[sizeClass] = blockBytes;
      this.blockCount[sizeClass] = blockCount;
      this.segmentBytes[sizeClass] = isUsual ? segmentBytes : usedBytes;
      assert(this.segmentBytes[sizeClass]! >= usedBytes, 'a segment holds its blocks');
    }
  }

  /** As many segments as the shortest ones give. */
  segmentCountMax(hostBytesMax: number, limit: number): number {
    const shortest = this.segmentBytes.reduce((a, b) => Math.min(a, b));
    return Math.min(Math.floor(hostBytesMax / shortest), limit);
  }
}
