import { alignUp } from '../../net/bytes.ts';
import { SEALED_VALUE_BYTES_MAX } from '../../workers/sealing.ts';
import { callPartMessageBytes } from './call-part-messages.ts';
import { callRmwBytes } from './call-rmw.ts';
import { flagsOf, keyedBytes, typeOf } from './message-fields.ts';

/**
 * Messages of the coordinated route (docs/wire.md): a client asks one replica to carry out an operation for it.
 *
 *     CALL_OPEN    ->   "I am going to have at most so many calls at once"
 *     CALL_OPENED  <-   number of the stream that its calls belong to
 *     CALL         ->   stream, slot and generation name the call; key and value in the control part
 *     CALL_REPLY   <-   how it ended, and the value and version that were found or made
 *
 * What does not fit into a datagram goes by parts: call-part-messages.ts.
 *
 * A client puts its calls into slots, one at a time each, and counts them (the generation): so the replica knows by a
 * word a slot which calls it has seen, as an NFS server does (RFC 8881, 2.10.6). A stream is what the replica remembers of
 * a client; its number is never given twice, so a call of a stream that it has forgotten is never run again.
 */
export const MESSAGE_CALL = 16;
export const MESSAGE_CALL_REPLY = 17;
export const MESSAGE_CALL_OPEN = 18;
export const MESSAGE_CALL_OPENED = 19;

/** CALL: the flags say what is to be done. The version of what was found or made comes with the answers to the last two. */
export const CALL_GET = 0;
export const CALL_PUT = 1;
export const CALL_DELETE = 2;
export const CALL_GET_WITH_VERSION = 3;
export const CALL_RMW = 4;
export const CALL_KIND_MAX = 4;

/** Calls that have no effect may be carried out by several replicas, or several times. */
export function isReadOnly(kind: number): boolean {
  return kind === CALL_GET || kind === CALL_GET_WITH_VERSION;
}

/** Answers to these have a version. */
export function wantsVersion(kind: number): boolean {
  return kind === CALL_GET_WITH_VERSION || kind === CALL_RMW;
}

/**
 * CALL: key bytes u32, value bytes u32, stream u32, milliseconds until the deadline u32, attempt u32, 0 u32; then key and
 * value, padded each. The attempt counts how often the client has sent the call. Behind that a read-modify-write has what
 * rmw-call.ts writes.
 */
export const WORD_CALL_KEY_BYTES = 2;
export const WORD_CALL_VALUE_BYTES = 3;
export const WORD_CALL_STREAM = 4;
export const WORD_CALL_DEADLINE_MS = 5;
export const WORD_CALL_ATTEMPT = 6;
export const WORD_CALL_KEY = 8;
export const CALL_BYTES = 32;

/**
 * CALL_REPLY: the flags say how it ended (src/coordinated/call-outcome.ts). Stream u32, value bytes u32, attempt of the CALL
 * that this answers u32 (so that round trips are known though calls are repeated), REPLY_* u32; then, where they say so,
 * the version: counter u64, writer u64, rmw u32, 0 u32; then the value, padded, or the number of an answer, whose value is
 * asked for by parts, u32, 0 u32.
 */
export const WORD_CALL_REPLY_STREAM = 2;
export const WORD_CALL_REPLY_VALUE_BYTES = 3;
export const WORD_CALL_REPLY_ATTEMPT = 4;
export const WORD_CALL_REPLY_HAS = 5;
export const WORD_CALL_REPLY_REST = 6;
export const CALL_REPLY_BYTES = 24;

/** The reply has a version. */
export const REPLY_VERSION = 1;
/** Of a read-modify-write: there was a value, which the reply has. Else there was none, or nobody asked for it. */
export const REPLY_FOUND = 2;
/** The value is larger than a datagram: it is kept under a number, and asked for by CALL_PULL. */
export const REPLY_PARTS = 4;

/** Bytes before the value, or before the number of the answer. */
export function callReplyHeadBytes(words: Int32Array, word: number): number {
  return (words[word + WORD_CALL_REPLY_HAS]! & REPLY_VERSION) !== 0
    ? CALL_REPLY_BYTES + VERSION_BYTES
    : CALL_REPLY_BYTES;
}

/** In a version. */
export const WORD_VERSION_COUNTER = 0;
export const WORD_VERSION_WRITER = 2;
export const WORD_VERSION_RMW = 4;
export const VERSION_BYTES = 24;
export const ANSWER_NUMBER_BYTES = 8;

/** CALL_OPEN: calls at once u32, 0 u32. */
export const WORD_CALL_SLOTS = 2;
export const CALL_OPEN_BYTES = 16;

/** CALL_OPENED: stream u32, 0 when the replica takes none now; 0 u32. */
export const WORD_CALL_OPENED_STREAM = 2;
export const CALL_OPENED_BYTES = 16;
export const NO_STREAM = 0;

/** Calls that a client may have under way at one replica: more than saturate it, and 64 KiB of its trusted memory. */
export const CALL_SLOTS_MAX = 4_096;

/** Bytes of the message of this file at `word`, or -1 when it is malformed or cut off. */
export function callMessageBytes(words: Int32Array, word: number, bytesLeft: number): number {
  switch (typeOf(words, word)) {
    case MESSAGE_CALL: {
      const kind = flagsOf(words, word);
      const keyedByteCount = keyedBytes(words, word, bytesLeft, CALL_BYTES, WORD_CALL_KEY);
      if (keyedByteCount < 0 || kind > CALL_KIND_MAX) return -1;
      const valueBytes = words[word + WORD_CALL_VALUE_BYTES]!;
      const byteCount = withValueBytes(keyedByteCount, valueBytes, bytesLeft);
      if (kind !== CALL_RMW || byteCount < 0) return byteCount;
      const rmwBytes = callRmwBytes(words, word + (byteCount >> 2), valueBytes, bytesLeft - byteCount);
      return rmwBytes < 0 ? -1 : byteCount + rmwBytes;
    }
    case MESSAGE_CALL_REPLY: {
      if (bytesLeft < CALL_REPLY_BYTES) return -1;
      const headBytes = callReplyHeadBytes(words, word);
      if (bytesLeft < headBytes) return -1;
      if (headBytes > CALL_REPLY_BYTES && words[word + WORD_CALL_REPLY_REST + 1]! >>> 21 !== 0) return -1;
      const valueBytes = words[word + WORD_CALL_REPLY_VALUE_BYTES]!;
      if ((words[word + WORD_CALL_REPLY_HAS]! & REPLY_PARTS) === 0) {
        return withValueBytes(headBytes, valueBytes, bytesLeft);
      }
      const byteCount = headBytes + ANSWER_NUMBER_BYTES;
      return valueBytes >= 1 && valueBytes <= SEALED_VALUE_BYTES_MAX && byteCount <= bytesLeft ? byteCount : -1;
    }
    case MESSAGE_CALL_OPEN:
      return bytesLeft < CALL_OPEN_BYTES ? -1 : CALL_OPEN_BYTES;
    case MESSAGE_CALL_OPENED:
      return bytesLeft < CALL_OPENED_BYTES ? -1 : CALL_OPENED_BYTES;
    default:
      return callPartMessageBytes(words, word, bytesLeft);
  }
}

/** A value in the control part, behind so many bytes. */
function withValueBytes(byteCount: number, valueBytes: number, bytesLeft: number): number {
  return valueBytes >= 0 && valueBytes <= bytesLeft - byteCount ? byteCount + alignUp(valueBytes) : -1;
}
