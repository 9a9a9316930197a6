/** Every message that a client may send, under grants that permit it, and under each kind that does not quite. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  FLAG_GONE,
  FLAG_NOT_PERMITTED,
  FLAG_REPAIR,
  FLAG_TOMBSTONE,
  FLAG_VALUE,
  FLAG_WRITE_BACK,
  MESSAGE_READ,
  MESSAGE_READ_PART_REPLY,
  MESSAGE_READ_REPLY,
  MESSAGE_REPAIR,
  MESSAGE_STAMP,
  MESSAGE_STAMP_REPLY,
  MESSAGE_STATUS,
  MESSAGE_STATUS_REQUEST,
  MESSAGE_WRITE_REPLY,
  flagsOf,
  typeOf,
  writeHead,
} from '../../src/protocol/messages.ts';
import { MESSAGE_RESOLVE_REPLY } from '../../src/protocol/resolve-messages.ts';
import { MESSAGE_COMMIT_REPLY, MESSAGE_NACK } from '../../src/protocol/rmw-messages.ts';
import { MESSAGE_SCAN_REPLY } from '../../src/protocol/scan-messages.ts';
import { seededBytes } from '../workers/random.ts';
import { askOf, bytesOf, clientPeer, readPartOf, sessionWith, stampOf, writeOf } from './fixtures.ts';
import type { Message, SentMessage, Stamp } from './fixtures.ts';
import { partsOf } from './part-fixtures.ts';
import { ReplicaHarness, WRITER } from './replica-harness.ts';
import { resolveOf } from './resolve-fixtures.ts';
import { acceptOf, commitOf, prepareOf } from './rmw-fixtures.ts';
import { readAcceptedOf, stagedOf } from './rmw-part-fixtures.ts';
import { scanOf } from './scan-fixtures.ts';

const NAME = 'orders/1';
const KEY = bytesOf(NAME);
const TAG = Int32Array.of(1, 2, 3, 4);
const ENVELOPE = seededBytes(200, 1);
const STAMP: Stamp = { ...WRITER, counter: 5, rmw: 0 };
const NEWER: Stamp = { ...WRITER, counter: 6, rmw: 0 };
const STORED = { key: KEY, stamp: STAMP, tag: TAG, envelope: ENVELOPE };
const NEW = { key: KEY, stamp: NEWER, tag: TAG, envelope: ENVELOPE };
const BALLOT = { number: 1, writer: WRITER };
const PROPOSED = {
  id: { writer: WRITER, sequence: 1 },
  stamp: { ...STAMP, rmw: 1 },
  tag: TAG,
  envelope: ENVELOPE,
};
const PART_BYTES = 64;

/** Grants that give a right on the key, or on all keys that begin with orders/. */
const READ = ['r:', 'ra:x,r:orders/', 'r:orders/1', 'w:,r:orders/1,r:orders/2'];
const WRITE = ['w:', 'w:x,w:orders/', 'w:orders/1', 'r:,w:orders/1,w:orders/2'];
const BOTH = ['rw:', 'r:,w:orders/1', 'r:orders/,w:ord', 'r:orders/1,w:orders/1', 'rw:orders/1'];
/** Others': too long, another at the first byte or the last, admin only, nothing. */
const NOBODY = ['rw:orders/10', 'rw:orders/1%00', 'rw:orders/2', 'rw:Orders/1', 'a:', 'rwa:elsewhere/'];
const READ_ONLY = ['r:', 'r:orders/1', 'r:,w:orders/10', 'r:orders/,w:orders/2'];
const WRITE_ONLY = ['w:', 'w:orders/1', 'w:,r:orders/10', 'w:orders/,r:orders/2'];

interface Case {
  readonly name: string;
  readonly messages: readonly Message[];
  readonly permitted: readonly string[];
  readonly denied: readonly string[];
  /** Type of the answer to who may not; undefined: none. */
  readonly answer: number | undefined;
}

function keyed(right: 'read' | 'write' | 'both'): Pick<Case, 'permitted' | 'denied'> {
  if (right === 'read') return { permitted: [...READ, ...BOTH], denied: [...WRITE_ONLY, ...NOBODY] };
  if (right === 'write') return { permitted: [...WRITE, ...BOTH], denied: [...READ_ONLY, ...NOBODY] };
  return { permitted: BOTH, denied: [...READ_ONLY, ...WRITE_ONLY, ...NOBODY] };
}

const onlyPart = (parts: Message[], index: number): Message[] => [parts[index]!];
const statusRequest = (): Message => {
  const control = new Int32Array(2);
  writeHead(control, 0, MESSAGE_STATUS_REQUEST, 0, 1, 0);
  return { control, value: new Uint8Array(0) };
};
const scan = (start: string, end: string): Message[] => [scanOf({ start, end, wantsValues: true })];
const UNDER_ORDERS = { permitted: ['r:', 'r:orders/', 'rw:order', 'w:,r:o'], denied: ['w:', 'r:orders/1', ...NOBODY] };

