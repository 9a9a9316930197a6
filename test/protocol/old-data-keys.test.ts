/** A data key that is about to be destroyed: which values under it a replica still takes, and which it finds. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { VALUE_CHUNK_BYTES } from '../../workers/sealing.ts';
import { FLAG_REPAIR, FLAG_TOMBSTONE, FLAG_VALUE, FLAG_WRITE_BACK, MESSAGE_READ } from '../../src/protocol/messages.ts';
import { Resealer } from '../../src/protocol/resealer.ts';
import { MESSAGE_ACCEPTED, MESSAGE_COMMIT_REPLY } from '../../src/protocol/rmw-messages.ts';
import { DataKeyRing } from '../../src/trust/data-key-ring.ts';
import type { DataKeyPhase } from '../../src/trust/data-key-ring.ts';
import { bytesOf, NO_STAMP, stampOf, writeOf, askOf, parseReadReply } from './fixtures.ts';
import { partsOf } from './part-fixtures.ts';
import { ReplicaHarness, WRITER } from './replica-harness.ts';
import { acceptOf, commitOf, parseRmw, prepareOf } from './rmw-fixtures.ts';
import { seededBytes } from '../workers/random.ts';

const KEY = bytesOf('a key');
const TAG = Int32Array.of(1, 2, 3, 4);
const OTHER = { writerHigh: 3, writerLow: 9 };
const STAMP = stampOf(5, WRITER.writerLow, WRITER.writerHigh);
const OLD_ID = 1;
const NEW_ID = 2;

function under(keyId: number, byteCount = 40): Uint8Array {
  const envelope = seededBytes(byteCount, 1);
  new DataView(envelope.buffer).setUint32(0, keyId, true);
  return envelope;
}

function closing(): ReplicaHarness {
  return new ReplicaHarness({ takesDataKey: (id) => id === NEW_ID });
}

function isStored(replica: ReplicaHarness): boolean {
  replica.store.invariants();
  return (parseReadReply(replica.ask([askOf(MESSAGE_READ, FLAG_VALUE, KEY)])[0]!).flags & FLAG_TOMBSTONE) === 0;
}

for (const [name, flags] of [
  ['fresh', 0],
  ['written back', FLAG_WRITE_BACK],
] as const) {
  test(`should keep no ${name} value under it, whole or by parts, and answer nothing`, () => {
    for (const keyId of [OLD_ID, 99]) {
      const whole = closing();
      assert.deepEqual(whole.ask([writeOf({ key: KEY, stamp: STAMP, tag: TAG, envelope: under(keyId), flags })]), []);
      assert.equal(isStored(whole), false);
      assert.deepEqual(whole.drops.nonZero(), { 'old-data-key': 1 });

      const byParts = closing();
      const parts = partsOf({ key: KEY, stamp: STAMP, tag: TAG, envelope: under(keyId, 500), flags }, 64);
      for (const part of parts.slice(0, -1)) byParts.ask([part]);
      assert.deepEqual(byParts.ask(parts.slice(-1)), []);
      assert.equal(isStored(byParts), false);
      assert.equal(byParts.replica.reassemblies.openCount, 0);
      assert.deepEqual(byParts.drops.nonZero(), { 'old-data-key': 1 });
    }
    const taken = closing();
    assert.equal(taken.ask([writeOf({ key: KEY, stamp: STAMP, tag: TAG, envelope: under(NEW_ID), flags })]).length, 1);
    assert.ok(isStored(taken));
  });
}

test('should delete under it as ever: there is no value', () => {
  const replica = closing();
  replica.ask([writeOf({ key: KEY, stamp: STAMP, tag: TAG, envelope: under(NEW_ID) })]);
  const deleted = { ...STAMP, counter: STAMP.counter + 1 };
  assert.equal(replica.ask([writeOf({ key: KEY, stamp: deleted, flags: FLAG_TOMBSTONE })]).length, 1);
  assert.equal(isStored(replica), false);
});

test('should accept no proposal of its own proposer under it; of another’s it may have been decided, and is', () => {
  const ballot = { number: 1, writer: WRITER };
  const proposed = { stamp: { ...NO_STAMP, rmw: 1 }, envelope: under(OLD_ID), tag: TAG };
  const replica = closing();
  replica.ask([prepareOf(KEY, 1, ballot)]);
  assert.deepEqual(replica.ask([acceptOf(KEY, 1, ballot, { ...proposed, id: { sequence: 1, writer: WRITER } })]), []);
  assert.deepEqual(replica.drops.nonZero(), { 'old-data-key': 1 });
  const [helped] = replica.ask([acceptOf(KEY, 1, ballot, { ...proposed, id: { sequence: 1, writer: OTHER } })]);
  assert.equal(parseRmw(helped!).type, MESSAGE_ACCEPTED);
  const ring = [{ slot: 1, id: { sequence: 1, writer: OTHER } }];
  const [committed] = replica.ask([commitOf(KEY, 1, { stamp: proposed.stamp, ring, sealed: proposed })]);
  assert.equal(parseRmw(committed!).type, MESSAGE_COMMIT_REPLY);
  assert.ok(isStored(replica));
});

test('should take a REPAIR of what is there: it lies under the same key', () => {
  const replica = closing();
  const parts = partsOf({ key: KEY, stamp: STAMP, tag: TAG, envelope: under(OLD_ID, 500), flags: FLAG_REPAIR }, 64);
  replica.ask(parts);
  assert.deepEqual(replica.drops.nonZero(), { 'repair-unusable': 1 }, 'it is judged as a repair');
});

// -- the look through the store ---------------------------------------------------------------------------------------

class Looking {
  readonly harness = new ReplicaHarness();
  readonly ring = new DataKeyRing(
    [],
    [
      { id: OLD_ID, key: seededBytes(32, 1) },
      { id: NEW_ID, key: seededBytes(32, 2) },
    ],
  );
  readonly started: string[] = [];
  readonly resealer: Resealer;
  /** Without room nothing is started. */
  hasRoom = true;
  nowMs = 1_000;

  constructor(valuesPerSecond = 100_000) {
    this.resealer = new Resealer({
      store: this.harness.store,
      dataKeys: this.ring,
      memberIndex: 1,
      memberCount: 3,
      valuesPerSecond,
      start: (key) => {
        if (this.hasRoom) this.started.push(Buffer.from(key).toString());
        return this.hasRoom;
      },
    });
  }

  phase(phase: DataKeyPhase): void {
    const space = { name: 'default', prefix: new Uint8Array(0), currentId: NEW_ID };
    const keys = [
      { id: OLD_ID, phase },
      { id: NEW_ID, phase: 'current' },
    ] as const;
    this.ring.follow([space], { keys, destroyed: [], lastId: NEW_ID });
  }

  write(name: string, keyId: number, counter: number, byteCount = 40): void {
    const stamp = stampOf(counter, WRITER.writerLow, WRITER.writerHigh);
    const message = writeOf({ key: bytesOf(name), stamp, tag: TAG, envelope: under(keyId, byteCount) });
    assert.equal(this.harness.ask([message]).length, 1);
  }

  /** Time passes; what is started ends as a read-modify-write does. */
  run(ms: number, outcome: 'ok' | 'mismatch' | 'deadline' | 'trusted-memory-full' = 'ok', counter = 100): void {
    for (const endMs = this.nowMs + ms; this.nowMs < endMs; this.nowMs += 5) {
      const before = this.started.length;
      this.resealer.tick(this.nowMs);
      for (const name of this.started.slice(before)) {
        if (outcome === 'ok') this.write(name, NEW_ID, counter);
        this.resealer.onOperationEnded(outcome);
      }
    }
  }
}

