/**
 * The threads of a process that seal and open, and the loop's side of the memory it shares with them. The only importer
 * of piscina, which makes the threads and makes them again when they die; jobs reach them through job-memory.ts.
 *
 * One pool serves all sealings of a process, so that many clients in one don't have threads each. Everything here runs in
 * the loop.
 */
import { extname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { MessageChannel } from 'node:worker_threads';
import type { MessagePort } from 'node:worker_threads';
import { Piscina } from 'piscina';
import { assert } from '../net/assert.ts';
import { Bell } from './bell.ts';
import { JOB_COUNT, JobMemory } from './job-memory.ts';
import { JobRunner } from './job-runner.ts';
import { StagingBlocks } from './staging-blocks.ts';
import type { ArenaMessage, WorkerTask } from './worker-loop.ts';

/** A sealing that has jobs done. */
export interface JobOwner {
  /** The job is done; it is the owner's until release(). */
  onJobDone(job: number): void;
  /** Some of its jobs are done, and nobody is about to ask. */
  onReady(): void;
}

export interface WorkerPoolOptions {
  readonly workerCount: number;
  /** What the threads run; default worker-main.ts. */
  readonly main?: string;
}

const START_POLL_MS = 2;
/** A thread starts in 30 to 100 ms; a busy machine takes many times that. */
const START_TIMEOUT_MS = 20_000;
/** Threads that die again and again without having done a job: their seat stays empty, its work is done inline. */
const FRUITLESS_DEATHS_MAX = 3;
/** Ends within a job, which takes a millisecond. */
const END_TIMEOUT_MS = 2_000;

/** What the loop knows of a worker. */
interface Seat {
  /** Position in the ring up to which the loop has seen the jobs done. */
  seen: number;
  pendingCount: number;
  port: MessagePort | undefined;
}

export class WorkerPool {
  readonly workerCount: number;
  readonly memory: JobMemory;
  /** Workers that died or broke off, and were replaced or given up. */
  deathCount = 0;

  readonly #threads: Piscina<WorkerTask, void>;
  readonly #main: string;
  readonly #bell: Bell;
  readonly #seats: Seat[];
  readonly #tasks: Promise<void>[];
  readonly #runner: JobRunner;
  readonly #staging = new StagingBlocks();
  readonly #owners = new Set<JobOwner>();

  /** By job: whose it is (nobody's any more: undefined), and the first of its staging blocks (-1 none). */
  readonly #jobOwners: (JobOwner | undefined)[] = Array.from<JobOwner | undefined>({ length: JOB_COUNT });
  readonly #jobBlocks = new Int32Array(JOB_COUNT).fill(-1);
  readonly #freeJobs: number[] = [];
  /** Handed over and not yet seen done. */
  #pendingCount = 0;
  #orphanCount = 0;

  /** Buffers that jobs name, by number. */
  readonly #arenas = new Map<SharedArrayBuffer, number>();
  readonly #arenaBuffers = new Map<number, SharedArrayBuffer>();
  #lastArena = 0;
  /** Of owners that have gone; let go of when no job names them. */
  #oldArenas: SharedArrayBuffer[] = [];
  #closing: Promise<void> | undefined;

  private constructor(options: WorkerPoolOptions) {
    this.workerCount = options.workerCount;
    this.memory = new JobMemory(options.workerCount);
    this.#arenaBuffers.set(0, this.memory.buffer);
    this.#arenas.set(this.memory.buffer, 0);
    this.#runner = new JobRunner(this.memory, (arena) => this.#arenaBuffers.get(arena)!);
    for (let job = JOB_COUNT - 1; job >= 0; job--) this.#freeJobs.push(job);
    this.#main = options.main ?? workerMain();
    this.#bell = new Bell(this.memory, () => this.#onBell());
    this.#threads = new Piscina<WorkerTask, void>({
      filename: this.#main,
      minThreads: options.workerCount,
      maxThreads: options.workerCount,
      idleTimeout: Infinity,
      recordTiming: false,
      // Our own arguments to Node (a debugger's port, a test runner's) are not the threads'.
      execArgv: [],
    });
    // A thread that dies between its tasks: the next task finds another.
    this.#threads.on('error', () => {});
    this.#seats = Array.from({ length: options.workerCount }, () => ({ seen: 0, pendingCount: 0, port: undefined }));
    this.#tasks = this.#seats.map((_, seat) => this.#occupy(seat));
  }

  /** Resolves when all workers wait for jobs. Rejects when they can't be started; nothing is left behind then. */
  static async start(options: WorkerPoolOptions): Promise<WorkerPool> {
    const pool = new WorkerPool(options);
    const deadlineMs = performance.now() + START_TIMEOUT_MS;
    while (pool.runningCount < pool.workerCount) {
      if (pool.deathCount > 0 || performance.now() > deadlineMs) {
        await pool.close();
        throw new Error(`${options.workerCount} cryptographic workers could not be started`);
      }
      await sleep(START_POLL_MS);
    }
    return pool;
  }

  get runningCount(): number {
    let count = 0;
    for (let seat = 0; seat < this.workerCount; seat++) if (this.memory.isRunning(seat)) count++;
    return count;
  }

  // -- jobs -----------------------------------------------------------------------------------------------------------

  attach(owner: JobOwner): void {
    assert(this.#closing === undefined, 'the pool is open');
    this.#owners.add(owner);
  }

  /**
   * A job with room for so many bytes in the staging (from stagingByte(job) on), or -1 when there is none now. Its record
   * is the owner's to fill until handOver().
   */
  take(owner: JobOwner, stagingBytes: number): number {
    if (this.#freeJobs.length === 0 || this.#idlest() === -1) return -1;
    let block = -1;
    if (stagingBytes > 0) {
      block = this.#staging.take(stagingBytes);
      if (block === -1) return -1;
    }
    const job = this.#freeJobs.pop()!;
    this.#jobBlocks[job] = block;
    this.#jobOwners[job] = owner;
    return job;
  }

  stagingByte(job: number): number {
    return this.memory.stagingByte(this.#jobBlocks[job]!);
  }

  handOver(job: number): void {
    const seat = this.#idlest();
    assert(seat !== -1, 'a job is handed over in the turn in which it was taken');
    const bell = this.memory.bell;
    this.memory.handOver(seat, job);
    this.#seats[seat]!.pendingCount++;
    if (this.#pendingCount++ === 0) this.#bell.arm(bell);
  }

  /** Tells owners of jobs that are done. */
  poll(): void {
    if (this.#pendingCount === 0) return;
    const bell = this.memory.bell;
    for (let seat = 0; seat < this.workerCount; seat++) this.#pollSeat(seat);
    if (this.#pendingCount > 0) this.#bell.arm(bell);
  }

  /** The job is over: its key is overwritten. */
  release(job: number): void {
    this.memory.eraseKey(job);
    const block = this.#jobBlocks[job]!;
    if (block !== -1) this.#staging.release(block);
    this.#jobBlocks[job] = -1;
    this.#jobOwners[job] = undefined;
    this.#freeJobs.push(job);
  }

  /** The owner goes: what it has under way is dropped, what it has left in the memory is overwritten. */
  detach(owner: JobOwner, arenas: Iterable<SharedArrayBuffer>): void {
    this.#owners.delete(owner);
    for (let job = 0; job < JOB_COUNT; job++) {
      if (this.#jobOwners[job] !== owner) continue;
      this.#jobOwners[job] = undefined;
      this.#orphanCount++;
    }
    this.#oldArenas.push(...arenas);
    this.#staging.eraseFree(this.memory);
    this.#forgetOldArenas();
  }

  /** The number by which jobs name a buffer. */
  arenaOf(buffer: SharedArrayBuffer): number {
    return this.#arenas.get(buffer) ?? this.#addArena(buffer);
  }

  invariants(): void {
    const free = new Set(this.#freeJobs);
    assert(free.size === this.#freeJobs.length, 'a free job is listed once');
    for (const job of free) {
      assert(this.#jobOwners[job] === undefined && this.#jobBlocks[job] === -1, "a free job is nobody's");
      assert(
        this.memory.key(job).every((byte) => byte === 0),
        'a free job has no key',
      );
    }
    const pendingCount = this.#seats.reduce((sum, seat) => sum + seat.pendingCount, 0);
    assert(pendingCount === this.#pendingCount, 'what was handed over is at some seat');
    assert(free.size + pendingCount <= JOB_COUNT, 'a job that was handed over is not free');
    this.#staging.invariants(this.#jobBlocks);
  }

  #addArena(buffer: SharedArrayBuffer): number {
    const arena = ++this.#lastArena;
    this.#arenas.set(buffer, arena);
    this.#arenaBuffers.set(arena, buffer);
    this.#announce({ arena, buffer });
    return arena;
  }

  /** No job names them any more once those of owners that have gone are done. */
  #forgetOldArenas(): void {
    if (this.#orphanCount > 0) return;
    for (const buffer of this.#oldArenas) {
      const arena = this.#arenas.get(buffer);
      if (arena === undefined) continue;
      this.#arenas.delete(buffer);
      this.#arenaBuffers.delete(arena);
      this.#announce({ arena, buffer: undefined });
    }
    this.#oldArenas = [];
  }

  #announce(message: ArenaMessage): void {
    for (const { port } of this.#seats) port?.postMessage(message);
  }

  /** The seat with the fewest jobs whose worker runs; -1 when none does. */
  #idlest(): number {
    let idlest = -1;
    for (let seat = 0; seat < this.workerCount; seat++) {
      if (!this.memory.isRunning(seat)) continue;
      if (idlest === -1 || this.#seats[seat]!.pendingCount < this.#seats[idlest]!.pendingCount) idlest = seat;
    }
    return idlest;
  }

  #pollSeat(seatIndex: number): void {
    const seat = this.#seats[seatIndex]!;
    const done = this.memory.done(seatIndex);
    while (seat.seen !== done) {
      const job = this.memory.jobAt(seatIndex, seat.seen);
      seat.seen = (seat.seen + 1) | 0;
      seat.pendingCount--;
      this.#pendingCount--;
      const owner = this.#jobOwners[job];
      if (owner === undefined) this.#releaseOrphan(job);
      else owner.onJobDone(job);
    }
  }

  #releaseOrphan(job: number): void {
    this.release(job);
    this.#staging.eraseFree(this.memory);
    this.#orphanCount--;
    this.#forgetOldArenas();
  }

  #onBell(): void {
    this.poll();
    for (const owner of this.#owners) owner.onReady();
  }

  // -- life of the workers --------------------------------------------------------------------------------------------

  /** Keeps a worker in its seat until the pool closes. */
  async #occupy(seatIndex: number): Promise<void> {
    const { memory } = this;
    for (let fruitlessDeaths = 0; fruitlessDeaths < FRUITLESS_DEATHS_MAX; ) {
      const doneBefore = memory.done(seatIndex);
      const { port1, port2 } = new MessageChannel();
      port1.unref();
      this.#seats[seatIndex]!.port = port1;
      for (const [arena, buffer] of this.#arenaBuffers) port1.postMessage({ arena, buffer } satisfies ArenaMessage);
      const task = { memory: memory.buffer, workerCount: this.workerCount, seat: seatIndex, arenas: port2 };
      try {
        await this.#threads.run(task, { transferList: [port2] });
      } catch {
        // How it ended makes no difference: unless the pool closes, it should not have.
      }
      this.#seats[seatIndex]!.port = undefined;
      port1.close();
      if (this.#closing !== undefined) return;
      this.deathCount++;
      memory.setRunning(seatIndex, false);
      fruitlessDeaths = memory.done(seatIndex) === doneBefore ? fruitlessDeaths + 1 : 0;
      this.#takeOver(seatIndex);
    }
  }

  /** The thread is gone: the job that it held is finished from where it stands, and those behind it are done here. */
  #takeOver(seatIndex: number): void {
    const { memory } = this;
    let done = memory.done(seatIndex);
    while (done !== memory.handedOver(seatIndex)) {
      this.#runner.run(memory.jobAt(seatIndex, done));
      done = (done + 1) | 0;
      memory.setDone(seatIndex, done);
    }
    memory.ring();
  }

  /** Ends the workers, jobs under way are dropped, and overwrites all that the memory held. Never rejects. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    const running = this.#tasks.filter((_, seat) => this.memory.isRunning(seat));
    this.memory.closeSeats();
    const giveUp = new AbortController();
    await Promise.race([Promise.allSettled(running), sleep(END_TIMEOUT_MS, undefined, { signal: giveUp.signal })]);
    giveUp.abort();
    await this.#threads.destroy();
    this.memory.erase();
  }
}

/** Beside this file, with the same ending: the compiler doesn't rewrite paths outside imports. */
function workerMain(): string {
  return fileURLToPath(new URL(`./worker-main${extname(import.meta.url)}`, import.meta.url));
}
