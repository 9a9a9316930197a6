import { readU53, writeU53 } from './bytes.ts';
import { WIRE_VERSION } from './limits.ts';

/**
 * Layout of datagrams (docs/wire.md). All fields little endian, at named offsets, read and written in place.
 *
 *     DATA      header (24) | value part | control part | tag (16, none in plaintext)
 *     control part: preamble (8): epoch u32, largest packet number received u32 | messages, each a multiple of 8 bytes
 *
 *     REQUEST   kind, version, mode, 0 | sender's session index u32 | handshake message 1 | mac1 (16) | mac2 (16)
 *     RESPONSE  kind, version, mode, 0 | receiver's session index u32 | sender's session index u32 | 0 u32
 *               | handshake message 2 | mac1 (16)
 *     COOKIE    kind, version, mode, 0 | receiver's session index u32 | cookie (16) | mac1 of the request (16)
 *     HINT      kind, version, mode, reason | receiver's session index u32 | echo (16)
 */
export const KIND_DATA = 1;
export const KIND_REQUEST = 2;
export const KIND_RESPONSE = 3;
export const KIND_COOKIE = 4;
export const KIND_HINT = 5;

/** Word offsets of a data header. */
export const HEADER_BYTES = 24;
const WORD_KIND = 0;
const WORD_SESSION = 1;
const WORD_NUMBER = 2;
const WORD_VALUE_BYTES = 4;
const WORD_CREDIT_BYTES = 5;

/** The control part begins with epoch and acknowledgement. */
export const PREAMBLE_BYTES = 8;

/** Byte offsets of the handshake kinds. */
export const MAC_BYTES = 16;
export const REQUEST_HEADER_BYTES = 8;
export const RESPONSE_HEADER_BYTES = 16;
export const COOKIE_OFFSET = 8;
export const COOKIE_BYTES = 40;
export const HINT_ECHO_OFFSET = 8;
export const HINT_BYTES = 24;

/** Byte offsets shared by every kind. */
export const OFFSET_KIND = 0;
export const OFFSET_VERSION = 1;
export const OFFSET_MODE = 2;
export const OFFSET_REASON = 3;
export const OFFSET_SESSION = 4;
export const OFFSET_SENDER_SESSION = 8;

/** Why a peer refuses, in clear and unauthenticated: a hint for people, never a reason to downgrade. */
export const HINT_REASONS = ['no-session', 'version', 'mode', 'unknown-key', 'certificate', 'full'] as const;
export type HintReason = (typeof HINT_REASONS)[number];

const DATA_FIRST_WORD = KIND_DATA | (WIRE_VERSION << 8);

export function writeDataHeader(
  words: Int32Array,
  sessionIndex: number,
  packetNumber: number,
  valueBytes: number,
  creditBytes: number,
): void {
  words[WORD_KIND] = DATA_FIRST_WORD;
  words[WORD_SESSION] = sessionIndex;
  writeU53(words, WORD_NUMBER, packetNumber);
  words[WORD_VALUE_BYTES] = valueBytes;
  words[WORD_CREDIT_BYTES] = creditBytes;
}

export function readSessionIndex(words: Int32Array): number {
  return words[WORD_SESSION]! >>> 0;
}

export function readPacketNumber(words: Int32Array): number {
  return readU53(words, WORD_NUMBER);
}

export function readValueBytes(words: Int32Array): number {
  return words[WORD_VALUE_BYTES]! >>> 0;
}

/** What the receiver of the datagram may have in flight to its sender; 0 from the side that made the session. */
export function readCreditBytes(words: Int32Array): number {
  return words[WORD_CREDIT_BYTES]! >>> 0;
}

/** Reserved bytes are zero in this version. */
export function reservedIsZero(words: Int32Array): boolean {
  return words[WORD_KIND]! >>> 16 === 0;
}
