/** Which blocks of the staging (job-memory.ts) are free: the loop's own table. A job takes neighbouring ones. */
import { assert } from '../net/assert.ts';
import type { JobMemory } from './job-memory.ts';
import { STAGING_BLOCK_BYTES, STAGING_BLOCK_COUNT } from './job-memory.ts';
import { eraseBytes } from './sodium.ts';

export class StagingBlocks {
  readonly #taken = new Uint8Array(STAGING_BLOCK_COUNT);
  /** Taken since they were overwritten. */
  readonly #used = new Uint8Array(STAGING_BLOCK_COUNT);
  /** By first block. */
  readonly #lengths = new Uint16Array(STAGING_BLOCK_COUNT);
  /** Where the search for free blocks goes on. */
  #next = 0;

  /** First of enough neighbouring blocks, or -1. */
  take(byteCount: number): number {
    const wanted = Math.ceil(byteCount / STAGING_BLOCK_BYTES);
    let found = this.#search(this.#next, STAGING_BLOCK_COUNT, wanted);
    if (found === -1) found = this.#search(0, STAGING_BLOCK_COUNT, wanted);
    if (found === -1) return -1;
    this.#taken.fill(1, found, found + wanted);
    this.#used.fill(1, found, found + wanted);
    this.#lengths[found] = wanted;
    this.#next = found + wanted;
    return found;
  }

  release(block: number): void {
    const count = this.#lengths[block]!;
    assert(count > 0, 'blocks are released once');
    this.#lengths[block] = 0;
    this.#taken.fill(0, block, block + count);
  }

  /** Overwrites what no job holds. */
  eraseFree(memory: JobMemory): void {
    for (let block = 0; block < STAGING_BLOCK_COUNT; block++) {
      if (this.#taken[block] === 1 || this.#used[block] === 0) continue;
      this.#used[block] = 0;
      const byte = memory.stagingByte(block);
      eraseBytes(memory.bytes.subarray(byte, byte + STAGING_BLOCK_BYTES));
    }
  }

  /** @param held First blocks of what jobs hold, -1 for none. */
  invariants(held: Iterable<number>): void {
    let heldCount = 0;
    for (const block of held) if (block !== -1) heldCount += this.#lengths[block]!;
    const takenCount = this.#taken.reduce((sum, taken) => sum + taken, 0);
    assert(heldCount === takenCount, 'a block is taken as long as a job holds it');
  }

  #search(from: number, to: number, wanted: number): number {
    let free = 0;
    for (let block = from; block < to; block++) {
      free = this.#taken[block] === 1 ? 0 : free + 1;
      if (free === wanted) return block - wanted + 1;
    }
    return -1;
  }
}
