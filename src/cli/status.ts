import { Command } from 'commander';
import { randomBytes } from '../../workers/signing.ts';
import type { WorkerFigures } from '../../workers/process-sealing.ts';
import { openEngine } from '../client/engine.ts';
import type { DataKeyFigures, Engine, MemberStatus, OperationSink, Outcome, RmwFigures } from '../client/operations.ts';
import type { Route } from '../client/route.ts';
import { formatBytes } from './bytes.ts';
import { CommandFailure, EXIT_FAILED } from './failure.ts';
import { findCluster } from './find-cluster.ts';
import {
  asOption,
  clusterOption,
  enrolmentKeyOption,
  jsonOption,
  routeOption,
  timeoutOption,
} from './shared-options.ts';
import { formatTable } from './table.ts';

interface StatusOptions {
  readonly as?: string;
  readonly enrolmentKey?: string;
  readonly cluster?: string;
  readonly timeout: number;
  readonly route: Route;
  readonly json?: boolean;
}

export function statusCommand(): Command {
  return new Command('status')
    .description('Show each member and make a real quorum read; exit code 1 without a quorum.')
    .addOption(clusterOption())
    .addOption(timeoutOption())
    .addOption(routeOption())
    .addOption(asOption())
    .addOption(enrolmentKeyOption())
    .addOption(jsonOption())
    .addHelpText(
      'after',
      `
Examples:
  avocado status
  avocado status --cluster ./cluster --timeout 1s --json`,
    )
    .action(status);
}

async function status(options: StatusOptions): Promise<void> {
  const directory = findCluster(options.cluster);
  const sink = new OneOperation();
  // Without a quorum there is most to tell, so this does not wait for one.
  const engine = await openEngine({
    clusterDirectory: directory,
    sink,
    route: options.route,
    ...(options.as !== undefined && { profile: options.as }),
    ...(options.enrolmentKey !== undefined && { enrolmentKeyFile: options.enrolmentKey }),
    capacity: 1,
    connectTimeoutMs: 0,
  });
  let members: MemberStatus[];
  let read: QuorumRead;
  try {
    [members, read] = await Promise.all([
      engine.status(options.timeout),
      readFromQuorum(engine, sink, options.timeout),
    ]);
  } finally {
    await engine.close();
  }
  const report = { directory, memberCount: engine.memberCount, quorum: engine.quorum, read, members };
  process.stdout.write(options.json === true ? `${JSON.stringify(report)}\n` : describe(report));
  // Who may not read has no read to tell of; that the members say they are active is what there is.
  const activeCount = members.filter(({ state }) => state === 'active').length;
  const isServing = read.outcome === 'not-permitted' ? activeCount >= engine.quorum : read.ok;
  if (!isServing) {
    throw new CommandFailure(
      `error NO_QUORUM: no ${engine.quorum} of ${engine.memberCount} members answered a read within ${options.timeout} ms (${read.outcome})`,
      EXIT_FAILED,
    );
  }
}

interface QuorumRead {
  readonly ok: boolean;
  readonly outcome: Outcome;
  readonly tookMs: number;
}

interface StatusReport {
  readonly directory: string;
  readonly memberCount: number;
  readonly quorum: number;
  readonly read: QuorumRead;
  readonly members: readonly MemberStatus[];
}

/** A key that nobody writes: the zero byte and the random end keep it apart from any user's. */
async function readFromQuorum(engine: Engine, sink: OneOperation, timeoutMs: number): Promise<QuorumRead> {
  const key = Buffer.concat([Buffer.from('\0avocado/status/'), randomBytes(16)]);
  const startedMs = performance.now();
  engine.operations.startGet(0, key, timeoutMs);
  const outcome = await sink.ended;
  return { ok: outcome === 'ok' || outcome === 'absent', outcome, tookMs: performance.now() - startedMs };
}

class OneOperation implements OperationSink {
  readonly ended: Promise<Outcome>;
  #resolve: (outcome: Outcome) => void = () => {};

  constructor() {
    this.ended = new Promise((resolve) => {
      this.#resolve = resolve;
    });
  }

  onOperationEnded(_token: number, outcome: Outcome): void {
    this.#resolve(outcome);
  }
}

const HEADING = [
  '',
  'address',
  'state',
  'incarnation',
  'epoch',
  'keys',
  'calls',
  'trusted',
  'host',
  'tampered',
  'repaired',
  'dropped',
];
const SHORT_ID_CHARACTERS = 8;

