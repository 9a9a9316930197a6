import { InvalidArgumentError, Option } from 'commander';
import type { SecurityMode } from '../../net/mode.ts';
import type { Route } from '../../src/client/route.ts';
import { wrongInput } from '../../src/cli/failure.ts';
import { benchOptionsOf } from '../options.ts';
import type { LoadSettings } from '../load-options.ts';
import type { BenchFlags } from '../options.ts';
import { VALUE_HEADER_BYTES } from '../record.ts';
import { smallestOf } from '../value-sizes.ts';
import type { Workload } from '../workload.ts';
import { FAULT_KINDS } from './faults.ts';
import type { FaultKind } from './faults.ts';

/** What `avocado bench --chaos` takes: the bench's flags, with other defaults, and its own. */
export interface ChaosOptions extends LoadSettings {
  readonly workload: Workload;
  readonly mode: SecurityMode;
  readonly route: Route;
  readonly replicas: number;
  readonly kinds: readonly FaultKind[];
  readonly jsonPath: string | undefined;
  readonly historyPath: string | undefined;
  readonly quiet: boolean;
  /** What the user should know before it begins. */
  readonly notices: readonly string[];
}

export interface ChaosFlags extends BenchFlags {
  readonly chaos?: boolean;
  readonly chaosFaults?: readonly FaultKind[];
}

/**
 * Where the user names nothing else. Few records, so that operations meet on the same keys; two clients, so that they
 * are of different writers; so few operations that the history stays small: some 10 MB in ten seconds.
 */
export const CHAOS_DEFAULTS = { records: 100, outstanding: 16, clients: 2, warmup: 1_000, replicas: 3 } as const;
/** Of each operation: so short that a quorum which is stopped for a while makes outcomes unknown. */
export const DEADLINE_MS = 1_000;
/** Enough for each kind of fault to show. */
const DURATION_MS_MIN = 1_000;
/** The checker holds the whole history in memory. */
const DURATION_MS_MAX = 600_000;

export function chaosFlags(): Option[] {
  return [
    new Option(
      '--chaos',
      'kill and stop processes and spoil their network meanwhile, and check the history at the end',
    ),
    new Option('--chaos-faults <kinds>', `with --chaos: some of ${FAULT_KINDS.join(',')} (default: all)`).argParser(
      parseKinds,
    ),
  ];
}

/**
 * @param isGiven Whether the user named this flag.
 * @throws CommandFailure for what doesn't fit together.
 */
export function chaosOptionsOf(flags: ChaosFlags, isGiven: (flag: keyof ChaosFlags) => boolean): ChaosOptions {
  if (flags.connect !== undefined) {
    throw wrongInput('--chaos kills replicas, so it starts a cluster of its own: leave --connect out');
  }
  if (flags.duration < DURATION_MS_MIN || flags.duration > DURATION_MS_MAX) {
    throw wrongInput(
      `--chaos runs for ${DURATION_MS_MIN / 1_000} to ${DURATION_MS_MAX / 1_000} seconds: give --duration 10, or several runs with other seeds`,
    );
  }
  if (flags.beside !== undefined)
    throw wrongInput('--beside measures latencies, which --chaos spoils: leave one of them out');
  const replicas = flags.replicas ?? CHAOS_DEFAULTS.replicas;
  if (replicas === 1) throw wrongInput('--chaos needs replicas that can be missed: give --replicas 3, 5 or 7');
  const { kinds, notices } = kindsFor(flags);
  const defaultOf = <T extends 'records' | 'outstanding' | 'clients' | 'warmup'>(flag: T): number =>
    isGiven(flag) ? flags[flag] : CHAOS_DEFAULTS[flag];
  const clients = defaultOf('clients');
  const options = benchOptionsOf({
    ...flags,
    records: defaultOf('records'),
    outstanding: defaultOf('outstanding'),
    clients,
    // What is stopped is a process: by default one client is.
    processes: flags.processes ?? clients,
    warmup: defaultOf('warmup'),
  });
  if (smallestOf(options.valueSizes) < VALUE_HEADER_BYTES) {
    throw wrongInput(
      `--chaos needs values of ${VALUE_HEADER_BYTES} bytes or more, which carry the id of their put: give --value-bytes ${VALUE_HEADER_BYTES}`,
    );
  }
  return { ...options, replicas, kinds, notices };
}

/** Nothing in mode plaintext would notice a changed byte, as that mode promises. */
function kindsFor({ mode, chaosFaults }: ChaosFlags): { kinds: readonly FaultKind[]; notices: readonly string[] } {
  const kinds = chaosFaults ?? FAULT_KINDS;
  if (mode !== 'plaintext' || !kinds.includes('corrupt')) return { kinds, notices: [] };
  if (chaosFaults !== undefined) {
    throw wrongInput(
      'mode plaintext has no tags, so it takes corrupted datagrams for good ones: leave corrupt out, or give another --mode',
    );
  }
  return {
    kinds: kinds.filter((kind) => kind !== 'corrupt'),
    notices: ['mode plaintext has no tags and could not notice corrupted datagrams: there will be none'],
  };
}

function parseKinds(text: string): FaultKind[] {
  const names = text.split(',').map((name) => name.trim());
  const kinds = FAULT_KINDS.filter((kind) => names.includes(kind));
  if (kinds.length === names.length) return kinds;
  throw new InvalidArgumentError(`Give some of ${FAULT_KINDS.join(',')}, each once.`);
}
