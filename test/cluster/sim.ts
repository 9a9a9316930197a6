/**
 * The deterministic simulator as a program: `npm run sim -- --help`. The real replicas and clients in a simulated world;
 * one seed decides everything that happens in a run.
 */
import { execFileSync } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import { Command, Option } from 'commander';
import { createProgress } from '../../bench/progress.ts';
import { durationMs } from '../../src/cli/duration.ts';
import { CommandFailure, EXIT_FAILED, EXIT_WRONG_INPUT } from '../../src/cli/failure.ts';
import { runProgram } from '../../src/cli/program.ts';
import { wholeNumberBetween } from '../../src/cli/shared-options.ts';
import { biases } from './random-plan.ts';
import type { Bias } from './random-plan.ts';
import { runSeed } from './random-run.ts';
import { COVERAGE_SEEDS_MIN, SimReport } from './sim-report.ts';

/** Half a minute or so on one core. */
const SEEDS_DEFAULT = 200;
const SEEDS_MAX = 10_000_000;
const SEED_MAX = 2 ** 31 - 1;
/** Where so many fail the rest tells no more. */
const FAILURES_MAX = 10;
/** Where progress is lines that stay. */
const PROGRESS_INTERVAL_MS = 10_000;
const PROGRESS_INTERVAL_TERMINAL_MS = 250;

interface Flags {
  readonly seed?: number;
  readonly bias?: Bias;
  readonly seeds?: number;
  readonly first?: number;
  readonly fresh?: true;
  readonly for?: number;
  readonly trace?: true;
  readonly json?: true;
  readonly quiet?: true;
}

function simCommand(): Command {
  const seed = wholeNumberBetween(0, SEED_MAX);
  return new Command('sim')
    .description(
      'Run whole clusters, the real code, in a simulated world of faults: one seed decides everything that happens.\n' +
        `What is never met in ${COVERAGE_SEEDS_MIN} seeds or more fails the run, as does any seed.`,
    )
    .addOption(new Option('--seed <n>', 'run this one').argParser(seed).conflicts(['seeds', 'first', 'fresh', 'for']))
    .addOption(new Option('--bias <name>', 'towards what; each seed has its own otherwise').choices(biases))
    .addOption(
      new Option('--seeds <n>', `run so many (default: ${SEEDS_DEFAULT}, or as many as --for allows)`).argParser(
        wholeNumberBetween(1, SEEDS_MAX),
      ),
    )
    .addOption(new Option('--first <n>', 'the first of them (default: 1)').argParser(seed))
    .addOption(new Option('--fresh', 'begin anywhere, not at 1').conflicts('first'))
    .addOption(new Option('--for <duration>', 'begin no other seed after so long').argParser(durationMs))
    .addOption(new Option('--trace', 'with --seed: every datagram, message, fault and operation'))
    .addOption(new Option('--json', 'print the summary as JSON'))
    .addOption(new Option('--quiet', 'no progress'))
    .addHelpText(
      'after',
      `
Examples:
  npm run sim
  npm run sim -- --seeds 1000
  npm run sim -- --fresh --for 3m
  npm run sim -- --seed 17 --bias 'half writes' --trace | less`,
    )
    .action(simulate);
}

function simulate(flags: Flags): void {
  if (flags.trace === true && flags.seed === undefined) {
    throw new CommandFailure('error: --trace shows one run: give --seed too', EXIT_WRONG_INPUT);
  }
  if (flags.trace === true && flags.json === true) {
    throw new CommandFailure('error: --trace is text: leave --json away', EXIT_WRONG_INPUT);
  }
  const seedCount =
    flags.seed !== undefined ? 1 : (flags.seeds ?? (flags.for === undefined ? SEEDS_DEFAULT : SEEDS_MAX));
  const first = flags.seed ?? flags.first ?? (flags.fresh === true ? randomInt(1, SEED_MAX - SEEDS_MAX) : 1);
  const report = new SimReport(commitName());
  const startedMs = performance.now();
  runSeeds(first, seedCount, flags, report);
  const wallMs = performance.now() - startedMs;
  const json = flags.json === true;
  process.stdout.write(
    json ? `${JSON.stringify(report.toJson(first, wallMs), null, 2)}\n` : report.toText(first, wallMs),
  );
  if (!report.ok) throw new CommandFailure(whatFailed(report), EXIT_FAILED);
}

function runSeeds(first: number, seedCount: number, flags: Flags, report: SimReport): void {
  const progress = createProgress(process.stderr, flags.quiet === true || seedCount === 1);
  const intervalMs = process.stderr.isTTY === true ? PROGRESS_INTERVAL_TERMINAL_MS : PROGRESS_INTERVAL_MS;
  const endMs = performance.now() + (flags.for ?? Infinity);
  let shownMs = performance.now();
  for (let seed = first; seed < first + seedCount; seed++) {
    const result = runSeed(seed, flags.bias, flags.trace);
    report.add(seed, result);
    if (flags.trace === true) process.stdout.write(`${result.trace}\n`);
    const { failures } = report;
    if (result.failure !== undefined) progress.note(`seed ${seed}: ${result.failure.split('\n')[0]}`);
    const nowMs = performance.now();
    if (nowMs - shownMs >= intervalMs) {
      shownMs = nowMs;
      progress.update(`${report.seedCount} seeds, ${report.operationCount} operations, ${failures.length} failed`);
    }
    if (failures.length >= FAILURES_MAX || nowMs >= endMs) break;
  }
  progress.clear();
}

function whatFailed(report: SimReport): string {
  const { failures } = report;
  const neverSeen = report.neverSeen();
  const parts = [
    ...(failures.length > 0 ? [`${failures.length} seeds failed, the first again with: ${failures[0]!.again}`] : []),
    ...(report.isMuchUndecided ? [`${report.undecided.length} histories could not be decided`] : []),
    ...(neverSeen.length > 0 ? [`never met: ${neverSeen.join('; ')}`] : []),
  ];
  return `error: ${parts.join('; ')}`;
}

/** The commit that the built files are of, as far as git knows. */
function commitName(): string {
  const cwd = fileURLToPath(new URL('../../../', import.meta.url));
  try {
    const git = (...args: string[]): string =>
      execFileSync('git', args, { cwd, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim();
    const isDirty = git('status', '--porcelain', '--untracked-files=no') !== '';
    return `${git('rev-parse', '--short=12', 'HEAD')}${isDirty ? '-dirty' : ''}`;
  } catch {
    return 'unknown';
  }
}

process.exitCode = await runProgram(simCommand(), process.argv);
