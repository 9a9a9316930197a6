import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  FLAGS_REFUSED,
  FLAG_CONFLICT,
  FLAG_HOST_FULL,
  FLAG_NOT_PERMITTED,
  FLAG_PARTS,
  FLAG_TOMBSTONE,
  FLAG_TRUSTED_FULL,
  FLAG_VALUE,
  FLAG_WRITE_BACK,
  flagsOf,
} from '../../src/protocol/messages.ts';
import {
  FLAG_ACCEPTED,
  FLAG_LACKING,
  FLAG_NEXT,
  FLAG_REGISTER,
  MESSAGE_ACCEPTED,
  MESSAGE_BEHIND,
  MESSAGE_COMMITTED,
  MESSAGE_COMMIT_REPLY,
  MESSAGE_NACK,
  MESSAGE_PROMISE,
} from '../../src/protocol/rmw-messages.ts';
import { seededBytes } from '../workers/random.ts';
import { bytesOf, clientPeer, NO_STAMP, sessionWith, stampOf, writeOf } from './fixtures.ts';
import { ReplicaHarness, WRITER } from './replica-harness.ts';
import {
  ask,
  ballot,
  decidedUpTo,
  FIRST,
  id,
  KEY,
  OTHER,
  OTHER_TAG,
  proposed,
  stored,
  TAG,
} from './rmw-acceptor-fixture.ts';
import { acceptOf, commitOf, prepareOf } from './rmw-fixtures.ts';

test('should promise the first ballot of a key that was never written, and keep no value for it', () => {
  const replica = new ReplicaHarness();
  const promise = ask(replica, prepareOf(KEY, 1, ballot(1)));
  assert.equal(promise.type, MESSAGE_PROMISE);
  assert.equal(promise.flags, FLAG_TOMBSTONE);
  assert.equal(promise.consensusSlot, 1);
  assert.deepEqual(promise.stamp, NO_STAMP);
  assert.equal(promise.accepted, undefined);
  const read = stored(replica);
  assert.deepEqual([read.stamp, read.flags], [NO_STAMP, FLAG_TOMBSTONE]);
});

test('should promise with stamp and value of the register, the value when it is asked for', () => {
  const replica = new ReplicaHarness();
  const envelope = seededBytes(77, 3);
  replica.ask([writeOf({ key: KEY, stamp: { ...WRITER, counter: 5, rmw: 0 }, tag: TAG, envelope })]);
  const promise = ask(replica, prepareOf(KEY, 1, ballot(1)));
  assert.equal(promise.flags, FLAG_VALUE);
  assert.deepEqual([promise.stamp, promise.tag, promise.envelope], [{ ...WRITER, counter: 5, rmw: 0 }, TAG, envelope]);
  const without = ask(replica, prepareOf(KEY, 1, ballot(1), 0));
  assert.deepEqual([without.flags, without.stamp, without.envelope.length], [0, { ...WRITER, counter: 5, rmw: 0 }, 0]);
});

test('should say that a value is larger than a datagram', () => {
  const replica = new ReplicaHarness();
  const envelope = seededBytes(900, 3);
  replica.ask([writeOf({ key: KEY, stamp: { ...WRITER, counter: 5, rmw: 0 }, tag: TAG, envelope })]);
  replica.messenger.bytesMax = 500;
  assert.equal(ask(replica, prepareOf(KEY, 1, ballot(1))).flags, FLAG_PARTS);
  ask(replica, commitOf(KEY, 1, { stamp: { ...WRITER, counter: 5, rmw: 0 }, tag: TAG }));
  assert.equal(ask(replica, prepareOf(KEY, 1, ballot(1))).flags, FLAG_PARTS);
});

test('should refuse a ballot below the promise, and say which one it promised', () => {
  const replica = new ReplicaHarness();
  ask(replica, prepareOf(KEY, 1, ballot(7)));
  for (const message of [prepareOf(KEY, 1, ballot(6)), acceptOf(KEY, 1, ballot(6), proposed())]) {
    const nack = ask(replica, message);
    assert.deepEqual([nack.type, nack.flags, nack.ballot], [MESSAGE_NACK, 0, ballot(7)]);
  }
  assert.equal(ask(replica, prepareOf(KEY, 1, ballot(7))).type, MESSAGE_PROMISE, 'the same one again is repeated');
  // Of equal numbers the writer decides, unsigned: WRITER is the greater one.
  const other = sessionWith(clientPeer(OTHER));
  assert.equal(ask(replica, prepareOf(KEY, 1, ballot(7, OTHER)), other).type, MESSAGE_NACK);
});

