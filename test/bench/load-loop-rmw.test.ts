/** Atomic read-modify-writes and increments in the closed loop, and what a history says of them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { HistoryOutcome, HistoryRest } from '../../bench/history.ts';
import { LoadLoop, MISSING_RECORD, WRONG_VALUE } from '../../bench/load-loop.ts';
import { versionText } from '../../bench/operation-history.ts';
import { Random } from '../../bench/random.ts';
import { RecordKeys, RecordValues, idInValue } from '../../bench/record.ts';
import type { WriteType } from '../../bench/workload.ts';
import { UniformChoice } from '../../bench/zipfian.ts';
import { FakeOperations } from './fake-operations.ts';

interface Line extends HistoryRest {
  readonly op: string;
  readonly key: string;
  readonly value: string | null;
  readonly end: number | null;
  readonly outcome: HistoryOutcome;
}

/** A loop on so many records that runs; each reading of the clock is a moment later. */
function running(write: WriteType, { outstanding = 1, recordCount = 1 } = {}) {
  const operations = new FakeOperations(outstanding);
  const lines: Line[] = [];
  let nowMs = 0;
  const keys = new RecordKeys(recordCount);
  const values = new RecordValues(64, 0);
  const loop = new LoadLoop({
    keys,
    values,
    outstanding,
    nowMs: () => (nowMs += 1),
    deadlineMs: 1_000,
    history: {
      nowNs: () => nowMs * 1e6,
      record: (op, key, value, _start, end, outcome, rest) => lines.push({ op, key, value, end, outcome, ...rest }),
    },
  });
  operations.connect(loop);
  loop.attach(operations);
  if (write !== 'increment') {
    loop.load(0, recordCount, () => {});
    operations.endAll();
    lines.length = 0;
  }
  const random = new Random(1);
  loop.run({ readProportion: 0, write, random, records: new UniformChoice(random, recordCount) });
  loop.beginWindow();
  return { loop, operations, lines, keys, values };
}

function version(counter: number): string {
  return versionText({ counter, writerHigh: 0, writerLow: 0, rmw: 0 });
}

test('an atomic read-modify-write gets, and sets what it got if nobody came in between', () => {
  const { loop, operations, lines, keys } = running('atomic rmw');
  const key = keys.keyString(0);
  const before = idInValue(operations.store.get(key)!, 64);
  assert.equal(operations.end().type, 'get');
  assert.equal(operations.end().type, 'rmw');
  const after = idInValue(operations.store.get(key)!, 64);
  assert.notEqual(after, before);
  assert.equal(loop.completed, 1);
  const window = loop.endWindow();
  assert.deepEqual([window.operations, window.conflicts], [1, 0]);
  assert.deepEqual([window.read.count, window.update.count, window.rmw.count], [1, 1, 1]);
  assert.deepEqual([window.readBytes, window.writtenBytes], [64, 64]);
  assert.deepEqual(
    lines.map(({ end: _end, ...line }) => line),
    [
      { op: 'get', key, value: before, outcome: 'ok', version: version(1) },
      { op: 'cas', key, value: after, outcome: 'ok', expected: { version: version(1) }, version: version(2) },
    ],
  );
});

test('when somebody came in between, it sets again, on what it found, with another value', () => {
  const { loop, operations, lines, keys, values } = running('atomic rmw');
  const key = keys.keyString(0);
  operations.end();
  const others = [7, 8].map((sequence) =>
    values.write(keys.fingerprintLow(0), keys.fingerprintHigh(0), 1_000_000 + sequence).slice(),
  );
  for (const value of others) {
    operations.overwrite(key, value);
    assert.equal(operations.end().type, 'rmw');
  }
  operations.end();
  assert.equal(loop.completed, 1);
  assert.equal(loop.errors.size, 0);
  const window = loop.endWindow();
  assert.deepEqual([window.operations, window.conflicts, window.update.count, window.rmw.count], [1, 2, 1, 1]);
  const sets = lines.slice(1);
  assert.deepEqual(
    sets.map(({ outcome, expected, found, version: seen }) => ({ outcome, expected, found, seen })),
    [
      { outcome: 'mismatch', expected: { version: version(1) }, found: idInValue(others[0]!, 64), seen: version(2) },
      { outcome: 'mismatch', expected: { version: version(2) }, found: idInValue(others[1]!, 64), seen: version(3) },
      { outcome: 'ok', expected: { version: version(3) }, found: undefined, seen: version(4) },
    ],
  );
  assert.equal(new Set(sets.map(({ value }) => value)).size, 3, 'no two attempts write the same');
});

