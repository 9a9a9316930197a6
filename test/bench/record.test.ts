/** Values that are checked against their key: each single fault in one must be found. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Random } from '../../bench/random.ts';
import { RecordKeys, RecordValues, idInValue } from '../../bench/record.ts';
import { SizeChoice } from '../../bench/value-sizes.ts';

const keys = new RecordKeys(100);
const SIZES = [24, 25, 26, 27, 28, 31, 32, 40, 255, 256, 257, 1_000, 16_000];

function valueOf(record: number, values: RecordValues, sequence: number): Uint8Array {
  return values.write(keys.fingerprintLow(record), keys.fingerprintHigh(record), sequence).slice();
}

function verify(values: RecordValues, record: number, value: Uint8Array, valueBytes = value.length): boolean {
  return values.verify(keys.fingerprintLow(record), keys.fingerprintHigh(record), value, valueBytes);
}

test('a value has the size asked for and verifies, whoever wrote it', () => {
  for (const valueBytes of [1, 2, 4, 7, 8, 12, 15, 16, 17, 20, 23, ...SIZES]) {
    const value = valueOf(3, new RecordValues(valueBytes, 7), 12_345);
    assert.equal(value.length, valueBytes);
    assert.ok(verify(new RecordValues(valueBytes, 0), 3, value), `${valueBytes} bytes`);
  }
});

test('each flipped bit is found', () => {
  for (const valueBytes of SIZES) {
    const values = new RecordValues(valueBytes, 1);
    const value = valueOf(5, values, 99);
    for (let at = 0; at < valueBytes; at++) {
      value[at]! ^= 1 << (at % 8);
      assert.ok(!verify(values, 5, value), `${valueBytes} bytes, byte ${at}`);
      value[at]! ^= 1 << (at % 8);
    }
    assert.ok(verify(values, 5, value));
  }
});

test("a small value's fault is found wherever it repeats what is known", () => {
  for (let valueBytes = 1; valueBytes < 24; valueBytes++) {
    const values = new RecordValues(valueBytes, 0);
    const value = valueOf(5, values, 1);
    for (let at = 0; at < valueBytes; at++) {
      const known = at < 8 || at >= 16 || at + 8 < valueBytes;
      value[at]! ^= 0x10;
      assert.equal(verify(values, 5, value), !known, `${valueBytes} bytes, byte ${at}`);
      value[at]! ^= 0x10;
    }
  }
});

test("another key's value, half of another put's value, and another size are found", () => {
  const values = new RecordValues(256, 0);
  assert.ok(!verify(values, 1, valueOf(2, values, 1)));
  const torn = valueOf(1, values, 1);
  torn.set(valueOf(1, values, 2).subarray(128), 128);
  assert.ok(!verify(values, 1, torn));
  assert.ok(!verify(values, 1, valueOf(1, values, 1).subarray(0, 255)));
  assert.ok(!verify(values, 1, valueOf(1, new RecordValues(264, 0), 1)));
  assert.ok(!verify(values, 1, new Uint8Array(0)));
});

test('branches of the keys go on from the same ones and know nothing of each other', () => {
  const loaded = new RecordKeys(70_000);
  const branches = [loaded.branch(), loaded.branch()];
  for (const [branchIndex, branch] of branches.entries()) {
    for (let i = 0; i < 70_000; i++) assert.equal(branch.append(70_000 + i * 2 + branchIndex), 70_000 + i);
  }
  const all = new RecordKeys(210_000);
  for (const record of [0, 65_535, 65_536, 69_999]) {
    for (const keys of [loaded, ...branches]) assert.equal(keys.keyString(record), all.keyString(record));
  }
  for (const added of [0, 1, 65_536, 69_999]) {
    for (const [branchIndex, branch] of branches.entries()) {
      assert.equal(branch.keyString(70_000 + added), all.keyString(70_000 + added * 2 + branchIndex));
    }
  }
  assert.equal(loaded.count, 70_000);
  const again = branches[0]!.branch();
  again.append(1);
  branches[0]!.append(2);
  assert.equal(again.keyString(140_000), all.keyString(1));
  assert.equal(branches[0]!.keyString(140_000), all.keyString(2));
});

test('a value verifies wherever it lies, and changes in the same array are seen', () => {
  const values = new RecordValues(256, 0);
  for (let offset = 0; offset < 9; offset++) {
    const place = new Uint8Array(400).subarray(offset);
    place.set(valueOf(4, values, 8));
    assert.ok(verify(values, 4, place, 256), `offset ${offset}`);
    place[100]! ^= 1;
    assert.ok(!verify(values, 4, place, 256), `offset ${offset}, changed`);
    place[100]! ^= 1;
    assert.ok(verify(values, 4, place, 256), `offset ${offset}, changed back`);
    place.set(valueOf(6, values, 9));
    assert.ok(verify(values, 6, place, 256), `offset ${offset}, another value`);
    assert.ok(!verify(values, 4, place, 256), `offset ${offset}, another value for the old key`);
  }
  const inBuffer = Buffer.alloc(300).subarray(3);
  inBuffer.set(valueOf(4, values, 8));
  assert.ok(verify(values, 4, inBuffer, 256));
  inBuffer[50]! ^= 1;
  assert.ok(!verify(values, 4, inBuffer, 256));
});

test('the id is read back from the value', () => {
  for (const [clientIndex, sequence] of [
    [0, 1],
    [65_535, 2 ** 48 - 1],
    [3, 2 ** 32],
    [40_000, 2 ** 31],
  ] as const) {
    const values = new RecordValues(16, clientIndex);
    const value = valueOf(0, values, sequence);
    assert.equal(idInValue(value, 16), `${clientIndex}-${sequence}`);
    assert.equal(values.idOf(sequence), `${clientIndex}-${sequence}`);
  }
  assert.equal(idInValue(new Uint8Array(15), 15), 'none');
});

test('values of several sizes verify, whatever was written last; parts and other sizes do not', () => {
  const sizes = [5, 15, 16, 23, 24, 27, 64, 256, 1_000, 4_096];
  const choiceOf = (seed: number): SizeChoice =>
    new SizeChoice(
      sizes.map((valueBytes) => ({ valueBytes, weight: 1 })),
      new Random(seed),
    );
  const values = new RecordValues(choiceOf(1), 2);
  const other = new RecordValues(choiceOf(2), 3);
  const seen = new Set<number>();
  for (let sequence = 1; sequence <= 300; sequence++) {
    const value = valueOf(sequence % 100, values, sequence);
    seen.add(value.length);
    assert.deepEqual(
      value,
      valueOf(sequence % 100, new RecordValues(value.length, 2), sequence),
      'as if it were alone',
    );
    valueOf(0, other, sequence);
    assert.ok(verify(other, sequence % 100, value), `${value.length} bytes`);
    if (value.length < 24) continue;
    for (const valueBytes of sizes) {
      if (valueBytes < 24 || valueBytes === value.length) continue;
      const longer = new Uint8Array(Math.max(valueBytes, value.length));
      longer.set(value);
      assert.ok(!verify(other, sequence % 100, longer, valueBytes), `${valueBytes} of ${value.length} bytes`);
    }
    value[value.length - 1]! ^= 1;
    assert.ok(!verify(other, sequence % 100, value));
    value[value.length - 1]! ^= 1;
    assert.ok(!verify(new RecordValues(value.length + 1, 0), sequence % 100, value));
  }
  assert.deepEqual(
    [...seen].toSorted((a, b) => a - b),
    sizes,
    'each size was among them',
  );
});

test('a choice among one size draws nothing', () => {
  let draws = 0;
  const random = new (class extends Random {
    override nextDouble(): number {
      draws++;
      return super.nextDouble();
    }
  })(1);
  const values = new RecordValues(new SizeChoice([{ valueBytes: 32, weight: 3 }], random), 0);
  assert.equal(valueOf(1, values, 1).length, 32);
  assert.equal(draws, 0);
});

test('keys that are appended are those of their numbers, across chunks too', () => {
  const count = 70_000;
  const all = new RecordKeys(count);
  const grown = new RecordKeys(65_000);
  for (let number = 65_000; number < count; number++) assert.equal(grown.append(number), number);
  assert.equal(grown.count, count);
  for (const index of [0, 64_999, 65_000, 65_535, 65_536, 69_999]) {
    assert.equal(grown.keyString(index), all.keyString(index));
    assert.equal(grown.fingerprintLow(index), all.fingerprintLow(index));
    assert.equal(grown.fingerprintHigh(index), all.fingerprintHigh(index));
  }
  const seen = new Set<string>();
  for (let index = 0; index < count; index++) seen.add(grown.keyString(index));
  assert.equal(seen.size, count);
});
