import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { FaultyProxy } from '../../bench/chaos/faulty-proxy.ts';
import { startEmbeddedCluster } from '../../src/server/embedded-cluster.ts';
import { ReplicaProcess } from '../../src/server/replica-process.ts';
import { openAuthority } from '../../src/trust/open-authority.ts';
import { openClient } from '../processes/open-client.ts';
import { until } from '../processes/until.ts';

const root = mkdtempSync(join(tmpdir(), 'avocado-test-'));
// Temporary cluster directories are made here, so that what is left of them shows.
process.env['TMPDIR'] = root;
after(() => rmSync(root, { recursive: true }));

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

test('a cluster runs in private files and is gone after stop, which may be called twice', async () => {
  const cluster = await startEmbeddedCluster({ mode: 'secure' });
  try {
    assert.equal(cluster.processIds.length, 3);
    assert.equal(new Set(cluster.members.map(({ port }) => port)).size, 3);
    assert(cluster.processIds.every(isAlive));
    assert.equal(statSync(cluster.directory).mode & 0o777, 0o700);
    assert.equal(openAuthority(cluster.directory, { role: 'client' }).mode, 'secure');
  } finally {
    await Promise.all([cluster.stop(), cluster.stop()]);
  }
  await cluster.stop();
  assert(!cluster.processIds.some(isAlive));
  assert.deepEqual(readdirSync(root), []);
});

test('a directory that was given is kept, and not taken a second time', async () => {
  const directory = join(root, 'given');
  const cluster = await startEmbeddedCluster({ mode: 'secure', replicas: 1, directory });
  await cluster.stop();
  assert.equal(existsSync(join(directory, 'cluster.json')), true);
  await assert.rejects(startEmbeddedCluster({ mode: 'secure', replicas: 1, directory }), {
    code: 'CLUSTER_FILES',
    message: /holds a cluster already/,
  });
  rmSync(directory, { recursive: true });
});

test('a start that is called off leaves nothing behind', async () => {
  const controller = new AbortController();
  const starting = startEmbeddedCluster({ mode: 'secure', signal: controller.signal });
  const reason = new Error('called off');
  // By then the directory is there and the replicas have just been started.
  const timer = setInterval(() => {
    if (readdirSync(root).length > 0) controller.abort(reason);
  }, 1);
  try {
    await assert.rejects(starting, reason);
  } finally {
    clearInterval(timer);
  }
  assert.deepEqual(readdirSync(root), []);
  await assert.rejects(startEmbeddedCluster({ mode: 'secure', signal: controller.signal }), reason);
});

test('a replica that cannot start is reported with its own error', async () => {
  const exits: string[] = [];
  const replica = new ReplicaProcess(
    { clusterDirectory: join(root, 'nowhere'), index: 0, allowPlaintext: false, removeDirectoryWhenOrphaned: false },
    () => {},
    (description) => exits.push(description),
  );
  await assert.rejects(replica.active(), { code: 'CLUSTER_FILES', message: /nowhere\/cluster\.json is missing/ });
  await replica.stop();
  assert.equal(isAlive(replica.processId), false);
  assert.deepEqual(exits, [], 'what never was active does not count as lost');
});

test('a replica that ends by itself is reported once, one that is stopped is not', async () => {
  const exits: string[] = [];
  const cluster = await startEmbeddedCluster({
    mode: 'secure',
    onReplicaExit: (index, description) => exits.push(`${index}: ${description}`),
  });
  try {
    process.kill(cluster.processIds[2]!, 'SIGKILL');
    while (exits.length === 0) await new Promise((resolve) => setTimeout(resolve, 10));
  } finally {
    await cluster.stop();
  }
  assert.deepEqual(exits, ['2: SIGKILL ended it']);
});

test('behind forwarders replicas are met at the forwarders’ ports only, and one that is started again stays outside', async () => {
  const proxies: FaultyProxy[] = [];
  const cluster = await startEmbeddedCluster({
    mode: 'secure',
    onReplicaExit: () => {},
    forward: async (index, replicaPort) => {
      proxies[index] = await FaultyProxy.open({ replicaPort, seed: 1, index });
      return proxies[index].port;
    },
  });
  try {
    assert.deepEqual(
      cluster.members.map(({ port }) => port),
      proxies.map(({ port }) => port),
    );
    const { client, engine } = await openClient(cluster.directory);
    try {
      await client.put('key', 'value');
      assert.equal((await client.get('key'))?.toString(), 'value');
      assert(proxies.every(({ counters }) => counters.in.received > 0 && counters.out.received > 0));

      const killed = cluster.processIds[1]!;
      process.kill(killed, 'SIGKILL');
      await cluster.restart(1);
      assert.notEqual(cluster.processIds[1], killed);
      const member = await until(async () => {
        const status = (await engine.status(1_000))[1]!;
        return status.state !== 'unreachable' && status.state !== 'forming' && status;
      }, 'the replica to know where it stands');
      assert.equal(member.state, 'outside');
      assert.equal((await client.get('key'))?.toString(), 'value');
    } finally {
      await client.close();
    }
  } finally {
    await cluster.stop();
    await Promise.all(proxies.map((proxy) => proxy.close()));
  }
  assert(!cluster.processIds.some(isAlive), 'the one that was started again has ended, too');
  await cluster.restart(0);
  assert(!cluster.processIds.some(isAlive), 'a cluster that was stopped starts nothing');
  assert.deepEqual(readdirSync(root), []);
});
