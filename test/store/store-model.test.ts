import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { AssertionError } from '../../net/assert.ts';
import { NO_ENTRY } from '../../src/store/trusted-index.ts';
import { APPLIED, HOST_FULL, TRUSTED_FULL } from '../../src/store/write-result.ts';
import type { StoreFixture, TestStamp, TestWrite } from './store-fixture.ts';
import { findIn, makeStore, Padded, readFrom, stompHostMemory, writeTo } from './store-fixture.ts';

/**
 * The store against a Map: writes with greater stamps, deletes, reads, repairs, a host that overwrites all of its memory,
 * and both memories too small for what comes. Whatever happens, the store tells what the model tells; only the bytes of
 * values that the host has overwritten are not compared until they are written or repaired.
 */
const BLOCK_BYTES_MAX = 2_064;
const LIMITS = { trustedBytes: 170_000, hostBytes: 12 * 4_096, segmentBytes: 4_096, blockBytesMax: BLOCK_BYTES_MAX };

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
);
type Action = typeof action extends fc.Arbitrary<infer T> ? T : never;

interface Modelled extends TestWrite {
  /** The host has overwritten the value since. */
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
  readonly fixture: StoreFixture = makeStore(LIMITS);
  readonly model = new Map<number, Modelled>();
  readonly refusals = new Set<number>();

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
        for (const modelled of this.model.values()) modelled.broken = true;
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
    assert.equal(result, expected ? APPLIED : reason);
    if (result === APPLIED) {
      this.model.set(keyIndex, { ...write, broken: false });
      assert.equal(store.compareStamp(findIn(store, key), counter, writerHigh, writerLow, rmw), 0);
    } else {
      this.refusals.add(result);
      assert.equal(budget.used, usedBefore);
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
    store.invariants();
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
      trustedBytesMax: LIMITS.trustedBytes,
      hostBytes: hostMemory.usedBytes,
      hostCapacityBytes: hostMemory.capacityBytes,
    });
  }
}

test('the store tells what a Map tells, through refusals, repairs and a host that overwrites its memory', () => {
  const refusals = new Set<number>();
  fc.assert(
    fc.property(fc.array(action, { maxLength: 400, size: 'max' }), (actions) => {
      const checker = new Checker();
      for (const [i, step] of actions.entries()) {
        checker.run(step);
        if (i % 50 === 0) checker.check();
      }
      checker.check();
      for (const reason of checker.refusals) refusals.add(reason);
    }),
    { numRuns: 60 },
  );
  assert.ok(refusals.has(TRUSTED_FULL) && refusals.has(HOST_FULL), 'both limits were met');
});
