import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { AssertionError } from '../../net/assert.ts';
import { AvocadoError } from '../../src/errors.ts';
import { HostMemory, NO_REF } from '../../src/store/host-memory.ts';
import { TrustedBudget } from '../../src/store/trusted-budget.ts';
import { HOST_FULL, TRUSTED_FULL } from '../../src/store/write-result.ts';
import { stompHostMemory } from './store-fixture.ts';

const SEGMENT_BYTES = 4_096;

/** Small segments, so that few allocations fill them. */
function smallMemory(segments: number, budget = TrustedBudget.unbounded()): HostMemory {
  return new HostMemory({
    budget,
    hostBytesMax: segments * SEGMENT_BYTES,
    segmentBytes: SEGMENT_BYTES,
    blockBytesMax: 2_064,
  });
}

test('live blocks never overlap, whatever the host writes; refusals and freeing lose nothing', () => {
  const step = fc.oneof(
    {
      weight: 5,
      arbitrary: fc.record({ kind: fc.constant('allocate' as const), bytes: fc.integer({ min: 1, max: 2_064 }) }),
    },
    { weight: 4, arbitrary: fc.record({ kind: fc.constant('free' as const), pick: fc.nat() }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('stomp' as const), byte: fc.nat(255) }) },
  );
  let refused = 0;
  fc.assert(
    fc.property(fc.array(step, { maxLength: 300, size: 'max' }), fc.integer({ min: 1, max: 12 }), (steps, segments) => {
      const memory = smallMemory(segments);
      const live: { ref: number; bytes: number }[] = [];
      for (const action of steps) {
        if (action.kind === 'allocate') {
          const possible = memory.trustedBytesToAllocate(action.bytes) >= 0;
          const ref = memory.allocate(action.bytes);
          assert.equal(ref !== NO_REF, possible);
          if (ref === NO_REF) {
            refused++;
            assert.equal(memory.lastRefusal, HOST_FULL);
          } else {
            live.push({ ref, bytes: action.bytes });
          }
        } else if (action.kind === 'free' && live.length > 0) {
          const [gone] = live.splice(action.pick % live.length, 1);
          memory.free(gone!.ref);
          assert.throws(() => memory.free(gone!.ref), AssertionError);
        } else if (action.kind === 'stomp') {
          stompHostMemory(memory, action.byte);
        }
        memory.invariants();
      }
      const places = live.map(({ ref, bytes }) => {
        assert.ok(memory.blockBytes(ref) >= bytes && memory.fits(ref, bytes));
        const start = (ref >> 16) * SEGMENT_BYTES + memory.wordOffset(ref) * 4;
        assert.ok(memory.wordOffset(ref) * 4 + memory.blockBytes(ref) <= SEGMENT_BYTES);
        return { start, end: start + memory.blockBytes(ref) };
      });
      places.sort((a, b) => a.start - b.start);
      for (let i = 1; i < places.length; i++) assert.ok(places[i]!.start >= places[i - 1]!.end);
      assert.equal(
        memory.usedBytes,
        places.reduce((sum, place) => sum + place.end - place.start, 0),
      );
      assert.equal(memory.usedBlocks, live.length);
    }),
    { numRuns: 200 },
  );
  assert.ok(refused > 0, 'the limit was met');
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
    assert.equal(fill(2_000), 4 * 2);
    assert.equal(fill(16), 4 * 256);
    assert.equal(memory.capacityBytes, 4 * SEGMENT_BYTES);
    assert.equal(memory.usedBytes, 0);
  }
});

test('freed space is taken before more is asked of the host', () => {
  const memory = smallMemory(100);
  for (let i = 0; i < 10_000; i++) memory.free(memory.allocate(1 + ((i * 37) % 2_064)));
  assert.ok(memory.capacityBytes <= 2 * SEGMENT_BYTES);
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
  const memory = new HostMemory({ budget: TrustedBudget.unbounded(), hostBytesMax: 1024 * 1024 });
  assert.throws(() => memory.allocate(0), AssertionError);
  assert.throws(() => memory.allocate(memory.blockBytesMax + 1), AssertionError);
  assert.equal(memory.blockBytesMax, 65_568);
  let count = 0;
  while (memory.allocate(memory.blockBytesMax) !== NO_REF) count++;
  assert.equal(count, 15);
  memory.invariants();
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

test('a host that gives no memory is a refusal, and what was reserved is given back', (t) => {
  const budget = new TrustedBudget(1_000_000);
  const memory = smallMemory(100, budget);
  const before = budget.used;
  t.mock.method(globalThis, 'SharedArrayBuffer', function exhausted() {
    throw new RangeError('Array buffer allocation failed');
  });
  assert.equal(memory.allocate(16), NO_REF);
  assert.equal(memory.lastRefusal, HOST_FULL);
  assert.equal(budget.used, before);
  t.mock.restoreAll();
  assert.notEqual(memory.allocate(16), NO_REF);
  memory.invariants();
});

test('limits that leave no room at all are refused with what to give', () => {
  assert.throws(
    () => smallMemory(0),
    (error: unknown) => error instanceof AvocadoError && error.code === 'INVALID_ARGUMENT',
  );
  assert.throws(
    () => smallMemory(1_000, new TrustedBudget(100)),
    (error: unknown) => error instanceof AvocadoError && /takes 10000 bytes/.test(error.message),
  );
});

test('the regions are shared memory and made once a segment', () => {
  const memory = smallMemory(2);
  const first = memory.allocate(64);
  const second = memory.allocate(64);
  assert.ok(memory.region(first).bytes.buffer instanceof SharedArrayBuffer);
  assert.equal(memory.region(first), memory.region(second));
});
