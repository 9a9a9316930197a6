/**
 * The sealing that decides, job by job, where it is done: in the loop when that takes no longer than handing it over, else
 * by a worker of the pool. What is not worth a worker, or finds none free, goes to the sealing that works inline, which
 * also holds all keys.
 *
 * A job that is handed over is described in shared memory (job-memory.ts), its key copied there until it is done. Packets,
 * control parts and values that lie in shared memory are named there, never copied; what arrived by a socket doesn't, and
 * is copied once. Nonces are given out here, so that it makes no difference who is done first.
 */
import { assert } from '../net/assert.ts';
import type { Region } from '../net/bytes.ts';
import { copyPadded, writeU53 } from '../net/bytes.ts';
import type { SecurityMode } from '../net/mode.ts';
import { SECURITY_MODES } from '../net/mode.ts';
import type { HandedPlace, HandedValues } from './handed-values.ts';
import type { InlineSealing } from './inline-sealing.ts';
import {
  JOB_ASSOCIATED_BYTES,
  JOB_CONTROL_OFFSET,
  JOB_COUNT,
  JOB_KIND,
  JOB_MODE,
  JOB_OPENED,
  JOB_SOURCE,
  JOB_TARGET,
  OPEN_DATAGRAM,
  OPEN_VALUE,
  SEAL_DATAGRAM,
  SEAL_VALUE,
} from './job-memory.ts';
import type { JobKind } from './job-memory.ts';
import type { KeyTable } from './key-table.ts';
import type { KeyHandle, KeyRegistry, Sealing, SealingSink, ValueSealingSink } from './sealing.ts';
import { ASSOCIATED_KEY_BYTES_MAX, VALUE_TAG_BYTES } from './sealing.ts';
import { AEAD_TAG_BYTES } from './sodium.ts';
import type { Threshold } from './threshold.ts';
import { datagramWork } from './threshold.ts';
import type { SealedValues } from './value-cipher.ts';
import type { JobOwner, WorkerPool } from './worker-pool.ts';

const TAG_WORDS = VALUE_TAG_BYTES / 4;
const NO_BYTES = new Uint8Array(0);

export interface WorkerSealingParts {
  readonly mode: Exclude<SecurityMode, 'plaintext'>;
  readonly inline: InlineSealing;
  /** Those of `inline`. */
  readonly keys: KeyTable;
  readonly values: SealedValues;
  readonly pool: WorkerPool;
  readonly threshold: Threshold;
}

export class WorkerSealing implements Sealing, KeyRegistry, JobOwner {
  readonly datagramTagBytes = AEAD_TAG_BYTES;
  /** Jobs that were handed over and are done. */
  jobCount = 0;
  /** Called when jobs are done and somebody has to drain them. */
  onReadyToDrain: () => void = () => {};

  readonly #parts: WorkerSealingParts;
  readonly #pool: WorkerPool;
  readonly #inline: InlineSealing;
  readonly #handed: HandedValues;
  readonly #fromBytes: number;
  readonly #places: readonly HandedPlace[];

  /** Done and not reported yet: job numbers, oldest first. */
  readonly #doneDatagrams: number[] = [];
  readonly #doneValues: number[] = [];
  /** By job: what its report needs, and the buffers that the loop alone sees. */
  readonly #tokens = new Float64Array(JOB_COUNT);
  readonly #handles = new Int32Array(JOB_COUNT);
  readonly #packets: Uint8Array[] = new Array<Uint8Array>(JOB_COUNT).fill(NO_BYTES);
  readonly #envelopes: (Region | undefined)[] = Array.from<Region | undefined>({ length: JOB_COUNT });
  readonly #envelopeWords = new Int32Array(JOB_COUNT);
  readonly #tags: (Int32Array | undefined)[] = Array.from<Int32Array | undefined>({ length: JOB_COUNT });
  readonly #tagWords = new Int32Array(JOB_COUNT);
  /** Buffers that this sealing has named to the workers. */
  readonly #arenas = new Set<SharedArrayBuffer>();

  /** The job of a value that a worker opened, and that value, while it is reported. */
  #reported = -1;
  #openedValue: Uint8Array | undefined;
  #openedValueBytes = 0;
  #drainingDatagrams = false;
  #drainingValues = false;
  #closed = false;

