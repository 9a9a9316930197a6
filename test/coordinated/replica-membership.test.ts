import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Link } from '../../net/link.ts';
import { ReplicaMembership } from '../../src/coordinated/replica-membership.ts';
import type { Instance } from '../../src/protocol/instance.ts';
import type { Peer } from '../../src/protocol/peer.ts';
import { memberPeer, sessionWith } from '../protocol/fixtures.ts';

const OWN = 1;
const INSTANCE: Instance = { id: 'id', incarnations: ['a', 'b', 'c'] };

/** Of member 1 of three. */
function membershipOf(formation: { isActive: boolean; instance: Instance | undefined; epoch: number }) {
  const links = [0, 1, 2].map((i) => (i === OWN ? undefined : new Link<Peer>('h', i, new Uint8Array(32))));
  const ownSession = sessionWith(memberPeer(OWN));
  const membership = new ReplicaMembership({ memberIndex: OWN, memberCount: 3, formation, links, ownSession });
  const connect = (member: number, incarnation: string): void => {
    links[member]!.session = sessionWith(memberPeer(member, incarnation), true);
    membership.update();
  };
  membership.update();
  return { membership, links, ownSession, connect };
}

test('should count itself, and the members whose sessions prove the incarnations of the instance', () => {
  const { membership, links, ownSession, connect } = membershipOf({ isActive: true, instance: INSTANCE, epoch: 4 });
  assert.deepEqual([membership.readyMask(), membership.epoch()], [0b010, 4]);
  connect(2, 'c');
  assert.equal(membership.readyMask(), 0b110);
  connect(0, 'a process that came later');
  assert.equal(membership.readyMask(), 0b110, 'it is empty: its answers would count for nothing');
  connect(0, 'a');
  assert.equal(membership.readyMask(), 0b111);
  assert.deepEqual(
    [0, 1, 2].map((member) => membership.session(member)),
    [links[0]!.session, ownSession, links[2]!.session],
  );
  links[2]!.session = undefined;
  membership.update();
  assert.equal(membership.readyMask(), 0b011);
});

test('should count nobody while it is not active', () => {
  const formation = { isActive: false, instance: undefined as Instance | undefined, epoch: 1 };
  const { membership, connect } = membershipOf(formation);
  connect(0, 'a');
  connect(2, 'c');
  assert.equal(membership.readyMask(), 0);
});
