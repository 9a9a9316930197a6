import { describeFault, describeVictim, isNetworkFault } from './faults.ts';
import type { Direction, Fault, FaultKind, KillFault, NetworkFault, StopFault, Victim } from './faults.ts';
import { CALM } from './faulty-channel.ts';
import type { Conditions } from './faulty-channel.ts';

/** Carries out a plan: each fault at its time, and its end. What it has done to processes and links it can undo at once. */
export interface World {
  /** False: there is no such process any more. */
  signal(victim: Victim, name: NodeJS.Signals): boolean;
  /** Starts a replica again that was killed. */
  restart(replica: number, whenStarted: () => void): void;
  setConditions(replica: number, direction: Direction, conditions: Conditions): void;
}

export class FaultRunner {
  readonly #plan: readonly Fault[];
  readonly #world: World;
  readonly #tell: (text: string) => void;
  readonly #timers = new Set<NodeJS.Timeout>();
  /** Episodes of the network that last. */
  readonly #episodes = new Set<NetworkFault>();
  /** Processes that are stopped, by name, and the stops that hold them. */
  readonly #stops = new Map<string, { readonly victim: Victim; readonly faults: Set<StopFault> }>();
  readonly #dead = new Set<number>();
  #whenOver: () => void = () => {};
  #ended = false;
  /** Faults that took place. */
  readonly counts: Partial<Record<FaultKind, number>> = {};

  constructor(plan: readonly Fault[], world: World, tell: (text: string) => void) {
    this.#plan = plan;
    this.#world = world;
    this.#tell = tell;
  }

  /** Resolves when the last fault is over, or after end(). */
  async run(): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#whenOver = resolve;
      if (this.#ended) return resolve();
      for (const fault of this.#plan) this.#at(fault.atMs, () => this.#begin(fault));
      if (this.#timers.size === 0) resolve();
    });
  }

  /** Ends all that lasts: what was stopped goes on, links are calm. Nothing more happens. The dead stay dead. */
  end(): void {
    this.#ended = true;
    for (const timer of this.#timers) clearTimeout(timer);
    this.#timers.clear();
    for (const { victim } of this.#stops.values()) this.#world.signal(victim, 'SIGCONT');
    this.#stops.clear();
    const calmed = [...this.#episodes];
    this.#episodes.clear();
    for (const fault of calmed) this.#applyConditions(fault);
    this.#whenOver();
  }

  #at(delayMs: number, work: () => void): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      work();
      if (this.#timers.size === 0) this.#whenOver();
    }, delayMs);
    this.#timers.add(timer);
  }

  #begin(fault: Fault): void {
    const done = isNetworkFault(fault)
      ? this.#impair(fault)
      : fault.kind === 'stop'
        ? this.#stop(fault)
        : this.#kill(fault);
    if (done === undefined) return;
    this.counts[fault.kind] = (this.counts[fault.kind] ?? 0) + 1;
    this.#tell(describeFault(done));
  }

  #impair(fault: NetworkFault): Fault {
    this.#episodes.add(fault);
    this.#applyConditions(fault);
    this.#at(fault.untilMs - fault.atMs, () => {
      this.#episodes.delete(fault);
      this.#applyConditions(fault);
    });
    return fault;
  }

  #applyConditions({ replica, directions }: NetworkFault): void {
    for (const direction of directions) {
      const episodes = [...this.#episodes].filter(
        (episode) => episode.replica === replica && episode.directions.includes(direction),
      );
      this.#world.setConditions(replica, direction, conditionsOf(episodes));
    }
  }

  /** What it did: some of those that were to be stopped may be dead. */
  #stop(fault: StopFault): Fault | undefined {
    const victims = fault.victims.filter((victim) => this.#hold(victim, fault));
    if (victims.length === 0) return undefined;
    this.#at(fault.untilMs - fault.atMs, () => {
      for (const victim of victims) this.#release(victim, fault);
    });
    return { ...fault, victims };
  }

  #hold(victim: Victim, fault: StopFault): boolean {
    if (victim.role === 'replica' && this.#dead.has(victim.index)) return false;
    if (!this.#world.signal(victim, 'SIGSTOP')) return false;
    const name = describeVictim(victim);
    const stops = this.#stops.get(name) ?? { victim, faults: new Set() };
    this.#stops.set(name, stops);
    stops.faults.add(fault);
    return true;
  }

  /** Whoever was killed meanwhile is held by no stop any more. */
  #release(victim: Victim, fault: StopFault): void {
    const name = describeVictim(victim);
    const stops = this.#stops.get(name);
    if (stops === undefined || !stops.faults.delete(fault) || stops.faults.size > 0) return;
    this.#stops.delete(name);
    this.#world.signal(victim, 'SIGCONT');
  }

  #kill(fault: KillFault): Fault | undefined {
    const { replica, atMs, restartAtMs } = fault;
    const victim: Victim = { role: 'replica', index: replica };
    if (!this.#world.signal(victim, 'SIGKILL')) return undefined;
    this.#dead.add(replica);
    this.#stops.delete(describeVictim(victim));
    this.#at(restartAtMs - atMs, () => {
      this.#tell(`replica ${replica} is started again, empty`);
      this.#world.restart(replica, () => this.#dead.delete(replica));
    });
    return fault;
  }
}

/** Of several at once, each acts by itself. */
function conditionsOf(episodes: readonly NetworkFault[]): Conditions {
  const shareOf = (...kinds: readonly FaultKind[]): number =>
    1 - episodes.filter(({ kind }) => kinds.includes(kind)).reduce((rest, { share }) => rest * (1 - share), 1);
  if (episodes.length === 0) return CALM;
  return {
    loss: shareOf('loss', 'partition'),
    duplicate: shareOf('duplicate'),
    reorder: shareOf('reorder'),
    corrupt: shareOf('corrupt'),
    delayMs: episodes.reduce((sum, { delayMs }) => sum + delayMs, 0),
  };
}
