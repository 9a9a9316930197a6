import { keyedBytes } from './message-fields.ts';

/**
 * RESOLVE: a client that may not write has a replica make sure that a quorum holds what it read (get-flow.ts). Laid out as
 * READ: key bytes u32, 0 u32, key.
 */
export const MESSAGE_RESOLVE = 20;
/** Stamp that a quorum holds at least, as in READ_REPLY: 0 u32, rmw u32, counter u64, writer u64. */
export const MESSAGE_RESOLVE_REPLY = 21;
export const WORD_RESOLVE_KEY = 4;
export const RESOLVE_BYTES = 16;
export const WORD_RESOLVED_RMW = 3;
export const WORD_RESOLVED_COUNTER = 4;
export const WORD_RESOLVED_WRITER = 6;
export const RESOLVE_REPLY_BYTES = 32;

/** messageBytes() of RESOLVE. */
export function resolveBytes(words: Int32Array, word: number, bytesLeft: number): number {
  return keyedBytes(words, word, bytesLeft, RESOLVE_BYTES, WORD_RESOLVE_KEY);
}

/** messageBytes() of RESOLVE_REPLY. */
export function resolveReplyBytes(words: Int32Array, word: number, bytesLeft: number): number {
  if (bytesLeft < RESOLVE_REPLY_BYTES) return -1;
  return words[word + WORD_RESOLVED_COUNTER + 1]! >>> 21 === 0 ? RESOLVE_REPLY_BYTES : -1;
}
