/** Which part is sent next, and which counts as lost. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { PARTS_MAX } from '../../src/protocol/messages.ts';
import { PartTracker } from '../../src/protocol/part-tracker.ts';

function trackerOf(partCount: number): PartTracker {
  const tracker = new PartTracker();
  tracker.start(partCount);
  return tracker;
}

/** Sends up to so many parts; returns them. */
function send(tracker: PartTracker, count = Infinity): number[] {
  const sent: number[] = [];
  for (let part = tracker.next(); part !== -1 && sent.length < count; part = tracker.next()) {
    tracker.onSent(part);
    sent.push(part);
  }
  tracker.invariants();
  return sent;
}

test('parts are sent once, in order, and are whole when all have arrived', () => {
  const tracker = trackerOf(5);
  assert.deepEqual(send(tracker), [0, 1, 2, 3, 4]);
  for (const part of [2, 0, 4, 1]) {
    assert.ok(tracker.onArrived(part));
    assert.ok(!tracker.onArrived(part), 'that is no news');
    assert.ok(!tracker.isComplete);
  }
  assert.ok(tracker.onArrived(3));
  assert.ok(tracker.isComplete);
  assert.deepEqual(send(tracker), []);
});

test('a part that three later ones have overtaken is lost, and it alone is sent again', () => {
  const tracker = trackerOf(6);
  send(tracker);
  tracker.onArrived(0);
  tracker.onArrived(2);
  tracker.onArrived(3);
  assert.equal(tracker.takeLost(), 0, 'two have overtaken it');
  tracker.onArrived(4);
  assert.equal(tracker.takeLost(), 1);
  assert.deepEqual(send(tracker), [1]);
  assert.equal(tracker.takeLost(), 0);
  // Sent last now: nothing has overtaken it since.
  tracker.onArrived(5);
  assert.equal(tracker.takeLost(), 0);
});

test('after silence what is under way is sent again, and nothing else', () => {
  const tracker = trackerOf(8);
  send(tracker, 5);
  tracker.onArrived(1);
  assert.equal(tracker.giveUp(), 4);
  assert.equal(tracker.underWayCount, 0);
  assert.deepEqual(send(tracker), [0, 2, 3, 4, 5, 6, 7]);
});

test('after a first silence the part that was sent first is sent again, to learn what has become of the others', () => {
  const tracker = trackerOf(8);
  send(tracker);
  tracker.onArrived(0);
  assert.equal(tracker.probe(), 1);
  assert.deepEqual(send(tracker), [1]);
  // Its answer says that all the others but two have arrived.
  for (const part of [1, 2, 3, 6, 7]) tracker.onArrived(part);
  assert.equal(tracker.takeLost(), 2);
  assert.deepEqual(send(tracker), [4, 5]);
  for (const part of [4, 5]) tracker.onArrived(part);
  assert.equal(tracker.probe(), 0);
  assert.ok(tracker.isComplete);
});

test('a late arrival of what was given up counts', () => {
  const tracker = trackerOf(3);
  send(tracker);
  tracker.giveUp();
  assert.ok(tracker.onArrived(0));
  assert.deepEqual(send(tracker), [1, 2]);
});

test('what a receiver that began anew lacks is sent again', () => {
  const tracker = trackerOf(70);
  for (const part of send(tracker)) tracker.onArrived(part);
  tracker.takeLost();
  const has = (part: number) => part === 3 || part === 64;
  const bitmap = new Int32Array(8);
  for (let part = 0; part < 70; part++) if (has(part)) bitmap[2 + (part >> 5)]! |= 1 << (part & 31);
  assert.equal(tracker.onForgotten(bitmap, 2, 4), 68);
  const again = send(tracker);
  assert.equal(again.length, 68);
  assert.ok(!again.some(has));
});

test('parts beyond the last are no news', () => {
  const tracker = trackerOf(2);
  assert.ok(!tracker.onArrived(2));
  assert.ok(!tracker.onArrived(PARTS_MAX + 5));
  assert.ok(!tracker.isUnderWay(7));
});

test('used again, it knows nothing of what it tracked before', () => {
  const tracker = trackerOf(PARTS_MAX);
  for (const part of send(tracker)) tracker.onArrived(part);
  tracker.start(2);
  assert.deepEqual(send(tracker), [0, 1]);
  tracker.onArrived(1);
  assert.equal(tracker.takeLost(), 0);
});

test('whatever is lost, delayed and reordered, each part is under way once at most and all arrive in the end', () => {
  const step = fc.record({ kind: fc.constantFrom('send', 'arrive', 'lose', 'probe', 'silence'), at: fc.nat() });
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 60 }), fc.array(step, { maxLength: 300 }), (partCount, steps) => {
      const tracker = trackerOf(partCount);
      let inNetwork: number[] = [];
      for (const { kind, at } of steps) {
        const index = inNetwork.length === 0 ? 0 : at % inNetwork.length;
        if (kind === 'send') inNetwork.push(...send(tracker, 1 + (at % 4)));
        else if (kind === 'silence') tracker.giveUp();
        else if (kind === 'probe') tracker.probe();
        else if (inNetwork.length > 0) {
          const [part] = inNetwork.splice(index, 1);
          if (kind === 'arrive') {
            tracker.onArrived(part!);
            tracker.takeLost();
          }
        }
        tracker.invariants();
      }
      // The network heals.
      for (let round = 0; !tracker.isComplete && round < 3; round++) {
        inNetwork = [...inNetwork, ...send(tracker)];
        for (const part of inNetwork) tracker.onArrived(part);
        inNetwork = [];
        tracker.takeLost();
        tracker.giveUp();
      }
      assert.ok(tracker.isComplete);
    }),
  );
});
