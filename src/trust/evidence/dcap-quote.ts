import { refuseQuote } from './dcap-refusal.ts';
import { REPORT_BYTES_MAX } from './evidence-file.ts';

/**
 * Quotes of Intel's data centre attestation (DCAP): SGX in version 3, TDX in versions 4 and 5. Little endian.
 *
 *     offset  bytes  header
 *          0      2  version
 *          2      2  type of the attestation key: 2, ECDSA over P-256
 *          4      4  TEE type: 0 SGX, 0x81 TDX
 *          8      4  SGX: SVN of the quoting enclave and of the PCE. TDX: reserved
 *         12     16  vendor of the quoting enclave
 *         28     20  user data
 *         48      6  version 5 only: type and length of the report
 *
 * Then the report, the length of the signature data (4) and the signature data:
 *
 *          0     64  signature of the attestation key over header and report
 *         64     64  attestation key
 *        128      6  versions 4 and 5 only: type (6) and length of what follows
 *                384  report of the quoting enclave
 *                 64  signature of the PCK certificate's key over it
 *              2 + n  authentication data
 *              6 + n  type (5), length and PEM of the PCK certificate's chain
 *
 * Lengths must add up: what no length covers no signature covers either. Only zeros may follow, because TDX pads quotes.
 * Source: the quote formats in the appendices of Intel's "SGX ECDSA Quote Library Reference" and "TDX Quoting Library API".
 */

const HEADER_BYTES = 48;
const BODY_DESCRIPTOR_BYTES = 6;
const SGX_REPORT_BYTES = 384;
const TD_REPORT_10_BYTES = 584;
const TD_REPORT_15_BYTES = 648;
const SIGNATURE_BYTES = 64;
const ATTESTATION_KEY_BYTES = 64;

const TEE_SGX = 0;
const TEE_TDX = 0x81;
const ECDSA_P256 = 2;
const TD_REPORT_10 = 2;
const TD_REPORT_15 = 3;
const PCK_CERTIFICATE_CHAIN = 5;
const QE_REPORT_CERTIFICATION = 6;

/** Intel's quoting enclaves name themselves so; no other vendor's are known to the collateral. */
const INTEL_VENDOR_ID = '939a7233f79c4ca9940a0db3957f0607';

export interface SgxReport {
  readonly kind: 'sgx';
  readonly cpuSvn: Buffer;
  readonly miscSelect: Buffer;
  readonly attributes: Buffer;
  readonly mrEnclave: Buffer;
  readonly mrSigner: Buffer;
  readonly isvProdId: number;
  readonly isvSvn: number;
  /** Of enclaves with key separation and sharing (KSS); else zero. */
  readonly isvExtProdId: Buffer;
  readonly isvFamilyId: Buffer;
  readonly configId: Buffer;
  readonly reportData: Buffer;
}

export interface TdReport {
  readonly kind: 'tdx';
  readonly teeTcbSvn: Buffer;
  readonly mrSeam: Buffer;
  readonly mrSignerSeam: Buffer;
  readonly seamAttributes: Buffer;
  readonly tdAttributes: Buffer;
  readonly xfam: Buffer;
  readonly mrTd: Buffer;
  readonly mrConfigId: Buffer;
  readonly mrOwner: Buffer;
  readonly mrOwnerConfig: Buffer;
  /** RTMR 0 to 3. */
  readonly rtmrs: readonly Buffer[];
  readonly reportData: Buffer;
  /** TDX 1.5 reports only. */
  readonly mrServiceTd?: Buffer;
}

/** Views of the quote's bytes, none of them verified. */
export interface DcapQuote {
  readonly version: number;
  readonly report: SgxReport | TdReport;
  /** Header and report: what the quote's signature covers. */
  readonly signed: Buffer;
  readonly signature: Buffer;
  readonly attestationKey: Buffer;
  readonly qeReport: Buffer;
  readonly qeReportSignature: Buffer;
  readonly qeAuthenticationData: Buffer;
  readonly pckChainPem: Buffer;
}

/** The quote's parts. Refuses what is no quote, of an unsupported kind, or has lengths that do not add up. */
export function parseDcapQuote(bytes: Uint8Array): DcapQuote {
  if (bytes.length > REPORT_BYTES_MAX) refuseQuote('malformed', `at most ${REPORT_BYTES_MAX} bytes`, `${bytes.length}`);
  const quote = new PartReader(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length), 'the quote');
  const header = quote.bytes(HEADER_BYTES);
  const version = header.readUInt16LE(0);
  const report = readReport(quote, version, header.readUInt32LE(4));
  const keyType = header.readUInt16LE(2);
  if (keyType !== ECDSA_P256) refuseQuote('malformed', 'an attestation key of type 2 (ECDSA P-256)', `type ${keyType}`);
  const vendorId = header.toString('hex', 12, 28);
  if (vendorId !== INTEL_VENDOR_ID) refuseQuote('malformed', `Intel's quoting enclave ${INTEL_VENDOR_ID}`, vendorId);

  const signed = quote.before();
  const signatureData = new PartReader(quote.bytes(quote.uint32()), 'the signature data');
  if (quote.rest().some((byte) => byte !== 0)) {
    refuseQuote('malformed', 'nothing but zeros after the signature data', 'bytes that no signature covers');
  }
  const signature = signatureData.bytes(SIGNATURE_BYTES);
  const attestationKey = signatureData.bytes(ATTESTATION_KEY_BYTES);
  const certification =
    version === 3 ? signatureData : typed(signatureData, QE_REPORT_CERTIFICATION, "the quoting enclave's report");
  const qeReport = certification.bytes(SGX_REPORT_BYTES);
  const qeReportSignature = certification.bytes(SIGNATURE_BYTES);
  const qeAuthenticationData = certification.bytes(certification.uint16());
  const pckChainPem = typed(certification, PCK_CERTIFICATE_CHAIN, "the PCK certificate's chain").rest();
  certification.end();
  signatureData.end();
  return {
    version,
    report,
    signed,
    signature,
    attestationKey,
    qeReport,
    qeReportSignature,
    qeAuthenticationData,
    pckChainPem,
  };
}

