/** Latencies: precision, merging across processes, bounds. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LatencyHistogram } from '../../bench/histogram.ts';
import { Random } from '../../bench/random.ts';

test('percentiles are those of the sorted values to three digits, over all magnitudes', () => {
  const random = new Random(1);
  // From 10 µs to 10 s, evenly in the exponent: both sides of the directly counted range.
  const valuesUs = Array.from({ length: 20_000 }, () => Math.round(10 ** (1 + 6 * random.nextDouble())));
  const histogram = new LatencyHistogram();
  for (const valueUs of valuesUs) histogram.recordMs(valueUs / 1_000);
  valuesUs.sort((a, b) => a - b);
  const summary = histogram.summary()!;
  assert.equal(summary.count, valuesUs.length);
  for (const [name, share] of [
    ['p50', 0.5],
    ['p95', 0.95],
    ['p99', 0.99],
    ['p999', 0.999],
    ['max', 1],
  ] as const) {
    const expected = valuesUs[Math.ceil(share * valuesUs.length) - 1]!;
    assert.ok(
      Math.abs(summary[name] - expected) <= expected * 0.001 + 1,
      `${name}: ${summary[name]}, expected ${expected}`,
    );
  }
});

test('encoded parts of several processes add up to one', () => {
  const whole = new LatencyHistogram();
  const merged = new LatencyHistogram();
  for (let part = 0; part < 3; part++) {
    const own = new LatencyHistogram();
    for (let i = 1; i <= 1_000; i++) {
      const latencyMs = (i * (part + 1) ** 3) / 100;
      own.recordMs(latencyMs);
      whole.recordMs(latencyMs);
    }
    merged.addEncoded(own.encode());
    own.recordMs(1);
    assert.equal(own.summary()!.count, 1_001, 'encoding loses nothing');
  }
  merged.addEncoded(new LatencyHistogram().encode());
  assert.deepEqual(merged.summary(), whole.summary());
  const added = new LatencyHistogram();
  added.add(whole);
  assert.deepEqual(added.summary(), whole.summary());
});

test('nothing recorded has no summary, and what is out of bounds counts at the bound', () => {
  const histogram = new LatencyHistogram();
  assert.equal(histogram.summary(), undefined);
  histogram.recordMs(0);
  histogram.recordMs(3_600_000);
  const { count, p50, max } = histogram.summary()!;
  assert.deepEqual({ count, p50 }, { count: 2, p50: 1 });
  assert.ok(max >= 60_000_000 && max < 60_100_000);
});
