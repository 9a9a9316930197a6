import { createHash, sign } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import type { Evidence } from '../../src/trust/evidence/evidence.ts';
import type { SnpProductLine } from '../../src/trust/evidence/snp-endorsement.ts';
import { SnpVerifier } from '../../src/trust/evidence/snp.ts';
import { makeCertificate, makeEcKeys, makeList, makeRsaKeys, pemOf } from './x509-maker.ts';
import type { Holder, KeyPair, ListPlan } from './x509-maker.ts';

/** A vendor like AMD: its chain of certificates, its chips, their reports, all of a test's own making. */
export const NOW_MS = Date.parse('2026-03-01T00:00:00Z');
export const DAY_MS = 24 * 3_600_000;
const FROM = new Date(NOW_MS - 100 * DAY_MS);
const UNTIL = new Date(NOW_MS + 100 * DAY_MS);

/** Keys cost most of the time, and which they are does not matter. */
const KEYS = { ark: makeRsaKeys(), ask: makeRsaKeys(), leaf: makeEcKeys('P-384') };

const AMD = '1.3.6.1.4.1.3704.1';

export interface WorldPlan {
  line: SnpProductLine;
  key: 'vcek' | 'vlek';
  productName: string;
  /** Parts of the TCB that the certificate is for. */
  tcb: Readonly<Record<string, number>>;
  chipId: Uint8Array;
  leafFrom: Date;
  leafUntil: Date;
  askIsAuthority: boolean;
  leafKeys: KeyPair;
  /** Replaces the certificate's extensions. */
  leafExtensions: { oid: string; value: Uint8Array }[] | undefined;
}

export interface SnpWorld {
  readonly ark: Holder;
  readonly ask: Holder;
  readonly leaf: Holder;
  readonly verifier: SnpVerifier;
  readonly plan: WorldPlan;
  readonly collateral: (...lists: Uint8Array[]) => Uint8Array;
  readonly list: (plan?: Partial<ListPlan>) => Uint8Array;
}

const TCB_OIDS: Readonly<Record<string, string>> = {
  bootloader: `${AMD}.3.1`,
  tee: `${AMD}.3.2`,
  snp: `${AMD}.3.3`,
  microcode: `${AMD}.3.8`,
  fmc: `${AMD}.3.9`,
};

const CHIP_ID = new Uint8Array(createHash('sha512').update('chip').digest());

export function makeSnpWorld(changes: Partial<WorldPlan> = {}): SnpWorld {
  const line = changes.line ?? 'Milan';
  const isTurin = line === 'Turin';
  const turinChipId = new Uint8Array(64);
  turinChipId.set(CHIP_ID.subarray(0, 8));
  const plan: WorldPlan = {
    line,
    key: 'vcek',
    productName: `${line}-B0`,
    tcb: { bootloader: 4, tee: 1, snp: 22, microcode: 211, ...(isTurin ? { fmc: 3 } : {}) },
    chipId: isTurin ? turinChipId : CHIP_ID,
    leafFrom: FROM,
    leafUntil: UNTIL,
    askIsAuthority: true,
    leafKeys: KEYS.leaf,
    leafExtensions: undefined,
    ...changes,
  };
  const validity = { notBefore: FROM, notAfter: UNTIL };
  const ark = makeCertificate({
    name: `ARK-${line}`,
    issuer: undefined,
    keys: KEYS.ark,
    serial: 1,
    isAuthority: true,
    ...validity,
  });
  const ask = makeCertificate({
    name: plan.key === 'vcek' ? `SEV-${line}` : `SEV-VLEK-${line}`,
    issuer: ark,
    keys: KEYS.ask,
    serial: 2,
    isAuthority: plan.askIsAuthority,
    pathLengthMax: 0,
    ...validity,
  });
  const leaf = makeCertificate({
    name: plan.key === 'vcek' ? 'SEV-VCEK' : 'SEV-VLEK',
    issuer: ask,
    keys: plan.leafKeys,
    serial: 0,
    notBefore: plan.leafFrom,
    notAfter: plan.leafUntil,
    extensions: plan.leafExtensions ?? leafExtensions(plan),
  });
  const list = (listPlan: Partial<ListPlan> = {}): Uint8Array =>
    makeList({ signer: ark, thisUpdate: FROM, nextUpdate: UNTIL, ...listPlan });
  return {
    ark,
    ask,
    leaf,
    plan,
    verifier: new SnpVerifier(new Map([[createHash('sha256').update(ark.der).digest('hex'), line]])),
    list,
    collateral: (...lists) =>
      new TextEncoder().encode(
        [ask, ark].map(({ der }) => pemOf('CERTIFICATE', der)).join('') +
          lists.map((der) => pemOf('X509 CRL', der)).join(''),
      ),
  };
}

