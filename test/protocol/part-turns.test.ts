/** Who moves a part next. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PartTurns } from '../../src/protocol/part-turns.ts';

/** Transfers that move as long as they have parts left; who moved, in order. */
class World {
  readonly moved: number[] = [];
  made = 0;
  readonly turns = new PartTurns(
    8,
    () => {
      this.made++;
      return { slot: -1, leftCount: 0 };
    },
    (transfer) => {
      if (transfer.leftCount === 0) return false;
      transfer.leftCount--;
      this.moved.push(transfer.slot);
      return true;
    },
  );

  begin(slot: number, partCount: number): void {
    this.turns.begin(slot).leftCount = partCount;
  }

  end(slot: number): void {
    this.turns.end(this.turns.at(slot)!);
  }

  /** Who moves in a turn. */
  pump(): number[] {
    this.moved.length = 0;
    this.turns.pump(0);
    this.turns.invariants();
    return [...this.moved];
  }
}

test('should move one part of each a round, until none can move', () => {
  const world = new World();
  assert.deepEqual(world.pump(), []);
  world.begin(3, 3);
  world.begin(5, 1);
  world.begin(7, 2);
  assert.deepEqual(world.pump(), [5, 7, 3, 7, 3, 3]);
  assert.deepEqual(world.pump(), []);
});

test('should let each come first in its turn', () => {
  const world = new World();
  for (const slot of [0, 1, 2]) world.begin(slot, 0);
  const first = Array.from({ length: 6 }, () => {
    for (const slot of [0, 1, 2]) world.turns.at(slot)!.leftCount = 1;
    return world.pump()[0];
  });
  assert.deepEqual(first, [1, 2, 0, 1, 2, 0]);
});

test('should move nothing of what is over, and use it again for what begins', () => {
  const world = new World();
  world.begin(1, 5);
  world.begin(2, 1);
  world.end(1);
  assert.deepEqual([world.turns.at(1), world.pump()], [undefined, [2]]);
  for (let i = 0; i < 10; i++) {
    world.begin(4, 1);
    assert.deepEqual(world.pump(), [4]);
    world.end(4);
  }
  assert.equal(world.made, 2);
  assert.deepEqual(
    world.turns.active.map(({ slot }) => slot),
    [2],
  );
});

test('should take one thing a slot', () => {
  const world = new World();
  world.begin(1, 1);
  assert.throws(() => world.begin(1, 1), /a slot moves one thing/);
});
