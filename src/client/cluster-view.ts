import type { Session } from '../../net/session.ts';
import type { Link } from '../../net/link.ts';
import type { InstanceHash } from '../protocol/instance.ts';
import { instanceOf } from '../protocol/instance.ts';
import { MESSAGE_STATE_REQUEST, STATE_REQUEST_BYTES, writeHead } from '../protocol/messages.ts';
import type { Messenger } from '../protocol/messenger.ts';
import type { Peer } from '../protocol/peer.ts';
import type { StateMessage } from '../protocol/state-message.ts';
import { readState } from '../protocol/state-message.ts';

/**
 * Which members a client may count: those that say, on their own session, that they are active in the pinned cluster
 * instance. The instance is pinned when enough members agree on it, and never changes afterwards: a cluster that
 * was started anew is refused, for its data is gone. The highest epoch is pinned the same way.
 */
export interface ClusterViewOptions {
  readonly clusterId: Uint8Array;
  readonly links: readonly Link<Peer>[];
  readonly messenger: Messenger;
  readonly hash: InstanceHash;
  /** Instance id that the caller has pinned before. */
  readonly pinnedInstance: string | undefined;
  /**
   * Members that must agree on the instance: a quorum for who counts answers of a quorum; one for who has a replica do that,
   * and trusts its answers anyway.
   */
  readonly agreeingCount: number;
}

/** Members that are not ready are asked for their state so often. */
const ASK_INTERVAL_MS = 250;
const UPDATE_INTERVAL_MS = 10;

export class ClusterView {
  readonly #options: ClusterViewOptions;
  /** Latest word of each member, with the incarnation that its session proved. */
  readonly #states: (StateMessage | undefined)[];
  /** Id of the instance that each of them names. */
  readonly #instanceIds: string[];
  #readyMask = 0;
  #pinned: string | undefined;
  #epoch = 0;
  #askedMs = -Infinity;
  #updatedMs = -Infinity;

  constructor(options: ClusterViewOptions) {
    this.#options = options;
    this.#states = options.links.map(() => undefined);
    this.#instanceIds = options.links.map(() => '');
    this.#pinned = options.pinnedInstance;
  }

  /** Members whose answers count. */
  get readyMask(): number {
    return this.#readyMask;
  }

  get epoch(): number {
    return this.#epoch;
  }

  get instance(): string | undefined {
    return this.#pinned;
  }

  stateOf(member: number): StateMessage | undefined {
    return this.#states[member];
  }

  /** True when as many members are active in one other instance than the pinned one. */
  get isForeign(): boolean {
    const foreign = this.#commonInstance();
    return foreign !== undefined && foreign.id !== this.#pinned;
  }

  instanceIdOf(member: number): string {
    return this.#instanceIds[member]!;
  }

  onSessionLive(session: Session<Peer>): void {
    const member = session.peer.identity.memberIndex;
    // Another incarnation is another process: nothing said before holds for it.
    if (this.#states[member]?.incarnation !== session.peer.incarnation) this.#states[member] = undefined;
    this.#update();
    this.#ask(session);
  }

  /** To be called each turn; a session that has ended is noticed within UPDATE_INTERVAL_MS. */
  tick(nowMs: number): void {
    if (nowMs - this.#updatedMs >= UPDATE_INTERVAL_MS) {
      this.#updatedMs = nowMs;
      this.#update();
    }
    if (nowMs - this.#askedMs < ASK_INTERVAL_MS) return;
    this.#askedMs = nowMs;
    this.#options.links.forEach((link, member) => {
      if ((this.#readyMask & (1 << member)) === 0 && link.session !== undefined) this.#ask(link.session);
    });
  }

  onState(session: Session<Peer>, words: Int32Array, word: number): void {
    const member = session.peer.identity.memberIndex;
    const message = readState(words, word);
    if (message === undefined || message.memberIndex !== member) return;
    if (message.incarnation !== session.peer.incarnation || message.epoch < this.#epoch) return;
    this.#states[member] = message;
    this.#instanceIds[member] = instanceOf(this.#options.clusterId, message.incarnations, this.#options.hash).id;
    this.#update();
  }

  #update(): void {
    const common = this.#commonInstance();
    if (common !== undefined && (this.#pinned === undefined || this.#pinned === common.id)) {
      this.#pinned = common.id;
      this.#epoch = Math.max(this.#epoch, common.epoch);
    }
    this.#readyMask = 0;
    this.#states.forEach((state, member) => {
      const link = this.#options.links[member]!;
      if (state === undefined || link.session?.peer.incarnation !== state.incarnation) return;
      if (this.#isMemberOf(state, member) && state.epoch === this.#epoch) this.#readyMask |= 1 << member;
    });
  }

  #isMemberOf(state: StateMessage, member: number): boolean {
    return (
      state.state === 'active' &&
      state.incarnations[member] === state.incarnation &&
      this.#instanceIds[member] === this.#pinned
    );
  }

  /** The instance and epoch that enough members say they are active in. */
  #commonInstance(): { id: string; epoch: number } | undefined {
    const counts = new Map<string, number>();
    const memberCount = this.#states.length;
    for (const [member, state] of this.#states.entries()) {
      if (state?.state !== 'active' || state.incarnations.length !== memberCount) continue;
      if (state.incarnations[member] !== state.incarnation) continue;
      const id = this.#instanceIds[member]!;
      const key = `${id} ${state.epoch}`;
      const count = (counts.get(key) ?? 0) + 1;
      if (count >= this.#options.agreeingCount) return { id, epoch: state.epoch };
      counts.set(key, count);
    }
    return undefined;
  }

  #ask(session: Session<Peer>): void {
    if (!this.#options.messenger.append(session, STATE_REQUEST_BYTES, 0)) return;
    const { out } = this.#options.messenger;
    writeHead(out.control.words, out.word, MESSAGE_STATE_REQUEST, 0, 0, 0);
  }
}
