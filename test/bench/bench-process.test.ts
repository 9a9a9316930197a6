/** The bench as users run it: real replicas, real load processes, its files, and its end whatever happens. */
import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import type { CompareReport } from '../../bench/compare-report.ts';
import type { GoodputReport } from '../../bench/goodput-report.ts';
import { RecordKeys } from '../../bench/record.ts';
import type { BenchReport } from '../../bench/report.ts';
import type { SizesReport } from '../../bench/sizes-report.ts';
import { SECURITY_MODES } from '../../net/mode.ts';
import { finished, makeSandbox, runAvocado, startAvocado } from '../cli/avocado-process.ts';
import { childrenOf, isAlive } from '../processes/child-processes.ts';

const sandbox = makeSandbox();
after(() => sandbox.remove());

const QUICK = ['--records', '500', '--duration', '0.5', '--warmup', '0.1', '--outstanding', '16'];

function file(name: string): string {
  return join(sandbox.temporaryDirectory, name);
}

function jsonOf<T>(name: string): T {
  return JSON.parse(readFileSync(file(name), 'utf8')) as T;
}

/** Everything but what the tests themselves asked for. */
function leftovers(): string[] {
  return readdirSync(sandbox.temporaryDirectory).filter((name) => !/\.(json|jsonl)$/.test(name));
}

test('five clients in two load processes serve a workload; report and history agree with each other', async () => {
  const files = ['--json', file('report.json'), '--history', file('history.jsonl')];
  const { exitCode, stdout, stderr } = await runAvocado(sandbox, [
    'bench',
    ...QUICK,
    '--clients',
    '5',
    '--processes',
    '2',
    '--quiet',
    ...files,
  ]);
  assert.equal(exitCode, 0, stderr);
  assert.equal(stderr, '', 'quiet is quiet');
  assert.match(stdout, /Workload A \(50 % reads, 50 % updates\), mode secure/);
  assert.match(stdout, /an update replaces the whole record/);

  const report = jsonOf<BenchReport>('report.json');
  const run = report.runs[0]!;
  assert.equal(run.errors, 0);
  assert.ok(run.operations > 0);
  assert.ok(run.latencyUs.read!.count > 0 && run.latencyUs.update!.count > 0);
  assert.ok(run.cpuUsPerOp.clients > 0 && run.cpuUsPerOp.replicas! > 0);
  const { min, max } = run.clientOpsPerSec;
  assert.ok(min > 0 && min <= run.opsPerSec / 5 && max >= run.opsPerSec / 5);
  assert.match(stdout, /^load +5 clients in 2 processes, 16 outstanding each/m);
  assert.equal(report.replicas, 3);
  assert.equal(report.load['secure']!.puts, 500);

  const lines = readFileSync(file('history.jsonl'), 'utf8').trimEnd().split('\n');
  const operations = lines.map((line) => JSON.parse(line) as Record<'process' | 'op' | 'key' | 'value', unknown>);
  assert.ok(operations.length >= 500 + run.operations, 'load, warm-up and window are all in it');
  assert.deepEqual([...new Set(operations.map(({ process }) => process))], [0, 1, 2, 3, 4]);
  const putValues = operations.filter(({ op }) => op === 'put').map(({ value }) => value);
  assert.equal(new Set(putValues).size, putValues.length);
  const known = new Set(putValues);
  assert.ok(
    operations.every(({ value }) => known.has(value)),
    'each value read was put in this run',
  );
  assert.deepEqual(leftovers(), []);
});

interface HistoryLine {
  readonly process: number;
  readonly op: string;
  readonly key: string;
  readonly value: string | null;
  readonly outcome: string;
}

function historyOf(name: string): HistoryLine[] {
  const lines = readFileSync(file(name), 'utf8').trimEnd().split('\n');
  return lines.map((line) => JSON.parse(line) as HistoryLine);
}

