import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { AssertionError } from '../../net/assert.ts';
import { AvocadoError } from '../../src/errors.ts';
import { HostMemory, NO_REF } from '../../src/store/host-memory.ts';
import { TrustedBudget } from '../../src/store/trusted-budget.ts';
import { HOST_FULL, TRUSTED_FULL } from '../../src/store/write-result.ts';
import { makeHostReluctant, stompHostMemory } from './store-fixture.ts';

const SEGMENT_BYTES = 4_096;
/** Longer than a segment, by as little as the longest real blocks: 1 MiB of value, a header, tags of chunks. */
const BLOCK_BYTES_MAX = 4_176;

/** Small segments, so that few allocations fill them. */
function smallMemory(segments: number, budget = TrustedBudget.unbounded()): HostMemory {
  return new HostMemory({
    budget,
    hostBytesMax: segments * SEGMENT_BYTES,
    segmentBytes: SEGMENT_BYTES,
    blockBytesMax: BLOCK_BYTES_MAX,
    isShared: true,
  });
}

interface LiveBlock {
  readonly ref: number;
  readonly bytes: number;
  reserved: boolean;
}

/** Each block lies in its region and beside all others. */
function assertApart(memory: HostMemory, live: readonly LiveBlock[]): void {
  const places = live.map(({ ref, bytes }) => {
    const start = memory.wordOffset(ref) * 4;
    assert.ok(memory.blockBytes(ref) >= bytes && memory.fits(ref, bytes));
    assert.ok(start + memory.blockBytes(ref) <= memory.region(ref).bytes.length);
    return { buffer: memory.region(ref).bytes.buffer, start, end: start + memory.blockBytes(ref) };
  });
  for (const [i, place] of places.entries()) {
    for (const other of places.slice(i + 1)) {
      assert.ok(place.buffer !== other.buffer || place.end <= other.start || other.end <= place.start);
    }
  }
  const usedBytes = places.reduce((sum, place) => sum + place.end - place.start, 0);
  assert.equal(memory.usedBytes, usedBytes);
  assert.equal(memory.usedBlocks, live.length);
  assert.equal(memory.reservedBlocks, live.filter((block) => block.reserved).length);
}

test('live blocks never overlap, whatever the host writes or refuses; refusals and freeing lose nothing', (t) => {
  const bytes = fc.oneof(fc.integer({ min: 1, max: BLOCK_BYTES_MAX }), fc.constantFrom(16, 1_500, 3_000, 4_096));
  const step = fc.oneof(
    { weight: 10, arbitrary: fc.record({ kind: fc.constant('allocate' as const), bytes }) },
    { weight: 8, arbitrary: fc.record({ kind: fc.constant('free' as const), pick: fc.nat() }) },
    { weight: 4, arbitrary: fc.record({ kind: fc.constant('hold' as const), pick: fc.nat() }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('freeAll' as const) }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('giveBack' as const) }) },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant('stomp' as const), byte: fc.nat(255) }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('host' as const), refuses: fc.boolean() }) },
  );
  const host = makeHostReluctant(t);
  let refused = 0;
  let refusedByHost = 0;
  fc.assert(
    fc.property(fc.array(step, { maxLength: 300, size: 'max' }), fc.integer({ min: 1, max: 12 }), (steps, segments) => {
      host.refuses = false;
      const memory = smallMemory(segments);
      const live: LiveBlock[] = [];
      const free = (block: LiveBlock): void => {
        if (block.reserved) {
          assert.throws(() => memory.free(block.ref), AssertionError);
          memory.release(block.ref);
        }
        memory.free(block.ref);
        assert.throws(() => memory.free(block.ref), AssertionError);
        assert.throws(() => memory.reserve(block.ref), AssertionError);
      };
      for (const action of steps) {
        if (action.kind === 'allocate') {
          const possible = memory.trustedBytesToAllocate(action.bytes) >= 0;
          const ref = memory.allocate(action.bytes);
          if (ref === NO_REF) {
            assert.ok(!possible || host.refuses);
            assert.equal(memory.lastRefusal, HOST_FULL);
            if (possible) refusedByHost++;
            else refused++;
          } else {
            assert.ok(possible);
            live.push({ ref, bytes: action.bytes, reserved: false });
          }
        } else if (action.kind === 'free' && live.length > 0) {
          const [gone] = live.splice(action.pick % live.length, 1);
          free(gone!);
        } else if (action.kind === 'hold' && live.length > 0) {
          const block = live[action.pick % live.length]!;
          if (block.reserved) memory.release(block.ref);
          else memory.reserve(block.ref);
          block.reserved = !block.reserved;
          assert.throws(() => (block.reserved ? memory.reserve(block.ref) : memory.release(block.ref)), AssertionError);
        } else if (action.kind === 'freeAll') {
          for (const gone of live.splice(0)) free(gone);
        } else if (action.kind === 'giveBack') {
          const before = memory.capacityBytes;
          assert.equal(memory.giveBackEmpty(), memory.capacityBytes < before);
        } else if (action.kind === 'stomp') {
          stompHostMemory(memory, action.byte);
        } else if (action.kind === 'host') {
          host.refuses = action.refuses;
        }
        memory.invariants();
      }
      assertApart(memory, live);
    }),
    { numRuns: 200 },
  );
  assert.ok(refused > 0, 'the limit was met');
  assert.ok(refusedByHost > 0, 'the host refused what the limit allowed');
});

