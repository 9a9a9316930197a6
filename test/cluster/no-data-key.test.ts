/** A client whose data key is gone: it writes nothing that nobody could read, and says so. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DATA_KEY_ID } from './simulated-trust.ts';
import { connected, formed, get, put } from './steps.ts';

test('without a data key a put, small or in chunks, ends as not permitted, and what was there stays', () => {
  const cluster = formed({ seed: 1 });
  const [client, other] = [connected(cluster), connected(cluster)];
  assert.equal(put(cluster, client, 'key', 'before').outcome, 'ok');
  const { dataKeys } = cluster.keyHolders.find(({ process }) => process === client.process)!;
  dataKeys.destroy(DATA_KEY_ID);
  assert.equal(put(cluster, client, 'key', 'after').outcome, 'not-permitted');
  assert.equal(put(cluster, client, 'key', 'x'.repeat(40_000)).outcome, 'not-permitted');
  assert.equal(get(cluster, client, 'key').outcome, 'unreadable');
  assert.equal(get(cluster, other, 'key').readValue, 'before');
  cluster.close();
});
