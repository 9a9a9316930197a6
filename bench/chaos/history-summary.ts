import { createReadStream } from 'node:fs';
import { createInterface } from 'node:readline';

/** What a history says beside its order: how operations ended, and how long none of them succeeded. */
export interface HistoryTimes {
  /** Milliseconds since the history's start. */
  readonly loadedMs: number;
  /** When the last fault was over. */
  readonly calmMs: number;
  /** When the load processes were to begin nothing more. */
  readonly endMs: number;
  readonly clientCount: number;
  /** What begins so long after the last fault has to succeed. */
  readonly recoveryMsMax: number;
}

export type OutcomeCounts = Record<'ok' | 'unknown' | 'error', number>;

export interface HistorySummary {
  /** Those that began after the load phase. */
  readonly operations: Readonly<Record<'get' | 'put', OutcomeCounts>>;
  /** Of all processes together, from the load phase's end on. */
  readonly longestGap: { readonly atMs: number; readonly lengthMs: number };
  /**
   * How long after the last fault each process had succeeded with something that began after that fault; the longest of
   * them. Null: one of them never did.
   */
  readonly recoveryMs: number | null;
  /** Operations that began when all should have been well again, and did not succeed. */
  readonly lateFailures: number;
}

interface Line {
  readonly process: number;
  readonly op: 'get' | 'put';
  readonly start: number;
  readonly end: number | null;
  readonly outcome: keyof OutcomeCounts;
}

const NS_PER_MS = 1e6;

/** @param path A history as history.ts has it. */
export async function summarizeHistory(path: string, times: HistoryTimes): Promise<HistorySummary> {
  const operations = { get: noOutcomes(), put: noOutcomes() };
  const recoveredMs = new Array<number | null>(times.clientCount).fill(null);
  /** A success in this millisecond since loading ended. */
  const succeeded = new Uint8Array(Math.max(1, Math.ceil(times.endMs - times.loadedMs)));
  let lateFailures = 0;
  for await (const text of createInterface({ input: createReadStream(path) })) {
    const { process, op, start, end, outcome } = JSON.parse(text) as Line;
    const startMs = start / NS_PER_MS;
    if (outcome === 'ok' && end !== null) {
      const endMs = end / NS_PER_MS;
      succeeded[Math.floor(endMs - times.loadedMs)] = 1;
      const sinceCalmMs = endMs - times.calmMs;
      if (startMs >= times.calmMs) {
        recoveredMs[process] = Math.min(recoveredMs[process] ?? Infinity, sinceCalmMs);
      }
    } else if (startMs >= times.calmMs + times.recoveryMsMax) {
      lateFailures++;
    }
    if (startMs >= times.loadedMs) operations[op][outcome]++;
  }
  return {
    operations,
    longestGap: longestGapIn(succeeded, times.loadedMs),
    recoveryMs: recoveredMs.reduce<number | null>(
      (longest, ms) => (longest === null || ms === null ? null : Math.max(longest, ms)),
      0,
    ),
    lateFailures,
  };
}

function noOutcomes(): OutcomeCounts {
  return { ok: 0, unknown: 0, error: 0 };
}

function longestGapIn(succeeded: Uint8Array, originMs: number): HistorySummary['longestGap'] {
  let longest = { atMs: originMs, lengthMs: 0 };
  let sinceMs = 0;
  for (let ms = 0; ms < succeeded.length; ms++) {
    if (succeeded[ms] === 1) sinceMs = ms + 1;
    else if (ms + 1 - sinceMs > longest.lengthMs) longest = { atMs: originMs + sinceMs, lengthMs: ms + 1 - sinceMs };
  }
  return longest;
}
