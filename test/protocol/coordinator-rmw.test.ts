/** Read-modify-writes of a coordinator: what it asks, and what it makes of each answer. The test is the replicas. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  FLAG_CONFLICT,
  FLAG_HOST_FULL,
  FLAG_NOT_PERMITTED,
  FLAG_TOMBSTONE,
  FLAG_TRUSTED_FULL,
  FLAG_VALUE,
  MESSAGE_REPAIR,
} from '../../src/protocol/messages.ts';
import {
  FLAG_NEXT,
  FLAG_REGISTER,
  FLAG_RELEASE,
  MESSAGE_ACCEPT,
  MESSAGE_COMMIT,
  MESSAGE_PREPARE,
} from '../../src/protocol/rmw-messages.ts';
import type { RmwRequest } from '../../src/protocol/rmw-request.ts';
import {
  CONDITION_ABSENT,
  CONDITION_NONE,
  CONDITION_VALUE,
  CONDITION_VERSION,
  RMW_DELETE,
  RMW_INCREMENT,
  RMW_SET,
} from '../../src/protocol/rmw-request.ts';
import { STAMP_COUNTER_MAX } from '../../src/stamp.ts';
import { CoordinatorHarness, DEADLINE_MS, flip, KEY } from './coordinator-harness.ts';
import type { AskedRmw, Copy } from './coordinator-harness.ts';
import { bytesOf, NO_STAMP, stampOf } from './fixtures.ts';
import { WRITER } from './replica-harness.ts';
import { acceptedOf, behindOf, commitReplyOf, committedOf, nackOf, parseRmw, promiseOf } from './rmw-fixtures.ts';
import type { Id, Promised, Register } from './rmw-fixtures.ts';

const NONE = new Uint8Array(0);
const BASE: RmwRequest = {
  change: RMW_INCREMENT,
  condition: CONDITION_NONE,
  value: NONE,
  expected: NONE,
  version: undefined,
  delta: 1n,
};
const OTHER = { writerHigh: 1, writerLow: 5 };
const OTHER_ID: Id = { writer: OTHER, sequence: 3 };
const OWN_ID: Id = { writer: WRITER, sequence: 1 };

function set(value: string, change: Partial<RmwRequest> = {}): RmwRequest {
  return { ...BASE, change: RMW_SET, value: bytesOf(value), ...change };
}

function registerOf({ stamp, envelope, tag }: Copy): Register {
  return { stamp, envelope, tag };
}

/** Answers with these promises, in the order of members. */
function promise(harness: CoordinatorHarness, asked: readonly AskedRmw[], ...promises: readonly Promised[]): void {
  promises.forEach((promised, i) => harness.answer(asked[i]!, promiseOf(asked[i]!, promised)));
}

function accept(harness: CoordinatorHarness, asked: readonly AskedRmw[], count = 2): void {
  for (const request of asked.slice(0, count)) harness.answer(request, acceptedOf(request));
}

function acknowledge(harness: CoordinatorHarness, asked: readonly AskedRmw[], count = 2): void {
  for (const request of asked.slice(0, count)) harness.answer(request, commitReplyOf(request));
}

/** The back-off passes; the gate is asked. */
function comeBack(harness: CoordinatorHarness): AskedRmw[] {
  for (let passed = 0; harness.messenger.sent.length === 0; passed++) {
    assert.ok(passed < 250, 'a back-off is bounded');
    harness.turn(1);
  }
  return harness.askedRmw(MESSAGE_PREPARE);
}

/** The gate promises; what the others are asked. */
function passGate(harness: CoordinatorHarness, asked: readonly AskedRmw[], promised: Promised): AskedRmw[] {
  assert.equal(asked.length, 1, 'the gate alone is asked');
  promise(harness, asked, promised);
  return harness.askedRmw(MESSAGE_PREPARE);
}

/** Nothing is sent but that the promise is not needed. */
function assertReleased(harness: CoordinatorHarness, ballot = 1): void {
  const releases = harness.askedRmw(MESSAGE_PREPARE);
  assert.deepEqual(
    releases.map(({ flags, ballot: released }) => [flags, released!.number]),
    [[FLAG_RELEASE, ballot]],
  );
}

/** A read-modify-write that has got as far as its ACCEPT in slot 1; what was sent. */
function untilAccept(harness: CoordinatorHarness, request = set('new'), register?: Register): AskedRmw[] {
  untilPromised(harness, request, register);
  return harness.askedRmw(MESSAGE_ACCEPT);
}

/** A read-modify-write that has the promises of a quorum in slot 1. */
function untilPromised(harness: CoordinatorHarness, request: RmwRequest, register?: Register): void {
  harness.rmw(request);
  const promised = { slot: 1, ...(register !== undefined && { register }) };
  const asked = harness.askedRmw(MESSAGE_PREPARE);
  // The value comes from the one that was asked for it.
  const hasValue = ({ flags }: AskedRmw) => (flags & FLAG_VALUE) !== 0;
  const without: Promised =
    register === undefined || register.envelope === undefined
      ? promised
      : { slot: 1, register: { ...register, envelope: 'elsewhere' } };
  for (const one of asked) harness.answer(one, promiseOf(one, hasValue(one) ? promised : without));
}

function end(harness: CoordinatorHarness) {
  assert.equal(harness.ended.length, 1, 'it has ended, once');
  harness.assertIdle();
  return { ...harness.ended[0]!, told: harness.told[0]! };
}

