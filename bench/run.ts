import { findCluster } from '../src/cli/find-cluster.ts';
import { readConfiguration } from '../src/trust/cluster-configuration.ts';
import { STREAM_FIRST_RECORD, streamSettings, streamWorkload } from './beside.ts';
import type { Stream } from './beside.ts';
import { HistoryParts } from './history-parts.ts';
import { wrongInput } from '../src/cli/failure.ts';
import type { BenchOptions } from './options.ts';
import type { Progress } from './progress.ts';
import { headOf } from './report.ts';
import type { BenchReport } from './report.ts';
import { LoadTarget } from './target.ts';

/**
 * One bench from start to report: a cluster (its own or a given one), load phase, warm-up, measurement. Whatever
 * happens, processes end, the cluster of its own is stopped and temporary files are removed.
 */
export interface BenchContext {
  /** Its reason is what the bench then rejects with. */
  readonly signal: AbortSignal;
  readonly progress: Progress;
  /** The user named the mode: a given cluster must have it. */
  readonly modeIsGiven: boolean;
}

export async function runBench(options: BenchOptions, context: BenchContext): Promise<BenchReport> {
  const { signal, progress } = context;
  const connected = connectedCluster(options, context.modeIsGiven);
  const mode = connected?.mode ?? options.mode;
  const head = headOf('avocado bench', options, [options.workload], connected === undefined, [options.route]);
  const history = options.historyPath === undefined ? undefined : new HistoryParts(options.historyPath);
  let target: LoadTarget | undefined;
  try {
    const directory = connected?.directory;
    const { replicas } = options;
    target = await LoadTarget.open({
      mode,
      route: options.route,
      directory,
      replicas,
      scans: options.scans,
      settings: options,
      history,
      signal,
      progress,
      label: mode,
    });
    const load = await target.load();
    const { workload, seed } = options;
    const measured =
      options.beside === undefined
        ? { runs: [await target.run(workload, seed)] }
        : await runBeside(target, options.beside, options, context);
    await target.finish();
    await target.close();
    await history?.merge(options.clients);
    return { ...head, replicas: target.memberCount, load: { [mode]: load }, ...measured };
  } finally {
    await target?.close();
    history?.remove();
  }
}

/** The load alone, and then again together with the stream; both windows are as long and begin together. */
async function runBeside(
  target: LoadTarget,
  stream: Stream,
  options: BenchOptions,
  { signal, progress }: BenchContext,
): Promise<Pick<BenchReport, 'runs' | 'beside'>> {
  const streaming = await LoadTarget.open({
    mode: target.mode,
    ...target.cluster,
    settings: streamSettings(options, stream),
    firstRecord: STREAM_FIRST_RECORD,
    history: undefined,
    signal,
    progress,
    label: 'stream',
  });
  try {
    await streaming.load();
    const { workload, seed } = options;
    const alone = await target.run(workload, seed);
    const [run, streamed] = await Promise.all([
      target.run(workload, (seed + 1) >>> 0),
      streaming.run(streamWorkload(stream), seed),
    ]);
    await streaming.finish();
    return { runs: [run], beside: { stream, alone, streamed } };
  } finally {
    await streaming.close();
  }
}

interface ConnectedCluster {
  readonly directory: string;
  readonly mode: BenchOptions['mode'];
}

/** Undefined when the bench starts a cluster of its own. */
function connectedCluster(options: BenchOptions, modeIsGiven: boolean): ConnectedCluster | undefined {
  if (options.connect === false) return undefined;
  const directory = findCluster(options.connect === true ? undefined : options.connect);
  const { mode } = readConfiguration(directory);
  if (modeIsGiven && options.mode !== mode) {
    throw wrongInput(`the cluster in ${directory} runs in mode ${mode}: leave --mode out, or give another cluster`);
  }
  return { directory, mode };
}
