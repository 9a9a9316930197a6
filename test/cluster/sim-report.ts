import { Coverage, OUT_OF_REACH } from './coverage.ts';
import type { Tally } from './coverage.ts';
import type { Bias } from './random-plan.ts';
import type { RunResult } from './random-run.ts';

/** What many simulated runs come to: figures, what they covered, what failed. */
export interface Failure {
  readonly seed: number;
  readonly bias: Bias;
  readonly failure: string;
  /** The one command that runs it again. */
  readonly again: string;
}

/** A run without a failure, but with keys whose history the checker could neither accept nor refuse. */
export interface Undecided extends Omit<Failure, 'failure'> {
  readonly keys: readonly string[];
}

/**
 * From so many seeds on whatever was never met fails a run. The rarest things (a vote that comes to nothing, a handshake
 * flood) come in about one seed of 50: that 500 seeds have none of one has a chance of one in ten thousand or so.
 */
export const COVERAGE_SEEDS_MIN = 500;

/** What the checker could not tell within its bound is no failure, unless there is much of it: then nothing was checked. */
const UNDECIDED_SHARE_MAX = 0.01;

export class SimReport {
  readonly coverage = new Coverage();
  readonly failures: Failure[] = [];
  readonly undecided: Undecided[] = [];
  readonly biasCounts = new Map<Bias, number>();
  readonly commit: string;
  seedCount = 0;
  operationCount = 0;
  simulatedMs = 0;
  /** The longest that an operation took once it was calm. */
  recoveryMs = 0;

  constructor(commit: string) {
    this.commit = commit;
  }

  add(seed: number, result: RunResult): void {
    const { bias, failure, undecidedKeys } = result;
    this.seedCount++;
    this.biasCounts.set(bias, (this.biasCounts.get(bias) ?? 0) + 1);
    this.operationCount += result.operationCount;
    this.simulatedMs += result.simulatedMs;
    this.recoveryMs = Math.max(this.recoveryMs, result.recoveryMs);
    this.coverage.merge(result.coverage);
    const again = commandOf(seed, bias);
    if (failure !== undefined) this.failures.push({ seed, bias, failure, again });
    else if (undecidedKeys.length > 0) this.undecided.push({ seed, bias, keys: undecidedKeys, again });
  }

  /** What enough seeds should have met and did not; empty while there were too few to tell. */
  neverSeen(): string[] {
    return this.seedCount >= COVERAGE_SEEDS_MIN ? this.coverage.missing() : [];
  }

  get ok(): boolean {
    return this.failures.length === 0 && !this.isMuchUndecided && this.neverSeen().length === 0;
  }

  get isMuchUndecided(): boolean {
    return this.undecided.length > Math.max(1, this.seedCount * UNDECIDED_SHARE_MAX);
  }

  /** @param wallMs How long it took. */
  toJson(firstSeed: number, wallMs: number): object {
    const { coverage } = this;
    return {
      commit: this.commit,
      seeds: { first: firstSeed, count: this.seedCount },
      ok: this.ok,
      failures: this.failures,
      undecided: this.undecided,
      operations: this.operationCount,
      seconds: wallMs / 1_000,
      operationsPerSecond: perSecond(this.operationCount, wallMs),
      simulatedHours: this.simulatedMs / MS_AN_HOUR,
      recoveryMsMax: this.recoveryMs,
      biases: Object.fromEntries(this.biasCounts),
      faults: coverage.faults,
      messages: coverage.messages,
      drops: coverage.drops,
      outcomes: coverage.outcomes,
      rules: coverage.rules,
      coverageIsJudged: this.seedCount >= COVERAGE_SEEDS_MIN,
      neverSeen: coverage.missing(),
      outOfReach: OUT_OF_REACH,
    };
  }

  toText(firstSeed: number, wallMs: number): string {
    const { coverage, seedCount, failures } = this;
    const lines = [
      `${grouped(seedCount)} ${seedCount === 1 ? 'seed' : 'seeds'} from ${firstSeed} on, ${failures.length} failed, commit ${this.commit}`,
      `${grouped(this.operationCount)} operations in ${(wallMs / 1_000).toFixed(1)} s: ` +
        `${grouped(perSecond(this.operationCount, wallMs))} a second; ` +
        `${(this.simulatedMs / MS_AN_HOUR).toFixed(2)} simulated hours; ` +
        `slowest operation in calm ${this.recoveryMs.toFixed(0)} ms`,
      `biases: ${[...this.biasCounts].map(([bias, count]) => `${bias} ${grouped(count)}`).join(', ')}`,
      listed('faults', coverage.faults),
      listed('messages', coverage.messages),
      listed('drop reasons', coverage.drops),
      listed('outcomes', coverage.outcomes),
      listed('rules', coverage.rules),
      ...this.#missingLines(),
      ...this.undecided.map(describeUndecided),
      ...failures.map(describeFailure),
    ];
    return `${lines.join('\n')}\n`;
  }

  #missingLines(): string[] {
    const missing = this.coverage.missing();
    const reasons = Object.entries(OUT_OF_REACH).map(([name, why]) => `out of reach: ${name} (${why})`);
    if (missing.length === 0) return [...reasons, 'everything else was met'];
    const isJudged = this.seedCount >= COVERAGE_SEEDS_MIN;
    const verdict = isJudged
      ? 'NEVER MET, and that fails the run'
      : `not met; judged from ${COVERAGE_SEEDS_MIN} seeds on`;
    return [...reasons, `${verdict}: ${missing.join('; ')}`];
  }
}

const MS_AN_HOUR = 3_600_000;

export function commandOf(seed: number, bias: Bias): string {
  return `npm run sim -- --seed ${seed} --bias '${bias}' --trace`;
}

/** For people, with the one command that shows it again. */
export function describeFailure({ seed, bias, failure, again }: Failure): string {
  return `FAILED seed ${seed}, bias ${bias}: ${failure}\n  again with: ${again}`;
}

function describeUndecided({ seed, bias, keys, again }: Undecided): string {
  return `undecided: seed ${seed}, bias ${bias}: the history of ${keys.join(', ')}\n  again with: ${again}`;
}

function listed<Name extends string>(title: string, tally: Tally<Name>): string {
  const counts = tally.names.flatMap((name) => (tally.of(name) > 0 ? [`${name} ${grouped(tally.of(name))}`] : []));
  return `${title}: ${counts.join(', ')}`;
}

function perSecond(count: number, ms: number): number {
  return Math.round((count * 1_000) / Math.max(ms, 1));
}

function grouped(count: number): string {
  return count.toLocaleString('en-US');
}
