import { HANDSHAKE_RETRY_MS_MIN } from '../../net/limits.ts';
import type { SecurityMode } from '../../net/mode.ts';
import { memberCountOf } from '../../src/protocol/quorum.ts';
import type { Dice } from './dice.ts';
import { Dice as SeededDice } from './dice.ts';
import { describeViolation, findViolation } from './linearizability.ts';
import type { Address, Weather } from './lossy-network.ts';
import { CALM } from './lossy-network.ts';
import type { Attempt, RecordedClient } from './recorded-client.ts';
import { SimulatedCluster } from './simulated-cluster.ts';
import type { SimulatedReplica } from './simulated-cluster.ts';
import type { SimulatedProcess } from './simulated-process.ts';

/**
 * One random run: clients at work on few keys while the network, the processes and the hosts misbehave, then calm. What
 * must hold: the history is linearizable, no assertion fails, and once it is calm everything finishes and works.
 *
 * Each seed draws which faults there are at all and how strong they are (swarm testing, Groce et al. 2012), and the
 * weather changes within the run: uniform dice alone seldom make the schedules that matter.
 */
interface Plan {
  readonly mode: SecurityMode;
  readonly memberCount: number;
  readonly keys: readonly string[];
  readonly clientCount: number;
  /** Operations of each client: in all, and at once. */
  readonly operationCount: number;
  readonly outstanding: number;
  readonly thinkMsMax: number;
  /** By client. */
  readonly getShares: readonly number[];
  readonly deleteShare: number;
  readonly cancelShare: number;
  /** Deadlines of a few milliseconds: writes are left half done. */
  readonly hasteShare: number;
  readonly valueBytesMax: number;
  readonly startsCalm: boolean;
  readonly weatherMs: number;
  /** Of the links, so many are cut or slow; others each time. */
  readonly badLinks: number;
  readonly linksMs: number;
  readonly pauses: boolean;
  /** Members that crash, at most f, and whether they come back. */
  readonly crashing: readonly number[];
  readonly restartsMax: number;
  /** Writes that have reached some replicas, and write-backs, are kept from the others for a while. */
  readonly splits: boolean;
  /** The member whose host tampers with its memory; -1 for none. */
  readonly tampering: number;
  readonly slowProcesses: ReadonlySet<string>;
  readonly newcomers: boolean;
}

export interface RunResult {
  readonly seed: number;
  /** Undefined when all is well. */
  readonly failure: string | undefined;
  readonly operationCount: number;
  /** The whole run as text: two runs of a seed must give the same. */
  readonly trace: string;
}

const VALUE_BYTES_MAX = 1_000;
/** At once, and one that comes later. */
const CLIENTS_MAX = 5;
const DEADLINE_MS_MAX = 60;
const CONNECT_LOOK_MS = 2;
const LAG_MS_MAX = 60;
/** Whoever waits for a bad moment looks so often. */
const LOOK_INTERVAL_MS = 0.2;
const HASTE_MS_MAX = 6;
/** Once it is calm: sessions that broke are noticed after a second and made anew within two. */
const RECOVERY_MS_MAX = 10_000;
/** The longest that a run may take in simulated time until it is calm. */
const STORM_MS_MAX = 1_000;

export function runSeed(seed: number): RunResult {
  let run: RandomRun | undefined;
  let failure: string | undefined;
  try {
    run = new RandomRun(seed);
    failure = run.run();
  } catch (error) {
    failure = error instanceof Error ? (error.stack ?? error.message) : String(error);
  }
  return {
    seed,
    failure,
    operationCount: run?.cluster.clients.reduce((sum, client) => sum + client.attempts.length, 0) ?? 0,
    trace: run?.trace() ?? '',
  };
}

