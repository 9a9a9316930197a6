import { ENVELOPE_BYTES_MAX } from '../../workers/sealing.ts';
import { WORD_KEY_BYTES, envelopeFits, flagsOf, keyedBytes, typeOf } from './message-fields.ts';

/**
 * Messages of read-modify-writes (docs/wire.md): consensus a key, slot by slot, beside the registers.
 *
 *     PREPARE   ->   "promise this ballot in this slot"
 *               <-   PROMISE, with what was accepted there; or one of the three below
 *     ACCEPT    ->   a proposal for the slot
 *               <-   ACCEPTED; or one of the three below
 *     COMMIT    ->   what the slot has decided
 *               <-   COMMIT_REPLY
 *
 *     COMMITTED <-   the slot is decided: what its decisions have led to
 *     BEHIND    <-   an earlier slot is not decided here: COMMIT that first
 *     NACK      <-   another ballot was promised; or why the replica refuses
 *
 * A ballot is (number, writer id of the coordinator); an id of a read-modify-write (writer id, sequence number). Numbers,
 * sequence numbers and slots start at 1 and stay below 2^53.
 */
export const MESSAGE_PREPARE = 40;
export const MESSAGE_PROMISE = 41;
export const MESSAGE_COMMITTED = 42;
export const MESSAGE_BEHIND = 43;
export const MESSAGE_NACK = 44;
export const MESSAGE_ACCEPT = 45;
export const MESSAGE_ACCEPTED = 46;
export const MESSAGE_COMMIT = 47;
export const MESSAGE_COMMIT_REPLY = 48;

/** PREPARE: of that slot, or of the first later one that is not decided at the replica. FLAG_VALUE asks for the value, too. */
export const FLAG_NEXT = 2;
/** PREPARE: with the register's value, whatever was accepted; of that the PROMISE then says nothing. */
export const FLAG_REGISTER = 4;
/** PREPARE: to be refused while another coordinator's promise is fresh, however high the ballot. */
export const FLAG_YIELD = 8;
/** PREPARE: the coordinator needs its promise no more. Not answered. */
export const FLAG_RELEASE = 16;
/** PROMISE: a proposal was accepted in the slot. Its value comes instead of the register's. */
export const FLAG_ACCEPTED = 4;
/**
 * COMMIT_REPLY: the value did not come with the COMMIT, and the replica has an older one: nothing was done. NACK: it did not
 * come with the ACCEPT, and is not here.
 */
export const FLAG_LACKING = 1;

/** PREPARE: key bytes u32, envelope bytes that the ACCEPT will bring u32 (0: not known), slot, ballot (16), key. */
export const WORD_PREPARE_ENVELOPE_BYTES = 3;
export const WORD_PREPARE_SLOT = 4;
export const WORD_PREPARE_BALLOT = 6;
export const WORD_PREPARE_KEY = 10;
export const PREPARE_BYTES = 40;

/**
 * PROMISE, COMMITTED: words 2 to 11 as in READ_REPLY, the tag always there; slot. PROMISE: id of what the slot before
 * decided (16; zero when it is not known), and with FLAG_ACCEPTED: ballot (16), id (16), stamp (counter, writer, rmw), envelope
 * bytes u32, tag (16), 1 when it is a tombstone u32, 0 u32. COMMITTED: ring entries u32, 0 u32, ring.
 */
export const WORD_REGISTER_ENVELOPE_BYTES = 2;
export const WORD_REGISTER_RMW = 3;
export const WORD_REGISTER_COUNTER = 4;
export const WORD_REGISTER_WRITER = 6;
export const WORD_REGISTER_TAG = 8;
export const WORD_REGISTER_SLOT = 12;
export const WORD_PROMISE_LAST_ID = 14;
export const PROMISE_BYTES = 72;
export const WORD_ACCEPTED_BALLOT = 18;
export const WORD_ACCEPTED_ID = 22;
export const WORD_ACCEPTED_COUNTER = 26;
export const WORD_ACCEPTED_WRITER = 28;
export const WORD_ACCEPTED_RMW = 30;
export const WORD_ACCEPTED_ENVELOPE_BYTES = 31;
export const WORD_ACCEPTED_TAG = 32;
export const WORD_ACCEPTED_TOMBSTONE = 36;
export const PROMISE_ACCEPTED_BYTES = 152;
export const WORD_COMMITTED_RING_COUNT = 14;
export const WORD_COMMITTED_RING = 16;
export const COMMITTED_BYTES = 64;

