/**
 * Random runs of whole simulated clusters (random-run.ts): SEEDS of each bias (environment variable; 40 unless said
 * otherwise) from FIRST_SEED on.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { biases } from './random-plan.ts';
import { runSeed } from './random-run.ts';

const SEED_COUNT = Number(process.env['SEEDS'] ?? 40);
const FIRST_SEED = Number(process.env['FIRST_SEED'] ?? 1);

for (const bias of biases) {
  test(`${SEED_COUNT} random runs are linearizable and finish, bias: ${bias}`, (context) => {
    let operationCount = 0;
    for (let seed = FIRST_SEED; seed < FIRST_SEED + SEED_COUNT; seed++) {
      const result = runSeed(seed, bias);
      operationCount += result.operationCount;
      const again = `npm run build && node dist/test/cluster/run-seeds.js '${bias}' ${seed}`;
      assert.equal(result.failure, undefined, `seed ${seed}, again with: ${again}`);
    }
    assert.ok(operationCount > SEED_COUNT * 50, `only ${operationCount} operations were run`);
    context.diagnostic(`${operationCount} operations`);
  });
}

test('a seed gives the same run twice', () => {
  for (const bias of biases) assert.equal(runSeed(FIRST_SEED, bias).trace, runSeed(FIRST_SEED, bias).trace);
});
