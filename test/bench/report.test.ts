/** Reports: the shape that machines read, the text that people read, medians and ratios. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ratiosOf, medianOf } from '../../bench/compare-ratio.ts';
import type { RoundResult } from '../../bench/compare-ratio.ts';
import { compareReportOf, formatCompare } from '../../bench/compare-report.ts';
import type { LoadSettings } from '../../bench/load-options.ts';
import { formatBench, headOf } from '../../bench/report.ts';
import type { BenchReport, ReportHead } from '../../bench/report.ts';
import { resultOf } from '../../bench/result.ts';
import { workloadOf } from '../../bench/workload.ts';
import type { SecurityMode } from '../../net/mode.ts';
import { byType, latenciesOf, member, ranPart } from './run-parts.ts';

const settings = {
  records: 100_000,
  valueBytes: 256,
  valueSizes: [{ valueBytes: 256, weight: 1 }],
  fields: undefined,
  datagramBytes: undefined,
  receiveBufferBytes: undefined,
  outstanding: 256,
  clients: 1,
  processes: 1,
  seed: 1,
  durationMs: 10_000,
  warmupMs: 2_000,
};

/** The parts that differ from machine to machine, fixed. */
const head: ReportHead = {
  ...headOf('avocado bench', settings, [workloadOf('A')], true),
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
    'routes',
    'records',
    'valueBytes',
    'valueSizes',
    'fields',
    'datagramBytes',
    'receiveBufferBytes',
    'outstanding',
    'clients',
    'processes',
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
    `cluster  3 replicas on this machine, direct route, datagrams of 16640 bytes
records  100,000 of 256 bytes, scrambled zipfian as in YCSB: theta 0.99 over 10^10 items
updates  an update replaces the whole record
load     1 client in 1 process, 256 outstanding each, closed loop, seed 1
time     10 s after 2 s of warm-up
machine  2 cores, Model, Node v20.0.0, linux x64

Workload A (50 % reads, 50 % updates), mode secure

latency, µs    p50    p95    p99  p99.9    max  operations  ops/s
read           500    950    990  1,000  1,000         100    100
update       1,000  1,900  1,980  2,000  2,000         100    100

throughput        200 ops/s
values            0.0 MB/s read, 0.0 MB/s put x 3 copies
CPU an operation  3.90 µs: 1.90 in replicas, 2.00 in clients
errors            2 deadline
sent again        1 retransmissions, 2 hedges
mended            3 write-backs, 0 tampered copies, 0 repairs
dropped           2 forged
receive buffers   unknown at each replica, 212,992 bytes at each client
load phase        100,000 puts in 0.5 s, 200,000 ops/s
`,
  );
});

test('the text report says what workloads D and F do, and how large values are', () => {
  const textOf = (name: 'D' | 'F', types: Parameters<typeof byType>[0], change: Partial<LoadSettings>): string => {
    const workload = workloadOf(name);
    const part = ranPart({ operations: 100, byType: byType(types), members });
    const result = resultOf({ mode: 'secure', workload, seed: 1 }, [part]);
    const itsHead = headOf('avocado bench', { ...settings, ...change }, [workload], true);
    return formatBench({ ...itsHead, replicas: 3, load, runs: [result] });
  };
  const valueSizes = [
    { valueBytes: 64, weight: 2 },
    { valueBytes: 4_096, weight: 1 },
  ];
  const d = textOf('D', { read: latenciesOf(95), insert: latenciesOf(5) }, { valueBytes: 4_096, valueSizes });
  assert.match(d, /^records +100,000 of 64 \(66\.7 %\) or 4,096 \(33\.3 %\) bytes, latest as in YCSB/m);
  assert.doesNotMatch(d, /scrambled/);
  assert.match(d, /^inserts +an insert adds a record/m);
  assert.match(d, /Workload D \(95 % reads, 5 % inserts\)/);
  assert.match(d, /^insert +\d+ +\d+ +\d+ +\d+ +\d+ +5 +5$/m);

  const fields = { fieldCount: 10, fieldBytes: 100 };
  const sizes = [{ valueBytes: 1_000, weight: 1 }];
  const pairs = { read: latenciesOf(100), update: latenciesOf(50), rmw: latenciesOf(50) };
  const f = textOf('F', pairs, { valueBytes: 1_000, valueSizes: sizes, fields });
  assert.match(f, /^records +100,000 of 1,000 bytes \(fields: 10 of 100 bytes\), scrambled zipfian/m);
  assert.match(f, /^rmw +a read-modify-write .* not atomic/m);
  assert.match(f, /Workload F \(50 % reads, 50 % read-modify-writes\)/);
  assert.match(f, /^rmw +\d+ +\d+ +\d+ +\d+ +\d+ +50 +50$/m);
  assert.doesNotMatch(f, /^inserts/m);
});

