/** Inserts and read-modify-writes in the closed loop, over operations that the test ends in any order. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Inserts } from '../../bench/inserts.ts';
import { LoadLoop } from '../../bench/load-loop.ts';
import { Random } from '../../bench/random.ts';
import { RecordKeys, RecordValues } from '../../bench/record.ts';
import { SizeChoice } from '../../bench/value-sizes.ts';
import type { WriteType } from '../../bench/workload.ts';
import { ScrambledZipfian, SkewedLatest } from '../../bench/zipfian.ts';
import type { Outcome } from '../../src/client/operations.ts';
import { FakeOperations } from './fake-operations.ts';

const RECORDS = 100;

interface Setup {
  readonly outstanding?: number;
  readonly readProportion?: number;
  readonly clientIndex?: number;
  readonly clientCount?: number;
  readonly seed?: number;
}

/** A loop that has loaded its records and runs. */
function running(write: WriteType, setup: Setup = {}) {
  const { outstanding = 8, readProportion = 0.5, clientIndex = 0, clientCount = 1, seed = 1 } = setup;
  const operations = new FakeOperations(outstanding);
  const clock = { nowMs: 0 };
  const keys = new RecordKeys(RECORDS);
  const sizes = [24, 64, 100].map((valueBytes) => ({ valueBytes, weight: 1 }));
  const loop = new LoadLoop({
    keys,
    values: new RecordValues(new SizeChoice(sizes, new Random(seed)), clientIndex),
    outstanding,
    nowMs: () => clock.nowMs,
    deadlineMs: 1_000,
  });
  operations.connect(loop);
  loop.attach(operations);
  loop.load(0, RECORDS, () => {});
  operations.endAll();
  const inserts = new Inserts(keys, clientIndex, clientCount);
  const start = (): void => {
    const random = new Random(seed, clientIndex);
    const records = write === 'insert' ? new SkewedLatest(random, inserts) : new ScrambledZipfian(random, RECORDS);
    loop.run({ readProportion, write, random, records, inserts });
  };
  start();
  return { loop, operations, clock, keys, inserts, start };
}

type Running = ReturnType<typeof running>;

/** Ends operations in random order, some of the puts badly, and looks at each get as it starts. */
function endAtRandom({ operations }: Running, times: number, seed: number, badOutcomes: readonly Outcome[]): number {
  const random = new Random(seed);
  let seen = operations.started.length;
  let gets = 0;
  for (let i = 0; i < times; i++) {
    const at = Math.floor(random.nextDouble() * operations.active);
    const isBad = operations.pending[at]!.type === 'put' && random.nextDouble() < 0.3;
    const outcome = isBad ? badOutcomes[Math.floor(random.nextDouble() * badOutcomes.length)] : undefined;
    operations.end(at, outcome);
    for (; seen < operations.started.length; seen++) {
      const { type, key } = operations.started[seen]!;
      if (type !== 'get') continue;
      gets++;
      // The store took in what ended just now, and nothing since.
      assert.ok(operations.store.has(key), 'a get asks for what is there only');
    }
  }
  return gets;
}

test('reads never ask for a record whose insert is not acknowledged, in whatever order inserts end', () => {
  for (const seed of [1, 2, 3]) {
    const setting = running('insert', { outstanding: 32, seed });
    const gets = endAtRandom(setting, 6_000, seed, []);
    assert.ok(gets > 2_000);
    assert.ok(setting.inserts.last > RECORDS + 2_000, 'and inserts go on');
    assert.equal(setting.loop.errors.size, 0);
  }
});

test('nor for one whose insert failed: it is tried again first, and then read', () => {
  for (const seed of [1, 2, 3]) {
    const setting = running('insert', { outstanding: 32, seed });
    const { operations, inserts, keys, loop } = setting;
    const gets = endAtRandom(setting, 6_000, seed, ['deadline', 'outcome-unknown', 'trusted-memory-full']);
    assert.ok(gets > 2_000);
    assert.ok(inserts.last > RECORDS + 1_000, 'failures hold nothing up for long');
    assert.deepEqual([...loop.errors.keys()].toSorted(), ['deadline', 'outcome-unknown', 'trusted-memory-full']);
    for (let record = 0; record <= inserts.last; record++) assert.ok(operations.store.has(keys.keyString(record)));
    const puts = operations.started.filter(({ type }) => type === 'put').map(({ key }) => key);
    const once = new Set<string>();
    const again = new Set(puts.filter((key) => once.size === once.add(key).size));
    assert.ok(again.size > 300);
    assert.ok(
      operations.started.some(({ type, key }) => type === 'get' && again.has(key)),
      'what was inserted at the second attempt is read too',
    );
  }
});

