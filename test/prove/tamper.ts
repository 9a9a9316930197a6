import { whyNoAccess } from '../../bench/attack/process-memory.ts';
import { startEmbeddedCluster } from '../../src/server/embedded-cluster.ts';
import { tamperWithOneReplica } from '../processes/tampering.ts';
import { MINUTE_MS, count } from './proof.ts';
import type { ClaimResult, Proof, ProofContext } from './proof.ts';

/** The host changes what it keeps for a replica. */
const VICTIM = 1;

export const tamper: Proof = {
  name: 'tamper',
  subject: 'one flipped bit in one replica’s host memory is answered rightly, counted and healed',
  timeoutMs: 3 * MINUTE_MS,
  run: proveTamper,
};

async function proveTamper(context: ProofContext): Promise<ClaimResult[]> {
  const cluster = await startEmbeddedCluster({ mode: 'secure', log: context.progress });
  try {
    const reason = whyNoAccess(cluster.processIds[VICTIM]!);
    if (reason !== undefined) throw new Error(`it can't be shown here, where ${reason}`);
    context.progress(`a bit of a sealed value is flipped in the memory of replica ${VICTIM}`);
    const report = await tamperWithOneReplica(cluster, VICTIM);
    const { gets, wrongGets, clientTampered, replicaTampered, replicaRepaired, healedPlaces } = report;
    return [
      {
        claim: tamper.subject,
        ok:
          wrongGets === 0 &&
          clientTampered > 0 &&
          replicaTampered === 1 &&
          replicaRepaired === 1 &&
          healedPlaces > 0 &&
          report.clientTamperedLater === 0,
        figures:
          `through /proc/<pid>/mem, in a sealed value of ${report.valueBytes} bytes; ${count(gets)} gets until it was met, ${wrongGets} wrong; ` +
          `client: ${clientTampered} bad copies; replica: ${replicaTampered} tampered, ${replicaRepaired} repaired; ` +
          `the bytes are whole again in ${healedPlaces} of the ${report.places} places where they were found; ${report.clientTamperedLater} bad copies met later`,
        data: { ...report },
      },
    ];
  } finally {
    await cluster.stop();
  }
}
