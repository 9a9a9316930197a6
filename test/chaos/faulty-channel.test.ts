import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { CALM, FaultyChannel, noCounts } from '../../bench/chaos/faulty-channel.ts';
import type { ChannelCounters, Conditions } from '../../bench/chaos/faulty-channel.ts';
import { Random } from '../../bench/random.ts';

/** A channel and what it delivers, in a time that only the test moves. */
class Bench {
  conditions: Conditions = CALM;
  readonly counters: ChannelCounters = noCounts();
  readonly delivered: Uint8Array[] = [];
  readonly channel: FaultyChannel;

  constructor(context: TestContext, conditions: Partial<Conditions> = {}, seed = 1) {
    context.mock.timers.enable({ apis: ['setTimeout'] });
    this.conditions = { ...CALM, ...conditions };
    this.channel = new FaultyChannel({
      conditions: () => this.conditions,
      random: new Random(seed),
      counters: this.counters,
      deliver: (datagram) => this.delivered.push(datagram),
    });
  }

  pass(first: number, count: number): void {
    for (let i = first; i < first + count; i++) this.channel.pass(datagramOf(i));
  }

  get numbers(): number[] {
    return this.delivered.map(([low, high]) => low! + 256 * high!);
  }
}

const DATAGRAM_BYTES = 64;
/** Beyond any delay of these tests. */
const LONG_MS = 10_000;
const COUNT = 400;

function datagramOf(number: number): Uint8Array {
  const datagram = new Uint8Array(DATAGRAM_BYTES).fill(0xa5);
  datagram[0] = number & 0xff;
  datagram[1] = number >> 8;
  return datagram;
}

function numbersBelow(count: number): number[] {
  return Array.from({ length: count }, (_, i) => i);
}

function differenceBetween(a: Uint8Array, b: Uint8Array): number {
  assert.equal(a.length, b.length);
  return a.filter((byte, i) => byte !== b[i]).length;
}

test('a calm channel passes everything on at once, unchanged and in order', (context) => {
  const bench = new Bench(context);
  bench.pass(0, COUNT);
  assert.deepEqual(bench.delivered, numbersBelow(COUNT).map(datagramOf));
  assert.deepEqual(bench.counters, { ...noCounts(), received: COUNT });
});

test('loss of all lets nothing through, loss of a part about that part', (context) => {
  const bench = new Bench(context, { loss: 1, duplicate: 1, delayMs: 5 });
  bench.pass(0, COUNT);
  context.mock.timers.tick(LONG_MS);
  assert.deepEqual(bench.delivered, []);
  assert.deepEqual(bench.counters, { ...noCounts(), received: COUNT, dropped: COUNT });

  bench.conditions = { ...CALM, loss: 0.25 };
  bench.pass(0, COUNT);
  const { dropped } = bench.counters;
  assert.equal(bench.delivered.length, COUNT - (dropped - COUNT));
  assert(dropped - COUNT > COUNT / 8 && dropped - COUNT < COUNT / 2);
});

test('a duplicate comes later, and is the same', (context) => {
  const bench = new Bench(context, { duplicate: 1 });
  bench.pass(0, COUNT);
  assert.deepEqual(bench.numbers, numbersBelow(COUNT));
  context.mock.timers.tick(LONG_MS);
  assert.deepEqual(
    bench.numbers.toSorted((a, b) => a - b),
    numbersBelow(COUNT).flatMap((i) => [i, i]),
  );
  assert.equal(bench.counters.duplicated, COUNT);
  assert.equal(bench.counters.delayed, 0);
});

