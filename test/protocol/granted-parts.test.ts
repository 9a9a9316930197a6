/** Parts of values that a READ grants, and that follow its answer unasked. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DATAGRAM_RECORD_BYTES } from '../../net/limits.ts';
import {
  FLAG_FOLLOWED,
  FLAG_PARTS,
  FLAG_VALUE,
  GRANTED_PARTS_MAX,
  MESSAGE_READ,
  MESSAGE_READ_PART_REPLY,
  MESSAGE_READ_REPLY,
  WORD_PART_REPLY_OFFSET,
  WORD_READ_GRANT,
  flagsOf,
  grantOf,
  grantedCountOf,
  grantedPartBytesOf,
  messageBytes,
  typeOf,
} from '../../src/protocol/messages.ts';
import { CoordinatorHarness, KEY, wantsValue } from './coordinator-harness.ts';
import type { Asked, Copy } from './coordinator-harness.ts';
import { askOf, bytesOf, stampOf, writeOf } from './fixtures.ts';
import { partReply, partsReply } from './part-fixtures.ts';
import { ReplicaHarness, WRITER } from './replica-harness.ts';

/** Of an answer, and of a grant for VALUE: an envelope of 332 bytes, three such parts and 68 bytes. */
const PART_BYTES = 88;
/** What a part takes of the window. */
const WINDOW_BYTES = PART_BYTES + DATAGRAM_RECORD_BYTES;
const VALUE = 'abcdefghij'.repeat(30);
const PARTS = [0, 1, 2, 3];

interface Reading {
  /** Asked for the value, and for the stamp only. */
  readonly holder: Asked;
  readonly other: Asked;
}

class Granting extends CoordinatorHarness {
  constructor(options: ConstructorParameters<typeof CoordinatorHarness>[0] = {}) {
    super(options);
    this.messenger.bytesMax = PART_BYTES + 16;
    // It has met a value by parts, and expects another one.
    const copy = this.copyOf(VALUE, stampOf(1));
    const { holder, other } = this.read();
    assert.equal(holder.grant, 0, 'nothing is expected yet');
    this.tellLength(holder, copy);
    this.answerRead(other, { stamp: copy.stamp });
    for (let rounds = 0; rounds < PARTS.length && this.ended.length === 0; rounds++) this.sendAsked(copy);
    assert.deepEqual(this.outcomes(), ['ok']);
    this.ended.length = 0;
  }

  read(key = KEY): Reading {
    this.get(key);
    const reads = this.asked(MESSAGE_READ);
    return { holder: reads.find(wantsValue)!, other: reads.find((read) => !wantsValue(read))! };
  }

  tellLength(read: Asked, { stamp, tag, envelope }: Copy, flags = 0, member = read.member): void {
    this.answer(read, partsReply(read, stamp, tag, envelope.length, flags), member);
  }

  /** Parts that nobody has asked for. */
  follow(read: Asked, { envelope }: Copy, parts: readonly number[], member = read.member): void {
    for (const part of parts) {
      const at = part * PART_BYTES;
      this.answer(read, partReply(read, at, envelope.subarray(at, at + PART_BYTES)), member);
    }
  }

  /** Answers what is asked for by parts; where they begin. */
  sendAsked(copy: Copy): number[] {
    this.turn(0);
    const asked = this.readParts();
    for (const part of asked) {
      const piece = copy.envelope.subarray(part.byteOffset, part.byteOffset + part.byteCount);
      this.answer(part, partReply(part, part.byteOffset, piece));
    }
    return asked.map(({ byteOffset }) => byteOffset);
  }
}

function grantIn({ grant }: Asked): number[] {
  return [grantedCountOf(grant), grantedPartBytesOf(grant)];
}

test('should have as many parts follow an answer as the last value had, before its quorum is there and after', () => {
  for (const early of [0, 1, 3, 4]) {
    const harness = new Granting();
    const copy = harness.copyOf(VALUE, stampOf(7));
    const { holder, other } = harness.read();
    assert.deepEqual(grantIn(holder), [PARTS.length, PART_BYTES]);
    assert.equal(other.grant, 0, 'of who is asked for the stamp only nothing is expected');
    harness.tellLength(holder, copy, FLAG_FOLLOWED);
    const order = [2, 0, 3, 1];
    harness.follow(holder, copy, order.slice(0, early));
    assert.deepEqual(harness.ended, [], 'it is not known yet whether it is the newest');
    harness.answerRead(other, { stamp: copy.stamp });
    harness.turn(0);
    harness.assertNothingAsked();
    harness.follow(holder, copy, order.slice(early));
    assert.deepEqual(harness.ended, [{ token: 1, outcome: 'ok', value: VALUE }]);
    harness.assertIdle();
  }
});

