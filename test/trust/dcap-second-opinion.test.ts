import assert from 'node:assert/strict';
import { createHash, createPublicKey, verify, X509Certificate } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { test } from 'node:test';
import { AsnConvert } from '@peculiar/asn1-schema';
import { CertificateList } from '@peculiar/asn1-x509';
import { INTEL_SGX_ROOT_FINGERPRINT } from '../../src/trust/evidence/dcap-chains.ts';
import { QUOTE_SHAPES } from './dcap-plan.ts';
import { fingerprintOf, makeDcapWorld } from './dcap-world.ts';
import { NO_REAL_EVIDENCE, readReal } from './real-evidence.ts';

/**
 * The library is not taken at its word: every signature that a verdict hangs from is checked once more, by node:crypto and
 * by offsets that are written down here and nowhere else, on the quotes that the other tests see accepted.
 */
function checkAll(quote: Buffer, collateral: Record<string, string>, rootFingerprint: string): void {
  const version = quote.readUInt16LE(0);
  const reportBytes = version === 3 ? 384 : version === 4 ? 584 : quote.readUInt32LE(50);
  const signedBytes = (version === 5 ? 54 : 48) + reportBytes;
  const data = quote.subarray(signedBytes + 4, signedBytes + 4 + quote.readUInt32LE(signedBytes));
  const quoteSignature = data.subarray(0, 64);
  const attestationKey = data.subarray(64, 128);
  const rest = data.subarray(version === 3 ? 128 : 134);
  const qeReport = rest.subarray(0, 384);
  const authenticationBytes = rest.readUInt16LE(448);
  const authenticationData = rest.subarray(450, 450 + authenticationBytes);
  const pem = rest.subarray(450 + authenticationBytes + 6).toString('latin1');

  const [pck, pckCa, root] = certificatesOf(pem);
  assert.equal(createHash('sha256').update(root!.raw).digest('hex'), rootFingerprint);
  assertIssued(root!, root!);
  assertIssued(pckCa!, root!);
  assertIssued(pck!, pckCa!);
  assertSigned(qeReport, rest.subarray(384, 448), pck!.publicKey);
  const bound = createHash('sha256').update(attestationKey).update(authenticationData).digest();
  assert.deepEqual(qeReport.subarray(320, 352), bound);
  assertSigned(quote.subarray(0, signedBytes), quoteSignature, keyOf(attestationKey));

  for (const statement of ['tcb_info', 'qe_identity']) {
    const [signer, top] = certificatesOf(collateral[`${statement}_issuer_chain`]!);
    assert.deepEqual(top!.raw, root!.raw);
    assertIssued(signer!, root!);
    const signature = Buffer.from(collateral[`${statement}_signature`]!, 'hex');
    assertSigned(Buffer.from(collateral[statement]!), signature, signer!.publicKey);
  }
  const qeIdentity = JSON.parse(collateral['qe_identity']!) as { mrsigner: string };
  assert.equal(qeReport.toString('hex', 128, 160), qeIdentity.mrsigner.toLowerCase());
  assertListSigned(Buffer.from(collateral['root_ca_crl']!, 'hex'), root!);
  assertListSigned(Buffer.from(collateral['pck_crl']!, 'hex'), pckCa!);
}

function certificatesOf(pem: string): X509Certificate[] {
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  return blocks.map((block) => new X509Certificate(block));
}

function assertIssued(certificate: X509Certificate, issuer: X509Certificate): void {
  assert(certificate.checkIssued(issuer) && certificate.verify(issuer.publicKey), certificate.subject);
}

function assertSigned(message: Uint8Array, signature: Uint8Array, key: KeyObject): void {
  assert(verify('sha256', message, { key, dsaEncoding: 'ieee-p1363' }, signature));
}

function assertListSigned(der: Buffer, issuer: X509Certificate): void {
  const list = AsnConvert.parse(der, CertificateList);
  assert(verify('sha256', new Uint8Array(list.tbsCertListRaw!), issuer.publicKey, new Uint8Array(list.signature)));
}

function keyOf(point: Buffer): KeyObject {
  const [x, y] = [point.toString('base64url', 0, 32), point.toString('base64url', 32)];
  return createPublicKey({ key: { kty: 'EC', crv: 'P-256', x, y }, format: 'jwk' });
}

test('node:crypto agrees about each signature of an accepted quote', () => {
  for (const shape of QUOTE_SHAPES) {
    const world = makeDcapWorld(shape);
    assert(world.verify().ok);
    checkAll(world.quote, world.collateral, fingerprintOf(world.holders.root));
  }
});

test('node:crypto agrees about each signature of the real quotes', { skip: NO_REAL_EVIDENCE }, () => {
  for (const kind of ['sgx', 'tdx']) {
    const collateral = JSON.parse(new TextDecoder().decode(readReal(`${kind}/collateral.json`))) as Record<
      string,
      string
    >;
    checkAll(Buffer.from(readReal(`${kind}/quote.bin`)), collateral, INTEL_SGX_ROOT_FINGERPRINT);
  }
});