/** A round in which the mode did so many operations, each by so much slower. */
function round(number: number, mode: SecurityMode, workload: 'A' | 'C', operations: number): RoundResult {
  const part = ranPart({ operations, members });
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
    rawRates: [
      { datagramBytes: 16_384, bytesPerSec: 51_200, lostShare: 0 },
      { datagramBytes: 65_504, bytesPerSec: 102_400, lostShare: 0.001 },
    ],
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
  assert.match(text, /^raw UDP bytes +0\.1 MB\/s in datagrams of 65504 bytes, paced by credit; 0\.1 % lost$/m);
  assert.match(text, /^A secure +0\.0 MB\/s +0\.50 +0\.25 +0\.0 MB\/s +0\.0 MB\/s +0\.75 +0\.38$/m);
  const busy = compareReportOf(head, 3, load, rounds, ratiosOf(rounds), calibration);
  assert.doesNotMatch(formatCompare(busy), /read p50 to echo/);
});

test('a comparison with inserts and read-modify-writes has columns and ratios for them', () => {
  const calibration = {
    datagramBytes: 256,
    echoUs: { p50: 100, p99: 200 },
    datagramsPerSec: { sent: 300_000, received: 250_000 },
    rawRates: [
      { datagramBytes: 16_384, bytesPerSec: 51_200, lostShare: 0 },
      { datagramBytes: 65_504, bytesPerSec: 102_400, lostShare: 0.001 },
    ],
    aeadCallsPerSec: 900_000,
  };
  const of = (mode: SecurityMode, name: 'C' | 'D' | 'F', times: number): RoundResult => {
    const types = {
      C: { read: latenciesOf(times) },
      D: { read: latenciesOf(times), insert: latenciesOf(times) },
      F: { read: latenciesOf(times), update: latenciesOf(times), rmw: latenciesOf(times) },
    };
    const part = ranPart({ operations: 100, byType: byType(types[name]), members });
    return { round: 0, ...resultOf({ mode, workload: workloadOf(name), seed: 1 }, [part]) };
  };
  const some = (['C', 'D', 'F'] as const).flatMap((name) => [of('secure', name, 200), of('plaintext', name, 100)]);
  const report = compareReportOf(head, 3, load, some, ratiosOf(some), calibration);
  assert.deepEqual(
    report.ratios.map(({ workload, readP50, updateP50, insertP50, rmwP50 }) => [
      workload,
      ...[readP50, updateP50, insertP50, rmwP50].map((ratio) => ratio?.median),
    ]),
    [
      ['C', 2, undefined, undefined, undefined],
      ['D', 2, undefined, 2, undefined],
      ['F', 2, 2, undefined, 2],
    ],
  );
  const secureD = report.runs.find((run) => run.workload === 'D' && run.mode === 'secure')!;
  assert.deepEqual(Object.keys(secureD.latencyUs), ['read', 'insert']);
  assert.deepEqual(secureD.opsPerSecByType, { read: 200, insert: 200 });
  const text = formatCompare(report);
  assert.match(text, /ops\/s +read p50 +p99 +update p50 +p99 +insert p50 +p99 +rmw p50 +p99 +CPU/);
  assert.match(text, /^D secure +100 +1,000 +1,980 +- +- +1,000 +1,980 +- +- /m);
  assert.match(text, /^F secure +100 +1,000 +1,980 +1,000 +1,980 +- +- +1,000 +1,980 /m);
  assert.match(text, /ops\/s +p99 +read p50 +update p50 +insert p50 +rmw p50$/m);
  const onlyC = compareReportOf(head, 3, load, some.slice(0, 2), ratiosOf(some.slice(0, 2)), calibration);
  assert.doesNotMatch(formatCompare(onlyC), /insert|rmw/);
});
