import { refuseQuote } from './dcap-refusal.ts';
import { parseVendorTable } from './x509.ts';
import type { ParsedCertificate } from './x509.ts';

/** What Intel says about a platform in its PCK certificate's "SGX Extensions" (Intel's profile for PCK certificates). */
export interface DcapPlatform {
  /** 16 bytes, one value a platform. */
  readonly ppid: Buffer;
  /** 6 bytes: family, model, stepping, platform, custom SKU. TCB info is issued by it. */
  readonly fmspc: Buffer;
  readonly pceId: Buffer;
  /** Of 16 components. */
  readonly cpuSvn: Buffer;
  readonly pceSvn: number;
}

const SGX_EXTENSIONS = '1.2.840.113741.1.13.1';
const PPID = `${SGX_EXTENSIONS}.1`;
const TCB = `${SGX_EXTENSIONS}.2`;
const PCE_ID = `${SGX_EXTENSIONS}.3`;
const FMSPC = `${SGX_EXTENSIONS}.4`;
const TCB_PCE_SVN = `${TCB}.17`;
const TCB_CPU_SVN = `${TCB}.18`;

export function readDcapPlatform(pck: ParsedCertificate): DcapPlatform {
  const table = parseTable(pck.extensions.get(SGX_EXTENSIONS));
  const tcb = parseTable(table.get(TCB));
  return {
    ppid: field(table, PPID, 16, 'a PPID'),
    fmspc: field(table, FMSPC, 6, 'an FMSPC'),
    pceId: field(table, PCE_ID, 2, 'a PCE id'),
    cpuSvn: field(tcb, TCB_CPU_SVN, 16, 'a CPUSVN'),
    pceSvn: integer(tcb.get(TCB_PCE_SVN)),
  };
}

function parseTable(value: Uint8Array | undefined): ReadonlyMap<string, Uint8Array> {
  const table = value === undefined ? undefined : parseVendorTable(value);
  return table ?? refuseQuote('chain', "a PCK certificate with Intel's SGX extensions", 'none that can be read');
}

function field(table: ReadonlyMap<string, Uint8Array>, oid: string, byteCount: number, what: string): Buffer {
  const value = table.get(oid);
  if (value?.length !== byteCount) {
    return refuseQuote(
      'chain',
      `a PCK certificate with ${what} of ${byteCount} bytes`,
      `${value?.length ?? 'no'} bytes`,
    );
  }
  return Buffer.from(value);
}

/** From 0 to 65,535; in DER a zero leads a greatest bit that is set. */
function integer(value: Uint8Array | undefined): number {
  if (value === undefined || value.length < 1 || value.length > 3) {
    return refuseQuote('chain', 'a PCK certificate with a PCE SVN', `${value?.length ?? 'no'} bytes`);
  }
  return Buffer.from(value).readUIntBE(0, value.length);
}
