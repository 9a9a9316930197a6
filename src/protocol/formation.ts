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
 * Each replica draws a random incarnation at start and tells the others what it knows. When it knows the incarnation of
 * all n, it votes for that set. It becomes active when all n vote for one set, or when an active member shows it a set
 * that it belongs to. An active member never votes again. So two instances that share a living active member can't
 * exist, and while a quorum of an instance lives no other instance can form: a replica that comes back with another
 * incarnation meets an active member and stays outside. It holds nothing on disk that the host could wipe or put back.
 *
 *     forming --all n vote for the set, or an active member shows it--> active
 *     forming --an active member shows a set without it--> outside (until the process ends)
 */
export interface FormationOptions {
  readonly clusterId: Uint8Array;
  readonly epoch: number;
  readonly memberIndex: number;
  readonly memberCount: number;
  /** Own incarnation, 32 hex digits. */
  readonly incarnation: string;
  readonly messenger: Messenger;
  readonly hash: InstanceHash;
  /** Sessions with the other replicas that can be sent on now. */
  peerSessions(): Iterable<Session<Peer>>;
  onStateChange(state: MemberState, reason: string): void;
}

/** While it forms, a replica repeats what it knows: a lost message must not hold the cluster up. */
const ANNOUNCE_INTERVAL_MS = 100;

export class Formation {
  readonly #options: FormationOptions;
  readonly #incarnations: (string | undefined)[];
  /** Instance ids the members vote for, as far as known. */
  readonly #votes: (string | undefined)[];
  #state: MemberState = 'forming';
  #instance: Instance | undefined;
  #announcedMs = -Infinity;

  constructor(options: FormationOptions) {
    this.#options = options;
    this.#incarnations = Array.from<string | undefined>({ length: options.memberCount });
    this.#votes = Array.from<string | undefined>({ length: options.memberCount });
    this.#incarnations[options.memberIndex] = options.incarnation;
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
    return this.#options.incarnation;
  }

  /** Members that have not been heard of; for people. */
  missingMembers(): number[] {
    return this.#incarnations.flatMap((incarnation, member) => (incarnation === undefined ? [member] : []));
  }

  tick(nowMs: number): void {
    if (this.#state !== 'forming' || nowMs - this.#announcedMs < ANNOUNCE_INTERVAL_MS) return;
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
    if (message.memberIndex === this.#options.memberIndex || this.#state !== 'forming') {
      if (message.state === 'forming' && this.#state !== 'forming') this.onStateRequest(session);
      return;
    }
    if (message.state === 'active') return this.#onActive(message);
    if (message.state === 'outside') return;
    this.#incarnations[message.memberIndex] = message.incarnation;
    this.#votes[message.memberIndex] = this.#voteOf(message);
    this.#decide();
  }

  /** A member that is active decides for those that still form: they are in its set, or outside for good. */
  #onActive(message: StateMessage): void {
    const { memberIndex, incarnation, memberCount } = this.#options;
    if (message.incarnations.length !== memberCount || message.epoch !== this.#options.epoch) return;
    if (message.incarnations[memberIndex] === incarnation)
      return this.#activate(this.#instanceOf(message.incarnations));
    this.#state = 'outside';
    this.#options.onStateChange(
      'outside',
      `cluster instance ${this.#instanceOf(message.incarnations).id.slice(0, 8)} is active without this incarnation: ` +
        'a replica that restarts is empty and may not vote; ' +
        'restart all replicas to begin a new, empty instance',
    );
  }

  #decide(): void {
    const { memberIndex, memberCount } = this.#options;
    const incarnations = this.#incarnations.filter((incarnation) => incarnation !== undefined);
    if (incarnations.length < memberCount) return;
    const instance = this.#instanceOf(incarnations);
    if (this.#votes[memberIndex] !== instance.id) {
      this.#votes[memberIndex] = instance.id;
      this.#announce();
    }
    if (this.#votes.every((vote) => vote === instance.id)) this.#activate(instance);
  }

  #activate(instance: Instance): void {
    assert(this.#state === 'forming', 'a replica becomes active once');
    assert(instance.incarnations[this.#options.memberIndex] === this.incarnation, 'it belongs to its own instance');
    this.#instance = instance;
    this.#state = 'active';
    this.#announce();
    this.#options.onStateChange('active', `cluster instance ${instance.id.slice(0, 8)}, epoch ${this.epoch}`);
  }

  #voteOf(message: StateMessage): string | undefined {
    const { memberCount } = this.#options;
    return message.incarnations.length === memberCount ? this.#instanceOf(message.incarnations).id : undefined;
  }

  #instanceOf(incarnations: readonly string[]): Instance {
    return instanceOf(this.#options.clusterId, incarnations, this.#options.hash);
  }

  #announce(): void {
    const message = this.#message();
    for (const session of this.#options.peerSessions()) sendState(this.#options.messenger, session, message);
  }

  #message(): StateMessage {
    const known = this.#incarnations.filter((incarnation) => incarnation !== undefined);
    const voted = known.length === this.#options.memberCount ? known : [];
    return {
      state: this.#state,
      memberIndex: this.#options.memberIndex,
      epoch: this.#options.epoch,
      incarnation: this.#options.incarnation,
      incarnations: this.#state === 'active' ? this.#instance!.incarnations : this.#state === 'forming' ? voted : [],
    };
  }
}
