import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  CERTIFICATE_BYTES_MAX,
  CERTIFICATE_BYTES_MIN,
  issueCertificate,
  verifyCertificate,
  voucherGroupOf,
} from '../../src/trust/certificate.ts';
import type { CertificateRules, CertificateSubject } from '../../src/trust/certificate.ts';
import { parseGrants } from '../../src/trust/grant-text.ts';
import { ALL_GRANTS } from '../../src/trust/grants.ts';
import type { Grant } from '../../src/trust/grants.ts';
import { Permissions } from '../../src/trust/permissions.ts';
import { generateSigningKeyPair, generateStaticKeyPair, randomBytes, sign } from '../../workers/signing.ts';

const clusterKey = generateSigningKeyPair();
const clusterId = randomBytes(16);
const staticKey = generateStaticKeyPair().publicKey;
const NOW_SECONDS = 1_800_000_000;

const anyone = { staticKey, clusterId, expirySeconds: NOW_SECONDS + 60 };
const replica: CertificateSubject = { ...anyone, role: 'replica', memberIndex: 2 };
const client: CertificateSubject = { ...anyone, role: 'client', grants: parseGrants('r:,rw:orders/,wa:%00%ff') };
const rules: CertificateRules = {
  clusterId,
  clusterPublicKey: clusterKey.publicKey,
  staticKey,
  nowSeconds: NOW_SECONDS,
};

/** As many as there may be, as long as they may be. */
const MOST: readonly Grant[] = Array.from({ length: 8 }, (_, i) => ({ rights: 7, prefix: new Uint8Array(64).fill(i) }));

function refusal(certificate: Uint8Array, changed: Partial<CertificateRules> = {}): string {
  const verdict = verifyCertificate(certificate, { ...rules, ...changed });
  return verdict.ok ? 'accepted' : verdict.reason;
}

/** A certificate that breaks one rule and is well signed, so that nothing but that rule can refuse it. */
function signedAnew(change: (fields: DataView) => void, subject = client): Uint8Array {
  const certificate = issueCertificate(subject, clusterKey.secretKey);
  change(new DataView(certificate.buffer));
  return signed(certificate.subarray(0, -64));
}

function signed(fields: Uint8Array): Uint8Array {
  const message = Buffer.concat([Buffer.from('avocado certificate 2\0'), fields]);
  return Buffer.concat([fields, sign(message, clusterKey.secretKey)]);
}

function withGrants(grants: readonly Grant[]): Uint8Array {
  return issueCertificate({ ...anyone, role: 'client', grants }, clusterKey.secretKey);
}

test('a replica and a client get back the identity that was issued', () => {
  assert.deepEqual(verifyCertificate(issueCertificate(replica, clusterKey.secretKey), rules), {
    ok: true,
    identity: { role: 'replica', memberIndex: 2, permissions: Permissions.ALL },
    voucherGroup: 0,
  });
  for (const grants of [[], ALL_GRANTS, parseGrants('r:,rw:orders/,wa:%00%ff'), MOST]) {
    const verdict = verifyCertificate(withGrants(grants), rules);
    assert(verdict.ok && verdict.identity.role === 'client');
    assert.equal(verdict.identity.memberIndex, -1);
    assert.deepEqual(verdict.identity.permissions.grants, grants);
  }
  assert.equal(withGrants([]).length, CERTIFICATE_BYTES_MIN);
  assert.equal(withGrants(MOST).length, CERTIFICATE_BYTES_MAX);
  assert.equal(refusal(signedAnew(() => {})), 'accepted');
});

test('a certificate inside a larger buffer is read from its own offset', () => {
  const certificate = issueCertificate(client, clusterKey.secretKey);
  const datagram = new Uint8Array(certificate.length + 7);
  datagram.set(certificate, 3);
  const verdict = verifyCertificate(datagram.subarray(3, 3 + certificate.length), rules);
  datagram.fill(0);
  assert(verdict.ok);
  assert.deepEqual(verdict.identity.permissions.grants, parseGrants('r:,rw:orders/,wa:%00%ff'), 'a copy');
});

test('a flipped bit anywhere is refused', () => {
  for (const subject of [replica, client]) {
    const certificate = issueCertificate(subject, clusterKey.secretKey);
    for (let bit = 0; bit < certificate.length * 8; bit++) {
      certificate[bit >> 3]! ^= 1 << (bit & 7);
      assert.notEqual(refusal(certificate), 'accepted', `bit ${bit}`);
      certificate[bit >> 3]! ^= 1 << (bit & 7);
    }
    assert.equal(refusal(certificate), 'accepted');
  }
});

