/** Values in chunks: what a host can do to an envelope, how chunks share the loop with small values, and the format. */
import { DataKeyRing } from '../../src/trust/data-key-ring.ts';
import assert from 'node:assert/strict';
import { createDecipheriv } from 'node:crypto';
import { describe, test } from 'node:test';
import { AssertionError } from '../../net/assert.ts';
import { allocateRegion } from '../../net/bytes.ts';
import { chunkCountOf, valueBytesIn, valueOffsetOf } from '../../workers/envelope-layout.ts';
import { createInlineSealing } from '../../workers/inline-sealing.ts';
import type { KeyRegistry, Sealing } from '../../workers/sealing.ts';
import {
  ENVELOPE_BYTES_MAX,
  ENVELOPE_HEADER_BYTES,
  SEALED_VALUE_BYTES_MAX,
  VALUE_CHUNK_BYTES,
  VALUE_TAG_BYTES,
} from '../../workers/sealing.ts';
import { blake2b, randomBytes } from '../../workers/sodium.ts';
import { SealedValues } from '../../workers/value-cipher.ts';
import { deriveChunkKeys } from '../../workers/value-keys.ts';
import { seededBytes } from './random.ts';
import type { PlacedValue } from './sealing-driver.ts';
import {
  bytesOf,
  copyOfValue,
  openValue,
  Reports,
  sealableValue,
  sealValue,
  settleValues,
  submitOpen,
  submitSeal,
  withKey,
} from './sealing-driver.ts';

const DATA_KEY = seededBytes(32, 1);
const dataKeys = DataKeyRing.of(1, DATA_KEY);
const KEY = bytesOf('key');
const NO_SINK = { onValueSealed() {}, onValueOpened() {} };

function newSealing(): Sealing & KeyRegistry {
  return createInlineSealing({ mode: 'secure', dataKeys });
}

/** Of several chunks, no two alike; the last is shorter. */
function contentOf(chunkCount: number, seed: number): Uint8Array {
  return seededBytes(chunkCount * VALUE_CHUNK_BYTES - 100, seed);
}

/** Where the tag of a chunk lies, and where its ciphertext. */
function tagOf(value: PlacedValue, chunk: number): Uint8Array {
  const start = ENVELOPE_HEADER_BYTES + chunk * VALUE_TAG_BYTES;
  return value.envelope.bytes.subarray(start, start + VALUE_TAG_BYTES);
}

function chunkOf(value: PlacedValue, chunk: number): Uint8Array {
  const start = value.valueOffset + chunk * VALUE_CHUNK_BYTES;
  return value.envelope.bytes.subarray(start, Math.min(start + VALUE_CHUNK_BYTES, value.envelopeBytes));
}

/** An envelope of header, tags and chunks as given, under the same trusted tag. */
function reassembled(value: PlacedValue, tags: Uint8Array[], chunks: Uint8Array[]): PlacedValue {
  const bytes = Buffer.concat([value.envelope.bytes.subarray(0, ENVELOPE_HEADER_BYTES), ...tags, ...chunks]);
  const envelope = allocateRegion(bytes.length);
  envelope.bytes.set(bytes);
  return { ...value, envelope, envelopeBytes: bytes.length };
}

/** Whether another implementation finds the tag of a chunk right. */
function opensUnder(key: Uint8Array, nonce: Uint8Array, ciphertext: Uint8Array, tag: Uint8Array): boolean {
  const decipher = createDecipheriv('chacha20-poly1305', key, nonce, { authTagLength: 16 });
  decipher.setAAD(KEY, { plaintextLength: ciphertext.length });
  decipher.setAuthTag(tag);
  decipher.update(ciphertext);
  try {
    decipher.final();
    return true;
  } catch {
    return false;
  }
}

function flipped(value: PlacedValue, byteIndex: number): PlacedValue {
  const forged = copyOfValue(value);
  forged.envelope.bytes[byteIndex]! ^= 1;
  return forged;
}

