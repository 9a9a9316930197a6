import { DcapVerifier } from './dcap.ts';
import { refuse } from './evidence.ts';
import type { Evidence, EvidenceKind, EvidenceVerifier, Verification, VerificationContext } from './evidence.ts';
import { SimulatedVerifier } from './simulated.ts';
import { SnpVerifier } from './snp.ts';

/** A verifier a kind, with the vendors' roots that are pinned. */
const VERIFIERS: readonly EvidenceVerifier[] = [
  new SimulatedVerifier(),
  new SnpVerifier(),
  new DcapVerifier('tdx'),
  new DcapVerifier('sgx'),
];

/** Never throws on input. Facts are verified, and judged by nobody yet: that is a policy's part. */
export function verifyEvidence(evidence: Evidence, context: VerificationContext): Verification {
  const verifier = VERIFIERS.find(({ kind }) => kind === evidence.kind);
  if (verifier === undefined) return refuse('kind', knownKinds().join(', '), evidence.kind);
  return verifier.verify(evidence, context);
}

function knownKinds(): EvidenceKind[] {
  return VERIFIERS.map(({ kind }) => kind);
}
