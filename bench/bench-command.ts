import { writeFileSync } from 'node:fs';
import { Command } from 'commander';
import { CommandFailure, EXIT_FAILED } from '../src/cli/failure.ts';
import { runCompare } from './compare.ts';
import { formatCompare } from './compare-report.ts';
import { benchFlags, benchOptionsOf, compareFlags, compareOptionsOf } from './options.ts';
import type { BenchFlags, CompareFlags } from './options.ts';
import { createProgress } from './progress.ts';
import { formatBench } from './report.ts';
import type { BenchReport } from './report.ts';
import { failureOf } from './result.ts';
import { runBench } from './run.ts';

/**
 * Adds `avocado bench` and `avocado bench compare`. Flags belong to the command that they stand behind, or `bench` would
 * take those of `compare`, which have the same names; each command above has to agree to that.
 */
export function addBench(program: Command): Command {
  return program.enablePositionalOptions().addCommand(benchCommand());
}

function benchCommand(): Command {
  const bench = new Command('bench')
    .description('Measure a cluster under YCSB load: its own embedded one, or one that runs already.')
    .enablePositionalOptions()
    .addHelpText(
      'after',
      `
Examples:
  avocado bench
  avocado bench --workload B --duration 30 --json report.json
  avocado bench --connect --read 0 --outstanding 1
  avocado bench compare --workloads A,B,C`,
    )
    .action(measure);
  for (const option of benchFlags()) bench.addOption(option);
  return bench.addCommand(compareCommand());
}

function compareCommand(): Command {
  const compare = new Command('compare')
    .description('Measure secure, authenticated and plaintext side by side, and this machine.')
    .addHelpText(
      'after',
      `
Examples:
  avocado bench compare
  avocado bench compare --outstanding 1 --workloads C --json latency.json`,
    )
    .action(measureModes);
  for (const option of compareFlags()) compare.addOption(option);
  return compare;
}

async function measure(flags: BenchFlags, command: Command): Promise<void> {
  const options = benchOptionsOf(flags);
  const progress = createProgress(process.stderr, options.quiet);
  const modeIsGiven = command.getOptionValueSource('mode') === 'cli';
  const report = await untilSignal((signal) => runBench(options, { signal, progress, modeIsGiven }));
  finish(report, formatBench(report), options.jsonPath);
}

async function measureModes(flags: CompareFlags): Promise<void> {
  const options = compareOptionsOf(flags);
  const progress = createProgress(process.stderr, options.quiet);
  const report = await untilSignal((signal) => runCompare(options, { signal, progress }));
  finish(report, formatCompare(report), options.jsonPath);
}

/** A report with wrong data in it is shown before it is called a failure. */
function finish(report: BenchReport, text: string, jsonPath: string | undefined): void {
  process.stdout.write(text);
  if (jsonPath !== undefined) writeFileSync(jsonPath, `${JSON.stringify(report, null, 2)}\n`);
  for (const result of report.runs) {
    const failure = failureOf(result);
    if (failure !== undefined) throw new CommandFailure(`error: ${failure}`, EXIT_FAILED);
  }
}

/** 128 and the signal's number, as shells have it. */
const EXIT_CODES = { SIGHUP: 129, SIGINT: 130, SIGTERM: 143 } as const;

/** A signal lets everything be stopped in order; further ones don't interrupt that. */
async function untilSignal<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const controller = new AbortController();
  const onSignal = (name: NodeJS.Signals): void => {
    controller.abort(new CommandFailure(`stopped by ${name}`, EXIT_CODES[name as keyof typeof EXIT_CODES]));
  };
  const names = Object.keys(EXIT_CODES) as (keyof typeof EXIT_CODES)[];
  for (const name of names) process.on(name, onSignal);
  try {
    return await work(controller.signal);
  } finally {
    for (const name of names) process.off(name, onSignal);
  }
}