describe('layout', () => {
  test('each length of a value has an envelope of its own, and what lies between belongs to none', () => {
    const borders = [0, 1, 2, 3, 4, 63, 64].map((chunks) => chunks * VALUE_CHUNK_BYTES);
    const envelopes = new Map<number, number>();
    for (const border of borders) {
      for (let valueBytes = Math.max(0, border - 100); valueBytes <= border + 100; valueBytes++) {
        if (valueBytes > SEALED_VALUE_BYTES_MAX) continue;
        const chunkCount = valueBytes <= 16_384 ? 0 : Math.ceil(valueBytes / 16_384);
        assert.equal(chunkCountOf(valueBytes), chunkCount);
        assert.equal(valueOffsetOf(valueBytes), 32 + 16 * chunkCount);
        envelopes.set(32 + 16 * chunkCount + valueBytes, valueBytes);
      }
    }
    for (const border of borders) {
      const middle = ENVELOPE_HEADER_BYTES + border + 16 * chunkCountOf(border);
      for (let envelopeBytes = middle - 30; envelopeBytes <= middle + 60; envelopeBytes++) {
        assert.equal(valueBytesIn(envelopeBytes), envelopes.get(envelopeBytes) ?? -1, `${envelopeBytes}`);
      }
    }
    assert.equal(valueBytesIn(ENVELOPE_BYTES_MAX), SEALED_VALUE_BYTES_MAX);
    for (const wrong of [-1, 0, 31, ENVELOPE_BYTES_MAX + 1, 2 ** 31 - 1]) assert.equal(valueBytesIn(wrong), -1);
  });

  test('an envelope is header, tags and ciphertexts, as docs/wire.md says', () => {
    const salt = seededBytes(16, 5);
    const sealing = createInlineSealing({ mode: 'secure', dataKeys, randomBytes: () => salt });
    sealValue(sealing, bytesOf('takes nonce 1'), KEY);
    const content = contentOf(3, 2);
    const value = sealValue(sealing, content, KEY);

    // Computed here from that page alone.
    const bytes = Buffer.from(value.envelope.bytes.subarray(0, value.envelopeBytes));
    assert.equal(bytes.length, 32 + 3 * 16 + content.length);
    const header = bytes.subarray(0, 32);
    const nonceField = Buffer.from('020000000000000000000000', 'hex');
    assert.deepEqual(header, Buffer.concat([Buffer.from([1, 0, 0, 0]), nonceField, salt]));
    const keys = new Uint8Array(64);
    blake2b(keys, Buffer.concat([bytesOf('avocado chunk key v1'), Buffer.from([1, 0, 0, 0]), salt]), DATA_KEY);
    const length = Buffer.alloc(4);
    length.writeUInt32LE(content.length);
    const tags = bytes.subarray(32, 32 + 48);
    const tag = new Uint8Array(16);
    blake2b(tag, Buffer.concat([bytesOf('avocado value tag v1'), length, header, tags]), keys.subarray(32));
    assert.deepEqual(new Uint8Array(value.tagWords.buffer), tag);
    const opened = [0, 1, 2].map((i) => {
      const nonce = Buffer.from(nonceField);
      nonce[0]! += i;
      const decipher = createDecipheriv('chacha20-poly1305', keys.subarray(0, 32), nonce, { authTagLength: 16 });
      const ciphertext = bytes.subarray(80 + i * 16_384, Math.min(80 + (i + 1) * 16_384, bytes.length));
      decipher.setAAD(KEY, { plaintextLength: ciphertext.length });
      decipher.setAuthTag(tags.subarray(i * 16, (i + 1) * 16));
      return Buffer.concat([decipher.update(ciphertext), decipher.final()]);
    });
    assert.deepEqual(Uint8Array.from(Buffer.concat(opened)), content);
  });

  test('the nonces of chunks go on over the borders of the words that they are kept in', () => {
    const cipher = new SealedValues(dataKeys, randomBytes);
    const content = contentOf(3, 1);
    for (const firstNonce of [0xffff_fffe, 2 ** 53 - 4]) {
      const value = sealableValue(newSealing(), content, KEY);
      const { envelope, envelopeBytes, tagWords, keyWords } = value;
      cipher.chunks.beginSeal(firstNonce, envelope, 0, envelopeBytes, tagWords, 0, keyWords, 0, KEY.length);
      while (cipher.chunks.step() === 'more');
      assert.deepEqual(openValue(newSealing(), value), content);
      const keys = new Uint8Array(64);
      deriveChunkKeys(keys, DATA_KEY, 1, envelope.words, 4);
      const nonce = Buffer.alloc(12);
      nonce.writeBigUInt64LE(BigInt(firstNonce) + 2n);
      assert.ok(opensUnder(keys.subarray(0, 32), nonce, chunkOf(value, 2), tagOf(value, 2)));
    }
  });
});

