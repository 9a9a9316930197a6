import assert from 'node:assert/strict';
import { test } from 'node:test';
import { sizeClassBytes, sizeClassOf } from '../../src/store/size-classes.ts';

test('each length gets the smallest class that holds it', () => {
  for (let byteCount = 1; byteCount <= 200_000; byteCount++) {
    const sizeClass = sizeClassOf(byteCount);
    assert.ok(sizeClassBytes(sizeClass) >= byteCount);
    if (sizeClass > 0) assert.ok(sizeClassBytes(sizeClass - 1) < byteCount);
  }
});

test('classes are multiples of 16 bytes and at most a quarter apart above 64', () => {
  assert.deepEqual([0, 3, 7, 8, 9, 11, 12].map(sizeClassBytes), [16, 64, 128, 160, 192, 256, 320]);
  for (let sizeClass = 4; sizeClassBytes(sizeClass) <= 4 * 1024 * 1024; sizeClass++) {
    assert.equal(sizeClassBytes(sizeClass) % 16, 0);
    assert.ok(sizeClassBytes(sizeClass) <= sizeClassBytes(sizeClass - 1) * 1.25);
  }
});
