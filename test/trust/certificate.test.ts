import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { CERTIFICATE_BYTES, issueCertificate, verifyCertificate, voucherGroupOf } from '../../src/trust/certificate.ts';
import type { CertificateRules, CertificateSubject } from '../../src/trust/certificate.ts';
import { generateSigningKeyPair, generateStaticKeyPair, randomBytes, sign } from '../../workers/signing.ts';

const clusterKey = generateSigningKeyPair();
const clusterId = randomBytes(16);
const staticKey = generateStaticKeyPair().publicKey;
const NOW_SECONDS = 1_800_000_000;

const replica: CertificateSubject = {
  role: 'replica',
  memberIndex: 2,
  mayRead: true,
  mayWrite: true,
  staticKey,
  clusterId,
  expirySeconds: NOW_SECONDS + 60,
};
const { memberIndex: _, ...anyone } = replica;
const client: CertificateSubject = { ...anyone, role: 'client' };
const rules: CertificateRules = {
  clusterId,
  clusterPublicKey: clusterKey.publicKey,
  staticKey,
  nowSeconds: NOW_SECONDS,
};

function refusal(certificate: Uint8Array, changed: Partial<CertificateRules> = {}): string {
  const verdict = verifyCertificate(certificate, { ...rules, ...changed });
  return verdict.ok ? 'accepted' : verdict.reason;
}

/** A certificate that breaks one rule and is well signed, so that nothing but that rule can refuse it. */
function signedAnew(change: (fields: DataView) => void): Uint8Array {
  const certificate = issueCertificate(client, clusterKey.secretKey);
  change(new DataView(certificate.buffer));
  const message = Buffer.concat([Buffer.from('avocado certificate 1\0'), certificate.subarray(0, 64)]);
  certificate.set(sign(message, clusterKey.secretKey), 64);
  return certificate;
}

test('a replica and a client get back the identity that was issued', () => {
  assert.deepEqual(verifyCertificate(issueCertificate(replica, clusterKey.secretKey), rules), {
    ok: true,
    identity: { role: 'replica', memberIndex: 2, mayRead: true, mayWrite: true },
  });
  const readOnly = issueCertificate({ ...client, mayWrite: false }, clusterKey.secretKey);
  assert.deepEqual(verifyCertificate(readOnly, rules), {
    ok: true,
    identity: { role: 'client', memberIndex: -1, mayRead: true, mayWrite: false },
  });
  assert.equal(refusal(signedAnew(() => {})), 'accepted');
});

test('a certificate inside a larger buffer is read from its own offset', () => {
  const datagram = new Uint8Array(CERTIFICATE_BYTES + 7);
  datagram.set(issueCertificate(replica, clusterKey.secretKey), 3);
  assert.equal(refusal(datagram.subarray(3, 3 + CERTIFICATE_BYTES)), 'accepted');
});

test('a flipped bit anywhere is refused', () => {
  const certificate = issueCertificate(replica, clusterKey.secretKey);
  for (let bit = 0; bit < CERTIFICATE_BYTES * 8; bit++) {
    certificate[bit >> 3]! ^= 1 << (bit & 7);
    assert.notEqual(refusal(certificate), 'accepted', `bit ${bit}`);
    certificate[bit >> 3]! ^= 1 << (bit & 7);
  }
  assert.equal(refusal(certificate), 'accepted');
});

test('each rule refuses by itself and says so', () => {
  const certificate = issueCertificate(client, clusterKey.secretKey);
  assert.match(refusal(certificate, { clusterId: randomBytes(16) }), /another cluster/);
  assert.match(refusal(certificate, { staticKey: generateStaticKeyPair().publicKey }), /another static key/);
  assert.match(refusal(certificate, { nowSeconds: NOW_SECONDS + 60 }), /expired on 2027-01-15T08:01:00Z/);
  assert.equal(refusal(certificate, { nowSeconds: NOW_SECONDS + 59.9 }), 'accepted');
  assert.match(refusal(certificate, { nowSeconds: Number.NaN }), /expired/);
  assert.match(refusal(certificate, { clusterPublicKey: generateSigningKeyPair().publicKey }), /signature/);

  assert.match(refusal(signedAnew((fields) => fields.setUint16(0, 2, true))), /format version 2/);
  assert.match(refusal(signedAnew((fields) => fields.setUint8(2, 3))), /role 3 is unknown/);
  assert.match(refusal(signedAnew((fields) => fields.setUint8(2, 0))), /role 0 is unknown/);
  assert.match(refusal(signedAnew((fields) => fields.setUint8(3, 7))), /later version/);
  assert.match(refusal(signedAnew((fields) => fields.setUint16(4, 0, true))), /member index/, 'a client with an index');
  assert.match(refusal(signedAnew((fields) => fields.setUint8(2, 1))), /member index/, 'a replica without one');
});

test('the group of who vouched for it is told', () => {
  const group = (subject: CertificateSubject): number =>
    voucherGroupOf(issueCertificate(subject, clusterKey.secretKey));
  assert.equal(group(replica), 0);
  assert.equal(group({ ...client, voucherGroup: 0xfffe }), 0xfffe);
});

test('a signature by the cluster key over the bare fields is refused, since it may have been made for another purpose', () => {
  const certificate = issueCertificate(client, clusterKey.secretKey);
  certificate.set(sign(certificate.subarray(0, 64), clusterKey.secretKey), 64);
  assert.match(refusal(certificate), /signature/);
});

test('input of any length and content is refused, never thrown on', () => {
  const certificate = issueCertificate(client, clusterKey.secretKey);
  for (let byteCount = 0; byteCount < CERTIFICATE_BYTES; byteCount++) {
    assert.match(refusal(certificate.subarray(0, byteCount)), /bytes, not 128/);
  }
  assert.match(refusal(Buffer.concat([certificate, Buffer.from([0])])), /bytes, not 128/);
  fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => refusal(bytes) !== 'accepted'));
  // Random bytes hardly get past the first rules; random changes of a good one do.
  const change = fc.tuple(fc.nat(CERTIFICATE_BYTES - 1), fc.integer({ min: 1, max: 255 }));
  fc.assert(
    fc.property(change, ([offset, mask]) => {
      const changed = Uint8Array.from(certificate);
      changed[offset]! ^= mask;
      return refusal(changed) !== 'accepted';
    }),
  );
});
