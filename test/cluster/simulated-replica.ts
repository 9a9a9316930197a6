import assert from 'node:assert/strict';
import { allocateRegion } from '../../net/bytes.ts';
import type { MemberState } from '../../src/protocol/state-message.ts';
import type { ReplicaNode } from '../../src/server/replica-node.ts';
import { NO_REF } from '../../src/store/host-memory.ts';
import { NO_ENTRY } from '../../src/store/trusted-index.ts';
import type { SimulatedCluster } from './simulated-cluster.ts';
import type { SimulatedProcess } from './simulated-process.ts';
import { REPLICA_PORT, replicaHost } from './simulated-trust.ts';

/** A member of a simulated cluster: one process after another at the same address, and what its host sees of it. */
export class SimulatedReplica {
  readonly index: number;
  readonly name: string;
  readonly #cluster: SimulatedCluster;
  #process!: SimulatedProcess;
  #node!: ReplicaNode;
  /** An earlier process that runs on beside the present one. */
  #copy: { readonly process: SimulatedProcess; readonly node: ReplicaNode } | undefined;

  constructor(cluster: SimulatedCluster, index: number) {
    this.#cluster = cluster;
    this.index = index;
    this.name = `replica ${index}`;
    this.#start();
  }

  get process(): SimulatedProcess {
    return this.#process;
  }

  get node(): ReplicaNode {
    return this.#node;
  }

  /** Alive, and answers quorum messages. */
  get isActive(): boolean {
    return this.#process.isAlive && this.#node.formation.isActive;
  }

  get state(): MemberState | 'crashed' {
    return this.#process.isAlive ? this.#node.formation.state : 'crashed';
  }

  /** Ids of the instances that its processes are active in. */
  get instanceIds(): string[] {
    return [{ process: this.#process, node: this.#node }, ...(this.#copy === undefined ? [] : [this.#copy])].flatMap(
      ({ process, node }) => (process.isAlive && node.formation.isActive ? [node.formation.instance!.id] : []),
    );
  }

  crash(): void {
    this.#cluster.note(`${this.name} crashes`);
    this.#cluster.observer.rule('repair applied', this.#node.repairs.repairedCount);
    this.endCopy();
    this.#process.kill();
  }

  /** The host starts another process with the same keys at the same address, and leaves the first one running. */
  startCopy(): void {
    assert.ok(this.#process.isAlive, 'what is copied runs');
    this.endCopy();
    this.#cluster.note(`${this.name} runs twice`);
    this.#copy = { process: this.#process, node: this.#node };
    this.#start();
  }

  /** From now on datagrams go to the other one of the two. */
  routeTo(which: 'first' | 'second'): void {
    if (this.#copy === undefined || !this.#process.isAlive) return;
    this.#cluster.observer.tell(`datagrams to ${this.name} go to its ${which} process`);
    const { process } = which === 'first' ? this.#copy : this;
    this.#cluster.network.attach(process, process);
  }

  /** The first one is gone. */
  endCopy(): void {
    if (this.#copy === undefined) return;
    this.#cluster.note(`the first process of ${this.name} crashes`);
    this.routeTo('second');
    this.#cluster.observer.rule('repair applied', this.#copy.node.repairs.repairedCount);
    this.#copy.process.kill();
    this.#copy = undefined;
  }

  /** Another process at the same address, with nothing in memory and a new incarnation. */
  restart(): void {
    assert.ok(!this.#process.isAlive, 'what restarts has crashed');
    this.#cluster.note(`${this.name} restarts`);
    this.#start();
  }

  /** The envelope of a key as it lies in host memory: not a copy. Undefined when there is none. */
  hostCopy(key: string): Uint8Array | undefined {
    const { store, hostMemory } = this.#node;
    const entry = this.#entryOf(key);
    if (entry === NO_ENTRY || store.isTombstone(entry)) return undefined;
    const ref = store.hostRef(entry);
    if (ref === NO_REF) return undefined;
    const start = hostMemory.wordOffset(ref) * 4;
    return hostMemory.region(ref).bytes.subarray(start, start + store.envelopeBytes(entry));
  }

  /** The whole block that the envelope lies in, which is longer by what its size class rounds up. */
  hostBlock(key: string): Uint8Array | undefined {
    const copy = this.hostCopy(key);
    if (copy === undefined) return undefined;
    const { store, hostMemory } = this.#node;
    const blockBytes = hostMemory.blockBytes(store.hostRef(this.#entryOf(key)));
    return new Uint8Array(copy.buffer, copy.byteOffset, blockBytes);
  }

  /** The counter of the key's stamp; 0 when it was never written here. */
  counterOf(key: string): number {
    const entry = this.#entryOf(key);
    return entry === NO_ENTRY ? 0 : this.#node.store.counter(entry);
  }

  #entryOf(key: string): number {
    const bytes = Buffer.from(key);
    const region = allocateRegion(bytes.length);
    region.bytes.set(bytes);
    return this.#node.store.find(region.words, 0, bytes.length);
  }

  #start(): void {
    const cluster = this.#cluster;
    const { time } = cluster;
    const process = cluster.createProcess(this.name, { host: replicaHost(this.index), port: REPLICA_PORT });
    this.#process = process;
    this.#node = cluster.createReplicaNode(this.index, process, (state, reason) => {
      cluster.note(`${this.name} is ${state}: ${reason}`);
      // Its own constructor may call, before there is a node to look at.
      if (state === 'outside') cluster.observer.rule('restarted replica stays outside');
      if (state === 'active') time.after(0, () => cluster.onActive());
    });
    const isSlow = cluster.isCryptoSlow(this.name);
    process.run(this.#node, () => (isSlow ? 0 : Infinity));
  }
}