test('should ask a quorum for its next slot, send the proposal to all, then what is decided, and only then answer', () => {
  const harness = new CoordinatorHarness();
  harness.rmw(BASE);
  const prepares = harness.askedRmw(MESSAGE_PREPARE);
  assert.equal(prepares.length, 2);
  assert.deepEqual(
    prepares.map(({ flags }) => flags & FLAG_NEXT),
    [FLAG_NEXT, FLAG_NEXT],
  );
  assert.equal(prepares.filter(({ flags }) => (flags & FLAG_VALUE) !== 0).length, 1);
  promise(harness, prepares, { slot: 1 }, { slot: 1 });
  const accepts = harness.askedRmw(MESSAGE_ACCEPT);
  assert.equal(accepts.length, 3);
  for (const { consensusSlot, ballot, id, stamp, key } of accepts) {
    assert.deepEqual([consensusSlot, ballot, id], [1, prepares[0]!.ballot, OWN_ID]);
    assert.deepEqual([stamp, key], [{ ...NO_STAMP, rmw: 1 }, 'a key']);
  }
  accept(harness, accepts);
  const commits = harness.askedRmw(MESSAGE_COMMIT);
  assert.equal(commits.length, 3);
  assert.deepEqual(commits[0]!.ring, [{ slot: 1, id: OWN_ID }]);
  assert.deepEqual(commits[0]!.envelope, accepts[0]!.envelope);
  acknowledge(harness, commits, 1);
  assert.equal(harness.ended.length, 0, 'one acknowledgement is no quorum');
  acknowledge(harness, commits.slice(1), 1);
  const { outcome, value, told } = end(harness);
  assert.deepEqual([outcome, value], ['ok', '1']);
  assert.deepEqual(told, { ...NO_STAMP, rmw: 1, hasValue: true });
});

test('should compute on the greatest stamp seen, and create the one behind it', () => {
  const harness = new CoordinatorHarness();
  harness.rmw(BASE);
  const prepares = harness.askedRmw(MESSAGE_PREPARE);
  const older = harness.copyOf('1', stampOf(4, 2));
  const newer = harness.copyOf('41', stampOf(4, 2, 0, 7));
  promise(harness, prepares, { slot: 3, register: registerOf(older) }, { slot: 3, register: registerOf(newer) });
  const accepts = harness.askedRmw(MESSAGE_ACCEPT);
  assert.deepEqual([accepts[0]!.consensusSlot, accepts[0]!.stamp], [3, stampOf(4, 2, 0, 8)]);
  accept(harness, accepts);
  acknowledge(harness, harness.askedRmw(MESSAGE_COMMIT));
  assert.equal(end(harness).value, '42');
});

test('should fetch the value of the greatest stamp under the same ballot when it did not come', () => {
  const harness = new CoordinatorHarness();
  harness.rmw(BASE);
  const prepares = harness.askedRmw(MESSAGE_PREPARE);
  const newer = harness.copyOf('41', stampOf(4));
  for (const request of prepares) {
    const isHolder = (request.flags & FLAG_VALUE) === 0;
    const register: Register = isHolder
      ? { ...registerOf(newer), envelope: 'elsewhere' }
      : { stamp: NO_STAMP, envelope: undefined };
    harness.answer(request, promiseOf(request, { slot: 1, register }));
  }
  const [fetch, ...rest] = harness.askedRmw(MESSAGE_PREPARE);
  assert.equal(rest.length, 0);
  assert.deepEqual([fetch!.flags, fetch!.ballot], [FLAG_VALUE | FLAG_NEXT | FLAG_REGISTER, prepares[0]!.ballot]);
  harness.answer(fetch!, promiseOf(fetch!, { slot: 1, register: registerOf(newer) }));
  assert.deepEqual(harness.askedRmw(MESSAGE_ACCEPT)[0]!.stamp, stampOf(4, 1, 0, 1));
});

test('should answer each kind of request with what it is about', () => {
  const stamp = stampOf(4, 2, 0, 1);
  const created = stampOf(4, 2, 0, 2);
  for (const [request, found, value, hasValue] of [
    [set('new'), 'old', 'old', true],
    [set('new'), '', '', true],
    [set('new'), undefined, '', false],
    [set('new', { condition: CONDITION_VALUE, expected: bytesOf('old') }), 'old', '', false],
    [set('new', { condition: CONDITION_VERSION, version: stamp }), 'old', '', false],
    [set('new', { condition: CONDITION_ABSENT }), undefined, '', false],
    [{ ...BASE, change: RMW_DELETE, condition: CONDITION_VALUE, expected: bytesOf('old') }, 'old', '', false],
    [{ ...BASE, delta: -5n }, '3', '-2', true],
  ] as const) {
    const harness = new CoordinatorHarness();
    const copy = found === undefined ? undefined : harness.copyOf(found, stamp);
    const accepts = untilAccept(
      harness,
      request,
      copy === undefined ? { stamp, envelope: undefined } : registerOf(copy),
    );
    const isDelete = request.change === RMW_DELETE;
    assert.deepEqual([accepts[0]!.stamp, accepts[0]!.flags], [created, isDelete ? FLAG_TOMBSTONE : 0]);
    accept(harness, accepts);
    const commits = harness.askedRmw(MESSAGE_COMMIT);
    assert.equal(commits[0]!.flags, isDelete ? FLAG_TOMBSTONE : FLAG_VALUE);
    acknowledge(harness, commits);
    assert.deepEqual(end(harness).value, value);
    assert.deepEqual(harness.told[0]!, { ...created, hasValue });
  }
});

test('should answer a condition that does not hold as a read when a quorum holds what was found', () => {
  const stamp = stampOf(4);
  for (const [request, outcome] of [
    [set('new', { condition: CONDITION_ABSENT }), 'mismatch'],
    [set('new', { condition: CONDITION_VALUE, expected: bytesOf('else') }), 'mismatch'],
    [set('new', { condition: CONDITION_VERSION, version: stampOf(5) }), 'mismatch'],
    [BASE, 'not-an-integer'],
  ] as const) {
    const harness = new CoordinatorHarness();
    untilPromised(harness, request, registerOf(harness.copyOf('found', stamp)));
    assertReleased(harness);
    const { told, value } = end(harness);
    assert.equal(harness.ended[0]!.outcome, outcome);
    assert.equal(value, outcome === 'mismatch' ? 'found' : '');
    assert.deepEqual(told, { ...stamp, hasValue: outcome === 'mismatch' });
  }
  const harness = new CoordinatorHarness();
  untilPromised(harness, BASE, registerOf(harness.copyOf('9223372036854775807', stamp)));
  assert.equal(end(harness).outcome, 'overflow');
});

