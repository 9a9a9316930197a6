import { alignUp } from '../../net/bytes.ts';
import { WRITE_BYTES } from '../../src/protocol/messages.ts';
import { memberCountOf } from '../../src/protocol/quorum.ts';
import { ENVELOPE_HEADER_BYTES, VALUE_CHUNK_BYTES } from '../../workers/sealing.ts';
import type { Dice } from './dice.ts';
import { HOSTILE_KEYS, isHostileKey } from './hostile-keys.ts';
import type { Operation } from '../../bench/checker/operation.ts';
import type { Plan } from './plan.ts';
import { RandomChanges } from './random-changes.ts';
import { RandomScans } from './random-scans.ts';
import type { Attempt, RecordedClient } from './recorded-client.ts';
import type { SimulatedCluster } from './simulated-cluster.ts';
import { sendStatusRequest } from '../../src/protocol/status-message.ts';

/** The longest deadline that operations of a run get. */
export const DEADLINE_MS_MAX = 60;
const HASTE_MS_MAX = 6;
const CONNECT_LOOK_MS = 2;
const CANCEL_MS_MAX = 5;
const BURST_COUNT = 40;
const ODD_LENGTH_SHARE = 0.1;
/** Some ten parts in the smallest datagrams. */
const LARGE_VALUE_BYTES_MAX = 12_000;
const SAME_LARGE_BYTES = 6_000;
/** Of clients, one after the other. */
const DATAGRAM_SIZES = [1_200, 16_384, 1_472, 3_000] as const;
const STATUS_SHARE = 0.01;
/** Of operations while somebody hostile is about. */
const HOSTILE_KEY_SHARE = 0.1;

/** What the clients of a random run do: operations of all kinds, and what careless owners do to them. */
export class RandomWork {
  readonly keys: readonly string[];
  readonly #cluster: SimulatedCluster;
  readonly #plan: Plan;
  readonly #dice: Dice;
  readonly #changes: RandomChanges;
  readonly #scans: RandomScans;
  /** Keys that the empty value was put under: values are unique, so that is done once. */
  readonly #emptied = new Set<string>();
  #valueCount = 0;
  #isOver = false;

