import type { TestContext } from 'node:test';
import type { Region } from '../../net/bytes.ts';
import { alignUp, allocateRegion } from '../../net/bytes.ts';
import { HostMemory } from '../../src/store/host-memory.ts';
import { Store } from '../../src/store/store.ts';
import { TrustedBudget } from '../../src/store/trusted-budget.ts';
import type { WriteResult } from '../../src/store/write-result.ts';

/** A store with its parts at hand, and calls that take records instead of words. */
export interface StoreFixture {
  readonly store: Store;
  readonly budget: TrustedBudget;
  readonly hostMemory: HostMemory;
}

export interface FixtureLimits {
  readonly trustedBytes: number;
  readonly hostBytes: number;
  /** Small segments are filled by few values. */
  readonly segmentBytes?: number;
  readonly blockBytesMax?: number;
  /** Without an ordered view; default: with one. */
  readonly isUnordered?: boolean;
}

export const FIXTURE_SEED = Uint8Array.of(0x41, 0x9c, 0x07, 0xee, 0x5b, 0x20, 0xd3, 0x88);

export function makeStore(limits: FixtureLimits): StoreFixture {
  const budget = new TrustedBudget(limits.trustedBytes);
  const hostMemory = new HostMemory({
    budget,
    hostBytesMax: limits.hostBytes,
    // A host that refuses these leaves the test's own buffers alone.
    isShared: true,
    ...(limits.segmentBytes === undefined ? {} : { segmentBytes: limits.segmentBytes }),
    ...(limits.blockBytesMax === undefined ? {} : { blockBytesMax: limits.blockBytesMax }),
  });
  const isOrdered = limits.isUnordered !== true;
  return { store: new Store({ budget, hostMemory, seed: FIXTURE_SEED, isOrdered }), budget, hostMemory };
}

/** Bytes as they come in a message: as words, padded with zeros to 8 bytes, and not at the beginning. */
export class Padded {
  readonly words: Int32Array;
  readonly word = 2;
  readonly byteCount: number;

  constructor(bytes: Uint8Array) {
    this.byteCount = bytes.length;
    const region = allocateRegion(8 + alignUp(bytes.length));
    region.words.fill(-1);
    region.bytes.fill(0, 8);
    region.bytes.set(bytes, 8);
    this.words = region.words;
  }
}

export interface TestStamp {
  readonly counter: number;
  readonly writerHigh: number;
  readonly writerLow: number;
  readonly rmw: number;
}

export interface TestWrite {
  readonly stamp: TestStamp;
  readonly tombstone: boolean;
  /** 16 bytes. */
  readonly tag: Uint8Array;
  readonly envelope: Uint8Array;
}

export function writeTo(store: Store, key: Padded, write: TestWrite): WriteResult {
  const { counter, writerHigh, writerLow, rmw } = write.stamp;
  const tag = new Padded(write.tag);
  const envelope = new Padded(write.envelope);
  return store.write(
    key.words,
    key.word,
    key.byteCount,
    counter,
    writerHigh,
    writerLow,
    rmw,
    write.tombstone,
    tag.words,
    tag.word,
    envelope.words,
    envelope.word,
    envelope.byteCount,
  );
}

/** writeTo() for an envelope that lies in a reserved block. */
export function adoptInto(store: Store, key: Padded, write: TestWrite, ref: number): WriteResult {
  const { counter, writerHigh, writerLow, rmw } = write.stamp;
  const tag = new Padded(write.tag);
  return store.adopt(
    key.words,
    key.word,
    key.byteCount,
    counter,
    writerHigh,
    writerLow,
    rmw,
    tag.words,
    tag.word,
    ref,
    write.envelope.length,
  );
}

export function findIn(store: Store, key: Padded): number {
  return store.find(key.words, key.word, key.byteCount);
}

/** All that the store says about an entry. */
export function readFrom(store: Store, entry: number): TestWrite {
  const tag = new Int32Array(4);
  store.copyTag(entry, tag, 0);
  const byteCount = store.envelopeBytes(entry);
  const target = allocateRegion(8 + alignUp(byteCount) + 8);
  target.bytes.fill(0xaa);
  store.copyEnvelope(entry, target, 2);
  const end = 8 + alignUp(byteCount);
  const around = [...target.bytes.subarray(0, 8), ...target.bytes.subarray(end)];
  if (around.some((byte) => byte !== 0xaa)) throw new Error('copyEnvelope wrote beside its target');
  if (target.bytes.subarray(8 + byteCount, end).some((byte) => byte !== 0)) throw new Error('the padding is not zero');
  return {
    stamp: {
      counter: store.counter(entry),
      writerHigh: store.writerHigh(entry),
      writerLow: store.writerLow(entry),
      rmw: store.rmw(entry),
    },
    tombstone: store.isTombstone(entry),
    tag: new Uint8Array(tag.buffer),
    envelope: target.bytes.slice(8, 8 + byteCount),
  };
}

/** An entry's envelope, part by part. */
export function readParts(store: Store, entry: number, partBytes: number): Uint8Array {
  const byteCount = store.envelopeBytes(entry);
  const target = allocateRegion(alignUp(byteCount));
  target.bytes.fill(0xaa);
  for (let at = 0; at < byteCount; at += partBytes) {
    store.copyEnvelopePart(entry, at, Math.min(partBytes, byteCount - at), target, at / 4);
  }
  return target.bytes.slice(0, byteCount);
}

/** Overwrites all of host memory, as the host may. */
export function stompHostMemory(hostMemory: HostMemory, byte: number): void {
  // Places of segments that were given back hold an empty region; behind the last place there is none.
  for (let segment = 0; ; segment++) {
    const region: Region | undefined = hostMemory.region(segment << 16);
    if (region === undefined) return;
    region.bytes.fill(byte);
  }
}

export interface ReluctantHost {
  /** While it is set, the host gives no more memory. */
  refuses: boolean;
}

/** Until the test ends. */
export function makeHostReluctant(t: TestContext): ReluctantHost {
  const host = { refuses: false };
  const given = globalThis.SharedArrayBuffer;
  t.mock.method(globalThis, 'SharedArrayBuffer', function allocate(byteCount: number) {
    if (host.refuses) throw new RangeError('Array buffer allocation failed');
    return new given(byteCount);
  });
  return host;
}