test('an insert that is slow holds reads back, not inserts', () => {
  const setting = running('insert', { outstanding: 4, readProportion: 0.3 });
  const { operations, inserts, keys } = setting;
  while (!operations.pending.some(({ type }) => type === 'put')) operations.end();
  const slow = operations.pending.find(({ type }) => type === 'put')!;
  for (let i = 0; i < 300; i++) operations.end(operations.pending[0] === slow ? 1 : 0);
  assert.equal(inserts.last, RECORDS - 1);
  assert.ok(operations.store.size > RECORDS + 150);
  operations.end(operations.pending.indexOf(slow));
  assert.ok(inserts.last > RECORDS + 150);
  assert.ok(operations.store.has(keys.keyString(inserts.last)));
});

test('where no insert can begin, the loop reads', () => {
  const { operations, loop, keys } = running('insert', { outstanding: 1 });
  loop.drain(() => {});
  operations.endAll();
  const full = new (class extends Inserts {
    override get isFull(): boolean {
      return true;
    }
  })(keys, 0, 1);
  const random = new Random(1);
  const count = keys.count;
  loop.run({ readProportion: 0, write: 'insert', random, records: new SkewedLatest(random, full), inserts: full });
  for (let i = 0; i < 50; i++) assert.equal(operations.end().type, 'get');
  assert.equal(keys.count, count);
});

test('a run goes on inserting where the one before ended, also where an insert failed', () => {
  const setting = running('insert', { outstanding: 1, readProportion: 0 });
  const { operations, loop, start, inserts } = setting;
  for (let i = 0; i < 10; i++) operations.end();
  loop.drain(() => {});
  const failed = operations.end(0, 'deadline');
  assert.equal(inserts.last, RECORDS + 9);
  start();
  assert.equal(operations.pending[0]!.key, failed.key);
  for (let i = 0; i < 10; i++) operations.end();
  const inserted = operations.started.slice(RECORDS).map(({ key }) => key);
  assert.equal(new Set(inserted).size, inserted.length - 1, 'no key twice but the failed one');
  assert.equal(inserts.last, RECORDS + 19);
});

test('clients insert different keys and read nothing of each other', () => {
  const keysOf = [0, 1, 2].map((clientIndex) => {
    const setting = running('insert', { clientIndex, clientCount: 3 });
    endAtRandom(setting, 2_000, clientIndex, ['deadline']);
    return new Set([...setting.operations.store.keys()].slice(RECORDS));
  });
  const all = keysOf.flatMap((keys) => [...keys]);
  assert.ok(all.length > 1_500);
  assert.equal(new Set(all).size, all.length);
});

test('the same ends in the same order give the same inserts and reads', () => {
  const sequenceOf = (seed: number): string[] => {
    const setting = running('insert', { seed });
    endAtRandom(setting, 1_000, 7, ['deadline']);
    return setting.operations.started.map(({ type, key }) => `${type} ${key}`);
  };
  assert.deepEqual(sequenceOf(1), sequenceOf(1));
  assert.notDeepEqual(sequenceOf(1), sequenceOf(2));
});

test('a window tells inserts from reads', () => {
  const { loop, operations, clock } = running('insert', { outstanding: 1, readProportion: 0.5 });
  operations.end();
  loop.beginWindow();
  let [gets, puts] = [0, 0];
  for (let i = 0; i < 100; i++) {
    const isGet = operations.pending[0]!.type === 'get';
    clock.nowMs += isGet ? 1 : 2;
    operations.end();
    if (isGet) gets++;
    else puts++;
  }
  const window = loop.endWindow();
  assert.ok(gets > 20 && puts > 20);
  assert.deepEqual([window.operations, window.read.count, window.insert.count], [100, gets, puts]);
  assert.deepEqual([window.update.count, window.rmw.count], [0, 0]);
  assert.equal(window.insert.summary()!.p50, 2_000);
});

