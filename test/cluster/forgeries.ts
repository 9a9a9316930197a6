import { SECURITY_MODES } from '../../net/mode.ts';
import {
  COOKIE_BYTES,
  HEADER_BYTES,
  HINT_BYTES,
  HINT_REASONS,
  KIND_COOKIE,
  KIND_DATA,
  KIND_HINT,
  KIND_REQUEST,
  OFFSET_KIND,
  OFFSET_MODE,
  OFFSET_REASON,
  OFFSET_SESSION,
  OFFSET_VERSION,
} from '../../net/wire.ts';
import { WIRE_VERSION } from '../../net/limits.ts';
import type { Dice } from './dice.ts';

/**
 * Datagrams that somebody on the path makes up from one that passes: headers are in clear, so any field of them may be
 * altered with care, which random bytes never do.
 */
type Forgery = (datagram: Uint8Array, dice: Dice) => Uint8Array | undefined;

/** Header fields by byte offset (net/wire.ts, data header). */
const OFFSET_NUMBER = 8;
const OFFSET_VALUE_BYTES = 16;
const OFFSET_RESERVED = 20;

const FORGERIES: readonly Forgery[] = [
  (bytes) => withByte(bytes, OFFSET_VERSION, WIRE_VERSION + 1),
  (bytes, dice) => withByte(bytes, OFFSET_KIND, dice.integer(KIND_HINT + 1, 255)),
  // A session that nobody has made, or an older generation of a slot.
  (bytes, dice) => withByte(bytes, OFFSET_SESSION + dice.integer(0, 3), dice.integer(0, 255)),
  (bytes, dice) =>
    isKind(bytes, KIND_DATA) ? withByte(bytes, OFFSET_NUMBER + dice.integer(0, 7), dice.integer(0, 255)) : undefined,
  (bytes, dice) =>
    isKind(bytes, KIND_DATA)
      ? withByte(bytes, OFFSET_VALUE_BYTES + dice.integer(0, 3), dice.integer(0, 255))
      : undefined,
  (bytes, dice) =>
    isKind(bytes, KIND_DATA) ? withByte(bytes, OFFSET_RESERVED + dice.integer(0, 3), dice.integer(1, 255)) : undefined,
  (bytes, dice) => (isKind(bytes, KIND_DATA) ? bytes.slice(0, 8 * dice.integer(1, HEADER_BYTES / 8 + 1)) : undefined),
  (bytes, dice) =>
    isKind(bytes, KIND_REQUEST) ? withByte(bytes, OFFSET_MODE, dice.integer(0, SECURITY_MODES.length)) : undefined,
  // Any handshake message with one bit turned: what mac1 and Noise are for.
  (bytes, dice) =>
    isKind(bytes, KIND_DATA)
      ? undefined
      : withByte(bytes, dice.integer(OFFSET_SESSION + 4, bytes.length - 1), dice.integer(0, 255)),
  // Clear-text answers cost a forger nothing.
  (bytes, dice) => answer(bytes, KIND_HINT, HINT_BYTES, dice),
  (bytes, dice) => answer(bytes, KIND_COOKIE, COOKIE_BYTES, dice),
];

/** Undefined when the forgery that the dice chose doesn't apply. */
export function forgeryOf(datagram: Uint8Array, dice: Dice): Uint8Array | undefined {
  if (datagram.length < HINT_BYTES) return undefined;
  return dice.pick(FORGERIES)(datagram, dice);
}

function withByte(datagram: Uint8Array, offset: number, value: number): Uint8Array | undefined {
  const copy = Uint8Array.from(datagram);
  copy[offset] = value;
  return copy;
}

function isKind(datagram: Uint8Array, kind: number): boolean {
  return datagram[OFFSET_KIND] === kind;
}

/** A hint or a cookie as if it came with, or instead of, what passes. */
function answer(datagram: Uint8Array, kind: number, byteCount: number, dice: Dice): Uint8Array {
  const made = dice.bytes(byteCount);
  made.set(datagram.subarray(0, 8));
  made[OFFSET_KIND] = kind;
  if (kind === KIND_HINT) made[OFFSET_REASON] = dice.integer(0, HINT_REASONS.length);
  return made;
}
