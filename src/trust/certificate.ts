import { assert } from '../../net/assert.ts';
import { alignUp } from '../../net/bytes.ts';
import { sign, verify } from '../../workers/signing.ts';
import type { Verdict } from './authority.ts';
import { GRANTS_BYTES_MAX, grantsBytes, readGrants } from './grants.ts';
import type { Grant } from './grants.ts';
import { Permissions } from './permissions.ts';

/**
 * A certificate: the cluster key's word that the holder of a static key has a role in one cluster, and what it may do there.
 * It travels in message 1 of a handshake, so it is small, bounded, and read without trust.
 *
 *     offset  bytes  field
 *          0      2  format version
 *          2      1  role: 1 replica, 2 client
 *          3      1  grants of a client, 0 to 8; 0 for a replica, which has all rights
 *          4      2  member index, 0xffff for a client
 *          6      2  voucher group: the machine whose LAS vouched for the holder, 0 none
 *          8      8  expiry, Unix seconds
 *         16     16  cluster id
 *         32     32  static key (X25519)
 *         64      g  the grants (grants.ts), padded with zeros to a multiple of 8
 *     64 + g     64  Ed25519 signature by the cluster key over a prefix and bytes [0, 64 + g)
 *
 * Numbers are little endian. A multiple of 8, as payloads of handshakes are.
 */
const HEAD_BYTES = 64;
const SIGNATURE_BYTES = 64;
export const CERTIFICATE_BYTES_MIN = HEAD_BYTES + SIGNATURE_BYTES;
export const CERTIFICATE_BYTES_MAX = CERTIFICATE_BYTES_MIN + alignUp(GRANTS_BYTES_MAX);

const VERSION_OFFSET = 0;
const ROLE_OFFSET = 2;
const GRANT_COUNT_OFFSET = 3;
const MEMBER_INDEX_OFFSET = 4;
const VOUCHER_GROUP_OFFSET = 6;
const EXPIRY_OFFSET = 8;
const CLUSTER_ID_OFFSET = 16;
const STATIC_KEY_OFFSET = 32;

export const CLUSTER_ID_BYTES = 16;
export const STATIC_KEY_BYTES = 32;

const FORMAT_VERSION = 2;
const ROLE_REPLICA = 1;
const ROLE_CLIENT = 2;
const NO_MEMBER = 0xffff;

/** Keeps the cluster key's signatures over certificates apart from its signatures over anything else. */
const SIGNATURE_PREFIX = new TextEncoder().encode('avocado certificate 2\0');

export type CertificateSubject = {
  /** What is revoked together (chain/cas-state.ts), 1 .. 65,535; left out: none. */
  readonly voucherGroup?: number;
  readonly staticKey: Uint8Array;
  readonly clusterId: Uint8Array;
  /** Unix time after which the certificate is refused. */
  readonly expirySeconds: number;
} & (
  | { readonly role: 'replica'; readonly memberIndex: number }
  | { readonly role: 'client'; readonly grants: readonly Grant[] }
);

export function issueCertificate(subject: CertificateSubject, clusterSecretKey: Uint8Array): Uint8Array {
  const memberIndex = subject.role === 'replica' ? subject.memberIndex : NO_MEMBER;
  assert((subject.role === 'replica') === (memberIndex !== NO_MEMBER), 'this member index means that there is none');
  assert(subject.clusterId.length === CLUSTER_ID_BYTES, 'a cluster id has 16 bytes');
  assert(subject.staticKey.length === STATIC_KEY_BYTES, 'a static key has 32 bytes');
  const grants = subject.role === 'client' ? subject.grants : [];
  const encoded = grantsBytes(grants);
  const certificate = new Uint8Array(CERTIFICATE_BYTES_MIN + alignUp(encoded.length));
  const view = new DataView(certificate.buffer);
  view.setUint16(VERSION_OFFSET, FORMAT_VERSION, true);
  view.setUint8(ROLE_OFFSET, subject.role === 'replica' ? ROLE_REPLICA : ROLE_CLIENT);
  view.setUint8(GRANT_COUNT_OFFSET, grants.length);
  view.setUint16(MEMBER_INDEX_OFFSET, memberIndex, true);
  view.setUint16(VOUCHER_GROUP_OFFSET, subject.voucherGroup ?? 0, true);
  view.setBigUint64(EXPIRY_OFFSET, BigInt(subject.expirySeconds), true);
  certificate.set(subject.clusterId, CLUSTER_ID_OFFSET);
  certificate.set(subject.staticKey, STATIC_KEY_OFFSET);
  certificate.set(encoded, HEAD_BYTES);
  certificate.set(sign(signedBytes(certificate), clusterSecretKey), certificate.length - SIGNATURE_BYTES);
  return certificate;
}

