/** Values that arrive by parts, as a replica takes them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { alignUp } from '../../net/bytes.ts';
import type { Session } from '../../net/session.ts';
import {
  FLAG_BUSY,
  FLAG_CONFLICT,
  FLAG_GONE,
  FLAG_HOST_FULL,
  FLAG_NOT_PERMITTED,
  FLAG_PARTS,
  FLAG_REPAIR,
  FLAG_VALUE,
  FLAG_WRITE_BACK,
  MESSAGE_READ,
  MESSAGE_READ_PART,
  MESSAGE_READ_PART_REPLY,
  MESSAGE_WRITE_PROGRESS,
  MESSAGE_WRITE_REPLY,
  WORD_PROGRESS_BITMAP,
  WORD_PROGRESS_BYTES,
  flagsOf,
  messageBytes,
  typeOf,
} from '../../src/protocol/messages.ts';
import type { Peer } from '../../src/protocol/peer.ts';
import { REASSEMBLIES_MAX, REASSEMBLIES_PER_PEER_MAX } from '../../src/protocol/reassemblies.ts';
import { seededBytes } from '../workers/random.ts';
import { sealValue } from '../workers/sealing-driver.ts';
import { askOf, bytesOf, clientPeer, parseReadReply, readPartOf, sessionWith, writeOf } from './fixtures.ts';
import type { Message, SentMessage, WriteParts } from './fixtures.ts';
import { partsOf as cutIntoParts } from './part-fixtures.ts';
import { ReplicaHarness, WRITER } from './replica-harness.ts';

const KEY = bytesOf('a key');
const TAG = Int32Array.of(1, 2, 3, 4);
const PART_BYTES = 64;
/** Ten parts and a rest, and the key. */
const ENVELOPE = seededBytes(10 * PART_BYTES + 5, 7);
const PART_COUNT = 12;
const STAMP = { ...WRITER, counter: 5, rmw: 0 };

/** A WRITE cut into parts, the key's first. */
function partsOf(write: WriteParts, partBytes = PART_BYTES): Message[] {
  return cutIntoParts(write, partBytes);
}

/** The value of a key as the replica has it; undefined when there is none. */
function stored(replica: ReplicaHarness, key = KEY): Uint8Array | undefined {
  const [reply] = replica.ask([askOf(MESSAGE_READ, FLAG_VALUE, key)]);
  return parseReadReply(reply!).envelope;
}

interface Progress {
  readonly flags: number;
  readonly parts: readonly number[];
}

function progressOf({ control }: Message): Progress {
  assert.equal(typeOf(control, 0), MESSAGE_WRITE_PROGRESS);
  assert.equal(messageBytes(control, 0, control.length, 0), control.length * 4);
  const parts: number[] = [];
  for (let part = 0; part < control[WORD_PROGRESS_BYTES]! * 8; part++) {
    if (((control[WORD_PROGRESS_BITMAP + (part >> 5)]! >>> (part & 31)) & 1) === 1) parts.push(part);
  }
  return { flags: flagsOf(control, 0), parts };
}

/** Flags of the one WRITE_REPLY. */
function answerOf(sent: readonly SentMessage[]): number {
  assert.deepEqual(
    sent.map(({ control }) => typeOf(control, 0)),
    [MESSAGE_WRITE_REPLY],
  );
  return flagsOf(sent[0]!.control, 0);
}

function assertNothingHeld(replica: ReplicaHarness, blocks = replica.hostMemory.usedBlocks): void {
  assert.equal(replica.replica.reassemblies.openCount, 0);
  assert.equal(replica.hostMemory.usedBlocks, blocks);
  replica.replica.reassemblies.invariants();
  replica.store.invariants();
}

/** Other processes, each with its own writer id. */
function otherPeer(number: number): Session<Peer> {
  return sessionWith(clientPeer({ writerHigh: 1, writerLow: number }));
}

