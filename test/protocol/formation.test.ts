/** Replicas that form a cluster: every order, loss and repetition of messages, restarts at any time. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { StateMessage } from '../../src/protocol/state-message.ts';
import { readState, sendState } from '../../src/protocol/state-message.ts';
import { clientPeer, memberPeer, MessageRecorder, sessionWith } from './fixtures.ts';
import type { Flying, Member } from './formation-world.ts';
import { action, play, World } from './formation-world.ts';

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
  a.messenger.take();
  claim({});
  assert.equal(a.formation.state, 'withdrawn');
  assert.ok(a.messenger.take().length > 0, 'the others are told');
  // Each announcement is answered with it: who announced anew at each answer would never stop.
  claim({});
  assert.equal(a.messenger.take().length, 0);
  // What the one that is gone said is not believed any more, not even by being active.
  claim({ state: 'active', incarnation: set[2]! });
  assert.equal(a.formation.state, 'withdrawn');
});