test('workload D inserts records from three clients, two of them in a process, and reads the latest', async () => {
  const files = ['--json', file('d.json'), '--history', file('d.jsonl')];
  const flags = ['--workload', 'D', '--clients', '3', '--processes', '2', '--quiet', ...files];
  const { exitCode, stdout, stderr } = await runAvocado(sandbox, ['bench', ...QUICK, ...flags]);
  assert.equal(exitCode, 0, stderr);
  assert.match(stdout, /Workload D \(95 % reads, 5 % inserts\), mode secure/);
  assert.match(stdout, /^insert( +[\d,]+){7}$/m);

  const report = jsonOf<BenchReport>('d.json');
  const run = report.runs[0]!;
  assert.equal(run.errors, 0);
  assert.deepEqual(Object.keys(run.latencyUs), ['read', 'insert']);
  assert.ok(run.opsPerSecByType.insert! > 0);
  assert.equal(run.latencyUs.read!.count + run.latencyUs.insert!.count, run.operations);

  const history = historyOf('d.jsonl');
  const puts = history.filter(({ op }) => op === 'put');
  assert.ok(puts.length > 500, 'there were inserts');
  assert.equal(new Set(puts.map(({ key }) => key)).size, puts.length, 'each key is put once');
  const writerOf = new Map(puts.map(({ key, process }) => [key, process]));
  const keys = new RecordKeys(500);
  const isLoaded = new Set(Array.from({ length: 500 }, (_, index) => keys.keyString(index)));
  let ownReads = 0;
  for (const { op, key, value, process } of history) {
    if (op !== 'get') continue;
    assert.ok(value !== null && writerOf.has(key));
    if (isLoaded.has(key)) continue;
    ownReads++;
    assert.equal(writerOf.get(key), process, 'inserted records are read by their own client');
  }
  assert.ok(ownReads > 0, 'inserted records are read');
  assert.deepEqual(leftovers(), []);
});

test('workload F reads, modifies and writes values of several sizes', async () => {
  const files = ['--json', file('f.json'), '--history', file('f.jsonl')];
  const flags = ['--workload', 'F', '--quiet', '--value-bytes', '64:60,256:30,4096:10', ...files];
  const { exitCode, stdout, stderr } = await runAvocado(sandbox, ['bench', ...QUICK, ...flags]);
  assert.equal(exitCode, 0, stderr);
  assert.match(stdout, /64 \(60 %\), 256 \(30 %\) or 4,096 \(10 %\) bytes/);
  assert.match(stdout, /not atomic/);
  const run = jsonOf<BenchReport>('f.json').runs[0]!;
  assert.equal(run.errors, 0);
  assert.deepEqual(Object.keys(run.latencyUs), ['read', 'update', 'rmw']);
  const { read, update, rmw } = run.latencyUs;
  assert.equal(update!.count, rmw!.count);
  assert.ok(rmw!.p50 >= update!.p50);
  assert.ok(read!.count > rmw!.count && run.operations < read!.count + update!.count);
  const history = historyOf('f.jsonl');
  assert.ok(history.every(({ outcome, value }) => outcome === 'ok' && value !== null));
});

