/** Coordinators that meet on a key: whom they ask first, who waits for whom, and that nobody has to wait for ever. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FLAG_HOST_FULL } from '../../src/protocol/messages.ts';
import {
  FLAG_NEXT,
  FLAG_RELEASE,
  FLAG_YIELD,
  MESSAGE_ACCEPT,
  MESSAGE_ACCEPTED,
  MESSAGE_COMMIT,
  MESSAGE_NACK,
  MESSAGE_PREPARE,
  MESSAGE_PROMISE,
} from '../../src/protocol/rmw-messages.ts';
import { CONDITION_NONE, RMW_INCREMENT } from '../../src/protocol/rmw-request.ts';
import type { RmwRequest } from '../../src/protocol/rmw-request.ts';
import { seededBytes } from '../workers/random.ts';
import { CoordinatorHarness } from './coordinator-harness.ts';
import type { AskedRmw } from './coordinator-harness.ts';
import { bytesOf, clientPeer, NO_STAMP, sessionWith } from './fixtures.ts';
import type { Message } from './fixtures.ts';
import { ReplicaHarness, WRITER } from './replica-harness.ts';
import { acceptOf, acceptedOf, behindOf, nackOf, parseRmw, prepareOf, promiseOf } from './rmw-fixtures.ts';
import type { Ballot, RmwMessage } from './rmw-fixtures.ts';

const KEY = bytesOf('a key');
const OTHER = { writerHigh: 3, writerLow: 9 };
const OTHER_SESSION = sessionWith(clientPeer(OTHER));
const FRESH_MS = 5;

// -- the replica ----------------------------------------------------------------------------------------------------

function ballot(number: number, writer = WRITER): Ballot {
  return { number, writer };
}

function answerOf(replica: ReplicaHarness, message: Message, session = replica.session): RmwMessage {
  const answers = replica.ask([message], session);
  assert.equal(answers.length, 1, 'there is one answer');
  return parseRmw(answers[0]!);
}

/** The other coordinator's PREPARE, which yields, so long after what came last. */
function yielding(replica: ReplicaHarness, afterMs: number): RmwMessage {
  replica.nowMs += afterMs - 1;
  return answerOf(replica, prepareOf(KEY, 1, ballot(9, OTHER), FLAG_YIELD), OTHER_SESSION);
}

test('should refuse who yields while the promise of another is fresh, however high the ballot', () => {
  const replica = new ReplicaHarness();
  answerOf(replica, prepareOf(KEY, 1, ballot(1)));
  const nack = yielding(replica, FRESH_MS - 1);
  assert.deepEqual([nack.type, nack.flags, nack.ballot], [MESSAGE_NACK, 0, ballot(1)]);
  assert.equal(replica.replica.acceptor.nackedCount, 1);
  assert.equal(yielding(replica, 1).type, MESSAGE_PROMISE, 'then no longer');
});

test('should promise to who does not yield, and to who has the promise, while it is fresh', () => {
  const replica = new ReplicaHarness();
  answerOf(replica, prepareOf(KEY, 1, ballot(1)));
  assert.equal(answerOf(replica, prepareOf(KEY, 1, ballot(2), FLAG_YIELD)).type, MESSAGE_PROMISE);
  const rude = prepareOf(KEY, 1, ballot(3, OTHER), 0);
  assert.equal(answerOf(replica, rude, OTHER_SESSION).type, MESSAGE_PROMISE);
});

test('should hold a promise for fresh from the last that came of it, across the wrap of the clock', () => {
  for (const startMs of [0, 2 ** 31 - 4, 2 ** 32 - 4]) {
    const replica = new ReplicaHarness();
    replica.nowMs = startMs;
    const proposed = { id: { sequence: 1, writer: WRITER }, stamp: { ...NO_STAMP, rmw: 1 } };
    answerOf(replica, prepareOf(KEY, 1, ballot(1)));
    replica.nowMs += 2;
    const accepted = answerOf(replica, acceptOf(KEY, 1, ballot(1), { ...proposed, envelope: seededBytes(40, 1) }));
    assert.equal(accepted.type, MESSAGE_ACCEPTED);
    assert.equal(yielding(replica, FRESH_MS - 1).type, MESSAGE_NACK);
    assert.equal(yielding(replica, 1).type, MESSAGE_PROMISE);
  }
});