  constructor(parts: WorkerSealingParts) {
    this.#parts = parts;
    this.#pool = parts.pool;
    this.#inline = parts.inline;
    this.#handed = parts.values.handed();
    this.#fromBytes = parts.threshold.fromBytes;
    const { memory } = parts.pool;
    this.#places = Array.from({ length: JOB_COUNT }, (_, job) => ({
      key: memory.key(job),
      words: memory.words,
      numberWord: memory.numberWord(job),
      tagsWord: memory.tagsWord(job),
    }));
    this.#pool.attach(this);
  }

  envelopeBytesOf(valueBytes: number): number {
    return this.#inline.envelopeBytesOf(valueBytes);
  }

  valueOffsetOf(valueBytes: number): number {
    return this.#inline.valueOffsetOf(valueBytes);
  }

  get openedValue(): Uint8Array {
    return this.#openedValue ?? this.#inline.openedValue;
  }

  get openedValueBytes(): number {
    return this.#openedValue === undefined ? this.#inline.openedValueBytes : this.#openedValueBytes;
  }

  get pendingValueJobs(): number {
    return this.#inline.pendingValueJobs + this.#doneValues.length;
  }

  importKey(key: Uint8Array): KeyHandle {
    return this.#inline.importKey(key);
  }

  eraseKey(key: KeyHandle): void {
    this.#inline.eraseKey(key);
  }

  // -- datagrams ------------------------------------------------------------------------------------------------------

  submitSealDatagram(
    token: number,
    key: KeyHandle,
    packetNumber: number,
    packet: Uint8Array,
    controlOffset: number,
    control: Uint8Array,
    controlBytes: number,
  ): void {
    const { mode, threshold } = this.#parts;
    const isWorthIt = datagramWork(threshold, mode, controlOffset, controlBytes) >= this.#fromBytes;
    const job = isWorthIt && isShared(packet) && isShared(control) ? this.#take(SEAL_DATAGRAM, token, 0) : -1;
    if (job === -1) {
      this.#inline.submitSealDatagram(token, key, packetNumber, packet, controlOffset, control, controlBytes);
      return;
    }
    assert(Number.isSafeInteger(packetNumber) && packetNumber >= 0, 'a packet number is no larger than 2^53 - 1');
    assert(controlBytes <= control.byteLength, 'the control part lies within its buffer');
    assert(controlOffset + controlBytes + AEAD_TAG_BYTES <= packet.byteLength, 'the packet has room for the tag');
    this.#lendSessionKey(job, key);
    const { memory } = this.#pool;
    writeU53(memory.words, memory.numberWord(job), packetNumber);
    memory.setField(job, JOB_CONTROL_OFFSET, controlOffset);
    this.#name(job, JOB_SOURCE, control, 0, controlBytes);
    this.#name(job, JOB_TARGET, packet, 0, packet.byteLength);
    this.#pool.handOver(job);
  }

  submitOpenDatagram(
    token: number,
    key: KeyHandle,
    packetNumber: number,
    packet: Uint8Array,
    controlOffset: number,
  ): void {
    const job = this.#isOpenWorthIt(packet.byteLength, controlOffset, packetNumber)
      ? this.#take(OPEN_DATAGRAM, token, 2 * packet.byteLength - controlOffset)
      : -1;
    if (job === -1) return this.#inline.submitOpenDatagram(token, key, packetNumber, packet, controlOffset);
    this.#lendSessionKey(job, key);
    this.#packets[job] = packet;
    const { memory } = this.#pool;
    const start = this.#pool.stagingByte(job);
    memory.bytes.set(packet, start);
    writeU53(memory.words, memory.numberWord(job), packetNumber);
    memory.setField(job, JOB_CONTROL_OFFSET, controlOffset);
    memory.setPlace(job, JOB_SOURCE, 0, start, packet.byteLength);
    memory.setPlace(job, JOB_TARGET, 0, start + packet.byteLength, packet.byteLength - controlOffset - AEAD_TAG_BYTES);
    this.#pool.handOver(job);
  }

  /** What can't open is left to the inline sealing to refuse. */
  #isOpenWorthIt(packetBytes: number, controlOffset: number, packetNumber: number): boolean {
    const controlBytes = packetBytes - controlOffset - AEAD_TAG_BYTES;
    if (controlBytes < 0 || packetNumber > Number.MAX_SAFE_INTEGER) return false;
    const { mode, threshold } = this.#parts;
    const copying = threshold.copyShare * packetBytes;
    return Math.max(0, datagramWork(threshold, mode, controlOffset, controlBytes) - copying) >= this.#fromBytes;
  }

  drainDatagrams(sink: SealingSink): number {
    assert(!this.#drainingDatagrams, 'a sink does not drain what reports to it');
    this.#drainingDatagrams = true;
    try {
      let doneCount = 0;
      for (;;) {
        const before = doneCount;
        doneCount += this.#inline.drainDatagrams(sink);
        if (!this.#closed) this.#pool.poll();
        for (; this.#doneDatagrams.length > 0; doneCount++) this.#reportDatagram(this.#doneDatagrams.shift()!, sink);
        if (doneCount === before) return doneCount;
      }
    } finally {
      this.#drainingDatagrams = false;
    }
  }

  /** The job is given back before the sink hears of it, which may submit others. */
  #reportDatagram(job: number, sink: SealingSink): void {
    const { memory } = this.#pool;
    const token = this.#tokens[job]!;
    const isOpening = memory.field(job, JOB_KIND) === OPEN_DATAGRAM;
    const opened = memory.field(job, JOB_OPENED) === 1;
    if (isOpening && opened && this.#parts.mode === 'secure') {
      const start = memory.byteOf(job, JOB_TARGET);
      const clear = memory.bytes.subarray(start, start + memory.bytesOf(job, JOB_TARGET));
      this.#packets[job]!.set(clear, memory.field(job, JOB_CONTROL_OFFSET));
    }
    this.#parts.keys.release(this.#handles[job]!);
    this.#giveBack(job);
    if (isOpening) sink.onDatagramOpened(token, opened);
    else sink.onDatagramSealed(token);
  }

  #lendSessionKey(job: number, handle: KeyHandle): void {
    const { keys, mode } = this.#parts;
    keys.retain(handle);
    this.#handles[job] = handle;
    const { memory } = this.#pool;
    memory.key(job).set(keys.bytes(handle));
    memory.setField(job, JOB_MODE, SECURITY_MODES.indexOf(mode));
  }

  // -- values ---------------------------------------------------------------------------------------------------------

  submitSealValue(
    token: number,
    envelope: Region,
    envelopeWord: number,
    envelopeBytes: number,
    tagWords: Int32Array,
    tagWord: number,
    keyWords: Int32Array,
    keyWord: number,
    keyBytes: number,
  ): void {
    const { values } = this.#parts;
    const valueBytes = values.valueBytesIn(envelopeBytes);
    const isWorthIt = valueBytes >= this.#fromBytes && isShared(envelope.bytes);
    const job = isWorthIt ? this.#take(SEAL_VALUE, token, valueBytes + AEAD_TAG_BYTES) : -1;
    if (job === -1) {
      return this.#inline.submitSealValue(
        token,
        envelope,
        envelopeWord,
        envelopeBytes,
        tagWords,
        tagWord,
        keyWords,
        keyWord,
        keyBytes,
      );
    }
    this.#describe(job, envelope, envelopeWord, envelopeBytes, tagWords, tagWord, keyWords, keyWord, keyBytes);
    const nonce = values.takeNonces(Math.max(1, values.chunkCountOf(valueBytes)));
    this.#handed.beginSeal(nonce, valueBytes, this.#places[job]!);
    const valueByte = envelopeWord * 4 + values.valueOffsetOf(valueBytes);
    this.#name(job, JOB_SOURCE, envelope.bytes, valueByte, valueBytes);
    this.#pool.memory.setPlace(job, JOB_TARGET, 0, this.#pool.stagingByte(job), valueBytes);
    this.#pool.handOver(job);
  }

  submitOpenValue(
    token: number,
    envelope: Region,
    envelopeWord: number,
    envelopeBytes: number,
    tagWords: Int32Array,
    tagWord: number,
    keyWords: Int32Array,
    keyWord: number,
    keyBytes: number,
  ): void {
    const { values } = this.#parts;
    const valueBytes = values.valueBytesIn(envelopeBytes);
    const copiedBytes = isShared(envelope.bytes) ? 0 : valueBytes;
    const isWorthIt = valueBytes >= 0 && valueBytes >= this.#fromBytes;
    const job = isWorthIt ? this.#take(OPEN_VALUE, token, valueBytes + AEAD_TAG_BYTES + copiedBytes) : -1;
    if (job === -1) {
      return this.#inline.submitOpenValue(
        token,
        envelope,
        envelopeWord,
        envelopeBytes,
        tagWords,
        tagWord,
        keyWords,
        keyWord,
        keyBytes,
      );
    }
    this.#describe(job, envelope, envelopeWord, envelopeBytes, tagWords, tagWord, keyWords, keyWord, keyBytes);
    const { memory } = this.#pool;
    const start = this.#pool.stagingByte(job);
    memory.setPlace(job, JOB_TARGET, 0, start, valueBytes);
    if (!this.#handed.beginOpen(this.#places[job]!, valueBytes, envelope, envelopeWord, tagWords, tagWord)) {
      memory.setField(job, JOB_OPENED, 0);
      this.#doneValues.push(job);
      return;
    }
    const valueByte = envelopeWord * 4 + values.valueOffsetOf(valueBytes);
    if (copiedBytes === 0) this.#name(job, JOB_SOURCE, envelope.bytes, valueByte, valueBytes);
    else {
      const copyByte = start + valueBytes + AEAD_TAG_BYTES;
      memory.bytes.set(envelope.bytes.subarray(valueByte, valueByte + valueBytes), copyByte);
      memory.setPlace(job, JOB_SOURCE, 0, copyByte, valueBytes);
    }
    this.#pool.handOver(job);
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
    const { memory } = this.#pool;
    this.#envelopes[job] = envelope;
    this.#envelopeWords[job] = envelopeWord;
    this.#tags[job] = tagWords;
    this.#tagWords[job] = tagWord;
    memory.setField(job, JOB_ASSOCIATED_BYTES, keyBytes);
    copyPadded(memory.words, memory.associatedWord(job), keyWords, keyWord, keyBytes);
  }

  drainValues(sink: ValueSealingSink): number {
    assert(!this.#drainingValues, 'a sink does not drain what reports to it');
    this.#drainingValues = true;
    try {
      let doneCount = this.#inline.drainValues(sink);
      if (!this.#closed) this.#pool.poll();
      for (; this.#doneValues.length > 0; doneCount++) this.#reportValue(this.#doneValues.shift()!, sink);
      return doneCount;
    } finally {
      this.#drainingValues = false;
    }
  }

  #reportValue(job: number, sink: ValueSealingSink): void {
    const { memory } = this.#pool;
    const token = this.#tokens[job]!;
    if (memory.field(job, JOB_KIND) === SEAL_VALUE) {
      const valueBytes = memory.bytesOf(job, JOB_SOURCE);
      const [envelope, tagWords] = [this.#envelopes[job]!, this.#tags[job]!];
      const [envelopeWord, tagWord] = [this.#envelopeWords[job]!, this.#tagWords[job]!];
      this.#handed.endSeal(this.#places[job]!, valueBytes, envelope, envelopeWord, tagWords, tagWord);
      this.#giveBack(job);
      sink.onValueSealed(token);
      return;
    }
    const opened = memory.field(job, JOB_OPENED) === 1;
    const start = memory.byteOf(job, JOB_TARGET);
    this.#openedValueBytes = opened ? memory.bytesOf(job, JOB_TARGET) : 0;
    this.#openedValue = memory.bytes.subarray(start, start + this.#openedValueBytes);
    this.#reported = job;
    try {
      sink.onValueOpened(token, opened);
    } finally {
      this.#endReport();
    }
  }

  /** An opened value lies in the staging of its job until it is reported. */
  #endReport(): void {
    if (this.#reported === -1) return;
    this.#giveBack(this.#reported);
    this.#reported = -1;
    this.#openedValue = undefined;
  }

  // -- jobs -----------------------------------------------------------------------------------------------------------

  #take(kind: JobKind, token: number, stagingBytes: number): number {
    assert(!this.#closed, 'the sealing is open');
    const job = this.#pool.take(this, stagingBytes);
    if (job === -1) return -1;
    this.#pool.memory.setField(job, JOB_KIND, kind);
    this.#tokens[job] = token;
    return job;
  }

  /** Tells a job where bytes lie that the workers see as well. */
  #name(job: number, place: number, bytes: Uint8Array, byte: number, byteCount: number): void {
    const buffer = bytes.buffer as SharedArrayBuffer;
    this.#arenas.add(buffer);
    this.#pool.memory.setPlace(job, place, this.#pool.arenaOf(buffer), bytes.byteOffset + byte, byteCount);
  }

  #giveBack(job: number): void {
    this.#packets[job] = NO_BYTES;
    this.#envelopes[job] = undefined;
    this.#tags[job] = undefined;
    this.#pool.release(job);
  }

  onJobDone(job: number): void {
    this.jobCount++;
    const kind = this.#pool.memory.field(job, JOB_KIND);
    if (kind === SEAL_VALUE || kind === OPEN_VALUE) this.#doneValues.push(job);
    else this.#doneDatagrams.push(job);
  }

  onReady(): void {
    if (this.#doneDatagrams.length + this.#doneValues.length > 0) this.onReadyToDrain();
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#inline.close();
    this.#endReport();
    for (const job of [...this.#doneDatagrams, ...this.#doneValues]) this.#giveBack(job);
    this.#doneDatagrams.length = this.#doneValues.length = 0;
    this.#pool.detach(this, this.#arenas);
  }
}

function isShared(bytes: Uint8Array): boolean {
  return bytes.buffer instanceof SharedArrayBuffer;
}
