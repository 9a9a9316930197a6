import type { Tally } from './coverage.ts';
import type { Fault } from './coverage-names.ts';
import type { Dice } from './dice.ts';
import { HostTampering } from './host-tampering.ts';
import { LinkFaults } from './link-faults.ts';
import { ChangeFaults } from './change-faults.ts';
import { CALM, nameOf } from './lossy-network.ts';
import { PartFaults } from './part-faults.ts';
import type { Plan } from './plan.ts';
import type { RandomWork } from './random-work.ts';
import { describeWeather, drawWeather } from './random-weather.ts';
import { MESSAGE_CALL_REPLY } from '../../src/protocol/call-messages.ts';
import { Schedule } from './schedule.ts';
import type { SimulatedCluster, SimulatedReplica } from './simulated-cluster.ts';
import { GOOD_SERVICE } from './simulated-process.ts';
import type { SimulatedProcess } from './simulated-process.ts';
import { VALID_UNTIL_SECONDS } from './simulated-trust.ts';
import { StrangerFaults } from './stranger-faults.ts';

/** Of answers to calls, in runs that lose them. */
const REPLY_LOSS = 0.4;
const RESTART_MS_MAX = 10;
/** Nothing of it is left when operations in calm give up. */
const STUCK_MS_MAX = 5_000;
/** Of crashes, where members may run twice. */
const COPY_SHARE = 0.5;
const ROUTES_MAX = 12;
const ROUTE_MS_MAX = 10;
/** Of votes. */
const CRASH_ON_VOTE_SHARE = 0.8;
const TAMPER_INTERVAL_MS_MAX = 5;
const CLOCK_INTERVAL_MS_MAX = 60;

/** What goes wrong in a random run, as its plan says, until it is calm. */
export class RandomFaults {
  readonly #cluster: SimulatedCluster;
  readonly #plan: Plan;
  readonly #dice: Dice;
  readonly #keys: readonly string[];
  readonly #faults: Tally<Fault>;
  readonly #links: LinkFaults;
  readonly #strangers: StrangerFaults;
  readonly #parts: PartFaults | undefined;
  readonly #changes: ChangeFaults | undefined;
  readonly #changeDice: Dice;
  #calm = false;
  #restartCount = 0;
  #stuck: SimulatedProcess | undefined;

  /** @param changeDice For what goes wrong with read-modify-writes. */
  constructor(cluster: SimulatedCluster, plan: Plan, dice: Dice, work: RandomWork, changeDice: Dice) {
    this.#changeDice = changeDice;
    const { keys } = work;
    this.#cluster = cluster;
    this.#plan = plan;
    this.#dice = dice;
    this.#keys = keys;
    this.#faults = cluster.observer.coverage.faults;
    this.#links = new LinkFaults(cluster, plan, dice, keys);
    this.#strangers = new StrangerFaults(cluster, plan, dice.split(), keys);
    const options = {
      crash: (replica: SimulatedReplica) => this.#crash(replica),
      killClient: () => work.replaceClient(),
      crashing: plan.crashing,
      newcomers: plan.newcomers,
    };
    if (plan.partFaults) this.#parts = new PartFaults(cluster, dice.split(), options);
    if (plan.changeFaults && plan.changeShare > 0) this.#changes = new ChangeFaults(cluster, changeDice, options);
  }

