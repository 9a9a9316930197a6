/** A replica that is asked PREPARE, ACCEPT and COMMIT, one at a time. */
import assert from 'node:assert/strict';
import { FLAG_VALUE, MESSAGE_READ } from '../../src/protocol/messages.ts';
import { seededBytes } from '../workers/random.ts';
import { askOf, bytesOf, NO_STAMP, parseReadReply } from './fixtures.ts';
import type { Message, Stamp } from './fixtures.ts';
import { ReplicaHarness, WRITER } from './replica-harness.ts';
import { commitOf, parseRmw } from './rmw-fixtures.ts';
import type { Ballot, Id, Proposed, RmwMessage } from './rmw-fixtures.ts';

export const KEY = bytesOf('a key');
export const TAG = Int32Array.of(1, 2, 3, 4);
export const OTHER_TAG = Int32Array.of(1, 2, 3, 5);
export const OTHER = { writerHigh: 3, writerLow: 9 };
export const FIRST: Stamp = { ...NO_STAMP, rmw: 1 };

export function ballot(number: number, writer = WRITER): Ballot {
  return { number, writer };
}

export function id(sequence: number, writer = WRITER): Id {
  return { sequence, writer };
}

export function proposed(change: Partial<Proposed> = {}): Proposed {
  return { id: id(1), stamp: FIRST, envelope: seededBytes(40, 1), tag: TAG, ...change };
}

export function ask(replica: ReplicaHarness, message: Message, session = replica.session): RmwMessage {
  const answers = replica.ask([message], session);
  replica.store.invariants();
  assert.equal(answers.length, 1, 'there is one answer');
  const answer = parseRmw(answers[0]!);
  assert.deepEqual([answer.slot, answer.generation], [1, 1]);
  return answer;
}

export function stored(replica: ReplicaHarness) {
  return parseReadReply(replica.ask([askOf(MESSAGE_READ, FLAG_VALUE, KEY)])[0]!);
}

/** A replica that has decided slots 1 to n, one increment of the stamp each. */
export function decidedUpTo(slot: number): ReplicaHarness {
  const replica = new ReplicaHarness();
  for (let i = 1; i <= slot; i++) {
    const sealed = { envelope: seededBytes(40, i), tag: TAG };
    const ring = [{ slot: i, id: id(i) }];
    assert.equal(ask(replica, commitOf(KEY, i, { stamp: { ...NO_STAMP, rmw: i }, ring, sealed })).flags, 0);
  }
  return replica;
}
