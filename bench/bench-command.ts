import { writeFileSync } from 'node:fs';
import { Command } from 'commander';
import { CommandFailure, EXIT_FAILED, wrongInput } from '../src/cli/failure.ts';
import { attestationCommand } from './attestation/command.ts';
import { chaosHelp } from './chaos/help.ts';
import { chaosFlags, chaosOptionsOf } from './chaos/options.ts';
import type { ChaosFlags } from './chaos/options.ts';
import { formatChaos } from './chaos/report.ts';
import { runChaos } from './chaos/run.ts';
import { runCompare } from './compare.ts';
import { formatCompare } from './compare-report.ts';
import { runContention } from './contention.ts';
import { contentionFlags, contentionOptionsOf } from './contention-options.ts';
import type { ContentionFlags } from './contention-options.ts';
import { formatContention, problemOf } from './contention-report.ts';
import { runGoodput } from './goodput.ts';
import { goodputFlags, goodputOptionsOf } from './goodput-options.ts';
import type { GoodputFlags } from './goodput-options.ts';
import { formatGoodput } from './goodput-report.ts';
import { benchFlags, benchOptionsOf, compareFlags, compareOptionsOf } from './options.ts';
import type { CompareFlags } from './options.ts';
import { createProgress } from './progress.ts';
import { formatBench } from './report.ts';
import type { BenchReport } from './report.ts';
import { failureOf } from './result.ts';
import { runBench } from './run.ts';
import { runSizes } from './sizes.ts';
import { sizesFlags, sizesOptionsOf } from './sizes-options.ts';
import type { SizesFlags } from './sizes-options.ts';
import { formatSizes } from './sizes-report.ts';
import { workersFlags, workersOptionsOf } from './workers/options.ts';
import type { WorkersFlags } from './workers/options.ts';
import { formatWorkers } from './workers/report.ts';
import { runWorkers } from './workers/run.ts';
import { untilSignal } from './until-signal.ts';
import {
  ATOMIC_DESCRIPTION,
  INSERT_DESCRIPTION,
  RMW_DESCRIPTION,
  SCAN_DESCRIPTION,
  UPDATE_DESCRIPTION,
} from './workload.ts';

/** Adds `avocado bench` with `compare`, `goodput` and `sizes`, whose flags have the same names (program.ts tells them apart). */
export function addBench(program: Command): Command {
  return program.addCommand(benchCommand());
}

/** What is easily taken for something else. */
const OPERATIONS_HELP = `Operations:
  ${UPDATE_DESCRIPTION}
  ${INSERT_DESCRIPTION}
  ${RMW_DESCRIPTION}
  with --atomic: ${ATOMIC_DESCRIPTION}
  ${SCAN_DESCRIPTION}`;

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
  avocado bench --clients 64 --processes 2 --outstanding 16
  avocado bench --workload F --fields 10 --field-bytes 100
  avocado bench --workload F --atomic
  avocado bench --workload E --outstanding 16
  avocado bench --workload D --value-bytes 64:60,256:30,4096:10
  avocado bench --workload C --outstanding 1 --beside "put 16000 x 4"
  avocado bench compare --workloads A,B,C,D,F
  avocado bench goodput --receive-buffer 212992
  avocado bench sizes --sizes 256,4KiB,64KiB
  avocado bench attestation --enclaves 10
  avocado bench contention --keys 1,100
  avocado bench --chaos --seed 7
  avocado bench --chaos --replicas 5 --duration 60 --history chaos.jsonl --json report.json
  avocado bench --chaos --chaos-faults stop,partition,delay

${OPERATIONS_HELP}

${chaosHelp()}`,
    )
    .action(benchAction);
  for (const option of [...benchFlags(), ...chaosFlags()]) bench.addOption(option);
  const subcommands = [
    attestationCommand(),
    compareCommand(),
    contentionCommand(),
    goodputCommand(),
    sizesCommand(),
    workersCommand(),
  ];
  for (const command of subcommands) bench.addCommand(command);
  return bench;
}

function sizesCommand(): Command {
  const sizes = new Command('sizes')
    .description('Measure gets and puts of small to large values, one size after the other, on clusters of its own.')
    .addHelpText(
      'after',
      `
Examples:
  avocado bench sizes
  avocado bench sizes --mode plaintext --datagram-bytes 65504
  avocado bench sizes --sizes 256,16KiB --outstanding 1 --rounds 1 --json sizes.json`,
    )
    .action(measureSizes);
  for (const option of sizesFlags()) sizes.addOption(option);
  return sizes;
}

function goodputCommand(): Command {
  const goodput = new Command('goodput')
    .description('Measure what a cluster of its own gets done with 1, 2, 4 and up to 64 clients at once.')
    .addHelpText(
      'after',
      `
