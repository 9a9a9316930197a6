import { verify } from 'node:crypto';
import { commonNameOf, judgeChain, judgeRevocation, validitySpan } from './chain.ts';
import { refuse } from './evidence.ts';
import type {
  Evidence,
  EvidenceVerifier,
  MeasuredFacts,
  Refusal,
  ShownFact,
  Verification,
  VerificationContext,
} from './evidence.ts';
import { hexOf } from '../hex.ts';
import { parsePem, PEM_BYTES_MAX } from './pem.ts';
import { decodeTcb, describeTcb, isZero, judgeEndorsement, readEndorsement, SNP_ROOTS } from './snp-endorsement.ts';
import type { SnpEndorsement, SnpProductLine, SnpTcb } from './snp-endorsement.ts';
import { parseSnpReport, SNP_POLICY_DEBUG, SNP_POLICY_MIGRATION_AGENT, SNP_POLICY_SMT } from './snp-report.ts';
import type { SnpReport } from './snp-report.ts';
import { isIssuedBy, parseCertificate, parseRevocationList } from './x509.ts';
import type { ParsedCertificate, RevocationList } from './x509.ts';

/**
 * AMD SEV-SNP, verified offline. A report is signed by the chip's VCEK, or by a VLEK that AMD gave a cloud provider; that
 * key's certificate is signed by the product line's ASK (of VLEKs: ASVK), and that by its ARK, which is pinned. Collateral
 * is PEM: ASK and ARK where the host hands over none, and the ARK's revocation list.
 */
export class SnpVerifier implements EvidenceVerifier {
  readonly kind = 'sev-snp';
  readonly #roots: ReadonlyMap<string, SnpProductLine>;

  /** @param roots Others than AMD's are for tests: SHA-256 of a root's DER in hex, and its product line. */
  constructor(roots: ReadonlyMap<string, SnpProductLine> = SNP_ROOTS) {
    this.#roots = roots;
  }

