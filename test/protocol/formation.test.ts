/**
 * Replicas that form a cluster, connected by hand: every order, loss and repetition of messages, restarts at any time,
 * and hosts that run two copies of a replica.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Session } from '../../net/session.ts';
import { Formation } from '../../src/protocol/formation.ts';
import { instanceOf } from '../../src/protocol/instance.ts';
import type { Peer } from '../../src/protocol/peer.ts';
import { quorumOf } from '../../src/protocol/quorum.ts';
import type { StateMessage } from '../../src/protocol/state-message.ts';
import { readState, sendState } from '../../src/protocol/state-message.ts';
import { hash } from '../../workers/signing.ts';
import { seededBytes } from '../workers/random.ts';
import { clientPeer, memberPeer, MessageRecorder, sessionWith } from './fixtures.ts';

const CLUSTER_ID = seededBytes(16, 4);

interface Flying {
  readonly from: Member;
  readonly to: Member;
  readonly control: Int32Array;
}

/** A process. It never knows whether it is one of several for its place. */
class Member {
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
    this.formation = new Formation({
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

class World {
  readonly memberCount: number;
  readonly members: Member[] = [];
  flying: Flying[] = [];
  drawn = 0;
  nowMs = 0;
  /** Sets that an incarnation was seen to vote for, by incarnation. */
  readonly votes = new Map<string, Set<string>>();
  /** Incarnations of each instance that somebody became active in. */
  readonly active = new Map<string, readonly string[]>();

  constructor(memberCount: number) {
    this.memberCount = memberCount;
    for (let index = 0; index < memberCount; index++) this.start(index);
  }

  start(index: number, epoch = 1): Member {
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
    const quorum = quorumOf(this.memberCount);
    const held = [...this.active.keys()].filter(
      (id) =>
        new Set(
          this.living()
            .filter((m) => m.formation.instance?.id === id)
            .map((m) => m.index),
        ).size >= quorum,
    );
    assert.ok(held.length <= 1, 'two instances never both have a quorum of active members');
    for (const { changes, formation } of this.members) {
      assert.ok(changes.length <= 1, 'active and outside are for good');
      assert.equal(formation.isActive, changes[0] === 'active');
    }
  }
}

test('should form a cluster of any size when everybody hears everybody, all in one instance', () => {
  for (let memberCount = 1; memberCount <= 7; memberCount++) {
    const world = new World(memberCount);
    world.settle(5);
    world.check();
    assert.ok(world.members.every(({ formation }) => formation.state === 'active'));
    assert.equal(world.active.size, 1);
    const incarnations = world.members.map(({ formation }) => formation.incarnation);
    assert.deepEqual([...world.active.values()][0], incarnations);
  }
});

test('should not form while one member is missing, and say which', () => {
  const world = new World(3);
  world.members[1]!.alive = false;
  world.flying = [];
  world.settle();
  assert.ok(world.living().every(({ formation }) => formation.state === 'forming'));
  assert.deepEqual(world.members[0]!.formation.missingMembers(), [1]);
  world.restart(1);
  world.settle(5);
  assert.ok(world.living().every(({ formation }) => formation.isActive));
});

test('should keep a member outside that restarts after the cluster was formed, and tell it why', () => {
  for (const index of [0, 1, 2]) {
    const world = new World(3);
    world.settle(5);
    const again = world.restart(index);
    world.settle(5);
    world.check();
    assert.equal(again.formation.state, 'outside');
    assert.equal(again.formation.instance, undefined);
    assert.match(again.reason, /restarts is empty and may not vote/);
    assert.equal(world.living().filter(({ formation }) => formation.isActive).length, 2);
  }
});

test('should keep restarted members outside even when a majority restarted, while one of the instance lives', () => {
  const world = new World(3);
  world.settle(5);
  world.restart(0);
  world.restart(1);
  world.settle();
  world.check();
  assert.deepEqual(
    world
      .living()
      .map(({ index, formation }) => `${index} ${formation.state}`)
      .toSorted(),
    ['0 outside', '1 outside', '2 active'],
  );
});

test('should form a new, empty instance when all restarted', () => {
  const world = new World(3);
  world.settle(5);
  for (const index of [0, 1, 2]) world.restart(index);
  world.settle();
  world.check();
  assert.ok(world.living().every(({ formation }) => formation.isActive));
  assert.equal(world.active.size, 2);
});

test('should come to an end when a member restarts before the vote, or in its middle', () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 60 }), fc.nat(2), (delivered, index) => {
      const world = new World(3);
      for (const member of world.living()) world.tick(member);
      for (let i = 0; i < delivered && world.flying.length > 0; i++) world.deliver(world.flying.shift()!);
      world.restart(index);
      world.settle();
      world.check();
      const states = world.living().map(({ formation }) => formation.state);
      assert.ok(
        states.every((state) => state === 'active' || state === 'outside'),
        states.join(),
      );
      assert.ok(world.isServing(), 'one restart never costs the cluster its quorum');
    }),
  );
});

