import assert from 'node:assert/strict';
import { existsSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { UdpTransport } from '../../net/udp.ts';
import { initClusterDirectory } from '../../src/trust/cluster-directory.ts';
import { makeSandbox, runAvocado } from './avocado-process.ts';

/** What the command line says and with which code it ends, without a running cluster. */
const sandbox = makeSandbox();
after(() => sandbox.remove());
const clusterDirectory = join(sandbox.temporaryDirectory, 'cluster');
initClusterDirectory({
  directory: clusterDirectory,
  members: [{ host: '127.0.0.1', port: 1 }],
  mode: 'secure',
});

const COMMANDS = [
  'cas',
  'las',
  'audit',
  'init',
  'dev',
  'replica',
  'get',
  'put',
  'delete',
  'incr',
  'update',
  'scan',
  'status',
  'doctor',
  'check-history',
];

test('--help of each command describes it and shows examples', async () => {
  const program = await runAvocado(sandbox, ['--help']);
  assert.equal(program.exitCode, 0);
  for (const command of COMMANDS) {
    assert.match(program.stdout, new RegExp(`^  ${command} `, 'm'));
    const help = await runAvocado(sandbox, [command, '--help']);
    assert.equal(help.exitCode, 0);
    assert.match(help.stdout, new RegExp(`Examples:\n  avocado ${command}`), command);
    assert.equal(help.stderr, '');
  }
});

test('wrong input ends with code 2 and one line that says what to do', async () => {
  const wrong: [args: string[], expected: RegExp][] = [
    [['frobnicate'], /^error: unknown command 'frobnicate'; see avocado --help$/],
    [['gte', 'k'], /Did you mean get\?/],
    [['get'], /missing required argument 'key'; see avocado get --help$/],
    [['get', 'k', 'l'], /too many arguments/],
    [['get', 'k', '--colour'], /^error: unknown option '--colour'; see avocado get --help$/],
    [['get', 'k', '--timeout', '5'], /Give a duration like 250ms, 5s, 2m or 1h/],
    [['get', 'k', '--timeout', '0s'], /Give a duration/],
    [['get', 'k', '--timeout', '1000h'], /Give a duration/],
    [['get', 'k', '--datagram-bytes', '100'], /Give a multiple of 8 from 1200 to 65504/],
    [['get', 'k', '--datagram-bytes', '1201'], /Give a multiple of 8/],
    [['get', 'k'], /^error CLUSTER_FILES: no cluster given.*avocado dev.*--cluster DIR or AVOCADO_CLUSTER$/],
    [
      ['get', 'k', '--cluster', '/nowhere'],
      /^error CLUSTER_FILES: \/nowhere\/cluster\.json is missing: run avocado init/,
    ],
    [['status', '--cluster', '/nowhere'], /^error CLUSTER_FILES: \/nowhere\/cluster\.json is missing/],
    [
      ['put', 'k', '--cluster', clusterDirectory],
      /^error: give one value: as an argument, - for standard input, or --file/,
    ],
    [['put', 'k', 'v', '--file', 'f', '--cluster', clusterDirectory], /^error: give one value/],
    [['put', 'k', '--file', '/nowhere', '--cluster', clusterDirectory], /^error: \/nowhere can't be read \(ENOENT\)/],
    [
      ['replica', '--index', '0', '--cas', 'https://127.0.0.1:1'],
      /^error INVALID_ARGUMENT: a CAS is named as it prints/,
    ],
    [['las', '--cas', 'https://127.0.0.1:1#00'], /^error INVALID_ARGUMENT: a CAS is named as it prints/],
    [['las', '--cas', 'x', '--listen', '7481'], /Give an address like 127\.0\.0\.1:7480/],
    [['cas', 'run', '/nowhere'], /^error CLUSTER_FILES: \/nowhere\/cas-state\.sealed is missing: give the directory/],
    [['cas', 'revoke-key', 'x', '--cas', 'x', '--operator-key', 'x'], /Give 64 lower-case hexadecimal digits/],
    [
      ['cas', 'show', '--cas', 'x', '--machine', join(clusterDirectory, 'm')],
      /^error INVALID_ARGUMENT: a CAS is named/,
    ],
    [['audit', 'verify', 'x', '--key', 'y'], /^error: --key is 64 hexadecimal digits, or a CAS reference$/],
    [['incr', 'k', '1.5', '--cluster', clusterDirectory], /'1\.5' is invalid .*Give a whole number of signed 64 bits/],
    [['incr', 'k', '9223372036854775808'], /Give a whole number of signed 64 bits/],
    [['incr', 'k', '-9223372036854775809'], /Give a whole number of signed 64 bits/],
    [['put', 'k', 'v', '--if-absent', '--if-value', 'x'], /'--if-absent' cannot be used with option '--if-value/],
    [['put', 'k', 'v', '--if-version', 'x', '--if-value', 'x'], /cannot be used with option/],
    [['delete', 'k', '--if-version', 'x', '--if-value', 'x'], /cannot be used with option/],
    [['delete', 'k', '--if-absent'], /unknown option '--if-absent'/],
    [['update', 'k'], /missing required argument 'program'/],
    [['update', '--attempts', '0', 'k', 'cat'], /Give a whole number from 1 to 1000000/],
    [['init'], /missing required argument 'dir'/],
    [['init', clusterDirectory], /^error CLUSTER_FILES: .* holds a cluster already.*--force/],
    [['init', 'x', '--mode', 'open'], /Allowed choices are secure, authenticated, plaintext/],
    [['init', 'x', '--members', 'a:1,b:2'], /^error INVALID_ARGUMENT: a cluster has 1, 3, 5 or 7 members/],
    [['init', 'x', '--members', 'a,b,c'], /Give addresses like/],
    [['init', 'x', '--members', 'a:1', '--replicas', '3'], /cannot be used with option/],
    [['init', 'x', '--members', 'a:70000'], /a port from 1 to 65535/],
    [['init', 'x', '--replicas', '4'], /2f\+1/],
    [['init', 'x', '--base-port', '65535'], /Give a whole number from 1 to 65529/],
    [['init', 'x', '--certificate-days', '1.5'], /Give a whole number from 1 to 3650/],
    [['dev', '--replicas', '2'], /Give 1, 3, 5 or 7: 2f\+1 replicas survive f crashes/],
    [['dev', '--mode', 'none'], /Allowed choices/],
    [['replica', '--cluster', clusterDirectory], /required option '--index <number>'/],
    [['replica', '--cluster', clusterDirectory, '--index', '-1'], /Give a whole number from 0 to 6/],
    [
      ['replica', '--cluster', clusterDirectory, '--index', '1'],
      /the cluster has 1 members, give an index from 0 to 0/,
    ],
    [
      ['replica', '--index', '0', '--bind', ':7400'],
      /Give an address like 0\.0\.0\.0, 10\.0\.0\.7:9400 or \[::1\]:9400/,
    ],
    [['replica', '--index', '0', '--bind', '127.0.0.1:0'], /Give an address like/],
    [['replica', '--index', '0', '--bind', '127.0.0.1:70000'], /Give an address like/],
    [['replica', '--index', '0', '--trusted-memory', 'much'], /Give bytes like 4096, 64KiB, 128MiB or 4GiB/],
    [['replica', '--index', '0', '--trusted-memory', '1KiB'], /Give a value from 1 MiB to 64 GiB/],
  ];
  for (const [args, expected] of wrong) {
    const { exitCode, stdout, stderr } = await runAvocado(sandbox, args);
    const what = `avocado ${args.join(' ')}: ${stderr}`;
    assert.equal(exitCode, 2, what);
    assert.match(stderr, /^[^\n]+\n$/, what);
    assert.match(stderr.trimEnd(), expected, what);
    assert.equal(stdout, '', what);
  }
  assert.equal(existsSync('x'), false);
});

test('without a command the help goes to stderr with code 2', async () => {
  const { exitCode, stdout, stderr } = await runAvocado(sandbox, []);
  assert.equal(exitCode, 2);
  assert.equal(stdout, '');
  assert.match(stderr, /^Usage: avocado/);
});

test('init writes a cluster and says how to start it', async () => {
  const directory = join(sandbox.temporaryDirectory, 'new', 'cluster');
  const { exitCode, stdout } = await runAvocado(sandbox, [
    'init',
    directory,
    '--base-port',
    '9000',
    '--mode',
    'plaintext',
  ]);
  assert.equal(exitCode, 0);
  assert.match(stdout, new RegExp(`replica --cluster ${directory} --index 2 --allow-plaintext\n`));
  assert.match(stdout, /certificates expire \d{4}-/);
  assert.equal(readdirSync(directory).length, 7);

  const members = 'r0.example:7400,[::1]:7401,10.0.0.3:7402';
  const json = await runAvocado(sandbox, ['init', directory, '--force', '--members', members, '--json']);
  assert.equal(json.exitCode, 0);
  const report = JSON.parse(json.stdout) as { clusterId: string; members: unknown; mode: string };
  assert.match(report.clusterId, /^[0-9a-f]{32}$/);
  assert.equal(report.mode, 'secure');
  assert.deepEqual(report.members, [
    { index: 0, host: 'r0.example', port: 7400 },
    { index: 1, host: '::1', port: 7401 },
    { index: 2, host: '10.0.0.3', port: 7402 },
  ]);
});

test('--cluster goes before AVOCADO_CLUSTER, and that before the running dev cluster', async () => {
  const environment = { AVOCADO_CLUSTER: '/from-environment' };
  const named = await runAvocado(sandbox, ['get', 'k', '--cluster', '/from-option'], { environment });
  assert.match(named.stderr, /\/from-option\/cluster\.json is missing/);

  const pointer = join(sandbox.runtimeDirectory, `avocado-dev-${process.geteuid?.() ?? 'user'}.json`);
  writeFileSync(pointer, JSON.stringify({ pid: process.pid, directory: '/from-pointer' }), { mode: 0o600 });
  const fromEnvironment = await runAvocado(sandbox, ['get', 'k'], { environment });
  assert.match(fromEnvironment.stderr, /\/from-environment\/cluster\.json is missing/);
  const fromPointer = await runAvocado(sandbox, ['get', 'k']);
  assert.match(fromPointer.stderr, /\/from-pointer\/cluster\.json is missing/);
  const second = await runAvocado(sandbox, ['dev']);
  assert.equal(second.exitCode, 2);
  assert.match(second.stderr, new RegExp(`^error: a dev cluster is running already.*kill ${process.pid}\n$`));
});

test('a port in use is one line with code 2', async () => {
  const taken = await UdpTransport.open({ host: '127.0.0.1', port: 0 });
  try {
    const directory = join(sandbox.temporaryDirectory, 'taken');
    initClusterDirectory({ directory, members: [{ host: '127.0.0.1', port: taken.port }], mode: 'secure' });
    const { exitCode, stderr } = await runAvocado(sandbox, ['replica', '--cluster', directory, '--index', '0']);
    assert.match(stderr, new RegExp(`^error PORT_IN_USE: [^\n]*${taken.port}[^\n]*\n$`));
    assert.equal(exitCode, 2);
  } finally {
    await taken.close();
  }
});

test('--bind takes a port of its own, for a replica behind a port forwarder', async () => {
  const taken = await UdpTransport.open({ host: '127.0.0.1', port: 0 });
  try {
    const bind = ['--bind', `127.0.0.1:${taken.port}`];
    const { exitCode, stderr } = await runAvocado(sandbox, [
      'replica',
      '--cluster',
      clusterDirectory,
      '--index',
      '0',
      ...bind,
    ]);
    assert.match(stderr, new RegExp(`^error PORT_IN_USE: UDP port ${taken.port} of 127.0.0.1 is in use[^\n]*\n$`));
    assert.equal(exitCode, 2);
  } finally {
    await taken.close();
  }
});

test('a replica of a plaintext cluster starts only when that is allowed', async () => {
  const directory = join(sandbox.temporaryDirectory, 'plaintext');
  initClusterDirectory({ directory, members: [{ host: '127.0.0.1', port: 1 }], mode: 'plaintext' });
  const { exitCode, stderr } = await runAvocado(sandbox, ['replica', '--cluster', directory, '--index', '0']);
  assert.equal(exitCode, 2);
  assert.match(stderr, /^error INVALID_ARGUMENT: [^\n]*--allow-plaintext[^\n]*\n$/);
});

test('doctor reports each check, as JSON too', async () => {
  const { exitCode, stdout } = await runAvocado(sandbox, ['doctor', '--json']);
  assert.equal(exitCode, 0);
  const { checks } = JSON.parse(stdout) as { checks: { name: string; level: string; seen: string; advice?: string }[] };
  for (const name of ['node version', 'cores', 'memory', 'receive buffer', 'ports of init']) {
    assert(
      checks.some((check) => check.name === name),
      name,
    );
  }
  for (const { level, advice, name } of checks) {
    assert.match(level, /^(ok|warn)$/);
    assert.equal(advice === undefined, level === 'ok', `${name} says what to change unless it is fine`);
  }
  const text = await runAvocado(sandbox, ['doctor']);
  assert.equal(text.stdout.trimEnd().split('\n').length, checks.length);
});
