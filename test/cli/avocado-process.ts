import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';

/** Runs the built command line as users do, in an environment where nothing of this machine's user is met or touched. */
export interface Sandbox {
  /** XDG_RUNTIME_DIR, where the pointer to the running dev cluster lies. */
  readonly runtimeDirectory: string;
  /** TMPDIR; also a place for a test's own files. */
  readonly temporaryDirectory: string;
  readonly environment: NodeJS.ProcessEnv;
  remove(): void;
}

const MAIN = fileURLToPath(new URL('../../bench/avocado.js', import.meta.url));

export function makeSandbox(): Sandbox {
  const root = mkdtempSync(join(tmpdir(), 'avocado-test-'));
  const runtimeDirectory = join(root, 'run');
  const temporaryDirectory = join(root, 'tmp');
  mkdirSync(runtimeDirectory, { mode: 0o700 });
  mkdirSync(temporaryDirectory, { mode: 0o700 });
  const { AVOCADO_CLUSTER: _, ...inherited } = process.env;
  return {
    runtimeDirectory,
    temporaryDirectory,
    environment: { ...inherited, XDG_RUNTIME_DIR: runtimeDirectory, TMPDIR: temporaryDirectory },
    remove: () => rmSync(root, { recursive: true, force: true }),
  };
}

export interface Finished {
  readonly exitCode: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export function startAvocado(
  sandbox: Sandbox,
  args: readonly string[],
  options: { environment?: NodeJS.ProcessEnv; detached?: boolean; main?: string | undefined } = {},
): ChildProcess {
  return spawn(process.execPath, [options.main ?? MAIN, ...args], {
    env: { ...sandbox.environment, ...options.environment },
    detached: options.detached ?? false,
    stdio: ['pipe', 'pipe', 'pipe'],
  });
}

export async function runAvocado(
  sandbox: Sandbox,
  args: readonly string[],
  options: { stdin?: string | Uint8Array; environment?: NodeJS.ProcessEnv } = {},
): Promise<Finished> {
  const child = startAvocado(sandbox, args, options);
  child.stdin?.end(options.stdin);
  return finished(child);
}

export async function finished(child: ChildProcess): Promise<Finished> {
  const exit = new Promise<number | null>((resolve) => child.once('close', resolve));
  const [stdout, stderr] = await Promise.all([text(child.stdout!), text(child.stderr!)]);
  return { exitCode: await exit, stdout, stderr };
}
