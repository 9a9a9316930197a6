/** The greatest value among pairs up to a time; -Infinity when there is none. */
export class RunningMax {
  readonly #times: Float64Array;
  readonly #values: Float64Array;

  constructor(pairs: readonly (readonly [time: number, value: number])[]) {
    const sorted = pairs.toSorted(([a], [b]) => (a === b ? 0 : a < b ? -1 : 1));
    this.#times = Float64Array.from(sorted, ([time]) => time);
    let max = -Infinity;
    this.#values = Float64Array.from(sorted, ([, value]) => (max = Math.max(max, value)));
  }

  upTo(time: number): number {
    return this.#at((other) => other <= time);
  }

  before(time: number): number {
    return this.#at((other) => other < time);
  }

  #at(isIncluded: (time: number) => boolean): number {
    let low = 0;
    let high = this.#times.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (isIncluded(this.#times[middle]!)) low = middle + 1;
      else high = middle;
    }
    return this.#values[low - 1] ?? -Infinity;
  }
}
