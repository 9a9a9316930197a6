import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SHARES, planFaults } from '../../bench/chaos/fault-plan.ts';
import type { PlanOptions } from '../../bench/chaos/fault-plan.ts';
import { FAULT_KINDS, describeFault, isNetworkFault } from '../../bench/chaos/faults.ts';
import type { Fault, KillFault } from '../../bench/chaos/faults.ts';

const SEEDS = Array.from({ length: 100 }, (_, seed) => seed);
const DURATION_MS = 4_000;

function plan(options: Partial<PlanOptions> = {}): Fault[] {
  return planFaults({
    seed: 1,
    kinds: FAULT_KINDS,
    durationMs: DURATION_MS,
    replicas: 3,
    loadProcesses: 2,
    ...options,
  });
}

test('a seed repeats its plan, another one has another', () => {
  assert.deepEqual(plan({ seed: 5 }), plan({ seed: 5 }));
  assert.notDeepEqual(plan({ seed: 5 }), plan({ seed: 6 }));
});

test('at most f replicas are killed, each once', () => {
  for (const replicas of [3, 5, 7]) {
    for (const seed of SEEDS) {
      const kills = plan({ seed, replicas }).filter((fault): fault is KillFault => fault.kind === 'kill');
      assert.equal(kills.length, (replicas - 1) / 2);
      assert.equal(new Set(kills.map(({ replica }) => replica)).size, kills.length);
      assert(kills.every(({ replica }) => replica < replicas));
    }
  }
});

test('each kind has its turn even in a short run, and nothing lasts beyond the end', () => {
  for (const durationMs of [1_000, DURATION_MS]) {
    for (const seed of SEEDS) {
      const faults = plan({ seed, durationMs });
      assert.deepEqual(new Set(faults.map(({ kind }) => kind)), new Set(FAULT_KINDS), `seed ${seed}`);
      for (const fault of faults) {
        const endMs = fault.kind === 'kill' ? fault.restartAtMs : fault.untilMs;
        assert(fault.atMs >= 0 && fault.atMs < endMs && endMs <= durationMs, describeFault(fault));
      }
      const times = faults.map(({ atMs }) => atMs);
      assert.deepEqual(
        times,
        times.toSorted((a, b) => a - b),
      );
    }
  }
});

test('only the kinds that are asked for come, within their bounds', () => {
  for (const seed of SEEDS) {
    for (const fault of plan({ seed, kinds: ['loss', 'delay'] })) {
      assert(isNetworkFault(fault) && (fault.kind === 'loss' || fault.kind === 'delay'));
      const { min, max } = SHARES[fault.kind];
      assert(fault.share >= min && fault.share <= max);
      assert.equal(fault.delayMs > 0, fault.kind === 'delay');
    }
  }
  assert.deepEqual(
    plan({ kinds: ['kill'] }).map(({ kind }) => kind),
    ['kill'],
  );
});

test('over some seeds stops meet one replica, a quorum of them, and load processes', () => {
  const met = new Set<string>();
  for (const seed of SEEDS) {
    for (const fault of plan({ seed })) {
      if (fault.kind !== 'stop') continue;
      met.add(`${fault.victims[0]!.role} x ${fault.victims.length}`);
      assert.equal(new Set(fault.victims.map(({ index }) => index)).size, fault.victims.length);
    }
  }
  assert.deepEqual(met, new Set(['replica x 1', 'replica x 2', 'client x 1']));
});
