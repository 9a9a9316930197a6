import { assert } from '../../net/assert.ts';

/**
 * Read-modify-writes of one process on one key run one after the other: at once they would only be in each other's way (64 of
 * them sent six times the messages). A queue a key, by the key's hash: two keys with one hash share a queue, which does no
 * harm. Links between slots of the table of operations.
 */
const NONE = -1;

export class KeyQueues {
  /** By hash: the last in the queue. */
  readonly #tails = new Map<number, number>();
  readonly #hashes: Int32Array;
  readonly #previous: Int32Array;
  readonly #next: Int32Array;

  constructor(slotCount: number) {
    this.#hashes = new Int32Array(slotCount);
    this.#previous = new Int32Array(slotCount).fill(NONE);
    this.#next = new Int32Array(slotCount).fill(NONE);
  }

  /** True when it is the first, and runs. */
  join(slot: number, hash: number): boolean {
    const tail = this.#tails.get(hash) ?? NONE;
    this.#hashes[slot] = hash;
    this.#previous[slot] = tail;
    this.#next[slot] = NONE;
    if (tail !== NONE) this.#next[tail] = slot;
    this.#tails.set(hash, slot);
    return tail === NONE;
  }

  /** Whether others of the key are in front. */
  waits(slot: number): boolean {
    return this.#previous[slot] !== NONE;
  }

  /** Of a queue that it is in. The slot that runs from now on, or -1. */
  leave(slot: number): number {
    const previous = this.#previous[slot]!;
    const next = this.#next[slot]!;
    const hash = this.#hashes[slot]!;
    assert(next !== NONE || this.#tails.get(hash) === slot, 'who leaves is in a queue');
    if (next !== NONE) this.#previous[next] = previous;
    else if (previous !== NONE) this.#tails.set(hash, previous);
    else this.#tails.delete(hash);
    if (previous === NONE) return next;
    this.#next[previous] = next;
    return NONE;
  }
}
