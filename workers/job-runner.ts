/**
 * Does one job of the shared memory: what a worker runs, and the loop for jobs of a worker that died. Two steps:
 *
 *     stage()   computes the whole result. What the job reads stays as it is: done again, it gives the same result.
 *               A datagram is sealed straight into its packet, since that is not what it is made from.
 *     place()   puts the result where it belongs, when that is where the clear text was: a value is sealed in place.
 *               Done again, it writes the same bytes.
 *
 * Between them the job is marked as staged. So a job can break off anywhere and be finished by another: before the mark
 * from its beginning, behind it from the staging. No clear text is lost, no ciphertext encrypted again, and of each nonce
 * one ciphertext only ever leaves the staging.
 */
import { assert } from '../net/assert.ts';
import { allocateRegion, readU53 } from '../net/bytes.ts';
import type { SecurityMode } from '../net/mode.ts';
import { SECURITY_MODES } from '../net/mode.ts';
import type { DatagramCipher } from './datagram-cipher.ts';
import { createDatagramCipher } from './datagram-cipher.ts';
import type { JobMemory } from './job-memory.ts';
import {
  JOB_CONTROL_OFFSET,
  JOB_DONE,
  JOB_HANDED_OVER,
  JOB_KIND,
  JOB_MODE,
  JOB_OPENED,
  JOB_SOURCE,
  JOB_STAGED,
  JOB_TAKEN,
  JOB_TARGET,
  OPEN_DATAGRAM,
  SEAL_DATAGRAM,
  SEAL_VALUE,
} from './job-memory.ts';
import { VALUE_CHUNK_BYTES } from './sealing.ts';
import { AEAD_NONCE_BYTES, AEAD_TAG_BYTES, aeadOpen, aeadSeal } from './sodium.ts';

/** The shared buffers that jobs name by number; 0 is the jobs' own. */
export type Arenas = (arena: number) => SharedArrayBuffer;

export class JobRunner {
  protected readonly memory: JobMemory;
  readonly #arenas: Arenas;
  readonly #datagrams = new Map<SecurityMode, DatagramCipher>();
  readonly #nonce = allocateRegion(AEAD_NONCE_BYTES);
  readonly #nonceBytes = this.#nonce.bytes.subarray(0, AEAD_NONCE_BYTES);

  constructor(memory: JobMemory, arenas: Arenas) {
    this.memory = memory;
    this.#arenas = arenas;
    for (const mode of SECURITY_MODES) this.#datagrams.set(mode, createDatagramCipher(mode));
  }

  /** From wherever the job stands to its end. */
  run(job: number): void {
    const { memory } = this;
    if (memory.state(job) === JOB_DONE) return;
    if (memory.state(job) !== JOB_STAGED) {
      assert(memory.state(job) === JOB_HANDED_OVER || memory.state(job) === JOB_TAKEN, 'a job has one of four states');
      memory.setState(job, JOB_TAKEN);
      this.stage(job);
      memory.setState(job, JOB_STAGED);
    }
    this.place(job);
    memory.setState(job, JOB_DONE);
  }

  protected stage(job: number): void {
    switch (this.memory.field(job, JOB_KIND)) {
      case SEAL_DATAGRAM:
        return this.#sealDatagram(job);
      case OPEN_DATAGRAM:
        return this.#openDatagram(job);
      case SEAL_VALUE:
        return this.#sealValue(job);
      default:
        return this.#openValue(job);
    }
  }

  protected place(job: number): void {
    if (this.memory.field(job, JOB_KIND) === SEAL_VALUE) this.view(job, JOB_SOURCE).set(this.view(job, JOB_TARGET));
  }

