import { fork } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { extname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { openAttackClient } from '../../bench/attack/attack-client.ts';
import { medianOf } from '../../bench/compare-ratio.ts';
import { assert } from '../../net/assert.ts';
import type { DropReason } from '../../net/drops.ts';
import { HALF_OPEN_MAX, HALF_OPEN_TIMEOUT_MS } from '../../net/limits.ts';
import type { MemberStatus } from '../../src/client/operations.ts';
import { startEmbeddedCluster } from '../../src/server/embedded-cluster.ts';
import { openAuthority } from '../../src/trust/open-authority.ts';
import { WindowedLoad, latenciesIn, operationsIn } from '../processes/windowed-load.ts';
import type { FloodKind, FloodOptions, FloodReport } from './flood-sender.ts';
import { MIB, MINUTE_MS, count, mib, ms } from './proof.ts';
import type { ClaimResult, Proof, ProofContext } from './proof.ts';

/**
 * Requests for handshakes from many addresses that answer nothing, while clients with sessions work. Latencies are compared
 * with those without a flood. The sender runs on the machine that it floods, and takes a part of its cores that is none of
 * the replicas' doing: what it takes is shown by a third kind of stretch, in which it sends the same to a socket that nobody
 * reads. Stretches of all kinds take turns, so that what else the machine does meets each.
 */
const RECORDS = 1_000;
/** Moderate: latencies are those of work, not of waiting in line behind one's own. */
const OUTSTANDING = 4;
const READ_PROPORTION = 0.5;
const WARMUP_MS = 3_000;
const STRETCH_MS = 3_000;
/** Kinds take turns, too: what one leaves half-open is forgotten before the same comes again. */
const KINDS = ['mixed', 'uncertified'] as const satisfies readonly FloodKind[];
const ROUND = ['sink', ...KINDS] as const satisfies readonly FloodKind[];
const ROUNDS = 4;
const QUICK_ROUNDS = 2;
assert(2 * STRETCH_MS >= HALF_OPEN_TIMEOUT_MS, 'each flood of a kind meets replicas that know nothing of the last one');
/** The flood goes on for so long while a new client connects. */
const NEWCOMER_MS = 1_500;
/**
 * 1,000 a second for each of three replicas, whoever claims to send them. Taking a datagram and answering it with a cookie
 * costs the system some 50 µs, sending it as much again: on one machine a flood of any rate is a loss of cores.
 */
const DATAGRAMS_PER_SEC = 3_000;
const SOURCES = 200;
const P99_FACTOR_MAX = 2;
const STATUS_TIMEOUT_MS = 5_000;
const READY_TIMEOUT_MS = 30_000;
/** A process at work breathes by some MiB; a session for each datagram of the flood would be tens. */
const RSS_GROWTH_BYTES_MAX = 16 * MIB;
/** What each kind of request in the flood ends as; those that get further wait half-open, and are forgotten. */
const REASONS: readonly DropReason[] = ['wrong-mac1', 'cookie-due', 'handshake-failed', 'certificate-refused'];

export const handshakeFlood: Proof = {
  name: 'handshake-flood',
  subject: 'a flood of spoofed handshakes leaves clients alone',
  timeoutMs: 5 * MINUTE_MS,
  run: proveFlood,
};

interface Stretch {
  readonly opsPerSec: number;
  readonly p99Us: number;
}

interface Seen {
  readonly quiet: readonly Stretch[];
  readonly flooded: Readonly<Record<FloodKind, readonly Stretch[]>>;
  readonly newcomersMs: readonly number[];
  readonly report: FloodReport;
}

async function proveFlood(context: ProofContext): Promise<ClaimResult[]> {
  const cluster = await startEmbeddedCluster({ mode: 'secure', log: context.progress });
  let load: WindowedLoad | undefined;
  let sender: FloodSender | undefined;
  let sink: { readonly child: ChildProcess; readonly port: number } | undefined;
  try {
    const { directory } = cluster;
    load = await WindowedLoad.open({ clusterDirectory: directory, records: RECORDS, outstanding: OUTSTANDING });
    await load.fill();
    sink = await openSink();
    sender = await FloodSender.open({
      sinkPort: sink.port,
      clusterDirectory: directory,
      datagramsPerSec: DATAGRAMS_PER_SEC,
      forMs: STRETCH_MS + NEWCOMER_MS,
      sources: SOURCES,
    });
    load.start(READ_PROPORTION);
    await load.windows(WARMUP_MS);
    const before = await load.engine.status(STATUS_TIMEOUT_MS);
    const rounds = context.quick ? QUICK_ROUNDS : ROUNDS;
    const floods = Array.from({ length: rounds }, () => ROUND).flat();
    const seen = await takeTurns(context, load, sender, directory, floods);
    const after = await load.engine.status(STATUS_TIMEOUT_MS);
    await load.drain();
    return [latencyClaim(seen, load.errors), newcomerClaim(seen), memoryClaim(seen.report, before, after)];
  } finally {
    sender?.close();
    // It blocks itself, and hears no other signal.
    sink?.child.kill('SIGKILL');
    await load?.close();
    await cluster.stop();
  }
}

async function takeTurns(
  context: ProofContext,
  load: WindowedLoad,
  sender: FloodSender,
  directory: string,
  floods: readonly FloodKind[],
): Promise<Seen> {
  const quiet = [await stretch(load)];
  const flooded: Record<FloodKind, Stretch[]> = { sink: [], mixed: [], uncertified: [] };
  const newcomersMs: number[] = [];
  let report: FloodReport | undefined;
  for (const [round, kind] of floods.entries()) {
    context.progress(
      `flood ${round + 1} of ${floods.length}, ${kind}: ${count(DATAGRAMS_PER_SEC)} datagrams/s from ${SOURCES} addresses`,
    );
    const ended = sender.run(kind);
    flooded[kind].push(await stretch(load));
    if (kind !== 'sink') newcomersMs.push(await newcomer(directory, round));
    report = await ended;
    quiet.push(await stretch(load));
  }
  assert(report !== undefined, 'there is a flood');
  return { quiet, flooded, newcomersMs, report };
}

async function stretch(load: WindowedLoad): Promise<Stretch> {
  const windows = await load.windows(STRETCH_MS);
  const forMs = windows.reduce((sum, window) => sum + window.windowMs, 0);
  return { opsPerSec: (operationsIn(windows) * 1_000) / forMs, p99Us: latenciesIn(windows)?.p99 ?? Infinity };
}

/** A client that nobody knows yet puts and gets; how long it took to connect. */
async function newcomer(directory: string, round: number): Promise<number> {
  const startMs = performance.now();
  const { client } = await openAttackClient(openAuthority(directory, { role: 'client' }));
  const connectedMs = performance.now() - startMs;
  try {
    const value = Buffer.from(`came in flood ${round}`);
    await client.put(`newcomer ${round}`, value);
    const got = await client.get(`newcomer ${round}`);
    if (got === undefined || !value.equals(got)) throw new Error('the new client does not get what it has put');
  } finally {
    await client.close();
  }
  return connectedMs;
}

function latencyClaim(seen: Seen, errorCounts: Readonly<Record<string, number>>): ClaimResult {
  const errors = Object.entries(errorCounts).map(([kind, times]) => `${times} ${kind}`);
  const quiet = medianStretch(seen.quiet);
  const beside = medianStretch(seen.flooded.sink);
  const flooded = KINDS.map((kind) => {
    const median = medianStretch(seen.flooded[kind]);
    return { kind, ...median, factor: median.p99Us / quiet.p99Us, besideFactor: median.p99Us / beside.p99Us };
  });
  const each = flooded.map(
    ({ kind, p99Us, factor, besideFactor, opsPerSec }) =>
      `${ms(p99Us)} during ${kind} ones (x ${factor.toFixed(2)} of the first, at most ${P99_FACTOR_MAX}; ` +
      `x ${besideFactor.toFixed(2)} of the second; ${count(opsPerSec)} ops/s)`,
  );
  return {
    claim: `a flood of spoofed handshakes, ${count(DATAGRAMS_PER_SEC)} a second for three replicas, leaves the p99 of clients that are connected within a factor of two`,
    ok: errors.length === 0 && flooded.every(({ factor }) => factor <= P99_FACTOR_MAX),
    figures:
      `${errors.join(', ') || 'no'} errors; medians of stretches of ${STRETCH_MS / 1_000} s: ` +
      `p99 ${ms(quiet.p99Us)} without a flood (${count(quiet.opsPerSec)} ops/s), ` +
      `${ms(beside.p99Us)} while the same sender on the same machine floods a socket that nobody reads ` +
      `(${count(beside.opsPerSec)} ops/s), ${each.join(', ')}; ` +
      `${count(seen.report.sent)} datagrams from ${SOURCES} addresses, ${count(DATAGRAMS_PER_SEC)} a second`,
    data: { errors: errorCounts, quiet, beside, flooded, stretches: { quiet: seen.quiet, ...seen.flooded } },
  };
}

function medianStretch(stretches: readonly Stretch[]): Stretch {
  return {
    opsPerSec: medianOf(stretches.map(({ opsPerSec }) => opsPerSec)),
    p99Us: medianOf(stretches.map(({ p99Us }) => p99Us)),
  };
}

function newcomerClaim({ newcomersMs }: Seen): ClaimResult {
  return {
    claim: 'a new client gets in during the flood',
    ok: newcomersMs.every((each) => each <= NEWCOMER_MS),
    figures: `connected in ${newcomersMs.map((each) => `${Math.round(each)} ms`).join(', ')}, with a put and a get`,
    data: { newcomersMs },
  };
}

function memoryClaim(
  report: FloodReport,
  before: readonly MemberStatus[],
  after: readonly MemberStatus[],
): ClaimResult {
  const halfOpen = Math.max(...report.sessionsMs.map((ofMember) => mostWithin(ofMember, HALF_OPEN_TIMEOUT_MS)));
  const dropped = REASONS.map((reason) => {
    const counts = after.map(({ drops }, i) => (drops?.[reason] ?? 0) - (before[i]!.drops?.[reason] ?? 0));
    return {
      reason,
      times: counts.reduce((sum, times) => sum + times, 0),
      isOnAll: counts.every((times) => times > 0),
    };
  });
  const growth = Math.max(...after.map(({ rssBytes }, i) => (rssBytes ?? Infinity) - (before[i]!.rssBytes ?? 0)));
  return {
    claim: 'what the flood costs a replica in sessions and memory is bounded, and what it drops is counted',
    ok:
      halfOpen <= HALF_OPEN_MAX &&
      report.others === 0 &&
      growth <= RSS_GROWTH_BYTES_MAX &&
      dropped.every(({ isOnAll }) => isOnAll),
    figures:
      `of ${count(report.sent)} datagrams ${dropped.map(({ reason, times }) => `${count(times)} ${reason}`).join(', ')}; ` +
      `at most ${halfOpen} half-open sessions for it on a replica (limit ${HALF_OPEN_MAX}); ` +
      `answered with ${count(report.cookies)} cookies, ${count(report.hints)} hints, ${count(report.responses)} handshakes, ${report.others} others; ` +
      `resident memory of a replica grew by at most ${mib(growth)}`,
    data: { dropped, halfOpen, halfOpenMax: HALF_OPEN_MAX, growth, before, after },
  };
}

/** The most of these times that lie within a span. */
function mostWithin(timesMs: readonly number[], spanMs: number): number {
  const sorted = timesMs.toSorted((a, b) => a - b);
  let most = 0;
  let from = 0;
  for (const [at, timeMs] of sorted.entries()) {
    while (timeMs - sorted[from]! >= spanMs) from++;
    most = Math.max(most, at - from + 1);
  }
  return most;
}

async function openSink(): Promise<{ readonly child: ChildProcess; readonly port: number }> {
  const path = fileURLToPath(new URL(`./silent-sink${extname(import.meta.url)}`, import.meta.url));
  const child = fork(path, [], { execArgv: [], stdio: ['ignore', 'ignore', 'inherit', 'ipc'] });
  try {
    const [{ port }] = (await once(child, 'message', { signal: AbortSignal.timeout(READY_TIMEOUT_MS) })) as [
      { port: number },
    ];
    return { child, port };
  } catch (error) {
    child.kill('SIGKILL');
    throw new Error('the sink could not be started', { cause: error });
  }
}

class FloodSender {
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess) {
    this.#child = child;
  }

  static async open(options: FloodOptions): Promise<FloodSender> {
    const path = fileURLToPath(new URL(`./flood-sender${extname(import.meta.url)}`, import.meta.url));
    const child = fork(path, [JSON.stringify(options)], {
      execArgv: [],
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    });
    try {
      await once(child, 'message', { signal: AbortSignal.timeout(READY_TIMEOUT_MS) });
      return new FloodSender(child);
    } catch (error) {
      child.kill();
      throw new Error('the sender of the flood could not be started', { cause: error });
    }
  }

  /** One flood; what all of them have sent and received. */
  async run(kind: FloodKind): Promise<FloodReport> {
    const answered = once(this.#child, 'message');
    this.#child.send(kind);
    const [report] = (await answered) as [FloodReport];
    return report;
  }

  close(): void {
    this.#child.kill();
  }
}
