import { alignUp } from '../../net/bytes.ts';
import { Scratch } from '../../workers/scratch.ts';
import {
  CALL_DELETE,
  CALL_PUT,
  WORD_CALL_DEADLINE_MS,
  WORD_CALL_KEY,
  WORD_CALL_KEY_BYTES,
  WORD_CALL_VALUE_BYTES,
  isReadOnly,
} from '../protocol/call-messages.ts';
import { WORD_CALL_RMW_EXPECTED, expectedBytesOf, readCallRmw } from '../protocol/call-rmw.ts';
import type { Coordinator } from '../protocol/coordinator.ts';
import { KEY_BYTES_MAX, flagsOf } from '../protocol/messages.ts';

/** Starts at the coordinator what a CALL asks for. */
/** What is needed of the coordinator. */
export type OperationStarter = Pick<
  Coordinator,
  'capacity' | 'ended' | 'startGet' | 'startPut' | 'startDelete' | 'startRmw' | 'cancel'
>;

/** An operation's place and memory are held no longer than this, whatever a client asks for: it may call again. */
export const CALL_DEADLINE_MS_MAX = 60_000;
/** Values of usual records; larger ones make it grow. */
const VALUE_SCRATCH_BYTES_MIN = 16 * 1024;
/** From here on a view costs less than copying into memory that has its views ready. */
const VIEW_BYTES_MIN = 4 * 1024;

export class CallOperations {
  readonly #key = new Scratch(KEY_BYTES_MAX);
  #value: Scratch | undefined;
  #expected: Scratch | undefined;

  /**
   * The operation's id, or -1. Only of a CALL that messageBytes() has accepted.
   * @param answerBytesMax Longest value that an answer to a read-modify-write can hold.
   */
  start(
    coordinator: OperationStarter,
    token: number,
    words: Int32Array,
    word: number,
    answerBytesMax: number,
    nowMs: number,
  ): number {
    const kind = flagsOf(words, word);
    const keyBytes = words[word + WORD_CALL_KEY_BYTES]!;
    const valueBytes = words[word + WORD_CALL_VALUE_BYTES]!;
    const deadlineMs = Math.min(words[word + WORD_CALL_DEADLINE_MS]! >>> 0, CALL_DEADLINE_MS_MAX);
    this.#key.load(words, word + WORD_CALL_KEY, keyBytes);
    const key = this.#key.view(keyBytes);
    if (isReadOnly(kind)) return coordinator.startGet(token, key, deadlineMs, nowMs);
    if (kind === CALL_DELETE) return coordinator.startDelete(token, key, deadlineMs, nowMs);
    const valueWord = word + WORD_CALL_KEY + (alignUp(keyBytes) >> 2);
    if (kind === CALL_PUT && valueBytes >= VIEW_BYTES_MIN) {
      const value = new Uint8Array(words.buffer, words.byteOffset + valueWord * 4, valueBytes);
      return coordinator.startPut(token, key, value, deadlineMs, nowMs);
    }
    const value = (this.#value = holding(this.#value, valueBytes));
    value.load(words, valueWord, valueBytes);
    if (kind === CALL_PUT) return coordinator.startPut(token, key, value.view(valueBytes), deadlineMs, nowMs);
    const rmwWord = valueWord + (alignUp(valueBytes) >> 2);
    const expectedBytes = expectedBytesOf(words, rmwWord);
    const expected = (this.#expected = holding(this.#expected, expectedBytes));
    expected.load(words, rmwWord + WORD_CALL_RMW_EXPECTED, expectedBytes);
    const request = readCallRmw(words, rmwWord, value.view(valueBytes), expected.view(expectedBytes));
    return coordinator.startRmw(token, key, { ...request, answerBytesMax }, deadlineMs, nowMs);
  }
}

function holding(scratch: Scratch | undefined, byteCount: number): Scratch {
  if (scratch !== undefined && scratch.region.bytes.length >= byteCount) return scratch;
  return new Scratch(Math.max(VALUE_SCRATCH_BYTES_MIN, byteCount));
}