test('a comparison measures each mode in each round, in turn', async () => {
  const short = ['--duration', '0.2', '--warmup', '0', '--fields', '10', '--field-bytes', '100'];
  const flags = ['--rounds', '2', '--workloads', 'C,D,E,F', ...short, '--json', file('compare.json')];
  const { exitCode, stdout, stderr } = await runAvocado(sandbox, ['bench', 'compare', ...QUICK, ...flags]);
  assert.equal(exitCode, 0, stderr);
  assert.match(stdout, /Ratio to plaintext in the same round/);
  const report = jsonOf<CompareReport>('compare.json');
  assert.equal(report.settings.records, 500, 'flags behind compare are its own');
  assert.deepEqual(
    report.rounds.map(({ round, mode }) => `${round} ${mode}`),
    [SECURITY_MODES, SECURITY_MODES.toReversed()].flatMap((modes, round) =>
      ['C', 'D', 'E', 'F'].flatMap(() => modes.map((mode) => `${round} ${mode}`)),
    ),
  );
  const types = { C: ['read'], D: ['read', 'insert'], E: ['insert', 'scan'], F: ['read', 'update', 'rmw'] };
  for (const mode of SECURITY_MODES) {
    for (const [workload, itsTypes] of Object.entries(types)) {
      const run = report.runs.find((candidate) => candidate.mode === mode && candidate.workload === workload)!;
      assert.equal(run.errors, 0);
      assert.ok(run.opsPerSec > 0);
      assert.deepEqual(Object.keys(run.latencyUs), itsTypes);
    }
  }
  assert.match(stdout, /500 of 1,000 bytes \(fields: 10 of 100 bytes\)/);
  assert.match(stdout, /insert p50 +p99 +rmw p50 +p99 +scan p50 +p99/);
  assert.ok(report.ratio.secure!.opsPerSec > 0 && report.ratio.authenticated!.p99 > 0);
  const { echoUs, datagramsPerSec, aeadCallsPerSec } = report.calibration;
  assert.ok(echoUs.p50 > 0 && echoUs.p99 >= echoUs.p50);
  assert.ok(datagramsPerSec.received > 0 && datagramsPerSec.received <= datagramsPerSec.sent);
  assert.ok(aeadCallsPerSec > 0);
  assert.deepEqual(
    report.calibration.rawRates.map(({ datagramBytes }) => datagramBytes),
    [16_640, 65_504],
  );
  for (const { bytesPerSec, lostShare } of report.calibration.rawRates) assert.ok(bytesPerSec > 0 && lostShare < 0.01);
  for (const run of report.runs) {
    // A scan has 1 to 100 records.
    const readRecords = run.bytesPerSec.read / (1_000 * (run.opsPerSecByType.read ?? run.opsPerSecByType.scan!));
    if (run.workload === 'E') assert.ok(readRecords > 5 && readRecords < 95);
    else assert.ok(Math.abs(readRecords - 1) < 0.01, run.workload);
    assert.equal(run.bytesPerSec.written > 0, run.workload !== 'C');
  }
  assert.deepEqual(leftovers(), []);
});

test('goodput measures each number of clients on one cluster, the next round the other way', async () => {
  const short = ['--duration', '0.2', '--warmup', '0', '--receive-buffer', '64KiB'];
  const flags = ['--clients', '1,3', '--rounds', '2', ...short, '--json', file('goodput.json')];
  const { exitCode, stdout, stderr } = await runAvocado(sandbox, ['bench', 'goodput', ...QUICK, ...flags]);
  assert.equal(exitCode, 0, stderr);
  assert.match(stdout, /^3( +[\d,.]+){2}/m);
  const report = jsonOf<GoodputReport>('goodput.json');
  assert.deepEqual(
    report.rounds.map(({ round, clients }) => [round, clients]),
    [
      [0, 1],
      [0, 3],
      [1, 3],
      [1, 1],
    ],
  );
  assert.equal(Math.max(...report.runs.map(({ ofBest }) => ofBest)), 1);
  for (const run of report.runs) {
    assert.equal(run.errors, 0);
    assert.deepEqual(run.receiveBufferBytes, { replicas: 65_536, clients: 65_536 });
    assert.ok(run.overflows.replicas !== null && run.overflows.clients !== null);
  }
  assert.deepEqual(leftovers(), []);
});

test('sizes are measured one by one, gets and puts by themselves', async () => {
  const short = ['--duration', '0.2', '--warmup', '0', '--rounds', '1', '--records', '100'];
  const flags = ['--sizes', '4KiB,100', '--json', file('sizes.json')];
  const { exitCode, stderr } = await runAvocado(sandbox, ['bench', 'sizes', ...short, ...flags]);
  assert.equal(exitCode, 0, stderr);
  const report = jsonOf<SizesReport>('sizes.json');
  assert.deepEqual(
    report.runs.map(({ valueBytes, records, latencyUs }) => [valueBytes, records, Object.keys(latencyUs).join()]),
    [
      [100, 100, 'read'],
      [100, 100, 'update'],
      [4_096, 100, 'read'],
      [4_096, 100, 'update'],
    ],
  );
  for (const { errors, bytesPerSec, opsPerSec, valueBytes } of report.runs) {
    assert.equal(errors, 0);
    assert.ok(Math.abs((bytesPerSec.read + bytesPerSec.written) / (opsPerSec * valueBytes) - 1) < 0.01);
  }
  assert.deepEqual(leftovers(), []);
});

