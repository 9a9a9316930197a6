/** Puts of values larger than a datagram, answer by answer. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FLAG_CONFLICT, FLAG_HOST_FULL, FLAG_NOT_PERMITTED, MESSAGE_STAMP } from '../../src/protocol/messages.ts';
import { openValue, sealableValue } from '../workers/sealing-driver.ts';
import { CoordinatorHarness, KEY } from './coordinator-harness.ts';
import type { AskedWritePart } from './coordinator-harness.ts';
import { bytesOf, stampReply, writeReply } from './fixtures.ts';
import { busyReply, progressReply } from './part-fixtures.ts';
import { WRITER } from './replica-harness.ts';

const PART_BYTES = 64;
const ENVELOPE_HEADER_BYTES = 32;
/** 7 parts: the key, five of 64 bytes, and 12 bytes. */
const VALUE = 'abcdefghij'.repeat(30);
const PART_COUNT = 7;
const ALL_PARTS = [0, 1, 2, 3, 4, 5, 6];

function harnessWith(options: ConstructorParameters<typeof CoordinatorHarness>[0] = {}): CoordinatorHarness {
  const harness = new CoordinatorHarness(options);
  harness.messenger.bytesMax = 56 + PART_BYTES;
  return harness;
}

/** A put whose parts are on their way; what has left. */
function putUntilParts(
  harness: CoordinatorHarness,
  value = VALUE,
  key = KEY,
  rooms: readonly number[] = [],
): AskedWritePart[] {
  harness.put(value, key);
  harness.turn(0);
  for (const request of harness.asked(MESSAGE_STAMP)) harness.answer(request, stampReply(request, 4));
  rooms.forEach((room, member) => harness.setRoom(member, room));
  harness.turn(0);
  return harness.writeParts();
}

function partsTo(parts: readonly AskedWritePart[], member: number): number[] {
  return parts.filter((part) => part.member === member).map(({ part }) => part);
}

function lastTo(parts: readonly AskedWritePart[], member: number): AskedWritePart {
  return parts.findLast((part) => part.member === member)!;
}

/** A member says that it has these. */
function tell(harness: CoordinatorHarness, parts: readonly AskedWritePart[], member: number, has: readonly number[]) {
  harness.answer({ member }, progressReply(lastTo(parts, member), has, PART_COUNT));
}

function done(harness: CoordinatorHarness, parts: readonly AskedWritePart[], member: number, flags = 0): void {
  harness.answer({ member }, writeReply(lastTo(parts, member), flags));
}

/** Milliseconds until something is sent; what that is. */
function untilSent(harness: CoordinatorHarness, msMax = 2_000): { ms: number; parts: AskedWritePart[] } {
  for (let ms = 1; ms <= msMax; ms++) {
    harness.turn(1);
    if (harness.messenger.sent.length > 0) return { ms, parts: harness.writeParts() };
  }
  return assert.fail('nothing is sent');
}

test('should send each member all parts in turn, which give the sealed value under one stamp', () => {
  const harness = harnessWith();
  const parts = putUntilParts(harness);
  assert.deepEqual(
    parts.map(({ part, member }) => [part, member]),
    ALL_PARTS.flatMap((part) => [0, 1, 2].map((member) => [part, member])),
    'each gets its first part before one gets the second',
  );
  for (const member of [0, 1, 2]) {
    const own = parts.filter((part) => part.member === member);
    const envelope = Buffer.concat(own.map(({ piece }) => piece));
    assert.equal(envelope.length, ENVELOPE_HEADER_BYTES + VALUE.length);
    for (const { stamp, flags, envelopeBytes, partBytes, tag } of own) {
      assert.deepEqual(stamp, { ...WRITER, counter: 5, rmw: 0 });
      assert.deepEqual([flags, envelopeBytes, partBytes], [0, envelope.length, PART_BYTES]);
      assert.deepEqual(tag, own[0]!.tag);
    }
    assert.deepEqual(own[0]!.key, KEY);
    const placed = sealableValue(harness.elsewhere, bytesOf(VALUE), KEY);
    placed.envelope.bytes.set(envelope);
    assert.deepEqual(openValue(harness.elsewhere, { ...placed, tagWords: own[0]!.tag }), bytesOf(VALUE));
  }
  done(harness, parts, 0);
  assert.deepEqual(harness.ended, []);
  done(harness, parts, 2);
  assert.deepEqual(harness.outcomes(), ['ok']);
  done(harness, parts, 1);
  harness.assertIdle();
});

