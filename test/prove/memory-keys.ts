import { openEngine } from '../../src/client/engine.ts';
import type { Engine, MemberStatus } from '../../src/client/operations.ts';
import { startEmbeddedCluster } from '../../src/server/embedded-cluster.ts';
import { KeySweep } from './key-sweep.ts';
import { MIB, MINUTE_MS, count, mib } from './proof.ts';
import type { ClaimResult, Proof, ProofContext } from './proof.ts';

/** A million keys in the trusted memory that a replica has by default. */
const KEYS = 1_000_000;
const TRUSTED_BYTES = 128 * MIB;
/**
 * A put is done at a quorum; the third replica may have missed one that the network lost. So whoever is short of keys
 * after a pass gets them in another.
 */
const PASSES_MAX = 3;
const STATUS_TIMEOUT_MS = 5_000;
/** What is still under way to the third replica arrives by then. */
const SETTLE_MS = 1_000;

export const memoryKeys: Proof = {
  name: 'memory-keys',
  subject: '1 million 16-byte keys fit in 128 MiB of trusted memory, also after a read-modify-write of each',
  timeoutMs: 15 * MINUTE_MS,
  run: proveKeys,
};

async function proveKeys(context: ProofContext): Promise<ClaimResult[]> {
  const cluster = await startEmbeddedCluster({ mode: 'secure', log: context.progress });
  const sweep = new KeySweep(KEYS);
  let engine: Engine | undefined;
  try {
    engine = await openEngine({ clusterDirectory: cluster.directory, sink: sweep, capacity: KeySweep.PLACES });
    let members: MemberStatus[] = [];
    let passes = 0;
    const lacks = (member: MemberStatus): boolean => member.keys !== KEYS;
    while (passes === 0 || (members.some(lacks) && passes < PASSES_MAX)) {
      passes++;
      context.progress(`puts ${count(KEYS)} keys, pass ${passes}`);
      await sweep.put(engine.operations);
      const settledMs = performance.now() + SETTLE_MS;
      do members = await engine.status(STATUS_TIMEOUT_MS);
      while (members.some(lacks) && performance.now() < settledMs);
      const missing = members.map(({ index, keys }) => `replica ${index} lacks ${count(KEYS - (keys ?? 0))}`);
      context.progress(`${missing.join(', ')} keys`);
    }
    const plainBytes = members.map(({ trustedBytes }) => trustedBytes ?? Infinity);
    context.progress(`read-modify-writes of ${count(KEYS)} keys`);
    await sweep.change(engine.operations);
    members = await engine.status(STATUS_TIMEOUT_MS);
    context.progress(`gets ${count(KEYS)} keys`);
    await sweep.get(engine.operations);
    const ok =
      sweep.wrong === 0 &&
      members.every((member) => !lacks(member) && (member.trustedBytes ?? Infinity) <= TRUSTED_BYTES) &&
      members.every((member) => member.trustedBytesMax === TRUSTED_BYTES);
    const each = members.map(
      ({ index, keys, trustedBytes, rmw }, i) =>
        `replica ${index} ${count(keys ?? 0)} keys in ${mib(plainBytes[i]!)}, after ${count(rmw?.keys ?? 0)} read-modify-writes in ${mib(trustedBytes ?? Infinity)}`,
    );
    return [
      {
        claim: memoryKeys.subject,
        ok,
        figures: `${each.join(', ')}; ${count(sweep.right)} of ${count(KEYS)} read back rightly, ${sweep.wrong} not; ${passes} pass${passes === 1 ? '' : 'es'}`,
        data: { members, plainBytes, passes, readBack: sweep.right, wrong: sweep.wrong },
      },
    ];
  } finally {
    await engine?.close();
    await cluster.stop();
  }
}
