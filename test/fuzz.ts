/**
 * Long runs of hostile input: `npm run fuzz -- [--seconds N] [--seed N] [--only simulated|live]`. Half of the time goes
 * to simulated clusters (test/fuzz/in-process.ts), half to real processes (test/fuzz/live.ts). Progress on stderr, one
 * line of JSON a run on stdout. Exit code 1 when something is wrong, with the command that shows it again.
 */
import { parseArgs } from 'node:util';
import { fuzzInProcess } from './fuzz/in-process.ts';
import { fuzzLive } from './fuzz/live.ts';

const HELP = `Sends hostile datagrams and messages at replicas and clients, and checks that each is taken, answered or
counted as dropped, that nothing ends or grows, and that the cluster serves on.

Usage: npm run fuzz -- [--seconds N] [--seed N] [--only simulated|live]

  --seconds N   how long, 1 to 86400 (default 60)
  --seed N      repeats a run; simulated ones exactly, live ones in what is sent (default: random, and shown)
  --only WHICH  simulated clusters in this process, or real replica processes

Examples:
  npm run fuzz -- --seconds 600
  npm run fuzz -- --only simulated --seed 17 --seconds 1
`;

const SECONDS_DEFAULT = 60;
const SECONDS_MAX = 86_400;
const SEED_MAX = 2 ** 31 - 1;
/** A few seconds each. */
const SIMULATED_DATAGRAMS = 20_000;
const EXIT_FAILED = 1;
const EXIT_WRONG_INPUT = 2;

const KINDS = ['simulated', 'live'] as const;
type Kind = (typeof KINDS)[number];

interface Options {
  readonly seconds: number;
  readonly seed: number;
  readonly kinds: readonly Kind[];
}

function optionsOf(args: string[]): Options | 'help' {
  const { values } = parseArgs({
    args,
    options: {
      seconds: { type: 'string' },
      seed: { type: 'string' },
      only: { type: 'string' },
      help: { type: 'boolean', short: 'h' },
    },
  });
  if (values.help === true) return 'help';
  const only = KINDS.find((kind) => kind === values.only);
  if (values.only !== undefined && only === undefined) throw new Error(`--only must be one of ${KINDS.join(', ')}`);
  return {
    seconds: wholeNumber('--seconds', values.seconds ?? String(SECONDS_DEFAULT), SECONDS_MAX),
    seed: wholeNumber('--seed', values.seed ?? String(1 + Math.floor(Math.random() * (SEED_MAX - 1))), SEED_MAX),
    kinds: only === undefined ? KINDS : [only],
  };
}

function wholeNumber(name: string, text: string, max: number): number {
  const number = Number(text);
  if (!/^\d+$/.test(text) || number < 1 || number > max) throw new Error(`${name} must be a number from 1 to ${max}`);
  return number;
}

function simulate(seconds: number, firstSeed: number): void {
  const endMs = performance.now() + seconds * 1_000;
  for (let seed = firstSeed; ; seed++) {
    guarded('simulated', seed, () => {
      const summary = fuzzInProcess(seed, SIMULATED_DATAGRAMS);
      console.log(JSON.stringify({ kind: 'simulated', seed, ...summary }));
    });
    if (performance.now() >= endMs) return;
  }
}

function guarded(kind: Kind, seed: number, run: () => void): void {
  try {
    run();
  } catch (error) {
    throw describedFailure(kind, seed, 1, error);
  }
}

function describedFailure(kind: Kind, seed: number, seconds: number, cause: unknown): Error {
  const again = `npm run fuzz -- --only ${kind} --seed ${seed} --seconds ${seconds}`;
  return new Error(`seed ${seed} failed; again with: ${again}`, { cause });
}

async function main({ seconds, seed, kinds }: Options): Promise<void> {
  console.error(`seed ${seed}`);
  const share = seconds / kinds.length;
  if (kinds.includes('simulated')) simulate(share, seed);
  if (!kinds.includes('live')) return;
  try {
    const summary = await fuzzLive({ seed, seconds: share, onProgress: (line) => console.error(`live: ${line}`) });
    console.log(JSON.stringify({ kind: 'live', seed, ...summary }));
  } catch (error) {
    throw describedFailure('live', seed, Math.ceil(share), error);
  }
}

let options: Options | 'help';
try {
  options = optionsOf(process.argv.slice(2));
} catch (error) {
  console.error(`${(error as Error).message.split('\n')[0]}; --help shows all`);
  process.exit(EXIT_WRONG_INPUT);
}
if (options === 'help') {
  console.log(HELP);
} else {
  try {
    await main(options);
  } catch (error) {
    console.error(error);
    process.exitCode = EXIT_FAILED;
  }
}