test('filling and freeing again and again keeps the capacity', () => {
  const memory = smallMemory(4);
  const fill = (bytes: number): number => {
    const refs: number[] = [];
    for (let ref = memory.allocate(bytes); ref !== NO_REF; ref = memory.allocate(bytes)) refs.push(ref);
    for (const ref of refs) memory.free(ref);
    memory.invariants();
    return refs.length;
  };
  for (let cycle = 0; cycle < 5; cycle++) {
    // Each class finds the segments that another one has left.
    assert.equal(fill(64), 4 * 64);
    assert.equal(fill(2_048), 4 * 2);
    assert.equal(fill(16), 4 * 256);
    assert.equal(memory.capacityBytes, 4 * SEGMENT_BYTES);
    assert.equal(memory.usedBytes, 0);
  }
});

/** Fills the memory with blocks of one length; how many there are, and how to get rid of them. */
function fillWith(memory: HostMemory, bytes: number): number[] {
  const refs: number[] = [];
  for (let ref = memory.allocate(bytes); ref !== NO_REF; ref = memory.allocate(bytes)) refs.push(ref);
  assert.equal(memory.lastRefusal, HOST_FULL);
  memory.invariants();
  return refs;
}

test('a memory that was full of blocks of one length takes those of another when it is empty, both ways', () => {
  const memory = new HostMemory({ budget: TrustedBudget.unbounded(), hostBytesMax: 8 * 1024 * 1024 });
  const counts = (bytes: number): number => {
    const refs = fillWith(memory, bytes);
    for (const ref of refs) memory.free(ref);
    memory.invariants();
    assert.ok(memory.capacityBytes <= memory.hostBytesMax);
    return refs.length;
  };
  for (let cycle = 0; cycle < 2; cycle++) {
    assert.equal(counts(4_096), 8 * 256);
    assert.equal(counts(memory.blockBytesMax), 7, 'each of them a little over 1 MiB');
    assert.equal(counts(600 * 1024), 12, 'segments of 640 KiB');
    assert.equal(counts(80 * 1024), 8 * 12);
    assert.equal(counts(1024 * 1024), 8);
    assert.equal(counts(64), 8 * 16_384);
  }
});

test('only empty segments are given up for another length, and no more than it takes', () => {
  const memory = smallMemory(4);
  const small = fillWith(memory, 64);
  assert.equal(memory.allocate(BLOCK_BYTES_MAX), NO_REF);
  // The first segment but for one block, and the others whole.
  for (const ref of small.slice(1)) memory.free(ref);
  memory.region(small[0]!).words.fill(0x5a5a_5a5a);
  const large = [memory.allocate(BLOCK_BYTES_MAX), memory.allocate(BLOCK_BYTES_MAX)];
  assert.ok(!large.includes(NO_REF));
  memory.invariants();
  assert.equal(memory.capacityBytes, SEGMENT_BYTES + 2 * BLOCK_BYTES_MAX);
  assert.equal(memory.allocate(BLOCK_BYTES_MAX), NO_REF);
  assert.equal(memory.region(small[0]!).words[0], 0x5a5a_5a5a);
  assert.throws(() => memory.free(small[64]!), AssertionError, 'a block of a segment that was given back is not live');
  memory.invariants();
});

test('freed space of its own length is taken before more is asked of the host', () => {
  const memory = smallMemory(100);
  for (let i = 0; i < 10_000; i++) memory.free(memory.allocate(1 + ((i * 37) % 768)));
  assert.equal(memory.capacityBytes, SEGMENT_BYTES);
  for (let i = 0; i < 10_000; i++) memory.free(memory.allocate(1 + ((i * 37) % BLOCK_BYTES_MAX)));
  assert.ok(memory.capacityBytes <= 5 * SEGMENT_BYTES, 'one of each length');
  memory.invariants();
});

test('freeing what is not live is an assertion: foreign, free, negative', () => {
  const memory = smallMemory(4);
  const ref = memory.allocate(100);
  for (const foreign of [NO_REF, ref + 1, 1 << 16, (3 << 16) | 5, 0x7fff_ffff]) {
    assert.throws(() => memory.free(foreign), AssertionError);
  }
  memory.free(ref);
  assert.throws(() => memory.free(ref), AssertionError);
  memory.invariants();
});

test('blocks of no bytes or over the maximum are an assertion; the maximum itself fits', () => {
  const memory = new HostMemory({ budget: TrustedBudget.unbounded(), hostBytesMax: 4 * 1024 * 1024 });
  assert.throws(() => memory.allocate(0), AssertionError);
  assert.throws(() => memory.allocate(memory.blockBytesMax + 1), AssertionError);
  assert.equal(memory.blockBytesMax, 1_049_632);
  assert.equal(fillWith(memory, memory.blockBytesMax).length, 3);
});

