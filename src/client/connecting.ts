import { AvocadoError } from '../errors.ts';
import { memberCountOf, quorumOf } from '../protocol/quorum.ts';
import type { Member } from '../trust/authority.ts';
import type { ClientNode } from './client-node.ts';

/** Once a quorum is there, so long for the rest to join, so that the first writes reach all. */
const STRAGGLER_MS = 100;
/** A refusal in clear can be forged: a fitting answer has so long to come, too. */
const REFUSAL_GRACE_MS = 500;

/** Decides when a client has found its cluster, or why it gives up. Asked after each turn; reads no clock. */
export class Connecting {
  readonly #node: ClientNode;
  readonly #members: readonly Member[];
  readonly #quorum: number;
  readonly #startedMs: number;
  readonly #timeoutMs: number;
  #quorumMs = Infinity;

  constructor(node: ClientNode, members: readonly Member[], timeoutMs: number, nowMs: number) {
    this.#node = node;
    this.#members = members;
    this.#quorum = quorumOf(members.length);
    this.#startedMs = nowMs;
    this.#timeoutMs = timeoutMs;
  }

  /** Ready once a quorum of one cluster instance is. An error is INSTANCE_CHANGED, REFUSED or NO_QUORUM. */
  verdict(nowMs: number): 'waiting' | 'ready' | AvocadoError {
    const { view, links } = this.#node;
    const memberCount = this.#members.length;
    const readyCount = memberCountOf(view.readyMask);
    if (readyCount >= this.#quorum) this.#quorumMs = Math.min(this.#quorumMs, nowMs);
    if (readyCount === memberCount || nowMs - this.#quorumMs >= STRAGGLER_MS) return 'ready';
    if (this.#quorumMs !== Infinity) return 'waiting';
    if (view.isForeign) return instanceChanged();
    const refusedCount = links.filter((link) => link.refusal !== undefined).length;
    if (refusedCount > memberCount - this.#quorum && nowMs - this.#startedMs >= REFUSAL_GRACE_MS) {
      return new AvocadoError('REFUSED', `the replicas refuse this client: ${this.#describeMembers()}`);
    }
    if (nowMs - this.#startedMs < this.#timeoutMs) return 'waiting';
    return new AvocadoError(
      'NO_QUORUM',
      `no ${this.#quorum} of ${memberCount} replicas are ready after ${Math.round(this.#timeoutMs)} ms: ${this.#describeMembers()}`,
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
    return state === undefined ? 'has not told its state' : `is ${state.state}`;
  }
}

function instanceChanged(): AvocadoError {
  return new AvocadoError(
    'INSTANCE_CHANGED',
    'the replicas were all started anew since this instance was pinned, so what it held is gone: connect without a pinned instance to use the new one',
  );
}
