/** Gets of a client that may not write, answer by answer: a replica sees to it that a quorum holds what they read. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  FLAG_BUSY,
  FLAG_CONFLICT,
  FLAG_HOST_FULL,
  FLAG_NOT_PERMITTED,
  MESSAGE_READ,
  MESSAGE_WRITE,
} from '../../src/protocol/messages.ts';
import type { Outcome } from '../../src/protocol/outcome.ts';
import { CoordinatorHarness, KEY, wantsValue } from './coordinator-harness.ts';
import type { CoordinatorHarnessOptions } from './coordinator-harness.ts';
import { bytesOf, NO_STAMP, stampOf } from './fixtures.ts';
import { resolveReply } from './resolve-fixtures.ts';

const NEWEST = stampOf(9, 5, 1, 2);
type Asked = ReturnType<CoordinatorHarness['askedResolves']>[number];

/** A get that has met the newest stamp, and its value, at one member of a quorum; what it then asks, and whom. */
function met(harness: CoordinatorHarness, isTombstone = false): { resolves: Asked[]; holder: number } {
  harness.get();
  return meet(harness, isTombstone);
}

function meet(harness: CoordinatorHarness, isTombstone = false): { resolves: Asked[]; holder: number } {
  const reads = harness.asked(MESSAGE_READ);
  const valued = reads.find(wantsValue)!;
  harness.answerRead(reads.find((read) => !wantsValue(read))!, { stamp: stampOf(8) });
  harness.answerRead(valued, isTombstone ? { stamp: NEWEST, tombstone: true } : harness.copyOf('newest', NEWEST));
  return { resolves: harness.askedResolves(), holder: valued.member };
}

function reader(options: CoordinatorHarnessOptions = {}): CoordinatorHarness {
  return new CoordinatorHarness({ mayWrite: () => false, ...options });
}

test('should ask the one that holds the newest value, and answer when that has seen to it, and not before', () => {
  const harness = reader();
  const { resolves, holder } = met(harness);
  assert.deepEqual(
    resolves.map(({ member, key }) => [member, key]),
    [[holder, Buffer.from(KEY).toString()]],
  );
  assert.deepEqual(harness.ended, []);
  harness.answer(resolves[0]!, resolveReply(resolves[0]!, NEWEST));
  assert.deepEqual(harness.ended, [{ token: 0, outcome: 'ok', value: 'newest' }]);
  assert.deepEqual([harness.coordinator.counters.resolves, harness.coordinator.counters.writeBacks], [1, 0]);
  harness.assertNothingAsked();
  harness.assertIdle();
});

test('should answer with what it read when a greater stamp was made sure of', () => {
  for (const stamp of [stampOf(10), stampOf(9, 6, 1, 2), stampOf(9, 5, 2, 2), stampOf(9, 5, 1, 3)]) {
    const harness = reader();
    const [resolve] = met(harness).resolves;
    harness.answer(resolve!, resolveReply(resolve!, stamp));
    assert.deepEqual(harness.ended, [{ token: 0, outcome: 'ok', value: 'newest' }]);
    harness.assertIdle();
  }
});

test('should begin again when a lesser stamp was made sure of, and need a RESOLVE anew', () => {
  for (const stamp of [NO_STAMP, stampOf(8), stampOf(9, 4, 1, 2), stampOf(9, 5, 0, 2), stampOf(9, 5, 1, 1)]) {
    const harness = reader();
    const [resolve] = met(harness).resolves;
    harness.answer(resolve!, resolveReply(resolve!, stamp));
    const again = meet(harness).resolves;
    assert.equal(again.length, 1);
    assert.notEqual(again[0]!.generation, resolve!.generation);
    assert.deepEqual(harness.ended, []);
    harness.answer(again[0]!, resolveReply(again[0]!, NEWEST));
    assert.deepEqual(harness.outcomes(), ['ok']);
    harness.assertIdle();
  }
});

test('should find a deleted key absent when a replica has made sure of that', () => {
  const harness = reader();
  const [resolve] = met(harness, true).resolves;
  assert.deepEqual(harness.ended, []);
  harness.answer(resolve!, resolveReply(resolve!, NEWEST));
  assert.deepEqual(harness.outcomes(), ['absent']);
  harness.assertIdle();
});

test('should ask others when the first one is silent, or has no room now, and take the first answer', () => {
  for (const isBusy of [false, true]) {
    const harness = reader();
    const { resolves, holder } = met(harness);
    if (isBusy) harness.answer(resolves[0]!, resolveReply(resolves[0]!, NO_STAMP, FLAG_BUSY));
    assert.deepEqual(harness.ended, []);
    harness.run(300);
    const more = harness.askedResolves();
    assert.equal(new Set(more.map(({ member }) => member)).size, 3);
    const other = more.find(({ member }) => member !== holder)!;
    harness.answer(other, resolveReply(other, NEWEST));
    assert.deepEqual(harness.outcomes(), ['ok']);
    harness.assertIdle();
  }
});

test('should end as refused, as by its deadline, and never with a value that nobody has made sure of', () => {
  for (const [flag, outcome] of [
    [FLAG_NOT_PERMITTED, 'not-permitted'],
    [FLAG_HOST_FULL, 'host-memory-full'],
    [FLAG_CONFLICT, 'unreadable'],
  ] as const satisfies readonly (readonly [number, Outcome])[]) {
    const harness = reader();
    const [resolve] = met(harness).resolves;
    harness.answer(resolve!, resolveReply(resolve!, NO_STAMP, flag));
    assert.deepEqual(harness.outcomes(), [outcome]);
    harness.assertIdle();
  }
  const harness = reader();
  met(harness);
  harness.run(6_000);
  assert.deepEqual(harness.outcomes(), ['deadline']);
  harness.assertIdle();
});

test('should write back where it may, by key, and have it done where it learns that it may not', () => {
  const harness = reader({ mayWrite: (key) => key === 'mine' });
  harness.get(bytesOf('mine'));
  const reads = harness.asked(MESSAGE_READ);
  harness.answerRead(reads.find((read) => !wantsValue(read))!, { stamp: stampOf(8) });
  harness.answerRead(reads.find(wantsValue)!, harness.copyOf('newest', NEWEST, bytesOf('mine')));
  const [write] = harness.asked(MESSAGE_WRITE);
  harness.answerWrites([write!], FLAG_NOT_PERMITTED);
  const [resolve] = harness.askedResolves();
  assert.equal(resolve!.key, 'mine');
  harness.answer(resolve!, resolveReply(resolve!, NEWEST));
  assert.deepEqual(harness.ended, [{ token: 0, outcome: 'ok', value: 'newest' }]);
  harness.assertIdle();
});

test('should begin the RESOLVE anew when the epoch changes in its middle', () => {
  const harness = reader();
  const [resolve] = met(harness).resolves;
  harness.epoch = 2;
  harness.answer(resolve!, resolveReply(resolve!, NEWEST));
  const [again] = harness.askedResolves();
  assert.notEqual(again!.generation, resolve!.generation);
  assert.deepEqual(harness.ended, []);
  harness.answer(again!, resolveReply(again!, NEWEST));
  assert.deepEqual(harness.outcomes(), ['ok']);
  harness.assertIdle();
});