test('a stream beside the load is reported by itself, and the load without it', async () => {
  const flags = ['--workload', 'C', '--beside', 'put 12000 x 3', '--json', file('beside.json'), '--history'];
  const { exitCode, stdout, stderr } = await runAvocado(sandbox, ['bench', ...QUICK, ...flags, file('beside.jsonl')]);
  assert.equal(exitCode, 0, stderr);
  const { runs, beside } = jsonOf<BenchReport>('beside.json');
  const { stream, alone, streamed } = beside!;
  assert.deepEqual(stream, { kind: 'put', valueBytes: 12_000, outstanding: 3 });
  assert.equal(runs.length, 1);
  for (const run of [alone, runs[0]!]) {
    assert.deepEqual(
      [run.errors, Object.keys(run.latencyUs)],
      [0, ['read']],
      'small values are still those of the load',
    );
  }
  assert.deepEqual([streamed.errors, Object.keys(streamed.latencyUs)], [0, ['update']]);
  assert.ok(Math.abs(streamed.bytesPerSec.written / (streamed.opsPerSec * 12_000) - 1) < 0.01);
  assert.match(stdout, /^load beside( +[\d,.]+){2} MB\/s/m);
  assert.match(stdout, /^read p99 beside to alone +\d+\.\d\d$/m);
  assert.ok(historyOf('beside.jsonl').length > 500, 'the history is the load’s');
  assert.deepEqual(leftovers(), []);
});

test('values larger than a datagram are put and read back', async () => {
  const large = ['--records', '20', '--outstanding', '4', '--value-bytes', '100KiB', '--json', file('large.json')];
  const { exitCode, stderr } = await runAvocado(sandbox, ['bench', ...QUICK, '--quiet', ...large]);
  assert.equal(exitCode, 0, stderr);
  const [run] = jsonOf<BenchReport>('large.json').runs;
  assert.equal(run!.errors, 0);
  assert.ok(run!.bytesPerSec.read > 0 && run!.bytesPerSec.written > 0);
  assert.deepEqual(leftovers(), []);
});

test('a cluster that is not there and a flag that is not known are one line and exit code 2', async () => {
  for (const argv of [['--connect'], ['--connect', file('no-cluster')], ['--shards', '2'], ['compare', '--connect']]) {
    const { exitCode, stderr } = await runAvocado(sandbox, ['bench', ...argv]);
    assert.equal(exitCode, 2, argv.join(' '));
    assert.match(stderr, /^error[^\n]+\n$/);
  }
});

test('Ctrl-C ends load processes, replicas and files', async () => {
  const bench = startAvocado(sandbox, ['bench', ...QUICK, '--duration', '60', '--history', file('interrupted.jsonl')]);
  const end = finished(bench);
  const children = await untilRunning(bench);
  bench.kill('SIGINT');
  const { exitCode, stdout } = await end;
  assert.equal(exitCode, 130);
  assert.equal(stdout, '');
  for (const pid of children) assert.ok(!isAlive(pid), `process ${pid} has ended`);
  assert.deepEqual(leftovers(), []);
});

test('a load process that dies ends the bench, which says so', async () => {
  const bench = startAvocado(sandbox, ['bench', ...QUICK, '--duration', '60']);
  const end = finished(bench);
  const children = await untilRunning(bench);
  const loadProcess = children.find((pid) => commandOf(pid).includes('load-child'))!;
  process.kill(loadProcess, 'SIGKILL');
  const { exitCode, stderr } = await end;
  assert.equal(exitCode, 1);
  assert.match(stderr, /load process 0 ended unexpectedly \(signal SIGKILL\)\n$/);
  for (const pid of children) assert.ok(!isAlive(pid), `process ${pid} has ended`);
  assert.deepEqual(leftovers(), []);
});

/** Its children, once it measures. */
async function untilRunning(bench: ChildProcess): Promise<number[]> {
  let stderr = '';
  await new Promise<void>((resolve, reject) => {
    bench.stderr!.on('data', (text: Buffer) => {
      stderr += text.toString();
      if (stderr.includes('workload A')) resolve();
    });
    bench.once('exit', () => reject(new Error(`the bench ended early: ${stderr}`)));
  });
  const pids = childrenOf(bench.pid!);
  assert.equal(pids.length, 4, 'three replicas and a load process');
  return pids;
}

function commandOf(pid: number): string {
  return readFileSync(`/proc/${pid}/cmdline`, 'latin1');
}
