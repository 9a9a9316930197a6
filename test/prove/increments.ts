import { startEmbeddedCluster } from '../../src/server/embedded-cluster.ts';
import { runIncrements } from '../processes/increments.ts';
import type { IncrementsResult } from '../processes/increments.ts';
import { MINUTE_MS, count } from './proof.ts';
import type { ClaimResult, Proof, ProofContext } from './proof.ts';

/** Read-modify-writes on real replicas: none is lost and none done twice, while a replica dies. */
const CLIENTS = 64;
const PROCESSES = 4;
const INCREMENTS = 100_000;
const QUICK_INCREMENTS = 10_000;
const KEY_COUNTS = [1, 100];
const VICTIM = 1;
const DEADLINE_MS = 30_000;

export const increments: Proof = {
  name: 'increments',
  subject: `${CLIENTS} clients that increment the same counters while a replica is killed`,
  timeoutMs: 20 * MINUTE_MS,
  run: async (context) => {
    const claims: ClaimResult[] = [];
    for (const keys of KEY_COUNTS) claims.push(await prove(context, keys));
    return claims;
  },
};

async function prove({ quick, progress }: ProofContext, keys: number): Promise<ClaimResult> {
  const wanted = quick ? QUICK_INCREMENTS : INCREMENTS;
  const counters = keys === 1 ? '1 counter' : `${keys} counters`;
  progress(`${count(wanted)} increments on ${counters}, then kill -9 of replica ${VICTIM}`);
  const cluster = await startEmbeddedCluster({ mode: 'secure', log: progress });
  try {
    const result = await runIncrements({
      clusterDirectory: cluster.directory,
      clients: CLIENTS,
      processes: PROCESSES,
      keys,
      increments: wanted,
      deadlineMs: DEADLINE_MS,
      strikeAt: wanted / 2,
      strike: () => process.kill(cluster.processIds[VICTIM]!, 'SIGKILL'),
    });
    return {
      claim: `${CLIENTS} clients, ${count(wanted)} increments on ${counters}, one of three replicas killed half-way: the sum is exact`,
      ok: result.isExact && result.acknowledged === wanted,
      figures: figuresOf(result),
      data: { ...result, sum: String(result.sum) },
    };
  } finally {
    await cluster.stop();
  }
}

function figuresOf(result: IncrementsResult): string {
  const { acknowledged, errors, sum, rateBefore, rateAfter, mostOfOne, leastOfOne } = result;
  const failed = Object.entries(errors).map(([code, times]) => `${count(times)} ${code}`);
  return (
    `${count(acknowledged)} acknowledged, ${failed.join(', ') || 'no error'}, sum ${count(Number(sum))}; ` +
    `${count(rateBefore)} a second before and ${count(rateAfter)} after, ${count(leastOfOne)} to ${count(mostOfOne)} a client`
  );
}
