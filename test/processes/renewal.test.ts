/** Certificates that live for seconds, under load: they are renewed, nobody notices, and who renews his no more stays out. */
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { after, test } from 'node:test';
import { openEngineFor } from '../../src/client/engine.ts';
import type { Engine } from '../../src/client/operations.ts';
import { AvocadoError } from '../../src/errors.ts';
import { startEmbeddedCluster } from '../../src/server/embedded-cluster.ts';
import { obtainAuthority } from '../../src/trust/obtain-authority.ts';
import { openClient } from './open-client.ts';
import { until } from './until.ts';
import { WindowedLoad } from './windowed-load.ts';

const CERTIFICATE_SECONDS = 8;
/** Longer than a peer may be silent before its session is doubted. */
const AWAY_MS = 2_000;
const CONNECT_TIMEOUT_MS = 20_000;

const exits: string[] = [];
const cluster = await startEmbeddedCluster({
  mode: 'secure',
  chain: { vendorLatencyMs: 0, certificateSeconds: CERTIFICATE_SECONDS },
  log: () => {},
  onReplicaExit: (index, description) => exits.push(`replica ${index}: ${description}`),
});
after(() => cluster.stop());

async function refusedCounts(engine: Engine): Promise<number[]> {
  return until(async () => {
    const members = await engine.status(1_000);
    const drops = members.map((member) => member.drops);
    return drops.every((each) => each !== undefined) && drops.map((each) => each['certificate-refused'] ?? 0);
  }, 'all replicas to answer');
}

test('sessions are made with renewed certificates, an expired one is refused, and no operation fails', async () => {
  const startedMs = performance.now();
  // One client that never renews its certificate.
  const waiting = { timeoutMs: CONNECT_TIMEOUT_MS };
  const stale = await obtainAuthority(cluster.directory, { role: 'client' }, waiting);
  stale.close?.();
  const sink = { onOperationEnded: () => {} };
  const settings = { sink, connectTimeoutMs: CONNECT_TIMEOUT_MS };
  await (await openEngineFor(stale, settings)).close();

  const load = await WindowedLoad.open({ clusterDirectory: cluster.directory, records: 200, outstanding: 8 });
  const { engine, client } = await openClient(cluster.directory);
  try {
    await load.fill();
    load.start(0.5);
    await sleep(Math.max(0, startedMs + CERTIFICATE_SECONDS * 1_000 + 1_000 - performance.now()));
    // Everybody's first certificate has expired. Whoever was away has to be met anew.
    for (const processId of cluster.processIds) {
      process.kill(processId, 'SIGSTOP');
      await sleep(AWAY_MS);
      process.kill(processId, 'SIGCONT');
      await until(async () => (await engine.status(1_000)).every(({ state }) => state === 'active'), 'it to be back');
    }
    assert.deepEqual(await refusedCounts(engine), [0, 0, 0]);

    await assert.rejects(openEngineFor(stale, { sink, connectTimeoutMs: 3_000 }), (error: unknown) => {
      assert.ok(error instanceof AvocadoError);
      assert.equal(error.code, 'REFUSED');
      return true;
    });
    assert.ok(
      (await refusedCounts(engine)).every((count) => count > 0),
      'each replica has refused it',
    );

    const late = await openClient(cluster.directory);
    await late.client.put('key', 'value');
    assert.equal(String(await client.get('key')), 'value');
    await late.client.close();
    assert.ok(load.completed > 0);
    assert.deepEqual(load.errors, {});
    await load.drain();
    assert.deepEqual(load.errors, {});
    assert.deepEqual(exits, []);
  } finally {
    await load.close();
    await client.close();
  }
});
