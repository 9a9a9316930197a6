/** The 64-bit hashes against BigInt arithmetic and against keys that YCSB itself makes. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { fnvHashBytes, fnvHashNumber, moduloOfPair } from '../../bench/fnv.ts';
import { RecordKeys } from '../../bench/record.ts';

const MASK = (1n << 64n) - 1n;
const BASIS = 0xcbf29ce484222325n;
const PRIME = 1099511628211n;

function expectedHash(bytes: Uint8Array): bigint {
  let hash = BASIS;
  for (const byte of bytes) hash = ((hash ^ BigInt(byte)) * PRIME) & MASK;
  return hash;
}

/** Java: a signed long, and Math.abs of it. */
function expectedNumberHash(value: number): bigint {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigInt64(0, BigInt(value), true);
  const signed = BigInt.asIntN(64, expectedHash(bytes));
  return BigInt.asUintN(64, signed < 0n ? -signed : signed);
}

function pairOf(value: bigint): Int32Array {
  return new Int32Array([Number(BigInt.asIntN(32, value)), Number(BigInt.asIntN(32, value >> 32n))]);
}

function numberHash(value: number): Int32Array {
  const pair = new Int32Array(2);
  fnvHashNumber(value, pair);
  return pair;
}

test('numbers hash as in Java, sign and all', () => {
  let negativeBeforeAbs = 0;
  for (let value = 0; value < 5_000; value++) {
    assert.deepEqual(numberHash(value), pairOf(expectedNumberHash(value)), `hash of ${value}`);
    const bytes = new Uint8Array(8);
    new DataView(bytes.buffer).setBigInt64(0, BigInt(value), true);
    if (BigInt.asIntN(64, expectedHash(bytes)) < 0n) negativeBeforeAbs++;
  }
  assert.ok(negativeBeforeAbs > 1_000, 'both signs were among them');
});

test('numbers over 32 bits hash all of their bytes', () => {
  fc.assert(
    fc.property(fc.nat({ max: Number.MAX_SAFE_INTEGER }), (value) => {
      assert.deepEqual(numberHash(value), pairOf(expectedNumberHash(value)));
    }),
  );
});

test('bytes hash with all 64 bits', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 40 }), fc.nat({ max: 5 }), (bytes, start) => {
      const from = Math.min(start, bytes.length);
      const pair = new Int32Array(2);
      fnvHashBytes(bytes, from, bytes.length, pair);
      assert.deepEqual(pair, pairOf(expectedHash(bytes.subarray(from))));
    }),
  );
});

test('the remainder of a pair is exact for each divisor', () => {
  fc.assert(
    fc.property(fc.bigInt({ min: 0n, max: MASK }), fc.integer({ min: 1, max: 2 ** 32 }), (value, divisor) => {
      assert.equal(moduloOfPair(pairOf(value), divisor), Number(value % BigInt(divisor)));
    }),
    { numRuns: 2_000 },
  );
  for (const divisor of [1, 2, 3, 100_000, 2 ** 31, 2 ** 32 - 1, 2 ** 32]) {
    for (const value of [0n, 1n, MASK, MASK - 1n, 1n << 63n, (1n << 63n) - 1n, BigInt(divisor) * 12_345n]) {
      assert.equal(moduloOfPair(pairOf(value), divisor), Number(value % BigInt(divisor)), `${value} % ${divisor}`);
    }
  }
});

test('keys are those that YCSB makes for hashed insert order', () => {
  const keys = new RecordKeys(2_000);
  // The first records of any YCSB load, as its basic binding prints them.
  assert.equal(keys.keyString(0), 'user6284781860667377211');
  assert.equal(keys.keyString(1), 'user8517097267634966620');
  assert.equal(keys.keyString(2), 'user1820151046732198393');
  const lengths = new Set<number>();
  for (let index = 0; index < keys.count; index++) {
    assert.equal(keys.keyString(index), `user${expectedNumberHash(index)}`);
    lengths.add(keys.key(index).length);
  }
  assert.ok(lengths.size > 1, 'keys of different lengths were among them');
});