  begin(): void {
    const { network, replicas, observer } = this.#cluster;
    const { links, crashing, crashesOnVote, splits, clockJumpMsMax, wallClockJumps, sendTrouble } = this.#plan;
    this.#changeWeather();
    if (links !== 'fine') this.#changeLinks();
    for (const member of crashing) this.#crashLater(replicas[member]!);
    if (crashesOnVote && crashing.length > 0) observer.onVoted = (name) => this.#crashOnVote(name);
    this.#tamper();
    this.#parts?.begin();
    this.#changes?.begin();
    if (clockJumpMsMax > 0) this.#jumpLater();
    if (sendTrouble && this.#dice.chance(0.5)) this.#holdSocket();
    if (wallClockJumps) this.#jumpWallClockLater();
    this.#strangers.begin((delayMsMax, happen) => this.#after(delayMsMax, happen));
    if (!splits) return;
    this.#splitLater();
    network.onSend = (from) => {
      if (!this.#calm) this.#links.interruptWriteBack(from);
    };
  }

  end(): void {
    const { network, replicas, quorum } = this.#cluster;
    this.#calm = true;
    this.#cluster.note('calm');
    network.calm();
    this.#strangers.end();
    this.#parts?.end();
    this.#changes?.end();
    for (const replica of replicas) replica.endCopy();
    for (const process of this.#processes()) {
      process.resume();
      process.clock.wallOffsetSeconds = 0;
    }
    // Without all of its members a cluster can't form: whoever is lacking must come.
    if (replicas.filter((replica) => replica.isActive).length >= quorum) return;
    for (const replica of replicas) if (!replica.process.isAlive) this.#restart(replica);
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
    const plan = this.#plan;
    const { network } = this.#cluster;
    network.weather = dice.chance(0.3) ? CALM : drawWeather(dice, plan);
    this.#cluster.observer.tell(`weather: ${describeWeather(network.weather)}`);
    if (plan.schedule !== 'even' || plan.changeSchedule !== 'even') {
      network.schedule =
        plan.schedule === 'even' ? new Schedule() : Schedule.draw(dice, this.#processes().map(nameOf), plan.schedule);
      if (plan.losesReplies) network.schedule.lose(MESSAGE_CALL_REPLY, REPLY_LOSS);
      const { replicas, clients } = this.#cluster;
      const [members, others] = [replicas, clients].map((nodes) => nodes.map(({ process }) => nameOf(process)));
      network.schedule.disturbChanges(this.#changeDice, plan.changeSchedule, members!, others!);
      this.#cluster.observer.tell(`schedule: ${network.schedule.describe()}`);
    }
    if (plan.pauses && dice.chance(0.5)) this.#pause(dice.pick(this.#processes()));
    if (plan.slowNodes || plan.sendTrouble) this.#changeService(dice.pick(this.#processes()));
    this.#after(2 * plan.weatherMs, () => this.#changeWeather());
  }

  #changeLinks(): void {
    this.#links.change();
    this.#after(2 * this.#plan.linksMs, () => this.#changeLinks());
  }

  #splitLater(): void {
    this.#after(this.#links.splitWrites(), () => this.#splitLater());
  }

  // -- processes --------------------------------------------------------------------------------------------------

  #pause(process: SimulatedProcess): void {
    const durationMs = this.#dice.between(1, this.#dice.pick([10, 100]));
    this.#faults.add('pause');
    this.#cluster.observer.tell(`${nameOf(process)} is paused for ${durationMs.toFixed(1)} ms`);
    process.pause(durationMs);
  }

  /** One socket is stuck all the time: what is to be sent through it waits. */
  #holdSocket(): void {
    const { process } = this.#dice.pick(this.#cluster.replicas);
    this.#stuck = process;
    this.#faults.add('sending takes long');
    process.service = { ...GOOD_SERVICE, sendingMsMax: STUCK_MS_MAX };
  }

  #changeService(process: SimulatedProcess): void {
    const dice = this.#dice;
    if (process === this.#stuck) return;
    if (dice.chance(0.5)) {
      process.service = GOOD_SERVICE;
      return;
    }
    const { slowNodes, sendTrouble } = this.#plan;
    const isSlow = slowNodes && dice.chance(0.5);
    const sendingMsMax = sendTrouble ? dice.pick([GOOD_SERVICE.sendingMsMax, 20, 500]) : GOOD_SERVICE.sendingMsMax;
    if (isSlow) this.#faults.add('slow for a while');
    if (sendingMsMax > GOOD_SERVICE.sendingMsMax) this.#faults.add('sending takes long');
    process.service = {
      turnDelayMsMax: isSlow ? dice.pick([2, 20]) : GOOD_SERVICE.turnDelayMsMax,
      sendingMsMax,
      sendFailures: sendTrouble ? dice.pick([0, 0.05, 0.5]) : 0,
    };
  }