/** A ring's entry: slot, id (16). At most one for each of the last RING_COUNT slots. */
export const RING_ENTRY_BYTES = 24;
export const RING_ENTRY_WORDS = RING_ENTRY_BYTES / 4;
/** With 1 it would be safe; so many decisions may be missed before nobody can tell what became of a read-modify-write. */
export const RING_COUNT = 8;

/** BEHIND: the last slot decided here. */
export const WORD_BEHIND_SLOT = 2;
export const BEHIND_BYTES = 16;

/** NACK: the last slot decided here, ballot promised (16). With a flag of FLAGS_REFUSED both are 0. */
export const WORD_NACK_SLOT = 2;
export const WORD_NACK_BALLOT = 4;
export const NACK_BYTES = 32;

/**
 * ACCEPT: key bytes u32, envelope bytes u32, slot, ballot (16), id (16), stamp (counter, writer, rmw), 0 u32, tag (16), key.
 * With FLAG_PARTS, as in COMMIT, the envelope is larger than a datagram: the replica has it already, or is sent STAGE_PARTs.
 */
export const WORD_ACCEPT_SLOT = 4;
export const WORD_ACCEPT_BALLOT = 6;
export const WORD_ACCEPT_ID = 10;
export const WORD_ACCEPT_COUNTER = 14;
export const WORD_ACCEPT_WRITER = 16;
export const WORD_ACCEPT_RMW = 18;
export const WORD_ACCEPT_TAG = 20;
export const WORD_ACCEPT_KEY = 24;
export const ACCEPT_BYTES = 96;

export const ACCEPTED_BYTES = 8;

/**
 * COMMIT: key bytes u32, envelope bytes u32, slot, stamp (counter, writer, rmw), ring entries u32, tag (16), key, ring. With
 * FLAG_VALUE or FLAG_TOMBSTONE it brings what the stamp stands for; slot 0: it is only that.
 */
export const WORD_COMMIT_SLOT = 4;
export const WORD_COMMIT_COUNTER = 6;
export const WORD_COMMIT_WRITER = 8;
export const WORD_COMMIT_RMW = 10;
export const WORD_COMMIT_RING_COUNT = 11;
export const WORD_COMMIT_TAG = 12;
export const WORD_COMMIT_KEY = 16;
export const COMMIT_BYTES = 64;

export const COMMIT_REPLY_BYTES = 8;

/** As messages.ts has them, which imports this file. */
const WORD_ENVELOPE_BYTES = 3;
const FLAG_VALUE = 1;
const FLAG_TOMBSTONE = 2;
const FLAG_PARTS = 128;

/** messageBytes() of these types, -1 for any other. */
export function rmwMessageBytes(words: Int32Array, word: number, bytesLeft: number, valueBytesLeft: number): number {
  switch (typeOf(words, word)) {
    case MESSAGE_PREPARE:
      if (bytesLeft < PREPARE_BYTES || !isU53(words, word + WORD_PREPARE_SLOT)) return -1;
      if (isZero(words, word + WORD_PREPARE_SLOT) || !isNumbered(words, word + WORD_PREPARE_BALLOT)) return -1;
      if (words[word + WORD_PREPARE_ENVELOPE_BYTES]! >>> 0 > ENVELOPE_BYTES_MAX) return -1;
      return keyedBytes(words, word, bytesLeft, PREPARE_BYTES, WORD_PREPARE_KEY);
    case MESSAGE_PROMISE:
      return promiseBytes(words, word, bytesLeft, valueBytesLeft);
    case MESSAGE_COMMITTED: {
      if (!isRegister(words, word, bytesLeft, COMMITTED_BYTES, valueBytesLeft)) return -1;
      return withRing(words, word + WORD_COMMITTED_RING_COUNT, word, COMMITTED_BYTES, bytesLeft);
    }
    case MESSAGE_BEHIND:
      return bytesLeft >= BEHIND_BYTES && isU53(words, word + WORD_BEHIND_SLOT) ? BEHIND_BYTES : -1;
    case MESSAGE_NACK:
      if (bytesLeft < NACK_BYTES || !isU53(words, word + WORD_NACK_SLOT)) return -1;
      return isU53(words, word + WORD_NACK_BALLOT) ? NACK_BYTES : -1;
    case MESSAGE_ACCEPT:
      return acceptBytes(words, word, bytesLeft, valueBytesLeft);
    case MESSAGE_COMMIT:
      return commitBytes(words, word, bytesLeft, valueBytesLeft);
    case MESSAGE_ACCEPTED:
    case MESSAGE_COMMIT_REPLY:
      return 8;
    default:
      return -1;
  }
}

