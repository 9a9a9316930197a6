/** What a replica does with ACCEPTs and COMMITs whose values are larger than a datagram. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  FLAG_BUSY,
  FLAG_GONE,
  FLAG_VALUE,
  MESSAGE_READ,
  MESSAGE_READ_PART_REPLY,
  MESSAGE_WRITE_PROGRESS,
  MESSAGE_WRITE_REPLY,
  flagsOf,
  typeOf,
} from '../../src/protocol/messages.ts';
import { REASSEMBLIES_PER_PEER_MAX } from '../../src/protocol/reassemblies.ts';
import {
  FLAG_ACCEPTED,
  FLAG_LACKING,
  MESSAGE_ACCEPTED,
  MESSAGE_COMMIT_REPLY,
  MESSAGE_NACK,
} from '../../src/protocol/rmw-messages.ts';
import { seededBytes } from '../workers/random.ts';
import { askOf, bytesOf, clientPeer, NO_STAMP, parseReadReply, sessionWith, stampOf, writeOf } from './fixtures.ts';
import type { Message } from './fixtures.ts';
import { ReplicaHarness, WRITER } from './replica-harness.ts';
import { acceptOf, commitOf, parseRmw, prepareOf } from './rmw-fixtures.ts';
import type { Ballot, Proposed } from './rmw-fixtures.ts';
import { readAcceptedOf, stagedOf, withoutValue } from './rmw-part-fixtures.ts';

const KEY = bytesOf('a key');
const PART_BYTES = 64;
const OTHER = { writerHigh: 3, writerLow: 9 };
const BALLOT: Ballot = { number: 1, writer: WRITER };
const HIGHER: Ballot = { number: 2, writer: OTHER };
const PROPOSED: Proposed = {
  id: { writer: WRITER, sequence: 1 },
  stamp: { ...NO_STAMP, rmw: 1 },
  envelope: seededBytes(10 * PART_BYTES + 5, 7),
  tag: Int32Array.of(1, 2, 3, 4),
};
/** As long, and of the same stamp. */
const RIVAL: Proposed = {
  ...PROPOSED,
  id: { writer: OTHER, sequence: 4 },
  envelope: seededBytes(10 * PART_BYTES + 5, 8),
  tag: Int32Array.of(1, 2, 3, 5),
};
const other = () => sessionWith(clientPeer(OTHER));

function bareAccept(proposed = PROPOSED, ballot = BALLOT, slot = 1): Message {
  return withoutValue(acceptOf(KEY, slot, ballot, proposed), 0);
}

function bareCommit({ id, stamp, envelope, tag }: Proposed, slot = 1): Message {
  const ring = [{ slot, id }];
  return withoutValue(commitOf(KEY, slot, { stamp, ring, sealed: { envelope, tag: tag! } }), 0);
}

/** Type and flags of the one answer. */
function ask(replica: ReplicaHarness, message: Message, session = replica.session): readonly [number, number] {
  const answers = replica.ask([message], session);
  replica.store.invariants();
  replica.replica.reassemblies.invariants();
  assert.equal(answers.length, 1, 'there is one answer');
  return [typeOf(answers[0]!.control, 0), flagsOf(answers[0]!.control, 0)];
}

function stage(replica: ReplicaHarness, proposed = PROPOSED, session = replica.session): readonly [number, number] {
  const parts = stagedOf(KEY, proposed, PART_BYTES);
  for (const part of parts.slice(0, -1)) assert.equal(ask(replica, part, session)[0], MESSAGE_WRITE_PROGRESS);
  return ask(replica, parts.at(-1)!, session);
}

function stored(replica: ReplicaHarness): Uint8Array | undefined {
  return parseReadReply(replica.ask([askOf(MESSAGE_READ, FLAG_VALUE, KEY)])[0]!).envelope;
}

test('should accept when all of the value is there, show it to nobody, and have the register take its block over', () => {
  const replica = new ReplicaHarness();
  assert.deepEqual(ask(replica, bareAccept()), [MESSAGE_NACK, FLAG_LACKING]);
  const parts = stagedOf(KEY, PROPOSED, PART_BYTES);
  // In another order, and one twice.
  for (const part of [...parts.slice(2).reverse(), parts[3]!, parts[0]!]) {
    assert.equal(ask(replica, part)[0], MESSAGE_WRITE_PROGRESS);
    assert.deepEqual(ask(replica, bareAccept()), [MESSAGE_NACK, FLAG_LACKING], 'a part is missing');
  }
  assert.deepEqual(ask(replica, parts[1]!), [MESSAGE_WRITE_REPLY, 0]);
  assert.deepEqual(ask(replica, parts[1]!), [MESSAGE_WRITE_REPLY, 0], 'said again');
  assert.deepEqual(ask(replica, bareAccept()), [MESSAGE_ACCEPTED, 0]);
  assert.equal(replica.hostMemory.reservedBlocks, 1);
  assert.equal(stored(replica), undefined);

  assert.deepEqual(ask(replica, bareCommit(PROPOSED)), [MESSAGE_COMMIT_REPLY, 0]);
  assert.deepEqual(stored(replica), PROPOSED.envelope);
  assert.deepEqual([replica.hostMemory.usedBlocks, replica.hostMemory.reservedBlocks], [1, 0], 'moved, not copied');
  assert.deepEqual(ask(replica, bareCommit(PROPOSED)), [MESSAGE_COMMIT_REPLY, 0], 'said again');
});