export function leafExtensions({
  line,
  key,
  productName,
  tcb,
  chipId,
}: WorldPlan): { oid: string; value: Uint8Array }[] {
  return [
    { oid: `${AMD}.1`, value: derInteger(line === 'Turin' ? 1 : 0) },
    { oid: `${AMD}.2`, value: derText(productName) },
    ...Object.entries(tcb).map(([name, value]) => ({ oid: TCB_OIDS[name]!, value: derInteger(value) })),
    key === 'vcek'
      ? { oid: `${AMD}.4`, value: line === 'Turin' ? chipId.slice(0, 8) : chipId }
      : { oid: `${AMD}.5`, value: derText('cloud.example') },
  ];
}

function derInteger(value: number): Uint8Array {
  return value < 0x80 ? Uint8Array.of(2, 1, value) : Uint8Array.of(2, 2, 0, value);
}

function derText(text: string): Uint8Array {
  return Uint8Array.of(0x16, text.length, ...Buffer.from(text));
}

export interface ReportPlan {
  version: number;
  policy: bigint;
  vmpl: number;
  measurement: Uint8Array;
  reportData: Uint8Array;
  chipId: Uint8Array;
  tcb: Readonly<Record<string, number>>;
  committedTcb: Readonly<Record<string, number>>;
  /** Family and model; version 3 and later. */
  processor: readonly [number, number];
  idKeyDigest: Uint8Array;
  authorKeyDigest: Uint8Array | undefined;
  privateKey: KeyObject;
}

export const SMT_POLICY = (1n << 17n) | (1n << 16n) | (1n << 8n) | 51n;
const PROCESSORS = { Milan: [0x19, 0x01], Genoa: [0x19, 0x11], Turin: [0x1a, 0x02] } as const;

/** Unsigned bytes may be changed before it is signed. */
export function makeReport(
  world: SnpWorld,
  changes: Partial<ReportPlan> = {},
  change: (report: Uint8Array) => void = () => {},
): Uint8Array {
  const plan: ReportPlan = {
    version: 2,
    policy: SMT_POLICY,
    vmpl: 0,
    measurement: new Uint8Array(48).fill(0xa5),
    reportData: new Uint8Array(64).fill(7),
    chipId: world.plan.chipId,
    tcb: world.plan.tcb,
    committedTcb: world.plan.tcb,
    processor: PROCESSORS[world.plan.line],
    idKeyDigest: new Uint8Array(48),
    authorKeyDigest: undefined,
    privateKey: world.leaf.privateKey,
    ...changes,
  };
  const report = new Uint8Array(1_184);
  const view = new DataView(report.buffer);
  view.setUint32(0x00, plan.version, true);
  view.setBigUint64(0x08, plan.policy, true);
  view.setUint32(0x30, plan.vmpl, true);
  view.setUint32(0x34, 1, true);
  view.setBigUint64(0x40, 1n, true);
  view.setUint32(0x48, (world.plan.key === 'vlek' ? 4 : 0) | (plan.authorKeyDigest === undefined ? 0 : 1), true);
  report.set(plan.reportData, 0x50);
  report.set(plan.measurement, 0x90);
  report.set(plan.idKeyDigest, 0xe0);
  report.set(plan.authorKeyDigest ?? new Uint8Array(48), 0x110);
  report.set(new Uint8Array(32).fill(0xff), 0x160);
  report.set(plan.chipId, 0x1a0);
  for (const offset of [0x38, 0x180, 0x1f0]) report.set(tcbBytes(plan.tcb, world.plan.line), offset);
  report.set(tcbBytes(plan.committedTcb, world.plan.line), 0x1e0);
  if (plan.version >= 3) report.set(plan.processor, 0x188);
  change(report);
  const signature = sign('sha384', report.subarray(0, 0x2a0), { key: plan.privateKey, dsaEncoding: 'ieee-p1363' });
  report.set(signature.subarray(0, 48).reverse(), 0x2a0);
  report.set(signature.subarray(48).reverse(), 0x2a0 + 72);
  return report;
}

/** The two orders of AMD's TCB_VERSION, written out once more by hand. */
function tcbBytes(tcb: Readonly<Record<string, number>>, line: SnpProductLine): Uint8Array {
  const { bootloader = 0, tee = 0, snp = 0, microcode = 0, fmc = 0 } = tcb;
  if (line === 'Turin') return Uint8Array.of(fmc, bootloader, tee, snp, 0, 0, 0, microcode);
  return Uint8Array.of(bootloader, tee, 0, 0, 0, 0, snp, microcode);
}

export function makeEvidence(world: SnpWorld, report: Uint8Array): Evidence {
  return { kind: 'sev-snp', report, certificates: [{ name: world.plan.key, bytes: world.leaf.der }] };
}