test('should send as much as a session takes, and go on when it takes more, each member at its own pace', () => {
  const harness = harnessWith();
  const first = putUntilParts(harness, VALUE, KEY, [3, 1, 0]);
  assert.deepEqual(
    [0, 1, 2].map((member) => partsTo(first, member)),
    [[0, 1, 2], [0], []],
  );
  harness.turn(0);
  harness.assertNothingAsked();
  harness.setRoom(2, 100);
  harness.setRoom(0, 1);
  harness.turn(0);
  const more = harness.writeParts();
  assert.deepEqual(
    [0, 1, 2].map((member) => partsTo(more, member)),
    [[3], [], ALL_PARTS],
  );
});

test('should send again just the part that three later ones have overtaken, and say that one was lost', () => {
  const harness = harnessWith();
  const parts = putUntilParts(harness);
  tell(harness, parts, 1, [0, 2, 3]);
  harness.turn(0);
  harness.assertNothingAsked();
  assert.deepEqual(harness.lossCounts, [0, 0, 0]);
  tell(harness, parts, 1, [0, 2, 3, 4]);
  harness.turn(0);
  const again = harness.writeParts();
  assert.deepEqual(
    again.map(({ part, member }) => [part, member]),
    [[1, 1]],
  );
  assert.equal(harness.coordinator.counters.partsRepeated, 1);
  assert.deepEqual(harness.lossCounts, [0, 1, 0], 'the message layer is told, and goes slower');
  tell(harness, parts, 1, [0, 1, 2, 3, 4, 5]);
  harness.turn(0);
  harness.assertNothingAsked();
});

test('should take what a bitmap says of parts that there are, and nothing of others', () => {
  const harness = harnessWith();
  const parts = putUntilParts(harness);
  harness.answer({ member: 0 }, progressReply(lastTo(parts, 0), [0, 1, 2, 7, 63, 64, 500, 1_023], 1_024));
  harness.turn(0);
  harness.assertNothingAsked();
  assert.deepEqual(partsTo(untilSent(harness).parts, 0), [3], 'one, to learn more');
  assert.deepEqual(partsTo(untilSent(harness).parts, 0), [3, 4, 5, 6]);
});

test('should send again what is under way when no member says a word, and wait longer each time', () => {
  const harness = harnessWith();
  const parts = putUntilParts(harness);
  tell(harness, parts, 0, [0, 1, 2, 3]);
  const waits: number[] = [];
  for (let i = 0; i < 3; i++) {
    const { ms, parts: again } = untilSent(harness);
    // At first one, to learn more.
    assert.deepEqual(partsTo(again, 0), i === 0 ? [4] : [4, 5, 6]);
    assert.deepEqual(partsTo(again, 1), i === 0 ? [0] : ALL_PARTS);
    assert.deepEqual(
      [...new Set(again.map(({ generation }) => generation))],
      [parts[0]!.generation],
      'it is the same phase',
    );
    waits.push(ms);
  }
  assert.ok(waits[1]! > waits[0]! && waits[2]! > waits[1]!, waits.join());
  assert.deepEqual(harness.ended, []);
});

test('should count silence from when parts have left, however long they waited for room', () => {
  const harness = harnessWith();
  assert.deepEqual(putUntilParts(harness, VALUE, KEY, [0, 0, 0]), []);
  harness.run(100);
  for (const member of [0, 1, 2]) harness.setRoom(member, 100);
  harness.turn(0);
  assert.deepEqual(partsTo(harness.writeParts(), 1), ALL_PARTS);
  assert.deepEqual(partsTo(untilSent(harness).parts, 1), [0], 'the first silence: one, to learn more');
  assert.equal(harness.coordinator.counters.partsRepeated, 3);
});

