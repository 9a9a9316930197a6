/** Values larger than a datagram, whole clusters, bad networks: what is read is what was put, whole. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SECURITY_MODES } from '../../net/mode.ts';
import { MESSAGE_WRITE_PART } from '../../src/protocol/messages.ts';
import { CALM, nameOf } from './lossy-network.ts';
import type { RecordedClient } from './recorded-client.ts';
import type { SimulatedCluster } from './simulated-cluster.ts';
import { connected, formed, get, put } from './steps.ts';

/** Every length of it has its own text, so that parts in a wrong place show. */
function valueOf(id: number, byteCount: number): string {
  let text = '';
  for (let i = 0; text.length < byteCount; i++) text += `${id}:${i};`;
  return text.slice(0, byteCount);
}

/** Around what one datagram, one chunk and two chunks hold. */
const LENGTHS = [1_000, 1_032, 1_056, 1_100, 2_200, 16_383, 16_384, 16_385, 32_768, 40_000];

function putAndGet(cluster: SimulatedCluster, client: RecordedClient, value: string, key = 'key'): void {
  assert.equal(put(cluster, client, key, value).outcome, 'ok');
  assert.equal(get(cluster, client, key).readValue, value);
}

for (const mode of SECURITY_MODES) {
  test(`${mode}: values of all lengths come back as they were put`, () => {
    const cluster = formed({ seed: 1, mode });
    const client = connected(cluster);
    LENGTHS.forEach((byteCount, i) => putAndGet(cluster, client, valueOf(i, byteCount)));
    cluster.time.run(100);
    for (const { node } of cluster.replicas) assert.equal(node.replica.reassemblies.openCount, 0);
    cluster.invariants();
  });
}

test('1 MiB comes back whole though one datagram in twenty is lost, in the smallest datagrams and in large ones', () => {
  for (const datagramBytes of [1_200, 16_384]) {
    const cluster = formed({ seed: 2, datagramBytes, trustedBytesMax: 2 ** 24 });
    const client = connected(cluster);
    cluster.network.weather = { ...CALM, loss: 0.05 };
    putAndGet(cluster, client, valueOf(1, 2 ** 20));
    cluster.invariants();
  }
});

test('the loss of a part costs that part', () => {
  const cluster = formed({ seed: 3 });
  const client = connected(cluster);
  cluster.network.weather = { ...CALM, loss: 0.05 };
  const value = valueOf(1, 200_000);
  for (let i = 0; i < 5; i++) putAndGet(cluster, client, value);
  const { partsRepeated } = client.node.coordinator.counters;
  // Five puts to three members and five gets, some 190 parts each, of which one in twenty is lost on either way.
  const sent = 5 * 4 * 190;
  assert.ok(partsRepeated > 0 && partsRepeated < sent * 0.2, `${partsRepeated} of ${sent} sent again`);
});

test('whatever the weather: lost, doubled, late, out of order, broken', () => {
  for (let seed = 10; seed < 16; seed++) {
    const cluster = formed({ seed });
    const client = connected(cluster);
    cluster.network.weather = { ...CALM, loss: 0.1, duplicate: 0.1, late: 0.2, lateMsMax: 20, corrupt: 0.05 };
    for (let i = 0; i < 4; i++) putAndGet(cluster, client, valueOf(i, 5_000 + 9_000 * i));
    cluster.invariants();
  }
});

test('all members get a large value, also the one that was not waited for', () => {
  const cluster = formed({ seed: 4 });
  const client = connected(cluster);
  const value = valueOf(1, 100_000);
  assert.equal(put(cluster, client, 'key', value).outcome, 'ok');
  cluster.time.run(500);
  const copies = cluster.replicas.map((replica) => replica.hostCopy('key'));
  for (const copy of copies) assert.deepEqual(copy, copies[0]);
  assert.equal(client.node.coordinator.spreadCount, 0, 'and then the operation is over');
});

