import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AssertionError } from '../../net/assert.ts';
import { regionOf } from '../../net/bytes.ts';
import {
  DERIVED_KEYS_MAX,
  DerivedKeyCache,
  deriveChunkKeys,
  deriveValueKey,
  NonceCounter,
  ReaderKeys,
} from '../../workers/value-keys.ts';
import { seededBytes } from './random.ts';

function saltOf(number: number): Int32Array {
  return regionOf(seededBytes(16, number).buffer).words;
}

test('a value key is the keyed BLAKE2b of context, key id and salt', () => {
  const dataKey = Uint8Array.from({ length: 32 }, (_, i) => i);
  const salt = regionOf(Uint8Array.from({ length: 16 }, (_, i) => 0x10 + i).buffer);
  const key = new Uint8Array(32);
  deriveValueKey(key, dataKey, 7, salt.words, 0);
  // Computed with Python's hashlib.blake2b.
  assert.equal(Buffer.from(key).toString('hex'), 'de5dc5561ee07547f1ac2a9dcedbd8f39f4d8623d39f4935e64bda28ba351c90');
});

test('chunk key and tag key are the halves of the keyed BLAKE2b of their own context, key id and salt', () => {
  const dataKey = Uint8Array.from({ length: 32 }, (_, i) => i);
  const salt = regionOf(Uint8Array.from({ length: 16 }, (_, i) => 0x10 + i).buffer);
  const keys = new Uint8Array(64);
  deriveChunkKeys(keys, dataKey, 7, salt.words, 0);
  // Computed with Python's hashlib.blake2b.
  assert.equal(
    Buffer.from(keys).toString('hex'),
    '13995efbbac74ef5aec0d495911441815732e5201098f3b53eae16cc7d68f7041f98b99795cb13828c41757d6482ea5797624d15b6375ba40b2675807bcc57b1',
  );
});

test('nonces begin at 1 and never come twice', () => {
  const nonces = new NonceCounter();
  assert.deepEqual([nonces.take(1), nonces.take(3), nonces.take(1)], [1, 2, 5]);
});

test('a nonce counter that is used up stops instead of starting anew', () => {
  const nonces = new NonceCounter(Number.MAX_SAFE_INTEGER - 3);
  assert.throws(() => nonces.take(4), AssertionError, 'not even a part of them is given out');
  assert.equal(nonces.take(3), Number.MAX_SAFE_INTEGER - 2);
  assert.throws(() => nonces.take(1), AssertionError);
  assert.throws(() => nonces.take(1), AssertionError);
});

test('the cache tells keys apart by each word of key id and salt', () => {
  const cache = new DerivedKeyCache();
  const salt = saltOf(1);
  cache.insert(1, salt, 0, seededBytes(32, 1));
  assert.deepEqual(cache.find(1, salt, 0), seededBytes(32, 1));
  assert.equal(cache.find(1 + 4_096, salt, 0), undefined);
  for (let word = 0; word < 4; word++) {
    const other = salt.slice();
    // A high bit, so that the entry is looked for in the same set.
    other[word] = other[word]! ^ (1 << 20);
    assert.equal(cache.find(1, other, 0), undefined);
  }
});

test('the cache is bounded, and keeps the newest', () => {
  const cache = new DerivedKeyCache();
  const insertedCount = 5 * DERIVED_KEYS_MAX;
  for (let i = 0; i < insertedCount; i++) cache.insert(1, saltOf(i), 0, seededBytes(32, i));
  assert.ok(cache.count <= DERIVED_KEYS_MAX);
  assert.ok(cache.count > DERIVED_KEYS_MAX / 2, 'random salts fill it');
  assert.deepEqual(cache.find(1, saltOf(insertedCount - 1), 0), seededBytes(32, insertedCount - 1));
});

test('a key that is pushed out is overwritten', () => {
  const cache = new DerivedKeyCache();
  const salt = saltOf(1);
  const key = seededBytes(32, 1);
  cache.insert(1, salt, 0, key);
  const memory = cache.find(1, salt, 0)!;
  for (let i = 1; cache.find(1, salt, 0) !== undefined; i++) {
    assert.ok(i < 100, 'a set is small');
    const other = salt.slice();
    other[3] = i;
    cache.insert(1, other, 0, seededBytes(32, 100 + i));
  }
  assert.notDeepEqual(memory, key);
});

test('clear overwrites every key and forgets it', () => {
  const cache = new DerivedKeyCache();
  const memories = [1, 2, 3].map((i) => {
    cache.insert(1, saltOf(i), 0, seededBytes(32, i));
    return cache.find(1, saltOf(i), 0)!;
  });
  cache.clear();
  for (const memory of memories) assert.deepEqual(memory, new Uint8Array(32));
  assert.equal(cache.find(1, saltOf(1), 0), undefined);
});

test('a key that opened nothing is overwritten, and not kept', () => {
  let derivedCount = 0;
  const keys = new ReaderKeys({
    generation: 0,
    currentId: () => 1,
    key: () => {
      derivedCount++;
      return seededBytes(32, 1);
    },
  });
  const salt = saltOf(1);
  const candidate = keys.take(1, salt, 0)!;
  assert.notDeepEqual(candidate, new Uint8Array(32));
  assert.throws(() => keys.take(1, saltOf(2), 0), AssertionError, 'one at a time');
  keys.settle(false, 1, salt, 0);
  assert.deepEqual(candidate, new Uint8Array(32));

  const derived = keys.take(1, salt, 0)!.slice();
  keys.settle(true, 1, salt, 0);
  assert.deepEqual(candidate, new Uint8Array(32), 'its only copy is the kept one');
  assert.deepEqual(keys.take(1, salt, 0), derived);
  assert.equal(derivedCount, 2);
  keys.settle(true, 1, salt, 0);
  const kept = keys.take(1, salt, 0)!;
  keys.close();
  assert.deepEqual(kept, new Uint8Array(32));
});
