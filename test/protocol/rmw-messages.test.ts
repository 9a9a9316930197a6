import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { alignUp } from '../../net/bytes.ts';
import {
  FLAG_PARTS,
  FLAG_TOMBSTONE,
  FLAG_VALUE,
  WORD_ENVELOPE_BYTES,
  WORD_KEY_BYTES,
  WORD_PART,
  WORD_WRITE_COUNTER,
  messageBytes,
  messageEnvelopeBytes,
} from '../../src/protocol/messages.ts';
import * as rmw from '../../src/protocol/rmw-messages.ts';
import * as parts from '../../src/protocol/rmw-part-messages.ts';
import type { Message, Stamp } from './fixtures.ts';
import { bytesOf, stampOf } from './fixtures.ts';
import {
  acceptedOf,
  acceptOf,
  behindOf,
  commitOf,
  commitReplyOf,
  committedOf,
  nackOf,
  parseRmw,
  prepareOf,
  promiseOf,
} from './rmw-fixtures.ts';
import { readAcceptedOf, stagedOf, withoutValue } from './rmw-part-fixtures.ts';

const TO = { slot: 65_535, generation: -7 };
const word = fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 });
const plain = { noNullPrototype: true };
const writer = fc.record({ writerHigh: word, writerLow: word }, plain);
const positive = fc.maxSafeNat().map((n) => Math.max(1, n));
const stamp: fc.Arbitrary<Stamp> = fc.record(
  { counter: positive, writerHigh: word, writerLow: word, rmw: word },
  plain,
);
const id = fc.record({ writer, sequence: positive }, plain);
const ballot = fc.record({ number: positive, writer }, plain);
const tag = fc.array(word, { minLength: 4, maxLength: 4 }).map((words) => Int32Array.from(words));
const envelope = fc.uint8Array({ maxLength: 80 });
const key = fc.uint8Array({ minLength: 1, maxLength: 60 });
const ring = fc.array(fc.record({ slot: positive, id }, plain), { maxLength: 8 });

function textOf(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString();
}

test('should read from each message what was written', () => {
  fc.assert(
    fc.property(key, positive, ballot, id, stamp, tag, envelope, ring, (k, slot, b, i, s, t, e, r) => {
      const prepare = parseRmw(prepareOf(k, slot, b, 7, 99, TO));
      assert.deepEqual([prepare.key, prepare.consensusSlot, prepare.ballot], [textOf(k), slot, b]);
      assert.deepEqual([prepare.flags, prepare.slot, prepare.generation], [7, 65_535, -7]);
      const proposed = { id: i, stamp: s, tag: t, envelope: e };
      const accept = parseRmw(acceptOf(k, slot, b, proposed, TO));
      assert.deepEqual([accept.key, accept.consensusSlot, accept.ballot, accept.id], [textOf(k), slot, b, i]);
      assert.deepEqual([accept.stamp, accept.tag, accept.envelope], [s, t, e]);
      const commit = parseRmw(commitOf(k, slot, { stamp: s, ring: r, sealed: proposed }, TO));
      assert.deepEqual([commit.key, commit.consensusSlot, commit.stamp], [textOf(k), slot, s]);
      assert.deepEqual([commit.tag, commit.envelope, commit.ring], [t, e, r]);
      const register = { stamp: s, tag: t, envelope: e };
      const promise = parseRmw(promiseOf(TO, { slot, register, lastId: i }));
      assert.deepEqual([promise.consensusSlot, promise.stamp, promise.tag, promise.id], [slot, s, t, i]);
      assert.deepEqual([promise.envelope, promise.flags], [e, FLAG_VALUE]);
      const accepted = { ...proposed, ballot: b };
      assert.deepEqual(parseRmw(promiseOf(TO, { slot, register, accepted })).accepted, accepted);
      const committed = parseRmw(committedOf(TO, slot, r, register));
      assert.deepEqual([committed.consensusSlot, committed.stamp, committed.ring], [slot, s, r]);
      assert.deepEqual([committed.tag, committed.envelope], [t, e]);
      assert.equal(parseRmw(behindOf(TO, slot)).consensusSlot, slot);
      assert.deepEqual(parseRmw(nackOf(TO, b, 8)).ballot, b);
    }),
  );
});

