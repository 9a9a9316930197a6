/**
 * Seals and opens one value at a time: the work behind ValueSealing (sealing.ts, which has the envelope's layout). One
 * class with cryptography, one without; what they share is how the caller sees them. Whoever does the work needs no more
 * than this: places in memory, which may be shared, and nonces that the loop has given out.
 */
import { assert } from '../net/assert.ts';
import type { Region } from '../net/bytes.ts';
import { allocateRegion, copyWords, writeU53 } from '../net/bytes.ts';
import { ChunkedValues } from './chunked-values.ts';
import { chunkCountOf, valueBytesIn, valueOffsetOf } from './envelope-layout.ts';
import { HandedValues } from './handed-values.ts';
import { Scratch } from './scratch.ts';
import type { DataKeys } from './sealing.ts';
import {
  ASSOCIATED_KEY_BYTES_MAX,
  ENVELOPE_HEADER_BYTES,
  SEALED_VALUE_BYTES_MAX,
  VALUE_CHUNK_BYTES,
  VALUE_TAG_BYTES,
} from './sealing.ts';
import { AEAD_NONCE_BYTES, aeadOpen, aeadSeal, eraseBytes } from './sodium.ts';
import { NonceCounter, ReaderKeys, SALT_BYTES } from './value-keys.ts';
import { WriterKeys } from './writer-keys.ts';

/** After a value was opened: it is openedValue[0 .. openedValueBytes), until the same cipher does something else. */
export interface OpenedValue {
  readonly openedValue: Uint8Array;
  readonly openedValueBytes: number;
}

export interface ValueCipher extends OpenedValue {
  envelopeBytesOf(valueBytes: number): number;
  valueOffsetOf(valueBytes: number): number;
  /** -1 when no value has an envelope of that length. */
  valueBytesIn(envelopeBytes: number): number;
  /** Chunks of a value of that length: they are work of `chunks`. 0: it is in one piece, for seal() and open(). */
  chunkCountOf(valueBytes: number): number;
  /** For values in chunks; its memory is its own, so that seal() and open() between its steps don't disturb it. */
  readonly chunks: ChunkedValues | undefined;
  /** The first of `count` nonces in a row, one for each chunk; taken when a job is submitted. */
  takeNonces(count: number): number;
  isUnderCurrentKey(
    envelope: Region,
    envelopeWord: number,
    keyWords: Int32Array,
    keyWord: number,
    keyBytes: number,
  ): boolean;
  /** Erases what was derived from data keys that are no more. Called once a turn; does nothing when none has changed. */
  followKeys(): void;
  /** False: there is no data key for the pair, and nothing was written. */
  seal(
    nonce: number,
    envelope: Region,
    envelopeWord: number,
    envelopeBytes: number,
    tagWords: Int32Array,
    tagWord: number,
    keyWords: Int32Array,
    keyWord: number,
    keyBytes: number,
  ): boolean;
  open(
    envelope: Region,
    envelopeWord: number,
    envelopeBytes: number,
    tagWords: Int32Array,
    tagWord: number,
    keyWords: Int32Array,
    keyWord: number,
    keyBytes: number,
  ): boolean;
  close(): void;
}

const TAG_WORDS = VALUE_TAG_BYTES / 4;

/** Words of an envelope's header. */
const KEY_ID = 0;
const NONCE = 1;
const NONCE_WORDS = AEAD_NONCE_BYTES / 4;
const SALT = NONCE + NONCE_WORDS;
const HEADER_WORDS = SALT + SALT_BYTES / 4;
assert(HEADER_WORDS * 4 === ENVELOPE_HEADER_BYTES, 'the header is key id, nonce and salt');

export class SealedValues implements ValueCipher {
  openedValueBytes = 0;

  readonly #dataKeys: DataKeys;
  /** That of the data keys when what is derived from them was last looked through. */
  #generation: number;
  readonly #writerKeys: WriterKeys;
  #chunks: ChunkedValues | undefined;
  readonly #nonces: NonceCounter;
  /** Nonce of the last seal: they only grow, so that a nonce used twice is noticed. */
  #lastNonce = 0;

