import { SECURITY_MODES } from '../net/mode.ts';
import type { SecurityMode } from '../net/mode.ts';
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
 * while another is measured. A round measures each mode once, in turn, the next round in reverse order, so that a
 * machine that gets slower or faster meanwhile favours none. The raw network is measured once a round too.
 */
export interface CompareContext {
  readonly signal: AbortSignal;
  readonly progress: Progress;
}

export async function runCompare(options: CompareOptions, context: CompareContext): Promise<CompareReport> {
  const { signal, progress } = context;
  const head = headOf('avocado bench compare', options, options.workloads, true);
  const calibration = await Calibration.open(options);
  const targets = new Map<SecurityMode, LoadTarget>();
  try {
    progress.update('calibration');
    await calibration.measureRates();
    const load: Record<string, LoadSummary> = {};
    for (const mode of SECURITY_MODES) {
      const label = mode;
      const target = await LoadTarget.open({
        mode,
        directory: undefined,
        settings: options,
        history: undefined,
        signal,
        progress,
        label,
      });
      targets.set(mode, target);
      load[mode] = await target.load();
    }
    const rounds: RoundResult[] = [];
    for (let round = 0; round < options.rounds; round++) {
      progress.note(`round ${round + 1} of ${options.rounds}`);
      signal.throwIfAborted();
      await calibration.measureEcho();
      await calibration.measureRawRates();
      for (const workload of options.workloads) {
        for (const mode of orderOf(round)) {
          // The same choices for each mode of a round, others in the next.
          const result = await targets.get(mode)!.run(workload, (options.seed + round) >>> 0);
          rounds.push({ round, ...result });
        }
      }
    }
    const replicas = targets.get('secure')!.memberCount;
    return compareReportOf(head, replicas, load, rounds, ratiosOf(rounds), calibration.result());
  } finally {
    await Promise.all([calibration.close(), ...[...targets.values()].map((target) => target.close())]);
    progress.clear();
  }
}

function orderOf(round: number): readonly SecurityMode[] {
  return round % 2 === 0 ? SECURITY_MODES : SECURITY_MODES.toReversed();
}
