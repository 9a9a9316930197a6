import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { MemberPicker } from '../../src/protocol/member-picker.ts';
import { hasMember, memberCountOf } from '../../src/protocol/quorum.ts';

const ALL = 0b111;

test('should pick so many ready members, or all there are, whatever it has seen', () => {
  const event = fc.record({
    member: fc.nat(4),
    rttMs: fc.double({ min: 0, max: 100, noNaN: true }),
    silent: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(event), fc.nat(0b11111), fc.nat(5), (events, ready, count) => {
      const picker = new MemberPicker(5);
      events.forEach(({ member, rttMs, silent }, i) => {
        picker.advanceTurn();
        if (silent) picker.onOverdue(1 << member, i + 1);
        else {
          picker.onHeard(member, i);
          picker.onRoundTrip(member, rttMs);
        }
      });
      const picked = picker.pick(ready, count);
      assert.equal(picked & ~ready, 0);
      assert.equal(memberCountOf(picked), Math.min(count, memberCountOf(ready)));
      const first = picker.first(ready);
      assert.ok(ready === 0 ? first === -1 : hasMember(ready, first));
    }),
  );
});

test('should spread operations over members that are equally near', () => {
  const picker = new MemberPicker(3);
  const counts = [0, 0, 0];
  const firsts = [0, 0, 0];
  for (let i = 0; i < 300; i++) {
    picker.advanceTurn();
    const picked = picker.pick(ALL, 2);
    for (const member of [0, 1, 2]) if (hasMember(picked, member)) counts[member]!++;
    firsts[picker.first(picked)]!++;
  }
  assert.deepEqual(counts, [200, 200, 200]);
  assert.ok(firsts.every((count) => count >= 50));
});

test('should leave out a member that is far slower, as long as it is not needed', () => {
  const picker = new MemberPicker(3);
  for (const [member, rttMs] of [1, 1, 40].entries()) for (let i = 0; i < 20; i++) picker.onRoundTrip(member, rttMs);
  for (let i = 0; i < 10; i++) {
    picker.advanceTurn();
    assert.equal(picker.pick(ALL, 2), 0b011);
    assert.equal(picker.pick(0b101, 2), 0b101);
  }
});

test('should pick the preferred member in any case, but not when it is far, silent or not ready', () => {
  const picker = new MemberPicker(3);
  for (const [member, rttMs] of [1, 1, 40].entries()) for (let i = 0; i < 20; i++) picker.onRoundTrip(member, rttMs);
  for (let i = 0; i < 300; i++) {
    picker.advanceTurn();
    assert.equal(picker.pick(ALL, 1, 0b010), 0b010);
    assert.equal(memberCountOf(picker.pick(ALL, 2, 0b001)), 2);
    assert.equal(picker.pick(0b101, 1, 0b010) & 0b010, 0);
  }
  picker.advanceTurn();
  assert.equal(picker.pick(ALL, 2, 0b100), 0b011);
  picker.onOverdue(0b010, 1);
  assert.equal(picker.pick(ALL, 1, 0b010), 0b001);
});

test('should not prefer a member by a fraction of a millisecond', () => {
  const picker = new MemberPicker(3);
  for (const [member, rttMs] of [0.1, 0.5, 0.9].entries()) picker.onRoundTrip(member, rttMs);
  const seen = new Set<number>();
  for (let i = 0; i < 3; i++) {
    picker.advanceTurn();
    seen.add(picker.pick(ALL, 2));
  }
  assert.equal(seen.size, 3);
});

test('should ask a silent member last, until it is heard again', () => {
  const picker = new MemberPicker(3);
  picker.onHeard(1, 50);
  picker.onOverdue(0b011, 40);
  assert.equal(picker.silentMask, 0b001, 'member 1 was heard since');
  for (let i = 0; i < 3; i++) {
    picker.advanceTurn();
    assert.equal(picker.pick(ALL, 2), 0b110);
  }
  assert.equal(picker.pick(ALL, 3), ALL);
  assert.equal(picker.pick(0b101, 2), 0b101);
  picker.onHeard(0, 100);
  assert.equal(picker.silentMask, 0);
});

test('should probe silent members now and then, not with every operation', () => {
  const picker = new MemberPicker(3);
  assert.equal(picker.probeMask(ALL, 1_000), 0);
  picker.onOverdue(0b100, 1);
  assert.equal(picker.probeMask(ALL, 1_000), 0b100);
  assert.equal(picker.probeMask(ALL, 1_010), 0);
  assert.equal(picker.probeMask(0b011, 2_000), 0, 'a member that is not ready is not probed');
  assert.equal(picker.probeMask(ALL, 2_000), 0b100);
});

test('should let no silent member lengthen the time after which others are asked again', () => {
  const picker = new MemberPicker(3);
  picker.onRoundTrip(0, 1);
  picker.onRoundTrip(1, 2);
  for (let i = 0; i < 20; i++) picker.onRoundTrip(2, 300);
  assert.ok(picker.rtoMs(ALL, 0) > 100);
  picker.onOverdue(0b100, 1);
  assert.ok(picker.rtoMs(ALL, 0) < 20);
  // Of the silent alone nothing is known; it grows with each attempt all the same.
  assert.ok(picker.rtoMs(0b100, 3) > picker.rtoMs(0b100, 0));
  assert.ok(picker.rtoMs(0, 200) <= 1_000);
});

test('should hedge after the slowest hundredth of phases', () => {
  const picker = new MemberPicker(3);
  // 1 to 10 ms, and one in 200 takes 100.
  for (let i = 0; i < 20_000; i++) picker.onPhase(i % 200 === 0 ? 100 : 1 + (i % 10));
  const delayMs = picker.hedgeDelayMs();
  assert.ok(delayMs > 9 && delayMs < 30, `${delayMs}`);
  for (let i = 0; i < 20_000; i++) picker.onPhase(0.1);
  assert.equal(picker.hedgeDelayMs(), 2, 'no less than the floor');
  for (let i = 0; i < 2_000; i++) picker.onPhase(10_000);
  assert.equal(picker.hedgeDelayMs(), 200, 'no more than the maximum');
});
