import { RENEW_AFTER_MS } from '../../net/limits.ts';
import { MESSAGE_CALL_PART, MESSAGE_CALL_PULL } from '../../src/protocol/call-part-messages.ts';
import { MESSAGE_READ_PART, MESSAGE_WRITE_PART } from '../../src/protocol/messages.ts';
import { MESSAGE_READ_ACCEPTED, MESSAGE_STAGE_PART } from '../../src/protocol/rmw-part-messages.ts';
import type { Dice } from './dice.ts';
import type { Address } from './lossy-network.ts';
import { nameOf } from './lossy-network.ts';
import type { Message } from './messages-seen.ts';
import type { SimulatedCluster, SimulatedReplica } from './simulated-cluster.ts';

/** Of datagrams with a part: something goes wrong just then. */
const FAULT_SHARE = 0.012;
const PART_TYPES: readonly number[] = [
  MESSAGE_WRITE_PART,
  MESSAGE_READ_PART,
  MESSAGE_CALL_PART,
  MESSAGE_CALL_PULL,
  MESSAGE_STAGE_PART,
  MESSAGE_READ_ACCEPTED,
];
/** More than a replica keeps values that nobody goes on with (IDLE_MS_MAX of reassemblies.ts, call-parts-memory.ts). */
const FORGOTTEN_MS = 10_000;

export interface PartFaultOptions {
  readonly crash: (replica: SimulatedReplica) => void;
  /** The first client goes, in order or not. */
  readonly killClient: () => void;
  readonly crashing: readonly number[];
  readonly newcomers: boolean;
}

/** What goes wrong while a large value is on its way: aimed, since it takes a millisecond and would seldom be met. */
export class PartFaults {
  readonly #cluster: SimulatedCluster;
  readonly #dice: Dice;
  readonly #options: PartFaultOptions;
  #isClientGone = false;

  constructor(cluster: SimulatedCluster, dice: Dice, options: PartFaultOptions) {
    this.#cluster = cluster;
    this.#dice = dice;
    this.#options = options;
  }

  begin(): void {
    this.#cluster.observer.onPassing = (from, to, messages) => {
      if (!messages.some(({ type }) => PART_TYPES.includes(type))) return;
      // Not while the sender is in the middle of its turn.
      if (this.#dice.chance(FAULT_SHARE)) this.#cluster.time.after(0, () => this.#happen(from, to, messages));
    };
  }

  end(): void {
    this.#cluster.observer.onPassing = () => {};
  }

  #happen(from: Address, to: Address, messages: readonly Message[]): void {
    const { replicas, clients, observer } = this.#cluster;
    const { faults } = observer.coverage;
    const replica = replicas.find(({ process }) => nameOf(process) === nameOf(to));
    const client = clients.find(({ process }) => process === from);
    if (replica === undefined || !replica.process.isAlive || client === undefined) return;
    const { crashing, newcomers, crash, killClient } = this.#options;
    const isLeaving = newcomers && !this.#isClientGone && client === clients[0];
    // What few runs have comes first.
    if (isLeaving && this.#dice.chance(0.5)) {
      this.#isClientGone = true;
      faults.add('client goes in the middle of a transfer');
      killClient();
    } else if (crashing.includes(replica.index) && this.#dice.chance(0.6)) {
      faults.add('replica crashes in the middle of a transfer');
      crash(replica);
    } else if (this.#dice.chance(0.5)) {
      const session = client.process.isAlive ? client.node.links[replica.index]!.session : undefined;
      if (session === undefined) return;
      faults.add('session renewed in the middle of a transfer');
      // It is as old as its initiator says; the other end learns of it by the new handshake.
      (session as { createdMs: number }).createdMs -= RENEW_AFTER_MS;
    } else if (messages.some(({ type }) => type !== MESSAGE_READ_PART)) forgetParts(this.#cluster, replica);
  }
}

/** A replica gives up what it has of values by parts, as it does with those of which nothing has come for long. */
export function forgetParts({ observer }: SimulatedCluster, { name, node, process }: SimulatedReplica): void {
  const { partsMemory } = node.route.calls;
  if (node.replica.reassemblies.openCount > 0 || partsMemory.blockCount > 0) {
    observer.coverage.faults.add('replica forgets what it has of values');
    observer.tell(`${name} forgets what it has of values`);
  }
  node.replica.reassemblies.tick(process.nowMs + FORGOTTEN_MS);
  partsMemory.tick(process.nowMs + FORGOTTEN_MS);
}
