import { spawn } from 'node:child_process';
import { readFileSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { finished } from '../cli/avocado-process.ts';
import { TiedGroup } from './tied-group.ts';

const PACKAGE_ROOT = fileURLToPath(new URL('../../../', import.meta.url));
/** npm ci is the longest of its steps. */
const STEP_TIMEOUT_MS = 5 * 60_000;

export interface EarlierBuild {
  readonly ok: true;
  readonly commit: string;
  /** The built executable. */
  readonly main: string;
}

/** Not every copy of the project has its history, and not every machine the packages of then. */
export interface NoEarlierBuild {
  readonly ok: false;
  readonly reason: string;
}

/**
 * Builds the project in `directory` as it was before the commit that brought a file, from this repository's own history.
 * Where the packages of then are those of now, they are used; else they are installed.
 * @param directory Does not exist yet.
 */
export async function buildBefore(file: string, directory: string): Promise<EarlierBuild | NoEarlierBuild> {
  try {
    const added = await run('git', ['log', '--diff-filter=A', '--format=%H', '--', file], PACKAGE_ROOT);
    const first = added.split('\n').at(-1)!;
    if (first === '') return { ok: false, reason: `the history here has no commit that brought ${file}` };
    // A shallow history's oldest commit brings all files, and has no parent.
    const before = (await run('git', ['log', '--max-count=1', '--format=%P', first], PACKAGE_ROOT)).split(' ')[0]!;
    if (before === '')
      return { ok: false, reason: `the history here does not reach back before ${file}: it is shallow` };
    await run('git', ['clone', '--quiet', '--no-checkout', PACKAGE_ROOT, directory], PACKAGE_ROOT);
    await run('git', ['checkout', '--quiet', before], directory);
    if (hasSamePackages(directory)) symlinkSync(join(PACKAGE_ROOT, 'node_modules'), join(directory, 'node_modules'));
    else await run('npm', ['ci', '--loglevel=error', '--ignore-scripts'], directory);
    await run(process.execPath, [join('node_modules', 'typescript', 'bin', 'tsc'), '-p', 'tsconfig.json'], directory);
    return { ok: true, commit: before.slice(0, 7), main: join(directory, 'dist/bench/avocado.js') };
  } catch (error) {
    return { ok: false, reason: (error as Error).message };
  }
}

/** Whether each package that the lock file there names is installed here in the same version. */
function hasSamePackages(directory: string): boolean {
  const [theirs, ours] = [packagesOf(directory), packagesOf(PACKAGE_ROOT)];
  return Object.entries(theirs).every(([path, { version }]) => path === '' || ours[path]?.version === version);
}

function packagesOf(directory: string): Record<string, { readonly version?: string }> {
  const lock = JSON.parse(readFileSync(join(directory, 'package-lock.json'), 'utf8')) as {
    packages: Record<string, { readonly version?: string }>;
  };
  return lock.packages;
}

/** What it prints, without white space around it. */
async function run(command: string, args: readonly string[], directory: string): Promise<string> {
  const child = spawn(command, args, { cwd: directory, detached: true, stdio: ['ignore', 'pipe', 'pipe'] });
  // One that is not there has no process id, which is said next.
  child.once('error', () => {});
  const group = new TiedGroup(child);
  const timer = setTimeout(() => group.signal('SIGKILL'), STEP_TIMEOUT_MS);
  try {
    const { exitCode, stdout, stderr } = await finished(child);
    if (exitCode === 0) return stdout.trim();
    const said = (stderr.trim() || stdout.trim()).split('\n').at(-1) ?? '';
    throw new Error(`${command} ${args.join(' ')} ended with ${exitCode ?? 'a signal'}: ${said}`);
  } finally {
    clearTimeout(timer);
  }
}
