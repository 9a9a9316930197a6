import { once } from 'node:events';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { assert } from '../../net/assert.ts';
import { openState } from '../../src/trust/chain/cas-state.ts';
import { accessOf, openPlatform } from '../../src/trust/chain/chain-access.ts';
import { readOperatorFile } from '../../src/trust/chain/operator-file.ts';
import { openSimulatedMachine } from '../../src/trust/chain/simulated-machine.ts';
import { bytesOfHex } from '../../src/trust/hex.ts';
import { makeSandbox, runAvocado, startAvocado } from '../cli/avocado-process.ts';

/** Looks for the secrets of a cluster, as bytes and as text, wherever others may read, and in files in clear. */
export interface SecretScan {
  /** Each a secret and the place where it must not be. */
  readonly found: readonly string[];
  readonly secretCount: number;
  /** Whose arguments and environment were looked at. */
  readonly processCount: number;
  readonly printedBytes: number;
  readonly fileCount: number;
  /** A secret where it does belong was found there: so the others would be. */
  readonly findsWhatIsThere: boolean;
  /** What the cluster has left of itself. */
  readonly left: readonly string[];
}

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
  assert(state !== undefined, 'the scan opens the state as CAS does');
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

const COMMANDS = [
  ['put', 'key', 'value'],
  ['get', 'key'],
  ['status', '--json'],
  ['get', 'no such key'],
];

/** Of `avocado dev`, with its CAS, its LAS and its replicas, and of clients. On Linux. */
export async function scanForSecrets(): Promise<SecretScan> {
  const sandbox = makeSandbox();
  try {
    const dev = startAvocado(sandbox, ['dev', '--json']);
    const ended = once(dev, 'close');
    const printed: Buffer[] = [];
    for (const stream of [dev.stdout!, dev.stderr!]) stream.on('data', (part: Buffer) => printed.push(part));
    const found: string[] = [];
    let scan: Omit<SecretScan, 'left'>;
    try {
      const [line] = (await once(createInterface({ input: dev.stdout! }), 'line')) as [string];
      const ready = JSON.parse(line) as { pid: number; directory: string; members: { pid: number }[] };
      for (const args of COMMANDS) {
        const { stdout, stderr } = await runAvocado(sandbox, args);
        printed.push(Buffer.from(stdout), Buffer.from(stderr));
      }
      const secrets = await secretsOf(ready.directory);
      const look = (place: string, content: Buffer): void => {
        for (const { name } of secrets.filter((secret) => holds(content, secret))) found.push(`${name} is in ${place}`);
      };
      const pids = [ready.pid, ...ready.members.map((member) => member.pid)];
      for (const pid of pids) {
        look(`the arguments of ${pid}`, readFileSync(`/proc/${pid}/cmdline`));
        look(`the environment of ${pid}`, readFileSync(`/proc/${pid}/environ`));
      }
      const allPrinted = Buffer.concat(printed);
      look('what was printed', allPrinted);
      scan = {
        found,
        secretCount: secrets.length,
        processCount: pids.length,
        printedBytes: allPrinted.length,
        fileCount: lookInFiles([sandbox.temporaryDirectory, sandbox.runtimeDirectory], secrets, found),
        findsWhatIsThere: holds(readFileSync(join(ready.directory, 'operator.json')), secrets[0]!),
      };
    } finally {
      dev.kill('SIGINT');
      await ended;
    }
    const left = readdirSync(sandbox.temporaryDirectory).filter((name) => name.startsWith('avocado-'));
    return { ...scan, left };
  } finally {
    sandbox.remove();
  }
}

/** How many there are. */
function lookInFiles(roots: readonly string[], secrets: readonly Secret[], found: string[]): number {
  let fileCount = 0;
  for (const root of roots) {
    for (const name of readdirSync(root, { recursive: true, encoding: 'utf8' })) {
      const path = join(root, name);
      const stat = statSync(path);
      if (!stat.isFile()) continue;
      fileCount++;
      const content = readFileSync(path);
      for (const secret of secrets.filter((each) => holds(content, each))) {
        if (!secret.mayBeInFiles) found.push(`${secret.name} lies in ${name} in clear`);
        if ((stat.mode & 0o077) !== 0) found.push(`${name} holds ${secret.name}, and others may read it`);
      }
    }
  }
  return fileCount;
}
