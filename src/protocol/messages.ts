import { assert } from '../../net/assert.ts';
import { alignUp } from '../../net/bytes.ts';
import {
  DATAGRAM_BYTES_LOOPBACK,
  DATAGRAM_BYTES_MAX,
  DATAGRAM_BYTES_MIN,
  DATAGRAM_TAG_BYTES_MAX,
  SEND_SLOTS,
  SEND_SLOTS_FREE_MIN,
} from '../../net/limits.ts';
import { HEADER_BYTES, PREAMBLE_BYTES } from '../../net/wire.ts';
import { valueOffsetOf } from '../../workers/envelope-layout.ts';
import { ENVELOPE_BYTES_MAX } from '../../workers/sealing.ts';
import {
  MESSAGE_CALL,
  MESSAGE_CALL_OPEN,
  MESSAGE_CALL_OPENED,
  MESSAGE_CALL_REPLY,
  callMessageBytes,
} from './call-messages.ts';
import { MESSAGE_COUNTERS, countersBytes } from './counters-message.ts';
import { MESSAGE_CALL_PART, MESSAGE_CALL_PULL, MESSAGE_CALL_REPLY_PART } from './call-part-messages.ts';
import {
  KEY_BYTES_MAX,
  PARTS_MAX,
  WORD_KEY_BYTES,
  envelopeFits,
  flagsOf,
  isZeroPadded,
  keyedBytes,
  slotOf,
  typeOf,
  writeHead,
} from './message-fields.ts';
import { MESSAGE_RESOLVE, MESSAGE_RESOLVE_REPLY, resolveBytes, resolveReplyBytes } from './resolve-messages.ts';
import { rmwEnvelopeBytes, rmwMessageBytes } from './rmw-messages.ts';
import {
  MESSAGE_READ_ACCEPTED,
  MESSAGE_STAGE_PART,
  STAGE_PART_BYTES,
  WORD_STAGE_KEY,
  namesProposal,
  readAcceptedBytes,
} from './rmw-part-messages.ts';
import { MESSAGE_SCAN, MESSAGE_SCAN_REPLY, WORD_SCAN_VALUE_BYTES, scanBytes, scanReplyBytes } from './scan-messages.ts';

export { KEY_BYTES_MAX, PARTS_MAX, WORD_KEY_BYTES, flagsOf, isZeroPadded, slotOf, typeOf, writeHead };

/**
 * Messages of the control part (docs/wire.md): each a multiple of 8 bytes, fields at named word offsets, written and
 * read in place. The first two words are common to all:
 *
 *     word 0   type u8 | flags u8 | operation slot u16
 *     word 1   operation generation u32
 *
 * Slot and generation together are the operation id of the asker. Each phase of an operation has a generation of its
 * own, so an answer that comes late counts for nothing.
 */
export const MESSAGE_READ = 1;
export const MESSAGE_READ_REPLY = 2;
export const MESSAGE_STAMP = 3;
export const MESSAGE_STAMP_REPLY = 4;
export const MESSAGE_WRITE = 5;
export const MESSAGE_WRITE_REPLY = 6;
export const MESSAGE_REPAIR = 7;
export const MESSAGE_STATE_REQUEST = 8;
export const MESSAGE_STATE = 9;
export const MESSAGE_STATUS_REQUEST = 10;
export const MESSAGE_STATUS = 11;
/** A WRITE or REPAIR larger than a datagram, by parts; what has arrived of it. */
export const MESSAGE_WRITE_PART = 12;
export const MESSAGE_WRITE_PROGRESS = 13;
/** A part of a stored value that is larger than a datagram. */
export const MESSAGE_READ_PART = 14;
export const MESSAGE_READ_PART_REPLY = 15;

