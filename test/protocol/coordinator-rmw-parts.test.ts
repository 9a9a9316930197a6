/** Read-modify-writes of values larger than a datagram: what a coordinator sends and asks for by parts. The test is the replicas. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  FLAG_HOST_FULL,
  FLAG_PARTS,
  FLAG_VALUE,
  FLAG_WRITE_BACK,
  MESSAGE_READ_PART,
  MESSAGE_WRITE_PART,
  typeOf,
} from '../../src/protocol/messages.ts';
import {
  FLAG_LACKING,
  FLAG_NEXT,
  MESSAGE_ACCEPT,
  MESSAGE_COMMIT,
  MESSAGE_PREPARE,
} from '../../src/protocol/rmw-messages.ts';
import { MESSAGE_READ_ACCEPTED, MESSAGE_STAGE_PART } from '../../src/protocol/rmw-part-messages.ts';
import type { RmwRequest } from '../../src/protocol/rmw-request.ts';
import { CONDITION_NONE, CONDITION_VERSION, RMW_SET } from '../../src/protocol/rmw-request.ts';
import { CoordinatorHarness, flip } from './coordinator-harness.ts';
import type { Copy } from './coordinator-harness.ts';
import { bytesOf, stampOf, writeReply } from './fixtures.ts';
import type { AnswerTo, Message } from './fixtures.ts';
import { busyReply, goneReply, partReply, readPart } from './part-fixtures.ts';
import { acceptedOf, behindOf, commitReplyOf, nackOf, parseRmw, promiseOf } from './rmw-fixtures.ts';
import type { Id, Promised } from './rmw-fixtures.ts';
import { readAccepted, stagePart } from './rmw-part-fixtures.ts';

const NONE = new Uint8Array(0);
/** Datagrams that hold a tenth of the values. */
const DATAGRAM_BYTES = 400;
const OLD = 'old '.repeat(1_000);
const NEW = 'new!'.repeat(1_000);
const OTHER = { writerHigh: 1, writerLow: 5 };
const OTHER_ID: Id = { writer: OTHER, sequence: 3 };

const SET: RmwRequest = {
  change: RMW_SET,
  condition: CONDITION_NONE,
  value: bytesOf(NEW),
  expected: NONE,
  version: undefined,
  delta: 0n,
};

type Sent = Message & AnswerTo & { readonly member: number; readonly type: number };

class Parted extends CoordinatorHarness {
  constructor() {
    super();
    this.messenger.bytesMax = DATAGRAM_BYTES;
  }

  /** What was sent, when turns have gone by. */
  sent(turns = 1): Sent[] {
    for (let i = 0; i < turns; i++) this.turn(0);
    const members = [0, 1, 2].map((member) => this.sessionOf(member));
    return this.messenger.take().map((message) => ({
      ...message,
      member: members.indexOf(message.session),
      type: typeOf(message.control, 0),
      slot: message.control[0]! >>> 16,
      generation: message.control[1]!,
    }));
  }

  /** A PROMISE of each that was asked, its register by its length. */
  promiseParts(asked: readonly Sent[], { stamp, envelope, tag }: Copy, promised: Partial<Promised> = {}): void {
    for (const one of asked) {
      const wanted = (parseRmw(one).flags & FLAG_VALUE) !== 0;
      const message = promiseOf(one, {
        slot: 1,
        ...promised,
        register: { stamp, tag, envelope: wanted ? 'parts' : 'elsewhere' },
      });
      message.control[2] = envelope.length;
      this.answer(one, message);
    }
  }

  /** All parts that are asked for, until no more are. Returns who was asked, and how. */
  pullAll({ envelope }: Copy): { readonly members: Set<number>; readonly types: Set<number> } {
    const members = new Set<number>();
    const types = new Set<number>();
    for (let asked = this.sent(); asked.length > 0 && isPull(asked[0]!); ) {
      for (const one of asked) {
        members.add(one.member);
        types.add(one.type);
        const { byteOffset, byteCount } = pulled(one);
        this.answer(one, partReply(one, byteOffset, envelope.subarray(byteOffset, byteOffset + byteCount)));
      }
      this.turn(0);
      if (!isPull(this.peek())) break;
      asked = this.sent();
    }
    return { members, types };
  }

