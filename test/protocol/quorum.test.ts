import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MEMBERS_MAX } from '../../src/protocol/messages.ts';
import { hasMember, memberCountOf, quorumOf } from '../../src/protocol/quorum.ts';

test('should make any two quorums share a member, with no member more than that needs', () => {
  for (let memberCount = 1; memberCount <= MEMBERS_MAX; memberCount++) {
    const quorum = quorumOf(memberCount);
    assert.ok(2 * quorum > memberCount);
    assert.ok(2 * (quorum - 1) <= memberCount);
    const masks = Array.from({ length: 1 << memberCount }, (_, mask) => mask).filter(
      (m) => memberCountOf(m) === quorum,
    );
    for (const a of masks) for (const b of masks) assert.notEqual(a & b, 0);
  }
});

test('should count and find the members of every mask', () => {
  for (let mask = 0; mask < 1 << MEMBERS_MAX; mask++) {
    const members = Array.from({ length: MEMBERS_MAX }, (_, i) => i).filter((i) => hasMember(mask, i));
    assert.equal(memberCountOf(mask), members.length);
    assert.equal(
      members.reduce((sum, member) => sum + 2 ** member, 0),
      mask,
    );
  }
});