/** READ: send the value, too. READ_REPLY: a value comes with it. */
export const FLAG_VALUE = 1;
/** READ_REPLY, WRITE, REPAIR: the key is deleted, or was never written. */
export const FLAG_TOMBSTONE = 2;
/** WRITE: a value that was read, under the stamp it was read with. */
export const FLAG_WRITE_BACK = 4;
/** READ_REPLY: the parts that the READ has granted come right behind. */
export const FLAG_FOLLOWED = 4;
/** STAMP_REPLY, WRITE_REPLY, RESOLVE_REPLY: no room, nothing was written. */
export const FLAG_TRUSTED_FULL = 8;
export const FLAG_HOST_FULL = 16;
/** STAMP_REPLY, WRITE_REPLY, READ_REPLY, RESOLVE_REPLY: the certificate does not permit it. */
export const FLAG_NOT_PERMITTED = 32;
/** WRITE_REPLY: the stamp is known with another tag. RESOLVE_REPLY: no copy of the newest value opens. */
export const FLAG_CONFLICT = 64;
/** READ_REPLY: the value does not fit into a datagram to the asker, who may ask for its parts. */
export const FLAG_PARTS = 128;
/** WRITE_PART: of a REPAIR. */
export const FLAG_REPAIR = 1;
/** WRITE_PROGRESS, RESOLVE_REPLY: over the replica's limits, to be sent again later. */
export const FLAG_BUSY = 1;
/** READ_PART_REPLY: the value is no longer the one that was asked for. */
export const FLAG_GONE = 1;
export const FLAGS_REFUSED = FLAG_TRUSTED_FULL | FLAG_HOST_FULL | FLAG_NOT_PERMITTED | FLAG_CONFLICT;

/**
 * Requests with a key: READ, STAMP (16 bytes + key), WRITE, REPAIR (56 bytes + key). Envelope bytes in the value part; in
 * STAMP those that the WRITE will bring; in READ there is the grant instead.
 */
export const WORD_ENVELOPE_BYTES = 3;
export const WORD_ASK_KEY = 4;
export const ASK_BYTES = 16;
/** READ with FLAG_VALUE: parts that may come unasked behind the answer (u16), and their length / 8 (u16). */
export const WORD_READ_GRANT = 3;
/** A quarter of the send slots: answers to what has arrived beside it have the other three. */
export const GRANTED_PARTS_MAX = SEND_SLOTS / 4;
assert(
  GRANTED_PARTS_MAX <= SEND_SLOTS - SEND_SLOTS_FREE_MIN,
  'a replica with nothing else to send sends what is granted',
);

/** WRITE, REPAIR: counter u64, writer u64, rmw u32, reserved u32, tag 16, key. */
export const WORD_WRITE_COUNTER = 4;
export const WORD_WRITE_WRITER = 6;
export const WORD_WRITE_RMW = 8;
export const WORD_WRITE_TAG = 10;
export const WORD_WRITE_KEY = 14;
export const WRITE_BYTES = 56;

/**
 * WRITE_PART: as WRITE, with part index u16 and part bytes / 8 (u16) in the reserved word. Part 0 is the key, without
 * value bytes; the others are the envelope's in order, without the key, all of partBytes but the last.
 */
export const WORD_PART = 9;

/** WRITE_PROGRESS: bitmap bytes u32, 0 u32, then the bitmap: bit i of word i/32 for part i, padded to 8 bytes. */
export const WORD_PROGRESS_BYTES = 2;
export const WORD_PROGRESS_BITMAP = 4;
export const WRITE_PROGRESS_BYTES = 16;
export const PROGRESS_BITMAP_BYTES_MAX = PARTS_MAX / 8;

/** READ_PART: key bytes u32, part bytes u32, counter u64, writer u64, rmw u32, byte offset in the envelope u32, key. */
export const WORD_READ_PART_BYTES = 3;
export const WORD_READ_PART_COUNTER = 4;
export const WORD_READ_PART_WRITER = 6;
export const WORD_READ_PART_RMW = 8;
export const WORD_READ_PART_OFFSET = 9;
export const WORD_READ_PART_KEY = 10;
export const READ_PART_BYTES = 40;

/** READ_PART_REPLY: byte offset u32, part bytes u32, which lie in the value part. */
export const WORD_PART_REPLY_OFFSET = 2;
export const WORD_PART_REPLY_BYTES = 3;
export const READ_PART_REPLY_BYTES = 16;

/** READ_REPLY: envelope bytes u32, rmw u32, counter u64, writer u64; with FLAG_VALUE or FLAG_PARTS the tag (16) behind. */
export const WORD_REPLY_ENVELOPE_BYTES = 2;
export const WORD_REPLY_RMW = 3;
export const WORD_REPLY_COUNTER = 4;
export const WORD_REPLY_WRITER = 6;
export const WORD_REPLY_TAG = 8;
export const READ_REPLY_BYTES = 32;
export const READ_REPLY_VALUE_BYTES = 48;

