/**
 * Hosts that run several copies of a replica, each with the keys of the one: how many it takes until two instances have a
 * quorum each. Of a set of processes that hears nothing from outside nobody in it can tell that there is another one.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { quorumOf } from '../../src/protocol/quorum.ts';
import { readState } from '../../src/protocol/state-message.ts';
import type { FormationClass, Substitution } from './formation-source.ts';
import { openedFormation } from './formation-source.ts';
import type { Action, Member } from './formation-world.ts';
import { action, copyAction, play, World } from './formation-world.ts';

const actions = fc.array(fc.oneof({ weight: 20, arbitrary: action }, { weight: 1, arbitrary: copyAction }), {
  maxLength: 200,
});

/** @param copiedMax Members that may be copied, from the memberCount. */
function copiesProperty(copiedMax: (memberCount: number) => number, formationClass?: FormationClass) {
  return fc.property(fc.integer({ min: 2, max: 5 }), fc.nat(4), actions, (memberCount, first, list) => {
    const world = new World(memberCount, formationClass);
    const of = ({ kind, at }: Action) => (kind === 'copy' ? first + (at % copiedMax(memberCount)) : at);
    play(
      world,
      list.map((one) => ({ ...one, at: of(one) })),
    );
    world.settle(5);
    world.check();
    if (copiedMax(memberCount) < quorumOf(memberCount)) assert.ok(world.ruling().length <= 1);
  });
}

const fewerThanQuorum = (memberCount: number) => quorumOf(memberCount) - 1;
const all = (memberCount: number) => memberCount;

test('should never let two instances rule although the host runs copies of fewer members than a quorum', () => {
  fc.assert(copiesProperty(fewerThanQuorum), { numRuns: 150 });
});

test('should let a later instance be only with a second process of each member that is active, however many are copied', () => {
  fc.assert(copiesProperty(all), { numRuns: 150 });
});

/** All that is under way among these arrives, and what comes of it; the rest is lost. */
function settleAmong(world: World, members: readonly Member[]): string[] {
  const heard: string[] = [];
  for (let round = 0; round < 5; round++) {
    for (const member of members) world.tick(member);
    while (world.flying.length > 0) {
      const flying = world.flying.shift()!;
      if (!members.includes(flying.from) || !members.includes(flying.to)) continue;
      heard.push(`${flying.from.index} to ${flying.to.index}: ${flying.control.join()}`);
      assert.ok(heard.length < 1_000, 'who answers an answer is not answered without end');
      world.deliver(flying);
      world.check();
    }
  }
  return heard;
}

test('should not be able to know of a second process of every member, when a host keeps the two sets apart', () => {
  for (const memberCount of [2, 3]) {
    const alone = new World(memberCount);
    const heardAlone = settleAmong(alone, alone.members);
    const world = new World(memberCount);
    const firsts = [...world.members];
    const seconds = firsts.map(({ index }) => world.start(index));
    // They are told what they would be told if there were no others: whatever they did here, they would do there.
    assert.deepEqual(settleAmong(world, firsts), heardAlone);
    settleAmong(world, seconds);
    assert.ok(world.members.every(({ formation }) => formation.isActive));
    assert.equal(world.ruling().length, 2);
    assert.equal(world.copied.size, memberCount);
  }
});

test('should hold to that where two copied members hear each other crosswise, and each finds a set of its own', () => {
  // Found by chance, and taken for a broken promise: both sets have both members, each as a process of its own.
  const world = new World(2);
  play(world, [
    { kind: 'copy', at: 1 },
    { kind: 'copy', at: 0 },
    { kind: 'tick', at: 0 },
    { kind: 'deliver', at: 0 },
    { kind: 'deliver first', at: 0 },
    { kind: 'deliver', at: 221 },
    { kind: 'deliver', at: 116 },
  ]);
  world.settle(5);
  world.check();
  assert.equal(world.ruling().length, 2);
  assert.deepEqual(
    [...world.copied].toSorted((a, b) => a - b),
    [0, 1],
  );
});

test('should take a quorum of copies, and no fewer, for a second quorum of active members', () => {
  const world = new World(3);
  const [a, b, c] = world.members as [Member, Member, Member];
  // All vote; a and b hear that, and c does not.
  for (const member of [a, b, c]) world.tick(member);
  while (world.flying.length > 0) {
    const flying = world.flying.shift()!;
    if (flying.to !== c || readState(flying.control, 0)!.state === 'forming') world.deliver(flying);
  }
  const states = () => [a, b, c].map(({ formation }) => formation.state);
  assert.deepEqual(states(), ['active', 'active', 'voted']);
  // A copy of a alone: c waits for b, which may be active, and is.
  const copyOfA = world.start(0);
  settleAmong(world, [copyOfA, c]);
  assert.deepEqual(states(), ['active', 'active', 'withdrawn']);
  // One of b, too: c knows of nobody who may be active, as after two crashes.
  const copyOfB = world.start(1);
  settleAmong(world, [copyOfA, copyOfB, c]);
  world.check();
  assert.equal(world.ruling().length, 2);
  assert.equal(world.copied.size, quorumOf(3));
});

const mutants: readonly { name: string; substitutions: readonly Substitution[]; failure: RegExp }[] = [
  {
    name: 'a replica goes on under the incarnation that it has voted with',
    substitutions: [
      {
        file: 'formation',
        find: 'this.#vote = undefined;\n        this.#incarnations[memberIndex] = this.#options.drawIncarnation();',
        replace: 'this.#vote = undefined;',
      },
    ],
    failure: /votes once, for good/,
  },
];

for (const { name, substitutions, failure } of mutants) {
  test(`mutant caught: ${name}`, () => {
    const property = copiesProperty(fewerThanQuorum, openedFormation(substitutions));
    const details = fc.check(property, { numRuns: 2_000, seed: 1, endOnFailure: true });
    assert.ok(details.failed, 'nothing wrong was seen');
    assert.match(String(details.errorInstance), failure);
  });
}
