/**
 * What the tag of a value in chunks is the hash of (chunked-values.ts): own memory, never the envelope's, which a host may
 * change while it is read.
 *
 *     "avocado value tag v1" | value length (u32) | header | tag of chunk 0 | tag of chunk 1 | ...
 */
import { assert } from '../net/assert.ts';
import type { Region } from '../net/bytes.ts';
import { allocateRegion, copyWords, regionOf } from '../net/bytes.ts';
import { chunkCountOf } from './envelope-layout.ts';
import { ENVELOPE_HEADER_BYTES, SEALED_VALUE_BYTES_MAX, VALUE_TAG_BYTES } from './sealing.ts';
import { AEAD_NONCE_BYTES, blake2b, equalBytes } from './sodium.ts';

const CONTEXT = new TextEncoder().encode('avocado value tag v1');
const TAG_WORDS = VALUE_TAG_BYTES / 4;
const HEADER_WORDS = ENVELOPE_HEADER_BYTES / 4;

/** Words of the hash's input. */
const LENGTH = CONTEXT.byteLength / 4;
const HEADER = LENGTH + 1;
export const KEY_ID = HEADER;
export const NONCE = HEADER + 1;
export const SALT = NONCE + AEAD_NONCE_BYTES / 4;
const CHUNK_TAGS = HEADER + HEADER_WORDS;
const INPUT_WORDS_MAX = CHUNK_TAGS + chunkCountOf(SEALED_VALUE_BYTES_MAX) * TAG_WORDS;
assert(Number.isInteger(LENGTH), 'the fields behind the context start on words');

export class ChunkTags {
  /** Header and tags, at the words named above. */
  readonly input: Region = regionOf(new ArrayBuffer(INPUT_WORDS_MAX * 4));
  #chunkCount = 0;
  readonly #trusted = allocateRegion(VALUE_TAG_BYTES);
  readonly #computed = allocateRegion(VALUE_TAG_BYTES);

  constructor() {
    this.input.bytes.set(CONTEXT);
  }

  /** Of the value that this is about from now on. */
  setLength(valueBytes: number): void {
    this.input.words[LENGTH] = valueBytes;
    this.#chunkCount = chunkCountOf(valueBytes);
  }

  tagWord(chunkIndex: number): number {
    return CHUNK_TAGS + chunkIndex * TAG_WORDS;
  }

  /** Reads header and tags of an envelope, once. */
  load(envelopeWords: Int32Array, envelopeWord: number): void {
    copyWords(this.input.words, HEADER, envelopeWords, envelopeWord, HEADER_WORDS + this.#chunkCount * TAG_WORDS);
  }

  /** Whether they are what a trusted tag was made from. */
  fit(tagWords: Int32Array, tagWord: number, tagKey: Uint8Array): boolean {
    copyWords(this.#trusted.words, 0, tagWords, tagWord, TAG_WORDS);
    this.#compute(tagKey);
    return equalBytes(this.#computed.bytes, this.#trusted.bytes);
  }

  /** Writes header and tags into an envelope, and the tag of the value. */
  store(
    envelopeWords: Int32Array,
    envelopeWord: number,
    tagWords: Int32Array,
    tagWord: number,
    tagKey: Uint8Array,
  ): void {
    this.#compute(tagKey);
    const beforeValueWords = HEADER_WORDS + this.#chunkCount * TAG_WORDS;
    copyWords(envelopeWords, envelopeWord, this.input.words, HEADER, beforeValueWords);
    copyWords(tagWords, tagWord, this.#computed.words, 0, TAG_WORDS);
  }

  #compute(tagKey: Uint8Array): void {
    const inputWords = CHUNK_TAGS + this.#chunkCount * TAG_WORDS;
    blake2b(this.#computed.bytes, this.input.bytes.subarray(0, inputWords * 4), tagKey);
  }
}