const KEY = bytesOf('key');
const BALLOT = { number: 3, writer: { writerHigh: 1, writerLow: 2 } };
const ID = { writer: { writerHigh: 1, writerLow: 2 }, sequence: 4 };
const TAG = Int32Array.of(1, 2, 3, 4);
const SEALED = { envelope: new Uint8Array(40).fill(9), tag: TAG };
const RING = [
  { slot: 1, id: ID },
  { slot: 2, id: ID },
];
const PROPOSED = { id: ID, stamp: stampOf(5), ...SEALED };
const REGISTER = { stamp: stampOf(5), ...SEALED };
const messages = {
  prepare: () => prepareOf(KEY, 2, BALLOT),
  accept: () => acceptOf(KEY, 2, BALLOT, { id: ID, stamp: stampOf(5), ...SEALED }),
  commit: () => commitOf(KEY, 2, { stamp: stampOf(5), ring: RING, sealed: SEALED }),
  commitWithout: () => commitOf(KEY, 2, { stamp: stampOf(5), tag: TAG }),
  promise: () => promiseOf(TO, { slot: 2, register: REGISTER, lastId: ID }),
  promiseAccepted: () =>
    promiseOf(TO, { slot: 2, register: REGISTER, accepted: { id: ID, ballot: BALLOT, stamp: stampOf(5), ...SEALED } }),
  committed: () => committedOf(TO, 2, RING, REGISTER),
  behind: () => behindOf(TO, 2),
  nack: () => nackOf(TO, BALLOT),
  bareAccept: () => withoutValue(acceptOf(KEY, 2, BALLOT, PROPOSED), 0),
  bareCommit: () => withoutValue(commitOf(KEY, 2, { stamp: stampOf(5), ring: RING, sealed: SEALED }), 0),
  stageKey: () => stagedOf(KEY, PROPOSED, 16)[0]!,
  stage: () => stagedOf(KEY, PROPOSED, 16)[3]!,
  readAccepted: () => readAcceptedOf(KEY, 2, ID, 16, 8),
  accepted: () => acceptedOf(TO),
  commitReply: () => commitReplyOf(TO),
} as const satisfies Record<string, () => Message>;

function bytesIn({ control, value }: Message): number {
  return messageBytes(control, 0, control.length, value.length);
}

test('should refuse every message that is cut short by 8 bytes, or whose value is', () => {
  for (const [name, make] of Object.entries(messages)) {
    const { control, value } = make();
    assert.equal(messageBytes(control, 0, control.length, value.length), control.length * 4, name);
    assert.equal(alignUp(messageEnvelopeBytes(control, 0)), value.length, name);
    assert.equal(messageBytes(control, 0, control.length - 2, value.length), -1, name);
    if (value.length > 0) assert.equal(messageBytes(control, 0, control.length, value.length - 8), -1, name);
  }
});

