/** Numbers that come back in any order, against a set. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { AcknowledgedCounter, WINDOW_NUMBERS } from '../../bench/acknowledged-counter.ts';

test('the last number is the one up to which all came back', () => {
  fc.assert(
    fc.property(fc.nat({ max: 2 ** 31 + 10 }), fc.array(fc.option(fc.nat()), { maxLength: 200 }), (start, steps) => {
      const counter = new AcknowledgedCounter(start);
      const out: number[] = [];
      let handedOut = 0;
      assert.equal(counter.last, start - 1);
      for (const step of steps) {
        if (step === null || out.length === 0) {
          assert.equal(counter.next(), start + handedOut);
          out.push(start + handedOut++);
        } else {
          counter.acknowledge(out.splice(step % out.length, 1)[0]!);
        }
        assert.equal(counter.last, Math.min(start + handedOut, ...out) - 1);
      }
    }),
  );
});

test('a number that stays out holds the last one back, until the window is full', () => {
  const counter = new AcknowledgedCounter(100);
  const first = counter.next();
  for (let i = 1; i < WINDOW_NUMBERS; i++) {
    assert.ok(!counter.isFull);
    counter.acknowledge(counter.next());
  }
  assert.equal(counter.last, 99);
  assert.ok(counter.isFull);
  counter.acknowledge(first);
  assert.equal(counter.last, 99 + WINDOW_NUMBERS);
  assert.ok(!counter.isFull);
  const next = counter.next();
  assert.equal(next, 100 + WINDOW_NUMBERS);
  assert.equal(counter.last, next - 1, 'the window is clean for those that come later');
});

test('a number that is not out is not acknowledged', () => {
  const counter = new AcknowledgedCounter(5);
  assert.throws(() => counter.acknowledge(4));
  assert.throws(() => counter.acknowledge(5));
  counter.next();
  counter.next();
  counter.acknowledge(6);
  assert.throws(() => counter.acknowledge(6));
});
