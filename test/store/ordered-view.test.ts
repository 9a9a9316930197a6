import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { NO_POSITION, OrderedView } from '../../src/store/ordered-view.ts';
import { TrustedBudget } from '../../src/store/trusted-budget.ts';
import { NO_ENTRY, TrustedIndex } from '../../src/store/trusted-index.ts';
import { APPLIED, TRUSTED_FULL } from '../../src/store/write-result.ts';
import { FIXTURE_SEED, findIn, makeStore, Padded, writeTo } from './store-fixture.ts';

/** The ordered view against a sorted array. */

const MIB = 1024 * 1024;

class ViewedKeys {
  readonly index: TrustedIndex;
  readonly view: OrderedView;
  /** In order, as Buffer.compare has it. */
  readonly sorted: Buffer[] = [];

  constructor(keys: readonly Uint8Array[] = []) {
    const budget = new TrustedBudget(64 * MIB);
    this.index = new TrustedIndex(budget, FIXTURE_SEED);
    this.view = new OrderedView(budget, this.index.entries);
    for (const key of keys) this.add(key);
    this.sorted.sort((a, b) => Buffer.compare(a, b));
  }

  add(bytes: Uint8Array): void {
    const { words, word, byteCount } = new Padded(bytes);
    this.view.add(this.index.add(words, word, byteCount));
    this.sorted.push(Buffer.from(bytes));
  }

  keyAt(position: number): Buffer {
    const entry = this.view.entryAt(position);
    const { entries } = this.index;
    const words = entries.words(entry);
    const byteOffset = words.byteOffset + entries.keyWordOffset(entry) * 4;
    return Buffer.from(words.buffer as ArrayBuffer, byteOffset, entries.keyBytes(entry));
  }

  seek(bytes: Uint8Array): number {
    const { words, word, byteCount } = new Padded(bytes);
    return this.view.seek(words, word, byteCount);
  }

  check(sought: readonly Uint8Array[]): void {
    const { view, sorted } = this;
    view.invariants();
    const forward: Buffer[] = [];
    for (let at = view.first(); at !== NO_POSITION; at = view.next(at)) forward.push(this.keyAt(at));
    assert.deepEqual(forward, sorted);
    const backward: Buffer[] = [];
    for (let at = view.last(); at !== NO_POSITION; at = view.previous(at)) backward.push(this.keyAt(at));
    assert.deepEqual(backward, sorted.toReversed());
    for (const bytes of [...sought, ...sorted.slice(0, 20)]) {
      const at = this.seek(bytes);
      const expected = sorted.find((key) => Buffer.compare(key, bytes) >= 0);
      assert.deepEqual(at === NO_POSITION ? undefined : this.keyAt(at), expected);
    }
  }
}

/** Keys that differ late, in length only, in zeros behind their end, and in bytes over 127. */
const anyKey = fc.oneof(
  fc.uint8Array({ minLength: 1, maxLength: 12 }),
  fc.array(fc.constantFrom(0, 1, 255), { minLength: 1, maxLength: 10 }).map((bytes) => Uint8Array.from(bytes)),
  fc
    .tuple(fc.integer({ min: 1, max: 1_000 }), fc.constantFrom(0, 97), fc.uint8Array({ maxLength: 5 }))
    .map(([count, byte, end]) => Uint8Array.from([...new Uint8Array(count).fill(byte), ...end])),
  fc.nat(500).map((number) => Buffer.from(`user${number}`)),
);
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

test('the ordered view yields what a sorted array does, both ways and from any key on', () => {
  fc.assert(
    fc.property(
      fc.uniqueArray(anyKey, { maxLength: 400, size: 'max', selector: hex }),
      fc.array(anyKey, { maxLength: 30 }),
      (keys, sought) => new ViewedKeys(keys).check(sought),
    ),
    { numRuns: 150 },
  );
});

const COUNT = 20_000;
const numberKey = (number: number): Buffer => Buffer.from(`user${String(number).padStart(12, '0')}`);
const scattered = (number: number): Buffer => Buffer.from(`user${Math.imul(number, 0x9e37_79b1) >>> 0}`);
const orders: Record<string, (i: number) => Buffer> = {
  'in order': (i) => numberKey(i),
  'in reverse order': (i) => numberKey(COUNT - i),
  scattered: (i) => scattered(i),
  'from both ends': (i) => numberKey(i % 2 === 0 ? i : 2 * COUNT - i),
  'always at the same place': (i) => numberKey(i % 2 === 0 ? COUNT + i : 3 * COUNT - i),
};
for (const [name, keyOf] of Object.entries(orders)) {
  test(`thousands of keys that come ${name}`, () => {
    const keys = new Map(Array.from({ length: COUNT }, (_, i) => [keyOf(i).toString('hex'), keyOf(i)]));
    new ViewedKeys([...keys.values()]).check([numberKey(0), numberKey(COUNT + 5), Buffer.from('v'), Buffer.from('a')]);
  });
}

test('an empty view has no first key, no last one, and none behind any', () => {
  const keys = new ViewedKeys();
  assert.equal(keys.view.first(), NO_POSITION);
  assert.equal(keys.view.last(), NO_POSITION);
  assert.equal(keys.seek(Buffer.from('a')), NO_POSITION);
  keys.view.invariants();
});

test('a key for which the view has no room is refused whole; one that is there is not', () => {
  // Chunks of entries and of the view are as large: with one budget or another it is the view that gets none.
  for (let chunkCount = 0; chunkCount < 12; chunkCount++) {
    const trustedBytes = MIB + chunkCount * OrderedView.trustedBytesAtStart;
    const { store, budget } = makeStore({ trustedBytes, hostBytes: MIB });
    const write = (i: number, counter = 1): number =>
      writeTo(store, new Padded(numberKey(i)), {
        stamp: { counter, writerHigh: 0, writerLow: 1, rmw: 0 },
        tombstone: true,
        tag: new Uint8Array(16),
        envelope: new Uint8Array(0),
      });
    let written = 0;
    while (write(written) === APPLIED) written++;
    assert.equal(store.lastRefusal, TRUSTED_FULL);
    const usedBytes = budget.used;
    assert.equal(findIn(store, new Padded(numberKey(written))), NO_ENTRY);
    assert.equal(write(written - 1, 2), APPLIED);
    assert.equal(budget.used, usedBytes);
    store.invariants();
  }
});

test('a store without an ordered view pays nothing for it', () => {
  const ordered = makeStore({ trustedBytes: 2 * MIB, hostBytes: MIB });
  const unordered = makeStore({ trustedBytes: 2 * MIB, hostBytes: MIB, isUnordered: true });
  assert.equal(unordered.store.view, undefined);
  assert.equal(ordered.budget.used - unordered.budget.used, OrderedView.trustedBytesAtStart);
});
