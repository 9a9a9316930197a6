/** One transfer by parts to one peer: what is timed, how long a word is waited for, and how much is open at once. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RttEstimator } from '../../net/rtt.ts';
import { PartPeer } from '../../src/protocol/part-peer.ts';
import { OPEN_PER_PEER_MAX, PartTransfer } from '../../src/protocol/part-transfer.ts';
import { busyReply, progressReply } from './part-fixtures.ts';

const PART_COUNT = 6;
const FIRST_RTO_MS = new RttEstimator().rtoMs(0);
const TO = { slot: 0, generation: 1 };

class Sender {
  readonly peer: PartPeer;
  readonly counters = { partsRepeated: 0 };
  readonly transfer = new PartTransfer(this.counters);

  constructor(peer = new PartPeer()) {
    this.peer = peer;
    this.transfer.start(peer, PART_COUNT, 64);
  }

  /** Sends what it may, so many parts at most; returns them. */
  send(nowMs: number, partCount = Infinity): number[] {
    const sent: number[] = [];
    for (let part = 0; sent.length < partCount && (part = this.transfer.next(nowMs)) !== -1; sent.push(part)) {
      this.transfer.onSent(part, nowMs);
    }
    this.transfer.invariants();
    return sent;
  }

  /** The peer says that it has these. */
  has(parts: readonly number[], nowMs: number): boolean {
    return this.transfer.onProgress(undefined, progressReply(TO, parts, PART_COUNT).control, 0, nowMs);
  }

  saysBusy(nowMs: number): void {
    assert.ok(this.transfer.onProgress(undefined, busyReply(TO).control, 0, nowMs));
  }
}

test('should take the round trip of one part at a time, of the last of those that leave together', () => {
  const one = new Sender();
  one.send(0, 2);
  one.send(10, 1);
  one.has([0], 20);
  assert.equal(one.peer.rtoMs(0), FIRST_RTO_MS, 'part 1 is timed');
  one.has([0, 2], 25);
  assert.equal(one.peer.rtoMs(0), FIRST_RTO_MS, 'and no other one meanwhile');
  one.has([0, 1, 2], 40);
  const expected = new RttEstimator();
  expected.sample(40);
  assert.equal(one.peer.rtoMs(0), expected.rtoMs(0));
});

test('should take no round trip of a part that was sent twice', () => {
  const one = new Sender();
  one.send(0);
  assert.ok(one.transfer.onSilence(FIRST_RTO_MS));
  assert.ok(one.transfer.onSilence(3 * FIRST_RTO_MS));
  assert.deepEqual(one.send(3 * FIRST_RTO_MS), [0, 1, 2, 3, 4, 5]);
  one.has([0, 1, 2, 3, 4, 5], 3 * FIRST_RTO_MS + 1);
  // Were it taken, the next time-out would be about a millisecond. It is doubled: two passed before a word came.
  assert.equal(one.peer.rtoMs(0), Math.min(1_000, 4 * FIRST_RTO_MS));
});

test('should keep the longer time-out until a round trip is taken, for all that goes to the peer', () => {
  const one = new Sender();
  one.send(0, 2);
  assert.ok(!one.transfer.onSilence(FIRST_RTO_MS - 1));
  assert.ok(one.transfer.onSilence(FIRST_RTO_MS));
  one.has([0], FIRST_RTO_MS + 50);
  assert.equal(one.transfer.attempt, 0);
  const two = new Sender(one.peer);
  two.send(1_000);
  assert.equal(two.transfer.overdueMs, 1_000 + 2 * FIRST_RTO_MS);
  two.has([0, 1, 2, 3, 4, 5], 1_040);
  const expected = new RttEstimator();
  expected.sample(40);
  assert.equal(one.peer.rtoMs(0), expected.rtoMs(0));
});