test('should seal anew what lies under a retiring key, once, and then find nothing', () => {
  const looking = new Looking();
  for (let i = 0; i < 100; i++) looking.write(`key ${i}`, i % 2 === 0 ? OLD_ID : NEW_ID, 1);
  looking.run(2_000);
  assert.equal(looking.started.length, 0, 'both keys are in use');
  looking.phase('retiring');
  assert.deepEqual(looking.ring.report().unused, []);
  looking.run(3_000);
  assert.equal(new Set(looking.started).size, 50);
  assert.equal(looking.started.length, 50);
  assert.ok(looking.started.every((name) => Number(name.slice(4)) % 2 === 0));
  assert.deepEqual(looking.ring.report(), { held: [1, 2], unused: [OLD_ID], closed: [] });
  assert.deepEqual(looking.resealer.figures, { left: 0, noMemory: 0, resealed: 50, failed: 0 });
});

test('should say that it found nothing since a key is closing only of a look that began after that', () => {
  const looking = new Looking();
  looking.write('key', NEW_ID, 1);
  looking.phase('retiring');
  looking.run(3_000);
  assert.deepEqual(looking.ring.report().unused, [OLD_ID]);
  looking.phase('closing');
  assert.deepEqual(looking.ring.report().closed, []);
  looking.run(3_000);
  assert.deepEqual(looking.ring.report().closed, [OLD_ID]);
});

