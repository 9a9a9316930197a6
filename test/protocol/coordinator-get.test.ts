/** Gets, answer by answer. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  FLAG_NOT_PERMITTED,
  FLAG_TOMBSTONE,
  FLAG_WRITE_BACK,
  MESSAGE_READ,
  MESSAGE_REPAIR,
  MESSAGE_WRITE,
} from '../../src/protocol/messages.ts';
import { NO_STAMP, readReply, stampOf, writeReply } from './fixtures.ts';
import type { ReadReply } from './fixtures.ts';
import { CoordinatorHarness, flip, KEY, wantsValue } from './coordinator-harness.ts';
import type { Asked, Copy } from './coordinator-harness.ts';

const ABSENT: ReadReply = { stamp: NO_STAMP, tombstone: true };

/** Begins a get and splits its READs: the one that asks for the value, and the rest. */
function begin(harness: CoordinatorHarness): { valued: Asked; plain: Asked[] } {
  harness.get();
  const reads = harness.asked(MESSAGE_READ);
  const valued = reads.filter(wantsValue);
  assert.equal(valued.length, 1, 'one member is asked for the value');
  return { valued: valued[0]!, plain: reads.filter((read) => !wantsValue(read)) };
}

/** A get that has learned of a newer stamp than the value it got, and fetches. */
function beginFetch(harness: CoordinatorHarness, older: Copy, newer: Copy): { fetch: Asked; holder: number } {
  const { valued, plain } = begin(harness);
  harness.answerRead(valued, older);
  harness.answerRead(plain[0]!, { stamp: newer.stamp });
  const [fetch] = harness.asked(MESSAGE_READ);
  assert.equal(fetch!.member, plain[0]!.member, 'who has it is asked for it');
  assert.ok(wantsValue(fetch!));
  return { fetch: fetch!, holder: fetch!.member };
}

test('should end in one round when a quorum has the same stamp: one value, the rest stamps alone', () => {
  const harness = new CoordinatorHarness();
  const copy = harness.copyOf('hello', stampOf(5));
  const { valued, plain } = begin(harness);
  assert.equal(plain.length, 1, 'a quorum is asked, not all');
  assert.deepEqual(valued.key, KEY);
  harness.answerRead(plain[0]!, { stamp: copy.stamp });
  assert.deepEqual(harness.ended, []);
  harness.answerRead(valued, copy);
  assert.deepEqual(harness.ended, [{ token: 0, outcome: 'ok', value: 'hello' }]);
  harness.assertNothingAsked();
  harness.assertIdle();
});

test('should find a key absent that no member of a quorum knows', () => {
  const harness = new CoordinatorHarness();
  const { valued, plain } = begin(harness);
  harness.answerRead(valued, ABSENT);
  assert.deepEqual(harness.ended, []);
  harness.answerRead(plain[0]!, ABSENT);
  assert.deepEqual(harness.outcomes(), ['absent']);
  harness.assertNothingAsked();
  harness.assertIdle();
});

test('should find a deleted key absent, and write the tombstone back first when a quorum does not hold it', () => {
  const held = new CoordinatorHarness();
  const gone: ReadReply = { stamp: stampOf(7), tombstone: true };
  const first = begin(held);
  held.answerRead(first.valued, gone);
  held.answerRead(first.plain[0]!, gone);
  assert.deepEqual(held.outcomes(), ['absent']);

  const harness = new CoordinatorHarness();
  const { valued, plain } = begin(harness);
  harness.answerRead(valued, harness.copyOf('older', stampOf(6)));
  harness.answerRead(plain[0]!, gone);
  const writes = harness.asked(MESSAGE_WRITE);
  assert.deepEqual(
    writes.map(({ member }) => member),
    [0, 1, 2].filter((m) => m !== plain[0]!.member),
  );
  for (const write of writes) {
    assert.equal(write.flags, FLAG_WRITE_BACK | FLAG_TOMBSTONE);
    assert.deepEqual([write.stamp, write.envelopeBytes], [stampOf(7), 0]);
  }
  assert.deepEqual(harness.ended, []);
  harness.answer(writes[0]!, writeReply(writes[0]!));
  assert.deepEqual(harness.outcomes(), ['absent']);
  harness.assertIdle();
});