test('should take a value whose parts come in any order, with repetitions, and tell what it has', () => {
  const orders = fc.shuffledSubarray(
    Array.from({ length: PART_COUNT }, (_, i) => i),
    { minLength: PART_COUNT },
  );
  fc.assert(
    fc.property(orders, fc.array(fc.nat(PART_COUNT - 1)), (order, repeated) => {
      const replica = new ReplicaHarness();
      const parts = partsOf({ key: KEY, stamp: STAMP, tag: TAG, envelope: ENVELOPE });
      const come = new Set<number>();
      for (const part of [...repeated.filter((each) => each !== order.at(-1)), ...order.slice(0, -1)]) {
        come.add(part);
        const [told] = replica.ask([parts[part]!]);
        assert.deepEqual(progressOf(told!), { flags: 0, parts: [...come].sort((a, b) => a - b) });
        assert.equal(stored(replica), undefined, 'nobody sees it before it is whole');
      }
      assert.equal(answerOf(replica.ask([parts[order.at(-1)!]!])), 0);
      assert.deepEqual(stored(replica), ENVELOPE);
      assertNothingHeld(replica);
    }),
    { numRuns: 50 },
  );
});

test('should keep the old value until the new one is whole, and then have all of the new one', () => {
  const replica = new ReplicaHarness();
  const old = seededBytes(500, 1);
  replica.ask([writeOf({ key: KEY, stamp: { ...STAMP, counter: 4 }, tag: TAG, envelope: old })]);
  const parts = partsOf({ key: KEY, stamp: STAMP, tag: TAG, envelope: ENVELOPE });
  for (const part of parts.slice(0, -1)) {
    replica.ask([part]);
    assert.deepEqual(stored(replica), old);
  }
  assert.equal(answerOf(replica.ask(parts.slice(-1))), 0);
  assert.deepEqual(stored(replica), ENVELOPE);
  assertNothingHeld(replica, 1);
});

test('should answer once for the parts of a turn', () => {
  const replica = new ReplicaHarness();
  const parts = partsOf({ key: KEY, stamp: STAMP, tag: TAG, envelope: ENVELOPE });
  assert.equal(replica.ask(parts.slice(0, 5)).length, 1);
  assert.equal(answerOf(replica.ask(parts.slice(5))), 0);
});

test('should answer again when the answer was lost', () => {
  const replica = new ReplicaHarness();
  const parts = partsOf({ key: KEY, stamp: STAMP, tag: TAG, envelope: ENVELOPE });
  replica.ask(parts);
  for (const part of [parts[0]!, parts[7]!]) assert.equal(answerOf(replica.ask([part])), 0);
  assertNothingHeld(replica, 1);
});

test('should know a value again in a new session of the same peer', () => {
  const replica = new ReplicaHarness();
  const parts = partsOf({ key: KEY, stamp: STAMP, tag: TAG, envelope: ENVELOPE });
  replica.ask(parts.slice(0, 6));
  const renewed = sessionWith(clientPeer(WRITER));
  const sent = replica.ask(parts.slice(6), renewed);
  assert.equal(answerOf(sent), 0);
  assert.equal(sent[0]!.session, renewed);
});

test('should not mix the parts of different peers, stamps, tags and lengths', () => {
  const replica = new ReplicaHarness();
  const write = { key: KEY, stamp: STAMP, tag: TAG, envelope: ENVELOPE, flags: FLAG_WRITE_BACK };
  const others: { write: WriteParts; session?: Session<Peer>; partBytes?: number }[] = [
    { write, session: otherPeer(1) },
    { write: { ...write, stamp: { ...STAMP, counter: 4 } } },
    { write: { ...write, stamp: { ...STAMP, rmw: 1 } } },
    { write: { ...write, tag: Int32Array.of(1, 2, 3, 5) } },
    { write: { ...write, envelope: ENVELOPE.subarray(1) } },
    { write, partBytes: PART_BYTES / 2 },
  ];
  const parts = partsOf(write);
  replica.ask(parts.slice(0, 6));
  for (const other of others) {
    const message = partsOf(other.write, other.partBytes)[8]!;
    const [told] = replica.ask([message], other.session ?? replica.session);
    assert.deepEqual(progressOf(told!).parts, [8]);
  }
  assert.equal(replica.replica.reassemblies.openCount, 1 + others.length);
  assert.equal(answerOf(replica.ask(parts.slice(6))), 0);
  assert.deepEqual(stored(replica), ENVELOPE);
});

