/** How many workers a process has: `--workers 0|N|auto`. */
import { availableParallelism } from 'node:os';

export type WorkerSetting = number | 'auto';

/** More than any process of ours keeps busy. */
export const WORKERS_MAX = 64;

/** One loop hands over a job in some 20 us, and jobs that are worth it take 20 to 700: it keeps no more of them busy. */
const WORKERS_AUTO_MAX = 4;

/** A setting from a command line or an option; undefined when it is none. */
export function parseWorkerSetting(text: string): WorkerSetting | undefined {
  if (text === 'auto') return 'auto';
  return /^\d{1,3}$/.test(text) && Number(text) <= WORKERS_MAX ? Number(text) : undefined;
}

/**
 * Leaves each of the processes that share the machine a core for its loop. With one or two cores there is nothing to
 * win: the cores are busy with loops and the kernel already.
 */
export function workerCountOf(setting: WorkerSetting, processCount = 1, coreCount = availableParallelism()): number {
  if (setting !== 'auto') return setting;
  if (coreCount <= 2) return 0;
  return Math.min(WORKERS_AUTO_MAX, Math.max(0, Math.floor(coreCount / processCount) - 1));
}
