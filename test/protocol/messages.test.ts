import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { alignUp } from '../../net/bytes.ts';
import { FLAG_ASK, sendCounters } from '../../src/protocol/counters-message.ts';
import {
  FLAG_TOMBSTONE,
  FLAG_VALUE,
  FLAG_WRITE_BACK,
  KEY_BYTES_MAX,
  MEMBERS_MAX,
  MESSAGE_READ,
  MESSAGE_REPAIR,
  MESSAGE_STAMP,
  MESSAGE_STATE,
  MESSAGE_STATE_REQUEST,
  MESSAGE_STATUS,
  MESSAGE_STATUS_REQUEST,
  MESSAGE_WRITE,
  isZeroPadded,
  messageBytes,
  messageEnvelopeBytes,
  writeHead,
} from '../../src/protocol/messages.ts';
import { MESSAGE_RESOLVE } from '../../src/protocol/resolve-messages.ts';
import { STATE_KINDS, readState, sendState } from '../../src/protocol/state-message.ts';
import { readStatus, sendStatus, sendStatusRequest } from '../../src/protocol/status-message.ts';
import {
  askOf,
  clientPeer,
  MessageRecorder,
  NO_STAMP,
  parseReadReply,
  readPartOf,
  readReply,
  readRequest,
  sessionWith,
  stampReply,
  writeOf,
  writeReply,
} from './fixtures.ts';
import type { Message, Stamp } from './fixtures.ts';
import { operationWith } from './operation-fixture.ts';
import { resolveOf, resolveReply } from './resolve-fixtures.ts';
import { busyReply, goneReply, partReply, partsOf, partsReply, progressReply } from './part-fixtures.ts';

const session = sessionWith(clientPeer({ writerHigh: 1, writerLow: 2 }));

const word = fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 });
/** Compared with plain objects, so made with a prototype. */
const plain = { noNullPrototype: true };
const stamp: fc.Arbitrary<Stamp> = fc.record(
  { counter: fc.maxSafeNat(), writerHigh: word, writerLow: word, rmw: word },
  plain,
);
const key = fc.uint8Array({ minLength: 1, maxLength: 60 });
const longKey = fc.constantFrom(1_017, 1_023, KEY_BYTES_MAX).map((n) => new Uint8Array(n).fill(7));
const envelope = fc.uint8Array({ maxLength: 80 });
const tag = fc.array(word, { minLength: 4, maxLength: 4 }).map((words) => Int32Array.from(words));

test('should read from each request what the operation asked', () => {
  const flags = fc.constantFrom(0, FLAG_WRITE_BACK);
  fc.assert(
    fc.property(fc.oneof(key, longKey), envelope, tag, stamp, flags, fc.boolean(), (k, e, t, s, flag, isTombstone) => {
      const { table, slot, messenger, requests } = operationWith(k, e, t, s);
      assert.ok(requests.read(session, slot, true));
      assert.ok(requests.read(session, slot, false));
      assert.ok(requests.stamp(session, slot));
      table.tombstone[slot] = isTombstone ? 1 : 0;
      assert.ok(requests.write(session, slot, MESSAGE_WRITE, flag));
      assert.ok(requests.write(session, slot, MESSAGE_REPAIR, 0));
      const [read, readStamp, ask, write, repair] = messenger.take().map(readRequest);
      for (const request of [read, readStamp, ask, write, repair]) {
        assert.deepEqual(request!.key, k);
        assert.deepEqual([request!.slot, request!.generation], [slot, -77]);
      }
      assert.deepEqual([read!.type, read!.flags, read!.envelopeBytes], [MESSAGE_READ, FLAG_VALUE, 0]);
      assert.deepEqual([readStamp!.type, readStamp!.flags], [MESSAGE_READ, 0]);
      assert.deepEqual([ask!.type, ask!.flags, ask!.envelopeBytes], [MESSAGE_STAMP, 0, e.length]);
      for (const [request, type, ownFlags] of [
        [write!, MESSAGE_WRITE, flag],
        [repair!, MESSAGE_REPAIR, 0],
      ] as const) {
        assert.equal(request.type, type);
        assert.equal(request.flags, ownFlags | (isTombstone ? FLAG_TOMBSTONE : 0));
        assert.deepEqual(request.stamp, s);
        assert.deepEqual(request.value, isTombstone ? new Uint8Array(0) : e);
        assert.deepEqual(request.tag, isTombstone ? new Int32Array(4) : t);
      }
    }),
  );
});

