import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseWorkerSetting, workerCountOf } from '../../workers/worker-count.ts';

test('auto has none with one or two cores, leaves a core a loop, and ends at 4', () => {
  const counts = [1, 2, 3, 4, 5, 8, 64].map((coreCount) => workerCountOf('auto', 1, coreCount));
  assert.deepEqual(counts, [0, 0, 2, 3, 4, 4, 4]);
});

test('processes that share a machine share its cores', () => {
  assert.deepEqual(
    [4, 8, 12, 16, 64].map((coreCount) => workerCountOf('auto', 4, coreCount)),
    [0, 1, 2, 3, 4],
  );
});

test('a number is that number, whatever the machine', () => {
  for (const count of [0, 1, 7]) assert.equal(workerCountOf(count, 3, 2), count);
});

test('a setting is auto or a number up to 64; anything else is none', () => {
  assert.deepEqual(
    ['auto', '0', '2', '64', '65', '-1', '1.5', '', 'two', '0x2', '1e1', 'NaN'].map(parseWorkerSetting),
    ['auto', 0, 2, 64, ...new Array<undefined>(8).fill(undefined)],
  );
});
