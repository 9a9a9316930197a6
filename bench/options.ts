import { accessSync, constants, statSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { dirname, resolve } from 'node:path';
import { InvalidArgumentError, Option } from 'commander';
import type { SecurityMode } from '../net/mode.ts';
import type { WorkerSetting } from '../workers/worker-count.ts';
import { parseDurationMs } from '../src/cli/duration.ts';
import { ROUTES } from '../src/client/route.ts';
import type { Route } from '../src/client/route.ts';
import { CommandFailure, EXIT_WRONG_INPUT } from '../src/cli/failure.ts';
import {
  datagramBytesOption,
  modeOption,
  receiveBufferOption,
  replicaCount,
  routeOption,
  scansOption,
  wholeNumberBetween,
  workersFromOption,
  workersOption,
} from '../src/cli/shared-options.ts';
import { parseStream } from './beside.ts';
import type { Stream } from './beside.ts';
import type { WorkerOptions } from '../src/server/open-sealing.ts';
import { VALUE_HEADER_BYTES } from './record.ts';
import { largestOf, parseValueSizes, smallestOf } from './value-sizes.ts';
import type { ValueSize } from './value-sizes.ts';
import { ATOMIC_WORKLOAD, WORKLOAD_NAMES, isWorkloadName, workloadOf, workloadOfProportion } from './workload.ts';
import type { Workload } from './workload.ts';
import { LATEST_RECORDS_MIN } from './zipfian.ts';

/** What `avocado bench` and `avocado bench compare` take: flags, bounds, and what must fit together. */

/** Keys of so many take 320 MB in each load process; trusted memory holds fewer. */
const RECORDS_MAX = 10_000_000;
/** The largest value that any cluster will take; how much this one takes is asked of it. */
export const VALUE_BYTES_MAX = 1024 * 1024;
/** A quarter of an engine's operation slots; more waits in queues only. */
const OUTSTANDING_MAX = 16_384;
/** Values in flight in one load process; its clients keep copies of them. */
const FLIGHT_BYTES_MAX = 256 * 1024 * 1024;
export const CLIENTS_MAX = 64;
const SEED_MAX = 2 ** 32 - 1;
const DURATION_MS_MAX = 24 * 60 * 60 * 1_000;
/** The window must hold more than a few operations. */
const DURATION_MS_MIN = 100;
export const ROUNDS_MAX = 1_000;
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

export interface BenchOptions extends LoadSettings {
  readonly workload: Workload;
  readonly mode: SecurityMode;
  readonly route: Route;
  /** A cluster that runs already: its directory, or true for the one that is found. False: an embedded one. */
  readonly connect: string | boolean;
  /** Of the embedded cluster; undefined: as it has it. */
  readonly replicas: number | undefined;
  /** Whether its replicas keep their keys in order. */
  readonly scans: boolean;
  readonly jsonPath: string | undefined;
  readonly historyPath: string | undefined;
  /** What runs beside the load. */
  readonly beside: Stream | undefined;
  readonly quiet: boolean;
}

export interface CompareOptions extends LoadSettings {
  readonly workloads: readonly Workload[];
  readonly routes: readonly Route[];
  readonly rounds: number;
  readonly jsonPath: string | undefined;
  readonly quiet: boolean;
}

/** As commander has parsed them. */
interface LoadFlags {
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

export interface BenchFlags extends LoadFlags {
  readonly workload: Workload;
  readonly atomic?: boolean;
  readonly read?: number;
  readonly mode: SecurityMode;
  readonly route: Route;
  readonly connect?: string | true;
  readonly replicas?: number;
  readonly scans: boolean;
  readonly history?: string;
  readonly beside?: Stream;
}

export interface CompareFlags extends LoadFlags {
  readonly workloads: readonly Workload[];
  readonly routes: readonly Route[];
  readonly rounds: number;
}

export function workloadFlags(): Option[] {
  return [
    new Option(
      '--workload <name>',
      'YCSB workload: A, B, C (50, 95, 100 % reads, rest updates), D (95 % reads of the latest, rest inserts), E (95 % scans, rest inserts) or F (50 % reads, rest read-modify-writes)',
    )
      .argParser(parseWorkload)
      .default(workloadOf('A'), 'A'),
    new Option(
      '--read <proportion>',
      "share of reads, 0 to 1, in place of the workload's; the rest stays what it is (0: updates only)",
    ).argParser(parseProportion),
    new Option('--atomic', 'workload F by get and compare-and-set, again until it succeeds, in place of get and put'),
  ];
}

export function benchFlags(): Option[] {
  return [
    ...workloadFlags(),
    modeOption(),
    routeOption(),
    new Option(
      '--connect [dir]',
      'load a cluster that runs already: its directory (default: AVOCADO_CLUSTER, else the running avocado dev)',
    ),
    new Option('--replicas <count>', 'replicas of its own cluster (default: 3)')
      .argParser(replicaCount)
      .conflicts('connect'),
    scansOption().conflicts('connect'),
    ...clientFlags(),
    ...loadFlags(10),
    new Option(
      '--beside <stream>',
      'one more client that only puts or gets, like "put 1MiB x 4" (so many in flight), reported by itself; the load is measured without it first',
    ).argParser(parseBeside),
    new Option('--history <file>', 'write each operation to FILE, a JSON line each, for a linearizability check'),
  ];
}

export function compareFlags(): Option[] {
  return [
    new Option('--workloads <names>', 'YCSB workloads, separated by commas')
      .argParser(parseWorkloads)
      .default([workloadOf('A')], 'A'),
    new Option('--routes <names>', 'direct, coordinated, or both, separated by a comma')
      .argParser(parseRoutes)
      .default(['direct'], 'direct'),
    new Option('--rounds <count>', 'rounds; each measures every mode once')
      .argParser(wholeNumberBetween(1, ROUNDS_MAX))
      .default(5),
    ...clientFlags(),
    ...loadFlags(5),
  ];
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
export function benchOptionsOf(flags: BenchFlags): BenchOptions {
  const settings = settingsOf(flags);
  if (flags.history !== undefined && smallestOf(settings.valueSizes) < VALUE_HEADER_BYTES) {
    throw wrongInput(
      `--history needs values of ${VALUE_HEADER_BYTES} bytes or more, which carry the id of their put: give --value-bytes ${VALUE_HEADER_BYTES}`,
    );
  }
  checkWorkloads([flags.workload], settings);
  checkScans([flags.workload], [flags.route]);
  if (flags.workload.scans === true && !flags.scans) {
    throw wrongInput('workload E scans: leave --no-scans out');
  }
  const workload = flags.atomic === true ? atomic(flags.workload) : flags.workload;
  if (flags.beside !== undefined && flags.beside.outstanding * flags.beside.valueBytes > FLIGHT_BYTES_MAX) {
    throw wrongInput(`--beside puts more than ${FLIGHT_BYTES_MAX} bytes in flight: give a smaller size or number`);
  }
  return {
    ...settings,
    workload: flags.read === undefined ? workload : workloadOfProportion(flags.read, workload),
    mode: flags.mode,
    route: flags.route,
    connect: flags.connect ?? false,
    replicas: flags.replicas,
    scans: flags.scans,
    jsonPath: writablePath('--json', flags.json),
    historyPath: writablePath('--history', flags.history),
    beside: flags.beside,
    quiet: flags.quiet ?? false,
  };
}

export function compareOptionsOf(flags: CompareFlags): CompareOptions {
  const settings = settingsOf(flags);
  checkWorkloads(flags.workloads, settings);
  checkScans(flags.workloads, flags.routes);
  return {
    ...settings,
    workloads: flags.workloads,
    routes: flags.routes,
    rounds: flags.rounds,
    jsonPath: writablePath('--json', flags.json),
    quiet: flags.quiet ?? false,
  };
}

function atomic({ name, write }: Workload): Workload {
  if (write === 'rmw') return ATOMIC_WORKLOAD;
  throw wrongInput(`--atomic belongs to workload F, which has read-modify-writes: give --workload F, not ${name}`);
}

function checkWorkloads(workloads: readonly Workload[], { records }: LoadSettings): void {
  if (records < LATEST_RECORDS_MIN && workloads.some(({ write }) => write === 'insert')) {
    throw wrongInput(
      `workloads D and E need --records ${LATEST_RECORDS_MIN} or more: YCSB's choice of the latest is not defined for fewer`,
    );
  }
}

function checkScans(workloads: readonly Workload[], routes: readonly Route[]): void {
  if (workloads.every(({ scans }) => scans !== true) || !routes.includes('coordinated')) return;
  throw wrongInput('workload E scans, which the coordinated route does not: measure it over the direct one');
}

function settingsOf(flags: LoadFlags): LoadSettings {
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

/** Found out now rather than after minutes of load. */
export function writablePath(flag: string, path: string | undefined): string | undefined {
  if (path === undefined) return undefined;
  const absolute = resolve(path);
  const isDirectory = statSync(absolute, { throwIfNoEntry: false })?.isDirectory() ?? false;
  if (isDirectory) throw wrongInput(`${flag} ${path} is a directory: give a file`);
  try {
    accessSync(dirname(absolute), constants.W_OK | constants.X_OK);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw wrongInput(`${flag} ${path} can't be written (${code}): give a file in a directory that you may write to`);
  }
  return absolute;
}

export function wrongInput(message: string): CommandFailure {
  return new CommandFailure(`error: ${message}`, EXIT_WRONG_INPUT);
}

function parseWorkload(text: string): Workload {
  const name = text.trim().toUpperCase();
  if (isWorkloadName(name)) return workloadOf(name);
  throw new InvalidArgumentError(`Give one of ${WORKLOAD_NAMES.join(', ')}.`);
}

function parseWorkloads(text: string): Workload[] {
  const workloads = text.split(',').map(parseWorkload);
  const names = new Set(workloads.map((workload) => workload.name));
  if (names.size !== workloads.length) throw new InvalidArgumentError('Give each workload once.');
  return workloads;
}

function parseRoutes(text: string): Route[] {
  const names = text.split(',').map((name) => name.trim());
  const routes = ROUTES.filter((route) => names.includes(route));
  if (routes.length === names.length) return routes;
  throw new InvalidArgumentError(`Give some of ${ROUTES.join(',')}, each once.`);
}

function parseProportion(text: string): number {
  const value = Number(text);
  if (/^\d*\.?\d+$/.test(text) && value <= 1) return value;
  throw new InvalidArgumentError('Give a number from 0 to 1.');
}

function parseBeside(text: string): Stream {
  const stream = parseStream(text, VALUE_BYTES_MAX);
  if (typeof stream === 'string') throw new InvalidArgumentError(stream);
  return stream;
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