test('should send nothing when the session takes nothing', () => {
  const { slot, messenger, requests } = operationWith(Uint8Array.of(1), Uint8Array.of(2), new Int32Array(4), {
    counter: 1,
    writerHigh: 0,
    writerLow: 0,
    rmw: 0,
  });
  messenger.full = true;
  assert.equal(requests.read(session, slot, true), false);
  assert.equal(requests.stamp(session, slot), false);
  assert.equal(requests.write(session, slot, MESSAGE_WRITE, 0), false);
  assert.deepEqual(messenger.take(), []);
});

const incarnation = fc.uint8Array({ minLength: 16, maxLength: 16 }).map((bytes) => Buffer.from(bytes).toString('hex'));
const state = fc.record(
  {
    state: fc.constantFrom(...STATE_KINDS),
    memberIndex: fc.nat(MEMBERS_MAX - 1),
    epoch: fc.nat(0xffff_ffff),
    incarnation,
    incarnations: fc.array(incarnation, { maxLength: MEMBERS_MAX }),
    goneMask: fc.nat(2 ** MEMBERS_MAX - 1),
  },
  plain,
);

test('should read from STATE what was said', () => {
  fc.assert(
    fc.property(state, (said) => {
      const messenger = new MessageRecorder();
      sendState(messenger, session, said);
      const { control } = messenger.take()[0]!;
      assert.equal(messageBytes(control, 0, control.length, 0), control.length * 4);
      assert.deepEqual(readState(control, 0), said);
    }),
  );
});

test('should read no state that a later version may add', () => {
  const messenger = new MessageRecorder();
  const incarnationZero = '0'.repeat(32);
  sendState(messenger, session, {
    state: 'active',
    memberIndex: 1,
    epoch: 1,
    incarnation: incarnationZero,
    incarnations: [],
    goneMask: 0,
  });
  const { control } = messenger.take()[0]!;
  control[2]! |= 0xff;
  assert.equal(readState(control, 0), undefined);
});

test('should read from STATUS what was said, of any length, and leave out the drops when it is too long', () => {
  const messenger = new MessageRecorder();
  for (let length = 0; length < 20; length++) {
    const said = { text: 'ä'.repeat(length), number: 1.5 };
    sendStatus(messenger, session, 5, 6, said);
    const { control } = messenger.take()[0]!;
    assert.equal(messageBytes(control, 0, control.length, 0), control.length * 4);
    assert.deepEqual(readStatus(regionOfControl(control), 0), said);
  }
  messenger.bytesMax = 120;
  sendStatus(messenger, session, 5, 6, { keys: 1, drops: { forged: 'x'.repeat(200) } });
  const { control } = messenger.take()[0]!;
  assert.deepEqual(readStatus(regionOfControl(control), 0), { keys: 1 });
  assert.equal(sendStatusRequest(messenger, session, 9), true);
});

test('should read no status that is no JSON object', () => {
  for (const text of ['', '5', 'null', '{', '"x"', '{"a":1}}']) {
    const body = Buffer.from(text);
    const control = new Int32Array(4 + alignUp(body.length) / 4);
    writeHead(control, 0, MESSAGE_STATUS, 0, 1, 1);
    control[2] = body.length;
    new Uint8Array(control.buffer).set(body, 16);
    assert.equal(readStatus(regionOfControl(control), 0), undefined, text);
  }
});

function regionOfControl(words: Int32Array) {
  return { words, bytes: new Uint8Array(words.buffer, words.byteOffset, words.byteLength) };
}

/** Lengths that overflow when they are padded. */
const edge = fc.constantFrom(2 ** 31 - 1, 2 ** 31 - 7, 2 ** 31 - 8, -(2 ** 31), -1, -8);

// -- whatever comes in ------------------------------------------------------------------------------------------------

