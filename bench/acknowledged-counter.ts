import { assert } from '../net/assert.ts';

/**
 * YCSB's AcknowledgedCounterGenerator: hands out numbers one after the other, takes them back in any order, and knows the
 * highest number up to which all came back. What a read asks for is bounded by it.
 */

/** As in YCSB: so many numbers can be out beyond the first one that has not come back. */
export const WINDOW_NUMBERS = 2 ** 20;
const WINDOW_MASK = WINDOW_NUMBERS - 1;

export class AcknowledgedCounter {
  /** 1 for a number above #last that came back. */
  readonly #window = new Uint8Array(WINDOW_NUMBERS);
  #next: number;
  #last: number;

  /** @param start The first number to hand out; those below count as acknowledged. */
  constructor(start: number) {
    this.#next = start;
    this.#last = start - 1;
  }

  /** This number and all below it are acknowledged. */
  get last(): number {
    return this.#last;
  }

  /** YCSB fails here. */
  get isFull(): boolean {
    return this.#next - this.#last > WINDOW_NUMBERS;
  }

  next(): number {
    assert(!this.isFull, 'a number that is handed out has a place in the window');
    return this.#next++;
  }

  acknowledge(number: number): void {
    assert(number > this.#last && number < this.#next, 'an acknowledged number was handed out');
    assert(this.#window[number & WINDOW_MASK] === 0, 'a number is acknowledged once');
    this.#window[number & WINDOW_MASK] = 1;
    while (this.#window[(this.#last + 1) & WINDOW_MASK] === 1) {
      this.#last++;
      this.#window[this.#last & WINDOW_MASK] = 0;
    }
  }
}
