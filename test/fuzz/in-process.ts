/**
 * Hostile datagrams and messages at replicas and clients of a simulated cluster under load, with the product's own code
 * and cryptography, many thousands a second. After each datagram: it was taken, answered, or counted as dropped, once.
 */
import assert from 'node:assert/strict';
import type { DropCounters, DropReason } from '../../net/drops.ts';
import type { Incoming } from '../../net/inbox.ts';
import { REQUESTS_WAIT_MS } from '../../net/limits.ts';
import { requestPayload } from '../../src/protocol/handshake-payload.ts';
import type { Peer } from '../../src/protocol/peer.ts';
import { createHandshakeCrypto } from '../../workers/noise.ts';
import { historyProblem } from '../cluster/history-problem.ts';
import type { Address } from '../cluster/lossy-network.ts';
import { nameOf } from '../cluster/lossy-network.ts';
import type { RecordedClient } from '../cluster/recorded-client.ts';
import { SimulatedCluster } from '../cluster/simulated-cluster.ts';
import type { Node } from '../cluster/simulated-process.ts';
import { SimulatedProcess } from '../cluster/simulated-process.ts';
import { authorityOf } from '../cluster/simulated-trust.ts';
import { connected } from '../cluster/steps.ts';
import { Dice } from '../cluster/dice.ts';
import { DatagramFuzz, isClearAnswer, isRecordable, isResponse } from './datagrams.ts';
import type { HostileDatagram } from './datagrams.ts';
import { HostileClient } from './hostile-client.ts';

export interface FuzzSummary {
  readonly datagramCount: number;
  readonly messageCount: number;
  readonly operationCount: number;
  /** By reason: what the victims dropped. */
  readonly drops: Readonly<Record<string, number>>;
}

const MODE = 'secure';
const VICTIM = 0;
const BATCH = 16;
const CHECK_INTERVAL = 512;
const STRANGER_HOST = '10.9.0.1';
const STRANGER_PORT_FIRST = 20_000;
const DATAGRAM_BYTES = 1_200;
const DEADLINE_MS = 20_000;
const KEYS = ['apple', 'pear', 'plum'];
/** Counted beside what becomes of a datagram: what could not be sent, and sessions that gave way to the one it made. */
const SIDE_REASONS: readonly DropReason[] = ['send-slots-full', 'send-failed', 'flight-full', 'half-open-full'];

interface Application extends Node {
  readonly drops: DropCounters;
  onMessages(incoming: Incoming<Peer>): void;
  onDatagram(datagram: Uint8Array, host: string, port: number): boolean;
}

/** A node that hostile datagrams are handed to, one at a time, between those that the network brings. */
class Victim {
  readonly fuzz: DatagramFuzz;
  readonly #node: Application;
  readonly #process: SimulatedProcess;
  /** Addresses it has sessions with. */
  readonly #peers: Address[] = [];
  #takenCount = 0;
  #droppedInside = 0;
  #respondedCount = 0;

  constructor(cluster: SimulatedCluster, node: Application, process: SimulatedProcess, fuzz: DatagramFuzz) {
    this.fuzz = fuzz;
    this.#node = node;
    this.#process = process;
    const handle = node.onMessages.bind(node);
    node.onMessages = (incoming): void => {
      this.#takenCount++;
      const before = this.#dropped();
      handle(incoming);
      this.#droppedInside += this.#dropped() - before;
    };
    const { network } = cluster;
    const send = network.send.bind(network);
    network.send = (datagram, from, to): void => {
      if (nameOf(to) === nameOf(process)) this.#record(datagram, from);
      else if (nameOf(from) === nameOf(process)) {
        if (isResponse(datagram)) this.#respondedCount++;
        if (to.host === STRANGER_HOST) this.fuzz.onAnswer(to.port - STRANGER_PORT_FIRST, datagram);
      }
      send(datagram, from, to);
    };
  }

  get drops(): DropCounters {
    return this.#node.drops;
  }

  attack(): void {
    const hostile = this.fuzz.next();
    const from = this.#addressOf(hostile);
    const before = this.#dropped() - this.#droppedInside;
    const outcomes = -(this.#takenCount + this.#respondedCount);
    // A request that waits for others is judged when its time is over.
    if (!this.#node.onDatagram(Uint8Array.from(hostile.datagram), from.host, from.port)) {
      this.#process.clock.jump(1 + REQUESTS_WAIT_MS);
    }
    this.#node.turn(this.#process.nowMs);
    const dropped = this.#dropped() - this.#droppedInside - before;
    const count = outcomes + this.#takenCount + this.#respondedCount + dropped;
    const isQuiet = count === 0 && isClearAnswer(hostile.datagram) && hostile.from === 'peer';
    const bytes = Buffer.from(hostile.datagram.subarray(0, 64)).toString('hex');
    assert.ok(
      count === 1 || isQuiet,
      `${hostile.name} had ${count} outcomes: ${hostile.datagram.length} bytes, ${bytes}`,
    );
  }

  #addressOf({ from }: HostileDatagram): Address {
    if (from === 'peer') return this.fuzz.dice.pick(this.#peers);
    // RFC 768: port 0 takes no answers.
    return { host: STRANGER_HOST, port: from === 0 ? 0 : STRANGER_PORT_FIRST + from };
  }

  #record(datagram: Uint8Array, from: Address): void {
    if (!isRecordable(datagram)) return;
    this.fuzz.record(datagram);
    if (!this.#peers.some((peer) => nameOf(peer) === nameOf(from))) this.#peers.push(from);
  }

  #dropped(): number {
    const counts: Readonly<Partial<Record<DropReason, number>>> = this.drops.nonZero();
    let sum = 0;
    for (const [reason, count] of Object.entries(counts))
      if (!SIDE_REASONS.includes(reason as DropReason)) sum += count;
    return sum;
  }
}