function readReport(quote: PartReader, version: number, teeType: number): SgxReport | TdReport {
  if (version === 3 && teeType === TEE_SGX) return readSgxReport(quote.bytes(SGX_REPORT_BYTES));
  if (version === 4 && teeType === TEE_TDX) return readTdReport(quote.bytes(TD_REPORT_10_BYTES));
  if (version === 5 && teeType === TEE_TDX) {
    const descriptor = quote.bytes(BODY_DESCRIPTOR_BYTES);
    const type = descriptor.readUInt16LE(0);
    const reportBytes = descriptor.readUInt32LE(2);
    const known =
      (type === TD_REPORT_10 && reportBytes === TD_REPORT_10_BYTES) ||
      (type === TD_REPORT_15 && reportBytes === TD_REPORT_15_BYTES);
    if (!known) refuseQuote('malformed', 'a report of TDX 1.0 or 1.5', `type ${type} of ${reportBytes} bytes`);
    return readTdReport(quote.bytes(reportBytes));
  }
  return refuseQuote(
    'malformed',
    'SGX in version 3, TDX in version 4 or 5',
    `version ${version} with TEE type 0x${teeType.toString(16)}`,
  );
}

function readSgxReport(report: Buffer): SgxReport {
  return {
    kind: 'sgx',
    cpuSvn: report.subarray(0, 16),
    miscSelect: report.subarray(16, 20),
    attributes: report.subarray(48, 64),
    mrEnclave: report.subarray(64, 96),
    mrSigner: report.subarray(128, 160),
    isvProdId: report.readUInt16LE(256),
    isvSvn: report.readUInt16LE(258),
    isvExtProdId: report.subarray(32, 48),
    isvFamilyId: report.subarray(304, 320),
    configId: report.subarray(192, 256),
    reportData: report.subarray(320, 384),
  };
}

function readTdReport(report: Buffer): TdReport {
  const parts = {
    kind: 'tdx',
    teeTcbSvn: report.subarray(0, 16),
    mrSeam: report.subarray(16, 64),
    mrSignerSeam: report.subarray(64, 112),
    seamAttributes: report.subarray(112, 120),
    tdAttributes: report.subarray(120, 128),
    xfam: report.subarray(128, 136),
    mrTd: report.subarray(136, 184),
    mrConfigId: report.subarray(184, 232),
    mrOwner: report.subarray(232, 280),
    mrOwnerConfig: report.subarray(280, 328),
    rtmrs: [328, 376, 424, 472].map((offset) => report.subarray(offset, offset + 48)),
    reportData: report.subarray(520, 584),
  } as const;
  return report.length === TD_REPORT_15_BYTES ? { ...parts, mrServiceTd: report.subarray(600, 648) } : parts;
}

/** A part that is led in by its type (2 bytes) and length (4). */
function typed(outer: PartReader, type: number, name: string): PartReader {
  const seen = outer.uint16();
  if (seen !== type) refuseQuote('malformed', `${name} (type ${type})`, `type ${seen}`);
  return new PartReader(outer.bytes(outer.uint32()), name);
}

/** Reads a part front to back and refuses to read beyond its end. */
class PartReader {
  readonly #part: Buffer;
  readonly #name: string;
  #offset = 0;

  constructor(part: Buffer, name: string) {
    this.#part = part;
    this.#name = name;
  }

  bytes(byteCount: number): Buffer {
    if (byteCount > this.#part.length - this.#offset) {
      refuseQuote('malformed', `${this.#name} in full`, `it ends after ${this.#part.length} bytes`);
    }
    this.#offset += byteCount;
    return this.#part.subarray(this.#offset - byteCount, this.#offset);
  }

  uint16(): number {
    return this.bytes(2).readUInt16LE(0);
  }

  uint32(): number {
    return this.bytes(4).readUInt32LE(0);
  }

  before(): Buffer {
    return this.#part.subarray(0, this.#offset);
  }

  rest(): Buffer {
    return this.bytes(this.#part.length - this.#offset);
  }

  end(): void {
    if (this.#offset < this.#part.length) {
      refuseQuote('malformed', `the end of ${this.#name}`, `${this.#part.length - this.#offset} further bytes`);
    }
  }
}
