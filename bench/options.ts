import { InvalidArgumentError, Option } from 'commander';
import type { SecurityMode } from '../net/mode.ts';
import { wrongInput } from '../src/cli/failure.ts';
import { modeOption, replicaCount, routeOption, scansOption, wholeNumberBetween } from '../src/cli/shared-options.ts';
import { ROUTES } from '../src/client/route.ts';
import type { Route } from '../src/client/route.ts';
import { parseStream } from './beside.ts';
import type { Stream } from './beside.ts';
import { FLIGHT_BYTES_MAX, VALUE_BYTES_MAX, clientFlags, loadFlags, loadSettingsOf } from './load-options.ts';
import type { LoadFlags, LoadSettings } from './load-options.ts';
import { writablePath } from './output-file.ts';
import { VALUE_HEADER_BYTES } from './record.ts';
import { smallestOf } from './value-sizes.ts';
import { ATOMIC_WORKLOAD, WORKLOAD_NAMES, isWorkloadName, workloadOf, workloadOfProportion } from './workload.ts';
import type { Workload } from './workload.ts';
import { LATEST_RECORDS_MIN } from './zipfian.ts';

/** What `avocado bench` and `avocado bench compare` take, beside what any load is (load-options.ts). */

export const ROUNDS_MAX = 1_000;

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

/** @throws CommandFailure for what doesn't fit together. */
export function benchOptionsOf(flags: BenchFlags): BenchOptions {
  const settings = loadSettingsOf(flags);
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
  const settings = loadSettingsOf(flags);
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
