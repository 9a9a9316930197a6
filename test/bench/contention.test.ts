import assert from 'node:assert/strict';
import { test } from 'node:test';
import { contentionFlags, contentionOptionsOf } from '../../bench/contention-options.ts';
import type { ContentionFlags, ContentionOptions } from '../../bench/contention-options.ts';
import { contentionReportOf, formatContention, problemOf } from '../../bench/contention-report.ts';
import type { ContentionRound } from '../../bench/contention-report.ts';
import { headOf } from '../../bench/report.ts';
import { resultOf } from '../../bench/result.ts';
import { INCREMENT_WORKLOAD } from '../../bench/workload.ts';
import { createProgram } from '../../src/cli/program.ts';
import { ranPart } from './run-parts.ts';

function options(...args: string[]): ContentionOptions {
  const command = createProgram()
    .createCommand('contention')
    .exitOverride()
    .configureOutput({ outputError: () => {} });
  for (const option of contentionFlags()) command.addOption(option);
  command.parse(args, { from: 'user' });
  return contentionOptionsOf(command.opts<ContentionFlags>());
}

test('64 clients and four numbers of counters, unless said otherwise', () => {
  const { clients, outstanding, keyCounts, rounds } = options();
  assert.deepEqual([clients, outstanding, keyCounts, rounds], [64, 1, [1, 10, 100, 10_000], 1]);
  assert.deepEqual(options('--keys', '100,1').keyCounts, [1, 100]);
});

test('what makes no sense is refused', () => {
  for (const args of [
    ['--keys', '0'],
    ['--keys', '1,1'],
    ['--keys', '100001'],
    ['--records', '5'],
    ['--value-bytes', '5'],
    ['--history', '/tmp/h.jsonl'],
    ['--history', '/tmp/h.jsonl', '--keys', '1', '--rounds', '2'],
  ]) {
    assert.throws(() => options(...args), Error, args.join(' '));
  }
  assert.equal(options('--history', '/tmp/h.jsonl', '--keys', '1').historyPath, '/tmp/h.jsonl');
});

function roundOf(change: Partial<ContentionRound>): ContentionRound {
  const run = resultOf({ mode: 'secure', workload: INCREMENT_WORKLOAD, seed: 1 }, [ranPart()]);
  return { ...run, round: 0, keys: 1, sum: '260', completed: 260, ...change };
}

test('a sum is right when it is what was acknowledged, and of what nobody knows some', () => {
  const errorsByKind = { 'outcome-unknown': 2, deadline: 5 };
  for (const sum of ['260', '261', '262']) assert.equal(problemOf(roundOf({ sum, errorsByKind })), undefined);
  for (const sum of ['259', '263', '0', '-1']) {
    assert.match(problemOf(roundOf({ sum, errorsByKind }))!, /sum up to .*260 increments.* 2 are of unknown outcome/);
  }
  assert.match(problemOf(roundOf({ sum: '261' }))!, /1 counter sum up to 261/);
  assert.match(problemOf(roundOf({ sum: String(2n ** 60n), keys: 7 }))!, /7 counters sum up to 1152921504606846976/);
});

test('the report has a line for each number of counters, and says when one is wrong', () => {
  const head = headOf('avocado bench contention', options(), [INCREMENT_WORKLOAD], true);
  const rounds = [roundOf({}), roundOf({ keys: 10 }), roundOf({ round: 1 }), roundOf({ round: 1, keys: 10, sum: '9' })];
  const report = contentionReportOf(head, 3, rounds);
  assert.deepEqual(
    report.runs.map(({ keys, isExact, completed }) => [keys, isExact, completed]),
    [
      [1, true, 520],
      [10, false, 520],
    ],
  );
  const text = formatContention(report);
  assert.match(text, /^ *1 .* exact$/m);
  assert.match(text, /^ *10 .* WRONG$/m);
  assert.match(text, /increment adds 1 to a counter/);
});
