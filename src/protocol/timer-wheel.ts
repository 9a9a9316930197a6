import { assert } from '../../net/assert.ts';

/**
 * One timer for each operation slot, started and stopped in constant time without allocation: a hashed wheel of
 * one-millisecond buckets with doubly linked lists in typed arrays (Varghese and Lauck 1987, scheme 6). A timer beyond
 * one round of the wheel stays in its bucket until its time has come.
 */
const BUCKET_COUNT = 512;
const NONE = -1;
const IDLE = -2;

export class TimerWheel {
  readonly #next: Int32Array;
  readonly #previous: Int32Array;
  readonly #dueMs: Float64Array;
  readonly #heads = new Int32Array(BUCKET_COUNT).fill(NONE);
  /** Everything due up to and including this tick has fired. */
  #tick = 0;
  #count = 0;
  /** No timer is due before this tick. */
  #earliestTick = Infinity;

  constructor(slotCount: number) {
    this.#next = new Int32Array(slotCount).fill(IDLE);
    this.#previous = new Int32Array(slotCount).fill(IDLE);
    this.#dueMs = new Float64Array(slotCount);
  }

  get count(): number {
    return this.#count;
  }

  /**
   * When advance() is to be called next; Infinity when no timer runs. A little early when the timer that was due first
   * was stopped: the next advance() finds that out.
   */
  get nextDueMs(): number {
    return this.#count === 0 ? Infinity : this.#earliestTick;
  }

  /** Starts or restarts the timer of a slot. It fires in the first advance() at or after dueMs, 1 ms coarse. */
  set(slot: number, dueMs: number): void {
    this.clear(slot);
    const tick = Math.max(Math.ceil(dueMs), this.#tick + 1);
    this.#dueMs[slot] = tick;
    const bucket = tick % BUCKET_COUNT;
    const head = this.#heads[bucket]!;
    this.#next[slot] = head;
    this.#previous[slot] = NONE;
    if (head !== NONE) this.#previous[head] = slot;
    this.#heads[bucket] = slot;
    this.#count++;
    this.#earliestTick = Math.min(this.#earliestTick, tick);
  }

  clear(slot: number): void {
    const next = this.#next[slot]!;
    if (next === IDLE) return;
    const previous = this.#previous[slot]!;
    if (next !== NONE) this.#previous[next] = previous;
    if (previous !== NONE) this.#next[previous] = next;
    else this.#heads[this.#dueMs[slot]! % BUCKET_COUNT] = next;
    this.#next[slot] = IDLE;
    this.#previous[slot] = IDLE;
    this.#count--;
  }

  /** Fires what is due. fire() may set and clear any timer; what it sets is due in a later advance. */
  advance(nowMs: number, fire: (slot: number) => void): void {
    const tickNow = Math.floor(nowMs);
    if (tickNow <= this.#tick) return;
    const firstTick = Math.max(this.#tick + 1, tickNow - BUCKET_COUNT + 1);
    this.#tick = tickNow;
    if (this.nextDueMs > tickNow) return;
    for (let tick = firstTick; tick <= tickNow; tick++) this.#fireBucket(tick % BUCKET_COUNT, tickNow, fire);
    this.#earliestTick = this.#findEarliest();
  }

  /** Of what is due within one round of the wheel; else that round's end, which is early enough. */
  #findEarliest(): number {
    const roundEnd = this.#tick + BUCKET_COUNT;
    if (this.#count === 0) return Infinity;
    for (let tick = this.#tick + 1; tick < roundEnd; tick++) {
      for (let slot = this.#heads[tick % BUCKET_COUNT]!; slot !== NONE; slot = this.#next[slot]!) {
        if (this.#dueMs[slot] === tick) return tick;
      }
    }
    return roundEnd;
  }

  #fireBucket(bucket: number, tickNow: number, fire: (slot: number) => void): void {
    let slot = this.#heads[bucket]!;
    while (slot !== NONE) {
      if (this.#dueMs[slot]! > tickNow) {
        slot = this.#next[slot]!;
        continue;
      }
      this.clear(slot);
      fire(slot);
      // fire() may have changed the list anywhere: begin anew. What it set is later than tickNow.
      slot = this.#heads[bucket]!;
    }
  }

  invariants(): void {
    let count = 0;
    for (let bucket = 0; bucket < BUCKET_COUNT; bucket++) {
      for (let slot = this.#heads[bucket]!; slot !== NONE; slot = this.#next[slot]!) {
        assert(this.#dueMs[slot]! % BUCKET_COUNT === bucket, 'a timer lies in the bucket of its tick');
        assert(this.#dueMs[slot]! > this.#tick, 'no timer is overdue');
        assert(this.#dueMs[slot]! >= this.nextDueMs, 'no timer is due before the next one');
        count++;
      }
    }
    assert(count === this.#count, 'timers are counted');
  }
}
