import assert from 'node:assert/strict';
import { test } from 'node:test';
import { allocateRegion } from '../../net/bytes.ts';
import { DataKeyRing } from '../../src/trust/data-key-ring.ts';
import type { CurrentSpace } from '../../src/trust/data-key-ring.ts';
import { KeyPrefix } from '../../src/trust/key-prefix.ts';
import { spacesProblem } from '../../src/trust/key-space.ts';
import { seededBytes, seededRandom } from '../workers/random.ts';

function space(name: string, prefix: string, currentId: number): CurrentSpace {
  return { name, prefix: Buffer.from(prefix), currentId };
}

function keysOf(...ids: number[]) {
  return ids.map((id) => ({ id, key: seededBytes(32, id) }));
}

function currentId(ring: DataKeyRing, key: string, keyWord = 0): number {
  const region = allocateRegion(keyWord * 4 + key.length + 8);
  // What lies around a key means nothing.
  region.bytes.fill(0xa5);
  region.bytes.set(Buffer.from(key), keyWord * 4);
  return ring.currentId(region.words, keyWord, key.length);
}

test('a key belongs to the space with the longest prefix that fits', () => {
  const ring = new DataKeyRing(
    [space('default', '', 1), space('user', 'user/', 2), space('admin', 'user/admin/', 3)],
    keysOf(1, 2, 3),
  );
  for (const keyWord of [0, 2]) {
    const ids = ['', 'u', 'user', 'user/', 'user/x', 'user/admin', 'user/admin/', 'user/admin/1', 'vser/'].map((key) =>
      currentId(ring, key, keyWord),
    );
    assert.deepEqual(ids, [1, 1, 1, 2, 2, 2, 3, 3, 1]);
  }
});

test('a space whose key is not here has none, and no other space lends it one', () => {
  const ring = new DataKeyRing([space('default', '', 1), space('user', 'user/', 2)], keysOf(1));
  assert.equal(currentId(ring, 'user/x'), 0);
  assert.equal(currentId(ring, 'x'), 1);
  ring.update([space('default', '', 1), space('user', 'user/', 2)], keysOf(2));
  assert.equal(currentId(ring, 'user/x'), 2);
});

test('a destroyed key is overwritten, and every change is seen by the generation', () => {
  const ring = new DataKeyRing([space('default', '', 1)], keysOf(1, 2));
  const first = ring.key(1)!;
  const generations = [ring.generation];
  ring.update([space('default', '', 2)], []);
  generations.push(ring.generation);
  ring.destroy(1);
  generations.push(ring.generation);
  assert.deepEqual(first, new Uint8Array(32));
  assert.equal(ring.key(1), undefined);
  assert.deepEqual(ring.keyIds, [2]);
  ring.destroy(2);
  generations.push(ring.generation);
  assert.equal(currentId(ring, 'x'), 0, 'also when it was current');
  assert.equal(new Set(generations).size, 4);
});

test('close overwrites all keys', () => {
  const ring = new DataKeyRing([space('default', '', 1)], keysOf(1, 2));
  const keys = [ring.key(1)!, ring.key(2)!];
  ring.close();
  for (const key of keys) assert.deepEqual(key, new Uint8Array(32));
});

test('a ring without spaces has no key for anything', () => {
  assert.equal(currentId(DataKeyRing.empty(), 'x'), 0);
});

test('prefixes are compared as bytes are', () => {
  const random = seededRandom(1);
  for (let i = 0; i < 2_000; i++) {
    const bytes = (count: number) => Uint8Array.from({ length: count }, () => Math.floor(random() * 2));
    const prefix = bytes(Math.floor(random() * 7));
    const key = bytes(Math.floor(random() * 10));
    const region = allocateRegion(key.length + 8);
    region.bytes.fill(1);
    region.bytes.set(key, 4);
    const expected = key.length >= prefix.length && prefix.every((byte, at) => key[at] === byte);
    assert.equal(new KeyPrefix(prefix).isPrefixOf(region.words, 1, key.length), expected);
  }
});

test('spaces that do not go together are told apart', () => {
  const fine = [space('default', '', 1), space('a', 'a', 2)];
  assert.equal(spacesProblem(fine), undefined);
  const wrong = [
    [space('a', 'a', 1)],
    [space('default', 'x', 1)],
    [...fine, space('a', 'b', 3)],
    [...fine, space('b', 'a', 3)],
    [...fine, space('b', '', 3)],
    [...fine, space('B', 'b', 3)],
    [...fine, space('x'.repeat(33), 'b', 3)],
    [...fine, space('b', 'b'.repeat(65), 3)],
    [...fine, ...Array.from({ length: 31 }, (_, i) => space(`s${i}`, `s${i}`, 3))],
  ];
  for (const spaces of wrong) assert.notEqual(spacesProblem(spaces), undefined, JSON.stringify(spaces));
});
