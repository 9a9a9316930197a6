import type { SecurityMode } from '../net/mode.ts';
import { ROUTES } from '../src/client/route.ts';
import type { Route } from '../src/client/route.ts';
import type { RunResult } from './result.ts';
import { OPERATION_TYPES } from './workload.ts';
import type { OperationType } from './workload.ts';

/** Medians over rounds, and what a secure mode costs beside plaintext. */

/** A ratio in each round: their median, the lowest and the highest. */
export interface Ratio {
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

export const COMPARED_MODES = ['secure', 'authenticated'] as const satisfies readonly SecurityMode[];
export type ComparedMode = (typeof COMPARED_MODES)[number];

/** One mode to plaintext in one workload. Latencies: above 1 is slower; throughput: above 1 is faster. */
export interface WorkloadRatio {
  readonly mode: ComparedMode;
  readonly route: Route;
  readonly workload: string;
  readonly opsPerSec: Ratio;
  /** Of reads, updates and inserts together. */
  readonly p99: Ratio;
  readonly readP50?: Ratio;
  readonly updateP50?: Ratio;
  readonly insertP50?: Ratio;
  readonly rmwP50?: Ratio;
  readonly scanP50?: Ratio;
}

type P50Name = `${OperationType}P50`;

export interface RoundResult extends RunResult {
  readonly round: number;
}

export function ratiosOf(rounds: readonly RoundResult[]): WorkloadRatio[] {
  const ratios: WorkloadRatio[] = [];
  for (const workload of new Set(rounds.map((result) => result.workload))) {
    for (const { mode, route } of measured(rounds)) {
      const pairs = pairsOf(rounds, workload, mode, route);
      const opsPerSec = ratioOf(pairs, (result) => result.opsPerSec);
      const p99 = ratioOf(pairs, (result) => result.latencyUsAll?.p99);
      if (opsPerSec === undefined || p99 === undefined) continue;
      const p50s: Partial<Record<P50Name, Ratio>> = {};
      for (const type of OPERATION_TYPES) {
        const p50 = ratioOf(pairs, (result) => result.latencyUs[type]?.p50);
        if (p50 !== undefined) p50s[`${type}P50`] = p50;
      }
      ratios.push({ mode, route, workload, opsPerSec, p99, ...p50s });
    }
  }
  return ratios;
}

function measured(rounds: readonly RoundResult[]): { mode: ComparedMode; route: Route }[] {
  const routes = ROUTES.filter((route) => rounds.some((result) => result.route === route));
  return COMPARED_MODES.flatMap((mode) => routes.map((route) => ({ mode, route })));
}

/** The mode's and plaintext's result of each round, by the same route. */
function pairsOf(
  rounds: readonly RoundResult[],
  workload: string,
  mode: ComparedMode,
  route: Route,
): [RunResult, RunResult][] {
  const pairs: [RunResult, RunResult][] = [];
  for (const result of rounds) {
    if (result.workload !== workload || result.mode !== mode || result.route !== route) continue;
    const plaintext = rounds.find(
      (other) =>
        other.round === result.round &&
        other.workload === workload &&
        other.route === route &&
        other.mode === 'plaintext',
    );
    if (plaintext !== undefined) pairs.push([result, plaintext]);
  }
  return pairs;
}

/** Rounds in which either has no such figure, or zero below the line, say nothing. */
function ratioOf(
  pairs: readonly (readonly [RunResult, RunResult])[],
  figure: (result: RunResult) => number | undefined,
): Ratio | undefined {
  const ratios: number[] = [];
  for (const [result, plaintext] of pairs) {
    const above = figure(result);
    const below = figure(plaintext);
    if (above !== undefined && below !== undefined && below !== 0) ratios.push(above / below);
  }
  if (ratios.length === 0) return undefined;
  return { median: medianOf(ratios), min: Math.min(...ratios), max: Math.max(...ratios) };
}

/** Of at least one value; the mean of the middle two when there is an even number of them. */
export function medianOf(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const upper = sorted[sorted.length >> 1]!;
  return sorted.length % 2 === 1 ? upper : (sorted[(sorted.length >> 1) - 1]! + upper) / 2;
}