/** Each border, by the word that crosses it. */
for (const [name, make, at, hostile] of [
  ['a slot of 2^53', messages.prepare, rmw.WORD_PREPARE_SLOT + 1, 1 << 21],
  ['slot 0', messages.prepare, rmw.WORD_PREPARE_SLOT, 0],
  ['ballot number 0', messages.prepare, rmw.WORD_PREPARE_BALLOT, 0],
  ['a ballot number of 2^53', messages.prepare, rmw.WORD_PREPARE_BALLOT + 1, 1 << 21],
  ['a value to come that is too long', messages.prepare, rmw.WORD_PREPARE_ENVELOPE_BYTES, 1_049_633],
  ['a negative one', messages.prepare, rmw.WORD_PREPARE_ENVELOPE_BYTES, -1],
  ['a key of no bytes', messages.prepare, WORD_KEY_BYTES, 0],
  ['a key of too many', messages.accept, WORD_KEY_BYTES, 1_025],
  ['a key with something behind', messages.commit, rmw.WORD_COMMIT_KEY, -1],
  ['slot 0 of ACCEPT', messages.accept, rmw.WORD_ACCEPT_SLOT, 0],
  ['a slot of 2^53 of ACCEPT', messages.accept, rmw.WORD_ACCEPT_SLOT + 1, 1 << 21],
  ['ballot number 0 of ACCEPT', messages.accept, rmw.WORD_ACCEPT_BALLOT, 0],
  ['sequence number 0', messages.accept, rmw.WORD_ACCEPT_ID + 2, 0],
  ['a sequence number of 2^53', messages.accept, rmw.WORD_ACCEPT_ID + 3, 1 << 21],
  ['a counter of 2^53', messages.accept, rmw.WORD_ACCEPT_COUNTER + 1, 1 << 21],
  ['counter 0 with a writer', messages.accept, rmw.WORD_ACCEPT_COUNTER, 0],
  ['a negative envelope', messages.accept, WORD_ENVELOPE_BYTES, -1],
  ['a counter of 2^53 of COMMIT', messages.commit, rmw.WORD_COMMIT_COUNTER + 1, 1 << 21],
  ['counter 0 with a writer in COMMIT', messages.commit, rmw.WORD_COMMIT_COUNTER, 0],
  ['a slot of 2^53 of COMMIT', messages.commit, rmw.WORD_COMMIT_SLOT + 1, 1 << 21],
  ['a ring of slot 0', messages.commit, rmw.WORD_COMMIT_SLOT, 0],
  ['a ring of nine', messages.commit, rmw.WORD_COMMIT_RING_COUNT, 9],
  ['a ring of a negative length', messages.commit, rmw.WORD_COMMIT_RING_COUNT, -1],
  ['a ring entry of slot 0', messages.commit, rmw.WORD_COMMIT_KEY + 2, 0],
  ['a ring entry without an id', messages.commit, rmw.WORD_COMMIT_KEY + 2 + 4, 0],
  ['bytes without a value', messages.commitWithout, WORD_ENVELOPE_BYTES, 8],
  ['slot 0 of PROMISE', messages.promise, rmw.WORD_REGISTER_SLOT, 0],
  ['a last id beyond 2^53', messages.promise, rmw.WORD_PROMISE_LAST_ID + 3, 1 << 21],
  ['a register counter of 2^53', messages.promise, rmw.WORD_REGISTER_COUNTER + 1, 1 << 21],
  ['a register of counter 0 with a writer', messages.promise, rmw.WORD_REGISTER_COUNTER, 0],
  ['a register of negative length', messages.promise, rmw.WORD_REGISTER_ENVELOPE_BYTES, -1],
  ['accepted under ballot 0', messages.promiseAccepted, rmw.WORD_ACCEPTED_BALLOT, 0],
  ['accepted without an id', messages.promiseAccepted, rmw.WORD_ACCEPTED_ID + 2, 0],
  ['accepted with a counter of 2^53', messages.promiseAccepted, rmw.WORD_ACCEPTED_COUNTER + 1, 1 << 21],
  ['accepted of negative length', messages.promiseAccepted, rmw.WORD_ACCEPTED_ENVELOPE_BYTES, -1],
  ['an accepted tombstone with a value', messages.promiseAccepted, rmw.WORD_ACCEPTED_TOMBSTONE, 1],
  ['neither a tombstone nor none', messages.promiseAccepted, rmw.WORD_ACCEPTED_TOMBSTONE, 2],
  ['a ring of nine in COMMITTED', messages.committed, rmw.WORD_COMMITTED_RING_COUNT, 9],
  ['a ring entry without an id in COMMITTED', messages.committed, rmw.WORD_COMMITTED_RING + 4, 0],
  ['a slot of 2^53 of BEHIND', messages.behind, rmw.WORD_BEHIND_SLOT + 1, 1 << 21],
  ['a slot of 2^53 of NACK', messages.nack, rmw.WORD_NACK_SLOT + 1, 1 << 21],
  ['a ballot of 2^53 of NACK', messages.nack, rmw.WORD_NACK_BALLOT + 1, 1 << 21],
  ['no length of an ACCEPT by parts', messages.bareAccept, WORD_ENVELOPE_BYTES, 0],
  ['too long an ACCEPT by parts', messages.bareAccept, WORD_ENVELOPE_BYTES, 1_049_633],
  ['no length of a COMMIT by parts', messages.bareCommit, WORD_ENVELOPE_BYTES, 0],
  ['a negative length of a COMMIT by parts', messages.bareCommit, WORD_ENVELOPE_BYTES, -1],
  ['a STAGE_PART of no id', messages.stage, parts.WORD_STAGE_ID + 2, 0],
  ['a STAGE_PART of an id of 2^53', messages.stage, parts.WORD_STAGE_ID + 3, 1 << 21],
  ['a STAGE_PART with a counter of 2^53', messages.stage, WORD_WRITE_COUNTER + 1, 1 << 21],
  ['a STAGE_PART behind the last', messages.stage, WORD_PART, (2 << 16) | 4],
  ['a STAGE_PART of a length of 0', messages.stage, WORD_PART, 3],
  ['a STAGE_PART that is not the first and has a key', messages.stage, WORD_KEY_BYTES, 3],
  ['a STAGE_PART of nothing', messages.stage, WORD_ENVELOPE_BYTES, 0],
  ['a first STAGE_PART without a key', messages.stageKey, WORD_KEY_BYTES, 0],
  ['a first STAGE_PART with something behind its key', messages.stageKey, parts.WORD_STAGE_KEY, -1],
  ['READ_ACCEPTED of slot 0', messages.readAccepted, parts.WORD_READ_ACCEPTED_SLOT, 0],
  ['READ_ACCEPTED of no id', messages.readAccepted, parts.WORD_READ_ACCEPTED_ID + 2, 0],
  ['READ_ACCEPTED from too far on', messages.readAccepted, parts.WORD_READ_ACCEPTED_OFFSET, -8],
  ['READ_ACCEPTED of too much', messages.readAccepted, parts.WORD_READ_ACCEPTED_BYTES, -8],
] as const) {
  test(`should refuse ${name}`, () => {
    const message = make();
    assert.notEqual(bytesIn(message), -1);
    message.control[at] = hostile;
    assert.equal(bytesIn(message), -1);
  });
}

