/** Scans of the bench's closed loop: lengths, pages, checks of what comes, and what a history has of them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LoadLoop } from '../../bench/load-loop.ts';
import { SCAN_LENGTH_MAX, WRONG_SCAN } from '../../bench/load-scans.ts';
import { Random } from '../../bench/random.ts';
import { RecordKeys, RecordValues } from '../../bench/record.ts';
import type { ScanRequest } from '../../src/protocol/scan-request.ts';
import { FakeOperations } from './fake-operations.ts';

const RECORDS = 300;
const VALUE_BYTES = 40;

interface Recorded {
  readonly op: string;
  readonly key: string;
  readonly start: number;
  readonly end: number | null;
}

/** Keeps scans until the test answers them. */
class ScanOperations extends FakeOperations {
  readonly scans: ScanRequest[] = [];

  override startScan(request?: ScanRequest): number {
    this.scans.push(request!);
    return 1;
  }
}

class Setting {
  readonly keys = new RecordKeys(RECORDS);
  readonly operations = new ScanOperations(8);
  readonly recorded: Recorded[] = [];
  readonly loop: LoadLoop;
  nowMs = 0;
  #nowNs = 0;
  readonly #sorted: { key: Buffer; value: Buffer }[];

  constructor(outstanding = 1) {
    const values = new RecordValues(VALUE_BYTES, 0);
    this.#sorted = Array.from({ length: RECORDS }, (_, record) => {
      const low = this.keys.fingerprintLow(record);
      const high = this.keys.fingerprintHigh(record);
      return { key: Buffer.from(this.keys.key(record)), value: Buffer.from(values.write(low, high, record)) };
    }).sort((a, b) => Buffer.compare(a.key, b.key));
    this.loop = new LoadLoop({
      keys: this.keys,
      values: new RecordValues(VALUE_BYTES, 1),
      outstanding,
      nowMs: () => this.nowMs,
      deadlineMs: 1_000,
      history: {
        nowNs: () => ++this.#nowNs,
        record: (op, key, _value, start, end) => void this.recorded.push({ op, key, start, end }),
      },
    });
    this.loop.attach(this.operations);
  }

  run(): void {
    let record = 0;
    const records = { next: () => record++ % RECORDS };
    this.loop.run({ readProportion: 1, scans: true, random: new Random(1), records });
    this.loop.beginWindow();
  }

  /** Answers the oldest scan from the records, at most so many keys a page. */
  answer(pageMax = 1_000, spoil: (pairs: { key: Buffer; value: Buffer }[]) => void = () => {}): void {
    const request = this.operations.scans.shift()!;
    const isIn = (key: Buffer): boolean => Buffer.compare(key, request.start) >= (request.isAfterStart ? 1 : 0);
    const inRange = this.#sorted.filter(({ key }) => isIn(key));
    const page = inRange.slice(0, Math.min(request.keysMax, pageMax)).map((pair) => ({ ...pair }));
    const covered = page.length === inRange.length ? undefined : page.at(-1)!.key;
    spoil(page);
    const keys = page.map(({ key }) => key);
    const values = page.map(({ value }) => value);
    this.nowMs += 1;
    request.onScanEnded('ok', { keys, values, covered }, undefined);
  }
}

test('lengths are 1 to 100, each as often as another, from the chosen record on', () => {
  const setting = new Setting();
  setting.run();
  const lengths = new Map<number, number>();
  for (let i = 0; i < 5_000; i++) {
    const [request] = setting.operations.scans;
    assert.deepEqual(Buffer.from(request!.start), Buffer.from(setting.keys.key(i % RECORDS)));
    assert.ok(request!.wantsValues && !request!.isReverse && request!.end.length === 0);
    lengths.set(request!.keysMax, (lengths.get(request!.keysMax) ?? 0) + 1);
    setting.answer();
  }
  assert.equal(lengths.size, SCAN_LENGTH_MAX);
  assert.ok([...lengths].every(([length, count]) => length >= 1 && length <= 100 && count > 15 && count < 100));
  const window = setting.loop.endWindow();
  assert.deepEqual([window.operations, window.scan.count, window.read.count], [5_000, 5_000, 0]);
  assert.equal(setting.loop.errors.size, 0);
});

test('a scan goes on behind each page until it has its records, and is one operation', () => {
  const setting = new Setting();
  setting.run();
  const wanted = setting.operations.scans[0]!.keysMax;
  for (let left = wanted; left > 0; left -= 7) {
    const [request] = setting.operations.scans;
    assert.equal(request!.keysMax, left);
    assert.equal(request!.isAfterStart, left !== wanted);
    setting.answer(7);
  }
  const window = setting.loop.endWindow();
  assert.deepEqual([window.operations, window.scan.count], [1, 1]);
  assert.equal(window.readBytes, wanted * VALUE_BYTES);
});

test('a value of another key, a part of one, and keys out of order are wrong scans', () => {
  const spoils: ((pairs: { key: Buffer; value: Buffer }[]) => void)[] = [
    (pairs) => ([pairs[0]!.value, pairs[1]!.value] = [pairs[1]!.value, pairs[0]!.value]),
    (pairs) => (pairs[1]!.value = pairs[1]!.value.subarray(1)),
    (pairs) => void pairs.reverse(),
    (pairs) => void (pairs[1] = pairs[0]!),
  ];
  for (const spoil of spoils) {
    const setting = new Setting();
    setting.run();
    while (setting.operations.scans[0]!.keysMax < 2) setting.answer();
    setting.answer(1_000, spoil);
    assert.deepEqual([...setting.loop.errors], [[WRONG_SCAN, 1]]);
  }
});

test('a scan that fails is counted by its outcome; when the engine is closed nothing is asked any more', () => {
  const setting = new Setting();
  setting.run();
  setting.operations.scans.shift()!.onScanEnded('deadline', undefined, undefined);
  assert.deepEqual([...setting.loop.errors], [['deadline', 1]]);
  assert.equal(setting.operations.scans.length, 1);
  setting.operations.scans.shift()!.onScanEnded('closed', undefined, undefined);
  assert.equal(setting.operations.scans.length, 0);
});

test('in a history each key of a page is a get with the start and end of its page', () => {
  const setting = new Setting();
  setting.run();
  const wanted = setting.operations.scans[0]!.keysMax;
  assert.ok(wanted > 3);
  setting.answer(2);
  setting.answer();
  assert.equal(setting.recorded.length, wanted);
  assert.ok(setting.recorded.every(({ op, start, end }) => op === 'get' && start < end!));
  const [first, second, third] = setting.recorded;
  assert.deepEqual([second!.start, second!.end], [first!.start, first!.end]);
  assert.ok(third!.start > first!.start && third!.end! > first!.end!, 'the second page is another one');
});

test('a drain waits for scans under way and their further pages', () => {
  const setting = new Setting(2);
  setting.run();
  let isIdle = false;
  setting.loop.drain(() => (isIdle = true));
  setting.answer(1);
  assert.ok(!isIdle);
  while (setting.operations.scans.length > 0) setting.answer();
  assert.ok(isIdle);
});