test('should accept under the promised ballot, tell it with the next promise, and show nothing of it to readers', () => {
  const replica = new ReplicaHarness();
  ask(replica, prepareOf(KEY, 1, ballot(7)));
  assert.equal(ask(replica, acceptOf(KEY, 1, ballot(7), proposed())).type, MESSAGE_ACCEPTED);
  assert.deepEqual(stored(replica).stamp, NO_STAMP);
  const promise = ask(replica, prepareOf(KEY, 1, ballot(8)));
  assert.equal(promise.flags, FLAG_ACCEPTED | FLAG_TOMBSTONE);
  assert.deepEqual(promise.accepted, { ...proposed(), ballot: ballot(7) });
  const register = ask(replica, prepareOf(KEY, 1, ballot(8), FLAG_VALUE | FLAG_REGISTER));
  assert.equal(register.accepted, undefined);
});

test('should accept under a higher ballot than the promised one, which is then promised', () => {
  const replica = new ReplicaHarness();
  ask(replica, prepareOf(KEY, 1, ballot(7)));
  assert.equal(ask(replica, acceptOf(KEY, 1, ballot(9), proposed())).type, MESSAGE_ACCEPTED);
  assert.equal(ask(replica, prepareOf(KEY, 1, ballot(8))).type, MESSAGE_NACK);
});

test('should replace what it accepted by what a higher ballot proposes, and give its block back', () => {
  const replica = new ReplicaHarness();
  ask(replica, acceptOf(KEY, 1, ballot(7), proposed()));
  const later = proposed({ id: id(2), envelope: seededBytes(90, 2), tag: OTHER_TAG });
  assert.equal(ask(replica, acceptOf(KEY, 1, ballot(8), later)).type, MESSAGE_ACCEPTED);
  assert.deepEqual(ask(replica, prepareOf(KEY, 1, ballot(9))).accepted, { ...later, ballot: ballot(8) });
  assert.equal(replica.hostMemory.usedBlocks, 1);
  const tombstone = proposed({ id: id(3), envelope: undefined, tag: new Int32Array(4) });
  ask(replica, acceptOf(KEY, 1, ballot(10), tombstone));
  assert.deepEqual(ask(replica, prepareOf(KEY, 1, ballot(11))).accepted, { ...tombstone, ballot: ballot(10) });
  assert.equal(replica.hostMemory.usedBlocks, 0);
});

test('should apply a COMMIT, forget promise and proposal of its slot, and remember the id', () => {
  const replica = new ReplicaHarness();
  const { envelope, tag } = proposed();
  ask(replica, acceptOf(KEY, 1, ballot(7), proposed()));
  const ring = [{ slot: 1, id: id(1) }];
  const reply = ask(replica, commitOf(KEY, 1, { stamp: FIRST, ring, sealed: { envelope, tag: tag! } }));
  assert.deepEqual([reply.type, reply.flags], [MESSAGE_COMMIT_REPLY, 0]);
  assert.deepEqual([stored(replica).stamp, stored(replica).envelope], [FIRST, envelope]);
  assert.equal(replica.hostMemory.usedBlocks, 1);
  const committed = ask(replica, prepareOf(KEY, 1, ballot(9)));
  assert.deepEqual([committed.type, committed.consensusSlot, committed.ring], [MESSAGE_COMMITTED, 1, ring]);
  assert.deepEqual([committed.stamp, committed.envelope], [FIRST, envelope]);
  // A ballot below the one of slot 1: promises do not outlive their slot, nor does what was accepted.
  const promise = ask(replica, prepareOf(KEY, 2, ballot(1)));
  assert.deepEqual([promise.type, promise.accepted, promise.id], [MESSAGE_PROMISE, undefined, id(1)]);
});

