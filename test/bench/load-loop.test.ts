/** The closed loop over operations that the test ends one by one. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { HistorySink } from '../../bench/history.ts';
import { LoadLoop, MISSING_RECORD, WRONG_VALUE } from '../../bench/load-loop.ts';
import { Random } from '../../bench/random.ts';
import { RecordKeys, RecordValues, idInValue } from '../../bench/record.ts';
import { ScrambledZipfian } from '../../bench/zipfian.ts';
import type { Outcome } from '../../src/client/operations.ts';
import { FakeOperations } from './fake-operations.ts';

const RECORDS = 200;
const VALUE_BYTES = 64;
const keys = new RecordKeys(RECORDS);
const allKeys = Array.from({ length: RECORDS }, (_, index) => keys.keyString(index));

interface Setup {
  readonly outstanding?: number;
  readonly clientIndex?: number;
  readonly history?: HistorySink;
}

function setUp({ outstanding = 8, clientIndex = 0, history }: Setup = {}) {
  const operations = new FakeOperations(outstanding);
  const clock = { nowMs: 0, readings: 0 };
  const loop = new LoadLoop({
    keys,
    values: new RecordValues(VALUE_BYTES, clientIndex),
    outstanding,
    nowMs: () => {
      clock.readings++;
      return clock.nowMs;
    },
    deadlineMs: 1_234,
    history,
  });
  operations.connect(loop);
  loop.attach(operations);
  return { loop, operations, clock };
}

type Setting = ReturnType<typeof setUp>;

function loaded(setup: Setup = {}): Setting {
  const setting = setUp(setup);
  let done = false;
  setting.loop.load(0, RECORDS, () => (done = true));
  setting.operations.endAll();
  assert.ok(done);
  return setting;
}

function run({ loop }: Setting, readProportion: number, seed = 1): void {
  const random = new Random(seed);
  loop.run({ readProportion, random, records: new ScrambledZipfian(random, RECORDS) });
}

test('the load puts each record once, in bounds, and then says so', () => {
  const { loop, operations } = setUp();
  let failure: Outcome | undefined | 'not called' = 'not called';
  loop.load(0, RECORDS, (outcome) => (failure = outcome));
  while (operations.active > 1) {
    operations.end(operations.active - 1);
    assert.equal(failure, 'not called');
  }
  operations.end();
  assert.equal(failure, undefined);
  assert.equal(operations.mostActive, 8);
  assert.deepEqual(operations.started.map(({ key }) => key).toSorted(), allKeys.toSorted());
  assert.ok(operations.started.every(({ type, deadlineMs }) => type === 'put' && deadlineMs === 1_234));
  assert.equal(loop.completed, RECORDS);
});

test('a share of the records is loaded alone, an empty one at once', () => {
  const { loop, operations } = setUp();
  loop.load(50, 53, () => {});
  operations.endAll();
  assert.deepEqual(operations.started.map(({ key }) => key).toSorted(), allKeys.slice(50, 53).toSorted());
  let done = false;
  loop.load(7, 7, () => (done = true));
  assert.ok(done);
});

test('a put that ends without a clear success is loaded again, under another id', () => {
  const { loop, operations } = setUp({ outstanding: 1 });
  let done = false;
  loop.load(0, 3, (failure) => (done = failure === undefined));
  operations.end(0, 'outcome-unknown');
  operations.end(0, 'deadline');
  operations.endAll();
  assert.ok(done);
  assert.equal(loop.failed, 2);
  assert.deepEqual([...operations.store.keys()].toSorted(), allKeys.slice(0, 3).toSorted());
  const ids = operations.started.map(({ value }) => idInValue(value, value.length));
  assert.equal(new Set(ids).size, 5);
});

test('the load gives up when trying again is useless, or was in vain', () => {
  for (const [outcome, attempts] of [
    ['trusted-memory-full', 1],
    ['not-permitted', 1],
    ['deadline', 5],
  ] as const) {
    const { loop, operations } = setUp({ outstanding: 1 });
    let seen: Outcome | undefined;
    loop.load(0, RECORDS, (failure) => (seen = failure));
    for (let i = 0; i < attempts; i++) {
      assert.equal(seen, undefined);
      operations.end(0, outcome);
    }
    assert.equal(seen, outcome);
    assert.equal(operations.active, 0, 'nothing more is started');
  }
});

test('each completion starts the next operation before the call returns', () => {
  const setting = loaded({ outstanding: 16 });
  const { operations, loop } = setting;
  run(setting, 0.5);
  const random = new Random(9);
  for (let i = 0; i < 2_000; i++) {
    assert.equal(operations.active, 16);
    assert.equal(loop.inFlight, 16);
    operations.end(Math.floor(random.nextDouble() * 16));
  }
  assert.equal(operations.mostActive, 16);
});

test('one outstanding operation is a loop too', () => {
  const setting = loaded({ outstanding: 1 });
  run(setting, 0.5);
  for (let i = 0; i < 100; i++) {
    assert.equal(setting.operations.active, 1);
    setting.operations.end();
  }
  assert.equal(setting.loop.completed, 100);
  assert.equal(setting.loop.errors.size, 0);
});

test('the clock is read once a completion', () => {
  const setting = loaded();
  run(setting, 0.5);
  const before = setting.clock.readings;
  for (let i = 0; i < 50; i++) setting.operations.end();
  assert.equal(setting.clock.readings, before + 50);
});

test('the proportion of reads is kept; 0 and 1 are pure', () => {
  for (const [readProportion, min, max] of [
    [0, 0, 0],
    [0.05, 120, 280],
    [0.5, 1_800, 2_200],
    [1, 4_000, 4_000],
  ] as const) {
    const setting = loaded();
    const before = setting.operations.started.length;
    run(setting, readProportion);
    for (let i = 0; i < 4_000 - 8; i++) setting.operations.end();
    const reads = setting.operations.started.slice(before).filter(({ type }) => type === 'get').length;
    assert.ok(reads >= min && reads <= max, `${reads} reads of 4,000 at ${readProportion}`);
    assert.equal(setting.loop.errors.size, 0);
  }
});

test('a seed repeats the operations, another one does not', () => {
  const sequenceOf = (seed: number): string[] => {
    const setting = loaded();
    run(setting, 0.5, seed);
    for (let i = 0; i < 300; i++) setting.operations.end();
    return setting.operations.started.map(({ type, key }) => `${type} ${key}`);
  };
  assert.deepEqual(sequenceOf(1), sequenceOf(1));
  assert.notDeepEqual(sequenceOf(1), sequenceOf(2));
});

test('a changed value, a value of another key and a torn value are wrong values', () => {
  const setting = loaded({ outstanding: 1 });
  const { operations, loop } = setting;
  run(setting, 1);
  const storedOf = (key: string): Uint8Array => operations.store.get(key)!.slice();
  const next = (): string => operations.pending[0]!.key;

  const changed = storedOf(next());
  changed[40]! ^= 1;
  operations.end(0, 'ok', changed);
  assert.equal(loop.errors.get(WRONG_VALUE), 1);

  operations.end(0, 'ok', storedOf(allKeys.find((key) => key !== next())!));
  assert.equal(loop.errors.get(WRONG_VALUE), 2);

  const torn = storedOf(next());
  torn.set([9, 9, 9, 9, 9, 9, 0, 0], VALUE_BYTES - 8);
  operations.end(0, 'ok', torn);
  assert.equal(loop.errors.get(WRONG_VALUE), 3);

  operations.end(0, 'ok', storedOf(next()).subarray(0, VALUE_BYTES - 1));
  assert.equal(loop.errors.get(WRONG_VALUE), 4);
  operations.end();
  assert.equal(loop.completed, 1);
});

test('a loaded record that is absent is an error, and failed operations count by kind', () => {
  const setting = loaded({ outstanding: 1 });
  const { operations, loop } = setting;
  run(setting, 1);
  operations.end(0, 'absent');
  operations.end(0, 'deadline');
  operations.end(0, 'deadline');
  operations.end(0, 'unreadable');
  assert.deepEqual(Object.fromEntries(loop.errors), { [MISSING_RECORD]: 1, deadline: 2, unreadable: 1 });
  assert.equal(loop.failed, 4);
  assert.equal(operations.active, 1, 'the loop goes on');
});

test('a closed engine is not asked again', () => {
  const setting = loaded({ outstanding: 2 });
  run(setting, 0);
  setting.operations.end(0, 'closed');
  setting.operations.end(0, 'closed');
  assert.equal(setting.operations.active, 0);
  let idle = false;
  setting.loop.drain(() => (idle = true));
  assert.ok(idle);
});

test('the window holds what succeeded in it, with latencies from start to end', () => {
  const setting = loaded({ outstanding: 1 });
  const { loop, operations, clock } = setting;
  run(setting, 0);
  clock.nowMs = 100;
  operations.end();
  loop.beginWindow();
  clock.nowMs = 103;
  operations.end();
  clock.nowMs = 110;
  operations.end(0, 'deadline');
  clock.nowMs = 115;
  operations.end();
  clock.nowMs = 150;
  const window = loop.endWindow();
  operations.end();
  assert.equal(window.windowMs, 50);
  assert.equal(window.operations, 2);
  assert.equal(window.read.summary(), undefined);
  const summary = window.update.summary()!;
  assert.equal(summary.count, 2);
  assert.equal(summary.p50, 3_001, '3 ms, to three digits');
  assert.equal(summary.max, 5_003);
  assert.deepEqual([window.readBytes, window.writtenBytes], [0, 2 * VALUE_BYTES]);
});

test('errors outside the window count, so that a wrong value is never missed', () => {
  const setting = loaded({ outstanding: 1 });
  const { loop, operations } = setting;
  run(setting, 1);
  operations.end(0, 'ok', new Uint8Array(VALUE_BYTES));
  loop.beginWindow();
  loop.endWindow();
  loop.drain(() => {});
  operations.end(0, 'ok', new Uint8Array(VALUE_BYTES));
  assert.equal(loop.errors.get(WRONG_VALUE), 2);
});

test('draining starts nothing and ends with the last operation', () => {
  const setting = loaded({ outstanding: 4 });
  const { loop, operations } = setting;
  run(setting, 0.5);
  let idle = false;
  loop.drain(() => (idle = true));
  for (let left = 4; left > 0; left--) {
    assert.ok(!idle);
    assert.equal(operations.active, left);
    operations.end();
  }
  assert.ok(idle);
  run(setting, 0.5);
  assert.equal(operations.active, 4, 'and can run again');
});

test('no two puts share a value, in any process', () => {
  const ids = new Set<string>();
  let puts = 0;
  for (const clientIndex of [0, 1, 2]) {
    const setting = loaded({ clientIndex });
    run(setting, 0.2);
    for (let i = 0; i < 500; i++) setting.operations.end();
    for (const { type, value } of setting.operations.started) {
      if (type !== 'put') continue;
      puts++;
      ids.add(idInValue(value, value.length));
    }
  }
  assert.equal(ids.size, puts);
});
