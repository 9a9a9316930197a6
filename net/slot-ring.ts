import { assert } from './assert.ts';
import type { Region } from './bytes.ts';
import { alignUp, regionOf } from './bytes.ts';

/**
 * Slots of a power of two would begin in the same sets of the processor's caches, and push each other out: a cache line
 * between them spreads them (measured in plaintext: 0.98 of the CPU time an operation).
 */
const SLOT_GAP_BYTES = 64;

/**
 * Preallocated outgoing datagrams. Each slot has a packet (header, value part, later the sealed control part and tag)
 * and a staging area in which the control part grows in clear. Owners in turn: the session that fills it, the sealing,
 * the transport; release() ends the round.
 */
export class SlotRing {
  readonly slotCount: number;
  readonly packetBytes: number;
  readonly #packets: Region[] = [];
  readonly #controls: Region[] = [];
  readonly #free: Int32Array;
  #freeCount: number;
  readonly #taken: Uint8Array;

  /** @param isShared Other threads of the process may be given to see it. */
  constructor(slotCount: number, packetBytes: number, isShared = false) {
    this.slotCount = slotCount;
    this.packetBytes = packetBytes;
    this.#free = new Int32Array(slotCount);
    this.#taken = new Uint8Array(slotCount);
    this.#freeCount = slotCount;
    const slotBytes = alignUp(packetBytes);
    const strideBytes = slotBytes + SLOT_GAP_BYTES;
    const ringBytes = slotCount * strideBytes;
    const packets = isShared ? new SharedArrayBuffer(ringBytes) : new ArrayBuffer(ringBytes);
    const controls = isShared ? new SharedArrayBuffer(ringBytes) : new ArrayBuffer(ringBytes);
    for (let slot = 0; slot < slotCount; slot++) {
      this.#packets.push(regionOf(packets, slot * strideBytes, slotBytes));
      this.#controls.push(regionOf(controls, slot * strideBytes, slotBytes));
      this.#free[slot] = slotCount - 1 - slot;
    }
  }

  get freeCount(): number {
    return this.#freeCount;
  }

  /** Bytes held by control staging: clear text of messages, trusted memory. */
  get trustedBytes(): number {
    return this.slotCount * alignUp(this.packetBytes);
  }

  /** A free slot, or -1. */
  take(): number {
    if (this.#freeCount === 0) return -1;
    const slot = this.#free[--this.#freeCount]!;
    this.#taken[slot] = 1;
    return slot;
  }

  release(slot: number): void {
    assert(this.#taken[slot] === 1, 'a slot is released once, by its owner');
    this.#taken[slot] = 0;
    this.#free[this.#freeCount++] = slot;
  }

  packet(slot: number): Region {
    return this.#packets[slot]!;
  }

  control(slot: number): Region {
    return this.#controls[slot]!;
  }

  invariants(): void {
    const seen = new Set<number>();
    for (let i = 0; i < this.#freeCount; i++) {
      const slot = this.#free[i]!;
      assert(!seen.has(slot), 'a free slot is listed once');
      assert(this.#taken[slot] === 0, 'a free slot is not taken');
      seen.add(slot);
    }
    assert(
      seen.size + this.#taken.reduce((sum, taken) => sum + taken, 0) === this.slotCount,
      'each slot is free or taken',
    );
  }
}