/** STAMP_REPLY: counter u64. */
export const WORD_STAMP_COUNTER = 2;
export const STAMP_REPLY_BYTES = 16;

export const WRITE_REPLY_BYTES = 8;

/** STATE: state u8 | member index u8 | member count u8 | gone mask u8; epoch; own incarnation (16); then one for each member. */
export const STATE_REQUEST_BYTES = 8;
export const WORD_STATE = 2;
export const WORD_STATE_EPOCH = 3;
export const WORD_STATE_OWN = 4;
export const WORD_STATE_INCARNATIONS = 8;
export const STATE_BYTES = 32;
export const INCARNATION_BYTES = 16;

/** STATUS: body bytes u32, 0 u32, then the body: UTF-8 JSON padded with zeros to a multiple of 8. */
export const WORD_STATUS_BYTES = 2;
export const WORD_STATUS_BODY = 4;
export const STATUS_BYTES = 16;
export const STATUS_REQUEST_BYTES = 8;

/** 2f+1 members; masks of members are bits of a 31-bit integer, and a cluster of more than 7 is slower, not safer. */
export const MEMBERS_MAX = 7;
/** Operation slots are 16 bits on the wire. */
export const OPERATION_SLOTS_MAX = 65_536;

const PART_OVERHEAD_BYTES =
  HEADER_BYTES + PREAMBLE_BYTES + Math.max(WRITE_BYTES, STAGE_PART_BYTES) + DATAGRAM_TAG_BYTES_MAX;
assert(
  partCountOf(ENVELOPE_BYTES_MAX, (DATAGRAM_BYTES_MIN - PART_OVERHEAD_BYTES) & ~7) <= PARTS_MAX,
  'the longest envelope goes through the smallest datagrams',
);
assert(
  partCountOf(valueOffsetOf(2 ** 16) + 2 ** 16, DATAGRAM_BYTES_LOOPBACK - PART_OVERHEAD_BYTES) === 1 + 4,
  'on loopback a value of 64 KiB goes in four parts',
);
assert(PART_OVERHEAD_BYTES + KEY_BYTES_MAX <= DATAGRAM_BYTES_MIN, 'so does the longest key');
assert(DATAGRAM_BYTES_MAX / 8 <= 0xffff, 'part bytes fit into their field');

/**
 * Bytes of the message at `word`, or -1 when it is malformed: unknown type, past the end, a key out of bounds or not
 * padded with zeros, or a value past the end of the value part. Everything that a handler reads is checked here.
 */
