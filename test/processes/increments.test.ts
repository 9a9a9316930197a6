import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ROUTES } from '../../src/client/route.ts';
import { startEmbeddedCluster } from '../../src/server/embedded-cluster.ts';
import { runIncrements } from './increments.ts';

/** Real replicas, several processes of clients, one killed replica: no increment is lost, none is counted twice. */
const CLIENTS = 64;
const PROCESSES = 2;
const INCREMENTS = 400;
const VICTIM = 1;

for (const route of ROUTES) {
  for (const keys of [1, 10]) {
    test(`${CLIENTS} clients, ${route}, ${keys} keys: sums are exact while a replica is killed`, async (t) => {
      const cluster = await startEmbeddedCluster({ mode: 'secure' });
      try {
        const result = await runIncrements({
          clusterDirectory: cluster.directory,
          route,
          clients: CLIENTS,
          processes: PROCESSES,
          keys,
          increments: INCREMENTS,
          strikeAt: INCREMENTS / 3,
          strike: () => process.kill(cluster.processIds[VICTIM]!, 'SIGKILL'),
        });
        t.diagnostic(JSON.stringify({ ...result, sum: String(result.sum) }));
        assert.equal(result.acknowledged, INCREMENTS);
        assert(result.isExact, `${result.sum} of ${result.acknowledged} acknowledged`);
        const { OUTCOME_UNKNOWN: _, ...certain } = result.errors;
        assert.deepEqual(certain, {}, 'nothing else than a crash in mid-air keeps one from an answer');
      } finally {
        await cluster.stop();
      }
    });
  }
}
