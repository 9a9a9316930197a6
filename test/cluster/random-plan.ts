import { DATAGRAM_BYTES_ETHERNET, DATAGRAM_BYTES_MIN } from '../../net/limits.ts';
import type { Dice } from './dice.ts';
import { Dice as SeededDice } from './dice.ts';
import type { Plan } from './plan.ts';
import { IDLE_MS, PROCESSES, SESSION_LIFE_MS, drawChanges, drawPlan, drawRoutes } from './plan.ts';

/** Biases of random runs: each lays some of the plan down, whatever the dice said, so that rare schedules come often. */

/** Nothing but the work and what a bias adds. */
const QUIET = {
  mode: 'secure',
  scanShare: 0,
  memberCount: 3,
  keyBytesMax: 5,
  oddLengths: false,
  sameLength: false,
  burstShare: 0,
  tinyCapacity: 0,
  hasReader: false,
  smallDatagrams: false,
  largeShare: 0,
  mixedDatagrams: false,
  routes: [],
  startsCalm: true,
  clogs: false,
  schedule: 'even',
  pauses: false,
  slowNodes: false,
  sendTrouble: false,
  partFaults: false,
  clockJumpMsMax: 0,
  wallClockJumps: false,
  idleMs: 0,
  crashing: [],
  tampering: [],
  memory: 'ample',
  littleMemory: [],
  slowProcesses: new Set<string>(),
  newcomers: false,
  totalLoss: false,
  hostile: false,
  strangers: false,
  handshakeFlood: false,
  garbageFloods: false,
} satisfies Partial<Plan>;

/** Read-modify-writes mixed with plain operations, with nothing else to do. */
const CHANGES = {
  changeShare: 0.6,
  changeFaults: true,
  changeSchedule: 'even' as Plan['changeSchedule'],
  deleteShare: 0,
  thinkMsMax: 0,
  hasteShare: 0,
  cancelShare: 0,
  operationCount: 40,
  memory: 'ample',
} satisfies Partial<Plan>;

/**
 * Many keys, each of them seldom written, of which a member lacks some for long: what it does not have shows in scans only.
 * Keys are deleted, too; pages are short.
 */
function scansBias(dice: Dice) {
  return {
    ...QUIET,
    keyCount: dice.pick([2, 6, 12, 20]),
    keyBytesMax: dice.pick([5, 5, 1_024]),
    scanShare: 0.5,
    deleteShare: dice.pick([0.2, 0.5]),
    getShares: [0.1, 0.1, 0.1, 0.1, 0.1],
    outstanding: dice.pick([2, 5]),
    thinkMsMax: dice.pick([0, 1, 4]),
    hasteShare: dice.pick([0, 0.4]),
    cancelShare: 0,
    valueBytesMax: dice.pick([8, 500]),
    splits: dice.chance(0.7),
    links: dice.pick(['fine', 'minority', 'minority', 'partitions'] as const),
    crashing: dice.chance(0.2) ? [dice.integer(0, 2)] : [],
    tampering: dice.chance(0.15) ? [dice.integer(0, 2)] : [],
  };
}

