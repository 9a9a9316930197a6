/** Messages of values by parts: what goes in comes out, and whatever does not fit together is refused. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { alignUp } from '../../net/bytes.ts';
import {
  FLAG_PARTS,
  FLAG_REPAIR,
  FLAG_VALUE,
  FLAG_WRITE_BACK,
  KEY_BYTES_MAX,
  MESSAGE_READ_PART,
  MESSAGE_READ_PART_REPLY,
  MESSAGE_READ_REPLY,
  MESSAGE_WRITE_PART,
  MESSAGE_WRITE_PROGRESS,
  PARTS_MAX,
  PROGRESS_BITMAP_BYTES_MAX,
  WORD_ENVELOPE_BYTES,
  WORD_KEY_BYTES,
  WORD_PART,
  WORD_PART_REPLY_BYTES,
  WORD_PROGRESS_BYTES,
  WORD_READ_PART_BYTES,
  WORD_READ_PART_COUNTER,
  WORD_READ_PART_KEY,
  WORD_READ_PART_OFFSET,
  WORD_REPLY_COUNTER,
  WORD_REPLY_ENVELOPE_BYTES,
  WORD_WRITE_COUNTER,
  WORD_WRITE_KEY,
  WRITE_BYTES,
  messageBytes,
  messageEnvelopeBytes,
  partCountOf,
  partLengthBytes,
} from '../../src/protocol/messages.ts';
import { ENVELOPE_BYTES_MAX } from '../../workers/sealing.ts';
import { seededBytes } from '../workers/random.ts';
import { clientPeer, parseReadReply, readPartOf, sessionWith } from './fixtures.ts';
import type { Message, Stamp } from './fixtures.ts';
import { operationWith } from './operation-fixture.ts';
import { busyReply, goneReply, partReply, partsOf, partsReply, progressReply, readPart } from './part-fixtures.ts';

const session = sessionWith(clientPeer({ writerHigh: 1, writerLow: 2 }));
const KEY = Uint8Array.of(1, 2, 3, 4, 5);
const STAMP: Stamp = { counter: 2 ** 52, writerHigh: 3, writerLow: 4, rmw: 5 };
const TAG = Int32Array.of(6, 7, 8, 9);
const ENVELOPE = seededBytes(45, 1);
const TO = { slot: 65_535, generation: -1 };

const word = fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 });
const plain = { noNullPrototype: true };
const stamp: fc.Arbitrary<Stamp> = fc.record(
  { counter: fc.maxSafeNat(), writerHigh: word, writerLow: word, rmw: word },
  plain,
);
const key = fc.oneof(
  fc.uint8Array({ minLength: 1, maxLength: 60 }),
  fc.constantFrom(1_017, 1_023, KEY_BYTES_MAX).map((n) => new Uint8Array(n).fill(7)),
);
const tag = fc.array(word, { minLength: 4, maxLength: 4 }).map((words) => Int32Array.from(words));

/** Bytes of the message, or -1; `control` may be a changed copy. */
function bytesOf({ value }: Message, control: Int32Array, valueBytes = value.length): number {
  return messageBytes(control, 0, control.length, valueBytes);
}

/** What comes of it when a word has these values. */
function refusedAt(message: Message, at: number, ...values: readonly number[]): void {
  for (const to of values) {
    const control = message.control.slice();
    control[at] = to;
    assert.equal(bytesOf(message, control), -1, `word ${at} is ${to}`);
  }
}

function takenAt(message: Message, at: number, ...values: readonly number[]): void {
  for (const to of values) {
    const control = message.control.slice();
    control[at] = to;
    assert.notEqual(bytesOf(message, control), -1, `word ${at} is ${to}`);
  }
}

// -- round trips ------------------------------------------------------------------------------------------------------

test('should cut what the operation writes into parts that give it again', () => {
  const flags = fc.constantFrom(0, FLAG_WRITE_BACK, FLAG_REPAIR);
  const envelope = fc.uint8Array({ minLength: 1, maxLength: 300 });
  fc.assert(
    fc.property(key, envelope, tag, stamp, flags, fc.integer({ min: 1, max: 40 }), (k, e, t, s, flag, units) => {
      const { slot, messenger, requests } = operationWith(k, e, t, s);
      const partCount = partCountOf(e.length, units * 8);
      const whole = new Uint8Array(e.length);
      for (let part = 0; part < partCount; part++) {
        assert.ok(requests.writePart(session, slot, flag, part, units * 8));
        const read = readPart(messenger.take()[0]!);
        assert.ok(read.type === MESSAGE_WRITE_PART);
        assert.deepEqual([read.slot, read.generation, read.flags], [slot, -77, flag]);
        assert.deepEqual([read.part, read.partBytes, read.partCount], [part, units * 8, partCount]);
        assert.deepEqual([read.stamp, read.tag, read.envelopeBytes], [s, t, e.length]);
        assert.deepEqual(read.key, part === 0 ? k : new Uint8Array(0));
        if (part > 0) whole.set(read.piece, (part - 1) * units * 8);
      }
      assert.deepEqual(whole, e);
    }),
  );
});