test('should wait for parts as long as parts take, which is longer than small messages do', () => {
  const harness = harnessWith();
  /** Puts a value whose parts all members have after so many milliseconds. Returns how many were sent again. */
  const putAnsweredAfter = (ms: number): number => {
    const before = harness.coordinator.counters.partsRepeated;
    const parts = putUntilParts(harness);
    harness.run(ms);
    harness.messenger.take();
    for (const member of [0, 1, 2]) done(harness, parts, member);
    return harness.coordinator.counters.partsRepeated - before;
  };
  for (let i = 0; i < 3; i++) putAnsweredAfter(0);
  assert.ok(putAnsweredAfter(30) > 0, 'all answers so far came at once');
  const repeated = Array.from({ length: 8 }, () => putAnsweredAfter(30));
  assert.deepEqual(repeated.slice(3), [0, 0, 0, 0, 0], repeated.join());
  // What is really lost is still noticed, after a time-out of parts.
  const { ms } = (putUntilParts(harness), untilSent(harness));
  assert.ok(ms >= 30 && ms < 300, `${ms} ms`);
  assert.equal(harness.outcomes().filter((outcome) => outcome === 'ok').length, 12);
});

test('should leave a busy member alone for 5 ms, then try it with one part, and not hold up the others', () => {
  const harness = harnessWith();
  for (const member of [0, 1, 2]) harness.setRoom(member, 4);
  const parts = putUntilParts(harness);
  harness.answer({ member: 1 }, busyReply(lastTo(parts, 1)));
  for (const member of [0, 1, 2]) harness.setRoom(member, 100);
  harness.turn(0);
  const meanwhile = harness.writeParts();
  assert.deepEqual(partsTo(meanwhile, 1), []);
  assert.equal(partsTo(meanwhile, 0).at(-1), 6);
  assert.equal(partsTo(meanwhile, 2).at(-1), 6);
  assert.equal(harness.coordinator.nextTickMs, harness.nowMs + 5, 'nothing else would call for it');
  harness.run(4);
  harness.assertNothingAsked();
  harness.turn(1);
  assert.deepEqual(partsTo(harness.writeParts(), 1), [0], 'one, to learn whether it has a place now');
  tell(harness, parts, 1, [0]);
  harness.turn(0);
  assert.deepEqual(partsTo(harness.writeParts(), 1), [1, 2, 3, 4, 5, 6]);
  done(harness, parts, 0);
  done(harness, parts, 2);
  assert.deepEqual(harness.outcomes(), ['ok']);
});

test('should send again what one member lacks though another one says all the time that it is busy', () => {
  const harness = harnessWith();
  const parts = putUntilParts(harness);
  done(harness, parts, 0);
  // The last part to member 1 is lost: nothing that was sent later can show it.
  tell(harness, parts, 1, [0, 1, 2, 3, 4, 5]);
  let isSent = false;
  for (let ms = 0; ms < 2_000 && !isSent; ms++) {
    harness.turn(1);
    const again = harness.writeParts();
    if (partsTo(again, 2).length > 0) harness.answer({ member: 2 }, busyReply(lastTo(again, 2)));
    else if (ms === 0) harness.answer({ member: 2 }, busyReply(lastTo(parts, 2)));
    isSent = partsTo(again, 1).includes(6);
  }
  assert.ok(isSent, 'a quorum is there, and lacks one part');
});

test('should not ask for turns when it waits for room at a member that was busy', () => {
  const harness = harnessWith();
  const parts = putUntilParts(harness);
  done(harness, parts, 0);
  harness.answer({ member: 1 }, busyReply(lastTo(parts, 1)));
  harness.setRoom(1, 0);
  harness.run(10);
  harness.writeParts();
  assert.ok(harness.coordinator.nextTickMs > harness.nowMs, 'what is due is not in the past');
  harness.setRoom(1, 100);
  harness.turn(0);
  assert.deepEqual(partsTo(harness.writeParts(), 1), [0]);
});

test('should begin again at a member that has begun anew: what it forgot does not count as arrived', () => {
  const harness = harnessWith();
  const parts = putUntilParts(harness);
  tell(harness, parts, 1, [0, 1, 2, 3, 4, 5]);
  harness.turn(0);
  harness.assertNothingAsked();
  // It gave up what it had; the last part is the first of what it has now.
  tell(harness, parts, 1, [6]);
  harness.turn(0);
  assert.deepEqual(partsTo(harness.writeParts(), 1), [0, 1, 2, 3, 4, 5]);
  tell(harness, parts, 1, [0, 1, 2, 6]);
  harness.turn(0);
  harness.assertNothingAsked();
  done(harness, parts, 1);
  done(harness, parts, 0);
  assert.deepEqual(harness.outcomes(), ['ok']);
});