test('should hold no promise of a month ago for fresh, though half of the clock has gone round', () => {
  const replica = new ReplicaHarness();
  answerOf(replica, prepareOf(KEY, 1, ballot(1)));
  assert.equal(yielding(replica, 2 ** 31 + 1).type, MESSAGE_PROMISE);
});

test('should end a promise that is released, and answer nothing', () => {
  const replica = new ReplicaHarness();
  answerOf(replica, prepareOf(KEY, 1, ballot(7)));
  const release = (number: number) => replica.ask([prepareOf(KEY, 1, ballot(number), FLAG_RELEASE)]);
  assert.deepEqual(release(6), []);
  assert.equal(yielding(replica, 1).type, MESSAGE_NACK, 'that was not what was promised');
  for (let i = 0; i < 3; i++) assert.deepEqual(release(7), []);
  assert.equal(yielding(replica, 1).type, MESSAGE_PROMISE);
});

test('should let nobody release the promise of another, nor make anything of a key that is not here', () => {
  const replica = new ReplicaHarness();
  answerOf(replica, prepareOf(KEY, 1, ballot(7)));
  assert.deepEqual(replica.ask([prepareOf(KEY, 1, ballot(7), FLAG_RELEASE)], OTHER_SESSION), []);
  assert.equal(replica.drops.of('wrong-writer'), 1);
  assert.equal(yielding(replica, 1).type, MESSAGE_NACK);
  const before = replica.store.stats();
  assert.deepEqual(replica.ask([prepareOf(bytesOf('none'), 1, ballot(7), FLAG_RELEASE)]), []);
  assert.deepEqual(replica.store.stats(), before);
});

// -- the coordinator ------------------------------------------------------------------------------------------------

const INCREMENT: RmwRequest = {
  change: RMW_INCREMENT,
  condition: CONDITION_NONE,
  value: new Uint8Array(0),
  expected: new Uint8Array(0),
  version: undefined,
  delta: 1n,
};

/** The back-off passes. */
function comeBack(harness: CoordinatorHarness): AskedRmw[] {
  for (let passed = 0; harness.messenger.sent.length === 0; passed++) {
    assert.ok(passed < 250, 'a back-off is bounded');
    harness.turn(1);
  }
  return harness.askedRmw(MESSAGE_PREPARE);
}

function refuse(harness: CoordinatorHarness, asked: readonly AskedRmw[]): void {
  for (const one of asked) harness.answer(one, nackOf(one, ballot(77, OTHER)));
}

function promise(harness: CoordinatorHarness, asked: readonly AskedRmw[]): void {
  for (const one of asked) harness.answer(one, promiseOf(one, { slot: 1 }));
}

function yieldsOf(asked: readonly AskedRmw[]): boolean[] {
  return asked.map(({ flags }) => (flags & FLAG_YIELD) !== 0);
}

/** A coordinator that was refused, and the gate's PREPARE of its second attempt. */
function refusedOnce(
  options: { memberCount?: number } = {},
  key = KEY,
): { harness: CoordinatorHarness; gate: AskedRmw } {
  const harness = new CoordinatorHarness(options);
  harness.rmw(INCREMENT, key);
  refuse(harness, harness.askedRmw(MESSAGE_PREPARE));
  const asked = comeBack(harness);
  assert.equal(asked.length, 1, 'the gate alone is asked');
  return { harness, gate: asked[0]! };
}

test('should have one gate a key, whoever coordinates and whenever, and not the same for all keys', () => {
  const gates = new Set<number>();
  for (const name of ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h']) {
    const { gate } = refusedOnce({}, bytesOf(name));
    const harness = new CoordinatorHarness();
    for (let i = 0; i < 4; i++) {
      const id = harness.rmw(INCREMENT, bytesOf(name));
      const asked = harness.askedRmw(MESSAGE_PREPARE);
      assert.deepEqual([asked.length, asked.some(({ member }) => member === gate.member)], [2, true]);
      assert.deepEqual(yieldsOf(asked), [true, true]);
      harness.coordinator.cancel(id);
    }
    gates.add(gate.member);
  }
  assert.equal(gates.size, 3);
});

test('should back off at once when the gate refuses, and leave the others alone', () => {
  const { gate } = refusedOnce();
  const harness = new CoordinatorHarness();
  harness.rmw(INCREMENT);
  const asked = harness.askedRmw(MESSAGE_PREPARE);
  refuse(
    harness,
    asked.filter(({ member }) => member === gate.member),
  );
  assert.equal(harness.coordinator.counters.backOffs, 1);
  promise(
    harness,
    asked.filter(({ member }) => member !== gate.member),
  );
  harness.assertNothingAsked();
  for (let i = 0; i < 5; i++) {
    const again = comeBack(harness);
    assert.deepEqual([again.map(({ member }) => member), yieldsOf(again)], [[gate.member], [true]]);
    refuse(harness, again);
  }
});

