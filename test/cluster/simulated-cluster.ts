import { DataKeyRing } from '../../src/trust/data-key-ring.ts';
import type { Operation } from '../../bench/checker/operation.ts';
import assert from 'node:assert/strict';
import { DATAGRAM_BYTES_MIN } from '../../net/limits.ts';
import type { Endpoint } from '../../net/endpoint.ts';
import type { SecurityMode } from '../../net/mode.ts';
import type { Session } from '../../net/session.ts';
import { ClientNode } from '../../src/client/client-node.ts';
import type { Route } from '../../src/client/route.ts';
import type { Peer } from '../../src/protocol/peer.ts';
import { quorumOf } from '../../src/protocol/quorum.ts';
import type { MemberState } from '../../src/protocol/state-message.ts';
import { ReplicaNode } from '../../src/server/replica-node.ts';
import type { Authority } from '../../src/trust/authority.ts';
import { createInlineSealing } from '../../workers/inline-sealing.ts';
import { createHandshakeCrypto } from '../../workers/noise.ts';
import type { KeyRegistry, Sealing } from '../../workers/sealing.ts';
import { ReorderingSealing } from '../workers/reordering-sealing.ts';
import { CallObserver, watchCalls } from './call-observer.ts';
import { ClientObserver } from './client-observer.ts';
import { ConsensusLedger } from './consensus-ledger.ts';
import { Dice } from './dice.ts';
import { LossyNetwork } from './lossy-network.ts';
import { NonceLedger } from './nonce-ledger.ts';
import { ObservedSealing } from './observed-sealing.ts';
import { RecordedClient } from './recorded-client.ts';
import { ReplicaObserver } from './replica-observer.ts';
import type { Address } from './lossy-network.ts';
import { SimulatedProcess } from './simulated-process.ts';
import { SimulatedTime } from './simulated-time.ts';
import { SimulatedReplica } from './simulated-replica.ts';
import { authorityOf } from './simulated-trust.ts';
import type { OtherParty } from './simulated-trust.ts';
import { WorldObserver } from './world-observer.ts';

/**
 * A whole cluster, the real code in simulated time on a simulated network: replicas and clients are put together as
 * their processes do it (ReplicaNode, ClientNode), with real cryptography. All that is random comes from one seed.
 */
export interface ClusterOptions {
  readonly seed: number;
  readonly memberCount?: number;
  readonly mode?: SecurityMode;
  readonly trustedBytesMax?: number;
  readonly hostBytesMax?: number;
  /** What a member has of both, when that differs. */
  /** Default: as in the product. */
  readonly recordIdleMs?: number;
  readonly memoryOf?: (memberIndex: number) => { readonly trustedBytesMax?: number; readonly hostBytesMax?: number };
  /** Whether a process's cryptography finishes late and out of order; asked by its name at each start. */
  readonly isCryptoSlow?: (processName: string) => boolean;
  /** Of replicas, and of clients that don't say otherwise. */
  readonly datagramBytes?: number;
  /** Writes each datagram and message to the log. */
  readonly isTraced?: boolean;
}

export type { SimulatedReplica };

export interface ClientOptions {
  /** Default: direct. */
  readonly route?: Route;
  readonly party?: OtherParty;
  readonly datagramBytes?: number;
  /** Operations in flight at once. */
  readonly capacity?: number;
}

/** The smallest datagrams: more of them, and values come near their limit soon. */
const DATAGRAM_BYTES = DATAGRAM_BYTES_MIN;
/** The message layer takes 6.3 MiB, and coordinating for clients 3.1, of which it wants as much again to be free. */
const TRUSTED_BYTES_MAX = 16 * 1024 * 1024;
const HOST_BYTES_MAX = 64 * 1024 * 1024;
const CLIENT_CAPACITY = 64;
const CLIENT_PORT_FIRST = 9_000;
/** A slow sealing does half of its jobs a turn. */
const CLOSING_TURNS_MAX = 64;

export interface KeyHolder {
  readonly process: SimulatedProcess;
  readonly dataKeys: DataKeyRing;
  /** Of a replica. */
  readonly memberIndex: number | undefined;
  /** A client of the coordinated route has none. */
  readonly hasDataKeys: boolean;
}