const CASES: readonly Case[] = [
  { name: 'READ', messages: [askOf(MESSAGE_READ, FLAG_VALUE, KEY)], ...keyed('read'), answer: MESSAGE_READ_REPLY },
  {
    name: 'READ of the stamp alone',
    messages: [askOf(MESSAGE_READ, 0, KEY)],
    ...keyed('read'),
    answer: MESSAGE_READ_REPLY,
  },
  {
    name: 'READ_PART',
    messages: [readPartOf({ key: KEY, stamp: STAMP, byteOffset: 0, byteCount: 64 })],
    ...keyed('read'),
    answer: MESSAGE_READ_PART_REPLY,
  },
  { name: 'STAMP', messages: [askOf(MESSAGE_STAMP, 0, KEY, 100)], ...keyed('write'), answer: MESSAGE_STAMP_REPLY },
  { name: 'WRITE', messages: [writeOf(NEW)], ...keyed('write'), answer: MESSAGE_WRITE_REPLY },
  {
    name: 'WRITE of a tombstone',
    messages: [writeOf({ key: KEY, stamp: NEWER, flags: FLAG_TOMBSTONE })],
    ...keyed('write'),
    answer: MESSAGE_WRITE_REPLY,
  },
  {
    name: 'WRITE, a write-back',
    messages: [writeOf({ ...NEW, stamp: stampOf(9, 3), flags: FLAG_WRITE_BACK })],
    ...keyed('write'),
    answer: MESSAGE_WRITE_REPLY,
  },
  {
    name: 'WRITE_PART, the one with the key',
    messages: onlyPart(partsOf(NEW, PART_BYTES), 0),
    ...keyed('write'),
    answer: MESSAGE_WRITE_REPLY,
  },
  {
    name: 'WRITE_PART, a write-back',
    messages: onlyPart(partsOf({ ...NEW, stamp: stampOf(9, 3), flags: FLAG_WRITE_BACK }, PART_BYTES), 0),
    ...keyed('write'),
    answer: MESSAGE_WRITE_REPLY,
  },
  {
    name: 'WRITE_PART, one without a key: it takes memory of whom may write anything',
    messages: onlyPart(partsOf(NEW, PART_BYTES), 1),
    permitted: [...WRITE, ...BOTH, 'w:elsewhere/'],
    denied: ['r:', 'ra:', 'a:', 'r:orders/1'],
    answer: MESSAGE_WRITE_REPLY,
  },
  { name: 'REPAIR', messages: [writeOf({ ...STORED, type: MESSAGE_REPAIR })], ...keyed('read'), answer: undefined },
  {
    name: 'WRITE_PART of a repair, the one with the key',
    messages: onlyPart(partsOf({ ...STORED, flags: FLAG_REPAIR }, PART_BYTES), 0),
    ...keyed('read'),
    answer: MESSAGE_WRITE_REPLY,
  },
  {
    name: 'WRITE_PART of a repair, one without a key',
    messages: onlyPart(partsOf({ ...STORED, flags: FLAG_REPAIR }, PART_BYTES), 1),
    permitted: [...READ, ...BOTH, 'r:elsewhere/'],
    denied: ['w:', 'wa:', 'a:', 'w:orders/1'],
    answer: MESSAGE_WRITE_REPLY,
  },
  {
    name: 'RESOLVE',
    messages: [resolveOf({ key: NAME, slot: 1, generation: 0 })],
    ...keyed('read'),
    answer: MESSAGE_RESOLVE_REPLY,
  },
  { name: 'SCAN of a prefix', messages: scan('orders/', 'orders0'), ...UNDER_ORDERS, answer: MESSAGE_SCAN_REPLY },
  { name: 'SCAN below a prefix', messages: scan('orders/1', 'orders/5'), ...UNDER_ORDERS, answer: MESSAGE_SCAN_REPLY },
  {
    name: 'SCAN beyond the end of a prefix',
    messages: scan('orders/1', 'orders0x'),
    permitted: ['r:', 'r:order'],
    denied: ['r:orders/', 'r:orders/,r:orders0', 'w:', ...NOBODY],
    answer: MESSAGE_SCAN_REPLY,
  },
  {
    name: 'SCAN from before a prefix',
    messages: scan('order', 'orders/5'),
    permitted: ['r:', 'r:order'],
    denied: ['r:orders/', 'r:orders/1', 'w:', ...NOBODY],
    answer: MESSAGE_SCAN_REPLY,
  },
  ...[scan('', ''), scan('orders/', ''), scan('', 'orders/5')].map(
    (messages, i): Case => ({
      name: `SCAN without a bound, ${i}`,
      messages,
      permitted: ['r:', 'r:x,r:'],
      denied: ['r:orders/', 'r:orders/,r:a', 'w:', ...NOBODY],
      answer: MESSAGE_SCAN_REPLY,
    }),
  ),
  { name: 'PREPARE', messages: [prepareOf(KEY, 1, BALLOT, FLAG_VALUE)], ...keyed('both'), answer: MESSAGE_NACK },
  { name: 'ACCEPT', messages: [acceptOf(KEY, 1, BALLOT, PROPOSED)], ...keyed('both'), answer: MESSAGE_NACK },
  {
    name: 'COMMIT',
    messages: [commitOf(KEY, 1, { stamp: PROPOSED.stamp, sealed: PROPOSED })],
    ...keyed('both'),
    answer: MESSAGE_COMMIT_REPLY,
  },
  {
    name: 'STAGE_PART, the one with the key',
    messages: onlyPart(stagedOf(KEY, PROPOSED, PART_BYTES), 0),
    ...keyed('both'),
    answer: MESSAGE_WRITE_REPLY,
  },
  {
    name: 'STAGE_PART, one without a key: it takes memory of whom may change anything',
    messages: onlyPart(stagedOf(KEY, PROPOSED, PART_BYTES), 1),
    permitted: [...BOTH, 'rw:elsewhere/', 'r:here/,w:there/'],
    denied: ['r:', 'w:', 'ra:', 'a:', 'r:orders/1'],
    answer: MESSAGE_WRITE_REPLY,
  },
  {
    name: 'READ_ACCEPTED',
    messages: [readAcceptedOf(KEY, 1, PROPOSED.id, 0, 8)],
    ...keyed('both'),
    answer: MESSAGE_READ_PART_REPLY,
  },
  {
    name: 'STATUS_REQUEST',
    messages: [statusRequest()],
    permitted: ['a:', 'rwa:', 'r:,a:'],
    denied: ['rw:', 'a:orders/', 'rwa:orders/'],
    answer: MESSAGE_STATUS,
  },
];

