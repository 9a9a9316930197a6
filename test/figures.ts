/**
 * Measures what the README says of speed, by the project's own bench, and prints the tables as they stand there:
 * `npm run figures`. Takes some ten minutes, and a machine that does nothing else.
 *
 *     npm run figures -- [--write] [--duration SECONDS]
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import type { CompareReport } from '../bench/compare-report.ts';
import type { BenchReport } from '../bench/report.ts';
import type { RunResult } from '../bench/result.ts';
import { figuresPage } from './figures-page.ts';
import type { Figures } from './figures-page.ts';
import { bench } from './prove/run-bench.ts';

const HELP = `Usage: npm run figures -- [options]

Measure what README.md says of speed, and print it as it stands there. Takes some
ten minutes, and a machine that does nothing else.

Options:
  --write               put it into README.md, between the lines that say figures
  --duration <seconds>  of each measurement (default: 4)
  --help                display help

Examples:
  npm run figures
  npm run figures -- --write
`;

const README = 'README.md';
const BLOCK = /(<!-- figures -->\n).*(\n<!-- \/figures -->)/s;
const ROUNDS = 3;
/** YCSB's own recordcount, and the bench's default: with many records an operation misses the processor's caches more often. */
const RECORD_COUNTS = [1_000, 100_000] as const;
const EXIT_WRONG_INPUT = 2;

const { values: options } = parse();
const durationS = Number(options.duration ?? '4');
if (!(durationS >= 0.5 && durationS <= 60)) fail('--duration takes seconds from 0.5 to 60');
const directory = mkdtempSync(join(tmpdir(), 'avocado-figures-'));
process.once('exit', () => rmSync(directory, { recursive: true, force: true }));
process.once('SIGINT', () => process.exit(130));
const page = figuresPage(await measure());
if (options.write === true) {
  const readme = readFileSync(README, 'utf8');
  if (!BLOCK.test(readme)) fail(`${README} has no line <!-- figures --> with a line <!-- /figures --> after it`);
  writeFileSync(
    README,
    readme.replace(BLOCK, (_block, begin: string, end: string) => `${begin}\n${page}${end}`),
  );
} else {
  process.stdout.write(page);
}

async function measure(): Promise<Figures> {
  const context = { quick: false, directory, progress: (text: string) => void process.stderr.write(`${text}\n`) };
  const time = ['--duration', String(durationS), '--warmup', '1'];
  const records = (recordCount: number): string[] => ['--records', String(recordCount)];
  const compare = async (what: string, ...args: string[]): Promise<CompareReport> =>
    await bench(context, what, ['compare', '--rounds', String(ROUNDS), ...args, ...time]);
  const single = async (what: string, ...args: string[]): Promise<RunResult> =>
    (await bench<BenchReport>(context, what, [...args, ...time])).runs[0]!;
  const mixed: Figures['mixed'][number][] = [];
  const updates: Figures['updates'][number][] = [];
  for (const recordCount of RECORD_COUNTS) {
    const what = `${recordCount} records`;
    mixed.push({
      recordCount,
      report: await compare(`A, B, C in each mode, ${what}`, '--workloads', 'A,B,C', ...records(recordCount)),
    });
    updates.push({ recordCount, run: await single(`updates only, ${what}`, '--read', '0', ...records(recordCount)) });
  }
  const latest = await single('D', '--workload', 'D');
  const readModifyWrites = await single('F', '--workload', 'F');
  const alone = await compare(
    'one operation at a time',
    '--workloads',
    'C',
    '--outstanding',
    '1',
    ...records(RECORD_COUNTS[0]),
  );
  return {
    date: new Date(),
    commit: commit(),
    rounds: ROUNDS,
    durationS,
    mixed,
    updates,
    latest,
    readModifyWrites,
    alone,
  };
}

function commit(): string {
  try {
    const id = execFileSync('git', ['rev-parse', '--short', 'HEAD'], { encoding: 'utf8' }).trim();
    const isChanged =
      execFileSync('git', ['status', '--porcelain', '--untracked-files=no'], { encoding: 'utf8' }) !== '';
    return isChanged ? `${id} and changes` : id;
  } catch {
    return 'unknown';
  }
}

function parse() {
  try {
    const parsed = parseArgs({
      options: { write: { type: 'boolean' }, duration: { type: 'string' }, help: { type: 'boolean' } },
    });
    if (parsed.values.help !== true) return parsed;
    process.stdout.write(HELP);
    process.exit();
  } catch (error) {
    return fail((error as Error).message);
  }
}

function fail(message: string): never {
  process.stderr.write(`error: ${message}\n`);
  process.exit(EXIT_WRONG_INPUT);
}
