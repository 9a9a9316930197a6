import { z } from 'zod';
import { AvocadoError } from '../../errors.ts';
import { refuseQuote } from './dcap-refusal.ts';
import { parseStrictJson } from './strict-json.ts';

/**
 * What Intel publishes about its platforms, as one JSON file beside the evidence, in the format that dcap-qvl stores:
 * revocation lists as hex of DER, signatures as hex of r and s, chains as PEM, and the two signed statements as the very
 * text that was signed.
 */
export interface DcapCollateral {
  /** PEM: the CA that issues PCK certificates, and the root. */
  readonly pckCrlIssuerChain: string;
  readonly rootCaCrl: Buffer;
  readonly pckCrl: Buffer;
  /** PEM: the certificate that signs statements, and the root. */
  readonly tcbInfoIssuerChain: string;
  readonly tcbInfoText: string;
  readonly tcbInfoSignature: Buffer;
  readonly qeIdentityIssuerChain: string;
  readonly qeIdentityText: string;
  readonly qeIdentitySignature: Buffer;
  /** PEM. Newer tools store the PCK certificate's chain, too; it must be the quote's own. */
  readonly pckCertificateChain: string | undefined;
  readonly tcbInfo: TcbInfo;
  readonly qeIdentity: QeIdentity;
}

/** The samples have 16 KB; revocation lists grow. Everything is bounded, because it is parsed before it is trusted. */
const COLLATERAL_CHARS_MAX = 512 * 1024;
/** About 1,200 revoked certificates; the longest list of 2025 has 46. */
const CRL_BYTES_MAX = 64 * 1024;
/** Three certificates in PEM have 3.6 KB. */
const CHAIN_CHARS_MAX = 16 * 1024;
const STATEMENT_CHARS_MAX = 128 * 1024;
/** The longest statement of 2025 has 18 levels of 16 components. */
const LEVELS_MAX = 256;
/** ECDSA over P-256: r and s. */
const SIGNATURE_BYTES = 64;

/** In Intel's order. */
export const TCB_STATUSES = [
  'UpToDate',
  'SWHardeningNeeded',
  'ConfigurationNeeded',
  'ConfigurationAndSWHardeningNeeded',
  'OutOfDate',
  'OutOfDateConfigurationNeeded',
  'Revoked',
] as const;

export type TcbStatus = (typeof TCB_STATUSES)[number];

function hexBytes(bytesMin: number, bytesMax: number) {
  return z
    .string()
    .max(2 * bytesMax, `must be ${bytesMax} bytes at most, in hexadecimal`)
    .regex(/^(?:[0-9a-fA-F]{2})*$/, 'must be hexadecimal')
    .transform((text) => Buffer.from(text, 'hex'))
    .refine((bytes) => bytes.length >= bytesMin, `must have ${bytesMin} bytes at least`);
}

const exactBytes = (byteCount: number) => hexBytes(byteCount, byteCount);
const chain = z.string().max(CHAIN_CHARS_MAX);
const statement = z.string().max(STATEMENT_CHARS_MAX);

const COLLATERAL = z.strictObject({
  pck_crl_issuer_chain: chain,
  root_ca_crl: hexBytes(0, CRL_BYTES_MAX),
  pck_crl: hexBytes(0, CRL_BYTES_MAX),
  tcb_info_issuer_chain: chain,
  tcb_info: statement,
  tcb_info_signature: exactBytes(SIGNATURE_BYTES),
  qe_identity_issuer_chain: chain,
  qe_identity: statement,
  qe_identity_signature: exactBytes(SIGNATURE_BYTES),
  pck_certificate_chain: chain.nullish(),
});

const timeMs = z
  .string()
  .regex(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/, 'must be a time as 2025-07-01T00:00:00Z')
  .transform((text) => Date.parse(text))
  .refine((ms) => !Number.isNaN(ms), 'must be a time');
