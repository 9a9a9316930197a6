import { InvalidArgumentError, Option } from 'commander';
import type { SecurityMode } from '../net/mode.ts';
import type { Route } from '../src/client/route.ts';
import { modeOption, replicaCount, routeOption, wholeNumberBetween } from '../src/cli/shared-options.ts';
import { wrongInput } from '../src/cli/failure.ts';
import { clientFlags, loadFlags } from './load-options.ts';
import { ROUNDS_MAX, benchOptionsOf } from './options.ts';
import type { LoadSettings } from './load-options.ts';
import type { BenchFlags } from './options.ts';
import { workloadOf } from './workload.ts';

/** What `avocado bench contention` takes. */
export interface ContentionOptions extends LoadSettings {
  readonly mode: SecurityMode;
  readonly route: Route;
  readonly replicas: number | undefined;
  /** Ascending; one measurement each. */
  readonly keyCounts: readonly number[];
  readonly rounds: number;
  readonly jsonPath: string | undefined;
  readonly historyPath: string | undefined;
  readonly quiet: boolean;
}

export interface ContentionFlags extends Omit<BenchFlags, 'workload' | 'records'> {
  readonly keys: readonly number[];
  readonly rounds: number;
}

const KEY_COUNTS_DEFAULT = [1, 10, 100, 10_000];
/** Records are numbered apart for each measurement; so many each. */
export const KEYS_MAX = 100_000;
const DURATION_S_DEFAULT = 3;
const CLIENTS_DEFAULT = 64;
const ROUNDS_DEFAULT = 1;
/** Of the load's options: those that have no meaning for counters. */
const LEFT_OUT = ['--records', '--value-bytes', '--fields', '--field-bytes'];

export function contentionFlags(): Option[] {
  const [clients, processes] = clientFlags();
  return [
    new Option('--keys <counts>', 'how many counters the clients choose from, evenly; one measurement each')
      .argParser(parseKeyCounts)
      .default(KEY_COUNTS_DEFAULT, KEY_COUNTS_DEFAULT.join(',')),
    modeOption(),
    routeOption(),
    new Option('--replicas <count>', 'replicas of its cluster (default: 3)').argParser(replicaCount),
    clients.default(CLIENTS_DEFAULT),
    processes,
    new Option('--rounds <count>', 'rounds; each measures every number of keys once')
      .argParser(wholeNumberBetween(1, ROUNDS_MAX))
      .default(ROUNDS_DEFAULT),
    ...loadFlags(DURATION_S_DEFAULT, 1).filter(({ long }) => !LEFT_OUT.includes(long ?? '')),
    new Option('--history <file>', 'write each operation to FILE, a JSON line each, for a linearizability check'),
  ];
}

/** @throws CommandFailure for what doesn't fit together. */
export function contentionOptionsOf(flags: ContentionFlags): ContentionOptions {
  const { keys: keyCounts, rounds } = flags;
  if (flags.history !== undefined && keyCounts.length * rounds > 1) {
    throw wrongInput('--history is of one measurement: give one number of --keys, and one round');
  }
  const options = benchOptionsOf({ ...flags, records: Math.max(...keyCounts), workload: workloadOf('A') });
  return { ...options, keyCounts, rounds };
}

function parseKeyCounts(text: string): number[] {
  const counts = text.split(',').map(wholeNumberBetween(1, KEYS_MAX));
  if (new Set(counts).size !== counts.length) throw new InvalidArgumentError('Give each number once.');
  return counts.toSorted((a, b) => a - b);
}