describe('what a host makes of an envelope does not open', () => {
  const sealing = newSealing();
  const [content, other] = [contentOf(4, 1), contentOf(4, 2)];
  const value = sealValue(sealing, content, KEY);
  const sameKey = sealValue(sealing, other, KEY);
  const otherKey = sealValue(sealing, other, bytesOf('other key'));
  const tags = [0, 1, 2, 3].map((i) => tagOf(value, i));
  const chunks = [0, 1, 2, 3].map((i) => chunkOf(value, i));
  const refused = (forged: PlacedValue, what?: string) => assert.equal(openValue(sealing, forged), undefined, what);
  const picked = (order: readonly number[], of: Uint8Array[]) => order.map((i) => of[i]!);

  test('as it was, it opens', () => {
    assert.deepEqual(openValue(sealing, value), content);
    assert.deepEqual(openValue(sealing, reassembled(value, tags, chunks)), content);
  });

  test('chunks in another order, with their tags or without', () => {
    for (const order of [
      [1, 0, 2, 3],
      [2, 1, 0, 3],
      [0, 0, 2, 3],
    ]) {
      refused(reassembled(value, picked(order, tags), picked(order, chunks)), `with tags: ${order.join()}`);
      refused(reassembled(value, tags, picked(order, chunks)), `without tags: ${order.join()}`);
      refused(reassembled(value, picked(order, tags), chunks), `tags alone: ${order.join()}`);
    }
  });

  test('cut short by a chunk, by a byte, or to one piece', () => {
    refused(reassembled(value, tags.slice(0, 3), chunks.slice(0, 3)));
    refused(reassembled(value, tags.slice(1), chunks.slice(1)));
    refused(reassembled(value, tags, [...chunks.slice(0, 3), chunks[3]!.subarray(1)]));
    refused({ ...value, envelopeBytes: value.envelopeBytes - 1 });
    refused(reassembled(value, [], [chunks[0]!]));
  });

  test('longer by a byte or by a chunk', () => {
    refused(reassembled(value, tags, [...chunks, Uint8Array.of(0)]));
    const whole = sealValue(sealing, content.subarray(0, 2 * VALUE_CHUNK_BYTES), KEY);
    const wholeTags = [tagOf(whole, 0), tagOf(whole, 1)];
    const wholeChunks = [chunkOf(whole, 0), chunkOf(whole, 1)];
    refused(reassembled(whole, [...wholeTags, wholeTags[1]!], [...wholeChunks, wholeChunks[1]!]));
    refused(reassembled(whole, [...wholeTags, tags[2]!], [...wholeChunks, chunks[2]!]));
  });

  test('chunks of another value under the same key, of another key, or all of it', () => {
    for (const from of [sameKey, otherKey]) {
      for (let i = 0; i < 4; i++) {
        const mixedChunks = chunks.map((chunk, at) => (at === i ? chunkOf(from, i) : chunk));
        const mixedTags = tags.map((tag, at) => (at === i ? tagOf(from, i) : tag));
        refused(reassembled(value, mixedTags, mixedChunks), `chunk ${i} with its tag`);
        refused(reassembled(value, tags, mixedChunks), `chunk ${i}`);
      }
      refused({ ...from, tagWords: value.tagWords, keyWords: value.keyWords, keyBytes: value.keyBytes });
    }
    refused(withKey(value, bytesOf('other key')));
    refused(withKey(value, bytesOf('ke')));
  });

  test('the tag of a chunk, or of a value in one piece, for that of a value in chunks, and the other way about', () => {
    const small = sealValue(sealing, content.subarray(0, VALUE_CHUNK_BYTES), KEY);
    const tagWordsOf = (tag: Uint8Array) => new Int32Array(Uint8Array.from(tag).buffer);
    for (let i = 0; i < 3; i++) {
      // Each chunk as if it were a value in one piece: its ciphertext, its own nonce, its own tag.
      const alone = reassembled(value, [], [chunks[i]!]);
      alone.envelope.words[1]! += i;
      refused({ ...alone, tagWords: tagWordsOf(tags[i]!) }, `chunk ${i} as a small value`);
      refused(alone, `chunk ${i} under the tag of all`);
      refused({ ...value, tagWords: tagWordsOf(tags[i]!) }, `tag of chunk ${i} for that of all`);
    }
    refused({ ...value, tagWords: small.tagWords });
    refused({ ...small, tagWords: value.tagWords });
    // A value in one piece as the chunk of a longer one, whose other chunk is genuine.
    const smallTag = new Uint8Array(small.tagWords.buffer);
    const joined = reassembled(small, [smallTag, tags[3]!], [chunkOf(small, 0), chunks[3]!]);
    refused(joined);
  });

  test('one flipped bit in any byte of header, tags and trusted tag, and in each chunk', () => {
    for (let i = 0; i < value.valueOffset; i++) refused(flipped(value, i), `byte ${i}`);
    for (let i = 0; i < 4; i++) {
      const start = value.valueOffset + i * VALUE_CHUNK_BYTES;
      for (const at of [start, start + 7_777, start + chunkOf(value, i).length - 1]) refused(flipped(value, at));
    }
    for (let i = 0; i < VALUE_TAG_BYTES; i++) {
      const forged = copyOfValue(value);
      new Uint8Array(forged.tagWords.buffer)[i]! ^= 0x80;
      refused(forged, `byte ${i} of the tag`);
    }
  });

  test('an envelope of a length that no value has', () => {
    const long = { ...value, envelope: allocateRegion(value.envelope.bytes.length + 64) };
    for (let envelopeBytes = 16_417; envelopeBytes <= 16_448; envelopeBytes++) refused({ ...long, envelopeBytes });
  });

  test('a first nonce at the end of its 96 bits', () => {
    const forged = copyOfValue(value);
    forged.envelope.words.fill(-1, 1, 4);
    refused(forged);
  });

  test('a data key that is unknown', () => {
    const forged = copyOfValue(value);
    forged.envelope.words[0] = 2;
    refused(forged);
  });

  test('what opened before the bad chunk is not handed out, and nothing of it is left', () => {
    const own = newSealing();
    refused(flipped(value, value.envelopeBytes - 1));
    assert.equal(openValue(own, flipped(value, value.envelopeBytes - 1)), undefined);
    assert.equal(own.openedValueBytes, 0);
    assert.ok(own.openedValue.byteLength >= SEALED_VALUE_BYTES_MAX);
    assert.ok(own.openedValue.every((byte) => byte === 0));
  });

  test('an envelope that changes between two steps: what opens is what was sealed, and else nothing', () => {
    for (let step = 0; step <= 4; step++) {
      for (const at of [0, ENVELOPE_HEADER_BYTES + 50, ...[0, 1, 2, 3].map((i) => value.valueOffset + i * 16_384)]) {
        const changing = copyOfValue(value);
        const own = newSealing();
        const reported = new Reports(own);
        submitOpen(own, 0, changing);
        for (let i = 0; i < step; i++) own.drainValues(reported);
        changing.envelope.bytes[at]! ^= 1;
        settleValues(own, reported, 1);
        // Steps that are done have read header, tags and the chunks up to there; they are not read again.
        const isRead = step > 0 && at < value.valueOffset + (step - 1) * VALUE_CHUNK_BYTES + 1;
        assert.deepEqual(reported.values.get(0), isRead ? content : undefined, `step ${step}, byte ${at}`);
      }
    }
  });
});

