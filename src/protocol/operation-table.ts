import { assert } from '../../net/assert.ts';
import type { Region } from '../../net/bytes.ts';
import { alignUp, copyWords } from '../../net/bytes.ts';
import { NO_REF } from '../store/host-memory.ts';
import type { HostMemory } from '../store/host-memory.ts';
import { compareKeys } from '../store/key-order.ts';

/**
 * Operations in flight, one typed array a field, preallocated. A slot's generation grows with each phase, so that
 * slot + generation names a phase of an operation among all that this process ever ran (32 bits: a session lives
 * 180 s, so no answer is old enough to meet its generation again).
 */
export const PHASE_FREE = 0;
/** get: stamps of a quorum, the value of one. */
export const PHASE_READ = 1;
/** get: the newest stamp is known, its value is asked for. */
export const PHASE_FETCH = 2;
/** get: the value is at the sealing, to be checked. */
export const PHASE_OPEN = 3;
/** get: the newest value is written back until a quorum holds it. */
export const PHASE_WRITE_BACK = 4;
/** put, delete: the greatest counter of a quorum. */
export const PHASE_STAMP = 5;
/** put: the counter is known, the value not sealed yet. */
export const PHASE_SEAL = 6;
/** put, delete: sent to all, until a quorum has acknowledged. */
export const PHASE_WRITE = 7;
/** Ended while the sealing still holds its buffers. */
export const PHASE_ENDED = 8;
/** get, read-modify-write: a value is larger than a datagram, and is asked for by parts. */
export const PHASE_PULL = 9;
/** Ended for its caller, while the rest of a large value still goes to members that are about to have it whole. */
export const PHASE_SPREAD = 10;

/** scan: keys and stamps of a quorum (scan-flow.ts). */
export const PHASE_SCAN = 11;
/** scan: the gets of its page are under way. */
export const PHASE_SCAN_READS = 12;

/** get: a replica is asked to see to it that a quorum holds the newest value, which this client may not write back. */
export const PHASE_RESOLVE = 13;

/** Phases of a read-modify-write (rmw-flow.ts): all from this one on. A slot's promises are gathered. */
export const PHASE_PREPARE = 32;
/** The value under the newest stamp is asked of who has it. */
export const PHASE_RMW_FETCH = 33;
/** A value is at the sealing, to be opened. */
export const PHASE_RMW_OPEN = 34;
/** The new value is at the sealing. */
export const PHASE_RMW_SEAL = 35;
/** A proposal is sent to all, until a quorum has accepted it. */
export const PHASE_ACCEPT = 36;
/** What is decided goes to members that may lack it. */
export const PHASE_COMMIT = 37;
/** Another coordinator was in the way: some time passes. */
export const PHASE_BACK_OFF = 38;

export const OPERATION_GET = 0;
export const OPERATION_PUT = 1;
export const OPERATION_DELETE = 2;
export const OPERATION_RMW = 8;
/** Operations that are not told to the sink: a page of a scan, and a get of one of its keys. */
export const OPERATION_SCAN = 32;
export const OPERATION_SCAN_READ = 33;

export const NO_MEMBER = -1;

const TAG_WORDS = 4;

/** The value of a proposal, and what names it (rmw-operation.ts). */
export interface StagedValue {
  readonly words: Int32Array;
  readonly region: Region | undefined;
  readonly word: number;
  readonly envelopeBytes: number;
}

export class OperationTable {
  readonly capacity: number;
  readonly phase: Uint8Array;
  readonly kind: Uint8Array;
  readonly generation: Int32Array;
  readonly token: Float64Array;
  /** Grows with each operation that the slot holds: slot and serial name an operation to its owner. */
  readonly serial: Uint32Array;
  /** Epoch of the phase. */
  readonly epoch: Float64Array;

  /** The key, padded with zeros, in a block of `memory`. */
  readonly keyRef: Int32Array;
  readonly keyBytes: Int32Array;
  /**
   * Where the envelope lies, if there is one: in an own block of `memory` (a put's, or a get's that comes by parts), or in
   * the datagram that brought it (a get's), which lives as long as it is kept here. Copying it instead costs 3 % of a get.
   */
  readonly envelopeRegion: (Region | undefined)[];
  readonly envelopeWord: Int32Array;
  readonly envelopeBytes: Int32Array;
  readonly #envelopeRef: Int32Array;
  /** What goes to members by parts instead of the envelope: the value of a proposal. */
  readonly staged: (StagedValue | undefined)[];

