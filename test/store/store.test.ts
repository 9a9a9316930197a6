import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AssertionError } from '../../net/assert.ts';
import { allocateRegion } from '../../net/bytes.ts';
import { AvocadoError } from '../../src/errors.ts';
import { EntryArena } from '../../src/store/entry-arena.ts';
import { NO_REF } from '../../src/store/host-memory.ts';
import { KeyedHash } from '../../src/store/keyed-hash.ts';
import { TrustedBudget } from '../../src/store/trusted-budget.ts';
import { NO_ENTRY, TrustedIndex } from '../../src/store/trusted-index.ts';
import { APPLIED, HOST_FULL, TRUSTED_FULL } from '../../src/store/write-result.ts';
import {
  adoptInto,
  FIXTURE_SEED,
  findIn,
  makeStore,
  Padded,
  readFrom,
  stompHostMemory,
  writeTo,
} from './store-fixture.ts';
import type { TestWrite } from './store-fixture.ts';

const MIB = 1024 * 1024;

function put(counter: number, envelope: Uint8Array, tombstone = false): TestWrite {
  return {
    stamp: { counter, writerHigh: 7, writerLow: -9, rmw: 0 },
    tombstone,
    tag: new Uint8Array(16).fill(3),
    envelope,
  };
}

test('keys that collide in all 32 bits of the hash are told apart', () => {
  const hash = new KeyedHash(FIXTURE_SEED);
  const seen = new Map<number, number>();
  const pairs: [number, number][] = [];
  const words = new Int32Array(2);
  for (let i = 0; pairs.length < 3; i++) {
    words[0] = i;
    const other = seen.get(hash.hashWords(words, 0, 8));
    if (other === undefined) seen.set(hash.hashWords(words, 0, 8), i);
    else pairs.push([other, i]);
  }
  const { store } = makeStore({ trustedBytes: MIB, hostBytes: MIB });
  const keyOf = (i: number): Padded => new Padded(new Uint8Array(Int32Array.of(i, 0).buffer));
  for (const [a, b] of pairs) {
    assert.equal(writeTo(store, keyOf(a), put(1, Uint8Array.of(1))), APPLIED);
    assert.equal(findIn(store, keyOf(b)), NO_ENTRY);
    assert.equal(writeTo(store, keyOf(b), put(1, Uint8Array.of(2))), APPLIED);
    assert.deepEqual([...readFrom(store, findIn(store, keyOf(a))).envelope], [1]);
    assert.deepEqual([...readFrom(store, findIn(store, keyOf(b))).envelope], [2]);
  }
  store.invariants();
});

test('keys that are the same words when padded are told apart by length, even with the same hash', () => {
  const arena = new EntryArena(new TrustedBudget(MIB));
  const zeros = new Int32Array(2);
  const entry = arena.add(zeros, 0, 7, 5);
  assert.ok(arena.isOfKey(entry, 5, zeros, 0, 7));
  assert.ok(!arena.isOfKey(entry, 5, zeros, 0, 8));
});

test('keys chosen to pile up under one seed are spread by another', () => {
  const chosenSeed = new Uint8Array(8);
  const attacker = new KeyedHash(chosenSeed);
  const build = (seed: Uint8Array): TrustedIndex => {
    const index = new TrustedIndex(new TrustedBudget(MIB), seed);
    const words = new Int32Array(2);
    for (let i = 0; index.count < 500; i++) {
      words[0] = i;
      if ((attacker.hashWords(words, 0, 8) & 0x3fff) < 8) index.add(words, 0, 8);
    }
    index.invariants();
    return index;
  };
  assert.ok(build(chosenSeed).longestProbe() > 400, 'the keys do pile up for who knows the seed');
  assert.ok(build(FIXTURE_SEED).longestProbe() < 20);
});

test('a value of the same size class stays in its block, another one moves and frees it', () => {
  const { store, hostMemory } = makeStore({ trustedBytes: MIB, hostBytes: 4 * MIB });
  const key = new Padded(Buffer.from('key'));
  writeTo(store, key, put(1, new Uint8Array(100)));
  const entry = findIn(store, key);
  const ref = store.hostRef(entry);
  writeTo(store, key, put(2, new Uint8Array(112)));
  assert.equal(store.hostRef(entry), ref);
  writeTo(store, key, put(3, new Uint8Array(113)));
  assert.notEqual(store.hostRef(entry), ref);
  assert.equal(hostMemory.usedBytes, 128);
  writeTo(store, key, put(4, new Uint8Array(17)));
  assert.equal(hostMemory.usedBytes, 32, 'a short value does not keep a long block');
  writeTo(store, key, put(5, new Uint8Array(0), true));
  assert.equal(store.hostRef(entry), NO_REF);
  assert.equal(hostMemory.usedBytes, 0);
  writeTo(store, key, put(6, new Uint8Array(100)));
  assert.equal(hostMemory.usedBlocks, 1);
  store.invariants();
});