test('should need no more than the key when the stamp is known or older', () => {
  for (const [counter, tag, answer] of [
    [5, TAG, 0],
    [6, TAG, 0],
    [5, Int32Array.of(9, 9, 9, 9), FLAG_CONFLICT],
  ] as const) {
    const replica = new ReplicaHarness();
    const held = seededBytes(30, 2);
    replica.ask([writeOf({ key: KEY, stamp: { ...STAMP, counter }, tag, envelope: held })]);
    const parts = partsOf({ key: KEY, stamp: STAMP, tag: TAG, envelope: ENVELOPE });
    replica.ask([parts[3]!]);
    assert.equal(answerOf(replica.ask([parts[0]!])), answer);
    assertNothingHeld(replica, 1);
    assert.equal(answerOf(replica.ask(parts.slice(1))), answer);
    assert.deepEqual(stored(replica), held);
  }
});

test('should not apply a value when a newer one came while it was under way', () => {
  const replica = new ReplicaHarness();
  const parts = partsOf({ key: KEY, stamp: STAMP, tag: TAG, envelope: ENVELOPE });
  replica.ask(parts.slice(0, -1));
  const newer = seededBytes(30, 2);
  replica.ask([writeOf({ key: KEY, stamp: { ...STAMP, counter: 6 }, tag: TAG, envelope: newer })]);
  assert.equal(answerOf(replica.ask(parts.slice(-1))), 0);
  assert.deepEqual(stored(replica), newer);
  assertNothingHeld(replica, 1);
});

test('should take fresh parts only from their writer, and parts only from who may write', () => {
  const replica = new ReplicaHarness();
  const parts = partsOf({ key: KEY, stamp: STAMP, tag: TAG, envelope: ENVELOPE });
  assert.deepEqual(replica.ask(parts, otherPeer(1)), []);
  assert.equal(replica.drops.of('wrong-writer'), PART_COUNT);
  const reader = sessionWith(clientPeer(WRITER, 'r:'));
  for (const reply of replica.ask(parts, reader)) assert.equal(flagsOf(reply.control, 0), FLAG_NOT_PERMITTED);
  assert.equal(replica.drops.of('not-permitted'), PART_COUNT);
  assertNothingHeld(replica, 0);
  const back = partsOf({ key: KEY, stamp: STAMP, tag: TAG, envelope: ENVELOPE, flags: FLAG_WRITE_BACK });
  assert.equal(answerOf(replica.ask(back, otherPeer(1))), 0);
});

test('should let one peer have so many values under way, and all peers so many together', () => {
  const replica = new ReplicaHarness();
  const begin = (session: Session<Peer>, counter: number) => {
    const write = { key: KEY, stamp: { ...STAMP, counter }, tag: TAG, envelope: ENVELOPE, flags: FLAG_WRITE_BACK };
    return progressOf(replica.ask([partsOf(write)[1]!], session)[0]!);
  };
  const first = otherPeer(1);
  for (let i = 0; i < REASSEMBLIES_PER_PEER_MAX; i++) assert.equal(begin(first, 10 + i).flags, 0);
  assert.deepEqual(begin(first, 100), { flags: FLAG_BUSY, parts: [] });
  assert.deepEqual(begin(first, 10).parts, [1], 'what is under way goes on');
  const peerCount = REASSEMBLIES_MAX / REASSEMBLIES_PER_PEER_MAX;
  for (let peer = 2; peer <= peerCount; peer++) {
    const session = otherPeer(peer);
    for (let i = 0; i < REASSEMBLIES_PER_PEER_MAX; i++) assert.equal(begin(session, 10 + i).flags, 0);
  }
  assert.equal(begin(otherPeer(99), 10).flags, FLAG_BUSY);
  assert.equal(replica.replica.reassemblies.openCount, REASSEMBLIES_MAX);
  // One that nobody goes on with makes room after a while.
  replica.nowMs += 600;
  assert.equal(begin(otherPeer(99), 10).flags, 0);
  assert.equal(replica.replica.reassemblies.openCount, REASSEMBLIES_MAX);
  replica.replica.reassemblies.invariants();
});