test('should count a value for as many as it has chunks, and start one that is more than a burst by itself', () => {
  // Ten a burst: five of two chunks each; then the one of twelve; then the rest.
  const looking = new Looking(100);
  for (let i = 0; i < 6; i++) looking.write(`two ${i}`, OLD_ID, 1, VALUE_CHUNK_BYTES + 1);
  looking.write('twelve', OLD_ID, 1, 12 * VALUE_CHUNK_BYTES);
  looking.phase('retiring');
  const bursts: number[] = [];
  const sizeOf = (name: string): number => (name === 'twelve' ? 12 : 2);
  for (let seen = 0; seen < 7; looking.run(5)) {
    const started = looking.started.slice(seen);
    seen = looking.started.length;
    if (started.length > 0) bursts.push(started.reduce((sum, name) => sum + sizeOf(name), 0));
    assert.ok(looking.nowMs < 10_000, 'all are started');
  }
  assert.equal(
    bursts.reduce((sum, count) => sum + count, 0),
    24,
  );
  assert.ok(
    bursts.every((count) => count <= 10 || count === 12),
    `bursts of ${bursts.join(', ')}`,
  );
  assert.ok(looking.nowMs >= 1_000 + 140, 'at 100 a second, but for the last burst');
});

test('should not call a key unused while one value lies under it that is unreadable, or just came', () => {
  const looking = new Looking();
  looking.phase('retiring');
  looking.write('unreadable', OLD_ID, 1);
  looking.run(20_000, 'deadline');
  assert.deepEqual(looking.ring.report().unused, []);
  assert.ok(looking.resealer.figures!.failed >= 2, 'it is tried again');
  assert.equal(looking.resealer.figures!.left, 1);

  looking.run(20_000);
  assert.deepEqual(looking.ring.report().unused, [OLD_ID]);
  looking.write('late', OLD_ID, 1);
  looking.hasRoom = false;
  looking.run(20_000);
  looking.hasRoom = true;
  looking.run(100);
  assert.ok(looking.started.includes('late'));
});

test('should find what is accepted and not decided yet', () => {
  const looking = new Looking();
  const ballot = { number: 1, writer: WRITER };
  const id = { sequence: 1, writer: WRITER };
  looking.harness.ask([prepareOf(KEY, 1, ballot)]);
  const proposed = { id, stamp: { ...NO_STAMP, rmw: 1 }, envelope: under(OLD_ID), tag: TAG };
  const [accepted] = looking.harness.ask([acceptOf(KEY, 1, ballot, proposed)]);
  assert.equal(parseRmw(accepted!).type, MESSAGE_ACCEPTED);
  looking.phase('retiring');
  looking.run(10_000, 'deadline');
  assert.ok(looking.started.length > 0 && looking.started.every((name) => name === 'a key'));
  assert.deepEqual(looking.ring.report().unused, []);
  const ring = [{ slot: 1, id }];
  looking.harness.ask([
    commitOf(KEY, 1, { stamp: proposed.stamp, ring, sealed: { ...proposed, envelope: under(NEW_ID) } }),
  ]);
  looking.run(10_000);
  assert.deepEqual(looking.ring.report().unused, [OLD_ID]);
});

