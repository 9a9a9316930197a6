import { assert } from '../../../net/assert.ts';
import { sign, verify } from '../../../workers/signing.ts';
import { REPORT_DATA_BYTES } from './evidence.ts';

/**
 * What a simulated platform signs, and what its vendor signs about it. Numbers are little endian.
 *
 *     report                                        platform certificate
 *     offset  bytes  field                          offset  bytes  field
 *          0      4  version 1                           0      4  version 1
 *          4      4  flags: bit 0 debug                  4      4  zero
 *          8      4  security version                    8      8  valid from, Unix milliseconds
 *         12      4  zero                               16      8  valid until
 *         16     32  platform id                        24     32  platform id
 *         48     48  measurement                        56     32  Ed25519 public key of the platform
 *         96     64  report data                        88     64  the vendor's signature
 *        160     64  the platform's signature
 *
 * Signatures are Ed25519 over a prefix and all before them.
 */
export const SIMULATED_REPORT_BYTES = 224;
export const PLATFORM_CERTIFICATE_BYTES = 152;
export const PLATFORM_ID_BYTES = 32;
/** SHA-384, as long as SNP's and TDX's. */
export const SIMULATED_MEASUREMENT_BYTES = 48;

const VERSION = 1;
const FLAG_DEBUG = 1;
const REPORT_SIGNATURE_OFFSET = 160;
const CERTIFICATE_SIGNATURE_OFFSET = 88;

const REPORT_PREFIX = new TextEncoder().encode('avocado simulated report 1\0');
const CERTIFICATE_PREFIX = new TextEncoder().encode('avocado simulated platform 1\0');

export interface SimulatedReport {
  readonly debug: boolean;
  readonly securityVersion: number;
  readonly platformId: Uint8Array;
  readonly measurement: Uint8Array;
  readonly reportData: Uint8Array;
}

export interface PlatformCertificate {
  readonly validFromMs: number;
  readonly validUntilMs: number;
  readonly platformId: Uint8Array;
  readonly publicKey: Uint8Array;
}

export function writeSimulatedReport(report: SimulatedReport, platformSecretKey: Uint8Array): Uint8Array {
  assert(report.platformId.length === PLATFORM_ID_BYTES, 'a platform id has 32 bytes');
  assert(report.measurement.length === SIMULATED_MEASUREMENT_BYTES, 'a measurement has 48 bytes');
  assert(report.reportData.length === REPORT_DATA_BYTES, 'report data has 64 bytes');
  const bytes = new Uint8Array(SIMULATED_REPORT_BYTES);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, VERSION, true);
  view.setUint32(4, report.debug ? FLAG_DEBUG : 0, true);
  view.setUint32(8, report.securityVersion, true);
  bytes.set(report.platformId, 16);
  bytes.set(report.measurement, 48);
  bytes.set(report.reportData, 96);
  bytes.set(
    sign(signedPart(REPORT_PREFIX, bytes, REPORT_SIGNATURE_OFFSET), platformSecretKey),
    REPORT_SIGNATURE_OFFSET,
  );
  return bytes;
}

/** Undefined when it is none of this version; who signed it is another question. */
export function parseSimulatedReport(bytes: Uint8Array): SimulatedReport | undefined {
  if (bytes.length !== SIMULATED_REPORT_BYTES) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const flags = view.getUint32(4, true);
  if (view.getUint32(0, true) !== VERSION || (flags & ~FLAG_DEBUG) !== 0 || view.getUint32(12, true) !== 0) {
    return undefined;
  }
  return {
    debug: (flags & FLAG_DEBUG) !== 0,
    securityVersion: view.getUint32(8, true),
    platformId: bytes.slice(16, 48),
    measurement: bytes.slice(48, 96),
    reportData: bytes.slice(96, REPORT_SIGNATURE_OFFSET),
  };
}

export function isReportSignedBy(bytes: Uint8Array, platformPublicKey: Uint8Array): boolean {
  const signature = bytes.subarray(REPORT_SIGNATURE_OFFSET);
  return verify(signature, signedPart(REPORT_PREFIX, bytes, REPORT_SIGNATURE_OFFSET), platformPublicKey);
}

export function writePlatformCertificate(certificate: PlatformCertificate, vendorSecretKey: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(PLATFORM_CERTIFICATE_BYTES);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, VERSION, true);
  view.setBigUint64(8, BigInt(certificate.validFromMs), true);
  view.setBigUint64(16, BigInt(certificate.validUntilMs), true);
  bytes.set(certificate.platformId, 24);
  bytes.set(certificate.publicKey, 56);
  const message = signedPart(CERTIFICATE_PREFIX, bytes, CERTIFICATE_SIGNATURE_OFFSET);
  bytes.set(sign(message, vendorSecretKey), CERTIFICATE_SIGNATURE_OFFSET);
  return bytes;
}

export function parsePlatformCertificate(bytes: Uint8Array): PlatformCertificate | undefined {
  if (bytes.length !== PLATFORM_CERTIFICATE_BYTES) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  if (view.getUint32(0, true) !== VERSION || view.getUint32(4, true) !== 0) return undefined;
  return {
    validFromMs: Number(view.getBigUint64(8, true)),
    validUntilMs: Number(view.getBigUint64(16, true)),
    platformId: bytes.slice(24, 56),
    publicKey: bytes.slice(56, CERTIFICATE_SIGNATURE_OFFSET),
  };
}

export function isCertificateSignedBy(bytes: Uint8Array, vendorPublicKey: Uint8Array): boolean {
  const signature = bytes.subarray(CERTIFICATE_SIGNATURE_OFFSET);
  return verify(signature, signedPart(CERTIFICATE_PREFIX, bytes, CERTIFICATE_SIGNATURE_OFFSET), vendorPublicKey);
}

function signedPart(prefix: Uint8Array, bytes: Uint8Array, byteCount: number): Uint8Array {
  const message = new Uint8Array(prefix.length + byteCount);
  message.set(prefix);
  message.set(bytes.subarray(0, byteCount), prefix.length);
  return message;
}
