/** How long operations take in simulated time, and who is asked: both are the same in every run. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CALM } from './lossy-network.ts';
import type { Weather } from './lossy-network.ts';
import { connected, formed, get, put } from './steps.ts';

const OPERATION_COUNT = 300;

/** Milliseconds of each operation, sorted; half of them are puts. */
function latencies(weather: Partial<Weather>, crashed: number): number[] {
  return [1, 2, 3, 4]
    .flatMap((seed) => {
      const cluster = formed({ seed });
      const client = connected(cluster);
      for (let i = 0; i < 50; i++) put(cluster, client, 'key', `warm ${i}`);
      cluster.network.weather = { ...CALM, ...weather };
      for (const replica of cluster.replicas.slice(0, crashed)) replica.crash();
      return Array.from({ length: OPERATION_COUNT }, (_, i) => {
        const attempt = i % 2 === 0 ? get(cluster, client, 'key') : put(cluster, client, 'key', `value ${i}`);
        assert.equal(attempt.outcome, 'ok');
        return attempt.endMs - attempt.startMs;
      });
    })
    .sort((a, b) => a - b);
}

/** A round trip takes half a millisecond with the turns at both ends; a put takes two. */
const CASES: readonly (readonly [
  name: string,
  weather: Partial<Weather>,
  crashed: number,
  p90: number,
  p99: number,
])[] = [
  ['in calm', {}, 0, 1.5, 2],
  ['with a replica crashed', {}, 1, 1.5, 10],
  ['with one datagram in fifty lost', { loss: 0.02 }, 0, 2, 10],
  // Hedges that wait for what they themselves have slowed down once took 200 ms here.
  ['with one datagram in ten lost', { loss: 0.1 }, 0, 10, 40],
  ['with one datagram in ten lost and a replica crashed', { loss: 0.1 }, 1, 20, 100],
  ['with one datagram in twenty late by up to 100 ms', { late: 0.05, lateMsMax: 100 }, 0, 10, 20],
];

for (const [name, weather, crashed, p90MsMax, p99MsMax] of CASES) {
  test(`operations ${name} take milliseconds`, (context) => {
    const sorted = latencies(weather, crashed);
    const p90Ms = sorted[Math.floor(sorted.length * 0.9)]!;
    const p99Ms = sorted[Math.floor(sorted.length * 0.99)]!;
    context.diagnostic(`p90 ${p90Ms.toFixed(1)} ms, p99 ${p99Ms.toFixed(1)} ms`);
    assert.ok(p90Ms <= p90MsMax, `p90 is ${p90Ms} ms`);
    assert.ok(p99Ms <= p99MsMax, `p99 is ${p99Ms} ms`);
  });
}

test('a client that only reads spreads its reads over all replicas', () => {
  const cluster = formed({ seed: 5 });
  const client = connected(cluster);
  for (let i = 0; i < 300; i++) get(cluster, client, 'key');
  const counts = cluster.replicas.map(({ node }) => node.replica.operationCount);
  // Two replicas a read.
  for (const count of counts) assert.ok(count > 150 && count < 250, counts.join(', '));
});

test('a replica that was slow once gets its share of reads again', () => {
  const cluster = formed({ seed: 6 });
  const client = connected(cluster);
  const slow = cluster.replicas[0]!;
  cluster.network.setLink(client.process, slow.process, { loss: 0, delayMsMax: 10 });
  for (let i = 0; i < 20; i++) put(cluster, client, 'key', `value ${i}`);
  cluster.network.clearLinks();
  const readsOf = (count: number): number => {
    const before = slow.node.replica.operationCount;
    for (let i = 0; i < count; i += 50) {
      for (let at = 0; at < 50; at++) client.get('key', 1_000);
      cluster.finish();
    }
    return slow.node.replica.operationCount - before;
  };
  assert.ok(readsOf(100) < 20, 'it is spared while it is taken for slow');
  readsOf(10_000);
  assert.ok(readsOf(300) > 150);
});
