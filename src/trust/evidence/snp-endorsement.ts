import { refuse } from './evidence.ts';
import type { Refusal } from './evidence.ts';
import { hexOf } from '../hex.ts';
import type { SnpReport, SnpTcbBytes } from './snp-report.ts';
import { parseSmallInteger, parseText } from './x509.ts';
import type { ParsedCertificate } from './x509.ts';

/**
 * What AMD says in the certificate of a VCEK or VLEK (AMD 57230, "VCEK Certificate and KDS Interface Specification"),
 * and what differs between product lines.
 */
export const SNP_PRODUCT_LINES = ['Milan', 'Genoa', 'Turin'] as const;

export type SnpProductLine = (typeof SNP_PRODUCT_LINES)[number];

/** Of the certificates ARK-Milan, ARK-Genoa and ARK-Turin: SHA-256 of their DER, as AMD's key service gives them out. */
export const SNP_ROOTS: ReadonlyMap<string, SnpProductLine> = new Map([
  ['69d063b45344d26a2e94e1f4210de49ef555308287d4c174445c95639a540bcd', 'Milan'],
  ['4c6598d19c18719c5dfd4a7d335f674e5bfe1d8f800cea2cf270c10d103db2f1', 'Genoa'],
  ['1f084161a44bb6d93778a904877d4819cafa5d05ef4193b2ded9dd9c73dd3f6a', 'Turin'],
]);

/** Processors of one line, by family and model as CPUID counts them; Bergamo and Siena are of Genoa's line. */
const LINE_PROCESSORS: Readonly<Record<SnpProductLine, (family: number, model: number) => boolean>> = {
  Milan: (family, model) => family === 0x19 && model <= 0x0f,
  Genoa: (family, model) => family === 0x19 && ((model >= 0x10 && model <= 0x1f) || (model >= 0xa0 && model <= 0xaf)),
  Turin: (family, model) => family === 0x1a && model <= 0x11,
};

/** How product names in certificates begin. */
const LINE_NAMES: Readonly<Record<SnpProductLine, readonly string[]>> = {
  Milan: ['Milan'],
  Genoa: ['Genoa', 'Bergamo', 'Siena'],
  Turin: ['Turin'],
};

/** Parts of a TCB_VERSION from its first byte on; null is reserved. AMD 56860, TCB_VERSION. */
const TCB_PARTS_BEFORE_TURIN = ['bootloader', 'tee', null, null, null, null, 'snp', 'microcode'] as const;
const TCB_PARTS_TURIN = ['fmc', 'bootloader', 'tee', 'snp', null, null, null, 'microcode'] as const;

export type SnpTcb = Readonly<Record<string, number>>;

export function decodeTcb(bytes: SnpTcbBytes, line: SnpProductLine): SnpTcb {
  const tcb: Record<string, number> = {};
  tcbParts(line).forEach((name, i) => {
    if (name !== null) tcb[name] = bytes[i]!;
  });
  return tcb;
}

function tcbParts(line: SnpProductLine): readonly (string | null)[] {
  return line === 'Turin' ? TCB_PARTS_TURIN : TCB_PARTS_BEFORE_TURIN;
}

const AMD_ARC = '1.3.6.1.4.1.3704.1';
const PRODUCT_NAME = `${AMD_ARC}.2`;
const HARDWARE_ID = `${AMD_ARC}.4`;
const CLOUD_PROVIDER = `${AMD_ARC}.5`;
const TCB_EXTENSIONS: Readonly<Record<string, string>> = {
  bootloader: `${AMD_ARC}.3.1`,
  tee: `${AMD_ARC}.3.2`,
  snp: `${AMD_ARC}.3.3`,
  microcode: `${AMD_ARC}.3.8`,
  fmc: `${AMD_ARC}.3.9`,
};

/** Turin's chips have ids of 8 bytes; in a report zeros follow. */
const HARDWARE_ID_BYTES: Readonly<Record<SnpProductLine, number>> = { Milan: 64, Genoa: 64, Turin: 8 };

export interface SnpEndorsement {
  readonly productName: string;
  readonly tcb: SnpTcb;
  /** As long as in a report; a VLEK is of no one chip. */
  readonly hardwareId: Uint8Array | undefined;
  /** Whom AMD gave the VLEK. */
  readonly cloudProvider: string | undefined;
}

const CHIP_ID_BYTES = 64;

/** Undefined where an extension is missing, unreadable, or one that the other kind of key has. */
export function readEndorsement(
  { extensions }: ParsedCertificate,
  key: SnpReport['signingKey'],
  line: SnpProductLine,
): SnpEndorsement | undefined {
  const productName = textOf(extensions.get(PRODUCT_NAME));
  if (productName === undefined) return undefined;
  const tcb: Record<string, number> = {};
  for (const name of tcbParts(line)) {
    if (name === null) continue;
    const value = extensions.get(TCB_EXTENSIONS[name]!);
    const part = value === undefined ? undefined : parseSmallInteger(value);
    if (part === undefined) return undefined;
    tcb[name] = part;
  }
  const hardwareId = extensions.get(HARDWARE_ID);
  const cloudProvider = textOf(extensions.get(CLOUD_PROVIDER));
  if (key === 'vlek') {
    if (hardwareId !== undefined || cloudProvider === undefined) return undefined;
    return { productName, tcb, hardwareId: undefined, cloudProvider };
  }
  if (hardwareId?.length !== HARDWARE_ID_BYTES[line] || cloudProvider !== undefined) return undefined;
  const padded = new Uint8Array(CHIP_ID_BYTES);
  padded.set(hardwareId);
  return { productName, tcb, hardwareId: padded, cloudProvider };
}

/** Whether report and certificate speak of one product line, one TCB and one chip. */
export function judgeEndorsement(
  report: SnpReport,
  endorsement: SnpEndorsement,
  line: SnpProductLine,
): Refusal | undefined {
  const { processor } = report;
  // Reports before version 3 don't name the processor. Where they do, they decide: names in certificates were at times
  // wrong (go-sev-guest, verify.go).
  if (processor === undefined) {
    if (!LINE_NAMES[line].some((name) => endorsement.productName.startsWith(name))) {
      return refuse('product', `a certificate for ${line}, as its root says`, endorsement.productName);
    }
  } else if (!LINE_PROCESSORS[line](processor.family, processor.model)) {
    const seen = `family 0x${processor.family.toString(16)}, model 0x${processor.model.toString(16)}`;
    return refuse('product', `a processor of ${line}'s line, as the root says`, seen);
  }
  const reported = decodeTcb(report.reportedTcb, line);
  if (Object.entries(endorsement.tcb).some(([name, value]) => reported[name] !== value)) {
    return refuse('tcb', `the certificate's TCB, ${describeTcb(endorsement.tcb)}`, describeTcb(reported));
  }
  const { hardwareId } = endorsement;
  if (hardwareId !== undefined && !isZero(report.chipId) && Buffer.compare(hardwareId, report.chipId) !== 0) {
    return refuse('chip', `the certificate's chip, ${hexOf(hardwareId)}`, hexOf(report.chipId));
  }
  return undefined;
}

export function describeTcb(tcb: SnpTcb): string {
  return Object.entries(tcb)
    .map(([name, value]) => `${name} ${value}`)
    .join(', ');
}

export function isZero(bytes: Uint8Array): boolean {
  return bytes.every((byte) => byte === 0);
}

function textOf(value: Uint8Array | undefined): string | undefined {
  return value === undefined ? undefined : parseText(value);
}
