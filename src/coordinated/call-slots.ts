import { assert } from '../../net/assert.ts';
import type { Region } from '../../net/bytes.ts';
import { alignUp, copyWords } from '../../net/bytes.ts';
import { KEY_BYTES_MAX, writeHead } from '../protocol/messages.ts';
import {
  MESSAGE_CALL,
  WORD_CALL_ATTEMPT,
  WORD_CALL_DEADLINE_MS,
  WORD_CALL_KEY,
  WORD_CALL_KEY_BYTES,
  WORD_CALL_STREAM,
  WORD_CALL_VALUE_BYTES,
  isReadOnly,
} from '../protocol/call-messages.ts';
import { MESSAGE_CALL_PART, WORD_CALL_PART, callPartLengthBytes } from '../protocol/call-part-messages.ts';
import { callRmwBytesOf, placeCallRmw } from '../protocol/call-rmw.ts';
import type { RmwRequest } from '../protocol/rmw-request.ts';
import { memberCountOf } from '../protocol/quorum.ts';
import type { HostMemory } from '../store/host-memory.ts';
import { NO_REF } from '../store/host-memory.ts';

/** Of the field. */
const DEADLINE_MS_MAX = 2 ** 32 - 1;

/** A client's calls under way, one typed array a field, preallocated. A slot's generation grows with each call in it. */
export class CallSlots {
  readonly capacity: number;
  /** CALL_* of call-messages.ts. */
  readonly kind: Uint8Array;
  readonly token: Float64Array;
  readonly generation: Int32Array;
  /** Grows with each call that the slot holds, as the caller counts them: slot and serial name it to its owner. */
  readonly serial: Uint32Array;
  readonly keyBytes: Int32Array;
  readonly valueBytes: Int32Array;
  readonly deadlineMs: Float64Array;
  /** Members that have the call in this generation and may carry it out. One at most, unless it is a get. */
  readonly asked: Uint8Array;
  /** The latest of them, the stream that it was sent in, and when it was sent to it first. */
  readonly member: Int8Array;
  readonly stream: Uint32Array;
  readonly sentMs: Float64Array;
  /** When it was sent first in this generation, and how often since. */
  readonly firstMs: Float64Array;
  readonly attempt: Uint8Array;
  /** Members that said they were busy, since all were; and how often all were. */
  readonly busy: Uint8Array;
  readonly busyCount: Uint8Array;
  /** Time of the turn: kept here, as a fraction that is passed on is an object on the heap. */
  nowMs = 0;
  readonly #taken: Uint8Array;
  /** Key and value, each padded with zeros, and what a read-modify-write has behind them, in one block. */
  readonly #bodyRef: Int32Array;
  readonly #bodyBytes: Int32Array;
  readonly #memory: HostMemory;
  readonly #free: Int32Array;
  #freeCount: number;

  constructor(capacity: number, memory: HostMemory) {
    this.capacity = capacity;
    this.#memory = memory;
    this.kind = new Uint8Array(capacity);
    this.token = new Float64Array(capacity);
    this.generation = new Int32Array(capacity);
    this.serial = new Uint32Array(capacity);
    this.keyBytes = new Int32Array(capacity);
    this.valueBytes = new Int32Array(capacity);
    this.deadlineMs = new Float64Array(capacity);
    this.asked = new Uint8Array(capacity);
    this.member = new Int8Array(capacity);
    this.stream = new Uint32Array(capacity);
    this.sentMs = new Float64Array(capacity);
    this.firstMs = new Float64Array(capacity);
    this.attempt = new Uint8Array(capacity);
    this.busy = new Uint8Array(capacity);
    this.busyCount = new Uint8Array(capacity);
    this.#taken = new Uint8Array(capacity);
    this.#bodyRef = new Int32Array(capacity).fill(NO_REF);
    this.#bodyBytes = new Int32Array(capacity);
    this.#free = Int32Array.from({ length: capacity }, (_, i) => capacity - 1 - i);
    this.#freeCount = capacity;
  }

  get active(): number {
    return this.capacity - this.#freeCount;
  }

  isTaken(slot: number): boolean {
    return this.#taken[slot] === 1;
  }

  /** Some member may carry it out. */
  isSent(slot: number): boolean {
    return this.asked[slot] !== 0;
  }