test('what is found in place of the expected is looked at, as what is read', () => {
  for (const [value, error] of [
    [Buffer.alloc(64), WRONG_VALUE],
    [undefined, MISSING_RECORD],
  ] as const) {
    const { loop, operations, keys } = running('atomic rmw');
    operations.end();
    if (value === undefined) operations.end(0, 'mismatch');
    else {
      operations.overwrite(keys.keyString(0), value);
      operations.end();
    }
    assert.deepEqual([...loop.errors], [[error, 1]]);
    assert.equal(operations.pending[0]!.type, 'get', 'the next one begins anew');
  }
});

test('one whose compare-and-set fails is one failed operation', () => {
  const { loop, operations, lines } = running('atomic rmw');
  operations.end();
  operations.end(0, 'outcome-unknown');
  assert.deepEqual([loop.completed, loop.failed, [...loop.errors]], [0, 1, [['outcome-unknown', 1]]]);
  assert.deepEqual(
    [lines[1]!.op, lines[1]!.outcome, lines[1]!.end, lines[1]!.version],
    ['cas', 'unknown', null, undefined],
  );
});

test('increments are one operation each, and add up', () => {
  const { loop, operations, lines, keys } = running('increment', { outstanding: 4, recordCount: 3 });
  for (let i = 0; i < 300; i++) operations.end(i % 4);
  operations.end(0, 'outcome-unknown');
  operations.end(0, 'overflow');
  let sum = 0;
  for (let record = 0; record < 3; record++) sum += Number(Buffer.from(operations.store.get(keys.keyString(record))!));
  assert.equal(sum, 300);
  assert.equal(loop.completed, 300);
  const window = loop.endWindow();
  assert.deepEqual([window.operations, window.rmw.count, window.update.count, window.read.count], [300, 300, 0, 0]);
  const latest = new Map<string, number>();
  for (const { op, key, value, delta, outcome } of lines.slice(0, 300)) {
    assert.deepEqual([op, delta, outcome], ['incr', '1', 'ok']);
    assert.equal(Number(value), (latest.get(key) ?? 0) + 1);
    latest.set(key, Number(value));
  }
  assert.deepEqual(
    lines.slice(300).map(({ outcome, value, end }) => [outcome, value, end === null]),
    [
      ['unknown', null, true],
      ['error', null, false],
    ],
  );
});

test('texts of versions are ordered as stamps are', () => {
  const stamps = [
    { counter: 0, writerHigh: 0, writerLow: 0, rmw: 0 },
    { counter: 0, writerHigh: 0, writerLow: 0, rmw: 1 },
    { counter: 9, writerHigh: 1, writerLow: 0, rmw: 0 },
    { counter: 9, writerHigh: 1, writerLow: 1, rmw: 0 },
    { counter: 9, writerHigh: 1, writerLow: 1, rmw: -1 },
    { counter: 9, writerHigh: 1, writerLow: -1, rmw: 0 },
    { counter: 9, writerHigh: -1, writerLow: 0, rmw: 0 },
    { counter: 16, writerHigh: 0, writerLow: 0, rmw: 0 },
    { counter: Number.MAX_SAFE_INTEGER, writerHigh: 0, writerLow: 0, rmw: 0 },
  ];
  const texts = stamps.map(versionText);
  assert.deepEqual(texts.toSorted(), texts);
  assert.equal(new Set(texts).size, texts.length);
  assert.equal(new Set(texts.map((text) => text.length)).size, 1);
});
