/**
 * Read-modify-writes under random schedules: what clients are told must have one order that explains it all. RMW_SEEDS and
 * RMW_SEED say how many are run, and from which one on.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  CONDITION_ABSENT,
  CONDITION_NONE,
  CONDITION_VALUE,
  RMW_DELETE,
  RMW_INCREMENT,
  RMW_SET,
} from '../../src/protocol/rmw-request.ts';
import type { RmwRequest } from '../../src/protocol/rmw-request.ts';
import { explain } from './rmw-history.ts';
import { RmwWorld } from './rmw-world.ts';
import type { Call } from './rmw-world.ts';
import { bytesOf } from './fixtures.ts';

const NONE = new Uint8Array(0);
const SEEDS = Number(process.env['RMW_SEEDS'] ?? 40);
const FIRST_SEED = Number(process.env['RMW_SEED'] ?? 1);
const STEPS_MAX = 40_000;

function randomOf(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

const INCREMENT: RmwRequest = {
  change: RMW_INCREMENT,
  condition: CONDITION_NONE,
  value: NONE,
  expected: NONE,
  version: undefined,
  delta: 1n,
};

function run(world: RmwWorld, faults: { lossRate: number; repeatRate: number }): void {
  let steps = 0;
  while (world.unfinishedCount > 0) {
    assert.ok(++steps < STEPS_MAX, 'everything ends');
    world.step(faults);
  }
}

test('increments of several clients are counted once each, whatever is lost or comes twice', () => {
  for (let seed = FIRST_SEED; seed < FIRST_SEED + SEEDS; seed++) {
    const random = randomOf(seed);
    const clientCount = 2 + (seed % 3);
    const world = new RmwWorld({ clientCount, random });
    for (let i = 0; i < clientCount * 2; i++) world.begin(i % clientCount, { kind: 'rmw', request: INCREMENT });
    const crashAt = seed % 4 === 0 ? 30 : Infinity;
    let steps = 0;
    while (world.unfinishedCount > 0) {
      assert.ok(++steps < STEPS_MAX, `seed ${seed}: everything ends`);
      if (steps === crashAt) world.crash(seed % 3);
      world.step({ lossRate: 0.05, repeatRate: 0.05 });
    }
    const values = world.history.map(({ outcome, value }) => {
      assert.equal(outcome, 'ok', `seed ${seed}`);
      return Number(value);
    });
    const expected = values.map((_, i) => i + 1);
    assert.deepEqual(
      values.toSorted((a, b) => a - b),
      expected,
      `seed ${seed}`,
    );
  }
});

/** @param repeats How often a value has its digit. */
function randomCall(random: () => number, digit: string, repeats: number): Call {
  const value = digit.repeat(repeats);
  const other = String(Math.floor(random() * 4)).repeat(repeats);
  const rmw = (change: Partial<RmwRequest>): Call => ({ kind: 'rmw', request: { ...INCREMENT, delta: 0n, ...change } });
  switch (Math.floor(random() * 9)) {
    case 0:
    case 1:
      return { kind: 'get' };
    case 2:
      return { kind: 'put', value };
    case 3:
      return random() < 0.3 ? { kind: 'delete' } : { kind: 'put', value };
    case 4:
      return rmw({ change: RMW_SET, value: bytesOf(value) });
    case 5:
      return rmw({ change: RMW_SET, condition: CONDITION_ABSENT, value: bytesOf(value) });
    case 6:
      return rmw({ change: RMW_SET, condition: CONDITION_VALUE, value: bytesOf(value), expected: bytesOf(other) });
    case 7:
      return rmw({ change: RMW_DELETE, condition: CONDITION_VALUE, expected: bytesOf(other) });
    default:
      return rmw({ change: RMW_INCREMENT, delta: 1n });
  }
}

for (const { name, datagramBytes, repeats } of [
  { name: 'any mix of operations', datagramBytes: undefined, repeats: 1 },
  // No ACCEPT fits with a value, and a value goes in three parts, its key's included.
  { name: 'any mix of operations on values by parts', datagramBytes: 152, repeats: 100 },
] as const) {
  test(`${name} has an order that explains what clients were told`, () => {
    for (let seed = FIRST_SEED; seed < FIRST_SEED + SEEDS; seed++) {
      const random = randomOf(seed * 7919);
      const clientCount = 3;
      const deadlineMs = seed % 3 === 0 ? 60 : 1e6;
      const world = new RmwWorld({ clientCount, random, deadlineMs, datagramBytes });
      const left = Array.from({ length: clientCount }, () => 3);
      let steps = 0;
      let issued = 0;
      const busy = (client: number): boolean =>
        world.history.some((seen) => seen.client === client && seen.outcome === undefined);
      while (world.unfinishedCount > 0 || left.some((count) => count > 0)) {
        assert.ok(++steps < STEPS_MAX, `seed ${seed}: everything ends`);
        for (let client = 0; client < clientCount; client++) {
          if (left[client]! === 0 || busy(client) || random() < 0.7) continue;
          left[client]!--;
          world.begin(client, randomCall(random, String(issued++ % 4), repeats));
        }
        world.step({ lossRate: 0.08, repeatRate: 0.08 });
      }
      world.begin(0, { kind: 'get' });
      run(world, { lossRate: 0, repeatRate: 0 });
      assert.ok(explain(world.history), `seed ${seed}: ${JSON.stringify(world.history, replaceBigInt, 1)}`);
    }
  });
}

function replaceBigInt(_key: string, value: unknown): unknown {
  return typeof value === 'bigint'
    ? String(value)
    : value instanceof Uint8Array
      ? Buffer.from(value).toString()
      : value;
}
