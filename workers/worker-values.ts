/**
 * Values that workers seal and open. A value that is sealed lies in shared memory (a client's operations do) and is named;
 * one that is opened is named where it lies in host memory, and copied once where it came in a datagram.
 */
import { assert } from '../net/assert.ts';
import type { Region } from '../net/bytes.ts';
import { copyPadded } from '../net/bytes.ts';
import type { HandedPlace, HandedValues } from './handed-values.ts';
import type { JobDesk } from './job-desk.ts';
import { isShared } from './job-desk.ts';
import {
  JOB_ASSOCIATED_BYTES,
  JOB_COUNT,
  JOB_KIND,
  JOB_OPENED,
  JOB_SOURCE,
  JOB_TARGET,
  OPEN_VALUE,
  SEAL_VALUE,
} from './job-memory.ts';
import type { ValueSealingSink } from './sealing.ts';
import { ASSOCIATED_KEY_BYTES_MAX, VALUE_TAG_BYTES } from './sealing.ts';
import { AEAD_TAG_BYTES } from './sodium.ts';
import type { SealedValues } from './value-cipher.ts';

const TAG_WORDS = VALUE_TAG_BYTES / 4;

export class WorkerValues {
  /** A value that a worker opened, while it is reported: it lies in the staging of its job. */
  openedValue: Uint8Array | undefined;

  readonly #desk: JobDesk;
  readonly #values: SealedValues;
  readonly #handed: HandedValues;
  readonly #fromBytes: number;
  readonly #places: readonly HandedPlace[];
  /** Done and not reported yet, oldest first. */
  readonly #done: number[] = [];
  /** The job of openedValue. */
  #reported = -1;
  /** By job. */
  readonly #envelopes: (Region | undefined)[] = Array.from<Region | undefined>({ length: JOB_COUNT });
  readonly #envelopeWords = new Int32Array(JOB_COUNT);
  readonly #tags: (Int32Array | undefined)[] = Array.from<Int32Array | undefined>({ length: JOB_COUNT });
  readonly #tagWords = new Int32Array(JOB_COUNT);