test('a put goes on without a member that is gone', () => {
  const cluster = formed({ seed: 5 });
  const client = connected(cluster);
  cluster.replicas[1]!.crash();
  putAndGet(cluster, client, valueOf(1, 60_000));
  cluster.time.run(2_000);
  assert.equal(client.node.coordinator.spreadCount, 0, 'who is gone is given up');
});

test('a get goes on with another member when the one that sends the value goes', () => {
  for (const member of [0, 1, 2]) {
    const cluster = formed({ seed: 6 });
    const client = connected(cluster);
    const value = valueOf(1, 300_000);
    assert.equal(put(cluster, client, 'key', value).outcome, 'ok');
    cluster.time.run(200);
    const attempt = client.get('key', 5_000);
    cluster.time.run(3);
    assert.equal(attempt.outcome, undefined, 'it is under way');
    cluster.replicas[member]!.crash();
    cluster.time.run(3_000);
    assert.equal(attempt.readValue, value);
  }
});

test('a value that is overwritten while it is read by parts is never mixed with the new one', () => {
  const cluster = formed({ seed: 7 });
  const writer = connected(cluster);
  const reader = connected(cluster);
  const values = Array.from({ length: 12 }, (_, i) => valueOf(i, 50_000));
  assert.equal(put(cluster, writer, 'key', values[0]!).outcome, 'ok');
  const gets = values.slice(1).map((value) => {
    const attempt = reader.get('key', 1_000);
    cluster.time.run(1);
    put(cluster, writer, 'key', value);
    return attempt;
  });
  cluster.time.run(1_000);
  for (const { outcome, readValue } of gets) {
    assert.equal(outcome, 'ok');
    assert.ok(values.includes(readValue!));
  }
});

test('a reader writes a large value back before it answers with it', () => {
  for (const holder of [0, 1, 2]) {
    const cluster = formed({ seed: 8 });
    const writer = connected(cluster);
    const reader = connected(cluster);
    const value = valueOf(1, 30_000);
    // From its first part on, what the writer sends reaches one member only.
    cluster.network.onPassing = (from, _to, _datagram, messages) => {
      if (!messages.some(({ type }) => type === MESSAGE_WRITE_PART) || nameOf(from) !== nameOf(writer.process)) return;
      for (const replica of cluster.replicas) {
        if (replica.index === holder) continue;
        cluster.network.setLink(writer.process, replica.process, { loss: 1, delayMsMax: 0 });
      }
    };
    assert.equal(put(cluster, writer, 'key', value, 100).outcome, 'outcome-unknown');
    const others = cluster.replicas.filter(({ index }) => index !== holder);
    assert.ok(others.every((replica) => replica.hostCopy('key') === undefined));
    let readValue: string | undefined;
    for (let i = 0; i < 6 && readValue === undefined; i++) readValue = get(cluster, reader, 'key').readValue;
    assert.equal(readValue, value);
    const held = cluster.replicas.filter((replica) => replica.hostCopy('key') !== undefined);
    assert.ok(held.length >= 2, 'a quorum has it when it is answered');
  }
});

test('large copies that the host has changed are noticed, answered from elsewhere, and repaired by parts', () => {
  const cluster = formed({ seed: 9 });
  const client = connected(cluster);
  const value = valueOf(1, 50_000);
  assert.equal(put(cluster, client, 'key', value).outcome, 'ok');
  cluster.time.run(200);
  for (const at of [5, 40, 100, 33_000, 49_999]) {
    for (const replica of cluster.replicas) {
      const good = replica.hostCopy('key')!.slice();
      replica.hostCopy('key')![at]! ^= 4;
      for (let i = 0; i < 6; i++) assert.equal(get(cluster, client, 'key').readValue, value);
      cluster.time.run(200);
      assert.deepEqual(replica.hostCopy('key'), good);
    }
  }
  const repaired = cluster.replicas.map(({ node }) => node.repairs.repairedCount);
  assert.deepEqual(repaired, [5, 5, 5]);
  cluster.invariants();
});
