import type { Outcome } from '../src/client/operations.ts';

/** Which records the load phase has still to put, and why it gave up. */

/** How often it tries to put one record whose put ended without a clear success. */
const ATTEMPTS_MAX = 5;
/** Outcomes that trying again does not mend. */
const FINAL_OUTCOMES: readonly Outcome[] = ['trusted-memory-full', 'host-memory-full', 'not-permitted', 'closed'];

export class LoadPhase {
  #next: number;
  readonly #end: number;
  readonly #again: number[] = [];
  readonly #attempts = new Map<number, number>();
  #failure: Outcome | undefined;

  /** Records in [first, end). */
  constructor(first: number, end: number) {
    this.#next = first;
    this.#end = end;
  }

  get failure(): Outcome | undefined {
    return this.#failure;
  }

  /** Undefined when there is nothing more to start. */
  next(): number | undefined {
    if (this.#failure !== undefined) return undefined;
    const again = this.#again.pop();
    if (again !== undefined) return again;
    return this.#next < this.#end ? this.#next++ : undefined;
  }

  failed(record: number, outcome: Outcome): void {
    const attempts = (this.#attempts.get(record) ?? 0) + 1;
    this.#attempts.set(record, attempts);
    if (attempts >= ATTEMPTS_MAX || FINAL_OUTCOMES.includes(outcome)) this.#failure ??= outcome;
    else this.#again.push(record);
  }
}
