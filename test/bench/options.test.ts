/** What the flags of bench and compare become, and what is refused. */
import assert from 'node:assert/strict';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { benchFlags, benchOptionsOf, compareFlags, compareOptionsOf } from '../../bench/options.ts';
import type { BenchFlags, BenchOptions, CompareFlags, CompareOptions } from '../../bench/options.ts';
import { CommandFailure } from '../../src/cli/failure.ts';
import { createProgram } from '../../src/cli/program.ts';

function parse<T>(flags: ReturnType<typeof benchFlags>, argv: readonly string[]): T {
  const command = createProgram()
    .createCommand('bench')
    .exitOverride()
    .configureOutput({ outputError: () => {} });
  for (const flag of flags) command.addOption(flag);
  return command.parse(argv, { from: 'user' }).opts() as T;
}

function bench(...argv: string[]): BenchOptions {
  return benchOptionsOf(parse<BenchFlags>(benchFlags(), argv));
}

function compare(...argv: string[]): CompareOptions {
  return compareOptionsOf(parse<CompareFlags>(compareFlags(), argv));
}

test('the defaults are those of the documentation', () => {
  assert.deepEqual(bench(), {
    records: 100_000,
    valueBytes: 256,
    valueSizes: [{ valueBytes: 256, weight: 1 }],
    fields: undefined,
    datagramBytes: undefined,
    workers: 'auto',
    receiveBufferBytes: undefined,
    outstanding: 256,
    clients: 1,
    processes: 1,
    seed: 1,
    durationMs: 10_000,
    warmupMs: 2_000,
    workload: { name: 'A', readProportion: 0.5, write: 'update' },
    mode: 'secure',
    route: 'direct',
    connect: false,
    replicas: undefined,
    scans: true,
    jsonPath: undefined,
    historyPath: undefined,
    beside: undefined,
    quiet: false,
  });
  const { workloads, routes, rounds, durationMs } = compare();
  assert.deepEqual(
    { workloads, routes, rounds, durationMs },
    {
      routes: ['direct'],
      workloads: [{ name: 'A', readProportion: 0.5, write: 'update' }],
      rounds: 5,
      durationMs: 5_000,
    },
  );
});

test('flags are taken in the units that people write', () => {
  const argv =
    '--workload b --mode plaintext --value-bytes 4KiB --datagram-bytes 8192 --duration 0.5 --warmup 250ms ' +
    '--receive-buffer 212992 --clients 2 --seed 0 --quiet --connect';
  const options = bench(...argv.split(' '));
  assert.deepEqual(options.workload, { name: 'B', readProportion: 0.95, write: 'update' });
  assert.equal(options.mode, 'plaintext');
  assert.equal(options.valueBytes, 4_096);
  assert.equal(options.datagramBytes, 8_192);
  assert.equal(options.receiveBufferBytes, 212_992);
  assert.equal(options.durationMs, 500);
  assert.equal(options.warmupMs, 250);
  assert.equal(options.clients, 2);
  assert.equal(options.processes, Math.min(2, availableParallelism()));
  assert.equal(options.seed, 0);
  assert.equal(options.quiet, true);
  assert.equal(options.connect, true);
  assert.equal(bench('--connect', '/some/where').connect, '/some/where');
  assert.equal(bench('--warmup', '0').warmupMs, 0);
});

test('clients are dealt out to as many processes as there are cores, or as are asked for', () => {
  assert.equal(bench('--clients', '64').processes, Math.min(64, availableParallelism()));
  assert.equal(bench('--clients', '64', '--processes', '64').processes, 64);
  assert.equal(bench('--clients', '3', '--processes', '1').processes, 1);
});

test('--read replaces the mix of the workload, its ends included', () => {
  assert.deepEqual(bench('--read', '0').workload, { name: 'read 0', readProportion: 0, write: 'update' });
  assert.equal(bench('--read', '1', '--workload', 'A').workload.readProportion, 1);
  assert.equal(bench('--read', '.25').workload.readProportion, 0.25);
});

