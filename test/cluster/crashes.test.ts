/** Crashes and restarts: what a cluster survives, and what it must refuse rather than answer wrongly. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AvocadoError } from '../../src/errors.ts';
import { Connecting } from '../../src/client/connecting.ts';
import { MESSAGE_READ_REPLY, MESSAGE_STAMP_REPLY, MESSAGE_WRITE_REPLY } from '../../src/protocol/messages.ts';
import { historyProblem } from './history-problem.ts';
import { Prober } from './prober.ts';
import type { RecordedClient } from './recorded-client.ts';
import { SimulatedCluster } from './simulated-cluster.ts';
import type { SimulatedReplica } from './simulated-cluster.ts';
import { authorityOf } from './simulated-trust.ts';
import { connected, formed, get, put } from './steps.ts';

const QUORUM_ANSWERS = [MESSAGE_READ_REPLY, MESSAGE_STAMP_REPLY, MESSAGE_WRITE_REPLY];

/** Puts and gets of two keys without a break, until stop(). */
function keepBusy(cluster: SimulatedCluster, client: RecordedClient, deadlineMs: number): { stop(): void } {
  let isOn = true;
  let count = 0;
  const next = (): void => {
    if (!isOn) return;
    const key = `key-${count % 2}`;
    count++;
    const again = (): void => cluster.time.after(0.1, next);
    if (count % 3 === 0) client.put(key, `${client.name}: ${count}`, deadlineMs, again);
    else client.get(key, deadlineMs, again);
  };
  for (let i = 0; i < 4; i++) next();
  return {
    stop() {
      isOn = false;
    },
  };
}

for (const memberCount of [3, 5]) {
  const f = (memberCount - 1) / 2;
  test(`${f} of ${memberCount} crashed: no error reaches a client, at whatever moment`, () => {
    for (let seed = 1; seed <= 12; seed++) {
      const cluster = formed({ seed, memberCount });
      const clients = [connected(cluster), connected(cluster)];
      const loads = clients.map((client) => keepBusy(cluster, client, 500));
      for (let i = 0; i < f; i++) {
        cluster.time.run(cluster.dice.between(3, 6));
        cluster.replicas[(seed + i) % memberCount]!.crash();
      }
      cluster.time.run(20);
      for (const load of loads) load.stop();
      cluster.finish();
      const outcomes = new Set(clients.flatMap(({ attempts }) => attempts.map(({ outcome }) => outcome)));
      assert.deepEqual(
        [...outcomes].filter((outcome) => outcome !== 'ok' && outcome !== 'absent'),
        [],
        `seed ${seed}`,
      );
      assert.equal(historyProblem(cluster.history()), undefined, `seed ${seed}`);
    }
  });
}

test('f + 1 crashed: a get, and a put that was not sent, end as deadline, without effect; a put that was sent as unknown', () => {
  const outcomes = new Set<string>();
  for (let seed = 1; seed <= 24; seed++) {
    const cluster = formed({ seed });
    const client = connected(cluster);
    assert.equal(put(cluster, client, 'key', 'old').outcome, 'ok');
    const running = [client.get('key', 100), client.put('key', 'new', 100), client.delete('other', 100)];
    // From before the first round to after the last one.
    cluster.time.run((seed / 24) * 1.2);
    cluster.replicas[0]!.crash();
    cluster.replicas[1]!.crash();
    cluster.finish();
    const late = get(cluster, client, 'key', 50);
    assert.equal(late.outcome, 'deadline');
    const survivor = cluster.replicas[2]!;
    for (const { kind, key, outcome } of running) {
      outcomes.add(`${kind} ${outcome}`);
      if (kind === 'get') assert.ok(outcome === 'ok' || outcome === 'deadline', outcome);
      // What promises to have had no effect is nowhere.
      else if (outcome === 'deadline') assert.equal(survivor.counterOf(key), key === 'key' ? 1 : 0, `seed ${seed}`);
      else assert.ok(outcome === 'ok' || outcome === 'outcome-unknown', outcome);
    }
  }
  for (const outcome of ['get deadline', 'put deadline', 'put outcome-unknown', 'delete outcome-unknown']) {
    assert.ok(outcomes.has(outcome), `${outcome} occurred: ${[...outcomes].join(', ')}`);
  }
});

test('a restarted replica stays outside and answers no quorum message; an active one does', () => {
  const cluster = formed({ seed: 1 });
  const client = connected(cluster);
  assert.equal(put(cluster, client, 'key', 'value').outcome, 'ok');
  const restarted = cluster.replicas[1]!;
  restarted.crash();
  restarted.restart();
  const probers = [0, 1].map((index) => new Prober(cluster, index, 9_900 + index));
  cluster.time.runUntil(() => probers.every((prober) => prober.isConnected) && restarted.state === 'outside', 5_000);
  assert.equal(restarted.state, 'outside');
  for (let i = 0; i < 3; i++) {
    for (const prober of probers) prober.ask();
    cluster.time.run(50);
  }
  const [ofActive, ofOutside] = probers.map(({ answers }) => answers.filter((type) => QUORUM_ANSWERS.includes(type)));
  assert.deepEqual(new Set(ofActive), new Set(QUORUM_ANSWERS));
  assert.equal(ofActive?.length, 9);
  assert.deepEqual(ofOutside, []);
  assert.equal(restarted.node.drops.of('not-active'), 9);
  assert.equal(restarted.node.store.stats().keys, 0, 'nor was anything written there');
  // Not later either, and the cluster serves without it.
  cluster.time.run(10_000);
  assert.equal(restarted.state, 'outside');
  assert.equal(get(cluster, client, 'key').readValue, 'value');
});

