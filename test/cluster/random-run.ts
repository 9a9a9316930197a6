import { HANDSHAKE_RETRY_MS_MIN } from '../../net/limits.ts';
import type { Coverage } from './coverage.ts';
import { Dice } from './dice.ts';
import { describeViolation, findViolation } from './linearizability.ts';
import { biasOf, drawBiasedPlan } from './random-plan.ts';
import type { Bias } from './random-plan.ts';
import { RandomFaults } from './random-faults.ts';
import { SESSION_LIFE_MS } from './plan.ts';
import type { Plan } from './plan.ts';
import { DEADLINE_MS_MAX, RandomWork } from './random-work.ts';
import type { Attempt, RecordedClient } from './recorded-client.ts';
import { SimulatedCluster } from './simulated-cluster.ts';

/**
 * One random run: clients at work while network, processes and hosts misbehave (random-faults.ts), then calm. What must
 * hold: the history is linearizable, no assertion fails, no nonce is used twice, no two instances live, and once it is
 * calm everything finishes and works within the bounds below.
 */
export interface RunResult {
  readonly bias: Bias;
  /** Undefined when all is well. */
  readonly failure: string | undefined;
  readonly operationCount: number;
  /** Simulated time. */
  readonly simulatedMs: number;
  /** The longest that an operation took once it was calm. */
  readonly recoveryMs: number;
  readonly coverage: Coverage;
  /** The whole run as text: two runs of a seed must give the same. */
  readonly trace: string;
}

/** The faults end at the latest after so much simulated time. */
const STORM_MS_MAX = 1_000;
/**
 * Liveness: once the faults have stopped, an operation that was started before ends by its own deadline, and a turn or
 * so later its place is free.
 */
export const END_MS_MAX = 2 * DEADLINE_MS_MAX;
/**
 * And with a quorum up every new operation succeeds within so long: that a session broke is noticed after a second, and a
 * handshake under way is repeated within two; a cluster that had not formed yet forms first.
 */
export const RECOVERY_MS_MAX = 10_000;
/** The life of a session (REFUSE_AFTER_MS, 180 s), at the slowest clock. */
const REST_MS = SESSION_LIFE_MS;
/** An operation that nobody can answer. */
const UNANSWERED_MS = 3_000;

/** @param isTraced The trace shows each datagram and message. */
export function runSeed(seed: number, bias: Bias = biasOf(seed), isTraced = false): RunResult {
  const run = new RandomRun(seed, bias, isTraced);
  let failure: string | undefined;
  try {
    failure = run.run();
  } catch (error) {
    failure = error instanceof Error ? (error.stack ?? error.message) : String(error);
  }
  return {
    bias,
    failure,
    operationCount: run.operationCount,
    simulatedMs: run.simulatedMs,
    recoveryMs: run.recoveryMs,
    coverage: run.coverage,
    get trace() {
      return run.trace();
    },
  };
}

class RandomRun {
  recoveryMs = 0;
  readonly #dice: Dice;
  readonly #plan: Plan;
  readonly #cluster: SimulatedCluster;
  readonly #work: RandomWork;
  readonly #faults: RandomFaults;
  readonly #isTraced: boolean;