  peek(): Message | undefined {
    return this.messenger.sent[0];
  }
}

function isPull(message: Message | undefined): boolean {
  const type = message === undefined ? 0 : typeOf(message.control, 0);
  return type === MESSAGE_READ_PART || type === MESSAGE_READ_ACCEPTED;
}

function pulled(one: Sent): { byteOffset: number; byteCount: number } {
  if (one.type === MESSAGE_READ_ACCEPTED) return readAccepted(one);
  const part = readPart(one);
  assert.equal(part.type, MESSAGE_READ_PART);
  return part as { byteOffset: number; byteCount: number };
}

function only(sent: readonly Sent[], type: number): Sent[] {
  for (const one of sent) assert.equal(one.type, type, 'nothing else is sent');
  return [...sent].sort((a, b) => a.member - b.member);
}

/** A read-modify-write that has pulled its base and sent its ACCEPTs. */
function untilAccept(harness: Parted, request = SET): Sent[] {
  const old = harness.copyOf(OLD, stampOf(4));
  harness.rmw(request);
  harness.promiseParts(only(harness.sent(), MESSAGE_PREPARE), old);
  harness.pullAll(old);
  return only(harness.sent(2), MESSAGE_ACCEPT);
}

/** A member has all parts that it was sent. */
function answerParts(harness: Parted, parts: readonly Sent[]): void {
  harness.answer(parts[0]!, writeReply(parts.at(-1)!, 0));
}

function byMember(sent: readonly Sent[], member: number): Sent[] {
  return sent.filter((one) => one.member === member);
}

test('should pull the base, ask without the value, send it to who lacks it, and ask that one once more', () => {
  const harness = new Parted();
  const accepts = untilAccept(harness);
  for (const one of accepts) {
    const { flags, envelope } = parseRmw(one);
    assert.deepEqual([flags & FLAG_PARTS, envelope.length], [FLAG_PARTS, 0]);
  }
  harness.answer(accepts[0]!, acceptedOf(accepts[0]!));
  harness.answer(accepts[1]!, nackOf(accepts[1]!, undefined, FLAG_LACKING));
  const parts = only(harness.sent(), MESSAGE_STAGE_PART);
  assert.deepEqual(new Set(parts.map(({ member }) => member)), new Set([1]));
  const { partCount, id } = stagePart(parts[0]!);
  assert.deepEqual(id, parseRmw(accepts[0]!).id);
  assert.equal(parts.length, partCount);
  answerParts(harness, parts);
  const [again] = only(harness.sent(), MESSAGE_ACCEPT);
  assert.deepEqual([again!.member, parseRmw(again!).flags & FLAG_PARTS], [1, FLAG_PARTS]);
  harness.answer(again!, acceptedOf(again!));
  const commits = only(harness.sent(), MESSAGE_COMMIT);
  assert.deepEqual(
    commits.map((one) => [parseRmw(one).flags, parseRmw(one).envelope.length]),
    [
      [FLAG_PARTS, 0],
      [FLAG_PARTS, 0],
      [FLAG_PARTS, 0],
    ],
  );
  for (const one of commits.slice(0, 2)) harness.answer(one, commitReplyOf(one));
  assert.deepEqual([harness.ended[0]!.outcome, harness.ended[0]!.value], ['ok', OLD]);
  harness.assertIdle();
});

