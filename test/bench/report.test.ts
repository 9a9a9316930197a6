/** Reports: the shape that machines read, the text that people read, medians and ratios. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ratiosOf, medianOf } from '../../bench/compare-ratio.ts';
import type { RoundResult } from '../../bench/compare-ratio.ts';
import { compareReportOf, formatCompare } from '../../bench/compare-report.ts';
import { formatBench, headOf } from '../../bench/report.ts';
import type { BenchReport, ReportHead } from '../../bench/report.ts';
import { resultOf } from '../../bench/result.ts';
import { workloadOf } from '../../bench/workload.ts';
import type { SecurityMode } from '../../net/mode.ts';
import { member, ranPart } from './run-parts.ts';

const settings = {
  records: 100_000,
  valueBytes: 256,
  valueSizes: [{ valueBytes: 256, weight: 1 }],
  fields: undefined,
  datagramBytes: undefined,
  outstanding: 256,
  clients: 1,
  seed: 1,
  durationMs: 10_000,
  warmupMs: 2_000,
};

/** The parts that differ from machine to machine, fixed. */
const head: ReportHead = {
  ...headOf('avocado bench', settings, true),
  startedAt: '2026-01-01T00:00:00.000Z',
  machine: { cores: 2, cpuModel: 'Model', nodeVersion: 'v20.0.0', platform: 'linux x64' },
};

const members = {
  before: [member(0, 0), member(1, 0), member(2, 0)],
  after: [member(0, 100), member(1, 100), member(2, 180, { drops: { forged: 2 } })],
};
const load = { secure: { puts: 100_000, retries: 0, elapsedMs: 500 } };

function reportOf(part: Parameters<typeof ranPart>[0]): BenchReport {
  const result = resultOf({ mode: 'secure', workload: workloadOf('A'), seed: 1 }, [ranPart({ members, ...part })]);
  return { ...head, replicas: 3, load, runs: [result] };
}

test('the JSON report has the fields that its readers rely on', () => {
  const report = JSON.parse(JSON.stringify(reportOf({}))) as BenchReport;
  assert.deepEqual(Object.keys(report.settings), [
    'embedded',
    'records',
    'valueBytes',
    'valueSizes',
    'fields',
    'datagramBytes',
    'outstanding',
    'clients',
    'seed',
    'warmupMs',
    'durationMs',
  ]);
  const [run] = report.runs;
  const { mode, route, workload, opsPerSec, latencyUs, errors, cpuUsPerOp } = run!;
  assert.deepEqual(
    { mode, route, workload, opsPerSec, errors },
    {
      mode: 'secure',
      route: 'direct',
      workload: 'A',
      opsPerSec: 200,
      errors: 0,
    },
  );
  assert.deepEqual(latencyUs, {
    read: { count: 100, p50: 500, p95: 950, p99: 990, p999: 1_000, max: 1_000 },
    update: { count: 100, p50: 1_000, p95: 1_900, p99: 1_980, p999: 2_000, max: 2_000 },
  });
  assert.deepEqual(cpuUsPerOp, { replicas: 1.9, clients: 2 });
});

test('the text report says all of it', () => {
  assert.equal(
    formatBench(reportOf({ errors: { deadline: 2 } })),
    `cluster  3 replicas on this machine, direct route, datagrams of 16384 bytes
records  100,000 of 256 bytes, scrambled zipfian as in YCSB: theta 0.99 over 10^10 items
updates  an update replaces the whole record
load     1 process, 256 outstanding each, closed loop, seed 1
time     10 s after 2 s of warm-up
machine  2 cores, Model, Node v20.0.0, linux x64

Workload A (50 % reads, 50 % updates), mode secure

latency, µs    p50    p95    p99  p99.9    max  operations
read           500    950    990  1,000  1,000         100
update       1,000  1,900  1,980  2,000  2,000         100

throughput        200 ops/s
CPU an operation  3.90 µs: 1.90 in replicas, 2.00 in clients
errors            2 deadline
sent again        1 retransmissions, 2 hedges
mended            3 write-backs, 0 tampered copies, 0 repairs
dropped           2 forged
load phase        100,000 puts in 0.5 s, 200,000 ops/s
`,
  );
});