test('workloads D and F insert, and read, modify and write; --read leaves that as it is', () => {
  assert.deepEqual(bench('--workload', 'd').workload, { name: 'D', readProportion: 0.95, write: 'insert' });
  assert.deepEqual(bench('--workload', 'F').workload, { name: 'F', readProportion: 0.5, write: 'rmw' });
  const atomic = bench('--workload', 'F', '--atomic', '--read', '0').workload;
  assert.deepEqual(atomic, { name: 'F atomic read 0', readProportion: 0, write: 'atomic rmw' });
  assert.throws(() => bench('--atomic'), /--atomic belongs to workload F.*not A/);
  const { workload } = bench('--workload', 'F', '--read', '0.2');
  assert.deepEqual(workload, { name: 'F read 0.2', readProportion: 0.2, write: 'rmw' });
});

test('workload E scans and inserts, over the direct route, on replicas that keep their keys in order', () => {
  const scans = { name: 'E', readProportion: 0.95, write: 'insert', scans: true };
  assert.deepEqual(bench('--workload', 'e').workload, scans);
  assert.deepEqual(bench('--workload', 'E', '--read', '1').workload, { ...scans, name: 'E read 1', readProportion: 1 });
  assert.equal(bench('--no-scans').scans, false);
  refusesInOneLine(['--workload', 'E', '--no-scans'], /leave --no-scans out/);
  refusesInOneLine(['--workload', 'E', '--route', 'coordinated'], /over the direct one/);
  refusesInOneLine(['--workload', 'E', '--records', '3'], /workloads D and E need --records/);
  assert.throws(() => compare('--workloads', 'A,E', '--routes', 'direct,coordinated'), /over the direct one/);
});

test('a stream beside the load says what, how large and how many at once', () => {
  assert.deepEqual(bench('--beside', 'put 1MiB x 4').beside, { kind: 'put', valueBytes: 2 ** 20, outstanding: 4 });
  assert.deepEqual(bench('--beside', ' get 100  x8').beside, { kind: 'get', valueBytes: 100, outstanding: 8 });
  assert.equal(bench('--beside', 'put 64KiB').beside!.outstanding, 1);
  for (const text of ['', 'put', 'delete 1MiB', 'put 2MiB', 'put 0', 'put 1MiB x 0', 'put 1MiB 4', 'put 1MiB x 1025']) {
    assert.throws(() => bench('--beside', text), byCommander, text);
  }
  refusesInOneLine(['--beside', 'put 1MiB x 257'], /in flight/);
});

test('workloads of a comparison are listed', () => {
  assert.deepEqual(
    compare('--workloads', 'C,a,d,F').workloads.map(({ name }) => name),
    ['C', 'A', 'D', 'F'],
  );
});

test('values are of one size, of several, or records of fields', () => {
  const mixed = bench('--value-bytes', '64:60,256:30,4KiB:10');
  assert.equal(mixed.valueBytes, 4_096);
  assert.deepEqual(mixed.valueSizes, [
    { valueBytes: 64, weight: 60 },
    { valueBytes: 256, weight: 30 },
    { valueBytes: 4_096, weight: 10 },
  ]);
  for (const [argv, fieldCount, fieldBytes] of [
    [['--fields', '10', '--field-bytes', '100'], 10, 100],
    [['--fields', '3'], 3, 100],
    [['--field-bytes', '7'], 10, 7],
  ] as const) {
    const options = compare(...argv);
    assert.deepEqual(options.fields, { fieldCount, fieldBytes });
    assert.equal(options.valueBytes, fieldCount * fieldBytes);
    assert.deepEqual(options.valueSizes, [{ valueBytes: fieldCount * fieldBytes, weight: 1 }]);
  }
});

function byCommander(error: unknown): boolean {
  return (error as { code: string }).code.startsWith('commander.');
}

