import { checkHistory } from '../../bench/checker/check.ts';
import { describeViolation } from '../../bench/checker/describe.ts';
import { HANDSHAKE_RETRY_MS_MIN } from '../../net/limits.ts';
import { CalmChecks } from './calm-checks.ts';
import type { Coverage } from './coverage.ts';
import { Dice } from './dice.ts';
import { shorten } from './messages-seen.ts';
import { counterProblem } from './poison.ts';
import { biasOf, drawBiasedPlan } from './random-plan.ts';
import type { Bias } from './random-plan.ts';
import { RandomFaults } from './random-faults.ts';
import { RandomRotation } from './random-rotation.ts';
import type { Plan } from './plan.ts';
import { RandomWork } from './random-work.ts';
import { SimulatedCluster } from './simulated-cluster.ts';

/**
 * One random run: clients at work while network, processes and hosts misbehave (random-faults.ts), then calm. What must
 * hold: the history is linearizable, no assertion fails, no nonce is used twice, no two instances live, and once it is
 * calm everything finishes and works within bounds (calm-checks.ts).
 */
export interface RunResult {
  readonly bias: Bias;
  /** Undefined when all is well. */
  readonly failure: string | undefined;
  /** Keys whose history the checker could neither accept nor refuse within its bound. */
  readonly undecidedKeys: readonly string[];
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
/** Tells the seed's dice for read-modify-writes from its others. */
const CHANGE_SEED = 0x7e57;
const ROTATION_SEED = 0x0a7e;
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
    undecidedKeys: run.undecidedKeys,
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
  undecidedKeys: readonly string[] = [];
  readonly #dice: Dice;
  readonly #plan: Plan;
  readonly #cluster: SimulatedCluster;
  readonly #work: RandomWork;
  readonly #faults: RandomFaults;
  /** Undefined: the data key stays. */
  readonly #rotation: RandomRotation | undefined;
  readonly #isTraced: boolean;