  /** A slot for a call that has so long, or -1 when table or memory is full. */
  take(
    kind: number,
    token: number,
    key: Uint8Array,
    value: Uint8Array,
    request: RmwRequest | undefined,
    deadlineMs: number,
  ): number {
    assert(key.length >= 1 && key.length <= KEY_BYTES_MAX, 'keys have 1 to 1,024 bytes');
    if (this.#freeCount === 0) return -1;
    const keyedBytes = alignUp(key.length) + alignUp(value.length);
    const bodyBytes = keyedBytes + (request === undefined ? 0 : callRmwBytesOf(request));
    const bodyRef = this.#memory.allocate(bodyBytes);
    if (bodyRef === NO_REF) return -1;
    const slot = this.#free[--this.#freeCount]!;
    const region = this.#memory.region(bodyRef);
    const keyWord = this.#memory.wordOffset(bodyRef);
    const valueWord = keyWord + (alignUp(key.length) >> 2);
    placePadded(region, keyWord, key);
    if (value.length > 0) placePadded(region, valueWord, value);
    if (request !== undefined) placeCallRmw(region, keyWord + (keyedBytes >> 2), request);
    this.#bodyRef[slot] = bodyRef;
    this.#bodyBytes[slot] = bodyBytes;
    this.#taken[slot] = 1;
    this.kind[slot] = kind;
    this.token[slot] = token;
    this.serial[slot]! += 1;
    this.keyBytes[slot] = key.length;
    this.valueBytes[slot] = value.length;
    this.deadlineMs[slot] = this.nowMs + deadlineMs;
    this.busyCount[slot] = 0;
    this.busy[slot] = 0;
    this.renew(slot);
    return slot;
  }

  /** Another generation: what was sent in the one before can't be carried out any more. */
  renew(slot: number): void {
    this.generation[slot] = (this.generation[slot]! + 1) | 0;
    this.asked[slot] = 0;
    this.attempt[slot] = 0;
  }

  release(slot: number): void {
    this.#memory.free(this.#bodyRef[slot]!);
    this.#bodyRef[slot] = NO_REF;
    this.#taken[slot] = 0;
    this.asked[slot] = 0;
    this.#free[this.#freeCount++] = slot;
  }

  /** What a CALL has behind its head. */
  bodyBytes(slot: number): number {
    return this.#bodyBytes[slot]!;
  }

  /** The CALL, of CALL_BYTES + bodyBytes. */
  write(slot: number, words: Int32Array, word: number, stream: number): void {
    this.#writeHead(slot, MESSAGE_CALL, words, word, stream, 0);
    this.#copyBody(slot, words, word, 0, this.bodyBytes(slot));
  }

  /** A CALL_PART, of CALL_PART_BYTES + callPartLengthBytes(). */
  writePart(slot: number, words: Int32Array, word: number, stream: number, partIndex: number, partBytes: number): void {
    this.#writeHead(slot, MESSAGE_CALL_PART, words, word, stream, partIndex | ((partBytes / 8) << 16));
    const lengthBytes = callPartLengthBytes(partIndex, partBytes, this.bodyBytes(slot));
    this.#copyBody(slot, words, word, partIndex * partBytes, lengthBytes);
  }

  #writeHead(slot: number, type: number, words: Int32Array, word: number, stream: number, part: number): void {
    writeHead(words, word, type, this.kind[slot]!, slot, this.generation[slot]!);
    words[word + WORD_CALL_KEY_BYTES] = this.keyBytes[slot]!;
    words[word + WORD_CALL_VALUE_BYTES] = this.valueBytes[slot]!;
    words[word + WORD_CALL_STREAM] = stream;
    const leftMs = Math.ceil(this.deadlineMs[slot]! - this.nowMs);
    words[word + WORD_CALL_DEADLINE_MS] = Math.min(Math.max(leftMs, 1), DEADLINE_MS_MAX);
    words[word + WORD_CALL_ATTEMPT] = this.attempt[slot]!;
    words[word + WORD_CALL_PART] = part;
  }

  #copyBody(slot: number, words: Int32Array, word: number, byteOffset: number, byteCount: number): void {
    const ref = this.#bodyRef[slot]!;
    const { words: body } = this.#memory.region(ref);
    const bodyWord = this.#memory.wordOffset(ref) + (byteOffset >> 2);
    copyWords(words, word + WORD_CALL_KEY, body, bodyWord, byteCount >> 2);
  }

  invariants(): void {
    let takenCount = 0;
    for (let slot = 0; slot < this.capacity; slot++) {
      if (!this.isTaken(slot)) assert(this.asked[slot] === 0, 'nobody is asked for a call that has ended');
      else {
        takenCount++;
        if (!isReadOnly(this.kind[slot]!)) {
          assert(memberCountOf(this.asked[slot]!) <= 1, 'a write is with one replica at most');
        }
      }
    }
    assert(takenCount === this.active, 'slots are free or taken');
  }
}

function placePadded(region: Region, word: number, bytes: Uint8Array): void {
  const lastWord = word + (alignUp(bytes.length) >> 2) - 1;
  region.words[lastWord] = 0;
  region.words[lastWord - 1] = 0;
  region.bytes.set(bytes, word * 4);
}