test('should write the newest value back to a quorum before it answers, under the stamp it was read with', () => {
  const harness = new CoordinatorHarness();
  const copy = harness.copyOf('newest', stampOf(9, 3, -2, 4));
  const { valued, plain } = begin(harness);
  harness.answerRead(plain[0]!, { stamp: stampOf(8) });
  harness.answerRead(valued, copy);
  const writes = harness.asked(MESSAGE_WRITE);
  assert.deepEqual(
    writes.map(({ member }) => member),
    [0, 1, 2].filter((member) => member !== valued.member),
    'all that are not known to hold it',
  );
  for (const write of writes) {
    assert.equal(write.flags, FLAG_WRITE_BACK);
    assert.deepEqual(write.stamp, copy.stamp);
    assert.deepEqual(write.tag, copy.tag);
    assert.deepEqual(write.value, copy.envelope);
  }
  assert.deepEqual(harness.ended, [], 'no answer before the write-back');
  harness.answerWrites(writes.slice(0, 1));
  assert.deepEqual(harness.ended, [{ token: 0, outcome: 'ok', value: 'newest' }]);
  assert.equal(harness.coordinator.counters.writeBacks, 1);
  harness.assertIdle();
});

test('should count distinct members, not answers: neither a duplicate nor a stranger makes a quorum', () => {
  const harness = new CoordinatorHarness({ memberCount: 5 });
  const copy = harness.copyOf('x', stampOf(5));
  const { valued, plain } = begin(harness);
  assert.equal(plain.length, 2);
  harness.answerRead(valued, copy);
  for (let i = 0; i < 5; i++) harness.answerRead(valued, copy);
  harness.answerRead(plain[0]!, { stamp: copy.stamp });
  for (let i = 0; i < 5; i++) harness.answerRead(plain[0]!, { stamp: copy.stamp });
  assert.deepEqual(harness.ended, []);
  assert.deepEqual(harness.drops.nonZero(), { 'late-answer': 10 });
  harness.answerRead(plain[1]!, { stamp: copy.stamp });
  assert.deepEqual(harness.outcomes(), ['ok']);
});

test('should fetch the newest value where it is, when another member sent an older one', () => {
  const harness = new CoordinatorHarness();
  const newer = harness.copyOf('new', stampOf(6));
  const { fetch } = beginFetch(harness, harness.copyOf('old', stampOf(5)), newer);
  harness.answerRead(fetch, newer);
  const writes = harness.asked(MESSAGE_WRITE);
  assert.deepEqual(writes[0]!.value, newer.envelope);
  harness.answerWrites(writes.slice(0, 1));
  assert.deepEqual(harness.ended, [{ token: 0, outcome: 'ok', value: 'new' }]);
  harness.assertIdle();
});

test('should begin again when the value it fetches was overwritten meanwhile', () => {
  const harness = new CoordinatorHarness();
  const newest = harness.copyOf('newest', stampOf(7));
  const { fetch } = beginFetch(harness, harness.copyOf('old', stampOf(5)), harness.copyOf('new', stampOf(6)));
  harness.answerRead(fetch, newest);
  const reads = harness.asked(MESSAGE_READ);
  assert.equal(reads.length, 2);
  assert.ok(reads.every(({ generation }) => generation !== fetch.generation));
  for (const read of reads) harness.answerRead(read, wantsValue(read) ? newest : { stamp: newest.stamp });
  assert.deepEqual(harness.ended, [{ token: 0, outcome: 'ok', value: 'newest' }]);
});