test('should take one of a peer that has as many as it may, when it goes on with others only', () => {
  const replica = new ReplicaHarness();
  const begin = (counter: number, part = 1) => {
    const write = { key: KEY, stamp: { ...STAMP, counter }, tag: TAG, envelope: ENVELOPE };
    return progressOf(replica.ask([partsOf(write)[part]!])[0]!);
  };
  for (let i = 0; i < REASSEMBLIES_PER_PEER_MAX; i++) assert.equal(begin(10 + i).flags, 0);
  assert.equal(begin(100).flags, FLAG_BUSY);
  replica.nowMs += 600;
  // All but the first go on.
  for (let i = 1; i < REASSEMBLIES_PER_PEER_MAX; i++) assert.equal(begin(10 + i, 2).flags, 0);
  assert.equal(begin(100).flags, 0);
  assert.equal(begin(101).flags, FLAG_BUSY);
  assert.equal(replica.replica.reassemblies.openCount, REASSEMBLIES_PER_PEER_MAX);
  replica.replica.reassemblies.invariants();
});

/** All places taken by peers with so many each, which go on with parts of so many bytes. */
function crowded(placesEach: number, partBytesOf: (place: number) => number) {
  const replica = new ReplicaHarness();
  const envelope = seededBytes(200_000, 3);
  const go = (place: number, part: number): Progress => {
    const stamp = { ...STAMP, counter: 10 + place };
    const write = { key: KEY, stamp, tag: TAG, envelope, flags: FLAG_WRITE_BACK };
    const session = otherPeer(1 + Math.floor(place / placesEach));
    return progressOf(replica.ask([partsOf(write, partBytesOf(place))[part]!], session)[0]!);
  };
  // Ten parts a second of each, for 2.2 seconds: one of 1,600 bytes a part and more is not slow.
  for (let part = 1; part <= 22; part++) {
    for (let place = 0; place < REASSEMBLIES_MAX; place++) assert.equal(go(place, part).flags, 0);
    replica.nowMs += 100 - REASSEMBLIES_MAX;
  }
  const partsOfPlace = (place: number): number => go(place, 1).parts.length;
  return { go, partsOfPlace };
}

test('should not take from those that go on what has come, however long they share a slow network', () => {
  const { go, partsOfPlace } = crowded(4, () => 2_000);
  const had = Array.from({ length: REASSEMBLIES_MAX }, (_, place) => partsOfPlace(place));
  assert.ok(had.every((count) => count === 22));
  assert.equal(go(REASSEMBLIES_MAX, 1).flags, FLAG_BUSY);
  assert.deepEqual(
    had.map((_, place) => partsOfPlace(place)),
    had,
  );
});

test('should take from the slowest of those that go on too slowly', () => {
  const { go, partsOfPlace } = crowded(4, (place) => (place === 40 ? 800 : place === 42 ? 1_200 : 2_000));
  assert.equal(go(REASSEMBLIES_MAX, 1).flags, 0);
  assert.equal(partsOfPlace(42), 22);
  assert.deepEqual(go(40, 1), { flags: 0, parts: [1] }, 'it begins anew, in the place of the next one');
  assert.equal(go(42, 1).flags, FLAG_BUSY, 'which finds no other that is slow');
  assert.equal(partsOfPlace(41), 22);
});

