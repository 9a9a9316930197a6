import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { MINUTE_MS, count } from './proof.ts';
import type { ClaimResult, Proof, ProofContext } from './proof.ts';

/** The same seeds each time, by as many processes as small machines have cores. */
const SEEDS = 10_000;
const SEEDS_QUICK = 500;
const PROCESSES = 2;

const program = fileURLToPath(new URL('../cluster/sim.js', import.meta.url));

/** What is read here of `npm run sim -- --json`. */
interface SimSummary {
  readonly failures: readonly { readonly seed: number; readonly again: string }[];
  readonly neverSeen: readonly string[];
  readonly operations: number;
  readonly operationsPerSecond: number;
  readonly simulatedHours: number;
}

export const simulation: Proof = {
  name: 'simulation',
  subject: 'whole clusters in a simulated world of faults are linearizable and finish, whatever the seed',
  timeoutMs: 90 * MINUTE_MS,
  run: proveSimulation,
};

async function proveSimulation(context: ProofContext): Promise<ClaimResult[]> {
  const seeds = context.quick ? SEEDS_QUICK : SEEDS;
  const share = Math.ceil(seeds / PROCESSES);
  context.progress(`${count(share * PROCESSES)} seeds in ${PROCESSES} processes`);
  const parts = await Promise.all(Array.from({ length: PROCESSES }, (_, part) => simulate(1 + part * share, share)));
  const failures = parts.flatMap((part) => part.failures);
  // What one process has met need not come to the other.
  const neverSeen = parts[0]!.neverSeen.filter((name) => parts.every((part) => part.neverSeen.includes(name)));
  const operations = parts.reduce((sum, part) => sum + part.operations, 0);
  const perSecond = parts.reduce((sum, part) => sum + part.operationsPerSecond, 0);
  const hours = parts.reduce((sum, part) => sum + part.simulatedHours, 0);
  return [
    {
      claim: `${count(share * PROCESSES)} seeds of simulated clusters pass`,
      ok: failures.length === 0,
      figures:
        failures.length === 0
          ? `${count(operations)} operations, ${count(perSecond)} a second, ${hours.toFixed(1)} simulated hours`
          : `${failures.length} failed; the first again with: ${failures[0]!.again}`,
      data: { seeds: share * PROCESSES, failures, operations, operationsPerSecond: perSecond, simulatedHours: hours },
    },
    {
      claim: 'every message kind, drop reason, outcome, fault and protocol rule was met in them',
      ok: neverSeen.length === 0,
      figures: neverSeen.length === 0 ? 'nothing was missing' : `never seen: ${neverSeen.join(', ')}`,
      data: { neverSeen },
    },
  ];
}

async function simulate(first: number, seeds: number): Promise<SimSummary> {
  const child = spawn(
    process.execPath,
    [program, '--first', String(first), '--seeds', String(seeds), '--json', '--quiet'],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  const [output] = await Promise.all([text(child.stdout), once(child, 'exit')]);
  return JSON.parse(output) as SimSummary;
}
