/** Replicas at their limits of trusted and of host memory: new keys are refused whole, and nothing that is there suffers. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { errorOf } from '../../src/client/failures.ts';
import type { RecordedClient } from './recorded-client.ts';
import type { SimulatedCluster } from './simulated-cluster.ts';
import { connected, formed, get, put } from './steps.ts';

const MIB = 1024 * 1024;
/** Puts that are under way at once while it fills up. */
const BATCH_COUNT = 20;
const BATCHES_MAX = 400;

/** Puts new keys until one is refused; what was taken, and the outcome of those that weren't. */
function fill(
  cluster: SimulatedCluster,
  client: RecordedClient,
  keyOf: (i: number) => string,
  valueOf: (i: number) => string,
): { readonly taken: Map<string, string>; readonly refused: Map<string, string> } {
  const taken = new Map<string, string>();
  const refused = new Map<string, string>();
  for (let batch = 0; batch < BATCHES_MAX && refused.size === 0; batch++) {
    const attempts = Array.from({ length: BATCH_COUNT }, (_, i) => {
      const number = batch * BATCH_COUNT + i;
      return client.put(keyOf(number), valueOf(number), 1_000);
    });
    cluster.finish();
    for (const { key, value, outcome } of attempts) {
      if (outcome === 'ok') taken.set(key, value!);
      else refused.set(key, outcome!);
    }
  }
  return { taken, refused };
}

/** All that was taken can be read, written again and deleted. */
function checkTaken(cluster: SimulatedCluster, client: RecordedClient, taken: ReadonlyMap<string, string>): void {
  for (const [key, value] of taken) assert.equal(get(cluster, client, key).readValue, value);
  const keys = [...taken.keys()];
  for (const key of keys.slice(0, 50)) {
    const value = taken.get(key)!.replace(/^./, '!');
    assert.equal(put(cluster, client, key, value).outcome, 'ok');
    assert.equal(get(cluster, client, key).readValue, value);
  }
  const removal = client.delete(keys[0]!, 1_000);
  cluster.finish();
  assert.equal(removal.outcome, 'ok');
  assert.equal(get(cluster, client, keys[0]!).outcome, 'absent');
  cluster.invariants();
}

test('trusted memory used up: new keys are refused, old ones stay readable and writable', () => {
  const cluster = formed({ seed: 1, trustedBytesMax: 8 * MIB });
  const client = connected(cluster);
  const { taken, refused } = fill(
    cluster,
    client,
    (i) => `${i}`.padStart(900, '-'),
    (i) => `value ${i}`,
  );
  assert.ok(taken.size > 100, `${taken.size} keys were taken`);
  assert.deepEqual(new Set(refused.values()), new Set(['trusted-memory-full']));
  const error = errorOf('put', 'trusted-memory-full');
  assert.equal(error.code, 'TRUSTED_MEMORY_FULL');
  assert.match(error.message, /trusted memory.*nothing was written.*--trusted-memory/);
  for (const key of refused.keys()) {
    assert.equal(get(cluster, client, key).outcome, 'absent');
    for (const replica of cluster.replicas) assert.equal(replica.counterOf(key), 0);
  }
  for (const { node } of cluster.replicas) {
    const { trustedBytes, trustedBytesMax } = node.store.stats();
    assert.ok(trustedBytes <= trustedBytesMax && trustedBytes > 0.7 * trustedBytesMax);
  }
  checkTaken(cluster, client, taken);
  // A deleted key has its place still, and a refused one has none.
  const [first] = taken.keys();
  const [never] = refused.keys();
  assert.equal(put(cluster, client, first!, 'again').outcome, 'ok');
  assert.equal(put(cluster, client, never!, 'again').outcome, 'trusted-memory-full');
  const removal = client.delete(never!, 1_000);
  cluster.finish();
  assert.equal(removal.outcome, 'trusted-memory-full', 'a tombstone takes a place, too');
});

test('host memory used up: the same, by its own name', () => {
  const cluster = formed({ seed: 2, hostBytesMax: 2 * MIB });
  const client = connected(cluster);
  const { taken, refused } = fill(
    cluster,
    client,
    (i) => `key-${i}`,
    (i) => `${i}`.padStart(1_000, '-'),
  );
  assert.ok(taken.size > 1_000, `${taken.size} keys were taken`);
  // Of those that were under way together some were let through before there was no room left.
  for (const outcome of refused.values()) assert.ok(outcome === 'host-memory-full' || outcome === 'outcome-unknown');
  assert.equal(put(cluster, client, 'one more', '.'.repeat(1_000)).outcome, 'host-memory-full');
  assert.equal(get(cluster, client, 'one more').outcome, 'absent');
  assert.equal(errorOf('put', 'host-memory-full').code, 'HOST_MEMORY_FULL');
  for (const [key, outcome] of refused) {
    if (outcome === 'host-memory-full') assert.equal(get(cluster, client, key).outcome, 'absent');
  }
  checkTaken(cluster, client, new Map([...taken].slice(0, 200)));
  // The deleted value's block is free again.
  assert.equal(put(cluster, client, 'a new key', '.'.repeat(1_000)).outcome, 'ok');
});
