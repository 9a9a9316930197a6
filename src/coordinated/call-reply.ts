import type { Region } from '../../net/bytes.ts';
import { alignUp, readU53, writeU53 } from '../../net/bytes.ts';
import {
  ANSWER_NUMBER_BYTES,
  CALL_REPLY_BYTES,
  MESSAGE_CALL_REPLY,
  REPLY_FOUND,
  REPLY_PARTS,
  REPLY_VERSION,
  VERSION_BYTES,
  WORD_CALL_REPLY_ATTEMPT,
  WORD_CALL_REPLY_HAS,
  WORD_CALL_REPLY_REST,
  WORD_CALL_REPLY_STREAM,
  WORD_CALL_REPLY_VALUE_BYTES,
  WORD_VERSION_COUNTER,
  WORD_VERSION_RMW,
  WORD_VERSION_WRITER,
  callReplyHeadBytes,
} from '../protocol/call-messages.ts';
import { writeHead } from '../protocol/messages.ts';
import type { EndedStamp } from '../protocol/outcome.ts';
import { CALL_OUTCOME_NUMBERS } from './call-outcome.ts';
import type { CallOutcome } from './call-outcome.ts';

/** CALL_REPLY, written and read in place. */

/** What a reply has beside the outcome: nothing, a value, a version (REPLY_VERSION, and REPLY_FOUND). */
export function replyBytes(has: number, valueBytes: number): number {
  return CALL_REPLY_BYTES + (has === 0 ? 0 : VERSION_BYTES) + alignUp(valueBytes);
}

export function writeReplyHead(
  words: Int32Array,
  word: number,
  outcome: CallOutcome,
  streamNumber: number,
  slot: number,
  generation: number,
  attempt: number,
): void {
  writeHead(words, word, MESSAGE_CALL_REPLY, CALL_OUTCOME_NUMBERS[outcome], slot, generation);
  words[word + WORD_CALL_REPLY_STREAM] = streamNumber;
  words[word + WORD_CALL_REPLY_VALUE_BYTES] = 0;
  words[word + WORD_CALL_REPLY_ATTEMPT] = attempt;
  words[word + WORD_CALL_REPLY_HAS] = 0;
}

/** Behind a head that was written: what it takes replyBytes() for. */
export function writeReplyBody(
  { words, bytes }: Region,
  word: number,
  has: number,
  ended: EndedStamp,
  value: Uint8Array,
  valueBytes: number,
): void {
  writeRest(words, word, has, ended, valueBytes);
  writeValue(bytes, word * 4 + callReplyHeadBytes(words, word), value, valueBytes);
}

/** The same for a value that is asked for by parts, under a number. */
export function partedReplyBytes(has: number): number {
  return replyBytes(has, 0) + ANSWER_NUMBER_BYTES;
}

export function writePartedReplyBody(
  words: Int32Array,
  word: number,
  has: number,
  ended: EndedStamp,
  answerNumber: number,
  valueBytes: number,
): void {
  writeRest(words, word, has | REPLY_PARTS, ended, valueBytes);
  const numberWord = word + (callReplyHeadBytes(words, word) >> 2);
  words[numberWord] = answerNumber;
  words[numberWord + 1] = 0;
}

/** The number of the answer, which is at least 1; 0 when the reply has its value with it. */
export function readAnswerNumber(words: Int32Array, word: number): number {
  if ((words[word + WORD_CALL_REPLY_HAS]! & REPLY_PARTS) === 0) return 0;
  return words[word + (callReplyHeadBytes(words, word) >> 2)]! >>> 0;
}

function writeRest(words: Int32Array, word: number, has: number, ended: EndedStamp, valueBytes: number): void {
  words[word + WORD_CALL_REPLY_VALUE_BYTES] = valueBytes;
  words[word + WORD_CALL_REPLY_HAS] = has;
  if ((has & REPLY_VERSION) === 0) return;
  const version = word + WORD_CALL_REPLY_REST;
  writeU53(words, version + WORD_VERSION_COUNTER, ended.counter);
  words[version + WORD_VERSION_WRITER] = ended.writerLow;
  words[version + WORD_VERSION_WRITER + 1] = ended.writerHigh;
  words[version + WORD_VERSION_RMW] = ended.rmw;
  words[version + WORD_VERSION_RMW + 1] = 0;
}

/** A value of this length at `byte`, padded. */
export function writeValue(bytes: Uint8Array, byte: number, value: Uint8Array, valueBytes: number): void {
  copyBytes(bytes, byte, value, valueBytes);
  bytes.fill(0, byte + valueBytes, byte + alignUp(valueBytes));
}

/** False when the reply has none. */
export function readReplyVersion(words: Int32Array, word: number, ended: EndedStamp): boolean {
  const has = words[word + WORD_CALL_REPLY_HAS]!;
  if ((has & REPLY_VERSION) === 0) return false;
  const version = word + WORD_CALL_REPLY_REST;
  ended.counter = readU53(words, version + WORD_VERSION_COUNTER);
  ended.writerLow = words[version + WORD_VERSION_WRITER]!;
  ended.writerHigh = words[version + WORD_VERSION_WRITER + 1]!;
  ended.rmw = words[version + WORD_VERSION_RMW]!;
  ended.hasValue = (has & REPLY_FOUND) !== 0;
  return true;
}

/** Below this a loop is cheaper than the view that set() needs (80 ns). */
const COPY_LOOP_BYTES_MAX = 64;

function copyBytes(target: Uint8Array, start: number, source: Uint8Array, byteCount: number): void {
  if (byteCount > COPY_LOOP_BYTES_MAX) {
    target.set(source.subarray(0, byteCount), start);
    return;
  }
  for (let i = 0; i < byteCount; i++) target[start + i] = source[i]!;
}
