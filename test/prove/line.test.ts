import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fitLine } from './line.ts';

test('the line through points of a line is that line', () => {
  assert.deepEqual(fitLine([3, 5, 7, 9]), { slope: 2, mean: 6 });
  assert.deepEqual(fitLine([4, 4, 4]), { slope: 0, mean: 4 });
  assert.deepEqual(fitLine([10, 8]), { slope: -2, mean: 9 });
});

test('a step counts by where it lies, noise around it hardly', () => {
  const step = fitLine([...Array.from({ length: 50 }, () => 0), ...Array.from({ length: 50 }, () => 10)]);
  assert(step.slope * 100 > 10 && step.slope * 100 < 16);
  const noise = fitLine(Array.from({ length: 100 }, (_, i) => (i % 2 === 0 ? 5 : -5)));
  assert(Math.abs(noise.slope * 100) < 1);
});