  /** Control part (source) into the packet (target). */
  #sealDatagram(job: number): void {
    const { memory } = this;
    const control = this.view(job, JOB_SOURCE);
    this.#datagramCipher(job).seal(
      memory.key(job),
      readU53(memory.words, memory.numberWord(job)),
      this.view(job, JOB_TARGET),
      memory.field(job, JOB_CONTROL_OFFSET),
      control,
      control.byteLength,
    );
  }

  /** A copy of the packet (source); the control part in clear (target). */
  #openDatagram(job: number): void {
    const { memory } = this;
    const opened = this.#datagramCipher(job).openInto(
      this.view(job, JOB_TARGET),
      memory.key(job),
      readU53(memory.words, memory.numberWord(job)),
      this.view(job, JOB_SOURCE),
      memory.field(job, JOB_CONTROL_OFFSET),
    );
    memory.setField(job, JOB_OPENED, opened ? 1 : 0);
  }

  /** The value in clear (source); its ciphertext (target, with room for a tag behind it) and the tags of its pieces. */
  #sealValue(job: number): void {
    const { memory } = this;
    const clear = this.view(job, JOB_SOURCE);
    const sealed = this.view(job, JOB_TARGET, AEAD_TAG_BYTES);
    const associated = memory.associated(job);
    const tags = memory.tags(job);
    const pieceCount = pieceCountOf(clear.byteLength);
    for (let piece = 0; piece < pieceCount; piece++) {
      const start = piece * VALUE_CHUNK_BYTES;
      const end = Math.min(start + VALUE_CHUNK_BYTES, clear.byteLength);
      // The tag lies where the next piece begins until that is sealed.
      aeadSeal(
        sealed.subarray(start, end + AEAD_TAG_BYTES),
        clear.subarray(start, end),
        associated,
        this.#nonceOf(job, piece),
        memory.key(job),
      );
      tags.set(sealed.subarray(end, end + AEAD_TAG_BYTES), piece * AEAD_TAG_BYTES);
    }
  }

  /**
   * The ciphertext (source), which may lie in host memory and change at any time: each piece is copied first and checked
   * then; the value in clear (target, with room for a tag behind it).
   */
  #openValue(job: number): void {
    const { memory } = this;
    const sealed = this.view(job, JOB_SOURCE);
    const clear = this.view(job, JOB_TARGET, AEAD_TAG_BYTES);
    const associated = memory.associated(job);
    const tags = memory.tags(job);
    const pieceCount = pieceCountOf(sealed.byteLength);
    let opened = true;
    for (let piece = 0; opened && piece < pieceCount; piece++) {
      const start = piece * VALUE_CHUNK_BYTES;
      const end = Math.min(start + VALUE_CHUNK_BYTES, sealed.byteLength);
      clear.set(sealed.subarray(start, end), start);
      clear.set(tags.subarray(piece * AEAD_TAG_BYTES, (piece + 1) * AEAD_TAG_BYTES), end);
      opened = aeadOpen(
        clear.subarray(start, end),
        clear.subarray(start, end + AEAD_TAG_BYTES),
        associated,
        this.#nonceOf(job, piece),
        memory.key(job),
      );
    }
    memory.setField(job, JOB_OPENED, opened ? 1 : 0);
  }

  #datagramCipher(job: number): DatagramCipher {
    return this.#datagrams.get(SECURITY_MODES[this.memory.field(job, JOB_MODE)]!)!;
  }

  /** The first piece's plus `piece`, as a number of 96 bits. What a host wrote into a header may wrap around. */
  #nonceOf(job: number, piece: number): Uint8Array {
    const first = this.memory.numberWord(job);
    let carry = piece;
    for (let i = 0; i < AEAD_NONCE_BYTES / 4; i++) {
      const sum = (this.memory.words[first + i]! >>> 0) + carry;
      this.#nonce.words[i] = sum | 0;
      carry = sum > 0xffff_ffff ? 1 : 0;
    }
    return this.#nonceBytes;
  }

  protected view(job: number, place: number, moreBytes = 0): Uint8Array {
    const { memory } = this;
    const arena = this.#arenas(memory.arenaOf(job, place));
    return new Uint8Array(arena, memory.byteOf(job, place), memory.bytesOf(job, place) + moreBytes);
  }
}

/** A value of no bytes is one piece. */
export function pieceCountOf(valueBytes: number): number {
  return Math.max(1, Math.ceil(valueBytes / VALUE_CHUNK_BYTES));
}
