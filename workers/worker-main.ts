/** What runs in the threads of the pool: piscina calls it once a seat. */
import { JobRunner } from './job-runner.ts';
import { serveSeat } from './worker-loop.ts';
import type { WorkerTask } from './worker-loop.ts';

export default function main(task: WorkerTask): void {
  serveSeat(task, (memory, arenas) => new JobRunner(memory, arenas));
}
