/** Decimal digits of 64-bit numbers, against BigInt's. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { writeDecimal } from '../../bench/decimal.ts';

function textOf(value: bigint, start = 0): string {
  const pair = new Int32Array([Number(BigInt.asIntN(32, value)), Number(BigInt.asIntN(32, value >> 32n))]);
  const out = new Uint8Array(32).fill(0x2e);
  const end = writeDecimal(pair, out, start);
  assert.ok(
    out.every((byte, at) => (at >= start && at < end) || byte === 0x2e),
    'nothing else is written',
  );
  return Buffer.from(out.subarray(start, end)).toString('latin1');
}

test('any 64 bits are written as BigInt writes them', () => {
  fc.assert(
    fc.property(fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), fc.nat({ max: 12 }), (value, start) => {
      assert.equal(textOf(value, start), value.toString());
    }),
  );
});

test('so are the numbers around each power of ten and of two', () => {
  for (let exponent = 0n; exponent < 64n; exponent++) {
    for (const power of [10n ** (exponent % 20n), 2n ** exponent]) {
      for (const value of [power - 1n, power, power + 1n]) {
        if (value < 2n ** 64n) assert.equal(textOf(value), value.toString());
      }
    }
  }
});
