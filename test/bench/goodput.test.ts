/** Goodput against offered load: the order of its points, their medians, and the table that people read. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { goodputFlags, goodputOptionsOf } from '../../bench/goodput-options.ts';
import type { GoodputFlags } from '../../bench/goodput-options.ts';
import { formatGoodput, goodputReportOf } from '../../bench/goodput-report.ts';
import type { GoodputRound } from '../../bench/goodput-report.ts';
import { headOf } from '../../bench/report.ts';
import { resultOf } from '../../bench/result.ts';
import { workloadOf } from '../../bench/workload.ts';
import { createProgram } from '../../src/cli/program.ts';
import { member, ranPart } from './run-parts.ts';

function options(...argv: string[]) {
  const command = createProgram()
    .createCommand('goodput')
    .exitOverride()
    .configureOutput({ outputError: () => {} });
  for (const flag of goodputFlags()) command.addOption(flag);
  return goodputOptionsOf(command.parse(argv, { from: 'user' }).opts() as GoodputFlags);
}

test('numbers of clients are listed in any order, and the largest counts for what must fit', () => {
  const { clientCounts, clients, outstanding, rounds } = options();
  assert.deepEqual(clientCounts, [1, 2, 4, 8, 16, 32, 64]);
  assert.deepEqual([clients, outstanding, rounds], [64, 64, 3]);
  assert.deepEqual(options('--clients', '8,1').clientCounts, [1, 8]);
  assert.equal(options('--clients', '4', '--processes', '3').processes, 3);
  assert.throws(() => options('--clients', '4', '--processes', '5'), /--clients 5 or more/);
  assert.throws(() => options('--outstanding', '16384', '--value-bytes', '4KiB'), /in flight/);
  for (const bad of ['', '0', '1,65', '2,2', '1;2']) {
    assert.throws(() => options('--clients', bad), /commander|argument/, bad);
  }
});

const members = {
  before: [member(0, 0), member(1, 0)],
  after: [member(0, 100, { receiveBufferBytes: 65_536 }), member(1, 300, { receiveBufferBytes: 212_992 })],
};

function round(number: number, clients: number, operations: number, errors: Record<string, number> = {}): GoodputRound {
  const part = ranPart({ operations, operationsByClient: [operations], members, errors });
  const overflows = { replicas: 2, clients: 1 };
  const result = resultOf({ mode: 'secure', workload: workloadOf('A'), seed: 1 }, [part], overflows);
  return { round: number, clients, processes: 1, ...result };
}

test('points are medians of their rounds beside the best one; what was lost is summed up', () => {
  const rounds = [
    round(0, 1, 100),
    round(0, 64, 300, { deadline: 2 }),
    round(1, 64, 500, { 'outcome-unknown': 3, unreadable: 1 }),
    round(1, 1, 1_000),
    round(2, 1, 800),
    round(2, 64, 400),
  ];
  const settings = { ...options('--clients', '1,64'), processes: 2 };
  const head = headOf('avocado bench goodput', settings, [workloadOf('A')], true);
  const report = goodputReportOf(head, 3, {}, rounds);
  assert.deepEqual(
    report.runs.map((run) => [run.clients, run.opsPerSec, run.ofBest, run.errors, run.lost, run.overflows.replicas]),
    [
      [1, 800, 1, 0, 0, 6],
      [64, 400, 0.5, 6, 5, 6],
    ],
  );
  assert.equal(report.roundCount, 3);
  const text = formatGoodput(report);
  assert.match(text, /^clients +ops\/s +of best/m);
  assert.match(text, /^64 +400 +0\.50 +400 .* 6 +5 /m);
  assert.match(text, /^receive buffers +65,536 bytes at each replica, 212,992 bytes at each client$/m);
  assert.match(text, /^errors +2 deadline, 3 outcome-unknown, 1 unreadable$/m);
  assert.match(text, /^load +64 clients in 2 processes, 64 outstanding each/m);
});