test('should refuse flags that contradict each other or the rest', () => {
  for (const [name, make, flags] of [
    ['a tombstone with a value', messages.accept, FLAG_TOMBSTONE],
    ['a COMMIT of both', messages.commit, FLAG_TOMBSTONE | FLAG_VALUE],
    ['a register of both', messages.promise, FLAG_TOMBSTONE | FLAG_VALUE],
    ['two values in a PROMISE', messages.promiseAccepted, rmw.FLAG_ACCEPTED | FLAG_VALUE],
    ['an accepted proposal that is not there', messages.promise, rmw.FLAG_ACCEPTED],
    ['a tombstone by parts', messages.bareAccept, FLAG_TOMBSTONE | FLAG_PARTS],
    ['a COMMIT of a tombstone by parts', messages.bareCommit, FLAG_TOMBSTONE | FLAG_PARTS],
    ['a value both by parts and here', messages.commit, FLAG_VALUE | FLAG_PARTS],
  ] as const) {
    const message = make();
    message.control[0] = (message.control[0]! & ~0xff00) | (flags << 8);
    assert.equal(bytesIn(message), -1, name);
  }
  const tooLong = promiseOf(TO, { slot: 2, register: { ...REGISTER, envelope: 'parts' } });
  tooLong.control[rmw.WORD_REGISTER_ENVELOPE_BYTES] = 1_049_633;
  assert.equal(bytesIn(tooLong), -1);
  const byParts = messages.promiseAccepted();
  byParts.control[0]! |= FLAG_PARTS << 8;
  assert.equal(messageBytes(byParts.control, 0, byParts.control.length, 0), byParts.control.length * 4);
  byParts.control[rmw.WORD_ACCEPTED_ENVELOPE_BYTES] = 1_049_633;
  assert.equal(bytesIn(byParts), -1);
});

test('should take the stamp none for what is absent only', () => {
  const none = { counter: 0, writerHigh: 0, writerLow: 0, rmw: 0 };
  const isTaken = (message: Message): boolean => bytesIn(message) !== -1;
  assert.ok(!isTaken(acceptOf(KEY, 2, BALLOT, { id: ID, stamp: none, ...SEALED })));
  assert.ok(isTaken(acceptOf(KEY, 2, BALLOT, { id: ID, stamp: none, envelope: undefined })));
  assert.ok(!isTaken(commitOf(KEY, 2, { stamp: none, sealed: SEALED })));
  assert.ok(isTaken(commitOf(KEY, 2, { stamp: none, sealed: { envelope: undefined } })));
  assert.ok(isTaken(acceptOf(KEY, 2, BALLOT, { id: ID, stamp: { ...none, rmw: 1 }, ...SEALED })));
});

test('should find any words either a message within bounds or malformed, and never throw', () => {
  const type = fc.integer({ min: rmw.MESSAGE_PREPARE, max: rmw.MESSAGE_COMMIT_REPLY });
  fc.assert(
    fc.property(
      type,
      fc.array(fc.oneof(word, fc.constantFrom(0, 1, 8)), { minLength: 2, maxLength: 60 }),
      (t, words) => {
        const control = Int32Array.from(words.length % 2 === 0 ? words : [...words, 0]);
        control[0] = (control[0]! & ~0xff) | t;
        const byteCount = messageBytes(control, 0, control.length, 64);
        if (byteCount === -1) return;
        assert.ok(byteCount >= 8 && byteCount % 8 === 0 && byteCount <= control.length * 4);
        const envelopeBytes = messageEnvelopeBytes(control, 0);
        assert.ok(envelopeBytes >= 0 && envelopeBytes <= 64);
      },
    ),
    { numRuns: 2_000 },
  );
});
