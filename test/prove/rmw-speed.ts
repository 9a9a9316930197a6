import { formatContentionTable } from '../../bench/contention-report.ts';
import type { ContentionReport } from '../../bench/contention-report.ts';
import type { BenchReport } from '../../bench/report.ts';
import { MINUTE_MS, count } from './proof.ts';
import type { ClaimResult, Proof, ProofContext } from './proof.ts';
import { bench } from './run-bench.ts';

/**
 * What read-modify-writes cost: alone and contended, beside plain operations in the same minutes. One claim is about them
 * alone, that sums are right; the figures are for whoever has to choose.
 */
const RECORDS = ['--records', '1000'];
const DURATION_S = 4;
const QUICK_DURATION_S = 2;
/** Enough counters that two increments seldom meet. */
const SPREAD_KEYS = 10_000;
const OUTSTANDING = 256;

export const rmwSpeed: Proof = {
  name: 'rmw-speed',
  subject: 'read-modify-writes, contended and not, beside plain operations',
  timeoutMs: 15 * MINUTE_MS,
  run: proveRmwSpeed,
};

async function proveRmwSpeed(context: ProofContext): Promise<ClaimResult[]> {
  const time = ['--duration', String(context.quick ? QUICK_DURATION_S : DURATION_S), '--warmup', '1'];
  const contended = (await bench(context, 'contention: 64 clients', ['contention', ...time])) as ContentionReport;
  const spread = (await bench(context, 'increments of one client, seldom two on a key', [
    'contention',
    '--clients',
    '1',
    '--keys',
    String(SPREAD_KEYS),
    '--outstanding',
    String(OUTSTANDING),
    ...time,
  ])) as ContentionReport;
  const run = async (what: string, ...args: string[]): Promise<BenchReport> =>
    await bench(context, what, [...args, ...RECORDS, ...time]);
  const a = await run('workload A', '--workload', 'A');
  const writes = await run('writes only', '--read', '0');
  const f = await run('workload F, get and put', '--workload', 'F');
  const atomic = await run('workload F, atomic', '--workload', 'F', '--atomic');
  const rate = ({ runs }: BenchReport): string => `${count(runs[0]!.opsPerSec)} ops/s`;
  return [
    {
      claim: '64 clients that increment 1 to 10,000 counters at once: each sum is exact',
      ok: contended.runs.every(({ isExact }) => isExact) && spread.runs.every(({ isExact }) => isExact),
      figures:
        `one client, ${OUTSTANDING} outstanding on ${count(SPREAD_KEYS)} counters: ${rate(spread)}; ` +
        `plain writes ${rate(writes)}, workload A ${rate(a)}; workload F ${rate(f)} by get and put, ` +
        `${rate(atomic)} by get and compare-and-set (${count(atomic.runs[0]!.conflicts ?? 0)} of them tried again)`,
      table: formatContentionTable(contended.runs),
      data: { contended, spread, a, writes, f, atomic },
    },
  ];
}
