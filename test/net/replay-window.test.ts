import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { REPLAY_WINDOW_PACKETS } from '../../net/limits.ts';
import { ReplayWindow } from '../../net/replay-window.ts';

/** All numbers ever committed; whatever lies behind the window counts as seen. */
class NaiveWindow {
  readonly #seen = new Set<number>();
  #largest = -1;

  isNew(packetNumber: number): boolean {
    return packetNumber > this.#largest - REPLAY_WINDOW_PACKETS && !this.#seen.has(packetNumber);
  }

  commit(packetNumber: number): boolean {
    if (!this.isNew(packetNumber)) return false;
    this.#seen.add(packetNumber);
    this.#largest = Math.max(this.#largest, packetNumber);
    return true;
  }

  get largest(): number {
    return this.#largest;
  }
}

/** Steps relative to the largest number so far: near it, around the window's far edge, and far ahead. */
const step = fc.oneof(
  { weight: 6, arbitrary: fc.integer({ min: -40, max: 40 }) },
  { weight: 3, arbitrary: fc.integer({ min: -REPLAY_WINDOW_PACKETS - 70, max: -REPLAY_WINDOW_PACKETS + 70 }) },
  { weight: 3, arbitrary: fc.integer({ min: -REPLAY_WINDOW_PACKETS, max: 0 }) },
  { weight: 2, arbitrary: fc.integer({ min: 0, max: 3 * REPLAY_WINDOW_PACKETS }) },
  { weight: 1, arbitrary: fc.integer({ min: 8_100, max: 8_260 }) },
  { weight: 1, arbitrary: fc.integer({ min: 2 ** 31 - 5, max: 2 ** 32 + 5 }) },
);

test('should tell new from old exactly as a set of all numbers does', () => {
  fc.assert(
    fc.property(
      fc.oneof(fc.constant(0), fc.nat(100_000), fc.constant(2 ** 32 - 20), fc.constant(2 ** 53 - 2 ** 44)),
      fc.array(fc.record({ step, commit: fc.boolean() }), { maxLength: 300 }),
      (first, moves) => {
        const window = new ReplayWindow();
        const naive = new NaiveWindow();
        assert.equal(window.commit(first), naive.commit(first));
        for (const move of moves) {
          const packetNumber = Math.max(0, naive.largest + move.step);
          assert.equal(window.isNew(packetNumber), naive.isNew(packetNumber), `${packetNumber}`);
          if (move.commit) assert.equal(window.commit(packetNumber), naive.commit(packetNumber), `${packetNumber}`);
          assert.equal(window.largest, naive.largest);
        }
      },
    ),
    { numRuns: 300 },
  );
});

test('should take each number of a long run once, in any order within the window', () => {
  const window = new ReplayWindow();
  const block = 4_000;
  for (let start = 0; start < 40_000; start += block) {
    for (let i = block - 1; i >= 0; i--) assert.equal(window.commit(start + i), true);
    for (let i = 0; i < block; i++) assert.equal(window.isNew(start + i), false);
  }
});

test('should end exactly at its length behind the largest number', () => {
  const window = new ReplayWindow();
  window.commit(100_000);
  assert.equal(window.isNew(100_000 - REPLAY_WINDOW_PACKETS + 1), true);
  assert.equal(window.isNew(100_000 - REPLAY_WINDOW_PACKETS), false);
});

test('should forget nothing within the window when it jumps by less than its length', () => {
  for (const jump of [1, 31, 32, 33, 8_095, 8_096, 8_127]) {
    const window = new ReplayWindow();
    window.commit(50_000);
    window.commit(50_000 + jump);
    assert.equal(window.isNew(50_000), false, `a jump by ${jump}`);
  }
});

test('should look a number up without moving', () => {
  const window = new ReplayWindow();
  window.commit(5);
  assert.equal(window.isNew(1_000_000), true);
  assert.equal(window.largest, 5);
  assert.equal(window.isNew(4), true);
});
