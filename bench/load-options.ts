import { availableParallelism } from 'node:os';
import { InvalidArgumentError, Option } from 'commander';
import type { WorkerSetting } from '../workers/worker-count.ts';
import { parseDurationMs } from '../src/cli/duration.ts';
import { wrongInput } from '../src/cli/failure.ts';
import {
  datagramBytesOption,
  receiveBufferOption,
  wholeNumberBetween,
  workersFromOption,
  workersOption,
} from '../src/cli/shared-options.ts';
import type { WorkerOptions } from '../src/server/open-sealing.ts';
import { largestOf, parseValueSizes } from './value-sizes.ts';
import type { ValueSize } from './value-sizes.ts';

/** What a load is, whichever command asks for it: records, values, clients, times. Flags, bounds, and what must fit together. */

/** Keys of so many take 320 MB in each load process; trusted memory holds fewer. */
const RECORDS_MAX = 10_000_000;
/** The largest value that any cluster will take; how much this one takes is asked of it. */
export const VALUE_BYTES_MAX = 1024 * 1024;
/** A quarter of an engine's operation slots; more waits in queues only. */
const OUTSTANDING_MAX = 16_384;
/** Values in flight in one load process; its clients keep copies of them. */
export const FLIGHT_BYTES_MAX = 256 * 1024 * 1024;
export const CLIENTS_MAX = 64;
const SEED_MAX = 2 ** 32 - 1;
const DURATION_MS_MAX = 24 * 60 * 60 * 1_000;
/** The window must hold more than a few operations. */
const DURATION_MS_MIN = 100;
/** YCSB's record: CoreWorkload's defaults of fieldcount and fieldlength. */
const FIELDS_DEFAULT = 10;
const FIELD_BYTES_DEFAULT = 100;
const VALUE_BYTES_DEFAULT = 256;

/** A value as a record of fields, one behind the other. */
export interface RecordFields {
  readonly fieldCount: number;
  readonly fieldBytes: number;
}

/** What a load needs to know, whichever command asks for it. */
export interface LoadSettings extends WorkerOptions {
  readonly records: number;
  /** The largest. */
  readonly valueBytes: number;
  readonly valueSizes: readonly ValueSize[];
  /** Undefined: a value is not divided. */
  readonly fields: RecordFields | undefined;
  /** Undefined: as the interface has it. */
  readonly datagramBytes: number | undefined;
  /** Asked of the system for each socket; undefined: the usual. */
  readonly receiveBufferBytes: number | undefined;
  /** Of each client. */
  readonly outstanding: number;
  readonly clients: number;
  /** That the clients are dealt out to; at most as many. */
  readonly processes: number;
  readonly seed: number;
  readonly durationMs: number;
  readonly warmupMs: number;
}

/** As commander has parsed them. */
export interface LoadFlags {
  readonly records: number;
  readonly valueBytes?: readonly ValueSize[];
  readonly fields?: number;
  readonly fieldBytes?: number;
  readonly datagramBytes?: number;
  readonly receiveBuffer?: number;
  readonly workers: WorkerSetting;
  readonly workersFrom?: number;
  readonly outstanding: number;
  readonly clients: number;
  readonly processes?: number;
  readonly seed: number;
  readonly duration: number;
  readonly warmup: number;
  readonly json?: string;
  readonly quiet?: boolean;
}

export function clientFlags(): [clients: Option, processes: Option] {
  return [
    new Option('--clients <count>', 'clients, each with a socket, sessions and closed loop of its own')
      .argParser(wholeNumberBetween(1, CLIENTS_MAX))
      .default(1),
    new Option(
      '--processes <count>',
      'load processes that the clients are dealt out to (default: as many as cores, at most as many as clients)',
    ).argParser(wholeNumberBetween(1, CLIENTS_MAX)),
  ];
}