test('should look at ballot and slot before it asks for the value, and again when it is there', () => {
  const replica = new ReplicaHarness();
  ask(replica, prepareOf(KEY, 1, HIGHER), other());
  assert.deepEqual(ask(replica, bareAccept()), [MESSAGE_NACK, 0], 'for the ballot, and not for the value');

  const again: Ballot = { number: 3, writer: WRITER };
  assert.deepEqual(ask(replica, bareAccept(PROPOSED, again)), [MESSAGE_NACK, FLAG_LACKING]);
  stage(replica);
  const last: Ballot = { number: 4, writer: OTHER };
  ask(replica, prepareOf(KEY, 1, last), other());
  assert.deepEqual(ask(replica, bareAccept(PROPOSED, again)), [MESSAGE_NACK, 0], 'promised away meanwhile');
  assert.deepEqual(
    ask(replica, bareAccept(PROPOSED, { ...again, number: 5 })),
    [MESSAGE_ACCEPTED, 0],
    'and still here',
  );
});

test('should promise the ballot of an ACCEPT whose value is lacking', () => {
  const replica = new ReplicaHarness();
  ask(replica, bareAccept(PROPOSED, { number: 5, writer: WRITER }));
  assert.deepEqual(ask(replica, prepareOf(KEY, 1, HIGHER), other()), [MESSAGE_NACK, 0]);
});

test('should take what the same peer has staged for this proposal, and nothing else', () => {
  const stamp = stampOf(1, 1, 0, 1);
  const tag = Int32Array.of(9, 9, 9, 9);
  const id = { writer: WRITER, sequence: 2 };
  for (const staged of [
    { ...PROPOSED, stamp },
    { ...PROPOSED, tag },
    { ...PROPOSED, id },
    { ...PROPOSED, envelope: PROPOSED.envelope!.slice(1) },
  ]) {
    const replica = new ReplicaHarness();
    assert.deepEqual(stage(replica, staged), [MESSAGE_WRITE_REPLY, 0]);
    assert.deepEqual(ask(replica, bareAccept()), [MESSAGE_NACK, FLAG_LACKING]);
  }
  const replica = new ReplicaHarness();
  stage(replica, PROPOSED, other());
  assert.deepEqual(ask(replica, bareAccept()), [MESSAGE_NACK, FLAG_LACKING], 'another peer has staged it');
});

test('should keep parts of two proposals of one peer apart, that agree in all but their ids', () => {
  // As in plaintext, which has no tags.
  const replica = new ReplicaHarness();
  const tag = new Int32Array(4);
  const first = { ...PROPOSED, tag };
  const second = { ...RIVAL, id: { writer: WRITER, sequence: 2 }, tag };
  const [a, b] = [first, second].map((proposed) => stagedOf(KEY, proposed, PART_BYTES));
  for (const [i, part] of a!.entries()) {
    ask(replica, part);
    ask(replica, b![i]!);
  }
  assert.deepEqual(ask(replica, bareAccept(second)), [MESSAGE_ACCEPTED, 0]);
  assert.deepEqual(ask(replica, bareCommit(second)), [MESSAGE_COMMIT_REPLY, 0]);
  assert.deepEqual(stored(replica), second.envelope);
});

test('should accept what it has accepted under a higher ballot, of whomever, without the value', () => {
  const replica = new ReplicaHarness();
  stage(replica);
  ask(replica, bareAccept());
  assert.deepEqual(ask(replica, bareAccept(PROPOSED, HIGHER), other()), [MESSAGE_ACCEPTED, 0]);
  const { accepted } = parseRmw(replica.ask([prepareOf(KEY, 1, { number: 3, writer: WRITER })])[0]!);
  assert.deepEqual([accepted!.ballot, accepted!.id], [HIGHER, PROPOSED.id]);
  assert.deepEqual(accepted!.envelope, PROPOSED.envelope);
});

test('should not take what was accepted for what was decided instead, and be sent that', () => {
  const replica = new ReplicaHarness();
  stage(replica);
  ask(replica, bareAccept());
  const decided = { ...RIVAL, tag: PROPOSED.tag! };
  assert.deepEqual(ask(replica, bareCommit(decided), other()), [MESSAGE_COMMIT_REPLY, FLAG_LACKING]);
  const { accepted } = parseRmw(replica.ask([prepareOf(KEY, 1, { number: 3, writer: WRITER })])[0]!);
  assert.deepEqual(accepted!.id, PROPOSED.id, 'nothing was done');
  stage(replica, decided, other());
  assert.deepEqual(ask(replica, bareCommit(decided), other()), [MESSAGE_COMMIT_REPLY, 0]);
  assert.deepEqual(stored(replica), RIVAL.envelope);
  assert.deepEqual([replica.hostMemory.usedBlocks, replica.hostMemory.reservedBlocks], [1, 0]);
});