test('should write back what was found before it answers that a condition does not hold', () => {
  const harness = new CoordinatorHarness();
  harness.rmw(set('new', { condition: CONDITION_ABSENT }));
  const prepares = harness.askedRmw(MESSAGE_PREPARE);
  const found = harness.copyOf('found', stampOf(4));
  promise(harness, prepares, { slot: 2, register: registerOf(found) }, { slot: 2, lastId: OTHER_ID });
  const commits = harness.askedRmw(MESSAGE_COMMIT);
  assert.deepEqual(
    commits.map(({ member }) => member),
    [0, 1, 2].filter((member) => member !== prepares[0]!.member),
  );
  const [{ consensusSlot, stamp, envelope, ring }] = commits as [AskedRmw];
  assert.deepEqual([consensusSlot, stamp, envelope], [1, stampOf(4), found.envelope]);
  assert.deepEqual(ring, [{ slot: 1, id: OTHER_ID }]);
  assert.equal(harness.ended.length, 0);
  acknowledge(harness, commits, 1);
  assert.deepEqual([end(harness).outcome, harness.ended[0]!.value], ['mismatch', 'found']);
});

test('should propose the accepted proposal of the highest ballot unchanged, and go on in the next slot', () => {
  const harness = new CoordinatorHarness();
  harness.rmw(BASE);
  const prepares = harness.askedRmw(MESSAGE_PREPARE);
  const low = harness.copyOf('low', stampOf(1, 1, 0, 1));
  const high = harness.copyOf('high', stampOf(1, 1, 0, 1));
  const accepted = (copy: Copy, number: number, sequence: number) => ({
    ...copy,
    id: { writer: OTHER, sequence },
    ballot: { number, writer: OTHER },
  });
  promise(harness, prepares, { slot: 4, accepted: accepted(low, 3, 1) }, { slot: 4, accepted: accepted(high, 9, 2) });
  const accepts = harness.askedRmw(MESSAGE_ACCEPT);
  const [{ id, stamp, tag, envelope, ballot }] = accepts as [AskedRmw];
  assert.deepEqual([id, stamp, tag], [{ writer: OTHER, sequence: 2 }, high.stamp, high.tag]);
  assert.deepEqual([envelope, ballot], [high.envelope, prepares[0]!.ballot]);
  accept(harness, accepts);
  const commits = harness.askedRmw(MESSAGE_COMMIT);
  assert.deepEqual([commits[0]!.ring, commits[0]!.envelope], [[{ slot: 4, id }], high.envelope]);
  acknowledge(harness, commits);
  const [again] = harness.askedRmw(MESSAGE_PREPARE);
  assert.deepEqual([again!.consensusSlot, again!.flags & FLAG_NEXT], [5, FLAG_NEXT]);
  assert.equal(harness.ended.length, 0);
  assert.equal(harness.coordinator.counters.helped, 1);
});

test('should take a copy that opens from another acceptor, and propose nothing while there is none', () => {
  const harness = new CoordinatorHarness();
  harness.rmw(BASE);
  const good = harness.copyOf('theirs', stampOf(1, 1, 0, 1));
  const accepted = (copy: Copy) => ({ ...copy, id: OTHER_ID, ballot: { number: 3, writer: OTHER } });
  const prepares = harness.askedRmw(MESSAGE_PREPARE);
  promise(harness, prepares, { slot: 1, accepted: accepted(flip(good)) }, { slot: 1 });
  assert.equal(harness.coordinator.counters.tampered, 1);
  const again = harness.askedRmw(MESSAGE_PREPARE);
  assert.equal(again.length, 3, 'all are asked');
  const by = (member: number) => again.find((request) => request.member === member)!;
  const [bad, empty] = [by(prepares[0]!.member), by(prepares[1]!.member)];
  harness.answer(bad, promiseOf(bad, { slot: 1, accepted: accepted(flip(good)) }));
  harness.answer(empty, promiseOf(empty, { slot: 1 }));
  assert.equal(harness.messenger.sent.length, 0, 'the third may have a good one');
  const third = again.find((request) => request !== bad && request !== empty)!;
  harness.answer(third, promiseOf(third, { slot: 1, accepted: accepted(good) }));
  assert.deepEqual(harness.askedRmw(MESSAGE_ACCEPT)[0]!.envelope, good.envelope);
});

test('should go on without a copy that does not open when a quorum of others shows that it was not decided', () => {
  const harness = new CoordinatorHarness();
  harness.rmw(BASE);
  const bad = flip(harness.copyOf('theirs', stampOf(1, 1, 0, 1)));
  const promised = { slot: 1, accepted: { ...bad, id: OTHER_ID, ballot: { number: 3, writer: OTHER } } };
  const prepares = harness.askedRmw(MESSAGE_PREPARE);
  promise(harness, prepares, promised, { slot: 1 });
  for (const one of harness.askedRmw(MESSAGE_PREPARE)) {
    assert.equal(harness.messenger.sent.length, 0, 'two of three are not enough when one is bad');
    harness.answer(one, promiseOf(one, one.member === prepares[0]!.member ? promised : { slot: 1 }));
  }
  const accepts = harness.askedRmw(MESSAGE_ACCEPT);
  assert.deepEqual(accepts[0]!.id, OWN_ID);
  accept(harness, accepts);
  acknowledge(harness, harness.askedRmw(MESSAGE_COMMIT));
  assert.equal(end(harness).outcome, 'ok');
});