test('a replica that waits for the others answers no quorum message', () => {
  const cluster = new SimulatedCluster({ seed: 2 });
  cluster.replicas[1]!.crash();
  const prober = new Prober(cluster, 0, 9_900);
  cluster.time.runUntil(() => prober.isConnected, 5_000);
  prober.ask();
  cluster.time.run(100);
  assert.equal(cluster.replicas[0]!.state, 'forming');
  assert.deepEqual(
    prober.answers.filter((type) => QUORUM_ANSWERS.includes(type)),
    [],
  );
});

test('an empty replica is not counted: what only it and one that lags could answer has no answer', () => {
  const cluster = formed({ seed: 3 });
  const [writer, reader] = [connected(cluster), connected(cluster)];
  const [restarted, holder, lagging] = cluster.replicas as [SimulatedReplica, SimulatedReplica, SimulatedReplica];
  cluster.network.interrupt(writer.process, lagging.process, 1_000);
  assert.equal(put(cluster, writer, 'key', 'value').outcome, 'ok');
  assert.deepEqual(
    [restarted, holder, lagging].map((replica) => replica.counterOf('key')),
    [1, 1, 0],
  );
  restarted.crash();
  restarted.restart();
  holder.process.pause(600);
  for (let i = 0; i < 5; i++) assert.equal(get(cluster, reader, 'key', 100).outcome, 'deadline');
  cluster.time.run(2_000);
  assert.equal(get(cluster, reader, 'key').readValue, 'value');
});

test('two of three restarted: there is no quorum, and nobody answers from an empty store', () => {
  const cluster = formed({ seed: 4 });
  const client = connected(cluster);
  assert.equal(put(cluster, client, 'key', 'value').outcome, 'ok');
  for (const replica of cluster.replicas.slice(0, 2)) {
    replica.crash();
    replica.restart();
  }
  cluster.time.run(5_000);
  assert.deepEqual(
    cluster.replicas.map(({ state }) => state),
    ['outside', 'outside', 'active'],
  );
  assert.equal(get(cluster, client, 'key').outcome, 'deadline');
  const stranger = cluster.addClient();
  assert.equal(get(cluster, stranger, 'key').outcome, 'deadline');
  assert.equal(cluster.instances.size, 1);
});

test('all restarted: who pinned the old instance refuses the new one, who did not uses it', () => {
  const cluster = formed({ seed: 5 });
  const old = connected(cluster);
  assert.equal(put(cluster, old, 'key', 'value').outcome, 'ok');
  const instance = old.node.view.instance!;
  for (const replica of cluster.replicas) replica.crash();
  for (const replica of cluster.replicas) replica.restart();
  cluster.form();
  assert.equal(cluster.instances.size, 2);

  // One that lived through it never takes the new instance's answers for the old one's.
  cluster.time.run(5_000);
  for (const attempt of [old.get('key', 500), old.put('key', 'other', 500)]) {
    cluster.finish();
    assert.equal(attempt.outcome, 'deadline');
  }
  assert.equal(old.node.view.instance, instance);

  const returning = cluster.addClient(instance);
  const { members } = authorityOf(cluster.mode, cluster.memberCount, 'client').configuration;
  const connecting = new Connecting(returning.node, members, 5_000, returning.process.nowMs);
  let verdict = connecting.verdict(returning.process.nowMs);
  cluster.time.runUntil(() => {
    verdict = connecting.verdict(returning.process.nowMs);
    return verdict !== 'waiting';
  }, 10_000);
  assert.ok(verdict instanceof AvocadoError);
  assert.equal(verdict.code, 'INSTANCE_CHANGED');
  assert.equal(get(cluster, returning, 'key', 500).outcome, 'deadline');

  const fresh = connected(cluster);
  assert.notEqual(fresh.node.view.instance, instance);
  assert.equal(get(cluster, fresh, 'key').outcome, 'absent');
  assert.equal(put(cluster, fresh, 'key', 'new').outcome, 'ok');
  assert.equal(get(cluster, fresh, 'key').readValue, 'new');
});

test('restarts while a cluster forms, in any weather: no second instance while a member of the first lives', () => {
  let formedCount = 0;
  for (let seed = 1; seed <= 60; seed++) {
    const cluster = new SimulatedCluster({ seed });
    const { dice, time, network } = cluster;
    network.weather = { ...network.weather, loss: 0.2, duplicate: 0.1, late: 0.2, lateMsMax: 100, replay: 0.1 };
    // Replica 0 never crashes.
    for (let i = dice.integer(1, 6); i > 0; i--) {
      time.run(dice.between(0, 400));
      const replica = cluster.replicas[dice.integer(1, 2)]!;
      replica.crash();
      time.run(dice.between(0, 20));
      replica.restart();
    }
    network.calm();
    time.run(10_000);
    assert.ok(cluster.instances.size <= 1, `seed ${seed}: ${[...cluster.instances].join()}\n${cluster.log.join('\n')}`);
    if (cluster.instances.size === 1) formedCount++;
  }
  assert.ok(formedCount >= 20, `${formedCount} clusters formed`);
});
