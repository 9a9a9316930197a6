/** `avocado check-history` as users run it: on what the bench recorded, on falsified histories, and on wrong input. */
import assert from 'node:assert/strict';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { makeSandbox, runAvocado } from '../cli/avocado-process.ts';

const sandbox = makeSandbox();
after(() => sandbox.remove());

interface Line {
  process: number;
  op: 'get' | 'put' | 'delete';
  key: string;
  value: string | null;
  start: number;
  end: number | null;
  outcome: 'ok' | 'unknown' | 'error';
}

interface Json {
  readonly verdict: string;
  readonly counts: Record<string, number>;
  readonly violatingKeys: readonly string[];
  readonly undecidedKeys: readonly string[];
  readonly violation?: { readonly key: string; readonly explanation: string; readonly window: readonly Line[] };
}

function file(name: string): string {
  return join(sandbox.temporaryDirectory, name);
}

function line(
  op: Line['op'],
  value: string | null,
  start: number,
  end: number | null,
  others: Partial<Line> = {},
): Line {
  return { process: 0, op, key: 'k', value, start, end, outcome: end === null ? 'unknown' : 'ok', ...others };
}

function write(name: string, lines: readonly Line[]): string {
  writeFileSync(file(name), lines.map((fields) => `${JSON.stringify(fields)}\n`).join(''));
  return file(name);
}

const GOOD = [line('put', 'a', 1_000, 2_000), line('get', 'a', 3_000, 4_000), line('delete', null, 5_000, 6_000)];
const STALE = [
  line('put', 'a', 1_000, 2_000, { process: 1 }),
  line('put', 'b', 3_000, 4_500, { process: 2 }),
  line('get', null, 3_100, 3_200, { key: 'other' }),
  line('put', 'c', 3_000, null),
  line('put', 'd', 3_100, 3_300, { outcome: 'error' }),
  line('get', 'a', 5_000, 7_000, { process: 3 }),
];

let recorded: Line[] = [];

before(async () => {
  const history = file('recorded.jsonl');
  const load = ['--records', '20', '--duration', '0.7', '--warmup', '0.1', '--outstanding', '64', '--clients', '2'];
  const { exitCode, stderr } = await runAvocado(sandbox, ['bench', ...load, '--quiet', '--history', history]);
  assert.equal(exitCode, 0, stderr);
  recorded = readFileSync(history, 'utf8')
    .trimEnd()
    .split('\n')
    .map((text) => JSON.parse(text) as Line);
});

test('what the bench recorded on a real cluster is linearizable', async () => {
  const { exitCode, stdout, stderr } = await runAvocado(sandbox, ['check-history', file('recorded.jsonl')]);
  assert.equal(exitCode, 0, stdout + stderr);
  assert.match(stdout, /^Linearizable: [^\n]+\n[\d,]+ operations on 20 keys by 2 processes: \d+ of unknown outcome, /);
  assert.ok(recorded.length > 20, 'more than the load was recorded');
});

test('one falsified get of it is found, shown and drawn', async () => {
  const lines = recorded.map((fields) => ({ ...fields }));
  const { late, first } = overwritten(lines);
  late.value = first.value;
  const path = write('falsified.jsonl', lines);
  const { exitCode, stdout, stderr } = await runAvocado(sandbox, ['check-history', path, '--html', file('page.html')]);
  assert.equal(exitCode, 1, stderr);
  assert.match(stdout, new RegExp(`^Not linearizable: key "${late.key}": no order of its operations fits\\.\n`));
  assert.match(
    stdout,
    new RegExp(`Get by process ${late.process} returned "${first.value}" although .* had ended before it began`),
  );
  const page = readFileSync(file('page.html'), 'utf8');
  assert.ok(page.includes(`returned &quot;${first.value}&quot; although`));
});

/** The last get for which a put of its key had been over before another began that was over before the get began. */
function overwritten(lines: readonly Line[]): { late: Line; first: Line } {
  const ended = lines.filter(({ outcome }) => outcome === 'ok');
  for (const late of ended.toSorted((a, b) => b.start - a.start)) {
    if (late.op !== 'get') continue;
    const puts = ended.filter(({ op, key, end }) => op === 'put' && key === late.key && end! < late.start);
    if (puts.length === 0) continue;
    const first = puts.reduce((a, b) => (b.end! < a.end! ? b : a));
    if (puts.some(({ start }) => start > first.end!)) return { late, first };
  }
  throw new Error('no key was put twice before it was read');
}

test('a violation: the verdict, the sentence, the window in µs, the counts', async () => {
  const { exitCode, stdout, stderr } = await runAvocado(sandbox, ['check-history', write('stale.jsonl', STALE)]);
  assert.equal(exitCode, 1);
  assert.equal(stderr, '');
  assert.deepEqual(stdout.replace(/in [\d.]+ s\n$/, 'in T s\n').split('\n'), [
    'Not linearizable: key "k": no order of its operations fits.',
    'Get by process 3 returned "a" although put "b" by process 2 had ended before it began; "a" was older: put "a" by process 1 had ended before that put began.',
    '',
    'process  operation  value   start µs  end µs',
    '1        put        "a"        0.000   1.000',
    '2        put        "b"        2.000   3.500',
    '3        get        -> "a"     4.000   6.000',
    '0 µs is 0.000001000 s of the history.',
    '',
    '6 operations on 2 keys by 4 processes: 1 of unknown outcome, 1 error; checked in T s',
    '',
  ]);
});

