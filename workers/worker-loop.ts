/**
 * The life of a worker: it does the jobs of its seat's ring, one after the other, sleeps when there are none, and ends when
 * it is told to. One task of piscina for all of that: a task a job would cost the loop 20 to 120 us each.
 */
import { receiveMessageOnPort } from 'node:worker_threads';
import type { MessagePort } from 'node:worker_threads';
import { assert } from '../net/assert.ts';
import { JobMemory } from './job-memory.ts';
import type { Arenas, JobRunner } from './job-runner.ts';

/** What the loop hands to a thread. Buffers that jobs name come over the port, each before the first job that does. */
export interface WorkerTask {
  readonly memory: SharedArrayBuffer;
  readonly workerCount: number;
  readonly seat: number;
  readonly arenas: MessagePort;
}

/** A buffer that jobs name from now on, or (undefined) no longer. */
export interface ArenaMessage {
  readonly arena: number;
  readonly buffer: SharedArrayBuffer | undefined;
}

/** A sleeping worker looks after so long whether it missed anything: it never should, and an idle one costs nothing. */
const SLEEP_MS_MAX = 1_000;

export function serveSeat(task: WorkerTask, makeRunner: (memory: JobMemory, arenas: Arenas) => JobRunner): void {
  const memory = new JobMemory(task.workerCount, task.memory);
  const arenas = new ReceivedArenas(task.memory, task.arenas);
  const runner = makeRunner(memory, (arena) => arenas.find(arena));
  const { seat } = task;
  memory.setRunning(seat, true);
  memory.ring();
  let done = memory.done(seat);
  for (;;) {
    const doorbell = memory.doorbell(seat);
    if (memory.isClosing) break;
    if (memory.handedOver(seat) === done) {
      arenas.receive();
      memory.sleepAtDoor(seat, doorbell, SLEEP_MS_MAX);
      continue;
    }
    runner.run(memory.jobAt(seat, done));
    done = (done + 1) | 0;
    memory.setDone(seat, done);
    memory.ring();
  }
  task.arenas.close();
}

/** The port is read in the worker's own time: while it does jobs and sleeps, its event loop stands still. */
class ReceivedArenas {
  readonly #buffers = new Map<number, SharedArrayBuffer>();
  readonly #port: MessagePort;

  constructor(own: SharedArrayBuffer, port: MessagePort) {
    this.#buffers.set(0, own);
    this.#port = port;
  }

  find(arena: number): SharedArrayBuffer {
    if (!this.#buffers.has(arena)) this.receive();
    const buffer = this.#buffers.get(arena);
    assert(buffer !== undefined, 'a buffer comes before the first job that names it');
    return buffer;
  }

  receive(): void {
    for (;;) {
      const received = receiveMessageOnPort(this.#port) as { message: ArenaMessage } | undefined;
      if (received === undefined) return;
      const { arena, buffer } = received.message;
      if (buffer === undefined) this.#buffers.delete(arena);
      else this.#buffers.set(arena, buffer);
    }
  }
}
