import { InvalidArgumentError, Option } from 'commander';
import type { SecurityMode } from '../net/mode.ts';
import { parseBytes } from '../src/cli/bytes.ts';
import { modeOption, replicaCount, wholeNumberBetween } from '../src/cli/shared-options.ts';
import { VALUE_BYTES_MAX, clientFlags, loadFlags } from './load-options.ts';
import { ROUNDS_MAX, benchOptionsOf } from './options.ts';
import type { LoadSettings } from './load-options.ts';
import type { BenchFlags } from './options.ts';
import { workloadOf } from './workload.ts';

/** What `avocado bench sizes` takes. */
export interface SizesOptions extends LoadSettings {
  readonly mode: SecurityMode;
  readonly replicas: number | undefined;
  /** Ascending. */
  readonly sizes: readonly number[];
  /** Of values, in each replica and for each size: there are as many records as fit, at most `records`. */
  readonly bytesPerSize: number;
  readonly rounds: number;
  readonly jsonPath: string | undefined;
  readonly quiet: boolean;
}

export interface SizesFlags extends BenchFlags {
  readonly sizes: readonly number[];
  readonly rounds: number;
}

const SIZES_DEFAULT = [256, 1_024, 4_096, 16_384, 65_536, 262_144, 1_048_576];
/** 64 MiB: enough that it is no cache's, and loaded in seconds. */
const BYTES_PER_SIZE = 64 * 1024 * 1024;
const DURATION_S_DEFAULT = 2;
const ROUNDS_DEFAULT = 3;
/** A large value is thousands of small ones: more in flight would only wait. */
const OUTSTANDING_DEFAULT = 16;

export function sizesFlags(): Option[] {
  return [
    modeOption(),
    new Option('--replicas <count>', 'replicas of its cluster (default: 3)').argParser(replicaCount),
    new Option('--sizes <bytes>', 'sizes of values, each measured by itself')
      .argParser(parseSizes)
      .default(SIZES_DEFAULT, '256,1KiB,4KiB,16KiB,64KiB,256KiB,1MiB'),
    new Option('--rounds <count>', 'rounds; each measures every size once')
      .argParser(wholeNumberBetween(1, ROUNDS_MAX))
      .default(ROUNDS_DEFAULT),
    ...clientFlags(),
    ...loadFlags(DURATION_S_DEFAULT, OUTSTANDING_DEFAULT).filter(({ long }) => !OWN_SIZES.includes(long ?? '')),
  ];
}

/** Say how large values are, which --sizes does here. */
const OWN_SIZES = ['--value-bytes', '--fields', '--field-bytes'];

/** @throws CommandFailure for what doesn't fit together. */
export function sizesOptionsOf(flags: SizesFlags): SizesOptions {
  const { sizes, rounds } = flags;
  const valueBytes = [{ valueBytes: Math.max(...sizes), weight: 1 }];
  const options = benchOptionsOf({ ...flags, workload: workloadOf('C'), valueBytes });
  return { ...options, sizes, rounds, bytesPerSize: BYTES_PER_SIZE };
}

function parseSizes(text: string): number[] {
  const sizes = text.split(',').map((part) => {
    const bytes = parseBytes(part);
    if (bytes !== undefined && bytes >= 1 && bytes <= VALUE_BYTES_MAX) return bytes;
    throw new InvalidArgumentError(`Give sizes like 256,4KiB,1MiB, from 1 to ${VALUE_BYTES_MAX}.`);
  });
  if (new Set(sizes).size !== sizes.length) throw new InvalidArgumentError('Give each size once.');
  return sizes.toSorted((a, b) => a - b);
}
