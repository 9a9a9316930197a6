import { createHash } from 'node:crypto';
import { DcapVerifier } from '../../src/trust/evidence/dcap.ts';
import type { Verification } from '../../src/trust/evidence/evidence.ts';
import { makeDcapCollateral } from './dcap-collateral-maker.ts';
import { DAY_MS, NOW_MS } from './dcap-plan.ts';
import type { CertificateRole, CollateralJson, DcapChanges, Holders, QuoteShape } from './dcap-plan.ts';
import { makeDcapQuote } from './dcap-quote-maker.ts';
import { makeSgxExtensions, SGX_EXTENSIONS } from './sgx-extensions.ts';
import type { PlatformPlan } from './sgx-extensions.ts';
import { makeCertificate, makeEcKeys } from './x509-maker.ts';
import type { CertificatePlan, Holder } from './x509-maker.ts';

/**
 * A vendor of our own, in the shape of Intel's: root, PCK CA, PCK certificate, TCB signing certificate, revocation lists, a
 * quoting enclave, and quotes of an SGX enclave or a TDX machine. Everything can be changed before it is signed, so that
 * nothing but the rule under test can refuse it.
 */
export interface DcapWorld {
  readonly kind: 'sgx' | 'tdx';
  readonly quote: Buffer;
  readonly collateral: CollateralJson;
  readonly holders: Holders;
  readonly verify: (changed?: { nowMs?: number; quote?: Uint8Array; collateral?: Uint8Array | object }) => Verification;
}

export function makeDcapWorld(shape: QuoteShape, changes: DcapChanges = {}): DcapWorld {
  const kind = shape === 'sgx 3' ? 'sgx' : 'tdx';
  const platform: PlatformPlan = {
    ppid: Buffer.alloc(16, 0xa1),
    fmspc: Buffer.from('00906ed50000', 'hex'),
    pceId: Buffer.from('0000', 'hex'),
    cpuSvn: Buffer.from('0505020204010005'.padEnd(32, '0'), 'hex'),
    pceSvn: 300,
    ...changes.platform,
  };
  const holders = makeHolders(changes.certificates ?? {}, platform);
  const quote = makeDcapQuote(shape, holders, changes);
  const collateral = makeDcapCollateral(kind, holders, platform, changes);
  const verifier = new DcapVerifier(kind, changes.pinned?.(holders) ?? fingerprintOf(holders.root));
  const verify: DcapWorld['verify'] = (changed = {}) => {
    const given = changed.collateral ?? collateral;
    return verifier.verify(
      { kind, report: changed.quote ?? quote, certificates: [] },
      {
        nowMs: changed.nowMs ?? NOW_MS,
        collateral: given instanceof Uint8Array ? given : Buffer.from(JSON.stringify(given)),
      },
    );
  };
  return { kind, quote, collateral, holders, verify };
}

function makeHolders(
  changes: NonNullable<DcapChanges['certificates']>,
  platform: PlatformPlan,
): Record<CertificateRole, Holder> {
  const make = (
    role: CertificateRole,
    plan: Pick<CertificatePlan, 'name' | 'issuer' | 'isAuthority'>,
    serial: number,
  ) =>
    makeCertificate({
      notBefore: new Date(NOW_MS - 1000 * DAY_MS),
      notAfter: new Date(NOW_MS + 1000 * DAY_MS),
      keys: makeEcKeys('P-256'),
      serial,
      extensions: role === 'pck' ? [{ oid: SGX_EXTENSIONS, value: makeSgxExtensions(platform) }] : [],
      ...plan,
      ...changes[role],
    });
  const root = make('root', { name: 'Intel SGX Root CA', issuer: undefined, isAuthority: true }, 1);
  const pckCa = make('pckCa', { name: 'Intel SGX PCK Platform CA', issuer: root, isAuthority: true }, 2);
  const pck = make('pck', { name: 'Intel SGX PCK Certificate', issuer: pckCa, isAuthority: false }, 3);
  const tcbSigning = make('tcbSigning', { name: 'Intel SGX TCB Signing', issuer: root, isAuthority: false }, 4);
  return { root, pckCa, pck, tcbSigning };
}

export function fingerprintOf({ der }: Holder): string {
  return createHash('sha256').update(der).digest('hex');
}
