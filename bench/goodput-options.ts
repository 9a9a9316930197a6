import { InvalidArgumentError, Option } from 'commander';
import { availableParallelism } from 'node:os';
import type { SecurityMode } from '../net/mode.ts';
import { modeOption, replicaCount, wholeNumberBetween } from '../src/cli/shared-options.ts';
import { CLIENTS_MAX, clientFlags, loadFlags } from './load-options.ts';
import { ROUNDS_MAX, benchOptionsOf, workloadFlags } from './options.ts';
import type { LoadSettings } from './load-options.ts';
import type { BenchFlags } from './options.ts';
import type { Workload } from './workload.ts';

/** What `avocado bench goodput` takes. */
export interface GoodputOptions extends LoadSettings {
  readonly workload: Workload;
  readonly mode: SecurityMode;
  readonly replicas: number | undefined;
  /** Ascending; `clients` is the last of them. */
  readonly clientCounts: readonly number[];
  readonly rounds: number;
  readonly jsonPath: string | undefined;
  readonly quiet: boolean;
}

export interface GoodputFlags extends Omit<BenchFlags, 'clients'> {
  readonly clients: readonly number[];
  readonly rounds: number;
}

const CLIENT_COUNTS_DEFAULT = [1, 2, 4, 8, 16, 32, 64];
const DURATION_S_DEFAULT = 3;
/** Fewer than elsewhere: 64 clients of 256 would mostly wait for each other. */
const OUTSTANDING_DEFAULT = 64;
const ROUNDS_DEFAULT = 3;

export function goodputFlags(): Option[] {
  const [, processes] = clientFlags();
  return [
    ...workloadFlags(),
    modeOption(),
    new Option('--replicas <count>', 'replicas of its cluster (default: 3)').argParser(replicaCount),
    new Option('--clients <counts>', 'how many clients at once, one measurement each')
      .argParser(parseClientCounts)
      .default(CLIENT_COUNTS_DEFAULT, CLIENT_COUNTS_DEFAULT.join(',')),
    processes,
    new Option('--rounds <count>', 'rounds; each measures every number of clients once')
      .argParser(wholeNumberBetween(1, ROUNDS_MAX))
      .default(ROUNDS_DEFAULT),
    ...loadFlags(DURATION_S_DEFAULT, OUTSTANDING_DEFAULT),
  ];
}

/** @throws CommandFailure for what doesn't fit together. */
export function goodputOptionsOf(flags: GoodputFlags): GoodputOptions {
  const { clients: clientCounts, rounds } = flags;
  const clients = Math.max(...clientCounts);
  const processes = flags.processes ?? Math.min(clients, availableParallelism());
  const options = benchOptionsOf({ ...flags, clients, processes });
  return { ...options, clientCounts, rounds };
}

function parseClientCounts(text: string): number[] {
  const counts = text.split(',').map(wholeNumberBetween(1, CLIENTS_MAX));
  if (new Set(counts).size !== counts.length) throw new InvalidArgumentError('Give each number once.');
  return counts.toSorted((a, b) => a - b);
}