test('should answer an ACCEPT for a slot that is decided by what it has led to', () => {
  const replica = decidedUpTo(2);
  const committed = ask(replica, acceptOf(KEY, 2, ballot(9), proposed({ stamp: { ...NO_STAMP, rmw: 2 } })));
  assert.deepEqual([committed.type, committed.consensusSlot, committed.ring.length], [MESSAGE_COMMITTED, 2, 2]);
  assert.deepEqual(ask(replica, prepareOf(KEY, 3, ballot(1))).accepted, undefined);
});

test('should promise and accept nothing ahead of an undecided slot', () => {
  const replica = decidedUpTo(2);
  for (const message of [
    prepareOf(KEY, 4, ballot(9)),
    prepareOf(KEY, 4, ballot(9), FLAG_NEXT),
    acceptOf(KEY, 4, ballot(9), proposed()),
  ]) {
    const behind = ask(replica, message);
    assert.deepEqual([behind.type, behind.consensusSlot], [MESSAGE_BEHIND, 2]);
  }
  const fresh = new ReplicaHarness();
  assert.equal(ask(fresh, prepareOf(KEY, 2, ballot(9))).type, MESSAGE_BEHIND);
  assert.equal(fresh.store.consensus.count, 0, 'and makes no record for it');
});

test('should promise its next slot to who asks for that', () => {
  const replica = decidedUpTo(2);
  assert.equal(ask(replica, prepareOf(KEY, 1, ballot(9), FLAG_NEXT)).consensusSlot, 3);
  assert.equal(ask(replica, prepareOf(KEY, 3, ballot(9), FLAG_NEXT)).consensusSlot, 3);
});

test('should jump to a later slot, and merge rings', () => {
  const replica = decidedUpTo(2);
  const sealed = { envelope: seededBytes(8, 8), tag: TAG };
  const ring = [2, 8, 9, 10].map((slot) => ({ slot, id: id(slot) }));
  const stamp = stampOf(4);
  // 11 lies ahead of the slot: it is not decided here.
  const ahead = [...ring, { slot: 11, id: id(11) }];
  assert.equal(ask(replica, commitOf(KEY, 10, { stamp, ring: ahead, sealed })).flags, 0);
  const committed = ask(replica, prepareOf(KEY, 5, ballot(9)));
  assert.deepEqual([committed.consensusSlot, committed.stamp], [10, stamp]);
  assert.equal(replica.replica.acceptor.decidedCount, 3, 'slots 1, 2 and 10');
  // Slot 10 has the place of slot 2, slot 9 that of slot 1.
  assert.deepEqual(
    committed.ring.map(({ slot }) => slot).toSorted((a, b) => a - b),
    [8, 9, 10],
  );
  // A COMMIT of slot 2 that arrives late does not take the place back.
  assert.equal(ask(replica, commitOf(KEY, 2, { stamp: FIRST, ring: [{ slot: 2, id: id(2) }], sealed })).flags, 0);
  assert.deepEqual(ask(replica, prepareOf(KEY, 5, ballot(9))).ring, committed.ring);
});

test('should keep a later slot and a greater stamp when an earlier COMMIT arrives late', () => {
  const replica = decidedUpTo(3);
  const sealed = { envelope: seededBytes(40, 1), tag: TAG };
  const ring = [{ slot: 1, id: id(1) }];
  assert.equal(ask(replica, commitOf(KEY, 1, { stamp: FIRST, ring, sealed })).flags, 0);
  assert.equal(stored(replica).stamp.rmw, 3);
  assert.equal(ask(replica, prepareOf(KEY, 1, ballot(1))).consensusSlot, 3);
});

test('should not take a slot without its value, unless it has a stamp that is as great', () => {
  const replica = decidedUpTo(1);
  const stamp = { ...NO_STAMP, rmw: 2 };
  assert.equal(ask(replica, commitOf(KEY, 2, { stamp, tag: TAG })).flags, FLAG_LACKING);
  assert.equal(ask(replica, prepareOf(KEY, 3, ballot(1))).type, MESSAGE_BEHIND);
  replica.ask([writeOf({ key: KEY, stamp: { ...WRITER, counter: 1, rmw: 0 }, tag: TAG, envelope: seededBytes(9, 9) })]);
  assert.equal(ask(replica, commitOf(KEY, 2, { stamp, tag: TAG })).flags, 0);
  assert.equal(ask(replica, prepareOf(KEY, 3, ballot(1))).type, MESSAGE_PROMISE);
});

