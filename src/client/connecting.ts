import { AvocadoError } from '../errors.ts';
import { hasMember, memberCountOf } from '../protocol/quorum.ts';
import type { Member } from '../trust/authority.ts';
import type { ClientNode } from './client-node.ts';

/** Once enough are there, so long for the rest to join, so that the first writes reach all. */
const STRAGGLER_MS = 100;
/** A refusal in clear can be forged: a fitting answer has so long to come, too. */
const REFUSAL_GRACE_MS = 500;

/** Decides when a client has found its cluster, or why it gives up. Asked after each turn; reads no clock. */
export class Connecting {
  readonly #node: ClientNode;
  readonly #members: readonly Member[];
  /** Members that must be ready. */
  readonly #needed: number;
  readonly #startedMs: number;
  readonly #timeoutMs: number;
  #enoughMs = Infinity;

  constructor(node: ClientNode, members: readonly Member[], timeoutMs: number, nowMs: number) {
    this.#node = node;
    this.#members = members;
    this.#needed = node.memberCountNeeded;
    this.#startedMs = nowMs;
    this.#timeoutMs = timeoutMs;
  }

  /**
   * Ready once a quorum of one cluster instance is; in the coordinated route once a replica takes calls. An error is
   * INSTANCE_CHANGED, REFUSED or NO_QUORUM.
   */
  verdict(nowMs: number): 'waiting' | 'ready' | AvocadoError {
    const { view, links } = this.#node;
    const memberCount = this.#members.length;
    const readyCount = memberCountOf(this.#node.readyMask);
    if (readyCount >= this.#needed) this.#enoughMs = Math.min(this.#enoughMs, nowMs);
    if (readyCount === memberCount || nowMs - this.#enoughMs >= STRAGGLER_MS) return 'ready';
    if (this.#enoughMs !== Infinity) return 'waiting';
    if (view.isForeign) return instanceChanged();
    const refusedCount = links.filter((link) => link.refusal !== undefined).length;
    if (refusedCount > memberCount - this.#needed && nowMs - this.#startedMs >= REFUSAL_GRACE_MS) {
      return new AvocadoError('REFUSED', `the replicas refuse this client: ${this.#describeMembers()}`);
    }
    if (nowMs - this.#startedMs < this.#timeoutMs) return 'waiting';
    return new AvocadoError(
      'NO_QUORUM',
      `no ${this.#needed} of ${memberCount} replicas are ready after ${Math.round(this.#timeoutMs)} ms: ${this.#describeMembers()}`,
    );
  }

  #describeMembers(): string {
    return this.#members
      .map(({ host, port }, index) => `replica ${index} (${host}:${port}) ${this.#describeMember(index)}`)
      .join('; ');
  }

  #describeMember(index: number): string {
    const link = this.#node.links[index]!;
    if (link.refusal !== undefined) return link.refusal;
    if (link.session === undefined) return 'does not answer';
    const state = this.#node.view.stateOf(index);
    if (state === undefined) return 'has not told its state';
    const takesNoCalls = hasMember(this.#node.view.readyMask & ~this.#node.readyMask, index);
    return `is ${state.state}${takesNoCalls ? ', but takes no calls now (no trusted memory left for them?)' : ''}`;
  }
}

function instanceChanged(): AvocadoError {
  return new AvocadoError(
    'INSTANCE_CHANGED',
    'the replicas were all started anew since this instance was pinned, so what it held is gone: connect without a pinned instance to use the new one',
  );
}