  readonly #readerKeys: ReaderKeys;

  readonly #value = new Scratch(VALUE_CHUNK_BYTES + VALUE_TAG_BYTES);
  readonly #associated = new Scratch(ASSOCIATED_KEY_BYTES_MAX);
  readonly #nonce = allocateRegion(AEAD_NONCE_BYTES);
  readonly #nonceBytes = this.#nonce.bytes.subarray(0, AEAD_NONCE_BYTES);
  /** Header of the envelope that is being opened: read from host memory once, used from here. */
  readonly #header = new Int32Array(HEADER_WORDS);

  constructor(dataKeys: DataKeys, randomBytes: (count: number) => Uint8Array, nonces = new NonceCounter()) {
    this.#dataKeys = dataKeys;
    this.#readerKeys = new ReaderKeys(dataKeys);
    this.#nonces = nonces;
    this.#generation = dataKeys.generation;
    this.#writerKeys = new WriterKeys(dataKeys, randomBytes(SALT_BYTES));
  }

  isUnderCurrentKey(
    envelope: Region,
    envelopeWord: number,
    keyWords: Int32Array,
    keyWord: number,
    keyBytes: number,
  ): boolean {
    const keyId = envelope.words[envelopeWord + KEY_ID]! >>> 0;
    return keyId === this.#dataKeys.currentId(keyWords, keyWord, keyBytes);
  }