test('should ask for what was not granted, and again for what was lost', () => {
  const harness = new Granting();
  const copy = harness.copyOf(VALUE.repeat(2), stampOf(7));
  const { holder, other } = harness.read();
  harness.tellLength(holder, copy, FLAG_FOLLOWED);
  harness.answerRead(other, { stamp: copy.stamp });
  assert.deepEqual(harness.sendAsked(copy), [352, 440, 528, 616]);
  // Those of the grant went first, and four later ones have come.
  assert.deepEqual(harness.sendAsked(copy), [0, 88, 176, 264]);
  assert.deepEqual(harness.ended, [{ token: 1, outcome: 'ok', value: VALUE.repeat(2) }]);
  assert.equal(harness.coordinator.counters.partsRepeated, 4);
  assert.ok(
    harness.lossCounts.every((count) => count === 0),
    'the credit is for what is sent, not for answers',
  );
  harness.assertIdle();
});

test('should ask for all of it where the answer is not followed', () => {
  const harness = new Granting();
  const copy = harness.copyOf(VALUE, stampOf(7));
  const { holder, other } = harness.read();
  harness.tellLength(holder, copy);
  harness.follow(holder, copy, PARTS);
  assert.equal(harness.drops.of('late-answer'), PARTS.length, 'they were not announced');
  harness.answerRead(other, { stamp: copy.stamp });
  assert.equal(harness.sendAsked(copy).length, PARTS.length);
  assert.deepEqual(harness.outcomes(), ['ok']);
});

test('should drop what it has not granted: more parts, parts of another member, and an answer that claims a grant', () => {
  const harness = new Granting({ pullBytesMax: 4 * WINDOW_BYTES });
  const copy = harness.copyOf(VALUE, stampOf(7));
  const bad = { ...copy, envelope: new Uint8Array(copy.envelope.length).fill(0xee) };
  const { holder, other } = harness.read();
  assert.deepEqual(grantIn(holder), [2, PART_BYTES], 'half of the window');
  harness.tellLength(holder, copy, FLAG_FOLLOWED);
  harness.follow(holder, bad, [2, 3]);
  assert.equal(harness.drops.of('malformed'), 2);
  harness.follow(holder, bad, PARTS, other.member);
  assert.equal(harness.drops.of('late-answer'), 4);
  harness.tellLength(other, copy, FLAG_FOLLOWED);
  harness.follow(other, bad, PARTS);
  assert.equal(harness.drops.of('late-answer'), 8);
  harness.follow(holder, copy, [0, 1]);
  assert.deepEqual(harness.sendAsked(copy), [176, 264]);
  assert.deepEqual(harness.ended, [{ token: 1, outcome: 'ok', value: VALUE }]);
  harness.assertIdle();
});

test('should have nothing of an older value when a newer stamp comes from another member', () => {
  const harness = new Granting();
  const old = harness.copyOf(VALUE, stampOf(7));
  const newer = harness.copyOf(VALUE.toUpperCase(), stampOf(8));
  const { holder, other } = harness.read();
  harness.tellLength(holder, old, FLAG_FOLLOWED);
  harness.follow(holder, old, [0, 1]);
  harness.answerRead(other, { stamp: newer.stamp });
  const [fetch] = harness.asked(MESSAGE_READ);
  assert.equal(fetch!.member, other.member);
  assert.equal(fetch!.grant, 0);
  harness.follow(holder, old, [2, 3]);
  assert.equal(harness.drops.of('late-answer'), 2);
  harness.tellLength(fetch!, newer);
  assert.equal(harness.sendAsked(newer).length, PARTS.length);
  harness.coordinator.close();
  harness.assertIdle();
});

test('should grant half of its window at the most, and have it back when the answer brings nothing or nobody waits', () => {
  const other = bytesOf('other');
  const endings: ((harness: Granting, reading: Reading) => void)[] = [
    (harness, { holder }) => harness.answerRead(holder, { stamp: stampOf(0, 0), tombstone: true }),
    (harness, { holder }) => harness.tellLength(holder, harness.copyOf(VALUE, stampOf(7))),
    (harness) => harness.run(6_000),
  ];
  for (const end of endings) {
    const harness = new Granting({ pullBytesMax: 6 * WINDOW_BYTES });
    const reading = harness.read();
    assert.deepEqual(grantIn(reading.holder), [3, PART_BYTES]);
    assert.deepEqual(grantIn(harness.read(other).holder), [0, 0]);
    end(harness, reading);
    harness.messenger.take();
    assert.deepEqual(grantIn(harness.read(bytesOf('third')).holder), [3, PART_BYTES]);
    harness.coordinator.close();
    harness.assertIdle();
    harness.coordinator.invariants();
  }
});

