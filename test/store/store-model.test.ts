import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { AssertionError } from '../../net/assert.ts';
import { NO_REF } from '../../src/store/host-memory.ts';
import { OrderedView } from '../../src/store/ordered-view.ts';
import { NO_ENTRY } from '../../src/store/trusted-index.ts';
import { APPLIED, HOST_FULL, TRUSTED_FULL } from '../../src/store/write-result.ts';
import type { ReluctantHost, StoreFixture, TestStamp, TestWrite } from './store-fixture.ts';
import {
  adoptInto,
  findIn,
  makeStore,
  Padded,
  readFrom,
  readParts,
  makeHostReluctant,
  stompHostMemory,
  writeTo,
} from './store-fixture.ts';

/**
 * The store against a Map: writes with greater stamps, deletes, reads, repairs, values that come in fragments, a host that
 * overwrites all of its memory or gives no more of it, and both memories too small for what comes. Whatever happens, the
 * store tells what the model tells; only the bytes of values that the host has overwritten are not compared until they are
 * written or repaired. The invariants hold after each step.
 */
/** Longer than a segment, by as little as the longest real blocks. */
const BLOCK_BYTES_MAX = 4_176;
const FRAGMENT_BYTES = 512;
const LIMITS = { hostBytes: 12 * 4_096, segmentBytes: 4_096, blockBytesMax: BLOCK_BYTES_MAX };
/** What ends first: room for keys, with few segments or with many, or host memory. */
const TRUSTED_BYTES = [100_000, 120_000, 170_000];
/** The ordered view takes its memory by chunks of so much; the first one at the start, and these keys need no other. */
const VIEW_BYTES = OrderedView.trustedBytesAtStart;

/** Keys that differ in little: zeros of each length (the same words when padded), one byte at the end, long prefixes. */
const KEYS = [
  ...Array.from({ length: 24 }, (_, i) => new Uint8Array(i + 1)),
  ...Array.from({ length: 24 }, (_, i) => new Uint8Array(16).fill(i + 1, 15)),
  ...Array.from({ length: 80 }, (_, i) => new Uint8Array(1_024 - (i % 3)).fill(i, 1_000)),
].map((bytes) => new Padded(bytes));

const keyIndex = fc.nat(KEYS.length - 1);
const envelopeBytes = fc.oneof(
  fc.integer({ min: 0, max: 300 }),
  fc.integer({ min: 0, max: BLOCK_BYTES_MAX }),
  fc.constantFrom(0, 1, 16, 17, 32, 33, BLOCK_BYTES_MAX),
);
const growth = fc.constantFrom('counter', 'leap', 'writerHigh', 'writerLow', 'rmw');
const action = fc.oneof(
  {
    weight: 12,
    arbitrary: fc.record({ kind: fc.constant('write' as const), keyIndex, envelopeBytes, growth, fill: fc.nat(255) }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant('delete' as const),
      keyIndex,
      envelopeBytes: fc.constantFrom(0, 32),
      growth,
      fill: fc.nat(255),
    }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('repair' as const), keyIndex }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('writeOlder' as const), keyIndex, growth }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('stomp' as const), byte: fc.nat(255) }) },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant('reserve' as const),
      envelopeBytes: fc.integer({ min: 1, max: BLOCK_BYTES_MAX }),
    }),
  },
  {
    weight: 8,
    arbitrary: fc.record({ kind: fc.constant('fill' as const), pick: fc.nat(), fragment: fc.nat(), fill: fc.nat(255) }),
  },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('adopt' as const), pick: fc.nat(), keyIndex, growth }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('release' as const), pick: fc.nat() }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('adoptRepair' as const), keyIndex }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('host' as const), refuses: fc.boolean() }) },
);
type Action = typeof action extends fc.Arbitrary<infer T> ? T : never;

interface Modelled extends TestWrite {
  /** The host has overwritten the value since. */
  broken: boolean;
}

interface Reservation {
  readonly ref: number;
  /** What was filled in, where `filled` says so. */
  readonly envelope: Uint8Array;
  /** By fragment. */
  readonly filled: boolean[];
  broken: boolean;
}

