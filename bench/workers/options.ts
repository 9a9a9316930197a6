import { InvalidArgumentError, Option } from 'commander';
import { wholeNumberBetween, workersFromOption } from '../../src/cli/shared-options.ts';
import { WORKERS_MAX } from '../../workers/worker-count.ts';
import type { LoadSettings } from '../load-options.ts';
import { secondsBetween } from '../load-options.ts';
import { writablePath } from '../output-file.ts';
import { parseValueSizes } from '../value-sizes.ts';

/** What `avocado bench workers` takes. */
export interface WorkersOptions {
  readonly workers: number;
  /** Undefined: each process measures it. */
  readonly workersFromBytes: number | undefined;
  readonly sizes: readonly number[];
  readonly durationMs: number;
  readonly rounds: number;
  readonly jsonPath: string | undefined;
  readonly quiet: boolean;
}

export interface WorkersFlags {
  readonly workers: number;
  readonly workersFrom?: number;
  readonly sizes: readonly number[];
  readonly duration: number;
  readonly rounds: number;
  readonly json?: string;
  readonly quiet?: boolean;
}

const VALUE_BYTES_MAX = 1_048_576;
const SIZES_DEFAULT = [256, 1_024, 4_096, 16_384, 65_536, 262_144, VALUE_BYTES_MAX];
const DURATION_MS_MIN = 100;
const DURATION_MS_MAX = 600_000;
const ROUNDS_MAX = 100;

/** Memory of three replicas and of a load process: a few hundred MiB at the largest size. */
const BYTES_A_CLUSTER = 32 * 2 ** 20;
const RECORDS_MAX = 1_000;
const BYTES_OUTSTANDING = 2 * 2 ** 20;
const OUTSTANDING_MAX = 64;
const OUTSTANDING_MIN = 4;

export function workersFlags(): Option[] {
  return [
    new Option('--workers <count>', 'threads of each process, compared with none')
      .argParser(wholeNumberBetween(1, WORKERS_MAX))
      .default(2),
    workersFromOption(),
    new Option('--sizes <bytes>', 'value sizes, separated by commas').argParser(parseSizes).default(SIZES_DEFAULT),
    new Option('--duration <seconds>', 'of each measurement')
      .argParser(secondsBetween(DURATION_MS_MIN, DURATION_MS_MAX))
      .default(2_000, '2'),
    new Option('--rounds <count>', 'measurements of each kind, in turn with and without workers')
      .argParser(wholeNumberBetween(1, ROUNDS_MAX))
      .default(3),
    new Option('--json <file>', 'write the report to FILE as JSON too'),
    new Option('--quiet', 'no progress on stderr'),
  ];
}

export function workersOptionsOf(flags: WorkersFlags): WorkersOptions {
  return {
    workers: flags.workers,
    workersFromBytes: flags.workersFrom,
    sizes: flags.sizes,
    durationMs: flags.duration,
    rounds: flags.rounds,
    jsonPath: writablePath('--json', flags.json),
    quiet: flags.quiet ?? false,
  };
}

/** The load at one size: as many records and operations as keep memory and queues small. */
export function settingsFor(options: WorkersOptions, valueBytes: number, workers: number): LoadSettings {
  const outstanding = Math.floor(BYTES_OUTSTANDING / valueBytes);
  return {
    records: Math.min(RECORDS_MAX, Math.floor(BYTES_A_CLUSTER / valueBytes)),
    valueBytes,
    valueSizes: [{ valueBytes, weight: 1 }],
    fields: undefined,
    datagramBytes: undefined,
    receiveBufferBytes: undefined,
    workers,
    ...(options.workersFromBytes !== undefined && { workersFromBytes: options.workersFromBytes }),
    outstanding: Math.max(OUTSTANDING_MIN, Math.min(OUTSTANDING_MAX, outstanding)),
    clients: 1,
    processes: 1,
    seed: 1,
    durationMs: options.durationMs,
    warmupMs: options.durationMs / 4,
  };
}

function parseSizes(text: string): readonly number[] {
  return text.split(',').map((part) => {
    const sizes = parseValueSizes(part, VALUE_BYTES_MAX);
    if (typeof sizes === 'string') throw new InvalidArgumentError(sizes);
    return sizes[0]!.valueBytes;
  });
}