test('should expect nothing more after a value that came in one datagram', () => {
  const harness = new Granting();
  const copy = harness.copyOf('small', stampOf(7));
  const { holder, other } = harness.read();
  harness.answerRead(holder, copy);
  harness.answerRead(other, { stamp: copy.stamp });
  assert.deepEqual(harness.outcomes(), ['ok']);
  assert.equal(harness.read().holder.grant, 0);
});

// -- the replica ------------------------------------------------------------------------------------------------------

const STAMP = { ...WRITER, counter: 5, rmw: 0 };
const ENVELOPE = Uint8Array.from({ length: 645 }, (_, i) => i & 0xff);

function replicaWithValue(): ReplicaHarness {
  const replica = new ReplicaHarness();
  replica.ask([writeOf({ key: KEY, stamp: STAMP, tag: new Int32Array(4).fill(9), envelope: ENVELOPE })]);
  replica.messenger.bytesMax = 300;
  return replica;
}

/** Answers to a READ that grants so much, the first without its parts. */
function answersTo(replica: ReplicaHarness, partCount: number, partBytes: number, flags = FLAG_VALUE) {
  const [reply, ...parts] = replica.ask([askOf(MESSAGE_READ, flags, KEY, grantOf(partCount, partBytes))]);
  assert.equal(typeOf(reply!.control, 0), MESSAGE_READ_REPLY);
  assert.ok(parts.every(({ control }) => typeOf(control, 0) === MESSAGE_READ_PART_REPLY));
  return { flags: flagsOf(reply!.control, 0), parts };
}

test('should send behind its answer the parts that are granted, as far as the value goes', () => {
  const replica = replicaWithValue();
  for (const [granted, sent] of [
    [1, 1],
    [2, 2],
    [4, 4],
    [64, 4],
  ] as const) {
    const { flags, parts } = answersTo(replica, granted, 168);
    assert.equal(flags, FLAG_PARTS | FLAG_FOLLOWED);
    const at = Array.from({ length: sent }, (_, part) => part * 168);
    assert.deepEqual(
      parts.map(({ control }) => control[WORD_PART_REPLY_OFFSET]),
      at,
    );
    assert.deepEqual(
      parts.map(({ value, control }) => value.slice(0, control[3])),
      at.map((byte) => ENVELOPE.slice(byte, byte + 168)),
    );
  }
});

test('should send none that is too long for a datagram, for which it has no room, or when the value comes whole', () => {
  const replica = replicaWithValue();
  assert.deepEqual(answersTo(replica, 4, 296), { flags: FLAG_PARTS, parts: [] });
  replica.messenger.slotCount = 4;
  assert.deepEqual(answersTo(replica, 4, 168), { flags: FLAG_PARTS, parts: [] }, 'the answer takes one');
  assert.equal(answersTo(replica, 3, 168).parts.length, 3);
  assert.deepEqual(answersTo(replica, 0, 0), { flags: FLAG_PARTS, parts: [] });
  replica.messenger.bytesMax = 2_000;
  assert.deepEqual(answersTo(replica, 4, 168), { flags: FLAG_VALUE, parts: [] });
});

test('should refuse a READ that grants without asking for a value, no length, or more parts than there are', () => {
  const taken = (flags: number, grant: number): boolean => {
    const { control } = askOf(MESSAGE_READ, flags, KEY, grant);
    return messageBytes(control, 0, control.length, 0) === control.length * 4;
  };
  assert.ok(taken(FLAG_VALUE, 0) && taken(0, 0) && taken(FLAG_VALUE, grantOf(1, 8)));
  assert.ok(taken(FLAG_VALUE, grantOf(GRANTED_PARTS_MAX, 65_504)));
  for (const grant of [1, 1 << 16, -1, grantOf(GRANTED_PARTS_MAX + 1, 8), grantOf(0xffff, 1_000)]) {
    assert.ok(!taken(FLAG_VALUE, grant), `${grant}`);
  }
  assert.ok(!taken(0, grantOf(1, 8)));
  assert.equal(WORD_READ_GRANT, 3, 'where STAMP has a length');
});
