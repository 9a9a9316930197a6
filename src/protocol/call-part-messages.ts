import { assert } from '../../net/assert.ts';
import { alignUp } from '../../net/bytes.ts';
import { DATAGRAM_BYTES_MIN, DATAGRAM_TAG_BYTES_MAX } from '../../net/limits.ts';
import { HEADER_BYTES, PREAMBLE_BYTES } from '../../net/wire.ts';
import { SEALED_VALUE_BYTES_MAX } from '../../workers/sealing.ts';
import { KEY_BYTES_MAX, PARTS_MAX, WORD_KEY_BYTES, flagsOf, typeOf } from './message-fields.ts';

/**
 * Calls and answers that are larger than a datagram (docs/wire.md). Values are in clear here, so their parts are in the
 * control part of datagrams, which is encrypted.
 *
 *     CALL_PART        ->   a put, by parts; the replica says by WRITE_PROGRESS what it has
 *     CALL_PULL        ->   asks for a part of an answer, or says that no more of it is needed
 *     CALL_REPLY_PART  <-   a part of an answer
 */
export const MESSAGE_CALL_PART = 24;
export const MESSAGE_CALL_PULL = 25;
export const MESSAGE_CALL_REPLY_PART = 26;

/**
 * CALL_PART: the head of the CALL, a put's, with part index u16 and part bytes / 8 (u16) in its last word. Then that part of
 * what the CALL has behind its head: key and value, padded each. All parts have part bytes but the last.
 */
export const WORD_CALL_PART_VALUE_BYTES = 3;
export const WORD_CALL_PART = 7;
export const CALL_PART_BYTES = 32;
/** As CALL has it in call-messages.ts. */
const CALL_PART_KIND = 1;

/**
 * CALL_PULL: stream u32, number of the answer u32, byte offset in the value u32, part bytes u32. No bytes: the answer is not
 * needed any more; nothing is said to that.
 */
export const WORD_PULL_STREAM = 2;
export const WORD_PULL_ANSWER = 3;
export const WORD_PULL_OFFSET = 4;
export const WORD_PULL_BYTES = 5;
export const CALL_PULL_BYTES = 24;

/**
 * CALL_REPLY_PART: number of the answer u32, byte offset u32, part bytes u32, 0 u32, then the part, padded. With FLAG_GONE
 * without: the answer is not kept any more.
 */
export const WORD_REPLY_PART_ANSWER = 2;
export const WORD_REPLY_PART_OFFSET = 3;
export const WORD_REPLY_PART_BYTES = 4;
export const CALL_REPLY_PART_BYTES = 24;

const OVERHEAD_BYTES = HEADER_BYTES + PREAMBLE_BYTES + CALL_PART_BYTES + DATAGRAM_TAG_BYTES_MAX;
assert(
  Math.ceil((alignUp(KEY_BYTES_MAX) + SEALED_VALUE_BYTES_MAX) / ((DATAGRAM_BYTES_MIN - OVERHEAD_BYTES) & ~7)) <=
    PARTS_MAX,
  'the longest value goes through the smallest datagrams',
);

/** What the whole CALL has behind its head. */
export function callBodyBytes(words: Int32Array, word: number): number {
  return alignUp(words[word + WORD_KEY_BYTES]!) + alignUp(words[word + WORD_CALL_PART_VALUE_BYTES]!);
}

export function callPartIndexOf(words: Int32Array, word: number): number {
  return words[word + WORD_CALL_PART]! & 0xffff;
}

export function callPartBytesOf(words: Int32Array, word: number): number {
  return (words[word + WORD_CALL_PART]! >>> 16) * 8;
}

/** Of one part: what is left for the last. */
export function callPartLengthBytes(partIndex: number, partBytes: number, bodyBytes: number): number {
  return Math.min(partBytes, bodyBytes - partIndex * partBytes);
}

/** Bytes of the message of this file at `word`, or -1 when it is malformed or cut off. */
export function callPartMessageBytes(words: Int32Array, word: number, bytesLeft: number): number {
  switch (typeOf(words, word)) {
    case MESSAGE_CALL_PART: {
      if (bytesLeft < CALL_PART_BYTES || flagsOf(words, word) !== CALL_PART_KIND) return -1;
      const keyBytes = words[word + WORD_KEY_BYTES]!;
      if (keyBytes < 1 || keyBytes > KEY_BYTES_MAX) return -1;
      if (words[word + WORD_CALL_PART_VALUE_BYTES]! >>> 0 > SEALED_VALUE_BYTES_MAX) return -1;
      const partBytes = callPartBytesOf(words, word);
      const bodyBytes = callBodyBytes(words, word);
      if (partBytes === 0) return -1;
      const partCount = Math.ceil(bodyBytes / partBytes);
      const partIndex = callPartIndexOf(words, word);
      if (partIndex >= partCount || partCount > PARTS_MAX) return -1;
      const byteCount = CALL_PART_BYTES + callPartLengthBytes(partIndex, partBytes, bodyBytes);
      return byteCount <= bytesLeft ? byteCount : -1;
    }
    case MESSAGE_CALL_PULL:
      if (bytesLeft < CALL_PULL_BYTES || words[word + WORD_PULL_OFFSET]! % 8 !== 0) return -1;
      if (words[word + WORD_PULL_OFFSET]! >>> 0 > SEALED_VALUE_BYTES_MAX) return -1;
      return words[word + WORD_PULL_BYTES]! >>> 0 > SEALED_VALUE_BYTES_MAX ? -1 : CALL_PULL_BYTES;
    case MESSAGE_CALL_REPLY_PART: {
      if (bytesLeft < CALL_REPLY_PART_BYTES) return -1;
      const partBytes = words[word + WORD_REPLY_PART_BYTES]!;
      return partBytes >= 0 && partBytes <= bytesLeft - CALL_REPLY_PART_BYTES
        ? CALL_REPLY_PART_BYTES + alignUp(partBytes)
        : -1;
    }
    default:
      return -1;
  }
}
