/** How many increments of one key many clients get done in simulated time, with all replicas and when one has crashed. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RecordedClient } from './recorded-client.ts';
import type { SimulatedCluster } from './simulated-cluster.ts';
import { connected, formed, get } from './steps.ts';

const KEY = 'counter';
const CLIENT_COUNT = 16;
const DEADLINE_MS = 10_000;
const INCREMENT = { kind: 'incr', value: undefined, expected: undefined, delta: 1n } as const;
const WARM_MS = 200;
const MEASURED_MS = 500;

interface Load {
  readonly cluster: SimulatedCluster;
  readonly clients: readonly RecordedClient[];
  stop(): void;
}

/** Clients that increment the key, each one time after the other. */
function incrementing(seed: number): Load {
  const cluster = formed({ seed });
  const clients = Array.from({ length: CLIENT_COUNT }, () => connected(cluster));
  let isStopped = false;
  const next = (client: RecordedClient): void => {
    if (isStopped) return;
    client.tryChange(KEY, INCREMENT, DEADLINE_MS, () => next(client));
  };
  for (const client of clients) next(client);
  const stop = (): void => {
    isStopped = true;
    cluster.finish();
  };
  return { cluster, clients, stop };
}

function doneOf({ clients }: Load): number {
  return clients.reduce((sum, { attempts }) => sum + attempts.filter(({ outcome }) => outcome === 'ok').length, 0);
}

function doneWithin(load: Load, ms: number): number {
  const before = doneOf(load);
  load.cluster.time.runUntil(() => false, ms);
  return doneOf(load) - before;
}

for (const victim of [0, 1, 2]) {
  test(`clients of one counter get half as much done at least when replica ${victim} has crashed`, (context) => {
    const load = incrementing(victim + 1);
    doneWithin(load, WARM_MS);
    const before = doneWithin(load, MEASURED_MS);
    load.cluster.replicas[victim]!.crash();
    doneWithin(load, WARM_MS);
    const after = doneWithin(load, MEASURED_MS);
    load.stop();
    context.diagnostic(`${before} before, ${after} after`);
    const outcomes = load.clients.flatMap(({ attempts }) => attempts.map(({ outcome }) => outcome));
    const unknownCount = outcomes.filter((outcome) => outcome === 'outcome-unknown').length;
    const done = doneOf(load);
    const sum = Number(get(load.cluster, load.clients[0]!, KEY).readValue);
    assert.ok(
      sum >= done && sum <= done + unknownCount,
      `${done} are done, ${unknownCount} unknown, the sum is ${sum}`,
    );
    assert.ok(after >= before / 2, `${before} before, ${after} after`);
  });
}