/** A replica that holds the key. */
function holder(): ReplicaHarness {
  const replica = new ReplicaHarness();
  replica.ask([writeOf(STORED)]);
  return replica;
}

/** All that a message could have changed. */
function stateOf(replica: ReplicaHarness): unknown {
  const entry = replica.store.find(writeOf(STORED).control, 14, KEY.length);
  return {
    stats: replica.store.stats(),
    counter: replica.store.counter(entry),
    record: replica.store.consensus.find(entry),
    open: replica.replica.reassemblies.openCount,
    statusRequests: replica.statusRequests.length,
    operations: replica.replica.operationCount,
    calls: replica.calls.length,
  };
}

function assertDenial(answers: readonly SentMessage[], answer: number | undefined): void {
  assert.deepEqual(
    answers.map(({ control }) => typeOf(control, 0)),
    answer === undefined ? [] : [answer],
  );
  for (const { control, value } of answers) {
    const goneToo = answer === MESSAGE_READ_PART_REPLY ? FLAG_GONE : 0;
    assert.equal(flagsOf(control, 0), FLAG_NOT_PERMITTED | goneToo);
    assert.ok(control.subarray(2).every((word) => word === 0) && value.length === 0, 'it tells nothing of the key');
  }
}

for (const { name, messages, permitted, denied, answer } of CASES) {
  test(`${name}: done for who may, refused and without any effect for who may not`, () => {
    for (const grants of denied) {
      const replica = holder();
      const before = stateOf(replica);
      const answers = replica.ask(messages, sessionWith(clientPeer(WRITER, grants)));
      assertDenial(answers, answer);
      assert.deepEqual(replica.drops.nonZero(), { 'not-permitted': 1 }, grants);
      assert.deepEqual(stateOf(replica), before, grants);
    }
    for (const grants of permitted) {
      const replica = holder();
      const answers = replica.ask(messages, sessionWith(clientPeer(WRITER, grants)));
      assert.equal(replica.drops.of('not-permitted'), 0, grants);
      assert.ok(
        answers.every(({ control }) => (flagsOf(control, 0) & FLAG_NOT_PERMITTED) === 0 || answer === undefined),
      );
    }
  });
}

test('a value by parts under a key that is not permitted is never applied, in whatever order its parts come', () => {
  const parts = partsOf(NEW, PART_BYTES);
  for (const order of [parts, parts.toReversed()]) {
    const replica = holder();
    const session = sessionWith(clientPeer(WRITER, 'w:elsewhere/'));
    for (const part of order) replica.ask([part], session);
    assert.equal(replica.drops.of('not-permitted'), 1);
    const entry = replica.store.find(writeOf(STORED).control, 14, KEY.length);
    assert.equal(replica.store.counter(entry), STAMP.counter);
  }
});

test('who asked for too much is answered in a group with what is permitted', () => {
  const replica = holder();
  const session = sessionWith(clientPeer(WRITER, 'r:orders/'));
  const answers = replica.ask(
    [askOf(MESSAGE_READ, 0, bytesOf('other')), askOf(MESSAGE_READ, 0, KEY), askOf(MESSAGE_STAMP, 0, KEY, 8)],
    session,
  );
  assert.deepEqual(
    answers.map(({ control }) => flagsOf(control, 0)),
    [FLAG_NOT_PERMITTED, 0, FLAG_NOT_PERMITTED],
  );
});
