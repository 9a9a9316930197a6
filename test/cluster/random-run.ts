import { HANDSHAKE_RETRY_MS_MIN } from '../../net/limits.ts';
import { memberCountOf } from '../../src/protocol/quorum.ts';
import { Dice } from './dice.ts';
import { historyProblem } from './history-problem.ts';
import { RandomFaults } from './random-faults.ts';
import type { Bias, Plan } from './random-plan.ts';
import { drawPlan } from './random-plan.ts';
import type { Attempt, RecordedClient } from './recorded-client.ts';
import { SimulatedCluster } from './simulated-cluster.ts';

/**
 * One random run: clients at work while network, processes and hosts misbehave (random-faults.ts), then calm. What must
 * hold: the history is linearizable, no assertion fails, and once it is calm everything finishes and works.
 */
export interface RunResult {
  /** Undefined when all is well. */
  readonly failure: string | undefined;
  readonly operationCount: number;
  /** The whole run as text: two runs of a seed must give the same. */
  readonly trace: string;
}

const DEADLINE_MS_MAX = 60;
const HASTE_MS_MAX = 6;
const CONNECT_LOOK_MS = 2;
/** The faults end at the latest after so much simulated time. */
const STORM_MS_MAX = 1_000;
/** Once it is calm: sessions that broke are noticed after a second and made anew within two. */
const RECOVERY_MS_MAX = 10_000;

export function runSeed(seed: number, bias: Bias): RunResult {
  const run = new RandomRun(seed, bias);
  let failure: string | undefined;
  try {
    failure = run.run();
  } catch (error) {
    failure = error instanceof Error ? (error.stack ?? error.message) : String(error);
  }
  return { failure, operationCount: run.operationCount, trace: run.trace() };
}

class RandomRun {
  readonly #dice: Dice;
  readonly #plan: Plan;
  readonly #keys: readonly string[];
  readonly #cluster: SimulatedCluster;
  readonly #faults: RandomFaults;
  #calm = false;
  #valueCount = 0;

