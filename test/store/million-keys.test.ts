import assert from 'node:assert/strict';
import { test } from 'node:test';
import { allocateRegion } from '../../net/bytes.ts';
import { NO_ENTRY } from '../../src/store/trusted-index.ts';
import { APPLIED } from '../../src/store/write-result.ts';
import { makeStore } from './store-fixture.ts';

const KEYS = 1_000_000;
/** 72 bytes an entry and 16 of key, in millions of bytes. */
const TRUSTED_BYTES = 88_000_000;

/** 16 bytes, scattered: multiplication by an odd number maps words one to one. */
function setKey(key: Int32Array, i: number): void {
  key[0] = Math.imul(i, 0x9e37_79b1);
  key[1] = Math.imul(i, 0x85eb_ca6b);
  key[2] = i;
  key[3] = ~i;
}

test('1 million keys of 16 bytes fit in 88 MB of trusted memory, all of it accounted for', () => {
  const arraysBefore = process.memoryUsage().arrayBuffers;
  const { store, budget, hostMemory } = makeStore({ trustedBytes: TRUSTED_BYTES, hostBytes: 64 * 1024 * 1024 });
  const key = new Int32Array(4);
  const tag = new Int32Array(4);
  const envelope = new Int32Array(4);
  let refused = 0;
  for (let i = 0; i < KEYS; i++) {
    setKey(key, i);
    envelope[0] = i;
    tag[0] = -i;
    if (store.write(key, 0, 16, i + 1, i, ~i, 0, false, tag, 0, envelope, 0, 16) !== APPLIED) refused++;
  }
  assert.equal(refused, 0);
  assert.ok(budget.used <= TRUSTED_BYTES);
  const arrayBytes = process.memoryUsage().arrayBuffers - arraysBefore;
  assert.ok(arrayBytes <= budget.used + hostMemory.capacityBytes, 'no array was made that is not accounted for');

  const target = allocateRegion(16);
  let wrong = 0;
  for (let i = 0; i < KEYS; i++) {
    setKey(key, i);
    const entry = store.find(key, 0, 16);
    if (entry === NO_ENTRY || store.counter(entry) !== i + 1 || store.writerLow(entry) !== ~i) {
      wrong++;
      continue;
    }
    store.copyEnvelope(entry, target, 0);
    if (target.words[0] !== i) wrong++;
  }
  assert.equal(wrong, 0);
  for (let i = KEYS; i < KEYS + 1_000; i++) {
    setKey(key, i);
    assert.equal(store.find(key, 0, 16), NO_ENTRY);
  }
  store.invariants();
});