  /** @param changeDice For read-modify-writes. */
  constructor(cluster: SimulatedCluster, plan: Plan, dice: Dice, changeDice: Dice) {
    this.#changes = new RandomChanges(plan, changeDice);
    this.#cluster = cluster;
    this.#plan = plan;
    this.#dice = dice;
    this.keys = Array.from({ length: plan.keyCount }, (_, i) => this.#keyOf(i));
    this.#scans = new RandomScans(dice, this.keys);
    cluster.scannedKeys = this.keys;
  }

  addClients(): void {
    const { clientCount, startsCalm, tinyCapacity, hasReader, smallDatagrams, mixedDatagrams } = this.#plan;
    const { faults } = this.#cluster.observer.coverage;
    for (let i = 0; i < clientCount; i++) {
      const isTiny = i === 0 && tinyCapacity > 0;
      if (isTiny) faults.add('tiny capacity');
      const client = this.#cluster.addClient(undefined, {
        party: i === 1 && hasReader ? 'reader' : 'client',
        route: this.#plan.routes[i] ?? 'direct',
        ...(isTiny && { capacity: tinyCapacity }),
        ...(i === clientCount - 1 && smallDatagrams && { datagramBytes: 1_200 }),
        ...(mixedDatagrams && { datagramBytes: DATAGRAM_SIZES[i % DATAGRAM_SIZES.length]! }),
      });
      client.namesVersions = this.#namesVersions;
      if (startsCalm) this.#cluster.connect(client);
    }
  }

  /** Sealing anew gives a value another version, which no client has asked for. */
  get #namesVersions(): boolean {
    return this.#plan.changeShare > 0 && !this.#plan.rotates;
  }

  begin(): void {
    for (const client of this.#cluster.clients) this.#work(client);
  }

  end(): void {
    this.#isOver = true;
  }

  get isDone(): boolean {
    return this.#cluster.clients.every(
      (client) =>
        !client.process.isAlive ||
        (client.attempts.length + this.#scans.startedBy(client) >= this.#plan.operationCount &&
          client.node.core.active === 0),
    );
  }

  /** A client goes, with whatever it has under way, and another comes. */
  replaceClient(): void {
    if (this.#isOver) return;
    const { faults } = this.#cluster.observer.coverage;
    const leaving = this.#cluster.clients[0]!;
    const isBusy = leaving.node.core.active > 0;
    if (this.#dice.chance(0.5)) {
      if (isBusy) faults.add('closed with operations open');
      leaving.close();
    } else {
      faults.add('client killed');
      leaving.process.kill();
    }
    this.#work(this.addClient());
  }

  /** One more, over the next of the plan's routes. */
  addClient(): RecordedClient {
    const { routes } = this.#plan;
    const route = routes[this.#cluster.clients.length] ?? routes[0] ?? 'direct';
    const client = this.#cluster.addClient(undefined, { route });
    client.namesVersions = this.#namesVersions;
    return client;
  }

  /** Unique, and short enough for every client. */
  smallValue(): string {
    return `v${this.#valueCount++}`;
  }

  /** What is to be judged: nobody answers for what hostile clients have spoilt. */
  history(): Operation[] {
    return this.#cluster.history().filter(({ key }) => !isHostileKey(key));
  }

  // -- operations -------------------------------------------------------------------------------------------------

  #work(client: RecordedClient): void {
    const { time } = this.#cluster;
    const { operationCount, outstanding, thinkMsMax, burstShare } = this.#plan;
    let left = operationCount;
    const next = (): void => {
      if (left <= 0 || !client.process.isAlive || this.#isOver) return;
      const isBurst = this.#dice.chance(burstShare);
      if (isBurst) this.#cluster.observer.coverage.faults.add('burst of operations');
      // One of a burst goes on, the others are extra.
      for (let extra = isBurst ? BURST_COUNT : 0; extra > 0; extra--) if (!this.#startAny(client)) break;
      left--;
      const again = (): void => time.after(this.#dice.between(0, thinkMsMax), next);
      if (!this.#startAny(client, again)) time.after(1, next);
    };
    this.#whenConnected(client, () => {
      for (let i = 0; i < outstanding; i++) time.after(this.#dice.between(0, 2), next);
    });
  }

  /** Operations started before only see their deadlines pass; a few do, all the same. */
  #whenConnected(client: RecordedClient, begin: () => void): void {
    const isConnected = memberCountOf(client.node.view.readyMask) >= this.#cluster.quorum;
    if (isConnected || this.#dice.chance(0.001)) return begin();
    if (!this.#isOver) this.#cluster.time.after(CONNECT_LOOK_MS, () => this.#whenConnected(client, begin));
  }

  /** False when the client had no room. */
  #startAny(client: RecordedClient, onEnd?: () => void): boolean {
    const dice = this.#dice;
    const { cancelShare, scanShare } = this.#plan;
    const { observer, time } = this.#cluster;
    if (dice.chance(STATUS_SHARE)) this.#askStatus(client);
    if (scanShare > 0 && client.node.route === 'direct' && dice.chance(scanShare)) {
      return this.#scans.start(client, this.#drawDeadlineMs(), onEnd ?? (() => {}));
    }
    const attempt: Attempt | undefined = this.#tryAny(client, () => {
      this.#changes.learn(attempt!);
      onEnd?.();
    });
    if (attempt === undefined) {
      observer.rule('no room for another operation');
      return false;
    }
    if (!dice.chance(cancelShare)) return true;
    if (dice.chance(0.2)) {
      observer.coverage.faults.add('cancelled at once');
      client.cancel(attempt);
    } else {
      observer.coverage.faults.add('cancelled later');
      time.after(dice.between(0, CANCEL_MS_MAX), () => client.cancel(attempt));
    }
    return true;
  }

  #tryAny(client: RecordedClient, onEnd: () => void): Attempt | undefined {
    const dice = this.#dice;
    const { getShares, deleteShare, hostile } = this.#plan;
    const key = hostile && dice.chance(HOSTILE_KEY_SHARE) ? dice.pick(HOSTILE_KEYS) : dice.pick(this.keys);
    const deadlineMs = this.#drawDeadlineMs();
    const isNumber = this.#changes.isNumber(key, this.keys.indexOf(key));
    if (client.canChange && this.#changes.isNext) {
      const change = this.#changes.draw(key, isNumber, () => this.#newValueOf(client, key, isNumber));
      return client.tryChange(key, change, deadlineMs, onEnd);
    }
    const getShare = getShares[this.#cluster.clients.indexOf(client)] ?? getShares[0]!;
    if (dice.chance(getShare)) return client.tryStart('get', key, undefined, deadlineMs, onEnd);
    if (dice.chance(deleteShare)) return client.tryStart('delete', key, undefined, deadlineMs, onEnd);
    return client.tryStart('put', key, this.#newValueOf(client, key, isNumber), deadlineMs, onEnd);
  }

  #newValueOf(client: RecordedClient, key: string, isNumber: boolean): string {
    return isNumber ? this.#changes.newNumber(this.#valueCount++) : this.#newValue(client, key);
  }

  #drawDeadlineMs(): number {
    const dice = this.#dice;
    if (!dice.chance(this.#plan.hasteShare)) return dice.between(10, DEADLINE_MS_MAX);
    if (dice.chance(0.9)) return dice.between(0, HASTE_MS_MAX);
    this.#cluster.observer.coverage.faults.add('deadline of zero');
    return 0;
  }

  #askStatus(client: RecordedClient): void {
    const session = this.#dice.pick(client.node.links).session;
    if (session !== undefined) sendStatusRequest(client.node.endpoint, session, 0);
  }

  /** Unique. */
  #newValue(client: RecordedClient, key: string): string {
    const dice = this.#dice;
    const { oddLengths, sameLength, valueBytesMax, largeShare } = this.#plan;
    const { faults } = this.#cluster.observer.coverage;
    const isOdd = oddLengths && dice.chance(ODD_LENGTH_SHARE);
    if ((isOdd || this.#valueCount === 0) && dice.chance(0.3) && !this.#emptied.has(key)) {
      this.#emptied.add(key);
      this.#valueCount++;
      faults.add('empty value');
      return '';
    }
    const value = `v${this.#valueCount++}`;
    const fitting = client.node.valueBytesMax(key.length);
    if (isOdd) return value.padEnd(Math.min(this.#oddLength(client, key), fitting), '.');
    if (largeShare > 0 && dice.chance(largeShare)) {
      return this.largeValue(value, Math.min(this.#largeLength(client, key), fitting));
    }
    return value.padEnd(Math.min(sameLength ? valueBytesMax : dice.integer(0, valueBytesMax), fitting), '.');
  }

  #largeLength(client: RecordedClient, key: string): number {
    const { faults } = this.#cluster.observer.coverage;
    faults.add('value larger than a datagram');
    // As long as most others: parts of one would fit where another's were.
    if (this.#plan.sameLength) return SAME_LARGE_BYTES;
    const fitting = fittingBytes(client, key);
    if (this.#dice.chance(0.9)) return fitting + this.#dice.integer(1, LARGE_VALUE_BYTES_MAX);
    faults.add('value sealed in chunks');
    return VALUE_CHUNK_BYTES + this.#dice.integer(1, VALUE_CHUNK_BYTES + 8);
  }

  /** Its own text everywhere, so that a part of another value shows. */
  largeValue(value: string, byteCount: number): string {
    return `${value};`.repeat(Math.ceil(byteCount / (value.length + 1))).slice(0, byteCount);
  }

  /** Around what a datagram holds, or far more. */
  #oddLength(client: RecordedClient, key: string): number {
    const dice = this.#dice;
    const { faults } = this.#cluster.observer.coverage;
    const fitting = fittingBytes(client, key);
    if (dice.chance(0.3)) {
      faults.add('value as large as a datagram');
      return fitting + dice.pick([0, 0, 1]);
    }
    faults.add('value larger than a datagram');
    if (dice.chance(0.8)) return dice.integer(fitting + 1, LARGE_VALUE_BYTES_MAX);
    faults.add('value sealed in chunks');
    return VALUE_CHUNK_BYTES + dice.integer(1, VALUE_CHUNK_BYTES + 8);
  }

  /** Of different lengths, the last one the longest. */
  #keyOf(index: number): string {
    const { keyBytesMax, keyCount } = this.#plan;
    return `key-${index}`.padEnd(index === keyCount - 1 ? keyBytesMax : 0, '.');
  }
}

/** The longest value whose WRITE goes in one datagram of the client. */
function fittingBytes(client: RecordedClient, key: string): number {
  const { endpoint, links } = client.node;
  const rooms = links.flatMap(({ session }) =>
    session === undefined ? [] : endpoint.valueBytesMax(session, WRITE_BYTES + alignUp(key.length)),
  );
  return Math.max(0, Math.min(VALUE_CHUNK_BYTES, ...rooms) - ENVELOPE_HEADER_BYTES);
}
