import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ConsensusRecords, NO_RECORD, RECORD_SLOT } from '../../src/store/consensus-records.ts';
import { TrustedBudget } from '../../src/store/trusted-budget.ts';

const BYTES = 4 * 1024 * 1024;

test('should find each record by its entry, whatever their hashes', () => {
  for (const hashOf of [(entry: number) => entry, (entry: number) => Math.imul(entry, 0x9e3779b1), () => -1]) {
    const records = new ConsensusRecords(new TrustedBudget(BYTES), hashOf);
    assert.equal(records.find(0), NO_RECORD);
    for (let entry = 0; entry < 1_000; entry++) {
      assert.equal(records.find(entry * 6), NO_RECORD);
      const record = records.add(entry * 6, 0);
      records.words(record)[records.wordOffset(record) + RECORD_SLOT] = entry;
    }
    for (let entry = 0; entry < 1_000; entry++) {
      const record = records.find(entry * 6);
      assert.equal(records.words(record)[records.wordOffset(record) + RECORD_SLOT], entry);
    }
    assert.equal(records.count, 1_000);
    records.invariants();
  }
});

test('should cost nothing before the first, and stay within the budget and its margin', () => {
  const budget = new TrustedBudget(60_000);
  const records = new ConsensusRecords(budget, (entry) => entry);
  assert.equal(budget.used, 0);
  assert.equal(records.add(1, 60_000), NO_RECORD);
  assert.equal(budget.used, 0);
  let count = 0;
  while (records.add(count, 5_000) !== NO_RECORD) {
    count++;
    records.invariants();
  }
  assert.ok(count >= 64, `${count}`);
  assert.ok(budget.available >= 5_000);
  for (let entry = 0; entry < count; entry++) assert.notEqual(records.find(entry), NO_RECORD);
  assert.equal(records.find(count), NO_RECORD);
  records.invariants();
});