  followKeys(): void {
    if (this.#generation === this.#dataKeys.generation) return;
    this.#generation = this.#dataKeys.generation;
    this.#writerKeys.forget();
    this.#readerKeys.forget();
  }

  envelopeBytesOf(valueBytes: number): number {
    return valueOffsetOf(valueBytes) + valueBytes;
  }

  valueOffsetOf(valueBytes: number): number {
    return valueOffsetOf(valueBytes);
  }

  valueBytesIn(envelopeBytes: number): number {
    return valueBytesIn(envelopeBytes);
  }

  chunkCountOf(valueBytes: number): number {
    return chunkCountOf(valueBytes);
  }

  /** A process that never meets a large value has no memory for one. */
  get chunks(): ChunkedValues {
    this.#chunks ??= new ChunkedValues(this.#dataKeys, this.#writerKeys);
    return this.#chunks;
  }

  /** For values that workers seal and open; keys stay this cipher's. */
  handed(): HandedValues {
    return new HandedValues(this.#dataKeys, this.#writerKeys, this.#readerKeys);
  }

  get openedValue(): Uint8Array {
    return this.#value.region.bytes;
  }

  takeNonces(count: number): number {
    return this.#nonces.take(count);
  }

  seal(
    nonce: number,
    envelope: Region,
    envelopeWord: number,
    envelopeBytes: number,
    tagWords: Int32Array,
    tagWord: number,
    keyWords: Int32Array,
    keyWord: number,
    keyBytes: number,
  ): boolean {
    assert(nonce > this.#lastNonce, 'no nonce is used twice');
    this.#lastNonce = nonce;
    const writerKey = this.#writerKeys.of(keyWords, keyWord, keyBytes);
    if (writerKey === undefined) return false;
    const valueBytes = envelopeBytes - ENVELOPE_HEADER_BYTES;
    const valueWord = envelopeWord + HEADER_WORDS;
    writeU53(this.#nonce.words, 0, nonce);
    this.#nonce.words[2] = 0;

    this.#associated.load(keyWords, keyWord, keyBytes);
    this.#value.load(envelope.words, valueWord, valueBytes);
    aeadSeal(
      this.#value.view(valueBytes + VALUE_TAG_BYTES),
      this.#value.view(valueBytes),
      this.#associated.view(keyBytes),
      this.#nonceBytes,
      writerKey.valueKey,
    );
    this.#value.store(envelope, valueWord, valueBytes);
    this.#value.storeTag(tagWords, tagWord, valueBytes);

    const words = envelope.words;
    words[envelopeWord + KEY_ID] = writerKey.keyId | 0;
    copyWords(words, envelopeWord + NONCE, this.#nonce.words, 0, NONCE_WORDS);
    copyWords(words, envelopeWord + SALT, this.#writerKeys.salt.words, 0, SALT_BYTES / 4);
    return true;
  }

  open(
    envelope: Region,
    envelopeWord: number,
    envelopeBytes: number,
    tagWords: Int32Array,
    tagWord: number,
    keyWords: Int32Array,
    keyWord: number,
    keyBytes: number,
  ): boolean {
    this.openedValueBytes = 0;
    const valueBytes = envelopeBytes - ENVELOPE_HEADER_BYTES;
    if (valueBytes < 0 || valueBytes > VALUE_CHUNK_BYTES) return false;

    const header = this.#header;
    copyWords(header, 0, envelope.words, envelopeWord, HEADER_WORDS);
    const keyId = header[KEY_ID]! >>> 0;
    const valueKey = this.#readerKeys.take(keyId, header, SALT);
    if (valueKey === undefined) return false;

    copyWords(this.#nonce.words, 0, header, NONCE, NONCE_WORDS);
    this.#associated.load(keyWords, keyWord, keyBytes);
    this.#value.load(envelope.words, envelopeWord + HEADER_WORDS, valueBytes);
    this.#value.loadTag(tagWords, tagWord, valueBytes);
    const opened = aeadOpen(
      this.#value.view(valueBytes),
      this.#value.view(valueBytes + VALUE_TAG_BYTES),
      this.#associated.view(keyBytes),
      this.#nonceBytes,
      valueKey,
    );
    this.#readerKeys.settle(opened, keyId, header, SALT);
    this.openedValueBytes = opened ? valueBytes : 0;
    return opened;
  }

  close(): void {
    this.#writerKeys.close();
    eraseBytes(this.#value.region.bytes);
    this.#chunks?.close();
    this.#readerKeys.close();
  }
}

/** Plaintext mode: the envelope is the value. Copying the largest one takes less than sealing a few chunks. */
export class ClearValues implements ValueCipher {
  readonly chunks = undefined;
  openedValueBytes = 0;

  /** Made larger for the first value that needs it. */
  #value = new Scratch(VALUE_CHUNK_BYTES);

  get openedValue(): Uint8Array {
    return this.#value.region.bytes;
  }

  envelopeBytesOf(valueBytes: number): number {
    return valueBytes;
  }

  valueOffsetOf(): number {
    return 0;
  }

  valueBytesIn(envelopeBytes: number): number {
    return envelopeBytes <= SEALED_VALUE_BYTES_MAX ? envelopeBytes : -1;
  }

  chunkCountOf(): number {
    return 0;
  }

  takeNonces(): number {
    return 0;
  }

  isUnderCurrentKey(): boolean {
    return true;
  }

  followKeys(): void {}

  seal(
    _nonce: number,
    _envelope: Region,
    _envelopeWord: number,
    _envelopeBytes: number,
    tagWords: Int32Array,
    tagWord: number,
  ): boolean {
    for (let i = 0; i < TAG_WORDS; i++) tagWords[tagWord + i] = 0;
    return true;
  }

  open(envelope: Region, envelopeWord: number, envelopeBytes: number): boolean {
    this.openedValueBytes = 0;
    if (envelopeBytes > SEALED_VALUE_BYTES_MAX) return false;
    if (envelopeBytes > this.#value.region.bytes.byteLength) {
      eraseBytes(this.#value.region.bytes);
      this.#value = new Scratch(SEALED_VALUE_BYTES_MAX);
    }
    this.#value.load(envelope.words, envelopeWord, envelopeBytes);
    this.openedValueBytes = envelopeBytes;
    return true;
  }

  close(): void {
    eraseBytes(this.#value.region.bytes);
  }
}
