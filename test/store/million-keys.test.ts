import assert from 'node:assert/strict';
import { test } from 'node:test';
import { allocateRegion, readU53, writeU53 } from '../../net/bytes.ts';
import { TRUSTED_MARGIN_BYTES } from '../../src/protocol/replica.ts';
import { RESEALS_PER_SECOND_DEFAULT } from '../../src/server/replica-node.ts';
import { NO_RECORD, RECORD_IDLE_MS, RECORD_SLOT } from '../../src/store/consensus-records.ts';
import { NO_ENTRY } from '../../src/store/trusted-index.ts';
import { APPLIED } from '../../src/store/write-result.ts';
import { makeStore } from './store-fixture.ts';

const KEYS = 1_000_000;
/** 72 bytes an entry and 16 of key, in millions of bytes. */
const TRUSTED_BYTES = 88_000_000;
/** 128 MiB, less the message layer, and the places of a replica's coordinator. */
const STORE_BYTES = (128 - 18) * 1024 * 1024;
/** Three members seal anew, as fast as they may. */
const RESEALS_PER_SECOND = 3 * RESEALS_PER_SECOND_DEFAULT;
const RECORD_BYTES_MAX = 22;

/** 16 bytes, scattered: multiplication by an odd number maps words one to one. */
function setKey(key: Int32Array, i: number): void {
  key[0] = Math.imul(i, 0x9e37_79b1);
  key[1] = Math.imul(i, 0x85eb_ca6b);
  key[2] = i;
  key[3] = ~i;
}

test('1 million keys of 16 bytes fit in 88 MB of trusted memory, 22 MB more when all are sealed anew; all of it accounted for', (context) => {
  const arraysBefore = process.memoryUsage().arrayBuffers;
  const { store, budget, hostMemory } = makeStore({ trustedBytes: STORE_BYTES, hostBytes: 64 * 1024 * 1024 });
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

  const { consensus } = store;
  const usedBefore = budget.used;
  let fullCountMax = 0;
  let nowMs = 0;
  for (let i = 0; i < KEYS; i++) {
    setKey(key, i);
    consensus.tick((nowMs += 1_000 / RESEALS_PER_SECOND));
    const record = consensus.expand(store.find(key, 0, 16), TRUSTED_MARGIN_BYTES, nowMs);
    if (record === NO_RECORD) refused++;
    else writeU53(consensus.words(record), consensus.wordOffset(record) + RECORD_SLOT, 1 + (i % 5));
    fullCountMax = Math.max(fullCountMax, consensus.fullCount);
  }
  assert.equal(refused, 0);
  for (const endMs = nowMs + 2 * RECORD_IDLE_MS; nowMs < endMs; nowMs += 10) consensus.tick(nowMs);
  assert.equal(consensus.fullCount, 0);
  assert.equal(consensus.count, KEYS);
  const each = (budget.used - usedBefore) / KEYS;
  assert.ok(each <= RECORD_BYTES_MAX, `${each} bytes each`);
  context.diagnostic(`${each.toFixed(1)} bytes each, at most ${fullCountMax} of them at work`);
  for (let i = 0; i < KEYS; i += 7) {
    setKey(key, i);
    const record = consensus.find(store.find(key, 0, 16));
    if (readU53(consensus.words(record), consensus.wordOffset(record) + RECORD_SLOT) !== 1 + (i % 5)) wrong++;
  }
  assert.equal(wrong, 0);
  store.invariants();
});
