import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  FLAG_CONFLICT,
  FLAG_HOST_FULL,
  FLAG_NOT_PERMITTED,
  FLAG_TOMBSTONE,
  FLAG_PARTS,
  FLAG_TRUSTED_FULL,
  FLAG_VALUE,
  FLAG_WRITE_BACK,
  MESSAGE_READ,
  MESSAGE_STAMP,
  MESSAGE_STAMP_REPLY,
  MESSAGE_STATE,
  MESSAGE_STATE_REQUEST,
  MESSAGE_STATUS_REQUEST,
  MESSAGE_WRITE_REPLY,
  flagsOf,
  messageBytes,
  slotOf,
  typeOf,
  writeHead,
} from '../../src/protocol/messages.ts';
import { compareStamps } from '../../src/stamp.ts';
import { ENVELOPE_BYTES_MAX } from '../../workers/sealing.ts';
import { seededBytes } from '../workers/random.ts';
import {
  askOf,
  bytesOf,
  clientPeer,
  incomingOf,
  NO_STAMP,
  parseReadReply,
  readReply,
  sessionWith,
  stampOf,
  writeOf,
} from './fixtures.ts';
import type { Message, Stamp } from './fixtures.ts';
import { ReplicaHarness, WRITER } from './replica-harness.ts';

const KEY = bytesOf('a key');
const TAG = Int32Array.of(1, 2, 3, 4);
const OTHER_TAG = Int32Array.of(1, 2, 3, 5);

/** A stamp of the harness's own session. */
function ownStamp(counter: number): Stamp {
  return { ...WRITER, counter, rmw: 0 };
}

function stored(replica: ReplicaHarness, key = KEY) {
  const [reply] = replica.ask([askOf(MESSAGE_READ, FLAG_VALUE, key)]);
  return parseReadReply(reply!);
}

/** Flags of the one WRITE_REPLY. */
function acknowledgement(replies: readonly Message[]): number {
  assert.equal(replies.length, 1);
  const [{ control }] = replies as [Message];
  assert.equal(typeOf(control, 0), MESSAGE_WRITE_REPLY);
  assert.equal(messageBytes(control, 0, control.length, 0), 8);
  return flagsOf(control, 0);
}

test('should answer a READ with stamp, tag and value of the last WRITE, under the id of the operation', () => {
  const replica = new ReplicaHarness();
  for (const byteCount of [0, 1, 8, 45, 300]) {
    const key = bytesOf(`key ${byteCount}`);
    const envelope = seededBytes(byteCount, byteCount);
    const write = writeOf({ key, stamp: ownStamp(5), tag: TAG, envelope, slot: 65_535, generation: -3 });
    const [reply] = replica.ask([write]);
    assert.equal(acknowledgement([reply!]), 0);
    assert.deepEqual([slotOf(reply!.control, 0), reply!.control[1]], [65_535, -3]);
    const read = stored(replica, key);
    assert.deepEqual(read.stamp, ownStamp(5));
    assert.deepEqual(read.tag, TAG);
    assert.deepEqual(read.envelope, envelope);
    assert.equal(read.flags, FLAG_VALUE);
  }
  assert.deepEqual(replica.drops.nonZero(), {});
});

test('should answer a READ without the value when it is not asked for', () => {
  const replica = new ReplicaHarness();
  replica.ask([writeOf({ key: KEY, stamp: ownStamp(1), tag: TAG, envelope: seededBytes(40, 1) })]);
  const [reply] = replica.ask([askOf(MESSAGE_READ, 0, KEY)]);
  const read = parseReadReply(reply!);
  assert.deepEqual([read.flags, read.envelope], [0, undefined]);
  assert.deepEqual(read.stamp, ownStamp(1));
});

test('should say of a key that was never written that it is absent, without a stamp', () => {
  const read = stored(new ReplicaHarness());
  assert.deepEqual([read.flags, read.stamp], [FLAG_TOMBSTONE, NO_STAMP]);
});

test('should keep the stamp of a deleted key, and answer its counter to STAMP', () => {
  const replica = new ReplicaHarness();
  replica.ask([writeOf({ key: KEY, stamp: ownStamp(1), tag: TAG, envelope: seededBytes(40, 1) })]);
  replica.ask([writeOf({ key: KEY, stamp: ownStamp(9), flags: FLAG_TOMBSTONE })]);
  const read = stored(replica);
  assert.deepEqual([read.flags, read.stamp], [FLAG_TOMBSTONE, ownStamp(9)]);
  const [reply] = replica.ask([askOf(MESSAGE_STAMP, 0, KEY, 100)]);
  assert.equal(typeOf(reply!.control, 0), MESSAGE_STAMP_REPLY);
  assert.deepEqual([...reply!.control.subarray(2)], [9, 0]);
});

