import { ATTACKS } from '../../bench/attack/attacks.ts';
import { attackOwnCluster } from '../attack/own-cluster.ts';
import { MINUTE_MS } from './proof.ts';
import type { ClaimResult, Proof, ProofContext } from './proof.ts';

/** What `avocado attack` shows, in both modes that promise to catch it. */
export const attacks: Proof = {
  name: 'attacks',
  subject: 'a hostile host, network or stranger is caught',
  timeoutMs: 3 * MINUTE_MS,
  run: proveAttacks,
};

async function proveAttacks(context: ProofContext): Promise<ClaimResult[]> {
  const claims: ClaimResult[] = [];
  for (const mode of ['secure', 'authenticated'] as const) {
    context.progress(`${ATTACKS.length} attacks on a cluster of mode ${mode}`);
    const results = await attackOwnCluster(mode, ATTACKS, new AbortController().signal, 'cas');
    const missed = results.filter(({ verdict }) => verdict !== 'caught');
    claims.push({
      claim: `${attacks.subject}, in mode ${mode}`,
      ok: missed.length === 0,
      figures:
        missed.length === 0
          ? `${results.length} attacks, each caught and counted: ${results.map(({ name }) => name).join(', ')}`
          : missed.map(({ name, verdict, reason }) => `${name} ${verdict}: ${reason}`).join('; '),
      data: { mode, attacks: results },
    });
  }
  return claims;
}
