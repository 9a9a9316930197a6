import { assert } from '../../net/assert.ts';
import type { Session } from '../../net/session.ts';
import type { Instance, InstanceHash } from './instance.ts';
import { instanceOf } from './instance.ts';
import type { Messenger } from './messenger.ts';
import type { Peer } from './peer.ts';
import type { MemberState, StateMessage } from './state-message.ts';
import { readState, sendState } from './state-message.ts';

/**
 * How replicas become a cluster instance, and why one that restarted empty can't vote.
 *
 * Each replica draws a random incarnation and tells the others what it knows. When it knows the incarnation of all n it
 * proposes that set; when all n propose the same set it votes for it. An incarnation votes once, for good. It becomes
 * active when all n have voted for its set, or when an active member shows it a set that it belongs to.
 *
 *     forming --all n propose one set--> voted --all n voted for it--> active
 *     forming, voted --an active member shows a set with this incarnation--> active
 *     forming, voted --an active member shows a set without it--> outside (until the process ends)
 *     voted --the set cannot come about any more--> forming, as a new incarnation
 *
 * Two instances that were both voted for have no incarnation in common, so a second one takes n new processes: while a
 * single member of the first lives, there is none. A replica that comes back with another incarnation meets an active
 * member and stays outside, also when the host wiped its disk or runs two copies of it: nothing is kept on disk at all.
 */
export interface FormationOptions {
  readonly clusterId: Uint8Array;
  readonly epoch: number;
  readonly memberIndex: number;
  readonly memberCount: number;
  readonly messenger: Messenger;
  readonly hash: InstanceHash;
  /** A random incarnation, 32 hex digits. */
  drawIncarnation(): string;
  /** Sessions with the other replicas that can be sent on now. */
  peerSessions(): Iterable<Session<Peer>>;
  onStateChange(state: Exclude<MemberState, 'voted'>, reason: string): void;
  /** This process goes on as another incarnation: sessions that were made with the old one must end. */
  onNewIncarnation(): void;
}

/** While it forms, a replica repeats what it knows: a lost message must not hold the cluster up. */
const ANNOUNCE_INTERVAL_MS = 100;

export class Formation {
  readonly #options: FormationOptions;
  /** What the members last said, by index; the own place is kept up to date, too. */
  readonly #incarnations: (string | undefined)[];
  readonly #proposals: (string | undefined)[];
  readonly #votes: (string | undefined)[];
  #state: MemberState = 'forming';
  /** The set voted for, then pinned. */
  #instance: Instance | undefined;
  #announcedMs = -Infinity;

  constructor(options: FormationOptions) {
    this.#options = options;
    const none = (): undefined[] => Array.from({ length: options.memberCount }, () => undefined);
    this.#incarnations = none();
    this.#proposals = none();
    this.#votes = none();
    this.#incarnations[options.memberIndex] = options.drawIncarnation();
    this.#decide();
  }

  get isActive(): boolean {
    return this.#state === 'active';
  }

  get state(): MemberState {
    return this.#state;
  }

  get epoch(): number {
    return this.#options.epoch;
  }

  /** The pinned instance, once active. */
  get instance(): Instance | undefined {
    return this.isActive ? this.#instance : undefined;
  }

  get incarnation(): string {
    return this.#incarnations[this.#options.memberIndex]!;
  }

  /** Members that have not been heard of; for people. */
  missingMembers(): number[] {
    return this.#incarnations.flatMap((incarnation, member) => (incarnation === undefined ? [member] : []));
  }

