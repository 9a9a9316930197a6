/** Gets of values larger than a datagram, answer by answer. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DATAGRAM_RECORD_BYTES } from '../../net/limits.ts';
import { FLAG_REPAIR, FLAG_WRITE_BACK, MESSAGE_READ } from '../../src/protocol/messages.ts';
import { CoordinatorHarness, flip, KEY, wantsValue } from './coordinator-harness.ts';
import type { Asked, AskedReadPart, Copy } from './coordinator-harness.ts';
import { NO_REF } from '../../src/store/host-memory.ts';
import { DataKeyRing } from '../../src/trust/data-key-ring.ts';
import { createInlineSealing } from '../../workers/inline-sealing.ts';
import { bytesOf, stampOf, writeReply } from './fixtures.ts';
import { goneReply, partReply, partsReply, progressReply } from './part-fixtures.ts';

/** Of an answer; 104 bytes with what else is in its datagram. */
const PART_BYTES = 88;
/** What a part takes of the window. */
const WINDOW_BYTES = PART_BYTES + DATAGRAM_RECORD_BYTES;
/** An envelope of 332 bytes: three whole parts and 68 bytes. */
const VALUE = 'abcdefghij'.repeat(30);
const OFFSETS = [0, 88, 176, 264];

function harnessWith(options: ConstructorParameters<typeof CoordinatorHarness>[0] = {}): CoordinatorHarness {
  const harness = new CoordinatorHarness(options);
  harness.messenger.bytesMax = PART_BYTES + 16;
  return harness;
}

function tellLength(harness: CoordinatorHarness, read: Asked, copy: Copy): void {
  harness.answer(read, partsReply(read, copy.stamp, copy.tag, copy.envelope.length));
}

/** A get that has its quorum, and knows that the value is to be had by parts. */
function getUntilParts(harness: CoordinatorHarness, copy: Copy): AskedReadPart[] {
  harness.get();
  answerReads(harness, copy);
  harness.turn(0);
  return harness.readParts();
}

function answerReads(harness: CoordinatorHarness, copy: Copy): void {
  for (const read of harness.asked(MESSAGE_READ)) {
    if (wantsValue(read)) tellLength(harness, read, copy);
    else harness.answerRead(read, { stamp: copy.stamp });
  }
}

function send(harness: CoordinatorHarness, asked: AskedReadPart, copy: Copy, member = asked.member): void {
  const { byteOffset, byteCount } = asked;
  harness.answer(
    asked,
    partReply(asked, byteOffset, copy.envelope.subarray(byteOffset, byteOffset + byteCount)),
    member,
  );
}

function sendAll(harness: CoordinatorHarness, asked: readonly AskedReadPart[], copy: Copy): void {
  for (const part of asked) send(harness, part, copy);
}

/** Asks again as long as something is asked for, each time by this. */
function untilAsked(harness: CoordinatorHarness, msMax = 2_000): number {
  for (let ms = 1; ms <= msMax; ms++) {
    harness.turn(1);
    if (harness.messenger.sent.length > 0) return ms;
  }
  return assert.fail('nothing is asked');
}

function offsetsOf(asked: readonly AskedReadPart[]): number[] {
  return asked.map(({ byteOffset }) => byteOffset);
}

test('should ask the member that has the value for its parts, put them together in any order, and open them', () => {
  for (const order of [
    [0, 1, 2, 3],
    [3, 2, 1, 0],
    [2, 0, 3, 1],
  ]) {
    const harness = harnessWith();
    const copy = harness.copyOf(VALUE, stampOf(7, 3, 4));
    harness.get();
    const reads = harness.asked(MESSAGE_READ);
    const holder = reads.find(wantsValue)!.member;
    for (const read of reads) {
      if (wantsValue(read)) tellLength(harness, read, copy);
      else harness.answerRead(read, { stamp: copy.stamp });
    }
    harness.turn(0);
    const asked = harness.readParts();
    assert.deepEqual(offsetsOf(asked), OFFSETS);
    assert.deepEqual(
      asked.map(({ byteCount }) => byteCount),
      [88, 88, 88, 68],
    );
    for (const { member, key, stamp, generation } of asked) {
      assert.deepEqual([member, key, stamp], [holder, KEY, copy.stamp]);
      assert.notEqual(generation, reads[0]!.generation, 'a phase of its own');
    }
    for (const part of order.slice(0, -1)) send(harness, asked[part]!, copy);
    assert.deepEqual(harness.ended, []);
    send(harness, asked[order.at(-1)!]!, copy);
    assert.deepEqual(harness.ended, [{ token: 0, outcome: 'ok', value: VALUE }]);
    assert.equal(harness.coordinator.counters.writeBacks, 0);
    harness.assertIdle();
  }
});

