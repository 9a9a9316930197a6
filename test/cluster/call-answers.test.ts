/** Calls whose answer the client could not be sent: they change nothing. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { historyProblem } from './history-problem.ts';
import { connected, formed, get, put } from './steps.ts';

const GET_AND_SET = { kind: 'getset', value: 'new', expected: undefined, delta: undefined } as const;

test('a call that found more than its client can be sent ends before anything is proposed', () => {
  const cluster = formed({ seed: 1, datagramBytes: 4_096 });
  const writer = connected(cluster);
  const caller = cluster.addClient(undefined, { route: 'coordinated', datagramBytes: 1_472 });
  cluster.connect(caller);
  put(cluster, writer, 'key', 'old'.padEnd(2_000, '.'));
  const attempt = caller.tryChange('key', GET_AND_SET, 1_000);
  cluster.finish();
  assert.equal(attempt?.outcome, 'value-too-large');
  assert.equal(get(cluster, writer, 'key').readValue, 'old'.padEnd(2_000, '.'));
  assert.equal(historyProblem(cluster.history()), undefined);
});
