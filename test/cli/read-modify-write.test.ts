/** incr, update, and the conditions of put and delete, on a running cluster. */
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { startEmbeddedCluster } from '../../src/server/embedded-cluster.ts';
import { makeSandbox, runAvocado } from './avocado-process.ts';
import type { Finished } from './avocado-process.ts';

const sandbox = makeSandbox();
const cluster = await startEmbeddedCluster({ mode: 'secure' });
after(async () => {
  await cluster.stop();
  sandbox.remove();
});

async function run(...args: string[]): Promise<Finished> {
  return await runAvocado(sandbox, args, { environment: { AVOCADO_CLUSTER: cluster.directory } });
}

/** What it prints as JSON, with the exit code that is expected. */
async function json(exitCode: number, ...args: string[]): Promise<Record<string, unknown>> {
  const finished = await run(...args);
  assert.equal(finished.exitCode, exitCode, finished.stderr);
  return JSON.parse(finished.stdout) as Record<string, unknown>;
}

const ok = { exitCode: 0, stdout: 'ok\n', stderr: '' };

test('incr adds, prints the sum, and counts an absent key as 0', async () => {
  assert.deepEqual(await run('incr', 'n'), { exitCode: 0, stdout: '1\n', stderr: '' });
  assert.deepEqual(await run('incr', 'n', '-43'), { exitCode: 0, stdout: '-42\n', stderr: '' });
  assert.deepEqual(await json(0, 'incr', 'n', '+9223372036854775807', '--json'), {
    key: 'n',
    value: '9223372036854775765',
  });
  const overflow = await run('incr', 'n', '43');
  assert.deepEqual([overflow.exitCode, overflow.stdout], [1, '']);
  assert.match(overflow.stderr, /^error OVERFLOW: /);
  assert.equal((await run('get', 'n')).stdout, '9223372036854775765');
  await run('put', 'n', '1.0');
  const text = await run('incr', 'n');
  assert.equal(text.exitCode, 1);
  assert.match(text.stderr, /^error NOT_AN_INTEGER: /);
});

test('put: only if absent, by value, by version; what was found is told, with exit code 1', async () => {
  assert.deepEqual(await run('put', 'key', 'one', '--if-absent'), ok);
  const present = await run('put', 'key', 'two', '--if-absent');
  assert.deepEqual([present.exitCode, present.stdout], [1, '']);
  assert.match(present.stderr, /^not stored: key: it is "one", version [\w-]{27}\n$/);
  assert.deepEqual(await run('put', 'key', 'two', '--if-value', 'one'), ok);
  const found = await json(1, 'put', 'key', 'three', '--if-value', 'one', '--json');
  const { version } = await json(0, 'get', 'key', '--with-version', '--json');
  assert.deepEqual(found, { key: 'key', stored: false, found: true, encoding: 'utf8', value: 'two', version });
  const done = await json(0, 'put', 'key', 'three', '--if-version', String(version), '--json');
  assert.deepEqual({ ...done, version: '' }, { key: 'key', stored: true, valueBytes: 5, version: '' });
  assert.notEqual(done['version'], version);
  assert.equal((await run('put', 'key', 'four', '--if-version', String(version))).exitCode, 1);
  assert.deepEqual(await run('get', 'key', '--with-version'), {
    exitCode: 0,
    stdout: `${String(done['version'])}\nthree`,
    stderr: '',
  });
  const bad = await run('put', 'key', 'five', '--if-version', 'yesterday');
  assert.equal(bad.exitCode, 2);
  assert.match(bad.stderr, /^error INVALID_ARGUMENT: .*no version/);
});

