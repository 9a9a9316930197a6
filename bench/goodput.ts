import type { GoodputOptions } from './goodput-options.ts';
import { goodputReportOf } from './goodput-report.ts';
import type { GoodputReport, GoodputRound } from './goodput-report.ts';
import type { Progress } from './progress.ts';
import { headOf } from './report.ts';
import { LoadTarget } from './target.ts';

/**
 * `avocado bench goodput`: what one cluster gets done as more and more clients want something of it at once. Each client
 * keeps --outstanding operations in flight, so the load that is offered grows with them. The cluster is loaded once;
 * for each measurement its clients connect anew, all at once. The next round goes through the numbers the other way.
 */
export interface GoodputContext {
  readonly signal: AbortSignal;
  readonly progress: Progress;
}

export async function runGoodput(options: GoodputOptions, context: GoodputContext): Promise<GoodputReport> {
  const { signal, progress } = context;
  const { mode, replicas, clientCounts, workload } = options;
  const head = headOf('avocado bench goodput', options, [workload], true);
  const common = { mode, history: undefined, signal, progress };
  const base = await LoadTarget.open({
    ...common,
    directory: undefined,
    replicas,
    settings: { ...options, clients: 1, processes: 1 },
    label: mode,
  });
  try {
    const load = await base.load();
    const rounds: GoodputRound[] = [];
    for (let round = 0; round < options.rounds; round++) {
      progress.note(`round ${round + 1} of ${options.rounds}`);
      for (const clients of round % 2 === 0 ? clientCounts : clientCounts.toReversed()) {
        const processes = Math.min(options.processes, clients);
        const target = await LoadTarget.open({
          ...common,
          ...base.cluster,
          settings: { ...options, clients, processes },
          label: `${clients} ${clients === 1 ? 'client' : 'clients'}`,
        });
        try {
          const result = await target.run(workload, (options.seed + round) >>> 0);
          rounds.push({ round, clients, processes, ...result });
          await target.finish();
        } finally {
          await target.close();
        }
      }
    }
    return goodputReportOf(head, base.memberCount, { [mode]: load }, rounds);
  } finally {
    await base.close();
    progress.clear();
  }
}