test('should write back what a COMMIT of slot 0 brings, and keep no record of it', () => {
  const replica = new ReplicaHarness();
  const sealed = { envelope: seededBytes(9, 9), tag: TAG };
  assert.equal(ask(replica, commitOf(KEY, 0, { stamp: stampOf(3), sealed })).flags, 0);
  assert.deepEqual(stored(replica).stamp, stampOf(3));
  assert.equal(replica.store.consensus.count, 0);
});

test('should refuse a stamp that is known with another tag, and another id for a slot that is decided', () => {
  const replica = decidedUpTo(1);
  const sealed = { envelope: seededBytes(40, 1), tag: OTHER_TAG };
  assert.equal(ask(replica, commitOf(KEY, 2, { stamp: FIRST, sealed })).flags, FLAG_CONFLICT);
  const ring = [{ slot: 1, id: id(2) }];
  const newer = { stamp: { ...NO_STAMP, rmw: 2 }, ring, sealed };
  assert.equal(ask(replica, commitOf(KEY, 2, newer)).flags, FLAG_CONFLICT);
  assert.equal(stored(replica).stamp.rmw, 1);
  assert.equal(replica.drops.of('stamp-conflict'), 2);
});

test('should refuse a second proposal under one ballot, or under one id, and count it', () => {
  const replica = new ReplicaHarness();
  ask(replica, acceptOf(KEY, 1, ballot(7), proposed()));
  for (const message of [
    acceptOf(KEY, 1, ballot(7), proposed({ id: id(2) })),
    acceptOf(KEY, 1, ballot(7), proposed({ tag: OTHER_TAG })),
    acceptOf(KEY, 1, ballot(8), proposed({ tag: OTHER_TAG })),
    acceptOf(KEY, 1, ballot(8), proposed({ stamp: { ...NO_STAMP, rmw: 2 } })),
    acceptOf(KEY, 1, ballot(8), proposed({ envelope: seededBytes(41, 1) })),
    acceptOf(KEY, 1, ballot(8), proposed({ envelope: undefined })),
  ]) {
    assert.equal(ask(replica, message).flags, FLAG_CONFLICT);
  }
  assert.equal(replica.drops.of('stamp-conflict'), 6);
  // The same again, and again under a higher ballot, is what helping looks like.
  assert.equal(ask(replica, acceptOf(KEY, 1, ballot(7), proposed())).type, MESSAGE_ACCEPTED);
  assert.equal(ask(replica, acceptOf(KEY, 1, ballot(8), proposed())).type, MESSAGE_ACCEPTED);
});

test('should not accept what another value under the same stamp has outdated, and not call that a conflict', () => {
  const replica = new ReplicaHarness();
  const envelope = seededBytes(40, 2);
  replica.ask([writeOf({ key: KEY, stamp: FIRST, tag: OTHER_TAG, envelope, flags: FLAG_WRITE_BACK })]);
  const nack = ask(replica, acceptOf(KEY, 1, ballot(7), proposed()));
  assert.deepEqual([nack.type, nack.flags], [MESSAGE_NACK, 0]);
  assert.equal(replica.drops.of('stamp-conflict'), 0);
});

test('should take ballots of the session’s own writer only', () => {
  const replica = new ReplicaHarness();
  const foreign = ballot(7, OTHER);
  assert.equal(replica.ask([prepareOf(KEY, 1, foreign)]).length, 0);
  assert.equal(replica.ask([acceptOf(KEY, 1, foreign, proposed())]).length, 0);
  assert.equal(replica.drops.of('wrong-writer'), 2);
  // Who helps proposes another's id under its own ballot.
  assert.equal(ask(replica, acceptOf(KEY, 1, ballot(7), proposed({ id: id(1, OTHER) }))).type, MESSAGE_ACCEPTED);
});