test('nothing beside a value crosses the border with it, in either direction', () => {
  const { store, hostMemory } = makeStore({ trustedBytes: MIB, hostBytes: MIB });
  const key = new Padded(Buffer.from('key'));
  const tag = new Int32Array(4);
  const secretBeside = new Int32Array(8).fill(-1);
  store.write(key.words, key.word, key.byteCount, 1, 0, 1, 0, false, tag, 0, secretBeside, 0, 5);
  const ref = store.hostRef(findIn(store, key));
  const lies = hostMemory.region(ref).bytes.subarray(hostMemory.wordOffset(ref) * 4);
  assert.deepEqual([...lies.subarray(0, 16)], [255, 255, 255, 255, 255, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
  lies.fill(0xee, 5);
  // Checks the padding.
  assert.deepEqual([...readFrom(store, findIn(store, key)).envelope], [255, 255, 255, 255, 255]);
});

test('a full budget refuses new keys and loses nothing: all is read, replaced, deleted as before', () => {
  const { store, budget, hostMemory } = makeStore({ trustedBytes: 2 * MIB, hostBytes: 64 * MIB });
  const keyOf = (i: number): Padded => new Padded(Buffer.from(`key-${i}`));
  const envelopeOf = (i: number): Uint8Array => new Uint8Array(40 + (i % 20)).fill(i);
  let count = 0;
  while (writeTo(store, keyOf(count), put(1, envelopeOf(count))) === APPLIED) {
    count++;
    assert.ok(budget.used <= budget.bytesMax);
  }
  assert.ok(count > 15_000, `${count} keys in 2 MiB`);
  assert.equal(store.lastRefusal, TRUSTED_FULL);
  assert.equal(findIn(store, keyOf(count)), NO_ENTRY);
  assert.ok(!store.hasRoomForKey(keyOf(count).byteCount, envelopeOf(count).length, 0));
  store.invariants();
  for (let i = 0; i < count; i++) {
    const { tag: _, ...read } = readFrom(store, findIn(store, keyOf(i)));
    const { tag: __, ...written } = put(1, envelopeOf(i));
    assert.deepEqual(read, written);
  }
  for (let i = 0; i < count; i++) assert.equal(writeTo(store, keyOf(i), put(2, envelopeOf(i))), APPLIED);
  for (let i = 0; i < count; i++) assert.equal(writeTo(store, keyOf(i), put(3, new Uint8Array(0), true)), APPLIED);
  assert.equal(hostMemory.usedBytes, 0);
  assert.equal(store.stats().tombstones, count);
  store.invariants();
});

test('an index that short keys fill first refuses more of them, and searches in it still end', () => {
  const { store } = makeStore({ trustedBytes: MIB, hostBytes: MIB, isUnordered: true });
  const keyOf = (i: number): Padded => new Padded(new Uint8Array(Int32Array.of(i).buffer));
  let count = 0;
  while (writeTo(store, keyOf(count), put(1, new Uint8Array(0))) === APPLIED) count++;
  // 15/16 of a slot for each 64 bytes.
  assert.equal(count, (MIB / 64 / 16) * 15);
  assert.equal(store.lastRefusal, TRUSTED_FULL);
  for (let i = 0; i < 2 * count; i++) assert.equal(findIn(store, keyOf(i)) !== NO_ENTRY, i < count);
  store.invariants();
});

test('full host memory is refused by its own name, and deletes make room again', () => {
  const { store } = makeStore({ trustedBytes: 4 * MIB, hostBytes: MIB });
  const keyOf = (i: number): Padded => new Padded(Buffer.from(`key-${i}`));
  let count = 0;
  while (writeTo(store, keyOf(count), put(1, new Uint8Array(1_000))) === APPLIED) count++;
  assert.equal(count, 1_024);
  assert.equal(writeTo(store, keyOf(count), put(1, new Uint8Array(1_000))), HOST_FULL);
  assert.equal(writeTo(store, keyOf(0), put(2, new Uint8Array(5_000))), HOST_FULL);
  assert.equal(store.counter(findIn(store, keyOf(0))), 1);
  assert.ok(!store.hasRoomForKey(8, 1_000, 0));
  assert.equal(store.lastRefusal, HOST_FULL);
  assert.equal(writeTo(store, keyOf(0), put(2, new Uint8Array(0), true)), APPLIED);
  assert.equal(writeTo(store, keyOf(count), put(1, new Uint8Array(1_000))), APPLIED);
  store.invariants();
});

test('the margin is kept free of new keys, not of new values in place', () => {
  const { store, budget } = makeStore({ trustedBytes: 2 * MIB, hostBytes: 64 * MIB });
  let count = 0;
  while (store.hasRoomForKey(1_024, 100, MIB)) {
    const key = new Padded(Buffer.from(`${count++}`.padEnd(1_024, '.')));
    assert.equal(writeTo(store, key, put(1, new Uint8Array(100))), APPLIED);
  }
  assert.equal(store.lastRefusal, TRUSTED_FULL);
  assert.ok(budget.available >= MIB && budget.available < MIB + 100_000);
  const entry = findIn(store, new Padded(Buffer.from('0'.padEnd(1_024, '.'))));
  assert.ok(store.hasRoomForEnvelope(entry, 100, Number.MAX_SAFE_INTEGER));
  assert.ok(!store.hasRoomForEnvelope(entry, 5_000, budget.available));
  assert.ok(store.hasRoomForKey(1_024, 100, 0));
});

test('a stamp of zeros, an empty key and one over 1,024 bytes are assertions: the caller has checked them', () => {
  const { store } = makeStore({ trustedBytes: MIB, hostBytes: MIB });
  assert.throws(() => writeTo(store, new Padded(Buffer.from('k')), put(0, new Uint8Array(1))), AssertionError);
  assert.throws(() => writeTo(store, new Padded(new Uint8Array(0)), put(1, new Uint8Array(0))), AssertionError);
  assert.throws(() => writeTo(store, new Padded(new Uint8Array(1_025)), put(1, new Uint8Array(0))), AssertionError);
  store.invariants();
});

test('a trusted budget that holds no key at all is refused at start', () => {
  for (const trustedBytes of [500, 20_000, 150_000]) {
    assert.throws(
      () => makeStore({ trustedBytes, hostBytes: MIB }),
      (error: unknown) => error instanceof AvocadoError && error.code === 'INVALID_ARGUMENT',
    );
  }
});

test('a value of 1 MiB in fragments that come in any order is the value, and its old block is freed', () => {
  const { store, hostMemory } = makeStore({ trustedBytes: MIB, hostBytes: 4 * MIB });
  const key = new Padded(Buffer.from('key'));
  const envelope = Uint8Array.from({ length: hostMemory.blockBytesMax - 3 }, (_, i) => (i * 7) ^ (i >> 11));
  writeTo(store, key, put(1, new Uint8Array(100)));
  const ref = store.reserve(envelope.length, 0);
  const fragmentBytes = 16_000;
  const starts = Array.from({ length: Math.ceil(envelope.length / fragmentBytes) }, (_, i) => i * fragmentBytes);
  for (const start of [...starts.toReversed(), ...starts.slice(3, 5)]) {
    const fragment = new Padded(envelope.subarray(start, start + fragmentBytes));
    store.fillReserved(ref, start, fragment.words, fragment.word, fragment.byteCount);
    assert.equal(store.counter(findIn(store, key)), 1, 'the entry knows nothing of it yet');
    assert.equal(store.envelopeBytes(findIn(store, key)), 100);
  }
  store.invariants();
  assert.equal(adoptInto(store, key, put(2, envelope), ref), APPLIED);
  assert.deepEqual(readFrom(store, findIn(store, key)), put(2, envelope));
  assert.equal(hostMemory.usedBlocks, 1);
  assert.equal(hostMemory.reservedBlocks, 0);
  assert.ok(store.envelopeBytes(findIn(store, key)) > MIB);
  store.invariants();
});

test('a repair in a reserved block takes the place of the bad copy, with stamp, tag and length as they were', () => {
  const { store, hostMemory } = makeStore({ trustedBytes: MIB, hostBytes: 4 * MIB });
  const key = new Padded(Buffer.from('key'));
  const value = put(1, new Uint8Array(300).fill(9));
  writeTo(store, key, value);
  stompHostMemory(hostMemory, 0xcc);
  const entry = findIn(store, key);
  const bad = store.hostRef(entry);
  const good = new Padded(value.envelope);
  const ref = store.reserve(300, 0);
  store.fillReserved(ref, 0, good.words, good.word, good.byteCount);
  store.adoptRepair(entry, ref);
  assert.deepEqual(readFrom(store, entry), value);
  assert.throws(() => hostMemory.free(bad), AssertionError, 'the bad copy is gone');
  assert.throws(() => store.hostRegion(bad), AssertionError);
  const short = store.reserve(30, 0);
  assert.throws(() => store.adoptRepair(entry, short), AssertionError);
  store.releaseReserved(short);
  assert.equal(hostMemory.usedBlocks, 1);
  store.invariants();
});

test('when a key has no room any more, the filled block stays with who reserved it', () => {
  const { store, hostMemory } = makeStore({ trustedBytes: MIB, hostBytes: 4 * MIB });
  const keyOf = (i: number): Padded => new Padded(Buffer.from(`${i}`.padEnd(1_024, '.')));
  const ref = store.reserve(5_000, 0);
  let count = 0;
  while (writeTo(store, keyOf(count), put(1, new Uint8Array(0), true)) === APPLIED) count++;
  assert.equal(adoptInto(store, keyOf(count), put(1, new Uint8Array(5_000)), ref), TRUSTED_FULL);
  assert.equal(findIn(store, keyOf(count)), NO_ENTRY);
  assert.equal(hostMemory.reservedBlocks, 1);
  store.invariants();
  // A key that is here takes it.
  assert.equal(adoptInto(store, keyOf(0), put(2, new Uint8Array(5_000)), ref), APPLIED);
  assert.ok(!store.isTombstone(findIn(store, keyOf(0))));
  assert.equal(store.stats().tombstones, count - 1);
  store.invariants();
});

test('a reservation keeps to the margin when it costs trusted memory, and to the limit of host memory', () => {
  const { store, budget } = makeStore({ trustedBytes: 2 * MIB, hostBytes: 2 * MIB });
  assert.equal(store.reserve(1_000, budget.available), NO_REF);
  assert.equal(store.lastRefusal, TRUSTED_FULL);
  const first = store.reserve(1_000, 0);
  const second = store.reserve(1_000, budget.available);
  assert.ok(first !== NO_REF && second !== NO_REF, 'its segment is there already');
  assert.notEqual(store.reserve(MIB, 0), NO_REF);
  assert.equal(store.reserve(MIB, 0), NO_REF);
  assert.equal(store.lastRefusal, HOST_FULL);
  store.releaseReserved(first);
  store.releaseReserved(second);
  assert.notEqual(store.reserve(MIB, 0), NO_REF);
  store.invariants();
});

test('only what was reserved is filled, adopted and released, and only within its block', () => {
  const { store } = makeStore({ trustedBytes: MIB, hostBytes: 4 * MIB });
  const key = new Padded(Buffer.from('key'));
  writeTo(store, key, put(1, new Uint8Array(100)));
  const owned = store.hostRef(findIn(store, key));
  const words = new Int32Array(64);
  assert.throws(() => store.fillReserved(owned, 0, words, 0, 8), AssertionError);
  assert.throws(() => store.releaseReserved(owned), AssertionError);
  assert.throws(() => adoptInto(store, key, put(2, new Uint8Array(100)), owned), AssertionError);
  const ref = store.reserve(100, 0);
  for (const [byteOffset, byteCount] of [
    [4, 8],
    [-8, 8],
    [112, 8],
    [104, 9],
    [0, 113],
  ] as const) {
    assert.throws(() => store.fillReserved(ref, byteOffset, words, 0, byteCount), AssertionError);
  }
  assert.throws(() => adoptInto(store, key, put(2, new Uint8Array(113)), ref), AssertionError);
  assert.throws(() => adoptInto(store, key, put(1, new Uint8Array(100)), ref), AssertionError);
  const target = allocateRegion(256);
  for (const [byteOffset, byteCount] of [
    [4, 8],
    [-8, 8],
    [96, 5],
  ] as const) {
    const entry = findIn(store, key);
    assert.throws(() => store.copyEnvelopePart(entry, byteOffset, byteCount, target, 0), AssertionError);
  }
});

test('empty segments make room for keys: what they cost of the budget is given back', () => {
  const { store, hostMemory } = makeStore({ trustedBytes: MIB, hostBytes: 8 * MIB });
  const keyOf = (i: number): Padded => new Padded(Buffer.from(`${i}`.padEnd(1_024, '.')));
  // State of 128 KiB a segment.
  const refs = Array.from({ length: 4 * 65_533 }, () => store.reserve(16, 0));
  let count = 0;
  while (writeTo(store, keyOf(count), put(1, new Uint8Array(0), true)) === APPLIED) count++;
  assert.equal(hostMemory.capacityBytes, 4 * MIB);
  for (const ref of refs) store.releaseReserved(ref);
  const before = count;
  while (writeTo(store, keyOf(count), put(1, new Uint8Array(0), true)) === APPLIED) count++;
  assert.ok(count > before + 300, `${count - before} keys more`);
  assert.equal(hostMemory.capacityBytes, 0);
  store.invariants();
});