test('should end unreadable when what may have been decided opens nowhere, and all have answered', () => {
  const harness = new CoordinatorHarness();
  harness.rmw(BASE);
  const bad = flip(harness.copyOf('theirs', stampOf(1, 1, 0, 1)));
  const promised = { slot: 1, accepted: { ...bad, id: OTHER_ID, ballot: { number: 3, writer: OTHER } } };
  promise(harness, harness.askedRmw(MESSAGE_PREPARE), promised, promised);
  // One copy after the other is tried.
  for (let i = 0; harness.ended.length === 0; i++) {
    assert.ok(i < 3, 'it ends');
    for (const one of harness.askedRmw(MESSAGE_PREPARE)) {
      if (harness.ended.length === 0) harness.answer(one, promiseOf(one, one.member === 0 ? { slot: 1 } : promised));
    }
  }
  assert.equal(end(harness).outcome, 'unreadable');
});

test('should take the value found from another when a copy does not open, and repair the bad one', () => {
  const harness = new CoordinatorHarness();
  harness.rmw(BASE);
  const good = harness.copyOf('1', stampOf(4));
  const prepares = harness.askedRmw(MESSAGE_PREPARE);
  promise(
    harness,
    prepares,
    { slot: 1, register: registerOf(flip(good, 32)) },
    { slot: 1, register: { ...registerOf(good), envelope: 'elsewhere' } },
  );
  const [fetch] = harness.askedRmw(MESSAGE_PREPARE);
  assert.equal(fetch!.member, prepares[1]!.member);
  harness.answer(fetch!, promiseOf(fetch!, { slot: 1, register: registerOf(good) }));
  const sent = harness.messenger.take();
  assert.deepEqual(
    sent.map(({ control }) => control[0]! & 0xff),
    [MESSAGE_REPAIR, MESSAGE_ACCEPT, MESSAGE_ACCEPT, MESSAGE_ACCEPT],
  );
});

test('should back off for a random time when another ballot was promised, and come back with a higher one', () => {
  const harness = new CoordinatorHarness();
  harness.rmw(BASE);
  const prepares = harness.askedRmw(MESSAGE_PREPARE);
  const promised = { number: 77, writer: OTHER };
  for (const request of prepares) harness.answer(request, nackOf(request, promised));
  assert.equal(harness.coordinator.counters.backOffs, 1);
  harness.assertNothingAsked();
  assert.equal(comeBack(harness)[0]!.ballot!.number, 78);
});

test('should propose again in its slot what it has sent there, as it is, whatever has been written since', () => {
  const harness = new CoordinatorHarness();
  const accepts = untilAccept(harness, set('new'), registerOf(harness.copyOf('old', stampOf(4))));
  for (const request of accepts.slice(0, 2)) harness.answer(request, nackOf(request, { number: 77, writer: OTHER }));
  const gate = comeBack(harness);
  const later = registerOf(harness.copyOf('later', stampOf(9)));
  const others = passGate(harness, gate, { slot: 1, register: later });
  assert.deepEqual(
    [...gate, ...others].map(({ consensusSlot, flags }) => [consensusSlot, flags & FLAG_NEXT]),
    [
      [1, 0],
      [1, 0],
      [1, 0],
    ],
  );
  promise(harness, others, { slot: 1, register: later });
  const again = harness.askedRmw(MESSAGE_ACCEPT);
  assert.deepEqual([again[0]!.stamp, again[0]!.tag], [accepts[0]!.stamp, accepts[0]!.tag]);
  assert.deepEqual(again[0]!.envelope, accepts[0]!.envelope);
  assert.ok(again[0]!.ballot!.number > 77);
  accept(harness, again);
  acknowledge(harness, harness.askedRmw(MESSAGE_COMMIT));
  assert.deepEqual([end(harness).outcome, harness.ended[0]!.value], ['ok', 'old']);
});

/** Sent in slot 1, not decided there as far as it knows; what is asked for then. */
function untilSent(harness: CoordinatorHarness, request = set('new')): AskedRmw[] {
  const accepts = untilAccept(harness, request, registerOf(harness.copyOf('old', stampOf(4))));
  for (const one of accepts.slice(0, 2)) harness.answer(one, nackOf(one, { number: 77, writer: OTHER }));
  return comeBack(harness);
}

test('should have what is decided held by members that were not ready when it was', () => {
  const harness = new CoordinatorHarness();
  harness.readyMask = 0b011;
  accept(harness, untilAccept(harness));
  const [first] = harness.askedRmw(MESSAGE_COMMIT);
  acknowledge(harness, [first!], 1);
  // The other one that was asked is dead.
  harness.readyMask = 0b111;
  const late = () => harness.askedRmw(MESSAGE_COMMIT).find(({ member }) => member === 2);
  let asked: AskedRmw | undefined;
  for (let passed = 0; asked === undefined; passed++) {
    assert.ok(passed < 1_000, 'it is asked soon');
    harness.turn(1);
    asked = late();
  }
  acknowledge(harness, [asked], 1);
  assert.equal(end(harness).outcome, 'ok');
});

test('should commit its own proposal to a quorum when the ring says that it was decided, and then answer', () => {
  const harness = new CoordinatorHarness();
  const prepares = untilSent(harness);
  const register = registerOf(harness.copyOf('later', stampOf(9)));
  const ring = [
    { slot: 1, id: OWN_ID },
    { slot: 2, id: OTHER_ID },
  ];
  harness.answer(prepares[0]!, committedOf(prepares[0]!, 2, ring, register));
  const commits = harness.askedRmw(MESSAGE_COMMIT);
  assert.deepEqual([commits[0]!.consensusSlot, commits[0]!.ring], [1, [{ slot: 1, id: OWN_ID }]]);
  assert.deepEqual(commits[0]!.stamp, stampOf(4, 1, 0, 1));
  assert.equal(harness.ended.length, 0, 'who learns it has no quorum yet');
  acknowledge(harness, commits);
  const { outcome, value, told } = end(harness);
  assert.deepEqual([outcome, value, told], ['ok', 'old', { ...stampOf(4, 1, 0, 1), hasValue: true }]);
});

