/**
 * Random runs of whole simulated clusters (random-run.ts): a fixed set, SEEDS of each bias (environment variable; 10
 * unless said otherwise) from FIRST_SEED on, and seeds that
 * find what is fixed. For more: `npm run sim -- --help`.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { biasOf, biases } from './random-plan.ts';
import { runSeed } from './random-run.ts';
import { REGRESSIONS } from './regressions.ts';
import { commandOf } from './sim-report.ts';

const SEED_COUNT = Number(process.env['SEEDS'] ?? 10);
const FIRST_SEED = Number(process.env['FIRST_SEED'] ?? 1);

for (const bias of biases) {
  test(`${SEED_COUNT} random runs are linearizable and finish, bias: ${bias}`, (context) => {
    let operationCount = 0;
    for (let seed = FIRST_SEED; seed < FIRST_SEED + SEED_COUNT; seed++) {
      const result = runSeed(seed, bias);
      operationCount += result.operationCount;
      const again = `seed ${seed}, again with: ${commandOf(seed, bias)}`;
      assert.equal(result.failure, undefined, again);
      assert.deepEqual(result.undecidedKeys, [], again);
    }
    assert.ok(operationCount > SEED_COUNT * 50, `only ${operationCount} operations were run`);
    context.diagnostic(`${operationCount} operations`);
  });
}

test('seeds that find a bug of the past', () => {
  for (const { seed, bias, found } of REGRESSIONS) {
    const { failure, undecidedKeys } = runSeed(seed, bias);
    assert.equal(failure, undefined, `${found}; again with: ${commandOf(seed, bias)}`);
    assert.deepEqual(undecidedKeys, []);
  }
});

test('a seed gives the same run again, and looking on changes nothing', () => {
  for (const bias of biases) {
    const traced = runSeed(FIRST_SEED, bias, true);
    assert.equal(runSeed(FIRST_SEED, bias, true).trace, traced.trace);
    const untraced = runSeed(FIRST_SEED, bias);
    assert.equal(JSON.stringify(untraced.coverage), JSON.stringify(traced.coverage));
    assert.equal(untraced.simulatedMs, traced.simulatedMs);
  }
});

test('two hundred seeds in a row have every bias', () => {
  const drawn = new Set(Array.from({ length: 200 }, (_, i) => biasOf(i + 1)));
  assert.deepEqual([...drawn].sort(), [...biases].sort());
});
