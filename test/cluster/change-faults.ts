import { MESSAGE_ACCEPT, MESSAGE_COMMIT, MESSAGE_PREPARE } from '../../src/protocol/rmw-messages.ts';
import type { Dice } from './dice.ts';
import type { Address } from './lossy-network.ts';
import { nameOf } from './lossy-network.ts';
import type { Message } from './messages-seen.ts';
import type { SimulatedCluster, SimulatedReplica } from './simulated-cluster.ts';

/** Of datagrams with a PREPARE, an ACCEPT or a COMMIT: something goes wrong just then. */
const FAULT_SHARE = 0.04;
const CUT_MS_MAX = 25;

export interface ChangeFaultOptions {
  readonly crash: (replica: SimulatedReplica) => void;
  /** The first client goes, in order or not. */
  readonly killClient: () => void;
  readonly crashing: readonly number[];
  readonly newcomers: boolean;
}

/**
 * What goes wrong in the middle of a read-modify-write, where its coordinator has asked one replica and not yet the others:
 * aimed, since half-done proposals and decisions are what the protocol's rules are about.
 */
export class ChangeFaults {
  readonly #cluster: SimulatedCluster;
  readonly #dice: Dice;
  readonly #options: ChangeFaultOptions;
  #isClientGone = false;
  #isOver = false;

  constructor(cluster: SimulatedCluster, dice: Dice, options: ChangeFaultOptions) {
    this.#cluster = cluster;
    this.#dice = dice;
    this.#options = options;
  }

  begin(): void {
    const { observer } = this.#cluster;
    const { onPassing } = observer;
    observer.onPassing = (from, to, messages) => {
      onPassing(from, to, messages);
      if (this.#isOver || !messages.some(isStep) || !this.#dice.chance(FAULT_SHARE)) return;
      const isDecision = messages.some(({ type }) => type === MESSAGE_COMMIT);
      // Not while the sender is in the middle of its turn; but what it sends to the others is cut off at once.
      if (this.#dice.chance(0.6)) this.#cutOff(from, to, isDecision);
      else this.#cluster.time.after(0, () => this.#leave(from, to));
    };
  }

  end(): void {
    this.#isOver = true;
  }

  /** What goes to this one arrives, and nothing reaches the others for a while; or what they answer does not come back. */
  #cutOff(from: Address, to: Address, isDecision: boolean): void {
    const { network, replicas, observer } = this.#cluster;
    const { faults } = observer.coverage;
    const others = replicas.filter(({ process }) => nameOf(process) !== nameOf(to));
    const lasting = this.#dice.between(0, CUT_MS_MAX);
    const isWayBack = this.#dice.chance(0.3);
    faults.add(isDecision ? 'decision known to some only' : 'proposal known to some only');
    for (const { process } of others) {
      if (isWayBack) network.interrupt(process, from, lasting);
      else network.interrupt(from, process, lasting);
    }
  }

  #leave(from: Address, to: Address): void {
    const { replicas, clients, observer } = this.#cluster;
    const { faults } = observer.coverage;
    const { crashing, newcomers, crash, killClient } = this.#options;
    const replica = replicas.find(({ process }) => nameOf(process) === nameOf(to));
    const client = clients.find(({ process }) => process === from);
    if (newcomers && !this.#isClientGone && client === clients[0]) {
      this.#isClientGone = true;
      faults.add('client goes in the middle of a read-modify-write');
      killClient();
    } else if (replica !== undefined && replica.process.isAlive && crashing.includes(replica.index)) {
      faults.add('replica crashes in the middle of a read-modify-write');
      crash(replica);
    }
  }
}

function isStep({ type }: Message): boolean {
  return type === MESSAGE_PREPARE || type === MESSAGE_ACCEPT || type === MESSAGE_COMMIT;
}
