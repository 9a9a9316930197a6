/**
 * The faults of a chaos run. Those of the network concern one replica's link and last for an episode; while one of
 * processes lasts, the rest of the world goes on.
 */
export const NETWORK_FAULTS = ['partition', 'loss', 'duplicate', 'reorder', 'delay', 'corrupt'] as const;
export const FAULT_KINDS = ['kill', 'stop', ...NETWORK_FAULTS] as const;

export type NetworkFaultKind = (typeof NETWORK_FAULTS)[number];
export type FaultKind = (typeof FAULT_KINDS)[number];

/** A process that can be stopped. */
export interface Victim {
  readonly role: 'replica' | 'client';
  readonly index: number;
}

/** Which way datagrams travel, as seen from the replica. */
export const DIRECTIONS = ['in', 'out'] as const;
export type Direction = (typeof DIRECTIONS)[number];

interface Episode {
  /** Since the faults began. */
  readonly atMs: number;
  readonly untilMs: number;
}

export interface KillFault {
  readonly kind: 'kill';
  readonly atMs: number;
  readonly replica: number;
  /** Then it is started again, empty, and has to stay outside. */
  readonly restartAtMs: number;
}

export interface StopFault extends Episode {
  readonly kind: 'stop';
  readonly victims: readonly Victim[];
}

export interface NetworkFault extends Episode {
  readonly kind: NetworkFaultKind;
  readonly replica: number;
  readonly directions: readonly Direction[];
  /** Share of datagrams that it meets, 0 to 1; delay meets all. */
  readonly share: number;
  /** Delay only. */
  readonly delayMs: number;
}

export type Fault = KillFault | StopFault | NetworkFault;

export function isNetworkFault(fault: Fault): fault is NetworkFault {
  return fault.kind !== 'kill' && fault.kind !== 'stop';
}

/** For people. */
export function describeFault(fault: Fault): string {
  switch (fault.kind) {
    case 'kill':
      return `kill -9 of replica ${fault.replica}`;
    case 'stop':
      return `stop of ${fault.victims.map(describeVictim).join(', ')} ${lengthOf(fault)}`;
    case 'partition':
      return `partition: nothing ${wayOf(fault)} ${lengthOf(fault)}`;
    case 'delay':
      return `delay of ${fault.delayMs} ms ${wayOf(fault)} ${lengthOf(fault)}`;
    case 'loss':
    case 'duplicate':
    case 'reorder':
    case 'corrupt':
      return `${fault.kind} of ${Math.round(fault.share * 100)} % ${wayOf(fault)} ${lengthOf(fault)}`;
  }
}

export function describeVictim(victim: Victim): string {
  return victim.role === 'replica' ? `replica ${victim.index}` : `load process ${victim.index}`;
}

function wayOf({ directions, replica }: NetworkFault): string {
  if (directions.length > 1) return `to and from replica ${replica}`;
  return directions[0] === 'in' ? `to replica ${replica}` : `from replica ${replica}`;
}

function lengthOf({ atMs, untilMs }: Episode): string {
  return `for ${((untilMs - atMs) / 1_000).toFixed(2)} s`;
}