function describe({ directory, memberCount, quorum, read, members }: StatusReport): string {
  const table = formatTable([HEADING, ...members.map(memberRow)]);
  const notes = members.flatMap(memberNotes).join('');
  const verdict = read.ok
    ? `Quorum read (${quorum} of ${memberCount}): ok in ${read.tookMs.toFixed(1)} ms`
    : `Quorum read (${quorum} of ${memberCount}): ${read.outcome === 'not-permitted' ? 'not permitted' : 'failed'}`;
  return `${table}${notes}${verdict}; ${directory}\n`;
}

function memberRow(member: MemberStatus): string[] {
  const { trustedBytes, trustedBytesMax, hostBytes } = member;
  return [
    `replica ${member.index}`,
    member.address,
    member.state,
    member.incarnation?.slice(0, SHORT_ID_CHARACTERS) ?? '-',
    count(member.epoch),
    count(member.keys),
    count(member.calls),
    trustedBytes === undefined || trustedBytesMax === undefined
      ? '-'
      : `${formatBytes(trustedBytes)} of ${formatBytes(trustedBytesMax)}`,
    hostBytes === undefined ? '-' : formatBytes(hostBytes),
    count(member.tampered),
    count(member.repaired),
    member.drops === undefined ? '-' : String(Object.values(member.drops).reduce((sum, drops) => sum + drops, 0)),
  ];
}

function memberNotes(member: MemberStatus): string[] {
  const notes: string[] = [];
  if (member.reason !== undefined) notes.push(`replica ${member.index} is ${member.state}: ${member.reason}\n`);
  if (member.rmw !== undefined) notes.push(`replica ${member.index} has ${describeRmw(member.rmw)}\n`);
  if (member.dataKeys !== undefined) notes.push(`replica ${member.index} ${describeDataKeys(member.dataKeys)}\n`);
  if (member.workers !== undefined) notes.push(`replica ${member.index} has ${describeWorkers(member.workers)}\n`);
  const drops = Object.entries(member.drops ?? {});
  if (drops.length > 0) {
    notes.push(`replica ${member.index} dropped: ${drops.map(([reason, times]) => `${reason} ${times}`).join(', ')}\n`);
  }
  return notes;
}

/** E.g. "3 keys with read-modify-writes: 120 decided, 4 ballots lost; coordinating 1 helped, 2 waits". */
function describeRmw({ keys, decided, nacked, helped, backOffs }: RmwFigures): string {
  const counts = [keys, decided, nacked, helped, backOffs].map((value) => value.toLocaleString('en'));
  const coordinating = helped + backOffs === 0 ? '' : `; coordinating ${counts[3]} helped, ${counts[4]} waits`;
  return `${counts[0]} ${keys === 1 ? 'key' : 'keys'} with read-modify-writes: ${counts[1]} decided, ${counts[2]} ballots lost${coordinating}`;
}

/** E.g. "takes values away from data key 1: 1,200 sealed anew, 3 left, no trusted memory to seal 3 values anew: ...; 0 keys destroyed". */
function describeDataKeys(figures: DataKeyFigures): string {
  const { retiring, resealed, left, noMemory, failed, destroyed } = figures;
  const counts = [resealed, left, noMemory, failed].map((value) => value.toLocaleString('en'));
  const keys = retiring.length === 1 ? 'data key' : 'data keys';
  const from =
    retiring.length === 0
      ? 'has no data key to take values away from'
      : `takes values away from ${keys} ${retiring.join(', ')}`;
  const full = noMemory === 0 ? '' : `, no trusted memory to seal ${counts[2]} values anew`;
  const stay = noMemory === 0 ? '' : ': they keep the old key until they are written anew';
  const again = failed === 0 ? '' : `, ${counts[3]} attempts failed`;
  return `${from}: ${counts[0]} sealed anew, ${counts[1]} left${full}${stay}${again}; ${destroyed} ${destroyed === 1 ? 'key' : 'keys'} destroyed`;
}

/** E.g. "2 workers, from 24,576 bytes on: 1,234 jobs". */
function describeWorkers({ workers, fromBytes, jobs, deaths }: WorkerFigures): string {
  const died = deaths === 0 ? '' : `, ${deaths} died and were replaced`;
  const threads = workers === 1 ? '1 worker' : `${workers} workers`;
  return `${threads}, from ${fromBytes.toLocaleString('en')} bytes on: ${jobs.toLocaleString('en')} jobs${died}`;
}

function count(value: number | undefined): string {
  return value === undefined ? '-' : String(value);
}