test('should send the rest to a member that is still getting it when it has ended, and a COMMIT, once', () => {
  const harness = new Parted();
  const accepts = untilAccept(harness);
  for (const one of accepts.slice(0, 2)) harness.answer(one, acceptedOf(one));
  const commits = harness.sent();
  harness.answer(accepts[2]!, nackOf(accepts[2]!, undefined, FLAG_LACKING));
  harness.answer(commits[2]!, commitReplyOf(commits[2]!, FLAG_LACKING));
  const parts = only(harness.sent(), MESSAGE_STAGE_PART);
  for (const one of commits.slice(0, 2)) harness.answer(one, commitReplyOf(one));
  assert.deepEqual([harness.outcomes(), harness.coordinator.active, harness.coordinator.spreadCount], [['ok'], 0, 1]);
  answerParts(harness, parts);
  const [commit] = only(harness.sent(), MESSAGE_COMMIT);
  assert.deepEqual([commit!.member, parseRmw(commit!).flags], [2, FLAG_PARTS]);
  harness.answer(commit!, commitReplyOf(commit!));
  harness.assertIdle();
});

test('should not count that all parts have come as that the proposal is accepted', () => {
  const harness = new Parted();
  const accepts = untilAccept(harness);
  for (const one of accepts) harness.answer(one, nackOf(one, undefined, FLAG_LACKING));
  const parts = harness.sent();
  for (const member of [0, 1, 2]) answerParts(harness, byMember(parts, member));
  assert.equal(only(harness.sent(), MESSAGE_ACCEPT).length, 3, 'and nothing is committed');
});

test('should set under a version that is there without pulling the value', () => {
  const harness = new Parted();
  const old = harness.copyOf(OLD, stampOf(4));
  harness.rmw({ ...SET, condition: CONDITION_VERSION, version: stampOf(4) });
  harness.promiseParts(only(harness.sent(), MESSAGE_PREPARE), old);
  assert.equal(only(harness.sent(2), MESSAGE_ACCEPT).length, 3);
});

test('should pull the value for a version that is not there, write it back by parts where it lacks, and tell it', () => {
  const harness = new Parted();
  const old = harness.copyOf(OLD, stampOf(4));
  harness.rmw({ ...SET, condition: CONDITION_VERSION, version: stampOf(3) });
  const [first, second] = only(harness.sent(), MESSAGE_PREPARE);
  const holder = [first!, second!].find((one) => (parseRmw(one).flags & FLAG_VALUE) !== 0)!;
  harness.promiseParts([holder], old);
  const lacking = holder === first ? second! : first!;
  harness.answer(lacking, promiseOf(lacking, { slot: 1 }));
  harness.pullAll(old);
  const commits = only(harness.sent(2), MESSAGE_COMMIT);
  assert.equal(commits.length, 2, 'to all that are not known to hold it');
  harness.answer(commits[0]!, commitReplyOf(commits[0]!, FLAG_LACKING));
  const parts = only(harness.sent(), MESSAGE_WRITE_PART);
  const written = readPart(parts[0]!);
  assert.equal(written.type === MESSAGE_WRITE_PART && written.flags, FLAG_WRITE_BACK);
  answerParts(harness, parts);
  assert.equal(harness.ended.length, 0, 'it is asked once more');
  const [again] = only(harness.sent(), MESSAGE_COMMIT);
  harness.answer(again!, commitReplyOf(again!));
  assert.deepEqual([harness.ended[0]!.outcome, harness.ended[0]!.value], ['mismatch', OLD]);
  harness.assertIdle();
});

test('should begin again when the base is overwritten while it is pulled', () => {
  const harness = new Parted();
  harness.rmw(SET);
  harness.promiseParts(only(harness.sent(), MESSAGE_PREPARE), harness.copyOf(OLD, stampOf(4)));
  const [part] = harness.sent();
  harness.answer(part!, goneReply(part!, 0));
  const again = only(harness.sent(), MESSAGE_PREPARE);
  assert.deepEqual([parseRmw(again[0]!).ballot!.number, parseRmw(again[0]!).flags & FLAG_NEXT], [2, FLAG_NEXT]);
});