/** One well-formed message of each type, with its value part. */
const validMessages: readonly Message[] = (() => {
  const k = Uint8Array.of(1, 2, 3, 4, 5);
  const s: Stamp = { counter: 2 ** 52, writerHigh: 3, writerLow: 4, rmw: 5 };
  const t = Int32Array.of(6, 7, 8, 9);
  const e = new Uint8Array(45).fill(10);
  const to = { slot: 11, generation: 12 };
  const recorder = new MessageRecorder();
  const none = '0'.repeat(32);
  sendState(recorder, session, {
    state: 'active',
    memberIndex: 2,
    epoch: 1,
    incarnation: none,
    incarnations: [none, none, none],
    goneMask: 0,
  });
  sendStatus(recorder, session, 1, 2, { keys: 12_345 });
  sendStatusRequest(recorder, session, 3);
  const request = new Int32Array(2);
  writeHead(request, 0, MESSAGE_STATE_REQUEST, 0, 0, 0);
  return [
    askOf(MESSAGE_READ, FLAG_VALUE, k),
    askOf(MESSAGE_STAMP, 0, k, 300),
    writeOf({ key: k, stamp: s, tag: t, envelope: e }),
    writeOf({ key: k, stamp: s, flags: FLAG_TOMBSTONE }),
    writeOf({ type: MESSAGE_REPAIR, key: k, stamp: s, tag: t, envelope: e }),
    readReply(to, { stamp: s }),
    readReply(to, { stamp: s, tag: t, envelope: e }),
    stampReply(to, 99),
    writeReply(to),
    { control: request, value: new Uint8Array(0) },
    ...partsOf({ key: k, stamp: s, tag: t, envelope: e }, 16),
    readPartOf({ key: k, stamp: s, byteOffset: 16, byteCount: 29 }),
    progressReply(to, [0, 2], 100),
    busyReply(to),
    partsReply(to, s, t, 100_000),
    partReply(to, 16, e.subarray(16)),
    goneReply(to, 16),
    ...recorder.take(),
    resolveOf({ key: 'a key', ...to }),
    resolveReply(to, s),
    counters(2 ** 52, 2 ** 53 - 1),
  ];
})();

function counters(greatest: number, ceiling: number): Message {
  const recorder = new MessageRecorder();
  sendCounters(recorder, session, FLAG_ASK, greatest, ceiling);
  return recorder.take()[0]!;
}

/** Walks a control part as the handlers do, and checks that all they would read lies inside. */
function walk(words: Int32Array, first: number, wordEnd: number, valueBytes: number): number {
  let at = first;
  let valueLeft = valueBytes;
  let count = 0;
  while (at < wordEnd) {
    const byteCount = messageBytes(words, at, wordEnd, valueLeft);
    if (byteCount === -1) break;
    assert.ok(byteCount >= 8 && byteCount % 8 === 0 && at * 4 + byteCount <= wordEnd * 4);
    const envelopeBytes = messageEnvelopeBytes(words, at);
    assert.ok(envelopeBytes >= 0 && alignUp(envelopeBytes) <= valueLeft);
    valueLeft -= alignUp(envelopeBytes);
    at += byteCount >> 2;
    count++;
  }
  return count;
}

test('should take a sequence of messages apart into just those messages', () => {
  fc.assert(
    fc.property(fc.array(fc.constantFrom(...validMessages), { maxLength: 12 }), (messages) => {
      const control = Int32Array.from(messages.flatMap((message) => [...message.control]));
      const valueBytes = messages.reduce((sum, { value }) => sum + value.length, 0);
      assert.equal(walk(control, 0, control.length, valueBytes), messages.length);
    }),
  );
});

test('should find any words either a message within bounds or malformed, and never throw', () => {
  const head = fc
    .tuple(fc.integer({ min: 0, max: 16 }), fc.nat(255), fc.nat(0xffff))
    .map(([type, flags, slot]) => type | (flags << 8) | (slot << 16));
  const small = fc.oneof(fc.integer({ min: -2, max: 40 }), word, edge);
  const words = fc
    .array(fc.oneof({ weight: 3, arbitrary: small }, { weight: 1, arbitrary: head }), { maxLength: 30 })
    .chain((rest) => head.map((first) => Int32Array.from([first, ...rest, ...(rest.length % 2 === 0 ? [0] : [])])));
  fc.assert(
    fc.property(words, fc.nat(64), (control, valueBytes) => {
      walk(control, 0, control.length, valueBytes & ~7);
    }),
    { numRuns: 3_000 },
  );
});

test('should find a valid message with a few changed words, cut anywhere, within bounds or malformed', () => {
  const change = fc.record({ at: fc.nat(40), to: fc.oneof(word, edge, fc.integer({ min: 0, max: 1_100 })) });
  fc.assert(
    fc.property(
      fc.constantFrom(...validMessages),
      fc.array(change, { minLength: 1, maxLength: 3 }),
      fc.nat(20),
      ({ control, value }, changes, cut) => {
        const words = control.slice(0, Math.max(2, control.length - 2 * cut));
        for (const { at, to } of changes) words[at % words.length] = to;
        walk(words, 0, words.length, value.length);
      },
    ),
    { numRuns: 3_000 },
  );
});

