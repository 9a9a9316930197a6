/**
 * Seals and opens values over VALUE_CHUNK_BYTES, a chunk a step, so that other work of the loop comes in between:
 *
 *     chunk i            = bytes [i * VALUE_CHUNK_BYTES, ...) of the value; its nonce is the header's plus i
 *     ciphertext i, t i  = AEAD(key: chunk key, nonce, associated data: the key of the pair, message: chunk i)
 *     envelope           = header | t 0 | t 1 | ... | ciphertext 0 | ciphertext 1 | ...
 *     tag of the value   = BLAKE2b-128(key: tag key, "avocado value tag v1" | value length (u32) | header | t 0 | t 1 | ...)
 *
 * Why nothing else opens under a trusted tag. Nobody without the data key can make a tag for other bytes, so header,
 * length and the tags of all chunks, with their number and order, are those that were sealed. Header and position then fix
 * key and nonce of each chunk, and its tag the ciphertext and the key of the pair. So chunks that were swapped, left out,
 * added, or taken from another value, another version of this value or another pair are caught, with or without their
 * tags. Chunk key, tag key and value key (value-keys.ts) are three different ones: a chunk is no value in one piece under
 * its own tag, nor is the tag of a value in one piece the hash of anything.
 */
import { assert } from '../net/assert.ts';
import type { Region } from '../net/bytes.ts';
import { copyWords, regionOf, writeU53 } from '../net/bytes.ts';
import { ChunkTags, KEY_ID, NONCE, SALT } from './chunk-tags.ts';
import { chunkCountOf, valueBytesIn } from './envelope-layout.ts';
import { Scratch } from './scratch.ts';
import type { DataKeys } from './sealing.ts';
import {
  ASSOCIATED_KEY_BYTES_MAX,
  ENVELOPE_HEADER_BYTES,
  SEALED_VALUE_BYTES_MAX,
  VALUE_CHUNK_BYTES,
  VALUE_TAG_BYTES,
} from './sealing.ts';
import { AEAD_KEY_BYTES, AEAD_NONCE_BYTES, aeadOpen, aeadSeal, eraseBytes } from './sodium.ts';
import type { WriterKeys } from './writer-keys.ts';
import { CHUNK_KEYS_BYTES, deriveChunkKeys, SALT_BYTES } from './value-keys.ts';

/** What became of a step; `more`: another one has to follow. */
export type ChunkStep = 'more' | 'done' | 'failed';

const TAG_WORDS = VALUE_TAG_BYTES / 4;
const HEADER_WORDS = ENVELOPE_HEADER_BYTES / 4;
const CHUNK_WORDS = VALUE_CHUNK_BYTES / 4;
assert(SEALED_VALUE_BYTES_MAX % VALUE_CHUNK_BYTES === 0, 'the bounds of envelope and value agree');

/** One value at a time: begin, then steps until one no longer says `more`. To be made when it is first needed. */
export class ChunkedValues {
  openedValue = new Uint8Array(0);
  openedValueBytes = 0;

  readonly #dataKeys: DataKeys;
  readonly #writerKeys: WriterKeys;
  /** The values' own memory of what lies in the envelope before the ciphertext: read from there once, used from here. */
  readonly #tags = new ChunkTags();
  readonly #input = this.#tags.input;
  readonly #chunk = new Scratch(VALUE_CHUNK_BYTES + VALUE_TAG_BYTES);
  readonly #associated = new Scratch(ASSOCIATED_KEY_BYTES_MAX);
  readonly #nonce = regionOf(new ArrayBuffer(AEAD_NONCE_BYTES));
  /** Zero between values. */
  readonly #keys = new Uint8Array(CHUNK_KEYS_BYTES);
  readonly #chunkKey = this.#keys.subarray(0, AEAD_KEY_BYTES);
  readonly #tagKey = this.#keys.subarray(AEAD_KEY_BYTES);
  /** Nonces only grow, so that one used twice is noticed. */
  #lastNonce = 0;