test('no segment is taken that the trusted budget cannot keep the state of', () => {
  const budget = new TrustedBudget(20_000);
  const memory = smallMemory(100, budget);
  const refs: number[] = [];
  for (let ref = memory.allocate(16); ref !== NO_REF; ref = memory.allocate(16)) {
    refs.push(ref);
    assert.ok(budget.used <= budget.bytesMax);
  }
  assert.equal(memory.lastRefusal, TRUSTED_FULL);
  assert.ok(memory.capacityBytes < 100 * SEGMENT_BYTES);
  memory.invariants();
  // A class with fewer blocks a segment gets by with the state that is paid for.
  for (const ref of refs) memory.free(ref);
  assert.notEqual(memory.allocate(2_000), NO_REF);
  memory.invariants();
});

test('what empty segments of other lengths cost of the budget is had again for a new one', () => {
  const budget = new TrustedBudget(20_000);
  const memory = smallMemory(100, budget);
  const refs: number[] = [];
  for (let ref = memory.allocate(1_500); ref !== NO_REF; ref = memory.allocate(1_500)) refs.push(ref);
  assert.equal(memory.lastRefusal, TRUSTED_FULL);
  assert.equal(memory.allocate(BLOCK_BYTES_MAX), NO_REF);
  memory.free(refs.pop()!);
  memory.free(refs.pop()!);
  assert.notEqual(memory.allocate(BLOCK_BYTES_MAX), NO_REF);
  assert.equal(memory.allocate(BLOCK_BYTES_MAX), NO_REF);
  assert.equal(memory.lastRefusal, TRUSTED_FULL);
  memory.invariants();
});

test('a host that gives no memory is a refusal, and what was reserved is given back', (t) => {
  const budget = new TrustedBudget(1_000_000);
  const memory = smallMemory(100, budget);
  const before = budget.used;
  const host = makeHostReluctant(t);
  host.refuses = true;
  for (const bytes of [16, BLOCK_BYTES_MAX]) {
    assert.equal(memory.allocate(bytes), NO_REF);
    assert.equal(memory.lastRefusal, HOST_FULL);
    assert.equal(budget.used, before);
  }
  host.refuses = false;
  assert.notEqual(memory.allocate(16), NO_REF);
  memory.invariants();
});

test('a host that refuses in the middle of a change of lengths touches nothing that is live', (t) => {
  const budget = new TrustedBudget(1_000_000);
  const memory = smallMemory(2, budget);
  const small = fillWith(memory, 64);
  for (const ref of small.splice(1)) memory.free(ref);
  memory.region(small[0]!).words[0] = 77;
  const host = makeHostReluctant(t);
  host.refuses = true;
  assert.equal(memory.allocate(3_000), NO_REF);
  assert.equal(memory.lastRefusal, HOST_FULL);
  memory.invariants();
  assert.equal(memory.region(small[0]!).words[0], 77);
  assert.equal(memory.usedBlocks, 1);
  const used = budget.used;
  assert.equal(memory.allocate(3_000), NO_REF);
  assert.equal(budget.used, used);
  host.refuses = false;
  assert.notEqual(memory.allocate(3_000), NO_REF);
  memory.invariants();
});

test('a host without memory for more gets empty segments back, and is asked once more', (t) => {
  const memory = smallMemory(100);
  for (const ref of [memory.allocate(64), memory.allocate(1_500)]) memory.free(ref);
  const kept = memory.allocate(64);
  const capacityBytes = memory.capacityBytes;
  let calls = 0;
  const given = globalThis.SharedArrayBuffer;
  t.mock.method(globalThis, 'SharedArrayBuffer', function allocate(byteCount: number) {
    calls++;
    if (memory.capacityBytes + byteCount > capacityBytes) throw new RangeError('Array buffer allocation failed');
    return new given(byteCount);
  });
  // More than the empty one has: refused at once, and the empty one is kept.
  assert.equal(memory.allocate(BLOCK_BYTES_MAX), NO_REF);
  assert.equal(calls, 1);
  assert.equal(memory.capacityBytes, capacityBytes);
  memory.free(kept);
  assert.notEqual(memory.allocate(BLOCK_BYTES_MAX), NO_REF);
  assert.equal(calls, 3);
  memory.invariants();
});

test('limits that leave no room at all are refused with what to give', () => {
  assert.throws(
    () => smallMemory(0),
    (error: unknown) => error instanceof AvocadoError && error.code === 'INVALID_ARGUMENT',
  );
  assert.throws(
    () => smallMemory(1_000, new TrustedBudget(100)),
    (error: unknown) => error instanceof AvocadoError && /takes 16000 bytes/.test(error.message),
  );
});

test('a region is made once a segment, and is shared memory only for who has workers', () => {
  for (const isShared of [false, true]) {
    const memory = new HostMemory({ budget: TrustedBudget.unbounded(), hostBytesMax: 1024 * 1024, isShared });
    const first = memory.allocate(64);
    const second = memory.allocate(64);
    assert.equal(memory.region(first).bytes.buffer instanceof SharedArrayBuffer, isShared);
    assert.equal(memory.region(first), memory.region(second));
  }
});
