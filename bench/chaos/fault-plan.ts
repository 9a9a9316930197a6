import { Random } from '../random.ts';
import type {
  Direction,
  Fault,
  FaultKind,
  KillFault,
  NetworkFault,
  NetworkFaultKind,
  StopFault,
  Victim,
} from './faults.ts';

/**
 * What happens to whom and when, all of it drawn from the seed before the run begins. Kinds come from a shuffled bag,
 * so that each has had its turn before any comes again; their episodes overlap.
 */
export interface PlanOptions {
  readonly seed: number;
  readonly kinds: readonly FaultKind[];
  /** All faults have ended by then. */
  readonly durationMs: number;
  readonly replicas: number;
  /** Load processes. */
  readonly loadProcesses: number;
}

/** Episodes begin so often on average, from half of it to half more: two or three last at once. */
export const EPISODE_INTERVAL_MS = 400;
/** From less than a retransmission doubled a few times to more than an operation's deadline. */
export const EPISODE_MS = { min: 300, max: 1_500 };
/** Of the faults' duration: with load before and after it. */
const KILL_AT = { min: 0.2, max: 0.7 };
/** A service manager takes about so long. */
export const RESTART_AFTER_MS = { min: 300, max: 1_500 };

/** Shares of datagrams, from what a bad network does to what almost stops a link. */
export const SHARES: Readonly<Record<NetworkFaultKind, { readonly min: number; readonly max: number }>> = {
  partition: { min: 1, max: 1 },
  loss: { min: 0.1, max: 0.5 },
  duplicate: { min: 0.1, max: 0.5 },
  reorder: { min: 0.1, max: 0.5 },
  delay: { min: 1, max: 1 },
  corrupt: { min: 0.05, max: 0.3 },
};
/** From beyond a round trip on loopback to beyond one around the earth's half. */
export const DELAY_MS = { min: 2, max: 100 };

/** The generator that the load processes draw from has the same seed; theirs are streams 0 and up. */
const PLAN_STREAM = 0x7fff_ffff;

/** In the order in which they begin. */
export function planFaults(options: PlanOptions): Fault[] {
  const draw = new Draw(new Random(options.seed, PLAN_STREAM));
  const faults: Fault[] = options.kinds.includes('kill') ? planKills(options, draw) : [];
  const episodeKinds = options.kinds.filter((kind) => kind !== 'kill');
  if (episodeKinds.length > 0) {
    // A short run still has each kind once.
    const intervalMs = Math.min(EPISODE_INTERVAL_MS, options.durationMs / (episodeKinds.length + 2));
    let bag: (typeof episodeKinds)[number][] = [];
    let atMs = draw.between(0, intervalMs);
    while (atMs < options.durationMs - intervalMs / 2) {
      if (bag.length === 0) bag = draw.shuffled(episodeKinds);
      const kind = bag.pop()!;
      const untilMs = Math.min(atMs + draw.between(EPISODE_MS.min, EPISODE_MS.max), options.durationMs);
      const episode = { atMs, untilMs };
      faults.push(kind === 'stop' ? planStop(options, draw, episode) : planNetworkFault(options, draw, kind, episode));
      atMs += draw.between(intervalMs / 2, intervalMs * 1.5);
    }
  }
  return faults.toSorted((a, b) => a.atMs - b.atMs);
}

/** f of 2f+1: the replicas that are started again are empty, and stay outside. */
function planKills(options: PlanOptions, draw: Draw): KillFault[] {
  const { durationMs, replicas } = options;
  const f = Math.floor((replicas - 1) / 2);
  return draw
    .shuffled(indexes(replicas))
    .slice(0, f)
    .map((replica) => {
      const atMs = draw.between(KILL_AT.min, KILL_AT.max) * durationMs;
      const restartAfterMs = draw.between(RESTART_AFTER_MS.min, RESTART_AFTER_MS.max);
      return { kind: 'kill', atMs, replica, restartAtMs: Math.min(atMs + restartAfterMs, durationMs) };
    });
}

/** Mostly one replica; often a load process, or so many replicas that no quorum is left: stopped is not dead. */
function planStop(options: PlanOptions, draw: Draw, episode: { atMs: number; untilMs: number }): StopFault {
  const choice = draw.between(0, 1);
  const victims: Victim[] = [];
  if (choice < 0.25) {
    victims.push({ role: 'client', index: draw.index(options.loadProcesses) });
  } else {
    const quorum = Math.floor(options.replicas / 2) + 1;
    const count = choice < 0.5 ? quorum : 1;
    const replicas = draw.shuffled(indexes(options.replicas)).slice(0, count);
    for (const index of replicas) victims.push({ role: 'replica', index });
  }
  return { kind: 'stop', ...episode, victims };
}

function planNetworkFault(
  options: PlanOptions,
  draw: Draw,
  kind: NetworkFaultKind,
  episode: { atMs: number; untilMs: number },
): NetworkFault {
  const ways: readonly (readonly Direction[])[] = [['in'], ['out'], ['in', 'out']];
  const { min, max } = SHARES[kind];
  const delayMs = Math.round(draw.between(DELAY_MS.min, DELAY_MS.max));
  return {
    kind,
    ...episode,
    replica: draw.index(options.replicas),
    directions: ways[draw.index(ways.length)]!,
    share: draw.between(min, max),
    delayMs: kind === 'delay' ? delayMs : 0,
  };
}

function indexes(count: number): number[] {
  return Array.from({ length: count }, (_, index) => index);
}

class Draw {
  readonly #random: Random;

  constructor(random: Random) {
    this.#random = random;
  }

  between(min: number, max: number): number {
    return min + this.#random.nextDouble() * (max - min);
  }

  index(count: number): number {
    return Math.floor(this.#random.nextDouble() * count);
  }

  /** Fisher and Yates. */
  shuffled<T>(items: readonly T[]): T[] {
    const result = [...items];
    for (let i = result.length - 1; i > 0; i--) {
      const j = this.index(i + 1);
      [result[i], result[j]] = [result[j]!, result[i]!];
    }
    return result;
  }
}
