/** One measurement put together from what its processes and members told. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { failureOf, resultOf } from '../../bench/result.ts';
import { workloadOf } from '../../bench/workload.ts';
import { byType, latenciesOf, member, ranPart } from './run-parts.ts';

const context = { mode: 'secure', workload: workloadOf('A'), seed: 1 } as const;

test('processes add up: rates by their own windows, counts, processor time, latencies', () => {
  const members = { before: [member(0, 1_000), member(1, 500)], after: [member(0, 2_200), member(1, 900)] };
  const result = resultOf(context, [ranPart({ members }), ranPart({ windowMs: 2_000, cpuUs: 800 })]);
  assert.equal(result.operations, 400);
  assert.equal(result.opsPerSec, 200 + 100);
  assert.equal(result.durationMs, 2_000);
  assert.deepEqual(result.cpuUsPerOp, { replicas: 1_600 / 400, clients: 1_200 / 400 });
  assert.equal(result.retransmissions, 2);
  assert.equal(result.hedges, 4);
  assert.equal(result.writeBacks, 6);
  assert.equal(result.latencyUs.read!.count, 200);
  assert.equal(result.latencyUs.read!.p50, 500);
  assert.equal(result.latencyUs.update!.p50, 1_000);
  assert.equal(result.latencyUsAll!.count, 400);
  assert.equal(result.errors, 0);
  assert.equal(failureOf(result), undefined);
});

test('the slowest and the fastest client are told', () => {
  const parts = [
    ranPart({ operationsByClient: [50, 150] }),
    ranPart({ operationsByClient: [30, 70, 100], windowMs: 2_000 }),
  ];
  assert.deepEqual(resultOf(context, parts).clientOpsPerSec, { min: 15, max: 150 });
});

test('a type of operation that did not occur has no latencies', () => {
  const result = resultOf(context, [ranPart({ byType: byType({ read: latenciesOf(100) }) })]);
  assert.deepEqual(Object.keys(result.latencyUs), ['read']);
  assert.deepEqual(result.opsPerSecByType, { read: 100 });
});

test('a read-modify-write is one operation, its halves count as read and update too', () => {
  const part = ranPart({
    operations: 50 + 50,
    byType: byType({ read: latenciesOf(100), update: latenciesOf(50), rmw: latenciesOf(50) }),
  });
  const f = { mode: 'secure', workload: workloadOf('F'), seed: 1 } as const;
  const result = resultOf(f, [part, { ...part, windowMs: 500 }]);
  assert.equal(result.operations, 200);
  assert.equal(result.opsPerSec, 100 + 200);
  assert.deepEqual(result.opsPerSecByType, { read: 100 + 200, update: 50 + 100, rmw: 50 + 100 });
  assert.equal(result.latencyUs.rmw!.count, 100);
  assert.equal(result.latencyUsAll!.count, 300, 'each get and put once');
  assert.equal(result.write, 'rmw');
});

test('inserts are a type of their own', () => {
  const part = ranPart({ operations: 200, byType: byType({ read: latenciesOf(190), insert: latenciesOf(10) }) });
  const result = resultOf({ mode: 'secure', workload: workloadOf('D'), seed: 1 }, [part]);
  assert.deepEqual(Object.keys(result.latencyUs), ['read', 'insert']);
  assert.deepEqual(result.opsPerSecByType, { read: 190, insert: 10 });
  assert.equal(result.latencyUsAll!.count, 200);
});

test("replicas' processor time is unknown rather than wrong", () => {
  const before = [member(0, 1_000), member(1, 500)];
  const silent = { ...member(1, 0), reachable: false, state: 'unreachable' as const };
  delete silent.cpuUs;
  for (const after of [
    [member(0, 2_000)],
    [member(0, 2_000), silent],
    [member(0, 2_000), member(1, 600, { incarnation: 'b2' })],
  ]) {
    const result = resultOf(context, [ranPart({ members: { before, after } })]);
    assert.equal(result.cpuUsPerOp.replicas, null);
  }
  assert.equal(resultOf(context, [ranPart()]).cpuUsPerOp.replicas, null);
});

test('drops are those of the window, of all members, by reason', () => {
  const before = [
    member(0, 1, { drops: { forged: 5, replayed: 1 } }),
    member(1, 1),
    member(2, 1, { drops: { forged: 100 } }),
  ];
  const after = [
    member(0, 2, { drops: { forged: 7, replayed: 1 } }),
    member(1, 2, { drops: { forged: 1, short: 4 } }),
    member(2, 2, { drops: { forged: 3 }, incarnation: 'b2' }),
  ];
  const result = resultOf(context, [ranPart({ members: { before, after } })]);
  assert.deepEqual(result.drops, { forged: 2 + 1 + 3, short: 4 });
});

test('wrong data and no data fail a run, time-outs do not', () => {
  const withErrors = (errors: Record<string, number>) => resultOf(context, [ranPart({ errors }), ranPart({ errors })]);
  assert.match(failureOf(withErrors({ 'wrong value': 1 })) ?? '', /2 x wrong value/);
  assert.match(failureOf(withErrors({ 'missing record': 3 })) ?? '', /6 x missing record/);
  assert.match(failureOf(withErrors({ unreadable: 1 })) ?? '', /unreadable/);
  const timedOut = withErrors({ deadline: 2, 'outcome-unknown': 1 });
  assert.equal(failureOf(timedOut), undefined);
  assert.equal(timedOut.errors, 6);
  assert.deepEqual(timedOut.errorsByKind, { deadline: 4, 'outcome-unknown': 2 });
  assert.match(failureOf(resultOf(context, [ranPart({ operations: 0 })])) ?? '', /no operation succeeded/);
});