test('should ask for the part that the operation lacks', () => {
  const offset = fc.nat(131_000).map((units) => units * 8);
  fc.assert(
    fc.property(key, stamp, offset, fc.integer({ min: 1, max: 65_000 }), (k, s, byteOffset, byteCount) => {
      const { slot, messenger, requests } = operationWith(k, Uint8Array.of(1), TAG, s);
      assert.ok(requests.readPart(session, slot, byteOffset, byteCount));
      const read = readPart(messenger.take()[0]!);
      assert.deepEqual(read, {
        type: MESSAGE_READ_PART,
        flags: 0,
        slot,
        generation: -77,
        key: k,
        stamp: s,
        byteOffset,
        byteCount,
      });
    }),
  );
});

test('should send no part when the session takes nothing', () => {
  const { slot, messenger, requests } = operationWith(KEY, ENVELOPE, TAG, STAMP);
  messenger.full = true;
  assert.equal(requests.writePart(session, slot, 0, 0, 8), false);
  assert.equal(requests.readPart(session, slot, 0, 8), false);
  assert.deepEqual(messenger.take(), []);
});

test('should find parts as long as a datagram allows, and multiples of 8', () => {
  const { slot, messenger, requests } = operationWith(KEY, ENVELOPE, TAG, STAMP);
  for (const bytesMax of [1_136, 1_137, 1_143, 1_144]) {
    messenger.bytesMax = bytesMax;
    assert.equal(requests.writePartBytes(session, slot), (bytesMax - 56) & ~7);
    assert.equal(requests.readPartBytes(session), (bytesMax - 16) & ~7);
  }
  messenger.bytesMax = WRITE_BYTES + 8 + 48;
  assert.equal(requests.fits(session, slot), true, 'a WRITE of exactly the datagram');
  messenger.bytesMax -= 1;
  assert.equal(requests.fits(session, slot), false);
});

test('should read from READ_REPLY with PARTS the length that is to be asked for', () => {
  fc.assert(
    fc.property(stamp, tag, fc.integer({ min: 1, max: ENVELOPE_BYTES_MAX }), (s, t, envelopeBytes) => {
      const parsed = parseReadReply(partsReply(TO, s, t, envelopeBytes));
      assert.deepEqual(
        [parsed.stamp, parsed.tag, parsed.envelopeBytes, parsed.envelope, parsed.flags],
        [s, t, envelopeBytes, undefined, FLAG_PARTS],
      );
    }),
  );
});

// -- what is refused --------------------------------------------------------------------------------------------------

const [keyPart, firstPart, , lastPart] = partsOf({ key: KEY, stamp: STAMP, tag: TAG, envelope: ENVELOPE }, 16) as [
  Message,
  Message,
  Message,
  Message,
];
const allOfOne = partsOf({ key: KEY, stamp: STAMP, tag: TAG, envelope: ENVELOPE }, 48)[1]!;
const ask = readPartOf({ key: KEY, stamp: STAMP, byteOffset: 16, byteCount: 29 });
const NOT_LENGTHS = [-1, -8, -(2 ** 31), 2 ** 31 - 1, 2 ** 31 - 8];

test('should take WRITE_PARTs, and of the value part just what they bring', () => {
  assert.deepEqual(
    [keyPart, firstPart, lastPart, allOfOne].map((message) => bytesOf(message, message.control)),
    [64, 56, 56, 56],
  );
  assert.deepEqual(
    [keyPart, firstPart, lastPart, allOfOne].map(({ control }) => messageEnvelopeBytes(control, 0)),
    [0, 16, 13, 45],
  );
  // Padding is there, since the value part is a multiple of 8.
  assert.equal(bytesOf(lastPart, lastPart.control, 8), -1);
  assert.equal(bytesOf(firstPart, firstPart.control, 8), -1);
  assert.equal(bytesOf(keyPart, keyPart.control, 0), 64, 'the key brings no value bytes');
});