test('should take another member’s copy of the base when the one pulled does not open', () => {
  const harness = new Parted();
  const old = harness.copyOf(OLD, stampOf(4));
  harness.rmw(SET);
  const prepares = only(harness.sent(), MESSAGE_PREPARE);
  harness.promiseParts(prepares, old);
  const { members } = harness.pullAll(flip(old, 900));
  const [fetch] = only(harness.sent(2), MESSAGE_PREPARE);
  assert.ok(!members.has(fetch!.member));
  harness.promiseParts([fetch!], old);
  assert.deepEqual(harness.pullAll(old).members, new Set([fetch!.member]));
  assert.equal(only(harness.sent(2), MESSAGE_ACCEPT).length, 3);
  assert.equal(harness.coordinator.counters.tampered, 1);
});

function acceptedParts(harness: Parted, one: Sent, copy: Copy): void {
  const accepted = { ...copy, id: OTHER_ID, ballot: { number: 3, writer: OTHER } };
  const whole = promiseOf(one, { slot: 1, accepted });
  const flags = (whole.control[0]! >>> 8) & 0xff;
  const control = whole.control.slice();
  control[0] = (control[0]! & ~0xff00) | ((flags | FLAG_PARTS) << 8);
  harness.answer(one, { control, value: NONE });
}

test('should pull what another has proposed, open it, and propose it as it is', () => {
  const harness = new Parted();
  const theirs = harness.copyOf(OLD, stampOf(4, 1, 0, 1));
  harness.rmw(SET);
  const [first, second] = only(harness.sent(), MESSAGE_PREPARE);
  acceptedParts(harness, first!, theirs);
  harness.answer(second!, promiseOf(second!, { slot: 1 }));
  const { members, types } = harness.pullAll(theirs);
  assert.deepEqual([members, types], [new Set([first!.member]), new Set([MESSAGE_READ_ACCEPTED])]);
  const accepts = only(harness.sent(2), MESSAGE_ACCEPT);
  assert.deepEqual([parseRmw(accepts[0]!).id, parseRmw(accepts[0]!).tag], [OTHER_ID, theirs.tag]);
  harness.answer(accepts[1]!, nackOf(accepts[1]!, undefined, FLAG_LACKING));
  const parts = only(harness.sent(), MESSAGE_STAGE_PART);
  const sent = Buffer.concat(parts.map((part) => stagePart(part).piece));
  assert.ok(sent.equals(theirs.envelope), 'the ciphertext as it was');
});

test('should not propose what another has proposed when it does not open, nor count that promise', () => {
  const harness = new Parted();
  const theirs = harness.copyOf(OLD, stampOf(4, 1, 0, 1));
  harness.rmw(SET);
  const [first, second] = only(harness.sent(), MESSAGE_PREPARE);
  acceptedParts(harness, first!, theirs);
  harness.answer(second!, promiseOf(second!, { slot: 1 }));
  harness.pullAll(flip(theirs, 900));
  const prepares = only(harness.sent(2), MESSAGE_PREPARE);
  assert.equal(prepares.length, 3, 'all are asked');
  acceptedParts(harness, prepares[first!.member]!, theirs);
  for (const one of prepares) if (one.member !== first!.member) harness.answer(one, promiseOf(one, { slot: 1 }));
  assert.notDeepEqual(parseRmw(only(harness.sent(2), MESSAGE_ACCEPT)[0]!).id, OTHER_ID);
});

test('should send the parts anew when the epoch changes, in the slot in which they were sent', () => {
  const harness = new Parted();
  const accepts = untilAccept(harness);
  harness.answer(accepts[0]!, nackOf(accepts[0]!, undefined, FLAG_LACKING));
  const parts = harness.sent();
  harness.epoch = 2;
  answerParts(harness, byMember(parts, 0));
  const again = only(harness.sent(), MESSAGE_ACCEPT);
  assert.deepEqual([again.length, parseRmw(again[0]!).tag], [3, parseRmw(accepts[0]!).tag]);
  harness.answer(again[0]!, nackOf(again[0]!, undefined, FLAG_LACKING));
  assert.equal(only(harness.sent(), MESSAGE_STAGE_PART).length, parts.length);
});

