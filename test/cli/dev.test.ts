import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { makeSandbox, runAvocado, startAvocado } from './avocado-process.ts';
import type { Sandbox } from './avocado-process.ts';

/** `avocado dev` as users have it: real processes, other commands beside it, and nothing left afterwards. */
interface Ready {
  readonly pid: number;
  readonly directory: string;
  readonly pointer: string;
  readonly cas?: string;
  readonly chain?: readonly { readonly step: string; readonly who: string; readonly by: string }[];
  readonly members: { readonly index: number; readonly port: number; readonly pid: number }[];
}

class Dev {
  readonly child: ChildProcess;
  readonly ended: Promise<unknown>;
  readonly #lines: AsyncIterator<string>;

  constructor(sandbox: Sandbox, args: readonly string[]) {
    // A process group of its own, as a terminal gives it one: Ctrl-C reaches the replicas, too.
    this.child = startAvocado(sandbox, ['dev', '--json', ...args], { detached: true });
    this.ended = once(this.child, 'close');
    this.#lines = createInterface({ input: this.child.stdout! })[Symbol.asyncIterator]();
    this.child.stderr?.pipe(process.stderr);
  }

  async event(name: string): Promise<Record<string, unknown>> {
    for (;;) {
      const line = await this.#lines.next();
      assert(line.done !== true, `dev ended before it reported ${name}`);
      const event = JSON.parse(line.value) as Record<string, unknown>;
      if (event['event'] === name) return event;
    }
  }

  /** What a terminal does with Ctrl-C. Returns the names of the events until the end. */
  async interrupt(): Promise<unknown[]> {
    process.kill(-this.child.pid!, 'SIGINT');
    const names: unknown[] = [];
    for (let line = await this.#lines.next(); line.done !== true; line = await this.#lines.next()) {
      names.push((JSON.parse(line.value) as Record<string, unknown>)['event']);
    }
    await this.ended;
    return names;
  }

  async ready(): Promise<Ready> {
    return (await this.event('ready')) as unknown as Ready;
  }
}

