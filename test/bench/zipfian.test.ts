/** The random source and the choice of records, against computations of their own. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Random } from '../../bench/random.ts';
import {
  GrowingZipfian,
  LATEST_RECORDS_MIN,
  ScrambledZipfian,
  SkewedLatest,
  zipfianRank,
} from '../../bench/zipfian.ts';

const ZETA = 26.46902820178302;
const ITEMS = 10_000_000_001;

/** sfc32 in BigInt, from its description in PractRand. */
function* sfc32(seed: number, stream: number): Generator<number> {
  const word = (value: bigint): bigint => BigInt.asUintN(32, value);
  let a = word(BigInt(seed));
  let b = word(BigInt(stream));
  let c = 0x9e3779b9n;
  let counter = 1n;
  for (let i = 0; ; i++) {
    const result = word(a + b + counter);
    counter = word(counter + 1n);
    a = b ^ (b >> 9n);
    b = word(c + (c << 3n));
    c = word(((c << 21n) | (c >> 11n)) + result);
    if (i >= 15) yield Number(BigInt.asIntN(32, result));
  }
}

test('the random source is sfc32', () => {
  for (const [seed, stream] of [
    [0, 0],
    [1, 0],
    [4_294_967_295, 63],
  ] as const) {
    const random = new Random(seed, stream);
    const expected = sfc32(seed, stream);
    for (let i = 0; i < 2_000; i++) assert.equal(random.nextWord(), expected.next().value);
  }
});

test('streams of one seed differ, and a seed repeats itself', () => {
  const draw = (seed: number, stream: number): number[] => {
    const random = new Random(seed, stream);
    return Array.from({ length: 50 }, () => random.nextDouble());
  };
  assert.deepEqual(draw(7, 1), draw(7, 1));
  assert.notDeepEqual(draw(7, 1), draw(7, 2));
  assert.notDeepEqual(draw(7, 1), draw(8, 1));
});

test('doubles fill [0, 1) evenly, down to the last of their 53 bits', () => {
  const random = new Random(3);
  const buckets = new Array<number>(16).fill(0);
  let lastBits = 0;
  const draws = 160_000;
  for (let i = 0; i < draws; i++) {
    const value = random.nextDouble();
    assert.ok(value >= 0 && value < 1);
    buckets[Math.floor(value * 16)]!++;
    lastBits += (value * 2 ** 53) % 2;
  }
  // Six standard deviations of a binomial count.
  for (const inBucket of buckets) assert.ok(Math.abs(inBucket - 10_000) < 6 * 97, `${inBucket} of about 10,000`);
  assert.ok(Math.abs(lastBits - draws / 2) < 6 * 200, `the last bit is set in half of the draws, not in ${lastBits}`);
});

test('the two most popular ranks have their exact shares', () => {
  const second = (1 + 0.5 ** 0.99) / ZETA;
  assert.equal(zipfianRank(0), 0);
  assert.equal(zipfianRank(1 / ZETA - 1e-12), 0);
  assert.equal(zipfianRank(1 / ZETA + 1e-12), 1);
  assert.equal(zipfianRank(second - 1e-12), 1);
  assert.ok(zipfianRank(second + 1e-12) >= 2);
});

test("the other ranks follow Gray's formula over 10^10 items", () => {
  const zetaOfTwo = 1 + 0.5 ** 0.99;
  const eta = (1 - Math.exp(0.01 * Math.log(2 / ITEMS))) / (1 - zetaOfTwo / ZETA);
  let last = 0;
  for (let u = 0.07; u < 1; u += 0.000_37) {
    const expected = ITEMS * Math.exp(Math.log(eta * u - eta + 1) / 0.01);
    const rank = zipfianRank(u);
    assert.ok(Math.abs(rank - expected) <= 1 + expected * 1e-9, `u ${u}: rank ${rank}, expected ${expected}`);
    assert.ok(rank >= last, 'ranks grow with u');
    last = rank;
  }
  assert.ok(zipfianRank(1 - 2 ** -53) <= ITEMS);
  assert.ok(zipfianRank(0.999) > 9_000_000_000, 'the tail reaches far beyond any number of records');
});

test('the head of the distribution is taken as often as zipf says, and lies scattered', () => {
  const recordCount = 1_000;
  const draws = 300_000;
  const zipfian = new ScrambledZipfian(new Random(5), recordCount);
  const taken = new Map<number, number>();
  for (let i = 0; i < draws; i++) {
    const index = zipfian.next();
    assert.ok(Number.isInteger(index) && index >= 0 && index < recordCount);
    taken.set(index, (taken.get(index) ?? 0) + 1);
  }
  // FNV of ranks 0 and 1, see the keys of records 0 and 1 in YCSB, modulo the records.
  const shares = [
    [6284781860667377211n, 1 / ZETA],
    [8517097267634966620n, 0.5 ** 0.99 / ZETA],
  ] as const;
  let head = 0;
  for (const [hash, share] of shares) {
    // The ranks that share the record by chance spread evenly: about a thousandth of the rest.
    const expected = draws * (share + (1 - share) / recordCount);
    const seen = taken.get(Number(hash % BigInt(recordCount))) ?? 0;
    assert.ok(Math.abs(seen - expected) < expected * 0.1, `${seen} of about ${expected}`);
    head += seen;
  }
  assert.ok(head < draws * 0.1, 'the rest is not starved');
  assert.ok(taken.size > recordCount * 0.99, `nearly all records are taken, not ${taken.size}`);
});

