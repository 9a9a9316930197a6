import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readU53, writeU53 } from '../../net/bytes.ts';
import { CALL_DEADLINE_MS_MAX } from '../../src/coordinated/call-operations.ts';
import {
  ConsensusRecords,
  NO_RECORD,
  RECORD_BALLOT,
  RECORD_IDLE_MS,
  RECORD_PROMISE,
  RECORD_RING,
  RECORD_SLOT,
} from '../../src/store/consensus-records.ts';
import { TrustedBudget } from '../../src/store/trusted-budget.ts';

const BYTES = 16 * 1024 * 1024;
/** Where memory is short: of what is decided, and of what is promised. */
const PRESSED_MS = 100;
const PRESSED_PROMISED_MS = 1_000;
const scattered = (entry: number): number => Math.imul(entry, 0x9e3779b1);

function slotOf(records: ConsensusRecords, record: number): number {
  return readU53(records.words(record), records.wordOffset(record) + RECORD_SLOT);
}

function set(records: ConsensusRecords, record: number, field: number, value: number): void {
  assert.ok(records.isFull(record));
  writeU53(records.words(record), records.wordOffset(record) + field, value);
}

function promiseOf(records: ConsensusRecords, record: number): number[] {
  const word = records.wordOffset(record) + RECORD_PROMISE;
  return [readU53(records.words(record), word), ...records.words(record).subarray(word + 2, word + 4)];
}

/** Looks at all of them: a tick looks at some. */
function rest(records: ConsensusRecords, fromMs: number): number {
  let nowMs = fromMs;
  for (let i = 0; i < 1_000; i++) records.tick((nowMs += 1_000));
  return nowMs;
}

test('should find each record by its entry, whatever their hashes, full and compact', () => {
  for (const [hashOf, count] of [
    [(entry: number) => entry, 1_000],
    [scattered, 20_000],
    [() => -1, 1_000],
  ] as const) {
    const records = new ConsensusRecords(new TrustedBudget(BYTES), hashOf);
    assert.equal(records.find(0), NO_RECORD);
    for (let entry = 0; entry < count; entry++) {
      assert.equal(records.find(entry * 6), NO_RECORD);
      set(records, records.expand(entry * 6, 0, 0), RECORD_SLOT, entry);
    }
    records.invariants();
    for (const isCompact of [false, true]) {
      if (isCompact) rest(records, RECORD_IDLE_MS);
      assert.equal(records.fullCount, isCompact ? 0 : count);
      for (let entry = 0; entry < count; entry++) {
        const record = records.find(entry * 6);
        assert.equal(records.isFull(record), !isCompact);
        assert.equal(slotOf(records, record), entry);
        assert.equal(records.find(entry * 6 + 1), NO_RECORD);
      }
      assert.equal(records.count, count);
      records.invariants();
    }
    for (let entry = 0; entry < count; entry += 7) {
      assert.equal(slotOf(records, records.expand(entry * 6, 0, 1e6)), entry);
      assert.equal(slotOf(records, records.find(entry * 6)), entry);
    }
    records.invariants();
  }
});

test('should take 304 bytes a full record, 12 and what pages leave free a compact one', () => {
  const budget = new TrustedBudget(256 * 1024 * 1024);
  const records = new ConsensusRecords(budget, scattered);
  const each = (): number => budget.used / records.count;
  let nowMs = 0;
  for (const count of [20_000, 100_000]) {
    for (let entry = records.count; entry < count; entry++)
      set(records, records.expand(entry, 0, nowMs), RECORD_SLOT, 1);
    assert.ok(each() > 250 && each() < 360, `${each()}`);
    nowMs = rest(records, nowMs + RECORD_IDLE_MS);
    for (let i = 0; i < 2_000; i++) records.tick((nowMs += 1_000));
    assert.equal(records.fullCount, 0);
    assert.ok(each() > 12 && each() < 36, `${each()} bytes each of ${count}`);
    records.invariants();
  }
});