test('should go on in a later slot with evidence that its slot decided another', () => {
  const harness = new CoordinatorHarness();
  const prepares = untilSent(harness);
  harness.answer(prepares[0]!, committedOf(prepares[0]!, 2, [{ slot: 1, id: OTHER_ID }]));
  const again = harness.askedRmw(MESSAGE_PREPARE);
  assert.deepEqual([again[0]!.consensusSlot, again[0]!.flags & FLAG_NEXT], [3, FLAG_NEXT]);
  // It has no effect any more.
  harness.run(6_000);
  assert.equal(harness.ended[0]!.outcome, 'deadline');
});

test('should ask the others when a ring no longer shows its slot, and not know when none does', () => {
  const harness = new CoordinatorHarness();
  const prepares = untilSent(harness);
  const ring = [{ slot: 20, id: OTHER_ID }];
  for (const request of prepares) harness.answer(request, committedOf(request, 20, ring));
  assert.equal(harness.ended.length, 0);
  const rest = harness.askedRmw(MESSAGE_PREPARE);
  assert.deepEqual(
    rest.map(({ consensusSlot }) => consensusSlot),
    [1, 1],
  );
  harness.answer(rest[0]!, committedOf(rest[0]!, 20, ring));
  assert.equal(harness.ended.length, 0, 'one may still tell');
  harness.answer(rest[1]!, committedOf(rest[1]!, 20, ring));
  assert.equal(end(harness).outcome, 'outcome-unknown');
});

test('should not know, after a while, when a quorum no longer does and the others are silent', () => {
  const harness = new CoordinatorHarness();
  const ring = [{ slot: 20, id: OTHER_ID }];
  for (const request of untilSent(harness)) harness.answer(request, committedOf(request, 20, ring));
  const [one] = harness.askedRmw(MESSAGE_PREPARE);
  harness.answer(one!, committedOf(one!, 20, ring));
  for (let passed = 0; harness.ended.length === 0; passed++) {
    assert.ok(passed < DEADLINE_MS / 2, 'long before its deadline');
    harness.turn(1);
    const asked = harness.messenger.take().map((message) => parseRmw(message));
    assert.ok(
      asked.every(({ type, consensusSlot }) => type === MESSAGE_PREPARE && consensusSlot === 1),
      'it asks the silent one',
    );
    if (passed < 100) assert.equal(harness.ended.length, 0, 'the silent one has time to come back');
  }
  assert.equal(end(harness).outcome, 'outcome-unknown');
});

test('should answer a condition that does not hold as a read when what was sent is known to have come to nothing', () => {
  const harness = new CoordinatorHarness();
  const found = registerOf(harness.copyOf('found', stampOf(9)));
  const prepares = untilSent(harness, set('new', { condition: CONDITION_VALUE, expected: bytesOf('old') }));
  harness.answer(prepares[0]!, committedOf(prepares[0]!, 1, [{ slot: 1, id: OTHER_ID }]));
  const others = passGate(harness, harness.askedRmw(MESSAGE_PREPARE), { slot: 2, register: found });
  promise(harness, others, { slot: 2, register: found });
  const [release, ...more] = harness.askedRmw(MESSAGE_PREPARE);
  assert.deepEqual([release!.flags & FLAG_RELEASE, more], [FLAG_RELEASE, []]);
  assert.deepEqual([end(harness).outcome, harness.ended[0]!.value], ['mismatch', 'found']);
  assert.deepEqual(harness.told[0]!, { ...stampOf(9), hasValue: true });
});

test('should bring members up to the slot before when a quorum lacks nothing else', () => {
  const harness = new CoordinatorHarness({ memberCount: 3 });
  harness.readyMask = 0b011;
  harness.rmw(BASE);
  const prepares = harness.askedRmw(MESSAGE_PREPARE);
  const newer = harness.copyOf('41', stampOf(4));
  for (const one of prepares) {
    const isAhead = (one.flags & FLAG_VALUE) !== 0;
    harness.answer(
      one,
      promiseOf(one, isAhead ? { slot: 6, lastId: OTHER_ID, register: registerOf(newer) } : { slot: 5 }),
    );
  }
  const [commit, ...others] = harness.askedRmw(MESSAGE_COMMIT);
  assert.equal(others.length, 0);
  assert.deepEqual([commit!.consensusSlot, commit!.stamp, commit!.envelope], [5, stampOf(4), newer.envelope]);
  assert.deepEqual(commit!.ring, [{ slot: 5, id: OTHER_ID }]);
  acknowledge(harness, [commit!], 1);
  assert.equal(harness.askedRmw(MESSAGE_PREPARE).length, 2);
});

test('should name no decision of the slot before when only that of an earlier one is known', () => {
  const harness = new CoordinatorHarness({ memberCount: 3 });
  harness.readyMask = 0b011;
  harness.rmw(BASE);
  const prepares = harness.askedRmw(MESSAGE_PREPARE);
  // The id is that of slot 4; the other has jumped to slot 5.
  promise(harness, prepares, { slot: 5, lastId: OTHER_ID }, { slot: 6 });
  const [commit] = harness.askedRmw(MESSAGE_COMMIT);
  assert.deepEqual([commit!.consensusSlot, commit!.ring], [5, []]);
});

