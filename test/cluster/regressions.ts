import type { Bias } from './random-plan.ts';

/**
 * Seeds that found something, replayed by the tests. A change of the simulated world makes other runs of the same seeds,
 * so what a seed found also has a test of its own where that is possible; here it costs little to keep trying.
 */
export const REGRESSIONS: readonly { readonly seed: number; readonly bias: Bias; readonly found: string }[] = [];
