/** Puts and deletes, answer by answer. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  FLAG_CONFLICT,
  FLAG_HOST_FULL,
  FLAG_NOT_PERMITTED,
  FLAG_TOMBSTONE,
  FLAG_TRUSTED_FULL,
  MESSAGE_STAMP,
  MESSAGE_WRITE,
} from '../../src/protocol/messages.ts';
import { STAMP_COUNTER_MAX } from '../../src/stamp.ts';
import { ENVELOPE_HEADER_BYTES } from '../../workers/sealing.ts';
import { openValue, sealableValue } from '../workers/sealing-driver.ts';
import { bytesOf, stampReply, writeReply } from './fixtures.ts';
import { DEADLINE_MS, CoordinatorHarness, KEY } from './coordinator-harness.ts';
import type { Asked } from './coordinator-harness.ts';
import { WRITER } from './replica-harness.ts';

/** What somebody else reads from a WRITE. */
function opened(harness: CoordinatorHarness, write: Asked): string | undefined {
  const placed = sealableValue(
    harness.elsewhere,
    new Uint8Array(write.value.length - ENVELOPE_HEADER_BYTES),
    write.key,
  );
  placed.envelope.bytes.set(write.value);
  const value = openValue(harness.elsewhere, { ...placed, tagWords: write.tag });
  return value === undefined ? undefined : Buffer.from(value).toString();
}

test('should ask a quorum for its stamps, then write to all under the next counter, and end at a quorum', () => {
  const harness = new CoordinatorHarness();
  harness.put('hello');
  const stamps = harness.asked(MESSAGE_STAMP);
  assert.equal(stamps.length, 2);
  for (const { key, envelopeBytes } of stamps) {
    assert.deepEqual(key, KEY);
    assert.equal(envelopeBytes, ENVELOPE_HEADER_BYTES + 5, 'it says what the WRITE will bring');
  }
  harness.turn(0);
  harness.answer(stamps[0]!, stampReply(stamps[0]!, 4));
  harness.assertNothingAsked();
  harness.answer(stamps[1]!, stampReply(stamps[1]!, 9));
  const writes = harness.asked(MESSAGE_WRITE);
  assert.deepEqual(
    writes.map(({ member }) => member),
    [0, 1, 2],
  );
  for (const write of writes) {
    assert.deepEqual(write.stamp, { ...WRITER, counter: 10, rmw: 0 });
    assert.equal(write.flags, 0);
    assert.equal(opened(harness, write), 'hello');
  }
  harness.answerWrites(writes.slice(2));
  assert.deepEqual(harness.ended, []);
  harness.answerWrites(writes.slice(0, 1));
  assert.deepEqual(harness.outcomes(), ['ok']);
  harness.assertIdle();
});

test('should count each acknowledgement once', () => {
  const harness = new CoordinatorHarness();
  const [first] = harness.putUntilWrite('x');
  for (let i = 0; i < 5; i++) harness.answer(first!, writeReply(first!));
  assert.deepEqual(harness.ended, []);
  assert.equal(harness.drops.of('late-answer'), 4);
});

test('should not take an answer to STAMP for an acknowledgement, nor the other way round', () => {
  const harness = new CoordinatorHarness();
  harness.put('x');
  const stamps = harness.asked(MESSAGE_STAMP);
  harness.turn(0);
  for (const stamp of stamps) harness.answer(stamp, writeReply(stamp));
  harness.assertNothingAsked();
  for (const stamp of stamps) harness.answer(stamp, stampReply(stamp, 0));
  const writes = harness.asked(MESSAGE_WRITE);
  for (const write of writes) harness.answer(write, stampReply(write, 0));
  // Late answers to the first phase count for nothing in the second.
  for (const stamp of stamps) harness.answer(stamp, writeReply(stamp));
  assert.deepEqual(harness.ended, []);
});

test('should write a delete as a tombstone without a value', () => {
  const harness = new CoordinatorHarness();
  harness.delete();
  const stamps = harness.asked(MESSAGE_STAMP);
  assert.ok(stamps.every(({ envelopeBytes }) => envelopeBytes === 0));
  for (const stamp of stamps) harness.answer(stamp, stampReply(stamp, 3));
  const writes = harness.asked(MESSAGE_WRITE);
  for (const write of writes) {
    assert.equal(write.flags, FLAG_TOMBSTONE);
    assert.deepEqual([write.stamp.counter, write.envelopeBytes], [4, 0]);
    assert.ok(write.tag.every((word) => word === 0));
  }
  harness.answerWrites(writes);
  assert.deepEqual(harness.outcomes(), ['ok']);
  harness.assertIdle();
});

