import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { AssertionError } from '../../net/assert.ts';
import { alignUp, allocateRegion, copyPadded, copyWords, readU53, regionOf, writeU53 } from '../../net/bytes.ts';
import { seededBytes } from '../workers/random.ts';

test('should read back every number up to 2^53 - 1, low word first', () => {
  const numbers = fc.oneof(
    fc.maxSafeNat(),
    fc.constantFrom(0, 1, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1, 2 ** 32, 2 ** 33 - 1, Number.MAX_SAFE_INTEGER),
  );
  fc.assert(
    fc.property(numbers, fc.nat(4), (number, word) => {
      const region = allocateRegion(48);
      region.bytes.fill(0xa5);
      writeU53(region.words, word, number);
      assert.equal(readU53(region.words, word), number);
      const view = new DataView(region.bytes.buffer);
      assert.equal(view.getBigUint64(word * 4, true), BigInt(number));
      assert.ok(region.bytes.every((byte, i) => (i >= word * 4 && i < word * 4 + 8) || byte === 0xa5));
    }),
  );
});

test('should read 64 bits that are no safe integer as such, not as another number', () => {
  const words = Int32Array.of(0, 1 << 21);
  assert.equal(Number.isSafeInteger(readU53(words, 0)), false);
  assert.equal(Number.isSafeInteger(readU53(Int32Array.of(-1, -1), 0)), false);
});

test('should round up to multiples of 8', () => {
  fc.assert(
    fc.property(fc.nat(1_000_000), (byteCount) => {
      const padded = alignUp(byteCount);
      assert.ok(padded >= byteCount && padded < byteCount + 8 && padded % 8 === 0);
    }),
  );
});

test('should copy bytes exactly and pad with zeros: nothing beside the source, nothing of what was there before', () => {
  // Both sides of the border between loop and native copy (128 words).
  const byteCounts = fc.oneof(fc.nat(64), fc.integer({ min: 500, max: 530 }), fc.nat(3_000));
  fc.assert(
    fc.property(byteCounts, fc.nat(5), fc.nat(5), (byteCount, sourceWord, targetWord) => {
      const source = allocateRegion(3_200);
      source.bytes.set(seededBytes(source.bytes.length, byteCount));
      const target = allocateRegion(3_200);
      target.bytes.fill(0xee);
      copyPadded(target.words, targetWord, source.words, sourceWord, byteCount);
      const start = targetWord * 4;
      const end = start + alignUp(byteCount);
      assert.deepEqual(
        target.bytes.subarray(start, start + byteCount),
        source.bytes.subarray(sourceWord * 4, sourceWord * 4 + byteCount),
      );
      assert.ok(target.bytes.subarray(start + byteCount, end).every((byte) => byte === 0));
      assert.ok(target.bytes.subarray(0, start).every((byte) => byte === 0xee));
      assert.ok(target.bytes.subarray(end).every((byte) => byte === 0xee));
    }),
  );
});

test('should copy words, however many', () => {
  for (const wordCount of [0, 1, 127, 128, 129, 700]) {
    const source = Int32Array.from({ length: 710 }, (_, i) => i * 7 - 1_000);
    const target = new Int32Array(710).fill(-1);
    copyWords(target, 3, source, 5, wordCount);
    assert.deepEqual(target.subarray(3, 3 + wordCount), source.subarray(5, 5 + wordCount));
    assert.ok(target.subarray(3 + wordCount).every((word) => word === -1));
  }
});

test('should see the same memory as bytes and as words', () => {
  const buffer = new ArrayBuffer(64);
  const region = regionOf(buffer, 8, 20);
  region.bytes.set([1, 2, 3, 4]);
  assert.equal(region.words[0], 0x04030201);
  assert.equal(region.words.length, 5);
  assert.equal(new Uint8Array(buffer)[8], 1);
  assert.throws(() => regionOf(buffer, 2), AssertionError);
});