/** Sum of 1/i^0.99 for i up to count, the smallest terms first, which rounds least. */
function zetaOf(count: number): number {
  let sum = 0;
  for (let i = count; i >= 1; i--) sum += Math.exp(-0.99 * Math.log(i));
  return sum;
}

/** The formula of YCSB's ZipfianGenerator, nothing carried on. Before rounding down. */
function unroundedRank(u: number, firstCount: number, count: number): number {
  const zeta = zetaOf(count);
  if (u * zeta < 1) return 0;
  if (u * zeta < 1 + 0.5 ** 0.99) return 1;
  const eta = (1 - (2 / firstCount) ** 0.01) / (1 - (1 + 0.5 ** 0.99) / zeta);
  return count * (eta * u - eta + 1) ** (1 / (1 - 0.99));
}

test("ranks over a growing number of items follow YCSB's formula draw by draw", () => {
  const random = new Random(11);
  for (const firstCount of [3, 4, 10, 1_000]) {
    const zipfian = new GrowingZipfian(firstCount);
    let count = firstCount;
    for (let draw = 0; draw < 400; draw++) {
      const u = random.nextDouble();
      const expected = unroundedRank(u, firstCount, count);
      const rank = zipfian.rank(u, count);
      assert.ok(
        rank === Math.floor(expected) || Math.abs(expected - Math.round(expected)) < 1e-6,
        `u ${u} of ${count} items, ${firstCount} at first: rank ${rank}, expected ${expected}`,
      );
      assert.ok(rank >= 0 && rank <= count);
      if (draw % 3 === 0) count += 1 + (draw % 7);
    }
  }
});

test('the smallest and the largest draws stay within the items, however much they have grown', () => {
  for (const firstCount of [3, 5, 999]) {
    const zipfian = new GrowingZipfian(firstCount);
    for (const count of [firstCount, firstCount + 1, 2 * firstCount, 50_000]) {
      for (const u of [0, 2 ** -53, 0.5, 1 - 2 ** -30, 1 - 2 ** -53]) {
        const rank = zipfian.rank(u, count);
        assert.ok(Number.isInteger(rank) && rank >= 0 && rank <= count, `u ${u} of ${count}: ${rank}`);
      }
    }
  }
});

test('as in YCSB, eta keeps the first count: once the items have doubled, ranks 2 and 3 are skipped', () => {
  const zipfian = new GrowingZipfian(1_000);
  const ranksOf = (count: number): Set<number> => {
    const random = new Random(2);
    return new Set(Array.from({ length: 50_000 }, () => zipfian.rank(random.nextDouble(), count)));
  };
  const before = ranksOf(1_000);
  assert.ok([0, 1, 2, 3, 4, 5].every((rank) => before.has(rank)));
  const after = ranksOf(2_000);
  assert.ok([0, 1, 4, 5].every((rank) => after.has(rank)));
  assert.ok(![2, 3].some((rank) => after.has(rank)));
});

test('the first draws of the latest choice are those of the formula, and follow the records that come', () => {
  const records = { last: 999 };
  const latest = new SkewedLatest(new Random(1), records);
  const random = new Random(1);
  for (let draw = 0; draw < 300; draw++) {
    const expected = records.last - Math.floor(unroundedRank(random.nextDouble(), 999, records.last));
    assert.equal(latest.next(), expected);
    if (draw % 2 === 0) records.last += draw % 5;
  }
});

test('the latest records have the shares that zipf gives them; record 0 has none', () => {
  const records = { last: 999 };
  const latest = new SkewedLatest(new Random(4), records);
  for (const last of [999, 1_200]) {
    records.last = last;
    const draws = 200_000;
    const taken = new Float64Array(last + 1);
    for (let i = 0; i < draws; i++) taken[latest.next()]!++;
    const zeta = zetaOf(last);
    for (const [rank, share] of [1 / zeta, 0.5 ** 0.99 / zeta].entries()) {
      const expected = draws * share;
      const seen = taken[last - rank]!;
      // Six standard deviations of a binomial count.
      assert.ok(Math.abs(seen - expected) < 6 * Math.sqrt(expected), `rank ${rank}: ${seen} of about ${expected}`);
    }
    // Gray's curve beyond the first two is an approximation of zipf; over a tenth of the records it is a close one.
    const expectedTenth = zetaOf(Math.floor(last / 10)) / zeta;
    const tenth = taken.subarray(last - Math.floor(last / 10) + 1).reduce((sum, times) => sum + times, 0) / draws;
    assert.ok(
      Math.abs(tenth - expectedTenth) < 0.03,
      `${tenth} of the reads go to the last tenth, ${expectedTenth} by zipf`,
    );
    assert.equal(taken[0], 0);
    assert.ok(taken[1]! < expectedTenth * draws * 0.01);
  }
});

test('the latest choice works from its least number of records on', () => {
  const records = { last: LATEST_RECORDS_MIN - 1 };
  const latest = new SkewedLatest(new Random(8), records);
  for (let draw = 0; draw < 5_000; draw++) {
    const record = latest.next();
    assert.ok(Number.isInteger(record) && record >= 0 && record <= records.last, `${record} of ${records.last}`);
    if (draw % 10 === 9) records.last++;
  }
});
