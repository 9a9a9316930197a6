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
const testRunner = fileURLToPath(new URL('../run.js', import.meta.url));

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
    await proveMutants(context),
  ];
}

/** That such runs can fail at all: each rule of the protocol left out is caught by some seed. */
async function proveMutants(context: ProofContext): Promise<ClaimResult> {
  context.progress('rules left out, one by one');
  const { exitCode, output } = await run([testRunner, 'cluster/mutants']);
  const closingLine = output.trimEnd().split('\n').at(-1) ?? '';
  const seeds = [...output.matchAll(/seed (\d+):/g)].map(([, seed]) => Number(seed));
  return {
    claim: 'every rule of the protocol that is left out on purpose is caught',
    ok: exitCode === 0 && seeds.length > 0 && /^[1-9]\d* passed, 0 failed/.test(closingLine),
    figures: `${seeds.length} rules left out, each caught within ${Math.max(...seeds)} seeds; ${closingLine}`,
    data: { seeds, exitCode, closingLine },
  };
}

async function simulate(first: number, seeds: number): Promise<SimSummary> {
  const { output } = await run([program, '--first', String(first), '--seeds', String(seeds), '--json', '--quiet']);
  return JSON.parse(output) as SimSummary;
}

async function run(args: readonly string[]): Promise<{ exitCode: number | null; output: string }> {
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  const [output] = await Promise.all([text(child.stdout), once(child, 'exit')]);
  return { exitCode: child.exitCode, output };
}