test('should take no ballot above the ceiling of counters, however often it is sent', () => {
  const replica = new ReplicaHarness();
  const { ceiling } = replica.guard;
  const taken = (number: number): boolean => replica.ask([prepareOf(KEY, 1, ballot(number))]).length === 1;
  assert.ok(!taken(Number.MAX_SAFE_INTEGER));
  assert.ok(!taken(ceiling + 1));
  assert.ok(!taken(ceiling + 1));
  assert.equal(replica.ask([acceptOf(KEY, 1, ballot(ceiling + 1), proposed())]).length, 0);
  assert.equal(replica.drops.of('counter-too-far'), 4);
  assert.equal(replica.guard.greatest, 0);
  assert.ok(taken(ceiling));
  assert.equal(replica.guard.greatest, ceiling, 'others are told of it');
  assert.equal(
    ask(replica, prepareOf(KEY, 1, ballot(5))).type,
    MESSAGE_NACK,
    'nothing is promised by what is not taken',
  );
  assert.deepEqual(ask(replica, prepareOf(KEY, 1, ballot(5))).ballot, ballot(ceiling));
  assert.equal(replica.replica.acceptor.nackedCount, 2);
});

test('should refuse who may not write, and promise nothing to who may not read', () => {
  for (const [permissions, messages] of [
    ['r:', [prepareOf(KEY, 1, ballot(1)), acceptOf(KEY, 1, ballot(1), proposed())]],
    ['w:', [prepareOf(KEY, 1, ballot(1)), acceptOf(KEY, 1, ballot(1), proposed())]],
    ['r:', [commitOf(KEY, 1, { stamp: FIRST, sealed: proposed() })]],
  ] as const) {
    const replica = new ReplicaHarness();
    const session = sessionWith(clientPeer(WRITER, permissions));
    for (const message of messages) assert.equal(ask(replica, message, session).flags, FLAG_NOT_PERMITTED);
    assert.equal(replica.store.stats().keys, 0);
    assert.equal(replica.drops.of('not-permitted'), messages.length);
  }
});

test('should take stamps with an rmw by consensus or write-back only', () => {
  const replica = new ReplicaHarness();
  const parts = { key: KEY, tag: TAG, envelope: seededBytes(8, 8) };
  for (const [stamp, flags] of [
    [{ ...WRITER, counter: 5, rmw: 1 }, 0],
    [FIRST, 0],
    [{ ...WRITER, counter: 0, rmw: 1 }, FLAG_WRITE_BACK],
    [NO_STAMP, FLAG_WRITE_BACK],
  ] as const) {
    assert.equal(replica.ask([writeOf({ ...parts, stamp, flags })]).length, 0);
  }
  assert.equal(replica.drops.of('malformed'), 4);
  replica.ask([writeOf({ ...parts, stamp: FIRST, flags: FLAG_WRITE_BACK })]);
  assert.deepEqual(stored(replica).stamp, FIRST);
});

test('should promise without room for the value, and say so; refuse a first PREPARE when trusted memory is full', () => {
  const small = new ReplicaHarness({ hostBytes: 1024 * 1024, segmentBytes: 1024 * 1024 });
  const promise = ask(small, prepareOf(KEY, 1, ballot(1), FLAG_VALUE, 1_049_632));
  assert.deepEqual([promise.type, promise.flags & FLAGS_REFUSED], [MESSAGE_PROMISE, FLAG_HOST_FULL]);
  const other = ask(small, prepareOf(KEY, 1, ballot(1), 0, 100));
  assert.deepEqual([other.type, other.flags & FLAGS_REFUSED], [MESSAGE_PROMISE, 0]);

  const full = new ReplicaHarness({ trustedMarginBytes: 16 * 1024 * 1024 });
  const refused = ask(full, prepareOf(KEY, 1, ballot(1)));
  assert.deepEqual([refused.type, refused.flags], [MESSAGE_NACK, FLAG_TRUSTED_FULL]);
  assert.equal(ask(full, acceptOf(KEY, 1, ballot(1), proposed())).flags, FLAG_TRUSTED_FULL);
  assert.equal(full.store.consensus.count, 0);
});

