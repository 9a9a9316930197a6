import type { CompareReport } from '../../bench/compare-report.ts';
import { medianOf } from '../../bench/compare-ratio.ts';
import type { BenchReport } from '../../bench/report.ts';
import type { RunResult } from '../../bench/result.ts';
import type { SecurityMode } from '../../net/mode.ts';
import { MINUTE_MS, count } from './proof.ts';
import type { ClaimResult, Proof, ProofContext } from './proof.ts';
import { bench } from './run-bench.ts';

/**
 * Speed by the project's own bench, as its users run it: three replicas and the load process together on this machine,
 * values of 256 bytes, 256 operations outstanding, direct route. Figures are medians of three short runs. The targets
 * are for two cores; the calibration beside them tells what this machine gives.
 *
 * The targets are held at 1,000 records, recordcount in YCSB's own workload files. With the bench's default of 100,000
 * each operation misses the processor's caches several times more; those figures, of one run each, stand beside them.
 */
const RECORDS = ['--records', '1000'];
const ROUNDS = 3;
const DURATION_S = 5;
const QUICK_DURATION_S = 3;
const WARMUP_S = 2;

const SECURE_OPS_MIN = { A: 200_000, B: 280_000, C: 300_000 } as const;
const WRITES_OPS_MIN = 150_000;
const PLAINTEXT_A_OPS_MIN = 400_000;
const CPU_US_PER_OP_MAX = 8;
/** Of a get's p50, one operation outstanding: to plaintext's, and to a datagram sent and returned by two bare processes. */
const GET_TO_PLAINTEXT_MAX = 1.4;
const GET_TO_ECHO_MAX = 1.6;

export const speed: Proof = {
  name: 'speed',
  subject: 'throughput and latency under YCSB load',
  timeoutMs: 30 * MINUTE_MS,
  run: proveSpeed,
};

async function proveSpeed(context: ProofContext): Promise<ClaimResult[]> {
  const duration = ['--duration', String(context.quick ? QUICK_DURATION_S : DURATION_S), '--warmup', String(WARMUP_S)];
  const compare = async (name: string, ...args: string[]): Promise<CompareReport> =>
    (await bench(context, name, ['compare', '--rounds', String(ROUNDS), ...duration, ...args])) as CompareReport;
  const mixed = await compare('A, B and C in each mode', '--workloads', 'A,B,C', ...RECORDS);
  const single = await compare('one operation at a time', '--workloads', 'C', '--outstanding', '1', ...RECORDS);
  const many = await compare('with 100,000 records', '--workloads', 'A,B,C', '--rounds', '1');
  const writes: RunResult[] = [];
  for (let round = 1; round <= ROUNDS; round++) {
    const args = ['--read', '0', '--seed', String(round), ...RECORDS, ...duration];
    writes.push(...(await bench(context, `writes only, ${round} of ${ROUNDS}`, args)).runs);
  }
  const manyWrites = await bench(context, 'writes only, 100,000 records', ['--read', '0', ...duration]);
  return [...throughputClaims(mixed, writes, many, manyWrites.runs[0]!), ...latencyClaims(single)];
}

function throughputClaims(
  mixed: CompareReport,
  writes: readonly RunResult[],
  many: CompareReport,
  manyWrites: RunResult,
): ClaimResult[] {
  const beside = besideCalibration(mixed);
  const a = runOf(mixed, 'A', 'secure');
  const cpuUs = cpuUsOf(a);
  const atLeast = (claim: string, opsPerSec: number, min: number, withMany: RunResult, data: object): ClaimResult => ({
    claim: `${claim}: at least ${count(min)} ops/s`,
    ok: opsPerSec >= min,
    figures: `${count(opsPerSec)} ops/s; with 100,000 records ${count(withMany.opsPerSec)} (${beside})`,
    data: { opsPerSec, min, withMany, ...data },
  });
  return [
    ...(['A', 'B', 'C'] as const).map((name) => {
      const run = runOf(mixed, name, 'secure');
      return atLeast(`secure, workload ${name}`, run.opsPerSec, SECURE_OPS_MIN[name], runOf(many, name, 'secure'), {
        run,
      });
    }),
    atLeast('secure, writes only', medianOf(writes.map((run) => run.opsPerSec)), WRITES_OPS_MIN, manyWrites, {
      runs: writes,
    }),
    {
      claim: `secure, workload A: at most ${CPU_US_PER_OP_MAX} µs of CPU an operation, replicas and client together`,
      ok: cpuUs <= CPU_US_PER_OP_MAX,
      figures: `${cpuUs.toFixed(2)} µs, ${a.cpuUsPerOp.clients.toFixed(2)} of them in the client; with 100,000 records ${cpuUsOf(runOf(many, 'A', 'secure')).toFixed(2)} (${beside})`,
      data: { cpuUs, max: CPU_US_PER_OP_MAX, run: a },
    },
    ((run) =>
      atLeast('plaintext, workload A, same run', run.opsPerSec, PLAINTEXT_A_OPS_MIN, runOf(many, 'A', 'plaintext'), {
        run,
      }))(runOf(mixed, 'A', 'plaintext')),
  ];
}

function latencyClaims(single: CompareReport): ClaimResult[] {
  const beside = besideCalibration(single);
  const secureUs = runOf(single, 'C', 'secure').latencyUs.read?.p50 ?? Infinity;
  const plaintextUs = runOf(single, 'C', 'plaintext').latencyUs.read?.p50 ?? Number.NaN;
  const echoUs = single.calibration.echoUs.p50;
  const atMost = (claim: string, otherName: string, otherUs: number, factorMax: number): ClaimResult => ({
    claim: `one operation outstanding, p50 of a secure get: at most ${factorMax} times ${claim}`,
    ok: secureUs / otherUs <= factorMax,
    figures: `${secureUs} µs, ${otherName} ${otherUs} µs: x ${(secureUs / otherUs).toFixed(2)} (${beside})`,
    data: { secureUs, otherUs, factorMax, runs: single.runs, calibration: single.calibration },
  });
  return [
    atMost('plaintext’s', 'plaintext', plaintextUs, GET_TO_PLAINTEXT_MAX),
    atMost('a bare UDP echo', 'echo', echoUs, GET_TO_ECHO_MAX),
  ];
}

function cpuUsOf(run: RunResult): number {
  return run.cpuUsPerOp.replicas === null ? Infinity : run.cpuUsPerOp.replicas + run.cpuUsPerOp.clients;
}

function runOf(report: BenchReport, workload: string, mode: SecurityMode): RunResult {
  const run = report.runs.find((candidate) => candidate.workload === workload && candidate.mode === mode);
  if (run === undefined) throw new Error(`the bench reported no workload ${workload} in mode ${mode}`);
  return run;
}

function besideCalibration({ calibration, machine }: CompareReport): string {
  const { echoUs, datagramsPerSec, aeadCallsPerSec } = calibration;
  return (
    `${machine.cores} cores; calibration: echo p50 ${echoUs.p50} µs, ${count(datagramsPerSec.sent)} datagrams/s sent, ` +
    `${count(aeadCallsPerSec)} AEAD calls/s`
  );
}
