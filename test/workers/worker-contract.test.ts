import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { WorkerPool } from '../../workers/worker-pool.ts';
import type { WorkerSealing } from '../../workers/worker-sealing.ts';
import { sealingContract } from './sealing-contract.ts';
import { workerSealing } from './worker-fixture.ts';

for (const workerCount of [1, 2]) {
  let pool: WorkerPool;
  const made: WorkerSealing[] = [];
  before(async () => {
    pool = await WorkerPool.start({ workerCount });
  });
  after(async () => {
    await pool.close();
  });

  for (const mode of ['secure', 'authenticated'] as const) {
    sealingContract(`${workerCount} workers`, mode, () => {
      const sealing = workerSealing(pool, { mode });
      made.push(sealing);
      return sealing;
    });
  }

  test(`${workerCount} workers did it, and none died`, () => {
    assert.ok(made.reduce((sum, sealing) => sum + sealing.jobCount, 0) > 1_000);
    assert.equal(pool.deathCount, 0);
    pool.invariants();
  });
}
