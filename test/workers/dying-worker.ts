/**
 * A worker that dies while it does a job: at the place that DYING_WORKER names, in the job whose number in its life
 * DYING_WORKER_JOB gives, by throwing or by ending its thread. What runs is the product's own loop and runner.
 */
import { JOB_KIND, JOB_SOURCE, JOB_TARGET, SEAL_VALUE } from '../../workers/job-memory.ts';
import type { JobMemory } from '../../workers/job-memory.ts';
import type { Arenas } from '../../workers/job-runner.ts';
import { JobRunner } from '../../workers/job-runner.ts';
import { serveSeat } from '../../workers/worker-loop.ts';
import type { WorkerTask } from '../../workers/worker-loop.ts';

export const DEATHS = [
  'before',
  'in the middle of the result',
  'before the commit',
  'behind the commit',
  'in the middle of placing',
  'before it is done',
  'before it is counted',
  'before the bell',
] as const;
export type Death = (typeof DEATHS)[number];

class DyingRunner extends JobRunner {
  readonly #death: Death;
  #jobCount = 0;

  constructor(memory: JobMemory, arenas: Arenas, death: Death) {
    super(memory, arenas);
    this.#death = death;
    const ring = memory.ring.bind(memory);
    memory.ring = () => {
      this.#dieAt('before the bell');
      ring();
    };
  }

  override run(job: number): void {
    this.#jobCount++;
    super.run(job);
    this.#dieAt('before it is counted');
  }

  protected override stage(job: number): void {
    this.#dieAt('before');
    const { memory } = this;
    if (this.#isToDieAt('in the middle of the result') && memory.arenaOf(job, JOB_TARGET) === 0) {
      const start = memory.byteOf(job, JOB_TARGET);
      memory.bytes.fill(0x77, start, start + (memory.bytesOf(job, JOB_TARGET) >> 1));
    }
    this.#dieAt('in the middle of the result');
    super.stage(job);
    this.#dieAt('before the commit');
  }

  protected override place(job: number): void {
    this.#dieAt('behind the commit');
    super.place(job);
    const { memory } = this;
    if (this.#isToDieAt('in the middle of placing') && memory.field(job, JOB_KIND) === SEAL_VALUE) {
      // What had not been written yet; whatever lies there is written again.
      const source = this.view(job, JOB_SOURCE);
      source.fill(0x77, source.byteLength >> 1);
    }
    this.#dieAt('in the middle of placing');
    this.#dieAt('before it is done');
  }

  #isToDieAt(death: Death): boolean {
    return this.#death === death && this.#jobCount === Number(process.env['DYING_WORKER_JOB']);
  }

  #dieAt(death: Death): void {
    if (!this.#isToDieAt(death)) return;
    if (process.env['DYING_WORKER_THROWS'] === '1') throw new Error(`dies ${death}`);
    process.exit(1);
  }
}

export default function main(task: WorkerTask): void {
  const death = DEATHS.find((name) => name === process.env['DYING_WORKER']);
  if (death === undefined) throw new Error('DYING_WORKER names no death');
  serveSeat(task, (memory, arenas) => new DyingRunner(memory, arenas, death));
}