test('should apply a WRITE only when its stamp is greater, and acknowledge it either way', () => {
  const stamps = fc.record({
    counter: fc.integer({ min: 1, max: 4 }),
    writerHigh: fc.constantFrom(0, -1),
    writerLow: fc.constantFrom(1, 2 ** 31 - 1, -1),
    rmw: fc.constantFrom(0, 1, -1),
  });
  const writes = fc.array(fc.record({ stamp: stamps, tombstone: fc.boolean() }), { minLength: 1, maxLength: 20 });
  fc.assert(
    fc.property(writes, (list) => {
      const replica = new ReplicaHarness({ trustedBytes: 2 ** 20, hostBytes: 2 ** 20 });
      let newest: Stamp = NO_STAMP;
      let envelope: Uint8Array | undefined;
      // A stamp names one write, so what it holds follows from it.
      const tombstoneOf = (s: Stamp, said: boolean) => (s.rmw === 0 ? s.counter % 2 === 0 : said && s.counter > 9);
      for (const { stamp, tombstone } of list) {
        const isTombstone = tombstoneOf(stamp, tombstone);
        const content = isTombstone ? undefined : seededBytes(24, stamp.counter * 100 + stamp.writerLow + stamp.rmw);
        const flags = FLAG_WRITE_BACK | (isTombstone ? FLAG_TOMBSTONE : 0);
        const parts = { key: KEY, stamp, flags, ...(content !== undefined && { envelope: content, tag: TAG }) };
        assert.equal(acknowledgement(replica.ask([writeOf(parts)])), 0);
        if (compare(stamp, newest) > 0) {
          newest = stamp;
          envelope = content;
        }
        const read = stored(replica);
        assert.deepEqual(read.stamp, { ...newest });
        assert.deepEqual(read.envelope, envelope);
      }
      replica.store.invariants();
      assert.deepEqual(replica.drops.nonZero(), {});
    }),
  );
});

function compare(a: Stamp, b: Stamp): number {
  return compareStamps(a.counter, a.writerHigh, a.writerLow, a.rmw, b.counter, b.writerHigh, b.writerLow, b.rmw);
}

test('should refuse a known stamp with another tag, count it, and keep what it has', () => {
  const replica = new ReplicaHarness();
  const envelope = seededBytes(40, 1);
  replica.ask([writeOf({ key: KEY, stamp: ownStamp(5), tag: TAG, envelope })]);
  const other = writeOf({ key: KEY, stamp: ownStamp(5), tag: OTHER_TAG, envelope: seededBytes(40, 2) });
  assert.equal(acknowledgement(replica.ask([other])), FLAG_CONFLICT);
  assert.deepEqual(replica.drops.nonZero(), { 'stamp-conflict': 1 });
  assert.deepEqual(stored(replica).envelope, envelope);
  assert.equal(acknowledgement(replica.ask([writeOf({ key: KEY, stamp: ownStamp(5), tag: TAG, envelope })])), 0);
});

test('should drop a fresh WRITE under the stamp of another writer, and take one that is written back', () => {
  const replica = new ReplicaHarness();
  for (const stamp of [stampOf(5, 77, 5), stampOf(5, 76, -5), stampOf(5, 0, 0)]) {
    assert.deepEqual(replica.ask([writeOf({ key: KEY, stamp, tag: TAG, envelope: seededBytes(8, 1) })]), []);
  }
  assert.deepEqual(replica.drops.nonZero(), { 'wrong-writer': 3 });
  assert.deepEqual(stored(replica).stamp, NO_STAMP);
  const back = { key: KEY, stamp: stampOf(5, 1, 1), tag: TAG, envelope: seededBytes(8, 1), flags: FLAG_WRITE_BACK };
  assert.equal(acknowledgement(replica.ask([writeOf(back)])), 0);
  assert.deepEqual(stored(replica).stamp, stampOf(5, 1, 1));
});

