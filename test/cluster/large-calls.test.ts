/** The coordinated route with values larger than a datagram, whole clusters, bad networks and hostile clients. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SECURITY_MODES } from '../../net/mode.ts';
import { IDLE_MS_MAX } from '../../src/coordinated/call-parts-memory.ts';
import { MESSAGE_CALL_PART } from '../../src/protocol/call-part-messages.ts';
import { sendCallOpen, sendCallPart } from './hostile-client.ts';
import { CALM, nameOf } from './lossy-network.ts';
import { OddClient } from './odd-client.ts';
import type { RecordedClient } from './recorded-client.ts';
import type { SimulatedCluster } from './simulated-cluster.ts';
import { formed, get, put } from './steps.ts';

/** Every length of it has its own text, so that parts in a wrong place show. */
function valueOf(id: number, byteCount: number): string {
  let text = '';
  for (let i = 0; text.length < byteCount; i++) text += `${id}:${i};`;
  return text.slice(0, byteCount);
}

function calling(cluster: SimulatedCluster, datagramBytes?: number): RecordedClient {
  const client = cluster.addClient(undefined, {
    route: 'coordinated',
    ...(datagramBytes !== undefined && { datagramBytes }),
  });
  const isReady = (): boolean => client.node.readyMask !== 0;
  assert.ok(cluster.time.runUntil(isReady, 10_000), 'some replica takes its calls');
  cluster.time.run(50);
  return client;
}

function putAndGet(cluster: SimulatedCluster, client: RecordedClient, value: string): void {
  assert.equal(put(cluster, client, 'key', value, 5_000).outcome, 'ok');
  assert.ok(get(cluster, client, 'key', 5_000).readValue === value, `${value.length} bytes come back`);
}

function blockCounts({ replicas }: SimulatedCluster): number[] {
  return replicas.map(({ node }) => node.route.calls.partsMemory.blockCount);
}

for (const mode of SECURITY_MODES) {
  test(`${mode}: values of all lengths come back as they were put`, () => {
    const cluster = formed({ seed: 1, mode });
    for (const datagramBytes of [1_200, 4_096]) {
      const client = calling(cluster, datagramBytes);
      const lengths = [0, 1_000, 1_064, 1_072, 1_080, 1_088, 1_096, 1_104, 2_200, 16_384, 16_385, 40_000];
      lengths.forEach((byteCount, i) => putAndGet(cluster, client, valueOf(i, byteCount)));
    }
    // A get may have been called at two replicas, and one of them keeps an answer that nobody pulls.
    cluster.time.run(IDLE_MS_MAX + 200);
    assert.deepEqual(blockCounts(cluster), [0, 0, 0], 'nothing is kept that nobody needs');
    cluster.invariants();
  });
}

test('1 MiB comes back whole though one datagram in twenty is lost, in the smallest datagrams and in large ones', () => {
  for (const datagramBytes of [1_200, 16_384]) {
    const cluster = formed({ seed: 2, datagramBytes, trustedBytesMax: 2 ** 26 });
    const client = calling(cluster, datagramBytes);
    cluster.network.weather = { ...CALM, loss: 0.05 };
    putAndGet(cluster, client, valueOf(1, 2 ** 20));
    cluster.invariants();
  }
});

test('whatever the weather: lost, doubled, late, out of order, broken', () => {
  for (let seed = 10; seed < 16; seed++) {
    const cluster = formed({ seed });
    const client = calling(cluster);
    cluster.network.weather = { ...CALM, loss: 0.1, duplicate: 0.1, late: 0.2, lateMsMax: 20, corrupt: 0.05 };
    for (let i = 0; i < 4; i++) putAndGet(cluster, client, valueOf(i, 5_000 + 9_000 * i));
    cluster.invariants();
  }
});

test('the loss of a part costs that part', () => {
  const cluster = formed({ seed: 3 });
  const client = calling(cluster);
  cluster.network.weather = { ...CALM, loss: 0.05 };
  for (let i = 0; i < 5; i++) putAndGet(cluster, client, valueOf(i, 200_000));
  const { partsRepeated } = client.node.core.counters;
  // Five puts and five gets, some 180 parts each, of which one in twenty is lost on either way; a lost
  // datagram of CALL_PULLs loses all parts that it asks for.
  const sent = 5 * 2 * 180;
  assert.ok(partsRepeated > 0 && partsRepeated < sent * 0.4, `${partsRepeated} of ${sent} sent again`);
});

/** The replica that the client's first CALL_PART goes to crashes when so many have passed. */
function crashAfterParts(cluster: SimulatedCluster, client: RecordedClient, count: number): void {
  let passed = 0;
  cluster.observer.onPassing = (from, to, messages) => {
    if (from !== client.process || !messages.some(({ type }) => type === MESSAGE_CALL_PART)) return;
    if (++passed !== count) return;
    const replica = cluster.replicas.find(({ process }) => nameOf(process) === nameOf(to))!;
    cluster.time.after(0, () => replica.crash());
  };
}

test('a put whose replica crashes in the middle of its parts is done by another; one that it had whole is unknown', () => {
  const value = valueOf(1, 100_000);
  const partCount = Math.ceil((100_000 + 8) / 1_120);
  for (const [count, outcomes] of [
    [5, ['ok']],
    [partCount, ['ok', 'outcome-unknown']],
  ] as const) {
    const cluster = formed({ seed: 4 });
    const client = calling(cluster);
    crashAfterParts(cluster, client, count);
    const { outcome } = put(cluster, client, 'key', value, 5_000);
    assert.ok((outcomes as readonly string[]).includes(outcome!), outcome);
    cluster.observer.onPassing = () => {};
    const next = calling(cluster);
    const read = get(cluster, next, 'key', 5_000);
    if (outcome === 'ok') assert.ok(read.readValue === value);
    putAndGet(cluster, next, valueOf(2, 30_000));
    cluster.invariants();
  }
});

test('many that begin calls by parts and finish none keep nobody from putting for good', () => {
  const cluster = formed({ seed: 5 });
  const client = calling(cluster);
  const hostile = Array.from({ length: 4 }, (_, i) => new OddClient(cluster, `hostile ${i}`, 7_000 + i, {}));
  const isConnected = (): boolean => hostile.every(({ links }) => links.every(({ session }) => session !== undefined));
  assert.ok(cluster.time.runUntil(isConnected, 5_000));
  for (const odd of hostile) for (const { session } of odd.links) session!.flight = undefined;
  let round = 0;
  let isOver = false;
  const goOn = (): void => {
    round++;
    for (const odd of hostile) {
      for (const { index } of cluster.replicas) {
        sendCallOpen(odd, index, 1, 64);
        for (let slot = 0; slot < 40; slot++) {
          sendCallPart(odd, index, {
            slot,
            generation: round >> 3,
            stream: odd.streamAt(index),
            part: 1 + (round % 3),
          });
        }
      }
    }
    if (!isOver) cluster.time.after(100, goOn);
  };
  goOn();
  cluster.time.run(500);
  assert.ok(Math.max(...blockCounts(cluster)) > 0, 'they do hold something');
  for (let i = 0; i < 3; i++) {
    assert.equal(put(cluster, client, 'key', valueOf(i, 6_000), 10_000).outcome, 'ok');
    assert.ok(get(cluster, client, 'key', 10_000).readValue === valueOf(i, 6_000));
  }
  isOver = true;
  cluster.invariants();
});