/** Whatever a test does, its processes end with it: replicas end with their parent. */
function startDev(context: TestContext, sandbox: Sandbox, ...args: string[]): Dev {
  const dev = new Dev(sandbox, args);
  context.after(async () => {
    dev.child.kill('SIGKILL');
    await dev.ended;
    sandbox.remove();
  });
  return dev;
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

async function untilGone(isThere: () => boolean, what: string): Promise<void> {
  for (let attempt = 0; isThere(); attempt++) {
    assert(attempt < 500, `${what} is still there`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

function assertNothingLeft(sandbox: Sandbox, ready: Ready): void {
  assert.deepEqual(readdirSync(sandbox.runtimeDirectory), []);
  assert.deepEqual(readdirSync(sandbox.temporaryDirectory), []);
  for (const { pid, index } of ready.members) assert.equal(isAlive(pid), false, `replica ${index} still runs`);
}

test('dev serves other processes, and Ctrl-C leaves nothing behind', async (context) => {
  const sandbox = makeSandbox();
  const dev = startDev(context, sandbox);
  const ready = await dev.ready();
  assert.equal(ready.members.length, 3);
  assert.equal(ready.pid, dev.child.pid);
  assert.equal(existsSync(ready.pointer), true);
  assert.deepEqual(
    ready.chain
      ?.map(({ step, who, by }) => [step, who.replace(/ [0-9a-f]{16}$/, ''), by.replace(/ .*/, '')])
      .toSorted(),
    [
      ['admitted', 'replica 0', 'las'],
      ['admitted', 'replica 1', 'las'],
      ['admitted', 'replica 2', 'las'],
      ['las-attested', 'las', 'vendor'],
    ],
  );

  await context.test('a value is put, got and deleted by commands that find the cluster by themselves', async () => {
    assert.deepEqual(await runAvocado(sandbox, ['put', 'greeting', 'hello']), {
      exitCode: 0,
      stdout: 'ok\n',
      stderr: '',
    });
    assert.deepEqual(await runAvocado(sandbox, ['get', 'greeting']), { exitCode: 0, stdout: 'hello', stderr: '' });
    const json = await runAvocado(sandbox, ['get', 'greeting', '--json', '--cluster', ready.directory]);
    assert.deepEqual(JSON.parse(json.stdout), { key: 'greeting', found: true, encoding: 'utf8', value: 'hello' });

    assert.equal((await runAvocado(sandbox, ['delete', 'greeting'])).exitCode, 0);
    const absent = await runAvocado(sandbox, ['get', 'greeting']);
    assert.deepEqual(absent, { exitCode: 1, stdout: '', stderr: 'absent: greeting\n' });
    const absentJson = await runAvocado(sandbox, ['get', 'greeting', '--json']);
    assert.equal(absentJson.exitCode, 1);
    assert.deepEqual(JSON.parse(absentJson.stdout), { key: 'greeting', found: false });
  });

  await context.test('values come from standard input and files, byte by byte', async () => {
    const bytes = Uint8Array.from({ length: 1000 }, (_, i) => i & 0xff);
    assert.equal((await runAvocado(sandbox, ['put', 'piped', '-'], { stdin: bytes })).exitCode, 0);
    const file = join(sandbox.temporaryDirectory, 'value');
    writeFileSync(file, bytes);
    assert.equal((await runAvocado(sandbox, ['put', 'filed', '--file', file])).exitCode, 0);
    rmSync(file);
    for (const key of ['piped', 'filed']) {
      const got = JSON.parse((await runAvocado(sandbox, ['get', key, '--json'])).stdout) as Record<string, string>;
      assert.equal(got['encoding'], 'base64');
      assert.deepEqual(Uint8Array.from(Buffer.from(got['value'] ?? '', 'base64')), bytes);
    }
    assert.equal((await runAvocado(sandbox, ['put', 'empty', ''])).exitCode, 0);
    assert.deepEqual(await runAvocado(sandbox, ['get', 'empty']), { exitCode: 0, stdout: '', stderr: '' });
  });

  await context.test('keys and values over the limits are one line with code 2', async () => {
    const longKey = await runAvocado(sandbox, ['get', 'k'.repeat(1025)]);
    assert.equal(longKey.exitCode, 2);
    assert.match(longKey.stderr, /^error INVALID_KEY: [^\n]*1,?024[^\n]*\n$/);
    const large = await runAvocado(sandbox, ['put', 'large', '-'], { stdin: Buffer.alloc(2 ** 20 + 1) });
    assert.equal(large.exitCode, 2);
    assert.match(large.stderr, /^error VALUE_TOO_LARGE: [^\n]*\d[^\n]*\n$/);
  });

  await context.test('status shows each member and a quorum read', async () => {
    const text = await runAvocado(sandbox, ['status']);
    assert.equal(text.exitCode, 0, text.stderr);
    assert.match(text.stdout, /Quorum read \(2 of 3\): ok in [\d.]+ ms/);
    const json = await runAvocado(sandbox, ['status', '--json']);
    const { members, read } = JSON.parse(json.stdout) as { members: Record<string, unknown>[]; read: { ok: boolean } };
    assert.equal(read.ok, true);
    assert.deepEqual(
      members.map((member) => [member['index'], member['state'], member['epoch']]),
      [0, 1, 2].map((index) => [index, 'active', 1]),
    );
    assert.equal(new Set(members.map((member) => member['incarnation'])).size, 3);
  });

  await context.test('a second dev says that one is running and how to stop it', async () => {
    const second = await runAvocado(sandbox, ['dev']);
    assert.equal(second.exitCode, 2);
    assert.match(second.stderr, new RegExp(`already[^\n]*kill ${ready.pid}\n$`));
  });

  await context.test(
    'a replica that dies is reported and the others go on; without a quorum status says so',
    async () => {
      process.kill(ready.members[1]!.pid, 'SIGKILL');
      const event = await dev.event('replica-ended');
      assert.equal(event['index'], 1);
      assert.equal(event['serves'], true);
      assert.equal((await runAvocado(sandbox, ['put', 'still', 'here'])).exitCode, 0);
      assert.equal((await runAvocado(sandbox, ['get', 'still'])).stdout, 'here');
      const status = await runAvocado(sandbox, ['status', '--json', '--timeout', '2s']);
      assert.equal(status.exitCode, 0, status.stderr);
      const { members } = JSON.parse(status.stdout) as { members: Record<string, unknown>[] };
      assert.deepEqual(
        members.map((member) => member['state']),
        ['active', 'unreachable', 'active'],
      );

      process.kill(ready.members[2]!.pid, 'SIGKILL');
      assert.equal((await dev.event('replica-ended'))['serves'], false);
      const alone = await runAvocado(sandbox, ['status', '--timeout', '1s']);
      assert.equal(alone.exitCode, 1);
      assert.match(alone.stderr, /^error NO_QUORUM: [^\n]+\n$/);
      assert.match(alone.stdout, /replica 0 .* active/, 'what is known is shown all the same');
      assert.match(alone.stdout, /replica 2 .* unreachable/);
      const get = await runAvocado(sandbox, ['get', 'still', '--timeout', '1s']);
      assert.equal(get.exitCode, 1);
      assert.match(get.stderr, /^error NO_QUORUM: [^\n]+\n$/);
    },
  );

  assert.deepEqual(await dev.interrupt(), ['stopped']);
  assert.equal(dev.child.exitCode, 0);
  assertNothingLeft(sandbox, ready);
});

test('a stopped replica does not keep dev from ending', async (context) => {
  const sandbox = makeSandbox();
  const dev = startDev(context, sandbox);
  const ready = await dev.ready();
  process.kill(ready.members[0]!.pid, 'SIGSTOP');
  dev.child.kill('SIGTERM');
  await dev.ended;
  assert.equal(dev.child.exitCode, 0);
  assertNothingLeft(sandbox, ready);
});

test('when dev is killed its replicas end, its files go, and the next command does not take it for running', async (context) => {
  const sandbox = makeSandbox();
  const dev = startDev(context, sandbox, '--replicas', '1');
  const ready = await dev.ready();
  dev.child.kill('SIGKILL');
  await dev.ended;
  await untilGone(() => isAlive(ready.members[0]!.pid), 'the replica');
  await untilGone(() => existsSync(ready.directory), 'the cluster directory');
  const get = await runAvocado(sandbox, ['get', 'k']);
  assert.equal(get.exitCode, 2);
  assert.match(get.stderr, /no dev cluster is running/);
  assertNothingLeft(sandbox, ready);
});

test('plaintext serves, and is warned of at each start', async (context) => {
  const sandbox = makeSandbox();
  const dev = startDev(context, sandbox, '--mode', 'plaintext');
  let warnings = '';
  dev.child.stderr?.on('data', (chunk: Buffer) => {
    warnings += chunk.toString();
  });
  const ready = await dev.ready();
  assert.match(warnings, /warning: mode plaintext/);
  assert.equal((await runAvocado(sandbox, ['put', 'k', 'open'])).exitCode, 0);
  assert.equal((await runAvocado(sandbox, ['get', 'k'])).stdout, 'open');
  // Ctrl-C may reach a replica before its parent: it is the parent who ends it.
  process.kill(ready.members[0]!.pid, 'SIGINT');
  assert.equal((await runAvocado(sandbox, ['get', 'k'])).stdout, 'open');
  assert.deepEqual(await dev.interrupt(), ['stopped'], 'no replica ended before it was told to');
  assertNothingLeft(sandbox, ready);
});

test('interrupted while it starts, dev leaves nothing behind', async (context) => {
  const sandbox = makeSandbox();
  const dev = startDev(context, sandbox);
  // The first thing it makes once it can be interrupted cleanly.
  await untilGone(() => readdirSync(sandbox.temporaryDirectory).length === 0, 'the empty temporary directory');
  dev.child.kill('SIGINT');
  await dev.ended;
  assert.equal(dev.child.exitCode, 0);
  assert.deepEqual(readdirSync(sandbox.runtimeDirectory), []);
  assert.deepEqual(readdirSync(sandbox.temporaryDirectory), []);
});

test('with --static keys come from files, and there is no CAS', async (context) => {
  const sandbox = makeSandbox();
  const dev = startDev(context, sandbox, '--static', '--replicas', '1');
  const ready = await dev.ready();
  assert.equal(ready.cas, undefined);
  assert.equal(ready.chain, undefined);
  assert.equal(existsSync(join(ready.directory, 'cluster-key.json')), true);
  assert.equal((await runAvocado(sandbox, ['put', 'k', 'v'])).stdout, 'ok\n');
  await dev.interrupt();
  assertNothingLeft(sandbox, ready);
});

test('a terminal shows who attests whom as it happens', async (context) => {
  const sandbox = makeSandbox();
  const child = startAvocado(sandbox, ['dev', '--replicas', '1']);
  const ended = once(child, 'close');
  context.after(() => sandbox.remove());
  let shown = '';
  child.stdout!.setEncoding('utf8').on('data', (text: string) => {
    shown += text;
    if (shown.includes('Ctrl-C stops the cluster')) child.kill('SIGINT');
  });
  await ended;
  assert.match(
    shown,
    /^vendor {2}simulated: gives no confidentiality\n└─ CAS {2}https:\S+, its TLS certificate bound in its evidence\n {3}└─ LAS [0-9a-f]{8} {2}attested through the vendor in \d+ ms\n {6}└─ replica 0 {2}vouched for in [\d.]+ ms, admitted after [\d.]+ ms\nAvocado is up/,
  );
});
