/**
 * The sealing that decides, job by job, where it is done: in the loop when that takes no longer than handing it over, else
 * by a worker of the pool. What is not worth a worker, or finds none free, goes to the sealing that works inline, which
 * also holds all keys.
 *
 * A job that is handed over is described in shared memory (job-memory.ts), its key copied there until it is done. Nonces
 * are given out here, so that it makes no difference who is done first.
 */
import { assert } from '../net/assert.ts';
import type { InlineSealing } from './inline-sealing.ts';
import { JobDesk } from './job-desk.ts';
import { JOB_KIND, OPEN_VALUE, SEAL_VALUE } from './job-memory.ts';
import type { KeyTable } from './key-table.ts';
import type { KeyHandle, KeyRegistry, Sealing, SealingSink, ValueSealingSink } from './sealing.ts';
import { AEAD_TAG_BYTES } from './sodium.ts';
import type { SealedMode, Threshold } from './threshold.ts';
import type { SealedValues } from './value-cipher.ts';
import { WorkerDatagrams } from './worker-datagrams.ts';
import type { JobOwner, WorkerPool } from './worker-pool.ts';
import { WorkerValues } from './worker-values.ts';

export interface WorkerSealingParts {
  readonly mode: SealedMode;
  readonly inline: InlineSealing;
  /** Those of `inline`. */
  readonly keys: KeyTable;
  readonly values: SealedValues;
  readonly pool: WorkerPool;
  readonly threshold: Threshold;
}

export class WorkerSealing implements Sealing, KeyRegistry, JobOwner {
  readonly datagramTagBytes = AEAD_TAG_BYTES;
  /** Jobs that were handed over and are done. */
  jobCount = 0;
  /** Called when jobs are done and somebody has to drain them. */
  onReadyToDrain: () => void = () => {};

  readonly #pool: WorkerPool;
  readonly #inline: InlineSealing;
  readonly #desk: JobDesk;
  readonly #datagrams: WorkerDatagrams;
  readonly #values: WorkerValues;
  #drainingDatagrams = false;
  #drainingValues = false;
  #closed = false;

  constructor(parts: WorkerSealingParts) {
    const { mode, inline, keys, values, pool, threshold } = parts;
    this.#pool = pool;
    this.#inline = inline;
    this.#desk = new JobDesk(pool, this);
    this.#datagrams = new WorkerDatagrams(this.#desk, mode, keys, threshold);
    this.#values = new WorkerValues(this.#desk, values, threshold.fromBytes);
    pool.attach(this);
  }

  envelopeBytesOf(valueBytes: number): number {
    return this.#inline.envelopeBytesOf(valueBytes);
  }

  valueOffsetOf(valueBytes: number): number {
    return this.#inline.valueOffsetOf(valueBytes);
  }

  isUnderCurrentKey(...envelope: Parameters<Sealing['isUnderCurrentKey']>): boolean {
    return this.#inline.isUnderCurrentKey(...envelope);
  }

  get openedValue(): Uint8Array {
    return this.#values.openedValue ?? this.#inline.openedValue;
  }

  get openedValueBytes(): number {
    return this.#values.openedValue?.byteLength ?? this.#inline.openedValueBytes;
  }

  get pendingValueJobs(): number {
    return this.#inline.pendingValueJobs + this.#values.doneCount;
  }

  importKey(key: Uint8Array): KeyHandle {
    return this.#inline.importKey(key);
  }

  eraseKey(key: KeyHandle): void {
    this.#inline.eraseKey(key);
  }

  submitSealDatagram(...job: Parameters<Sealing['submitSealDatagram']>): void {
    assert(!this.#closed, 'the sealing is open');
    if (!this.#datagrams.trySeal(...job)) this.#inline.submitSealDatagram(...job);
  }

  submitOpenDatagram(...job: Parameters<Sealing['submitOpenDatagram']>): void {
    assert(!this.#closed, 'the sealing is open');
    if (!this.#datagrams.tryOpen(...job)) this.#inline.submitOpenDatagram(...job);
  }

  submitSealValue(...job: Parameters<Sealing['submitSealValue']>): void {
    assert(!this.#closed, 'the sealing is open');
    if (!this.#values.trySeal(...job)) this.#inline.submitSealValue(...job);
  }

  submitOpenValue(...job: Parameters<Sealing['submitOpenValue']>): void {
    assert(!this.#closed, 'the sealing is open');
    if (!this.#values.tryOpen(...job)) this.#inline.submitOpenValue(...job);
  }

  drainDatagrams(sink: SealingSink): number {
    assert(!this.#drainingDatagrams, 'a sink does not drain what reports to it');
    this.#drainingDatagrams = true;
    try {
      let doneCount = 0;
      for (;;) {
        const before = doneCount;
        doneCount += this.#inline.drainDatagrams(sink);
        if (!this.#closed) this.#pool.poll();
        doneCount += this.#datagrams.report(sink);
        if (doneCount === before) return doneCount;
      }
    } finally {
      this.#drainingDatagrams = false;
    }
  }

  /** Of values in chunks the inline sealing does one chunk a call: so this goes round once. */
  drainValues(sink: ValueSealingSink): number {
    assert(!this.#drainingValues, 'a sink does not drain what reports to it');
    this.#drainingValues = true;
    try {
      const doneCount = this.#inline.drainValues(sink);
      if (!this.#closed) this.#pool.poll();
      return doneCount + this.#values.report(sink);
    } finally {
      this.#drainingValues = false;
    }
  }

  onJobDone(job: number): void {
    this.jobCount++;
    const kind = this.#pool.memory.field(job, JOB_KIND);
    if (kind === SEAL_VALUE || kind === OPEN_VALUE) this.#values.onDone(job);
    else this.#datagrams.onDone(job);
  }

  onReady(): void {
    if (this.#datagrams.doneCount + this.#values.doneCount > 0) this.onReadyToDrain();
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#inline.close();
    this.#datagrams.close();
    this.#values.close();
    this.#desk.close();
  }
}
