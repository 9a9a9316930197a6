/// <reference lib="es2024.sharedmemory" />
/**
 * The memory that loop and workers share: for each job a record and room for its result, for each worker a ring of jobs.
 * Nothing else passes between the threads on the way of a job; docs/workers.md says who owns what when.
 *
 *     records   what is to be done with which bytes, under which key; written by the loop, the result by the worker
 *     staging   blocks in which a result grows before it is put into its place, and copies of what workers can't see
 *     seats     one a worker: a ring of jobs handed over, a count of those handed over, and one of those done
 *
 * It holds keys and clear text: it is trusted memory of the process and paid for from the budget.
 */
import { assert } from '../net/assert.ts';
import { regionOf } from '../net/bytes.ts';
import { ASSOCIATED_KEY_BYTES_MAX, SEALED_VALUE_BYTES_MAX, VALUE_CHUNK_BYTES } from './sealing.ts';
import { AEAD_KEY_BYTES, AEAD_NONCE_BYTES, AEAD_TAG_BYTES, eraseBytes } from './sodium.ts';
import { WORKERS_MAX } from './worker-count.ts';

/**
 * Jobs under way at once, of all workers; a power of two. A worker does a job in 20 to 700 us and the loop comes by at
 * least as often, so that a few a worker would do; the rest is for bursts. What finds no record is done inline.
 */
export const JOB_COUNT = 64;

/** Staging: 4 MiB, so that a few of the largest values or 50 of the largest datagrams are under way at once. */
export const STAGING_BLOCK_BYTES = 16_384;
export const STAGING_BLOCK_COUNT = 256;
const STAGING_BYTES = STAGING_BLOCK_BYTES * STAGING_BLOCK_COUNT;

/** A value is sealed in pieces: its chunks, or itself when it is short. */
export const VALUE_PIECES_MAX = SEALED_VALUE_BYTES_MAX / VALUE_CHUNK_BYTES;

// -- global words, each on a cache line of its own --------------------------------------------------------------------

const LINE_WORDS = 16;
/** Grows with each job that is done. */
const BELL = 0;
/** 1: the loop sleeps and wants to be woken by the next job that is done. */
const ARMED = LINE_WORDS;
/** 1: workers end after the job under way. */
const CLOSING = LINE_WORDS * 2;
const SEATS = LINE_WORDS * 3;

// -- seats ------------------------------------------------------------------------------------------------------------

/** Counts that only grow, modulo 2^32. Jobs handed over are counted by the loop, those done by who does them. */
const SEAT_HANDED_OVER = 0;
const SEAT_DONE = LINE_WORDS;
/** Grows with each job handed over, and when the worker is to end: what a worker sleeps on. */
const SEAT_DOORBELL = LINE_WORDS * 2;
const SEAT_RUNNING = SEAT_DOORBELL + 1;
const SEAT_RING = LINE_WORDS * 3;
const SEAT_WORDS = SEAT_RING + JOB_COUNT;

// -- records ----------------------------------------------------------------------------------------------------------

/** States of a job, in their order. */
export const JOB_HANDED_OVER = 0;
/** A worker has begun: what the job reads is still whole. */
export const JOB_TAKEN = 1;
/** The commit point: the whole result lies in the staging; only now may what the job read be overwritten. */
export const JOB_STAGED = 2;
export const JOB_DONE = 3;

export const SEAL_DATAGRAM = 0;
export const OPEN_DATAGRAM = 1;
export const SEAL_VALUE = 2;
export const OPEN_VALUE = 3;
export type JobKind = typeof SEAL_DATAGRAM | typeof OPEN_DATAGRAM | typeof SEAL_VALUE | typeof OPEN_VALUE;

