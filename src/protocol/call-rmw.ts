import type { Region } from '../../net/bytes.ts';
import { alignUp, readU53, writeU53 } from '../../net/bytes.ts';
import type { RmwRequest } from './rmw-request.ts';
import {
  CONDITION_NONE,
  CONDITION_VALUE,
  CONDITION_VERSION,
  RMW_DELETE,
  RMW_INCREMENT,
  RMW_SET,
} from './rmw-request.ts';

/**
 * What a CALL of a read-modify-write has behind key and value: a client's request, as it stands on the wire.
 *
 *     change u8, condition u8, 0 u16, bytes of the expected value u32, delta i64,
 *     expected version: counter u64, writer u64, rmw u32, 0 u32; then the expected value, padded
 *
 * What a change or condition has no use for is zero.
 */
const WORD_CHANGE = 0;
const WORD_EXPECTED_BYTES = 1;
const WORD_DELTA = 2;
const WORD_COUNTER = 4;
const WORD_WRITER = 6;
const WORD_RMW = 8;
export const WORD_CALL_RMW_EXPECTED = 10;
export const CALL_RMW_BYTES = 40;

/** Changes of no other kind and condition are asked for; RMW_RESEAL is none of a client's. */
function isKnownRequest(change: number, condition: number): boolean {
  switch (change) {
    case RMW_SET:
      return condition >= CONDITION_NONE && condition <= CONDITION_VERSION;
    case RMW_DELETE:
      return condition === CONDITION_VALUE || condition === CONDITION_VERSION;
    case RMW_INCREMENT:
      return condition === CONDITION_NONE;
    default:
      return false;
  }
}

/** Bytes of it at `word`, or -1 when it is malformed or cut off. */
export function callRmwBytes(words: Int32Array, word: number, valueBytes: number, bytesLeft: number): number {
  if (bytesLeft < CALL_RMW_BYTES) return -1;
  const change = words[word + WORD_CHANGE]! & 0xff;
  const condition = (words[word + WORD_CHANGE]! >>> 8) & 0xff;
  const expectedBytes = words[word + WORD_EXPECTED_BYTES]!;
  if (!isKnownRequest(change, condition) || words[word + WORD_CHANGE]! >>> 16 !== 0) return -1;
  if (change !== RMW_SET && valueBytes !== 0) return -1;
  if (expectedBytes < 0 || expectedBytes > bytesLeft - CALL_RMW_BYTES) return -1;
  if (condition !== CONDITION_VALUE && expectedBytes !== 0) return -1;
  if (words[word + WORD_COUNTER + 1]! >>> 21 !== 0) return -1;
  return CALL_RMW_BYTES + alignUp(expectedBytes);
}

export function callRmwBytesOf({ expected }: RmwRequest): number {
  return CALL_RMW_BYTES + alignUp(expected.length);
}

/** Writes callRmwBytesOf(request) bytes. */
export function placeCallRmw(region: Region, word: number, request: RmwRequest): void {
  const { words, bytes } = region;
  const { change, condition, expected, version, delta } = request;
  words.fill(0, word, word + (callRmwBytesOf(request) >> 2));
  words[word + WORD_CHANGE] = change | (condition << 8);
  words[word + WORD_EXPECTED_BYTES] = expected.length;
  words[word + WORD_DELTA] = Number(BigInt.asIntN(32, delta));
  words[word + WORD_DELTA + 1] = Number(BigInt.asIntN(32, delta >> 32n));
  if (version !== undefined) {
    writeU53(words, word + WORD_COUNTER, version.counter);
    words[word + WORD_WRITER] = version.writerLow;
    words[word + WORD_WRITER + 1] = version.writerHigh;
    words[word + WORD_RMW] = version.rmw;
  }
  if (expected.length > 0) bytes.set(expected, (word + WORD_CALL_RMW_EXPECTED) * 4);
}

export function expectedBytesOf(words: Int32Array, word: number): number {
  return words[word + WORD_EXPECTED_BYTES]!;
}

/** Only after callRmwBytes() accepted it. The values are the caller's to find. */
export function readCallRmw(words: Int32Array, word: number, value: Uint8Array, expected: Uint8Array): RmwRequest {
  const condition = ((words[word + WORD_CHANGE]! >>> 8) & 0xff) as RmwRequest['condition'];
  return {
    change: (words[word + WORD_CHANGE]! & 0xff) as RmwRequest['change'],
    condition,
    value,
    expected,
    version:
      condition === CONDITION_VERSION
        ? {
            counter: readU53(words, word + WORD_COUNTER),
            writerLow: words[word + WORD_WRITER]!,
            writerHigh: words[word + WORD_WRITER + 1]!,
            rmw: words[word + WORD_RMW]!,
          }
        : undefined,
    delta: (BigInt(words[word + WORD_DELTA + 1]!) << 32n) | BigInt(words[word + WORD_DELTA]! >>> 0),
  };
}
