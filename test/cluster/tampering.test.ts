/** Hosts that change what lies in their memory: it is noticed, counted, answered from elsewhere, and repaired. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ENVELOPE_HEADER_BYTES } from '../../workers/sealing.ts';
import type { RecordedClient } from './recorded-client.ts';
import type { SimulatedCluster, SimulatedReplica } from './simulated-cluster.ts';
import { connected, formed, get, put } from './steps.ts';

const FIRST = 'the first value of the key';
const VALUE = 'this is the newest value..';
const OTHER = 'and that is another key...';
assert.ok(FIRST.length === VALUE.length && VALUE.length === OTHER.length, 'they can lie in one another’s place');

/** What a host does to its copy of 'key'. */
const TRICKS: Record<string, (copy: Uint8Array, old: Uint8Array, other: Uint8Array) => void> = {
  'a flipped bit of the ciphertext': (copy) => (copy[ENVELOPE_HEADER_BYTES + 3]! ^= 16),
  'a flipped bit of the last byte': (copy) => (copy[copy.length - 1]! ^= 128),
  'a flipped bit of the data key id': (copy) => (copy[0]! ^= 1),
  'a flipped bit of the nonce': (copy) => (copy[4]! ^= 1),
  'a flipped bit of the salt': (copy) => (copy[16]! ^= 1),
  'zeros all over': (copy) => copy.fill(0),
  'the ciphertext that lay there before': (copy, old) => copy.set(old),
  "another key's ciphertext": (copy, _old, other) => copy.set(other),
};

interface Setting {
  readonly cluster: SimulatedCluster;
  readonly client: RecordedClient;
  /** Plays a trick on a replica's copy. */
  readonly play: (trick: string, replica: SimulatedReplica) => void;
}

function setUp(seed: number): Setting {
  const cluster = formed({ seed });
  const client = connected(cluster);
  assert.equal(put(cluster, client, 'key', FIRST).outcome, 'ok');
  cluster.time.run(10);
  const oldCopies = cluster.replicas.map((replica) => replica.hostCopy('key')!.slice());
  assert.equal(put(cluster, client, 'key', VALUE).outcome, 'ok');
  assert.equal(put(cluster, client, 'other', OTHER).outcome, 'ok');
  cluster.time.run(10);
  return {
    cluster,
    client,
    play: (trick, replica) => {
      const copy = replica.hostCopy('key')!;
      const before = copy.slice();
      TRICKS[trick]!(copy, oldCopies[replica.index]!, replica.hostCopy('other')!);
      assert.notDeepEqual(copy, before, 'something is different');
    },
  };
}

for (const trick of Object.keys(TRICKS)) {
  test(`${trick} in one replica: right answers, counted, repaired`, () => {
    for (const index of [0, 1, 2]) {
      const { cluster, client, play } = setUp(1);
      const replica = cluster.replicas[index]!;
      const copy = replica.hostCopy('key')!;
      const good = copy.slice();
      play(trick, replica);
      // Each replica is asked for the value in turn.
      for (let i = 0; i < 6; i++) assert.equal(get(cluster, client, 'key').readValue, VALUE);
      cluster.time.run(10);
      const { tampered, repairs } = client.node.core.counters;
      assert.deepEqual({ tampered, repairs }, { tampered: 1, repairs: 1 });
      const { tamperedCount, repairedCount } = replica.node.repairs;
      assert.deepEqual({ tamperedCount, repairedCount }, { tamperedCount: 1, repairedCount: 1 });
      assert.deepEqual(copy, good);
      assert.equal(get(cluster, client, 'other').readValue, OTHER);
      cluster.invariants();
    }
  });
}

test('two bad copies of three: the third one answers, and both are repaired', () => {
  const { cluster, client, play } = setUp(2);
  play('a flipped bit of the ciphertext', cluster.replicas[0]!);
  play('the ciphertext that lay there before', cluster.replicas[2]!);
  for (let i = 0; i < 6; i++) assert.equal(get(cluster, client, 'key').readValue, VALUE);
  cluster.time.run(10);
  assert.deepEqual(
    cluster.replicas.map(({ node }) => node.repairs.repairedCount),
    [1, 0, 1],
  );
});

test('every copy bad: unreadable, nothing else is harmed, and a later put heals', () => {
  const { cluster, client, play } = setUp(3);
  for (const replica of cluster.replicas) play('zeros all over', replica);
  for (let i = 0; i < 3; i++) assert.equal(get(cluster, client, 'key').outcome, 'unreadable');
  assert.equal(get(cluster, client, 'other').readValue, OTHER);
  assert.equal(put(cluster, client, 'key', 'healed').outcome, 'ok');
  for (let i = 0; i < 3; i++) assert.equal(get(cluster, client, 'key').readValue, 'healed');
  cluster.invariants();
});

test('every copy bad: a delete heals, too', () => {
  const { cluster, client, play } = setUp(4);
  for (const replica of cluster.replicas) play('zeros all over', replica);
  const removal = client.delete('key', 1_000);
  cluster.finish();
  assert.equal(removal.outcome, 'ok');
  for (let i = 0; i < 3; i++) assert.equal(get(cluster, client, 'key').outcome, 'absent');
});

test('a bad copy keeps its stamp: an older value is no answer, even when nothing else is at hand', () => {
  const { cluster, client, play } = setUp(5);
  const [tampering, holder, lagging] = cluster.replicas as [SimulatedReplica, SimulatedReplica, SimulatedReplica];
  cluster.network.interrupt(client.process, lagging.process, 50);
  assert.equal(put(cluster, client, 'key', 'the value that counts').outcome, 'ok');
  assert.ok(lagging.counterOf('key') < tampering.counterOf('key'));
  play('a flipped bit of the ciphertext', tampering);
  holder.process.pause(700);
  for (let i = 0; i < 4; i++) assert.equal(get(cluster, client, 'key', 100).outcome, 'deadline');
  cluster.time.run(1_000);
  assert.equal(get(cluster, client, 'key').readValue, 'the value that counts');
});

test('a repair that comes late does not undo a newer write', () => {
  const { cluster, client, play } = setUp(6);
  const replica = cluster.replicas[0]!;
  play('a flipped bit of the ciphertext', replica);
  // What the client sends from now on, REPAIR among it, takes its time to this replica; other clients' writes don't.
  const other = connected(cluster);
  cluster.network.setLink(client.process, replica.process, { loss: 0, delayMsMax: 30 });
  for (let i = 0; i < 6; i++) {
    const reading = client.get('key', 1_000);
    other.put('key', `newer ${i}`, 1_000);
    cluster.finish();
    assert.equal(reading.outcome, 'ok');
  }
  cluster.time.run(100);
  for (let i = 0; i < 6; i++) assert.equal(get(cluster, client, 'key').readValue, 'newer 5');
  assert.equal(replica.node.repairs.repairedCount, 0);
});
