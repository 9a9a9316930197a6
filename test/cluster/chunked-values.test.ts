/** Values in chunks among the real nodes: each turn does one chunk, the next follows at once, and other work goes on. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DATAGRAM_BYTES_MAX } from '../../net/limits.ts';
import { SECURITY_MODES } from '../../net/mode.ts';
import { VALUE_CHUNK_BYTES } from '../../workers/sealing.ts';
import { connected, formed, get, put } from './steps.ts';

/** Turns on a good machine come within 0.2 ms; those that only a timer brings, after 25. */
const CHUNKED_MS_MAX = 15;
/** Slots for such datagrams alone take more than simulated clusters have otherwise. */
const TRUSTED_BYTES_MAX = 32 * 1024 * 1024;
const LARGE_BYTES = 3 * VALUE_CHUNK_BYTES + 123;
const large = (letter: string) => letter.repeat(LARGE_BYTES);

for (const mode of SECURITY_MODES) {
  test(`a value of several chunks is put and read, without waiting for a timer, ${mode}`, () => {
    const cluster = formed({ seed: 1, mode, datagramBytes: DATAGRAM_BYTES_MAX, trustedBytesMax: TRUSTED_BYTES_MAX });
    const client = connected(cluster);
    for (let i = 0; i < 5; i++) {
      const value = large(String(i));
      const written = put(cluster, client, 'key', value);
      const read = get(cluster, client, 'key');
      assert.equal(written.outcome, 'ok');
      assert.equal(read.readValue, value);
      for (const { startMs, endMs } of [written, read]) assert.ok(endMs - startMs < CHUNKED_MS_MAX);
    }
    cluster.invariants();
  });
}

test('the nonce of each chunk is entered in the ledger of the simulation', () => {
  const cluster = formed({ seed: 1, datagramBytes: DATAGRAM_BYTES_MAX, trustedBytesMax: TRUSTED_BYTES_MAX });
  const client = connected(cluster);
  const seen: (string | number)[] = [];
  const use = cluster.nonces.use.bind(cluster.nonces);
  cluster.nonces.use = (keyName, nonce) => {
    if (keyName.startsWith('value keys')) seen.push(nonce);
    use(keyName, nonce);
  };
  assert.equal(put(cluster, client, 'small', 'value').outcome, 'ok');
  assert.equal(put(cluster, client, 'large', large('a')).outcome, 'ok');
  assert.equal(put(cluster, client, 'small', 'value').outcome, 'ok');
  assert.deepEqual(seen, [1, 2, 3, 4, 5, 6]);
});

test('large and small values at once, with cryptography that is late and out of order', () => {
  const cluster = formed({
    seed: 2,
    datagramBytes: DATAGRAM_BYTES_MAX,
    trustedBytesMax: TRUSTED_BYTES_MAX,
    isCryptoSlow: () => true,
  });
  const client = connected(cluster);
  const values = Array.from({ length: 12 }, (_, i) => (i % 3 === 0 ? large(`${i % 10}`) : `small ${i}`));
  for (let round = 0; round < 3; round++) {
    const written = values.map((value, i) => client.put(`key ${i}`, value, 1_000));
    cluster.finish();
    assert.ok(written.every(({ outcome }) => outcome === 'ok'));
    const read = values.map((_, i) => client.get(`key ${i}`, 1_000));
    cluster.finish();
    read.forEach(({ readValue }, i) => assert.equal(readValue, values[i]));
  }
  cluster.invariants();
});

test('a host that exchanges two chunks of a value: right answers, counted, repaired', () => {
  const cluster = formed({ seed: 3, datagramBytes: DATAGRAM_BYTES_MAX, trustedBytesMax: TRUSTED_BYTES_MAX });
  const client = connected(cluster);
  const value = large('a');
  assert.equal(put(cluster, client, 'key', value).outcome, 'ok');
  cluster.time.run(10);
  for (const replica of cluster.replicas) {
    const copy = replica.hostCopy('key')!;
    const good = copy.slice();
    const valueOffset = copy.length - LARGE_BYTES;
    const [first, second] = [valueOffset, valueOffset + VALUE_CHUNK_BYTES];
    copy.copyWithin(first, second, second + VALUE_CHUNK_BYTES);
    copy.set(good.subarray(first, first + VALUE_CHUNK_BYTES), second);
    for (let i = 0; i < 20 && replica.node.repairs.repairedCount === 0; i++) {
      assert.equal(get(cluster, client, 'key').readValue, value);
      cluster.time.run(10);
    }
    assert.equal(replica.node.repairs.tamperedCount, 1);
    assert.equal(replica.node.repairs.repairedCount, 1);
    assert.deepEqual(replica.hostCopy('key'), good);
  }
});
