import { assert } from '../../net/assert.ts';

/**
 * Read-modify-writes of one process on one key run one after the other: at once they would only be in each other's way (64 of
 * them sent six times the messages). A queue a key: links between slots of the table of operations.
 *
 * Queues are found by the key's hash, for which anybody can choose keys; who waits behind another key's would be held up by
 * whoever may write that one. So a key whose place is taken by another has the next place that is not. When that one is left,
 * a key may have two queues for a while, and run twice at once: that is slower, and no more.
 */
const NONE = -1;

export type HasSameKey = (slot: number, other: number) => boolean;

export class KeyQueues {
  readonly #hasSameKey: HasSameKey;
  /** By place: the last in the queue. */
  readonly #tails = new Map<number, number>();
  readonly #places: Int32Array;
  readonly #previous: Int32Array;
  readonly #next: Int32Array;

  constructor(slotCount: number, hasSameKey: HasSameKey) {
    this.#hasSameKey = hasSameKey;
    this.#places = new Int32Array(slotCount);
    this.#previous = new Int32Array(slotCount).fill(NONE);
    this.#next = new Int32Array(slotCount).fill(NONE);
  }

  /** True when it is the first, and runs. */
  join(slot: number, hash: number): boolean {
    let place = hash;
    let tail = this.#tails.get(place) ?? NONE;
    while (tail !== NONE && !this.#hasSameKey(slot, tail)) {
      place = (place + 1) | 0;
      tail = this.#tails.get(place) ?? NONE;
    }
    this.#places[slot] = place;
    this.#previous[slot] = tail;
    this.#next[slot] = NONE;
    if (tail !== NONE) this.#next[tail] = slot;
    this.#tails.set(place, slot);
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
    const place = this.#places[slot]!;
    assert(next !== NONE || this.#tails.get(place) === slot, 'who leaves is in a queue');
    if (next !== NONE) this.#previous[next] = previous;
    else if (previous !== NONE) this.#tails.set(place, previous);
    else this.#tails.delete(place);
    if (previous === NONE) return next;
    this.#next[previous] = next;
    return NONE;
  }
}
