/**
 * The sealing that works in the process's own loop. submit puts a job into a ring; drain does the jobs one after the
 * other and reports each as it is done; of values in chunks it does one chunk a call, the oldest value first. A caller that collects all of a turn's jobs before it drains keeps the AEAD
 * calls together, which is faster than mixing them with other work (measured: 1.08).
 */
import { assert } from '../net/assert.ts';
import type { Region } from '../net/bytes.ts';
import type { SecurityMode } from '../net/mode.ts';
import type { ChunkedValues } from './chunked-values.ts';
import type { DatagramCipher } from './datagram-cipher.ts';
import { createDatagramCipher } from './datagram-cipher.ts';
import { DatagramJobs, OPEN, SEAL, ValueJobs } from './job-rings.ts';
import { KeyTable } from './key-table.ts';
import type { DataKeys, KeyHandle, KeyRegistry, Sealing, SealingSink, ValueSealingSink } from './sealing.ts';
import { ASSOCIATED_KEY_BYTES_MAX, VALUE_TAG_BYTES } from './sealing.ts';
import { randomBytes } from './sodium.ts';
import type { OpenedValue, ValueCipher } from './value-cipher.ts';
import { ClearValues, SealedValues } from './value-cipher.ts';

const TAG_WORDS = VALUE_TAG_BYTES / 4;

export interface InlineSealingOptions {
  readonly mode: SecurityMode;
  /** Not asked in plaintext mode. */
  readonly dataKeys: DataKeys;
  /** Draws the salt; default: the system's random source. A salt that comes twice breaks the encryption. */
  readonly randomBytes?: (count: number) => Uint8Array;
}

export function createInlineSealing(options: InlineSealingOptions): Sealing & KeyRegistry {
  const datagrams = createDatagramCipher(options.mode);
  if (options.mode === 'plaintext') return new InlineSealing(datagrams, undefined, new ClearValues());
  const values = new SealedValues(options.dataKeys, options.randomBytes ?? randomBytes);
  return new InlineSealing(datagrams, new KeyTable(), values);
}

/** Large values under way at once, before the ring grows. A power of two. */
const CHUNKED_JOBS_INITIAL = 16;

const NO_KEY_BYTES = new Uint8Array(0);

export class InlineSealing implements Sealing, KeyRegistry {
  readonly datagramTagBytes: number;

  readonly #datagrams: DatagramCipher;
  /** Undefined in plaintext mode: its sessions have no keys. */
  readonly #keys: KeyTable | undefined;
  readonly #values: ValueCipher;
  readonly #datagramJobs = new DatagramJobs();
  readonly #valueJobs = new ValueJobs();
  /** Jobs of values in chunks: the first may have been begun, the others wait for it. */
  readonly #chunkedJobs = new ValueJobs(CHUNKED_JOBS_INITIAL);
  #isChunkedBegun = false;
  /** Where the value that was opened last lies. */
  #opened: OpenedValue;
  #drainingDatagrams = false;
  #drainingValues = false;
  #closed = false;

  constructor(datagrams: DatagramCipher, keys: KeyTable | undefined, values: ValueCipher) {
    this.#datagrams = datagrams;
    this.#keys = keys;
    this.#values = values;
    this.datagramTagBytes = datagrams.tagBytes;
    this.#opened = values;
  }

  envelopeBytesOf(valueBytes: number): number {
    return this.#values.envelopeBytesOf(valueBytes);
  }

  valueOffsetOf(valueBytes: number): number {
    return this.#values.valueOffsetOf(valueBytes);
  }

  isUnderCurrentKey(...envelope: Parameters<Sealing['isUnderCurrentKey']>): boolean {
    return this.#values.isUnderCurrentKey(...envelope);
  }

  get openedValue(): Uint8Array {
    return this.#opened.openedValue;
  }

  get openedValueBytes(): number {
    return this.#opened.openedValueBytes;
  }

  get pendingValueJobs(): number {
    return this.#valueJobs.count + this.#chunkedJobs.count;
  }