test('should drop a WRITE without a counter: no write carries it', () => {
  const replica = new ReplicaHarness();
  assert.deepEqual(replica.ask([writeOf({ key: KEY, stamp: ownStamp(0), tag: TAG, envelope: seededBytes(8, 1) })]), []);
  assert.deepEqual(replica.drops.nonZero(), { malformed: 1 });
});

test('should refuse to write for whom only may read', () => {
  const replica = new ReplicaHarness();
  const reader = sessionWith(clientPeer(WRITER, 'r:'));
  const envelope = seededBytes(8, 1);
  const [reply] = replica.ask([askOf(MESSAGE_STAMP, 0, KEY, 100)], reader);
  assert.equal(flagsOf(reply!.control, 0), FLAG_NOT_PERMITTED);
  for (const flags of [0, FLAG_WRITE_BACK]) {
    const replies = replica.ask([writeOf({ key: KEY, stamp: ownStamp(5), tag: TAG, envelope, flags })], reader);
    assert.equal(acknowledgement(replies), FLAG_NOT_PERMITTED);
  }
  assert.deepEqual(replica.drops.nonZero(), { 'not-permitted': 3 });
  assert.deepEqual(stored(replica).stamp, NO_STAMP);
});

test('should tell nothing about a key to whom may not read', () => {
  const replica = new ReplicaHarness();
  replica.ask([writeOf({ key: KEY, stamp: ownStamp(5), tag: TAG, envelope: seededBytes(40, 1) })]);
  const stranger = sessionWith(clientPeer(WRITER, 'w:'));
  const replies = replica.ask([askOf(MESSAGE_READ, FLAG_VALUE, KEY)], stranger);
  for (const reply of replies) {
    const read = parseReadReply(reply);
    assert.deepEqual([read.stamp, read.envelope], [NO_STAMP, undefined]);
    assert.ok((read.flags & FLAG_NOT_PERMITTED) !== 0);
  }
  assert.deepEqual(replica.drops.nonZero(), { 'not-permitted': 1 });
});

/** READ, STAMP, WRITE and REPAIR: what counts in a quorum. */
const quorumMessages: readonly Message[] = [
  askOf(MESSAGE_READ, FLAG_VALUE, KEY),
  askOf(MESSAGE_STAMP, 0, KEY, 100),
  writeOf({ key: KEY, stamp: ownStamp(5), tag: TAG, envelope: seededBytes(8, 1) }),
  writeOf({ key: KEY, stamp: ownStamp(5), flags: FLAG_WRITE_BACK | FLAG_TOMBSTONE }),
  writeOf({ type: 7, key: KEY, stamp: ownStamp(5), tag: TAG, envelope: seededBytes(8, 1) }),
];

test('should answer no message that counts while it is not active', () => {
  const replica = new ReplicaHarness({ memberCount: 3 });
  assert.deepEqual(replica.ask(quorumMessages), []);
  assert.deepEqual(replica.drops.nonZero(), { 'not-active': quorumMessages.length });
  assert.equal(replica.store.stats().keys, 0);
});

test('should answer no message of another epoch, but tell its own', () => {
  const replica = new ReplicaHarness();
  for (const epoch of [0, 2, 0xffff_ffff]) {
    const replies = replica.ask(quorumMessages, replica.session, epoch);
    assert.ok(replies.length > 0 && replies.every(({ control }) => typeOf(control, 0) === MESSAGE_STATE));
  }
  assert.equal(replica.drops.of('wrong-epoch'), 3 * quorumMessages.length);
  assert.equal(replica.store.stats().keys, 0);
});

test('should tell its state and figures to anybody, active or not', () => {
  const request = (type: number): Message => {
    const control = new Int32Array(2);
    writeHead(control, 0, type, 0, 9, 10);
    return { control, value: new Uint8Array(0) };
  };
  const replica = new ReplicaHarness({ memberCount: 3 });
  const [reply] = replica.ask([request(MESSAGE_STATE_REQUEST)], replica.session, 7);
  assert.equal(typeOf(reply!.control, 0), MESSAGE_STATE);
  replica.ask([request(MESSAGE_STATUS_REQUEST)]);
  assert.deepEqual(replica.statusRequests, [{ slot: 9, generation: 10 }]);
});