test('should make nothing compact that was changed lately, or has accepted something', () => {
  const records = new ConsensusRecords(new TrustedBudget(BYTES), scattered);
  set(records, records.expand(1, 0, 0), RECORD_BALLOT, 5);
  records.expand(2, 0, 0);
  let nowMs = 0;
  for (; nowMs < RECORD_IDLE_MS; nowMs += 100) {
    records.tick(nowMs);
    assert.equal(records.fullCount, 2, `at ${nowMs}`);
  }
  for (; nowMs < 1.2 * RECORD_IDLE_MS; nowMs += 100) records.tick(nowMs);
  assert.deepEqual([records.isFull(records.find(1)), records.isFull(records.find(2))], [true, false]);
  nowMs = rest(records, nowMs);
  assert.ok(records.isFull(records.find(1)), 'however long it takes');
  set(records, records.find(1), RECORD_BALLOT, 0);
  rest(records, nowMs);
  assert.equal(records.fullCount, 0);
});

test('should keep the slot, a promise that refuses at least what was refused, and no ring', () => {
  const records = new ConsensusRecords(new TrustedBudget(BYTES), scattered);
  const numbers = [0, 1, 2, 1_000, 2 ** 27 - 2, 2 ** 27 - 1, 2 ** 27, 2 ** 40 + 1, 2 ** 52 - 1, 2 ** 52];
  for (const [entry, number] of numbers.entries()) {
    const record = records.expand(entry, 0, 0);
    set(records, record, RECORD_SLOT, 2 ** 32 - 1 - entry);
    set(records, record, RECORD_PROMISE, number);
    const words = records.words(record);
    const word = records.wordOffset(record);
    if (number > 0) words.fill(-1, word + RECORD_PROMISE + 2, word + RECORD_PROMISE + 4);
    words.fill(7, word + RECORD_RING, word + RECORD_RING + 6);
  }
  rest(records, RECORD_IDLE_MS);
  assert.equal(records.fullCount, 0);
  for (const [entry, number] of numbers.entries()) {
    for (const record of [records.find(entry), records.expand(entry, 0, 2e6)]) {
      assert.equal(slotOf(records, record), 2 ** 32 - 1 - entry);
      const [promised, ...writer] = promiseOf(records, record);
      assert.deepEqual(writer, [0, 0]);
      if (number === 0) assert.equal(promised, 0, 'nothing was promised');
      else if (number < 2 ** 27 - 1) assert.equal(promised, number + 1);
      else assert.ok(promised! > number && promised! <= number * (1 + 2 ** -25), `${number} becomes ${promised}`);
      assert.equal(readU53(records.words(record), records.ringWord(record, 0)), 0);
    }
  }
  records.invariants();
});

test('should leave full what does not fit in a compact one', () => {
  const records = new ConsensusRecords(new TrustedBudget(BYTES), scattered);
  set(records, records.expand(1, 0, 0), RECORD_SLOT, 2 ** 32);
  set(records, records.expand(2, 0, 0), RECORD_PROMISE, 2 ** 52 + 1);
  rest(records, RECORD_IDLE_MS);
  assert.equal(records.fullCount, 2);
});

test('should cost nothing before the first, and stay within the budget and its margin', () => {
  const budget = new TrustedBudget(120_000);
  const records = new ConsensusRecords(budget, (entry) => entry);
  assert.equal(budget.used, 0);
  assert.equal(records.expand(1, 120_000, 0), NO_RECORD);
  assert.equal(budget.used, 0);
  let count = 0;
  while (records.expand(count, 5_000, 0) !== NO_RECORD) {
    count++;
    records.invariants();
  }
  assert.ok(count >= 128, `${count}`);
  assert.ok(budget.available >= 5_000);
  for (let entry = 0; entry < count; entry++) assert.ok(records.isFull(records.find(entry)));
  assert.equal(records.find(count), NO_RECORD);
  records.invariants();
});

