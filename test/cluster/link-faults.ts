import type { Tally } from './coverage.ts';
import type { Fault } from './coverage-names.ts';
import type { Dice } from './dice.ts';
import type { Address } from './lossy-network.ts';
import type { Plan } from './plan.ts';
import type { SimulatedCluster } from './simulated-cluster.ts';

/** Of links, when some are bad. */
const BAD_LINK_SHARE = 0.2;
/** A write on its way is looked for so often. */
const LOOK_INTERVAL_MS = 0.2;
const SPLIT_MS_MAX = 20;

/** Who reaches whom, in each direction on its own. */
export class LinkFaults {
  readonly #cluster: SimulatedCluster;
  readonly #plan: Plan;
  readonly #dice: Dice;
  readonly #keys: readonly string[];
  readonly #faults: Tally<Fault>;
  readonly #writeBackCounts = new Map<Address, number>();

  constructor(cluster: SimulatedCluster, plan: Plan, dice: Dice, keys: readonly string[]) {
    this.#cluster = cluster;
    this.#plan = plan;
    this.#dice = dice;
    this.#keys = keys;
    this.#faults = cluster.observer.coverage.faults;
  }

  /** Draws all links anew. */
  change(): void {
    const { network, clients, replicas, quorum } = this.#cluster;
    network.clearLinks();
    if (this.#plan.links === 'partitions') return this.#partition();
    const reachable = this.#dice.shuffled(replicas).slice(0, quorum);
    for (const { process: client } of clients) {
      for (const replica of replicas) {
        if (this.#plan.links === 'bad') {
          this.#drawLink(client, replica.process);
          this.#drawLink(replica.process, client);
        } else if (!reachable.includes(replica)) network.setLink(client, replica.process, { loss: 1, delayMsMax: 0 });
      }
    }
  }

  /** Two groups of any processes; one may still hear the other. */
  #partition(): void {
    const dice = this.#dice;
    if (dice.chance(0.3)) return;
    const { network, clients, replicas } = this.#cluster;
    const all = [...replicas, ...clients].map(({ process }) => process);
    const share = dice.between(0.1, 0.9);
    const group = new Set(all.filter(() => dice.chance(share)));
    const isOneWay = dice.chance(0.5);
    this.#faults.add('partition');
    for (const from of all) {
      for (const to of all) {
        if (group.has(from) === group.has(to) || (isOneWay && !group.has(from))) continue;
        network.setLink(from, to, { loss: 1, delayMsMax: 0 });
      }
    }
  }

  #drawLink(from: Address, to: Address): void {
    if (!this.#dice.chance(BAD_LINK_SHARE)) return;
    const loss = this.#dice.pick([0, 1]);
    this.#cluster.network.setLink(from, to, { loss, delayMsMax: loss === 0 ? 10 : 0 });
  }

  /** Cuts a writer off from those that lack its write, when some have it. Returns when to look again. */
  splitWrites(): number {
    const { clients, replicas, network } = this.#cluster;
    const dice = this.#dice;
    let restMs = LOOK_INTERVAL_MS;
    for (const key of this.#keys) {
      const writers = clients.filter((client) => client.isWriting(key));
      if (writers.length === 0) continue;
      const newest = Math.max(...replicas.map((replica) => replica.counterOf(key)));
      const lacking = replicas.filter((replica) => replica.process.isAlive && replica.counterOf(key) < newest);
      if (lacking.length === 0) continue;
      const writer = dice.pick(writers);
      for (const { process } of lacking) network.interrupt(writer.process, process, dice.between(0, SPLIT_MS_MAX));
      restMs = SPLIT_MS_MAX;
    }
    return restMs;
  }

  /**
   * Who has just begun to write a value back, or to have it written back, is cut off, with the datagram that it sends: a
   * client, or a replica that does it for a client that may not write.
   */
  interruptWriteBack(from: Address): void {
    const { replicas, network } = this.#cluster;
    const count = this.#writeBacksOf(from);
    if (count === (this.#writeBackCounts.get(from) ?? 0)) return;
    this.#writeBackCounts.set(from, count);
    if (this.#dice.chance(0.5)) return;
    for (const { process } of replicas) network.interrupt(from, process, this.#dice.between(0, 10));
  }

  #writeBacksOf(from: Address): number {
    const { clients, replicas } = this.#cluster;
    const client = clients.find(({ process }) => process === from);
    if (client !== undefined) return client.node.core.counters.writeBacks + client.node.core.counters.resolves;
    const replica = this.#plan.hasReader ? replicas.find(({ process }) => process === from) : undefined;
    return replica?.node.route.counters?.writeBacks ?? 0;
  }
}
