/** The coordinated route as users have it: any client, no data key, and a coordinating replica that is killed under load. */
import assert from 'node:assert/strict';
import { cpSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { AvocadoError, connect } from 'avocado-kv';
import type { Client } from 'avocado-kv';
import { checkHistory } from '../../bench/checker/check.ts';
import type { Operation } from '../../bench/checker/operation.ts';
import { Random } from '../../bench/random.ts';
import { startEmbeddedCluster } from '../../src/server/embedded-cluster.ts';
import { DATA_KEY_FILE } from '../../src/trust/cluster-files.ts';
import { makeSandbox, runAvocado } from '../cli/avocado-process.ts';
import { seededBytes } from '../workers/random.ts';
import { until } from './until.ts';

const exits: number[] = [];
const cluster = await startEmbeddedCluster({ mode: 'secure', onReplicaExit: (index) => exits.push(index) });
const sandbox = makeSandbox();
/** As a client has it that was never given the data key. */
const keyless = join(sandbox.temporaryDirectory, 'keyless');
cpSync(cluster.directory, keyless, { recursive: true });
rmSync(join(keyless, DATA_KEY_FILE));
after(async () => {
  await cluster.stop();
  sandbox.remove();
});

async function withClient<T>(route: 'direct' | 'coordinated', work: (client: Client) => Promise<T>): Promise<T> {
  const client = await connect({ cluster: route === 'direct' ? cluster.directory : keyless, route });
  try {
    return await work(client);
  } finally {
    await client.close();
  }
}

test('a client without a data key reads and writes what others write and read', async () => {
  await withClient('direct', (direct) =>
    withClient('coordinated', async (coordinated) => {
      assert.equal(await coordinated.get('nothing'), undefined);
      for (const value of ['', 'a value', 'x'.repeat(10_000)]) {
        await coordinated.put('one', value);
        assert.equal(String(await direct.get('one')), value);
        await direct.put('other', value);
        assert.equal(String(await coordinated.get('other')), value);
      }
      await coordinated.delete('one');
      assert.equal(await direct.get('one'), undefined);
      const keys = Array.from({ length: 2_000 }, (_, i) => `key ${i}`);
      await coordinated.putMany(keys.map((key) => [key, `of ${key}`]));
      assert.deepEqual(
        (await coordinated.getMany(keys)).map(String),
        keys.map((key) => `of ${key}`),
      );
    }),
  );
});

test('a client without a data key can’t use the direct route, and is told of the other', async () => {
  await assert.rejects(connect({ cluster: keyless }), {
    code: 'CLUSTER_FILES',
    message: /data-key\.json.*coordinated route/,
  });
  const get = await runAvocado(sandbox, ['get', 'other', '--cluster', keyless]);
  assert.deepEqual([get.exitCode, get.stdout], [2, '']);
  const flags = ['--cluster', keyless, '--route', 'coordinated', '--timeout', '30s'];
  const put = await runAvocado(sandbox, ['put', 'third', 'a value', ...flags]);
  assert.deepEqual([put.exitCode, put.stdout], [0, 'ok\n'], put.stderr);
  const again = await runAvocado(sandbox, ['get', 'third', ...flags]);
  assert.deepEqual([again.exitCode, again.stdout], [0, 'a value'], again.stderr);
});

test('values up to 1 MiB go both ways, whatever the datagrams; what is larger is refused', async () => {
  await withClient('direct', async (direct) => {
    for (const datagramBytes of [1_472, 16_384]) {
      const client = await connect({ cluster: keyless, route: 'coordinated', datagramBytes });
      try {
        for (const byteCount of [1_300, 1_400, 16_300, 16_400, 70_000, 2 ** 20]) {
          const value = Buffer.from(seededBytes(byteCount, byteCount));
          await client.put('large', value);
          assert.ok(value.equals((await direct.get('large'))!), `${byteCount} bytes were put`);
          await direct.put('large', value.reverse());
          assert.ok(value.equals((await client.get('large'))!), `${byteCount} bytes are got`);
          assert.ok(value.equals((await client.getWithVersion('large'))!.value!), 'and with their version');
        }
        const error = await client.put('large', Buffer.alloc(2 ** 20 + 1)).catch((reason: unknown) => reason);
        assert(error instanceof AvocadoError);
        assert.equal(error.code, 'VALUE_TOO_LARGE');
        assert.match(error.message, /at most 1048576 bytes, this one 1048577/);
      } finally {
        await client.close();
      }
    }
  });
});

test('many large values at once, of several clients', async () => {
  const clients = await Promise.all([1, 2, 3].map(async () => connect({ cluster: keyless, route: 'coordinated' })));
  const valueOf = (index: number): Buffer => Buffer.from(seededBytes(100_000, index));
  await Promise.all(
    clients.flatMap((client, c) =>
      Array.from({ length: 24 }, async (_, i) => {
        await client.put(`large ${c} ${i}`, valueOf(c * 100 + i), { deadlineMs: 30_000 });
        const value = await clients[(c + 1) % 3]!.get(`large ${c} ${i}`, { deadlineMs: 30_000 });
        assert.ok(valueOf(c * 100 + i).equals(value!));
      }),
    ),
  );
  await Promise.all(clients.map(async (client) => client.close()));
});

test('a read-modify-write is called in one datagram: a larger one is refused', async () => {
  await withClient('coordinated', async (client) => {
    await assert.rejects(client.putIfAbsent('rmw', Buffer.alloc(70_000)), {
      code: 'VALUE_TOO_LARGE',
      message: /one datagram/,
    });
  });
});

test('status shows who coordinates', async () => {
  const flags = ['--json', '--cluster', keyless, '--route', 'coordinated', '--timeout', '30s'];
  const { exitCode, stdout, stderr } = await runAvocado(sandbox, ['status', ...flags]);
  assert.equal(exitCode, 0, stderr);
  const { members } = JSON.parse(stdout) as { members: { calls: number }[] };
  assert.ok(members.reduce((sum, { calls }) => sum + calls, 0) > 4_000);
});

const WORKERS = 24;
const KEYS = 8;
/** What was sent to the killed replica is not known before; gets must not need so long on any machine. */
const DEADLINE_MS = 3_000;
/** Before the kill, and again after it. */
const OPERATIONS = 600;

/** Gets and puts of unique values, on few keys, by many at once; what became of each. */
class RecordedLoad {
  readonly history: Operation[] = [];
  readonly outcomes = new Map<string, number>();
  isOver = false;
  completed = 0;
  #number = 0;

  async work(client: Client, worker: number): Promise<void> {
    const random = new Random(worker);
    while (!this.isOver) {
      const key = `k${Math.floor(random.nextDouble() * KEYS)}`;
      const isGet = random.nextDouble() < 0.5;
      const value = isGet ? undefined : `${worker}.${this.#number++}`;
      const start = performance.now();
      try {
        const read = isGet ? await client.get(key) : await client.put(key, value!);
        this.completed++;
        const said = isGet ? read?.toString() : value;
        this.history.push({ kind: isGet ? 'get' : 'put', key, value: said, start, end: performance.now() });
      } catch (error) {
        const { code } = error as AvocadoError;
        this.outcomes.set(code, (this.outcomes.get(code) ?? 0) + 1);
        if (!isGet && code === 'OUTCOME_UNKNOWN') this.history.push({ kind: 'put', key, value, start, end: Infinity });
        else if (isGet || code !== 'DEADLINE_EXCEEDED') throw error;
      }
    }
  }
}

test('when the replica that coordinates is killed under load, reads go on and every write is accounted for', async () => {
  // One of each route, so that both meet on the same keys.
  const coordinated = await connect({ cluster: keyless, route: 'coordinated', deadlineMs: DEADLINE_MS });
  const direct = await connect({ cluster: cluster.directory, deadlineMs: DEADLINE_MS });
  const load = new RecordedLoad();
  const callsOf = async () => (await coordinated.status(5_000)).map(({ calls }) => calls ?? 0);
  try {
    const before = await callsOf();
    const workers = Array.from({ length: WORKERS }, (_, i) => load.work(i % 4 === 0 ? direct : coordinated, i));
    await until(() => load.completed > OPERATIONS, 'the load to run');
    const grown = (await callsOf()).map((calls, i) => calls - before[i]!);
    const coordinating = grown.indexOf(Math.max(...grown));
    process.kill(cluster.processIds[coordinating]!, 'SIGKILL');
    await until(() => exits.includes(coordinating), 'the replica to end');
    const completed = load.completed;
    await until(() => load.completed > completed + OPERATIONS, 'others to coordinate');
    load.isOver = true;
    await Promise.all(workers);
    const after = await callsOf();
    assert.ok(after.some((calls, i) => i !== coordinating && calls > before[i]!));
    for (const code of load.outcomes.keys()) assert.ok(['OUTCOME_UNKNOWN', 'DEADLINE_EXCEEDED'].includes(code), code);
    const { verdict, violation } = checkHistory(load.history);
    assert.equal(verdict, 'linearizable', violation?.explanation);
  } finally {
    load.isOver = true;
    await coordinated.close();
    await direct.close();
  }
});
