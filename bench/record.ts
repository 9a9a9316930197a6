import { assert } from '../net/assert.ts';
import { alignUp, allocateRegion, copyWords } from '../net/bytes.ts';
import { SEALED_VALUE_BYTES_MAX } from '../workers/sealing.ts';
import { writeDecimal } from './decimal.ts';
import { fnvHashBytes, fnvHashNumber } from './fnv.ts';
import { Random } from './random.ts';
import type { SizeChoice } from './value-sizes.ts';

/**
 * The records that the bench writes and reads back: YCSB's keys, and values that can be checked against their key.
 *
 * A value, in words of 32 bits:
 *
 *     fingerprint of the key (2) | id of the put (2) | filler chosen by the fingerprint | id of the put again, with the size (2)
 *
 * The fingerprint shows that the value belongs to the key, the filler that all of it does, the two ids that it is one
 * put's value and not half of each of two, and a whole one. What does not fit into a value under 24 bytes is left out from its end.
 */

/** "user" and a number of up to 19 digits. */
const KEY_PREFIX = 'user';
export const RECORD_KEY_BYTES_MAX = 23;

/**
 * A record has 32 bytes, half a cache line: the key with zeros behind it, its length in the key's 24th byte, which no key
 * reaches, and the two words of its fingerprint.
 */
const RECORD_WORDS = 8;
const KEY_WORDS = 6;
const LENGTH_SHIFT = 24;
const LAST_KEY_WORD_MASK = 0xff_ffff;

/** Records are held in chunks of 2 MiB, so that inserts never wait for a table to be copied to a larger one. */
const CHUNK_SHIFT = 16;
const CHUNK_RECORDS = 1 << CHUNK_SHIFT;
const CHUNK_MASK = CHUNK_RECORDS - 1;
/** 2 GiB of keys in a load process; a cluster that holds so many has 8 GiB and more of trusted memory. */
const RECORDS_HELD_MAX = 2 ** 26;

/** Fingerprint and id; a history names a value by its id, so it needs this many bytes. */
export const VALUE_HEADER_BYTES = 16;
/** Header and second id. */
const FRAME_WORDS = 6;

/** One put of a client a number. 2^48 of them last for years. */
export const SEQUENCE_MAX = 2 ** 48 - 1;
export const CLIENT_INDEX_MAX = 0xffff;

/** All keys, each made once: an operation picks an index. */
export class RecordKeys {
  readonly #chunks: Int32Array[] = [];
  #count = 0;
  /** So many chunks, from the first on, are others' too: they are copied before they are written to. */
  #sharedChunks = 0;
  readonly #scratchWords: Int32Array;
  /** One view of the scratch for each length a key can have. */
  readonly #scratchByLength: readonly Uint8Array[];
  readonly #scratchBytes: Uint8Array;
  readonly #pair = new Int32Array(2);

