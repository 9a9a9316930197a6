/** Lists of sizes with weights, and the draws from them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Random } from '../../bench/random.ts';
import { SizeChoice, describeSizes, largestOf, parseValueSizes, smallestOf } from '../../bench/value-sizes.ts';
import type { ValueSize } from '../../bench/value-sizes.ts';

const MAX = 1_000_000;

/** Lists as they may be written: sizes differ, weights have at most three decimals. */
const lists = fc.uniqueArray(
  fc
    .tuple(fc.integer({ min: 1, max: MAX }), fc.integer({ min: 1, max: 1_000_000 }))
    .map(([valueBytes, thousandths]): ValueSize => ({ valueBytes, weight: thousandths / 1_000 })),
  { selector: (size) => size.valueBytes, minLength: 1, maxLength: 32 },
);

function textOf(sizes: readonly ValueSize[]): string {
  return sizes.map(({ valueBytes, weight }) => `${valueBytes}:${weight}`).join(',');
}

test('a list is read as it is written', () => {
  fc.assert(fc.property(lists, (sizes) => assert.deepEqual(parseValueSizes(textOf(sizes), MAX), sizes)));
  fc.assert(
    fc.property(fc.integer({ min: 1, max: MAX }), (valueBytes) => {
      assert.deepEqual(parseValueSizes(`${valueBytes}`, MAX), [{ valueBytes, weight: 1 }]);
    }),
  );
  assert.deepEqual(parseValueSizes('1KiB:.5, 2kB:1', MAX), [
    { valueBytes: 1_024, weight: 0.5 },
    { valueBytes: 2_000, weight: 1 },
  ]);
});

test('any text is a list within the bounds, or one line that says what to give', () => {
  const texts = fc.oneof(
    fc.string(),
    fc.stringMatching(/^[0-9:,.ekKiB -]{0,20}$/),
    fc.tuple(lists, fc.nat(), fc.constantFrom(':', ',', '-', 'x', '0')).map(([sizes, at, change]) => {
      const text = textOf(sizes);
      const cut = at % (text.length + 1);
      return text.slice(0, cut) + change + text.slice(cut);
    }),
  );
  fc.assert(
    fc.property(texts, (text) => {
      const sizes = parseValueSizes(text, MAX);
      if (typeof sizes === 'string') {
        assert.match(sizes, /^Give [^\n]+\.$/);
        return;
      }
      assert.ok(sizes.length >= 1 && sizes.length <= 32);
      assert.equal(new Set(sizes.map(({ valueBytes }) => valueBytes)).size, sizes.length);
      for (const { valueBytes, weight } of sizes) {
        assert.ok(Number.isInteger(valueBytes) && valueBytes >= 1 && valueBytes <= MAX);
        assert.ok(weight > 0 && Number.isFinite(weight));
      }
    }),
    { numRuns: 500 },
  );
});

test('what is wrong with a list is named', () => {
  for (const [text, pattern] of [
    ['', /bytes/],
    ['0', /from 1/],
    ['1000001', /to 1000000/],
    ['64,256', /its weight/],
    ['64:1,256', /its weight/],
    ['64:0', /above 0/],
    ['64:-1', /above 0/],
    ['64:1e3', /above 0/],
    ['64:', /above 0/],
    ['64:1:1', /one weight/],
    ['64:1,64:1', /once/],
    ['64:1,', /bytes/],
    [Array.from({ length: 33 }, (_, i) => `${i + 1}:1`).join(','), /at most 32/],
  ] as const) {
    const message = parseValueSizes(text, MAX);
    assert.equal(typeof message, 'string', text);
    assert.match(message as string, pattern, text);
  }
});

const SIZES: readonly ValueSize[] = [
  { valueBytes: 64, weight: 60 },
  { valueBytes: 256, weight: 30 },
  { valueBytes: 4_096, weight: 10 },
];

test('sizes are drawn by their weights', () => {
  const choice = new SizeChoice(SIZES, new Random(1));
  const draws = 100_000;
  const drawn = [0, 0, 0];
  for (let i = 0; i < draws; i++) drawn[choice.next()]!++;
  SIZES.forEach(({ weight }, index) => {
    const expected = (draws * weight) / 100;
    // Six standard deviations of a binomial count.
    const bound = 6 * Math.sqrt(expected * (1 - weight / 100));
    assert.ok(Math.abs(drawn[index]! - expected) < bound, `${drawn[index]} of about ${expected}`);
  });
});

test('a seed repeats the draws', () => {
  const choice = new SizeChoice(SIZES, new Random(1));
  const draw = (): number[] => Array.from({ length: 50 }, () => choice.next());
  const first = draw();
  assert.notDeepEqual(draw(), first);
  choice.reseed(new Random(1));
  assert.deepEqual(draw(), first);
});

test('sizes are described for people', () => {
  assert.equal(describeSizes(SIZES), '64 (60 %), 256 (30 %) or 4,096 (10 %) bytes');
  assert.equal(describeSizes([{ valueBytes: 1_000, weight: 7 }]), '1,000 bytes');
  assert.equal(largestOf(SIZES), 4_096);
  assert.equal(smallestOf(SIZES), 64);
});