test('should have done with a datagram of parts at once, and not with one whose value is still to be opened', () => {
  const harness = harnessWith();
  const large = harness.copyOf(VALUE, stampOf(7, 3, 4));
  const [first] = getUntilParts(harness, large);
  assert.equal(harness.answer(first!, partReply(first!, 0, large.envelope.subarray(0, PART_BYTES))), true);
  harness.messenger.take();

  const other = bytesOf('other');
  const small = harness.copyOf('small', stampOf(8), other);
  harness.get(other);
  const reads = harness.asked(MESSAGE_READ);
  const spent = reads.map((read) => harness.answerRead(read, wantsValue(read) ? small : { stamp: small.stamp }));
  assert.deepEqual(
    spent,
    reads.map((read) => !wantsValue(read)),
  );
  assert.deepEqual(harness.ended, [{ token: 1, outcome: 'ok', value: 'small' }]);
});

test('should hand out a large value in plaintext that stays what it is when its reader starts a put at once', () => {
  const harness = harnessWith({
    wrapSealing: () => createInlineSealing({ mode: 'plaintext', dataKeys: DataKeyRing.of(1, new Uint8Array(32)) }),
  });
  harness.messenger.bytesMax = 1_016;
  const value = VALUE.repeat(20);
  const copy = { stamp: stampOf(7, 3, 4), envelope: bytesOf(value), tag: new Int32Array(4) };
  let seen = '';
  harness.onOperationEnded = (_token, _outcome, opened, openedBytes) => {
    harness.put('z'.repeat(value.length));
    seen = Buffer.from(opened.subarray(0, openedBytes)).toString();
  };
  sendAll(harness, getUntilParts(harness, copy), copy);
  assert.equal(seen, value);
  harness.coordinator.close();
  assert.equal(harness.memory.usedBlocks, 0);
});

test('should ask at once, over all gets together, for what its window holds, and each get in turn', () => {
  const harness = harnessWith({ pullBytesMax: 3 * WINDOW_BYTES });
  const copies = ['a', 'b', 'c'].map((letter, i) =>
    harness.copyOf(letter.repeat(300), stampOf(i + 1), bytesOf(letter)),
  );
  for (const letter of ['a', 'b', 'c']) harness.get(bytesOf(letter));
  const copyOf = ({ key }: { key: Uint8Array }) => copies['abc'.indexOf(Buffer.from(key).toString())]!;
  for (const read of harness.asked(MESSAGE_READ)) {
    if (wantsValue(read)) tellLength(harness, read, copyOf(read));
    else harness.answerRead(read, { stamp: copyOf(read).stamp });
  }
  harness.turn(0);
  let asked = harness.readParts();
  assert.deepEqual(offsetsOf(asked), [0, 0, 0], 'one part of each');
  assert.equal(new Set(asked.map(({ slot }) => slot)).size, 3);
  harness.turn(0);
  harness.assertNothingAsked();
  for (let rounds = 0; rounds < 20 && asked.length > 0; rounds++) {
    const [next, ...underWay] = asked;
    send(harness, next!, copyOf(next!));
    harness.turn(0);
    const more = harness.readParts();
    assert.ok(underWay.length + more.length <= 3, 'never more than the window');
    asked = [...underWay, ...more];
  }
  assert.deepEqual(harness.outcomes(), ['ok', 'ok', 'ok']);
  harness.assertIdle();
});

test('should ask for one part at a time when the window is smaller than that', () => {
  const harness = harnessWith({ pullBytesMax: 1 });
  const copy = harness.copyOf(VALUE, stampOf(1));
  let asked = getUntilParts(harness, copy);
  for (const offset of OFFSETS) {
    assert.deepEqual(offsetsOf(asked), [offset]);
    sendAll(harness, asked, copy);
    harness.turn(0);
    asked = harness.readParts();
  }
  assert.deepEqual(harness.outcomes(), ['ok']);
  harness.assertIdle();
});

