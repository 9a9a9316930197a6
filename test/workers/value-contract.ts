/** The part of the sealing contract (sealing-contract.ts) about values. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { alignUp, allocateRegion, regionOf } from '../../net/bytes.ts';
import { AssertionError } from '../../net/assert.ts';
import type { SecurityMode } from '../../net/mode.ts';
import type { KeyRegistry, Sealing, ValueSealingSink } from '../../workers/sealing.ts';
import {
  ENVELOPE_BYTES_MAX,
  SEALED_VALUE_BYTES_MAX,
  VALUE_CHUNK_BYTES,
  VALUE_TAG_BYTES,
} from '../../workers/sealing.ts';
import { seededBytes } from './random.ts';
import type { PlacedValue } from './sealing-driver.ts';
import {
  bytesOf,
  copyOfValue,
  DRAINS_MAX,
  letWorkersWork,
  openValue,
  regionFor,
  Reports,
  sealableValue,
  sealValue,
  settleValues,
  submitOpen,
  submitSeal,
  TAG_WORDS,
  textOf,
  withKey,
} from './sealing-driver.ts';

export function valueContract(mode: SecurityMode, make: () => Sealing & KeyRegistry): void {
  test('a value opens to what was sealed, at any length, place and key, and nothing around it is touched', () => {
    const sealing = make();
    const place = fc.record({ before: fc.nat(20), after: fc.nat(20), tagWord: fc.nat(5), keyWord: fc.nat(5) });
    fc.assert(
      fc.property(fc.nat(4_096), fc.integer({ min: 1, max: 1_024 }), place, (valueBytes, keyBytes, at) => {
        roundTripValue(sealing, valueBytes, keyBytes, at);
      }),
      { numRuns: 150 },
    );
  });

  for (const valueBytes of [
    0,
    1,
    VALUE_CHUNK_BYTES - 1,
    VALUE_CHUNK_BYTES,
    VALUE_CHUNK_BYTES + 1,
    2 * VALUE_CHUNK_BYTES - 1,
    2 * VALUE_CHUNK_BYTES,
    2 * VALUE_CHUNK_BYTES + 1,
    60_003,
    SEALED_VALUE_BYTES_MAX - 1,
    SEALED_VALUE_BYTES_MAX,
  ]) {
    test(`a value of ${valueBytes} bytes opens to what was sealed, and nothing around it is touched`, () => {
      roundTripValue(make(), valueBytes, 1_024, { before: 1, after: 1, tagWord: 1, keyWord: 1 });
    });
  }

  test('a value of one byte more than the largest is refused, and so is its envelope', () => {
    const sealing = make();
    assert.ok(sealing.envelopeBytesOf(SEALED_VALUE_BYTES_MAX) <= ENVELOPE_BYTES_MAX);
    const value = sealableValue(sealing, new Uint8Array(SEALED_VALUE_BYTES_MAX + 1), bytesOf('key'));
    assert.equal(openValue(sealing, value), undefined);
    const sealAndSettle = () => {
      submitSeal(sealing, 0, value);
      settleValues(sealing, new Reports(sealing), 1);
    };
    assert.throws(sealAndSettle, AssertionError);
  });

  test('large and small values at once: each job is reported once and has its own result', () => {
    const sealing = make();
    const sizes = Array.from({ length: 40 }, (_, i) => (i % 4 === 0 ? VALUE_CHUNK_BYTES * (1 + (i % 3)) + i : i));
    const contents = sizes.map((valueBytes, i) => seededBytes(valueBytes, i));
    const values = contents.map((content, i) => sealableValue(sealing, content, bytesOf(`key ${i}`)));
    const reported = new Reports(sealing);
    values.forEach((value, i) => submitSeal(sealing, i, value));
    settleValues(sealing, reported, values.length);
    values.forEach((value, i) => submitOpen(sealing, values.length + i, value));
    settleValues(sealing, reported, 2 * values.length);
    contents.forEach((content, i) => assert.deepEqual(reported.values.get(values.length + i), content, `value ${i}`));
    assert.equal(sealing.pendingValueJobs, 0);
  });

  test('every sealing with the same data keys opens what another sealed', () => {
    const [writer, reader] = [make(), make()];
    const values = [0, 1, 2, 3, 4].map((i) => sealValue(writer, seededBytes(256, i), bytesOf(`key ${i}`)));
    values.forEach((value, i) => assert.deepEqual(openValue(reader, value), seededBytes(256, i)));
    const answer = sealValue(reader, bytesOf('back'), bytesOf('key'));
    assert.deepEqual(openValue(writer, answer), bytesOf('back'));
  });

  test('an envelope in shared memory opens', () => {
    const sealing = make();
    const value = sealValue(sealing, seededBytes(100, 1), bytesOf('key'));
    const shared = regionOf(new SharedArrayBuffer(value.envelope.bytes.length));
    shared.bytes.set(value.envelope.bytes);
    assert.deepEqual(openValue(sealing, { ...value, envelope: shared }), seededBytes(100, 1));
  });

  test('an envelope of several chunks in shared memory is sealed and opens there', () => {
    const sealing = make();
    const content = seededBytes(3 * VALUE_CHUNK_BYTES - 5, 1);
    const placed = sealableValue(sealing, content, bytesOf('key'));
    const shared = regionOf(new SharedArrayBuffer(placed.envelope.bytes.length));
    shared.bytes.set(placed.envelope.bytes);
    const tagWords = new Int32Array(new SharedArrayBuffer(VALUE_TAG_BYTES));
    const value = { ...placed, envelope: shared, tagWords };
    submitSeal(sealing, 0, value);
    settleValues(sealing, new Reports(sealing), 1);
    assert.deepEqual(openValue(sealing, value), content);
  });

  test('many values at once: each job is reported once and has its own result', () => {
    const sealing = make();
    const values = Array.from({ length: 1_500 }, (_, i) =>
      sealableValue(sealing, seededBytes(i % 300, i), bytesOf(`key ${i}`)),
    );
    const reported = new Reports(sealing);
    values.forEach((value, i) => submitSeal(sealing, i, value));
    settleValues(sealing, reported, values.length);
    values.forEach((value, i) => submitOpen(sealing, values.length + i, value));
    settleValues(sealing, reported, 2 * values.length);
    values.forEach((_, i) => assert.deepEqual(reported.values.get(values.length + i), seededBytes(i % 300, i)));
  });

  test('a sink may submit while it is told: those jobs are done too', () => {
    const sealing = make();
    const value = sealableValue(sealing, bytesOf('0'), bytesOf('key'));
    const log: string[] = [];
    const sink: ValueSealingSink = {
      onValueSealed(token) {
        log.push(`sealed ${token}`);
        submitOpen(sealing, token + 1, value);
      },
      onValueOpened(token, opened) {
        log.push(`opened ${token} ${opened}: ${textOf(sealing.openedValue.subarray(0, sealing.openedValueBytes))}`);
        if (token >= 5) return;
        value.envelope.bytes.set(bytesOf(String(token + 1)), value.valueOffset);
        submitSeal(sealing, token + 1, value);
      },
    };
    submitSeal(sealing, 0, value);
    for (let drains = 0; log.length < 6; drains++) {
      assert.ok(drains < DRAINS_MAX, 'all jobs end');
      sealing.drainValues(sink);
      letWorkersWork(sealing);
    }
    assert.equal(sealing.drainValues(sink), 0);
    assert.deepEqual(
      log,
      [0, 2, 4].flatMap((token) => [`sealed ${token}`, `opened ${token + 1} true: ${token}`]),
    );
  });

  test('an envelope that is too long for any value does not open', () => {
    const sealing = make();
    const envelopeBytes = sealing.envelopeBytesOf(SEALED_VALUE_BYTES_MAX) + 1;
    const envelope = allocateRegion(envelopeBytes);
    const value: PlacedValue = {
      ...sealableValue(sealing, new Uint8Array(0), bytesOf('key')),
      envelope,
      envelopeBytes,
    };
    assert.equal(openValue(sealing, value), undefined);
  });

  if (mode === 'plaintext') {
    test('the envelope is the value, the tag zero', () => {
      const sealing = make();
      assert.equal(sealing.valueOffsetOf(SEALED_VALUE_BYTES_MAX), 0);
      assert.equal(sealing.envelopeBytesOf(SEALED_VALUE_BYTES_MAX), SEALED_VALUE_BYTES_MAX);
      const value = sealableValue(sealing, bytesOf('in clear'), bytesOf('key'));
      value.tagWords.fill(-1);
      submitSeal(sealing, 0, value);
      settleValues(sealing, new Reports(sealing), 1);
      assert.equal(textOf(value.envelope.bytes.subarray(0, value.envelopeBytes)), 'in clear');
      assert.deepEqual(value.tagWords, new Int32Array(TAG_WORDS));
    });
    return;
  }

  test('the value is not to be seen in its envelope', () => {
    const sealing = make();
    const value = sealValue(sealing, new Uint8Array(64).fill(0x41), bytesOf('key'));
    assert.ok(!Buffer.from(value.envelope.bytes).includes('AAAA'));
  });

  test('equal values under equal keys look different each time', () => {
    const sealing = make();
    const [a, b] = [1, 2].map(() => sealValue(sealing, new Uint8Array(64), bytesOf('key')));
    assert.notDeepEqual(a!.envelope.bytes.subarray(32), b!.envelope.bytes.subarray(32));
  });

  test('one flipped bit anywhere in envelope or tag is caught, and the envelope is left as it is', () => {
    const sealing = make();
    const value = sealValue(sealing, seededBytes(43, 1), bytesOf('key'));
    const reported = new Reports(sealing);
    const envelopeBits = value.envelopeBytes * 8;
    const bitCount = envelopeBits + VALUE_TAG_BYTES * 8;
    const forgeries = Array.from({ length: bitCount }, (_, bit) => {
      const forged = copyOfValue(value);
      if (bit < envelopeBits) flipBit(forged.envelope.bytes, bit);
      else flipBit(new Uint8Array(forged.tagWords.buffer), bit - envelopeBits);
      return forged;
    });
    const asForged = forgeries.map(copyOfValue);
    forgeries.forEach((forged, bit) => submitOpen(sealing, bit, forged));
    submitOpen(sealing, bitCount, value);
    settleValues(sealing, reported, bitCount + 1);
    for (let bit = 0; bit < bitCount; bit++) assert.equal(reported.opened.get(bit), false, `bit ${bit}`);
    assert.deepEqual(forgeries, asForged);
    assert.deepEqual(reported.values.get(bitCount), seededBytes(43, 1));
  });

  test('a value opens under its own key only: another key, one with padding, one cut short, a swapped value', () => {
    const sealing = make();
    const [a, b] = [bytesOf('key a'), bytesOf('key b')];
    const [valueA, valueB] = [sealValue(sealing, bytesOf('value a'), a), sealValue(sealing, bytesOf('value b'), b)];
    assert.equal(openValue(sealing, withKey(valueA, b)), undefined);
    assert.equal(openValue(sealing, withKey(valueB, a)), undefined);
    assert.equal(openValue(sealing, withKey(valueA, bytesOf('key a\0'))), undefined);
    assert.equal(openValue(sealing, withKey(valueA, bytesOf('key '))), undefined);
    assert.equal(openValue(sealing, { ...valueA, tagWords: valueB.tagWords }), undefined);
    assert.deepEqual(openValue(sealing, valueA), bytesOf('value a'));
  });

  test('padding behind the key is not part of it', () => {
    const sealing = make();
    const value = sealValue(sealing, bytesOf('value'), bytesOf('key a'));
    const padded = withKey(value, bytesOf('key aXYZ'));
    assert.deepEqual(openValue(sealing, { ...padded, keyBytes: 5 }), bytesOf('value'));
  });

  test('an envelope shorter than its header does not open', () => {
    const sealing = make();
    const value = sealValue(sealing, new Uint8Array(0), bytesOf('key'));
    for (let envelopeBytes = 0; envelopeBytes < 32; envelopeBytes++) {
      assert.equal(openValue(sealing, { ...value, envelopeBytes }), undefined);
    }
    assert.deepEqual(openValue(sealing, value), new Uint8Array(0));
  });
}

interface Place {
  readonly before: number;
  readonly after: number;
  readonly tagWord: number;
  readonly keyWord: number;
}

/** The envelope lies at 8 * before in a larger region; all around it, padding included, must stay 0xee. */
function roundTripValue(sealing: Sealing, valueBytes: number, keyBytes: number, at: Place): void {
  const value = seededBytes(valueBytes, valueBytes);
  const valueOffset = sealing.valueOffsetOf(valueBytes);
  const envelopeBytes = sealing.envelopeBytesOf(valueBytes);
  const start = at.before * 8;
  const region = regionFor(sealing, start + alignUp(envelopeBytes) + at.after * 8);
  region.bytes.fill(0xee);
  region.bytes.set(value, start + valueOffset);
  const tags = allocateRegion((at.tagWord + TAG_WORDS + 1) * 4);
  tags.words.fill(-1);
  const keys = allocateRegion(at.keyWord * 4 + keyBytes);
  keys.bytes.set(seededBytes(keys.bytes.length, 9));
  const placed: PlacedValue = {
    envelope: region,
    envelopeWord: start >> 2,
    envelopeBytes,
    valueOffset,
    tagWords: tags.words,
    tagWord: at.tagWord,
    keyWords: keys.words,
    keyWord: at.keyWord,
    keyBytes,
  };
  submitSeal(sealing, 3, placed);
  settleValues(sealing, new Reports(sealing), 1);
  const around = [region.bytes.subarray(0, start), region.bytes.subarray(start + envelopeBytes)];
  assert.ok(around.every((bytes) => bytes.every((byte) => byte === 0xee)));
  assert.ok(tags.words.subarray(0, at.tagWord).every((word) => word === -1));
  assert.ok(tags.words.subarray(at.tagWord + TAG_WORDS).every((word) => word === -1));
  assert.deepEqual(openValue(sealing, placed), value);
}

function flipBit(bytes: Uint8Array, bit: number): void {
  bytes[bit >> 3] = bytes[bit >> 3]! ^ (1 << (bit & 7));
}
