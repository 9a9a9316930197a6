import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { AvocadoError, connect } from 'avocado-kv';
import type { ConnectOptions } from 'avocado-kv';
import { startEmbeddedCluster } from '../../src/server/embedded-cluster.ts';
import { seededBytes } from '../workers/random.ts';

/** What is outside the limits ends with a code and a message that names the limit, and changes nothing. */
/** The message layer takes 10 MiB of it. */
const SMALL_TRUSTED_BYTES = 12 * 2 ** 20;
const PUTS_AT_ONCE = 16;
const cluster = await startEmbeddedCluster({ mode: 'secure', trustedBytesMax: SMALL_TRUSTED_BYTES });
const client = await connect({ cluster: cluster.directory });
after(async () => {
  await client.close();
  await cluster.stop();
});

/** What a caller without types can do. */
const wrong = (value: unknown): never => value as never;

test('keys that are none', async () => {
  for (const [key, message] of [
    ['', /1 to 1024 bytes, this one 0/],
    [new Uint8Array(0), /1 to 1024 bytes, this one 0/],
    ['k'.repeat(1_025), /1 to 1024 bytes, this one 1025/],
    ['ü'.repeat(513), /1 to 1024 bytes, this one 1026/],
    [new Uint8Array(5_000), /this one 5000/],
    [wrong(undefined), /strings or Uint8Arrays/],
    [wrong(42), /strings or Uint8Arrays/],
    [wrong([1, 2]), /strings or Uint8Arrays/],
  ] as const) {
    const expected = { name: 'AvocadoError', code: 'INVALID_KEY', message };
    await assert.rejects(client.get(key), expected);
    await assert.rejects(client.put(key, 'value'), expected);
    await assert.rejects(client.delete(key), expected);
    await assert.rejects(client.getMany(['fine', key]), expected);
    await assert.rejects(client.putMany([[key, 'value']]), expected);
    await assert.rejects(client.deleteMany([key]), expected);
  }
});

test('a value over the limit: the error names it, and the limit itself fits', async () => {
  for (const key of ['k', 'k'.repeat(1_024)]) {
    const error = await client.put(key, Buffer.alloc(2 ** 20 + 1)).catch((reason: unknown) => reason);
    assert(error instanceof AvocadoError);
    assert.equal(error.code, 'VALUE_TOO_LARGE');
    assert.match(error.message, /at most 1048576 bytes, this one 1048577/);
    assert.equal(await client.get(key), undefined, 'nothing was written');
    const largest = seededBytes(2 ** 20, 1);
    await client.put(key, largest);
    assert.deepEqual(await client.get(key), Buffer.from(largest));
    await client.put(key, 'small');
    assert.equal(String(await client.get(key)), 'small');
  }
});

test('clients with datagrams of any length read each other’s values', async () => {
  const small = await connect({ cluster: cluster.directory, datagramBytes: 1_200 });
  try {
    for (const byteCount of [1_000, 1_100, 8_000, 15_000, 16_384, 16_385, 200_000]) {
      const value = Buffer.from(seededBytes(byteCount, byteCount));
      await client.put('large', value);
      assert.deepEqual(await small.get('large'), value);
      await small.put('large', value.reverse());
      assert.deepEqual(await client.get('large'), value);
    }
  } finally {
    await small.close();
  }
});

test('arguments of the wrong kind', async () => {
  const expected = { name: 'AvocadoError', code: 'INVALID_ARGUMENT' };
  await assert.rejects(client.put('k', wrong(undefined)), expected);
  await assert.rejects(client.put('k', wrong(7)), expected);
  await assert.rejects(client.put('k', wrong(new ArrayBuffer(8))), expected);
  for (const deadlineMs of [0, -1, Number.NaN, Number.POSITIVE_INFINITY, wrong('5')]) {
    await assert.rejects(client.get('k', { deadlineMs }), { ...expected, message: /^deadlineMs is .*positive number/ });
  }
  const options: Partial<ConnectOptions>[] = [
    { concurrency: 0 },
    { concurrency: 65_537 },
    { concurrency: 1.5 },
    { queueLimit: 0 },
    { deadlineMs: Number.NaN },
    { connectTimeoutMs: -5 },
    { datagramBytes: 100 },
    { datagramBytes: 65_536 },
  ];
  for (const option of options) {
    await assert.rejects(connect({ cluster: cluster.directory, ...option }), expected, JSON.stringify(option));
  }
});

test('a cluster directory that is none', async () => {
  await assert.rejects(connect({ cluster: '/nowhere' }), { code: 'CLUSTER_FILES', message: /\/nowhere.*avocado init/ });
});

test('a put over the trusted budget is refused, what was put before stays, and room that is left is used', async () => {
  const longKey = (i: number): Buffer => Buffer.alloc(1_024, `long key ${i} `);
  const put: number[] = [];
  const refused: number[] = [];
  let error: unknown;
  while (refused.length === 0 && put.length < 20_000) {
    const batch = Array.from({ length: PUTS_AT_ONCE }, (_, i) => put.length + i);
    const results = await Promise.allSettled(batch.map((i) => client.put(longKey(i), `value ${i}`)));
    for (const [at, result] of results.entries()) {
      if (result.status === 'fulfilled') put.push(batch[at]!);
      else {
        refused.push(batch[at]!);
        error = result.reason;
      }
    }
  }
  assert(error instanceof AvocadoError);
  assert.equal(error.code, 'TRUSTED_MEMORY_FULL');
  assert.match(error.message, /--trusted-memory/);
  for (const value of await client.getMany(refused.map(longKey))) assert.equal(value, undefined, 'nothing was written');
  const values = await client.getMany(put.map(longKey));
  for (const [at, i] of put.entries()) assert.equal(values[at]?.toString(), `value ${i}`);
  await client.put(longKey(0), 'replaced');
  assert.equal((await client.get(longKey(0)))?.toString(), 'replaced', 'a key that is there needs no room');
  for (const member of await client.status()) {
    assert((member.trustedBytes ?? Infinity) <= SMALL_TRUSTED_BYTES);
  }
});
