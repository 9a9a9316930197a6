import type { Link } from '../../net/link.ts';
import type { Session } from '../../net/session.ts';
import type { Formation } from '../protocol/formation.ts';
import type { Peer } from '../protocol/peer.ts';
import type { Membership } from '../protocol/rounds.ts';

/**
 * Whom a replica that coordinates may count: itself, and those whose session proves the incarnation that the pinned
 * instance has at their place. Nobody while it isn't active.
 */
export interface ReplicaMembershipOptions {
  readonly memberIndex: number;
  readonly memberCount: number;
  readonly formation: Pick<Formation, 'isActive' | 'instance' | 'epoch'>;
  /** By member; undefined at the own place. */
  readonly links: readonly (Link<Peer> | undefined)[];
  /** To the replica of the own process. */
  readonly ownSession: Session<Peer>;
}

export class ReplicaMembership implements Membership {
  readonly #options: ReplicaMembershipOptions;
  #readyMask = 0;

  constructor(options: ReplicaMembershipOptions) {
    this.#options = options;
  }

  get memberCount(): number {
    return this.#options.memberCount;
  }

  readyMask(): number {
    return this.#readyMask;
  }

  epoch(): number {
    return this.#options.formation.epoch;
  }

  session(member: number): Session<Peer> | undefined {
    const { memberIndex, links, ownSession } = this.#options;
    return member === memberIndex ? ownSession : links[member]?.session;
  }

  /** To be called each turn, and when a session has come. */
  update(): void {
    const { formation, links, memberIndex } = this.#options;
    const { instance } = formation;
    this.#readyMask = 0;
    if (!formation.isActive || instance === undefined) return;
    this.#readyMask = 1 << memberIndex;
    for (let member = 0; member < links.length; member++) {
      const session = links[member]?.session;
      if (session !== undefined && session.peer.incarnation === instance.incarnations[member]) {
        this.#readyMask |= 1 << member;
      }
    }
  }
}
