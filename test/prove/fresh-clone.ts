import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { finished } from '../cli/avocado-process.ts';
import type { Finished } from '../cli/avocado-process.ts';
import { until } from '../processes/until.ts';
import { MINUTE_MS } from './proof.ts';
import type { ClaimResult, Proof, ProofContext } from './proof.ts';
import { TiedGroup } from './tied-group.ts';

/** What a newcomer does with the last commit: clone, install, start, use, stop, test. */
const INSTALL_TIMEOUT_MS = 10 * MINUTE_MS;
const START_TIMEOUT_MS = 2 * MINUTE_MS;
const COMMAND_TIMEOUT_MS = MINUTE_MS;
const TEST_TIMEOUT_MS = 25 * MINUTE_MS;

export const freshClone: Proof = {
  name: 'fresh-clone',
  subject: 'a fresh clone serves after npm ci && npm start, and its tests pass',
  timeoutMs: 40 * MINUTE_MS,
  run: proveClone,
};

async function proveClone(context: ProofContext): Promise<ClaimResult[]> {
  const clone = join(context.directory, 'clone');
  context.progress('clones the last commit');
  await succeed(context, 'git', ['clone', '--quiet', process.cwd(), clone], context.directory, COMMAND_TIMEOUT_MS);
  const commit = (
    await succeed(context, 'git', ['rev-parse', '--short', 'HEAD'], clone, COMMAND_TIMEOUT_MS)
  ).stdout.trim();
  context.progress('npm ci');
  await succeed(context, 'npm', ['ci', '--loglevel=error'], clone, INSTALL_TIMEOUT_MS);
  return [await serve(context, clone, commit), await test(context, clone, commit)];
}

async function serve(context: ProofContext, clone: string, commit: string): Promise<ClaimResult> {
  const runtimeDirectory = join(context.directory, 'run');
  const temporaryDirectory = join(context.directory, 'tmp');
  mkdirSync(runtimeDirectory, { mode: 0o700 });
  mkdirSync(temporaryDirectory);
  const environment = { XDG_RUNTIME_DIR: runtimeDirectory, TMPDIR: temporaryDirectory };
  context.progress('npm start');
  const start = spawnIn(clone, 'npm', ['start'], environment);
  const group = new TiedGroup(start);
  const output = { text: '' };
  start.stdout?.on('data', (chunk: Buffer) => (output.text += chunk.toString()));
  const steps: string[] = [];
  try {
    await until(() => output.text.includes('Avocado is up'), 'npm start to serve', START_TIMEOUT_MS);
    const avocado = async (...args: string[]): Promise<Finished> =>
      run(clone, process.execPath, [join(clone, 'dist/bench/avocado.js'), ...args], COMMAND_TIMEOUT_MS, environment);
    const check = (step: string, ok: boolean): void => void steps.push(ok ? step : `${step} FAILED`);
    check('put', (await avocado('put', 'greeting', 'hello')).exitCode === 0);
    check('get', (await avocado('get', 'greeting')).stdout === 'hello');
    check('delete', (await avocado('delete', 'greeting')).exitCode === 0);
    check('get of what is gone', (await avocado('get', 'greeting')).exitCode === 1);
    const status = await avocado('status');
    check('status with a quorum', status.exitCode === 0 && /Quorum read \(2 of 3\): ok/.test(status.stdout));
    context.progress('Ctrl-C');
    group.signal('SIGINT');
    await until(() => !group.isAlive, 'all processes to end after Ctrl-C', COMMAND_TIMEOUT_MS);
    const left = [...readdirSync(runtimeDirectory), ...readdirSync(temporaryDirectory)];
    check(left.length === 0 ? 'Ctrl-C leaves nothing' : `Ctrl-C leaves ${left.join(' ')}:`, left.length === 0);
  } finally {
    group.signal('SIGKILL');
  }
  return {
    claim: 'a fresh clone serves after npm ci && npm start: put, get, delete and status work from another process',
    ok: steps.length === 6 && !steps.some((step) => step.endsWith('FAILED')),
    figures: `commit ${commit}: ${steps.join(', ')}`,
    data: { commit, steps },
  };
}

async function test(context: ProofContext, clone: string, commit: string): Promise<ClaimResult> {
  context.progress('npm test');
  const { exitCode, stdout } = await run(clone, 'npm', ['test'], TEST_TIMEOUT_MS);
  const closingLine = stdout.trimEnd().split('\n').at(-1) ?? '';
  if (exitCode !== 0) context.progress(stdout);
  return {
    claim: 'a fresh clone passes npm test',
    ok: exitCode === 0 && /^[1-9]\d* passed, 0 failed/.test(closingLine),
    figures: `commit ${commit}: ${closingLine}`,
    data: { commit, exitCode, closingLine },
  };
}

async function succeed(
  context: ProofContext,
  command: string,
  args: readonly string[],
  directory: string,
  timeoutMs: number,
): Promise<Finished> {
  const result = await run(directory, command, args, timeoutMs);
  if (result.exitCode === 0) return result;
  context.progress(result.stdout + result.stderr);
  throw new Error(`${command} ${args.join(' ')} ended with ${result.exitCode}`);
}

async function run(
  directory: string,
  command: string,
  args: readonly string[],
  timeoutMs: number,
  environment: NodeJS.ProcessEnv = {},
): Promise<Finished> {
  const child = spawnIn(directory, command, args, environment);
  const group = new TiedGroup(child);
  const timer = setTimeout(() => group.signal('SIGKILL'), timeoutMs);
  try {
    return await finished(child);
  } finally {
    clearTimeout(timer);
  }
}

function spawnIn(
  directory: string,
  command: string,
  args: readonly string[],
  environment: NodeJS.ProcessEnv,
): ChildProcess {
  const { AVOCADO_CLUSTER: _, ...inherited } = process.env;
  const env = { ...inherited, ...environment };
  return spawn(command, args, { cwd: directory, env, detached: true, stdio: ['ignore', 'pipe', 'pipe'] });
}
