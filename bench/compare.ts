import { SECURITY_MODES } from '../net/mode.ts';
import { Calibration } from './calibration.ts';
import type { CompareOptions } from './options.ts';
import type { Progress } from './progress.ts';
import { ratiosOf } from './compare-ratio.ts';
import type { RoundResult } from './compare-ratio.ts';
import { compareReportOf } from './compare-report.ts';
import type { CompareReport } from './compare-report.ts';
import { headOf } from './report.ts';
import { LoadTarget } from './target.ts';
import type { LoadSummary } from './target.ts';

/**
 * `avocado bench compare`: the three modes side by side. Each has a cluster of its own, started and loaded once and idle
 * while another is measured; with more than one route, each mode in each of them. A round measures each mode once, in turn, the next round in reverse order, so that a
 * machine that gets slower or faster meanwhile favours none. The raw network is measured once a round too.
 */
export interface CompareContext {
  readonly signal: AbortSignal;
  readonly progress: Progress;
}

export async function runCompare(options: CompareOptions, context: CompareContext): Promise<CompareReport> {
  const { signal, progress } = context;
  const head = headOf('avocado bench compare', options, options.workloads, true, options.routes);
  const calibration = await Calibration.open(options);
  const targets: LoadTarget[] = [];
  try {
    progress.update('calibration');
    await calibration.measureRates();
    const load: Record<string, LoadSummary> = {};
    for (const mode of SECURITY_MODES) {
      let first: LoadTarget | undefined;
      // Routes share their mode's cluster: what is loaded over one of them is there for all.
      for (const route of options.routes) {
        const label = options.routes.length === 1 ? mode : `${mode}, ${route}`;
        const target = await LoadTarget.open({
          mode,
          route,
          directory: undefined,
          ...first?.cluster,
          settings: options,
          history: undefined,
          signal,
          progress,
          label,
        });
        targets.push(target);
        if (first !== undefined) continue;
        load[mode] = await target.load();
        first = target;
      }
    }
    const rounds: RoundResult[] = [];
    for (let round = 0; round < options.rounds; round++) {
      progress.note(`round ${round + 1} of ${options.rounds}`);
      signal.throwIfAborted();
      await calibration.measureEcho();
      await calibration.measureRawRates();
      for (const workload of options.workloads) {
        for (const target of round % 2 === 0 ? targets : targets.toReversed()) {
          // The same choices for each mode of a round, others in the next.
          const result = await target.run(workload, (options.seed + round) >>> 0);
          rounds.push({ round, ...result });
        }
      }
    }
    const replicas = targets[0]!.memberCount;
    return compareReportOf(head, replicas, load, rounds, ratiosOf(rounds), calibration.result());
  } finally {
    await Promise.all([calibration.close(), ...targets.map((target) => target.close())]);
    progress.clear();
  }
}