test('should take the value from whoever has it, when who was asked first is silent and others lack it', () => {
  const harness = new CoordinatorHarness();
  const newer = harness.copyOf('new', stampOf(6));
  const { fetch, holder } = beginFetch(harness, harness.copyOf('old', stampOf(5)), newer);
  harness.run(300);
  const hedged = harness.asked(MESSAGE_READ).filter(({ member }) => member !== holder);
  assert.ok(hedged.length >= 2 && hedged.every(wantsValue));
  const [lacking] = hedged;
  harness.answerRead(lacking!, harness.copyOf('old', stampOf(5)));
  assert.deepEqual(harness.ended, []);
  // The first sending is answered at last.
  harness.answerRead(fetch, newer);
  harness.answerWrites(harness.asked(MESSAGE_WRITE).slice(0, 1));
  assert.deepEqual(harness.ended, [{ token: 0, outcome: 'ok', value: 'new' }]);
  assert.deepEqual(harness.drops.nonZero(), {});
});

test('should end by a quorum of the others when the only member that has the newest stamp dies', () => {
  const harness = new CoordinatorHarness();
  const old = harness.copyOf('old', stampOf(5));
  const { holder } = beginFetch(harness, old, harness.copyOf('new', stampOf(6)));
  // Nobody was answered 'new' yet, and whoever wrote it was not told that it is done.
  for (let passed = 0; harness.ended.length === 0; passed++) {
    assert.ok(passed < 2_000, 'it waits for the dead');
    harness.turn();
    for (const read of harness.messenger.sent.length > 0 ? harness.asked(MESSAGE_READ) : []) {
      if (read.member !== holder) harness.answerRead(read, wantsValue(read) ? old : { stamp: old.stamp });
    }
  }
  assert.deepEqual(harness.ended, [{ token: 0, outcome: 'ok', value: 'old' }]);
  harness.assertIdle();
});

test('should take another copy when one does not open, answer with it, and repair the bad one', () => {
  const harness = new CoordinatorHarness();
  const copy = harness.copyOf('good', stampOf(5));
  const { valued, plain } = begin(harness);
  harness.answerRead(plain[0]!, { stamp: copy.stamp });
  harness.answerRead(valued, flip(copy));
  const [fetch] = harness.asked(MESSAGE_READ);
  assert.equal(fetch!.member, plain[0]!.member, 'its stamp still counts, its value does not');
  harness.answerRead(fetch!, copy);
  const [repair, ...more] = harness.asked(MESSAGE_REPAIR);
  assert.deepEqual(more, []);
  assert.equal(repair!.member, valued.member);
  assert.deepEqual([repair!.stamp, repair!.value], [copy.stamp, copy.envelope]);
  assert.deepEqual(repair!.tag, copy.tag);
  assert.deepEqual(harness.ended, [{ token: 0, outcome: 'ok', value: 'good' }]);
  assert.deepEqual([harness.coordinator.counters.tampered, harness.coordinator.counters.repairs], [1, 1]);
  harness.assertIdle();
});

test('should end as unreadable when every copy of the newest stamp is bad, and not before', () => {
  const harness = new CoordinatorHarness();
  const copy = harness.copyOf('good', stampOf(5));
  const { valued, plain } = begin(harness);
  harness.answerRead(plain[0]!, { stamp: copy.stamp });
  harness.answerRead(valued, flip(copy));
  for (const remaining of [1, 0]) {
    const [fetch, ...more] = harness.asked(MESSAGE_READ);
    assert.equal(more.length, 0);
    assert.deepEqual(harness.ended, []);
    harness.answerRead(fetch!, flip(copy, 34 + remaining));
  }
  assert.deepEqual(harness.outcomes(), ['unreadable']);
  harness.assertNothingAsked();
  harness.assertIdle();
});