describe('the loop', () => {
  test('one call does all small values and one chunk of the oldest large one', () => {
    const sealing = newSealing();
    const log: number[] = [];
    const sink = { onValueSealed: (token: number) => void log.push(token), onValueOpened() {} };
    const [first, second] = [3, 2].map((chunkCount, i) => sealableValue(sealing, contentOf(chunkCount, i), KEY));
    const small = [1, 2, 3, 4].map((i) => sealableValue(sealing, bytesOf(`small ${i}`), KEY));
    submitSeal(sealing, 100, first!);
    submitSeal(sealing, 200, second!);
    const rounds: [number[], number][] = [];
    for (const [i, value] of small.entries()) {
      submitSeal(sealing, i, value);
      log.length = 0;
      assert.equal(sealing.drainValues(sink), log.length);
      rounds.push([[...log], sealing.pendingValueJobs]);
    }
    assert.deepEqual(rounds, [
      [[0], 2],
      [[1], 2],
      [[2, 100], 1],
      [[3], 1],
    ]);
    log.length = 0;
    assert.equal(sealing.drainValues(sink), 1);
    assert.deepEqual([log, sealing.pendingValueJobs], [[200], 0]);
  });

  test('small values between the chunks of large ones disturb neither, sealing and opening', () => {
    const sealing = newSealing();
    const small = sealValue(sealing, bytesOf('small'), bytesOf('small key'));
    const large = [0, 1, 2].map((i) => contentOf(3, i));
    const placed = large.map((content) => sealableValue(sealing, content, KEY));
    const reported = new Reports(sealing);
    placed.forEach((value, i) => submitSeal(sealing, i, value));
    let token = 1_000;
    const settleWithSmall = (jobCount: number) => {
      for (let left = jobCount; left > 0; ) {
        const before = reported.seen.size;
        submitOpen(sealing, token++, small);
        submitSeal(sealing, token++, sealableValue(sealing, bytesOf('another'), KEY));
        sealing.drainValues(reported);
        assert.deepEqual(reported.values.get(token - 2), bytesOf('small'));
        left -= reported.seen.size - before - 2;
      }
    };
    settleWithSmall(3);
    placed.forEach((value, i) => submitOpen(sealing, 10 + i, value));
    settleWithSmall(3);
    large.forEach((content, i) => assert.deepEqual(reported.values.get(10 + i), content));
  });

  test('nonces of all chunks are given out when the job is submitted, and none twice', () => {
    const sealing = newSealing();
    const counts = [0, 3, 0, 64, 2, 0];
    const values = counts.map((count, i) =>
      sealableValue(sealing, count === 0 ? bytesOf('small') : contentOf(count, i), KEY),
    );
    values.forEach((value, i) => submitSeal(sealing, i, value));
    settleValues(sealing, new Reports(sealing), values.length);
    const firsts = values.map(({ envelope }) => envelope.words[1]!);
    assert.deepEqual(firsts, [1, 2, 5, 6, 70, 72]);
  });

  test('a nonce used again is an assertion, before anything is encrypted: the last of a value in chunks, too', () => {
    const { chunks } = new SealedValues(dataKeys, randomBytes);
    const { envelope, envelopeBytes, tagWords, keyWords } = sealableValue(newSealing(), contentOf(3, 1), KEY);
    const begin = (nonce: number) =>
      chunks.beginSeal(nonce, envelope, 0, envelopeBytes, tagWords, 0, keyWords, 0, KEY.length);
    begin(5);
    while (chunks.step() === 'more');
    const sealedOnce = envelope.bytes.slice();
    for (const used of [4, 5, 7]) {
      assert.throws(() => begin(used), AssertionError);
      chunks.close();
    }
    assert.deepEqual(envelope.bytes, sealedOnce);
    begin(8);
  });

  test('close in the middle of a value gives it up and overwrites what was opened', () => {
    const sealing = newSealing();
    const value = sealValue(sealing, contentOf(3, 1), KEY);
    const reported = new Reports(sealing);
    assert.deepEqual(openValue(sealing, value), contentOf(3, 1));
    submitOpen(sealing, 0, value);
    sealing.drainValues(reported);
    sealing.close();
    assert.ok(sealing.openedValue.every((byte) => byte === 0));
    assert.equal(sealing.pendingValueJobs, 0);
    assert.equal(sealing.drainValues(NO_SINK), 0);
    assert.equal(reported.seen.size, 0);
  });

  test('a closed cipher seals nothing any more', () => {
    const cipher = new SealedValues(dataKeys, randomBytes);
    const { chunks } = cipher;
    const value = sealableValue(newSealing(), contentOf(2, 1), KEY);
    const clear = value.envelope.bytes.slice();
    cipher.close();
    chunks.beginSeal(1, value.envelope, 0, value.envelopeBytes, value.tagWords, 0, value.keyWords, 0, KEY.length);
    assert.equal(chunks.step(), 'failed');
    assert.deepEqual(value.envelope.bytes, clear);
  });
});
