import type { SecurityMode } from '../../net/mode.ts';
import type { Dice } from './dice.ts';
import type { Weather } from './lossy-network.ts';

/**
 * What a random run is made of. Each seed draws which faults there are at all and how strong they are (swarm testing,
 * Groce et al. 2012). Even dice seldom make the schedules that matter, so there are biases towards some of them.
 */
export interface Plan {
  readonly mode: SecurityMode;
  readonly memberCount: number;
  readonly keyCount: number;
  readonly clientCount: number;
  /** Operations of each client: in all, and at once. */
  readonly operationCount: number;
  readonly outstanding: number;
  readonly thinkMsMax: number;
  /** By client. */
  readonly getShares: readonly number[];
  readonly deleteShare: number;
  readonly cancelShare: number;
  /** Deadlines of a few milliseconds: writes are left half done. */
  readonly hasteShare: number;
  readonly valueBytesMax: number;
  /** The faults begin when the cluster has formed and all are connected. */
  readonly startsCalm: boolean;
  readonly weatherMs: number;
  /** Links are fine; or some are cut or slow; or no client reaches a minority. Others each time. */
  readonly links: 'fine' | 'bad' | 'minority';
  readonly linksMs: number;
  /** Writes that have reached some replicas, and write-backs, are kept from the others for a while. */
  readonly splits: boolean;
  readonly pauses: boolean;
  /** Members that crash, at most f, and how often one comes back. */
  readonly crashing: readonly number[];
  readonly crashMsMax: number;
  readonly restartsMax: number;
  /** The member whose host tampers with its memory; -1 for none. */
  readonly tampering: number;
  /** Their cryptography finishes late and out of order. */
  readonly slowProcesses: ReadonlySet<string>;
  readonly newcomers: boolean;
}

/** At once, and one that comes later. */
export const CLIENTS_MAX = 5;
const VALUE_BYTES_MAX = 1_000;

const MEMBERS_MAX = 5;
const PROCESSES = [
  ...Array.from({ length: MEMBERS_MAX }, (_, i) => `replica ${i}`),
  ...Array.from({ length: CLIENTS_MAX }, (_, i) => `client ${i}`),
];

/** What a bias lays down, whatever the dice said. */
const QUIET = {
  mode: 'secure',
  memberCount: 3,
  startsCalm: true,
  pauses: false,
  crashing: [],
  tampering: -1,
  slowProcesses: new Set<string>(),
  newcomers: false,
} satisfies Partial<Plan>;

const BIASES = {
  none: () => ({}),
  /** Many readers while a write has reached some replicas only. */
  'half writes': () => ({ ...QUIET, keyCount: 1, links: 'fine', splits: true, thinkMsMax: 0, deleteShare: 0 }),
  /** On many keys what a replica lacks stays lacking, on few it is soon noticed. */
  restarts: (dice: Dice) => ({
    ...QUIET,
    keyCount: 12,
    links: 'minority',
    splits: false,
    outstanding: 2,
    thinkMsMax: 12,
    hasteShare: 0,
    crashing: [dice.integer(0, 2)],
    crashMsMax: 300,
    restartsMax: 4,
  }),
  tampering: (dice: Dice) => ({
    ...QUIET,
    keyCount: dice.integer(2, 4),
    links: 'minority',
    splits: false,
    tampering: dice.integer(0, 2),
  }),
  /** Cryptography that finishes late and out of order, in every process. */
  'late crypto': () => ({ ...QUIET, slowProcesses: new Set(PROCESSES) }),
  /** Answers come when their operation's place has been taken by another one. */
  'late answers': () => ({ ...QUIET, keyCount: 3, links: 'bad', outstanding: 2, thinkMsMax: 0, hasteShare: 0.3 }),
} satisfies Record<string, (dice: Dice) => Partial<Plan>>;

export type Bias = keyof typeof BIASES;
export const biases = Object.keys(BIASES) as Bias[];

export function drawPlan(dice: Dice, bias: Bias): Plan {
  return { ...drawAny(dice), ...BIASES[bias](dice) };
}

function drawAny(dice: Dice): Plan {
  const mode = dice.pick<SecurityMode>(['secure', 'secure', 'secure', 'secure', 'authenticated', 'plaintext']);
  const memberCount = dice.chance(0.85) ? 3 : MEMBERS_MAX;
  const faultsMax = (memberCount - 1) / 2;
  const members = Array.from({ length: memberCount }, (_, i) => i);
  const isCryptoSlow = dice.chance(0.25);
  // Histories with deletes are harder to judge: fewer at once.
  const deleteShare = dice.pick([0, 0, 0.1]);
  return {
    mode,
    memberCount,
    keyCount: dice.pick([1, 2, 6]),
    clientCount: dice.integer(2, CLIENTS_MAX - 1),
    operationCount: dice.integer(40, 100),
    outstanding: deleteShare > 0 ? 2 : dice.pick([1, 3, 6]),
    thinkMsMax: dice.pick([0, 1, 4]),
    getShares: Array.from({ length: CLIENTS_MAX }, () => dice.pick([0.3, 0.6, 0.9])),
    deleteShare,
    cancelShare: dice.pick([0, 0, 0.1]),
    hasteShare: dice.pick([0, 0, 0.3]),
    valueBytesMax: dice.pick([8, 100, VALUE_BYTES_MAX]),
    startsCalm: dice.chance(0.9),
    weatherMs: dice.pick([4, 15, 50]),
    links: dice.pick(['fine', 'bad', 'minority', 'minority']),
    linksMs: dice.pick([2, 5, 15]),
    splits: dice.chance(0.6),
    pauses: dice.chance(0.4),
    crashing: dice.chance(0.5) ? dice.shuffled(members).slice(0, faultsMax) : [],
    crashMsMax: 200,
    restartsMax: dice.pick([0, 2, 4]),
    // In plaintext nobody could notice.
    tampering: mode !== 'plaintext' && dice.chance(0.4) ? dice.pick(members) : -1,
    slowProcesses: new Set(isCryptoSlow ? PROCESSES.filter(() => dice.chance(0.5)) : []),
    newcomers: dice.chance(0.3),
  };
}

/** Mostly mild: where nothing gets through nothing happens. */
export function drawWeather(dice: Dice, mode: SecurityMode): Weather {
  const isHeavy = dice.chance(0.15);
  const isProtected = mode !== 'plaintext';
  return {
    loss: isHeavy ? 0.3 : dice.pick([0, 0.02, 0.1]),
    duplicate: isHeavy ? 0.3 : dice.pick([0, 0.05]),
    corrupt: isProtected ? dice.pick([0, 0.02]) : 0,
    replay: isHeavy ? 0.2 : dice.pick([0, 0.02]),
    forge: isProtected ? dice.pick([0, 0.02]) : 0,
    delayMsMin: 0.02,
    delayMsMax: dice.pick([0.1, 0.3, 2]),
    late: isHeavy ? 0.3 : dice.pick([0, 0.05]),
    lateMsMax: dice.pick([2, 10, 100]),
    outage: isHeavy ? 0.2 : dice.pick([0, 0.05, 0.1]),
    outageMsMax: dice.pick([2, 10]),
  };
}
