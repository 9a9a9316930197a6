import assert from 'node:assert/strict';
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { AvocadoError, connect } from 'avocado-kv';
import type { SecurityMode } from '../../net/mode.ts';
import { UdpTransport } from '../../net/udp.ts';
import { startEmbeddedCluster } from '../../src/server/embedded-cluster.ts';
import { readConfiguration, writeConfiguration } from '../../src/trust/cluster-configuration.ts';
import { initClusterDirectory } from '../../src/trust/cluster-directory.ts';
import { issueCertificate } from '../../src/trust/certificate.ts';
import { ALL_GRANTS } from '../../src/trust/grants.ts';
import { generateSigningKeyPair } from '../../workers/signing.ts';

/** Whom a client takes for its cluster, and what it says when it finds another one or none. */
const cluster = await startEmbeddedCluster({ mode: 'secure' });
const root = mkdtempSync(join(tmpdir(), 'avocado-test-'));
after(async () => {
  await cluster.stop();
  rmSync(root, { recursive: true });
});

/** Files of another cluster at the same addresses, as after a second `avocado init`. */
function otherDirectory(name: string, mode: SecurityMode): string {
  const directory = join(root, name);
  initClusterDirectory({ directory, members: cluster.members, mode });
  return directory;
}

test('the instance is pinned: the same is met again, another one is an error', async () => {
  const first = await connect({ cluster: cluster.directory });
  const { instance } = first;
  await first.close();
  assert.match(instance, /^[0-9a-f]{32}$/);
  const again = await connect({ cluster: cluster.directory, instance });
  assert.equal(again.instance, instance);
  await again.close();
  const wrong = instance.replace(/^./, (digit) => (digit === '0' ? '1' : '0'));
  await assert.rejects(connect({ cluster: cluster.directory, instance: wrong }), {
    name: 'AvocadoError',
    code: 'INSTANCE_CHANGED',
    message: /what it held is gone/,
  });
});

test('with nothing running the error names each replica', async () => {
  // Ports that were free a moment ago.
  const probes = await Promise.all([1, 2, 3].map(() => UdpTransport.open({ host: '127.0.0.1', port: 0 })));
  await Promise.all(probes.map((probe) => probe.close()));
  const directory = join(root, 'nobody');
  const members = probes.map(({ port }) => ({ host: '127.0.0.1', port }));
  initClusterDirectory({ directory, members, mode: 'secure' });
  const error = await connect({ cluster: directory, connectTimeoutMs: 300 }).catch((reason: unknown) => reason);
  assert(error instanceof AvocadoError);
  assert.equal(error.code, 'NO_QUORUM');
  for (const [index, { port }] of members.entries()) {
    assert(error.message.includes(`replica ${index} (127.0.0.1:${port}) does not answer`), error.message);
  }
});

test('a client of another cluster is refused, with the reason', async () => {
  await assert.rejects(connect({ cluster: otherDirectory('other', 'secure'), connectTimeoutMs: 5_000 }), {
    name: 'AvocadoError',
    code: 'REFUSED',
    message: /replica 0 .* it has another static key: it belongs to another cluster/,
  });
});

test('a client of another mode is refused, with both modes named', async () => {
  await assert.rejects(connect({ cluster: otherDirectory('open', 'plaintext'), connectTimeoutMs: 5_000 }), {
    code: 'REFUSED',
    message: /it speaks mode secure, this side plaintext/,
  });
});

test('a client whose certificate another key has signed is refused, though it knows all that is public', async () => {
  const directory = join(root, 'forged');
  cpSync(cluster.directory, directory, { recursive: true });
  const forger = generateSigningKeyPair();
  const { clusterId, ...configuration } = readConfiguration(directory);
  writeConfiguration(directory, { ...configuration, clusterId, clusterPublicKey: forger.publicKey }, forger.secretKey);
  const path = join(directory, 'client.json');
  const file = JSON.parse(readFileSync(path, 'utf8')) as { staticPublicKey: string };
  const certificate = issueCertificate(
    {
      role: 'client',
      grants: ALL_GRANTS,
      staticKey: Uint8Array.from(Buffer.from(file.staticPublicKey, 'hex')),
      clusterId,
      expirySeconds: Math.floor(Date.now() / 1_000) + 3_600,
    },
    forger.secretKey,
  );
  writeFileSync(path, JSON.stringify({ ...file, certificate: Buffer.from(certificate).toString('hex') }));
  await assert.rejects(connect({ cluster: directory, connectTimeoutMs: 5_000 }), {
    code: 'REFUSED',
    message: /it refuses our certificate/,
  });
});