test('should bring a member up to the slot before that is behind at ACCEPT, when another has no room for the proposal', () => {
  for (const isFullFirst of [true, false]) {
    const harness = new CoordinatorHarness();
    harness.rmw(set('new'));
    const found = harness.copyOf('found', stampOf(4));
    const prepares = harness.askedRmw(MESSAGE_PREPARE);
    for (const one of prepares) {
      const without: Register = { ...registerOf(found), envelope: 'elsewhere' };
      const register = (one.flags & FLAG_VALUE) !== 0 ? registerOf(found) : without;
      harness.answer(one, promiseOf(one, { slot: 6, lastId: OTHER_ID, register }));
    }
    harness.turn(0);
    const accepts = harness.askedRmw(MESSAGE_ACCEPT);
    const [first, full] = prepares.map(({ member }) => accepts[member]!);
    const behind = accepts.find((one) => one !== first && one !== full)!;
    harness.answer(first!, acceptedOf(first!));
    const refuse = () => harness.answer(full!, nackOf(full!, undefined, FLAG_HOST_FULL));
    const lag = () => harness.answer(behind, behindOf(behind, 3));
    const hindrances = isFullFirst ? [refuse, lag] : [lag, refuse];
    hindrances[0]!();
    assert.deepEqual(harness.messenger.sent, [], 'the third may accept');
    hindrances[1]!();
    const [commit, ...others] = harness.askedRmw(MESSAGE_COMMIT);
    assert.equal(others.length, 0);
    assert.deepEqual([commit!.member, commit!.consensusSlot, commit!.stamp], [behind.member, 5, stampOf(4)]);
    assert.deepEqual([commit!.envelope, commit!.ring], [found.envelope, [{ slot: 5, id: OTHER_ID }]]);
    acknowledge(harness, [commit!], 1);
    // The two that have room are a quorum now.
    const again = harness.askedRmw(MESSAGE_PREPARE);
    promise(harness, again, { slot: 6, register: registerOf(found) }, { slot: 6, register: registerOf(found) });
    const once = harness.askedRmw(MESSAGE_ACCEPT);
    assert.deepEqual([once[0]!.id, once[0]!.envelope], [OWN_ID, accepts[0]!.envelope], 'unchanged');
    accept(harness, [once[first!.member]!, once[behind.member]!]);
    acknowledge(harness, harness.askedRmw(MESSAGE_COMMIT));
    assert.deepEqual([end(harness).outcome, harness.ended[0]!.value], ['ok', 'found']);
  }
});

test('should propose only when a quorum has room, and end when none can have', () => {
  const harness = new CoordinatorHarness();
  harness.rmw(set('new'));
  const prepares = harness.askedRmw(MESSAGE_PREPARE);
  promise(harness, prepares, { slot: 1, isFull: true }, { slot: 1 });
  const [third, ...others] = harness.askedRmw(MESSAGE_PREPARE);
  assert.equal(others.length, 0, 'the third may have room');
  harness.answer(third!, promiseOf(third!, { slot: 1 }));
  assert.equal(harness.askedRmw(MESSAGE_ACCEPT).length, 3);

  const full = new CoordinatorHarness();
  full.rmw(set('new'));
  promise(full, full.askedRmw(MESSAGE_PREPARE), { slot: 1, isFull: true }, { slot: 1, isFull: true });
  assert.equal(end(full).outcome, 'host-memory-full');
});

test('should tell the others what only a member without room knows of the slot before', () => {
  const harness = new CoordinatorHarness();
  harness.rmw(set('new'));
  const found = harness.copyOf('found', stampOf(4));
  const prepares = harness.askedRmw(MESSAGE_PREPARE);
  const full: Promised = { slot: 6, lastId: OTHER_ID, register: registerOf(found), isFull: true };
  harness.answer(prepares[0]!, promiseOf(prepares[0]!, full));
  harness.answer(prepares[1]!, behindOf(prepares[1]!, 4));
  const [third] = harness.askedRmw(MESSAGE_PREPARE);
  harness.answer(third!, behindOf(third!, 4));
  const commits = harness.askedRmw(MESSAGE_COMMIT);
  assert.deepEqual(
    commits.map(({ member, consensusSlot, envelope }) => [member, consensusSlot, envelope]),
    [0, 1, 2].filter((member) => member !== prepares[0]!.member).map((member) => [member, 5, found.envelope]),
  );
  acknowledge(harness, commits);
  // Those that have been told are a quorum with room.
  promise(harness, harness.askedRmw(MESSAGE_PREPARE), full, { slot: 6 });
  promise(harness, harness.askedRmw(MESSAGE_PREPARE), { slot: 6 });
  assert.equal(harness.askedRmw(MESSAGE_ACCEPT)[0]!.consensusSlot, 6);
});

test('should help what a member without room has accepted', () => {
  const harness = new CoordinatorHarness();
  harness.rmw(set('new'));
  const prepares = harness.askedRmw(MESSAGE_PREPARE);
  const accepted = {
    ...harness.copyOf('theirs', stampOf(0, 0, 0, 1)),
    id: OTHER_ID,
    ballot: { number: 3, writer: OTHER },
  };
  promise(harness, prepares, { slot: 1, accepted, isFull: true }, { slot: 1 });
  assert.deepEqual(harness.askedRmw(MESSAGE_ACCEPT)[0]!.id, OTHER_ID);
});

