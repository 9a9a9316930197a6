import { formatWorkers } from '../../bench/workers/report.ts';
import type { WorkersReport } from '../../bench/workers/report.ts';
import { MINUTE_MS, count } from './proof.ts';
import type { ClaimResult, Proof, ProofContext } from './proof.ts';
import { bench } from './run-bench.ts';

/**
 * Where workers win, by size of values, and what they do to small gets beside a stream of 1 MiB puts: the tables are for
 * reading. Throughput depends on whether the machine has cores to spare; what a value costs the loop's thread does not.
 */
const LARGE_BYTES = 1_048_576;
/** A hand-over costs the loop some tens of µs, sealing 1 MiB some 800. */
const HANDED_OVER_MAX = 0.5;
const ROUNDS = 3;
const QUICK_ROUNDS = 1;

export const workers: Proof = {
  name: 'workers',
  subject: 'workers take large values off the event loop',
  timeoutMs: 10 * MINUTE_MS,
  run: proveWorkers,
};

async function proveWorkers(context: ProofContext): Promise<ClaimResult[]> {
  const rounds = context.quick ? QUICK_ROUNDS : ROUNDS;
  const args = ['workers', '--workers', '2', '--rounds', String(rounds), '--duration', '2'];
  const report = await bench<WorkersReport>(context, 'with workers and without', args);
  const cost = report.loopCost?.find(({ valueBytes }) => valueBytes === LARGE_BYTES);
  const size = report.sizes.find(({ valueBytes }) => valueBytes === LARGE_BYTES);
  if (cost === undefined || size === undefined) throw new Error('the bench reported nothing of values of 1 MiB');
  return [
    {
      claim: `${workers.subject}: a value of 1 MiB costs it at most ${HANDED_OVER_MAX} of what sealing costs it`,
      ok: cost.workerUs <= HANDED_OVER_MAX * cost.inlineUs && size.jobs > 0,
      figures:
        `${count(cost.workerUs)} µs of the loop’s processor time instead of ${count(cost.inlineUs)}; ` +
        `${count(size.jobs)} jobs done by workers under load, no operation lost`,
      table: formatWorkers(report).trimEnd(),
      data: { ...report },
    },
  ];
}