  /** So many records of YCSB, from the first one's number on. */
  constructor(count: number, first = 0) {
    const scratch = allocateRegion(KEY_WORDS * 4);
    this.#scratchWords = scratch.words;
    this.#scratchBytes = scratch.bytes;
    this.#scratchByLength = Array.from({ length: RECORD_KEY_BYTES_MAX + 1 }, (_, bytes) =>
      scratch.bytes.subarray(0, bytes),
    );
    for (let i = 0; i < KEY_PREFIX.length; i++) scratch.bytes[i] = KEY_PREFIX.charCodeAt(i);
    for (let number = first; number < first + count; number++) this.append(number);
  }

  get count(): number {
    return this.#count;
  }

  get isFull(): boolean {
    return this.#count === RECORDS_HELD_MAX;
  }

  /** The same keys for somebody who appends others than the next one; what is the same takes memory once. */
  branch(): RecordKeys {
    const branch = new RecordKeys(0);
    branch.#chunks.push(...this.#chunks);
    branch.#count = this.#count;
    branch.#sharedChunks = this.#sharedChunks = this.#chunks.length;
    return branch;
  }

  /**
   * Takes in one more record and returns its index.
   * @param number YCSB's number of it, from 0 to 2^53 - 1, which its key is made of.
   */
  append(number: number): number {
    assert(!this.isFull, 'whoever appends has asked for room');
    const index = this.#count++;
    const chunkIndex = index >>> CHUNK_SHIFT;
    if ((index & CHUNK_MASK) === 0) this.#chunks.push(new Int32Array(CHUNK_RECORDS * RECORD_WORDS));
    else if (chunkIndex < this.#sharedChunks) {
      this.#chunks[chunkIndex] = this.#chunks[chunkIndex]!.slice();
      this.#sharedChunks = chunkIndex;
    }
    const words = this.#scratchWords;
    for (let i = 1; i < KEY_WORDS; i++) words[i] = 0;
    fnvHashNumber(number, this.#pair);
    // The prefix is the first word, which is in its place: each key begins with it.
    const keyBytes = writeDecimal(this.#pair, this.#scratchBytes, KEY_PREFIX.length);
    fnvHashBytes(this.#scratchBytes, 0, keyBytes, this.#pair);
    const chunk = this.#chunks[chunkIndex]!;
    const word = (index & CHUNK_MASK) * RECORD_WORDS;
    for (let i = 0; i < KEY_WORDS; i++) chunk[word + i] = words[i]!;
    chunk[word + KEY_WORDS - 1]! |= keyBytes << LENGTH_SHIFT;
    chunk[word + KEY_WORDS] = this.#pair[0]!;
    chunk[word + KEY_WORDS + 1] = this.#pair[1]!;
    return index;
  }

  /** The key's bytes, valid until the next call. */
  key(index: number): Uint8Array {
    const chunk = this.#chunks[index >>> CHUNK_SHIFT]!;
    const word = (index & CHUNK_MASK) * RECORD_WORDS;
    const words = this.#scratchWords;
    for (let i = 1; i < KEY_WORDS - 1; i++) words[i] = chunk[word + i]!;
    const last = chunk[word + KEY_WORDS - 1]!;
    words[KEY_WORDS - 1] = last & LAST_KEY_WORD_MASK;
    return this.#scratchByLength[last >>> LENGTH_SHIFT]!;
  }

  keyString(index: number): string {
    return Buffer.from(this.key(index)).toString('latin1');
  }

  fingerprintLow(index: number): number {
    return this.#chunks[index >>> CHUNK_SHIFT]![(index & CHUNK_MASK) * RECORD_WORDS + KEY_WORDS]!;
  }

  fingerprintHigh(index: number): number {
    return this.#chunks[index >>> CHUNK_SHIFT]![(index & CHUNK_MASK) * RECORD_WORDS + KEY_WORDS + 1]!;
  }
}

/**
 * A fixed block of random words: a filler is a piece of it that begins where the key's fingerprint says, one of 1,024
 * places, so that for small values what is used stays in the processor's first cache. It goes on for the longest value.
 */
const FILLER_PLACES = 1_024;
const FILLER = (() => {
  const random = new Random(0);
  return Int32Array.from({ length: FILLER_PLACES + SEALED_VALUE_BYTES_MAX / 4 }, () => random.nextWord());
})();
const FILLER_BYTES = Buffer.from(FILLER.buffer);
/** Above this a native comparison is cheaper than a loop. Measured: 64 words 0.15 µs by loop, 1,024 words 1.2 and 0.3. */
const COMPARE_LOOP_WORDS_MAX = 256;

function fillerWordOf(fingerprintHigh: number): number {
  return fingerprintHigh & (FILLER_PLACES - 1);
}

/** Writes and checks values: of one size, or of several of which each put draws one. */
export class RecordValues {
  readonly #clientIndex: number;
  readonly #image: Int32Array;
  /** Undefined when there is one size only. */
  readonly #choice: SizeChoice | undefined;
  /** The image's first bytes, for each size. */
  readonly #views: readonly Uint8Array[];

  /** Of the size written last. */
  #valueBytes = 0;
  #view: Uint8Array;
  #imageWords = 0;
  /** Where the second id stands. */
  #tailWord = 0;
  #sizeMark = 0;

  #seen: Uint8Array | undefined;
  #seenWords: Int32Array = new Int32Array(0);

  constructor(size: number | SizeChoice, clientIndex: number) {
    assert(clientIndex >= 0 && clientIndex <= CLIENT_INDEX_MAX, 'a client index has 16 bits');
    const sizes = typeof size === 'number' ? [size] : size.sizes.map(({ valueBytes }) => valueBytes);
    this.#clientIndex = clientIndex;
    this.#choice = typeof size === 'number' || sizes.length === 1 ? undefined : size;
    const image = allocateRegion(Math.max(...sizes, FRAME_WORDS * 4));
    this.#image = image.words;
    this.#views = sizes.map((valueBytes) => image.bytes.subarray(0, valueBytes));
    this.#view = image.bytes;
    this.#take(0);
  }

  /** The value of a put, valid until the next call. No two puts of a client may share a sequence number. */
  write(fingerprintLow: number, fingerprintHigh: number, sequence: number): Uint8Array {
    assert(sequence >= 0 && sequence <= SEQUENCE_MAX, 'a sequence number has 48 bits');
    if (this.#choice !== undefined) this.#take(this.#choice.next());
    const image = this.#image;
    const idLow = sequence | 0;
    const idHigh = (this.#clientIndex << 16) | Math.floor(sequence / 0x1_0000_0000);
    image[0] = fingerprintLow;
    image[1] = fingerprintHigh;
    image[2] = idLow;
    image[3] = idHigh;
    copyWords(image, 4, FILLER, fillerWordOf(fingerprintHigh), this.#imageWords - 4);
    image[this.#tailWord] = idLow ^ this.#sizeMark;
    image[this.#tailWord + 1] = idHigh;
    return this.#view;
  }

  /**
   * Whether value[0 .. valueBytes) is the whole value of some put of this key. Of which put, and so of which size, is not
   * known; but the second id stands at the end and carries the size, so that a part of a larger value is no value.
   */
  verify(fingerprintLow: number, fingerprintHigh: number, value: Uint8Array, valueBytes: number): boolean {
    if (valueBytes !== this.#valueBytes && !this.#isSize(valueBytes)) return false;
    const wordCount = valueBytes >> 2;
    if (wordCount < FRAME_WORDS) return verifySmall(fingerprintLow, fingerprintHigh, value, valueBytes);
    const words = this.#wordsOf(value);
    const tailWord = wordCount - 2;
    if (words[0] !== fingerprintLow || words[1] !== fingerprintHigh) return false;
    if ((words[2]! ^ valueBytes) !== words[tailWord] || words[3] !== words[tailWord + 1]) return false;
    const fillerWord = fillerWordOf(fingerprintHigh) - 4;
    let difference = 0;
    if (tailWord > COMPARE_LOOP_WORDS_MAX) {
      difference = FILLER_BYTES.compare(value, 16, tailWord * 4, (fillerWord + 4) * 4, (fillerWord + tailWord) * 4);
    } else {
      for (let i = 4; i < tailWord; i++) difference |= words[i]! ^ FILLER[fillerWord + i]!;
    }
    // A size that is not divisible by four ends in one to three bytes of filler.
    const endWord = FILLER[fillerWord + wordCount]!;
    for (let i = wordCount * 4; i < valueBytes; i++) difference |= value[i]! ^ byteOf(endWord, i & 3);
    return difference === 0;
  }

  /** The id of the put with this sequence number: "client-sequence", unique among all clients of a run. */
  idOf(sequence: number): string {
    return `${this.#clientIndex}-${sequence}`;
  }

  #take(sizeIndex: number): void {
    const view = this.#views[sizeIndex]!;
    this.#view = view;
    this.#valueBytes = view.length;
    this.#imageWords = imageWordsOf(view.length);
    this.#tailWord = tailWordOf(view.length);
    this.#sizeMark = sizeMarkOf(view.length);
  }

  #isSize(valueBytes: number): boolean {
    for (const view of this.#views) if (view.length === valueBytes) return true;
    return false;
  }

  /** The value as words. An engine hands the same array out again and again, so its view is kept. */
  #wordsOf(value: Uint8Array): Int32Array {
    if (value !== this.#seen) {
      this.#seen = value;
      const aligned = value.byteOffset % 4 === 0 ? value : new Uint8Array(value);
      this.#seenWords = new Int32Array(aligned.buffer, aligned.byteOffset, aligned.length >> 2);
      // A copy shows one value only.
      if (aligned !== value) this.#seen = undefined;
    }
    return this.#seenWords;
  }
}

/** All of the image that such a value lies on. */
function imageWordsOf(valueBytes: number): number {
  return alignUp(Math.max(valueBytes, FRAME_WORDS * 4)) >> 2;
}

function tailWordOf(valueBytes: number): number {
  return Math.max(valueBytes >> 2, FRAME_WORDS) - 2;
}

/** What the second id carries beside the id; a small value has no room for all of it. */
function sizeMarkOf(valueBytes: number): number {
  return valueBytes >> 2 < FRAME_WORDS ? 0 : valueBytes;
}

/** The id that a value carries, as RecordValues.idOf writes it. */
export function idInValue(value: Uint8Array, valueBytes: number): string {
  if (valueBytes < VALUE_HEADER_BYTES) return 'none';
  const view = new DataView(value.buffer, value.byteOffset, VALUE_HEADER_BYTES);
  const high = view.getUint32(12, true);
  return `${high >>> 16}-${(high & 0xffff) * 0x1_0000_0000 + view.getUint32(8, true)}`;
}

/** Values without room for both ids: as much of the fingerprint as there is, and as much of the second id. */
function verifySmall(fingerprintLow: number, fingerprintHigh: number, value: Uint8Array, valueBytes: number): boolean {
  for (let i = 0; i < valueBytes && i < 8; i++) {
    if (value[i] !== byteOf(i < 4 ? fingerprintLow : fingerprintHigh, i & 3)) return false;
  }
  for (let i = VALUE_HEADER_BYTES; i < valueBytes; i++) if (value[i] !== value[i - 8]) return false;
  return true;
}

function byteOf(word: number, index: number): number {
  return (word >>> (8 * index)) & 0xff;
}
