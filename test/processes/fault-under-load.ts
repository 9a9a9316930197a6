import type { LoadWindow } from '../../bench/load-window.ts';
import { WINDOW_MS, latenciesIn, operationsIn } from './windowed-load.ts';
import type { WindowedLoad } from './windowed-load.ts';

/** What clients notice of a fault: latencies before it, in the second after it, and later. */
export interface FaultReport {
  /** Of the whole run, warm-up and drain included. */
  readonly errors: Readonly<Record<string, number>>;
  readonly before: Stretch;
  readonly firstSecond: Stretch;
  /** From one second after the fault. */
  readonly later: Stretch;
}

export interface Stretch {
  readonly opsPerSec: number;
  /** Of all operations that ended in it; infinite when none did. */
  readonly p99Us: number;
  /** Of its worst window. */
  readonly windowP99UsMax: number;
}

export interface FaultTimes {
  readonly warmupMs: number;
  readonly beforeMs: number;
  readonly laterMs: number;
}

const FIRST_SECOND_MS = 1_000;
const READ_PROPORTION = 0.5;

/**
 * Runs the load, strikes, and looks on.
 * @param strike Returns at once: what it does is under way when the next window begins.
 * @param mend Undoes it before the load ends: a stopped replica comes back under load.
 */
export async function faultUnderLoad(
  load: WindowedLoad,
  times: FaultTimes,
  strike: () => void,
  mend: () => void = () => {},
): Promise<FaultReport> {
  load.start(READ_PROPORTION);
  await load.windows(times.warmupMs);
  const before = await load.windows(times.beforeMs);
  strike();
  const firstSecond = await load.windows(FIRST_SECOND_MS);
  const later = await load.windows(times.laterMs);
  mend();
  await load.windows(FIRST_SECOND_MS);
  await load.drain();
  return {
    errors: load.errors,
    before: stretchOf(before),
    firstSecond: stretchOf(firstSecond),
    later: stretchOf(later),
  };
}

function stretchOf(windows: readonly LoadWindow[]): Stretch {
  const p99Of = (some: readonly LoadWindow[]): number => latenciesIn(some)?.p99 ?? Infinity;
  return {
    opsPerSec: (operationsIn(windows) * 1_000) / (windows.length * WINDOW_MS),
    p99Us: p99Of(windows),
    windowP99UsMax: Math.max(...windows.map((window) => p99Of([window]))),
  };
}
