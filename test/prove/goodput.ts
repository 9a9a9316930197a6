import { formatGoodputTable } from '../../bench/goodput-report.ts';
import type { GoodputReport } from '../../bench/goodput-report.ts';
import { MINUTE_MS, count } from './proof.ts';
import type { ClaimResult, Proof, ProofContext } from './proof.ts';
import { bench } from './run-bench.ts';

/**
 * Many clients at once on the receive buffer of an untuned Linux. Each keeps 64 operations in flight, so that 64 clients
 * offer several times what the machine can do; the buffer, divided among them, holds a few kilobytes of each.
 */
const RECEIVE_BUFFER_BYTES = 212_992;
const CLIENTS = 64;
/**
 * Goodput with 64 clients to that of the best number. A share of the buffer holds one small datagram, so an operation
 * shares its datagrams with few others: that costs something, and medians of short runs scatter by a tenth. Collapse, from
 * loss or from waiting for timers, is a factor.
 */
const OF_BEST_MIN = 0.7;
const ROUNDS = 3;
const DURATION_S = 3;
const QUICK_DURATION_S = 2;

export const goodput: Proof = {
  name: 'goodput',
  subject: `${CLIENTS} clients at once on a receive buffer of ${count(RECEIVE_BUFFER_BYTES)} bytes`,
  timeoutMs: 10 * MINUTE_MS,
  run: proveGoodput,
};

async function proveGoodput(context: ProofContext): Promise<ClaimResult[]> {
  const args = ['--receive-buffer', String(RECEIVE_BUFFER_BYTES), '--rounds', String(ROUNDS), '--records', '1000'];
  const duration = ['--duration', String(context.quick ? QUICK_DURATION_S : DURATION_S), '--warmup', '1'];
  const report = (await bench(context, 'goodput with 1 to 64 clients', [
    'goodput',
    ...args,
    ...duration,
  ])) as GoodputReport;
  const last = report.runs.find(({ clients }) => clients === CLIENTS);
  if (last === undefined) throw new Error(`the bench reported nothing of ${CLIENTS} clients`);
  return [answered(report), holds(report, last.ofBest)];
}

function answered({ runs }: GoodputReport): ClaimResult {
  const errors = runs.reduce((sum, run) => sum + run.errors, 0);
  const operations = runs.reduce((sum, run) => sum + run.operations, 0);
  const buffers = runs.flatMap(({ receiveBufferBytes: { replicas, clients } }) => [replicas ?? Infinity, clients]);
  const overflows = runs.map((run) => run.overflows.replicas);
  const overflowed = overflows.some((many) => many === null)
    ? 'this system does not tell what the buffers lost'
    : `${count(overflows.reduce<number>((sum, many) => sum + (many ?? 0), 0))} datagrams over the replicas’ buffers`;
  return {
    claim: `${goodput.subject}, and fewer: every operation is answered, none fails`,
    ok: errors === 0 && runs.every((run) => run.operations > 0) && Math.max(...buffers) <= RECEIVE_BUFFER_BYTES,
    figures:
      `${count(operations)} operations of 1 to ${CLIENTS} clients, ${errors} errors; ${overflowed}; ` +
      `granted at most ${count(Math.max(...buffers))} bytes`,
    data: { errors, operations, runs },
  };
}

function holds({ runs, settings, machine }: GoodputReport, ofBest: number): ClaimResult {
  const best = runs.reduce((one, other) => (other.opsPerSec > one.opsPerSec ? other : one));
  return {
    claim: `${goodput.subject}: goodput at least ${OF_BEST_MIN} of that with the best number of clients`,
    ok: ofBest >= OF_BEST_MIN,
    figures: `${ofBest.toFixed(2)} of the best, ${count(best.opsPerSec)} ops/s with ${best.clients}; ${settings.outstanding} outstanding each, ${machine.cores} cores`,
    table: formatGoodputTable(runs),
    data: { ofBest, min: OF_BEST_MIN },
  };
}
