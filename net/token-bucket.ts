/**
 * Bounds how often something is done: `capacity` times at once after a rest, then one time after another, capacity times
 * an interval. What is bounded by a count an interval comes in one burst at the start of each when it is asked for all the
 * time, and whatever else there is to do waits for the whole burst.
 */
export class TokenBucket {
  readonly #capacity: number;
  readonly #intervalMs: number;
  #tokens: number;
  #filledMs = -Infinity;

  constructor(capacity: number, intervalMs: number) {
    this.#capacity = capacity;
    this.#intervalMs = intervalMs;
    this.#tokens = capacity;
  }

  isEmpty(nowMs: number): boolean {
    const gained = ((nowMs - this.#filledMs) * this.#capacity) / this.#intervalMs;
    this.#tokens = Math.min(this.#capacity, this.#tokens + gained);
    this.#filledMs = nowMs;
    return this.#tokens < 1;
  }

  /** False when it is empty. */
  take(nowMs: number): boolean {
    if (this.isEmpty(nowMs)) return false;
    this.#tokens--;
    return true;
  }
}
