import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FLAG_TOMBSTONE, MESSAGE_REPAIR, MESSAGE_WRITE } from '../../src/protocol/messages.ts';
import { seededBytes, seededRandom } from '../workers/random.ts';
import { ReorderingSealing } from '../workers/reordering-sealing.ts';
import { sealValue } from '../workers/sealing-driver.ts';
import { findIn, Padded, readFrom, stompHostMemory } from '../store/store-fixture.ts';
import { bytesOf, writeOf } from './fixtures.ts';
import type { Message, Stamp } from './fixtures.ts';
import { ReplicaHarness, WRITER } from './replica-harness.ts';

const KEY = bytesOf('a key');
const STAMP: Stamp = { ...WRITER, counter: 5, rmw: 0 };

/** A replica that holds a sealed value, and the messages that wrote it and would repair it. */
function holding(valueBytes = 100, harness = new ReplicaHarness()) {
  const placed = sealValue(harness.sealing, seededBytes(valueBytes, 3), KEY);
  const envelope = placed.envelope.bytes.slice(0, placed.envelopeBytes);
  const message = (parts: { type: number; envelope?: Uint8Array; tag?: Int32Array; stamp?: Stamp }): Message =>
    writeOf({ key: KEY, stamp: STAMP, tag: placed.tagWords, envelope, ...parts });
  harness.ask([message({ type: MESSAGE_WRITE })]);
  const offer = message({ type: MESSAGE_REPAIR });
  const stored = () => readFrom(harness.store, findIn(harness.store, new Padded(KEY)));
  /** A bit of the copy in host memory flips. */
  const tamper = () => {
    const entry = findIn(harness.store, new Padded(KEY));
    const ref = harness.store.hostRef(entry);
    harness.hostMemory.region(ref).bytes[harness.hostMemory.wordOffset(ref) * 4 + 40]! ^= 1;
  };
  return { harness, envelope, tag: placed.tagWords, message, offer, stored, tamper };
}

function flipped(bytes: Uint8Array, at: number): Uint8Array {
  const copy = bytes.slice();
  copy[at]! ^= 1;
  return copy;
}

test('should put a good copy in place of a bad one, and count both', () => {
  const { harness, envelope, offer, stored, tamper } = holding();
  tamper();
  assert.notDeepEqual(stored().envelope, envelope);
  assert.deepEqual(harness.ask([offer]), [], 'nobody waits for an answer');
  harness.settleRepairs();
  assert.deepEqual(stored().envelope, envelope);
  assert.deepEqual([harness.repairs.tamperedCount, harness.repairs.repairedCount], [1, 1]);
  assert.deepEqual(harness.drops.nonZero(), {});
});

test('should leave a copy alone that is fine', () => {
  const { harness, offer } = holding();
  harness.ask([offer]);
  harness.settleRepairs();
  assert.deepEqual([harness.repairs.tamperedCount, harness.repairs.repairedCount], [0, 0]);
  assert.deepEqual(harness.drops.nonZero(), { 'repair-unusable': 1 });
});

test('should not take a copy that does not open itself', () => {
  const { harness, envelope, message, stored, tamper } = holding();
  tamper();
  const bad = stored().envelope;
  harness.ask([message({ type: MESSAGE_REPAIR, envelope: flipped(envelope, 60) })]);
  harness.settleRepairs();
  assert.deepEqual(stored().envelope, bad);
  assert.deepEqual([harness.repairs.tamperedCount, harness.repairs.repairedCount], [1, 0]);
  assert.deepEqual(harness.drops.nonZero(), { 'repair-unusable': 1 });
});