test('should give who has none a place of a peer that has many, though that goes on', () => {
  const { go } = crowded(REASSEMBLIES_PER_PEER_MAX, (place) => (place === 20 ? 7_200 : 8_000));
  assert.deepEqual(go(REASSEMBLIES_MAX, 1), { flags: 0, parts: [1] });
  assert.equal(go(20, 1).flags, FLAG_BUSY, 'its own peer has others');
  assert.equal(go(REASSEMBLIES_MAX + 1, 1).flags, FLAG_BUSY, 'and who has one gets no other so');
});

test('should give up what nobody goes on with', () => {
  const replica = new ReplicaHarness();
  const parts = partsOf({ key: KEY, stamp: STAMP, tag: TAG, envelope: ENVELOPE });
  replica.ask(parts.slice(0, -1));
  replica.replica.endTurn(replica.nowMs + 4_000);
  assert.equal(replica.replica.reassemblies.openCount, 1);
  replica.replica.endTurn(replica.nowMs + 6_000);
  assertNothingHeld(replica, 0);
  // The rest alone is not the value.
  const [told] = replica.ask(parts.slice(-1));
  assert.deepEqual(progressOf(told!).parts, [PART_COUNT - 1]);
  assert.equal(stored(replica), undefined);
});

test('should refuse for want of host memory, and be busy while others hold what there is', () => {
  const replica = new ReplicaHarness({ hostBytes: 4 * 2 ** 20 });
  const large = seededBytes(2 ** 20 + 32, 3);
  const write = (counter: number) => ({ key: KEY, stamp: { ...STAMP, counter }, tag: TAG, envelope: large });
  let held = 0;
  let flags = 0;
  for (let i = 0; i < 8 && flags === 0; i++) {
    flags = progressOf(replica.ask([partsOf(write(10 + i), 4_096)[1]!])[0]!).flags;
    if (flags === 0) held++;
  }
  assert.ok(held >= 2, `${held} at once`);
  assert.equal(flags, FLAG_BUSY);
  const none = new ReplicaHarness({ hostBytes: 2 ** 20 });
  assert.equal(answerOf(none.ask([partsOf(write(10), 4_096)[1]!])), FLAG_HOST_FULL);
  assertNothingHeld(none, 0);
});

// -- reading by parts -------------------------------------------------------------------------------------------------

test('should send the parts that are asked for, of the stamp that is named and no other', () => {
  const replica = new ReplicaHarness();
  replica.ask([writeOf({ key: KEY, stamp: STAMP, tag: TAG, envelope: ENVELOPE })]);
  replica.messenger.bytesMax = 300;
  const [reply] = replica.ask([askOf(MESSAGE_READ, FLAG_VALUE, KEY)]);
  const read = parseReadReply(reply!);
  assert.deepEqual([read.flags, read.envelopeBytes, read.tag], [FLAG_PARTS, ENVELOPE.length, TAG]);
  const ask = (part: Partial<Parameters<typeof readPartOf>[0]>) => {
    const [sent] = replica.ask([readPartOf({ key: KEY, stamp: STAMP, byteOffset: 0, byteCount: 64, ...part })]);
    if (sent === undefined) return undefined;
    assert.equal(typeOf(sent.control, 0), MESSAGE_READ_PART_REPLY);
    return flagsOf(sent.control, 0) === FLAG_GONE ? 'gone' : sent.value.slice(0, sent.control[3]);
  };
  assert.deepEqual(ask({ byteOffset: 128 }), ENVELOPE.slice(128, 192));
  assert.deepEqual(ask({ byteOffset: 640, byteCount: 5 }), ENVELOPE.slice(640));
  for (const gone of [
    { byteOffset: 640, byteCount: 6 },
    { byteOffset: 8_000 },
    { byteCount: 400 },
    { key: bytesOf('another') },
    { stamp: { ...STAMP, counter: 4 } },
    { stamp: { ...STAMP, counter: 6 } },
    { stamp: { ...STAMP, rmw: 1 } },
    { stamp: { ...STAMP, writerLow: 1 } },
  ]) {
    assert.equal(ask(gone), 'gone', JSON.stringify(gone));
  }
  assert.equal(ask({ byteOffset: 4 }), undefined);
  assert.equal(ask({ byteCount: 0 }), undefined);
  assert.equal(replica.drops.of('malformed'), 2);
  const writer = sessionWith(clientPeer(WRITER, 'w:'));
  const message = readPartOf({ key: KEY, stamp: STAMP, byteOffset: 0, byteCount: 64 });
  const [refusal] = replica.ask([message], writer);
  assert.equal(flagsOf(refusal!.control, 0), FLAG_GONE | FLAG_NOT_PERMITTED, 'a READ tells more');
  assert.equal(typeOf(message.control, 0), MESSAGE_READ_PART);
});

