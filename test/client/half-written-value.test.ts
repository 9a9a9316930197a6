import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ScriptedMembers } from './scripted-members.ts';
import type { Copy } from './scripted-members.ts';

/**
 * A get that meets a write under way: one member has the new value, the others the old one, and the value was asked of
 * one of the others. It must end well whoever answers first, or not at all.
 */
const KEY = Buffer.from('key');
const OLD: Copy = { counter: 4, tag: 44, value: 'old' };
const NEW: Copy = { counter: 5, tag: 55, value: 'new' };
const LONG_MS = 1_000;
const DEADLINE_MS = 60_000;

/** The first answers are in: the get knows that there is a newer value at `holder` and asks for it. */
function untilFetch(): { members: ScriptedMembers; holder: number; others: number[] } {
  const members = new ScriptedMembers();
  members.copies.fill(OLD);
  members.coordinator.startGet(0, KEY, DEADLINE_MS, members.nowMs);
  const asked = members.requests.map(({ member }) => member);
  assert.equal(asked.length, 2, 'a quorum is asked');
  // Whoever is not asked for the value has the new one.
  const valueIsAskedOf = members.requests.find(({ control }) => (control.words[0]! >>> 8) & 1)!.member;
  const holder = asked.find((member) => member !== valueIsAskedOf)!;
  members.copies[holder] = NEW;
  members.answer(members.take(asked));
  assert.deepEqual(
    members.requests.map(({ member }) => member),
    [holder],
    'the new value is asked of the one that has it',
  );
  return { members, holder, others: [0, 1, 2].filter((member) => member !== holder) };
}

test('the holder answers last: its value is taken, though others were asked and had only the old one', () => {
  const { members, holder, others } = untilFetch();
  for (let round = 0; round < 20 && members.ended === undefined; round++) {
    members.pass(LONG_MS);
    members.answer(members.take(others));
    members.answer(members.take([holder]));
  }
  assert.deepEqual(members.ended, { outcome: 'ok', value: 'new' });
  assert.equal(members.copies.filter((copy) => copy?.value === 'new').length >= 2, true, 'and a quorum has it now');
  assert.equal(members.drops.of('stamp-conflict'), 0);
});

test('the holder dies: the get answers from the others long before its deadline', () => {
  const { members, others } = untilFetch();
  for (let round = 0; round < 20 && members.ended === undefined; round++) {
    members.pass(LONG_MS);
    members.answer(members.take(others));
  }
  assert.deepEqual(members.ended, { outcome: 'ok', value: 'old' });
});

test('the holder dies after the write has reached another: the new value is found there', () => {
  const { members, others } = untilFetch();
  members.pass(LONG_MS);
  members.answer(members.take(others));
  members.copies[others[1]!] = NEW;
  for (let round = 0; round < 20 && members.ended === undefined; round++) {
    members.pass(LONG_MS);
    members.answer(members.take(others));
  }
  assert.deepEqual(members.ended, { outcome: 'ok', value: 'new' });
});
