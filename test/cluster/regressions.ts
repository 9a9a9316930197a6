import type { Bias } from './random-plan.ts';

/**
 * Seeds that find a bug which the product once had, replayed by the tests: each was seen to fail with the bug put back. A
 * change of the simulated world makes other runs of the same seeds, so each bug also has a test of its own, named here.
 */
export const REGRESSIONS: readonly { readonly seed: number; readonly bias: Bias; readonly found: string }[] = [
  {
    seed: 3,
    bias: 'limits',
    found: 'one member without room for a key refused a put for all (test/protocol/coordinator-put.test.ts)',
  },
  {
    seed: 5,
    bias: 'limits',
    found: 'the same for host memory',
  },
  {
    seed: 7706,
    bias: 'limits',
    found: 'who alone had decided a slot told nothing of it for lack of room (test/protocol/coordinator-rmw.test.ts)',
  },
  {
    seed: 4,
    bias: 'none',
    found:
      'a read-modify-write that waited for another outlived its deadline when both passed at once ' +
      '(test/protocol/coordinator-rmw.test.ts)',
  },
];