/** The newest stamp is at one member only, where its copy is bad; the others have an older value. */
function beginLonelyAndBad(harness: CoordinatorHarness, copy: Copy): { holder: number } {
  const { valued, plain } = begin(harness);
  harness.answerRead(plain[0]!, { stamp: stampOf(4) });
  harness.answerRead(valued, flip(copy));
  for (const remaining of [2, 1]) {
    const fetches = harness.asked(MESSAGE_READ);
    assert.equal(fetches.length, 1, `${remaining} left to ask`);
    harness.answerRead(fetches[0]!, harness.copyOf('older', stampOf(4)));
  }
  return { holder: valued.member };
}

test('should look once more when those that lacked the value may have it by now', () => {
  const harness = new CoordinatorHarness();
  const copy = harness.copyOf('good', stampOf(5));
  const { holder } = beginLonelyAndBad(harness, copy);
  assert.deepEqual(harness.ended, []);
  for (let rounds = 0; harness.ended.length === 0; rounds++) {
    assert.ok(rounds < 5);
    for (const read of harness.asked(MESSAGE_READ)) {
      harness.answerRead(read, !wantsValue(read) ? { stamp: copy.stamp } : read.member === holder ? flip(copy) : copy);
      if (harness.messenger.sent.some(({ control }) => (control[0]! & 0xff) === MESSAGE_REPAIR)) break;
    }
    if (harness.ended.length > 0) harness.messenger.take();
  }
  assert.deepEqual(harness.ended, [{ token: 0, outcome: 'ok', value: 'good' }]);
});

test('should end as unreadable when a second look finds the one copy as bad', () => {
  const harness = new CoordinatorHarness();
  const copy = harness.copyOf('good', stampOf(5));
  const { holder } = beginLonelyAndBad(harness, copy);
  const older = harness.copyOf('older', stampOf(4));
  for (let rounds = 0; harness.ended.length === 0; rounds++) {
    assert.ok(rounds < 10, 'it ends');
    for (const read of harness.asked(MESSAGE_READ)) {
      const { envelope, tag, stamp } = read.member === holder ? flip(copy) : older;
      harness.answerRead(read, wantsValue(read) ? { stamp, envelope, tag } : { stamp });
    }
    harness.run(300);
  }
  // Either the second look met the bad copy again, or a quorum of the others answered without it.
  const { outcome, value } = harness.ended[0]!;
  assert.ok(outcome === 'unreadable' || (outcome === 'ok' && value === 'older'), `${outcome} ${value}`);
});

test('should not take another value under the same stamp for the one that did not open', () => {
  const harness = new CoordinatorHarness();
  const copy = harness.copyOf('good', stampOf(5));
  const { valued, plain } = begin(harness);
  harness.answerRead(plain[0]!, { stamp: copy.stamp });
  harness.answerRead(valued, flip(copy));
  const [fetch] = harness.asked(MESSAGE_READ);
  harness.answerRead(fetch!, harness.copyOf('another', stampOf(5)));
  assert.deepEqual(harness.drops.nonZero(), { 'stamp-conflict': 1 });
  const [second] = harness.asked(MESSAGE_READ);
  harness.answerRead(second!, copy);
  assert.deepEqual(harness.ended, [{ token: 0, outcome: 'ok', value: 'good' }]);
});

test('should not take a value of another key, though it is well sealed', () => {
  const harness = new CoordinatorHarness();
  const copy = harness.copyOf('good', stampOf(5));
  const { valued, plain } = begin(harness);
  harness.answerRead(plain[0]!, { stamp: copy.stamp });
  harness.answerRead(valued, harness.copyOf('of another key', stampOf(5), Uint8Array.of(1)));
  assert.equal(harness.coordinator.counters.tampered, 1);
  assert.deepEqual(harness.ended, []);
});

test('should end at once when it may not read', () => {
  const harness = new CoordinatorHarness();
  const { valued } = begin(harness);
  harness.answerRead(valued, { stamp: NO_STAMP, flags: FLAG_NOT_PERMITTED, tombstone: true });
  assert.deepEqual(harness.outcomes(), ['not-permitted']);
  harness.assertIdle();
});

