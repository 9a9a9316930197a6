/** Processor time of the main thread: unlike a clock, it does not go on while other processes have the processor. */
import { readFileSync } from 'node:fs';

/**
 * In milliseconds since the start; undefined where the system doesn't tell of single threads: elsewhere than on Linux. It
 * is exact when the thread has just been asleep, else some milliseconds old.
 */
export function mainThreadMs(): number | undefined {
  try {
    return Number(readFileSync(`/proc/self/task/${process.pid}/schedstat`, 'utf8').split(' ')[0]) / 1e6;
  } catch {
    return undefined;
  }
}
