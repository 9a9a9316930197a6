/** Requests that a session took nothing of, for want of credit: they leave as soon as there is room, first come first served. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MESSAGE_READ, MESSAGE_STAMP, MESSAGE_WRITE } from '../../src/protocol/messages.ts';
import { CoordinatorHarness } from './coordinator-harness.ts';
import { bytesOf, readRequest, stampReply } from './fixtures.ts';

function keysAsked(harness: CoordinatorHarness): string[] {
  return harness.messenger.take().map((message) => Buffer.from(readRequest(message).key).toString());
}

function setRoom(harness: CoordinatorHarness, room: number): void {
  for (const member of [0, 1, 2]) harness.setRoom(member, room);
}

/** A put whose stamp is known, and whose members take nothing now; one of those that have answered. */
function putBeforeWrite(): { harness: CoordinatorHarness; answering: number } {
  const harness = new CoordinatorHarness();
  harness.put('x');
  harness.turn(0);
  const stamps = harness.asked(MESSAGE_STAMP);
  setRoom(harness, 0);
  for (const request of stamps) harness.answer(request, stampReply(request, 4));
  return { harness, answering: stamps[0]!.member };
}

test('should send what was held back in the order of asking, as room comes, without waiting for a timer', () => {
  const harness = new CoordinatorHarness({ memberCount: 1 });
  setRoom(harness, 0);
  for (const key of ['a', 'b', 'c', 'd', 'e']) harness.get(bytesOf(key));
  harness.turn(0);
  harness.assertNothingAsked();
  harness.setRoom(0, 2);
  harness.turn(0);
  assert.deepEqual(keysAsked(harness), ['a', 'b']);
  harness.setRoom(0, 1);
  harness.turn(0);
  assert.deepEqual(keysAsked(harness), ['c']);
  harness.setRoom(0, 100);
  harness.turn(0);
  assert.deepEqual(keysAsked(harness), ['d', 'e']);
  harness.turn(0);
  harness.assertNothingAsked();
  assert.equal(harness.coordinator.counters.retransmissions, 0);
});

test('should send a write to all members or to none, while one that answers takes nothing', () => {
  const { harness, answering } = putBeforeWrite();
  harness.turn(0);
  for (const member of [0, 1, 2]) harness.setRoom(member, member === answering ? 0 : 100);
  harness.turn(0);
  // Nor does what comes later take the room of those that the write waits for, or it would wait for ever.
  const later = harness.get(bytesOf('later'));
  harness.turn(0);
  harness.assertNothingAsked();
  harness.coordinator.cancel(later);
  harness.setRoom(answering, 100);
  harness.turn(0);
  assert.deepEqual(
    harness.asked(MESSAGE_WRITE).map(({ member }) => member),
    [0, 1, 2],
  );
});

test('should not wait for one that takes nothing and has not answered for a while', () => {
  const { harness } = putBeforeWrite();
  harness.run(300);
  harness.setRoom(1, 100);
  harness.setRoom(2, 100);
  harness.turn(0);
  assert.deepEqual(
    harness.asked(MESSAGE_WRITE).map(({ member }) => member),
    [1, 2],
  );
});

test('should leave a request that was held back the time of a round trip once it has left', () => {
  const harness = new CoordinatorHarness();
  setRoom(harness, 0);
  harness.get();
  harness.run(140);
  setRoom(harness, 100);
  harness.turn(0);
  assert.equal(harness.asked(MESSAGE_READ).length, 2);
  harness.run(100);
  harness.assertNothingAsked();
});

test('should not hold up a member for another one that takes nothing', () => {
  const harness = new CoordinatorHarness();
  setRoom(harness, 0);
  for (const key of ['a', 'b', 'c']) harness.put('x', bytesOf(key));
  harness.turn(0);
  harness.setRoom(1, 100);
  harness.setRoom(2, 100);
  harness.turn(0);
  const asked = harness.asked(MESSAGE_STAMP);
  assert.ok(asked.length >= 3 && asked.every(({ member }) => member !== 0));
  for (const member of [1, 2]) {
    const keys = asked.filter((request) => request.member === member).map(({ key }) => Buffer.from(key).toString());
    assert.deepEqual(keys, keys.toSorted(), 'in order at each');
  }
});

test('should send a WRITE that was held back under the stamp that it has, once', () => {
  const { harness } = putBeforeWrite();
  harness.turn(0);
  harness.assertNothingAsked();
  setRoom(harness, 100);
  harness.turn(0);
  const writes = harness.asked(MESSAGE_WRITE);
  assert.deepEqual(
    writes.map(({ member, stamp }) => [member, stamp.counter]),
    [
      [0, 5],
      [1, 5],
      [2, 5],
    ],
  );
  harness.answerWrites(writes);
  assert.deepEqual(harness.outcomes(), ['ok']);
  harness.assertIdle();
});

test('should send nothing of an operation that has ended meanwhile, nor of a phase that is over', () => {
  const harness = new CoordinatorHarness({ memberCount: 1 });
  setRoom(harness, 0);
  const cancelled = harness.get(bytesOf('a'));
  harness.get(bytesOf('b'));
  harness.coordinator.cancel(cancelled);
  harness.setRoom(0, 100);
  harness.turn(0);
  assert.deepEqual(keysAsked(harness), ['b']);
  // Its place has another operation by now: that one's request leaves once.
  setRoom(harness, 0);
  harness.coordinator.cancel(harness.get(bytesOf('c')));
  harness.get(bytesOf('d'));
  harness.setRoom(0, 100);
  harness.turn(0);
  assert.deepEqual(keysAsked(harness), ['d']);
});

test('should not let a request that comes later overtake those that wait', () => {
  const harness = new CoordinatorHarness({ memberCount: 1 });
  setRoom(harness, 0);
  for (const key of ['a', 'b']) harness.get(bytesOf(key));
  harness.turn(0);
  // Room has come with the datagrams of this turn; what they end begins something new before the turn's end.
  harness.setRoom(0, 2);
  harness.get(bytesOf('c'));
  harness.turn(0);
  assert.deepEqual(keysAsked(harness), ['a', 'b']);
  harness.setRoom(0, 2);
  harness.turn(0);
  assert.deepEqual(keysAsked(harness), ['c']);
});

test('should ask at the time-out those that it could not ask before, too', () => {
  const harness = new CoordinatorHarness();
  harness.get();
  const reads = harness.asked(MESSAGE_READ);
  assert.equal(reads.length, 2);
  const third = [0, 1, 2].find((member) => !reads.some((read) => read.member === member))!;
  harness.setRoom(third, 0);
  harness.run(300);
  assert.ok(harness.asked(MESSAGE_READ).every(({ member }) => member !== third));
  harness.setRoom(third, 100);
  harness.turn(0);
  assert.deepEqual(
    harness.asked(MESSAGE_READ).map(({ member }) => member),
    [third],
  );
});
