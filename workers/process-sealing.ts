/**
 * The sealing of one server or client, with workers or without. Those of a process that have equally many workers share a
 * pool: threads, their memory and the measured threshold.
 */
import type { SecurityMode } from '../net/mode.ts';
import { calibrate } from './calibration.ts';
import { createDatagramCipher } from './datagram-cipher.ts';
import { createInlineSealing, InlineSealing } from './inline-sealing.ts';
import { KeyTable } from './key-table.ts';
import type { DataKeys, KeyRegistry, Sealing } from './sealing.ts';
import { randomBytes } from './sodium.ts';
import type { Threshold } from './threshold.ts';
import { SealedValues } from './value-cipher.ts';
import type { WorkerSetting } from './worker-count.ts';
import { workerCountOf } from './worker-count.ts';
import { WorkerPool } from './worker-pool.ts';
import { WorkerSealing } from './worker-sealing.ts';

export interface ProcessSealingOptions {
  readonly mode: SecurityMode;
  readonly dataKeys: DataKeys;
  readonly workers: WorkerSetting;
  /** Bytes sealed from which on jobs are handed over; default: measured. */
  readonly workersFromBytes?: number;
}

/** For people and reports. */
export interface WorkerFigures {
  readonly workers: number;
  /** Sealing from so many bytes on is handed over. */
  readonly fromBytes: number;
  /** Jobs that were handed over and are done; workers that died and were replaced. */
  readonly jobs: number;
  readonly deaths: number;
}

export interface ProcessSealing {
  readonly sealing: Sealing & KeyRegistry;
  /** Undefined without workers: none were asked for, or the mode seals nothing. */
  figures(): WorkerFigures | undefined;
  /** Trusted memory that workers take. */
  readonly trustedBytes: number;
  /** Called when workers have done something and the sealing is to be drained. */
  onReadyToDrain(ready: () => void): void;
  /** Ends the sealing at once, and its workers soon; keys and what else the memory held are overwritten. */
  close(): Promise<void>;
}

/** Rejects when workers can't be started. */
export async function openProcessSealing(options: ProcessSealingOptions): Promise<ProcessSealing> {
  const { mode, dataKeys } = options;
  const workerCount = workerCountOf(options.workers);
  if (mode === 'plaintext' || workerCount === 0) return new InlineOnly(createInlineSealing({ mode, dataKeys }));
  const shared = await SharedPool.acquire(workerCount);
  const keys = new KeyTable();
  const values = new SealedValues(dataKeys, randomBytes);
  const inline = new InlineSealing(createDatagramCipher(mode), keys, values);
  const threshold =
    options.workersFromBytes === undefined
      ? shared.threshold
      : { ...shared.threshold, fromBytes: options.workersFromBytes };
  const sealing = new WorkerSealing({ mode, inline, keys, values, pool: shared.pool, threshold });
  return new WithWorkers(sealing, shared, threshold);
}

/** From how many bytes on a worker is worth its while on this machine, right now. Rejects when none can be started. */
export async function measureWorkerThreshold(): Promise<number> {
  const shared = await SharedPool.acquire(1);
  await shared.release();
  return shared.threshold.fromBytes;
}

class InlineOnly implements ProcessSealing {
  readonly sealing: Sealing & KeyRegistry;
  readonly trustedBytes = 0;

  constructor(sealing: Sealing & KeyRegistry) {
    this.sealing = sealing;
  }

  figures(): undefined {
    return undefined;
  }

  onReadyToDrain(): void {}

  async close(): Promise<void> {
    this.sealing.close();
  }
}

class WithWorkers implements ProcessSealing {
  readonly sealing: WorkerSealing;
  readonly #shared: SharedPool;
  readonly #threshold: Threshold;
  #closing: Promise<void> | undefined;

  constructor(sealing: WorkerSealing, shared: SharedPool, threshold: Threshold) {
    this.sealing = sealing;
    this.#shared = shared;
    this.#threshold = threshold;
  }

  get trustedBytes(): number {
    return this.#shared.pool.memory.trustedBytes;
  }

  figures(): WorkerFigures {
    const { workerCount, deathCount } = this.#shared.pool;
    const { fromBytes } = this.#threshold;
    return { workers: workerCount, fromBytes, jobs: this.sealing.jobCount, deaths: deathCount };
  }

  onReadyToDrain(ready: () => void): void {
    this.sealing.onReadyToDrain = ready;
  }

  close(): Promise<void> {
    this.sealing.close();
    this.#closing ??= this.#shared.release();
    return this.#closing;
  }
}

class SharedPool {
  static readonly #pools = new Map<number, Promise<SharedPool>>();

  readonly pool: WorkerPool;
  readonly threshold: Threshold;
  #userCount = 0;

  private constructor(pool: WorkerPool, threshold: Threshold) {
    this.pool = pool;
    this.threshold = threshold;
  }

  static async acquire(workerCount: number): Promise<SharedPool> {
    for (;;) {
      let opening = SharedPool.#pools.get(workerCount);
      if (opening === undefined) {
        opening = SharedPool.#open(workerCount);
        SharedPool.#pools.set(workerCount, opening);
      }
      const shared = await opening.catch((error: unknown) => {
        SharedPool.#forget(workerCount, opening);
        throw error;
      });
      // Its last user may have released it while this one waited.
      if (SharedPool.#pools.get(workerCount) !== opening) continue;
      shared.#userCount++;
      return shared;
    }
  }

  static async #open(workerCount: number): Promise<SharedPool> {
    const pool = await WorkerPool.start({ workerCount });
    try {
      return new SharedPool(pool, await calibrate(pool));
    } catch (error) {
      await pool.close();
      throw error;
    }
  }

  static #forget(workerCount: number, opening: Promise<SharedPool> | undefined): void {
    if (SharedPool.#pools.get(workerCount) === opening) SharedPool.#pools.delete(workerCount);
  }

  async release(): Promise<void> {
    if (--this.#userCount > 0) return;
    SharedPool.#pools.delete(this.pool.workerCount);
    await this.pool.close();
  }
}
