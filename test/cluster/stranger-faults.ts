import { SECURITY_MODES } from '../../net/mode.ts';
import { KIND_HINT, OFFSET_KIND } from '../../net/wire.ts';
import type { Dice } from './dice.ts';
import { HandshakeFlood } from './handshake-flood.ts';
import { sendHostileMessage } from './hostile-client.ts';
import type { Address } from './lossy-network.ts';
import { OddClient } from './odd-client.ts';
import { Overstepper } from './overstepping.ts';
import type { Plan } from './plan.ts';
import type { SimulatedCluster } from './simulated-cluster.ts';
import type { SimulatedProcess } from './simulated-process.ts';
import { seededBytes } from '../workers/random.ts';

/** So long they try; a refused handshake is begun again after HANDSHAKE_RETRY_MS_MIN. */
const STRANGER_MS_MAX = 400;
const HOSTILE_INTERVAL_MS_MAX = 3;
/** More than a process's queue holds (RECEIVE_SLOTS) and far fewer bytes than its socket's; and the other way round. */
const GARBAGE = [
  { count: 1_200, bytes: 24 },
  { count: 120, bytes: 1_200 },
] as const;
const GARBAGE_INTERVAL_MS_MAX = 200;
const OTHER_CLUSTER = seededBytes(16, 4_000);
const PORT_FIRST = 5_000;

/** Who should not be here: clients that are set up wrongly, hostile ones with a valid key, floods. */
export class StrangerFaults {
  readonly #cluster: SimulatedCluster;
  readonly #plan: Plan;
  readonly #dice: Dice;
  readonly #keys: readonly string[];
  readonly #clients: OddClient[] = [];
  #nextPort = PORT_FIRST;

  /** @param keys That are judged. */
  constructor(cluster: SimulatedCluster, plan: Plan, dice: Dice, keys: readonly string[]) {
    this.#keys = keys;
    this.#cluster = cluster;
    this.#plan = plan;
    this.#dice = dice;
  }

  /** @param after Calls back after a random while, unless it is calm by then. */
  begin(after: (delayMsMax: number, happen: () => void) => void): void {
    const { hostile, strangers, handshakeFlood, garbageFloods } = this.#plan;
    const { faults } = this.#cluster.observer.coverage;
    if (hostile) {
      for (const party of ['client', 'reader', 'writer'] as const) {
        if (party !== 'client' && this.#dice.chance(0.5)) continue;
        this.#keepHostile(this.#add(`hostile ${party}`, { party }), after);
      }
      const overstepper = new Overstepper(this.#cluster, this.#nextPort++);
      this.#clients.push(overstepper.client);
      this.#keepOverstepping(overstepper, after);
    }
    if (strangers) after(STRANGER_MS_MAX / 2, () => this.#addStranger());
    if (strangers) after(STRANGER_MS_MAX / 2, () => this.#addStranger());
    if (handshakeFlood) {
      faults.add('handshake flood');
      // It ends by itself, and is over before anybody has to connect in calm.
      after(1, () => void new HandshakeFlood(this.#cluster, this.#dice.integer(0, this.#cluster.memberCount - 1)));
    }
    if (garbageFloods) this.#floodLater(after);
  }

  end(): void {
    for (const client of this.#clients) if (client.process.isAlive) client.leave();
  }

  #add(name: string, oddity: ConstructorParameters<typeof OddClient>[3]): OddClient {
    const client = new OddClient(this.#cluster, name, this.#nextPort++, oddity);
    this.#clients.push(client);
    return client;
  }

  #keepHostile(client: OddClient, after: (delayMsMax: number, happen: () => void) => void): void {
    after(HOSTILE_INTERVAL_MS_MAX, () => {
      const member = this.#dice.integer(0, this.#cluster.memberCount - 1);
      if (client.links[member]!.session !== undefined) {
        this.#cluster.observer.coverage.faults.add('authenticated and hostile');
        sendHostileMessage(client, member);
      }
      this.#keepHostile(client, after);
    });
  }

  #keepOverstepping(overstepper: Overstepper, after: (delayMsMax: number, happen: () => void) => void): void {
    after(HOSTILE_INTERVAL_MS_MAX, () => {
      const member = this.#dice.integer(0, this.#cluster.memberCount - 1);
      if (overstepper.client.links[member]!.session !== undefined) {
        this.#cluster.observer.coverage.faults.add('client oversteps its grants');
        overstepper.send(member, this.#dice.pick(this.#keys));
      }
      this.#keepOverstepping(overstepper, after);
    });
  }

  #addStranger(): void {
    const { mode, observer } = this.#cluster;
    const { faults } = observer.coverage;
    switch (this.#dice.integer(0, 3)) {
      case 0:
        faults.add('unknown static key');
        this.#add('stranger', { party: 'stranger' });
        return;
      case 1:
        faults.add('another cluster');
        this.#add('client of another cluster', { clusterId: OTHER_CLUSTER });
        return;
      case 2:
        faults.add('wrong static key of the member');
        this.#add('client that mistakes members', { mistakesMembers: true });
        return;
      default: {
        faults.add('another mode');
        const other = SECURITY_MODES.filter((known) => known !== mode);
        this.#add('client of another mode', { mode: this.#dice.pick(other) });
      }
    }
  }

  /** Garbage, faster than any process takes it. */
  #floodLater(after: (delayMsMax: number, happen: () => void) => void): void {
    after(GARBAGE_INTERVAL_MS_MAX, () => {
      const { replicas, clients, observer } = this.#cluster;
      const victim: SimulatedProcess = this.#dice.pick([...replicas, ...clients]).process;
      const from: Address = this.#dice.pick(replicas).process;
      const { count, bytes } = this.#dice.pick(GARBAGE);
      observer.coverage.faults.add('flood of garbage');
      observer.tell(`${count} datagrams of garbage, ${bytes} B each, to ${victim.host}:${victim.port}`);
      for (let i = 0; i < count && victim.isAlive; i++) {
        const datagram = new Uint8Array(bytes);
        datagram[OFFSET_KIND] = KIND_HINT;
        victim.onArrival(datagram, from.host, from.port);
      }
      this.#floodLater(after);
    });
  }
}