  // -- of the value under way
  #seals = false;
  /** Of a sealing: there is a data key. Of an opening: trusted tag and tags of the chunks belong together. */
  #fits = false;
  #envelope: Region = this.#input;
  #envelopeWord = 0;
  #valueWord = 0;
  #valueBytes = 0;
  #tagWords = this.#input.words;
  #tagWord = 0;
  #keyBytes = 0;
  #chunkCount = 0;
  #doneCount = 0;

  constructor(dataKeys: DataKeys, writerKeys: WriterKeys) {
    this.#dataKeys = dataKeys;
    this.#writerKeys = writerKeys;
  }

  /**
   * The whole value is sealed under the data key that is current now, whatever becomes of that one meanwhile.
   * @param firstNonce That of the first chunk; those that follow it are the other chunks'.
   */
  beginSeal(
    firstNonce: number,
    envelope: Region,
    envelopeWord: number,
    envelopeBytes: number,
    tagWords: Int32Array,
    tagWord: number,
    keyWords: Int32Array,
    keyWord: number,
    keyBytes: number,
  ): void {
    this.#begin(true, envelope, envelopeWord, envelopeBytes, tagWords, tagWord, keyWords, keyWord, keyBytes);
    assert(firstNonce > this.#lastNonce, 'no nonce is used twice');
    this.#lastNonce = firstNonce + this.#chunkCount - 1;
    const writerKey = this.#writerKeys.of(keyWords, keyWord, keyBytes);
    this.#fits = writerKey !== undefined;
    if (writerKey === undefined) return;
    const input = this.#input.words;
    input[KEY_ID] = writerKey.keyId | 0;
    writeU53(input, NONCE, firstNonce);
    input[NONCE + 2] = 0;
    copyWords(input, SALT, this.#writerKeys.salt.words, 0, SALT_BYTES / 4);
    this.#keys.set(writerKey.chunkKeys);
  }

  /** Whatever the envelope holds: it may lie in host memory. */
  beginOpen(
    envelope: Region,
    envelopeWord: number,
    envelopeBytes: number,
    tagWords: Int32Array,
    tagWord: number,
    keyWords: Int32Array,
    keyWord: number,
    keyBytes: number,
  ): void {
    this.#begin(false, envelope, envelopeWord, envelopeBytes, tagWords, tagWord, keyWords, keyWord, keyBytes);
    this.openedValueBytes = 0;
    if (this.openedValue.byteLength === 0) this.openedValue = new Uint8Array(SEALED_VALUE_BYTES_MAX);
    const input = this.#input.words;
    this.#tags.load(envelope.words, envelopeWord);
    const keyId = input[KEY_ID]! >>> 0;
    const dataKey = this.#dataKeys.key(keyId);
    this.#fits = false;
    if (dataKey === undefined) return;
    deriveChunkKeys(this.#keys, dataKey, keyId, input, SALT);
    this.#fits = this.#tags.fit(tagWords, tagWord, this.#tagKey);
  }

  /** Does one chunk. With the last one of a seal what comes before the ciphertext is written, and the tag of the value. */
  step(): ChunkStep {
    assert(this.#doneCount < this.#chunkCount, 'a value is under way');
    if (!this.#fits || !this.#doChunk()) {
      // Chunks that opened are of no use when another one does not.
      if (!this.#seals) eraseBytes(this.openedValue.subarray(0, this.#doneCount * VALUE_CHUNK_BYTES));
      this.#end();
      return 'failed';
    }
    this.#doneCount++;
    if (this.#doneCount < this.#chunkCount) return 'more';
    if (this.#seals) this.#writeTags();
    else this.openedValueBytes = this.#valueBytes;
    this.#end();
    return 'done';
  }

  /** The value under way is given up. */
  close(): void {
    this.#end();
    eraseBytes(this.#chunk.region.bytes);
    eraseBytes(this.openedValue);
    this.openedValueBytes = 0;
  }

  #begin(
    seals: boolean,
    envelope: Region,
    envelopeWord: number,
    envelopeBytes: number,
    tagWords: Int32Array,
    tagWord: number,
    keyWords: Int32Array,
    keyWord: number,
    keyBytes: number,
  ): void {
    assert(this.#doneCount === this.#chunkCount, 'one value is done before the next begins');
    const valueBytes = valueBytesIn(envelopeBytes);
    const chunkCount = chunkCountOf(valueBytes);
    assert(chunkCount > 0, 'an envelope of that length has chunks');
    this.#seals = seals;
    this.#envelope = envelope;
    this.#envelopeWord = envelopeWord;
    this.#valueWord = envelopeWord + HEADER_WORDS + chunkCount * TAG_WORDS;
    this.#valueBytes = valueBytes;
    this.#tagWords = tagWords;
    this.#tagWord = tagWord;
    this.#keyBytes = keyBytes;
    this.#chunkCount = chunkCount;
    this.#doneCount = 0;
    this.#associated.load(keyWords, keyWord, keyBytes);
    this.#tags.setLength(valueBytes);
  }

  #doChunk(): boolean {
    if (!this.#seals) return this.#openChunk();
    this.#sealChunk();
    return true;
  }

  #sealChunk(): void {
    const chunk = this.#chunk;
    const chunkIndex = this.#doneCount;
    const chunkBytes = this.#chunkBytes(chunkIndex);
    const chunkWord = this.#valueWord + chunkIndex * CHUNK_WORDS;
    this.#setNonce(chunkIndex);
    chunk.load(this.#envelope.words, chunkWord, chunkBytes);
    aeadSeal(
      chunk.view(chunkBytes + VALUE_TAG_BYTES),
      chunk.view(chunkBytes),
      this.#associated.view(this.#keyBytes),
      this.#nonce.bytes,
      this.#chunkKey,
    );
    chunk.store(this.#envelope, chunkWord, chunkBytes);
    chunk.storeTag(this.#input.words, this.#tags.tagWord(chunkIndex), chunkBytes);
  }

  #openChunk(): boolean {
    const chunk = this.#chunk;
    const chunkIndex = this.#doneCount;
    const chunkBytes = this.#chunkBytes(chunkIndex);
    const start = chunkIndex * VALUE_CHUNK_BYTES;
    this.#setNonce(chunkIndex);
    chunk.load(this.#envelope.words, this.#valueWord + chunkIndex * CHUNK_WORDS, chunkBytes);
    chunk.loadTag(this.#input.words, this.#tags.tagWord(chunkIndex), chunkBytes);
    return aeadOpen(
      this.openedValue.subarray(start, start + chunkBytes),
      chunk.view(chunkBytes + VALUE_TAG_BYTES),
      this.#associated.view(this.#keyBytes),
      this.#nonce.bytes,
      this.#chunkKey,
    );
  }

  #chunkBytes(chunkIndex: number): number {
    return Math.min(VALUE_CHUNK_BYTES, this.#valueBytes - chunkIndex * VALUE_CHUNK_BYTES);
  }

  /** The header's plus chunkIndex, as a number of 96 bits. What a host wrote into a header may wrap around. */
  #setNonce(chunkIndex: number): void {
    const input = this.#input.words;
    const nonce = this.#nonce.words;
    let carry = chunkIndex;
    for (let i = 0; i < nonce.length; i++) {
      const sum = (input[NONCE + i]! >>> 0) + carry;
      nonce[i] = sum | 0;
      carry = sum > 0xffff_ffff ? 1 : 0;
    }
  }

  /** From own memory, whatever the envelope's was made to hold meanwhile. */
  #writeTags(): void {
    this.#tags.store(this.#envelope.words, this.#envelopeWord, this.#tagWords, this.#tagWord, this.#tagKey);
  }

  #end(): void {
    eraseBytes(this.#keys);
    this.#envelope = this.#input;
    this.#tagWords = this.#input.words;
    this.#doneCount = this.#chunkCount;
  }
}
