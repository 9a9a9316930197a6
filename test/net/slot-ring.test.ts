import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { AssertionError } from '../../net/assert.ts';
import { SlotRing } from '../../net/slot-ring.ts';

const SLOT_COUNT = 6;

test('should give out each slot once, and again after its release, in any order', () => {
  fc.assert(
    fc.property(fc.array(fc.oneof(fc.constant('take'), fc.nat(SLOT_COUNT - 1)), { maxLength: 100 }), (moves) => {
      const ring = new SlotRing(SLOT_COUNT, 64);
      const taken: number[] = [];
      for (const move of moves) {
        if (move === 'take') {
          const slot = ring.take();
          if (taken.length === SLOT_COUNT) assert.equal(slot, -1);
          else {
            assert.ok(slot >= 0 && slot < SLOT_COUNT && !taken.includes(slot));
            taken.push(slot);
          }
        } else if (taken.length > 0) {
          ring.release(taken.splice((move as number) % taken.length, 1)[0]!);
        }
        assert.equal(ring.freeCount, SLOT_COUNT - taken.length);
        ring.invariants();
      }
    }),
  );
});

test('should stop the process when a slot is released twice', () => {
  const ring = new SlotRing(2, 64);
  const slot = ring.take();
  ring.release(slot);
  assert.throws(() => ring.release(slot), AssertionError);
});

test('should keep packets and control parts of all slots apart', () => {
  const ring = new SlotRing(3, 60);
  const regions = [0, 1, 2].flatMap((slot) => [ring.packet(slot), ring.control(slot)]);
  regions.forEach((region, i) => region.bytes.fill(i + 1));
  regions.forEach((region, i) => {
    assert.equal(region.bytes.length, 64);
    assert.ok(region.bytes.every((byte) => byte === i + 1));
    assert.equal(region.words[0], (i + 1) * 0x01010101);
  });
  assert.equal(ring.trustedBytes, 3 * 64);
});
