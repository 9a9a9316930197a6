import { commonNameOf, judgeChain, judgeRevocation, validitySpan } from './chain.ts';
import type { DcapCollateral } from './dcap-collateral.ts';
import type { DcapQuote } from './dcap-quote.ts';
import { DcapRefusal, enforce, refuseQuote } from './dcap-refusal.ts';
import { parseCertificate, parseRevocationList } from './x509.ts';
import type { ParsedCertificate, RevocationList } from './x509.ts';

/**
 * Everything that Intel signs hangs from one root:
 *
 *     root CA ---- PCK CA (processor or platform) ---- PCK certificate: signs the quoting enclave's report
 *        |               '-- its revocation list
 *        |---- TCB signing certificate: signs TCB info and the quoting enclave's identity
 *        '-- its revocation list
 *
 * The DCAP library checks signatures and dates of certificates. It does not ask whether a certificate may issue others or
 * what it is for, and it skips revocation lists that it cannot read and never checks their signatures. So chains and lists
 * are judged here, before the library sees anything.
 */

/** SHA-256 of the DER of "Intel SGX Root CA", serial 22650cd6..., as Intel publishes it with its provisioning service. */
export const INTEL_SGX_ROOT_FINGERPRINT = '44a0196b2b99f889b8e149e95b807a350e7424964399e885a7cbb8ccfab674d3';

const PCK_NAMES = ['Intel SGX PCK Certificate'];
const PCK_CA_NAMES = ['Intel SGX PCK Processor CA', 'Intel SGX PCK Platform CA'];
const TCB_SIGNING_NAMES = ['Intel SGX TCB Signing'];

export interface DcapChains {
  readonly pck: ParsedCertificate;
  readonly root: ParsedCertificate;
  /** In this span all certificates and lists are valid. */
  readonly validFromMs: number;
  readonly validUntilMs: number;
}

/** @param rootFingerprint SHA-256 in hex of the only root that is accepted. */
export function verifyDcapChains(
  quote: DcapQuote,
  collateral: DcapCollateral,
  rootFingerprint: string,
  nowMs: number,
): DcapChains {
  const rules = { rootFingerprints: new Set([rootFingerprint]), nowMs };
  const pckChain = readChain(quote.pckChainPem.toString('latin1'), 3, "the PCK certificate's chain");
  enforce(judgeChain(pckChain, rules));
  const [pck, pckCa, root] = pckChain as [ParsedCertificate, ParsedCertificate, ParsedCertificate];
  requireName(pckCa, PCK_CA_NAMES);
  requireLeaf(pck, PCK_NAMES);
  requireSamePlatform(collateral, pckChain);

  const signerChains = [collateral.tcbInfoIssuerChain, collateral.qeIdentityIssuerChain].map((pem) => {
    const chain = readChain(pem, 2, "a statement's chain");
    enforce(judgeChain(chain, rules));
    requireLeaf(chain[0]!, TCB_SIGNING_NAMES);
    return chain;
  });

  const lists = [
    readList(collateral.rootCaCrl, "the root CA's revocation list"),
    readList(collateral.pckCrl, "the PCK CA's revocation list"),
  ];
  requireUnrevoked(pckChain, lists, [pckCa, root], nowMs);
  for (const chain of signerChains) requireUnrevoked(chain, lists, [root], nowMs);
  return { pck, root, ...validitySpan([...pckChain, ...signerChains.flat()], lists) };
}

function requireName({ subjectName }: ParsedCertificate, names: readonly string[]): void {
  const name = commonNameOf(subjectName);
  if (!names.includes(name)) refuseQuote('chain', names.join(' or '), name);
}

function requireLeaf(leaf: ParsedCertificate, names: readonly string[]): void {
  requireName(leaf, names);
  if (leaf.maySignCertificates) refuseQuote('chain', `${names.join(' or ')} at the end of its chain`, 'an authority');
}

/** Lists and chains of another PCK CA speak about other platforms. */
function requireSamePlatform(collateral: DcapCollateral, pckChain: readonly ParsedCertificate[]): void {
  const listChain = readChain(collateral.pckCrlIssuerChain, 2, "the chain of the PCK CA's revocation list");
  requireSame(listChain, pckChain.slice(1), "the PCK CA's revocation list of the CA that issued the PCK certificate");
  if (collateral.pckCertificateChain === undefined) return;
  const stored = readChain(collateral.pckCertificateChain, 3, "the collateral's PCK certificate chain");
  requireSame(stored, pckChain, "the quote's own PCK certificate chain");
}

function requireSame(
  seen: readonly ParsedCertificate[],
  expected: readonly ParsedCertificate[],
  allowed: string,
): void {
  const other = seen.find(({ fingerprint }, i) => fingerprint !== expected[i]!.fingerprint);
  if (other === undefined) return;
  refuseQuote('collateral', allowed, `${commonNameOf(other.subjectName)}, SHA-256 ${other.fingerprint}`);
}

function readList(der: Buffer, what: string): RevocationList {
  const list = parseRevocationList(der);
  return list ?? refuseQuote('revocation-list', what, `${der.length} bytes that are none`);
}

/** @param issuers All those of the chain whose list is wanted; each must have one. */
function requireUnrevoked(
  chain: readonly ParsedCertificate[],
  lists: readonly RevocationList[],
  issuers: readonly ParsedCertificate[],
  nowMs: number,
): void {
  const revocation = judgeRevocation(chain, lists, issuers, nowMs);
  if (!revocation.ok) throw new DcapRefusal(revocation);
  if (revocation.isChecked) return;
  const [wanted, seen] = [issuers.map((issuer) => issuer.subjectName), lists.map((list) => list.issuerName)];
  refuseQuote('revocation-list', `lists of ${wanted.map(commonNameOf).join(', ')}`, seen.map(commonNameOf).join(', '));
}

const PEM_BEGIN = '-----BEGIN CERTIFICATE-----\n';
const PEM_END = '-----END CERTIFICATE-----\n';

/**
 * Certificates in PEM, leaf first. No signature covers the text, so here it has one spelling, other than in pem.ts: lines
 * of 64 characters and nothing around them (RFC 7468, 3, strict). The last line feed may be missing, and the zero may
 * stand at the end with which Intel's quote library ends strings. Quotes and collateral are bounded, so texts are, too.
 */
function readChain(pem: string, certificateCount: number, what: string): ParsedCertificate[] {
  const text = pem.endsWith('\0') ? pem.slice(0, -1) : pem;
  const blocks = (text.endsWith('\n') ? text : `${text}\n`).split(PEM_END);
  if (blocks.pop() !== '' || blocks.length !== certificateCount) {
    refuseQuote('malformed', `${what} as ${certificateCount} certificates in PEM`, 'fewer, more, or something else');
  }
  return blocks.map((block, i) => {
    const der = Buffer.from(block.slice(PEM_BEGIN.length), 'base64');
    const certificate = encodePem(der) === block + PEM_END ? parseCertificate(der) : undefined;
    return (
      certificate ?? refuseQuote('malformed', `${what} in PEM`, `certificate ${i} is no X.509, or is spelt otherwise`)
    );
  });
}

function encodePem(der: Buffer): string {
  return `${PEM_BEGIN}${der.toString('base64').replace(/.{1,64}/g, '$&\n')}${PEM_END}`;
}
