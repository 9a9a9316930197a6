import { DATAGRAM_BYTES_ETHERNET, DATAGRAM_BYTES_MIN } from '../../net/limits.ts';
import type { SecurityMode } from '../../net/mode.ts';
import type { Route } from '../../src/client/route.ts';
import { MEMBERS_MAX } from '../../src/protocol/messages.ts';
import { RECORD_IDLE_MS } from '../../src/store/consensus-records.ts';
import type { Dice } from './dice.ts';

/**
 * What a random run is made of. Each seed draws which faults there are at all and how strong they are (swarm testing,
 * Groce et al. 2012). Even dice seldom make the schedules that matter, so there are biases towards some of them
 * (random-plan.ts).
 */
export interface Plan {
  readonly mode: SecurityMode;
  readonly memberCount: number;
  readonly datagramBytes: number;

  // Work.
  readonly keyCount: number;
  /** Of operations: read-modify-writes. */
  readonly changeShare: number;
  /** Keys of even or of odd index hold numbers, or none does. */
  readonly numberKeys: 0 | 1 | 'none';
  /** Of the longest key. */
  readonly keyBytesMax: number;
  readonly clientCount: number;
  /** Operations of each client: in all, and at once. */
  readonly operationCount: number;
  readonly outstanding: number;
  readonly thinkMsMax: number;
  /** By client. */
  readonly getShares: readonly number[];
  readonly deleteShare: number;
  /** Of the operations of clients in the direct route. */
  readonly scanShare: number;
  readonly cancelShare: number;
  /** Deadlines of a few milliseconds, or none at all: writes are left half done. */
  readonly hasteShare: number;
  readonly valueBytesMax: number;
  /** All values have one length, so that one ciphertext fits where another was. */
  readonly sameLength: boolean;
  /** Values as large as a datagram takes, and empty ones. */
  readonly oddLengths: boolean;
  /** Of values that are larger than a datagram, beside those of odd lengths. */
  readonly largeShare: number;
  /** Many operations at once, now and then. */
  readonly burstShare: number;
  /** Client 0 has room for so few operations at once; 0: as many as others. */
  readonly tinyCapacity: number;
  /** Client 1 may not write. */
  readonly hasReader: boolean;
  /** The last client takes smaller datagrams than the rest: some values are too large for it. */
  readonly smallDatagrams: boolean;
  /** Each client takes datagrams of a size of its own, smaller or larger than the replicas'. */
  readonly mixedDatagrams: boolean;
  readonly newcomers: boolean;
  /** By client. */
  readonly routes: readonly Route[];

  // Network.
  /** The faults begin when the cluster has formed and all are connected. */
  readonly startsCalm: boolean;
  readonly weatherMs: number;
  /** Links are fine; or some are cut or slow; or no client reaches a minority; or groups are cut off. Others each time. */
  readonly links: 'fine' | 'bad' | 'minority' | 'partitions';
  readonly linksMs: number;
  readonly clogs: boolean;
  /** Who and what kind of message is slow or lost (schedule.ts), others each time. */
  readonly schedule: 'even' | 'mild' | 'strong';
  /** And many answers to calls are lost. */
  readonly losesReplies: boolean;
  /** Writes that have reached some replicas, and write-backs, are kept from the others for a while. */
  readonly splits: boolean;

  // Processes.
  readonly pauses: boolean;
  readonly slowNodes: boolean;
  readonly sendTrouble: boolean;
  /** What goes wrong does so while a large value is on its way (part-faults.ts). */
  readonly partFaults: boolean;
  /** What goes wrong does so in the middle of a read-modify-write (change-faults.ts). */
  readonly changeFaults: boolean;
  /** Kinds of messages of read-modify-writes that many are lost of, or that come late, at some replicas, others each time. */
  readonly changeSchedule: 'even' | 'late commits' | 'lost accepts' | 'lagging' | 'one starved' | 'any';
  /** What replicas keep of a key's read-modify-writes may become compact after so long without any. */
  readonly recordIdleMs: number;
  /** How far clocks jump forwards; 0: they don't. */
  readonly clockJumpMsMax: number;
  readonly wallClockJumps: boolean;
  /** Nothing is asked for so long: sessions grow old. */
  readonly idleMs: number;
  /** Members that crash, at most f, and how often one comes back. */
  readonly crashing: readonly number[];
  readonly crashMsMax: number;
  readonly restartsMax: number;
  /** Instead of crashing a member may run twice for a while. */
  readonly copies: boolean;
  /** They crash when somebody has just voted for an instance, too. */
  readonly crashesOnVote: boolean;
  /** Their cryptography finishes late and out of order. */
  readonly slowProcesses: ReadonlySet<string>;
  /** At the end all members go, and come back as another instance. */
  readonly totalLoss: boolean;
  /** After all of it nothing happens for minutes: what was left over must go. */
  readonly rests: boolean;

  // Hosts and strangers.
  /** Members whose hosts tamper with their memory. */
  readonly tampering: readonly number[];
  readonly memory: 'ample' | 'some host memory' | 'little host memory' | 'little trusted memory';
  /** Members that have little. */
  readonly littleMemory: readonly number[];
  readonly hostile: boolean;
  /** The data key is rotated meanwhile. */
  readonly rotates: boolean;
  readonly strangers: boolean;
  readonly handshakeFlood: boolean;
  readonly garbageFloods: boolean;
}

/** At once, and one that comes later. */
export const CLIENTS_MAX = 5;
const VALUE_BYTES_MAX = 1_000;
/** Past the life of a session, 180 s (REFUSE_AFTER_MS), at the slowest clock. */
export const SESSION_LIFE_MS = 200_000;
/** Idle times that end while sessions are being renewed (RENEW_AFTER_MS), or when they were long ago. */
export const IDLE_MS: readonly (readonly [number, number])[] = [
  [112_000, 126_000],
  [126_000, SESSION_LIFE_MS],
];