function drawPlan(dice: Dice): Plan {
  const mode = dice.pick<SecurityMode>(['secure', 'secure', 'secure', 'secure', 'authenticated', 'plaintext']);
  const memberCount = dice.chance(0.85) ? 3 : 5;
  const faultsMax = (memberCount - 1) / 2;
  const members = Array.from({ length: memberCount }, (_, i) => i);
  const processes = [...members.map((i) => `replica ${i}`), 'client 0', 'client 1'];
  const slow = dice.chance(0.25);
  return {
    mode,
    memberCount,
    keys: Array.from({ length: dice.pick([1, 1, 2]) }, (_, i) => `key-${i}`),
    clientCount: dice.integer(3, CLIENTS_MAX - 1),
    operationCount: dice.integer(40, 100),
    outstanding: dice.pick([2, 3, 6]),
    thinkMsMax: dice.pick([0, 1, 4]),
    getShares: Array.from({ length: CLIENTS_MAX }, () => dice.pick([0.3, 0.6, 0.9])),
    deleteShare: dice.pick([0, 0.1]),
    cancelShare: dice.pick([0, 0, 0.1]),
    hasteShare: dice.pick([0, 0, 0.3]),
    valueBytesMax: dice.pick([8, 100, VALUE_BYTES_MAX]),
    startsCalm: dice.chance(0.9),
    weatherMs: dice.pick([4, 15, 50]),
    badLinks: dice.pick([0, 0, 0.15, 0.3]),
    linksMs: dice.pick([1, 3, 10]),
    pauses: dice.chance(0.4),
    crashing: dice.chance(0.5) ? shuffled(dice, members).slice(0, faultsMax) : [],
    restartsMax: dice.pick([0, 1, 3]),
    // In plaintext nobody could notice.
    splits: dice.chance(0.6),
    tampering: mode !== 'plaintext' && dice.chance(0.4) ? dice.pick(members) : -1,
    slowProcesses: new Set(slow ? processes.filter(() => dice.chance(0.5)) : []),
    newcomers: dice.chance(0.3),
  };
}

function shuffled<T>(dice: Dice, items: readonly T[]): T[] {
  return items
    .map((item) => ({ item, order: dice.fraction() }))
    .sort((a, b) => a.order - b.order)
    .map(({ item }) => item);
}

/** Mostly mild: where nothing gets through nothing happens. */
function drawWeather(dice: Dice, mode: SecurityMode): Weather {
  const isHeavy = dice.chance(0.15);
  const isProtected = mode !== 'plaintext';
  return {
    loss: isHeavy ? 0.3 : dice.pick([0, 0.02, 0.1]),
    duplicate: isHeavy ? 0.3 : dice.pick([0, 0.05]),
    corrupt: isProtected ? dice.pick([0, 0.02]) : 0,
    replay: isHeavy ? 0.2 : dice.pick([0, 0.02]),
    forge: isProtected ? dice.pick([0, 0.02]) : 0,
    delayMsMin: 0.02,
    delayMsMax: dice.pick([0.1, 0.3, 2]),
    late: isHeavy ? 0.3 : dice.pick([0, 0.05]),
    lateMsMax: dice.pick([2, 10, 100]),
    outage: isHeavy ? 0.2 : dice.pick([0, 0.05, 0.1]),
    outageMsMax: dice.pick([2, 10]),
  };
}

class RandomRun {
  readonly cluster: SimulatedCluster;
  readonly #dice: Dice;
  readonly #plan: Plan;
  readonly #oldCopies = new Map<string, Uint8Array>();
  readonly #writeBackCounts = new Map<RecordedClient, number>();
  #calm = false;
  #restartCount = 0;
  #valueCount = 0;