test('a corrupted datagram differs in one byte; what was given, and its duplicate, do not', (context) => {
  const bench = new Bench(context, { corrupt: 1 });
  const originals = numbersBelow(COUNT).map(datagramOf);
  for (const original of originals) bench.channel.pass(original);
  assert.deepEqual(originals, numbersBelow(COUNT).map(datagramOf));
  const places = new Set<number>();
  for (const [i, datagram] of bench.delivered.entries()) {
    assert.equal(differenceBetween(datagram, originals[i]!), 1);
    places.add(datagram.findIndex((byte, place) => byte !== originals[i]![place]));
  }
  assert.equal(bench.counters.corrupted, COUNT);
  assert(places.size > DATAGRAM_BYTES / 2, 'any byte can be the one');
  bench.channel.pass(new Uint8Array(0));
  assert.equal(bench.counters.corrupted, COUNT, 'an empty one has no byte to change');
});

test('delayed datagrams wait, and then come in their order', (context) => {
  const bench = new Bench(context, { delayMs: 30 });
  bench.pass(0, COUNT);
  context.mock.timers.tick(29);
  assert.deepEqual(bench.delivered, []);
  context.mock.timers.tick(1);
  assert.deepEqual(bench.numbers, numbersBelow(COUNT));
  assert.equal(bench.counters.delayed, COUNT);
});

test('a reordered datagram is overtaken by at most eight later ones, and counted', (context) => {
  const bench = new Bench(context, { reorder: 0.3 });
  bench.pass(0, COUNT);
  context.mock.timers.tick(LONG_MS);
  const { numbers } = bench;
  assert.deepEqual(
    numbers.toSorted((a, b) => a - b),
    numbersBelow(COUNT),
    'all come, once',
  );
  const overtaken = numbers.filter((number, place) => numbers.slice(0, place).some((before) => before > number));
  assert(overtaken.length > COUNT / 10);
  // One that waits can be passed by those that waited less, too, which nobody counts.
  assert(bench.counters.reordered <= overtaken.length && bench.counters.reordered > COUNT / 10);
});

test('a datagram that nothing overtakes goes on by itself and is not called reordered', (context) => {
  const bench = new Bench(context, { reorder: 1 });
  bench.pass(0, 1);
  assert.deepEqual(bench.delivered, []);
  context.mock.timers.tick(LONG_MS);
  assert.deepEqual(bench.numbers, [0]);
  assert.equal(bench.counters.reordered, 0);
});

test('the luck of a datagram follows from the seed and its number, whatever the conditions were before it', (context) => {
  const half = { ...CALM, loss: 0.5 };
  const lossesOf = (seed: number, before: Conditions): number[] => {
    const bench = new Bench(context, before, seed);
    bench.pass(0, 100);
    bench.delivered.length = 0;
    bench.conditions = half;
    bench.pass(100, 100);
    context.mock.timers.reset();
    return bench.numbers;
  };
  const expected = lossesOf(3, CALM);
  assert.deepEqual(lossesOf(3, { ...CALM, corrupt: 1, reorder: 1, delayMs: 1 }), expected);
  assert.deepEqual(lossesOf(3, { ...CALM, loss: 1, duplicate: 1 }), expected);
  assert.notDeepEqual(lossesOf(4, CALM), expected);
});

test('what is held is bounded; the rest is dropped and counted', (context) => {
  const bench = new Bench(context, { delayMs: 50 });
  bench.pass(0, 5_000);
  const { overflowed } = bench.counters;
  assert(overflowed > 0);
  context.mock.timers.tick(LONG_MS);
  assert.equal(bench.delivered.length, 5_000 - overflowed);
  bench.pass(0, 1);
  context.mock.timers.tick(LONG_MS);
  assert.equal(bench.delivered.length, 5_001 - overflowed, 'there is room again');
});

test('a closed channel drops what it holds, counted', (context) => {
  const bench = new Bench(context, { delayMs: 50 });
  bench.pass(0, 10);
  bench.conditions = { ...CALM, reorder: 1 };
  bench.pass(10, 10);
  bench.channel.close();
  context.mock.timers.tick(LONG_MS);
  assert.deepEqual(bench.delivered, []);
  assert.equal(bench.counters.dropped, 20);
});
