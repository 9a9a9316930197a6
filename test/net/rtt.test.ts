import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { RTO_MS_MAX, RTO_MS_MIN, RttEstimator } from '../../net/rtt.ts';

test('should begin with half the first sample as its deviation (RFC 6298, 2.2)', () => {
  const rtt = new RttEstimator();
  rtt.sample(8);
  assert.equal(rtt.srttMs, 8);
  assert.equal(rtt.rtoMs(0), 8 + 4 * 4);
});

test('should smooth by an eighth and a quarter (RFC 6298, 2.3)', () => {
  const rtt = new RttEstimator();
  rtt.sample(8);
  rtt.sample(16);
  // RTTVAR first, with the old SRTT.
  const rttvarMs = (3 / 4) * 4 + (1 / 4) * Math.abs(8 - 16);
  assert.equal(rtt.srttMs, (7 / 8) * 8 + 16 / 8);
  assert.equal(rtt.rtoMs(0), rtt.srttMs + 4 * rttvarMs);
});

test('should wait long before the first sample, when it knows nothing', () => {
  assert.ok(new RttEstimator().rtoMs(0) >= 100);
});

test('should double with each attempt, up to the maximum, and fall to no less than the floor', () => {
  fc.assert(
    fc.property(
      fc.array(fc.double({ min: 0, max: 500, noNaN: true }), { maxLength: 50 }),
      fc.nat(255),
      (samples, n) => {
        const rtt = new RttEstimator();
        for (const sample of samples) rtt.sample(sample);
        const first = rtt.rtoMs(0);
        assert.ok(first >= RTO_MS_MIN && first <= RTO_MS_MAX);
        assert.ok(samples.length === 0 || first >= Math.min(rtt.srttMs + RTO_MS_MIN, RTO_MS_MAX));
        assert.equal(rtt.rtoMs(1), Math.min(RTO_MS_MAX, first * 2));
        assert.ok(rtt.rtoMs(n + 1) >= rtt.rtoMs(n));
        assert.equal(rtt.rtoMs(255), RTO_MS_MAX);
      },
    ),
  );
});

test('should close in on a round trip that stays the same', () => {
  const rtt = new RttEstimator();
  rtt.sample(100);
  for (let i = 0; i < 100; i++) rtt.sample(2);
  assert.ok(Math.abs(rtt.srttMs - 2) < 0.1);
  assert.ok(rtt.rtoMs(0) < 3.5);
});