test('should ask the others without yielding when the gate has let it through', () => {
  for (const memberCount of [3, 5]) {
    const { harness, gate } = refusedOnce({ memberCount });
    promise(harness, [gate]);
    const others = harness.askedRmw(MESSAGE_PREPARE);
    assert.deepEqual(yieldsOf(others), Array(memberCount - 1).fill(false));
    assert.ok(others.every((one) => one.member !== gate.member && one.ballot!.number === gate.ballot!.number));
    promise(harness, others.slice(0, (memberCount - 1) / 2));
    assert.equal(harness.askedRmw(MESSAGE_ACCEPT).length, memberCount);
  }
});

test('should go on past another than the gate that refuses', () => {
  const { gate } = refusedOnce();
  for (const isGateFirst of [false, true]) {
    const harness = new CoordinatorHarness();
    harness.rmw(INCREMENT);
    const asked = harness.askedRmw(MESSAGE_PREPARE);
    const through = asked.filter(({ member }) => member === gate.member);
    if (isGateFirst) promise(harness, through);
    refuse(
      harness,
      asked.filter(({ member }) => member !== gate.member),
    );
    if (!isGateFirst) promise(harness, through);
    const third = harness.askedRmw(MESSAGE_PREPARE);
    assert.deepEqual(yieldsOf(third), [false]);
    promise(harness, third);
    assert.equal(harness.askedRmw(MESSAGE_ACCEPT).length, 3);
  }
});

test('should go over a greater ballot at once, and once, when the gate has let it through', () => {
  for (const isAccept of [false, true]) {
    const { harness, gate } = refusedOnce();
    promise(harness, [gate]);
    let others = harness.askedRmw(MESSAGE_PREPARE);
    if (isAccept) {
      promise(harness, others.slice(0, 1));
      others = harness.askedRmw(MESSAGE_ACCEPT).filter(({ member }) => member !== gate.member);
    }
    refuse(harness, others);
    const over = harness.askedRmw(MESSAGE_PREPARE);
    assert.deepEqual(yieldsOf(over), [false, false, false]);
    assert.ok(over.every((one) => one.ballot!.number > 77 && (one.flags & FLAG_NEXT) === (isAccept ? 0 : FLAG_NEXT)));
    promise(
      harness,
      over.filter(({ member }) => member === gate.member),
    );
    refuse(
      harness,
      over.filter(({ member }) => member !== gate.member),
    );
    harness.assertNothingAsked();
    const again = comeBack(harness);
    assert.deepEqual([again.map(({ member }) => member), yieldsOf(again)], [[gate.member], [true]]);
  }
});

/** A coordinator that has been refused once, and to which one member is silent, which is not the gate. */
function withSilentMember(): { harness: CoordinatorHarness; gate: AskedRmw; silent: number } {
  const { harness, gate } = refusedOnce();
  promise(harness, [gate]);
  const [first, second] = harness.askedRmw(MESSAGE_PREPARE);
  refuse(harness, [first!]);
  harness.assertNothingAsked();
  // The other one's answer becomes overdue.
  const again = comeBack(harness);
  assert.deepEqual([again.map(({ member }) => member), yieldsOf(again)], [[gate.member], [true]]);
  return { harness, gate: again[0]!, silent: second!.member };
}

test('should not wait for a silent member when all that the others lack is the slot before', () => {
  const { harness, gate, silent } = withSilentMember();
  harness.answer(gate, promiseOf(gate, { slot: 2, lastId: { sequence: 1, writer: OTHER } }));
  const [behind] = harness.askedRmw(MESSAGE_PREPARE).filter(({ member }) => member !== silent);
  harness.answer(behind!, behindOf(behind!, 0));
  assert.deepEqual(
    harness.askedRmw(MESSAGE_COMMIT).map(({ member }) => member),
    [behind!.member],
  );
});