  constructor(seed: number) {
    this.#dice = new SeededDice(seed);
    const plan = drawPlan(this.#dice);
    this.#plan = plan;
    this.cluster = new SimulatedCluster({
      seed: this.#dice.integer(0, 0x7fff_ffff),
      memberCount: plan.memberCount,
      mode: plan.mode,
      isCryptoSlow: (name) => plan.slowProcesses.has(name),
    });
  }

  /** What is wrong, or undefined. */
  run(): string | undefined {
    const { cluster } = this;
    const plan = this.#plan;
    if (plan.startsCalm) cluster.form();
    for (let i = 0; i < plan.clientCount; i++) {
      const client = cluster.addClient();
      if (plan.startsCalm) cluster.connect(client);
    }
    // Handshakes with one peer are a while apart: sessions lost soon after would only come back late.
    if (plan.startsCalm) cluster.time.run(HANDSHAKE_RETRY_MS_MIN);
    for (const client of cluster.clients) this.#work(client, plan.operationCount);
    this.#changeWeather();
    if (plan.badLinks > 0) this.#changeLinks();
    for (const member of plan.crashing) this.#crashLater(cluster.replicas[member]!);
    if (plan.tampering !== -1) this.#tamperLater(cluster.replicas[plan.tampering]!);
    if (plan.splits) {
      this.#splitLater();
      cluster.network.onSend = (from) => this.#interruptWriteBack(from);
    }
    if (plan.newcomers) cluster.time.after(this.#dice.between(1, 100), () => this.#replaceClient());
    cluster.time.runUntil(() => this.#isWorkDone(), STORM_MS_MAX);
    this.#calmDown();
    const problem = this.#recovered();
    cluster.invariants();
    if (problem !== undefined) return problem;
    if (this.#conflictCount() > 0) return 'a stamp names two values';
    if (cluster.instances.size > 1) return `${cluster.instances.size} cluster instances have had a quorum`;
    const violation = findViolation(cluster.history());
    return violation === undefined ? undefined : describeViolation(violation);
  }

  #conflictCount(): number {
    const nodes = [...this.cluster.replicas, ...this.cluster.clients].map(({ node }) => node);
    return nodes.reduce((sum, { drops }) => sum + drops.of('stamp-conflict'), 0);
  }

  trace(): string {
    const operations = this.cluster.clients.flatMap((client) =>
      client.attempts.map(
        ({ kind, key, value, outcome, readValue, start, startMs, end, endMs }) =>
          `${startMs.toFixed(3)} .. ${endMs.toFixed(3)} ms [${start} .. ${end}] ${client.name} ${kind} ${key} ` +
          `${shorten(value ?? '')} -> ${outcome} ${shorten(readValue ?? '')}`,
      ),
    );
    return [...this.cluster.log, ...operations].join('\n');
  }

  // -- work -------------------------------------------------------------------------------------------------------

  #work(client: RecordedClient, operationCount: number): void {
    let left = operationCount;
    const next = (): void => {
      if (left === 0 || !client.process.isAlive || this.#calm) return;
      left--;
      const attempt = this.#startAny(client, () =>
        this.cluster.time.after(this.#dice.between(0, this.#plan.thinkMsMax), next),
      );
      if (this.#dice.chance(this.#plan.cancelShare)) {
        this.cluster.time.after(this.#dice.between(0, 5), () => client.process.isAlive && client.cancel(attempt));
      }
    };
    this.#whenConnected(client, () => {
      for (let i = 0; i < this.#plan.outstanding; i++) this.cluster.time.after(this.#dice.between(0, 2), next);
    });
  }

  /** Mostly: an operation that was started before waits for the quorum, and its deadline comes first. */
  #whenConnected(client: RecordedClient, begin: () => void): void {
    const isConnected = memberCountOf(client.node.view.readyMask) >= this.cluster.quorum;
    if (isConnected || this.#dice.chance(0.001)) return begin();
    if (!this.#calm) this.cluster.time.after(CONNECT_LOOK_MS, () => this.#whenConnected(client, begin));
  }

  #startAny(client: RecordedClient, onEnd: () => void): Attempt {
    const dice = this.#dice;
    const key = dice.pick(this.#plan.keys);
    const isHasty = dice.chance(this.#plan.hasteShare);
    const deadlineMs = isHasty ? dice.between(0, HASTE_MS_MAX) : dice.between(10, DEADLINE_MS_MAX);
    const getShare = this.#plan.getShares[this.cluster.clients.indexOf(client)]!;
    if (dice.chance(getShare)) return client.get(key, deadlineMs, onEnd);
    if (dice.chance(this.#plan.deleteShare)) return client.delete(key, deadlineMs, onEnd);
    return client.put(key, this.#newValue(), deadlineMs, onEnd);
  }

  /** Unique, of any length. The very first of a run may be empty. */
  #newValue(): string {
    const number = this.#valueCount++;
    if (number === 0 && this.#dice.chance(0.3)) return '';
    return `v${number}`.padEnd(this.#dice.integer(0, this.#plan.valueBytesMax), '.');
  }

  #isWorkDone(): boolean {
    return this.cluster.clients.every(
      (client) =>
        !client.process.isAlive ||
        (client.attempts.length > 0 && client.node.coordinator.active === 0 && this.#hasStartedAll(client)),
    );
  }

  #hasStartedAll(client: RecordedClient): boolean {
    return client.attempts.length >= this.#plan.operationCount;
  }

  // -- faults -----------------------------------------------------------------------------------------------------

  #changeWeather(): void {
    if (this.#calm) return;
    const { cluster } = this;
    const dice = this.#dice;
    const plan = this.#plan;
    cluster.network.weather = dice.chance(0.3) ? CALM : drawWeather(dice, plan.mode);
    if (plan.pauses && dice.chance(0.5)) dice.pick(this.#processes()).pause(dice.between(1, dice.pick([10, 100])));
    cluster.time.after(dice.between(0, 2 * plan.weatherMs), () => this.#changeWeather());
  }

  /** Changes while an operation goes on: its phases reach different members. */
  #changeLinks(): void {
    if (this.#calm) return;
    const { network, clients, replicas, time } = this.cluster;
    network.clearLinks();
    for (const client of clients) {
      for (const replica of replicas) {
        this.#drawLink(client.process, replica.process);
        this.#drawLink(replica.process, client.process);
      }
    }
    time.after(this.#dice.between(0, 2 * this.#plan.linksMs), () => this.#changeLinks());
  }

  #drawLink(from: SimulatedProcess, to: SimulatedProcess): void {
    const dice = this.#dice;
    if (!dice.chance(this.#plan.badLinks)) return;
    const loss = dice.pick([0, 1, 1]);
    this.cluster.network.setLink(from, to, { loss, delayMsMax: loss === 0 ? 10 : 0 });
  }

  #processes(): SimulatedProcess[] {
    return [...this.cluster.replicas, ...this.cluster.clients].map(({ process }) => process);
  }

  /** At any moment; or at a bad one, when only just a quorum has the newest value and the others of it are away. */
  #crashLater(replica: SimulatedReplica): void {
    const { time, memberCount, quorum, replicas } = this.cluster;
    const dice = this.#dice;
    time.after(dice.between(0, 60), () => {
      if (this.#calm || !replica.process.isAlive) return;
      if (dice.chance(0.3)) return this.#crash(replica);
      const others = shuffled(
        dice,
        replicas.filter((other) => other !== replica),
      );
      const lagging = others.slice(0, memberCount - quorum);
      this.#crashAtBadMoment(replica, lagging, others.slice(lagging.length), time.nowMs + dice.between(0, LAG_MS_MAX));
    });
  }

  /** Keeps some replicas from everything that is written, until it matters. */
  #crashAtBadMoment(
    replica: SimulatedReplica,
    lagging: readonly SimulatedReplica[],
    holding: readonly SimulatedReplica[],
    untilMs: number,
  ): void {
    const { time, network, clients } = this.cluster;
    if (this.#calm || !replica.process.isAlive) return;
    const isBadMoment = this.#plan.keys.some((key) => {
      const counter = replica.counterOf(key);
      return (
        holding.every((other) => other.counterOf(key) === counter) &&
        lagging.every((other) => other.counterOf(key) < counter)
      );
    });
    if (isBadMoment || time.nowMs >= untilMs) {
      this.#crash(replica);
      for (const { process } of holding) process.pause(this.#dice.between(0, 150));
      return;
    }
    for (const { process } of clients) {
      for (const other of lagging) network.interrupt(process, other.process, 2 * LOOK_INTERVAL_MS);
    }
    time.after(LOOK_INTERVAL_MS, () => this.#crashAtBadMoment(replica, lagging, holding, untilMs));
  }

  #crash(replica: SimulatedReplica): void {
    replica.crash();
    if (this.#restartCount++ >= this.#plan.restartsMax) return;
    this.cluster.time.after(this.#dice.between(0, 10), () => {
      if (this.#calm) return;
      replica.restart();
      this.#crashLater(replica);
    });
  }

  /** Waits for a write that some have and others lack, and cuts its writer off from those that lack it. */
  #splitLater(): void {
    if (this.#calm) return;
    const { clients, replicas, network, time } = this.cluster;
    const dice = this.#dice;
    let restMs = LOOK_INTERVAL_MS;
    for (const key of this.#plan.keys) {
      const holders = this.#holdersOf(key);
      const lacking = replicas.filter((replica) => replica.process.isAlive && !holders.includes(replica));
      const writers = clients.filter((client) => client.isWriting(key));
      if (holders.length === 0 || lacking.length === 0 || writers.length === 0) continue;
      const writer = dice.pick(writers);
      for (const { process } of lacking) network.interrupt(writer.process, process, dice.between(0, 20));
      restMs = dice.between(0, 20);
    }
    time.after(restMs, () => this.#splitLater());
  }

  /** Replicas alive that have the newest value of a key that was written. */
  #holdersOf(key: string): SimulatedReplica[] {
    const { replicas } = this.cluster;
    const newest = Math.max(1, ...replicas.map((replica) => replica.counterOf(key)));
    return replicas.filter((replica) => replica.process.isAlive && replica.counterOf(key) === newest);
  }

  /** A client that has just begun to write a value back is cut off, with the datagram that it sends. */
  #interruptWriteBack(from: Address): void {
    const { clients, replicas, network } = this.cluster;
    const client = clients.find(({ process }) => process === from);
    const count = client?.node.coordinator.counters.writeBacks ?? 0;
    if (this.#calm || client === undefined || count === this.#writeBackCounts.get(client)) return;
    this.#writeBackCounts.set(client, count);
    if (this.#dice.chance(0.5)) return;
    for (const { process } of replicas) network.interrupt(client.process, process, this.#dice.between(0, 10));
  }

  #tamperLater(replica: SimulatedReplica): void {
    if (this.#calm) return;
    if (replica.process.isAlive) this.#tamper(replica, this.#dice.pick(this.#plan.keys));
    this.cluster.time.after(this.#dice.between(0, 5), () => this.#tamperLater(replica));
  }

  /** Flips a bit, puts back what lay there before, or exchanges two keys' values. */
  #tamper(replica: SimulatedReplica, key: string): void {
    const dice = this.#dice;
    const copy = replica.hostCopy(key);
    if (copy === undefined || copy.length === 0) return;
    const old = this.#oldCopies.get(key);
    const other = replica.hostCopy(dice.pick(this.#plan.keys));
    const way = dice.fraction();
    if (way < 0.5 || old === undefined || other === undefined) {
      copy[dice.integer(0, copy.length - 1)]! ^= 1 << dice.integer(0, 7);
    } else if (way < 0.75) copy.set(old.subarray(0, copy.length));
    else copy.set(other.slice(0, copy.length));
    this.#oldCopies.set(key, copy.slice());
  }

  /** A client goes, with whatever it has under way, and another comes. */
  #replaceClient(): void {
    if (this.#calm) return;
    const { clients } = this.cluster;
    const leaving = clients[0]!;
    if (this.#dice.chance(0.5)) leaving.close();
    else leaving.process.kill();
    this.#work(this.cluster.addClient(), this.#plan.operationCount);
  }

  // -- calm -------------------------------------------------------------------------------------------------------

  #calmDown(): void {
    this.#calm = true;
    const { cluster } = this;
    cluster.note('calm');
    cluster.network.calm();
    for (const process of this.#processes()) process.resume();
    // Without all of its members a cluster can't form, and whoever is lacking must come.
    const activeCount = cluster.replicas.filter((replica) => replica.isActive).length;
    if (activeCount >= cluster.quorum) return;
    for (const replica of cluster.replicas) if (!replica.process.isAlive) replica.restart();
  }

  /** What doesn't work though it is calm, or undefined. */
  #recovered(): string | undefined {
    const { cluster } = this;
    const alive = cluster.clients.filter((client) => client.process.isAlive);
    const isOver = (): boolean => alive.every((client) => client.node.coordinator.active === 0);
    if (!cluster.time.runUntil(isOver, 2 * DEADLINE_MS_MAX)) return 'an operation does not end';
    const last = [...alive, cluster.addClient()];
    const puts = last.flatMap((client) =>
      this.#plan.keys.map((key) => client.put(key, this.#newValue(), RECOVERY_MS_MAX)),
    );
    cluster.time.runUntil(() => puts.every(hasEnded), 2 * RECOVERY_MS_MAX);
    const gets = last.flatMap((client) => this.#plan.keys.map((key) => client.get(key, RECOVERY_MS_MAX)));
    cluster.time.runUntil(() => gets.every(hasEnded), 2 * RECOVERY_MS_MAX);
    const failed = [...puts, ...gets].find(({ outcome }) => outcome !== 'ok');
    return failed === undefined ? undefined : `in calm a ${failed.kind} of ${failed.key} ends as ${failed.outcome}`;
  }
}

function hasEnded(attempt: Attempt): boolean {
  return attempt.outcome !== undefined;
}

function shorten(value: string): string {
  return value.length <= 12 ? value : `${value.slice(0, 8)}.. (${value.length})`;
}