export const PROCESSES = [
  ...Array.from({ length: MEMBERS_MAX }, (_, i) => `replica ${i}`),
  ...Array.from({ length: CLIENTS_MAX }, (_, i) => `client ${i}`),
];

export function drawRoutes(dice: Dice, coordinatedShare: number): Route[] {
  return Array.from({ length: CLIENTS_MAX }, () => (dice.chance(coordinatedShare) ? 'coordinated' : 'direct'));
}

/** From dice of its own, so that runs without are what they were before there were any. */
export function drawChanges(
  dice: Dice,
): Pick<Plan, 'changeShare' | 'numberKeys' | 'changeFaults' | 'changeSchedule' | 'recordIdleMs'> {
  return {
    changeShare: dice.chance(0.5) ? dice.pick([0.2, 0.5, 0.9]) : 0,
    numberKeys: dice.pick([0, 1]),
    changeFaults: dice.chance(0.3),
    changeSchedule: dice.pick(['even', 'even', 'any']),
    recordIdleMs: dice.pick([3, 30, RECORD_IDLE_MS, RECORD_IDLE_MS]),
  };
}

export function drawPlan(dice: Dice): Omit<Plan, keyof ReturnType<typeof drawChanges>> {
  const mode = dice.pick<SecurityMode>(['secure', 'secure', 'secure', 'secure', 'authenticated', 'plaintext']);
  const memberCount = dice.pick([3, 3, 3, 3, 3, 3, 5, 5, 7]);
  const faultsMax = (memberCount - 1) / 2;
  const members = dice.shuffled(Array.from({ length: memberCount }, (_, i) => i));
  const isProtected = mode !== 'plaintext';
  // Histories with deletes are harder to judge: fewer at once.
  const deleteShare = dice.pick([0, 0, 0.1]);
  const smallDatagrams = dice.chance(0.1);
  const memory = dice.chance(0.85) ? 'ample' : dice.pick(['little host memory', 'little trusted memory'] as const);
  return {
    mode,
    memberCount,
    datagramBytes: smallDatagrams || dice.chance(0.2) ? DATAGRAM_BYTES_ETHERNET : DATAGRAM_BYTES_MIN,
    keyCount: dice.pick([1, 2, 6]),
    keyBytesMax: dice.pick([5, 5, 5, 5, 5, 200, 1_024]),
    clientCount: dice.integer(2, CLIENTS_MAX - 1),
    operationCount: dice.integer(40, 100),
    outstanding: deleteShare > 0 ? 2 : dice.pick([1, 3, 6]),
    thinkMsMax: dice.pick([0, 1, 4]),
    getShares: Array.from({ length: CLIENTS_MAX }, () => dice.pick([0.3, 0.6, 0.9])),
    deleteShare,
    cancelShare: dice.pick([0, 0, 0.1]),
    hasteShare: dice.pick([0, 0, 0.3]),
    valueBytesMax: dice.pick([8, 100, VALUE_BYTES_MAX]),
    sameLength: dice.chance(0.2),
    oddLengths: dice.chance(0.2) || smallDatagrams,
    largeShare: 0,
    burstShare: dice.chance(0.1) ? 0.02 : 0,
    tinyCapacity: dice.chance(0.1) ? dice.integer(1, 4) : 0,
    hasReader: dice.chance(0.1),
    smallDatagrams,
    mixedDatagrams: false,
    newcomers: dice.chance(0.3),
    routes: drawRoutes(dice, dice.pick([0, 0, 0.5, 1])),
    startsCalm: dice.chance(0.9),
    weatherMs: dice.pick([4, 15, 50]),
    links: dice.pick(['fine', 'bad', 'minority', 'minority', 'partitions']),
    linksMs: dice.pick([2, 5, 15]),
    clogs: dice.chance(0.25),
    schedule: dice.pick(['even', 'even', 'mild', 'strong']),
    losesReplies: false,
    splits: dice.chance(0.6),
    pauses: dice.chance(0.4),
    slowNodes: dice.chance(0.2),
    sendTrouble: dice.chance(0.15),
    partFaults: false,
    rotates: false,
    clockJumpMsMax: dice.chance(0.2) ? dice.pick([50, 5_000, SESSION_LIFE_MS]) : 0,
    wallClockJumps: dice.chance(0.1),
    idleMs: dice.chance(0.01) ? dice.between(...dice.pick(IDLE_MS)) : 0,
    crashing: dice.chance(0.5) ? members.slice(0, faultsMax) : [],
    crashMsMax: dice.pick([5, 200, 200]),
    restartsMax: dice.pick([0, 2, 4]),
    copies: dice.chance(0.3),
    crashesOnVote: dice.chance(0.5),
    slowProcesses: new Set(dice.chance(0.25) ? PROCESSES.filter(() => dice.chance(0.5)) : []),
    totalLoss: dice.chance(0.05),
    rests: dice.chance(0.02),
    // In plaintext nobody could notice.
    tampering: isProtected && dice.chance(0.4) ? dice.pick([members.slice(0, 1), members.slice(0, 1), members]) : [],
    memory,
    littleMemory: memory === 'ample' ? [] : dice.pick([members, members.slice(0, faultsMax)]),
    // Without cryptography there is nothing to keep them out with.
    hostile: dice.chance(0.15),
    strangers: dice.chance(0.1),
    handshakeFlood: dice.chance(0.01),
    garbageFloods: isProtected && dice.chance(0.05),
    scanShare: 0,
  };
}
