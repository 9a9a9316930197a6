/**
 * What a trusted execution environment (TEE) says about itself, and what is left of it once it is verified. A provider
 * (one a platform) makes evidence over 64 bytes of the caller's choice; a verifier turns evidence into measured facts,
 * offline and at a time that is handed in; a policy (policy.ts) then judges the facts. docs/trust.md tells it field by field.
 */
export const EVIDENCE_KINDS = ['simulated', 'sev-snp', 'tdx', 'sgx'] as const;

export type EvidenceKind = (typeof EVIDENCE_KINDS)[number];

/** Every platform binds exactly so many bytes of its user into a report. */
export const REPORT_DATA_BYTES = 64;

/** Shown wherever simulated evidence shows. */
export const SIMULATED_NOTICE = 'simulated: gives no confidentiality';

/** As it comes from a stranger: nothing in it is true before a verifier says so. Its stored form: evidence-file.ts. */
export interface Evidence {
  readonly kind: EvidenceKind;
  /** The platform's own bytes: an SNP report, a TDX or SGX quote, or a simulated report. */
  readonly report: Uint8Array;
  /** What the platform's host handed over with it. Quotes of Intel carry their certificates themselves. */
  readonly certificates: readonly EvidenceCertificate[];
}

export const CERTIFICATE_NAMES = ['vcek', 'vlek', 'ask', 'ark', 'platform'] as const;

export type CertificateName = (typeof CERTIFICATE_NAMES)[number];

export interface EvidenceCertificate {
  readonly name: CertificateName;
  /** X.509 in DER; a simulated platform has a format of its own (simulated-report.ts). */
  readonly bytes: Uint8Array;
}

export interface EvidenceProvider {
  readonly kind: EvidenceKind;
  /**
   * @param reportData 64 bytes that the evidence is to bind.
   * @throws AvocadoError EVIDENCE_UNAVAILABLE, saying what this machine lacks and what to do.
   */
  makeEvidence(reportData: Uint8Array): Promise<Evidence>;
}

export interface EvidenceVerifier {
  readonly kind: EvidenceKind;
  /** Never throws on input, whatever it is. Asks nobody: no clock, no network, no file. */
  verify(evidence: Evidence, context: VerificationContext): Verification;
}

export interface VerificationContext {
  /** Unix time at which every certificate, revocation list and statement must be valid. */
  readonly nowMs: number;
  /** What the vendor publishes about its platforms, as it was stored; each verifier parses its own format. */
  readonly collateral?: Uint8Array;
}

export type Verification = { readonly ok: true; readonly facts: MeasuredFacts } | Refusal;

/** Which rule failed, what it allows, what was seen. */
export interface Refusal {
  readonly ok: false;
  readonly rule: RefusalRule;
  readonly allowed: string;
  readonly seen: string;
}

export const REFUSAL_RULES = [
  /** Not the bytes that this kind of evidence has: length, version, reserved fields, encoding. */
  'malformed',
  /** A report, quote or statement is not signed by the key that it names. */
  'signature',
  /** A certificate is not signed by its issuer, may not sign, or is for another purpose. */
  'chain',
  /** The chain does not end at a root that is pinned here. */
  'root',
  'not-yet-valid',
  'expired',
  'revoked',
  /** A revocation list is missing, unreadable or not the issuer's. */
  'revocation-list',
  /** Collateral is missing, unreadable or about another platform. */
  'collateral',
  /** The certificate is of another processor line than the report. */
  'product',
  /** The certificate is of another chip than the report. */
  'chip',
  /** The certificate is of another TCB than the report; by policy: a TCB below the minimum. */
  'tcb',
  /** By policy, from here on. */
  'role',
  'kind',
  'measurement',
  'signer',
  'register',
  'tcb-status',
  'debug',
  'migration-agent',
  'vmpl',
  'platform',
  'report-data',
] as const;

export type RefusalRule = (typeof REFUSAL_RULES)[number];

export function refuse(rule: RefusalRule, allowed: string, seen: string): Refusal {
  return { ok: false, rule, allowed, seen };
}

/** What the signatures vouch for, in the terms that a policy speaks. Hex is lower case. */
export interface MeasuredFacts {
  readonly kind: EvidenceKind;
  /** Hex of the code as it was loaded: SNP launch digest, MRTD, MRENCLAVE, or the build hash. */
  readonly measurement: string;
  /** Hex digests of the keys that signed the code: SNP author and id key, MRSIGNER. */
  readonly signers: readonly string[];
  /** Further measured values by name (rtmr1, hostData, isvProdId), each as a policy states it. */
  readonly registers: Readonly<Record<string, string>>;
  /** The 64 bytes that whoever made the evidence chose. */
  readonly reportData: Uint8Array;
  /** Security versions by component; a greater one is newer. */
  readonly tcb: Readonly<Record<string, number>>;
  /** The vendor's word on the TCB where it gives one (Intel: UpToDate, OutOfDate ...). */
  readonly tcbStatus: string | undefined;
  readonly advisoryIds: readonly string[];
  /** The host may read the memory. */
  readonly debug: boolean;
  /** The guest may be moved or restored by another. */
  readonly migrationAgent: boolean;
  /** Hex: chip id, or what else tells one machine from others. Undefined where the platform hides it. */
  readonly platformId: string | undefined;
  /** Privilege level of who asked for the report, 0 the highest; undefined where there are none. */
  readonly vmpl: number | undefined;
  /** Whether a valid revocation list said that no certificate of the chain is revoked. */
  readonly revocationChecked: boolean;
  /** In this span every certificate, list and statement that was used is valid. */
  readonly validFromMs: number;
  readonly validUntilMs: number;
  /** All there is, for people; it is not judged. */
  readonly shown: readonly ShownFact[];
}

export interface ShownFact {
  readonly label: string;
  readonly value: string;
}
