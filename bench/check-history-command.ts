import { writeFileSync } from 'node:fs';
import { Command, Option } from 'commander';
import { CommandFailure, EXIT_FAILED, wrongInput } from '../src/cli/failure.ts';
import { jsonOption, wholeNumberBetween } from '../src/cli/shared-options.ts';
import { checkJson, formatCheck } from './check-report.ts';
import type { CheckReport } from './check-report.ts';
import { STATES_MAX_DEFAULT, checkHistory } from './checker/check.ts';
import type { Verdict } from './checker/check.ts';
import { STDIN, readHistory } from './history-reader.ts';
import type { History } from './history-reader.ts';
import { writablePath } from './output-file.ts';
import { createProgress } from './progress.ts';
import type { Progress } from './progress.ts';
import { count } from './report-text.ts';
import { timelinePage } from './timeline.ts';

/** `avocado check-history`: whether what the bench or another client recorded is linearizable. */
export function addCheckHistory(program: Command): Command {
  return program.addCommand(checkHistoryCommand());
}

interface CheckFlags {
  readonly html?: string;
  readonly json?: boolean;
  readonly states: number;
  readonly quiet?: boolean;
}

const EXIT_CODES: Readonly<Record<Verdict, number>> = { linearizable: 0, violation: EXIT_FAILED, undecided: 3 };

/** The memory of the search holds no more states (search.ts) however short their names are. */
const STATES_MAX = 10_000_000;

/** How often a long check says how far it is. */
const PROGRESS_MS = 1_000;

function checkHistoryCommand(): Command {
  return new Command('check-history')
    .description('Check recorded operations for linearizability; several files are one history, - is standard input.')
    .argument('<file...>', 'files that avocado bench --history wrote, a JSON line an operation')
    .option('--html <file>', 'write the verdict to FILE as a page with a timeline of what contradicts itself')
    .addOption(jsonOption())
    .addOption(
      new Option('--states <count>', 'how many states are tried for a key whose values repeat')
        .argParser(wholeNumberBetween(1, STATES_MAX))
        .default(STATES_MAX_DEFAULT),
    )
    .option('--quiet', 'no progress on stderr')
    .addHelpText(
      'after',
      `
A line of a history:
  {"process":0,"op":"put","key":"k","value":"v","start":1200,"end":98000,"outcome":"ok"}
op is get, put or delete; start and end are nanoseconds of one monotonic clock; a null value means absent; an end of
null goes with the outcome "unknown": the operation may have taken effect, may do so later, or never will. "error" says
that a put or delete certainly had no effect.

Exit codes: 0 linearizable, 1 not linearizable, 2 wrong input, 3 undecided (only where a value was put twice).

Examples:
  avocado check-history history.jsonl
  avocado bench --duration 10 --history history.jsonl && avocado check-history history.jsonl --html report.html
  avocado check-history part-0.jsonl part-1.jsonl --json
  zcat history.jsonl.gz | avocado check-history -`,
    )
    .action(check);
}

async function check(paths: readonly string[], flags: CheckFlags): Promise<void> {
  if (paths.filter((path) => path === STDIN).length > 1) {
    throw wrongInput('standard input can be read once: give - once');
  }
  const htmlPath = writablePath('--html', flags.html);
  const progress = createProgress(process.stderr, flags.quiet ?? false);
  const startedMs = performance.now();
  const history = await read(paths, progress);
  const report = judge(history, flags.states, progress, startedMs);
  progress.clear();
  if (htmlPath !== undefined) writeFileSync(htmlPath, timelinePage(report, history.operations));
  process.stdout.write(flags.json === true ? `${JSON.stringify(checkJson(report))}\n` : formatCheck(report));
  if (flags.html !== undefined && flags.json !== true) process.stdout.write(`Timeline: ${flags.html}\n`);
  const exitCode = EXIT_CODES[report.result.verdict];
  // All is said on stdout.
  if (exitCode !== 0) throw new CommandFailure('', exitCode);
}

async function read(paths: readonly string[], progress: Progress): Promise<History> {
  const show = seldom((operationCount: number) => progress.update(`read ${count(operationCount)} operations`));
  try {
    return await readHistory(paths, show);
  } finally {
    progress.clear();
  }
}

function judge(history: History, statesMax: number, progress: Progress, startedMs: number): CheckReport {
  const result = checkHistory(history.operations, {
    statesMax,
    failedPuts: history.failedPuts,
    onProgress: seldom((keysDone: number, keyCount: number) =>
      progress.update(`checked ${count(keysDone)} of ${count(keyCount)} keys`),
    ),
  });
  return { result, counts: history.counts, tookMs: performance.now() - startedMs, statesMax };
}

/** Small histories are done before there is anything to show. */
function seldom<Args extends readonly unknown[]>(show: (...args: Args) => void): (...args: Args) => void {
  let lastMs = performance.now();
  return (...args) => {
    const nowMs = performance.now();
    if (nowMs - lastMs < PROGRESS_MS) return;
    lastMs = nowMs;
    show(...args);
  };
}