const BIASES = {
  none: (dice: Dice) => ({ scanShare: dice.pick([0, 0, 0.15]) }),
  /** Many readers while a write has reached some replicas only. */
  'half writes': () => ({
    ...QUIET,
    keyCount: 1,
    links: 'fine',
    splits: true,
    thinkMsMax: 0,
    deleteShare: 0,
  }),
  /** The same, and one of the readers may not write: replicas finish what it reads. */
  readers: (dice: Dice) => ({
    ...QUIET,
    changeShare: 0,
    keyCount: 1,
    clientCount: 4,
    links: dice.pick(['fine', 'fine', 'minority'] as const),
    splits: true,
    thinkMsMax: 0,
    deleteShare: dice.pick([0, 0, 0.1]),
    outstanding: dice.pick([2, 4]),
    hasReader: true,
    getShares: [0.3, 1, 0.9, 0.9, 0.9],
    burstShare: dice.pick([0, 0.1, 0.2]),
    largeShare: dice.pick([0, 0, 0.3]),
    crashing: dice.chance(0.2) ? [dice.integer(0, 2)] : [],
    scanShare: dice.pick([0, 0.1]),
  }),
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
    copies: dice.chance(0.3),
  }),
  tampering: (dice: Dice) => ({
    ...QUIET,
    keyCount: dice.integer(2, 4),
    sameLength: dice.chance(0.5),
    links: 'minority',
    splits: false,
    tampering: [dice.integer(0, 2)],
  }),
  /** Cryptography that finishes late and out of order, in every process. */
  'late crypto': () => ({ ...QUIET, slowProcesses: new Set(PROCESSES) }),
  /** Answers come when their operation's place has been taken by another one. */
  'late answers': () => ({ ...QUIET, keyCount: 3, links: 'bad', outstanding: 2, thinkMsMax: 0, hasteShare: 0.3 }),
  /** The same senders, receivers and kinds of messages are slow or lost for a while; links clog. */
  schedules: (dice: Dice) => ({
    ...QUIET,
    memberCount: dice.pick([3, 3, 5]),
    keyCount: dice.integer(1, 2),
    schedule: 'strong',
    clogs: true,
    thinkMsMax: 0,
  }),
  /** Everybody who does not belong here. */
  hostile: (dice: Dice) => ({
    ...QUIET,
    routes: drawRoutes(dice, dice.pick([0, 0.5])),
    hostile: true,
    scanShare: 0.1,
    strangers: true,
    handshakeFlood: dice.chance(0.25),
    crashing: dice.chance(0.6) ? [dice.integer(0, 2)] : [],
    hasReader: dice.chance(0.5),
    restartsMax: 4,

    garbageFloods: true,
  }),
  /** Old sessions, jumping clocks, slow machines. */
  clocks: (dice: Dice) => ({
    ...QUIET,
    routes: drawRoutes(dice, dice.pick([0, 0.5])),
    clockJumpMsMax: dice.pick([50, 5_000, SESSION_LIFE_MS, SESSION_LIFE_MS]),
    wallClockJumps: true,
    slowNodes: true,
    sendTrouble: dice.chance(0.5),
    idleMs: dice.chance(0.1) ? dice.between(...dice.pick(IDLE_MS)) : 0,
    newcomers: true,
  }),
  /** Members crash and come back while the cluster forms. */
  formation: (dice: Dice) => ({
    ...QUIET,
    memberCount: dice.pick([3, 3, 5]),
    startsCalm: false,
    links: dice.pick(['fine', 'bad', 'partitions'] as const),
    crashing: [dice.integer(0, 2)],
    crashMsMax: dice.pick([3, 10]),
    restartsMax: 4,
    crashesOnVote: true,
    copies: dice.chance(0.5),
    operationCount: 30,
    totalLoss: dice.chance(0.3),
  }),
  /** Most clients call replicas, which crash, come back, are cut off and pause; sessions are renewed meanwhile. */
  calls: (dice: Dice) => ({
    ...QUIET,
    routes: drawRoutes(dice, 0.7),
    keyCount: dice.integer(1, 2),
    thinkMsMax: 0,
    deleteShare: 0,
    links: dice.pick(['fine', 'bad', 'minority', 'partitions'] as const),
    schedule: dice.pick(['mild', 'strong'] as const),
    losesReplies: dice.chance(0.5),
    // Of many increments of unknown outcome nobody can tell which were made.
    numberKeys: 'none' as const,
    // Values that some clients can't be sent.
    ...(dice.chance(0.3) && { oddLengths: true, mixedDatagrams: true, datagramBytes: 4_096 }),
    outstanding: 6,
    hasteShare: dice.pick([0, 0.3]),
    cancelShare: dice.pick([0, 0.1]),
    crashing: dice.chance(0.6) ? [dice.integer(0, 2)] : [],
    crashMsMax: 200,
    restartsMax: 4,
    pauses: dice.chance(0.4),
    hasReader: dice.chance(0.1),
    clockJumpMsMax: dice.chance(0.3) ? SESSION_LIFE_MS : 0,
  }),
  /** Clients and replicas at their limits. */
  limits: (dice: Dice) => ({
    ...QUIET,
    keyCount: 6,
    keyBytesMax: dice.pick([5, 1_024]),
    oddLengths: true,
    datagramBytes: DATAGRAM_BYTES_ETHERNET,
    smallDatagrams: dice.chance(0.5),
    burstShare: 0.05,
    routes: drawRoutes(dice, dice.pick([0, 0.5])),
    tinyCapacity: dice.chance(0.5) ? dice.integer(1, 4) : 0,
    memory: dice.pick(['little host memory', 'little trusted memory'] as const),
    littleMemory: dice.pick([[0, 1, 2], [0, 1, 2], [dice.integer(0, 2)]]),
    sendTrouble: dice.chance(0.5),
    scanShare: dice.pick([0, 0.1]),
  }),
  /** Values that go and come by parts, and whatever can happen meanwhile. */
  'large values': (dice: Dice) => {
    const hostile = dice.chance(0.15);
    const memory = dice.chance(0.2) ? ('some host memory' as const) : ('ample' as const);
    return {
      ...QUIET,
      mode: dice.pick(['secure', 'secure', 'authenticated', 'plaintext'] as const),
      keyCount: dice.integer(1, 4),
      largeShare: dice.pick([0.3, 0.7, 1]),
      sameLength: dice.chance(0.5),
      operationCount: dice.integer(25, 40),
      outstanding: dice.pick([1, 3, 6]),
      deleteShare: 0,
      burstShare: dice.chance(0.4) ? 0.05 : 0,
      datagramBytes: dice.pick([DATAGRAM_BYTES_MIN, DATAGRAM_BYTES_ETHERNET, 4_096]),
      mixedDatagrams: dice.chance(0.5),
      links: dice.pick(['fine', 'fine', 'bad', 'minority', 'partitions'] as const),
      splits: dice.chance(0.3),
      clogs: dice.chance(0.2),
      partFaults: dice.chance(0.8),
      newcomers: dice.chance(0.7),
      crashing: dice.chance(0.6) ? [dice.integer(0, 2)] : [],
      crashMsMax: 200,
      restartsMax: 4,
      tampering: dice.chance(0.4) ? [dice.integer(0, 2)] : [],
      memory,
      littleMemory: memory === 'ample' ? [] : [0, 1, 2],
      slowProcesses: new Set(dice.chance(0.2) ? PROCESSES : []),
      hostile,
    };
  },
  /** Calls and answers that go by parts, and whatever can happen meanwhile. */
  'large calls': (dice: Dice) => ({
    ...QUIET,
    mode: dice.pick(['secure', 'secure', 'authenticated', 'plaintext'] as const),
    routes: drawRoutes(dice, 0.8),
    keyCount: dice.integer(1, 3),
    largeShare: dice.pick([0.3, 0.7, 1]),
    sameLength: dice.chance(0.5),
    numberKeys: 'none' as const,
    operationCount: dice.integer(20, 35),
    outstanding: dice.pick([1, 3, 6]),
    deleteShare: 0,
    hasteShare: dice.pick([0, 0.2]),
    cancelShare: dice.pick([0, 0.1]),
    burstShare: dice.chance(0.3) ? 0.05 : 0,
    datagramBytes: dice.pick([DATAGRAM_BYTES_MIN, DATAGRAM_BYTES_ETHERNET, 4_096]),
    mixedDatagrams: dice.chance(0.5),
    links: dice.pick(['fine', 'fine', 'bad', 'minority', 'partitions'] as const),
    schedule: dice.pick(['even', 'mild'] as const),
    losesReplies: dice.chance(0.3),
    clogs: dice.chance(0.2),
    partFaults: dice.chance(0.8),
    newcomers: dice.chance(0.5),
    crashing: dice.chance(0.6) ? [dice.integer(0, 2)] : [],
    crashMsMax: 200,
    restartsMax: 4,
    pauses: dice.chance(0.3),
    slowProcesses: new Set(dice.chance(0.2) ? PROCESSES : []),
    hostile: dice.chance(0.2),
  }),
  /** Many read-modify-writes on one key at once. */
  contention: (dice: Dice) => ({
    ...QUIET,
    ...CHANGES,
    keyCount: dice.pick([1, 1, 2]),
    clientCount: 4,
    outstanding: dice.pick([1, 3, 6]),
    schedule: dice.pick(['even', 'mild'] as const),
    changeFaults: dice.chance(0.5),
  }),
  /** Decisions that reach some replicas late, or not at all. */
  'late commits': (dice: Dice) => ({
    ...QUIET,
    ...CHANGES,
    ...fewAtOnce(dice),
    clientCount: dice.integer(3, 4),
    changeSchedule: 'late commits' as const,
  }),
  /** Compares that fail, on values that some replicas lack. */
  'failed compares': (dice: Dice) => ({
    ...QUIET,
    ...CHANGES,
    ...fewAtOnce(dice),
    keyCount: 1,
    clientCount: dice.integer(3, 4),
    numberKeys: 'none' as const,
    splits: true,
    changeSchedule: dice.pick(['lost accepts', 'late commits', 'one starved'] as const),
  }),
  /** Proposals that reach some replicas only. */
  'lost accepts': (dice: Dice) => ({
    ...QUIET,
    ...CHANGES,
    ...fewAtOnce(dice),
    changeSchedule: 'lost accepts' as const,
  }),
  /** Replicas that have accepted what they do not get to know the end of, and others that go on without them. */
  lagging: (dice: Dice) => ({
    ...QUIET,
    ...CHANGES,
    ...fewAtOnce(dice),
    keyCount: 1,
    clientCount: 4,
    operationCount: 80,
    changeShare: 0.4,
    weatherMs: dice.pick([4, 15]),
    links: dice.pick(['fine', 'minority'] as const),
    changeSchedule: 'lagging' as const,
  }),
  /** One proposer is slow: others help it, and overtake it. */
  'one starved': (dice: Dice) => ({
    ...QUIET,
    ...CHANGES,
    ...fewAtOnce(dice),
    clientCount: dice.integer(3, 4),
    changeSchedule: 'one starved' as const,
  }),
  /** Coordinators and replicas that go in the middle of read-modify-writes, and links that break just then. */
  'half changes': (dice: Dice) => ({
    ...QUIET,
    ...CHANGES,
    ...fewAtOnce(dice),
    memberCount: dice.pick([3, 3, 5]),
    changeSchedule: dice.pick(['even', 'any'] as const),
    newcomers: dice.chance(0.7),
    crashing: dice.chance(0.4) ? [dice.integer(0, 2)] : [],
    restartsMax: 2,
    hasteShare: dice.pick([0, 0.2]),
  }),
  /** Read-modify-writes of values that go and come by parts, and whatever can happen meanwhile. */
  'large changes': (dice: Dice) => {
    const memory = dice.chance(0.15) ? ('some host memory' as const) : ('ample' as const);
    return {
      ...QUIET,
      ...CHANGES,
      mode: dice.pick(['secure', 'secure', 'authenticated', 'plaintext'] as const),
      routes: drawRoutes(dice, dice.pick([0, 0, 0.3])),
      keyCount: dice.pick([1, 1, 2]),
      clientCount: dice.integer(2, 4),
      outstanding: dice.pick([1, 1, 2]),
      operationCount: dice.integer(20, 35),
      thinkMsMax: dice.pick([0, 4]),
      numberKeys: 'none' as const,
      largeShare: dice.pick([0.5, 1]),
      sameLength: dice.chance(0.6),
      datagramBytes: dice.pick([DATAGRAM_BYTES_MIN, DATAGRAM_BYTES_ETHERNET, 4_096]),
      mixedDatagrams: dice.chance(0.4),
      links: dice.pick(['fine', 'fine', 'bad', 'minority', 'partitions'] as const),
      splits: dice.chance(0.3),
      changeFaults: dice.chance(0.5),
      changeSchedule: dice.pick(['even', 'late commits', 'lost accepts', 'one starved', 'lagging'] as const),
      partFaults: dice.chance(0.6),
      newcomers: dice.chance(0.5),
      crashing: dice.chance(0.4) ? [dice.integer(0, 2)] : [],
      crashMsMax: 200,
      restartsMax: 2,
      tampering: dice.chance(0.3) ? [dice.integer(0, 2)] : [],
      slowProcesses: new Set(dice.chance(0.2) ? PROCESSES : []),
      hostile: dice.chance(0.1),
      memory,
      littleMemory: memory === 'ample' ? [] : [0, 1, 2],
    };
  },
  scans: scansBias,
  /** The data key is rotated: members seal anew what is read and written meanwhile. */
  rotation: (dice: Dice) => ({
    ...QUIET,
    ...CHANGES,
    rotates: true,
    routes: drawRoutes(dice, dice.pick([0, 0.5])),
    keyCount: dice.pick([2, 6, 12]),
    clientCount: dice.integer(2, 4),
    changeShare: dice.pick([0, 0.2, 0.5]),
    changeFaults: dice.chance(0.3),
    changeSchedule: dice.pick(['even', 'late commits', 'lost accepts'] as const),
    deleteShare: dice.pick([0, 0.1]),
    outstanding: 2,
    thinkMsMax: dice.pick([4, 12]),
    operationCount: dice.integer(40, 80),
    splits: dice.chance(0.6),
    links: dice.pick(['fine', 'fine', 'bad', 'minority'] as const),
    newcomers: dice.chance(0.5),
    crashing: dice.chance(0.1) ? [dice.integer(0, 2)] : [],
    slowProcesses: new Set(dice.chance(0.2) ? PROCESSES : []),
    largeShare: dice.pick([0, 0, 0.3]),
  }),
} satisfies Record<string, (dice: Dice) => Partial<Plan>>;