/** A round in which the mode did so many operations, each by so much slower. */
function round(number: number, mode: SecurityMode, workload: 'A' | 'C', operations: number): RoundResult {
  const part = ranPart({ reads: operations, updates: 0, members });
  return { round: number, ...resultOf({ mode, workload: workloadOf(workload), seed: number }, [part]) };
}

const rounds = [
  round(0, 'secure', 'A', 50),
  round(0, 'authenticated', 'A', 60),
  round(0, 'plaintext', 'A', 100),
  round(1, 'plaintext', 'A', 200),
  round(1, 'authenticated', 'A', 100),
  round(1, 'secure', 'A', 80),
  round(2, 'secure', 'A', 300),
  round(2, 'authenticated', 'A', 300),
  round(2, 'plaintext', 'A', 400),
  round(0, 'secure', 'C', 90),
  round(0, 'authenticated', 'C', 90),
  round(0, 'plaintext', 'C', 100),
];

test('a ratio is taken within each round; its median and spread are reported', () => {
  const ratios = ratiosOf(rounds);
  assert.deepEqual(
    ratios.map(({ workload, mode, opsPerSec }) => [workload, mode, opsPerSec]),
    [
      ['A', 'secure', { median: 0.5, min: 0.4, max: 0.75 }],
      ['A', 'authenticated', { median: 0.6, min: 0.5, max: 0.75 }],
      ['C', 'secure', { median: 0.9, min: 0.9, max: 0.9 }],
      ['C', 'authenticated', { median: 0.9, min: 0.9, max: 0.9 }],
    ],
  );
  assert.deepEqual(ratios[0]!.p99, { median: 1, min: 1, max: 1 });
});

test('the median is the middle, or the mean of the middle two', () => {
  assert.equal(medianOf([3]), 3);
  assert.equal(medianOf([10, 1, 5]), 5);
  assert.equal(medianOf([10, 1, 5, 7]), 6);
});

test('a comparison reports medians a mode, ratios, calibration and every round', () => {
  const calibration = {
    datagramBytes: 256,
    echoUs: { p50: 100, p99: 200 },
    datagramsPerSec: { sent: 300_000, received: 250_000 },
    aeadCallsPerSec: 900_000,
  };
  const single = { ...head, settings: { ...head.settings, outstanding: 1 } };
  const report = compareReportOf(single, 3, load, rounds, ratiosOf(rounds), calibration);
  assert.deepEqual(
    report.runs.map(({ workload, mode, opsPerSec, operations }) => [workload, mode, opsPerSec, operations]),
    [
      ['A', 'secure', 80, 430],
      ['A', 'authenticated', 100, 460],
      ['A', 'plaintext', 200, 700],
      ['C', 'secure', 90, 90],
      ['C', 'authenticated', 90, 90],
      ['C', 'plaintext', 100, 100],
    ],
  );
  assert.ok(report.runs.every((run) => !('round' in run)));
  assert.deepEqual(report.ratio, { secure: { opsPerSec: 0.5, p99: 1 }, authenticated: { opsPerSec: 0.6, p99: 1 } });
  assert.equal(report.rounds.length, rounds.length);
  assert.equal(report.roundCount, 3);
  assert.deepEqual(report.calibration, calibration);
  const text = formatCompare(report);
  assert.match(text, /Medians of 3 interleaved rounds/);
  assert.match(text, /A secure +80 /);
  assert.match(text, /A secure +0\.50 \(0\.40 to 0\.75\)/);
  assert.match(text, /p50 100 µs, p99 200 µs/);
  assert.match(text, /read p50 to echo {2}A secure 5\.00/);
  const busy = compareReportOf(head, 3, load, rounds, ratiosOf(rounds), calibration);
  assert.doesNotMatch(formatCompare(busy), /read p50 to echo/);
});
