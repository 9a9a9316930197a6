import assert from 'node:assert/strict';
import { test } from 'node:test';
import { allocateRegion } from '../../net/bytes.ts';
import { HostMemory } from '../../src/store/host-memory.ts';
import { NO_POSITION } from '../../src/store/ordered-view.ts';
import { TrustedBudget } from '../../src/store/trusted-budget.ts';
import { makeStore } from './store-fixture.ts';

const ROUNDS = 100;
const ROUND_OPERATIONS = 2_000;

/**
 * Heap bytes that an operation leaves behind: the median over rounds, so that a collection in between (a round that
 * shrinks), a compilation (one that grows) or a chunk made once doesn't count.
 */
function heapBytesPerOperation(operation: (i: number) => void): number {
  for (let i = 0; i < 50_000; i++) operation(i);
  const growth: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const before = process.memoryUsage().heapUsed;
    for (let i = 0; i < ROUND_OPERATIONS; i++) operation(i);
    growth.push(process.memoryUsage().heapUsed - before);
  }
  growth.sort((a, b) => a - b);
  return growth[ROUNDS >> 1]! / ROUND_OPERATIONS;
}

/** The smallest object takes 16 bytes; memoryUsage() itself takes some of a round. */
const LIMIT_BYTES = 4;

test('the measurement sees one small object an operation', () => {
  const kept = Array.from({ length: 64 }, (_, i) => ({ i }));
  assert.ok(heapBytesPerOperation((i) => (kept[i & 63] = { i })) > LIMIT_BYTES);
});

/**
 * So many calls take or give a counter (write, replace, compareStamp and describe within them, and those of the test);
 * one that the engine does not inline boxes it when it is over 31 bits, and which it inlines differs from run to run.
 */
const COUNTER_CALLS = 9;
const BOX_BYTES = 16;

for (const { name, firstCounter, limitBytes } of [
  { name: 'allocate nothing', firstCounter: 1, limitBytes: LIMIT_BYTES },
  {
    name: 'allocate no more than boxes for counters from 2^31 on',
    firstCounter: 2 ** 40,
    limitBytes: LIMIT_BYTES + COUNTER_CALLS * BOX_BYTES,
  },
]) {
  test(`find, write, replace, copy and repair ${name}`, () => {
    const { store } = makeStore({ trustedBytes: 32 * 1024 * 1024, hostBytes: 64 * 1024 * 1024 });
    const key = new Int32Array(4);
    const tag = new Int32Array(4);
    const envelope = allocateRegion(512);
    const target = allocateRegion(512);
    const counter = Float64Array.of(firstCounter);
    const bytes = heapBytesPerOperation((i) => {
      key[0] = i & 1_023;
      // Both in place and in another size class.
      const envelopeBytes = 200 + (i & 255);
      store.hasRoomForKey(16, envelopeBytes, 0);
      counter[0]! += 1;
      store.write(key, 0, 16, counter[0]!, 1, 2, 0, false, tag, 0, envelope.words, 0, envelopeBytes);
      const entry = store.find(key, 0, 16);
      if (store.counter(entry) !== counter[0] || store.isTombstone(entry)) throw new Error('not what was written');
      store.compareStamp(entry, counter[0]!, 1, 2, 1);
      counter[0]! += 1;
      store.replace(entry, counter[0]!, 1, 2, 0, false, tag, 0, envelope.words, 0, envelopeBytes);
      store.overwriteEnvelope(entry, envelope.words, 0, envelopeBytes);
      store.copyEnvelope(entry, target, 0);
      store.copyTag(entry, tag, 0);
    });
    assert.ok(bytes < limitBytes, `${bytes} bytes an operation`);
  });
}

test('new keys, searches and steps in the order of the keys allocate nothing', () => {
  const { store } = makeStore({ trustedBytes: 64 * 1024 * 1024, hostBytes: 1024 * 1024 });
  const view = store.view!;
  const key = new Int32Array(4);
  const tag = new Int32Array(4);
  let sum = 0;
  const bytes = heapBytesPerOperation((i) => {
    key[0] = Math.imul(sum + i, 0x9e37_79b1);
    key[1] = (key[1]! + 1) | 0;
    store.write(key, 0, 16, 1, 1, 2, 0, true, tag, 0, tag, 0, 0);
    key[2] = i;
    let position = view.seek(key, 0, 16);
    key[2] = 0;
    if (position === NO_POSITION) position = view.last();
    for (let step = 0; step < 10 && position !== NO_POSITION; step++) {
      sum ^= store.keyBytes(view.entryAt(position));
      position = view.next(position);
    }
  });
  assert.ok(bytes < LIMIT_BYTES, `${bytes} bytes a key`);
});

test('blocks of host memory are taken and freed without allocating', () => {
  const memory = new HostMemory({ budget: TrustedBudget.unbounded(), hostBytesMax: 64 * 1024 * 1024 });
  const refs = new Int32Array(256);
  for (let i = 0; i < refs.length; i++) refs[i] = memory.allocate(1 + i * 16);
  const bytes = heapBytesPerOperation((i) => {
    memory.free(refs[i & 255]!);
    const ref = memory.allocate(1 + ((i * 7) & 4_095));
    memory.region(ref).words[memory.wordOffset(ref)] = i;
    refs[i & 255] = ref;
  });
  assert.ok(bytes < LIMIT_BYTES, `${bytes} bytes an operation`);
  memory.invariants();
});