  importKey(key: Uint8Array): KeyHandle {
    assert(!this.#closed, 'the sealing is open');
    assert(this.#keys !== undefined, 'sessions of the plaintext mode have no keys');
    return this.#keys.add(key);
  }

  /** Jobs under way with the key are still done; it is overwritten when the last one is. */
  eraseKey(key: KeyHandle): void {
    if (this.#closed) return;
    this.#keys?.erase(key);
  }

  submitSealDatagram(
    token: number,
    key: KeyHandle,
    packetNumber: number,
    packet: Uint8Array,
    controlOffset: number,
    control: Uint8Array,
    controlBytes: number,
  ): void {
    assert(!this.#closed, 'the sealing is open');
    assert(Number.isSafeInteger(packetNumber) && packetNumber >= 0, 'a packet number is no larger than 2^53 - 1');
    assert(controlBytes <= control.byteLength, 'the control part lies within its buffer');
    assert(
      controlOffset + controlBytes + this.datagramTagBytes <= packet.byteLength,
      'the packet has room for the tag',
    );
    this.#keys?.retain(key);
    this.#datagramJobs.push(SEAL, token, key, packetNumber, packet, controlOffset, control, controlBytes);
  }

  submitOpenDatagram(
    token: number,
    key: KeyHandle,
    packetNumber: number,
    packet: Uint8Array,
    controlOffset: number,
  ): void {
    assert(!this.#closed, 'the sealing is open');
    this.#keys?.retain(key);
    this.#datagramJobs.push(OPEN, token, key, packetNumber, packet, controlOffset, packet, 0);
  }

  drainDatagrams(sink: SealingSink): number {
    assert(!this.#drainingDatagrams, 'a sink does not drain what reports to it');
    this.#drainingDatagrams = true;
    let doneCount = 0;
    try {
      for (; this.#datagramJobs.count > 0; doneCount++) this.#doDatagramJob(sink);
    } finally {
      this.#drainingDatagrams = false;
    }
    return doneCount;
  }

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
    assert(!this.#closed, 'the sealing is open');
    const valueBytes = this.#values.valueBytesIn(envelopeBytes);
    assert(valueBytes >= 0, 'the envelope is that of a value of at most 1 MiB');
    assert(envelopeWord * 4 + envelopeBytes <= envelope.bytes.byteLength, 'the envelope lies within its region');
    assert(tagWord + TAG_WORDS <= tagWords.length, 'there is room for the tag');
    assert(keyBytes >= 0 && keyBytes <= ASSOCIATED_KEY_BYTES_MAX, 'the key of a pair has at most 1,024 bytes');
    const chunkCount = this.#values.chunkCountOf(valueBytes);
    const nonce = this.#values.takeNonces(Math.max(1, chunkCount));
    const jobs = chunkCount > 0 ? this.#chunkedJobs : this.#valueJobs;
    jobs.push(
      SEAL,
      token,
      nonce,
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
    assert(!this.#closed, 'the sealing is open');
    assert(envelopeWord * 4 + envelopeBytes <= envelope.bytes.byteLength, 'the envelope lies within its region');
    assert(tagWord + TAG_WORDS <= tagWords.length, 'the tag lies within its words');
    assert(keyBytes >= 0 && keyBytes <= ASSOCIATED_KEY_BYTES_MAX, 'the key of a pair has at most 1,024 bytes');
    // An envelope of a length that no value has goes where values in one piece go, and does not open.
    const chunkCount = this.#values.chunkCountOf(this.#values.valueBytesIn(envelopeBytes));
    const jobs = chunkCount > 0 ? this.#chunkedJobs : this.#valueJobs;
    jobs.push(OPEN, token, 0, envelope, envelopeWord, envelopeBytes, tagWords, tagWord, keyWords, keyWord, keyBytes);
  }

  drainValues(sink: ValueSealingSink): number {
    assert(!this.#drainingValues, 'a sink does not drain what reports to it');
    this.#drainingValues = true;
    this.#values.followKeys();
    let doneCount = 0;
    try {
      for (; this.#valueJobs.count > 0; doneCount++) this.#doValueJob(sink);
      if (this.#chunkedJobs.count > 0 && this.#doChunk(sink)) doneCount++;
    } finally {
      this.#drainingValues = false;
    }
    return doneCount;
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#datagramJobs.clear();
    this.#valueJobs.clear();
    this.#chunkedJobs.clear();
    this.#isChunkedBegun = false;
    this.#keys?.close();
    this.#values.close();
  }

  /** The job leaves the ring before the sink hears of it: the sink may submit, and the ring may grow. */
  #doDatagramJob(sink: SealingSink): void {
    const jobs = this.#datagramJobs;
    const slot = jobs.first;
    const kind = jobs.kinds[slot]!;
    const token = jobs.tokens[slot]!;
    const handle = jobs.keys[slot]!;
    const packetNumber = jobs.packetNumbers[slot]!;
    const packet = jobs.packets[slot]!;
    const controlOffset = jobs.controlOffsets[slot]!;
    const key = this.#keys?.bytes(handle) ?? NO_KEY_BYTES;
    if (kind === SEAL) {
      const control = jobs.controls[slot]!;
      this.#datagrams.seal(key, packetNumber, packet, controlOffset, control, jobs.controlBytes[slot]!);
      jobs.shift();
      this.#keys?.release(handle);
      sink.onDatagramSealed(token);
    } else {
      const opened = this.#datagrams.open(key, packetNumber, packet, controlOffset);
      jobs.shift();
      this.#keys?.release(handle);
      sink.onDatagramOpened(token, opened);
    }
  }

  #doValueJob(sink: ValueSealingSink): void {
    const jobs = this.#valueJobs;
    const slot = jobs.first;
    const token = jobs.tokens[slot]!;
    const envelope = jobs.envelopes[slot]!;
    const envelopeWord = jobs.envelopeWords[slot]!;
    const envelopeBytes = jobs.envelopeBytes[slot]!;
    const tag = jobs.tags[slot]!;
    const tagWord = jobs.tagWords[slot]!;
    const key = jobs.keys[slot]!;
    const keyWord = jobs.keyWords[slot]!;
    const keyBytes = jobs.keyBytes[slot]!;
    if (jobs.kinds[slot] === SEAL) {
      const nonce = jobs.nonces[slot]!;
      const values = this.#values;
      const sealed = values.seal(nonce, envelope, envelopeWord, envelopeBytes, tag, tagWord, key, keyWord, keyBytes);
      jobs.shift();
      sink.onValueSealed(token, sealed);
    } else {
      const opened = this.#values.open(envelope, envelopeWord, envelopeBytes, tag, tagWord, key, keyWord, keyBytes);
      jobs.shift();
      this.#opened = this.#values;
      sink.onValueOpened(token, opened);
    }
  }

  /** One chunk of the oldest value in chunks; true when that was its last. */
  #doChunk(sink: ValueSealingSink): boolean {
    const { chunks } = this.#values;
    assert(chunks !== undefined, 'values of this mode have chunks');
    const jobs = this.#chunkedJobs;
    if (!this.#isChunkedBegun) this.#beginChunked(chunks);
    const step = chunks.step();
    if (step === 'more') return false;
    const token = jobs.tokens[jobs.first]!;
    const kind = jobs.kinds[jobs.first];
    this.#isChunkedBegun = false;
    jobs.shift();
    if (kind === SEAL) sink.onValueSealed(token, step === 'done');
    else {
      this.#opened = chunks;
      sink.onValueOpened(token, step === 'done');
    }
    return true;
  }

  #beginChunked(chunks: ChunkedValues): void {
    const jobs = this.#chunkedJobs;
    const slot = jobs.first;
    const envelope = jobs.envelopes[slot]!;
    const envelopeWord = jobs.envelopeWords[slot]!;
    const envelopeBytes = jobs.envelopeBytes[slot]!;
    const tag = jobs.tags[slot]!;
    const tagWord = jobs.tagWords[slot]!;
    const key = jobs.keys[slot]!;
    const keyWord = jobs.keyWords[slot]!;
    const keyBytes = jobs.keyBytes[slot]!;
    this.#isChunkedBegun = true;
    if (jobs.kinds[slot] === OPEN) {
      chunks.beginOpen(envelope, envelopeWord, envelopeBytes, tag, tagWord, key, keyWord, keyBytes);
    } else {
      const firstNonce = jobs.nonces[slot]!;
      chunks.beginSeal(firstNonce, envelope, envelopeWord, envelopeBytes, tag, tagWord, key, keyWord, keyBytes);
    }
  }
}