test('should ask again just for the part that three later ones have overtaken', () => {
  const harness = harnessWith();
  const copy = harness.copyOf(VALUE, stampOf(1));
  const asked = getUntilParts(harness, copy);
  send(harness, asked[1]!, copy);
  send(harness, asked[2]!, copy);
  harness.turn(0);
  harness.assertNothingAsked();
  send(harness, asked[3]!, copy);
  harness.turn(0);
  const again = harness.readParts();
  assert.deepEqual(offsetsOf(again), [0]);
  assert.equal(harness.coordinator.counters.partsRepeated, 1);
  // The first one was late only.
  send(harness, asked[0]!, copy);
  assert.deepEqual(harness.outcomes(), ['ok']);
  send(harness, again[0]!, copy);
  assert.equal(harness.drops.of('late-answer'), 1);
  harness.assertIdle();
});

test('should halve its window when a part is lost, and let it grow back as parts come', () => {
  const harness = harnessWith({ pullBytesMax: 8 * WINDOW_BYTES });
  const copy = harness.copyOf('x'.repeat(88 * 40 - 32), stampOf(1));
  let asked = getUntilParts(harness, copy);
  assert.equal(asked.length, 8);
  const [lost, ...come] = asked;
  for (const part of come) send(harness, part, copy);
  harness.turn(0);
  asked = harness.readParts();
  assert.equal(asked[0]!.byteOffset, lost!.byteOffset);
  // Halved when the third came: 4, and then four more came.
  assert.ok(asked.length < 8 + 1, `${asked.length}`);
  // Silence: one, to learn more, and then as if all of it were lost.
  untilAsked(harness);
  assert.equal(harness.readParts().length, 1);
  untilAsked(harness);
  const width = harness.readParts().length;
  assert.ok(width <= asked.length / 2, `${asked.length}, ${width}`);
});

test('should ask again after silence, and begin again when nothing comes five times', () => {
  const harness = harnessWith();
  const copy = harness.copyOf(VALUE, stampOf(1));
  const asked = getUntilParts(harness, copy);
  send(harness, asked[0]!, copy);
  for (const again of [OFFSETS.slice(1, 2), OFFSETS.slice(1), OFFSETS.slice(1), OFFSETS.slice(1)]) {
    untilAsked(harness);
    assert.deepEqual(offsetsOf(harness.readParts()), again);
  }
  untilAsked(harness);
  const reads = harness.asked(MESSAGE_READ);
  assert.ok(!reads.some((read) => read.member === asked[0]!.member && wantsValue(read)), 'not from that one');
  sendAll(harness, asked, copy);
  assert.deepEqual(harness.ended, [], 'answers to the phase before are late');
  // Who is only looked at, to see whether it is back, answers last.
  for (const read of reads.toSorted((a, b) => Number(wantsValue(b)) - Number(wantsValue(a)))) {
    if (wantsValue(read)) tellLength(harness, read, copy);
    else harness.answerRead(read, { stamp: copy.stamp });
  }
  harness.turn(0);
  sendAll(harness, harness.readParts(), copy);
  assert.deepEqual(harness.outcomes(), ['ok']);
  harness.assertIdle();
});

test('should begin again when the value is gone, and never mix parts of two values', () => {
  const harness = harnessWith();
  const old = harness.copyOf(VALUE, stampOf(1));
  const newer = harness.copyOf(VALUE.toUpperCase(), stampOf(2));
  const asked = getUntilParts(harness, old);
  for (const part of asked.slice(0, 3)) send(harness, part, old);
  harness.answer(asked[3]!, goneReply(asked[3]!, 264));
  answerReads(harness, newer);
  harness.turn(0);
  const again = harness.readParts();
  assert.deepEqual(offsetsOf(again), OFFSETS, 'from the beginning');
  assert.ok(again.every(({ stamp }) => stamp.counter === 2));
  send(harness, asked[3]!, old);
  assert.equal(harness.drops.of('late-answer'), 1);
  sendAll(harness, again, newer);
  assert.deepEqual(harness.ended, [{ token: 0, outcome: 'ok', value: VALUE.toUpperCase() }]);
  harness.assertIdle();
});