/** Words of a record. A place is an arena, a first byte in it and a length; arena 0 is this memory. */
const JOB_STATE = 0;
export const JOB_KIND = 1;
/** Of datagrams: index in SECURITY_MODES, and where the control part begins. */
export const JOB_MODE = 2;
export const JOB_CONTROL_OFFSET = 3;
/** 1: all tags fitted. */
export const JOB_OPENED = 4;
export const JOB_SOURCE = 5;
export const JOB_TARGET = JOB_SOURCE + 3;
/** Of values: bytes of the key of the pair. */
export const JOB_ASSOCIATED_BYTES = JOB_TARGET + 3;
/** Packet number (two words), or nonce of a value's first piece (three words). */
const JOB_NUMBER = JOB_ASSOCIATED_BYTES + 1;
const JOB_KEY = JOB_NUMBER + AEAD_NONCE_BYTES / 4;
/** Of values: the tag of each piece. */
const JOB_TAGS = JOB_KEY + AEAD_KEY_BYTES / 4;
const JOB_ASSOCIATED = JOB_TAGS + VALUE_PIECES_MAX * (AEAD_TAG_BYTES / 4);
const JOB_WORDS = 544;
assert(JOB_ASSOCIATED + ASSOCIATED_KEY_BYTES_MAX / 4 <= JOB_WORDS, 'a record has room for the longest key');
assert(JOB_WORDS % LINE_WORDS === 0, 'no two records share a cache line');
assert((JOB_COUNT & (JOB_COUNT - 1)) === 0, 'ring positions are masked');

/** Of a place. */
const PLACE_ARENA = 0;
const PLACE_BYTE = 1;
const PLACE_BYTES = 2;

export class JobMemory {
  readonly buffer: SharedArrayBuffer;
  readonly words: Int32Array;
  readonly bytes: Uint8Array;
  readonly workerCount: number;
  readonly #keys: readonly Uint8Array[];

  constructor(workerCount: number, buffer?: SharedArrayBuffer) {
    assert(workerCount >= 1 && workerCount <= WORKERS_MAX, 'a pool has 1 to 64 workers');
    this.workerCount = workerCount;
    this.buffer = buffer ?? new SharedArrayBuffer(JobMemory.bytesFor(workerCount));
    const { words, bytes } = regionOf(this.buffer);
    this.words = words;
    this.bytes = bytes;
    this.#keys = Array.from({ length: JOB_COUNT }, (_, job) => this.#part(job, JOB_KEY, AEAD_KEY_BYTES));
  }

  static bytesFor(workerCount: number): number {
    return (SEATS + workerCount * SEAT_WORDS + JOB_COUNT * JOB_WORDS) * 4 + STAGING_BYTES;
  }

  // -- records --------------------------------------------------------------------------------------------------------

  /** First word of a job's record. */
  record(job: number): number {
    return SEATS + this.workerCount * SEAT_WORDS + job * JOB_WORDS;
  }

  get trustedBytes(): number {
    return this.buffer.byteLength;
  }

  state(job: number): number {
    return Atomics.load(this.words, this.record(job) + JOB_STATE);
  }

  setState(job: number, state: number): void {
    Atomics.store(this.words, this.record(job) + JOB_STATE, state);
  }

  /** Copied in by the loop for this job, overwritten when the job is given back. */
  key(job: number): Uint8Array {
    return this.#keys[job]!;
  }

  eraseKey(job: number): void {
    eraseBytes(this.#keys[job]!);
  }

  /** The words of a job's packet number or nonce, and of its pieces' tags, begin here. */
  numberWord(job: number): number {
    return this.record(job) + JOB_NUMBER;
  }

  tagsWord(job: number): number {
    return this.record(job) + JOB_TAGS;
  }

  tags(job: number): Uint8Array {
    return this.#part(job, JOB_TAGS, VALUE_PIECES_MAX * AEAD_TAG_BYTES);
  }

  /** Associated data of a value: the key of the pair. */
  associatedWord(job: number): number {
    return this.record(job) + JOB_ASSOCIATED;
  }

  associated(job: number): Uint8Array {
    return this.#part(job, JOB_ASSOCIATED, this.words[this.record(job) + JOB_ASSOCIATED_BYTES]!);
  }

  setPlace(job: number, place: number, arena: number, byte: number, byteCount: number): void {
    const word = this.record(job) + place;
    this.words[word + PLACE_ARENA] = arena;
    this.words[word + PLACE_BYTE] = byte;
    this.words[word + PLACE_BYTES] = byteCount;
  }

  /** Of JOB_SOURCE or JOB_TARGET. */
  arenaOf(job: number, place: number): number {
    return this.words[this.record(job) + place + PLACE_ARENA]!;
  }

  byteOf(job: number, place: number): number {
    return this.words[this.record(job) + place + PLACE_BYTE]!;
  }

  bytesOf(job: number, place: number): number {
    return this.words[this.record(job) + place + PLACE_BYTES]!;
  }

  field(job: number, field: number): number {
    return this.words[this.record(job) + field]!;
  }

  setField(job: number, field: number, value: number): void {
    this.words[this.record(job) + field] = value;
  }

  #part(job: number, word: number, byteCount: number): Uint8Array {
    return new Uint8Array(this.buffer, (this.record(job) + word) * 4, byteCount);
  }