test('should send all of it again to a member that has forgotten it', () => {
  const harness = new Parted();
  const accepts = untilAccept(harness);
  for (let i = 0, [asked] = accepts; i < 3; i++) {
    harness.answer(asked!, nackOf(asked!, undefined, FLAG_LACKING));
    const parts = only(harness.sent(), MESSAGE_STAGE_PART);
    assert.equal(parts.length, stagePart(parts[0]!).partCount);
    answerParts(harness, parts);
    [asked] = only(harness.sent(), MESSAGE_ACCEPT);
  }
});

test('should go on without a member that has no room for the parts, and not without two', () => {
  const harness = new Parted();
  const accepts = untilAccept(harness);
  for (const one of accepts) harness.answer(one, nackOf(one, undefined, FLAG_LACKING));
  const parts = harness.sent();
  harness.answer(accepts[0]!, writeReply(byMember(parts, 0)[0]!, FLAG_HOST_FULL));
  assert.equal(harness.ended.length, 0);
  harness.answer(accepts[1]!, busyReply(byMember(parts, 1)[0]!));
  assert.equal(harness.ended.length, 0, 'busy is no refusal');
  harness.answer(accepts[1]!, writeReply(byMember(parts, 1)[0]!, FLAG_HOST_FULL));
  assert.equal(harness.ended[0]!.outcome, 'outcome-unknown', 'an ACCEPT was sent');
  harness.assertIdle();
});

test('should pull the value for members that are behind and lack it, and write it back there', () => {
  const harness = new Parted();
  const old = harness.copyOf(OLD, stampOf(4));
  harness.readyMask = 0b011;
  harness.rmw(SET);
  const [first, second] = only(harness.sent(), MESSAGE_PREPARE);
  harness.promiseParts([first!], old, { slot: 6 });
  harness.answer(second!, behindOf(second!, 3));
  let sent = only(harness.sent(), (parseRmw(first!).flags & FLAG_VALUE) !== 0 ? MESSAGE_COMMIT : MESSAGE_PREPARE);
  if (sent[0]!.type === MESSAGE_PREPARE) {
    harness.promiseParts(sent, old, { slot: 6 });
    sent = only(harness.sent(), MESSAGE_COMMIT);
  }
  const { flags, consensusSlot } = parseRmw(sent[0]!);
  assert.deepEqual([sent[0]!.member, flags, consensusSlot], [second!.member, 0, 5]);
  harness.answer(sent[0]!, commitReplyOf(sent[0]!, FLAG_LACKING));
  assert.deepEqual(harness.pullAll(old).members, new Set([first!.member]));
  const [commit] = only(harness.sent(2), MESSAGE_COMMIT);
  harness.answer(commit!, commitReplyOf(commit!, FLAG_LACKING));
  const parts = only(harness.sent(), MESSAGE_WRITE_PART);
  assert.deepEqual(new Set(parts.map(({ member }) => member)), new Set([second!.member]));
  answerParts(harness, parts);
  const [again] = only(harness.sent(), MESSAGE_COMMIT);
  harness.answer(again!, commitReplyOf(again!));
  assert.equal(only(harness.sent(), MESSAGE_PREPARE).length, 2, 'and goes on');
});

test('should keep nothing when it is given up in the middle of the parts, of either way', () => {
  const pulling = new Parted();
  const pull = pulling.rmw(SET);
  pulling.promiseParts(only(pulling.sent(), MESSAGE_PREPARE), pulling.copyOf(OLD, stampOf(4)));
  assert.ok(isPull(pulling.sent()[0]));
  pulling.coordinator.cancel(pull);
  assert.equal(pulling.ended[0]!.outcome, 'aborted', 'nothing was sent');
  pulling.assertIdle();

  const sending = new Parted();
  const accepts = untilAccept(sending);
  sending.answer(accepts[0]!, nackOf(accepts[0]!, undefined, FLAG_LACKING));
  sending.sent();
  sending.run(5_001);
  assert.equal(sending.ended[0]!.outcome, 'outcome-unknown');
  sending.assertIdle();
});
