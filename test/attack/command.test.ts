import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { suite, test } from 'node:test';
import { ATTACKS } from '../../bench/attack/attacks.ts';
import { whyNoAccess } from '../../bench/attack/process-memory.ts';
import type { AttackReport } from '../../bench/attack/report.ts';
import { makeSandbox, runAvocado, startAvocado } from '../cli/avocado-process.ts';
import type { Sandbox } from '../cli/avocado-process.ts';

const NAMES = ATTACKS.map(({ name }) => name);

/** In a sandbox of its own: what one test runs is not found by another. */
function testIn(name: string, run: (sandbox: Sandbox) => Promise<void>): void {
  test(name, async () => {
    const sandbox = makeSandbox();
    try {
      await run(sandbox);
    } finally {
      sandbox.remove();
    }
  });
}

suite('avocado attack', { concurrency: 2 }, () => {
  testIn('wrong input ends with code 2 and one line that says what to do', async (sandbox) => {
    const cases: [string[], RegExp][] = [
      [['flip-valu'], new RegExp(`^error: there is no attack "flip-valu": give one or more of ${NAMES.join(', ')}\n$`)],
      [['--connect'], /^error CLUSTER_FILES: no cluster given and no dev cluster is running[^\n]*\n$/],
      [['--connect', '/nowhere'], /^error CLUSTER_FILES: \/nowhere\/\S+ is missing[^\n]*\n$/],
      [['--mode', 'plaintext'], /^error: mode plaintext protects nothing[^\n]*give --allow-plaintext\n$/],
      [
        ['--mode', 'secure', '--connect'],
        /^error: option '--mode <mode>' cannot be used with option '--connect \[dir\]'/,
      ],
    ];
    const ends = await Promise.all(cases.map(([args]) => runAvocado(sandbox, ['attack', ...args])));
    for (const [i, { exitCode, stdout, stderr }] of ends.entries()) {
      assert.match(stderr, cases[i]![1]);
      assert.equal(stdout, '');
      assert.equal(exitCode, 2);
    }
  });

  testIn('--list shows each attack with what the attacker has', async (sandbox) => {
    const [text, json] = await Promise.all([
      runAvocado(sandbox, ['attack', '--list']),
      runAvocado(sandbox, ['attack', 'old-value', '--list', '--json']),
    ]);
    for (const { name, power, deed } of ATTACKS) {
      assert.match(text.stdout, new RegExp(`^${name} +${power} +${deed.replace('?', '\\?')}$`, 'm'));
    }
    const { name, power, deed } = ATTACKS[2]!;
    assert.deepEqual(JSON.parse(json.stdout), [{ name, power, deed }]);
  });

  testIn('plaintext, when it is allowed, shows what succeeds, with code 1', async (sandbox) => {
    const names = ['change-in-flight', 'replay-handshake', 'plaintext-client'];
    const args = ['attack', ...names, '--mode', 'plaintext', '--allow-plaintext'];
    const { exitCode, stdout, stderr } = await runAvocado(sandbox, args);
    assert.match(
      stdout,
      /^Attacks on a cluster of its own: 3 replicas, mode plaintext\.\nMode plaintext protects nothing/,
    );
    assert.match(
      stdout,
      /^change-in-flight {2}the network flips a bit.*\n {2}power {6}network: .*\n {2}SUCCEEDED {2}a get /m,
    );
    assert.match(stdout, /^ {2}not tried {2}plaintext is what this cluster speaks$/m);
    assert.match(stdout, /\n3 attacks: 0 caught, 2 succeeded, 1 not tried\n$/);
    assert.equal(stderr, 'error: succeeded: change-in-flight, replay-handshake\n');
    assert.equal(exitCode, 1);
  });

  testIn('the running dev cluster is found, and keeps its replicas unless that is allowed', async (sandbox) => {
    const dev = startAvocado(sandbox, ['dev', '--static', '--json']);
    const ended = once(dev, 'close');
    try {
      dev.stderr!.resume();
      const [line] = (await once(createInterface({ input: dev.stdout! }), 'line')) as [string];
      const ready = JSON.parse(line) as { directory: string; members: { pid: number }[] };
      const names = ['flip-value', 'plaintext-client', 'empty-replica'];
      const lenient = await runAvocado(sandbox, ['attack', ...names, '--json']);
      assert.equal(lenient.stderr, '');
      assert.equal(lenient.exitCode, 0);
      const report = JSON.parse(lenient.stdout) as AttackReport;
      assert.equal(report.directory, ready.directory);
      assert.equal(report.own, false);
      const memory = whyNoAccess(ready.members[1]!.pid) === undefined ? 'caught' : 'not tried';
      assert.deepEqual(
        report.attacks.map(({ verdict }) => verdict),
        [memory, 'caught', 'not tried'],
      );
      assert.match(report.attacks[2]!.reason ?? '', /give --allow-restart/);

      const strict = await runAvocado(sandbox, ['attack', 'empty-replica', '--strict']);
      assert.equal(strict.stderr, 'error: not tried: empty-replica\n');
      assert.equal(strict.exitCode, 1);

      const allowed = await runAvocado(sandbox, ['attack', 'empty-replica', '--allow-restart', '--connect']);
      assert.match(allowed.stdout, /^ {13}replica 0 +state +active -> outside$/m);
      assert.equal(allowed.exitCode, 0);
      const again = await runAvocado(sandbox, ['attack', 'foreign-key']);
      assert.match(
        again.stderr,
        /^error: replica 0 is unreachable, and attacks are judged on a whole cluster: [^\n]*\n$/,
      );
      assert.equal(again.exitCode, 1);
      const { stdout } = await runAvocado(sandbox, ['status', '--json', '--timeout', '1s']);
      const { members } = JSON.parse(stdout) as { members: { state: string; keys?: number }[] };
      assert.deepEqual(
        members.map(({ state }) => state),
        ['unreachable', 'active', 'active'],
      );
    } finally {
      dev.kill('SIGINT');
      await ended;
    }
    assert.deepEqual(readdirSync(sandbox.temporaryDirectory), [], 'nothing is left');
  });

  testIn('Ctrl-C ends the attacks, and leaves nothing behind', async (sandbox) => {
    const child = startAvocado(sandbox, ['attack']);
    const ended = once(child, 'close') as Promise<[number | null]>;
    await once(createInterface({ input: child.stdout! }), 'line');
    child.kill('SIGINT');
    const [exitCode] = await ended;
    assert.equal(exitCode, 130);
    assert.deepEqual(readdirSync(sandbox.temporaryDirectory), []);
  });
});
