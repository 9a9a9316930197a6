/**
 * Jobs between submit and drain: rings of parallel columns, preallocated. They grow only when more jobs are under way
 * than ever before; the callers' own tables bound that number.
 */
import type { Region } from '../net/bytes.ts';
import { allocateRegion } from '../net/bytes.ts';
import type { KeyHandle } from '../net/sealing.ts';

export const SEAL = 0;
export const OPEN = 1;
export type JobKind = typeof SEAL | typeof OPEN;

/** Larger than the messages of one loop turn at 256 outstanding operations. */
const JOBS_INITIAL = 512;

const NO_BYTES = new Uint8Array(0);
const NO_WORDS = new Int32Array(0);
const NO_REGION = allocateRegion(0);

/** First slot, count and capacity of a ring; the columns belong to the classes below. */
abstract class Ring {
  /** Slot of the job that was pushed first. */
  first = 0;
  count = 0;
  protected capacity: number;

  /** @param capacity A power of two. */
  constructor(capacity = JOBS_INITIAL) {
    this.capacity = capacity;
  }

  protected abstract widen(): void;

  /** The slot of a new job, behind all others. */
  protected claim(): number {
    if (this.count === this.capacity) {
      this.widen();
      this.first = 0;
      this.capacity *= 2;
    }
    const slot = (this.first + this.count) & (this.capacity - 1);
    this.count++;
    return slot;
  }

  protected advance(): void {
    this.first = (this.first + 1) & (this.capacity - 1);
    this.count--;
  }
}

export class DatagramJobs extends Ring {
  kinds = new Uint8Array(this.capacity);
  tokens = new Float64Array(this.capacity);
  keys = new Int32Array(this.capacity);
  packetNumbers = new Float64Array(this.capacity);
  packets: Uint8Array[] = new Array<Uint8Array>(this.capacity).fill(NO_BYTES);
  controlOffsets = new Int32Array(this.capacity);
  controls: Uint8Array[] = new Array<Uint8Array>(this.capacity).fill(NO_BYTES);
  controlBytes = new Int32Array(this.capacity);

  push(
    kind: JobKind,
    token: number,
    key: KeyHandle,
    packetNumber: number,
    packet: Uint8Array,
    controlOffset: number,
    control: Uint8Array,
    controlBytes: number,
  ): void {
    const slot = this.claim();
    this.kinds[slot] = kind;
    this.tokens[slot] = token;
    this.keys[slot] = key;
    this.packetNumbers[slot] = packetNumber;
    this.packets[slot] = packet;
    this.controlOffsets[slot] = controlOffset;
    this.controls[slot] = control;
    this.controlBytes[slot] = controlBytes;
  }

  /** Lets go of the first job and of the buffers it names. */
  shift(): void {
    this.packets[this.first] = NO_BYTES;
    this.controls[this.first] = NO_BYTES;
    this.advance();
  }

  clear(): void {
    while (this.count > 0) this.shift();
  }

  protected override widen(): void {
    const count = this.capacity * 2;
    this.kinds = unrolled(this.kinds, new Uint8Array(count), this.first);
    this.tokens = unrolled(this.tokens, new Float64Array(count), this.first);
    this.keys = unrolled(this.keys, new Int32Array(count), this.first);
    this.packetNumbers = unrolled(this.packetNumbers, new Float64Array(count), this.first);
    this.packets = unrolledList(this.packets, NO_BYTES, this.first);
    this.controlOffsets = unrolled(this.controlOffsets, new Int32Array(count), this.first);
    this.controls = unrolledList(this.controls, NO_BYTES, this.first);
    this.controlBytes = unrolled(this.controlBytes, new Int32Array(count), this.first);
  }
}

export class ValueJobs extends Ring {
  kinds = new Uint8Array(this.capacity);
  tokens = new Float64Array(this.capacity);
  /** Of seals. */
  nonces = new Float64Array(this.capacity);
  envelopes: Region[] = new Array<Region>(this.capacity).fill(NO_REGION);
  envelopeWords = new Int32Array(this.capacity);
  envelopeBytes = new Int32Array(this.capacity);
  tags: Int32Array[] = new Array<Int32Array>(this.capacity).fill(NO_WORDS);
  tagWords = new Int32Array(this.capacity);
  keys: Int32Array[] = new Array<Int32Array>(this.capacity).fill(NO_WORDS);
  keyWords = new Int32Array(this.capacity);
  keyBytes = new Int32Array(this.capacity);

  push(
    kind: JobKind,
    token: number,
    nonce: number,
    envelope: Region,
    envelopeWord: number,
    envelopeBytes: number,
    tag: Int32Array,
    tagWord: number,
    key: Int32Array,
    keyWord: number,
    keyBytes: number,
  ): void {
    const slot = this.claim();
    this.kinds[slot] = kind;
    this.tokens[slot] = token;
    this.nonces[slot] = nonce;
    this.envelopes[slot] = envelope;
    this.envelopeWords[slot] = envelopeWord;
    this.envelopeBytes[slot] = envelopeBytes;
    this.tags[slot] = tag;
    this.tagWords[slot] = tagWord;
    this.keys[slot] = key;
    this.keyWords[slot] = keyWord;
    this.keyBytes[slot] = keyBytes;
  }

  shift(): void {
    this.envelopes[this.first] = NO_REGION;
    this.tags[this.first] = NO_WORDS;
    this.keys[this.first] = NO_WORDS;
    this.advance();
  }

  clear(): void {
    while (this.count > 0) this.shift();
  }

  protected override widen(): void {
    const count = this.capacity * 2;
    this.kinds = unrolled(this.kinds, new Uint8Array(count), this.first);
    this.tokens = unrolled(this.tokens, new Float64Array(count), this.first);
    this.nonces = unrolled(this.nonces, new Float64Array(count), this.first);
    this.envelopes = unrolledList(this.envelopes, NO_REGION, this.first);
    this.envelopeWords = unrolled(this.envelopeWords, new Int32Array(count), this.first);
    this.envelopeBytes = unrolled(this.envelopeBytes, new Int32Array(count), this.first);
    this.tags = unrolledList(this.tags, NO_WORDS, this.first);
    this.tagWords = unrolled(this.tagWords, new Int32Array(count), this.first);
    this.keys = unrolledList(this.keys, NO_WORDS, this.first);
    this.keyWords = unrolled(this.keyWords, new Int32Array(count), this.first);
    this.keyBytes = unrolled(this.keyBytes, new Int32Array(count), this.first);
  }
}

/** The full column in `wider`, its first job at slot 0. */
function unrolled<Column extends Uint8Array | Int32Array | Float64Array>(
  column: Column,
  wider: Column,
  first: number,
): Column {
  wider.set(column.subarray(first));
  wider.set(column.subarray(0, first), column.length - first);
  return wider;
}

function unrolledList<Item>(column: Item[], none: Item, first: number): Item[] {
  return [...column.slice(first), ...column.slice(0, first), ...new Array<Item>(column.length).fill(none)];
}
