/** Histories: valid lines, unique put values, unknown outcomes without an end. */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { HistoryWriter, mergeHistory } from '../../bench/history.ts';
import { Inserts } from '../../bench/inserts.ts';
import { LoadLoop } from '../../bench/load-loop.ts';
import { Random } from '../../bench/random.ts';
import { RecordKeys, RecordValues } from '../../bench/record.ts';
import { ScrambledZipfian } from '../../bench/zipfian.ts';
import { FakeOperations } from './fake-operations.ts';

const RECORDS = 50;
const directory = mkdtempSync(join(tmpdir(), 'avocado-history-test-'));
after(() => rmSync(directory, { recursive: true, force: true }));

interface Line {
  readonly process: number;
  readonly op: string;
  readonly key: string;
  readonly value: string | null;
  readonly start: number;
  readonly end: number | null;
  readonly outcome: string;
}

function linesOf(path: string): Line[] {
  const text = readFileSync(path, 'utf8');
  assert.ok(text.endsWith('\n'));
  return text
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Line);
}

/** One process's load and run on a store of its own, with one operation of each bad end. */
function writePart(clientIndex: number, originNs: bigint): string {
  const path = join(directory, `part-${clientIndex}`);
  const history = new HistoryWriter(path, clientIndex, originNs);
  const operations = new FakeOperations(4);
  const loop = new LoadLoop({
    keys: new RecordKeys(RECORDS),
    values: new RecordValues(16, clientIndex),
    outstanding: 4,
    nowMs: () => performance.now(),
    deadlineMs: 1_000,
    history,
  });
  operations.connect(loop);
  loop.attach(operations);
  loop.load(0, RECORDS, () => {});
  operations.end(0, 'outcome-unknown');
  operations.endAll();
  const random = new Random(1, clientIndex);
  loop.run({ readProportion: 0.5, random, records: new ScrambledZipfian(random, RECORDS) });
  for (let i = 0; i < 400; i++) operations.end(i % 4);
  const endNext = (type: string, outcome: 'deadline' | 'absent' | 'outcome-unknown'): void => {
    while (operations.pending[0]!.type !== type) operations.end();
    operations.end(0, outcome);
  };
  endNext('get', 'deadline');
  endNext('get', 'absent');
  endNext('put', 'deadline');
  endNext('put', 'outcome-unknown');
  loop.drain(() => {});
  operations.endAll();
  history.close();
  return path;
}

test('a merged history holds each operation of each process once, load included', async () => {
  const originNs = process.hrtime.bigint();
  const parts = [0, 1, 2].map((clientIndex) => writePart(clientIndex, originNs));
  const path = join(directory, 'history.jsonl');
  await mergeHistory(parts, path);
  // Merging again replaces what was there.
  await mergeHistory(parts, path);
  const lines = linesOf(path);
  assert.deepEqual([...new Set(lines.map((line) => line.process))], [0, 1, 2]);
  const elapsedNs = Number(process.hrtime.bigint() - originNs);

  for (const line of lines) {
    assert.deepEqual(Object.keys(line), ['process', 'op', 'key', 'value', 'start', 'end', 'outcome']);
    assert.match(line.key, /^user\d+$/);
    assert.ok(Number.isSafeInteger(line.start) && line.start >= 0);
    assert.equal(line.end === null, line.outcome === 'unknown');
    if (line.end !== null) assert.ok(line.end >= line.start && line.end <= elapsedNs);
    assert.ok(line.op === 'get' || (line.op === 'put' && line.value !== null));
  }

  const puts = lines.filter((line) => line.op === 'put');
  assert.equal(new Set(puts.map((line) => line.value)).size, puts.length, 'put values are unique');
  for (const clientIndex of [0, 1, 2]) {
    const own = lines.filter((line) => line.process === clientIndex);
    // The load's puts and the one that was tried again, then 400 operations, four bad ends, and what lay between.
    assert.ok(own.length >= RECORDS + 1 + 404 + 3);
    assert.equal(new Set(own.slice(0, RECORDS + 1).map((line) => line.key)).size, RECORDS);
    const outcomes = own.map((line) => `${line.op} ${line.outcome}`);
    assert.equal(outcomes.filter((outcome) => outcome === 'put unknown').length, 2);
    assert.equal(outcomes.filter((outcome) => outcome === 'put error').length, 1);
    assert.equal(outcomes.filter((outcome) => outcome === 'get error').length, 1);
    assert.equal(own.filter((line) => line.op === 'get' && line.outcome === 'ok' && line.value === null).length, 1);
    assert.ok(own.some((line) => line.outcome === 'unknown' && line.value?.startsWith(`${clientIndex}-`)));
  }
});

test('what a get names is what was put last', () => {
  const lines = linesOf(writePart(3, process.hrtime.bigint()));
  const last = new Map<string, string | null>();
  // One process on a store that answers in order: lines stand in the order in which operations took effect.
  for (const line of lines) {
    if (line.op === 'put' && line.outcome === 'ok') last.set(line.key, line.value);
    if (line.op === 'get' && line.outcome === 'ok' && line.value !== null) assert.equal(line.value, last.get(line.key));
  }
});

test('a read-modify-write is a get and then a put of the same key, an insert is a put', () => {
  for (const write of ['rmw', 'insert'] as const) {
    const path = join(directory, `history-${write}`);
    const history = new HistoryWriter(path, 0, process.hrtime.bigint());
    const operations = new FakeOperations(1);
    const keys = new RecordKeys(RECORDS);
    const loop = new LoadLoop({
      keys,
      values: new RecordValues(16, 0),
      outstanding: 1,
      nowMs: () => performance.now(),
      deadlineMs: 1_000,
      history,
    });
    operations.connect(loop);
    loop.attach(operations);
    loop.load(0, RECORDS, () => {});
    operations.endAll();
    const random = new Random(1);
    const records = new ScrambledZipfian(random, RECORDS);
    loop.run({ readProportion: 0, write, random, records, inserts: new Inserts(keys, 0, 1) });
    for (let i = 0; i < 20; i++) operations.end();
    operations.end(0, 'outcome-unknown');
    operations.end();
    loop.drain(() => {});
    operations.endAll();
    history.close();
    const lines = linesOf(path).slice(RECORDS);
    if (write === 'insert') {
      assert.ok(lines.every(({ op }) => op === 'put'));
      assert.deepEqual(
        lines.slice(0, 20).map(({ key }) => key),
        Array.from({ length: 20 }, (_, i) => keys.keyString(RECORDS + i)),
      );
      assert.deepEqual([lines[20]!.outcome, lines[20]!.end], ['unknown', null]);
      assert.equal(lines[21]!.key, lines[20]!.key, 'a failed insert is tried again, as another put of its key');
      continue;
    }
    for (let i = 0; i < 20; i += 2) {
      const [get, put] = [lines[i]!, lines[i + 1]!];
      assert.deepEqual([get.op, put.op, put.key], ['get', 'put', get.key]);
      assert.ok(get.end! <= put.start, 'one after the other');
      assert.notEqual(get.value, put.value);
    }
  }
});

test('lines larger than the buffer are written whole', () => {
  const path = join(directory, 'large');
  const history = new HistoryWriter(path, 0, process.hrtime.bigint());
  for (let i = 0; i < 20_000; i++) history.record('put', `user${i}`, `0-${i}`, i, i + 1, 'ok');
  history.close();
  assert.deepEqual(
    linesOf(path).map((line) => line.start),
    Array.from({ length: 20_000 }, (_, i) => i),
  );
});
