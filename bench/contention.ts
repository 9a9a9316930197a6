import { connect } from '../src/client/client.ts';
import { KEYS_MAX } from './contention-options.ts';
import type { ContentionOptions } from './contention-options.ts';
import { contentionReportOf } from './contention-report.ts';
import type { ContentionReport, ContentionRound } from './contention-report.ts';
import { HistoryParts } from './history-parts.ts';
import type { Progress } from './progress.ts';
import { RecordKeys } from './record.ts';
import { headOf } from './report.ts';
import { LoadTarget } from './target.ts';
import { INCREMENT_WORKLOAD } from './workload.ts';

/**
 * `avocado bench contention`: many clients increment few counters, on a cluster of its own. The fewer counters, the more
 * often two of them meet on one. Afterwards each counter is read: an increment that was acknowledged counts once, one whose
 * outcome is unknown once or not at all, any other not.
 */
export interface ContentionContext {
  readonly signal: AbortSignal;
  readonly progress: Progress;
}

/** Each measurement has counters that nobody has used before. */
const FIRST_RECORD = 2 ** 41;
const READ_DEADLINE_MS = 30_000;
/** Gets at once, when counters are read. */
const READ_BATCH = 1_000;

export async function runContention(
  options: ContentionOptions,
  { signal, progress }: ContentionContext,
): Promise<ContentionReport> {
  const { mode, route, replicas, keyCounts } = options;
  const head = headOf('avocado bench contention', options, [INCREMENT_WORKLOAD], true, [route]);
  const history = options.historyPath === undefined ? undefined : new HistoryParts(options.historyPath);
  const common = { mode, route, signal, progress };
  let base: LoadTarget | undefined;
  try {
    // Has the cluster, and loads nothing.
    base = await LoadTarget.open({
      ...common,
      directory: undefined,
      replicas,
      settings: { ...options, clients: 1, processes: 1 },
      history: undefined,
      label: mode,
    });
    const rounds: ContentionRound[] = [];
    let firstRecord = FIRST_RECORD;
    for (let round = 0; round < options.rounds; round++) {
      for (const keyCount of round % 2 === 0 ? keyCounts : keyCounts.toReversed()) {
        const target = await LoadTarget.open({
          ...common,
          ...base.cluster,
          settings: { ...options, records: keyCount },
          firstRecord,
          history,
          label: keyCount === 1 ? '1 counter' : `${keyCount} counters`,
        });
        try {
          const run = await target.run(INCREMENT_WORKLOAD, (options.seed + round) >>> 0);
          // What is under way has ended before counters are read.
          await target.finish();
          const sum = await sumOf(base.cluster.directory, new RecordKeys(keyCount, firstRecord));
          rounds.push({ round, keys: keyCount, sum: String(sum), ...run });
        } finally {
          await target.close();
        }
        firstRecord += KEYS_MAX;
      }
    }
    await history?.merge(options.clients);
    return contentionReportOf(head, base.memberCount, rounds);
  } finally {
    await base?.close();
    history?.remove();
    progress.clear();
  }
}

async function sumOf(directory: string, keys: RecordKeys): Promise<bigint> {
  const client = await connect({ cluster: directory, deadlineMs: READ_DEADLINE_MS });
  try {
    let sum = 0n;
    for (let from = 0; from < keys.count; from += READ_BATCH) {
      const length = Math.min(READ_BATCH, keys.count - from);
      const batch = Array.from({ length }, (_, i) => keys.keyString(from + i));
      for (const value of await client.getMany(batch)) sum += BigInt(value?.toString('latin1') ?? 0);
    }
    return sum;
  } finally {
    await client.close();
  }
}
