import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { WorkersReport } from '../../bench/workers/report.ts';
import { formatWorkers, median } from '../../bench/workers/report.ts';

test('the report says what workers change by value size, and for small gets beside large puts', () => {
  const report: WorkersReport = {
    tool: 'avocado bench workers',
    startedAt: '2026-01-01T00:00:00.000Z',
    cores: 8,
    nodeVersion: 'v20.0.0',
    workers: 2,
    workersFromBytes: null,
    loopCost: [{ valueBytes: 1_048_576, inlineUs: 904.4, workerUs: 33.2 }],
    sizes: [
      {
        valueBytes: 1_048_576,
        without: { opsPerSec: 200, p99Us: 9_000 },
        with: { opsPerSec: 300, p99Us: 7_000 },
        jobs: 12,
      },
    ],
    beside: [{ name: 'gets alone', p50Us: 90, p99Us: 400, getsPerSec: 40_000, putsPerSec: 0 }],
  };
  assert.equal(
    formatWorkers(report),
    `Three replicas and one client, 2 workers each (threshold measured), on 8 cores, Node v20.0.0

Processor time of the loop to have a value sealed, µs
value bytes  sealed by itself  handed over
1,048,576                 904           33

Half gets, half puts
value bytes  ops/s without  with  ratio  p99 µs without   with  jobs
1,048,576              200   300   1.50           9,000  7,000    12

Small gets and large puts in one client
gets of 256 bytes  p50 µs  p99 µs  gets/s  puts/s
gets alone             90     400  40,000       0
`,
  );
});

test('a median is one of the values', () => {
  assert.equal(median([5]), 5);
  assert.equal(median([9, 1, 5]), 5);
  assert.equal(median([4, 1, 3, 2]), 2);
});