  /** get: the newest stamp met; put, delete: the own stamp from PHASE_WRITE on. */
  readonly counter: Float64Array;
  readonly writerHigh: Int32Array;
  readonly writerLow: Int32Array;
  readonly rmw: Int32Array;
  readonly tombstone: Uint8Array;
  readonly tags: Int32Array;

  /** Masks of members, of this phase unless said otherwise. */
  readonly asked: Uint8Array;
  readonly replied: Uint8Array;
  /** Members asked at the start of the phase, once: their answers are samples of the round trip. */
  readonly sampled: Uint8Array;
  /** get: members known to hold the newest stamp; it outlives phases. put: members that acknowledged. */
  readonly holders: Uint8Array;
  /** get: members whose copy did not open, over all phases since the last PHASE_READ. */
  readonly bad: Uint8Array;
  /** get: members that have an older value than the newest stamp's, over the same phases. */
  readonly lacking: Uint8Array;
  /** get: how often a last look was taken at members that lacked the value. */
  readonly rereads: Uint8Array;
  /** get: 1 when a replica has said that a quorum holds the newest stamp, or a greater one. */
  readonly resolved: Uint8Array;
  /** Members that refused the write. */
  readonly refused: Uint8Array;
  /** Flags of the latest refusal, when there is one. */
  readonly refusalFlags: Uint8Array;
  /** Members that were to be asked, when their sessions took nothing. */
  readonly unsent: Uint8Array;
  /** Members that the write goes to by parts. */
  readonly byParts: Uint8Array;
  /** 1 while write-parts.ts or pull-flow.ts has anything of the operation. */
  readonly movesByParts: Uint8Array;
  /** get: who is asked for the value, who sent it. */
  readonly valueMember: Int8Array;
  /** get: who may send parts unasked in this PHASE_READ; NO_MEMBER when nobody was granted that. */
  readonly grantMember: Int8Array;
  /** get: who has the newest value, which is larger than a datagram; NO_MEMBER when nobody has said so. */
  readonly partsMember: Int8Array;

  /** put: the value is sealed. */
  readonly sealed: Uint8Array;
  /** A job of this slot is at the sealing. */
  readonly jobPending: Uint8Array;

  readonly phaseMs: Float64Array;
  readonly deadlineMs: Float64Array;
  readonly attempt: Uint8Array;

  readonly memory: HostMemory;
  readonly #free: Int32Array;
  #freeCount: number;

  constructor(capacity: number, memory: HostMemory) {
    this.capacity = capacity;
    this.memory = memory;
    this.phase = new Uint8Array(capacity);
    this.kind = new Uint8Array(capacity);
    this.generation = new Int32Array(capacity);
    this.serial = new Uint32Array(capacity);
    this.epoch = new Float64Array(capacity);
    this.token = new Float64Array(capacity);
    this.keyRef = new Int32Array(capacity).fill(NO_REF);
    this.keyBytes = new Int32Array(capacity);
    this.envelopeRegion = Array.from<Region | undefined>({ length: capacity });
    this.envelopeWord = new Int32Array(capacity);
    this.envelopeBytes = new Int32Array(capacity);
    this.#envelopeRef = new Int32Array(capacity).fill(NO_REF);
    this.staged = Array.from<StagedValue | undefined>({ length: capacity });
    this.counter = new Float64Array(capacity);
    this.writerHigh = new Int32Array(capacity);
    this.writerLow = new Int32Array(capacity);
    this.rmw = new Int32Array(capacity);
    this.tombstone = new Uint8Array(capacity);
    this.tags = new Int32Array(capacity * TAG_WORDS);
    this.asked = new Uint8Array(capacity);
    this.replied = new Uint8Array(capacity);
    this.sampled = new Uint8Array(capacity);
    this.holders = new Uint8Array(capacity);
    this.bad = new Uint8Array(capacity);
    this.rereads = new Uint8Array(capacity);
    this.lacking = new Uint8Array(capacity);
    this.resolved = new Uint8Array(capacity);
    this.refused = new Uint8Array(capacity);
    this.refusalFlags = new Uint8Array(capacity);
    this.unsent = new Uint8Array(capacity);
    this.byParts = new Uint8Array(capacity);
    this.movesByParts = new Uint8Array(capacity);
    this.valueMember = new Int8Array(capacity);
    this.grantMember = new Int8Array(capacity);
    this.partsMember = new Int8Array(capacity);
    this.sealed = new Uint8Array(capacity);
    this.jobPending = new Uint8Array(capacity);
    this.phaseMs = new Float64Array(capacity);
    this.deadlineMs = new Float64Array(capacity);
    this.attempt = new Uint8Array(capacity);
    this.#free = new Int32Array(capacity);
    this.#freeCount = capacity;
    for (let slot = 0; slot < capacity; slot++) this.#free[slot] = capacity - 1 - slot;
  }