test('should refuse WRITE_PARTs without a value, of too long a one, or of a length that is none', () => {
  for (const message of [keyPart, firstPart]) {
    refusedAt(message, WORD_ENVELOPE_BYTES, 0, ENVELOPE_BYTES_MAX + 1, ...NOT_LENGTHS);
  }
  // The longest one, in as few parts as a datagram allows.
  const longest = firstPart.control.slice();
  longest[WORD_ENVELOPE_BYTES] = ENVELOPE_BYTES_MAX;
  longest[WORD_PART] = 1 | (8_000 << 16);
  assert.equal(bytesOf(firstPart, longest, 64_000), WRITE_BYTES);
  assert.equal(bytesOf(firstPart, longest, 63_992), -1);
});

test('should refuse parts of no length, and more parts than a bitmap names', () => {
  refusedAt(firstPart, WORD_PART, 1);
  refusedAt(keyPart, WORD_PART, 0);
  const cut = (partIndex: number, envelopeBytes: number, units: number): number => {
    const control = firstPart.control.slice();
    control[WORD_ENVELOPE_BYTES] = envelopeBytes;
    control[WORD_PART] = partIndex | (units << 16);
    return bytesOf(firstPart, control, 8 * units);
  };
  // With the key's, 1,024 parts of 8 bytes.
  const most = (PARTS_MAX - 1) * 8;
  assert.equal(cut(1, most, 1), WRITE_BYTES);
  assert.equal(cut(PARTS_MAX - 1, most, 1), WRITE_BYTES);
  assert.equal(cut(PARTS_MAX - 1, most - 7, 1), WRITE_BYTES);
  assert.equal(cut(1, most + 1, 1), -1);
  assert.equal(cut(PARTS_MAX, most + 1, 1), -1);
});

test('should refuse the index behind the last part, and every greater one', () => {
  for (let partIndex = 4; partIndex < 0x1_0000; partIndex += partIndex < 20 ? 1 : 97) {
    refusedAt(firstPart, WORD_PART, partIndex | (2 << 16));
  }
  refusedAt(firstPart, WORD_PART, 0xffff | (2 << 16));
  takenAt(firstPart, WORD_PART, 2 | (2 << 16), 3 | (2 << 16));
});

test('should refuse a key anywhere but in part 0, and part 0 without one', () => {
  refusedAt(firstPart, WORD_KEY_BYTES, 1, 5, -1, KEY_BYTES_MAX, 2 ** 31 - 1);
  refusedAt(keyPart, WORD_KEY_BYTES, 0, -1, 9, KEY_BYTES_MAX, KEY_BYTES_MAX + 1, ...NOT_LENGTHS);
  // 5 key bytes: 3 of padding in the last word.
  for (const byte of [5, 6, 7]) {
    const control = keyPart.control.slice();
    new Uint8Array(control.buffer)[WORD_WRITE_KEY * 4 + byte] = 1;
    assert.equal(bytesOf(keyPart, control), -1, `padding byte ${byte}`);
  }
});

test('should refuse counters of 2^53 and more in all that has one', () => {
  const reply = partsReply(TO, STAMP, TAG, 1_000);
  for (const [message, counterWord] of [
    [keyPart, WORD_WRITE_COUNTER],
    [firstPart, WORD_WRITE_COUNTER],
    [ask, WORD_READ_PART_COUNTER],
    [reply, WORD_REPLY_COUNTER],
  ] as const) {
    refusedAt(message, counterWord + 1, 1 << 21, -1, -(2 ** 31));
    takenAt(message, counterWord + 1, (1 << 21) - 1, 0);
  }
});

test('should refuse a WRITE_PROGRESS whose bitmap is no multiple of 8, too long, or cut off', () => {
  const most = progressReply(TO, [0, PARTS_MAX - 1], PARTS_MAX);
  assert.equal(bytesOf(most, most.control), 16 + PROGRESS_BITMAP_BYTES_MAX);
  const longer = new Int32Array(most.control.length + 10);
  longer.set(most.control);
  const taken = (bitmapBytes: number): number => {
    longer[WORD_PROGRESS_BYTES] = bitmapBytes;
    return messageBytes(longer, 0, longer.length, 0);
  };
  for (let bitmapBytes = 0; bitmapBytes <= PROGRESS_BITMAP_BYTES_MAX; bitmapBytes++) {
    assert.equal(taken(bitmapBytes), bitmapBytes % 8 === 0 ? 16 + bitmapBytes : -1);
  }
  for (const bitmapBytes of [PROGRESS_BITMAP_BYTES_MAX + 8, ...NOT_LENGTHS]) assert.equal(taken(bitmapBytes), -1);
  assert.equal(messageBytes(most.control, 0, most.control.length - 2, 0), -1);
  const busy = busyReply(TO);
  assert.equal(bytesOf(busy, busy.control), 16);
  assert.equal(messageBytes(busy.control, 0, 2, 0), -1);
});