  constructor(seed: number, bias: Bias, isTraced: boolean) {
    this.#dice = new Dice(seed);
    const plan = drawBiasedPlan(this.#dice, bias);
    this.#plan = plan;
    this.#isTraced = isTraced;
    this.#cluster = new SimulatedCluster({
      seed: this.#dice.integer(0, 0x7fff_ffff),
      memberCount: plan.memberCount,
      mode: plan.mode,
      datagramBytes: plan.datagramBytes,
      memoryOf: (member) => (plan.littleMemory.includes(member) ? LITTLE_MEMORY[plan.memory] : {}),
      isCryptoSlow: (name) => plan.slowProcesses.has(name),
      isTraced,
    });
    this.#work = new RandomWork(this.#cluster, plan, this.#dice.split());
    this.#faults = new RandomFaults(this.#cluster, plan, this.#dice.split(), this.#work.keys);
  }

  get operationCount(): number {
    return this.#cluster.clients.reduce((sum, client) => sum + client.attempts.length, 0);
  }

  get simulatedMs(): number {
    return this.#cluster.time.nowMs;
  }

  get coverage(): Coverage {
    return this.#cluster.observer.coverage;
  }

  /** What is wrong, or undefined. */
  run(): string | undefined {
    const cluster = this.#cluster;
    const plan = this.#plan;
    const { time } = cluster;
    if (plan.startsCalm) cluster.form();
    this.#work.addClients();
    // Handshakes with one peer are a while apart: sessions lost soon after would only come back late.
    if (plan.startsCalm) time.run(HANDSHAKE_RETRY_MS_MIN);
    time.run(plan.idleMs);
    this.#faults.begin();
    this.#work.begin();
    if (plan.newcomers) time.after(this.#dice.between(1, 100), () => this.#work.replaceClient());
    time.runUntil(() => this.#work.isDone, STORM_MS_MAX);
    this.#work.end();
    this.#faults.end();
    const problem = this.#recover();
    cluster.invariants();
    this.#countRules();
    const verdict = problem ?? this.#judge() ?? (plan.totalLoss ? this.#loseAll() : undefined) ?? this.#rest();
    if (verdict === undefined) cluster.close();
    return verdict;
  }

  #judge(): string | undefined {
    const { instances, conflictingKeys, observer } = this.#cluster;
    const { keys } = this.#work;
    const conflictCount = observer.coverage.drops.of('stamp-conflict');
    if (keys.some((key) => conflictingKeys.has(key)) || (!this.#plan.hostile && conflictCount > 0)) {
      return 'a stamp names two values';
    }
    if (instances.size > 1) return `${instances.size} cluster instances have had a quorum`;
    const violation = findViolation(this.#work.history());
    return violation === undefined ? undefined : describeViolation(violation);
  }

  trace(): string {
    if (this.#isTraced) return this.#cluster.log.join('\n');
    const operations = this.#cluster.clients.flatMap((client) =>
      client.attempts.map(
        ({ kind, key, value, outcome, readValue, start, startMs, end, endMs }) =>
          `${startMs.toFixed(3)} .. ${endMs.toFixed(3)} ms [${start} .. ${end}] ${client.name} ${kind} ${key} ` +
          `${shorten(value ?? '')} -> ${outcome} ${shorten(readValue ?? '')}`,
      ),
    );
    return [...this.#cluster.log, ...operations].join('\n');
  }

  // -- calm -------------------------------------------------------------------------------------------------------

  /** Now that it is calm: what doesn't end, or doesn't work. */
  #recover(): string | undefined {
    const { time } = this.#cluster;
    const { keys } = this.#work;
    const alive = this.#cluster.clients.filter((client) => client.process.isAlive);
    const isOver = (): boolean => alive.every((client) => client.node.coordinator.active === 0);
    if (!time.runUntil(isOver, END_MS_MAX)) return `an operation does not end within ${END_MS_MAX} ms of calm`;
    const workers = [...alive, this.#cluster.addClient()];
    const writers = workers.filter((client) => !this.#isReader(client));
    const puts = this.#forAll(writers, keys, (client, key, onEnd) =>
      client.tryStart('put', key, this.#work.smallValue(), RECOVERY_MS_MAX, onEnd),
    );
    const gets = this.#forAll(workers, keys, (client, key, onEnd) =>
      client.tryStart('get', key, undefined, RECOVERY_MS_MAX, onEnd),
    );
    for (const { startMs, endMs, outcome } of [...puts, ...gets]) {
      if (outcome === 'ok') this.recoveryMs = Math.max(this.recoveryMs, endMs - startMs);
    }
    const failed = [...puts, ...gets].find((attempt) => !this.#isFine(attempt));
    return failed === undefined ? undefined : `in calm a ${failed.kind} of ${failed.key} ends as ${failed.outcome}`;
  }

  /** One operation of each key at each client, as many at once as it has room for; all have ended, or time is up. */
  #forAll(
    clients: readonly RecordedClient[],
    keys: readonly string[],
    start: (client: RecordedClient, key: string, onEnd: () => void) => Attempt | undefined,
  ): Attempt[] {
    const attempts: Attempt[] = [];
    let leftCount = clients.length * keys.length;
    for (const client of clients) {
      const left = [...keys];
      const next = (): void => {
        while (left.length > 0) {
          const attempt = start(client, left[0]!, () => {
            leftCount--;
            this.#cluster.time.after(0, next);
          });
          if (attempt === undefined) return;
          attempts.push(attempt);
          left.shift();
        }
      };
      next();
    }
    this.#cluster.time.runUntil(() => leftCount === 0, 2 * RECOVERY_MS_MAX * keys.length);
    return attempts;
  }

  /** Whether an operation in calm may end so. */
  #isFine({ kind, outcome }: Attempt): boolean {
    if (outcome === 'ok') return true;
    const { memory, hasReader, crashing, smallDatagrams } = this.#plan;
    // Who may not write can't finish a read that meets a value on its way (design: RESOLVE, later).
    if (kind === 'get' && hasReader && outcome === 'not-permitted') return true;
    if (memory === 'ample') return false;
    // What had no room was refused, and what was there stays; a get that must write back needs room, too. With some members
    // gone there may be no quorum that has room, and nobody to say so.
    if (outcome === 'host-memory-full' || outcome === 'trusted-memory-full') return true;
    if (crashing.length > 0 && outcome === 'deadline') return true;
    if (kind === 'put') return false;
    return outcome === 'absent' || outcome === 'unreadable' || (smallDatagrams && outcome === 'too-large');
  }

  #isReader(client: RecordedClient): boolean {
    return this.#plan.hasReader && this.#cluster.clients.indexOf(client) === 1;
  }

  /** Some time after the last trouble nobody holds more sessions than it has peers, in each direction. */
  #rest(): string | undefined {
    if (!this.#plan.rests) return undefined;
    const { replicas, clients, memberCount, time } = this.#cluster;
    time.run(REST_MS);
    const peerCounts = [
      // Clients that were killed, odd ones and earlier incarnations are forgotten when their sessions expire.
      ...replicas.map(({ name, node, process }) => ({
        name,
        node,
        process,
        peerCount: 2 * (memberCount - 1) + clients.length,
      })),
      ...clients.map(({ name, node, process }) => ({ name, node, process, peerCount: memberCount })),
    ];
    for (const { name, node, process, peerCount } of peerCounts) {
      // One that is being renewed has a successor.
      const { length } = [...node.endpoint.sessions].filter(({ state }) => state !== 'retiring');
      if (process.isAlive && length > peerCount) return `${name} holds ${length} sessions with ${peerCount} peers`;
    }
    return undefined;
  }

  /** What the product counts itself. */
  #countRules(): void {
    const { clients, replicas, observer } = this.#cluster;
    for (const { node } of clients) {
      const { counters } = node.coordinator;
      observer.rule('hedge', counters.hedges);
      observer.rule('retransmission', counters.retransmissions);
      observer.rule('tampered copy noticed by a reader', counters.tampered);
      observer.rule('repair sent', counters.repairs);
    }
    for (const { node, process } of replicas) {
      if (process.isAlive) observer.rule('repair applied', node.repairs.repairedCount);
    }
    const attempts = clients.flatMap((client) => client.attempts);
    const read = new Set(attempts.flatMap(({ readValue }) => (readValue === undefined ? [] : [readValue])));
    for (const { kind, outcome, value } of attempts) {
      if (kind === 'put' && outcome === 'outcome-unknown' && read.has(value!)) {
        observer.rule('unknown outcome that took effect');
      }
    }
  }

  // -- the end of an instance -------------------------------------------------------------------------------------

  /** All members go and come back empty: old clients must refuse what new ones may use. */
  #loseAll(): string | undefined {
    const cluster = this.#cluster;
    const { replicas, time, observer } = cluster;
    const key = this.#work.keys[0]!;
    const old = cluster.clients.find(({ process, node }) => process.isAlive && node.view.instance !== undefined);
    const before = replicas.find((replica) => replica.isActive)?.node.formation.instance;
    for (const replica of replicas) {
      if (replica.process.isAlive) replica.crash();
      replica.restart();
    }
    const isFormed = (): boolean => replicas.every((replica) => replica.isActive);
    if (!time.runUntil(isFormed, RECOVERY_MS_MAX)) return 'no instance forms when all members are new';
    if (replicas[0]!.node.formation.instance!.id === before?.id) return 'an instance without a member lives on';
    observer.rule('another instance forms when all members are gone');
    const fresh = cluster.addClient();
    const run = (attempt: Attempt): Attempt => {
      time.runUntil(() => attempt.outcome !== undefined, 2 * RECOVERY_MS_MAX);
      return attempt;
    };
    const first = run(fresh.get(key, RECOVERY_MS_MAX));
    if (first.outcome !== 'absent') return `a new instance is not empty: ${first.outcome}`;
    if (old === undefined) return undefined;
    const stale = run(old.get(key, UNANSWERED_MS));
    if (stale.outcome !== 'deadline') return `a client of the old instance reads from the new one: ${stale.outcome}`;
    if (old.node.view.isForeign) observer.rule('client refuses another instance');
    return undefined;
  }
}

/** One segment of host memory; trusted memory that holds a handful of size classes. */
const LITTLE_MEMORY = {
  ample: {},
  'little host memory': { hostBytesMax: 1024 * 1024 },
  'little trusted memory': { trustedBytesMax: 7_410_000 },
} as const;

function shorten(value: string): string {
  return value.length <= 12 ? value : `${value.slice(0, 8)}.. (${value.length})`;
}