  tick(nowMs: number): void {
    if (!this.#isUndecided() || nowMs - this.#announcedMs < ANNOUNCE_INTERVAL_MS) return;
    this.#announcedMs = nowMs;
    this.#announce();
  }

  onStateRequest(session: Session<Peer>): void {
    sendState(this.#options.messenger, session, this.#message());
  }

  onState(session: Session<Peer>, words: Int32Array, word: number): void {
    const { identity } = session.peer;
    const message = readState(words, word);
    // A member speaks for itself only, and clients not at all.
    if (message === undefined || identity.role !== 'replica' || identity.memberIndex !== message.memberIndex) return;
    if (message.memberIndex === this.#options.memberIndex || message.epoch !== this.#options.epoch) return;
    if (!this.#isUndecided()) {
      // Those that are still forming are told how it ended.
      if (message.state === 'forming' || message.state === 'voted') this.onStateRequest(session);
      return;
    }
    if (message.state === 'active') return this.#onActive(message);
    if (message.state === 'outside') return;
    this.#learn(message);
    if (this.#state === 'voted' && this.#isHopeless()) this.#beginAnew();
    this.#decide();
  }

  #isUndecided(): boolean {
    return this.#state === 'forming' || this.#state === 'voted';
  }

  #learn(message: StateMessage): void {
    const { memberIndex: member } = message;
    const named = message.incarnations.length === this.#options.memberCount;
    const id = named ? this.#instanceOf(message.incarnations).id : undefined;
    this.#incarnations[member] = message.incarnation;
    this.#proposals[member] = id;
    this.#votes[member] = message.state === 'voted' ? id : undefined;
  }

  /** A member that is active decides for those that still form: they are in its set, or outside for good. */
  #onActive(message: StateMessage): void {
    const { memberIndex, memberCount } = this.#options;
    if (message.incarnations.length !== memberCount) return;
    const instance = this.#instanceOf(message.incarnations);
    if (message.incarnations[memberIndex] === this.incarnation) return this.#activate(instance);
    this.#state = 'outside';
    this.#options.onStateChange(
      'outside',
      `cluster instance ${instance.id.slice(0, 8)} is active without this incarnation: ` +
        'a replica that restarts is empty and may not vote; ' +
        'to begin a new, empty instance stop all replicas, then start all',
    );
  }

  /** Someone in the set is another process by now, or has voted for another set. */
  #isHopeless(): boolean {
    const { incarnations, id } = this.#instance!;
    return incarnations.some(
      (incarnation, member) => this.#incarnations[member] !== incarnation || (this.#votes[member] ?? id) !== id,
    );
  }

  /**
   * The vote can't be taken back, but its owner holds nothing yet: it goes on as someone else. Whoever may have become
   * active with the old incarnation has lost an empty member.
   */
  #beginAnew(): void {
    const { memberIndex } = this.#options;
    this.#state = 'forming';
    this.#instance = undefined;
    this.#incarnations[memberIndex] = this.#options.drawIncarnation();
    this.#proposals[memberIndex] = undefined;
    this.#votes[memberIndex] = undefined;
    this.#options.onNewIncarnation();
  }

  #decide(): void {
    const { memberIndex, memberCount } = this.#options;
    if (this.#state === 'forming') {
      const known = this.#incarnations.filter((incarnation) => incarnation !== undefined);
      if (known.length < memberCount) return;
      const instance = this.#instanceOf(known);
      if (this.#proposals[memberIndex] !== instance.id) {
        this.#proposals[memberIndex] = instance.id;
        this.#announce();
      }
      if (!this.#proposals.every((proposal) => proposal === instance.id)) return;
      this.#state = 'voted';
      this.#instance = instance;
      this.#votes[memberIndex] = instance.id;
      this.#announce();
    }
    if (this.#state !== 'voted') return;
    const instance = this.#instance!;
    if (this.#votes.every((vote) => vote === instance.id)) this.#activate(instance);
  }

  #activate(instance: Instance): void {
    assert(this.#isUndecided(), 'a replica becomes active once');
    assert(instance.incarnations[this.#options.memberIndex] === this.incarnation, 'it belongs to its own instance');
    this.#instance = instance;
    this.#state = 'active';
    this.#announce();
    this.#options.onStateChange('active', `cluster instance ${instance.id.slice(0, 8)}, epoch ${this.epoch}`);
  }

  #instanceOf(incarnations: readonly string[]): Instance {
    return instanceOf(this.#options.clusterId, incarnations, this.#options.hash);
  }

  #announce(): void {
    const message = this.#message();
    for (const session of this.#options.peerSessions()) sendState(this.#options.messenger, session, message);
  }

  #message(): StateMessage {
    return {
      state: this.#state,
      memberIndex: this.#options.memberIndex,
      epoch: this.#options.epoch,
      incarnation: this.incarnation,
      incarnations: this.#namedSet(),
    };
  }

  #namedSet(): readonly string[] {
    if (this.#state === 'outside') return [];
    if (this.#instance !== undefined) return this.#instance.incarnations;
    const known = this.#incarnations.filter((incarnation) => incarnation !== undefined);
    return known.length === this.#options.memberCount ? known : [];
  }
}