test('--json says the same to a machine, and the window is a history by itself', async () => {
  const { exitCode, stdout } = await runAvocado(sandbox, ['check-history', '--json', write('stale.jsonl', STALE)]);
  assert.equal(exitCode, 1);
  const report = JSON.parse(stdout) as Json;
  assert.equal(report.verdict, 'violation');
  assert.deepEqual(report.counts, { operations: 6, processes: 4, unknown: 1, errors: 1, keys: 2 });
  assert.deepEqual(report.violatingKeys, ['k']);
  const again = await runAvocado(sandbox, ['check-history', write('window.jsonl', [...report.violation!.window])]);
  assert.equal(again.exitCode, 1);
  assert.match(again.stdout, /^Not linearizable: key "k"/);
});

test('several files and standard input are one history', async () => {
  const first = write('first.jsonl', STALE.slice(0, 2));
  const rest = STALE.slice(2).map((fields) => JSON.stringify(fields));
  const alone = await runAvocado(sandbox, ['check-history', first]);
  assert.equal(alone.exitCode, 0);
  // The last line has no end of line.
  const both = await runAvocado(sandbox, ['check-history', first, '-'], { stdin: rest.join('\n') });
  assert.equal(both.exitCode, 1, both.stderr);
  assert.match(both.stdout, /6 operations on 2 keys/);
});

test('values put more than once can be undecided, with an exit code of its own', async () => {
  const puts = [0, 1, 2, 3].map((i) => line('put', 'ab'.charAt(i % 2), i, 1_000 + i));
  const gets = [0, 1, 2, 3, 4].map((i) => line('get', 'ab'.charAt(i % 2), 10 * i + 10, 10 * i + 12));
  const path = write('repeated.jsonl', [...puts, ...gets]);
  const undecided = await runAvocado(sandbox, ['check-history', path, '--states', '3']);
  assert.equal(undecided.exitCode, 3);
  assert.match(undecided.stdout, /^Undecided: nothing wrong was found, but 1 key could not be decided\.\n/);
  assert.match(undecided.stdout, /3 states were not enough: 1 key: "k"; try a greater --states/);
  assert.equal((await runAvocado(sandbox, ['check-history', path])).exitCode, 1);
});

test('the page needs nothing from elsewhere, and nothing in a history becomes markup', async () => {
  const evil = '</style><script>alert(1)</script>"\'&';
  const lines = STALE.map((fields) => ({
    ...fields,
    key: fields.key === 'k' ? evil : fields.key,
    value: fields.value === 'a' ? evil : fields.value,
  }));
  const path = write('evil.jsonl', lines);
  await runAvocado(sandbox, ['check-history', path, '--html', file('evil.html')]);
  const page = readFileSync(file('evil.html'), 'utf8');
  assert.ok(page.startsWith('<!doctype html>'));
  assert.doesNotMatch(page, /<script|<link|<img|src=|url\(|https?:/);
  assert.equal(page.split('</style>').length, 2);
  const bars = [...page.matchAll(/class="bar [^"]+"/g)].map(([bar]) => bar);
  // Three in the window; beside it the put of unknown outcome, without the one that failed and the other key.
  assert.deepEqual(bars, ['class="bar put"', 'class="bar put"', 'class="bar get"', 'class="bar put open"']);
  const good = await runAvocado(sandbox, ['check-history', write('good.jsonl', GOOD), '--html', file('good.html')]);
  assert.equal(good.exitCode, 0);
  assert.match(readFileSync(file('good.html'), 'utf8'), /<h1 class="linearizable">Linearizable/);
});

test('a wrong line is one line on stderr that names file and line', async () => {
  const path = file('bad.jsonl');
  writeFileSync(path, `${JSON.stringify(GOOD[0])}\n{"process":0,"op"`);
  const { exitCode, stdout, stderr } = await runAvocado(sandbox, ['check-history', path]);
  assert.equal(exitCode, 2);
  assert.equal(stdout, '');
  assert.match(stderr, /^error: [^\n]+bad\.jsonl line 2: not JSON, or cut off: [^\n]+\n$/);
});

test('arguments that can not be right are said at once', async () => {
  const good = write('good.jsonl', GOOD);
  const wrong: [args: string[], expected: RegExp][] = [
    [[], /missing required argument 'file'/],
    [[good, '--html', file('no/page.html')], /--html .* can't be written \(ENOENT\)/],
    [['-', '-'], /standard input can be read once/],
  ];
  for (const [args, expected] of wrong) {
    const { exitCode, stderr } = await runAvocado(sandbox, ['check-history', ...args]);
    assert.equal(exitCode, 2, args.join(' '));
    assert.match(stderr, expected);
  }
  assert.ok(!existsSync(file('no')));
});

test('--help says what a line is, the exit codes, and examples', async () => {
  const { exitCode, stdout } = await runAvocado(sandbox, ['check-history', '--help']);
  assert.equal(exitCode, 0);
  assert.match(stdout, /Exit codes: 0 linearizable, 1 not linearizable, 2 wrong input, 3 undecided/);
  assert.match(stdout, /Examples:\n {2}avocado check-history history\.jsonl/);
});