  get active(): number {
    return this.capacity - this.#freeCount;
  }

  /** A free slot, or -1. */
  take(): number {
    return this.#freeCount === 0 ? -1 : this.#free[--this.#freeCount]!;
  }

  /** Gives slot and blocks back. */
  release(slot: number): void {
    assert(this.jobPending[slot] === 0, 'no buffer is given back while the sealing holds it');
    this.memory.free(this.keyRef[slot]!);
    this.keyRef[slot] = NO_REF;
    this.dropEnvelope(slot);
    this.staged[slot] = undefined;
    this.phase[slot] = PHASE_FREE;
    this.unsent[slot] = 0;
    this.#free[this.#freeCount++] = slot;
  }

  /** The key, padded. */
  copyKey(slot: number, target: Int32Array, targetWord: number): void {
    const ref = this.keyRef[slot]!;
    const { memory } = this;
    const wordCount = alignUp(this.keyBytes[slot]!) >> 2;
    copyWords(target, targetWord, memory.region(ref).words, memory.wordOffset(ref), wordCount);
  }

  /** Of the key: 32-bit FNV-1a by words. Whoever chooses keys can make it the same for many. */
  keyHash(slot: number): number {
    const ref = this.keyRef[slot]!;
    const { words } = this.memory.region(ref);
    const start = this.memory.wordOffset(ref);
    const end = start + (alignUp(this.keyBytes[slot]!) >> 2);
    let hash = 0x811c9dc5 | 0;
    for (let word = start; word < end; word++) hash = Math.imul(hash ^ words[word]!, 0x01000193);
    return hash;
  }

  hasSameKey(slot: number, other: number): boolean {
    const keyBytes = this.keyBytes[slot]!;
    if (keyBytes !== this.keyBytes[other]) return false;
    const { memory } = this;
    const ref = this.keyRef[slot]!;
    const otherRef = this.keyRef[other]!;
    const { words } = memory.region(ref);
    const otherWords = memory.region(otherRef).words;
    const word = memory.wordOffset(ref);
    return compareKeys(words, word, keyBytes, otherWords, memory.wordOffset(otherRef), keyBytes) === 0;
  }

  hasEnvelope(slot: number): boolean {
    return this.envelopeRegion[slot] !== undefined;
  }

  /** An own block for an envelope: a put's, or one that comes by parts. False when the process's memory is at its limit. */
  allocateEnvelope(slot: number, envelopeBytes: number): boolean {
    const ref = this.memory.allocate(Math.max(envelopeBytes, 1));
    if (ref === NO_REF) return false;
    this.#envelopeRef[slot] = ref;
    this.envelopeRegion[slot] = this.memory.region(ref);
    this.envelopeWord[slot] = this.memory.wordOffset(ref);
    this.envelopeBytes[slot] = envelopeBytes;
    return true;
  }

  /** Keeps an envelope that arrived where it is, and a copy of its tag. */
  keepEnvelope(
    slot: number,
    datagram: Region,
    envelopeWord: number,
    envelopeBytes: number,
    tagWords: Int32Array,
    tagWord: number,
  ): void {
    this.dropEnvelope(slot);
    this.envelopeRegion[slot] = datagram;
    this.envelopeWord[slot] = envelopeWord;
    this.envelopeBytes[slot] = envelopeBytes;
    this.setTag(slot, tagWords, tagWord);
  }

  setTag(slot: number, tagWords: Int32Array, tagWord: number): void {
    for (let i = 0; i < TAG_WORDS; i++) this.tags[slot * TAG_WORDS + i] = tagWords[tagWord + i]!;
  }

  dropEnvelope(slot: number): void {
    this.envelopeRegion[slot] = undefined;
    const ref = this.#envelopeRef[slot]!;
    if (ref === NO_REF) return;
    this.memory.free(ref);
    this.#envelopeRef[slot] = NO_REF;
  }

  /** The envelope's own block, which is the caller's from now on; NO_REF when it has none. The envelope stays readable. */
  takeBlock(slot: number): number {
    const ref = this.#envelopeRef[slot]!;
    this.#envelopeRef[slot] = NO_REF;
    return ref;
  }

  tagWord(slot: number): number {
    return slot * TAG_WORDS;
  }

  tagEquals(slot: number, tagWords: Int32Array, tagWord: number): boolean {
    let difference = 0;
    for (let i = 0; i < TAG_WORDS; i++) difference |= this.tags[slot * TAG_WORDS + i]! ^ tagWords[tagWord + i]!;
    return difference === 0;
  }
}