test('should refuse every message that is cut short by 8 bytes, or whose value is', () => {
  for (const { control, value } of validMessages) {
    const { length } = control;
    assert.equal(messageBytes(control, 0, length, value.length), length * 4);
    if (length > 2) assert.equal(messageBytes(control, 0, length - 2, value.length), -1);
    if (value.length > 0) assert.equal(messageBytes(control, 0, length, value.length - 8), -1);
  }
  assert.equal(messageBytes(new Int32Array(1), 0, 1, 0), -1);
  assert.equal(messageBytes(new Int32Array(2), 0, 2, 0), -1, 'type 0 is none');
});

test('should refuse keys of no bytes, of too many, and with anything but zeros behind', () => {
  for (const type of [MESSAGE_READ, MESSAGE_WRITE, MESSAGE_RESOLVE]) {
    for (const keyBytes of [0, -1, KEY_BYTES_MAX + 1, 2 ** 31 - 1, -(2 ** 31)]) {
      const control = new Int32Array(400);
      writeHead(control, 0, type, FLAG_TOMBSTONE, 0, 0);
      control[2] = keyBytes;
      assert.equal(messageBytes(control, 0, control.length, 0), -1, `${keyBytes}`);
    }
  }
  for (let keyBytes = 1; keyBytes <= 17; keyBytes++) {
    const clean = askOf(MESSAGE_READ, 0, new Uint8Array(keyBytes).fill(0xff)).control;
    assert.equal(isZeroPadded(clean, 4, keyBytes), true);
    for (let padding = keyBytes; padding < alignUp(keyBytes); padding++) {
      const dirty = clean.slice();
      new Uint8Array(dirty.buffer)[16 + padding] = 1;
      assert.equal(messageBytes(dirty, 0, dirty.length, 0), -1, `byte ${padding} behind a key of ${keyBytes}`);
    }
  }
});

test('should refuse counters of 2^53 and more', () => {
  for (const [message, at] of [
    [validMessages[2]!, 5],
    [validMessages[5]!, 5],
    [validMessages[7]!, 3],
    [resolveReply({ slot: 1, generation: 1 }, { ...NO_STAMP, counter: 1 }), 5],
    [counters(1, 1), 3],
    [counters(1, 1), 5],
  ] as const) {
    const control = message.control.slice();
    for (const high of [1 << 21, -1, -(2 ** 31)]) {
      control[at] = high;
      assert.equal(messageBytes(control, 0, control.length, message.value.length), -1);
    }
    control[at] = (1 << 21) - 1;
    assert.notEqual(messageBytes(control, 0, control.length, message.value.length), -1);
  }
});

test('should refuse a tombstone with a value, and an answer with bytes but no value', () => {
  const write = validMessages[2]!;
  const tombstone = write.control.slice();
  tombstone[0]! |= FLAG_TOMBSTONE << 8;
  assert.equal(messageBytes(tombstone, 0, tombstone.length, write.value.length), -1);
  const bare = validMessages[5]!.control.slice();
  bare[2] = 8;
  assert.equal(messageBytes(bare, 0, bare.length, 8), -1);
});

test('should refuse a STATE about more members than a cluster has', () => {
  const control = new Int32Array(200);
  writeHead(control, 0, MESSAGE_STATE, 0, 0, 0);
  for (const [memberCount, byteCount] of [
    [MEMBERS_MAX, 32 + 16 * MEMBERS_MAX],
    [MEMBERS_MAX + 1, -1],
    [255, -1],
  ] as const) {
    control[2] = memberCount << 16;
    assert.equal(messageBytes(control, 0, control.length, 0), byteCount);
  }
});

test('should name the types and flags as docs/wire.md does', () => {
  assert.deepEqual(
    [MESSAGE_READ, MESSAGE_STAMP, MESSAGE_WRITE, MESSAGE_REPAIR, MESSAGE_STATE_REQUEST, MESSAGE_STATE],
    [1, 3, 5, 7, 8, 9],
  );
  assert.deepEqual([MESSAGE_STATUS_REQUEST, MESSAGE_STATUS], [10, 11]);
});

test('should round-trip READ_REPLY through its fields', () => {
  fc.assert(
    fc.property(stamp, tag, envelope, fc.boolean(), (s, t, e, withValue) => {
      const parsed = parseReadReply(
        readReply({ slot: 65_535, generation: -1 }, { stamp: s, ...(withValue && { tag: t, envelope: e }) }),
      );
      assert.deepEqual(parsed.stamp, s);
      assert.deepEqual(parsed.envelope, withValue ? e : undefined);
      assert.deepEqual([parsed.slot, parsed.generation], [65_535, -1]);
    }),
  );
});