export function fuzzInProcess(seed: number, datagramCount: number): FuzzSummary {
  const dice = new Dice(seed);
  const cluster = new SimulatedCluster({ seed });
  const client = cluster.addClient();
  // Wrapped before anything is sent, so that handshakes are recorded, too.
  const replicaVictim = new Victim(cluster, ...replicaParts(cluster), fuzzOf(cluster, dice, VICTIM));
  const clientVictim = new Victim(cluster, client.node, client.process, fuzzOf(cluster, dice, 'client'));
  cluster.form();
  cluster.connect(client);
  const hostile = hostileClientOf(cluster, dice);
  keepBusy(cluster, [client, connected(cluster)]);
  cluster.time.run(50);
  for (let count = 0; count < datagramCount; count++) {
    (dice.chance(0.8) ? replicaVictim : clientVictim).attack();
    if (count % BATCH === 0) {
      hostile.say();
      cluster.time.run(dice.between(0.1, 2));
    }
    if (count % CHECK_INTERVAL === 0) cluster.invariants();
  }
  return concluded(cluster, hostile, datagramCount, replicaVictim);
}

/** The cluster serves as before, and nothing that was read was made up. */
function concluded(
  cluster: SimulatedCluster,
  hostile: HostileClient,
  datagramCount: number,
  victim: Victim,
): FuzzSummary {
  isBusy.delete(cluster);
  cluster.finish();
  cluster.invariants();
  const attempts = cluster.clients.flatMap((client) => client.attempts);
  for (const { outcome } of attempts)
    assert.ok(outcome === 'ok' || outcome === 'absent', `an operation ended ${outcome}`);
  assert.equal(historyProblem(cluster.history()), undefined);
  assert.ok(cluster.replicas.every(({ isActive }) => isActive));
  return {
    datagramCount,
    messageCount: hostile.sentCount,
    operationCount: attempts.length,
    drops: victim.drops.nonZero() as Record<string, number>,
  };
}

function replicaParts(cluster: SimulatedCluster): [Application, SimulatedProcess] {
  const { node, process } = cluster.replicas[VICTIM]!;
  return [node, process];
}

function fuzzOf(cluster: SimulatedCluster, dice: Dice, victim: number | 'client'): DatagramFuzz {
  const own = dice.split();
  const authority = authorityOf(MODE, cluster.memberCount, 'client');
  const { clusterId, staticKeyPair, certificate, configuration } = authority;
  const sealing = cluster.createSealing('fuzz', own);
  return new DatagramFuzz({
    dice: own,
    mode: MODE,
    clusterId,
    victimStaticKey: victim === 'client' ? staticKeyPair.publicKey : configuration.members[victim]!.staticKey,
    crypto: createHandshakeCrypto({ mode: MODE, staticKeyPair, sealing, randomBytes: own.bytes }),
    requestPayload: () => requestPayload(own.integer(1, 2 ** 31 - 1), 0, certificate),
  });
}

function hostileClientOf(cluster: SimulatedCluster, dice: Dice): HostileClient {
  const own = dice.split();
  const authority = authorityOf(MODE, cluster.memberCount, 'client');
  const sealing = cluster.createSealing('hostile', own);
  const process = new SimulatedProcess(cluster.time, cluster.network, own, { host: '10.0.3.1', port: 9_990 });
  const hostile = new HostileClient({
    authority,
    memberIndex: VICTIM,
    host: authority.configuration.members[VICTIM]!.host,
    transport: process,
    sealing,
    crypto: createHandshakeCrypto({
      mode: MODE,
      staticKeyPair: authority.staticKeyPair,
      sealing,
      randomBytes: own.bytes,
    }),
    datagramBytes: DATAGRAM_BYTES,
    dice: own,
  });
  process.run(hostile, () => 0);
  assert.ok(cluster.time.runUntil(() => hostile.isConnected, 10_000));
  return hostile;
}

const isBusy = new Set<SimulatedCluster>();

/** Puts and gets by each client, one after the other, until the cluster is taken out of isBusy. */
function keepBusy(cluster: SimulatedCluster, clients: readonly RecordedClient[]): void {
  isBusy.add(cluster);
  for (const [number, client] of clients.entries()) {
    let count = 0;
    const next = (): void => {
      if (!isBusy.has(cluster)) return;
      const key = KEYS[count++ % KEYS.length]!;
      const again = (): void => cluster.time.after(1, next);
      if (count % 2 === 0) client.put(key, `${number}: ${count}`, DEADLINE_MS, again);
      else client.get(key, DEADLINE_MS, again);
    };
    next();
  }
}
