import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { compareStamps, STAMP_COUNTER_MAX } from '../../src/stamp.ts';

/** Edges come up often: words with the top bit set are where signed and unsigned order differ. */
const word = fc.oneof(
  fc.integer({ min: 0, max: 0xffff_ffff }),
  fc.constantFrom(0, 1, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff),
);
const counter = fc.oneof(
  fc.integer({ min: 0, max: 3 }),
  fc.constantFrom(2 ** 31, 2 ** 32, STAMP_COUNTER_MAX - 1, STAMP_COUNTER_MAX),
);
const stamp = fc.record({ counter, writerHigh: word, writerLow: word, rmw: word });
type Stamp = typeof stamp extends fc.Arbitrary<infer T> ? T : never;

function whole(s: Stamp): bigint {
  return (BigInt(s.counter) << 96n) | (BigInt(s.writerHigh) << 64n) | (BigInt(s.writerLow) << 32n) | BigInt(s.rmw);
}

/** As an Int32Array holds the words. */
function compare(a: Stamp, b: Stamp): number {
  return compareStamps(
    a.counter,
    a.writerHigh | 0,
    a.writerLow | 0,
    a.rmw | 0,
    b.counter,
    b.writerHigh | 0,
    b.writerLow | 0,
    b.rmw | 0,
  );
}

test('stamps are ordered as one unsigned number: counter, writer, rmw', () => {
  fc.assert(
    fc.property(stamp, stamp, fc.constantFrom('counter', 'writerHigh', 'writerLow', 'rmw'), (a, b, field) => {
      assert.equal(compare(a, b), whole(a) < whole(b) ? -1 : whole(a) > whole(b) ? 1 : 0);
      const near = { ...a, [field]: b[field] };
      assert.equal(compare(a, near), whole(a) < whole(near) ? -1 : whole(a) > whole(near) ? 1 : 0);
      assert.equal(compare(a, { ...a }), 0);
    }),
    { numRuns: 2_000 },
  );
});