test('should not take another tag, stamp, length or key than it has', () => {
  const { harness, envelope, tag, message, stored, tamper } = holding();
  tamper();
  const bad = stored().envelope;
  const offers = [
    message({ type: MESSAGE_REPAIR, tag: tag.map((word, i) => (i === 2 ? word ^ 1 : word)) }),
    message({ type: MESSAGE_REPAIR, stamp: { ...STAMP, counter: 6 } }),
    message({ type: MESSAGE_REPAIR, stamp: { ...STAMP, counter: 4 } }),
    message({ type: MESSAGE_REPAIR, stamp: { ...STAMP, rmw: 1 } }),
    message({ type: MESSAGE_REPAIR, envelope: envelope.slice(0, -1) }),
    message({ type: MESSAGE_REPAIR, envelope: new Uint8Array(0) }),
    writeOf({ type: MESSAGE_REPAIR, key: bytesOf('another'), stamp: STAMP, tag, envelope }),
    writeOf({ type: MESSAGE_REPAIR, key: KEY, stamp: STAMP, flags: FLAG_TOMBSTONE }),
  ];
  harness.ask(offers);
  harness.settleRepairs();
  assert.deepEqual(stored().envelope, bad);
  assert.deepEqual(harness.drops.nonZero(), { 'repair-unusable': offers.length });
  // Nor does it take its own copy for tampered with because another tag does not fit.
  assert.deepEqual([harness.repairs.tamperedCount, harness.repairs.repairedCount], [0, 0]);
});

test('should not take a copy of a key that was never written, under the stamp that such keys have', () => {
  const { harness, envelope, tag } = holding();
  const stamp = { counter: 0, writerHigh: 0, writerLow: 0, rmw: 0 };
  harness.ask([writeOf({ type: MESSAGE_REPAIR, key: bytesOf('another'), stamp, tag, envelope })]);
  harness.settleRepairs();
  assert.deepEqual(harness.drops.nonZero(), { 'repair-unusable': 1 });
});

test('should not put back an older value when a newer one was written while the repair was under way', () => {
  const { harness, offer, stored, tamper } = holding();
  tamper();
  harness.ask([offer]);
  const newer = seededBytes(132, 9);
  const write = writeOf({ key: KEY, stamp: { ...STAMP, counter: 6 }, tag: Int32Array.of(1, 2, 3, 4), envelope: newer });
  harness.ask([write]);
  harness.settleRepairs();
  assert.deepEqual(stored().envelope, newer);
  assert.deepEqual(harness.drops.nonZero(), { 'repair-unusable': 1 });
});

test('should repair values that a deletion or a rewrite of all host memory left behind, of any length', () => {
  for (const valueBytes of [0, 1, 7, 8, 1_000]) {
    const { harness, envelope, offer, stored } = holding(valueBytes);
    stompHostMemory(harness.hostMemory, 0xcc);
    harness.ask([offer]);
    harness.settleRepairs();
    assert.deepEqual(stored().envelope, envelope);
    assert.equal(harness.repairs.repairedCount, 1);
  }
});

test('should bound the repairs under way, and take more when they are done', () => {
  const { harness, offer, tamper } = holding();
  tamper();
  harness.ask(Array.from({ length: 100 }, () => offer));
  assert.equal(harness.drops.of('repair-unusable'), 100 - 64);
  harness.settleRepairs();
  assert.ok(harness.repairs.repairedCount >= 1);
  tamper();
  const before = harness.repairs.repairedCount;
  harness.ask([offer]);
  harness.settleRepairs();
  assert.equal(harness.repairs.repairedCount, before + 1);
});

test('should repair just the same when copies are opened late and out of order', () => {
  const wrapSealing = (sealing: ConstructorParameters<typeof ReorderingSealing>[0]) =>
    new ReorderingSealing(sealing, seededRandom(5));
  const { harness, envelope, offer, stored, tamper, message } = holding(100, new ReplicaHarness({ wrapSealing }));
  tamper();
  const bad = message({ type: MESSAGE_REPAIR, envelope: flipped(envelope, 60) });
  harness.ask([bad, offer, bad, offer]);
  harness.settleRepairs();
  assert.deepEqual(stored().envelope, envelope);
  assert.ok(harness.repairs.repairedCount >= 1);
});