test('should take the slot of a COMMIT whose stamp is older, whether it has the value or not', () => {
  const replica = new ReplicaHarness();
  const newer = { key: KEY, stamp: stampOf(3, WRITER.writerLow, WRITER.writerHigh), envelope: seededBytes(40, 1) };
  replica.ask([writeOf({ ...newer, tag: PROPOSED.tag! })]);
  assert.deepEqual(ask(replica, bareCommit(PROPOSED)), [MESSAGE_COMMIT_REPLY, 0]);
  assert.deepEqual(stored(replica), newer.envelope);
  const again = parseRmw(replica.ask([prepareOf(KEY, 2, { number: 3, writer: WRITER })])[0]!);
  assert.equal(again.consensusSlot, 2);
});

test('should ask for it again when it has given it up, or has taken it over before', () => {
  const replica = new ReplicaHarness();
  stage(replica);
  replica.nowMs += 6_000;
  replica.replica.endTurn(replica.nowMs);
  assert.equal(replica.hostMemory.usedBlocks, 0, 'given back');
  assert.deepEqual(ask(replica, bareAccept()), [MESSAGE_NACK, FLAG_LACKING]);
  stage(replica);
  ask(replica, bareAccept());
  stage(replica, RIVAL, other());
  assert.deepEqual(ask(replica, bareAccept(RIVAL, HIGHER), other()), [MESSAGE_ACCEPTED, 0], 'instead of the first');
  const again: Ballot = { number: 3, writer: WRITER };
  assert.deepEqual(ask(replica, bareAccept(PROPOSED, again)), [MESSAGE_NACK, FLAG_LACKING]);
  assert.deepEqual(stage(replica), [MESSAGE_WRITE_REPLY, 0], 'from the first part on');
  assert.deepEqual(ask(replica, bareAccept(PROPOSED, again)), [MESSAGE_ACCEPTED, 0]);
});

test('should hold no more of a peer than of its other values by parts', () => {
  const replica = new ReplicaHarness();
  for (let sequence = 1; sequence <= REASSEMBLIES_PER_PEER_MAX; sequence++) {
    stage(replica, { ...PROPOSED, id: { writer: WRITER, sequence } });
  }
  const more = { ...PROPOSED, id: { writer: WRITER, sequence: 99 } };
  assert.deepEqual(ask(replica, stagedOf(KEY, more, PART_BYTES)[0]!), [MESSAGE_WRITE_PROGRESS, FLAG_BUSY]);
  assert.equal(stage(replica, RIVAL, other())[0], MESSAGE_WRITE_REPLY, 'others have places');
});

test('should not accept its maker’s proposal under a data key that is closing, but take it decided', () => {
  const keyId = PROPOSED.envelope![0]! | (PROPOSED.envelope![1]! << 8) | (PROPOSED.envelope![2]! << 16);
  const replica = new ReplicaHarness({ takesDataKey: (id) => (id & 0xffffff) !== keyId });
  stage(replica);
  assert.deepEqual(replica.ask([bareAccept()]), []);
  assert.equal(replica.drops.of('old-data-key'), 1);
  assert.deepEqual(ask(replica, bareCommit(PROPOSED)), [MESSAGE_COMMIT_REPLY, 0]);
});

test('should send parts of what it has accepted in that slot under that id', () => {
  const replica = new ReplicaHarness();
  stage(replica);
  ask(replica, bareAccept());
  const read = (slot: number, id = PROPOSED.id, offset = 64, byteCount = 80) => {
    const [reply] = replica.ask([readAcceptedOf(KEY, slot, id, offset, byteCount)]);
    assert.equal(typeOf(reply!.control, 0), MESSAGE_READ_PART_REPLY);
    return (flagsOf(reply!.control, 0) & FLAG_GONE) !== 0 ? undefined : reply!.value.slice(0, byteCount);
  };
  assert.deepEqual(read(1), PROPOSED.envelope!.slice(64, 144));
  assert.deepEqual(read(1, PROPOSED.id, 640, 5), PROPOSED.envelope!.slice(640));
  assert.equal(read(1, RIVAL.id), undefined);
  assert.equal(read(2), undefined);
  assert.equal(read(1, PROPOSED.id, 640, 6), undefined, 'past its end');
  ask(replica, bareCommit(PROPOSED));
  assert.equal(read(1), undefined, 'decided');
  assert.deepEqual(replica.ask([readAcceptedOf(KEY, 1, PROPOSED.id, 4, 8)]), []);
  assert.equal(replica.drops.of('malformed'), 1);
});

test('should offer what it has accepted and no datagram holds by its length', () => {
  const replica = new ReplicaHarness();
  stage(replica);
  ask(replica, bareAccept());
  replica.messenger.bytesMax = 400;
  const [promise] = replica.ask([prepareOf(KEY, 1, HIGHER)], other());
  const { flags, accepted, envelope } = parseRmw(promise!);
  assert.equal(flags & FLAG_ACCEPTED, FLAG_ACCEPTED);
  assert.deepEqual([accepted!.id, envelope.length], [PROPOSED.id, 0]);
});