test('should count no answer of another phase, operation, epoch or type, nor of a member that is not ready', () => {
  const harness = new CoordinatorHarness();
  const copy = harness.copyOf('x', stampOf(5));
  const { valued, plain } = begin(harness);
  const reply = (request: { slot: number; generation: number }) => readReply(request, { stamp: copy.stamp });
  const [third] = [0, 1, 2].filter((member) => member !== valued.member && member !== plain[0]!.member);
  harness.answer(valued, reply({ slot: valued.slot, generation: valued.generation - 1 }));
  harness.answer(valued, reply({ slot: valued.slot + 1, generation: valued.generation }));
  harness.answer(valued, reply({ slot: 60_000, generation: valued.generation }));
  harness.answer(valued, writeReply(valued));
  assert.equal(harness.drops.of('late-answer'), 4);
  harness.answer(valued, reply(valued), third, 2);
  harness.answer(valued, reply(valued), third, 0);
  harness.readyMask &= ~(1 << third!);
  harness.answer(valued, reply(valued), third);
  assert.equal(harness.drops.of('wrong-epoch'), 3);
  harness.answerRead(valued, copy);
  assert.deepEqual(harness.ended, []);
  harness.answerRead(plain[0]!, { stamp: copy.stamp });
  assert.deepEqual(harness.outcomes(), ['ok']);
  harness.answerRead(plain[0]!, { stamp: copy.stamp });
  assert.equal(harness.drops.of('late-answer'), 5);
});

test('should begin a phase anew when the epoch changes in its middle', () => {
  const harness = new CoordinatorHarness();
  const copy = harness.copyOf('x', stampOf(5));
  const { valued, plain } = begin(harness);
  harness.answerRead(valued, copy);
  harness.epoch = 2;
  harness.answerRead(plain[0]!, { stamp: copy.stamp });
  assert.deepEqual(harness.ended, [], 'answers of two epochs make no quorum');
  const reads = harness.asked(MESSAGE_READ);
  for (const read of reads) harness.answerRead(read, wantsValue(read) ? copy : { stamp: copy.stamp });
  assert.deepEqual(harness.outcomes(), ['ok']);
});

test('should give the right value to each of many gets that are under way at once', () => {
  const harness = new CoordinatorHarness();
  const keys = Array.from({ length: 16 }, (_, i) => Uint8Array.of(i, i));
  for (const key of keys) harness.get(key);
  assert.equal(harness.get(Uint8Array.of(99)), -1, 'the table is full');
  const reads = harness.asked(MESSAGE_READ);
  for (const read of reads.toSorted(
    (a, b) => ((a.slot * 7 + a.member * 3) % 11) - ((b.slot * 7 + b.member * 3) % 11),
  )) {
    const copy = harness.copyOf(`value ${read.key[0]}`, stampOf(5), read.key);
    harness.answerRead(read, wantsValue(read) ? copy : { stamp: copy.stamp });
  }
  assert.equal(harness.ended.length, 16);
  for (const { token, value } of harness.ended) assert.equal(value, `value ${token}`);
  harness.assertIdle();
});

test('should let the end of an operation start the next one', () => {
  const harness = new CoordinatorHarness({ capacity: 1 });
  let left = 5;
  harness.onEnded = () => {
    if (left-- > 0) assert.notEqual(harness.get(), -1);
  };
  harness.get();
  for (let i = 0; i <= 5; i++) {
    for (const read of harness.asked(MESSAGE_READ)) harness.answerRead(read, ABSENT);
  }
  assert.equal(harness.ended.length, 6);
  harness.assertIdle();
});

test('should hand on what answers no operation', () => {
  const harness = new CoordinatorHarness();
  const { valued } = begin(harness);
  harness.answer(valued, { control: Int32Array.of(9, 0, 1, 1, 0, 0, 0, 0), value: new Uint8Array(0) });
  assert.equal(harness.others.length, 1);
});