test('should never use a counter again, not even that of a write that failed, whatever the key', () => {
  const harness = new CoordinatorHarness();
  const used = new Set<number>();
  let greatest = 0;
  const note = (writes: readonly Asked[]) => {
    const { counter } = writes[0]!.stamp;
    assert.ok(!used.has(counter) && counter > greatest, `counter ${counter} after ${greatest}`);
    used.add(counter);
    greatest = counter;
  };
  const failed = harness.put('a', KEY);
  harness.turn(0);
  for (const stamp of harness.asked(MESSAGE_STAMP)) harness.answer(stamp, stampReply(stamp, 100));
  note(harness.asked(MESSAGE_WRITE));
  harness.coordinator.cancel(failed);
  assert.deepEqual(harness.outcomes(), ['outcome-unknown']);
  // The replicas have not seen it, or another key: they answer with lower counters.
  note(harness.putUntilWrite('b', [100, 100], KEY));
  note(harness.putUntilWrite('c', [0, 0], Uint8Array.of(1)));
  note(harness.putUntilWrite('d', [2, 500], Uint8Array.of(2)));
  note(harness.putUntilWrite('e', [0, 0], Uint8Array.of(3)));
});

test('should write nothing when no quorum has room at STAMP, and say why', () => {
  for (const [flags, outcome] of [
    [FLAG_TRUSTED_FULL, 'trusted-memory-full'],
    [FLAG_HOST_FULL, 'host-memory-full'],
  ] as const) {
    const harness = new CoordinatorHarness();
    harness.put('x');
    harness.turn(0);
    for (const stamp of harness.asked(MESSAGE_STAMP)) harness.answer(stamp, stampReply(stamp, 5, flags));
    assert.deepEqual(harness.outcomes(), [outcome]);
    harness.asked(MESSAGE_STAMP);
    harness.run(500);
    harness.assertNothingAsked();
    harness.assertIdle();
  }
});

test('should write nothing when one member says that it is not permitted', () => {
  const harness = new CoordinatorHarness();
  harness.put('x');
  harness.turn(0);
  const [stamp] = harness.asked(MESSAGE_STAMP);
  harness.answer(stamp!, stampReply(stamp!, 5, FLAG_NOT_PERMITTED));
  assert.deepEqual(harness.outcomes(), ['not-permitted']);
  harness.run(500);
  harness.assertNothingAsked();
  harness.assertIdle();
});

test('should go on without a minority that has no room, and count only the others', () => {
  const harness = new CoordinatorHarness();
  harness.put('x');
  harness.turn(0);
  const [a, b] = harness.asked(MESSAGE_STAMP);
  harness.answer(a!, stampReply(a!, 5, FLAG_TRUSTED_FULL));
  harness.turn(0);
  const [c] = harness.asked(MESSAGE_STAMP);
  assert.ok(c !== undefined && c.member !== a!.member && c.member !== b!.member, 'the third one is asked at once');
  harness.answer(b!, stampReply(b!, 7));
  harness.turn(0);
  harness.assertNothingAsked();
  harness.answer(c, stampReply(c, 6));
  harness.turn(0);
  const writes = harness.asked(MESSAGE_WRITE);
  assert.deepEqual(
    writes.map(({ stamp }) => stamp.counter),
    [8, 8, 8],
  );
  harness.answerWrites(writes.filter(({ member }) => member !== a!.member));
  assert.deepEqual(harness.outcomes(), ['ok']);
});