// -- repair by parts --------------------------------------------------------------------------------------------------

/** A replica whose copy of a sealed value is bad, and offers by parts. */
function tampered() {
  const replica = new ReplicaHarness();
  const placed = sealValue(replica.sealing, seededBytes(1_000, 3), KEY);
  const envelope = placed.envelope.bytes.slice(0, placed.envelopeBytes);
  const write = { key: KEY, stamp: STAMP, tag: placed.tagWords, envelope };
  replica.ask([writeOf(write)]);
  const bad = () => {
    const word = replica.store.find(
      new Int32Array(alignUp(KEY.length) / 4).map((_, i) => keyWords[i]!),
      0,
      KEY.length,
    );
    const ref = replica.store.hostRef(word);
    replica.hostMemory.region(ref).bytes[replica.hostMemory.wordOffset(ref) * 4 + 40]! ^= 1;
  };
  const keyBytes = new Uint8Array(alignUp(KEY.length));
  keyBytes.set(KEY);
  const keyWords = new Int32Array(keyBytes.buffer);
  return { replica, envelope, bad, offer: { ...write, flags: FLAG_REPAIR } };
}

test('should take a good copy that comes by parts in place of a bad one', () => {
  const { replica, envelope, bad, offer } = tampered();
  bad();
  assert.notDeepEqual(stored(replica), envelope);
  // From anybody who is let in.
  assert.equal(answerOf(replica.ask(partsOf(offer), otherPeer(1))), 0);
  replica.settleRepairs();
  assert.deepEqual(stored(replica), envelope);
  assert.deepEqual([replica.repairs.tamperedCount, replica.repairs.repairedCount], [1, 1]);
  assertNothingHeld(replica, 1);
  // And once more when the host goes on.
  bad();
  replica.ask(partsOf(offer), otherPeer(1));
  replica.settleRepairs();
  assert.deepEqual(stored(replica), envelope);
});

test('should keep a copy that is fine, and not take one that does not open', () => {
  const fine = tampered();
  assert.equal(answerOf(fine.replica.ask(partsOf(fine.offer))), 0);
  fine.replica.settleRepairs();
  assert.equal(fine.replica.repairs.repairedCount, 0);
  assertNothingHeld(fine.replica, 1);

  const wrong = tampered();
  wrong.bad();
  const envelope = wrong.envelope.slice();
  envelope[700]! ^= 1;
  wrong.replica.ask(partsOf({ ...wrong.offer, envelope }));
  wrong.replica.settleRepairs();
  assert.deepEqual([wrong.replica.repairs.tamperedCount, wrong.replica.repairs.repairedCount], [1, 0]);
  assert.notDeepEqual(stored(wrong.replica), envelope);
  assertNothingHeld(wrong.replica, 1);
});

test('should not wait for the rest of an offer that nobody needs', () => {
  const { replica, offer } = tampered();
  const [key] = partsOf({ ...offer, stamp: { ...STAMP, counter: 4 } });
  assert.equal(answerOf(replica.ask([key!])), 0);
  assert.equal(replica.drops.of('repair-unusable'), 1);
  assertNothingHeld(replica, 1);
});