test('should drop parts of wrong places, lengths and members, and repeated ones', () => {
  const harness = harnessWith();
  const copy = harness.copyOf(VALUE, stampOf(1));
  const asked = getUntilParts(harness, copy);
  const [first] = asked;
  const piece = (byteCount: number) => new Uint8Array(byteCount).fill(0xee);
  const wrong = [
    [1, 88],
    [8, 88],
    [87, 88],
    [352, 88],
    [264, 88],
    [264, 67],
    [264, 72],
    [0, 87],
    [0, 0],
    [0, 80],
    [-88, 88],
    [-1, 88],
    [2 ** 31 - 8, 88],
  ] as const;
  for (const [byteOffset, byteCount] of wrong) harness.answer(first!, partReply(first!, byteOffset, piece(byteCount)));
  assert.equal(harness.drops.of('malformed'), wrong.length);
  const others = [0, 1, 2].filter((member) => member !== first!.member);
  for (const member of others) send(harness, first!, flip(copy, 0), member);
  for (const member of others) harness.answer(first!, goneReply(first!, 0), member);
  assert.equal(harness.drops.of('late-answer'), 4);
  send(harness, first!, copy);
  send(harness, first!, flip(copy, 0));
  assert.equal(harness.drops.of('late-answer'), 5, 'the first one counts');
  sendAll(harness, asked.slice(1), copy);
  assert.deepEqual(harness.ended, [{ token: 0, outcome: 'ok', value: VALUE }]);
  harness.assertIdle();
});

test('should take another copy when one does not open, answer with it, and repair the first by parts', () => {
  const harness = harnessWith();
  const copy = harness.copyOf(VALUE, stampOf(5));
  const asked = getUntilParts(harness, copy);
  const bad = asked[0]!.member;
  sendAll(harness, asked, flip(copy, 200));
  assert.equal(harness.coordinator.counters.tampered, 1);
  const [fetch, ...more] = harness.asked(MESSAGE_READ);
  assert.ok(more.length === 0 && wantsValue(fetch!) && fetch!.member !== bad);
  tellLength(harness, fetch!, copy);
  harness.turn(0);
  const second = harness.readParts();
  assert.ok(second.every(({ member }) => member === fetch!.member));
  sendAll(harness, second, copy);
  assert.deepEqual(harness.ended, [{ token: 0, outcome: 'ok', value: VALUE }]);
  assert.deepEqual([harness.coordinator.active, harness.coordinator.spreadCount], [0, 1]);
  harness.turn(0);
  const repair = harness.writeParts();
  assert.ok(repair.every(({ member, flags }) => member === bad && flags === FLAG_REPAIR));
  assert.deepEqual(Buffer.concat(repair.map(({ piece }) => piece)), Buffer.from(copy.envelope));
  assert.deepEqual([repair[0]!.stamp, repair[0]!.tag, repair[0]!.key], [copy.stamp, copy.tag, KEY]);
  harness.answer(repair[0]!, progressReply(repair[0]!, [0, 1], repair.length));
  harness.answer(repair[0]!, writeReply(repair[0]!));
  harness.assertIdle();
});

test('should take no other value under the same stamp for the copy that did not open', () => {
  const harness = harnessWith();
  const copy = harness.copyOf(VALUE, stampOf(5));
  const other = harness.copyOf(VALUE.toUpperCase(), stampOf(5));
  sendAll(harness, getUntilParts(harness, copy), flip(copy, 40));
  for (let i = 0; i < 2; i++) {
    const fetches = harness.asked(MESSAGE_READ);
    assert.equal(fetches.length, 1);
    tellLength(harness, fetches[0]!, other);
    harness.turn(0);
  }
  assert.equal(harness.drops.of('stamp-conflict'), 2);
  assert.deepEqual(harness.outcomes(), ['unreadable']);
  harness.assertIdle();
});