test('should double the time-out that small messages have, while nothing is known of parts', () => {
  const attempts: number[] = [];
  const peer = new PartPeer((attempt) => attempts.push(attempt) && 7 << attempt);
  const one = new Sender(peer);
  one.send(0);
  assert.equal(one.transfer.overdueMs, 7);
  assert.ok(one.transfer.onSilence(7));
  assert.equal(one.transfer.overdueMs, 14);
  one.has([0], 20);
  assert.equal(peer.rtoMs(0), 14);
  assert.deepEqual(new Set(attempts), new Set([0, 1]));
  peer.sample(3);
  assert.ok(peer.rtoMs(1) > 0 && attempts.length === 4, 'no more once something is known');
});

test('should wait for nobody while nothing is under way, and for a word from when parts leave, or a word came', () => {
  const one = new Sender();
  assert.deepEqual([one.transfer.heardMs, one.transfer.overdueMs], [Infinity, Infinity]);
  assert.ok(!one.transfer.onSilence(10_000));
  one.send(10_000, 2);
  one.send(10_100, 1);
  assert.equal(one.transfer.overdueMs, 10_000 + FIRST_RTO_MS);
  one.has([0], 10_120);
  assert.equal(one.transfer.heardMs, 10_120);
  one.has([0, 1, 2], 10_130);
  assert.equal(one.transfer.overdueMs, Infinity);
});

test('should send one part again after a silence, all after the next, and count them', () => {
  const one = new Sender();
  one.send(0);
  assert.ok(one.transfer.onSilence(FIRST_RTO_MS));
  assert.deepEqual(one.send(FIRST_RTO_MS), [0]);
  assert.ok(one.transfer.onSilence(FIRST_RTO_MS * 4));
  assert.deepEqual(one.send(FIRST_RTO_MS * 4), [0, 1, 2, 3, 4, 5]);
  assert.deepEqual([one.transfer.attempt, one.counters.partsRepeated], [2, 7]);
});

test('should say when each part was sent at least once, and not forget it when some are sent again', () => {
  const one = new Sender();
  one.send(0, PART_COUNT - 1);
  assert.ok(!one.transfer.isWholeSent);
  one.send(0);
  assert.ok(one.transfer.isWholeSent);
  one.transfer.giveUp();
  assert.ok(one.transfer.isWholeSent);
  // Of another length they were not.
  one.transfer.start(one.peer, PART_COUNT + 1, 56);
  assert.ok(!one.transfer.isWholeSent);
});

test('should leave a busy peer alone, and then send one part at a time until it is not busy', () => {
  const one = new Sender();
  one.send(0);
  one.saysBusy(10);
  assert.deepEqual([one.send(10), one.transfer.sendsAgainMs], [[], 15]);
  assert.deepEqual(one.send(14), []);
  assert.deepEqual([one.send(15), one.transfer.sendsAgainMs], [[0], Infinity]);
  one.has([0], 16);
  assert.deepEqual(one.send(16), [1, 2, 3, 4, 5]);
  assert.equal(one.counters.partsRepeated, 6);
});

test('should send all again that a peer has forgotten which had it all', () => {
  const one = new Sender();
  one.send(0);
  one.has([0, 1, 2, 3, 4, 5], 1);
  assert.ok(one.transfer.isComplete);
  assert.ok(one.has([5], 2));
  assert.ok(!one.transfer.isComplete);
  assert.deepEqual(one.send(2), [0, 1, 2, 3, 4]);
});

test('should say whether a word has news', () => {
  const one = new Sender();
  one.send(0);
  assert.deepEqual([one.has([1], 1), one.has([1], 2), one.has([1, 2], 3)], [true, false, true]);
});

test('should have so many open at one peer, and one more whenever one is over', () => {
  const peer = new PartPeer();
  const open = Array.from({ length: OPEN_PER_PEER_MAX }, () => new Sender(peer));
  for (const one of open) one.send(0, 1);
  const next = new Sender(peer);
  assert.deepEqual([next.send(0), peer.openCount], [[], OPEN_PER_PEER_MAX]);
  assert.equal(open[0]!.send(0).length, PART_COUNT - 1, 'those that are open go on');
  open[0]!.transfer.onDone(1);
  open[0]!.transfer.close();
  assert.equal(peer.openCount, OPEN_PER_PEER_MAX - 1, 'it is over once');
  assert.equal(next.send(1).length, PART_COUNT);
});
