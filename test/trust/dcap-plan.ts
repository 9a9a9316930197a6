import { sign } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import type { PlatformPlan } from './sgx-extensions.ts';
import { makeEcKeys, pemOf } from './x509-maker.ts';
import type { CertificatePlan, Holder, ListPlan } from './x509-maker.ts';

/** What can be other than in a world of DCAP where all is well (dcap-world.ts), and what its makers share. */
export const NOW_MS = Date.parse('2030-06-15T12:00:00Z');
export const DAY_MS = 86_400_000;

export interface DcapChanges {
  certificates?: Partial<Record<CertificateRole, Partial<CertificatePlan>>>;
  platform?: Partial<PlatformPlan>;
  rootList?: (holders: Holders) => Partial<ListPlan>;
  pckList?: (holders: Holders) => Partial<ListPlan>;
  tcbInfo?: (info: TcbInfoJson) => void;
  qeIdentity?: (identity: QeIdentityJson) => void;
  header?: (header: Buffer) => void;
  report?: (report: Buffer) => void;
  qeReport?: (report: Buffer) => void;
  authenticationData?: Buffer;
  /** What the quoting enclave binds, where it is not what the quote carries. */
  boundAuthenticationData?: Buffer;
  /** Signs in the place of the one that should. */
  signers?: Partial<Record<'tcbInfo' | 'qeIdentity' | 'qeReport' | 'quote', KeyObject>>;
  /** `after` follows the chain, `afterAll` all of the signature data, each counted in the lengths around it. */
  certification?: {
    type?: number;
    outerType?: number;
    pem?: (holders: Holders) => string;
    after?: Buffer;
    afterAll?: Buffer;
  };
  /** Of the finished file and quote. */
  collateral?: (collateral: CollateralJson, holders: Holders) => void;
  quote?: (quote: Buffer) => Buffer;
  pinned?: (holders: Holders) => string;
}

export type CertificateRole = 'root' | 'pckCa' | 'pck' | 'tcbSigning';
export type Holders = Readonly<Record<CertificateRole, Holder>>;

export interface TcbInfoJson {
  id: string;
  version: number;
  issueDate: string;
  nextUpdate: string;
  fmspc: string;
  pceId: string;
  tcbType: number;
  tcbEvaluationDataNumber: number;
  tdxModule?: ModuleJson;
  tdxModuleIdentities?: (ModuleJson & { id: string; tcbLevels: IsvLevelJson[] })[];
  tcbLevels: PlatformLevelJson[];
}

export interface ModuleJson {
  mrsigner: string;
  attributes: string;
  attributesMask: string;
}

export interface IsvLevelJson {
  tcb: { isvsvn: number };
  tcbDate: string;
  tcbStatus: string;
  advisoryIDs?: readonly string[];
}

export interface PlatformLevelJson {
  tcb: { sgxtcbcomponents: { svn: number }[]; pcesvn: number; tdxtcbcomponents?: { svn: number }[] };
  tcbDate: string;
  tcbStatus: string;
  advisoryIDs: readonly string[];
}

export interface QeIdentityJson {
  id: string;
  version: number;
  issueDate: string;
  nextUpdate: string;
  tcbEvaluationDataNumber: number;
  miscselect: string;
  miscselectMask: string;
  attributes: string;
  attributesMask: string;
  mrsigner: string;
  isvprodid: number;
  tcbLevels: IsvLevelJson[];
}

/** The file of collateral; every field is text. */
export type CollateralJson = Record<string, string>;

export const QUOTE_SHAPES = ['sgx 3', 'tdx 4', 'tdx 5, 1.0', 'tdx 5, 1.5'] as const;
export type QuoteShape = (typeof QUOTE_SHAPES)[number];

/** Of the enclave that signs quotes: its report and its identity name them. */
export const QE_MRSIGNER = Buffer.alloc(32, 0x51);
export const QE_ISVSVN = 8;
/** Of the TDX module, Intel's own. */
export const MODULE_MRSIGNER = Buffer.alloc(48);

export function anyKey(): KeyObject {
  return makeEcKeys('P-256').privateKey;
}

/** r and s, as quotes and statements carry a signature. */
export function signRaw(message: Uint8Array, key: KeyObject): Buffer {
  return sign('sha256', message, { key, dsaEncoding: 'ieee-p1363' });
}

/** Leaf first. */
export function chainPem(...holders: readonly Holder[]): string {
  return holders.map(({ der }) => pemOf('CERTIFICATE', der)).join('');
}
