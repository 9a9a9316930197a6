import type { Progress } from './progress.ts';
import { headOf } from './report.ts';
import type { SizesOptions } from './sizes-options.ts';
import { sizesReportOf } from './sizes-report.ts';
import type { SizesReport, SizesRound } from './sizes-report.ts';
import { LoadTarget } from './target.ts';
import { workloadOf, workloadOfProportion } from './workload.ts';

/**
 * `avocado bench sizes`: gets and puts by themselves, one size of values after the other. Each size has a cluster of its
 * own, so that none meets what another one left in memory; it is loaded once and measured in rounds, gets first.
 */
export interface SizesContext {
  readonly signal: AbortSignal;
  readonly progress: Progress;
}

/** As many as fit into the bytes that a size may take, but enough that operations seldom meet on one. */
const RECORDS_MIN = 16;

const GETS = workloadOf('C');
const PUTS = workloadOfProportion(0, workloadOf('A'));

export async function runSizes(options: SizesOptions, { signal, progress }: SizesContext): Promise<SizesReport> {
  const { mode, replicas } = options;
  const head = headOf('avocado bench sizes', options, [GETS, PUTS], true);
  const rounds: SizesRound[] = [];
  let memberCount = 0;
  for (const valueBytes of options.sizes) {
    const records = Math.max(RECORDS_MIN, Math.min(options.records, Math.floor(options.bytesPerSize / valueBytes)));
    const settings = { ...options, records, valueBytes, valueSizes: [{ valueBytes, weight: 1 }] };
    const common = { mode, directory: undefined, history: undefined, signal, progress };
    const target = await LoadTarget.open({
      ...common,
      replicas,
      settings,
      label: `values of ${valueBytes} bytes`,
    });
    try {
      ({ memberCount } = target);
      await target.load();
      for (let round = 0; round < options.rounds; round++) {
        for (const workload of [GETS, PUTS]) {
          const result = await target.run(workload, (options.seed + round) >>> 0);
          rounds.push({ round, valueBytes, records, ...result });
        }
      }
    } finally {
      await target.close();
      progress.clear();
    }
  }
  return sizesReportOf(head, memberCount, rounds);
}