test('should not wait for a silent member when the others are enough to know that another ballot is needed', () => {
  for (const isAccept of [false, true]) {
    const { harness, gate, silent } = withSilentMember();
    promise(harness, [gate]);
    let others = harness.askedRmw(MESSAGE_PREPARE);
    assert.equal(others.length, 2, 'the silent one is asked');
    if (isAccept) {
      promise(
        harness,
        others.filter(({ member }) => member !== silent),
      );
      others = harness.askedRmw(MESSAGE_ACCEPT).filter(({ member }) => member !== gate.member);
    }
    refuse(
      harness,
      others.filter(({ member }) => member !== silent),
    );
    assert.equal(harness.askedRmw(MESSAGE_PREPARE).length, 3, 'with a greater ballot, and without waiting');
  }
});

test('should wait for a silent member when another one has no room, which no ballot changes', () => {
  const { harness, gate, silent } = withSilentMember();
  promise(harness, [gate]);
  promise(
    harness,
    harness.askedRmw(MESSAGE_PREPARE).filter(({ member }) => member !== silent),
  );
  const accepts = harness.askedRmw(MESSAGE_ACCEPT);
  for (const one of accepts.filter(({ member }) => member !== silent)) {
    harness.answer(one, one.member === gate.member ? acceptedOf(one) : nackOf(one, undefined, FLAG_HOST_FULL));
  }
  harness.assertNothingAsked();
  harness.answer(accepts[silent]!, acceptedOf(accepts[silent]!));
  assert.equal(harness.askedRmw(MESSAGE_COMMIT).length, 3);
});

test('should pass by a gate that is silent, and take another one for the next attempt', () => {
  const { harness, gate } = refusedOnce();
  const others = comeBack(harness);
  assert.deepEqual(yieldsOf(others), [true, true]);
  assert.ok(others.every(({ member }) => member !== gate.member));
  refuse(harness, others);
  const [next, ...rest] = comeBack(harness);
  assert.deepEqual([next!.member === gate.member, rest], [false, []]);
  promise(harness, [next!]);
  promise(
    harness,
    harness.askedRmw(MESSAGE_PREPARE).filter(({ member }) => member !== gate.member),
  );
  assert.equal(harness.askedRmw(MESSAGE_ACCEPT).length, 3);
});

test('should pass by a gate that is not ready', () => {
  const { gate } = refusedOnce();
  const harness = new CoordinatorHarness();
  harness.readyMask &= ~(1 << gate.member);
  harness.rmw(INCREMENT);
  const asked = harness.askedRmw(MESSAGE_PREPARE);
  assert.ok(asked.every(({ member }) => member !== gate.member));
  promise(harness, asked);
  assert.equal(harness.askedRmw(MESSAGE_ACCEPT).length, 2);
});

test('should ask all, and yield to nobody, when it was refused too often', () => {
  const { harness, gate } = refusedOnce();
  let asked = [gate];
  for (let attempts = 1; attempts < 64; attempts++) {
    assert.deepEqual([asked.length, yieldsOf(asked)], [1, [true]]);
    refuse(harness, asked);
    asked = comeBack(harness);
  }
  assert.deepEqual(yieldsOf(asked), [false, false, false]);
  assert.deepEqual(
    asked.map(({ flags }) => flags & FLAG_NEXT),
    Array(3).fill(FLAG_NEXT),
  );
  refuse(
    harness,
    asked.filter(({ member }) => member === gate.member),
  );
  promise(
    harness,
    asked.filter(({ member }) => member !== gate.member),
  );
  assert.equal(harness.askedRmw(MESSAGE_ACCEPT).length, 3);
});

test('should look at the gate again within milliseconds, for long while its proposal may be decided', () => {
  const { harness, gate } = refusedOnce();
  promise(harness, [gate]);
  const others = harness.askedRmw(MESSAGE_PREPARE);
  promise(harness, others.slice(0, 1));
  refuse(harness, harness.askedRmw(MESSAGE_ACCEPT));
  const waitsMs = Array.from({ length: 50 }, () => {
    const sinceMs = harness.nowMs;
    const asked = comeBack(harness);
    assert.deepEqual([asked.map(({ member }) => member), yieldsOf(asked)], [[gate.member], [true]]);
    refuse(harness, asked);
    return harness.nowMs - sinceMs;
  });
  assert.ok(Math.max(...waitsMs) <= 5, 'a turn more than 4 ms');
  const { harness: unsent, gate: asked } = refusedOnce();
  refuse(unsent, [asked]);
  const sinceMs = unsent.nowMs;
  comeBack(unsent);
  assert.ok(unsent.nowMs - sinceMs <= 9, 'twice that after a second refusal');
});