export interface CertificateRules {
  readonly clusterId: Uint8Array;
  readonly clusterPublicKey: Uint8Array;
  /** The static key that the handshake proved; the certificate must be for this one. */
  readonly staticKey: Uint8Array;
  readonly nowSeconds: number;
}

/**
 * The signature is checked last: it costs most, and a certificate that fails an earlier rule gets the reason that
 * helps most. No reason given before it is proof of anything, only a hint for whoever reads the log.
 */
export function verifyCertificate(certificate: Uint8Array, rules: CertificateRules): Verdict {
  const byteCount = certificate.length;
  if (byteCount < CERTIFICATE_BYTES_MIN || byteCount > CERTIFICATE_BYTES_MAX) {
    return refuse(`the certificate has ${byteCount} bytes, not ${CERTIFICATE_BYTES_MIN} to ${CERTIFICATE_BYTES_MAX}`);
  }
  const view = new DataView(certificate.buffer, certificate.byteOffset, byteCount);
  const version = view.getUint16(VERSION_OFFSET, true);
  if (version !== FORMAT_VERSION) return refuse(`the certificate has format version ${version}, not ${FORMAT_VERSION}`);
  if (!equalAt(certificate, CLUSTER_ID_OFFSET, rules.clusterId)) {
    return refuse('the certificate is of another cluster');
  }
  if (!equalAt(certificate, STATIC_KEY_OFFSET, rules.staticKey)) {
    return refuse('the certificate is for another static key than the one that the handshake proved');
  }

  const role = view.getUint8(ROLE_OFFSET);
  if (role !== ROLE_REPLICA && role !== ROLE_CLIENT) return refuse(`the certificate's role ${role} is unknown`);
  const memberIndex = view.getUint16(MEMBER_INDEX_OFFSET, true);
  if ((memberIndex === NO_MEMBER) !== (role === ROLE_CLIENT)) {
    return refuse("the certificate's member index does not fit its role");
  }
  const grantCount = view.getUint8(GRANT_COUNT_OFFSET);
  if (role === ROLE_REPLICA && grantCount !== 0) return refuse("the certificate's grants do not fit its role");
  const grantsEnd = byteCount - SIGNATURE_BYTES;
  const read = readGrants(certificate.subarray(HEAD_BYTES, grantsEnd), grantCount);
  const isWhole =
    read !== undefined &&
    HEAD_BYTES + alignUp(read.byteCount) === grantsEnd &&
    certificate.subarray(HEAD_BYTES + read.byteCount, grantsEnd).every((byte) => byte === 0);
  if (!isWhole) return refuse("the certificate's grants are malformed");
  const expirySeconds = Number(view.getBigUint64(EXPIRY_OFFSET, true));
  if (!(rules.nowSeconds < expirySeconds)) return refuse(`the certificate expired ${describeTime(expirySeconds)}`);

  const signature = certificate.subarray(grantsEnd);
  if (!verify(signature, signedBytes(certificate), rules.clusterPublicKey)) {
    return refuse("the certificate's signature is not the cluster key's");
  }
  return {
    ok: true,
    identity: {
      role: role === ROLE_REPLICA ? 'replica' : 'client',
      memberIndex: role === ROLE_REPLICA ? memberIndex : -1,
      permissions: role === ROLE_REPLICA ? Permissions.ALL : new Permissions(read.grants),
    },
    voucherGroup: voucherGroupOf(certificate),
  };
}

function signedBytes(certificate: Uint8Array): Uint8Array {
  return Buffer.concat([SIGNATURE_PREFIX, certificate.subarray(0, -SIGNATURE_BYTES)]);
}

/** All of these fields are public, so the comparison need not take constant time. */
function equalAt(certificate: Uint8Array, offset: number, expected: Uint8Array): boolean {
  for (let i = 0; i < expected.length; i++) if (certificate[offset + i] !== expected[i]) return false;
  return true;
}

/** Dates beyond what Date can hold come from forged bytes only. */
function describeTime(seconds: number): string {
  const date = new Date(seconds * 1000);
  return Number.isNaN(date.getTime()) ? 'at an unknown time' : `on ${date.toISOString().slice(0, 19)}Z`;
}

function refuse(reason: string): Verdict {
  return { ok: false, reason };
}

/** Of a certificate that was verified; 0: none. */
export function voucherGroupOf(certificate: Uint8Array): number {
  return new DataView(certificate.buffer, certificate.byteOffset, HEAD_BYTES).getUint16(VOUCHER_GROUP_OFFSET, true);
}