const NONE: TestStamp = { counter: 0, writerHigh: 0, writerLow: 0, rmw: 0 };

/** The next greater stamp in one of its fields, words as unsigned numbers held in int32. */
function grow(stamp: TestStamp, how: string): TestStamp {
  const next = { ...stamp };
  if (stamp.counter === 0) return { counter: 1, writerHigh: -2, writerLow: 0x7fff_ffff, rmw: 0 };
  if (how === 'leap' && stamp.counter < 2 ** 52) return { ...NONE, counter: stamp.counter * 2 + 2 ** 31 };
  if (how === 'rmw') return { ...next, rmw: (stamp.rmw + 1) | 0 };
  if (how === 'writerLow' && stamp.writerLow !== -1) return { ...next, writerLow: (stamp.writerLow + 1) | 0, rmw: 0 };
  if (how === 'writerHigh' && stamp.writerHigh !== -1)
    return { ...next, writerHigh: (stamp.writerHigh + 1) | 0, writerLow: 5 };
  return { ...next, counter: stamp.counter + 1, writerHigh: 1, writerLow: 2, rmw: 0 };
}

function contents(byteCount: number, fill: number): Uint8Array {
  return Uint8Array.from({ length: byteCount }, (_, i) => (fill + i * 7) & 0xff);
}

class Checker {
  readonly fixture: StoreFixture;
  readonly model = new Map<number, Modelled>();
  readonly reservations: Reservation[] = [];
  readonly refusals: Set<string>;
  private readonly host: ReluctantHost;

  constructor(trustedBytes: number, isUnordered: boolean, host: ReluctantHost, refusals: Set<string>) {
    const ownBytes = trustedBytes + (isUnordered ? 0 : VIEW_BYTES);
    this.fixture = makeStore({ trustedBytes: ownBytes, isUnordered, ...LIMITS });
    this.host = host;
    this.refusals = refusals;
    host.refuses = false;
  }

  run(action: Action): void {
    switch (action.kind) {
      case 'write':
      case 'delete':
        this.write(action.keyIndex, action.kind === 'delete', action.envelopeBytes, action.growth, action.fill);
        break;
      case 'repair':
        this.repair(action.keyIndex);
        break;
      case 'writeOlder':
        this.writeOlder(action.keyIndex, action.growth);
        break;
      case 'stomp':
        stompHostMemory(this.fixture.hostMemory, action.byte);
        for (const held of [...this.model.values(), ...this.reservations]) held.broken = true;
        break;
      case 'reserve':
        this.reserve(action.envelopeBytes);
        break;
      case 'fill':
        this.fill(this.reservations[action.pick % this.reservations.length], action.fragment, action.fill);
        break;
      case 'adopt':
        this.adopt(action.pick, action.keyIndex, action.growth);
        break;
      case 'release':
        this.release(action.pick);
        break;
      case 'adoptRepair':
        this.adoptRepair(action.keyIndex);
        break;
      case 'host':
        this.host.refuses = action.refuses;
        break;
      default:
        action satisfies never;
    }
  }

  private write(keyIndex: number, tombstone: boolean, byteCount: number, how: string, fill: number): void {
    const { store, budget } = this.fixture;
    const key = KEYS[keyIndex]!;
    const before = this.model.get(keyIndex);
    const entry = findIn(store, key);
    const write = {
      stamp: grow(before?.stamp ?? NONE, how),
      tombstone,
      tag: contents(16, fill),
      envelope: contents(byteCount, fill + 1),
    };
    const { counter, writerHigh, writerLow, rmw } = write.stamp;
    assert.equal(store.compareStamp(entry, counter, writerHigh, writerLow, rmw), -1);
    const expected =
      entry === NO_ENTRY
        ? store.hasRoomForKey(key.byteCount, byteCount, 0)
        : store.hasRoomForEnvelope(entry, byteCount, 0);
    const reason = store.lastRefusal;
    const usedBefore = budget.used;
    const result = writeTo(store, key, write);
    const isRefusedByHost = expected && this.host.refuses && result === HOST_FULL;
    if (!isRefusedByHost) assert.equal(result, expected ? APPLIED : reason);
    if (result === APPLIED) {
      this.model.set(keyIndex, { ...write, broken: false });
      assert.equal(store.compareStamp(findIn(store, key), counter, writerHigh, writerLow, rmw), 0);
    } else {
      this.refusals.add(isRefusedByHost ? 'write: host' : `write: ${result}`);
      assert.ok(budget.used <= usedBefore);
    }
    // What fits in place of the old value is never refused.
    if (before !== undefined && byteCount === before.envelope.length) assert.equal(result, APPLIED);
  }

