import type { Dice } from './dice.ts';
import type { Address } from './lossy-network.ts';
import { CALM } from './lossy-network.ts';
import type { Plan } from './random-plan.ts';
import { drawWeather } from './random-plan.ts';
import type { RecordedClient } from './recorded-client.ts';
import type { SimulatedCluster, SimulatedReplica } from './simulated-cluster.ts';
import type { SimulatedProcess } from './simulated-process.ts';

/** Of links, when some are bad. */
const BAD_LINK_SHARE = 0.2;
/** A write on its way is looked for so often. */
const LOOK_INTERVAL_MS = 0.2;
const SPLIT_MS_MAX = 20;
const RESTART_MS_MAX = 10;
const TAMPER_INTERVAL_MS_MAX = 5;

/** What goes wrong in a random run, as its plan says, until it is calm. */
export class RandomFaults {
  readonly #cluster: SimulatedCluster;
  readonly #plan: Plan;
  readonly #dice: Dice;
  readonly #keys: readonly string[];
  readonly #oldCopies = new Map<string, Uint8Array>();
  readonly #writeBackCounts = new Map<RecordedClient, number>();
  #calm = false;
  #restartCount = 0;

  constructor(cluster: SimulatedCluster, plan: Plan, dice: Dice, keys: readonly string[]) {
    this.#cluster = cluster;
    this.#plan = plan;
    this.#dice = dice;
    this.#keys = keys;
  }

  begin(): void {
    const { network, replicas } = this.#cluster;
    const { links, crashing, tampering, splits } = this.#plan;
    this.#changeWeather();
    if (links !== 'fine') this.#changeLinks();
    for (const member of crashing) this.#crashLater(replicas[member]!);
    if (tampering !== -1) this.#tamperLater(replicas[tampering]!);
    if (!splits) return;
    this.#splitLater();
    network.onSend = (from) => this.#interruptWriteBack(from);
  }

  end(): void {
    const { network, replicas, quorum } = this.#cluster;
    this.#calm = true;
    this.#cluster.note('calm');
    network.calm();
    for (const process of this.#processes()) process.resume();
    // Without all of its members a cluster can't form: whoever is lacking must come.
    if (replicas.filter((replica) => replica.isActive).length >= quorum) return;
    for (const replica of replicas) if (!replica.process.isAlive) replica.restart();
  }

  #processes(): SimulatedProcess[] {
    return [...this.#cluster.replicas, ...this.#cluster.clients].map(({ process }) => process);
  }

  #after(delayMsMax: number, happen: () => void): void {
    this.#cluster.time.after(this.#dice.between(0, delayMsMax), () => {
      if (!this.#calm) happen();
    });
  }

  // -- network ----------------------------------------------------------------------------------------------------

  #changeWeather(): void {
    const dice = this.#dice;
    const { mode, pauses, weatherMs } = this.#plan;
    this.#cluster.network.weather = dice.chance(0.3) ? CALM : drawWeather(dice, mode);
    if (pauses && dice.chance(0.5)) dice.pick(this.#processes()).pause(dice.between(1, dice.pick([10, 100])));
    this.#after(2 * weatherMs, () => this.#changeWeather());
  }

  #changeLinks(): void {
    const { network, clients, replicas, quorum } = this.#cluster;
    const reachable = this.#dice.shuffled(replicas).slice(0, quorum);
    network.clearLinks();
    for (const { process: client } of clients) {
      for (const replica of replicas) {
        if (this.#plan.links === 'bad') {
          this.#drawLink(client, replica.process);
          this.#drawLink(replica.process, client);
        } else if (!reachable.includes(replica)) network.setLink(client, replica.process, { loss: 1, delayMsMax: 0 });
      }
    }
    this.#after(2 * this.#plan.linksMs, () => this.#changeLinks());
  }

  #drawLink(from: Address, to: Address): void {
    if (!this.#dice.chance(BAD_LINK_SHARE)) return;
    const loss = this.#dice.pick([0, 1]);
    this.#cluster.network.setLink(from, to, { loss, delayMsMax: loss === 0 ? 10 : 0 });
  }

  /** Waits for a write that some have and others lack, and cuts its writer off from those that lack it. */
  #splitLater(): void {
    const { clients, replicas, network } = this.#cluster;
    const dice = this.#dice;
    let restMs = LOOK_INTERVAL_MS;
    for (const key of this.#keys) {
      const newest = Math.max(...replicas.map((replica) => replica.counterOf(key)));
      const lacking = replicas.filter((replica) => replica.process.isAlive && replica.counterOf(key) < newest);
      const writers = clients.filter((client) => client.isWriting(key));
      if (lacking.length === 0 || writers.length === 0) continue;
      const writer = dice.pick(writers);
      for (const { process } of lacking) network.interrupt(writer.process, process, dice.between(0, SPLIT_MS_MAX));
      restMs = SPLIT_MS_MAX;
    }
    this.#after(restMs, () => this.#splitLater());
  }

  /** A client that has just begun to write a value back is cut off, with the datagram that it sends. */
  #interruptWriteBack(from: Address): void {
    const { clients, replicas, network } = this.#cluster;
    const client = clients.find(({ process }) => process === from);
    const count = client?.node.coordinator.counters.writeBacks ?? 0;
    if (this.#calm || client === undefined || count === this.#writeBackCounts.get(client)) return;
    this.#writeBackCounts.set(client, count);
    if (this.#dice.chance(0.5)) return;
    for (const { process } of replicas) network.interrupt(client.process, process, this.#dice.between(0, 10));
  }

  // -- replicas ---------------------------------------------------------------------------------------------------

  #crashLater(replica: SimulatedReplica): void {
    this.#after(this.#plan.crashMsMax, () => {
      replica.crash();
      if (this.#restartCount++ >= this.#plan.restartsMax) return;
      this.#after(RESTART_MS_MAX, () => {
        replica.restart();
        this.#crashLater(replica);
      });
    });
  }

  #tamperLater(replica: SimulatedReplica): void {
    if (replica.process.isAlive) this.#tamper(replica, this.#dice.pick(this.#keys));
    this.#after(TAMPER_INTERVAL_MS_MAX, () => this.#tamperLater(replica));
  }

  /** Flips a bit, puts back what lay there before, or exchanges two keys' values. */
  #tamper(replica: SimulatedReplica, key: string): void {
    const dice = this.#dice;
    const copy = replica.hostCopy(key);
    if (copy === undefined || copy.length === 0) return;
    const old = this.#oldCopies.get(key);
    const other = replica.hostCopy(dice.pick(this.#keys));
    const way = dice.fraction();
    this.#oldCopies.set(key, copy.slice());
    if (way < 0.25 && old !== undefined) copy.set(old.subarray(0, copy.length));
    else if (way < 0.5 && other !== undefined) copy.set(other.slice(0, copy.length));
    else copy[dice.integer(0, copy.length - 1)]! ^= 1 << dice.integer(0, 7);
  }
}
