/**
 * A sealing as slow workers would make it: jobs are done late, some drains after they were submitted, and in shuffled
 * order. Until then no buffer of theirs is touched, so that a caller who looks too early sees nothing done.
 */
import { assert } from '../../net/assert.ts';
import type { KeyHandle, KeyRegistry, Sealing, SealingSink, ValueSealingSink } from '../../workers/sealing.ts';
import { ForwardingSealing } from './forwarding-sealing.ts';
import type { OpenDatagramJob, SealDatagramJob, ValueJob } from './forwarding-sealing.ts';

interface HeldJob {
  /** Of datagrams. */
  readonly key?: KeyHandle;
  submit(): void;
}

export class ReorderingSealing extends ForwardingSealing {
  readonly #random: () => number;
  #datagramJobs: HeldJob[] = [];
  #valueJobs: HeldJob[] = [];
  readonly #live = new Set<KeyHandle>();
  /** Erased by the owner while jobs held here still need them. */
  readonly #retiring = new Set<KeyHandle>();
  #closed = false;

  /** @param random Numbers in [0, 1). */
  constructor(inner: Sealing & KeyRegistry, random: () => number) {
    super(inner);
    this.#random = random;
  }

  override importKey(key: Uint8Array): KeyHandle {
    const handle = this.inner.importKey(key);
    this.#live.add(handle);
    return handle;
  }

  override eraseKey(key: KeyHandle): void {
    this.#live.delete(key);
    this.#retiring.add(key);
    this.#eraseRetired();
  }

  override submitSealDatagram(...job: SealDatagramJob): void {
    this.#holdDatagram(job[1], () => super.submitSealDatagram(...job));
  }

  override submitOpenDatagram(...job: OpenDatagramJob): void {
    this.#holdDatagram(job[1], () => super.submitOpenDatagram(...job));
  }

  override drainDatagrams(sink: SealingSink): number {
    const [released, held] = this.#choose(this.#datagramJobs);
    this.#datagramJobs = held;
    for (const job of released) job.submit();
    const doneCount = this.inner.drainDatagrams(sink);
    this.#eraseRetired();
    return doneCount;
  }

  override submitSealValue(...job: ValueJob): void {
    this.#holdValue(() => super.submitSealValue(...job));
  }

  override submitOpenValue(...job: ValueJob): void {
    this.#holdValue(() => super.submitOpenValue(...job));
  }

  override drainValues(sink: ValueSealingSink): number {
    const [released, held] = this.#choose(this.#valueJobs);
    this.#valueJobs = held;
    for (const job of released) job.submit();
    return this.inner.drainValues(sink);
  }

  override close(): void {
    this.#closed = true;
    this.#datagramJobs = [];
    this.#valueJobs = [];
    this.inner.close();
  }

  #holdDatagram(key: KeyHandle, submit: () => void): void {
    assert(!this.#closed, 'the sealing is open');
    assert(this.datagramTagBytes === 0 || this.#live.has(key), 'the key of a job is live');
    this.#datagramJobs.push({ key, submit });
  }

  #holdValue(submit: () => void): void {
    assert(!this.#closed, 'the sealing is open');
    this.#valueJobs.push({ submit });
  }

  /** About half of the jobs, shuffled; and the others. */
  #choose(jobs: readonly HeldJob[]): [HeldJob[], HeldJob[]] {
    const released: HeldJob[] = [];
    const held: HeldJob[] = [];
    for (const job of jobs) {
      if (this.#random() < 0.5) held.push(job);
      else released.splice(Math.floor(this.#random() * (released.length + 1)), 0, job);
    }
    return [released, held];
  }

  #eraseRetired(): void {
    for (const key of this.#retiring) {
      if (this.#datagramJobs.some((job) => job.key === key)) continue;
      this.#retiring.delete(key);
      this.inner.eraseKey(key);
    }
  }
}
