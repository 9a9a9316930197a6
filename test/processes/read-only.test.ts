/** A client that may not write, over UDP: what it reads of a put that has reached one replica only is there for all. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { openAttackClient } from '../../bench/attack/attack-client.ts';
import { VALUE_BYTES } from '../../bench/attack/attack.ts';
import { Scene } from '../../bench/attack/scene.ts';
import { lost } from '../../bench/attack/hostile-proxy.ts';
import { valuePartOf, withVictim } from '../../bench/attack/victim.ts';
import { startEmbeddedCluster } from '../../src/server/embedded-cluster.ts';
import { parseGrants } from '../../src/trust/grant-text.ts';
import type { Authority } from '../../src/trust/authority.ts';
import { issueCertificate } from '../../src/trust/certificate.ts';
import { CLUSTER_KEY_FILE } from '../../src/trust/cluster-files.ts';
import { generateStaticKeyPair } from '../../workers/signing.ts';

const CERTIFICATE_SECONDS = 3_600;
/** A get asks two of three replicas: it meets the one that has the put soon. */
const GETS_MAX = 100;

function readerOf(directory: string, authority: Authority): Authority {
  const { secretKey } = JSON.parse(readFileSync(join(directory, CLUSTER_KEY_FILE), 'utf8')) as { secretKey: string };
  const staticKeyPair = generateStaticKeyPair();
  const subject = {
    role: 'client',
    grants: parseGrants('r:'),
    staticKey: staticKeyPair.publicKey,
    clusterId: authority.clusterId,
    expirySeconds: Math.floor(Date.now() / 1_000) + CERTIFICATE_SECONDS,
  } as const;
  return { ...authority, staticKeyPair, certificate: issueCertificate(subject, Buffer.from(secretKey, 'hex')) };
}

test('a read-only client has replicas finish its read of a put half done, and others then find it everywhere', async (context) => {
  const cluster = await startEmbeddedCluster({ mode: 'secure', log: () => {} });
  context.after(() => cluster.stop());
  const { directory } = cluster;
  const scene = await Scene.open({ directory, isOwn: true, mayRestart: false, signal: context.signal });
  context.after(() => scene.close());
  const [older, newer] = [Buffer.alloc(VALUE_BYTES, 'older'), Buffer.alloc(VALUE_BYTES, 'newer')];
  await scene.client.put('key', older);
  await withVictim(scene, async ({ client, proxies }) => {
    for (const proxy of proxies.slice(1)) {
      proxy.toReplica = (datagram) => (valuePartOf(datagram, VALUE_BYTES) === undefined ? [datagram] : []);
    }
    await assert.rejects(client.put('key', newer, { deadlineMs: 300 }), { code: 'OUTCOME_UNKNOWN' });
  });

  const { client, engine } = await openAttackClient(readerOf(directory, scene.authority));
  context.after(() => client.close());
  await assert.rejects(client.put('key', 'mine'), { code: 'NOT_PERMITTED' });
  let gets = 0;
  while (!newer.equals((await client.get('key'))!)) assert.ok(++gets < GETS_MAX, 'it meets the put');
  assert.ok(engine.counters.resolves > 0);
  assert.equal(engine.counters.writeBacks, 0);

  await withVictim(scene, async ({ client: other, proxies }) => {
    proxies[0]!.toReplica = lost;
    assert.deepEqual(await other.get('key'), newer);
  });
});