/** messageEnvelopeBytes() of these types, 0 for any other. */
export function rmwEnvelopeBytes(words: Int32Array, word: number): number {
  const flags = flagsOf(words, word);
  switch (typeOf(words, word)) {
    case MESSAGE_PROMISE:
      if ((flags & FLAG_ACCEPTED) === 0) break;
      return (flags & FLAG_PARTS) === 0 ? words[word + WORD_ACCEPTED_ENVELOPE_BYTES]! : 0;
    case MESSAGE_COMMITTED:
      break;
    case MESSAGE_ACCEPT:
    case MESSAGE_COMMIT:
      return (flags & FLAG_PARTS) === 0 ? words[word + WORD_ENVELOPE_BYTES]! : 0;
    default:
      return 0;
  }
  return (flags & FLAG_VALUE) === 0 ? 0 : words[word + WORD_REGISTER_ENVELOPE_BYTES]!;
}

function promiseBytes(words: Int32Array, word: number, bytesLeft: number, valueBytesLeft: number): number {
  if (!isRegister(words, word, bytesLeft, PROMISE_BYTES, valueBytesLeft)) return -1;
  if (isZero(words, word + WORD_REGISTER_SLOT) || !isU53(words, word + WORD_PROMISE_LAST_ID + 2)) return -1;
  const flags = flagsOf(words, word);
  if ((flags & FLAG_ACCEPTED) === 0) return PROMISE_BYTES;
  if (bytesLeft < PROMISE_ACCEPTED_BYTES || (flags & FLAG_VALUE) !== 0) return -1;
  if (!isNumbered(words, word + WORD_ACCEPTED_BALLOT) || !isId(words, word + WORD_ACCEPTED_ID)) return -1;
  const isTombstone = words[word + WORD_ACCEPTED_TOMBSTONE]!;
  const stampWord = word + WORD_ACCEPTED_COUNTER;
  if (isTombstone >>> 1 !== 0 || !isStamp(words, stampWord, words[word + WORD_ACCEPTED_RMW]!, isTombstone === 1)) {
    return -1;
  }
  const envelopeBytes = words[word + WORD_ACCEPTED_ENVELOPE_BYTES]!;
  if (isTombstone === 1 && envelopeBytes !== 0) return -1;
  if ((flags & FLAG_PARTS) !== 0) return envelopeBytes >>> 0 <= ENVELOPE_BYTES_MAX ? PROMISE_ACCEPTED_BYTES : -1;
  return envelopeFits(envelopeBytes, valueBytesLeft) ? PROMISE_ACCEPTED_BYTES : -1;
}

/** Words 2 to 13 of PROMISE and COMMITTED. */
function isRegister(
  words: Int32Array,
  word: number,
  bytesLeft: number,
  byteCount: number,
  valueBytesLeft: number,
): boolean {
  if (bytesLeft < byteCount || !isU53(words, word + WORD_REGISTER_SLOT)) return false;
  const flags = flagsOf(words, word);
  const isTombstone = (flags & FLAG_TOMBSTONE) !== 0;
  if (!isStamp(words, word + WORD_REGISTER_COUNTER, words[word + WORD_REGISTER_RMW]!, isTombstone)) return false;
  const envelopeBytes = words[word + WORD_REGISTER_ENVELOPE_BYTES]!;
  if (isTombstone && (envelopeBytes !== 0 || (flags & FLAG_VALUE) !== 0)) return false;
  if ((flags & FLAG_VALUE) !== 0) return envelopeFits(envelopeBytes, valueBytesLeft);
  return envelopeBytes >>> 0 <= ENVELOPE_BYTES_MAX;
}

