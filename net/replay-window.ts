import { assert } from './assert.ts';
import { REPLAY_WINDOW_PACKETS } from './limits.ts';

/**
 * Which packet numbers of a session were received (RFC 6479): a ring of bit blocks that slides without shifting.
 * Looked up before the tag is checked, committed after, so that a forgery can't push the window on.
 */
const BLOCK_BITS = 32;
/** One block more than the window, as the newest block is only partly behind the newest number (RFC 6479, 2). */
const BLOCK_COUNT = 256;

export class ReplayWindow {
  readonly #blocks = new Int32Array(BLOCK_COUNT);
  #largest = -1;

  /** Largest packet number committed, -1 before the first. */
  get largest(): number {
    return this.#largest;
  }

  /** True when the number is new: not committed before and not behind the window. */
  isNew(packetNumber: number): boolean {
    if (packetNumber > this.#largest) return true;
    if (packetNumber <= this.#largest - REPLAY_WINDOW_PACKETS) return false;
    const block = Math.floor(packetNumber / BLOCK_BITS) % BLOCK_COUNT;
    return (this.#blocks[block]! & (1 << (packetNumber % BLOCK_BITS))) === 0;
  }

  /** Marks an authentic packet's number as received; false when it was received before or is too old. */
  commit(packetNumber: number): boolean {
    if (!this.isNew(packetNumber)) return false;
    const blockNumber = Math.floor(packetNumber / BLOCK_BITS);
    if (packetNumber > this.#largest) {
      const blockNumberLargest = this.#largest < 0 ? -1 : Math.floor(this.#largest / BLOCK_BITS);
      const blocksAhead = Math.min(blockNumber - blockNumberLargest, BLOCK_COUNT);
      for (let i = 0; i < blocksAhead; i++) this.#blocks[(blockNumber - i) % BLOCK_COUNT] = 0;
      this.#largest = packetNumber;
    }
    this.#blocks[blockNumber % BLOCK_COUNT]! |= 1 << (packetNumber % BLOCK_BITS);
    return true;
  }
}

assert(
  REPLAY_WINDOW_PACKETS <= (BLOCK_COUNT - 1) * BLOCK_BITS,
  'the ring of blocks must cover the window and the block that is being filled',
);
