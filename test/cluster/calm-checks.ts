import { RECORD_IDLE_MS } from '../../src/store/consensus-records.ts';
import { HOSTILE_KEYS } from './hostile-keys.ts';
import { forgetParts } from './part-faults.ts';
import type { Plan } from './plan.ts';
import { SESSION_LIFE_MS } from './plan.ts';
import type { RandomWork } from './random-work.ts';
import { DEADLINE_MS_MAX } from './random-work.ts';
import type { Attempt, RecordedClient } from './recorded-client.ts';
import type { SimulatedCluster } from './simulated-cluster.ts';

/**
 * Liveness: once the faults have stopped, an operation that was started before ends by its own deadline, and a turn or
 * so later its place is free.
 */
const END_MS_MAX = 2 * DEADLINE_MS_MAX;
/**
 * And with a quorum up every new operation succeeds within so long: that a session broke is noticed after a second, and a
 * handshake under way is repeated within two; a cluster that had not formed yet forms first.
 */
const RECOVERY_MS_MAX = 10_000;
/** The life of a session (REFUSE_AFTER_MS, 180 s), at the slowest clock. */
const REST_MS = SESSION_LIFE_MS;
/** Of puts in calm, where there are large ones. */
const LARGE_VALUE_BYTES = 20_000;
/** The first parts have arrived, and the last ones not. */
const DISTURB_MS = 0.4;
/** Less than after which senders take what is in flight as lost (FLIGHT_TIMEOUT_MS_MIN). */
const STILL_MS = 10;
/** An operation that nobody can answer. */
const UNANSWERED_MS = 3_000;

const GET_AND_SET = (value: string) => ({ kind: 'getset', value, expected: undefined, delta: undefined }) as const;

/** What must hold when the faults of a random run have stopped. Each check says what is wrong, or undefined. */
export class CalmChecks {
  /** The longest that an operation took. */
  recoveryMs = 0;
  readonly #cluster: SimulatedCluster;
  readonly #plan: Plan;
  readonly #work: RandomWork;

  constructor(cluster: SimulatedCluster, plan: Plan, work: RandomWork) {
    this.#cluster = cluster;
    this.#plan = plan;
    this.#work = work;
  }

  /** Now that it is calm: what doesn't end, or doesn't work. */
  recover(): string | undefined {
    const { time } = this.#cluster;
    const { keys } = this.#work;
    const alive = this.#cluster.clients.filter((client) => client.process.isAlive);
    const isOver = (): boolean => alive.every((client) => client.node.core.active === 0);
    if (!time.runUntil(isOver, END_MS_MAX)) return `an operation does not end within ${END_MS_MAX} ms of calm`;
    const workers = [...alive, this.#work.addClient()];
    const writers = workers.filter((client) => !this.#isReader(client));
    const overrunCount = this.#cluster.observer.overrunCount;
    this.#disturbTransfers();
    const puts = this.#forAll(writers, this.#writableKeys, (client, key, onEnd) =>
      client.tryStart('put', key, this.#newValue(), RECOVERY_MS_MAX, onEnd),
    );
    const gets = this.#forAll(workers, keys, (client, key, onEnd) =>
      client.tryStart('get', key, undefined, RECOVERY_MS_MAX, onEnd),
    );
    const changes = this.#changeAll(writers);
    for (const { startMs, endMs, outcome } of [...puts, ...gets, ...changes]) {
      if (outcome === 'ok') this.recoveryMs = Math.max(this.recoveryMs, endMs - startMs);
    }
    if (this.#isHonest && this.#cluster.observer.overrunCount > overrunCount) {
      return 'in calm honest senders overrun a receive buffer';
    }
    const scanProblem = this.#scanAll(workers);
    if (scanProblem !== undefined) return scanProblem;
    const failed = [...puts, ...gets, ...changes].find(
      (attempt) => !this.#isFine(attempt) && !this.#hasGoneWithItsReplica(attempt),
    );
    return failed === undefined ? undefined : `in calm a ${failed.kind} of ${failed.key} ends as ${failed.outcome}`;
  }

  /** Whatever hostile clients have put under a key, it can be written. */
  get #writableKeys(): readonly string[] {
    const { hostile, memory } = this.#plan;
    return hostile && memory === 'ample' ? [...this.#work.keys, ...HOSTILE_KEYS] : this.#work.keys;
  }

  /** All at once change the same keys. */
  #changeAll(writers: readonly RecordedClient[]): Attempt[] {
    const { changeShare } = this.#plan;
    const able = writers.filter((client) => client.canChange);
    if (changeShare === 0) return [];
    return this.#forAll(able, this.#work.keys, (client, key, onEnd) =>
      client.tryChange(key, GET_AND_SET(this.#work.smallValue()), RECOVERY_MS_MAX, onEnd),
    );
  }

  /** Nobody sends but processes that keep to what they are granted, and what they sent in the storm has arrived. */
  get #isHonest(): boolean {
    const { hostile, strangers, garbageFloods, handshakeFlood, clogs } = this.#plan;
    return !hostile && !strangers && !garbageFloods && !handshakeFlood && !clogs;
  }