test('should seal no more values a second than it may', () => {
  const looking = new Looking(100);
  for (let i = 0; i < 1_000; i++) looking.write(`key ${i}`, OLD_ID, 1);
  looking.phase('retiring');
  looking.run(2_000);
  assert.ok(looking.started.length > 150 && looking.started.length <= 210, `${looking.started.length} in 2 s`);
});

test('should tell of values for which there is no trusted memory, and no more once they are gone', () => {
  const looking = new Looking();
  for (let i = 0; i < 3; i++) looking.write(`key ${i}`, OLD_ID, 1);
  looking.phase('retiring');
  looking.run(20_000, 'trusted-memory-full');
  assert.deepEqual(looking.ring.report().unused, []);
  const { left, noMemory } = looking.resealer.figures!;
  assert.deepEqual([left, noMemory], [3, 3]);
  for (let i = 0; i < 3; i++) looking.write(`key ${i}`, NEW_ID, 2);
  looking.run(20_000);
  assert.deepEqual(looking.ring.report().unused, [OLD_ID]);
  assert.equal(looking.resealer.figures, undefined, 'nothing to tell');
});

/** How many are started in 20 s when each burst takes so long. */
function startedWhenBurstsTake(burstMs: number): number {
  const looking = new Looking(200);
  for (let i = 0; i < 5_000; i++) looking.write(`key ${i}`, OLD_ID, 1);
  looking.phase('retiring');
  let endedCount = 0;
  let endsMs = 0;
  for (const endMs = looking.nowMs + 20_000; looking.nowMs < endMs; looking.nowMs += 5) {
    if (looking.nowMs >= endsMs)
      for (; endedCount < looking.started.length; endedCount++) looking.resealer.onOperationEnded('ok');
    const before = looking.started.length;
    looking.resealer.tick(looking.nowMs);
    if (looking.started.length > before) endsMs = looking.nowMs + burstMs;
  }
  return looking.started.length;
}

test('should leave members that are busy with other work alone most of the time, and still go on', () => {
  const atEase = startedWhenBurstsTake(5);
  assert.ok(atEase > 3_800 && atEase <= 4_020, `${atEase} in 20 s: the rate that it may`);
  const busy = startedWhenBurstsTake(40);
  assert.ok(busy < atEase / 2 && busy > atEase / 5, `${busy} in 20 s when a burst takes 40 ms`);
  const overloaded = startedWhenBurstsTake(500);
  assert.ok(overloaded >= 300 && overloaded <= 420, `${overloaded} in 20 s: a burst a second`);
});

test('should start values together, also when turns follow each other quickly and few values are to be sealed', () => {
  const looking = new Looking(200);
  for (let i = 0; i < 2_000; i++) looking.write(`key ${i}`, i % 10 === 0 ? OLD_ID : NEW_ID, 1);
  looking.phase('retiring');
  let burstCount = 0;
  for (const endMs = looking.nowMs + 3_000; looking.nowMs < endMs; looking.nowMs += 0.25) {
    const before = looking.started.length;
    looking.resealer.tick(looking.nowMs);
    if (looking.started.length > before) burstCount++;
    for (const name of looking.started.slice(before)) {
      looking.write(name, NEW_ID, 2);
      looking.resealer.onOperationEnded('ok');
    }
  }
  assert.equal(looking.started.length, 200);
  assert.ok(burstCount <= 20, `200 values in ${burstCount} bursts`);
});
