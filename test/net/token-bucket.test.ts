import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { TokenBucket } from '../../net/token-bucket.ts';

test('should allow a burst after a rest, then one time after another', () => {
  const bucket = new TokenBucket(4, 100);
  const takenAt = (nowMs: number): number => {
    let count = 0;
    while (bucket.take(nowMs)) count++;
    return count;
  };
  assert.equal(takenAt(1_000), 4);
  assert.equal(bucket.isEmpty(1_024), true);
  assert.equal(bucket.isEmpty(1_025), false);
  assert.deepEqual([1_025, 1_030, 1_049, 1_050, 1_075].map(takenAt), [1, 0, 0, 1, 1]);
  assert.equal(takenAt(90_000), 4, 'a long rest is worth no more than a short one');
});

test('should never give more than its capacity and what has come in since, however often it is asked', () => {
  const steps = fc.array(fc.record({ waitMs: fc.integer({ min: 0, max: 40 }), asks: fc.nat(10) }), { maxLength: 100 });
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 20 }), steps, (capacity, waits) => {
      const bucket = new TokenBucket(capacity, 100);
      let nowMs = 0;
      let taken = 0;
      for (const { waitMs, asks } of waits) {
        nowMs += waitMs;
        for (let i = 0; i < asks; i++) if (bucket.take(nowMs)) taken++;
        assert.ok(taken <= capacity + (nowMs * capacity) / 100 + 1e-6);
      }
    }),
  );
});