  private repair(keyIndex: number): void {
    const modelled = this.model.get(keyIndex);
    if (modelled === undefined) return;
    const { store } = this.fixture;
    const entry = findIn(store, KEYS[keyIndex]!);
    const good = new Padded(modelled.envelope);
    store.overwriteEnvelope(entry, good.words, good.word, good.byteCount);
    modelled.broken = false;
    assert.throws(() => store.overwriteEnvelope(entry, good.words, good.word, good.byteCount + 1), AssertionError);
  }

  private reserve(byteCount: number): void {
    const { store, budget } = this.fixture;
    const usedBefore = budget.used;
    const ref = store.reserve(byteCount, 0);
    if (ref === NO_REF) {
      assert.ok(budget.used <= usedBefore);
      this.refusals.add(`reserve: ${this.host.refuses ? 'host' : store.lastRefusal}`);
      return;
    }
    const filled = Array.from({ length: Math.ceil(byteCount / FRAGMENT_BYTES) }, () => false);
    this.reservations.push({ ref, envelope: new Uint8Array(byteCount), filled, broken: false });
  }

  private fill(reservation: Reservation | undefined, pick: number, fill: number): void {
    if (reservation === undefined) return;
    const { ref, envelope, filled } = reservation;
    const fragment = pick % filled.length;
    const byteOffset = fragment * FRAGMENT_BYTES;
    const bytes = contents(Math.min(FRAGMENT_BYTES, envelope.length - byteOffset), fill);
    const source = new Padded(bytes);
    this.fixture.store.fillReserved(ref, byteOffset, source.words, source.word, bytes.length);
    envelope.set(bytes, byteOffset);
    filled[fragment] = true;
  }

  /** What is missing comes first, the end before the beginning. */
  private adopt(pick: number, keyIndex: number, how: string): void {
    const reservation = this.reservations[pick % this.reservations.length];
    if (reservation === undefined) return;
    for (let i = reservation.filled.length - 1; i >= 0; i--) if (!reservation.filled[i]) this.fill(reservation, i, i);
    const { store } = this.fixture;
    const { ref, envelope, broken } = reservation;
    const key = KEYS[keyIndex]!;
    const before = this.model.get(keyIndex);
    const stamp = grow(before?.stamp ?? NONE, how);
    const tag = contents(16, pick);
    const expected = before !== undefined || store.hasRoomForKey(key.byteCount, 0, 0);
    const result = adoptInto(store, key, { stamp, tombstone: false, tag, envelope }, ref);
    assert.equal(result, expected ? APPLIED : TRUSTED_FULL);
    if (result === APPLIED) {
      this.model.set(keyIndex, { stamp, tombstone: false, tag, envelope, broken });
      this.reservations.splice(this.reservations.indexOf(reservation), 1);
      assert.equal(store.hostRef(findIn(store, key)), ref);
      assert.throws(() => store.releaseReserved(ref), AssertionError);
      assert.throws(() => store.fillReserved(ref, 0, new Int32Array(2), 0, 8), AssertionError);
    } else {
      assert.equal(findIn(store, key), NO_ENTRY);
    }
  }

  private release(pick: number): void {
    if (this.reservations.length === 0) return;
    const [gone] = this.reservations.splice(pick % this.reservations.length, 1);
    this.fixture.store.releaseReserved(gone!.ref);
    assert.throws(() => this.fixture.store.releaseReserved(gone!.ref), AssertionError);
  }