  constructor(seed: number, bias: Bias) {
    this.#dice = new Dice(seed);
    const plan = drawPlan(this.#dice, bias);
    this.#plan = plan;
    this.#keys = Array.from({ length: plan.keyCount }, (_, i) => `key-${i}`);
    this.#cluster = new SimulatedCluster({
      seed: this.#dice.integer(0, 0x7fff_ffff),
      memberCount: plan.memberCount,
      mode: plan.mode,
      isCryptoSlow: (name) => plan.slowProcesses.has(name),
    });
    this.#faults = new RandomFaults(this.#cluster, plan, this.#dice.split(), this.#keys);
  }

  get operationCount(): number {
    return this.#cluster.clients.reduce((sum, client) => sum + client.attempts.length, 0);
  }

  /** What is wrong, or undefined. */
  run(): string | undefined {
    const cluster = this.#cluster;
    const plan = this.#plan;
    if (plan.startsCalm) cluster.form();
    for (let i = 0; i < plan.clientCount; i++) {
      const client = cluster.addClient();
      if (plan.startsCalm) cluster.connect(client);
    }
    // Handshakes with one peer are a while apart: sessions lost soon after would only come back late.
    if (plan.startsCalm) cluster.time.run(HANDSHAKE_RETRY_MS_MIN);
    for (const client of cluster.clients) this.#work(client);
    this.#faults.begin();
    if (plan.newcomers) cluster.time.after(this.#dice.between(1, 100), () => this.#replaceClient());
    cluster.time.runUntil(() => this.#isWorkDone(), STORM_MS_MAX);
    this.#calm = true;
    this.#faults.end();
    const problem = this.#recover();
    cluster.invariants();
    return problem ?? this.#judge();
  }

  #judge(): string | undefined {
    const { replicas, clients, instances } = this.#cluster;
    const conflictCount = [...replicas, ...clients].reduce((sum, { node }) => sum + node.drops.of('stamp-conflict'), 0);
    if (conflictCount > 0) return 'a stamp names two values';
    if (instances.size > 1) return `${instances.size} cluster instances have had a quorum`;
    return historyProblem(this.#cluster.history());
  }

  trace(): string {
    const operations = this.#cluster.clients.flatMap((client) =>
      client.attempts.map(
        ({ kind, key, value, outcome, readValue, start, startMs, end, endMs }) =>
          `${startMs.toFixed(3)} .. ${endMs.toFixed(3)} ms [${start} .. ${end}] ${client.name} ${kind} ${key} ` +
          `${shorten(value ?? '')} -> ${outcome} ${shorten(readValue ?? '')}`,
      ),
    );
    return [...this.#cluster.log, ...operations].join('\n');
  }

  // -- work -------------------------------------------------------------------------------------------------------

  #work(client: RecordedClient): void {
    const { time } = this.#cluster;
    const { operationCount, outstanding, thinkMsMax, cancelShare } = this.#plan;
    let left = operationCount;
    const next = (): void => {
      if (left === 0 || !client.process.isAlive || this.#calm) return;
      left--;
      const attempt = this.#startAny(client, () => time.after(this.#dice.between(0, thinkMsMax), next));
      if (this.#dice.chance(cancelShare)) time.after(this.#dice.between(0, 5), () => client.cancel(attempt));
    };
    this.#whenConnected(client, () => {
      for (let i = 0; i < outstanding; i++) time.after(this.#dice.between(0, 2), next);
    });
  }

  /** Operations started before only see their deadlines pass; a few do, all the same. */
  #whenConnected(client: RecordedClient, begin: () => void): void {
    const isConnected = memberCountOf(client.node.view.readyMask) >= this.#cluster.quorum;
    if (isConnected || this.#dice.chance(0.001)) return begin();
    if (!this.#calm) this.#cluster.time.after(CONNECT_LOOK_MS, () => this.#whenConnected(client, begin));
  }

  #startAny(client: RecordedClient, onEnd: () => void): Attempt {
    const dice = this.#dice;
    const { hasteShare, getShares, deleteShare } = this.#plan;
    const key = dice.pick(this.#keys);
    const deadlineMs = dice.chance(hasteShare) ? dice.between(0, HASTE_MS_MAX) : dice.between(10, DEADLINE_MS_MAX);
    const getShare = getShares[this.#cluster.clients.indexOf(client)]!;
    if (dice.chance(getShare)) return client.get(key, deadlineMs, onEnd);
    if (dice.chance(deleteShare)) return client.delete(key, deadlineMs, onEnd);
    return client.put(key, this.#newValue(), deadlineMs, onEnd);
  }

  /** Unique, of any length. The very first of a run may be empty. */
  #newValue(): string {
    const number = this.#valueCount++;
    if (number === 0 && this.#dice.chance(0.3)) return '';
    return `v${number}`.padEnd(this.#dice.integer(0, this.#plan.valueBytesMax), '.');
  }

  #isWorkDone(): boolean {
    return this.#cluster.clients.every(
      ({ process, attempts, node }) =>
        !process.isAlive || (attempts.length >= this.#plan.operationCount && node.coordinator.active === 0),
    );
  }

  /** A client goes, with whatever it has under way, and another comes. */
  #replaceClient(): void {
    if (this.#calm) return;
    const leaving = this.#cluster.clients[0]!;
    if (this.#dice.chance(0.5)) leaving.close();
    else leaving.process.kill();
    this.#work(this.#cluster.addClient());
  }

  /** Now that it is calm: what doesn't end, or doesn't work. */
  #recover(): string | undefined {
    const { time } = this.#cluster;
    const alive = this.#cluster.clients.filter((client) => client.process.isAlive);
    const isOver = (): boolean => alive.every((client) => client.node.coordinator.active === 0);
    if (!time.runUntil(isOver, 2 * DEADLINE_MS_MAX)) return 'an operation does not end';
    const workers = [...alive, this.#cluster.addClient()];
    const forAll = (start: (client: RecordedClient, key: string) => Attempt): Attempt[] => {
      const attempts = workers.flatMap((client) => this.#keys.map((key) => start(client, key)));
      time.runUntil(() => attempts.every(({ outcome }) => outcome !== undefined), 2 * RECOVERY_MS_MAX);
      return attempts;
    };
    const puts = forAll((client, key) => client.put(key, this.#newValue(), RECOVERY_MS_MAX));
    const gets = forAll((client, key) => client.get(key, RECOVERY_MS_MAX));
    const failed = [...puts, ...gets].find(({ outcome }) => outcome !== 'ok');
    return failed === undefined ? undefined : `in calm a ${failed.kind} of ${failed.key} ends as ${failed.outcome}`;
  }
}

function shorten(value: string): string {
  return value.length <= 12 ? value : `${value.slice(0, 8)}.. (${value.length})`;
}
