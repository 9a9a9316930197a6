/** The simulator as a program, and what it reports. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { OUT_OF_REACH } from './coverage.ts';
import { runSeed } from './random-run.ts';
import { COVERAGE_SEEDS_MIN, SimReport } from './sim-report.ts';

const program = fileURLToPath(new URL('./sim.js', import.meta.url));

function sim(...args: string[]): { status: number | null; stdout: string; stderr: string } {
  return spawnSync(process.execPath, [program, ...args], {
    encoding: 'utf8',
    env: { ...process.env, NODE_OPTIONS: '' },
  });
}

test('one seed, as text and as JSON', () => {
  const text = sim('--seed', '3', '--bias', 'half writes');
  assert.equal(text.status, 0, text.stderr);
  assert.match(text.stdout, /^1 seed from 3 on, 0 failed, commit /);
  assert.match(text.stdout, /operations in .* a second; .* simulated hours/);
  const json = sim('--seed', '3', '--bias', 'half writes', '--json');
  const report = JSON.parse(json.stdout) as Record<string, unknown>;
  assert.equal(json.status, 0);
  assert.equal(report['ok'], true);
  assert.deepEqual(report['biases'], { 'half writes': 1 });
  assert.ok((report['rules'] as Record<string, number>)['get in one round']! > 0);
});

test('a trace shows datagrams, messages with key, stamp and operation, faults and ends of operations', () => {
  const { stdout, status } = sim('--seed', '1', '--bias', 'restarts', '--trace');
  assert.equal(status, 0);
  assert.match(stdout, /^\d+\.\d{3} ms: client 0 -> replica \d: DATA #\d+ .*: STAMP key-\d+ op \d+\/\d+/m);
  assert.match(stdout, /replica \d -> client \d: DATA .* READ_REPLY \d+\.[0-9a-f]{8} .*op/);
  assert.match(stdout, /WRITE key-\d+ \d+\.[0-9a-f]{8} write-back/);
  assert.match(stdout, /replica \d crashes/);
  assert.match(stdout, /link cut in one direction/);
  assert.match(stdout, /client 0 begins 0: /);
  assert.match(stdout, /client 0 ends 0: .* after /);
});

test('wrong flags: one line that says what to do, exit code 2', () => {
  const cases: readonly (readonly [string[], RegExp])[] = [
    [['--seed', 'x'], /Give a whole number/],
    [['--bias', 'odd'], /Allowed choices are/],
    [['--seed', '1', '--seeds', '2'], /cannot be used with/],
    [['--for', '3'], /Give a duration/],
    [['--trace'], /give --seed too/],
    [['--seed', '1', '--trace', '--json'], /leave --json away/],
  ];
  for (const [args, expected] of cases) {
    const { status, stderr, stdout } = sim(...args);
    assert.equal(status, 2, `${args.join(' ')}: ${stderr}`);
    assert.match(stderr, expected);
    assert.equal(stderr.trim().split('\n').length, 1, stderr);
    assert.equal(stdout, '');
  }
  assert.match(sim('--help').stdout, /Examples:\n {2}npm run sim/);
});

test('--for ends a run of many seeds', () => {
  const { status, stdout } = sim('--for', '1ms', '--json', '--bias', 'half writes');
  assert.equal(status, 0);
  assert.deepEqual((JSON.parse(stdout) as { seeds: unknown }).seeds, { first: 1, count: 1 });
});

test('a failure names seed, bias, commit and the command that shows it again, and fails the run', () => {
  const report = new SimReport('abc123-dirty');
  const result = runSeed(1, 'half writes');
  report.add(1, { ...result, failure: 'a stamp names two values' });
  assert.equal(report.ok, false);
  const text = report.toText(1, 1_000);
  assert.match(text, /1 failed, commit abc123-dirty/);
  assert.match(text, /FAILED seed 1, bias half writes: a stamp names two values/);
  assert.match(text, /npm run sim -- --seed 1 --bias 'half writes' --trace/);
});

test('a history that could not be decided is told, and fails a run only when there are many', () => {
  const report = new SimReport('abc123');
  const result = { ...runSeed(1, 'half writes'), undecidedKeys: ['key-1'] };
  report.add(1, result);
  assert.deepEqual([report.ok, report.failures.length, report.undecided[0]?.keys], [true, 0, ['key-1']]);
  assert.match(report.toText(1, 1_000), /undecided: seed 1, bias half writes: the history of key-1\n.*--seed 1 --bias/);
  report.add(2, result);
  assert.equal(report.ok, false);
  const other = new SimReport('abc123');
  other.add(1, { ...result, failure: 'a stamp names two values' });
  assert.deepEqual(
    [other.failures.length, other.undecided.length],
    [1, 0],
    'a failure is one whatever else was not decided',
  );
});

test('what is never met fails a run of enough seeds, by name, and not one of fewer', () => {
  const report = new SimReport('abc123');
  const result = runSeed(1, 'half writes');
  for (let seed = 1; seed < COVERAGE_SEEDS_MIN; seed++) report.add(seed, result);
  assert.equal(report.ok, true);
  report.add(COVERAGE_SEEDS_MIN, result);
  assert.equal(report.ok, false);
  const missing = report.neverSeen();
  for (const name of ['drop reason: wrong-epoch', 'outcome: unreadable', 'rule: repair applied', 'message: REPAIR']) {
    assert.ok(missing.includes(name), `${name} is among ${missing.join('; ')}`);
  }
  for (const name of Object.keys(OUT_OF_REACH)) assert.ok(!missing.some((entry) => entry.endsWith(`: ${name}`)), name);
});
