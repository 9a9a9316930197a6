/**
 * Replicas that form a cluster, connected by hand, as many processes a place as the host likes: messages arrive in any
 * order, repeated or never. check() says what must hold all the while.
 */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import type { Session } from '../../net/session.ts';
import { Formation } from '../../src/protocol/formation.ts';
import { instanceOf } from '../../src/protocol/instance.ts';
import type { Peer } from '../../src/protocol/peer.ts';
import { quorumOf } from '../../src/protocol/quorum.ts';
import type { StateMessage } from '../../src/protocol/state-message.ts';
import { readState } from '../../src/protocol/state-message.ts';
import { hash } from '../../workers/signing.ts';
import { seededBytes } from '../workers/random.ts';
import { memberPeer, MessageRecorder, sessionWith } from './fixtures.ts';
import type { FormationClass } from './formation-source.ts';

const CLUSTER_ID = seededBytes(16, 4);

export interface Flying {
  readonly from: Member;
  readonly to: Member;
  readonly control: Int32Array;
}

/** A process. It never knows whether it is one of several for its place. */
export class Member {
  readonly world: World;
  readonly index: number;
  readonly messenger = new MessageRecorder();
  readonly sessions = new Map<Member, Session<Peer>>();
  readonly formation: Formation;
  readonly changes: string[] = [];
  reason = '';
  alive = true;

  constructor(world: World, index: number, epoch: number) {
    this.world = world;
    this.index = index;
    this.formation = new world.formationClass({
      clusterId: CLUSTER_ID,
      epoch,
      memberIndex: index,
      memberCount: world.memberCount,
      messenger: this.messenger,
      hash,
      drawIncarnation: () => (++world.drawn).toString(16).padStart(32, '0'),
      peerSessions: () => this.#peerSessions(),
      onStateChange: (state, reason) => {
        this.changes.push(state);
        this.reason = reason;
      },
      onNewIncarnation: () => {},
    });
  }

  sessionTo(other: Member): Session<Peer> {
    let session = this.sessions.get(other);
    if (session === undefined) {
      session = sessionWith(memberPeer(other.index), true);
      this.sessions.set(other, session);
    }
    return session;
  }

  *#peerSessions(): IterableIterator<Session<Peer>> {
    for (const other of this.world.living()) if (other.index !== this.index) yield this.sessionTo(other);
  }
}

export class World {
  readonly memberCount: number;
  readonly formationClass: FormationClass;
  readonly members: Member[] = [];
  flying: Flying[] = [];
  drawn = 0;
  nowMs = 0;
  /** Sets that an incarnation was seen to vote for, by incarnation. */
  readonly votes = new Map<string, Set<string>>();
  /** Incarnations of each instance that somebody became active in. */
  readonly active = new Map<string, readonly string[]>();
  /** Members of which two processes lived at once. */
  readonly copied = new Set<number>();

  /** @param formationClass With a rule left out, maybe. */
  constructor(memberCount: number, formationClass: FormationClass = Formation) {
    this.memberCount = memberCount;
    this.formationClass = formationClass;
    for (let index = 0; index < memberCount; index++) this.start(index);
  }

  start(index: number, epoch = 1): Member {
    if (this.living().some((member) => member.index === index)) this.copied.add(index);
    const member = new Member(this, index, epoch);
    this.members.push(member);
    this.#collect(member);
    return member;
  }

  living(): Member[] {
    return this.members.filter((member) => member.alive);
  }

  restart(index: number): Member {
    for (const member of this.members) if (member.index === index) member.alive = false;
    return this.start(index);
  }

  tick(member: Member): void {
    if (!member.alive) return;
    this.nowMs += 100;
    member.formation.tick(this.nowMs);
    this.#collect(member);
  }

  /** A message of a process that is dead by now may still arrive; one to a dead process does not. */
  deliver({ from, to, control }: Flying): void {
    if (!to.alive) return;
    to.formation.onState(to.sessionTo(from), control, 0);
    this.#collect(to);
  }

  /** Everything arrives, in order, and time passes. */
  settle(rounds = 40): void {
    for (let round = 0; round < rounds; round++) {
      for (const member of this.living()) this.tick(member);
      for (let left = 2_000; this.flying.length > 0 && left > 0; left--) this.deliver(this.flying.shift()!);
    }
  }