test('should end a put that a minority refuses, and not say that it had no effect when the majority does', () => {
  const one = harnessWith();
  const parts = putUntilParts(one);
  done(one, parts, 0, FLAG_HOST_FULL);
  done(one, parts, 1);
  assert.deepEqual(one.ended, []);
  done(one, parts, 2);
  assert.deepEqual(one.outcomes(), ['ok']);
  one.assertIdle();
  const two = harnessWith();
  const toTwo = putUntilParts(two);
  done(two, toTwo, 0, FLAG_HOST_FULL);
  done(two, toTwo, 1, FLAG_CONFLICT);
  assert.deepEqual(two.outcomes(), ['outcome-unknown'], 'the third may have it');
  two.assertIdle();
});

test('should say that a put was refused when all members have, at the first asking', () => {
  const harness = harnessWith({ memberCount: 1 });
  const parts = putUntilParts(harness);
  done(harness, parts, 0, FLAG_NOT_PERMITTED);
  assert.deepEqual(harness.outcomes(), ['not-permitted']);
  harness.assertIdle();
});

test('should count each member once, and nothing of an earlier phase or of another epoch', () => {
  const harness = harnessWith();
  const parts = putUntilParts(harness);
  done(harness, parts, 0);
  done(harness, parts, 0);
  tell(harness, parts, 0, [1]);
  const { generation } = lastTo(parts, 1);
  for (const late of [generation - 1, generation + 1]) {
    harness.answer({ member: 1 }, writeReply({ ...lastTo(parts, 1), generation: late }));
    harness.answer({ member: 1 }, progressReply({ ...lastTo(parts, 1), generation: late }, [0, 1, 4, 5], PART_COUNT));
  }
  assert.equal(harness.drops.of('late-answer'), 6);
  harness.answer({ member: 1 }, writeReply(lastTo(parts, 1)), 1, 2);
  assert.equal(harness.drops.of('wrong-epoch'), 1);
  harness.turn(0);
  harness.assertNothingAsked();
  assert.deepEqual(harness.ended, []);
});

test('should go on where it was when the epoch changes: parts that have arrived are not sent again', () => {
  const harness = harnessWith();
  const parts = putUntilParts(harness);
  tell(harness, parts, 0, [0, 1, 2, 3]);
  tell(harness, parts, 2, [0, 1, 2]);
  harness.epoch = 2;
  tell(harness, parts, 0, [0, 1, 2, 3, 4]);
  harness.turn(0);
  const again = harness.writeParts();
  assert.deepEqual(partsTo(again, 0), [4, 5, 6], 'the answer of the new epoch was to a phase of the old one');
  assert.deepEqual(partsTo(again, 1), ALL_PARTS);
  assert.deepEqual(partsTo(again, 2), [3, 4, 5, 6]);
  assert.deepEqual(again[0]!.stamp, parts[0]!.stamp, 'under the same stamp');
  assert.notEqual(again[0]!.generation, parts[0]!.generation);
  done(harness, again, 0);
  done(harness, again, 1);
  assert.deepEqual(harness.outcomes(), ['ok']);
});

// -- the rest, after the answer ---------------------------------------------------------------------------------------

test('should send the rest to the third member after a quorum has it all, in a place of its own', () => {
  const harness = harnessWith({ capacity: 1 });
  harness.setRoom(0, 2);
  const parts = putUntilParts(harness);
  done(harness, parts, 1);
  done(harness, parts, 2);
  assert.deepEqual(harness.outcomes(), ['ok']);
  assert.deepEqual([harness.coordinator.active, harness.coordinator.spreadCount], [0, 1]);
  harness.setRoom(0, 100);
  harness.turn(0);
  const rest = harness.writeParts();
  assert.deepEqual(partsTo(rest, 0).at(-1), 6);
  assert.ok(rest.every(({ member }) => member === 0));
  assert.ok(rest.every(({ generation, slot }) => generation === parts[0]!.generation && slot === parts[0]!.slot));

  // The only place is free, and it is another one: the answers to both are told apart.
  const next = putUntilParts(harness, 'x'.repeat(300));
  assert.notEqual(next[0]!.slot, parts[0]!.slot);
  done(harness, next, 1);
  done(harness, rest, 0);
  assert.deepEqual(harness.outcomes(), ['ok'], 'the first write is done everywhere, the second is not');
  assert.equal(harness.coordinator.spreadCount, 0);
  done(harness, next, 0);
  assert.deepEqual(harness.outcomes(), ['ok', 'ok']);
  done(harness, next, 2);
  harness.assertIdle();
});

