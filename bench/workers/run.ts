import { startEmbeddedCluster } from '../../src/server/embedded-cluster.ts';
import { LoadTarget } from '../target.ts';
import type { Progress } from '../progress.ts';
import { failureOf } from '../result.ts';
import { CommandFailure, EXIT_FAILED } from '../../src/cli/failure.ts';
import { workloadOf } from '../workload.ts';
import { measureBeside } from './beside.ts';
import type { BesideResult } from './beside.ts';
import { measureLoopCost } from './loop-cost.ts';
import { settingsFor } from './options.ts';
import type { WorkersOptions } from './options.ts';
import { median, workersReportOf } from './report.ts';
import type { BesideRow, SizeRow, WorkersReport } from './report.ts';

/**
 * `avocado bench workers`: where workers win. Everything is measured with and without them, in turn, on clusters that are
 * idle meanwhile; the figures are medians of the rounds.
 */
export interface WorkersContext {
  readonly signal: AbortSignal;
  readonly progress: Progress;
}

/** Enough gets for a p99, so few that the loop is not busy with them; as many large puts as keep the cluster busy. */
const GETS_OUTSTANDING = 4;
const PUTS_OUTSTANDING = 2;
const PUT_BYTES = 1_048_576;

export async function runWorkers(options: WorkersOptions, context: WorkersContext): Promise<WorkersReport> {
  context.progress.update('what sealing costs the loop');
  const loopCost = await measureLoopCost(options.workers, options.sizes);
  const sizes: SizeRow[] = [];
  for (const valueBytes of options.sizes) sizes.push(await measureSize(options, valueBytes, context));
  const beside = await measureAllBeside(options, context);
  context.progress.clear();
  return workersReportOf(options, loopCost, sizes, beside);
}

async function measureSize(
  options: WorkersOptions,
  valueBytes: number,
  { signal, progress }: WorkersContext,
): Promise<SizeRow> {
  const targets: LoadTarget[] = [];
  const samples = [0, options.workers].map(() => ({ opsPerSec: [] as number[], p99Us: [] as number[] }));
  const jobs: number[] = [];
  try {
    for (const workers of [0, options.workers]) {
      const settings = settingsFor(options, valueBytes, workers);
      const label = `${valueBytes} bytes, ${workers} workers`;
      const rest = { mode: 'secure', directory: undefined, history: undefined, signal, progress } as const;
      const target = await LoadTarget.open({ ...rest, settings, label });
      targets.push(target);
      await target.load();
    }
    for (let round = 0; round < options.rounds; round++) {
      for (const which of round % 2 === 0 ? [0, 1] : [1, 0]) {
        const result = await targets[which]!.run(workloadOf('A'), round);
        // A machine that is busy with other things may get nothing done at the largest sizes: that is a figure, too.
        const failure = result.operations === 0 ? undefined : failureOf(result);
        if (failure !== undefined) throw new CommandFailure(`error: ${failure}`, EXIT_FAILED);
        samples[which]!.opsPerSec.push(result.opsPerSec);
        samples[which]!.p99Us.push(result.latencyUsAll?.p99 ?? 0);
        if (result.workers !== undefined) jobs.push(result.workers.clientJobs + result.workers.replicaJobs);
      }
    }
  } finally {
    await Promise.all(targets.map((target) => target.close()));
  }
  const [without, with_] = samples.map(({ opsPerSec, p99Us }) => ({
    opsPerSec: median(opsPerSec),
    p99Us: median(p99Us),
  }));
  return { valueBytes, without: without!, with: with_!, jobs: Math.max(0, ...jobs) };
}

async function measureAllBeside(
  options: WorkersOptions,
  { signal, progress }: WorkersContext,
): Promise<readonly BesideRow[]> {
  const { workersFromBytes } = options;
  const threshold = workersFromBytes === undefined ? {} : { workersFromBytes };
  const kinds = [
    { name: 'gets alone', workers: 0, putsOutstanding: 0 },
    { name: 'beside 1 MiB puts, no workers', workers: 0, putsOutstanding: PUTS_OUTSTANDING },
    {
      name: `beside 1 MiB puts, ${options.workers} workers`,
      workers: options.workers,
      putsOutstanding: PUTS_OUTSTANDING,
    },
  ];
  const rows: BesideRow[] = [];
  for (const { name, workers, putsOutstanding } of kinds) {
    const log = (line: string): void => progress.note(line);
    const cluster = await startEmbeddedCluster({ mode: 'secure', workers, ...threshold, signal, log });
    try {
      const results: BesideResult[] = [];
      for (let round = 0; round < options.rounds; round++) {
        progress.update(`${name}, round ${round + 1} of ${options.rounds}`);
        results.push(
          await measureBeside({
            clusterDirectory: cluster.directory,
            workers,
            ...threshold,
            getsOutstanding: GETS_OUTSTANDING,
            putsOutstanding,
            putBytes: PUT_BYTES,
            durationMs: options.durationMs,
            signal,
          }),
        );
      }
      rows.push({
        name,
        p50Us: median(results.map(({ getsUs }) => getsUs.p50)),
        p99Us: median(results.map(({ getsUs }) => getsUs.p99)),
        getsPerSec: median(results.map(({ getsPerSec }) => getsPerSec)),
        putsPerSec: median(results.map(({ putsPerSec }) => putsPerSec)),
      });
    } finally {
      await cluster.stop();
    }
  }
  return rows;
}