test('should tell its state and figures once a turn, however often it is asked', () => {
  const requests = [MESSAGE_STATE_REQUEST, MESSAGE_STATUS_REQUEST].flatMap((type) =>
    Array.from({ length: 50 }, (_, slot) => {
      const control = new Int32Array(2);
      writeHead(control, 0, type, 0, slot, 0);
      return { control, value: new Uint8Array(0) };
    }),
  );
  const replica = new ReplicaHarness();
  assert.equal(replica.ask(requests).length, 1);
  assert.equal(replica.statusRequests.length, 1);
  // So is a session whose messages are of another epoch; another session is another asker.
  assert.equal(
    replica.ask(
      Array.from({ length: 50 }, () => quorumMessages[0]!),
      replica.session,
      9,
    ).length,
    1,
  );
  assert.equal(replica.ask(requests, sessionWith(clientPeer(WRITER))).length, 1);
  assert.equal(replica.ask(requests).length, 1);
});

test('should drop answers, which are no message to a replica', () => {
  const replica = new ReplicaHarness();
  replica.ask([readReply({ slot: 1, generation: 1 }, { stamp: stampOf(1) })]);
  assert.deepEqual(replica.drops.nonZero(), { 'unexpected-message': 1 });
});

test('should take what comes before a malformed message, and drop the rest of the datagram', () => {
  const replica = new ReplicaHarness();
  const broken = { control: Int32Array.of(99, 0), value: new Uint8Array(0) };
  const replies = replica.ask([askOf(MESSAGE_READ, 0, KEY), broken, askOf(MESSAGE_READ, 0, KEY)]);
  assert.equal(replies.length, 1);
  assert.deepEqual(replica.drops.nonZero(), { malformed: 1 });
});

test('should give each WRITE of a datagram its own value', () => {
  const replica = new ReplicaHarness();
  const sizes = [13, 0, 40, 8, 1];
  const writes = sizes.map((byteCount, i) => {
    const envelope = seededBytes(byteCount, i);
    return writeOf({ key: bytesOf(`key ${i}`), stamp: ownStamp(1), tag: TAG, envelope });
  });
  assert.equal(replica.ask(writes).length, sizes.length);
  sizes.forEach((byteCount, i) => {
    assert.deepEqual(stored(replica, bytesOf(`key ${i}`)).envelope, seededBytes(byteCount, i));
  });
});

test('should say that a value does not fit into a datagram to the asker, its stamp, its length and its tag', () => {
  const replica = new ReplicaHarness();
  replica.ask([writeOf({ key: KEY, stamp: ownStamp(5), tag: TAG, envelope: seededBytes(3_000, 1) })]);
  replica.messenger.bytesMax = 1_400;
  const read = stored(replica);
  assert.deepEqual([read.flags, read.stamp, read.envelope], [FLAG_PARTS, ownStamp(5), undefined]);
  assert.deepEqual([read.envelopeBytes, read.tag], [3_000, TAG]);
});

test('should apply a WRITE even when there is no room for its answer', () => {
  const replica = new ReplicaHarness();
  replica.messenger.full = true;
  assert.deepEqual(replica.ask([...quorumMessages]), []);
  replica.messenger.full = false;
  assert.deepEqual(stored(replica).stamp, ownStamp(5));
});

// -- full -------------------------------------------------------------------------------------------------------------

/** Writes new keys until STAMP says no; what it says. */
function fill(replica: ReplicaHarness, envelopeBytes: number): number {
  for (let i = 0; i < 100_000; i++) {
    // With shorter keys the index can be full before the memory is.
    const key = bytesOf(`a key of 16 bytes ${i}`);
    const [reply] = replica.ask([askOf(MESSAGE_STAMP, 0, key, envelopeBytes)]);
    const flags = flagsOf(reply!.control, 0);
    if (flags !== 0) return flags;
    const write = writeOf({ key, stamp: ownStamp(i + 1), tag: TAG, envelope: new Uint8Array(envelopeBytes) });
    assert.equal(acknowledgement(replica.ask([write])), 0, 'what STAMP let through is written');
  }
  return assert.fail('it never became full');
}

