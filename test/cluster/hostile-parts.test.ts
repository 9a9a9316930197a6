/** Clients with valid keys that begin large values and finish none: nobody else may be kept from putting large values. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { REASSEMBLIES_PER_PEER_MAX } from '../../src/protocol/reassemblies.ts';
import { sendPart } from './hostile-client.ts';
import { OddClient } from './odd-client.ts';
import type { SimulatedCluster } from './simulated-cluster.ts';
import { connected, formed, get, put } from './steps.ts';

const VALUE = 'large '.repeat(1_000);
const VALUE_COUNT = 1_000;

function hostileOnes(cluster: SimulatedCluster, count: number): OddClient[] {
  const clients = Array.from({ length: count }, (_, i) => new OddClient(cluster, `hostile ${i}`, 7_000 + i, {}));
  const isConnected = () => clients.every(({ links }) => links.every(({ session }) => session !== undefined));
  assert.ok(cluster.time.runUntil(isConnected, 5_000));
  return clients;
}

/** One part of each of so many values, at each member. */
function begin(cluster: SimulatedCluster, client: OddClient, first: number, count: number): void {
  for (let counter = first; counter < first + count; counter++) {
    for (const { index } of cluster.replicas) sendPart(client, index, { key: 'hostile-parts', counter, part: 1 });
  }
}

function openCounts(cluster: SimulatedCluster): number[] {
  return cluster.replicas.map(({ node }) => node.replica.reassemblies.openCount);
}

test('one that begins 1,000 values and finishes none has a few places, and others put and get meanwhile', () => {
  const cluster = formed({ seed: 1 });
  const client = connected(cluster);
  const [hostile] = hostileOnes(cluster, 1);
  for (let counter = 1; counter <= VALUE_COUNT; counter += 20) {
    begin(cluster, hostile!, counter, 20);
    if (counter % 200 === 1) {
      assert.equal(put(cluster, client, 'key', `${counter} ${VALUE}`).outcome, 'ok');
      assert.equal(get(cluster, client, 'key').readValue, `${counter} ${VALUE}`);
    } else cluster.time.run(5);
  }
  assert.ok(
    openCounts(cluster).every((count) => count === REASSEMBLIES_PER_PEER_MAX),
    `${openCounts(cluster).join()}`,
  );
  cluster.time.run(6_000);
  assert.deepEqual(openCounts(cluster), [0, 0, 0], 'and then they are given up');
  cluster.invariants();
});

for (const [how, partOf] of [
  ['the same part of each', () => 1],
  ['another part of each', (round: number) => 1 + (round % 3)],
] as const) {
  test(`many that take all places and send ${how} now and then keep nobody from putting for good`, () => {
    const cluster = formed({ seed: 3 });
    const client = connected(cluster);
    const all = hostileOnes(cluster, 5);
    // They care for no credit.
    for (const { links } of all) for (const { session } of links) session!.flight = undefined;
    let round = 0;
    let isOver = false;
    const goOn = (): void => {
      round++;
      for (const hostile of all) {
        for (let counter = 1; counter <= 16; counter++) {
          for (const { index } of cluster.replicas) {
            sendPart(hostile, index, { key: 'hostile-parts', counter, part: partOf(round) });
          }
        }
      }
      if (!isOver) cluster.time.after(300, goOn);
    };
    goOn();
    cluster.time.run(10);
    for (let i = 0; i < 3; i++) {
      assert.equal(put(cluster, client, 'key', `${i} ${VALUE}`, 10_000).outcome, 'ok');
      assert.equal(get(cluster, client, 'key').readValue, `${i} ${VALUE}`);
    }
    isOver = true;
    cluster.invariants();
  });
}

test('many that take all places hold others up no longer than they go on with what they began', () => {
  const cluster = formed({ seed: 2 });
  const client = connected(cluster);
  const all = hostileOnes(cluster, 5);
  for (const hostile of all) begin(cluster, hostile, 1, 16);
  cluster.time.run(5);
  assert.deepEqual(openCounts(cluster), [64, 64, 64]);
  assert.equal(put(cluster, client, 'key', VALUE, 100).outcome, 'outcome-unknown', 'there is no place at once');
  assert.equal(put(cluster, client, 'key', 'small', 100).outcome, 'ok', 'small values need none');
  assert.equal(put(cluster, client, 'key', VALUE, 1_000).outcome, 'ok', 'nobody has gone on with theirs');
  assert.equal(get(cluster, client, 'key').readValue, VALUE);
  cluster.invariants();
});