test('should keep slot and register as they are when host memory has no room for a COMMIT or an ACCEPT', () => {
  const replica = new ReplicaHarness({ hostBytes: 64 * 1024, segmentBytes: 64 * 1024, blockBytesMax: 64 * 1024 });
  const fill = commitOf(bytesOf('other'), 0, {
    stamp: stampOf(1),
    sealed: { envelope: seededBytes(60_000, 1), tag: TAG },
  });
  assert.equal(ask(replica, fill).flags, 0);
  const sealed = { envelope: seededBytes(40, 1), tag: TAG };
  assert.equal(ask(replica, acceptOf(KEY, 1, ballot(1), proposed())).flags, FLAG_HOST_FULL);
  assert.equal(ask(replica, commitOf(KEY, 1, { stamp: FIRST, sealed })).flags, FLAG_HOST_FULL);
  assert.deepEqual(stored(replica).stamp, NO_STAMP);
  assert.equal(ask(replica, prepareOf(KEY, 2, ballot(1))).type, MESSAGE_BEHIND);
});

test('should accept what it has accepted under another ballot without more room', () => {
  const replica = new ReplicaHarness({ hostBytes: 64 * 1024, segmentBytes: 64 * 1024, blockBytesMax: 64 * 1024 });
  const proposal = proposed({ envelope: seededBytes(40_000, 1), tag: TAG });
  assert.equal(ask(replica, acceptOf(KEY, 1, ballot(1), proposal)).type, MESSAGE_ACCEPTED);
  const { hostBytes } = replica.store.stats();
  assert.equal(ask(replica, acceptOf(KEY, 1, ballot(2), proposal)).type, MESSAGE_ACCEPTED);
  assert.equal(replica.store.stats().hostBytes, hostBytes);
  const other = proposed({ id: id(2), envelope: seededBytes(40_000, 2), tag: OTHER_TAG });
  assert.equal(ask(replica, acceptOf(KEY, 1, ballot(3), other)).flags, FLAG_HOST_FULL, 'beside it there is no room');
  const shown = ask(replica, prepareOf(KEY, 1, ballot(3), FLAG_VALUE, 40_000));
  assert.deepEqual([shown.flags & FLAGS_REFUSED, shown.accepted!.ballot], [FLAG_HOST_FULL, ballot(2)]);
});

test('should answer nothing of another epoch', () => {
  const replica = new ReplicaHarness();
  const messages = [
    prepareOf(KEY, 1, ballot(1)),
    acceptOf(KEY, 1, ballot(1), proposed()),
    commitOf(KEY, 0, { stamp: FIRST }),
  ];
  for (const message of messages) replica.ask([message], replica.session, 2);
  assert.equal(replica.drops.of('wrong-epoch'), 3);
  assert.equal(replica.store.stats().keys, 0);
});

test('should pay for what keys with read-modify-writes need, and for no others', () => {
  const replica = new ReplicaHarness();
  const key = (i: number) => bytesOf(`key ${i}`);
  const account = () => replica.store.stats().trustedBytes;
  replica.ask([
    writeOf({ key: key(0), stamp: { ...WRITER, counter: 1, rmw: 0 }, tag: TAG, envelope: seededBytes(8, 1) }),
  ]);
  const before = account();
  for (let i = 0; i < 100; i++) {
    replica.ask([
      writeOf({ key: key(i), stamp: { ...WRITER, counter: 2 + i, rmw: 0 }, tag: TAG, envelope: seededBytes(8, 1) }),
    ]);
  }
  assert.equal(account(), before, 'entries of 100 short keys lie in the chunk that is there');
  for (let i = 0; i < 100; i++) ask(replica, prepareOf(key(i), 1, ballot(1)));
  const each = (account() - before) / 100;
  assert.ok(each > 300 && each < 600, `${each} bytes a key that had one`);
  assert.equal(replica.store.consensus.count, 100);
  for (let i = 0; i < 100; i++)
    assert.equal(flagsOf(replica.ask([prepareOf(key(i), 1, ballot(2))])[0]!.control, 0) & FLAG_VALUE, FLAG_VALUE);
  assert.equal(replica.store.consensus.count, 100);
});
