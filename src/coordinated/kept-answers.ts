import { assert } from '../../net/assert.ts';
import type { Region } from '../../net/bytes.ts';
import { allocateRegion, copyWords } from '../../net/bytes.ts';
import { DATAGRAM_BYTES_MAX } from '../../net/limits.ts';

/**
 * The answers to read-modify-writes, as they were sent: one that was carried out must not be run again to learn what it
 * found, so a call that is repeated gets what is kept here. A ring that the newest answers have: the oldest give way, and a
 * client that asks for one of them is told that its outcome is unknown.
 *
 * Places are numbers that only grow: place modulo the ring's size is where an answer lies, and one that is further back
 * than the ring is long is gone.
 */
/** Of 3,000 calls without values: more than come in the time after which a client asks again. */
export const KEPT_BYTES = 256 * 1024;
/** The length, and room to keep answers on 8 bytes. */
const LENGTH_BYTES = 8;
export const NO_ANSWER = -1;

assert(KEPT_BYTES >= 2 * (DATAGRAM_BYTES_MAX + LENGTH_BYTES), 'any answer fits, whatever lies before it');

export class KeptAnswers {
  readonly region: Region = allocateRegion(KEPT_BYTES);
  /** The place behind the newest answer. */
  #end = 0;

  /** A place for an answer, a multiple of 8 bytes, which its owner writes at wordOf(place). */
  reserve(byteCount: number): number {
    const at = this.#end % KEPT_BYTES;
    const takenBytes = LENGTH_BYTES + byteCount;
    // An answer lies in one piece.
    const place = at + takenBytes > KEPT_BYTES ? this.#end + KEPT_BYTES - at : this.#end;
    this.#end = place + takenBytes;
    this.region.words[(place % KEPT_BYTES) >> 2] = byteCount;
    return place;
  }

  wordOf(place: number): number {
    return ((place % KEPT_BYTES) + LENGTH_BYTES) >> 2;
  }

  /** Bytes of the answer at this place; 0 when it has given way. */
  bytesAt(place: number): number {
    if (place === NO_ANSWER || place < this.#end - KEPT_BYTES) return 0;
    return this.region.words[(place % KEPT_BYTES) >> 2]!;
  }

  copy(place: number, words: Int32Array, word: number): void {
    copyWords(words, word, this.region.words, this.wordOf(place), this.bytesAt(place) >> 2);
  }
}
