import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { TimerWheel } from '../../src/protocol/timer-wheel.ts';

const SLOT_COUNT = 12;

const slot = fc.nat(SLOT_COUNT - 1);
/** Near, around one round of the wheel (512 ms), several rounds away, and past. */
const delay = fc.oneof(fc.integer({ min: -5, max: 30 }), fc.integer({ min: 500, max: 530 }), fc.nat(4_000));
const fraction = fc.constantFrom(0, 0, 0.25, 0.999);

const move = fc.oneof(
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('set' as const), slot, delay, fraction }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('clear' as const), slot }) },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('advance' as const), delay, fraction }) },
);

test('should fire what a list of all timers says is due, each once, never early and at most 1 ms late', () => {
  fc.assert(
    fc.property(fc.constantFrom(0, 1_000, 123_456_789), fc.array(move, { maxLength: 120 }), (startMs, moves) => {
      const wheel = new TimerWheel(SLOT_COUNT);
      const due = new Map<number, number>();
      let nowMs: number = startMs;
      wheel.advance(nowMs, () => assert.fail('nothing was set'));
      for (const step of moves) {
        if (step.kind === 'set') {
          const dueMs = nowMs + step.delay + step.fraction;
          wheel.set(step.slot, dueMs);
          // What is past fires with the next millisecond.
          due.set(step.slot, Math.max(Math.ceil(dueMs), Math.floor(nowMs) + 1));
        } else if (step.kind === 'clear') {
          wheel.clear(step.slot);
          due.delete(step.slot);
        } else {
          nowMs = Math.max(nowMs, nowMs + step.delay + step.fraction);
          const fired: number[] = [];
          wheel.advance(nowMs, (firedSlot) => fired.push(firedSlot));
          const expected = [...due].filter(([, dueMs]) => dueMs <= nowMs).map(([dueSlot]) => dueSlot);
          assert.deepEqual(
            fired.toSorted((x, y) => x - y),
            expected.toSorted((x, y) => x - y),
          );
          for (const firedSlot of fired) due.delete(firedSlot);
        }
        assert.equal(wheel.count, due.size);
        assert.ok(wheel.nextDueMs <= Math.min(...due.values()), 'who waits until nextDueMs is not late');
        wheel.invariants();
      }
    }),
    { numRuns: 300 },
  );
});

test('should take what a firing timer sets and clears, itself included, for later', () => {
  const wheel = new TimerWheel(4);
  const fired: number[] = [];
  for (const each of [0, 1, 2, 3]) wheel.set(each, 10);
  wheel.advance(10, (each) => {
    fired.push(each);
    wheel.set(each, 10);
    for (const other of [0, 1, 2, 3]) if (other !== each) wheel.clear(other);
  });
  assert.equal(fired.length, 1);
  assert.equal(wheel.count, 1);
  wheel.advance(10.9, () => assert.fail('not twice in a millisecond'));
  wheel.advance(11, (each) => fired.push(each));
  assert.deepEqual(fired, [fired[0], fired[0]]);
});

test('should fire after a jump over many rounds', () => {
  const wheel = new TimerWheel(3);
  wheel.set(0, 5);
  wheel.set(1, 100_000);
  wheel.set(2, 100_001);
  const fired: number[] = [];
  wheel.advance(100_000, (each) => fired.push(each));
  assert.deepEqual(
    fired.toSorted((a, b) => a - b),
    [0, 1],
  );
  wheel.invariants();
});

test('should be called again only when something is due, or once a round of the wheel', () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: 4_000 }), { minLength: 1, maxLength: SLOT_COUNT }), (delays) => {
      const wheel = new TimerWheel(SLOT_COUNT);
      wheel.advance(1_000, () => assert.fail('nothing was set'));
      delays.forEach((delayMs, each) => wheel.set(each, 1_000 + delayMs));
      let calls = 0;
      let fired = 0;
      while (wheel.count > 0) {
        calls++;
        wheel.advance(wheel.nextDueMs, () => fired++);
      }
      assert.equal(fired, delays.length);
      assert.ok(calls <= new Set(delays).size + Math.ceil(4_000 / 512), `${calls} calls`);
      assert.equal(wheel.nextDueMs, Infinity);
    }),
  );
});
