/** One crash while a cluster forms, at the moments that matter: a quorum always comes about, without anybody's help. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Dice } from './dice.ts';
import { SimulatedCluster } from './simulated-cluster.ts';

/** Without withdrawing, the 56th and the 63rd fail. */
const SEED_COUNT = Number(process.env['SEEDS'] ?? 80);
const FORMED_WITHIN_MS = 60_000;

const moments: Record<string, (cluster: SimulatedCluster, dice: Dice) => void> = {
  'at any time': (cluster, dice) => cluster.time.run(dice.between(0, 400)),
  'as soon as somebody has voted': (cluster) =>
    runUntil(cluster, ({ state }) => state === 'voted' || state === 'active'),
  'as soon as somebody is active': (cluster) => runUntil(cluster, ({ state }) => state === 'active'),
};

function runUntil(cluster: SimulatedCluster, isSo: (replica: SimulatedCluster['replicas'][number]) => boolean): void {
  assert.ok(cluster.time.runUntil(() => cluster.replicas.some(isSo), FORMED_WITHIN_MS));
}

/** Active members of the instance that has most of them. */
function activeCount({ replicas }: SimulatedCluster): number {
  const ids = replicas.filter(({ isActive }) => isActive).map(({ node }) => node.formation.instance!.id);
  return Math.max(0, ...ids.map((id) => ids.filter((other) => other === id).length));
}

for (const [moment, run] of Object.entries(moments)) {
  test(`a replica that crashes ${moment} costs a forming cluster nothing but itself, whatever the weather`, () => {
    for (let seed = 1; seed <= SEED_COUNT; seed++) {
      const cluster = new SimulatedCluster({ seed });
      const { dice, time, network } = cluster;
      const loss = dice.pick([0.05, 0.2, 0.4]);
      network.weather = { ...network.weather, loss, duplicate: 0.1, late: 0.2, lateMsMax: 100, replay: 0.1 };
      run(cluster, dice);
      const victim = dice.pick(cluster.replicas);
      victim.crash();
      time.run(dice.between(0, 20));
      victim.restart();
      const isServing = time.runUntil(() => activeCount(cluster) >= cluster.quorum, FORMED_WITHIN_MS);
      assert.ok(isServing, `seed ${seed}:\n${cluster.log.join('\n')}`);
      time.run(1_000);
      assert.equal(cluster.instances.size, 1, `seed ${seed}`);
      cluster.invariants();
    }
  });
}
