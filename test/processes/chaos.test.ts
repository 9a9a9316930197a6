/** `avocado bench --chaos` as users run it, short: every fault, a history that holds, and nothing left behind. */
import assert from 'node:assert/strict';
import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { FAULT_KINDS } from '../../bench/chaos/faults.ts';
import { checkHistoryFile } from '../../bench/chaos/history-check.ts';
import type { ChaosReport } from '../../bench/chaos/report.ts';
import { finished, makeSandbox, runAvocado, startAvocado } from '../cli/avocado-process.ts';
import { childrenOf, isAlive } from './child-processes.ts';

const sandbox = makeSandbox();
after(() => sandbox.remove());
const historyPath = join(sandbox.temporaryDirectory, 'history.jsonl');
const reportPath = join(sandbox.temporaryDirectory, 'report.json');

/** Everything but what the tests themselves asked for. */
function leftovers(): string[] {
  return readdirSync(sandbox.temporaryDirectory).filter((name) => !/\.(json|jsonl)$/.test(name));
}

interface Line {
  readonly op: 'get' | 'put';
  readonly key: string;
  readonly value: string;
  readonly start: number;
  readonly end: number | null;
  readonly outcome: string;
}

/** Its plan corrupts and doubles much of what goes to replicas that live, and stops a quorum. */
const SEED = '1450';

test('a cluster goes through every fault with a linearizable history', async (context) => {
  const flags = ['--duration', '4', '--seed', SEED, '--history', historyPath, '--json', reportPath];
  const { exitCode, stdout, stderr } = await runAvocado(sandbox, ['bench', '--chaos', ...flags]);
  assert.equal(exitCode, 0, `${stdout}${stderr}`);
  assert.match(stdout, /^passed: linearizable, /m);
  assert.match(stderr, /^\+\d+\.\d\d s {2}kill -9 of replica \d$/m);
  const report = JSON.parse(readFileSync(reportPath, 'utf8')) as ChaosReport;
  assert.deepEqual(report.failures, []);
  assert.equal(report.history.verdict, 'linearizable');

  await context.test('each fault took place', () => {
    for (const kind of FAULT_KINDS) assert(report.faults.counts[kind]! > 0, kind);
    assert.equal(report.faults.counts.kill, 1);
    const { in: inward, out: outward } = report.network;
    for (const name of ['received', 'dropped', 'duplicated', 'reordered', 'delayed', 'corrupted'] as const) {
      assert(inward[name] + outward[name] > 0, name);
    }
    assert(report.retransmissions > 0);
    assert(report.operations.get.ok > 0 && report.operations.put.ok > 0);
  });

  await context.test('replicas counted what was corrupted and doubled on the way to them', () => {
    assert(report.drops['forged']! > 0);
    assert(report.drops['replayed']! > 0);
  });

  await context.test('the killed replica came back as an outsider', () => {
    const states = report.members.map(({ state }) => state).toSorted();
    assert.deepEqual(states, ['active', 'active', 'outside']);
  });

  await context.test('a history in which one get reads what was overwritten before it began is refused', async () => {
    const lines = readFileSync(historyPath, 'utf8').trimEnd().split('\n');
    const falsified = staleRead(lines.map((line) => JSON.parse(line) as Line));
    const path = join(sandbox.temporaryDirectory, 'falsified.jsonl');
    writeFileSync(path, falsified.map((line) => `${JSON.stringify(line)}\n`).join(''));
    const { verdict, detail } = await checkHistoryFile(path);
    assert.equal(verdict, 'violation', detail);
  });

  assert.deepEqual(leftovers(), []);
});

/** Of one key: a get that came after an acknowledged put, which came after another one, now sees the first. */
function staleRead(lines: readonly Line[]): Line[] {
  const puts = lines.filter(({ op, outcome }) => op === 'put' && outcome === 'ok');
  const putOf = new Map(puts.map((put) => [put.value, put]));
  for (const [i, get] of lines.entries()) {
    if (get.op !== 'get' || get.outcome !== 'ok') continue;
    const last = putOf.get(get.value);
    if (last === undefined || last.end! >= get.start) continue;
    const before = puts.find((put) => put.key === get.key && put.end! < last.start);
    if (before === undefined) continue;
    return lines.with(i, { ...get, value: before.value }).filter(({ key }) => key === get.key);
  }
  throw new Error('the run was too short: no get follows two puts of its key');
}

test('Ctrl-C amid stopped replicas ends all processes and leaves no files', async () => {
  const flags = ['--chaos-faults', 'stop', '--duration', '60', '--warmup', '0', '--clients', '1'];
  const bench = startAvocado(sandbox, ['bench', '--chaos', ...flags]);
  const end = finished(bench);
  await new Promise<void>((resolve, reject) => {
    let stderr = '';
    bench.stderr!.on('data', (text: Buffer) => {
      stderr += text.toString();
      if (/stop of replica \d/.test(stderr)) resolve();
    });
    bench.once('exit', () => reject(new Error(`the bench ended early: ${stderr}`)));
  });
  const children = childrenOf(bench.pid!);
  assert.equal(children.length, 4, 'three replicas and a load process');
  bench.kill('SIGINT');
  const { exitCode, stdout, stderr } = await end;
  assert.equal(exitCode, 130);
  assert.equal(stdout, '');
  assert.match(stderr, /stopped by SIGINT\n$/);
  for (const pid of children) assert(!isAlive(pid), `process ${pid} has ended`);
  assert.deepEqual(leftovers(), []);
});

test('chaos that cannot be is one line and exit code 2', async () => {
  const refused: [flags: string[], expected: RegExp][] = [
    [['--chaos-faults', 'kill'], /--chaos-faults belongs to --chaos/],
    [['--chaos', '--chaos-faults', 'kill,thunder'], /Give some of kill,stop,/],
    [['--chaos', '--connect'], /--chaos kills replicas/],
  ];
  for (const [flags, expected] of refused) {
    const { exitCode, stderr } = await runAvocado(sandbox, ['bench', ...flags]);
    assert.equal(exitCode, 2, flags.join(' '));
    assert.match(stderr, expected);
    assert.match(stderr, /^error[^\n]+\n$/);
  }
});
