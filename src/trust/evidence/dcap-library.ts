import { isBrowser, QuoteVerifier } from '@phala/dcap-qvl';
import { assert } from '../../../net/assert.ts';
import { TCB_STATUSES } from './dcap-collateral.ts';
import type { DcapCollateral, TcbStatus } from './dcap-collateral.ts';
import type { DcapQuote } from './dcap-quote.ts';
import { DcapRefusal, refuseQuote } from './dcap-refusal.ts';
import { refuse } from './evidence.ts';
import type { Refusal, RefusalRule } from './evidence.ts';

/**
 * The only importer of @phala/dcap-qvl. Of all it does, this is relied on: the signatures of TCB info, of the quoting
 * enclave's identity, of its report and of the quote; that report against the identity; the TCB level of the platform and
 * of the quoting enclave; debug and TD attributes. What it leaves out is done around it (dcap.ts). Its quirks, in 0.3.9:
 *
 * - It throws plain errors; their texts are told apart here.
 * - It takes the PCK chain from the collateral rather than from the quote if there is one: none is handed in.
 * - It compares TEE_TCB_SVN[0] with the TCB level in TDX 1.5, too, where Intel's verifier leaves that to the module's
 *   identity. So it can find an older level or none: stricter, never laxer.
 */
export interface TcbVerdict {
  /** Revoked is refused, whatever the policy says. */
  readonly status: Exclude<TcbStatus, 'Revoked'>;
  readonly advisoryIds: readonly string[];
}

// Where something calls itself a window it would verify in JavaScript of its own (elliptic).
assert(!isBrowser, 'the DCAP library verifies with node:crypto');

/** Texts of the library's errors. Those that cannot come up after the checks before it are left to the last line. */
const REFUSALS: readonly (readonly [RegExp, RefusalRule, string])[] = [
  [/^Signature is invalid for tcb_info/, 'signature', 'TCB info signed by the TCB signing certificate'],
  [
    /^Signature is invalid for qe_identity/,
    'signature',
    "a quoting enclave's identity signed by the TCB signing certificate",
  ],
  [
    /^Signature is invalid for qe_report/,
    'signature',
    "a quoting enclave's report signed by the PCK certificate's key",
  ],
  [/^ISV enclave report signature is invalid/, 'signature', 'a quote signed by its attestation key'],
  [/^QE (MRSIGNER|ISVPRODID|MISCSELECT|ATTRIBUTES) mismatch/, 'chain', "Intel's quoting enclave as its identity says"],
  [/^QE ISVSVN .* is below/, 'tcb', 'a quoting enclave of a version that its identity lists'],
  [/^No matching TCB level/, 'tcb', 'a platform of a TCB level that the TCB info lists'],
  [/^TCB status is invalid/, 'tcb-status', 'any status but Revoked'],
  [/^Debug mode is enabled/, 'debug', 'no debug'],
  [/^SEPT_VE_DISABLE is not enabled/, 'register', 'TD attributes with SEPT_VE_DISABLE'],
  [/^Reserved bits in TD attributes/, 'malformed', 'TD attributes without reserved bits'],
  [/^Invalid mr service td/, 'migration-agent', 'no service TD bound (MRSERVICETD zero)'],
];

/** Bit 29: the TD may be migrated. Known since TDX 1.5; the library counts it as reserved. */
const MIGRATABLE_BYTE = 3;
const MIGRATABLE_BIT = 0x20;

/**
 * Synchronous, some 10 ms.
 *
 * @param rootDer The root CA, already compared with the pinned fingerprint.
 */
export function verifyByLibrary(
  bytes: Uint8Array,
  quote: DcapQuote,
  collateral: DcapCollateral,
  rootDer: Uint8Array,
  nowMs: number,
): TcbVerdict {
  const library = QuoteVerifier.newWithRootCa(Buffer.from(rootDer));
  let verdict;
  try {
    verdict = library.verify(
      bytes,
      {
        pck_crl_issuer_chain: collateral.pckCrlIssuerChain,
        root_ca_crl: collateral.rootCaCrl.toString('hex'),
        pck_crl: collateral.pckCrl.toString('hex'),
        tcb_info_issuer_chain: collateral.tcbInfoIssuerChain,
        tcb_info: collateral.tcbInfoText,
        tcb_info_signature: collateral.tcbInfoSignature.toString('hex'),
        qe_identity_issuer_chain: collateral.qeIdentityIssuerChain,
        qe_identity: collateral.qeIdentityText,
        qe_identity_signature: collateral.qeIdentitySignature.toString('hex'),
      },
      Math.floor(nowMs / 1000),
    );
  } catch (error) {
    throw new DcapRefusal(explain(error, quote));
  }
  const status = TCB_STATUSES.find((known) => known === verdict.status);
  if (status === undefined || status === 'Revoked') {
    return refuseQuote('tcb-status', 'any status but Revoked', String(verdict.status).slice(0, 64));
  }
  return { status, advisoryIds: verdict.advisory_ids };
}

function explain(error: unknown, { report }: DcapQuote): Refusal {
  const text = error instanceof Error ? error.message.slice(0, 200) : 'something that is no error was thrown';
  const found = REFUSALS.find(([pattern]) => pattern.test(text));
  if (found === undefined) return refuse('malformed', 'a quote that can be verified', text);
  const [, rule, allowed] = found;
  if (rule === 'malformed' && report.kind === 'tdx' && (report.tdAttributes[MIGRATABLE_BYTE]! & MIGRATABLE_BIT) !== 0) {
    return refuse('migration-agent', 'a TD that may not be migrated', 'MIGRATABLE in the TD attributes');
  }
  return refuse(rule, allowed, text);
}
