import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AssertionError } from '../../net/assert.ts';
import { KeyTable } from '../../workers/key-table.ts';
import { seededBytes } from './random.ts';

const ZERO = new Uint8Array(32);

/** A view of the table's own memory, as a job sees it. */
function memoryOf(table: KeyTable, handle: number): Uint8Array {
  table.retain(handle);
  const memory = table.bytes(handle);
  table.release(handle);
  return memory;
}

test('a key is copied in; erasing overwrites it', () => {
  const table = new KeyTable();
  const key = seededBytes(32, 1);
  const handle = table.add(key);
  const memory = memoryOf(table, handle);
  key.fill(0);
  assert.deepEqual(memory, seededBytes(32, 1), 'the table has its own copy');
  table.erase(handle);
  assert.deepEqual(memory, ZERO);
  table.invariants();
});

test('a key with jobs under way is overwritten when the last one is done, and its handle is not given out before', () => {
  const table = new KeyTable();
  const handle = table.add(seededBytes(32, 1));
  table.retain(handle);
  table.retain(handle);
  table.erase(handle);
  assert.notEqual(table.add(seededBytes(32, 2)), handle);
  const memory = table.bytes(handle);
  table.release(handle);
  assert.deepEqual(memory, seededBytes(32, 1));
  table.release(handle);
  assert.deepEqual(memory, ZERO);
  assert.equal(table.add(seededBytes(32, 3)), handle);
  table.invariants();
});

test('handles are small and used again', () => {
  const table = new KeyTable();
  for (let i = 0; i < 1_000; i++) {
    const handles = [table.add(seededBytes(32, i)), table.add(seededBytes(32, i + 1))];
    for (const handle of handles) {
      assert.ok(handle >= 0 && handle < 2);
      table.erase(handle);
    }
  }
});

test('no use of a key that is erased, was never there, or is not in use', () => {
  const table = new KeyTable();
  const handle = table.add(seededBytes(32, 1));
  assert.throws(() => table.bytes(handle), AssertionError, 'read without a job');
  assert.throws(() => table.release(handle), AssertionError);
  table.erase(handle);
  assert.throws(() => table.retain(handle), AssertionError);
  assert.throws(() => table.erase(handle), AssertionError, 'erased twice');
  for (const unknown of [-1, 1, 99]) {
    assert.throws(() => table.retain(unknown), AssertionError);
    assert.throws(() => table.bytes(unknown), AssertionError);
    assert.throws(() => table.erase(unknown), AssertionError);
  }
  table.retain(table.add(seededBytes(32, 2)));
  table.erase(handle);
  assert.throws(() => table.retain(handle), AssertionError, 'erased while a job is under way');
});

test('only 32 bytes are a key', () => {
  const table = new KeyTable();
  assert.throws(() => table.add(new Uint8Array(31)), AssertionError);
  assert.throws(() => table.add(new Uint8Array(33)), AssertionError);
});

test('close overwrites all keys', () => {
  const table = new KeyTable();
  const memories = [1, 2, 3].map((seed) => memoryOf(table, table.add(seededBytes(32, seed))));
  table.close();
  for (const memory of memories) assert.deepEqual(memory, ZERO);
  assert.throws(() => table.retain(0), AssertionError);
});