test('should refuse a READ_PART that begins or is longer than any envelope, or has no proper key', () => {
  assert.equal(bytesOf(ask, ask.control), 48);
  refusedAt(ask, WORD_READ_PART_OFFSET, ENVELOPE_BYTES_MAX + 1, ...NOT_LENGTHS);
  refusedAt(ask, WORD_READ_PART_BYTES, ENVELOPE_BYTES_MAX + 1, ...NOT_LENGTHS);
  takenAt(ask, WORD_READ_PART_OFFSET, 0, ENVELOPE_BYTES_MAX);
  takenAt(ask, WORD_READ_PART_BYTES, 0, ENVELOPE_BYTES_MAX);
  refusedAt(ask, WORD_KEY_BYTES, 0, -1, 9, KEY_BYTES_MAX + 1, ...NOT_LENGTHS);
  for (const byte of [5, 6, 7]) {
    const control = ask.control.slice();
    new Uint8Array(control.buffer)[WORD_READ_PART_KEY * 4 + byte] = 0x80;
    assert.equal(bytesOf(ask, control), -1);
  }
});

test('should refuse a READ_PART_REPLY that says more than its datagram brings', () => {
  const reply = partReply(TO, 16, ENVELOPE);
  assert.equal(bytesOf(reply, reply.control), 16);
  assert.equal(messageEnvelopeBytes(reply.control, 0), 45);
  refusedAt(reply, WORD_PART_REPLY_BYTES, 49, ...NOT_LENGTHS);
  assert.equal(bytesOf(reply, reply.control, 40), -1);
  const gone = goneReply(TO, 16);
  assert.deepEqual([bytesOf(gone, gone.control), messageEnvelopeBytes(gone.control, 0)], [16, 0]);
  refusedAt(gone, WORD_PART_REPLY_BYTES, 1, ...NOT_LENGTHS);
});

test('should refuse a READ_REPLY with PARTS of a length that is none, and one that is cut before the tag', () => {
  const reply = partsReply(TO, STAMP, TAG, 1_000);
  assert.equal(bytesOf(reply, reply.control), 48);
  assert.equal(messageEnvelopeBytes(reply.control, 0), 0, 'nothing comes with it');
  refusedAt(reply, WORD_REPLY_ENVELOPE_BYTES, ENVELOPE_BYTES_MAX + 1, ...NOT_LENGTHS);
  takenAt(reply, WORD_REPLY_ENVELOPE_BYTES, 0, ENVELOPE_BYTES_MAX);
  assert.equal(messageBytes(reply.control, 0, 8, 0), -1, 'as long as one without PARTS');
  // With VALUE beside it the value must be there.
  const both = reply.control.slice();
  both[0]! |= FLAG_VALUE << 8;
  assert.equal(bytesOf(reply, both, 0), -1);
  assert.equal(bytesOf(reply, both, 1_000), 48);
});

test('should name types and flags as docs/wire.md does', () => {
  assert.deepEqual(
    [MESSAGE_READ_REPLY, MESSAGE_WRITE_PART, MESSAGE_WRITE_PROGRESS, MESSAGE_READ_PART, MESSAGE_READ_PART_REPLY],
    [2, 12, 13, 14, 15],
  );
  assert.deepEqual([FLAG_REPAIR, FLAG_PARTS], [1, 128]);
});

test('should give each byte of an envelope to one part', () => {
  const envelopeBytes = fc.integer({ min: 1, max: 5_000 });
  fc.assert(
    fc.property(envelopeBytes, fc.integer({ min: 1, max: 100 }), (total, units) => {
      const partCount = partCountOf(total, units * 8);
      const lengths = Array.from({ length: partCount }, (_, part) => partLengthBytes(part, units * 8, total));
      assert.equal(lengths[0], 0);
      assert.ok(lengths.slice(1, -1).every((length) => length === units * 8));
      assert.ok(lengths.at(-1)! > 0 && lengths.at(-1)! <= units * 8);
      assert.equal(
        lengths.reduce((sum, length) => sum + length, 0),
        total,
      );
      assert.ok(lengths.every((length) => alignUp(length) >= length));
    }),
  );
});
