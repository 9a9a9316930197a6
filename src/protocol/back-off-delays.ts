/**
 * How long a coordinator waits when another one was in its way: a random time, from a span that doubles with each time that
 * this happens. 64 coordinators on one key so find a turn each, and one that is alone is not held up. They ask one replica
 * alone (rmw-gate.ts), so the span stays short: with 200 ms the slowest of 64 waited twice as long.
 *
 * Who has sent a proposal comes back soon: replicas remember the last few decisions only, and while a key is contended those
 * of some milliseconds (measured with 64 coordinators: with long waits the fate of one proposal in ten was forgotten).
 */
const DOUBLINGS_MAX = 4;
const DOUBLINGS_SENT_MAX = 1;
const SPAN_MS_MAX = 50;
const SPAN_SENT_MS_MAX = 4;

export class BackOffDelays {
  #state: number;

  /** @param seed Each process has another one, drawn at random: equal ones would meet again and again. */
  constructor(seed: number) {
    this.#state = seed | 0;
  }

  /**
   * @param attempts Back-offs of the operation before this one.
   * @param isSent Its proposal may have been decided, and one replica alone is asked.
   */
  draw(attempts: number, isSent: boolean, unitMs: number): number {
    const doublings = Math.min(attempts, isSent ? DOUBLINGS_SENT_MAX : DOUBLINGS_MAX);
    return Math.min(isSent ? SPAN_SENT_MS_MAX : SPAN_MS_MAX, unitMs * 2 ** doublings) * this.#random();
  }

  /** In [0, 1); mulberry32. */
  #random(): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), this.#state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  }
}