export class SimulatedCluster {
  readonly memberCount: number;
  readonly dice: Dice;
  readonly time = new SimulatedTime();
  readonly network: LossyNetwork;
  readonly observer: WorldObserver;
  readonly nonces = new NonceLedger();
  readonly consensus: ConsensusLedger;
  readonly replicas: SimulatedReplica[] = [];
  readonly clients: RecordedClient[] = [];
  /** What happened besides operations, for people. */
  readonly log: string[] = [];
  /** Instances that had an active quorum at some time. */
  readonly instances = new Set<string>();
  /** Keys of which a replica was sent two values under one stamp. */
  readonly conflictingKeys = new Set<string>();
  /** All keys that anybody writes, for clients that scan. */
  scannedKeys: readonly string[] = [];
  /** Who has data keys, or none of them: each has a ring of its own. */
  readonly keyHolders: KeyHolder[] = [];
  onKeyHolder: (holder: KeyHolder) => void = () => {};
  readonly #options: ClusterOptions;
  /** Of the processes that are alive, or were. */
  readonly #sealings = new Map<SimulatedProcess, ObservedSealing>();
  #number = 0;

  constructor(options: ClusterOptions) {
    this.#options = options;
    this.dice = new Dice(options.seed);
    this.observer = new WorldObserver(this.time, options.isTraced === true ? this.log : undefined);
    this.network = new LossyNetwork(this.time, this.dice.split(), this.observer.coverage);
    this.observer.watchNetwork(this.network);
    this.memberCount = options.memberCount ?? 3;
    this.consensus = new ConsensusLedger(this.observer, this.quorum);
    for (let index = 0; index < this.memberCount; index++) this.replicas.push(new SimulatedReplica(this, index));
  }

  get quorum(): number {
    return quorumOf(this.memberCount);
  }

  get datagramBytes(): number {
    return this.#options.datagramBytes ?? DATAGRAM_BYTES;
  }

  get mode(): SecurityMode {
    return this.#options.mode ?? 'secure';
  }

  /** @param instance Id that the client has pinned before. */
  addClient(instance?: string, options: ClientOptions = {}): RecordedClient {
    const number = this.clients.length;
    const name = `client ${number}`;
    const process = this.createProcess(name, { host: '10.0.1.1', port: CLIENT_PORT_FIRST + number });
    const journal = { nextNumber: () => this.#number++, nowMs: () => this.time.nowMs };
    const client = new RecordedClient(name, process, journal, this.scannedKeys);
    const { route = 'direct' } = options;
    const parts = this.#partsOf(name, options.party ?? 'client', process, route === 'direct');
    const { dice, authority, sealing, crypto } = parts;
    const node: ClientNode = new ClientNode({
      route,
      authority,
      hosts: authority.configuration.members.map(({ host }) => host),
      transport: process,
      sealing,
      crypto: this.observer.watchHandshakes(
        name,
        crypto,
        () => process.nowMs,
        (key) => sessionsWith(node, authority, key),
      ),
      datagramBytes: options.datagramBytes ?? this.datagramBytes,
      capacity: options.capacity ?? CLIENT_CAPACITY,
      sink: client,
      pinnedInstance: instance,
      randomBytes: dice.bytes,
      nowSeconds: () => process.clock.wallSeconds,
      onTick: () => {},
      onStatus: () => {},
    });
    this.observer.watchDrops(name, node.drops);
    const observer =
      route === 'direct'
        ? new ClientObserver(this.observer, name, this.quorum)
        : new CallObserver(this.observer, name, node);
    sealing.observer = observer;
    client.observer = observer;
    this.#sealings.set(process, sealing);
    client.run(node, this.isCryptoSlow(name));
    this.clients.push(client);
    return client;
  }

  /** What every node takes, with dice of its own. */
  #partsOf(name: string, party: Parameters<typeof authorityOf>[2], process: SimulatedProcess, hasDataKeys = true) {
    const dice = this.dice.split();
    const own = authorityOf(this.mode, this.memberCount, party);
    const authority = hasDataKeys ? own : { ...own, dataKeys: DataKeyRing.empty() };
    const { dataKeys } = authority;
    const sealing = this.createSealing(name, dice, process, this.mode, dataKeys);
    const holder = { process, dataKeys, memberIndex: typeof party === 'number' ? party : undefined, hasDataKeys };
    this.keyHolders.push(holder);
    this.onKeyHolder(holder);
    const crypto = createHandshakeCrypto({
      mode: this.mode,
      staticKeyPair: authority.staticKeyPair,
      sealing,
      randomBytes: dice.bytes,
    });
    return { dice, authority, sealing, crypto };
  }

  createProcess(name: string, address: Address): SimulatedProcess {
    const process = new SimulatedProcess(this.time, this.network, this.dice.split(), address);
    this.observer.watchProcess(name, process);
    return process;
  }

  /** Runs until all replicas are active. */
  form(limitMs = 10_000): void {
    assert.ok(
      this.time.runUntil(() => this.replicas.every((replica) => replica.isActive), limitMs),
      'the cluster forms',
    );
  }

