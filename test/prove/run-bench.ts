import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { BenchReport } from '../../bench/report.ts';
import { finished, makeSandbox, startAvocado } from '../cli/avocado-process.ts';
import { MINUTE_MS } from './proof.ts';
import type { ProofContext } from './proof.ts';
import { TiedGroup } from './tied-group.ts';

const BENCH_TIMEOUT_MS = 10 * MINUTE_MS;

/**
 * `avocado bench` as its users run it, and its report.
 * @param main The executable of another build.
 */
export async function bench<Report = BenchReport>(
  context: ProofContext,
  what: string,
  args: readonly string[],
  main?: string,
): Promise<Report> {
  context.progress(`bench: ${what}`);
  const path = join(context.directory, 'bench.json');
  const sandbox = makeSandbox();
  const child = startAvocado(sandbox, ['bench', ...args, '--quiet', '--json', path], { detached: true, main });
  const group = new TiedGroup(child);
  const timer = setTimeout(() => group.signal('SIGTERM'), BENCH_TIMEOUT_MS);
  try {
    const { exitCode, stderr } = await finished(child);
    if (exitCode !== 0) throw new Error(`avocado bench ${args.join(' ')} ended with ${exitCode}: ${stderr.trim()}`);
    return JSON.parse(readFileSync(path, 'utf8')) as Report;
  } finally {
    clearTimeout(timer);
    sandbox.remove();
  }
}
