import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DROP_REASONS, DropCounters } from '../../net/drops.ts';

test('should count each reason by itself', () => {
  const drops = new DropCounters();
  assert.deepEqual(drops.nonZero(), {});
  DROP_REASONS.forEach((reason, i) => {
    for (let times = 0; times <= i; times++) drops.count(reason);
  });
  DROP_REASONS.forEach((reason, i) => assert.equal(drops.of(reason), i + 1));
  assert.equal(drops.total(), (DROP_REASONS.length * (DROP_REASONS.length + 1)) / 2);
  assert.deepEqual(Object.keys(drops.nonZero()), [...DROP_REASONS]);
});

test('should show only the reasons that occurred', () => {
  const drops = new DropCounters();
  drops.count('forged');
  drops.count('forged');
  assert.deepEqual(drops.nonZero(), { forged: 2 });
});