export function messageBytes(words: Int32Array, word: number, wordEnd: number, valueBytesLeft: number): number {
  const bytesLeft = (wordEnd - word) * 4;
  if (bytesLeft < 8) return -1;
  const type = typeOf(words, word);
  const flags = flagsOf(words, word);
  switch (type) {
    case MESSAGE_STAMP:
      if (bytesLeft < ASK_BYTES || words[word + WORD_ENVELOPE_BYTES]! >>> 0 > ENVELOPE_BYTES_MAX) return -1;
      return keyedBytes(words, word, bytesLeft, ASK_BYTES, WORD_ASK_KEY);
    case MESSAGE_READ:
      if (bytesLeft < ASK_BYTES || !isGrant(words[word + WORD_READ_GRANT]!, flags)) return -1;
      return keyedBytes(words, word, bytesLeft, ASK_BYTES, WORD_ASK_KEY);
    case MESSAGE_WRITE:
    case MESSAGE_REPAIR: {
      if (bytesLeft < WRITE_BYTES || !envelopeFits(words[word + WORD_ENVELOPE_BYTES]!, valueBytesLeft)) return -1;
      if (words[word + WORD_WRITE_COUNTER + 1]! >>> 21 !== 0) return -1;
      if ((flags & FLAG_TOMBSTONE) !== 0 && words[word + WORD_ENVELOPE_BYTES] !== 0) return -1;
      return keyedBytes(words, word, bytesLeft, WRITE_BYTES, WORD_WRITE_KEY);
    }
    case MESSAGE_WRITE_PART:
      return writePartBytes(words, word, bytesLeft, valueBytesLeft, WRITE_BYTES, WORD_WRITE_KEY);
    case MESSAGE_STAGE_PART:
      if (bytesLeft < STAGE_PART_BYTES || !namesProposal(words, word)) return -1;
      return writePartBytes(words, word, bytesLeft, valueBytesLeft, STAGE_PART_BYTES, WORD_STAGE_KEY);
    case MESSAGE_READ_ACCEPTED:
      return readAcceptedBytes(words, word, bytesLeft);
    case MESSAGE_READ_REPLY: {
      const byteCount = (flags & (FLAG_VALUE | FLAG_PARTS)) !== 0 ? READ_REPLY_VALUE_BYTES : READ_REPLY_BYTES;
      if (bytesLeft < byteCount || words[word + WORD_REPLY_COUNTER + 1]! >>> 21 !== 0) return -1;
      const envelopeBytes = words[word + WORD_REPLY_ENVELOPE_BYTES]!;
      if ((flags & FLAG_VALUE) !== 0) return envelopeFits(envelopeBytes, valueBytesLeft) ? byteCount : -1;
      const envelopeBytesMax = (flags & FLAG_PARTS) !== 0 ? ENVELOPE_BYTES_MAX : 0;
      return envelopeBytes >>> 0 <= envelopeBytesMax ? byteCount : -1;
    }
    case MESSAGE_READ_PART:
      if (bytesLeft < READ_PART_BYTES || words[word + WORD_READ_PART_COUNTER + 1]! >>> 21 !== 0) return -1;
      if (words[word + WORD_READ_PART_OFFSET]! >>> 0 > ENVELOPE_BYTES_MAX) return -1;
      if (words[word + WORD_READ_PART_BYTES]! >>> 0 > ENVELOPE_BYTES_MAX) return -1;
      return keyedBytes(words, word, bytesLeft, READ_PART_BYTES, WORD_READ_PART_KEY);
    case MESSAGE_READ_PART_REPLY:
      if (bytesLeft < READ_PART_REPLY_BYTES) return -1;
      return envelopeFits(words[word + WORD_PART_REPLY_BYTES]!, valueBytesLeft) ? READ_PART_REPLY_BYTES : -1;
    case MESSAGE_WRITE_PROGRESS: {
      if (bytesLeft < WRITE_PROGRESS_BYTES) return -1;
      const bitmapBytes = words[word + WORD_PROGRESS_BYTES]! >>> 0;
      const byteCount = WRITE_PROGRESS_BYTES + bitmapBytes;
      return bitmapBytes % 8 === 0 && bitmapBytes <= PROGRESS_BITMAP_BYTES_MAX && byteCount <= bytesLeft
        ? byteCount
        : -1;
    }
    case MESSAGE_STAMP_REPLY:
      if (bytesLeft < STAMP_REPLY_BYTES || words[word + WORD_STAMP_COUNTER + 1]! >>> 21 !== 0) return -1;
      return STAMP_REPLY_BYTES;
    case MESSAGE_WRITE_REPLY:
    case MESSAGE_STATE_REQUEST:
    case MESSAGE_STATUS_REQUEST:
      return 8;
    case MESSAGE_STATE: {
      if (bytesLeft < STATE_BYTES) return -1;
      const memberCount = (words[word + WORD_STATE]! >>> 16) & 0xff;
      const byteCount = STATE_BYTES + memberCount * INCARNATION_BYTES;
      return memberCount <= MEMBERS_MAX && byteCount <= bytesLeft ? byteCount : -1;
    }
    case MESSAGE_STATUS: {
      if (bytesLeft < STATUS_BYTES) return -1;
      const bodyBytes = words[word + WORD_STATUS_BYTES]!;
      return bodyBytes >= 0 && bodyBytes <= bytesLeft - STATUS_BYTES ? STATUS_BYTES + alignUp(bodyBytes) : -1;
    }
    case MESSAGE_CALL:
    case MESSAGE_CALL_REPLY:
    case MESSAGE_CALL_OPEN:
    case MESSAGE_CALL_OPENED:
    case MESSAGE_CALL_PART:
    case MESSAGE_CALL_PULL:
    case MESSAGE_CALL_REPLY_PART:
      return callMessageBytes(words, word, bytesLeft);
    case MESSAGE_RESOLVE:
      return resolveBytes(words, word, bytesLeft);
    case MESSAGE_RESOLVE_REPLY:
      return resolveReplyBytes(words, word, bytesLeft);
    case MESSAGE_COUNTERS:
      return countersBytes(words, word, bytesLeft);
    case MESSAGE_SCAN:
      return scanBytes(words, word, bytesLeft);
    case MESSAGE_SCAN_REPLY:
      return scanReplyBytes(words, word, bytesLeft, valueBytesLeft);
    default:
      return rmwMessageBytes(words, word, bytesLeft, valueBytesLeft);
  }
}

