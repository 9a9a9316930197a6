import { seededRandom } from '../workers/random.ts';

/** All randomness of a simulation: the same seed gives the same run. */
export class Dice {
  readonly #next: () => number;

  constructor(seed: number) {
    this.#next = seededRandom(seed);
  }

  /** In [0, 1). */
  readonly fraction = (): number => this.#next();

  chance(probability: number): boolean {
    return this.#next() < probability;
  }

  between(min: number, max: number): number {
    return min + this.#next() * (max - min);
  }

  /** A whole number in [min, max]. */
  integer(min: number, max: number): number {
    return min + Math.floor(this.#next() * (max - min + 1));
  }

  pick<T>(choices: readonly T[]): T {
    return choices[Math.floor(this.#next() * choices.length)]!;
  }

  shuffled<T>(items: readonly T[]): T[] {
    return items
      .map((item) => ({ item, order: this.#next() }))
      .sort((a, b) => a.order - b.order)
      .map(({ item }) => item);
  }

  readonly bytes = (count: number): Uint8Array => Uint8Array.from({ length: count }, () => this.integer(0, 255));

  /** Dice of their own for a part of the simulation, so that one part's throws don't shift another's. */
  split(): Dice {
    return new Dice(this.integer(0, 0x7fff_ffff));
  }
}