function acceptBytes(words: Int32Array, word: number, bytesLeft: number, valueBytesLeft: number): number {
  if (bytesLeft < ACCEPT_BYTES || !isLength(words, word, valueBytesLeft)) return -1;
  if (!isU53(words, word + WORD_ACCEPT_SLOT) || isZero(words, word + WORD_ACCEPT_SLOT)) return -1;
  if (!isNumbered(words, word + WORD_ACCEPT_BALLOT) || !isId(words, word + WORD_ACCEPT_ID)) return -1;
  const isTombstone = (flagsOf(words, word) & FLAG_TOMBSTONE) !== 0;
  if (!isStamp(words, word + WORD_ACCEPT_COUNTER, words[word + WORD_ACCEPT_RMW]!, isTombstone)) return -1;
  if (isTombstone && words[word + WORD_ENVELOPE_BYTES] !== 0) return -1;
  return keyedBytes(words, word, bytesLeft, ACCEPT_BYTES, WORD_ACCEPT_KEY);
}

function commitBytes(words: Int32Array, word: number, bytesLeft: number, valueBytesLeft: number): number {
  if (bytesLeft < COMMIT_BYTES || !isLength(words, word, valueBytesLeft)) return -1;
  const flags = flagsOf(words, word);
  const isTombstone = (flags & FLAG_TOMBSTONE) !== 0;
  const hasLength = (flags & (FLAG_VALUE | FLAG_PARTS)) !== 0;
  if (!isU53(words, word + WORD_COMMIT_SLOT)) return -1;
  // Without its value a stamp may be none: the key was never written where the sender looked.
  const maySayNone = isTombstone || !hasLength;
  if (!isStamp(words, word + WORD_COMMIT_COUNTER, words[word + WORD_COMMIT_RMW]!, maySayNone)) return -1;
  if (isTombstone && hasLength) return -1;
  if (!hasLength && words[word + WORD_ENVELOPE_BYTES] !== 0) return -1;
  if (isZero(words, word + WORD_COMMIT_SLOT) && words[word + WORD_COMMIT_RING_COUNT] !== 0) return -1;
  const byteCount = keyedBytes(words, word, bytesLeft, COMMIT_BYTES, WORD_COMMIT_KEY);
  return byteCount < 0 ? -1 : withRing(words, word + WORD_COMMIT_RING_COUNT, word, byteCount, bytesLeft);
}

/** Of an ACCEPT or COMMIT: its envelope lies in the value part, or goes by parts. */
function isLength(words: Int32Array, word: number, valueBytesLeft: number): boolean {
  const envelopeBytes = words[word + WORD_ENVELOPE_BYTES]!;
  if ((flagsOf(words, word) & FLAG_PARTS) === 0) return envelopeFits(envelopeBytes, valueBytesLeft);
  return envelopeBytes >= 1 && envelopeBytes <= ENVELOPE_BYTES_MAX && (flagsOf(words, word) & FLAG_VALUE) === 0;
}

/** Word of a COMMIT's ring, behind its key. */
export function commitRingWord(words: Int32Array, word: number): number {
  return word + WORD_COMMIT_KEY + (((words[word + WORD_KEY_BYTES]! + 7) & ~7) >> 2);
}

function withRing(words: Int32Array, countWord: number, word: number, byteCount: number, bytesLeft: number): number {
  const ringCount = words[countWord]! >>> 0;
  const withRingBytes = byteCount + ringCount * RING_ENTRY_BYTES;
  if (ringCount > RING_COUNT || withRingBytes > bytesLeft) return -1;
  const ringWord = word + (byteCount >> 2);
  for (let i = 0; i < ringCount; i++) {
    const entryWord = ringWord + i * RING_ENTRY_WORDS;
    if (!isU53(words, entryWord) || isZero(words, entryWord) || !isId(words, entryWord + 2)) return -1;
  }
  return withRingBytes;
}

function isU53(words: Int32Array, word: number): boolean {
  return words[word + 1]! >>> 21 === 0;
}

function isZero(words: Int32Array, word: number): boolean {
  return words[word] === 0 && words[word + 1] === 0;
}

/** A ballot: its number is at least 1. */
function isNumbered(words: Int32Array, word: number): boolean {
  return isU53(words, word) && !isZero(words, word);
}

/** Writer id, sequence number of at least 1. */
function isId(words: Int32Array, word: number): boolean {
  return isNumbered(words, word + 2);
}

/**
 * Counter and writer at `word`. Counter 0 has no writer: what a read-modify-write makes of a key that was never written is
 * (0, 0, 1), and so on. Only what is absent can have the stamp none.
 */
function isStamp(words: Int32Array, word: number, rmw: number, maySayNone: boolean): boolean {
  if (!isU53(words, word)) return false;
  if (!isZero(words, word)) return true;
  if (!isZero(words, word + 2)) return false;
  return rmw !== 0 || maySayNone;
}
