/**
 * No secret of a cluster is where others may read it: not in what is printed, not in arguments or environments of processes,
 * not in files that are open to others; and the keys that CAS made lie in no file in clear.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { openState } from '../../src/trust/chain/cas-state.ts';
import { accessOf, openPlatform } from '../../src/trust/chain/chain-access.ts';
import { readOperatorFile } from '../../src/trust/chain/operator-file.ts';
import { openSimulatedMachine } from '../../src/trust/chain/simulated-machine.ts';
import { bytesOfHex } from '../../src/trust/hex.ts';
import { makeSandbox, runAvocado, startAvocado } from '../cli/avocado-process.ts';

interface Secret {
  readonly name: string;
  readonly bytes: Uint8Array;
  /** It may lie in a file that only its owner can read. */
  readonly mayBeInFiles: boolean;
}

/** As bytes, and as they are written as text. */
function spellings({ bytes }: Secret): Buffer[] {
  const raw = Buffer.from(bytes);
  const base64 = raw.toString('base64').replace(/=+$/, '');
  return [raw, ...[raw.toString('hex'), raw.toString('hex').toUpperCase(), base64].map((text) => Buffer.from(text))];
}

function holds(place: Buffer, secret: Secret): boolean {
  return spellings(secret).some((spelling) => place.includes(spelling));
}

async function secretsOf(directory: string): Promise<Secret[]> {
  const access = accessOf(directory);
  const operator = readOperatorFile(join(directory, 'operator.json'));
  const machine = openSimulatedMachine(access.machine!);
  const sealed = readFileSync(join(directory, 'cas', 'cas-state.sealed'));
  const state = openState(sealed, await openPlatform(access).sealing.key(), 'state');
  assert.ok(state !== undefined, 'the test opens the state as CAS does');
  return [
    { name: "the operator's signing key", bytes: operator.signing.secretKey, mayBeInFiles: true },
    { name: "the operator's recovery key", bytes: operator.recovery.secretKey, mayBeInFiles: true },
    { name: "the machine's secret", bytes: machine.secret, mayBeInFiles: true },
    { name: 'the cluster key', bytes: bytesOfHex(state.clusterSecretKey), mayBeInFiles: false },
    // libsodium's secret key is seed | public key: the seed alone is as good.
    {
      name: 'the seed of the cluster key',
      bytes: bytesOfHex(state.clusterSecretKey).subarray(0, 32),
      mayBeInFiles: false,
    },
    { name: 'the recovery key', bytes: bytesOfHex(state.recoveryKey), mayBeInFiles: false },
    ...state.dataKeys.map(({ id, key }) => ({ name: `data key ${id}`, bytes: bytesOfHex(key), mayBeInFiles: false })),
  ];
}

test('no secret in logs, arguments, environments, open files', { skip: process.platform !== 'linux' }, async (t) => {
  const sandbox = makeSandbox();
  t.after(() => sandbox.remove());
  const dev = startAvocado(sandbox, ['dev', '--json']);
  const ended = once(dev, 'close');
  const printed: Buffer[] = [];
  for (const stream of [dev.stdout!, dev.stderr!]) stream.on('data', (part: Buffer) => printed.push(part));
  try {
    const [line] = (await once(createInterface({ input: dev.stdout! }), 'line')) as [string];
    const ready = JSON.parse(line) as { pid: number; directory: string; members: { pid: number }[] };
    for (const args of [
      ['put', 'key', 'value'],
      ['get', 'key'],
      ['status', '--json'],
      ['get', 'no such key'],
    ]) {
      const { stdout, stderr } = await runAvocado(sandbox, args);
      printed.push(Buffer.from(stdout), Buffer.from(stderr));
    }
    const secrets = await secretsOf(ready.directory);
    const check = (place: string, content: Buffer): void => {
      for (const secret of secrets) assert.ok(!holds(content, secret), `${secret.name} is in ${place}`);
    };

    for (const pid of [ready.pid, ...ready.members.map((member) => member.pid)]) {
      check(`the arguments of ${pid}`, readFileSync(`/proc/${pid}/cmdline`));
      check(`the environment of ${pid}`, readFileSync(`/proc/${pid}/environ`));
    }
    check('what was printed', Buffer.concat(printed));

    let fileCount = 0;
    for (const root of [sandbox.temporaryDirectory, sandbox.runtimeDirectory]) {
      for (const name of readdirSync(root, { recursive: true, encoding: 'utf8' })) {
        const path = join(root, name);
        const stat = statSync(path);
        if (!stat.isFile()) continue;
        fileCount++;
        const content = readFileSync(path);
        for (const secret of secrets.filter((each) => holds(content, each))) {
          assert.ok(secret.mayBeInFiles, `${secret.name} lies in ${name} in clear`);
          assert.equal(stat.mode & 0o077, 0, `${name} holds ${secret.name}, and others may read it`);
        }
      }
    }
    assert.ok(fileCount >= 7, 'the files of the cluster were looked at');
    const own = readFileSync(join(ready.directory, 'operator.json'));
    assert.ok(holds(own, secrets[0]!), 'what is looked for would be found');
  } finally {
    dev.kill('SIGINT');
    await ended;
  }
  const secretsAreGone = readdirSync(sandbox.temporaryDirectory).filter((name) => name.startsWith('avocado-'));
  assert.deepEqual(secretsAreGone, []);
});
