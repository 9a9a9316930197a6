/** What the tests of sealings share: jobs with all that they name, and completions in any order. */
import assert from 'node:assert/strict';
import type { Region } from '../../net/bytes.ts';
import { allocateRegion, allocateShared } from '../../net/bytes.ts';
import type { SecurityMode } from '../../net/mode.ts';
import type { KeyHandle } from '../../net/sealing.ts';
import { NO_KEY } from '../../net/sealing.ts';
import type { KeyRegistry, Sealing, SealingSink, ValueSealingSink } from '../../workers/sealing.ts';
import { VALUE_TAG_BYTES } from '../../workers/sealing.ts';
import { WorkerSealing } from '../../workers/worker-sealing.ts';
import { seededBytes } from './random.ts';

/** Far more than a shuffling sealing needs; a job that is never reported must not hang the test. */
export const DRAINS_MAX = 10_000;

export const TAG_WORDS = VALUE_TAG_BYTES / 4;

export function sessionKey(sealing: KeyRegistry, mode: SecurityMode, seed: number): KeyHandle {
  return mode === 'plaintext' ? NO_KEY : sealing.importKey(seededBytes(32, seed));
}

/** A value with all that a job names. */
export interface PlacedValue {
  readonly envelope: Region;
  readonly envelopeWord: number;
  readonly envelopeBytes: number;
  readonly valueOffset: number;
  readonly tagWords: Int32Array;
  readonly tagWord: number;
  readonly keyWords: Int32Array;
  readonly keyWord: number;
  readonly keyBytes: number;
}

/** Memory for what a sealing writes: workers see shared memory only. */
export function regionFor(sealing: Sealing, byteCount: number): Region {
  return sealing instanceof WorkerSealing ? allocateShared(byteCount) : allocateRegion(byteCount);
}

/** Exactly so many bytes of it. */
export function bytesFor(sealing: Sealing, byteCount: number): Uint8Array {
  return regionFor(sealing, byteCount).bytes.subarray(0, byteCount);
}

const nobodyWakes = new Int32Array(new SharedArrayBuffer(4));

/** Gives workers time: this thread needs to do nothing for them. */
export function letWorkersWork(sealing: Sealing): void {
  if (sealing instanceof WorkerSealing) Atomics.wait(nobodyWakes, 0, 0, 0.05);
}

export function sealableValue(sealing: Sealing, value: Uint8Array, key: Uint8Array): PlacedValue {
  const valueOffset = sealing.valueOffsetOf(value.length);
  const envelopeBytes = sealing.envelopeBytesOf(value.length);
  const envelope = regionFor(sealing, envelopeBytes);
  envelope.bytes.set(value, valueOffset);
  const keyRegion = allocateRegion(key.length);
  keyRegion.bytes.set(key);
  return {
    envelope,
    envelopeWord: 0,
    envelopeBytes,
    valueOffset,
    tagWords: new Int32Array(TAG_WORDS),
    tagWord: 0,
    keyWords: keyRegion.words,
    keyWord: 0,
    keyBytes: key.length,
  };
}

export function sealValue(sealing: Sealing, value: Uint8Array, key: Uint8Array): PlacedValue {
  const placed = sealableValue(sealing, value, key);
  submitSeal(sealing, 0, placed);
  settleValues(sealing, new Reports(sealing), 1);
  return placed;
}

/** The value, or undefined when the envelope did not open. */
export function openValue(sealing: Sealing, value: PlacedValue): Uint8Array | undefined {
  const reported = new Reports(sealing);
  submitOpen(sealing, 0, value);
  settleValues(sealing, reported, 1);
  return reported.values.get(0);
}

export function copyOfValue(value: PlacedValue): PlacedValue {
  const envelope = allocateRegion(value.envelope.bytes.length);
  envelope.bytes.set(value.envelope.bytes);
  return { ...value, envelope, tagWords: value.tagWords.slice() };
}

export function withKey(value: PlacedValue, key: Uint8Array): PlacedValue {
  const keyRegion = allocateRegion(key.length);
  keyRegion.bytes.set(key);
  return { ...value, keyWords: keyRegion.words, keyWord: 0, keyBytes: key.length };
}

export function submitSeal(sealing: Sealing, token: number, v: PlacedValue): void {
  sealing.submitSealValue(
    token,
    v.envelope,
    v.envelopeWord,
    v.envelopeBytes,
    v.tagWords,
    v.tagWord,
    v.keyWords,
    v.keyWord,
    v.keyBytes,
  );
}

export function submitOpen(sealing: Sealing, token: number, v: PlacedValue): void {
  sealing.submitOpenValue(
    token,
    v.envelope,
    v.envelopeWord,
    v.envelopeBytes,
    v.tagWords,
    v.tagWord,
    v.keyWords,
    v.keyWord,
    v.keyBytes,
  );
}

/** What a sealing reported, by token; a token that comes twice fails at once. */
export class Reports implements SealingSink, ValueSealingSink {
  readonly seen = new Set<number>();
  readonly opened = new Map<number, boolean>();
  /** Whether a value was sealed: there was a data key. */
  readonly sealed = new Map<number, boolean>();
  /** Values that opened. */
  readonly values = new Map<number, Uint8Array>();
  readonly #sealing: Sealing | undefined;

  constructor(sealing?: Sealing) {
    this.#sealing = sealing;
  }

  onDatagramSealed(token: number): void {
    this.#once(token);
  }

  onDatagramOpened(token: number, opened: boolean): void {
    this.#once(token);
    this.opened.set(token, opened);
  }

  onValueSealed(token: number, sealed: boolean): void {
    this.#once(token);
    this.sealed.set(token, sealed);
  }

  onValueOpened(token: number, opened: boolean): void {
    this.#once(token);
    this.opened.set(token, opened);
    if (opened) this.values.set(token, this.#sealing!.openedValue.slice(0, this.#sealing!.openedValueBytes));
  }

  #once(token: number): void {
    assert.ok(!this.seen.has(token), `job ${token} is reported once`);
    this.seen.add(token);
  }
}

export function settleDatagrams(sealing: Sealing, reported: Reports, jobCount: number): void {
  settle(sealing, () => sealing.drainDatagrams(reported), reported, jobCount);
}

export function settleValues(sealing: Sealing, reported: Reports, jobCount: number): void {
  settle(sealing, () => sealing.drainValues(reported), reported, jobCount);
}

/** Drains until that many jobs are reported, and once more to see that none comes again. */
function settle(sealing: Sealing, drain: () => number, reported: Reports, jobCount: number): void {
  for (let drains = 0; reported.seen.size < jobCount; drains++) {
    assert.ok(drains < DRAINS_MAX, 'all jobs end');
    const before = reported.seen.size;
    const doneCount = drain();
    assert.equal(doneCount, reported.seen.size - before, 'drain says how many jobs it reported');
    if (doneCount === 0) letWorkersWork(sealing);
  }
  assert.equal(drain(), 0);
}

export function bytesOf(text: string): Uint8Array {
  return Uint8Array.from(Buffer.from(text));
}

export function textOf(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString();
}