test('should make room of what is idle when there is no other, and refuse what then has none', () => {
  const budget = new TrustedBudget(80_000);
  const records = new ConsensusRecords(budget, scattered);
  let count = 0;
  while (records.expand(count, 0, 0) !== NO_RECORD) count++;
  assert.equal(records.expand(count, 0, PRESSED_MS - 1), NO_RECORD, 'they were at work a moment ago');
  for (let entry = 0; entry < count; entry++) set(records, records.find(entry), RECORD_SLOT, entry);
  const usedBefore = budget.used;
  for (let entry = 0; entry < count; entry++) set(records, records.find(entry), RECORD_PROMISE, 5);
  assert.equal(records.expand(count, 0, PRESSED_PROMISED_MS - 1), NO_RECORD, 'proposals may come');
  for (let entry = 0; entry < count; entry += 2) set(records, records.find(entry), RECORD_PROMISE, 0);
  for (let entry = count; entry < 1_000; entry++) {
    set(records, records.expand(entry, 0, entry * PRESSED_PROMISED_MS), RECORD_SLOT, entry);
    assert.equal(records.fullCount, count);
  }
  assert.equal(budget.used, usedBefore);
  for (let entry = 0; entry < 1_000; entry++) {
    const record = records.expand(entry, 80_000, 1e7 + entry * PRESSED_PROMISED_MS);
    assert.equal(slotOf(records, record), entry, 'whatever margin is to be left: it takes none');
    set(records, record, RECORD_BALLOT, entry < 1_000 - count ? 0 : 1);
  }
  records.invariants();
  assert.equal(records.expand(0, 0, 1e9), NO_RECORD, 'something is accepted in each');
});

test('should refuse a new key when pages are full and there is no room for more, and serve the others', () => {
  const budget = new TrustedBudget(60_000);
  const records = new ConsensusRecords(budget, scattered);
  let nowMs = 0;
  let count = 0;
  while (records.expand(count, 0, (nowMs += PRESSED_MS)) !== NO_RECORD) {
    set(records, records.find(count), RECORD_SLOT, count);
    count++;
  }
  assert.ok(count > 1_000, `${count}`);
  records.invariants();
  for (let entry = 0; entry < count; entry++) {
    assert.equal(slotOf(records, records.expand(entry, 60_000, (nowMs += PRESSED_MS))), entry);
  }
  assert.equal(records.expand(count, 0, nowMs), NO_RECORD);
  records.invariants();
});

test('should refuse no key while what all of them need compact fits, however fast they come', () => {
  const budget = new TrustedBudget(2_000_000);
  const records = new ConsensusRecords(budget, scattered);
  const marginBytes = 200_000;
  for (let entry = 0; entry < 50_000; entry++) {
    // 10,000 a second; a busy replica has few turns.
    const nowMs = entry / 10;
    if (entry % 100 === 0) records.tick(nowMs);
    assert.ok(records.isFull(records.expand(entry, marginBytes, nowMs)), `key ${entry}`);
  }
  records.invariants();
});

test('should make compact earlier when memory is short', () => {
  const budget = new TrustedBudget(1_000_000);
  const records = new ConsensusRecords(budget, scattered);
  records.expand(1, 0, 0);
  for (let nowMs = 0; nowMs < RECORD_IDLE_MS; nowMs += 100) records.tick(nowMs);
  assert.equal(records.fullCount, 1);
  assert.ok(budget.tryReserve('others', budget.available - 100_000));
  records.tick(RECORD_IDLE_MS);
  assert.equal(records.fullCount, 0);
});

test('should look at few at once, and give memory back that full records no longer need', () => {
  const budget = new TrustedBudget(BYTES);
  const records = new ConsensusRecords(budget, scattered);
  for (let entry = 0; entry < 10_000; entry++) records.expand(entry, 0, 0);
  const usedBefore = budget.used;
  records.tick(1e6);
  const taken = 10_000 - records.fullCount;
  assert.ok(taken > 0 && taken <= 64, `${taken}`);
  records.tick(1e6 + 0.01);
  assert.equal(records.fullCount, 10_000 - taken, 'as time passes');
  rest(records, 1e6);
  assert.equal(records.fullCount, 0);
  assert.ok(budget.used < usedBefore - 9_000 * 304);
  records.invariants();
});

test('a record is idle when no call is under way any more that may ask what became of it', () => {
  assert.ok(RECORD_IDLE_MS >= CALL_DEADLINE_MS_MAX);
});