test('delete: by value, by version; an absent key has a version, too', async () => {
  await run('put', 'gone', 'here');
  const kept = await json(1, 'delete', 'gone', '--if-value', 'there', '--json');
  assert.deepEqual(
    { ...kept, version: '' },
    {
      key: 'gone',
      deleted: false,
      found: true,
      encoding: 'utf8',
      value: 'here',
      version: '',
    },
  );
  assert.deepEqual(await run('delete', 'gone', '--if-version', String(kept['version'])), ok);
  const absent = await run('get', 'gone', '--with-version');
  assert.deepEqual([absent.exitCode, absent.stderr], [1, 'absent: gone\n']);
  assert.match(absent.stdout, /^[\w-]{27}\n$/);
  assert.match(
    (await run('delete', 'gone', '--if-value', 'here')).stderr,
    /^not deleted: gone: it is absent, version /,
  );
  assert.deepEqual(await run('put', 'gone', 'back', '--if-version', absent.stdout.trim()), ok);
});

test('update runs a program on the value; what it fails to make changes nothing', async () => {
  assert.deepEqual(await run('update', 'list', 'tee'), ok, 'an absent key gives it nothing to read');
  await run('put', 'list', 'b\na\n');
  const sorted = await json(0, 'update', '--json', 'list', 'sort', '-r');
  assert.deepEqual(
    { ...sorted, version: '' },
    { key: 'list', found: true, encoding: 'utf8', value: 'b\na\n', version: '' },
  );
  await run('update', 'list', 'sort');
  assert.equal((await run('get', 'list')).stdout, 'a\nb\n');
  const failed = await run('update', 'list', 'sh', '-c', 'echo x; exit 3');
  assert.deepEqual(failed, { exitCode: 1, stdout: '', stderr: 'error: sh ended with code 3; nothing was changed\n' });
  const missing = await run('update', 'list', '/nowhere/program');
  assert.deepEqual([missing.exitCode, missing.stdout], [2, '']);
  assert.match(missing.stderr, /^error: \/nowhere\/program can't be run \(ENOENT\): /);
  assert.equal((await run('get', 'list')).stdout, 'a\nb\n');
});

test('update ends a program that takes longer than its time limit, and changes nothing', async () => {
  await run('put', 'slow', 'as it was');
  // The shell is ended; what it has started holds the pipe open.
  const late = await run('update', '--timeout', '3s', 'slow', 'sh', '-c', 'sleep 20 2>/dev/null & wait');
  assert.deepEqual([late.exitCode, late.stdout], [1, '']);
  assert.match(late.stderr, /^error DEADLINE_EXCEEDED: /);
  assert.equal((await run('get', 'slow')).stdout, 'as it was');
});

test('many processes at once: no change is lost', async () => {
  const processes = 6;
  await Promise.all(
    Array.from({ length: processes }, async (_, i) => {
      assert.equal((await run('incr', 'visits')).exitCode, 0);
      assert.deepEqual(await run('update', 'names', 'sh', '-c', `cat; echo ${i}`), ok);
    }),
  );
  assert.equal((await run('get', 'visits')).stdout, String(processes));
  assert.equal((await run('get', 'names')).stdout.trim().split('\n').length, processes);
});

test('status tells of them once there were some', async () => {
  const { members } = (await json(0, 'status', '--json')) as { members: { rmw: Record<string, number> }[] };
  for (const { rmw } of members) assert(rmw['keys']! > 0 && rmw['decided']! > 0 && rmw['nacked']! >= 0);
  assert.match(
    (await run('status')).stdout,
    /^replica 0 has \d+ keys with read-modify-writes: \d+ decided, \d+ ballots lost/m,
  );
});

test('in the coordinated route alike', async () => {
  const route = ['--route', 'coordinated'];
  assert.deepEqual(await run('incr', 'coordinated', '7', ...route), { exitCode: 0, stdout: '7\n', stderr: '' });
  const { version } = await json(0, 'get', 'coordinated', '--with-version', '--json', ...route);
  assert.equal((await json(0, 'get', 'coordinated', '--with-version', '--json'))['version'], version);
  assert.deepEqual(await run('put', 'coordinated', 'x', '--if-version', String(version), ...route), ok);
  assert.match((await run('incr', 'coordinated', ...route)).stderr, /^error NOT_AN_INTEGER: /);
});
