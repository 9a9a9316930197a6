/** What jobs of one sealing have in common on the loop's side: taking them, naming memory to workers, giving them back. */
import { JOB_COUNT, JOB_KIND } from './job-memory.ts';
import type { JobKind, JobMemory } from './job-memory.ts';
import type { JobOwner, WorkerPool } from './worker-pool.ts';

export class JobDesk {
  readonly pool: WorkerPool;
  readonly memory: JobMemory;
  readonly #owner: JobOwner;
  readonly #tokens = new Float64Array(JOB_COUNT);
  /** Buffers that this sealing has named to the workers. */
  readonly #arenas = new Set<SharedArrayBuffer>();

  constructor(pool: WorkerPool, owner: JobOwner) {
    this.pool = pool;
    this.memory = pool.memory;
    this.#owner = owner;
  }

  /** A job with so much room in the staging, or -1 when there is none now. */
  take(kind: JobKind, token: number, stagingBytes: number): number {
    const job = this.pool.take(this.#owner, stagingBytes);
    if (job === -1) return -1;
    this.memory.setField(job, JOB_KIND, kind);
    this.#tokens[job] = token;
    return job;
  }

  token(job: number): number {
    return this.#tokens[job]!;
  }

  /** Tells a job where bytes lie that the workers see as well. */
  name(job: number, place: number, bytes: Uint8Array, byte: number, byteCount: number): void {
    const buffer = bytes.buffer as SharedArrayBuffer;
    this.#arenas.add(buffer);
    this.memory.setPlace(job, place, this.pool.arenaOf(buffer), bytes.byteOffset + byte, byteCount);
  }

  /** All jobs that were done have been given back. */
  close(): void {
    this.pool.detach(this.#owner, this.#arenas);
  }
}

/** Whether workers can be given to see it. */
export function isShared(bytes: Uint8Array): boolean {
  return bytes.buffer instanceof SharedArrayBuffer;
}