  // -- staging --------------------------------------------------------------------------------------------------------

  stagingByte(block: number): number {
    return this.buffer.byteLength - STAGING_BYTES + block * STAGING_BLOCK_BYTES;
  }

  // -- seats ----------------------------------------------------------------------------------------------------------

  handedOver(seat: number): number {
    return Atomics.load(this.words, this.#seat(seat) + SEAT_HANDED_OVER);
  }

  /** The loop's: puts a job behind the others of the seat and wakes its worker if that sleeps. */
  handOver(seat: number, job: number): void {
    const word = this.#seat(seat);
    const position = this.words[word + SEAT_HANDED_OVER]!;
    this.setState(job, JOB_HANDED_OVER);
    this.words[word + SEAT_RING + (position & (JOB_COUNT - 1))] = job;
    Atomics.store(this.words, word + SEAT_HANDED_OVER, (position + 1) | 0);
    this.#ringDoor(seat);
  }

  /** The job at a position of the seat's ring. */
  jobAt(seat: number, position: number): number {
    return this.words[this.#seat(seat) + SEAT_RING + (position & (JOB_COUNT - 1))]!;
  }

  done(seat: number): number {
    return Atomics.load(this.words, this.#seat(seat) + SEAT_DONE);
  }

  setDone(seat: number, count: number): void {
    Atomics.store(this.words, this.#seat(seat) + SEAT_DONE, count);
  }

  /** To be read before the worker looks for jobs: sleepAtDoor() returns at once when it has changed since. */
  doorbell(seat: number): number {
    return Atomics.load(this.words, this.#seat(seat) + SEAT_DOORBELL);
  }

  sleepAtDoor(seat: number, doorbell: number, timeoutMs: number): void {
    Atomics.wait(this.words, this.#seat(seat) + SEAT_DOORBELL, doorbell, timeoutMs);
  }

  isRunning(seat: number): boolean {
    return Atomics.load(this.words, this.#seat(seat) + SEAT_RUNNING) === 1;
  }

  setRunning(seat: number, isRunning: boolean): void {
    Atomics.store(this.words, this.#seat(seat) + SEAT_RUNNING, isRunning ? 1 : 0);
  }

  // -- bell -----------------------------------------------------------------------------------------------------------

  get bell(): number {
    return Atomics.load(this.words, BELL);
  }

  /** Something is done: wakes the loop when it sleeps. One wake for all that is done until it looks. */
  ring(): void {
    Atomics.add(this.words, BELL, 1);
    this.wakeLoop();
  }

  wakeLoop(): void {
    if (Atomics.exchange(this.words, ARMED, 0) === 1) Atomics.notify(this.words, BELL);
  }

  /** The next ring wakes the loop. */
  arm(): void {
    Atomics.store(this.words, ARMED, 1);
  }

  /** False when the bell is another than `seen`: then nobody will wake. */
  awaitBell(seen: number): false | Promise<unknown> {
    const waiting = Atomics.waitAsync(this.words, BELL, seen);
    return waiting.async ? waiting.value : false;
  }

  // -- end ------------------------------------------------------------------------------------------------------------

  get isClosing(): boolean {
    return Atomics.load(this.words, CLOSING) === 1;
  }

  /** Tells the workers to end. */
  closeSeats(): void {
    Atomics.store(this.words, CLOSING, 1);
    for (let seat = 0; seat < this.workerCount; seat++) this.#ringDoor(seat);
  }

  /** Overwrites keys and staging. */
  erase(): void {
    eraseBytes(this.bytes);
  }

  #ringDoor(seat: number): void {
    const word = this.#seat(seat) + SEAT_DOORBELL;
    Atomics.add(this.words, word, 1);
    Atomics.notify(this.words, word);
  }

  #seat(seat: number): number {
    return SEATS + seat * SEAT_WORDS;
  }
}