test('should send the rest again that is lost, and give up a member that says nothing to it three times', () => {
  const harness = harnessWith();
  const parts = putUntilParts(harness);
  done(harness, parts, 1);
  done(harness, parts, 2);
  for (const again of [[0], ALL_PARTS]) assert.deepEqual(partsTo(untilSent(harness).parts, 0), again);
  // A word of it, and there is patience again.
  tell(harness, parts, 0, [0, 1, 2, 3]);
  for (const again of [[4], [4, 5, 6]]) assert.deepEqual(partsTo(untilSent(harness).parts, 0), again);
  assert.equal(harness.coordinator.spreadCount, 1);
  harness.run(2_000);
  harness.assertNothingAsked();
  harness.assertIdle();
  done(harness, parts, 0);
  assert.deepEqual(harness.outcomes(), ['ok'], 'it ends once');
});

test('should give up the rest at the deadline, when the member refuses it, and when the epoch changes', () => {
  const late = harnessWith();
  const parts = putUntilParts(late);
  done(late, parts, 1);
  done(late, parts, 2);
  for (let ms = 0; ms < 5_000; ms += 100) {
    tell(late, parts, 0, [ms % 7]);
    late.turn(100);
  }
  late.assertIdle();

  const refused = harnessWith();
  const toRefuse = putUntilParts(refused);
  done(refused, toRefuse, 1);
  done(refused, toRefuse, 2);
  done(refused, toRefuse, 0, FLAG_HOST_FULL);
  refused.assertIdle();

  const changed = harnessWith();
  const toChange = putUntilParts(changed);
  done(changed, toChange, 1);
  done(changed, toChange, 2);
  changed.epoch = 2;
  tell(changed, toChange, 0, [0]);
  changed.assertIdle();
});

test('should have as many go on after their answers as there are places for, and no more', () => {
  const harness = harnessWith({ capacity: 3 });
  for (let i = 0; i < 20; i++) {
    const parts = putUntilParts(harness, VALUE, bytesOf(`key ${i}`));
    done(harness, parts, 1);
    done(harness, parts, 2);
    assert.equal(harness.coordinator.active, 0);
  }
  assert.equal(harness.ended.length, 20);
  assert.equal(harness.coordinator.spreadCount, 16);
  harness.run(3_000);
  harness.assertIdle();
});

// -- ends in the middle -----------------------------------------------------------------------------------------------

test('should say that the outcome is unknown when it is cancelled, late or closed in the middle', () => {
  for (const way of ['cancel', 'deadline', 'close'] as const) {
    const harness = harnessWith();
    for (const member of [0, 1, 2]) harness.setRoom(member, 3);
    const operationId = harness.put(VALUE);
    harness.turn(0);
    for (const request of harness.asked(MESSAGE_STAMP)) harness.answer(request, stampReply(request, 0));
    harness.turn(0);
    const parts = harness.writeParts();
    assert.ok(parts.length > 0);
    tell(harness, parts, 0, [0]);
    if (way === 'cancel') harness.coordinator.cancel(operationId);
    else if (way === 'close') harness.coordinator.close();
    else harness.turn(5_000);
    assert.deepEqual(harness.outcomes(), ['outcome-unknown'], way);
    harness.messenger.take();
    for (const member of [0, 1, 2]) harness.setRoom(member, 100);
    done(harness, parts, 0);
    tell(harness, parts, 1, [0, 1]);
    harness.run(500);
    harness.assertNothingAsked();
    harness.assertIdle();
  }
});

test('should end as aborted when it is cancelled before anything was written', () => {
  const harness = harnessWith();
  const operationId = harness.put(VALUE);
  harness.turn(0);
  assert.equal(harness.asked(MESSAGE_STAMP).length, 2);
  harness.coordinator.cancel(operationId);
  assert.deepEqual(harness.outcomes(), ['aborted']);
  harness.run(10);
  harness.assertNothingAsked();
  harness.assertIdle();
});

test('should give back all that goes on after its answer when it is closed', () => {
  const harness = harnessWith();
  const parts = putUntilParts(harness);
  done(harness, parts, 1);
  done(harness, parts, 2);
  assert.equal(harness.coordinator.spreadCount, 1);
  harness.coordinator.close();
  assert.deepEqual(harness.outcomes(), ['ok'], 'its owner has its answer');
  harness.run(500);
  harness.assertNothingAsked();
  harness.assertIdle();
});
