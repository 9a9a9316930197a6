import { join } from 'node:path';
import { medianOf } from '../../bench/compare-ratio.ts';
import type { RunResult } from '../../bench/result.ts';
import { buildBefore } from './earlier-build.ts';
import { MINUTE_MS, count, notRun } from './proof.ts';
import type { ClaimResult, Proof, ProofContext } from './proof.ts';
import { bench } from './run-bench.ts';

/**
 * What plain gets and puts paid for read-modify-writes: workload A on this build and on the last one without them, which is
 * built from the history. Both take turns in one run, so that what else the machine does meets both.
 */
const FIRST_FILE = 'src/protocol/rmw-acceptor.ts';
/** Each of both; an odd number, so that a median is a run. */
const ROUNDS = 5;
const QUICK_ROUNDS = 3;
/** Flags that both know. */
const BENCH = ['--workload', 'A', '--records', '1000', '--outstanding', '256', '--clients', '1'];
const TIME = ['--duration', '4', '--warmup', '2'];
const RATIO_MIN = 0.9;
const CLAIM = `workload A, which has no read-modify-writes: at least ${RATIO_MIN} of the throughput of the last build that knew none`;

export const plainBefore: Proof = {
  name: 'plain-before',
  subject: CLAIM,
  timeoutMs: 15 * MINUTE_MS,
  run: provePlainBefore,
};

async function provePlainBefore(context: ProofContext): Promise<ClaimResult[]> {
  context.progress(`builds what was there before ${FIRST_FILE}`);
  const earlier = await buildBefore(FIRST_FILE, join(context.directory, 'earlier'));
  if (!earlier.ok) return [notRun(CLAIM, earlier.reason)];
  const rounds = context.quick ? QUICK_ROUNDS : ROUNDS;
  const before: RunResult[] = [];
  const after: RunResult[] = [];
  for (let round = 1; round <= rounds; round++) {
    const run = async (name: string, main?: string): Promise<RunResult> => {
      const args = [...BENCH, ...TIME, '--seed', String(round)];
      return (await bench(context, `${name}, ${round} of ${rounds}`, args, main)).runs[0]!;
    };
    before.push(await run(`before, commit ${earlier.commit}`, earlier.main));
    after.push(await run('after, this build'));
  }
  return [claimOf(earlier.commit, before, after)];
}

function claimOf(commit: string, before: readonly RunResult[], after: readonly RunResult[]): ClaimResult {
  const ratio = medianOf(after.map(rateOf)) / medianOf(before.map(rateOf));
  const ratios = after.map((run, round) => rateOf(run) / rateOf(before[round]!));
  return {
    claim: CLAIM,
    ok: ratio >= RATIO_MIN,
    figures:
      `ratio of medians ${ratio.toFixed(3)}, of single rounds ${spread(ratios, (value) => value.toFixed(2))}; ` +
      `before (commit ${commit}) ${figuresOf(before)}; after ${figuresOf(after)}; ${after.length} runs each, in turn`,
    data: { commit, ratio, ratioMin: RATIO_MIN, ratios, before, after },
  };
}

function figuresOf(runs: readonly RunResult[]): string {
  const median = (figure: (run: RunResult) => number): number => medianOf(runs.map(figure));
  return (
    `${count(median(rateOf))} ops/s (${spread(runs.map(rateOf), count)}), ` +
    `p99 ${count(median(p99Of))} µs (${spread(runs.map(p99Of), count)}), CPU ${median(cpuUsOf).toFixed(2)} µs an operation`
  );
}

function spread(values: readonly number[], text: (value: number) => string): string {
  return `${text(Math.min(...values))} to ${text(Math.max(...values))}`;
}

function rateOf({ opsPerSec }: RunResult): number {
  return opsPerSec;
}

/** Of gets and puts together. */
function p99Of({ latencyUsAll }: RunResult): number {
  return latencyUsAll?.p99 ?? Infinity;
}

function cpuUsOf({ cpuUsPerOp }: RunResult): number {
  return (cpuUsPerOp.replicas ?? Infinity) + cpuUsPerOp.clients;
}
