import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, test } from 'node:test';
import { connect } from 'avocado-kv';
import { startEmbeddedCluster } from '../../src/server/embedded-cluster.ts';

/** What goes in comes out: keys, values, and many of them. */
const cluster = await startEmbeddedCluster({ mode: 'secure' });
const client = await connect({ cluster: cluster.directory });
after(async () => {
  await client.close();
  await cluster.stop();
});

test('a value is put, got, replaced and deleted', async () => {
  assert.equal(await client.get('life'), undefined, 'what was never put is absent');
  assert.equal(await client.put('life', 'first'), undefined);
  assert.deepEqual(await client.get('life'), Buffer.from('first'));
  await client.put('life', 'second');
  assert.deepEqual(await client.get('life'), Buffer.from('second'));
  assert.equal(await client.delete('life'), undefined);
  assert.equal(await client.get('life'), undefined);
  await client.delete('life');
  await client.delete('never there');
  await client.put('life', 'again');
  assert.deepEqual(await client.get('life'), Buffer.from('again'));
});

test('what one client has put another one gets', async () => {
  const other = await connect({ cluster: cluster.directory });
  try {
    await client.put('shared', 'by the first');
    assert.equal((await other.get('shared'))?.toString(), 'by the first');
    await other.put('shared', 'by the second');
    assert.equal((await client.get('shared'))?.toString(), 'by the second');
  } finally {
    await other.close();
  }
});

test('a string and its UTF-8 bytes are the same key and the same value', async () => {
  const text = 'Schlüssel 🥑 鍵';
  const bytes = new TextEncoder().encode(text);
  await client.put(text, text);
  assert.deepEqual(await client.get(bytes), Buffer.from(bytes));
  await client.put(bytes, new TextEncoder().encode('Wert'));
  assert.equal((await client.get(text))?.toString('utf8'), 'Wert');
});

test('keys are bytes: each of them, zeros at their end, and parts of larger buffers', async () => {
  const keys = Array.from({ length: 256 }, (_, byte) => Uint8Array.of(byte));
  const zeros = Array.from({ length: 17 }, (_, count) => Buffer.concat([Buffer.from('z'), Buffer.alloc(count)]));
  const all = [...keys, ...zeros];
  await client.putMany(all.map((key) => [key, Buffer.from(`of ${Buffer.from(key).toString('hex')}`)]));
  const values = await client.getMany(all);
  for (const [i, key] of all.entries()) {
    assert.equal(values[i]?.toString(), `of ${Buffer.from(key).toString('hex')}`);
  }
  // A view in the middle of a buffer, at every alignment.
  const large = randomBytes(64);
  for (let offset = 0; offset < 9; offset++) {
    const view = new Uint8Array(large.buffer, large.byteOffset + offset, 21);
    await client.put(view, view);
    assert.deepEqual(await client.get(Buffer.from(view)), Buffer.from(view));
  }
});

test('values are bytes, of every length up to the limit, and a key may have 1,024', async () => {
  const lengths = [0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 255, 256, 257, 1_023, 4_096, 16_000];
  for (const length of lengths) {
    const value = randomBytes(length);
    await client.put(`of ${length}`, value);
    assert.deepEqual(await client.get(`of ${length}`), value);
  }
  const longKey = randomBytes(1_024);
  await client.put(longKey, 'long');
  assert.deepEqual(await client.get(longKey), Buffer.from('long'));
  const almost = Buffer.from(longKey);
  almost[1_023]! ^= 1;
  assert.equal(await client.get(almost), undefined, 'the last byte of a key counts');
});

test('the empty value is there, and is not absence', async () => {
  await client.put('empty', '');
  assert.deepEqual(await client.get('empty'), Buffer.alloc(0));
  await client.put('empty', new Uint8Array(0));
  assert.deepEqual(await client.get('empty'), Buffer.alloc(0));
  await client.delete('empty');
  assert.equal(await client.get('empty'), undefined);
});

test('a value comes as a Buffer of its own', async () => {
  await client.put('own', 'first value');
  const first = await client.get('own');
  assert(Buffer.isBuffer(first));
  await client.put('own', 'OTHER VALUE');
  await client.get('own');
  assert.equal(first.toString(), 'first value', 'later operations leave it alone');
  first.fill(0);
  assert.equal((await client.get('own'))?.toString(), 'OTHER VALUE', 'and it leaves them alone');
});

test('many: values in the order of the keys, from any iterable', async () => {
  const keys = Array.from({ length: 3_000 }, (_, i) => `many ${i}`);
  await client.putMany(new Map(keys.map((key) => [key, `value of ${key}`])));
  const asked = keys.toReversed();
  const values = await client.getMany(asked.values());
  assert.deepEqual(
    values.map((value) => value?.toString()),
    asked.map((key) => `value of ${key}`),
  );
  await client.deleteMany(new Set(keys.slice(0, 1_000)));
  assert.deepEqual(await client.getMany(['many 0', 'many 999', 'many 1000']), [
    undefined,
    undefined,
    Buffer.from('value of many 1000'),
  ]);
  assert.deepEqual(await client.getMany([]), []);
  await client.putMany([]);
  await client.deleteMany([]);
});

test('the caller may change its buffers as soon as a call has returned', async () => {
  // One place only, so that the second call has to wait for the first.
  const narrow = await connect({ cluster: cluster.directory, concurrency: 1 });
  try {
    const key = Buffer.from('key 1');
    const value = Buffer.from('value 1');
    const first = narrow.put(key, value);
    key.write('key 2');
    value.write('value 2');
    const second = narrow.put(key, value);
    key.fill(0);
    value.fill(0);
    await Promise.all([first, second]);
    assert.equal((await client.get('key 1'))?.toString(), 'value 1');
    assert.equal((await client.get('key 2'))?.toString(), 'value 2');

    const askedFor = Buffer.from('key 1');
    const got = narrow.get(askedFor);
    askedFor.write('key 2');
    const gotNext = narrow.get(askedFor);
    askedFor.fill(0);
    assert.equal((await got)?.toString(), 'value 1');
    assert.equal((await gotNext)?.toString(), 'value 2');
  } finally {
    await narrow.close();
  }
});

test('status names each member, with its figures', async () => {
  const members = await client.status();
  assert.deepEqual(
    members.map(({ index, address, reachable, state }) => ({ index, address, reachable, state })),
    cluster.members.map(({ index, host, port }) => ({
      index,
      address: `${host}:${port}`,
      reachable: true,
      state: 'active',
    })),
  );
  for (const member of members) {
    assert.equal(member.instance, client.instance);
    assert((member.keys ?? 0) > 3_000);
    assert((member.trustedBytes ?? 0) > 0 && (member.hostBytes ?? 0) > 0);
  }
});
