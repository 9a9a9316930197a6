import assert from 'node:assert/strict';
import { test } from 'node:test';
import { KeyQueues } from '../../src/protocol/key-queues.ts';

test('should run the first of each key, and each other when all in front of it have left', () => {
  const queues = new KeyQueues(8, (a, b) => (a === 4) === (b === 4));
  assert.deepEqual(
    [0, 1, 2, 3].map((slot) => queues.join(slot, 7)),
    [true, false, false, false],
  );
  assert.ok(queues.join(4, 8));
  assert.equal(queues.leave(2), -1, 'one that waits gives up');
  assert.deepEqual([queues.waits(0), queues.waits(1)], [false, true]);
  assert.equal(queues.leave(0), 1);
  assert.equal(queues.waits(1), false);
  assert.equal(queues.leave(1), 3);
  assert.equal(queues.join(0, 7), false);
  assert.equal(queues.leave(0), -1, 'the last gives up');
  assert.equal(queues.leave(3), -1);
  assert.ok(queues.join(5, 7), 'nobody is left');
  assert.throws(() => queues.leave(0), /in a queue/);
});

test('should let nobody wait behind another key, though their hashes are the same', () => {
  const keys = ['a', 'b', 'a', 'b', 'c'];
  const queues = new KeyQueues(keys.length, (a, b) => keys[a] === keys[b]);
  assert.deepEqual(
    keys.map((_key, slot) => queues.join(slot, -1)),
    [true, true, false, false, true],
  );
  assert.equal(queues.leave(0), 2);
  assert.equal(queues.leave(2), -1);
  assert.equal(queues.leave(1), 3, 'wherever it has its place, it is left as it was joined');
  assert.equal(queues.leave(3), -1);
  assert.equal(queues.leave(4), -1);
  assert.ok(queues.join(1, -1), 'nobody is left');
});