test('should fetch the value that members lack for the slot before when an accepted one came instead', () => {
  const harness = new CoordinatorHarness();
  harness.readyMask = 0b011;
  harness.rmw(BASE);
  const prepares = harness.askedRmw(MESSAGE_PREPARE);
  const newer = harness.copyOf('41', stampOf(4));
  const theirs = harness.copyOf('42', stampOf(4, 1, 0, 1));
  const register: Register = { ...registerOf(newer), envelope: 'elsewhere' };
  const accepted = { ...theirs, id: OTHER_ID, ballot: { number: 3, writer: OTHER } };
  promise(harness, prepares, { slot: 6, register, accepted }, { slot: 5 });
  const [fetch] = harness.askedRmw(MESSAGE_PREPARE);
  assert.deepEqual([fetch!.member, fetch!.flags & FLAG_REGISTER], [prepares[0]!.member, FLAG_REGISTER]);
  harness.answer(fetch!, promiseOf(fetch!, { slot: 6, register: registerOf(newer) }));
  const [commit] = harness.askedRmw(MESSAGE_COMMIT);
  assert.deepEqual([commit!.member, commit!.consensusSlot, commit!.envelope], [prepares[1]!.member, 5, newer.envelope]);
  harness.answer(commit!, commitReplyOf(commit!, FLAG_HOST_FULL));
  assert.equal(harness.coordinator.counters.backOffs, 1);
});

test('should not count promises of an earlier slot, nor what was accepted there', () => {
  const harness = new CoordinatorHarness();
  harness.rmw(BASE);
  const prepares = harness.askedRmw(MESSAGE_PREPARE);
  const old = harness.copyOf('old', stampOf(1, 1, 0, 1));
  const accepted = { ...old, id: OTHER_ID, ballot: { number: 3, writer: OTHER } };
  promise(harness, prepares, { slot: 5, accepted }, { slot: 6 });
  const [third] = harness.askedRmw(MESSAGE_PREPARE);
  harness.answer(third!, promiseOf(third!, { slot: 6 }));
  assert.deepEqual([harness.askedRmw(MESSAGE_ACCEPT)[0]!.id], [OWN_ID]);
});

test('should start a phase again when the epoch changes, with the same ballot where it was promised', () => {
  const harness = new CoordinatorHarness();
  const accepts = untilAccept(harness);
  harness.answer(accepts[0]!, acceptedOf(accepts[0]!));
  harness.epoch = 2;
  harness.answer(accepts[1]!, acceptedOf(accepts[1]!));
  const again = harness.askedRmw(MESSAGE_ACCEPT);
  assert.deepEqual([again.length, again[0]!.ballot, again[0]!.tag], [3, accepts[0]!.ballot, accepts[0]!.tag]);
  accept(harness, again);
  const commits = harness.askedRmw(MESSAGE_COMMIT);
  harness.answer(commits[0]!, commitReplyOf(commits[0]!));
  harness.epoch = 3;
  harness.answer(commits[1]!, commitReplyOf(commits[1]!));
  assert.equal(harness.ended.length, 0);
  acknowledge(harness, harness.askedRmw(MESSAGE_COMMIT));
  assert.equal(end(harness).outcome, 'ok');

  const preparing = new CoordinatorHarness();
  preparing.rmw(BASE);
  const prepares = preparing.askedRmw(MESSAGE_PREPARE);
  preparing.answer(prepares[0]!, promiseOf(prepares[0]!, { slot: 1 }));
  preparing.epoch = 2;
  preparing.answer(prepares[1]!, promiseOf(prepares[1]!, { slot: 1 }));
  assert.equal(preparing.askedRmw(MESSAGE_PREPARE).length, 2);
});

test('should end certainly without effect before anything was sent, and of unknown outcome after', () => {
  const before = new CoordinatorHarness();
  before.rmw(BASE);
  before.run(5_001);
  assert.equal(before.ended[0]!.outcome, 'deadline');

  for (const [outcome, giveUp] of [
    ['outcome-unknown', (harness: CoordinatorHarness, _id: number) => harness.run(5_001)],
    ['outcome-unknown', (harness: CoordinatorHarness, id: number) => harness.coordinator.cancel(id)],
    ['outcome-unknown', (harness: CoordinatorHarness, _id: number) => harness.coordinator.close()],
  ] as const) {
    const harness = new CoordinatorHarness();
    const operationId = harness.rmw(BASE);
    promise(harness, harness.askedRmw(MESSAGE_PREPARE), { slot: 1 }, { slot: 1 });
    giveUp(harness, operationId);
    assert.equal(end(harness).outcome, outcome);
  }

  const cancelled = new CoordinatorHarness();
  cancelled.coordinator.cancel(cancelled.rmw(BASE));
  assert.equal(end(cancelled).outcome, 'aborted');
});

test('should know that it had no effect when no member was sent its proposal', () => {
  const harness = new CoordinatorHarness();
  const operationId = harness.rmw(BASE);
  const prepares = harness.askedRmw(MESSAGE_PREPARE);
  harness.messenger.full = true;
  promise(harness, prepares, { slot: 1 }, { slot: 1 });
  harness.coordinator.cancel(operationId);
  assert.equal(end(harness).outcome, 'aborted');
});

test('should end with what members refuse it for, while nothing was sent', () => {
  for (const [flags, outcome, count] of [
    [FLAG_NOT_PERMITTED, 'not-permitted', 1],
    [FLAG_TRUSTED_FULL, 'trusted-memory-full', 2],
    [FLAG_HOST_FULL, 'host-memory-full', 2],
  ] as const) {
    const harness = new CoordinatorHarness();
    harness.rmw(BASE);
    const prepares = harness.askedRmw(MESSAGE_PREPARE);
    for (const request of prepares.slice(0, count)) harness.answer(request, nackOf(request, undefined, flags));
    assert.equal(end(harness).outcome, outcome);
  }
  for (const flags of [FLAG_HOST_FULL, FLAG_CONFLICT]) {
    const harness = new CoordinatorHarness();
    const accepts = untilAccept(harness);
    for (const request of accepts.slice(0, 2)) harness.answer(request, nackOf(request, undefined, flags));
    harness.run(5_001);
    assert.equal(harness.ended[0]!.outcome, 'outcome-unknown');
  }
});

