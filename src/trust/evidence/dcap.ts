import { createHash } from 'node:crypto';
import { judgeTime } from './chain.ts';
import { INTEL_SGX_ROOT_FINGERPRINT, verifyDcapChains } from './dcap-chains.ts';
import { parseDcapCollateral } from './dcap-collateral.ts';
import type { DcapCollateral } from './dcap-collateral.ts';
import { describeDcap } from './dcap-facts.ts';
import { verifyByLibrary } from './dcap-library.ts';
import { readDcapPlatform } from './dcap-platform.ts';
import type { DcapPlatform } from './dcap-platform.ts';
import { parseDcapQuote } from './dcap-quote.ts';
import type { DcapQuote } from './dcap-quote.ts';
import { DcapRefusal, enforce, refuseQuote } from './dcap-refusal.ts';
import { judgeTdxModule } from './dcap-tdx-module.ts';
import type { Evidence, EvidenceVerifier, MeasuredFacts, Verification, VerificationContext } from './evidence.ts';

/**
 * Verifies quotes of SGX enclaves and TDX virtual machines offline. The way of trust:
 *
 *     pinned root -> PCK CA -> PCK certificate -> report of the quoting enclave -> attestation key -> quote
 *     pinned root -> TCB signing certificate -> TCB info, identity of the quoting enclave
 *     pinned root, PCK CA -> revocation lists
 *
 * Collateral: dcap-collateral.ts.
 */
export class DcapVerifier implements EvidenceVerifier {
  readonly kind: 'sgx' | 'tdx';
  readonly #rootFingerprint: string;

  /** @param rootFingerprint SHA-256 in hex of the DER of the root CA. Others than Intel's are for tests. */
  constructor(kind: 'sgx' | 'tdx', rootFingerprint: string = INTEL_SGX_ROOT_FINGERPRINT) {
    this.kind = kind;
    this.#rootFingerprint = rootFingerprint;
  }

  verify(evidence: Evidence, context: VerificationContext): Verification {
    try {
      return { ok: true, facts: verifyDcap(this.kind, evidence, context, this.#rootFingerprint) };
    } catch (error) {
      if (error instanceof DcapRefusal) return error.refusal;
      throw error;
    }
  }
}

/** Cheap checks come first. Nothing reaches the library before its certificates and lists are known to be Intel's. */
function verifyDcap(
  kind: 'sgx' | 'tdx',
  evidence: Evidence,
  { nowMs, collateral: collateralBytes }: VerificationContext,
  rootFingerprint: string,
): MeasuredFacts {
  const quote = parseDcapQuote(evidence.report);
  if (evidence.kind !== kind || quote.report.kind !== kind) {
    refuseQuote('malformed', `a quote of ${kind}`, `a quote of ${quote.report.kind}, called ${evidence.kind}`);
  }
  if (evidence.certificates.length > 0) {
    refuseQuote('malformed', 'no certificates beside the quote', `${evidence.certificates.length}`);
  }
  requireAttestationKey(quote);
  if (collateralBytes === undefined) return refuseQuote('collateral', "Intel's collateral for the platform", 'none');
  const collateral = parseDcapCollateral(collateralBytes);

  const chains = verifyDcapChains(quote, collateral, rootFingerprint, nowMs);
  const platform = readDcapPlatform(chains.pck);
  requireStatements(kind, collateral, platform, nowMs);
  const platformTcb = verifyByLibrary(evidence.report, quote, collateral, chains.root.der, nowMs);
  const tcb = quote.report.kind === 'tdx' ? judgeTdxModule(quote.report, collateral.tcbInfo, platformTcb) : platformTcb;
  const { tcbInfo, qeIdentity } = collateral;
  return {
    ...describeDcap(quote, platform, collateral, tcb),
    validFromMs: Math.max(chains.validFromMs, tcbInfo.issueDate, qeIdentity.issueDate),
    validUntilMs: Math.min(chains.validUntilMs, tcbInfo.nextUpdate, qeIdentity.nextUpdate),
  };
}

/** TCB info and identity must be valid, of this kind of TEE, and of this platform. */
function requireStatements(
  kind: 'sgx' | 'tdx',
  { tcbInfo, qeIdentity }: DcapCollateral,
  platform: DcapPlatform,
  nowMs: number,
): void {
  const ids = kind === 'sgx' ? (['SGX', 'QE'] as const) : (['TDX', 'TD_QE'] as const);
  if (tcbInfo.id !== ids[0]) refuseQuote('collateral', `TCB info of ${ids[0]}`, tcbInfo.id);
  if (qeIdentity.id !== ids[1]) refuseQuote('collateral', `the identity of the enclave ${ids[1]}`, qeIdentity.id);
  if (!tcbInfo.fmspc.equals(platform.fmspc)) {
    refuseQuote('collateral', `TCB info of FMSPC ${platform.fmspc.toString('hex')}`, tcbInfo.fmspc.toString('hex'));
  }
  if (!tcbInfo.pceId.equals(platform.pceId)) {
    refuseQuote('collateral', `TCB info of PCE ${platform.pceId.toString('hex')}`, tcbInfo.pceId.toString('hex'));
  }
  enforce(judgeTime('TCB info', tcbInfo.issueDate, tcbInfo.nextUpdate, nowMs));
  enforce(judgeTime("the quoting enclave's identity", qeIdentity.issueDate, qeIdentity.nextUpdate, nowMs));
}

/**
 * The quoting enclave binds the attestation key into its report. The library hashes the first 32 bytes of the
 * authentication data, padded; here the whole of it counts, as in Intel's verifier.
 */
function requireAttestationKey({ attestationKey, qeAuthenticationData, qeReport }: DcapQuote): void {
  const bound = createHash('sha256').update(attestationKey).update(qeAuthenticationData).digest();
  const reportData = qeReport.subarray(QE_REPORT_DATA_OFFSET, QE_REPORT_DATA_OFFSET + bound.length);
  if (bound.equals(reportData)) return;
  refuseQuote(
    'signature',
    'the attestation key that the quoting enclave bound into its report',
    `a report over ${reportData.toString('hex')}, a key that hashes to ${bound.toString('hex')}`,
  );
}

/** In a report of an enclave. */
const QE_REPORT_DATA_OFFSET = 320;
