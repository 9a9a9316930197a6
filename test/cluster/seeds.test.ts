/**
 * Random runs of whole simulated clusters (random-run.ts): SEEDS of them (environment variable; 100 unless said
 * otherwise) from FIRST_SEED on. `node dist/test/cluster/run-seeds.js SEED` shows one of them step by step.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { runSeed } from './random-run.ts';

const SEED_COUNT = Number(process.env['SEEDS'] ?? 100);
const FIRST_SEED = Number(process.env['FIRST_SEED'] ?? 1);

test(`${SEED_COUNT} random runs under every fault are linearizable and finish`, (context) => {
  let operationCount = 0;
  for (let seed = FIRST_SEED; seed < FIRST_SEED + SEED_COUNT; seed++) {
    const result = runSeed(seed);
    operationCount += result.operationCount;
    assert.equal(
      result.failure,
      undefined,
      `seed ${seed}, again with: npm run build && node dist/test/cluster/run-seeds.js ${seed}`,
    );
  }
  assert.ok(operationCount > SEED_COUNT * 10, `only ${operationCount} operations were run`);
  context.diagnostic(`${operationCount} operations`);
});

test('a seed gives the same run twice', () => {
  assert.equal(runSeed(FIRST_SEED).trace, runSeed(FIRST_SEED).trace);
});
