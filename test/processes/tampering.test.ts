import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { whyNoAccess } from '../../bench/attack/process-memory.ts';
import { startEmbeddedCluster } from '../../src/server/embedded-cluster.ts';
import { tamperWithOneReplica } from './tampering.ts';

const cluster = await startEmbeddedCluster({ mode: 'secure' });
after(() => cluster.stop());

test('a bit flipped in a replica’s host memory is noticed, answered from another replica, and repaired', async (context) => {
  const victim = 1;
  const reason = whyNoAccess(cluster.processIds[victim]!);
  if (reason !== undefined) return context.skip(reason);
  const report = await tamperWithOneReplica(cluster, victim);
  assert.equal(report.wrongGets, 0);
  assert(report.clientTampered > 0, 'the client met the bad copy');
  assert.equal(report.replicaTampered, 1);
  assert.equal(report.replicaRepaired, 1);
  assert(report.healedPlaces > 0, 'the sealed value is whole again where it lay');
  assert.equal(report.clientTamperedLater, 0, 'and stays so');
});
