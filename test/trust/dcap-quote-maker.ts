import { createHash, createPublicKey } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { anyKey, chainPem, MODULE_MRSIGNER, QE_ISVSVN, QE_MRSIGNER, signRaw } from './dcap-plan.ts';
import type { DcapChanges, Holders, QuoteShape } from './dcap-plan.ts';

/** Quotes as src/trust/evidence/dcap-quote.ts describes them. */
/** TDX module 1.5 (version 1), its ISVSVN 6. */
const TEE_TCB_SVN = Buffer.from('060103'.padEnd(32, '0'), 'hex');

export function makeDcapQuote(shape: QuoteShape, holders: Holders, changes: DcapChanges): Buffer {
  const version = Number(shape.split(' ')[1]!.slice(0, 1));
  const header = Buffer.alloc(48);
  header.writeUInt16LE(version, 0);
  header.writeUInt16LE(2, 2);
  header.writeUInt32LE(shape === 'sgx 3' ? 0 : 0x81, 4);
  header.write('939a7233f79c4ca9940a0db3957f0607', 12, 'hex');
  changes.header?.(header);
  const report = shape === 'sgx 3' ? makeSgxReport() : makeTdReport(shape === 'tdx 5, 1.5' ? 648 : 584);
  changes.report?.(report);
  const descriptor = Buffer.alloc(version === 5 ? 6 : 0);
  if (version === 5) {
    descriptor.writeUInt16LE(shape === 'tdx 5, 1.5' ? 3 : 2, 0);
    descriptor.writeUInt32LE(report.length, 2);
  }
  const attestationKey = anyKey();
  const publicKey = rawPublicKey(attestationKey);
  const authenticationData = changes.authenticationData ?? Buffer.from([...Array(32).keys()]);
  const qeReport = makeQeReport(publicKey, changes.boundAuthenticationData ?? authenticationData);
  changes.qeReport?.(qeReport);
  const pem = changes.certification?.pem ?? (({ pck, pckCa, root }: Holders) => `${chainPem(pck, pckCa, root)}\0`);
  const certification = Buffer.concat([
    qeReport,
    signRaw(qeReport, changes.signers?.qeReport ?? holders.pck.privateKey),
    uint16(authenticationData.length),
    authenticationData,
    typed(changes.certification?.type ?? 5, Buffer.from(pem(holders))),
    changes.certification?.after ?? Buffer.alloc(0),
  ]);
  const signed = Buffer.concat([header, descriptor, report]);
  const signatureData = Buffer.concat([
    signRaw(signed, changes.signers?.quote ?? attestationKey),
    publicKey,
    version === 3 ? certification : typed(changes.certification?.outerType ?? 6, certification),
    changes.certification?.afterAll ?? Buffer.alloc(0),
  ]);
  const quote = Buffer.concat([signed, uint32(signatureData.length), signatureData]);
  return changes.quote?.(quote) ?? quote;
}

function makeSgxReport(): Buffer {
  const report = Buffer.alloc(384);
  report.fill(0x01, 0, 16);
  report.write('0500000000000000e700000000000000', 48, 'hex');
  report.fill(0x1e, 32, 48);
  report.fill(0xee, 64, 96);
  report.fill(0x5e, 128, 160);
  report.fill(0x1c, 192, 256);
  report.writeUInt16LE(7, 256);
  report.writeUInt16LE(9, 258);
  report.fill(0x1f, 304, 320);
  report.fill(0xda, 320, 384);
  return report;
}

function makeTdReport(reportBytes: number): Buffer {
  const report = Buffer.alloc(reportBytes);
  TEE_TCB_SVN.copy(report, 0);
  report.fill(0x5a, 16, 64);
  MODULE_MRSIGNER.copy(report, 64);
  report[123] = 0x10;
  report.write('e702060000000000', 128, 'hex');
  report.fill(0xd0, 136, 184);
  report.fill(0xc0, 184, 232);
  report.fill(0xc1, 232, 280);
  report.fill(0xc2, 280, 328);
  for (let i = 0; i < 4; i++) report.fill(0x70 + i, 328 + 48 * i, 376 + 48 * i);
  report.fill(0xda, 520, 584);
  if (reportBytes > 584) TEE_TCB_SVN.copy(report, 584);
  return report;
}

function makeQeReport(publicKey: Buffer, authenticationData: Buffer): Buffer {
  const report = Buffer.alloc(384);
  report.write('15000000000000000700000000000000', 48, 'hex');
  QE_MRSIGNER.copy(report, 128);
  report.writeUInt16LE(1, 256);
  report.writeUInt16LE(QE_ISVSVN, 258);
  createHash('sha256').update(publicKey).update(authenticationData).digest().copy(report, 320);
  return report;
}

/** x and y, as quotes carry a key. */
function rawPublicKey(privateKey: KeyObject): Buffer {
  const { x, y } = createPublicKey(privateKey).export({ format: 'jwk' });
  return Buffer.concat([Buffer.from(x!, 'base64url'), Buffer.from(y!, 'base64url')]);
}

function typed(type: number, content: Buffer): Buffer {
  return Buffer.concat([uint16(type), uint32(content.length), content]);
}

function uint16(value: number): Buffer {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16LE(value);
  return bytes;
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}