  #collect(member: Member): void {
    for (const { session, control } of member.messenger.take()) {
      const message = readState(control, 0)!;
      this.#note(member, message);
      const [to] = [...member.sessions].find(([, own]) => own === session)!;
      this.flying.push({ from: member, to, control: control.slice() });
    }
    const { instance } = member.formation;
    if (instance !== undefined) this.active.set(instance.id, instance.incarnations);
  }

  #note(member: Member, { state, incarnation, incarnations }: StateMessage): void {
    if (state !== 'voted' && state !== 'withdrawn') return;
    assert.equal(incarnations[member.index], incarnation, 'nobody votes for a set without itself');
    const sets = this.votes.get(incarnation) ?? new Set();
    this.votes.set(incarnation, sets.add(instanceOf(CLUSTER_ID, incarnations, hash).id));
  }

  /** Whether crashes alone took the quorum of an instance that somebody was active in: by design, people must help. */
  isLostToCrashes(): boolean {
    const crashed = this.members.filter(({ alive }) => !alive).map(({ formation }) => formation.incarnation);
    return [...this.active.values()].some(
      (set) => set.filter((incarnation) => !crashed.includes(incarnation)).length < quorumOf(this.memberCount),
    );
  }

  /** Whether a quorum of members is active in one instance. */
  isServing(): boolean {
    return [...this.active.keys()].some(
      (id) =>
        this.living().filter(({ formation }) => formation.instance?.id === id).length >= quorumOf(this.memberCount),
    );
  }

  /** Instances of which a quorum of members is active. */
  ruling(): string[] {
    return [...this.active.keys()].filter((id) => {
      const members = this.living().filter(({ formation }) => formation.instance?.id === id);
      return new Set(members.map(({ index }) => index)).size >= quorumOf(this.memberCount);
    });
  }

  /** What must hold at all times. */
  check(): void {
    for (const [incarnation, sets] of this.votes) assert.equal(sets.size, 1, `${incarnation} votes once, for good`);
    const sets = [...this.active.values()];
    for (const [i, a] of sets.entries()) {
      for (const b of sets.slice(i + 1)) {
        assert.ok(
          a.every((incarnation) => !b.includes(incarnation)),
          'two instances share no incarnation',
        );
      }
    }
    this.#checkLater(sets);
    for (const { changes, formation } of this.members) {
      assert.ok(changes.length <= 1, 'active and outside are for good');
      assert.equal(formation.isActive, changes[0] === 'active');
    }
  }

  /** A later instance takes a second process of every member that is active in an earlier one and lives. */
  #checkLater(sets: readonly (readonly string[])[]): void {
    // Incarnations are drawn in ascending order.
    const earlierFirst = sets.toSorted((a, b) => (lastOf(a) < lastOf(b) ? -1 : 1));
    for (const { index, formation } of this.living()) {
      const incarnations = formation.instance?.incarnations;
      if (incarnations === undefined || lastOf(incarnations) === lastOf(earlierFirst.at(-1)!)) continue;
      assert.ok(
        this.copied.has(index),
        `${index} is active in one instance, its only process, and there is a later one`,
      );
    }
    const isHeldTwice = this.ruling().length > 1;
    assert.ok(
      !isHeldTwice || this.copied.size >= quorumOf(this.memberCount),
      'two instances have a quorum of active members only where a quorum of members was copied',
    );
  }
}

function lastOf(incarnations: readonly string[]): string {
  return incarnations.toSorted().at(-1)!;
}

export const action = fc.oneof(
  { weight: 12, arbitrary: fc.record({ kind: fc.constant('deliver' as const), at: fc.nat(500) }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('deliver first' as const), at: fc.constant(0) }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('repeat' as const), at: fc.nat(500) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('lose' as const), at: fc.nat(500) }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('tick' as const), at: fc.nat(20) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('restart' as const), at: fc.nat(4) }) },
);
export const copyAction = fc.record({ kind: fc.constant('copy' as const), at: fc.nat(4) });

export type Action = { readonly kind: string; readonly at: number };

export function play(world: World, actions: readonly Action[]): void {
  for (const { kind, at } of actions) {
    const place = world.flying.length === 0 ? -1 : at % world.flying.length;
    if (kind === 'tick') world.tick(world.members[at % world.members.length]!);
    else if (kind === 'restart') world.restart(at % world.memberCount);
    else if (kind === 'copy') world.start(at % world.memberCount);
    else if (place !== -1) {
      if (kind !== 'lose') world.deliver(world.flying[place]!);
      if (kind !== 'repeat') world.flying.splice(place, 1);
    }
    world.check();
  }
}
