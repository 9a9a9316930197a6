/** Scans of a real cluster through the library and the command line, with an ordered view and without. */
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { connect } from 'avocado-kv';
import type { ScanOptions } from 'avocado-kv';
import { startEmbeddedCluster } from '../../src/server/embedded-cluster.ts';
import { makeSandbox, runAvocado } from '../cli/avocado-process.ts';

const cluster = await startEmbeddedCluster({ mode: 'secure' });
const client = await connect({ cluster: cluster.directory });
const sandbox = makeSandbox();
after(async () => {
  await client.close();
  await cluster.stop();
  sandbox.remove();
});

const COUNT = 500;
const keys = Array.from({ length: COUNT }, (_, i) => `item:${String(i).padStart(4, '0')}`);
const valueOf = (key: string): string => (key.endsWith('00') ? `${key};`.repeat(2_000) : `value of ${key}`);
await client.putMany(keys.map((key) => [key, valueOf(key)]));
await client.put(Uint8Array.of(0xff, 0xfe), Uint8Array.of(0x80, 0x81));

async function keysOf(options: ScanOptions): Promise<string[]> {
  const found: string[] = [];
  for await (const { key } of client.scan(options)) found.push(String(key));
  return found;
}

test('all pairs of a range in order, small values and such as go by parts', async () => {
  const found: string[] = [];
  for await (const { key, value } of client.scan({ prefix: 'item:' })) {
    assert.equal(String(value), valueOf(String(key)));
    found.push(String(key));
  }
  assert.deepEqual(found, keys);
  assert.deepEqual(await keysOf({ prefix: 'item:', reverse: true, pageSize: 7 }), keys.toReversed());
  assert.deepEqual(await keysOf({ start: keys[10]!, end: keys[20]!, keysOnly: true }), keys.slice(10, 20));
  assert.deepEqual(await keysOf({ start: 'item:0100x', limit: 3 }), keys.slice(101, 104));
});

test('keys are bytes, and those alone come without values', async () => {
  const found: object[] = [];
  for await (const pair of client.scan({ start: Uint8Array.of(0xff), keysOnly: true })) found.push(pair);
  assert.deepEqual(found, [{ key: Buffer.from([0xff, 0xfe]) }]);
});

test('keys are counted, and deleted ones are not', async () => {
  assert.equal(await client.count({ prefix: 'item:' }), COUNT);
  await client.put('item:x', 'to go');
  assert.equal(await client.count({ prefix: 'item:' }), COUNT + 1);
  await client.delete('item:x');
  assert.equal(await client.count({ prefix: 'item:' }), COUNT);
  assert.equal(await client.count({ prefix: 'nothing' }), 0);
});

test('a scan in the smallest datagrams finds the same, long keys among them', async () => {
  const small = await connect({ cluster: cluster.directory, datagramBytes: 1_200 });
  try {
    const long = ['k'.repeat(1_023), 'k'.repeat(1_024), `${'k'.repeat(1_023)}l`];
    await small.putMany(long.map((key) => [key, 'long']));
    const found: string[] = [];
    const range = { start: 'k'.repeat(1_023), end: `${'k'.repeat(1_023)}m` };
    for await (const { key, value } of small.scan(range)) found.push(`${String(key)} ${String(value)}`);
    assert.deepEqual(
      found,
      long.map((key) => `${key} long`),
    );
    assert.equal(await small.count({ prefix: 'item:' }), COUNT);
    await small.deleteMany(long);
  } finally {
    await small.close();
  }
});

test('a scan ends with an error when it is aborted, too late, or its client closed', async () => {
  await assert.rejects(keysOf({ signal: AbortSignal.abort() }), { code: 'ABORTED' });
  const leaving = new AbortController();
  const inPage = client.scan({ signal: leaving.signal });
  await inPage.next();
  leaving.abort();
  await assert.rejects(inPage.next(), { code: 'ABORTED' });
  // A replica may be faster than the clock is looked at: then it is the get of a key that is too late.
  const tooLate = { code: 'DEADLINE_EXCEEDED', message: /^scan( of "item:\d+")?: / };
  await assert.rejects(keysOf({ deadlineMs: 0.001 }), tooLate);
  await assert.rejects(keysOf({ deadlineMs: -1 }), { code: 'INVALID_ARGUMENT' });
  const other = await connect({ cluster: cluster.directory });
  const pages = other.scan({ pageSize: 10 });
  await pages.next();
  await other.close();
  await assert.rejects(
    async () => {
      for await (const pair of pages) assert.ok(pair);
    },
    { code: 'CLOSED' },
  );
});

test('the coordinated route says that it has no scans', async () => {
  const coordinated = await connect({ cluster: cluster.directory, route: 'coordinated' });
  try {
    await assert.rejects(coordinated.count(), { code: 'NOT_SUPPORTED', message: /direct route/ });
    await assert.rejects(coordinated.scan().next(), { code: 'NOT_SUPPORTED' });
  } finally {
    await coordinated.close();
  }
});

test('replicas without an ordered view say so, and everything else works', async () => {
  const unordered = await startEmbeddedCluster({ mode: 'secure', replicas: 1, scans: false });
  try {
    const other = await connect({ cluster: unordered.directory });
    try {
      await other.put('key', 'value');
      assert.equal(String(await other.get('key')), 'value');
      await assert.rejects(other.count(), { code: 'SCANS_OFF', message: /--no-scans/ });
    } finally {
      await other.close();
    }
  } finally {
    await unordered.stop();
  }
});

const avocado = async (...args: string[]) =>
  await runAvocado(sandbox, ['scan', ...args, '--cluster', cluster.directory]);

test('avocado scan prints pairs, keys, counts, as text or JSON', async () => {
  const pairs = await avocado('item:', '--start', 'item:0001', '--limit', '2');
  assert.deepEqual(pairs, {
    exitCode: 0,
    stdout: 'item:0001\tvalue of item:0001\nitem:0002\tvalue of item:0002\n',
    stderr: '',
  });
  const reversed = await avocado('item:', '--keys', '--reverse', '--end', 'item:0003');
  assert.equal(reversed.stdout, 'item:0002\nitem:0001\nitem:0000\n');
  assert.equal((await avocado('item:', '--count')).stdout, `${COUNT}\n`);
  assert.equal((await avocado('item:', '--count', '--json')).stdout, `{"count":${COUNT}}\n`);
  const lines = (await avocado('--start', 'item:0499', '--json')).stdout.trimEnd().split('\n');
  assert.deepEqual(
    lines.map((line) => JSON.parse(line) as object),
    [
      { key: 'item:0499', keyEncoding: 'utf8', encoding: 'utf8', value: 'value of item:0499' },
      { key: '//4=', keyEncoding: 'base64', encoding: 'base64', value: 'gIE=' },
    ],
  );
  const keyLines = await avocado('item:', '--keys', '--limit', '1', '--json');
  assert.equal(keyLines.stdout, '{"key":"item:0000","keyEncoding":"utf8"}\n');
  assert.equal((await avocado('nothing')).stdout, '');
});

test('avocado scan with options that do not fit', async () => {
  for (const [args, message] of [
    [['--count', '--keys'], /--count.*cannot be used with.*--keys/],
    [['--limit', '0'], /Give a whole number from 1/],
    [['k'.repeat(1_025)], /^error INVALID_KEY: prefix has at most 1024 bytes/],
  ] as const) {
    const { exitCode, stderr } = await avocado(...args);
    assert.notEqual(exitCode, 0);
    assert.match(stderr, message);
    assert.equal(stderr.trimEnd().split('\n').length, 1);
  }
});
