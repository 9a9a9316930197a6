import type { EvidenceProvider, Verification } from '../evidence/evidence.ts';
import type { Evidence, EvidenceKind } from '../evidence/evidence.ts';
import { verifyEvidence } from '../evidence/verifiers.ts';

/** What the platform that a service or a member runs on can do for it. Of strangers' platforms: EvidenceJudge. */
export interface Platform {
  readonly kind: EvidenceKind;
  readonly provider: EvidenceProvider;
  /** For enclaves on this machine; undefined where the processor has no local reports and evidence stands in. */
  readonly local: LocalReports | undefined;
  readonly sealing: SealingKeys;
}

/** SGX has local reports: a processor tells one enclave of another on the same machine, without any service. */
export interface LocalReports {
  /** @param reportData 64 bytes. */
  make(reportData: Uint8Array): Promise<Uint8Array>;
  /** Never throws on input. */
  verify(report: Uint8Array): Verification;
}

export interface SealingKeys {
  /** For people: what the key rests on. */
  readonly description: string;
  /** 32 bytes that only this code on this machine gets. @throws AvocadoError EVIDENCE_UNAVAILABLE. */
  key(): Promise<Uint8Array>;
}

/** Verifies evidence of any kind, with what the vendors publish as far as it is stored here. */
export class EvidenceJudge {
  readonly #collateral: ReadonlyMap<EvidenceKind, Uint8Array>;

  constructor(collateral: ReadonlyMap<EvidenceKind, Uint8Array> = new Map()) {
    this.#collateral = collateral;
  }

  /** Never throws on input. */
  verify(evidence: Evidence, nowMs: number): Verification {
    const collateral = this.#collateral.get(evidence.kind);
    return verifyEvidence(evidence, { nowMs, ...(collateral !== undefined && { collateral }) });
  }
}
