/** A replica of whose read-modify-writes nobody has heard for long: it keeps the slot, and a promise rounded up. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FLAG_TRUSTED_FULL, FLAG_VALUE } from '../../src/protocol/messages.ts';
import {
  FLAG_ACCEPTED,
  FLAG_NEXT,
  FLAG_YIELD,
  MESSAGE_ACCEPTED,
  MESSAGE_BEHIND,
  MESSAGE_COMMITTED,
  MESSAGE_COMMIT_REPLY,
  MESSAGE_NACK,
  MESSAGE_PROMISE,
} from '../../src/protocol/rmw-messages.ts';
import { RECORD_IDLE_MS } from '../../src/store/consensus-records.ts';
import { seededBytes } from '../workers/random.ts';
import { bytesOf, clientPeer, NO_STAMP, sessionWith } from './fixtures.ts';
import { ReplicaHarness } from './replica-harness.ts';
import { ask, ballot, decidedUpTo, FIRST, id, KEY, OTHER, proposed, stored, TAG } from './rmw-acceptor-fixture.ts';
import { acceptOf, commitOf, prepareOf } from './rmw-fixtures.ts';

const IDLE_MS = 2 * RECORD_IDLE_MS;

function fullCount(replica: ReplicaHarness): number {
  replica.store.invariants();
  return replica.store.consensus.fullCount;
}

test('should answer of an idle key as ever, but for who was decided, and keep it compact meanwhile', () => {
  const replica = decidedUpTo(2);
  replica.pass(IDLE_MS);
  assert.deepEqual([fullCount(replica), replica.store.consensus.count], [0, 1]);
  const late = [
    prepareOf(KEY, 2, ballot(1)),
    acceptOf(KEY, 1, ballot(1), proposed({ id: id(1) })),
    acceptOf(KEY, 2, ballot(9), proposed({ id: id(2) })),
  ];
  for (const message of late) {
    const answer = ask(replica, message);
    assert.deepEqual([answer.type, answer.consensusSlot, answer.ring], [MESSAGE_COMMITTED, 2, []]);
  }
  assert.deepEqual(ask(replica, prepareOf(KEY, 4, ballot(1))).type, MESSAGE_BEHIND);
  const sealed = { envelope: seededBytes(40, 1), tag: TAG };
  const repeated = commitOf(KEY, 1, { stamp: FIRST, ring: [{ slot: 1, id: id(1) }], sealed });
  assert.equal(ask(replica, repeated).flags, 0);
  assert.equal(fullCount(replica), 0);
});

test('should go on in the next slot of an idle key, from PREPARE, ACCEPT or COMMIT on', () => {
  const sealed = { envelope: seededBytes(40, 3), tag: TAG };
  const ring = [{ slot: 3, id: id(3) }];
  const stamp = { ...NO_STAMP, rmw: 3 };
  const steps = [
    prepareOf(KEY, 1, ballot(1), FLAG_NEXT),
    acceptOf(KEY, 3, ballot(1), proposed({ id: id(3), stamp, ...sealed })),
    commitOf(KEY, 3, { stamp, ring, sealed }),
  ];
  for (let first = 0; first < steps.length; first++) {
    const replica = decidedUpTo(2);
    replica.pass(IDLE_MS);
    const answers = steps.slice(first).map((step) => ask(replica, step).type);
    assert.deepEqual(answers, [MESSAGE_PROMISE, MESSAGE_ACCEPTED, MESSAGE_COMMIT_REPLY].slice(first));
    const committed = ask(replica, prepareOf(KEY, 3, ballot(5)));
    assert.deepEqual([committed.consensusSlot, committed.ring], [3, ring]);
    assert.equal(fullCount(replica), 1);
  }
});

test('should refuse on an idle key every ballot that its promise refused', () => {
  const replica = decidedUpTo(2);
  assert.equal(ask(replica, prepareOf(KEY, 3, ballot(7, OTHER)), sessionWith(clientPeer(OTHER))).type, MESSAGE_PROMISE);
  replica.pass(IDLE_MS);
  assert.equal(fullCount(replica), 0);
  const stamp = { ...NO_STAMP, rmw: 3 };
  for (const number of [6, 7]) {
    const nack = ask(replica, prepareOf(KEY, 3, ballot(number)));
    assert.deepEqual([nack.type, nack.ballot?.number], [MESSAGE_NACK, 8], 'who has met 8 tries 9');
    const refused = ask(replica, acceptOf(KEY, 3, ballot(number), proposed({ id: id(3), stamp })));
    assert.equal(refused.type, MESSAGE_NACK);
  }
  assert.equal(fullCount(replica), 0);
  assert.equal(ask(replica, prepareOf(KEY, 3, ballot(9), FLAG_YIELD)).type, MESSAGE_PROMISE);
  assert.equal(ask(replica, acceptOf(KEY, 3, ballot(7), proposed({ id: id(3), stamp }))).type, MESSAGE_NACK);
});

test('should keep what is accepted, however long nobody asks for it', () => {
  const replica = decidedUpTo(2);
  const stamp = { ...NO_STAMP, rmw: 3 };
  ask(replica, acceptOf(KEY, 3, ballot(7), proposed({ id: id(3), stamp })));
  replica.pass(IDLE_MS);
  assert.equal(fullCount(replica), 1);
  const promise = ask(replica, prepareOf(KEY, 3, ballot(8)));
  assert.deepEqual([promise.flags & FLAG_ACCEPTED, promise.accepted?.id], [FLAG_ACCEPTED, id(3)]);
});

test('should promise and learn decisions of an idle key also where there is no room, and accept nothing', () => {
  const replica = new ReplicaHarness({ trustedBytes: 1_500_000 });
  const sealed = { envelope: seededBytes(40, 1), tag: TAG };
  const ring = [{ slot: 1, id: id(1) }];
  ask(replica, commitOf(KEY, 1, { stamp: FIRST, ring, sealed }));
  replica.pass(IDLE_MS);
  // Proposals that nobody decides take all there is.
  let count = 0;
  const accept = (i: number) => ask(replica, acceptOf(bytesOf(`key ${i}`), 1, ballot(1), proposed({ id: id(i + 1) })));
  while (accept(count).type === MESSAGE_ACCEPTED) count++;
  assert.ok(count > 256, `${count}`);
  replica.pass(IDLE_MS);
  const stamp = { ...NO_STAMP, rmw: 2 };
  const promise = ask(replica, prepareOf(KEY, 2, ballot(1)));
  assert.deepEqual([promise.type, promise.flags], [MESSAGE_PROMISE, FLAG_TRUSTED_FULL | FLAG_VALUE]);
  assert.equal(promise.consensusSlot, 2, 'it may be the only one to know the slot, and the value');
  for (const message of [prepareOf(KEY, 2, ballot(1)), acceptOf(KEY, 2, ballot(1), proposed({ stamp }))]) {
    const nack = ask(replica, message);
    assert.deepEqual([nack.type, nack.flags, nack.ballot?.number], [MESSAGE_NACK, 0, 2]);
  }
  assert.equal(ask(replica, acceptOf(KEY, 2, ballot(5), proposed({ stamp }))).flags, FLAG_TRUSTED_FULL);
  const second = { stamp, ring: [{ slot: 2, id: id(2) }], sealed: { envelope: undefined, tag: TAG } };
  assert.equal(ask(replica, commitOf(KEY, 2, second)).flags, 0);
  const committed = ask(replica, prepareOf(KEY, 2, ballot(9)));
  assert.deepEqual([committed.type, committed.consensusSlot, committed.ring], [MESSAGE_COMMITTED, 2, []]);
  assert.equal(ask(replica, prepareOf(KEY, 4, ballot(1))).type, MESSAGE_BEHIND);
  assert.deepEqual(stored(replica).stamp, stamp);
  const unknown = ask(replica, prepareOf(bytesOf('another'), 1, ballot(1)));
  assert.deepEqual([unknown.type, unknown.flags], [MESSAGE_NACK, FLAG_TRUSTED_FULL]);
  // One of them is decided, and idle after a while.
  const decided = { stamp: FIRST, ring: [{ slot: 1, id: id(1) }], sealed: { envelope: undefined, tag: TAG } };
  assert.equal(ask(replica, commitOf(bytesOf('key 0'), 1, decided)).flags, 0);
  for (let looks = 0; looks < 100; looks++) replica.pass(IDLE_MS);
  const third = acceptOf(KEY, 3, ballot(10), proposed({ id: id(3), stamp: { ...stamp, rmw: 3 }, envelope: undefined }));
  assert.equal(ask(replica, third).type, MESSAGE_ACCEPTED);
});
