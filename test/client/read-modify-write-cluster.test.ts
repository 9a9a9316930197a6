/** The read-modify-writes of the library on a real cluster, by both routes, and by both at once. */
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { connect } from 'avocado-kv';
import type { Client } from 'avocado-kv';
import { ROUTES } from '../../src/client/route.ts';
import { startEmbeddedCluster } from '../../src/server/embedded-cluster.ts';
import { seededBytes } from '../workers/random.ts';

const cluster = await startEmbeddedCluster({ mode: 'secure' });
const byRoute = new Map<string, Client>();
for (const route of ROUTES)
  byRoute.set(route, await connect({ cluster: cluster.directory, route, deadlineMs: 30_000 }));
after(async () => {
  for (const client of byRoute.values()) await client.close();
  await cluster.stop();
});

const AT_ONCE = 64;

for (const [route, client] of byRoute) {
  const other = byRoute.get(ROUTES.find((name) => name !== route)!)!;

  test(`${route}: conditions by value, version and absence, mixed with plain writes of the other route`, async () => {
    const key = `conditions of ${route}`;
    const never = await client.getWithVersion(key);
    assert.equal(never.value, undefined);
    assert.equal((await other.getWithVersion('never written, too')).version, never.version);
    const first = await client.compareAndSet(key, { version: never.version }, 'first');
    assert(first.ok);
    assert.deepEqual(await other.getWithVersion(key), { value: Buffer.from('first'), version: first.version });
    await other.put(key, 'plain');
    const plain = await client.compareAndSet(key, { version: first.version }, 'second');
    assert(!plain.ok && String(plain.value) === 'plain');
    assert.deepEqual(await client.getWithVersion(key), { value: plain.value, version: plain.version });
    const second = await client.compareAndSet(key, { value: 'plain' }, '');
    assert(second.ok);
    const present = await client.putIfAbsent(key, 'x');
    assert(!present.ok && present.value?.length === 0 && present.version === second.version);
    assert.equal((await client.deleteIf(key, { value: 'x' })).ok, false);
    const removed = await client.deleteIf(key, { version: second.version });
    assert(removed.ok);
    assert.deepEqual(await other.getWithVersion(key), { value: undefined, version: removed.version });
    const absent = await client.deleteIf(key, { value: '' });
    assert(!absent.ok && absent.value === undefined && absent.version === removed.version);
    assert.equal((await client.putIfAbsent(key, 'again')).ok, true);
    await other.delete(key);
    assert.equal((await client.compareAndSet(key, { absent: true }, 'once more')).ok, true);
    assert.equal(String(await client.getAndSet(key, Buffer.alloc(0))), 'once more');
    assert.deepEqual(await client.getAndSet(key, 'x'), Buffer.alloc(0));
    await client.delete(key);
    assert.equal(await client.getAndSet(key, 'x'), undefined);
  });

  test(`${route}: increments are exact, to the borders of 64 bits`, async () => {
    const key = `number of ${route}`;
    assert.equal(await client.increment(key, 2n ** 63n - 2n), 2n ** 63n - 2n);
    assert.equal(await client.increment(key), 2n ** 63n - 1n);
    await assert.rejects(client.increment(key), { code: 'OVERFLOW' });
    assert.equal(String(await other.get(key)), String(2n ** 63n - 1n), 'it is as it was');
    assert.equal(await client.increment(key, -(2n ** 63n)), -1n);
    assert.equal(await client.increment(key, -(2n ** 63n) + 1n), -(2n ** 63n));
    await assert.rejects(client.increment(key, -1), { code: 'OVERFLOW' });
    await other.put(key, '41');
    assert.equal(await client.increment(key), 42n);
    for (const text of ['', ' 1', '01', '1.0', 'x', '9223372036854775808', '0x1']) {
      await client.put(key, text);
      await assert.rejects(client.increment(key), { code: 'NOT_AN_INTEGER' }, text);
      assert.equal(String(await client.get(key)), text);
    }
    await client.delete(key);
    assert.equal(await client.increment(key, 0), 0n);
  });

  test(`${route}: values of a datagram, and ${route === 'direct' ? 'of up to 1 MiB' : 'not more'}`, async () => {
    const key = `large of ${route}`;
    const large = Buffer.from(seededBytes(12_000, 1));
    assert.equal((await client.putIfAbsent(key, large)).ok, true);
    const found = await client.putIfAbsent(key, 'x');
    assert(!found.ok && found.value!.equals(large));
    assert.equal((await client.compareAndSet(key, { version: found.version }, large)).ok, true);
    assert((await client.getAndSet(key, large))!.equals(large));
    const direct = byRoute.get('direct')!;
    for (const byteCount of [100_000, 1_048_576]) {
      const before = Buffer.from(seededBytes(byteCount, 2));
      const after = Buffer.from(seededBytes(byteCount, 3));
      await direct.put(key, before);
      await assert.rejects(client.increment(key), { code: 'NOT_AN_INTEGER' });
      if (route === 'direct') {
        assert((await client.getAndSet(key, after))!.equals(before));
        const other = await client.compareAndSet(key, { value: before }, 'small');
        assert(!other.ok && other.value!.equals(after));
        const { value } = await client.update(key, (found) => Buffer.from(found!).reverse());
        assert(value!.equals(Buffer.from(after).reverse()));
      } else {
        await assert.rejects(client.getAndSet(key, 'small'), { code: 'VALUE_TOO_LARGE' });
        await assert.rejects(client.putIfAbsent(key, 'small'), { code: 'VALUE_TOO_LARGE' });
        await assert.rejects(client.getAndSet(key, after), { code: 'VALUE_TOO_LARGE' });
        assert((await direct.get(key))!.equals(before), 'it is as it was');
        const { version } = await client.getWithVersion(key);
        assert.equal((await client.compareAndSet(key, { version }, 'small')).ok, true, 'what is not told may be large');
      }
    }
    await assert.rejects(client.getAndSet(key, Buffer.alloc(1_048_577)), { code: 'VALUE_TOO_LARGE' });
    await client.put(key, '1');
    assert.equal(await client.increment(key), 2n);
  });
}

test(`${AT_ONCE} increments, compare-and-sets and updates at once on one key, by both routes: none is lost`, async () => {
  const clients = [...byRoute.values()];
  const of = (i: number): Client => clients[i % clients.length]!;
  const each = Array.from({ length: AT_ONCE }, (_, i) => i);
  const sums = await Promise.all(each.map((i) => of(i).increment('sum', i + 1)));
  assert.equal(new Set(sums).size, AT_ONCE, 'each has seen a sum of its own');
  assert.equal(String(await of(0).get('sum')), String((AT_ONCE * (AT_ONCE + 1)) / 2));
  const { version } = await of(0).getWithVersion('race');
  const winners = await Promise.all(each.map((i) => of(i).compareAndSet('race', { version }, `by ${i}`)));
  assert.equal(winners.filter(({ ok }) => ok).length, 1);
  const before = await Promise.all(each.map(async (i) => String(await of(i).getAndSet('chain', `link ${i}`))));
  assert.equal(new Set(before).size, AT_ONCE, 'each value but the last was seen by the next one');
  await Promise.all(each.map((i) => of(i).update('list', (list) => `${String(list ?? '')}${i},`)));
  const list = String(await of(0).get('list'))
    .split(',')
    .slice(0, -1)
    .map(Number);
  assert.deepEqual(
    list.toSorted((a, b) => a - b),
    each,
  );
});