  private checkReservation({ ref, envelope, filled, broken }: Reservation): void {
    const { bytes } = this.fixture.store.hostRegion(ref);
    const start = this.fixture.store.hostWord(ref) * 4;
    const lies = bytes.subarray(start, start + envelope.length);
    for (const [i, isFilled] of filled.entries()) {
      const [from, to] = [i * FRAGMENT_BYTES, (i + 1) * FRAGMENT_BYTES];
      if (isFilled && !broken) assert.deepEqual(lies.slice(from, to), envelope.slice(from, to));
    }
  }

  private adoptRepair(keyIndex: number): void {
    const modelled = this.model.get(keyIndex);
    if (modelled === undefined || modelled.envelope.length === 0) return;
    const { store } = this.fixture;
    const entry = findIn(store, KEYS[keyIndex]!);
    const ref = store.reserve(modelled.envelope.length, 0);
    if (ref === NO_REF) return;
    const good = new Padded(modelled.envelope);
    store.fillReserved(ref, 0, good.words, good.word, good.byteCount);
    store.adoptRepair(entry, ref);
    modelled.broken = false;
  }

  /** The same stamp, or the one that the written one grew from: the caller's rule, asserted by the store. */
  private writeOlder(keyIndex: number, how: string): void {
    const modelled = this.model.get(keyIndex);
    if (modelled === undefined) return;
    const { store } = this.fixture;
    const key = KEYS[keyIndex]!;
    const older = { ...modelled, stamp: { ...modelled.stamp, counter: modelled.stamp.counter - 1, rmw: -1 } };
    assert.throws(() => writeTo(store, key, how === 'counter' ? modelled : older), AssertionError);
  }

  check(): void {
    const { store, budget, hostMemory } = this.fixture;
    for (const reservation of this.reservations) this.checkReservation(reservation);
    for (const [keyIndex, key] of KEYS.entries()) {
      const entry = findIn(store, key);
      const modelled = this.model.get(keyIndex);
      if (modelled === undefined) {
        assert.equal(entry, NO_ENTRY);
        continue;
      }
      const { broken, ...expected } = modelled;
      const { envelope, ...read } = readFrom(store, entry);
      assert.deepEqual({ ...read, envelope: broken ? expected.envelope : envelope }, expected);
      assert.deepEqual(readParts(store, entry, FRAGMENT_BYTES), envelope);
      assert.equal(envelope.length, expected.envelope.length);
      const tag = new Padded(expected.tag);
      assert.ok(store.tagEquals(entry, tag.words, tag.word));
      tag.words[tag.word + 3]! ^= 1;
      assert.ok(!store.tagEquals(entry, tag.words, tag.word));
    }
    assert.deepEqual(store.stats(), {
      keys: this.model.size,
      tombstones: [...this.model.values()].filter((modelled) => modelled.tombstone).length,
      trustedBytes: budget.used,
      trustedBytesMax: budget.bytesMax,
      hostBytes: hostMemory.usedBytes,
      hostCapacityBytes: hostMemory.capacityBytes,
    });
  }
}

test('the store tells what a Map tells, through refusals, repairs, fragments and whatever the host does', (t) => {
  const host = makeHostReluctant(t);
  const refusals = new Set<string>();
  fc.assert(
    fc.property(
      fc.constantFrom(...TRUSTED_BYTES),
      fc.boolean(),
      fc.array(action, { maxLength: 400, size: 'max' }),
      (trustedBytes, isUnordered, actions) => {
        const checker = new Checker(trustedBytes, isUnordered, host, refusals);
        for (const [i, step] of actions.entries()) {
          checker.run(step);
          checker.fixture.store.invariants();
          if (i % 50 === 0) checker.check();
        }
        checker.check();
      },
    ),
    { numRuns: 60 },
  );
  for (const call of ['write', 'reserve']) {
    for (const reason of [TRUSTED_FULL, HOST_FULL, 'host']) {
      assert.ok(refusals.has(`${call}: ${reason}`), `${call} was refused for ${reason}`);
    }
  }
});