test('a read-modify-write is a get and then a put of the same record, and keeps its place for both', () => {
  const setting = running('rmw', { outstanding: 4, readProportion: 0 });
  const { operations, loop } = setting;
  const random = new Random(3);
  const before = operations.started.length - 4;
  for (let i = 0; i < 500; i++) {
    const at = Math.floor(random.nextDouble() * 4);
    const { type, token, key } = operations.end(at);
    assert.equal(operations.active, 4);
    const next = operations.started.at(-1)!;
    assert.equal(next.token, token);
    assert.equal(next.type, type === 'get' ? 'put' : 'get');
    if (type === 'get') assert.equal(next.key, key);
  }
  const puts = operations.started.slice(before).filter(({ type }) => type === 'put');
  assert.ok(puts.length > 200);
  assert.equal(loop.errors.size, 0);
});

test('half of workload F are reads alone', () => {
  const { operations } = running('rmw', { outstanding: 1 });
  const before = operations.started.length;
  for (let i = 0; i < 6_000; i++) operations.end();
  const puts = operations.started.slice(before).filter(({ type }) => type === 'put').length;
  // Three messages for two operations: a third of them are puts.
  assert.ok(puts > 1_850 && puts < 2_150, `${puts} puts of 6,000`);
});

test('a window holds reads, updates and whole pairs; a pair is one operation', () => {
  const { loop, operations, clock } = running('rmw', { outstanding: 1, readProportion: 0 });
  const end = (tookMs: number, outcome?: Outcome): void => {
    clock.nowMs += tookMs;
    operations.end(0, outcome);
  };
  end(7);
  const completedBefore = loop.completed;
  loop.beginWindow();
  // The second half of a pair that began before, a whole pair, and the first half of one that ends later.
  end(5);
  end(2);
  end(4);
  end(3);
  const window = loop.endWindow();
  assert.deepEqual([window.operations, window.read.count, window.update.count, window.rmw.count], [2, 2, 2, 2]);
  assert.equal(window.insert.count, 0);
  assert.deepEqual([window.read.summary()!.max, window.update.summary()!.max], [3_001, 5_003]);
  // The pairs took 7 + 5 and 2 + 4 ms.
  assert.deepEqual([window.rmw.summary()!.p50, window.rmw.summary()!.max], [6_003, 12_007]);
  assert.equal(loop.completed - completedBefore, 2);
});

test('a pair whose get fails or finds wrong data puts nothing; one whose put fails is one error', () => {
  const { loop, operations } = running('rmw', { outstanding: 1, readProportion: 0 });
  const next = (): string => operations.pending[0]!.type;
  operations.end(0, 'deadline');
  assert.equal(next(), 'get');
  operations.end(0, 'absent');
  assert.equal(next(), 'get');
  operations.end(0, 'ok', new Uint8Array(64));
  assert.equal(next(), 'get');
  operations.end();
  assert.equal(next(), 'put');
  operations.end(0, 'outcome-unknown');
  assert.equal(next(), 'get');
  assert.deepEqual(Object.fromEntries(loop.errors), {
    deadline: 1,
    'missing record': 1,
    'wrong value': 1,
    'outcome-unknown': 1,
  });
  assert.deepEqual([loop.completed, loop.failed], [0, 4]);
});

test('draining lets pairs end whole and starts no other', () => {
  const { loop, operations } = running('rmw', { outstanding: 4, readProportion: 0 });
  operations.end(0);
  let idle = false;
  loop.drain(() => (idle = true));
  const before = operations.started.length;
  const gets = operations.pending.filter(({ type }) => type === 'get').length;
  while (operations.active > 0) {
    assert.ok(!idle);
    operations.end();
  }
  assert.ok(idle);
  assert.equal(operations.started.length - before, gets);
  assert.ok(operations.started.slice(before).every(({ type }) => type === 'put'));
});

test('a closed engine is not asked for the second half either', () => {
  const { loop, operations } = running('rmw', { outstanding: 2, readProportion: 0 });
  operations.end(0, 'closed');
  operations.end(0);
  assert.equal(operations.active, 0);
  let idle = false;
  loop.drain(() => (idle = true));
  assert.ok(idle);
});