  get #hasLargeValues(): boolean {
    return this.#plan.largeShare > 0 || this.#plan.oddLengths || this.#plan.mixedDatagrams;
  }

  #newValue(): string {
    const value = this.#work.smallValue();
    return this.#plan.largeShare === 0 ? value : this.#work.largeValue(value, LARGE_VALUE_BYTES);
  }

  /**
   * While large values are on their way replicas give up what they have of them, which who sends must notice; and stand
   * still, so that their buffers hold all that is under way to them.
   */
  #disturbTransfers(): void {
    const { replicas, time } = this.#cluster;
    if (this.#plan.largeShare === 0) return;
    for (const replica of replicas) {
      time.after(DISTURB_MS * (1 + replica.index), () => {
        if (!replica.process.isAlive) return;
        if (this.#plan.partFaults) forgetParts(this.#cluster, replica);
        replica.process.pause(STILL_MS);
      });
    }
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

  /** A write that a client has sent to a replica which is no more: nobody can know, and nobody else may carry it out. */
  #hasGoneWithItsReplica({ outcome, isCoordinated }: Attempt): boolean {
    return outcome === 'outcome-unknown' && isCoordinated && this.#plan.crashing.length > 0;
  }

  /** Whether an operation in calm may end so. */
  #isFine({ kind, outcome, isCoordinated, change }: Attempt): boolean {
    if (outcome === 'ok') return true;
    const { memory, crashing, recordIdleMs } = this.#plan;
    // Rings are forgotten within the time that a read-modify-write takes.
    if (outcome === 'outcome-unknown' && change !== undefined && recordIdleMs < RECORD_IDLE_MS) return true;
    // What was found is told in one datagram.
    if (outcome === 'value-too-large' && isCoordinated && this.#hasLargeValues) return true;
    // Put by a client of the direct route, over the space that a call has.
    if (kind === 'get' && isCoordinated && outcome === 'too-large') return true;
    if (memory === 'ample' || this.#hasRoomyQuorum()) return false;
    // What had no room was refused, and what was there stays; a get that must write back needs room, too. With some members
    // gone there may be no quorum that has room, and nobody to say so.
    if (outcome === 'host-memory-full' || outcome === 'trusted-memory-full') return true;
    if (crashing.length > 0 && outcome === 'deadline') return true;
    if (kind === 'put') return false;
    return outcome === 'absent' || outcome === 'unreadable';
  }

  /** In calm each client finds all keys, in their order: all were put, and nobody deletes. */
  #scanAll(workers: readonly RecordedClient[]): string | undefined {
    const { scanShare, memory, hostile, crashing } = this.#plan;
    if (scanShare === 0 || memory !== 'ample' || hostile || crashing.length > 0) return undefined;
    const expected = this.#work.keys.toSorted().join(' ');
    for (const client of workers) {
      if (client.node.route !== 'direct') continue;
      const found: string[] = [];
      const outcome = this.#scanPages(client, '', found);
      if (outcome !== 'ok') return `in calm a scan ends as ${outcome}`;
      if (found.join(' ') !== expected) return `in calm a scan finds ${found.join(' ')} in place of ${expected}`;
    }
    return undefined;
  }

  #scanPages(client: RecordedClient, after: string, found: string[]): string {
    const wish = { start: after, isAfterStart: true, end: '', isReverse: false, keysMax: 3, wantsValues: true };
    let covered: string | undefined;
    const attempt = client.scans.tryStart(wish, RECOVERY_MS_MAX, client.process.nowMs, (page) => {
      found.push(...(page?.keys ?? []).map((key) => key.toString('latin1')));
      covered = page?.covered?.toString('latin1');
    })!;
    client.process.schedule();
    this.#cluster.time.runUntil(() => attempt.outcome !== undefined, 2 * RECOVERY_MS_MAX);
    if (attempt.outcome !== 'ok' || covered === undefined) return attempt.outcome ?? 'nothing';
    return this.#scanPages(client, covered, found);
  }

  /** What some members have no room for the others must take. */
  #hasRoomyQuorum(): boolean {
    const { replicas, quorum } = this.#cluster;
    const { littleMemory } = this.#plan;
    return replicas.filter(({ isActive, index }) => isActive && !littleMemory.includes(index)).length >= quorum;
  }

  #isReader(client: RecordedClient): boolean {
    return this.#plan.hasReader && this.#cluster.clients.indexOf(client) === 1;
  }

  /** Some time after the last trouble nobody holds more sessions than it has peers, in each direction. */
  rest(): string | undefined {
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

  /** All members go and come back empty: old clients must refuse what new ones may use. */
  loseAll(): string | undefined {
    if (!this.#plan.totalLoss) return undefined;
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