test('should refuse a new key at STAMP when trusted memory is full, and still take reads, overwrites and deletes', () => {
  const replica = new ReplicaHarness({
    trustedBytes: 700_000,
    hostBytes: 64 * 1024 * 1024,
    trustedMarginBytes: 50_000,
  });
  assert.equal(fill(replica, 48), FLAG_TRUSTED_FULL);
  const { keys } = replica.store.stats();
  assert.ok(keys > 500);
  const known = bytesOf('a key of 16 bytes 5');
  const [reply] = replica.ask([askOf(MESSAGE_STAMP, 0, known, 48)]);
  assert.equal(flagsOf(reply!.control, 0), 0, 'a value that fits in the place of the old one');
  const again = writeOf({ key: known, stamp: ownStamp(1e6), tag: TAG, envelope: seededBytes(48, 3) });
  assert.equal(acknowledgement(replica.ask([again])), 0);
  assert.deepEqual(stored(replica, known).envelope, seededBytes(48, 3));
  const gone = writeOf({ key: known, stamp: ownStamp(1e6 + 1), flags: FLAG_TOMBSTONE });
  assert.equal(acknowledgement(replica.ask([gone])), 0);
  assert.equal(replica.store.stats().keys, keys);
});

test('should keep a margin of trusted memory for writes that were let through at STAMP', () => {
  const replica = new ReplicaHarness({
    trustedBytes: 2 ** 20,
    hostBytes: 2 ** 26,
    trustedMarginBytes: 2 ** 19,
  });
  fill(replica, 48);
  // Those that asked before it was full come now.
  for (let i = 0; i < 100; i++) {
    const write = writeOf({ key: bytesOf(`late ${i}`), stamp: ownStamp(1), tag: TAG, envelope: seededBytes(48, i) });
    assert.equal(acknowledgement(replica.ask([write])), 0);
  }
  assert.deepEqual(stored(replica, bytesOf('late 99')).envelope, seededBytes(48, 99));
});

test('should refuse a WRITE that finds no room, change nothing, and say which memory it is', () => {
  const replica = new ReplicaHarness({ trustedBytes: 700_000, hostBytes: 2 ** 26 });
  assert.equal(fill(replica, 48), FLAG_TRUSTED_FULL);
  const refused = writeOf({ key: bytesOf('one more'), stamp: ownStamp(1), tag: TAG, envelope: seededBytes(48, 1) });
  const { trustedBytes, keys } = replica.store.stats();
  assert.equal(acknowledgement(replica.ask([refused])), FLAG_TRUSTED_FULL);
  assert.deepEqual(stored(replica, bytesOf('one more')).stamp, NO_STAMP);
  assert.deepEqual([replica.store.stats().trustedBytes, replica.store.stats().keys], [trustedBytes, keys]);

  const small = new ReplicaHarness({ hostBytes: 64 * 1024, segmentBytes: 16 * 1024, blockBytesMax: 4 * 1024 });
  assert.equal(fill(small, 1_000), FLAG_HOST_FULL);
  const write = writeOf({ key: bytesOf('x'), stamp: ownStamp(1), tag: TAG, envelope: new Uint8Array(1_000) });
  assert.equal(acknowledgement(small.ask([write])), FLAG_HOST_FULL);
  small.store.invariants();
});

test('should take a STAMP that claims more bytes than any envelope has as malformed', () => {
  const replica = new ReplicaHarness();
  const claims = [-1, -(2 ** 31), 2 ** 31 - 1, 2 ** 31 - 8, ENVELOPE_BYTES_MAX + 1, 10_000_000];
  for (const envelopeBytes of claims) {
    assert.deepEqual(replica.ask([askOf(MESSAGE_STAMP, 0, KEY, envelopeBytes)]), []);
  }
  assert.deepEqual(replica.drops.nonZero(), { malformed: claims.length });
  assert.equal(replica.ask([askOf(MESSAGE_STAMP, 0, KEY, ENVELOPE_BYTES_MAX)]).length, 1);
});

test('should take any words as messages, without throwing, and keep the store whole', () => {
  const replica = new ReplicaHarness({ trustedBytes: 2 ** 20, hostBytes: 2 ** 20 });
  const value = fc.oneof(fc.integer(), fc.integer({ min: -8, max: 60 }), fc.constantFrom(2 ** 31 - 1, -(2 ** 31)));
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 12 }),
      fc.array(value, { maxLength: 40 }),
      fc.nat(10),
      (type, words, values) => {
        const control = Int32Array.from([type, 1, ...words, ...(words.length % 2 === 0 ? [] : [0])]);
        replica.replica.onMessages(incomingWith(replica, control, values * 8), 0);
        replica.messenger.take();
      },
    ),
    { numRuns: 2_000 },
  );
  replica.store.invariants();
});

function incomingWith(replica: ReplicaHarness, control: Int32Array, valueBytes: number) {
  return incomingOf(replica.session, [{ control, value: new Uint8Array(valueBytes) }]);
}
