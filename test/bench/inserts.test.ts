/** Which keys the processes of a run insert, and what reads may ask for. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Inserts } from '../../bench/inserts.ts';
import { RecordKeys } from '../../bench/record.ts';

const LOADED = 50;

function process(index: number, count: number): { keys: RecordKeys; inserts: Inserts } {
  const keys = new RecordKeys(LOADED);
  return { keys, inserts: new Inserts(keys, index, count) };
}

test('one process inserts the keys that follow the loaded ones, as YCSB does', () => {
  const { keys, inserts } = process(0, 1);
  const expected = new RecordKeys(LOADED + 20);
  for (let i = LOADED; i < LOADED + 20; i++) {
    const record = inserts.next();
    assert.equal(record, i);
    assert.equal(keys.keyString(record), expected.keyString(i));
    assert.equal(keys.fingerprintLow(record), expected.fingerprintLow(i));
    assert.equal(keys.fingerprintHigh(record), expected.fingerprintHigh(i));
  }
});

test('no two processes insert the same key, none a loaded one, and together they leave no gaps', () => {
  const each = fc.array(fc.nat({ max: 60 }), { minLength: 1, maxLength: 6 });
  fc.assert(
    fc.property(each, (counts) => {
      const seen = new Set(Array.from({ length: LOADED }, (_, i) => new RecordKeys(LOADED).keyString(i)));
      counts.forEach((count, index) => {
        const { keys, inserts } = process(index, counts.length);
        for (let i = 0; i < count; i++) {
          const key = keys.keyString(inserts.next());
          assert.ok(!seen.has(key), `process ${index} of ${counts.length} inserts ${key} again`);
          seen.add(key);
        }
      });
      const least = Math.min(...counts) * counts.length;
      const all = new RecordKeys(LOADED + least);
      for (let i = 0; i < all.count; i++) assert.ok(seen.has(all.keyString(i)), `record ${i} is there`);
    }),
    { numRuns: 30 },
  );
});

test('reads ask for nothing from an insert on that is under way or failed, until it has succeeded', () => {
  const { inserts } = process(1, 3);
  const [first, second, third] = [inserts.next(), inserts.next(), inserts.next()];
  assert.equal(inserts.last, LOADED - 1);
  inserts.succeeded(third);
  inserts.failed(first);
  inserts.succeeded(second);
  assert.equal(inserts.last, LOADED - 1);
  assert.equal(inserts.next(), first, 'the next insert tries it again');
  assert.equal(inserts.next(), third + 1);
  inserts.succeeded(first);
  assert.equal(inserts.last, third);
});
