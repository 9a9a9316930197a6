/** Replicas and clients with workers, in processes of their own. The threshold is set so that they have work. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { checkHistoryFile } from '../../bench/chaos/history-check.ts';
import type { BenchReport } from '../../bench/report.ts';
import { UdpTransport } from '../../net/udp.ts';
import { Calls } from '../../src/client/calls.ts';
import { Client, connect } from '../../src/client/client.ts';
import { openEngine } from '../../src/client/engine.ts';
import { AvocadoError } from '../../src/errors.ts';
import { startEmbeddedCluster } from '../../src/server/embedded-cluster.ts';
import { makeSandbox, runAvocado } from '../cli/avocado-process.ts';
import { seededBytes } from '../workers/random.ts';

const sandbox = makeSandbox();
after(() => sandbox.remove());

function file(name: string): string {
  return join(sandbox.temporaryDirectory, name);
}

test('a bench whose processes have workers: all is right, they took part, and everything ends', async () => {
  const workers = ['--workers', '2', '--workers-from', '0'];
  const load = ['--records', '200', '--value-bytes', '256:50,12000:50', '--outstanding', '16', '--clients', '2'];
  const time = ['--duration', '1', '--warmup', '0.1', '--quiet'];
  const files = ['--json', file('report.json'), '--history', file('history.jsonl')];
  const { exitCode, stdout, stderr } = await runAvocado(sandbox, ['bench', ...workers, ...load, ...time, ...files]);
  assert.equal(exitCode, 0, stderr);
  assert.match(stdout, /^workers +2 a process, from 0 bytes on: [\d,]+ jobs in clients, [\d,]+ in replicas$/m);
  const run = (JSON.parse(readFileSync(file('report.json'), 'utf8')) as BenchReport).runs[0]!;
  assert.equal(run.errors, 0);
  const { clientJobs, replicaJobs, ...rest } = run.workers!;
  assert.deepEqual(rest, { workers: 2, fromBytes: [0, 0], deaths: 0 });
  assert.ok(clientJobs > run.operations, 'each operation has a value to seal or open, and datagrams');
  assert.ok(replicaJobs > 1_000, `${replicaJobs} jobs`);
  const { verdict, detail } = await checkHistoryFile(file('history.jsonl'));
  assert.equal(verdict, 'linearizable', detail);
});

test('a client and replicas with workers: status tells of them, and close ends them', async () => {
  const cluster = await startEmbeddedCluster({ mode: 'secure', workers: 1, workersFromBytes: 0 });
  try {
    const calls = new Calls();
    const clusterDirectory = cluster.directory;
    const engine = await openEngine({ clusterDirectory, sink: calls, workers: 2, workersFromBytes: 0 });
    calls.attach(engine, 1_000);
    const client = new Client(engine, calls, 10_000);
    const value = Buffer.from(seededBytes(10_000, 1));
    await client.putMany(Array.from({ length: 50 }, (_, i) => [`key ${i}`, value]));
    const values = await client.getMany(Array.from({ length: 50 }, (_, i) => `key ${i}`));
    assert.ok(values.every((read) => read?.equals(value)));
    const { workers, fromBytes, jobs, deaths } = engine.workers!;
    assert.deepEqual({ workers, fromBytes, deaths }, { workers: 2, fromBytes: 0, deaths: 0 });
    assert.ok(jobs >= 100, `${jobs} jobs`);
    for (const member of await client.status()) assert.ok(member.workers!.workers === 1 && member.workers!.jobs > 0);
    const { stdout } = await runAvocado(sandbox, ['status', '--cluster', clusterDirectory]);
    assert.match(stdout, /^replica 2 has 1 worker, from 0 bytes on: [\d,]+ jobs$/m);
    await client.close();
  } finally {
    await cluster.stop();
  }
});

test('what is no number of workers is said to be none, in one line', async () => {
  for (const argv of [
    ['replica', '--index', '0', '--workers', 'many'],
    ['dev', '--workers', '65'],
    ['bench', '--workers', '-1'],
    ['bench', '--workers-from', '2MiB'],
  ]) {
    const { exitCode, stderr } = await runAvocado(sandbox, argv);
    assert.equal(exitCode, 2, argv.join(' '));
    assert.match(stderr, /^error: option '--workers[^\n]+\n$/);
  }
  for (const workers of [-1, 1.5, 65, 'two' as 'auto']) {
    await assert.rejects(connect({ cluster: file('none'), workers }), (error: unknown) => {
      assert.ok(error instanceof AvocadoError);
      assert.equal(error.code, 'INVALID_ARGUMENT');
      assert.match(error.message, /^workers is .*: give 'auto', or a number from 0 to 64$/);
      return true;
    });
  }
});

test('a replica whose trusted memory has no room for workers says so, and ends', async () => {
  const directory = file('small');
  const probe = await UdpTransport.open({ host: '127.0.0.1', port: 0 });
  await probe.close();
  await runAvocado(sandbox, ['init', directory, '--replicas', '1', '--base-port', String(probe.port)]);
  const flags = ['--cluster', directory, '--index', '0', '--trusted-memory', '2MiB', '--workers', '1'];
  const { exitCode, stderr } = await runAvocado(sandbox, ['replica', ...flags]);
  assert.equal(exitCode, 2);
  assert.match(stderr, /^error INVALID_ARGUMENT: trusted memory of 2097152 bytes is too small: workers[^\n]+\n$/);
});
