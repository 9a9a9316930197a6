/**
 * Measures, when workers have started, from what size on a job is worth handing over: what it costs the loop to hand one
 * over and to be woken when it is done, against what sealing costs it. Takes some milliseconds.
 */
import { allocateShared } from '../net/bytes.ts';
import { JOB_ASSOCIATED_BYTES, JOB_KIND, JOB_SOURCE, JOB_TARGET, SEAL_VALUE } from './job-memory.ts';
import { AEAD_KEY_BYTES, AEAD_NONCE_BYTES, AEAD_TAG_BYTES, aeadSeal } from './sodium.ts';
import { mainThreadMs } from './thread-time.ts';
import type { Threshold } from './threshold.ts';
import type { JobOwner, WorkerPool } from './worker-pool.ts';

/** Long enough that a call's own cost is small beside it, short enough to be in the cache as a chunk is. */
const LONG_BYTES = 16_384;
/** Each figure is the lower quartile of so many samples: on a busy machine most of them are of other work as well. */
const SAMPLES = 32;
const CALLS_A_SAMPLE = 4;
const HAND_OVERS_A_SAMPLE = 4;
/** Code that runs for the first time is slow. */
const WARM_SAMPLES = 8;
/** Shown and compared in whole KiB. */
const STEP_BYTES = 1_024;

export async function calibrate(pool: WorkerPool): Promise<Threshold> {
  const { bytes } = allocateShared(2 * (LONG_BYTES + AEAD_TAG_BYTES));
  const long = bytes.subarray(0, LONG_BYTES);
  const target = bytes.subarray(LONG_BYTES + AEAD_TAG_BYTES);
  const nothing = bytes.subarray(0, 0);
  const key = new Uint8Array(AEAD_KEY_BYTES);
  const nonce = new Uint8Array(AEAD_NONCE_BYTES);
  const callMs = await quartileMs(() => aeadSeal(target.subarray(0, AEAD_TAG_BYTES), nothing, nothing, nonce, key));
  const sealMs = await quartileMs(() => aeadSeal(target, long, nothing, nonce, key));
  const associatedMs = await quartileMs(() => aeadSeal(target.subarray(0, AEAD_TAG_BYTES), nothing, long, nonce, key));
  const copyMs = await quartileMs(() => target.set(long));
  const handOverMs = await HandOvers.measureMs(pool);
  const sealMsAByte = Math.max(sealMs - callMs, Number.MIN_VALUE) / LONG_BYTES;
  const breakEvenBytes = (handOverMs - callMs) / sealMsAByte;
  return {
    fromBytes: Math.max(1, Math.ceil(breakEvenBytes / STEP_BYTES)) * STEP_BYTES,
    associatedShare: shareOf(associatedMs - callMs, sealMs - callMs),
    copyShare: shareOf(copyMs, sealMs - callMs),
  };
}

function shareOf(partMs: number, wholeMs: number): number {
  return Math.min(1, Math.max(0, partMs / wholeMs));
}

/** Of one call. The loop goes on between samples. */
async function quartileMs(call: () => void): Promise<number> {
  const samples: number[] = [];
  while (samples.length < SAMPLES) {
    const startMs = performance.now();
    for (let i = 0; i < CALLS_A_SAMPLE; i++) call();
    samples.push((performance.now() - startMs) / CALLS_A_SAMPLE);
    await new Promise((resolve) => setImmediate(resolve));
  }
  return lowerQuartile(samples);
}

function lowerQuartile(samples: number[]): number {
  samples.sort((a, b) => a - b);
  return samples[samples.length >> 2]!;
}

/**
 * Hands the smallest of jobs over, one after the other, and measures what that costs the loop's thread; where the system
 * doesn't tell, how long it keeps the loop from sleeping, which is more when others have the processor meanwhile.
 */
class HandOvers implements JobOwner {
  readonly #pool: WorkerPool;
  #onDone: (done: boolean) => void = () => {};

  static async measureMs(pool: WorkerPool): Promise<number> {
    const owner = new HandOvers(pool);
    pool.attach(owner);
    const samples: number[] = [];
    for (let sample = 0; sample < WARM_SAMPLES + SAMPLES; sample++) {
      const before = performance.eventLoopUtilization();
      const beforeMs = mainThreadMs();
      let count = 0;
      while (count < HAND_OVERS_A_SAMPLE && (await owner.#handOver())) count++;
      if (count === 0) break;
      const afterMs = mainThreadMs();
      const isKnown = beforeMs !== undefined && afterMs !== undefined;
      const spentMs = isKnown ? afterMs - beforeMs : performance.eventLoopUtilization(before).active;
      if (sample >= WARM_SAMPLES) samples.push(spentMs / count);
    }
    pool.detach(owner, []);
    // Without a worker there is nothing to hand over to: no size is worth it.
    return samples.length === 0 ? Infinity : lowerQuartile(samples);
  }

  private constructor(pool: WorkerPool) {
    this.#pool = pool;
  }

  async #handOver(): Promise<boolean> {
    const pool = this.#pool;
    const job = pool.take(this, AEAD_TAG_BYTES);
    if (job === -1) return false;
    const { memory } = pool;
    memory.setField(job, JOB_KIND, SEAL_VALUE);
    memory.setField(job, JOB_ASSOCIATED_BYTES, 0);
    memory.setPlace(job, JOB_SOURCE, 0, pool.stagingByte(job), 0);
    memory.setPlace(job, JOB_TARGET, 0, pool.stagingByte(job), 0);
    const done = new Promise<boolean>((resolve) => {
      this.#onDone = resolve;
    });
    pool.handOver(job);
    return await done;
  }

  onJobDone(job: number): void {
    this.#pool.release(job);
    this.#onDone(true);
  }

  onReady(): void {}
}