test('should end as refused at its deadline when a member has no room and another one is gone', () => {
  for (const isKnownToBeGone of [false, true]) {
    for (const [flags, outcome] of [
      [FLAG_HOST_FULL, 'host-memory-full'],
      [FLAG_TRUSTED_FULL, 'trusted-memory-full'],
    ] as const) {
      const harness = new CoordinatorHarness();
      const gone = 2;
      if (isKnownToBeGone) harness.readyMask &= ~(1 << gone);
      harness.put('x');
      const asked = new Set<number>();
      for (let ms = 0; harness.ended.length === 0; ms++) {
        assert.ok(ms <= DEADLINE_MS, 'it ends');
        harness.turn(1);
        for (const stamp of harness.asked(MESSAGE_STAMP)) {
          if (stamp.member === gone || asked.has(stamp.member)) continue;
          asked.add(stamp.member);
          harness.answer(stamp, stampReply(stamp, 5, stamp.member === 0 ? flags : 0));
        }
      }
      assert.deepEqual(harness.outcomes(), [outcome]);
      harness.run(500);
      harness.assertNothingAsked();
      harness.assertIdle();
    }
  }
});

test('should wait for a member whose answers are late though another one has no room', () => {
  const harness = new CoordinatorHarness();
  harness.put('x');
  harness.turn(0);
  const first = harness.asked(MESSAGE_STAMP);
  harness.answer(first[0]!, stampReply(first[0]!, 5, FLAG_HOST_FULL));
  harness.turn(0);
  const [third] = harness.asked(MESSAGE_STAMP);
  harness.answer(first[1]!, stampReply(first[1]!, 5));
  // Longer than the first time-outs: it has been asked again meanwhile.
  harness.run(400);
  assert.deepEqual(harness.ended, []);
  assert.ok(harness.asked(MESSAGE_STAMP).length > 0);
  harness.answer(third!, stampReply(third!, 5));
  harness.turn(0);
  harness.answerWrites(harness.asked(MESSAGE_WRITE).filter(({ member }) => member !== first[0]!.member));
  assert.deepEqual(harness.outcomes(), ['ok']);
});

test('should succeed when a minority refuses the WRITE', () => {
  const harness = new CoordinatorHarness();
  const [a, b, c] = harness.putUntilWrite('x');
  harness.answerWrites([a!], FLAG_TRUSTED_FULL);
  harness.answerWrites([b!, c!]);
  assert.deepEqual(harness.outcomes(), ['ok']);
});

test('should be certain that a WRITE failed only when every member refused its one sending', () => {
  const all = new CoordinatorHarness();
  const [a, b, c] = all.putUntilWrite('x');
  all.answerWrites([a!], FLAG_HOST_FULL);
  assert.deepEqual(all.ended, []);
  all.answerWrites([b!], FLAG_HOST_FULL);
  // The third may have it; whether or not it is waited for, this may not be called a failure.
  if (all.ended.length === 0) {
    all.answerWrites([c!], FLAG_HOST_FULL);
    assert.deepEqual(all.outcomes(), ['host-memory-full']);
  } else assert.deepEqual(all.outcomes(), ['outcome-unknown']);

  const some = new CoordinatorHarness();
  const [d, e, f] = some.putUntilWrite('x');
  some.answerWrites([f!]);
  some.answerWrites([d!, e!], FLAG_HOST_FULL);
  assert.deepEqual(some.outcomes(), ['outcome-unknown']);
  some.assertIdle();
});

test('should not report a conflict of stamps as success', () => {
  const harness = new CoordinatorHarness();
  const writes = harness.putUntilWrite('x');
  harness.answerWrites(writes, FLAG_CONFLICT);
  assert.equal(harness.ended.length, 1);
  assert.notEqual(harness.ended[0]!.outcome, 'ok');
});

test('should refuse to write over the greatest counter, and go on with other keys', () => {
  const harness = new CoordinatorHarness();
  harness.put('x');
  harness.turn(0);
  const [stamp] = harness.asked(MESSAGE_STAMP);
  harness.answer(stamp!, stampReply(stamp!, STAMP_COUNTER_MAX));
  assert.deepEqual(harness.outcomes(), ['stamps-exhausted']);
  const [write] = harness.putUntilWrite('y', [7, 7], Uint8Array.of(1));
  assert.equal(write!.stamp.counter, 8);
});

test('should end as deadline before anything was written, and as outcome-unknown afterwards', () => {
  const before = new CoordinatorHarness();
  before.put('x', KEY, 400);
  before.delete(KEY, 400);
  before.run(401);
  assert.deepEqual(before.outcomes(), ['deadline', 'deadline']);
  before.asked(MESSAGE_STAMP);

  const after = new CoordinatorHarness();
  after.putUntilWrite('x');
  after.run(5_001);
  assert.deepEqual(after.outcomes(), ['outcome-unknown']);
  for (const harness of [before, after]) harness.assertIdle();
});

