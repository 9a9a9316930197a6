import { COUNTER_STEP_MAX } from '../../src/protocol/counter-guard.ts';
import { STAMP_COUNTER_MAX } from '../../src/stamp.ts';
import { HOSTILE_KEYS } from './hostile-keys.ts';
import type { OddClient } from './odd-client.ts';
import type { SimulatedCluster } from './simulated-cluster.ts';

/** Faster than the clocks of all processes (simulated-clock.ts). */
const FASTEST = 1.06;

/** Counters that would use the stamps up: the greatest there is, and what replicas just take if it has gone on for long. */
export function poisonedCounter({ dice, elapsedMs }: OddClient): number {
  const risen = COUNTER_STEP_MAX * (elapsedMs() / 1_000);
  return dice.pick([
    STAMP_COUNTER_MAX,
    COUNTER_STEP_MAX * dice.integer(1, 3),
    Math.floor(COUNTER_STEP_MAX + risen * dice.fraction()),
  ]);
}

/** Whether time and a step are enough for the counters that are there. Only where no clock has jumped. */
export function counterProblem(cluster: SimulatedCluster, keys: readonly string[]): string | undefined {
  const bound = COUNTER_STEP_MAX * (1 + (FASTEST * cluster.time.nowMs) / 1_000);
  for (const replica of cluster.replicas) {
    if (!replica.process.isAlive) continue;
    for (const key of [...keys, ...HOSTILE_KEYS]) {
      const counter = replica.counterOf(key);
      if (counter > bound) return `${replica.name} took counter ${counter} for ${key}, above ${Math.round(bound)}`;
    }
  }
  return undefined;
}
