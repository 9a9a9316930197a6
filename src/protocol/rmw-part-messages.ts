import { ENVELOPE_BYTES_MAX } from '../../workers/sealing.ts';
import { keyedBytes } from './message-fields.ts';

/**
 * Messages of read-modify-writes whose values are larger than a datagram (docs/wire.md):
 *
 *     STAGE_PART      ->   a part of a proposal's value, for an ACCEPT or COMMIT that names it
 *                     <-   WRITE_PROGRESS; WRITE_REPLY when all of it is there
 *     READ_ACCEPTED   ->   "send me a part of what you have accepted"
 *                     <-   READ_PART_REPLY
 */
export const MESSAGE_STAGE_PART = 49;
export const MESSAGE_READ_ACCEPTED = 50;

/** STAGE_PART: words 2 to 13 as in WRITE_PART; id of the proposal (16), key. */
export const WORD_STAGE_ID = 14;
export const WORD_STAGE_KEY = 18;
export const STAGE_PART_BYTES = 72;

/** READ_ACCEPTED: key bytes u32, part bytes u32, slot, id (16), byte offset in the envelope u32, 0 u32, key. */
export const WORD_READ_ACCEPTED_BYTES = 3;
export const WORD_READ_ACCEPTED_SLOT = 4;
export const WORD_READ_ACCEPTED_ID = 6;
export const WORD_READ_ACCEPTED_OFFSET = 10;
export const WORD_READ_ACCEPTED_KEY = 12;
export const READ_ACCEPTED_BYTES = 48;

/** messageBytes() of a READ_ACCEPTED. */
export function readAcceptedBytes(words: Int32Array, word: number, bytesLeft: number): number {
  if (bytesLeft < READ_ACCEPTED_BYTES || !isNumber(words, word + WORD_READ_ACCEPTED_SLOT)) return -1;
  if (!isNumber(words, word + WORD_READ_ACCEPTED_ID + 2)) return -1;
  if (words[word + WORD_READ_ACCEPTED_OFFSET]! >>> 0 > ENVELOPE_BYTES_MAX) return -1;
  if (words[word + WORD_READ_ACCEPTED_BYTES]! >>> 0 > ENVELOPE_BYTES_MAX) return -1;
  return keyedBytes(words, word, bytesLeft, READ_ACCEPTED_BYTES, WORD_READ_ACCEPTED_KEY);
}

/** Whether a STAGE_PART names a proposal; the rest of it is checked as a WRITE_PART's is. */
export function namesProposal(words: Int32Array, word: number): boolean {
  return isNumber(words, word + WORD_STAGE_ID + 2);
}

/** From 1 to 2^53-1. */
function isNumber(words: Int32Array, word: number): boolean {
  return words[word + 1]! >>> 21 === 0 && (words[word] !== 0 || words[word + 1] !== 0);
}