test('should write back by parts what less than a quorum holds, and answer only then', () => {
  const harness = harnessWith();
  const copy = harness.copyOf(VALUE, stampOf(5));
  harness.get();
  const reads = harness.asked(MESSAGE_READ);
  const holder = reads.find(wantsValue)!;
  tellLength(harness, holder, copy);
  harness.answerRead(reads.find((read) => read !== holder)!, { stamp: stampOf(4) });
  harness.turn(0);
  sendAll(harness, harness.readParts(), copy);
  assert.deepEqual(harness.ended, []);
  harness.turn(0);
  const back = harness.writeParts();
  const members = [0, 1, 2].filter((member) => member !== holder.member);
  assert.deepEqual([...new Set(back.map(({ member }) => member))], members);
  for (const member of members) {
    const own = back.filter((part) => part.member === member);
    assert.ok(own.every(({ flags }) => flags === FLAG_WRITE_BACK));
    assert.deepEqual(Buffer.concat(own.map(({ piece }) => piece)), Buffer.from(copy.envelope));
    assert.deepEqual([own[0]!.stamp, own[0]!.tag], [copy.stamp, copy.tag]);
  }
  harness.answer({ member: members[0]! }, writeReply(back[0]!));
  assert.deepEqual(harness.ended, [{ token: 0, outcome: 'ok', value: VALUE }]);
  assert.equal(harness.coordinator.spreadCount, 1, 'the other one is sent the rest');
  harness.answer({ member: members[1]! }, writeReply(back[0]!));
  harness.assertIdle();
});

test('should write back nothing that does not open', () => {
  const harness = harnessWith();
  const copy = harness.copyOf(VALUE, stampOf(5));
  harness.get();
  const reads = harness.asked(MESSAGE_READ);
  const holder = reads.find(wantsValue)!;
  tellLength(harness, holder, copy);
  harness.answerRead(reads.find((read) => read !== holder)!, { stamp: stampOf(4) });
  harness.turn(0);
  sendAll(harness, harness.readParts(), flip(copy, 100));
  const fetch = harness.asked(MESSAGE_READ);
  assert.ok(fetch.every(({ member }) => member !== holder.member));
  assert.deepEqual(harness.ended, []);
});

test('should give everything back when it is cancelled, late or closed in the middle', () => {
  for (const way of ['cancel', 'deadline', 'close'] as const) {
    const harness = harnessWith();
    const copy = harness.copyOf(VALUE, stampOf(5));
    const operationId = harness.get();
    answerReads(harness, copy);
    harness.turn(0);
    const asked = harness.readParts();
    send(harness, asked[0]!, copy);
    if (way === 'cancel') harness.coordinator.cancel(operationId);
    else if (way === 'close') harness.coordinator.close();
    else harness.turn(5_000);
    assert.deepEqual(harness.outcomes(), [way === 'cancel' ? 'aborted' : way === 'close' ? 'closed' : 'deadline']);
    sendAll(harness, asked, copy);
    harness.run(300);
    harness.assertNothingAsked();
    harness.assertIdle();
  }
});

test('should give the window back with the get that had it', () => {
  const harness = harnessWith({ pullBytesMax: 4 * WINDOW_BYTES });
  const copy = harness.copyOf(VALUE, stampOf(5));
  for (let i = 0; i < 10; i++) {
    const operationId = harness.get();
    answerReads(harness, copy);
    harness.turn(0);
    assert.deepEqual(offsetsOf(harness.readParts()), OFFSETS, 'nothing that is over counts');
    harness.coordinator.cancel(operationId);
  }
  harness.assertIdle();
});

test('should begin again, at a member of the new epoch, when the epoch changes in the middle', () => {
  const harness = harnessWith();
  const copy = harness.copyOf(VALUE, stampOf(5));
  const asked = getUntilParts(harness, copy);
  harness.epoch = 2;
  send(harness, asked[0]!, copy);
  answerReads(harness, copy);
  harness.turn(0);
  sendAll(harness, harness.readParts(), copy);
  assert.deepEqual(harness.outcomes(), ['ok']);
  harness.assertIdle();
});

test('should wait for its deadline when its memory has no room for the value, and keep nothing', () => {
  const harness = harnessWith();
  const copy = harness.copyOf(VALUE, stampOf(5));
  const allocate = harness.memory.allocate.bind(harness.memory);
  harness.get();
  harness.memory.allocate = (byteCount) => (byteCount > 300 ? NO_REF : allocate(byteCount));
  for (let ms = 0; ms < 5_100; ms++) {
    answerReads(harness, copy);
    harness.turn(1);
  }
  assert.deepEqual(harness.outcomes(), ['deadline']);
  harness.assertIdle();
});