  constructor(seed: number, bias: Bias, isTraced: boolean) {
    this.#dice = new Dice(seed);
    const plan = drawBiasedPlan(this.#dice, new Dice(seed ^ CHANGE_SEED), bias);
    this.#plan = plan;
    this.#isTraced = isTraced;
    this.#cluster = new SimulatedCluster({
      seed: this.#dice.integer(0, 0x7fff_ffff),
      memberCount: plan.memberCount,
      mode: plan.mode,
      datagramBytes: plan.datagramBytes,
      memoryOf: (member) => (plan.littleMemory.includes(member) ? LITTLE_MEMORY[plan.memory] : {}),
      isCryptoSlow: (name) => plan.slowProcesses.has(name),
      recordIdleMs: plan.recordIdleMs,
      isTraced,
    });
    this.#work = new RandomWork(this.#cluster, plan, this.#dice.split(), new Dice(seed ^ CHANGE_SEED));
    if (plan.changeShare > 0) this.#cluster.consensus.watchKeys(this.#work.keys);
    this.#rotation = plan.rotates ? new RandomRotation(this.#cluster, new Dice(seed ^ ROTATION_SEED)) : undefined;
    this.#faults = new RandomFaults(this.#cluster, plan, this.#dice.split(), this.#work, new Dice(~seed ^ CHANGE_SEED));
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
    this.#rotation?.begin();
    this.#work.begin();
    if (plan.newcomers) time.after(this.#dice.between(1, 100), () => this.#work.replaceClient());
    time.runUntil(() => this.#work.isDone, STORM_MS_MAX);
    this.#work.end();
    this.#faults.end();
    const calm = new CalmChecks(cluster, plan, this.#work);
    const problem = calm.recover() ?? this.#rotation?.finish(plan.crashing.length === 0, this.#work.keys);
    this.recoveryMs = calm.recoveryMs;
    cluster.invariants();
    this.#countRules();
    const verdict = this.#judge() ?? this.#judgeTampering() ?? problem ?? calm.loseAll() ?? calm.rest();
    if (verdict === undefined) cluster.close();
    return verdict;
  }

  #judge(): string | undefined {
    const { instances, conflictingKeys, observer, consensus } = this.#cluster;
    const { keys } = this.#work;
    if (consensus.problem !== undefined) return consensus.problem;
    const conflictCount = observer.coverage.drops.of('stamp-conflict');
    if (keys.some((key) => conflictingKeys.has(key)) || (!this.#plan.hostile && conflictCount > 0)) {
      return 'a stamp names two values';
    }
    const poisoned = this.#plan.clockJumpMsMax === 0 ? counterProblem(this.#cluster, keys) : undefined;
    if (poisoned !== undefined) return poisoned;
    const scanProblem = this.#cluster.clients
      .map(({ scans }) => scans.problem)
      .find((problem) => problem !== undefined);
    if (scanProblem !== undefined) return scanProblem;
    if (instances.size > 1) return `${instances.size} cluster instances have had a quorum`;
    const { violation, undecidedKeys } = checkHistory(this.#work.history());
    this.undecidedKeys = undecidedKeys;
    return violation === undefined ? undefined : describeViolation(violation);
  }

  /** What readers took for tampering when nobody tampers was done by the product itself. */
  #judgeTampering(): string | undefined {
    const { tampering, hostile } = this.#plan;
    if (tampering.length > 0 || hostile) return undefined;
    const { clients, replicas } = this.#cluster;
    const noticed = clients.reduce((sum, { node }) => sum + node.core.counters.tampered, 0);
    const repaired = replicas.reduce(
      (sum, { node }) => sum + node.repairs.tamperedCount + (node.route.counters?.tampered ?? 0),
      0,
    );
    return noticed + repaired > 0 ? 'a copy counts as tampered with though no host has tampered' : undefined;
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

  /** What the product counts itself. */
  #countRules(): void {
    const { clients, replicas, observer } = this.#cluster;
    for (const { node } of clients) {
      const { counters } = node.core;
      observer.rule(node.route === 'direct' ? 'hedge' : 'get called at another replica, too', counters.hedges);
      observer.rule('retransmission', counters.retransmissions);
      observer.rule('part lost and sent again', counters.partsRepeated);
      observer.rule('tampered copy noticed by a reader', counters.tampered);
      observer.rule('repair sent', counters.repairs);
      observer.rule('read finished by a replica', counters.resolves);
    }
    for (const { node, process } of replicas) {
      if (!process.isAlive) continue;
      observer.rule('repair applied', node.repairs.repairedCount);
      observer.rule('replica finishes a read', node.route.resolves.resolvedCount);
      observer.rule('replica finishes no further reads', node.route.resolves.busyCount);
    }
    for (const { scans } of clients) {
      observer.rule('page of a scan that does not reach the end', scans.seen.cutShort);
      observer.rule('page of a scan in reverse', scans.seen.reversed);
      observer.rule('scan that tells of a key that it is not there', scans.seen.absent);
    }
    const attempts = clients.flatMap((client) => client.attempts);
    const read = new Set(attempts.flatMap(({ readValue }) => (readValue === undefined ? [] : [readValue])));
    for (const { kind, outcome, value } of attempts) {
      if (outcome !== 'outcome-unknown' || value === undefined || !read.has(value)) continue;
      observer.rule(kind === 'put' ? 'unknown outcome that took effect' : 'unknown read-modify-write that took effect');
    }
  }
}

/** One segment of host memory; trusted memory that holds a handful of size classes. */
const LITTLE_MEMORY = {
  ample: {},
  'some host memory': { hostBytesMax: 3 * 1024 * 1024 },
  'little host memory': { hostBytesMax: 1024 * 1024 },
  'little trusted memory': { trustedBytesMax: 7_576_560 },
} as const;