const svn = z.int().min(0).max(255);
const isvSvn = z.int().min(0).max(0xffff);
const status = z.enum(TCB_STATUSES);
const advisoryIDs = z.array(z.string().max(64)).max(LEVELS_MAX).optional();
const components = z.array(z.object({ svn })).length(16);
const evaluationNumber = z.int().min(0).max(0xffff_ffff);
const isvLevels = z
  .array(z.object({ tcb: z.object({ isvsvn: isvSvn }), tcbStatus: status, advisoryIDs }))
  .max(LEVELS_MAX);

const tdxModule = { mrsigner: exactBytes(48), attributes: exactBytes(8), attributesMask: exactBytes(8) };

/** Fields that Intel signs and nobody here reads may be added at any time: they are left out, not refused. */
const TCB_INFO = z.object({
  id: z.enum(['SGX', 'TDX']),
  version: z.literal(3),
  issueDate: timeMs,
  nextUpdate: timeMs,
  fmspc: exactBytes(6),
  pceId: exactBytes(2),
  tcbType: z.literal(0),
  tcbEvaluationDataNumber: evaluationNumber,
  tdxModule: z.object(tdxModule).optional(),
  tdxModuleIdentities: z
    .array(z.object({ id: z.string().max(16), ...tdxModule, tcbLevels: isvLevels }))
    .max(LEVELS_MAX)
    .optional(),
  tcbLevels: z
    .array(
      z.object({
        tcb: z.object({ sgxtcbcomponents: components, pcesvn: isvSvn, tdxtcbcomponents: components.optional() }),
        tcbStatus: status,
        advisoryIDs,
      }),
    )
    .min(1)
    .max(LEVELS_MAX),
});

const QE_IDENTITY = z.object({
  id: z.enum(['QE', 'TD_QE']),
  version: z.literal(2),
  issueDate: timeMs,
  nextUpdate: timeMs,
  tcbEvaluationDataNumber: evaluationNumber,
  miscselect: exactBytes(4),
  miscselectMask: exactBytes(4),
  attributes: exactBytes(16),
  attributesMask: exactBytes(16),
  mrsigner: exactBytes(32),
  isvprodid: isvSvn,
  tcbLevels: isvLevels.min(1),
});

export type TcbInfo = z.infer<typeof TCB_INFO>;
export type QeIdentity = z.infer<typeof QE_IDENTITY>;

/** Shape and bounds only; nothing is verified. Refuses what is not this format. */
export function parseDcapCollateral(bytes: Uint8Array): DcapCollateral {
  const file = parse(new TextDecoder().decode(bytes), COLLATERAL, 'the collateral', COLLATERAL_CHARS_MAX);
  return {
    pckCrlIssuerChain: file.pck_crl_issuer_chain,
    rootCaCrl: file.root_ca_crl,
    pckCrl: file.pck_crl,
    tcbInfoIssuerChain: file.tcb_info_issuer_chain,
    tcbInfoText: file.tcb_info,
    tcbInfoSignature: file.tcb_info_signature,
    qeIdentityIssuerChain: file.qe_identity_issuer_chain,
    qeIdentityText: file.qe_identity,
    qeIdentitySignature: file.qe_identity_signature,
    pckCertificateChain: file.pck_certificate_chain ?? undefined,
    tcbInfo: parse(file.tcb_info, TCB_INFO, 'the TCB info', STATEMENT_CHARS_MAX),
    qeIdentity: parse(file.qe_identity, QE_IDENTITY, 'the identity of the quoting enclave', STATEMENT_CHARS_MAX),
  };
}

function parse<T>(text: string, schema: z.ZodType<T>, what: string, charsMax: number): T {
  try {
    return parseStrictJson(text, schema, what, charsMax);
  } catch (error) {
    if (!(error instanceof AvocadoError)) throw error;
    return refuseQuote('collateral', `${what} in the format that dcap-qvl stores`, error.message);
  }
}