  verify(evidence: Evidence, context: VerificationContext): Verification {
    const parsed = parseSnpReport(evidence.report);
    if (!parsed.ok) return parsed;
    const { report } = parsed;

    const pool = collect(evidence, context.collateral);
    if ('rule' in pool) return pool;
    const chain = findChain(report, pool.certificates);
    if ('rule' in chain) return chain;
    const [leaf, , ark] = chain;

    const badChain = judgeChain(chain, { rootFingerprints: new Set(this.#roots.keys()), nowMs: context.nowMs });
    if (badChain !== undefined) return badChain;
    // AMD's list of revoked certificates is the ARK's: it names ASKs. A VCEK that got old has a TCB that got old.
    const revocation = judgeRevocation(chain, pool.lists, [ark], context.nowMs);
    if (!revocation.ok) return revocation;

    if (!isReportSignedBy(report, leaf)) {
      const seen = 'another signature, or changed bytes';
      return refuse('signature', `a report signed by the ${report.signingKey.toUpperCase()}`, seen);
    }
    const line = this.#roots.get(ark.fingerprint)!;
    const endorsement = readEndorsement(leaf, report.signingKey, line);
    if (endorsement === undefined) {
      const what = `AMD's extensions of a ${report.signingKey.toUpperCase()}, ${line}'s line`;
      return refuse('malformed', what, 'a certificate without, or with others');
    }
    const mismatch = judgeEndorsement(report, endorsement, line);
    if (mismatch !== undefined) return mismatch;

    const facts = factsOf(report, endorsement, line);
    const span = validitySpan(chain, revocation.lists);
    return { ok: true, facts: { ...facts, ...span, revocationChecked: revocation.isChecked } };
  }
}

interface Pool {
  readonly certificates: readonly ParsedCertificate[];
  readonly lists: readonly RevocationList[];
}

function collect(evidence: Evidence, collateral: Uint8Array | undefined): Pool | Refusal {
  const certificates: ParsedCertificate[] = [];
  for (const { name, bytes } of evidence.certificates) {
    const certificate = parseCertificate(bytes);
    if (certificate === undefined) return refuse('malformed', 'X.509 certificates in DER', `${name} is none`);
    certificates.push(certificate);
  }
  if (collateral === undefined) return { certificates, lists: [] };
  const pem = parsePem(collateral);
  if (pem === undefined) {
    const allowed = `PEM with certificates and revocation lists, ${PEM_BYTES_MAX} bytes at most`;
    return refuse('collateral', allowed, `${collateral.length} bytes that are not`);
  }
  for (const der of pem.certificates) {
    const certificate = parseCertificate(der);
    if (certificate === undefined) return refuse('collateral', 'X.509 certificates', 'a block that is none');
    certificates.push(certificate);
  }
  const lists: RevocationList[] = [];
  for (const der of pem.revocationLists) {
    const list = parseRevocationList(der);
    if (list === undefined) {
      return refuse('revocation-list', 'X.509 revocation lists that say until when they hold', 'a block that is none');
    }
    lists.push(list);
  }
  return { certificates, lists };
}

const LEAF_NAMES: Readonly<Record<SnpReport['signingKey'], string>> = { vcek: 'SEV-VCEK', vlek: 'SEV-VLEK' };

type Chain = readonly [leaf: ParsedCertificate, ask: ParsedCertificate, ark: ParsedCertificate];

/** By names; where several have one name, one whose signature fits. Whether it holds is judged afterwards. */
function findChain(report: SnpReport, certificates: readonly ParsedCertificate[]): Chain | Refusal {
  const wanted = LEAF_NAMES[report.signingKey];
  const leaves = certificates.filter(({ subjectName }) => commonNameOf(subjectName) === wanted);
  // A stored file may hold the certificates of many chips.
  const leaf = leaves.find((candidate) => isReportSignedBy(report, candidate)) ?? leaves[0];
  if (leaf === undefined) {
    return refuse('collateral', `the ${report.signingKey.toUpperCase()}'s certificate`, namesOf(certificates));
  }
  const ask = issuerOf(leaf, certificates);
  if (ask === undefined) return missingIssuer(leaf, certificates);
  const ark = issuerOf(ask, certificates);
  if (ark === undefined) return missingIssuer(ask, certificates);
  return [leaf, ask, ark];
}

/** None at all is an omission; others in its place are another chain. */
function missingIssuer({ issuerName }: ParsedCertificate, certificates: readonly ParsedCertificate[]): Refusal {
  const rule = certificates.some(({ maySignCertificates }) => maySignCertificates) ? 'chain' : 'collateral';
  return refuse(rule, `the certificate of ${commonNameOf(issuerName)}`, namesOf(certificates));
}

function issuerOf(
  certificate: ParsedCertificate,
  certificates: readonly ParsedCertificate[],
): ParsedCertificate | undefined {
  const named = certificates.filter(({ subjectName }) => subjectName === certificate.issuerName);
  return named.find((issuer) => isIssuedBy(certificate, issuer)) ?? named[0];
}

function namesOf(certificates: readonly ParsedCertificate[]): string {
  return certificates.map(({ subjectName }) => commonNameOf(subjectName)).join(', ') || 'no certificate';
}

function isReportSignedBy(report: SnpReport, { publicKey }: ParsedCertificate): boolean {
  if (publicKey.asymmetricKeyType !== 'ec' || publicKey.asymmetricKeyDetails?.namedCurve !== 'secp384r1') return false;
  return verify('sha384', report.signedBytes, { key: publicKey, dsaEncoding: 'ieee-p1363' }, report.signature);
}

function factsOf(
  report: SnpReport,
  { productName, hardwareId, cloudProvider }: SnpEndorsement,
  line: SnpProductLine,
): Omit<MeasuredFacts, 'validFromMs' | 'validUntilMs' | 'revocationChecked'> {
  const signers: string[] = [];
  if (report.hasAuthorKey) signers.push(hexOf(report.authorKeyDigest));
  if (!isZero(report.idKeyDigest)) signers.push(hexOf(report.idKeyDigest));
  const tcbs = {
    reported: decodeTcb(report.reportedTcb, line),
    committed: decodeTcb(report.committedTcb, line),
    launch: decodeTcb(report.launchTcb, line),
    current: decodeTcb(report.currentTcb, line),
  };
  const platformId = hardwareId ?? (isZero(report.chipId) ? undefined : report.chipId);
  const abi = `${(report.policy >> 8n) & 0xffn}.${report.policy & 0xffn}`;
  const smt = (report.policy & SNP_POLICY_SMT) !== 0n ? 'allowed' : 'forbidden';
  const registers: Record<string, string> = {
    familyId: hexOf(report.familyId),
    imageId: hexOf(report.imageId),
    hostData: hexOf(report.hostData),
    smt,
    ...(cloudProvider === undefined ? {} : { cloudProvider }),
  };
  return {
    kind: 'sev-snp',
    measurement: hexOf(report.measurement),
    signers,
    registers,
    reportData: report.reportData,
    // The firmware may go back to what is committed, and a guest keeps what it was launched under: the least counts.
    tcb: { ...leastOf(Object.values(tcbs)), guestSvn: report.guestSvn },
    tcbStatus: undefined,
    advisoryIds: [],
    debug: (report.policy & SNP_POLICY_DEBUG) !== 0n,
    migrationAgent: (report.policy & SNP_POLICY_MIGRATION_AGENT) !== 0n,
    platformId: platformId === undefined ? undefined : hexOf(platformId),
    vmpl: report.vmpl,
    shown: [
      { label: 'processor', value: describeProcessor(report, productName, line) },
      { label: 'report version', value: String(report.version) },
      { label: 'signed by', value: report.signingKey === 'vcek' ? 'VCEK, one chip' : `VLEK of ${cloudProvider}` },
      { label: 'guest policy', value: `0x${report.policy.toString(16)}: SMT ${smt}, firmware ABI ${abi} or later` },
      { label: 'platform info', value: `0x${report.platformInfo.toString(16)}` },
      { label: 'firmware', value: `${report.currentFirmware}, committed ${report.committedFirmware}` },
      ...Object.entries(tcbs).map(([name, tcb]): ShownFact => ({ label: `${name} TCB`, value: describeTcb(tcb) })),
      ...(report.mitigations === undefined
        ? []
        : [
            {
              label: 'mitigations',
              value: `0x${report.mitigations.current.toString(16)}, at launch 0x${report.mitigations.launch.toString(16)}`,
            },
          ]),
      { label: 'report id', value: hexOf(report.reportId) },
      { label: 'migration agent id', value: hexOf(report.migrationAgentReportId) },
    ],
  };
}

function leastOf(tcbs: readonly SnpTcb[]): SnpTcb {
  const least: Record<string, number> = {};
  for (const tcb of tcbs) {
    for (const [name, value] of Object.entries(tcb)) least[name] = Math.min(value, least[name] ?? value);
  }
  return least;
}

function describeProcessor({ processor }: SnpReport, productName: string, line: SnpProductLine): string {
  const names = `${productName}, ${line}'s line`;
  if (processor === undefined) return names;
  const { family, model, stepping } = processor;
  return `${names}, family 0x${family.toString(16)}, model 0x${model.toString(16)}, stepping ${stepping}`;
}
