/** The straight line through samples taken at equal intervals, by least squares. */
export interface Line {
  /** Per interval. */
  readonly slope: number;
  readonly mean: number;
}

/** @param samples At least two. */
export function fitLine(samples: readonly number[]): Line {
  const middle = (samples.length - 1) / 2;
  const mean = samples.reduce((sum, value) => sum + value, 0) / samples.length;
  let products = 0;
  let squares = 0;
  for (const [at, value] of samples.entries()) {
    products += (at - middle) * (value - mean);
    squares += (at - middle) ** 2;
  }
  return { slope: products / squares, mean };
}