test('should end as deadline when no WRITE could be sent', () => {
  const harness = new CoordinatorHarness();
  harness.put('x', KEY, 400);
  harness.turn(0);
  const stamps = harness.asked(MESSAGE_STAMP);
  harness.messenger.full = true;
  for (const stamp of stamps) harness.answer(stamp, stampReply(stamp, 0));
  harness.run(401);
  assert.deepEqual(harness.outcomes(), ['deadline']);
});

test('should end where the caller cancels: as aborted, or as outcome-unknown once it was written', () => {
  const harness = new CoordinatorHarness();
  const get = harness.get();
  harness.coordinator.cancel(get);
  const early = harness.put('x');
  harness.coordinator.cancel(early);
  harness.messenger.take();
  assert.deepEqual(harness.outcomes(), ['aborted', 'aborted']);
  const late = harness.put('x');
  harness.turn(0);
  for (const stamp of harness.asked(MESSAGE_STAMP)) harness.answer(stamp, stampReply(stamp, 0));
  harness.coordinator.cancel(late);
  assert.deepEqual(harness.outcomes(), ['aborted', 'aborted', 'outcome-unknown']);
  harness.assertIdle();
});

test('should not cancel another operation that has the place of one that ended', () => {
  const harness = new CoordinatorHarness({ capacity: 1 });
  const first = harness.get();
  harness.coordinator.cancel(first);
  const second = harness.get();
  assert.notEqual(second, first);
  harness.coordinator.cancel(first);
  assert.equal(harness.ended.length, 1);
  harness.coordinator.cancel(second);
  harness.coordinator.cancel(second);
  assert.equal(harness.ended.length, 2);
  harness.assertIdle();
});

test('should end everything when it closes, and start nothing more', () => {
  const harness = new CoordinatorHarness();
  harness.putUntilWrite('x');
  harness.get();
  harness.put('y');
  harness.turn(0);
  harness.coordinator.close();
  assert.deepEqual(harness.outcomes().toSorted(), ['closed', 'closed', 'outcome-unknown']);
  assert.equal(harness.get(), -1);
  harness.assertIdle();
});

test('should give back every byte when table or memory is full', () => {
  const table = new CoordinatorHarness({ capacity: 2 });
  table.put('a');
  table.put('b');
  const blocks = table.memory.usedBlocks;
  for (const operation of [table.put('c'), table.get(), table.delete()]) assert.equal(operation, -1);
  assert.equal(table.memory.usedBlocks, blocks);

  const memory = new CoordinatorHarness({ capacity: 10_000, hostBytesMax: 2 ** 22 });
  let count = 0;
  while (memory.put('x'.repeat(1_000), bytesOf(`key ${count}`)) !== -1) count++;
  assert.ok(count > 100 && count < 4_000, `${count}`);
  memory.coordinator.close();
  memory.turn(0);
  memory.assertIdle();
});

test('should not be changed by a caller who uses the value or key again', () => {
  const harness = new CoordinatorHarness();
  const key = bytesOf('a key');
  const value = bytesOf('hello');
  harness.coordinator.startPut(0, key, value, 5_000, harness.nowMs);
  key.fill(0);
  value.fill(0);
  harness.turn(0);
  for (const stamp of harness.asked(MESSAGE_STAMP)) {
    assert.deepEqual(stamp.key, KEY);
    harness.answer(stamp, stampReply(stamp, 0));
  }
  assert.equal(opened(harness, harness.asked(MESSAGE_WRITE)[0]!), 'hello');
});

test('should keep the stamp of a write when the epoch changes in its middle', () => {
  const harness = new CoordinatorHarness();
  const [a, b] = harness.putUntilWrite('x', [6, 6]);
  harness.answerWrites([a!]);
  harness.epoch = 2;
  harness.answerWrites([b!]);
  assert.deepEqual(harness.ended, []);
  const again = harness.asked(MESSAGE_WRITE);
  assert.equal(again.length, 3);
  assert.ok(again.every(({ stamp }) => stamp.counter === 7));
  harness.answerWrites(again.slice(0, 2));
  assert.deepEqual(harness.outcomes(), ['ok']);
});