/** Defaults; who measures many times measures shorter. */
export function loadFlags(durationSeconds: number, outstanding = 256): Option[] {
  return [
    new Option('--records <count>', 'records, all put once before the run')
      .argParser(wholeNumberBetween(1, RECORDS_MAX))
      .default(100_000),
    new Option(
      '--value-bytes <sizes>',
      `size of each value, or sizes with weights like 64:60,256:30,4096:10 (default: ${VALUE_BYTES_DEFAULT})`,
    ).argParser(parseValueBytes),
    new Option(
      '--fields <count>',
      "records of fields, in place of --value-bytes (YCSB's: 10 fields of 100 bytes)",
    ).argParser(wholeNumberBetween(1, VALUE_BYTES_MAX)),
    new Option('--field-bytes <bytes>', 'size of each field').argParser(wholeNumberBetween(1, VALUE_BYTES_MAX)),
    datagramBytesOption(),
    receiveBufferOption(),
    workersOption(),
    workersFromOption(),
    new Option('--outstanding <count>', 'operations in flight at once, of each client')
      .argParser(wholeNumberBetween(1, OUTSTANDING_MAX))
      .default(outstanding),
    new Option('--seed <number>', 'of all random choices').argParser(wholeNumberBetween(0, SEED_MAX)).default(1),
    new Option('--duration <seconds>', 'of each measurement')
      .argParser(secondsBetween(DURATION_MS_MIN, DURATION_MS_MAX))
      .default(durationSeconds * 1_000, `${durationSeconds}`),
    new Option('--warmup <seconds>', 'before each measurement')
      .argParser(secondsBetween(0, DURATION_MS_MAX))
      .default(2_000, '2'),
    new Option('--json <file>', 'write the report to FILE as JSON too'),
    new Option('--quiet', 'no progress on stderr'),
  ];
}

/** @throws CommandFailure for what doesn't fit together. */
export function loadSettingsOf(flags: LoadFlags): LoadSettings {
  const fields = fieldsOf(flags);
  const valueSizes =
    fields === undefined
      ? (flags.valueBytes ?? [{ valueBytes: VALUE_BYTES_DEFAULT, weight: 1 }])
      : [{ valueBytes: fields.fieldCount * fields.fieldBytes, weight: 1 }];
  const valueBytes = largestOf(valueSizes);
  if (valueBytes > VALUE_BYTES_MAX) {
    throw wrongInput(
      `a record of ${valueBytes} bytes is over ${VALUE_BYTES_MAX}: give fewer --fields or --field-bytes`,
    );
  }
  const { outstanding, clients } = flags;
  const processes = processesFor(flags);
  const inProcess = Math.ceil(clients / processes);
  if (outstanding * inProcess * valueBytes > FLIGHT_BYTES_MAX) {
    const many = inProcess === 1 ? '' : ` of ${inProcess} clients in a process`;
    throw wrongInput(
      `--outstanding ${outstanding} values of ${valueBytes} bytes${many} are more than ${FLIGHT_BYTES_MAX} bytes in flight: give fewer`,
    );
  }
  return {
    records: flags.records,
    valueBytes,
    valueSizes,
    fields,
    datagramBytes: flags.datagramBytes,
    receiveBufferBytes: flags.receiveBuffer,
    workers: flags.workers,
    ...(flags.workersFrom !== undefined && { workersFromBytes: flags.workersFrom }),
    outstanding,
    clients,
    processes,
    seed: flags.seed,
    durationMs: flags.duration,
    warmupMs: flags.warmup,
  };
}

function processesFor({ clients, processes }: LoadFlags): number {
  if (processes === undefined) return Math.min(clients, availableParallelism());
  if (processes <= clients) return processes;
  throw wrongInput(`--processes ${processes} need a client each: give --clients ${processes} or more, or fewer`);
}

function fieldsOf({ valueBytes, fields, fieldBytes }: LoadFlags): RecordFields | undefined {
  if (fields === undefined && fieldBytes === undefined) return undefined;
  if (valueBytes !== undefined) {
    throw wrongInput('--value-bytes and --fields or --field-bytes both say how large values are: give one of them');
  }
  return { fieldCount: fields ?? FIELDS_DEFAULT, fieldBytes: fieldBytes ?? FIELD_BYTES_DEFAULT };
}

function parseValueBytes(text: string): readonly ValueSize[] {
  const sizes = parseValueSizes(text, VALUE_BYTES_MAX);
  if (typeof sizes === 'string') throw new InvalidArgumentError(sizes);
  return sizes;
}

/** Seconds, or a duration with its unit like 500ms; the result is in milliseconds. */
export function secondsBetween(minMs: number, maxMs: number): (text: string) => number {
  return (text) => {
    const parsedMs = /^\d*\.?\d+$/.test(text) ? Number(text) * 1_000 : parseDurationMs(text);
    if (parsedMs !== undefined && parsedMs >= minMs && parsedMs <= maxMs) return parsedMs;
    throw new InvalidArgumentError(`Give seconds like 10 or 0.5, from ${minMs / 1_000} to ${maxMs / 1_000}.`);
  };
}