Examples:
  avocado bench goodput
  avocado bench goodput --receive-buffer 212992
  avocado bench goodput --clients 1,16,64 --outstanding 16 --rounds 1 --json goodput.json`,
    )
    .action(measureGoodput);
  for (const option of goodputFlags()) goodput.addOption(option);
  return goodput;
}

function contentionCommand(): Command {
  const contention = new Command('contention')
    .description('Increment few counters from many clients, on a cluster of its own, and check the sums afterwards.')
    .addHelpText(
      'after',
      `
Examples:
  avocado bench contention
  avocado bench contention --keys 1 --clients 64 --outstanding 4 --json contention.json
  avocado bench contention --keys 3 --clients 8 --history increments.jsonl`,
    )
    .action(measureContention);
  for (const option of contentionFlags()) contention.addOption(option);
  return contention;
}

function compareCommand(): Command {
  const compare = new Command('compare')
    .description('Measure secure, authenticated and plaintext side by side, and this machine.')
    .addHelpText(
      'after',
      `
Examples:
  avocado bench compare
  avocado bench compare --outstanding 1 --workloads C --json latency.json
  avocado bench compare --workloads A,B,C,D,F --fields 10 --field-bytes 100

${OPERATIONS_HELP}`,
    )
    .action(measureModes);
  for (const option of compareFlags()) compare.addOption(option);
  return compare;
}

function workersCommand(): Command {
  const workers = new Command('workers')
    .description('Measure where workers win: by value size, and small gets beside large puts.')
    .addHelpText(
      'after',
      `
Examples:
  avocado bench workers
  avocado bench workers --workers 4 --json workers.json
  avocado bench workers --sizes 65536,1048576 --duration 5`,
    )
    .action(measureWorkers);
  for (const option of workersFlags()) workers.addOption(option);
  return workers;
}

async function benchAction(flags: ChaosFlags, command: Command): Promise<void> {
  if (flags.chaos === true) await injectFaults(flags, command);
  else if (flags.chaosFaults !== undefined) throw wrongInput('--chaos-faults belongs to --chaos: add it');
  else await measure(flags, command);
}

/** A run with failures is shown before it is called one. */
async function injectFaults(flags: ChaosFlags, command: Command): Promise<void> {
  const options = chaosOptionsOf(flags, (flag) => command.getOptionValueSource(flag) === 'cli');
  const progress = createProgress(process.stderr, options.quiet);
  const report = await untilSignal((signal) => runChaos(options, { signal, progress }));
  process.stdout.write(formatChaos(report));
  if (options.jsonPath !== undefined) writeReport(report, options.jsonPath);
  if (report.failures.length > 0) throw new CommandFailure(`error: ${report.failures.join('; ')}`, EXIT_FAILED);
}

async function measure(flags: ChaosFlags, command: Command): Promise<void> {
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

async function measureSizes(flags: SizesFlags): Promise<void> {
  const options = sizesOptionsOf(flags);
  const progress = createProgress(process.stderr, options.quiet);
  const report = await untilSignal((signal) => runSizes(options, { signal, progress }));
  finish(report, formatSizes(report), options.jsonPath);
}

async function measureGoodput(flags: GoodputFlags): Promise<void> {
  const options = goodputOptionsOf(flags);
  const progress = createProgress(process.stderr, options.quiet);
  const report = await untilSignal((signal) => runGoodput(options, { signal, progress }));
  finish(report, formatGoodput(report), options.jsonPath);
}

async function measureContention(flags: ContentionFlags): Promise<void> {
  const options = contentionOptionsOf(flags);
  const progress = createProgress(process.stderr, options.quiet);
  const report = await untilSignal((signal) => runContention(options, { signal, progress }));
  finish(report, formatContention(report), options.jsonPath);
  for (const round of report.rounds) {
    const problem = problemOf(round);
    if (problem !== undefined) throw new CommandFailure(`error: ${problem}`, EXIT_FAILED);
  }
}

async function measureWorkers(flags: WorkersFlags): Promise<void> {
  const options = workersOptionsOf(flags);
  const progress = createProgress(process.stderr, options.quiet);
  const report = await untilSignal((signal) => runWorkers(options, { signal, progress }));
  process.stdout.write(formatWorkers(report));
  if (options.jsonPath !== undefined) writeReport(report, options.jsonPath);
}

/** A report with wrong data in it is shown before it is called a failure. */
function finish(report: BenchReport, text: string, jsonPath: string | undefined): void {
  process.stdout.write(text);
  if (jsonPath !== undefined) writeReport(report, jsonPath);
  for (const result of [
    ...report.runs,
    ...(report.beside === undefined ? [] : [report.beside.alone, report.beside.streamed]),
  ]) {
    const failure = failureOf(result);
    if (failure !== undefined) throw new CommandFailure(`error: ${failure}`, EXIT_FAILED);
  }
}

function writeReport(report: object, path: string): void {
  writeFileSync(path, `${JSON.stringify(report, null, 2)}\n`);
}
