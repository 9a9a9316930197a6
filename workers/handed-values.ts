/**
 * The loop's part of values that workers seal and open: which key and nonce, and all that is not encrypted. A worker sees
 * pieces of a value with one key and nonces in a row, nothing of envelopes; a piece is a chunk, or the whole of a value
 * that is too short for chunks.
 */
import type { Region } from '../net/bytes.ts';
import { copyWords, writeU53 } from '../net/bytes.ts';
import { ChunkTags, KEY_ID, NONCE, SALT } from './chunk-tags.ts';
import { chunkCountOf } from './envelope-layout.ts';
import type { DataKeys } from './sealing.ts';
import { ENVELOPE_HEADER_BYTES, VALUE_TAG_BYTES } from './sealing.ts';
import { AEAD_KEY_BYTES, AEAD_NONCE_BYTES, eraseBytes } from './sodium.ts';
import type { ReaderKeys } from './value-keys.ts';
import { CHUNK_KEYS_BYTES, deriveChunkKeys, SALT_BYTES } from './value-keys.ts';
import type { WriterKey, WriterKeys } from './writer-keys.ts';

const TAG_WORDS = VALUE_TAG_BYTES / 4;
const NONCE_WORDS = AEAD_NONCE_BYTES / 4;
const HEADER_WORDS = ENVELOPE_HEADER_BYTES / 4;

/** Where a job has what a worker needs. */
export interface HandedPlace {
  readonly key: Uint8Array;
  readonly words: Int32Array;
  /** Nonce of the first piece. */
  readonly numberWord: number;
  /** Tags of the pieces. */
  readonly tagsWord: number;
  /** What a value is sealed under, while it is. */
  writerKey: WriterKey | undefined;
}

export class HandedValues {
  readonly #dataKeys: DataKeys;
  readonly #writerKeys: WriterKeys;
  readonly #readerKeys: ReaderKeys;
  readonly #tags = new ChunkTags();
  /** Zero between uses. */
  readonly #chunkKeys = new Uint8Array(CHUNK_KEYS_BYTES);

  constructor(dataKeys: DataKeys, writerKeys: WriterKeys, readerKeys: ReaderKeys) {
    this.#dataKeys = dataKeys;
    this.#writerKeys = writerKeys;
    this.#readerKeys = readerKeys;
  }

  /** What a new value of the pair is to be sealed under; undefined when there is no data key for it. */
  writerKeyOf(keyWords: Int32Array, keyWord: number, keyBytes: number): WriterKey | undefined {
    return this.#writerKeys.of(keyWords, keyWord, keyBytes);
  }

  beginSeal(writerKey: WriterKey, firstNonce: number, valueBytes: number, place: HandedPlace): void {
    const { valueKey, chunkKeys } = writerKey;
    place.writerKey = writerKey;
    place.key.set(chunkCountOf(valueBytes) === 0 ? valueKey : chunkKeys.subarray(0, AEAD_KEY_BYTES));
    writeU53(place.words, place.numberWord, firstNonce);
    place.words[place.numberWord + 2] = 0;
  }

  /**
   * Writes what comes before the ciphertext, and the tag of the value. False, and nothing is written: the data key was
   * destroyed meanwhile.
   */
  endSeal(
    place: HandedPlace,
    valueBytes: number,
    envelope: Region,
    envelopeWord: number,
    tagWords: Int32Array,
    tagWord: number,
  ): boolean {
    const writerKey = place.writerKey!;
    place.writerKey = undefined;
    if (writerKey.isErased) return false;
    const tags = this.#tags;
    const input = tags.input.words;
    const chunkCount = chunkCountOf(valueBytes);
    tags.setLength(valueBytes);
    input[KEY_ID] = writerKey.keyId | 0;
    copyWords(input, NONCE, place.words, place.numberWord, NONCE_WORDS);
    copyWords(input, SALT, this.#writerKeys.salt.words, 0, SALT_BYTES / 4);
    if (chunkCount === 0) {
      copyWords(envelope.words, envelopeWord, input, KEY_ID, HEADER_WORDS);
      copyWords(tagWords, tagWord, place.words, place.tagsWord, TAG_WORDS);
      return true;
    }
    copyWords(input, tags.tagWord(0), place.words, place.tagsWord, chunkCount * TAG_WORDS);
    tags.store(envelope.words, envelopeWord, tagWords, tagWord, writerKey.chunkKeys.subarray(AEAD_KEY_BYTES));
    return true;
  }

  /** False when the envelope does not open, whatever its ciphertext is. It may lie in host memory: it is read once. */
  beginOpen(
    place: HandedPlace,
    valueBytes: number,
    envelope: Region,
    envelopeWord: number,
    tagWords: Int32Array,
    tagWord: number,
  ): boolean {
    const tags = this.#tags;
    const input = tags.input.words;
    const chunkCount = chunkCountOf(valueBytes);
    tags.setLength(valueBytes);
    tags.load(envelope.words, envelopeWord);
    copyWords(place.words, place.numberWord, input, NONCE, NONCE_WORDS);
    if (chunkCount === 0) {
      copyWords(place.words, place.tagsWord, tagWords, tagWord, TAG_WORDS);
      return this.#takeValueKey(place.key, input[KEY_ID]! >>> 0);
    }
    copyWords(place.words, place.tagsWord, input, tags.tagWord(0), chunkCount * TAG_WORDS);
    return this.#takeChunkKey(place.key, input[KEY_ID]! >>> 0, tagWords, tagWord);
  }

  /** A key that had to be derived is not kept: whether it opens anything is known only later. */
  #takeValueKey(target: Uint8Array, keyId: number): boolean {
    const input = this.#tags.input.words;
    const key = this.#readerKeys.take(keyId, input, SALT);
    if (key === undefined) return false;
    target.set(key);
    this.#readerKeys.settle(false, keyId, input, SALT);
    return true;
  }

  #takeChunkKey(target: Uint8Array, keyId: number, tagWords: Int32Array, tagWord: number): boolean {
    const dataKey = this.#dataKeys.key(keyId);
    if (dataKey === undefined) return false;
    const keys = this.#chunkKeys;
    deriveChunkKeys(keys, dataKey, keyId, this.#tags.input.words, SALT);
    const fits = this.#tags.fit(tagWords, tagWord, keys.subarray(AEAD_KEY_BYTES));
    if (fits) target.set(keys.subarray(0, AEAD_KEY_BYTES));
    eraseBytes(keys);
    return fits;
  }
}
