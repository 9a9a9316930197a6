/**
 * Datagrams that workers seal and open. Outgoing packets and their control parts lie in shared memory and are named; a
 * datagram that came through the socket does not, so it is copied once, and its control part back when it is opened.
 */
import { assert } from '../net/assert.ts';
import { writeU53 } from '../net/bytes.ts';
import type { KeyHandle, SealingSink } from '../net/sealing.ts';
import { SECURITY_MODES } from '../net/mode.ts';
import type { JobDesk } from './job-desk.ts';
import { isShared } from './job-desk.ts';
import {
  JOB_CONTROL_OFFSET,
  JOB_COUNT,
  JOB_KIND,
  JOB_MODE,
  JOB_OPENED,
  JOB_SOURCE,
  JOB_TARGET,
  OPEN_DATAGRAM,
  SEAL_DATAGRAM,
} from './job-memory.ts';
import type { KeyTable } from './key-table.ts';
import { AEAD_TAG_BYTES } from './sodium.ts';
import type { SealedMode, Threshold } from './threshold.ts';
import { datagramWork } from './threshold.ts';

const NO_BYTES = new Uint8Array(0);

export class WorkerDatagrams {
  readonly #desk: JobDesk;
  readonly #mode: SealedMode;
  readonly #keys: KeyTable;
  readonly #threshold: Threshold;
  /** Done and not reported yet, oldest first. */
  readonly #done: number[] = [];
  /** By job: the session's key, and the datagram that is opened. */
  readonly #handles = new Int32Array(JOB_COUNT);
  readonly #packets: Uint8Array[] = new Array<Uint8Array>(JOB_COUNT).fill(NO_BYTES);

  constructor(desk: JobDesk, mode: SealedMode, keys: KeyTable, threshold: Threshold) {
    this.#desk = desk;
    this.#mode = mode;
    this.#keys = keys;
    this.#threshold = threshold;
  }

  get doneCount(): number {
    return this.#done.length;
  }

  /** False: it is not worth a worker, or none can take it. */
  trySeal(
    token: number,
    key: KeyHandle,
    packetNumber: number,
    packet: Uint8Array,
    controlOffset: number,
    control: Uint8Array,
    controlBytes: number,
  ): boolean {
    const work = datagramWork(this.#threshold, this.#mode, controlOffset, controlBytes);
    if (work < this.#threshold.fromBytes || !isShared(packet) || !isShared(control)) return false;
    const job = this.#desk.take(SEAL_DATAGRAM, token, 0);
    if (job === -1) return false;
    assert(Number.isSafeInteger(packetNumber) && packetNumber >= 0, 'a packet number is no larger than 2^53 - 1');
    assert(controlBytes <= control.byteLength, 'the control part lies within its buffer');
    assert(controlOffset + controlBytes + AEAD_TAG_BYTES <= packet.byteLength, 'the packet has room for the tag');
    this.#describe(job, key, packetNumber, controlOffset);
    this.#desk.name(job, JOB_SOURCE, control, 0, controlBytes);
    this.#desk.name(job, JOB_TARGET, packet, 0, packet.byteLength);
    this.#desk.pool.handOver(job);
    return true;
  }

  tryOpen(token: number, key: KeyHandle, packetNumber: number, packet: Uint8Array, controlOffset: number): boolean {
    const packetBytes = packet.byteLength;
    const controlBytes = packetBytes - controlOffset - AEAD_TAG_BYTES;
    // What can't open is left to the inline sealing to refuse.
    if (controlBytes < 0 || packetNumber > Number.MAX_SAFE_INTEGER) return false;
    const copying = this.#threshold.copyShare * packetBytes;
    const work = datagramWork(this.#threshold, this.#mode, controlOffset, controlBytes) - copying;
    if (Math.max(0, work) < this.#threshold.fromBytes) return false;
    const job = this.#desk.take(OPEN_DATAGRAM, token, packetBytes + controlBytes);
    if (job === -1) return false;
    this.#describe(job, key, packetNumber, controlOffset);
    this.#packets[job] = packet;
    const { memory, pool } = this.#desk;
    const start = pool.stagingByte(job);
    memory.bytes.set(packet, start);
    memory.setPlace(job, JOB_SOURCE, 0, start, packetBytes);
    memory.setPlace(job, JOB_TARGET, 0, start + packetBytes, controlBytes);
    pool.handOver(job);
    return true;
  }

  #describe(job: number, handle: KeyHandle, packetNumber: number, controlOffset: number): void {
    const { memory } = this.#desk;
    this.#keys.retain(handle);
    this.#handles[job] = handle;
    memory.key(job).set(this.#keys.bytes(handle));
    writeU53(memory.words, memory.numberWord(job), packetNumber);
    memory.setField(job, JOB_MODE, SECURITY_MODES.indexOf(this.#mode));
    memory.setField(job, JOB_CONTROL_OFFSET, controlOffset);
  }

  onDone(job: number): void {
    this.#done.push(job);
  }

  /** Reports what is done; returns how many. */
  report(sink: SealingSink): number {
    let count = 0;
    for (; this.#done.length > 0; count++) this.#reportJob(this.#done.shift()!, sink);
    return count;
  }

  /** The job is given back before the sink hears of it, which may submit others. */
  #reportJob(job: number, sink: SealingSink): void {
    const { memory } = this.#desk;
    const token = this.#desk.token(job);
    const isOpening = memory.field(job, JOB_KIND) === OPEN_DATAGRAM;
    const opened = memory.field(job, JOB_OPENED) === 1;
    if (isOpening && opened && this.#mode === 'secure') {
      const start = memory.byteOf(job, JOB_TARGET);
      const clear = memory.bytes.subarray(start, start + memory.bytesOf(job, JOB_TARGET));
      this.#packets[job]!.set(clear, memory.field(job, JOB_CONTROL_OFFSET));
    }
    this.#keys.release(this.#handles[job]!);
    this.#giveBack(job);
    if (isOpening) sink.onDatagramOpened(token, opened);
    else sink.onDatagramSealed(token);
  }

  #giveBack(job: number): void {
    this.#packets[job] = NO_BYTES;
    this.#desk.pool.release(job);
  }

  /** Nothing is reported any more. */
  close(): void {
    for (const job of this.#done) this.#giveBack(job);
    this.#done.length = 0;
  }
}