  constructor(desk: JobDesk, values: SealedValues, fromBytes: number) {
    this.#desk = desk;
    this.#values = values;
    this.#handed = values.handed();
    this.#fromBytes = fromBytes;
    const { memory } = desk;
    this.#places = Array.from({ length: JOB_COUNT }, (_, job) => ({
      key: memory.key(job),
      words: memory.words,
      numberWord: memory.numberWord(job),
      tagsWord: memory.tagsWord(job),
      writerKey: undefined,
    }));
  }

  get doneCount(): number {
    return this.#done.length;
  }

  /** False: it is not worth a worker, or none can take it. */
  trySeal(
    token: number,
    envelope: Region,
    envelopeWord: number,
    envelopeBytes: number,
    tagWords: Int32Array,
    tagWord: number,
    keyWords: Int32Array,
    keyWord: number,
    keyBytes: number,
  ): boolean {
    const valueBytes = this.#values.valueBytesIn(envelopeBytes);
    if (valueBytes < 0 || valueBytes < this.#fromBytes || !isShared(envelope.bytes)) return false;
    const writerKey = this.#handed.writerKeyOf(keyWords, keyWord, keyBytes);
    if (writerKey === undefined) return false;
    const job = this.#desk.take(SEAL_VALUE, token, valueBytes + AEAD_TAG_BYTES);
    if (job === -1) return false;
    this.#describe(job, envelope, envelopeWord, envelopeBytes, tagWords, tagWord, keyWords, keyWord, keyBytes);
    const nonce = this.#values.takeNonces(Math.max(1, this.#values.chunkCountOf(valueBytes)));
    this.#handed.beginSeal(writerKey, nonce, valueBytes, this.#places[job]!);
    const { memory, pool } = this.#desk;
    this.#desk.name(job, JOB_SOURCE, envelope.bytes, this.#valueByte(envelopeWord, valueBytes), valueBytes);
    memory.setPlace(job, JOB_TARGET, 0, pool.stagingByte(job), valueBytes);
    pool.handOver(job);
    return true;
  }

  tryOpen(
    token: number,
    envelope: Region,
    envelopeWord: number,
    envelopeBytes: number,
    tagWords: Int32Array,
    tagWord: number,
    keyWords: Int32Array,
    keyWord: number,
    keyBytes: number,
  ): boolean {
    const valueBytes = this.#values.valueBytesIn(envelopeBytes);
    if (valueBytes < 0 || valueBytes < this.#fromBytes) return false;
    const isNamed = isShared(envelope.bytes);
    const job = this.#desk.take(OPEN_VALUE, token, valueBytes + AEAD_TAG_BYTES + (isNamed ? 0 : valueBytes));
    if (job === -1) return false;
    this.#describe(job, envelope, envelopeWord, envelopeBytes, tagWords, tagWord, keyWords, keyWord, keyBytes);
    const { memory, pool } = this.#desk;
    const start = pool.stagingByte(job);
    memory.setPlace(job, JOB_TARGET, 0, start, valueBytes);
    if (!this.#handed.beginOpen(this.#places[job]!, valueBytes, envelope, envelopeWord, tagWords, tagWord)) {
      // Nothing is left to do: it is reported by the next drain.
      memory.setField(job, JOB_OPENED, 0);
      this.#done.push(job);
      return true;
    }
    const valueByte = this.#valueByte(envelopeWord, valueBytes);
    if (isNamed) this.#desk.name(job, JOB_SOURCE, envelope.bytes, valueByte, valueBytes);
    else {
      const copyByte = start + valueBytes + AEAD_TAG_BYTES;
      memory.bytes.set(envelope.bytes.subarray(valueByte, valueByte + valueBytes), copyByte);
      memory.setPlace(job, JOB_SOURCE, 0, copyByte, valueBytes);
    }
    pool.handOver(job);
    return true;
  }

  #valueByte(envelopeWord: number, valueBytes: number): number {
    return envelopeWord * 4 + this.#values.valueOffsetOf(valueBytes);
  }

  /** Checks what an inline job would be checked for, and keeps what the report needs. */
  #describe(
    job: number,
    envelope: Region,
    envelopeWord: number,
    envelopeBytes: number,
    tagWords: Int32Array,
    tagWord: number,
    keyWords: Int32Array,
    keyWord: number,
    keyBytes: number,
  ): void {
    assert(envelopeWord * 4 + envelopeBytes <= envelope.bytes.byteLength, 'the envelope lies within its region');
    assert(tagWord + TAG_WORDS <= tagWords.length, 'the tag lies within its words');
    assert(keyBytes >= 0 && keyBytes <= ASSOCIATED_KEY_BYTES_MAX, 'the key of a pair has at most 1,024 bytes');
    const { memory } = this.#desk;
    this.#envelopes[job] = envelope;
    this.#envelopeWords[job] = envelopeWord;
    this.#tags[job] = tagWords;
    this.#tagWords[job] = tagWord;
    memory.setField(job, JOB_ASSOCIATED_BYTES, keyBytes);
    copyPadded(memory.words, memory.associatedWord(job), keyWords, keyWord, keyBytes);
  }

  onDone(job: number): void {
    this.#done.push(job);
  }

  /** Reports what is done; returns how many. */
  report(sink: ValueSealingSink): number {
    let count = 0;
    for (; this.#done.length > 0; count++) {
      const job = this.#done.shift()!;
      if (this.#desk.memory.field(job, JOB_KIND) === SEAL_VALUE) this.#reportSealed(job, sink);
      else this.#reportOpened(job, sink);
    }
    return count;
  }

  #reportSealed(job: number, sink: ValueSealingSink): void {
    const { memory } = this.#desk;
    const token = this.#desk.token(job);
    const valueBytes = memory.bytesOf(job, JOB_SOURCE);
    const envelope = this.#envelopes[job]!;
    const tagWords = this.#tags[job]!;
    const tagWord = this.#tagWords[job]!;
    const place = this.#places[job]!;
    const sealed = this.#handed.endSeal(place, valueBytes, envelope, this.#envelopeWords[job]!, tagWords, tagWord);
    this.#giveBack(job);
    sink.onValueSealed(token, sealed);
  }

  #reportOpened(job: number, sink: ValueSealingSink): void {
    const { memory } = this.#desk;
    const opened = memory.field(job, JOB_OPENED) === 1;
    const start = memory.byteOf(job, JOB_TARGET);
    this.#reported = job;
    this.openedValue = memory.bytes.subarray(start, opened ? start + memory.bytesOf(job, JOB_TARGET) : start);
    try {
      sink.onValueOpened(this.#desk.token(job), opened);
    } finally {
      this.#endReport();
    }
  }

  /** Of an opened value, unless the sink has closed the sealing meanwhile. */
  #endReport(): void {
    if (this.#reported === -1) return;
    this.#giveBack(this.#reported);
    this.#reported = -1;
    this.openedValue = undefined;
  }

  #giveBack(job: number): void {
    this.#envelopes[job] = undefined;
    this.#tags[job] = undefined;
    this.#desk.pool.release(job);
  }

  /** Nothing is reported any more. */
  close(): void {
    this.#endReport();
    for (const job of this.#done) this.#giveBack(job);
    this.#done.length = 0;
  }
}
