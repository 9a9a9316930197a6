/** When a replica may go on as another incarnation: not before nobody of the set it voted for can be active. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { instanceOf } from '../../src/protocol/instance.ts';
import { Vote } from '../../src/protocol/vote.ts';
import { hash } from '../../workers/signing.ts';

const OWN = 0;
const SET = ['a', 'b', 'c', 'd', 'e'];

function voted(): { vote: Vote; id: string } {
  const instance = instanceOf(new Uint8Array(16), SET, hash);
  return { vote: new Vote(instance, OWN), id: instance.id };
}

function mask(...members: number[]): number {
  return members.reduce((bits, member) => bits | (1 << member), 0);
}

test('should wait for the set while nobody of it is known to be gone, whatever the others say', () => {
  const { vote, id } = voted();
  for (const member of [1, 2, 3, 4]) vote.onVoteOf(member, SET[member]!, id, mask(0));
  assert.equal(vote.isWithdrawn, false);
  assert.equal(vote.isOver(), false);
});

test('should be over when all who are not gone have withdrawn', () => {
  const { vote, id } = voted();
  vote.onGone(4);
  assert.ok(vote.isWithdrawn);
  for (const member of [1, 2, 3]) {
    assert.equal(vote.isOver(), false, `${member} may be active`);
    vote.onVoteOf(member, SET[member]!, id, mask(4));
  }
  assert.ok(vote.isOver());
});

test('should not be over while one that has withdrawn may still believe an active member that is gone by now', () => {
  const { vote, id } = voted();
  vote.onGone(4);
  for (const member of [2, 3]) vote.onVoteOf(member, SET[member]!, id, mask(1, 4));
  vote.onGone(1);
  assert.ok(vote.isOver());
  const other = voted();
  other.vote.onGone(4);
  for (const member of [2, 3]) other.vote.onVoteOf(member, SET[member]!, id, mask(4));
  other.vote.onGone(1);
  assert.equal(other.vote.isOver(), false, 'late words of 1 may make 2 and 3 active');
  for (const member of [2, 3]) other.vote.onVoteOf(member, SET[member]!, id, mask(1));
  assert.ok(other.vote.isOver());
});

test('should be over when all the others are gone', () => {
  const { vote } = voted();
  for (const member of [1, 2, 3, 4]) {
    assert.equal(vote.isOver(), false);
    vote.onGone(member);
  }
  assert.ok(vote.isOver());
});

test('should be over at once when one of the set has voted for another set, and only then', () => {
  const { vote, id } = voted();
  vote.onVoteOf(1, 'another incarnation', 'another set', 0);
  vote.onVoteOf(1, SET[1]!, id, 0);
  assert.equal(vote.isOver(), false);
  vote.onVoteOf(1, SET[1]!, 'another set', 0);
  assert.ok(vote.isOver());
});