test('each rule refuses by itself and says so', () => {
  const certificate = issueCertificate(client, clusterKey.secretKey);
  assert.match(refusal(certificate, { clusterId: randomBytes(16) }), /another cluster/);
  assert.match(refusal(certificate, { staticKey: generateStaticKeyPair().publicKey }), /another static key/);
  assert.match(refusal(certificate, { nowSeconds: NOW_SECONDS + 60 }), /expired on 2027-01-15T08:01:00Z/);
  assert.equal(refusal(certificate, { nowSeconds: NOW_SECONDS + 59.9 }), 'accepted');
  assert.match(refusal(certificate, { nowSeconds: Number.NaN }), /expired/);
  assert.match(refusal(certificate, { clusterPublicKey: generateSigningKeyPair().publicKey }), /signature/);

  assert.match(refusal(signedAnew((fields) => fields.setUint16(0, 1, true))), /format version 1/);
  assert.match(refusal(signedAnew((fields) => fields.setUint8(2, 3))), /role 3 is unknown/);
  assert.match(refusal(signedAnew((fields) => fields.setUint8(2, 0))), /role 0 is unknown/);
  assert.match(refusal(signedAnew((fields) => fields.setUint8(3, 1), replica)), /grants do not fit its role/);
  assert.match(refusal(signedAnew((fields) => fields.setUint16(4, 0, true))), /member index/, 'a client with an index');
  assert.match(refusal(signedAnew((fields) => fields.setUint8(2, 1))), /member index/, 'a replica without one');
});

test('grants that are malformed, or that nobody would issue, are refused though they are signed', () => {
  const head = issueCertificate(client, clusterKey.secretKey).subarray(0, 64);
  const refusalOf = (count: number, ...bytes: number[]): string => {
    const fields = Buffer.concat([head, Uint8Array.from(bytes)]);
    fields[3] = count;
    return refusal(signed(fields));
  };
  assert.equal(refusalOf(0), 'accepted');
  assert.equal(refusalOf(1, 3, 1, 0x61, 0, 0, 0, 0, 0), 'accepted');
  const malformed = /grants are malformed/;
  assert.match(refusalOf(1), malformed, 'none, though there should be one');
  assert.match(refusalOf(2, 3, 1, 0x61, 0, 0, 0, 0, 0), malformed, 'a second one without rights');
  assert.match(refusalOf(1, 3, 7, 0x61, 0, 0, 0, 0, 0), malformed, 'cut off');
  assert.match(refusalOf(1, 3, 1, 0x61, 0, 0, 0, 0, 1), malformed, 'padding that is not zero');
  assert.match(refusalOf(1, 3, 1, 0x61, ...new Array<number>(13).fill(0)), malformed, 'more padding than is needed');
  assert.match(refusalOf(1, 3, 1, 0x61), malformed, 'no padding');
  assert.match(refusalOf(1, 8, 1, 0x61, 0, 0, 0, 0, 0), malformed, 'an unknown right');
  assert.match(refusalOf(1, 0, 1, 0x61, 0, 0, 0, 0, 0), malformed, 'no right');
  assert.match(refusalOf(1, 1, 65, ...new Array<number>(69).fill(0)), malformed, 'a prefix that is too long');
  assert.match(
    refusalOf(9, ...Array.from({ length: 9 }, () => [1, 0]).flat(), 0, 0, 0, 0, 0, 0),
    malformed,
    'too many',
  );
  assert.match(refusalOf(255), malformed);
});

test('the group of who vouched for it is told', () => {
  const group = (subject: CertificateSubject): number =>
    voucherGroupOf(issueCertificate(subject, clusterKey.secretKey));
  assert.equal(group(replica), 0);
  assert.equal(group({ ...client, voucherGroup: 0xfffe }), 0xfffe);
});

test('a signature by the cluster key over the bare fields is refused, since it may have been made for another purpose', () => {
  const certificate = issueCertificate(client, clusterKey.secretKey);
  certificate.set(sign(certificate.subarray(0, -64), clusterKey.secretKey), certificate.length - 64);
  assert.match(refusal(certificate), /signature/);
});

test('input of any length and content is refused, never thrown on', () => {
  const certificate = issueCertificate(client, clusterKey.secretKey);
  for (let byteCount = 0; byteCount < certificate.length; byteCount++) {
    assert.match(refusal(certificate.subarray(0, byteCount)), /bytes, not 128 to 656|malformed/);
  }
  for (const tailBytes of [1, 8, 16]) {
    assert.match(refusal(Buffer.concat([certificate, new Uint8Array(tailBytes)])), /malformed|signature/);
  }
  assert.match(refusal(new Uint8Array(CERTIFICATE_BYTES_MAX + 1)), /657 bytes, not 128 to 656/);
  fc.assert(fc.property(fc.uint8Array({ maxLength: 700 }), (bytes) => refusal(bytes) !== 'accepted'));
  // Grants of any bytes, behind a head that is in order: read without trust, as the signature comes last.
  fc.assert(
    fc.property(fc.nat(255), fc.uint8Array({ maxLength: 600 }), (grantCount, bytes) => {
      const forged = Buffer.concat([certificate.subarray(0, 64), bytes]);
      forged[3] = grantCount;
      return refusal(forged) !== 'accepted';
    }),
  );
  // Random bytes hardly get past the first rules; random changes of a good one do.
  const change = fc.tuple(fc.nat(certificate.length - 1), fc.integer({ min: 1, max: 255 }));
  fc.assert(
    fc.property(change, ([offset, mask]) => {
      const changed = Uint8Array.from(certificate);
      changed[offset]! ^= mask;
      return refusal(changed) !== 'accepted';
    }),
  );
});
