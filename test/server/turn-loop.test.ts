import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { TurnLoop } from '../../src/server/turn-loop.ts';

function turnsOf(
  nextTurnMs: (nowMs: number) => number,
  isWorkLeft = () => false,
): { readonly turns: number[]; readonly loop: TurnLoop } {
  const turns: number[] = [];
  const loop = new TurnLoop({
    turn: (nowMs) => turns.push(nowMs),
    nextTurnMs: () => nextTurnMs(performance.now()),
    isWorkLeft,
  });
  return { turns, loop };
}

test('what is asked for many times within one iteration is one turn, at its end', async () => {
  const { turns, loop } = turnsOf(() => Infinity);
  loop.schedule();
  loop.schedule();
  assert.equal(turns.length, 0);
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(turns.length, 1);
  loop.close();
});

test('turns follow each other while there is work left, and other events of the loop come in between', async () => {
  let turnsLeft = 5;
  let eventCount = 0;
  const { turns, loop } = turnsOf(
    () => Infinity,
    () => --turnsLeft > 0,
  );
  loop.schedule();
  while (turnsLeft > 0 && eventCount < 20) {
    await new Promise((resolve) => setImmediate(resolve));
    eventCount++;
  }
  assert.equal(turns.length, 5);
  assert.equal(eventCount, 5);
  loop.close();
});

test('a turn comes when something is due, though nothing arrives and nobody asks', async () => {
  const dueMs = performance.now() + 5;
  const { turns, loop } = turnsOf((nowMs) => (nowMs >= dueMs + 1 ? Infinity : dueMs));
  while (!turns.some((turnMs) => turnMs >= dueMs)) await sleep(1);
  loop.close();
});

test('what is due earlier than the timer is set for moves the timer', async () => {
  let dueMs = Infinity;
  const { turns, loop } = turnsOf(() => dueMs);
  dueMs = performance.now() + 2;
  loop.schedule();
  await new Promise((resolve) => setImmediate(resolve));
  const before = turns.length;
  while (!turns.slice(before).some((turnMs) => turnMs >= dueMs)) await sleep(1);
  loop.close();
});

test('an idle loop goes on turning, and a closed one does not', async () => {
  const { turns, loop } = turnsOf(() => Infinity);
  while (turns.length < 3) await sleep(5);
  loop.schedule();
  loop.close();
  const { length } = turns;
  await sleep(60);
  assert.equal(turns.length, length);
});