function fewAtOnce(dice: Dice) {
  return {
    keyCount: dice.pick([1, 1, 2]),
    outstanding: dice.pick([1, 1, 2]),
    splits: dice.chance(0.3),
    links: dice.pick(['fine', 'fine', 'bad', 'minority'] as const),
  };
}

export type Bias = keyof typeof BIASES;
export const biases = Object.keys(BIASES) as Bias[];

/** How many shares a bias has among the seeds that draw their own, when more than one: what only it does must come. */
const SHARES: Partial<Record<Bias, number>> = {
  none: 4,
  readers: 2,
  schedules: 2,
  hostile: 2,
  clocks: 2,
  calls: 3,
  formation: 2,
  limits: 3,
  'large values': 3,
  'large calls': 2,
  contention: 2,
  'half changes': 2,
  'large changes': 3,
  scans: 2,
  rotation: 2,
};
const SHARED_BIASES = biases.flatMap((bias) => Array.from({ length: SHARES[bias] ?? 1 }, () => bias));

/** The seed's own bias, for runs of many seeds. */
export function biasOf(seed: number): Bias {
  return new SeededDice(seed ^ 0x5eed).pick(SHARED_BIASES);
}

/** Some round trips and the cryptography of all parts: 9 to 14 ms in calm. */
const LARGE_IDLE_MS_MIN = 30;

/** @param changeDice What is drawn of read-modify-writes. */
export function drawBiasedPlan(dice: Dice, changeDice: Dice, bias: Bias): Plan {
  const plan: Plan = { ...drawChanges(changeDice), ...drawPlan(dice), ...BIASES[bias](dice) };
  return {
    ...plan,
    // In plaintext nobody could notice.
    tampering: plan.mode === 'plaintext' ? [] : plan.tampering,
    // Many operations of one key at once, deletes among them, are more than can be judged.
    burstShare: plan.deleteShare > 0 ? 0 : plan.burstShare,
    // A replica that has hardly any trusted memory takes no calls.
    routes: plan.memory === 'little trusted memory' ? [] : plan.routes,
    // By parts it takes longer than 3 ms from a promise to what it is for: none would last so long.
    recordIdleMs: plan.largeShare > 0 ? Math.max(plan.recordIdleMs, LARGE_IDLE_MS_MIN) : plan.recordIdleMs,
    // Floods leave something behind that must go.
    rests: plan.rests || plan.handshakeFlood,
  };
}