  #jumpLater(): void {
    this.#after(CLOCK_INTERVAL_MS_MAX, () => {
      const dice = this.#dice;
      const process = dice.pick(this.#processes());
      if (dice.chance(0.3)) {
        this.#faults.add('clock drifts');
        process.clock.drift(dice);
      } else {
        const forwardMs = dice.between(0, this.#plan.clockJumpMsMax);
        this.#faults.add('clock jumps forward');
        this.#cluster.observer.tell(`${nameOf(process)}: clock jumps ${forwardMs.toFixed(0)} ms`);
        process.clock.jump(forwardMs);
      }
      this.#jumpLater();
    });
  }

  #jumpWallClockLater(): void {
    this.#after(CLOCK_INTERVAL_MS_MAX, () => {
      const dice = this.#dice;
      this.#faults.add('wall clock jumps');
      dice.pick(this.#processes()).clock.wallOffsetSeconds = dice.between(-1, 2) * VALID_UNTIL_SECONDS;
      this.#jumpWallClockLater();
    });
  }

  #crashLater(replica: SimulatedReplica): void {
    this.#after(this.#plan.crashMsMax, () => {
      if (replica.process.isAlive) this.#crash(replica);
      if (replica.process.isAlive || this.#restartCount <= this.#plan.restartsMax) this.#crashLater(replica);
    });
  }

  /** For good, when it has come back often enough. */
  #crash(replica: SimulatedReplica): void {
    const { copies, restartsMax } = this.#plan;
    if (copies && this.#restartCount < restartsMax && this.#dice.chance(COPY_SHARE)) return this.#copy(replica);
    this.#faults.add('crash');
    replica.crash();
    if (this.#restartCount++ >= restartsMax) return;
    this.#after(RESTART_MS_MAX, () => this.#restart(replica));
  }

  /** A host that runs two processes with the same keys, and sends datagrams now to the one, now to the other. */
  #copy(replica: SimulatedReplica): void {
    this.#restartCount++;
    this.#faults.add('two processes of one member');
    replica.startCopy();
    this.#routeLater(replica, this.#dice.integer(0, ROUTES_MAX));
  }

  #routeLater(replica: SimulatedReplica, leftCount: number): void {
    this.#after(ROUTE_MS_MAX, () => {
      if (leftCount === 0) return replica.endCopy();
      replica.routeTo(this.#dice.pick(['first', 'second']));
      this.#routeLater(replica, leftCount - 1);
    });
  }

  /** Somebody has voted for a set whose member goes before it votes: that vote comes to nothing. */
  #crashOnVote(voterName: string): void {
    const replica = this.#cluster.replicas[this.#dice.pick(this.#plan.crashing)]!;
    if (replica.name === voterName || replica.state !== 'forming' || !this.#dice.chance(CRASH_ON_VOTE_SHARE)) return;
    this.#after(0, () => {
      if (replica.process.isAlive) this.#crash(replica);
    });
  }

  #restart(replica: SimulatedReplica): void {
    this.#faults.add('restart with nothing in memory');
    replica.restart();
  }

  // -- host memory ------------------------------------------------------------------------------------------------

  #tamper(): void {
    const { replicas, observer } = this.#cluster;
    const hosts = new Map(
      this.#plan.tampering.map((member) => {
        const replica = replicas[member]!;
        return [replica.name, new HostTampering(replica, this.#keys, this.#dice, observer)];
      }),
    );
    for (const host of hosts.values()) this.#tamperLater(host);
    observer.onReceived = (name, messages) => {
      if (!this.#calm) hosts.get(name)?.onReceived(messages);
    };
  }

  #tamperLater(host: HostTampering): void {
    host.tamperAny();
    this.#after(TAMPER_INTERVAL_MS_MAX, () => this.#tamperLater(host));
  }
}