const action = fc.oneof(
  { weight: 12, arbitrary: fc.record({ kind: fc.constant('deliver' as const), at: fc.nat(500) }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('deliver first' as const), at: fc.constant(0) }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('repeat' as const), at: fc.nat(500) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('lose' as const), at: fc.nat(500) }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('tick' as const), at: fc.nat(20) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('restart' as const), at: fc.nat(4) }) },
);
const copyAction = fc.record({ kind: fc.constant('copy' as const), at: fc.nat(4) });

type Action = { readonly kind: string; readonly at: number };

function play(world: World, actions: readonly Action[]): void {
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

test('should never let two instances rule, nor an incarnation vote twice, in any order of messages and restarts', () => {
  fc.assert(
    fc.property(fc.integer({ min: 2, max: 5 }), fc.array(action, { maxLength: 200 }), (memberCount, actions) => {
      const world = new World(memberCount);
      play(world, actions);
      world.settle();
      world.check();
      const states = world.living().map(({ formation }) => formation.state);
      assert.ok(
        states.every((state) => state === 'active' || state === 'outside'),
        `all is decided: ${states.join()}`,
      );
      // With more members, one may be outside an instance that then lost its only active member.
      if (memberCount <= 3) assert.ok(world.isServing() || world.isLostToCrashes(), `service: ${states.join()}`);
    }),
    { numRuns: 300 },
  );
});

test('should never let two instances rule although the host runs several copies of a replica', () => {
  const actions = fc.array(fc.oneof({ weight: 20, arbitrary: action }, { weight: 1, arbitrary: copyAction }), {
    maxLength: 200,
  });
  fc.assert(
    fc.property(fc.integer({ min: 2, max: 4 }), actions, (memberCount, list) => {
      const world = new World(memberCount);
      play(world, list);
      world.settle(5);
      world.check();
    }),
    { numRuns: 150 },
  );
});

test('should not let late words of a dead process make one instance while the living make another', () => {
  const world = new World(3);
  const [a, b, c] = world.members as [Member, Member, Member];
  /** Everything that was said so far stays on its way, and may arrive again. */
  const said: Flying[] = [];
  const hear = (to: Member, from: Member, matches: (message: StateMessage) => boolean) => {
    said.push(...world.flying.splice(0));
    const found = said.findLast(
      (flying) => flying.from === from && flying.to === to && matches(readState(flying.control, 0)!),
    );
    assert.ok(found !== undefined, `${to.index} can hear that of ${from.index}`);
    world.deliver(found);
    world.check();
  };
  const any = () => true;
  for (const member of [a, b, c]) world.tick(member);
  const names = (with_: Member) => (message: StateMessage) =>
    message.state === 'forming' && message.incarnations.includes(with_.formation.incarnation);
  const { incarnation: firstC } = c.formation;
  // All three propose {a, b, c}; only c hears all of it, and votes.
  for (const [to, from] of [
    [a, b],
    [a, c],
    [b, a],
    [b, c],
    [c, a],
    [c, b],
  ] as const)
    hear(to, from, any);
  hear(c, a, names(c));
  hear(c, b, names(c));
  assert.equal(c.formation.state, 'voted');
  // c is started anew; a and b hear of it and propose {a, b, c2}.
  const c2 = world.restart(2);
  world.tick(c2);
  hear(a, c2, any);
  hear(b, c2, any);
  hear(c2, a, any);
  hear(c2, b, any);
  // Then words of the dead c reach b, which votes with it.
  hear(b, a, (message) => message.incarnations.includes(firstC));
  hear(b, c, names(c));
  hear(b, c, (message) => message.state === 'voted');
  // a and c2 go by what b said before.
  hear(a, b, names(c2));
  hear(a, c2, names(c2));
  hear(c2, a, names(c2));
  hear(c2, b, names(c2));
  if (a.formation.state === 'voted') hear(c2, a, (message) => message.state === 'voted');
  if (c2.formation.state === 'voted') hear(a, c2, (message) => message.state === 'voted');
  assert.equal(world.active.size, 0, 'each set lacks a vote');
  world.settle();
  world.check();
});

test('should believe no STATE of a client, of another member, of another epoch, or about itself', () => {
  const world = new World(2);
  const [a, b] = world.members as [Member, Member];
  const claim = (message: Partial<StateMessage>): Int32Array => {
    const recorder = new MessageRecorder();
    sendState(recorder, a.sessionTo(b), {
      state: 'active',
      memberIndex: 1,
      epoch: 1,
      incarnation: b.formation.incarnation,
      incarnations: [a.formation.incarnation, b.formation.incarnation],
      goneMask: 0,
      ...message,
    });
    return recorder.take()[0]!.control;
  };
  const { formation } = a;
  const client = clientPeer({ writerHigh: 1, writerLow: 1 });
  formation.onState(sessionWith({ ...client, identity: { ...client.identity, memberIndex: 1 } }), claim({}), 0);
  formation.onState(sessionWith(memberPeer(0)), claim({}), 0);
  formation.onState(sessionWith(memberPeer(0)), claim({ memberIndex: 0 }), 0);
  formation.onState(a.sessionTo(b), claim({ epoch: 2 }), 0);
  formation.onState(a.sessionTo(b), claim({ incarnations: [a.formation.incarnation] }), 0);
  assert.equal(formation.state, 'forming');
  formation.onState(a.sessionTo(b), claim({}), 0);
  assert.equal(formation.state, 'active');
});

test('should withdraw only when another incarnation answers to the set that it voted for', () => {
  const world = new World(3);
  const [a, b, c] = world.members as [Member, Member, Member];
  for (const member of [a, b, c]) world.tick(member);
  while (a.formation.state !== 'voted' && world.flying.length > 0) {
    const next = world.flying.shift()!;
    if (next.to === a) world.deliver(next);
    else if (readState(next.control, 0)!.state === 'forming') world.deliver(next);
  }
  assert.equal(a.formation.state, 'voted');
  const set = world.members.map(({ formation }) => formation.incarnation);
  const claim = (message: Partial<StateMessage>): void => {
    const recorder = new MessageRecorder();
    const said = { memberIndex: 2, epoch: 1, incarnation: 'f'.repeat(32), incarnations: set, goneMask: 0 } as const;
    sendState(recorder, a.sessionTo(c), { ...said, state: 'replaced', ...message });
    a.formation.onState(a.sessionTo(c), recorder.take()[0]!.control, 0);
  };
  const late = 'e'.repeat(32);
  claim({ incarnation: set[2]! });
  claim({ incarnations: [set[0]!, set[1]!, late] });
  claim({ incarnations: [] });
  // Words of an incarnation that came before the one in the set.
  claim({ state: 'forming', incarnation: late, incarnations: [set[0]!, set[1]!, late] });
  assert.equal(a.formation.state, 'voted');
  claim({});
  assert.equal(a.formation.state, 'withdrawn');
  // What the one that is gone said is not believed any more, not even by being active.
  claim({ state: 'active', incarnation: set[2]! });
  assert.equal(a.formation.state, 'withdrawn');
});
