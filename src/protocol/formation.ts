import { assert } from '../../net/assert.ts';
import type { Session } from '../../net/session.ts';
import type { Instance, InstanceHash } from './instance.ts';
import { instanceOf } from './instance.ts';
import type { Messenger } from './messenger.ts';
import type { Peer } from './peer.ts';
import type { MemberState, StateMessage } from './state-message.ts';
import { readState, sendState } from './state-message.ts';
import { Vote } from './vote.ts';

/**
 * How replicas become a cluster instance, and why one that restarted empty can't vote.
 *
 * Each replica draws a random incarnation and tells the others what it knows. When it knows the incarnation of all n it
 * proposes that set; when all n propose the same set it votes for it. An incarnation votes once, for good. It becomes
 * active when all n have voted for its set, or when an active member shows it a set that it belongs to.
 *
 *     forming --all n propose one set--> voted --all n voted for it--> active
 *     voted --an incarnation of the set is gone--> withdrawn: not active by votes any more
 *     forming, voted, withdrawn --an active member shows a set with this incarnation--> active
 *     forming, voted, withdrawn --an active member shows a set without it--> outside (until the process ends)
 *     voted, withdrawn --nobody of the set is active, nor will be--> forming, as a new incarnation
 *     forming --its incarnation is in a set that a member withdrew from--> forming, as a new incarnation
 *
 * Withdrawing is there for a crash in the instant in which some members saw all votes and others did not: those that
 * did are active and need the others, so these may not go on as someone else (vote.ts).
 *
 * Two instances that were both voted for have no incarnation in common, and who is active stays so. So a second one takes
 * another process of every member that is active in the first and lives: while there is one such member whose host runs no
 * copy of it, there is none. Two instances with a quorum each take copies of a quorum of members, run at the same time. More
 * can't be had: processes that hear only each other can't know of others, and nothing is kept on disk.
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
  onStateChange(state: Exclude<MemberState, 'voted' | 'withdrawn'>, reason: string): void;
  /** This process goes on as another incarnation: sessions that were made with the old one must end. */
  onNewIncarnation(): void;
}

/** While it forms, a replica repeats what it knows: a lost message must not hold the cluster up. */
const ANNOUNCE_INTERVAL_MS = 100;
/** Each was a process that crashed while the cluster formed; late words are of the last few. */
const GONE_COUNT_MAX = 64;

const UNDECIDED_STATES: readonly string[] = ['forming', 'voted', 'withdrawn'];

export class Formation {
  readonly #options: FormationOptions;
  /** What the members last said, by index; the own place is kept up to date, too. */
  readonly #incarnations: (string | undefined)[];
  readonly #proposals: (string | undefined)[];
  readonly #votes: (string | undefined)[];
  /** Incarnations that will not speak again: what still comes from them was under way. */
  readonly #gone = new Set<string>();
  #state: MemberState = 'forming';
  #vote: Vote | undefined;
  /** Pinned when active. */
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
    return this.#instance;
  }

  get incarnation(): string {
    return this.#incarnations[this.#options.memberIndex]!;
  }

  /** Members that have not been heard of; for people. */
  missingMembers(): number[] {
    return this.#incarnations.flatMap((incarnation, member) => (incarnation === undefined ? [member] : []));
  }

  tick(nowMs: number): void {
    if (!this.isUndecided || nowMs - this.#announcedMs < ANNOUNCE_INTERVAL_MS) return;
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
    if (this.#gone.has(message.incarnation)) return;
    const isFromUndecided = UNDECIDED_STATES.includes(message.state);
    if (!this.isUndecided) {
      // Those that are still forming are told how it ended.
      if (isFromUndecided) this.onStateRequest(session);
      return;
    }
    if (message.state === 'active') return this.#onActive(message);
    if (message.state === 'replaced') this.#onReplaced(message);
    else if (isFromUndecided) this.#learn(session, message);
    if (this.#vote?.isOver() === true) this.#beginAnew();
    this.#decide();
  }

  get isUndecided(): boolean {
    return UNDECIDED_STATES.includes(this.#state);
  }

  #learn(session: Session<Peer>, message: StateMessage): void {
    const { memberIndex: member, state, incarnation, incarnations } = message;
    const named = incarnations.length === this.#options.memberCount;
    const id = named ? this.#instanceOf(incarnations).id : undefined;
    this.#incarnations[member] = incarnation;
    this.#proposals[member] = id;
    this.#votes[member] = state === 'voted' ? id : undefined;
    if (id === undefined || state === 'forming') return;
    this.#vote?.onVoteOf(member, incarnation, id, message.goneMask);
    if (incarnations[this.#options.memberIndex] !== this.incarnation) this.#sayReplaced(session, incarnations);
    // It has not voted, so that set will never be; the one that waits for it is told so the next time.
    else if (state === 'withdrawn' && this.#vote === undefined) this.#beginAnew();
  }

  /** Whoever voted for a set with another incarnation at this place must know that it came before this one. */
  #sayReplaced(session: Session<Peer>, incarnations: readonly string[]): void {
    sendState(this.#options.messenger, session, { ...this.#message(), state: 'replaced', incarnations, goneMask: 0 });
  }

  /** The answer names the set, so it was sent after that was made: the sender's incarnation is the later one. */
  #onReplaced({ memberIndex: member, incarnation, incarnations }: StateMessage): void {
    if (this.#vote === undefined || incarnations.length !== this.#options.memberCount) return;
    const { instance } = this.#vote;
    const before = instance.incarnations[member]!;
    if (incarnation === before || this.#instanceOf(incarnations).id !== instance.id) return;
    if (this.#gone.size >= GONE_COUNT_MAX) this.#gone.delete(this.#gone.values().next().value!);
    this.#gone.add(before);
    // Each answer to an announcement is one like this: said anew at each, the two would go on as fast as the network does.
    if (!this.#vote.onGone(member)) return;
    this.#state = 'withdrawn';
    this.#announce();
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

  /** The vote can't be taken back, but its owner holds nothing yet and nobody needs it: it goes on as someone else. */
  #beginAnew(): void {
    const { memberIndex } = this.#options;
    this.#state = 'forming';
    this.#vote = undefined;
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
      this.#vote = new Vote(instance, memberIndex);
      this.#votes[memberIndex] = instance.id;
      this.#announce();
    }
    if (this.#state !== 'voted') return;
    const { instance } = this.#vote!;
    if (this.#votes.every((vote) => vote === instance.id)) this.#activate(instance);
  }

  #activate(instance: Instance): void {
    assert(this.isUndecided, 'a replica becomes active once');
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
      goneMask: this.#state === 'withdrawn' ? this.#vote!.goneMask : 0,
    };
  }

  #namedSet(): readonly string[] {
    if (this.#state === 'outside') return [];
    const instance = this.#instance ?? this.#vote?.instance;
    if (instance !== undefined) return instance.incarnations;
    const known = this.#incarnations.filter((incarnation) => incarnation !== undefined);
    return known.length === this.#options.memberCount ? known : [];
  }
}