test('should do nothing whose answer would be longer than its caller can be told', () => {
  for (const request of [set('new'), set('new', { condition: CONDITION_VALUE, expected: bytesOf('another') })]) {
    for (const [answerBytesMax, isDone] of [
      [5, false],
      [6, true],
    ] as const) {
      const harness = new CoordinatorHarness();
      untilPromised(harness, { ...request, answerBytesMax }, registerOf(harness.copyOf('longer', stampOf(4))));
      if (isDone) continue;
      assertReleased(harness);
      assert.equal(end(harness).outcome, 'value-too-large');
    }
  }
});

test('should end when the numbers of stamps, slots or ballots are used up', () => {
  const stamps = new CoordinatorHarness();
  untilPromised(stamps, BASE, registerOf(stamps.copyOf('1', stampOf(4, 1, 0, -1))));
  assertReleased(stamps);
  assert.equal(end(stamps).outcome, 'stamps-exhausted');

  const counters = new CoordinatorHarness();
  untilPromised(counters, BASE, registerOf(counters.copyOf('1', stampOf(STAMP_COUNTER_MAX))));
  assertReleased(counters);
  assert.equal(end(counters).outcome, 'stamps-exhausted');
  const [write] = counters.putUntilWrite('new', [3, 4], bytesOf('another key'));
  assert.equal(write!.stamp!.counter, 5, 'other keys can still be written');

  const ballots = new CoordinatorHarness();
  ballots.rmw(BASE);
  for (const request of ballots.askedRmw(MESSAGE_PREPARE)) {
    ballots.answer(request, nackOf(request, { number: STAMP_COUNTER_MAX, writer: OTHER }));
  }
  ballots.run(250);
  assert.equal(end(ballots).outcome, 'stamps-exhausted');
});

test('should give no ballot twice, whatever the key', () => {
  const harness = new CoordinatorHarness();
  harness.coordinator.cancel(harness.rmw(BASE, bytesOf('a')));
  for (const key of ['a', 'b']) harness.rmw(BASE, bytesOf(key));
  const numbers = harness.askedRmw(MESSAGE_PREPARE).map(({ ballot }) => ballot!.number);
  assert.deepEqual(new Set(numbers), new Set([1, 2, 3]));
});

test('should run its own read-modify-writes of one key one after the other, and give up those that wait at will', () => {
  const harness = new CoordinatorHarness();
  const first = harness.rmw(BASE);
  const second = harness.rmw(BASE);
  harness.rmw(BASE, KEY, 3_000);
  harness.rmw(BASE);
  assert.equal(harness.askedRmw(MESSAGE_PREPARE).length, 2, 'only the first asks');
  harness.coordinator.cancel(second);
  harness.run(3_001);
  assert.deepEqual(harness.outcomes(), ['aborted', 'deadline']);
  harness.messenger.take();
  harness.coordinator.cancel(first);
  const prepares = harness.askedRmw(MESSAGE_PREPARE);
  assert.deepEqual([prepares.length > 0, new Set(prepares.map(({ slot }) => slot)).size], [true, 1]);
  harness.coordinator.close();
  assert.deepEqual(harness.outcomes().slice(2), ['aborted', 'closed']);
  harness.assertIdle();
});

test('should not let a key wait for another that was chosen for its hash', () => {
  const harness = new CoordinatorHarness();
  // FNV-1a by words, of two words: the second takes back what the first differs by.
  const [key, chosen] = [Buffer.alloc(8), Buffer.alloc(8)];
  const afterFirst = (first: number): number => Math.imul(0x811c9dc5 ^ first, 0x01000193);
  key.writeInt32LE(1, 0);
  chosen.writeInt32LE(2, 0);
  chosen.writeInt32LE(afterFirst(1) ^ afterFirst(2), 4);
  harness.rmw(BASE, chosen);
  harness.rmw(BASE, chosen);
  harness.messenger.take();
  harness.rmw(BASE, key);
  assert.equal(harness.askedRmw(MESSAGE_PREPARE).length, 2, 'it asks at once');
});

test('should prepare the next one of its key as the one before is decided, a few times in a row, and then once when it has ended', () => {
  const harness = new CoordinatorHarness();
  for (let i = 0; i < 7; i++) harness.rmw(BASE);
  let prepares = harness.askedRmw(MESSAGE_PREPARE);
  const startedEarly: boolean[] = [];
  for (let i = 1; i <= 6; i++) {
    promise(harness, prepares, { slot: i }, { slot: i });
    accept(harness, harness.askedRmw(MESSAGE_ACCEPT));
    const types = (): AskedRmw[][] => {
      const asked = harness.askedRmw();
      return [MESSAGE_COMMIT, MESSAGE_PREPARE].map((type) => asked.filter((one) => one.type === type));
    };
    const [commits, early] = types();
    assert.deepEqual([commits!.length, harness.ended.length], [3, i - 1], 'answered only when a quorum holds it');
    startedEarly.push(early!.length > 0);
    acknowledge(harness, commits!);
    assert.equal(harness.ended.length, i);
    prepares = early!.length > 0 ? early! : types()[1]!;
  }
  assert.deepEqual(startedEarly, [true, true, true, true, false, true]);
});

test('should start no read-modify-write when memory is full, and keep nothing of it', () => {
  const harness = new CoordinatorHarness({ hostBytesMax: 2 ** 20 });
  assert.equal(harness.rmw(set('x'.repeat(900_000), { expected: new Uint8Array(900_000) })), -1);
  harness.assertIdle();
});

test('should tell the stamp that a get read and a put wrote', () => {
  const harness = new CoordinatorHarness();
  const copy = harness.copyOf('value', stampOf(7, 3));
  harness.get();
  for (const request of harness.asked(1)) harness.answerRead(request, copy);
  assert.deepEqual(harness.told[0]!, { ...stampOf(7, 3), hasValue: true });
  harness.answerWrites(harness.putUntilWrite('new', [7, 7]));
  assert.deepEqual(harness.told[1]!, { ...WRITER, counter: 8, rmw: 0, hasValue: false });
});
