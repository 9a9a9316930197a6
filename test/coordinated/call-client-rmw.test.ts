/** Read-modify-writes and versions at the calling end. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { add, setIf } from '../../src/client/read-modify-write.ts';
import type { Outcome } from '../../src/protocol/outcome.ts';
import { ClientHarness, DEADLINE_MS, FIRST_RTO_MS } from './call-client-harness.ts';

const STAMP = { counter: 2 ** 45, writerHigh: -3, writerLow: 9, rmw: -1 };

test('should tell the version of a get that asked for one, and of what came of a read-modify-write', () => {
  const harness = ClientHarness.ready();
  harness.getWithVersion();
  const [get] = harness.asked();
  assert.equal(get!.kind, 'get with version');
  harness.answer(get!, 'absent', { version: STAMP });
  assert.deepEqual(harness.client.ended, { ...STAMP, hasValue: false });
  harness.rmw(setIf({ value: 'old' }, 'new'));
  const [set] = harness.asked();
  assert.deepEqual([set!.kind, set!.value, Buffer.from(set!.request!.expected).toString()], ['rmw', 'new', 'old']);
  harness.answer(set!, 'mismatch', { version: { ...STAMP, rmw: 0 }, found: true, value: '' });
  assert.deepEqual(harness.client.ended, { ...STAMP, rmw: 0, hasValue: true });
  assert.deepEqual(
    harness.ended.map(({ outcome, value }) => [outcome, value]),
    [
      ['absent', ''],
      ['mismatch', ''],
    ],
  );
});

test('should not take an answer without its version', () => {
  const harness = ClientHarness.ready();
  harness.rmw(add(1n));
  const [call] = harness.asked();
  harness.answer(call!, 'ok', { value: '1' });
  assert.deepEqual([harness.ended.length, harness.drops.of('malformed')], [0, 1]);
  harness.answer(call!, 'ok', { value: '1', version: STAMP, found: true });
  assert.deepEqual(harness.outcomes(), ['ok']);
});

test('should repeat a read-modify-write at its replica only, and not know what came of it in the end', () => {
  const harness = ClientHarness.ready();
  harness.rmw(add(1n));
  const [first] = harness.asked();
  harness.turn(FIRST_RTO_MS);
  const [again] = harness.asked();
  assert.deepEqual(again, { ...first!, attempt: 1, deadlineMs: DEADLINE_MS - FIRST_RTO_MS });
  assert.equal(harness.client.counters.hedges, 0);
  harness.turn(DEADLINE_MS);
  assert.deepEqual(harness.outcomes(), ['outcome-unknown']);
});

test('should call another replica for one that was certainly not begun', () => {
  const harness = ClientHarness.ready();
  harness.rmw(add(1n));
  const [first] = harness.asked();
  harness.answer(first!, 'busy');
  const [second] = harness.asked();
  assert.notEqual(second!.member, first!.member);
  assert.equal(second!.request!.delta, 1n);
  harness.answer(second!, 'ok', { value: '1', version: STAMP, found: true });
  assert.deepEqual(harness.outcomes(), ['ok']);
});

test('should end as the replica says, without an answer to read', () => {
  const outcomes: Outcome[] = ['not-an-integer', 'overflow', 'value-too-large', 'done-too-large', 'outcome-unknown'];
  for (const outcome of outcomes) {
    const harness = ClientHarness.ready();
    harness.rmw(add(1n));
    harness.answer(harness.asked()[0]!, outcome as 'overflow');
    assert.deepEqual(harness.ended, [{ token: 0, outcome, value: '' }]);
  }
});

test('should ask another replica for a get with version when its answer is overdue', () => {
  const harness = ClientHarness.ready();
  harness.getWithVersion();
  const [first] = harness.asked();
  harness.turn(FIRST_RTO_MS);
  const [second] = harness.asked();
  assert.notEqual(second!.member, first!.member);
  assert.equal(second!.kind, 'get with version');
  harness.answer(second!, 'ok', { value: 'found', version: STAMP, found: true });
  assert.deepEqual(harness.ended, [{ token: 0, outcome: 'ok', value: 'found' }]);
});