/** Value bytes, unpadded, that the message at `word` has in the value part. Only after messageBytes accepted it. */
export function messageEnvelopeBytes(words: Int32Array, word: number): number {
  switch (typeOf(words, word)) {
    case MESSAGE_WRITE:
    case MESSAGE_REPAIR:
      return words[word + WORD_ENVELOPE_BYTES]!;
    case MESSAGE_READ_REPLY:
      return (flagsOf(words, word) & FLAG_VALUE) !== 0 ? words[word + WORD_REPLY_ENVELOPE_BYTES]! : 0;
    case MESSAGE_WRITE_PART:
    case MESSAGE_STAGE_PART:
      return partLengthBytes(partIndexOf(words, word), partBytesOf(words, word), words[word + WORD_ENVELOPE_BYTES]!);
    case MESSAGE_READ_PART_REPLY:
      return words[word + WORD_PART_REPLY_BYTES]!;
    case MESSAGE_SCAN_REPLY:
      return words[word + WORD_SCAN_VALUE_BYTES]!;
    default:
      return rmwEnvelopeBytes(words, word);
  }
}

// -- parts ----------------------------------------------------------------------------------------------------------

/** @param partBytes A multiple of 8. */
export function grantOf(partCount: number, partBytes: number): number {
  return partCount === 0 ? 0 : partCount | ((partBytes / 8) << 16);
}

export function grantedCountOf(grant: number): number {
  return grant & 0xffff;
}

export function grantedPartBytesOf(grant: number): number {
  return (grant >>> 16) * 8;
}

/** Nothing is granted to who is not asked for the value. */
function isGrant(grant: number, flags: number): boolean {
  if (grant === 0) return true;
  const partCount = grantedCountOf(grant);
  const hasLength = grantedPartBytesOf(grant) > 0;
  return (flags & FLAG_VALUE) !== 0 && partCount > 0 && partCount <= GRANTED_PARTS_MAX && hasLength;
}

export function partIndexOf(words: Int32Array, word: number): number {
  return words[word + WORD_PART]! & 0xffff;
}

export function partBytesOf(words: Int32Array, word: number): number {
  return (words[word + WORD_PART]! >>> 16) * 8;
}

/** Of a WRITE by parts: the key is the first. */
export function partCountOf(envelopeBytes: number, partBytes: number): number {
  return 1 + Math.ceil(envelopeBytes / partBytes);
}

/** Bytes of a part in the value part: none for the key's, what is left for the last. */
export function partLengthBytes(partIndex: number, partBytes: number, envelopeBytes: number): number {
  return partIndex === 0 ? 0 : Math.min(partBytes, envelopeBytes - (partIndex - 1) * partBytes);
}

/** Of a WRITE_PART or STAGE_PART: they differ in what lies before the key. */
function writePartBytes(
  words: Int32Array,
  word: number,
  bytesLeft: number,
  valueBytesLeft: number,
  fixedBytes: number,
  keyWord: number,
): number {
  if (bytesLeft < fixedBytes || words[word + WORD_WRITE_COUNTER + 1]! >>> 21 !== 0) return -1;
  const envelopeBytes = words[word + WORD_ENVELOPE_BYTES]! >>> 0;
  const partBytes = partBytesOf(words, word);
  const partIndex = partIndexOf(words, word);
  if (partBytes === 0 || envelopeBytes === 0 || envelopeBytes > ENVELOPE_BYTES_MAX) return -1;
  const partCount = partCountOf(envelopeBytes, partBytes);
  if (partIndex >= partCount || partCount > PARTS_MAX) return -1;
  if (partIndex === 0) return keyedBytes(words, word, bytesLeft, fixedBytes, keyWord);
  if (words[word + WORD_KEY_BYTES] !== 0) return -1;
  return envelopeFits(partLengthBytes(partIndex, partBytes, envelopeBytes), valueBytesLeft) ? fixedBytes : -1;
}