test('what no flag can mean is refused by commander', () => {
  const refused: string[][] = [
    ['--records', '0'],
    ['--records', '1e3'],
    ['--records', '-5'],
    ['--records', '10000001'],
    ['--value-bytes', '0'],
    ['--value-bytes', '2MiB'],
    ['--value-bytes', 'many'],
    ['--datagram-bytes', '100'],
    ['--datagram-bytes', '1471'],
    ['--receive-buffer', '1KiB'],
    ['--outstanding', '0'],
    ['--outstanding', '16385'],
    ['--outstanding', '1.5'],
    ['--clients', '65'],
    ['--processes', '0'],
    ['--seed', '4294967296'],
    ['--duration', '0'],
    ['--duration', '-1'],
    ['--duration', 'NaN'],
    ['--warmup', 'soon'],
    ['--read', '1.01'],
    ['--read', '-0.1'],
    ['--read', ''],
    ['--read', '0x1'],
    ['--workload', 'G'],
    ['--value-bytes', '64:60,256'],
    ['--value-bytes', '64:0'],
    ['--value-bytes', '64:60:1,256:1'],
    ['--value-bytes', '64:1,64:2'],
    ['--value-bytes', '64:1,2MiB:1'],
    ['--value-bytes', ''],
    ['--fields', '0'],
    ['--field-bytes', '1.5'],
    ['--mode', 'none'],
    ['--replicas', '2'],
    ['--replicas', '3', '--connect'],
    ['--nonsense'],
    ['--json'],
  ];
  for (const argv of refused) assert.throws(() => bench(...argv), byCommander, argv.join(' '));
  for (const argv of [
    ['--workloads', ''],
    ['--workloads', 'A,,B'],
    ['--workloads', 'A,A'],
    ['--workloads', 'D,G'],
    ['--rounds', '0'],
    ['--history', 'x'],
  ]) {
    assert.throws(() => compare(...argv), byCommander, argv.join(' '));
  }
});

function refusesInOneLine(argv: string[], pattern: RegExp): void {
  assert.throws(
    () => bench(...argv),
    (error: unknown) => {
      assert.ok(error instanceof CommandFailure);
      assert.equal(error.exitCode, 2);
      assert.match(error.message, pattern);
      assert.ok(!error.message.includes('\n'));
      return true;
    },
  );
}

test('what does not fit together or cannot be written is refused before any load', () => {
  const file = join(tmpdir(), 'avocado-options-test.jsonl');
  refusesInOneLine(['--history', file, '--value-bytes', '15'], /--value-bytes 16/);
  assert.equal(bench('--history', file, '--value-bytes', '16').historyPath, file);
  refusesInOneLine(['--json', tmpdir()], /is a directory/);
  refusesInOneLine(['--json', join(tmpdir(), 'not-there', 'file')], /ENOENT/);
  refusesInOneLine(['--history', '/proc/none/file'], /can't be written/);
  refusesInOneLine(['--outstanding', '16384', '--value-bytes', '64KiB'], /in flight/);
  refusesInOneLine(['--outstanding', '16384', '--value-bytes', '16:99,64KiB:1'], /in flight/);
  refusesInOneLine(
    ['--outstanding', '4096', '--value-bytes', '64KiB', '--clients', '2', '--processes', '1'],
    /in flight/,
  );
  assert.equal(
    bench('--outstanding', '4096', '--value-bytes', '64KiB', '--clients', '2', '--processes', '2').clients,
    2,
  );
  refusesInOneLine(['--clients', '2', '--processes', '3'], /--clients 3 or more/);
  refusesInOneLine(['--history', file, '--value-bytes', '4096:1,15:1'], /--value-bytes 16/);
  refusesInOneLine(['--value-bytes', '256', '--fields', '10'], /give one of them/);
  refusesInOneLine(['--value-bytes', '256', '--field-bytes', '10'], /give one of them/);
  refusesInOneLine(['--fields', '1024', '--field-bytes', '1025'], /give fewer --fields/);
  refusesInOneLine(['--workload', 'D', '--records', '3'], /--records 4 or more/);
  refusesInOneLine(['--workload', 'D', '--records', '3', '--read', '1'], /--records 4 or more/);
  assert.equal(bench('--workload', 'D', '--records', '4').records, 4);
  assert.equal(bench('--workload', 'F', '--records', '3').records, 3);
  assert.throws(() => compare('--workloads', 'A,D', '--records', '3'), CommandFailure);
});
