import type { Scene } from './scene.ts';

/**
 * What every attack says of itself and brings home. An attack is real: it does to a running cluster what an attacker
 * would do, and looks afterwards whether it got something. Tests run each against clusters that lack its defence, where
 * it must succeed.
 */
export interface Attack {
  readonly name: string;
  /** What the attacker does; one line. */
  readonly deed: string;
  readonly power: Power;
  /** Why it can't be tried on this cluster from here; undefined when it can. */
  whyNot(scene: Scene): string | undefined;
  run(scene: Scene): Promise<Finding>;
}

/** What the attacker has; what the design says that it may have. */
export type Power = keyof typeof POWERS;

export const POWERS = {
  'host memory': 'stops a replica, reads and writes its memory outside the trusted part',
  network: 'sees, keeps, holds back, changes and sends datagrams between a client and all replicas',
  outsider: 'knows all that is public, and has keys of its own making',
  insider: 'has the keys and the rights of a client, and sends messages of its own making',
  downgrade: 'has the keys of a client, and no wish to be protected',
  revoked: 'was a client, and is none any more by the word of an operator',
  host: 'kills and starts replicas, and cuts them off the network',
} as const;

export interface Finding {
  /** What the attacker got; undefined when it got nothing. */
  readonly harm?: string | undefined;
  /** What shows that it was noticed. */
  readonly moved: readonly Moved[];
}

/** A figure or state that the attack changed. */
export interface Moved {
  /** 'replica 1' or 'client'. */
  readonly where: string;
  readonly what: string;
  readonly before: number | string;
  readonly after: number | string;
}

/** An attack that nothing has noticed counts as one that succeeded. */
export const UNNOTICED = 'nothing noticed it';

/** Values of attacks: small enough for any datagram, too large to occur by chance. */
export const VALUE_BYTES = 1_000;