  /** Runs until a client has seen a quorum. */
  connect(client: RecordedClient, limitMs = 10_000): void {
    assert.ok(
      this.time.runUntil(() => client.node.view.readyMask === (1 << this.memberCount) - 1, limitMs),
      `${client.name} is connected to all replicas`,
    );
  }

  /** Runs until every operation has ended. */
  finish(limitMs = 30_000): void {
    const isOver = (): boolean => this.clients.every((client) => client.attempts.every((a) => a.outcome !== undefined));
    assert.ok(this.time.runUntil(isOver, limitMs), 'every operation ends');
  }

  history(): Operation[] {
    return this.clients.flatMap((client) => client.history());
  }

  invariants(): void {
    for (const { process, node } of [...this.replicas, ...this.clients]) if (process.isAlive) node.invariants();
  }

  /** Ends every process in order. Nothing that it held may be left: throws for a session key that is. */
  close(): void {
    for (const { name, process, node } of [...this.replicas, ...this.clients]) {
      if (!process.isAlive) continue;
      node.close();
      // Jobs that are still at a slow sealing end first.
      for (let turn = 0; turn < CLOSING_TURNS_MAX; turn++) node.turn(process.nowMs);
      const { liveKeyCount } = this.#sealings.get(process)!;
      assert.equal(liveKeyCount, 0, `${name} has closed and left ${liveKeyCount} session keys`);
      process.kill();
    }
  }

  note(text: string): void {
    this.log.push(`${this.time.nowMs.toFixed(3)} ms: ${text}`);
  }

  isCryptoSlow(processName: string): boolean {
    return this.#options.isCryptoSlow?.(processName) ?? false;
  }

  /** Real cryptography, watched; late and out of order when that is its process's lot. */
  createSealing(
    processName: string,
    dice: Dice,
    process?: SimulatedProcess,
    mode = this.mode,
    dataKeys = authorityOf(mode, this.memberCount, 'client').dataKeys,
  ): ObservedSealing {
    let sealing: Sealing & KeyRegistry = createInlineSealing({ mode, dataKeys, randomBytes: dice.bytes });
    if (this.isCryptoSlow(processName)) {
      this.observer.coverage.faults.add('late cryptography');
      sealing = new ReorderingSealing(sealing, dice.fraction);
    }
    const observed = new ObservedSealing(sealing, this.nonces);
    if (process !== undefined) process.contentsOf = (token) => observed.takeSealed(token);
    return observed;
  }

  createReplicaNode(
    index: number,
    process: SimulatedProcess,
    onStateChange: (state: MemberState, reason: string) => void,
  ): ReplicaNode {
    const name = `replica ${index}`;
    const { dice, authority, sealing, crypto } = this.#partsOf(name, index, process);
    const memory = { ...this.#options, ...this.#options.memoryOf?.(index) };
    const node: ReplicaNode = new ReplicaNode({
      authority,
      memberIndex: index,
      hosts: authority.configuration.members.map(({ host }) => host),
      transport: process,
      sealing,
      crypto: this.observer.watchHandshakes(
        name,
        crypto,
        () => process.nowMs,
        (key) => sessionsWith(node, authority, key),
      ),
      datagramBytes: this.datagramBytes,
      trustedBytesMax: memory.trustedBytesMax ?? TRUSTED_BYTES_MAX,
      hostBytesMax: memory.hostBytesMax ?? HOST_BYTES_MAX,
      recordIdleMs: this.#options.recordIdleMs,
      randomBytes: dice.bytes,
      nowSeconds: () => process.clock.wallSeconds,
      onStateChange,
      processFigures: () => ({}),
    });
    this.observer.watchDrops(name, node.drops);
    this.#sealings.set(process, sealing);
    watchCalls(this.observer, node);
    this.consensus.watch(name, node);
    sealing.observer = new ReplicaObserver(this.observer, name, node, (key) => this.conflictingKeys.add(key));
    return node;
  }

  /** Whenever a replica has become active: which instances could serve now. */
  onActive(): void {
    const counts = new Map<string, number>();
    for (const replica of this.replicas) {
      for (const id of new Set(replica.instanceIds)) {
        const count = (counts.get(id) ?? 0) + 1;
        counts.set(id, count);
        if (count >= this.quorum) this.instances.add(id);
      }
    }
  }
}

/** A node's sessions with the member that holds a static key. */
function sessionsWith(
  node: { readonly endpoint: Endpoint<Peer> },
  authority: Authority,
  staticKey: Uint8Array,
): Session<Peer>[] {
  const member = authority.configuration.members.find((one) => Buffer.compare(one.staticKey, staticKey) === 0);
  return [...node.endpoint.sessions].filter(({ host, port }) => host === member?.host && port === member.port);
}
