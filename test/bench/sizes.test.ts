/** Sizes of values one after the other: what the flags become, medians, and the table that people read. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { headOf } from '../../bench/report.ts';
import { resultOf } from '../../bench/result.ts';
import { sizesFlags, sizesOptionsOf } from '../../bench/sizes-options.ts';
import type { SizesFlags } from '../../bench/sizes-options.ts';
import { formatSizes, sizesReportOf } from '../../bench/sizes-report.ts';
import type { SizesRound } from '../../bench/sizes-report.ts';
import { workloadOf, workloadOfProportion } from '../../bench/workload.ts';
import { createProgram } from '../../src/cli/program.ts';
import { byType, latenciesOf, member, ranPart } from './run-parts.ts';

function options(...argv: string[]) {
  const command = createProgram()
    .createCommand('sizes')
    .exitOverride()
    .configureOutput({ outputError: () => {} });
  for (const flag of sizesFlags()) command.addOption(flag);
  return sizesOptionsOf(command.parse(argv, { from: 'user' }).opts() as SizesFlags);
}

test('sizes are given in any order and unit; what else says how large values are is unknown here', () => {
  assert.deepEqual(options().sizes, [256, 1_024, 4_096, 16_384, 65_536, 262_144, 1_048_576]);
  const { sizes, valueBytes } = options('--sizes', '1MiB,256,4KiB');
  assert.deepEqual([sizes, valueBytes], [[256, 4_096, 1_048_576], 1_048_576]);
  assert.throws(() => options('--sizes', '1MiB', '--outstanding', '1024'), /in flight/);
  const wrong = [
    ['--sizes', '0'],
    ['--sizes', '2MiB'],
    ['--sizes', '256,256'],
    ['--sizes', ''],
    ['--fields', '2'],
  ];
  for (const argv of [...wrong, ['--value-bytes', '256']]) {
    assert.throws(() => options(...argv), /Give|unknown option/, argv.join(' '));
  }
});

const members = { before: [member(0, 0)], after: [member(0, 400)] };
const GETS = workloadOf('C');
const PUTS = workloadOfProportion(0, workloadOf('A'));

function round(number: number, valueBytes: number, isGet: boolean, operations: number): SizesRound {
  const latencies = latenciesOf(100);
  const bytes = operations * valueBytes;
  const part = ranPart({
    operations,
    members,
    byType: byType(isGet ? { read: latencies } : { update: latencies }),
    readBytes: isGet ? bytes : 0,
    writtenBytes: isGet ? 0 : bytes,
  });
  const result = resultOf({ mode: 'secure', workload: isGet ? GETS : PUTS, seed: 1 }, [part]);
  return { round: number, valueBytes, records: 10, ...result };
}

test('each size has its medians of gets and of puts', () => {
  const rounds = [0, 1, 2].flatMap((number) => [
    round(number, 4_096, true, 1_000 + number),
    round(number, 4_096, false, 400 - number),
  ]);
  const head = headOf('avocado bench sizes', options('--sizes', '4096,1MiB'), [GETS, PUTS], true);
  const report = sizesReportOf(head, 3, rounds);
  assert.deepEqual(
    report.runs.map(({ valueBytes, opsPerSec, readProportion }) => [valueBytes, readProportion, opsPerSec]),
    [
      [4_096, 1, 1_001],
      [4_096, 0, 399],
    ],
  );
  const text = formatSizes(report);
  assert.match(text, /^4,096 +10 +get +1,001 +4\.1 MB\/s +500 +990 /m);
  assert.match(text, /^4,096 +10 +put +399 +1\.6 MB\/s +500 +990 /m);
});
