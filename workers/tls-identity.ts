import { createSign, generateKeyPairSync } from 'node:crypto';
import { AsnConvert } from '@peculiar/asn1-schema';
import {
  AlgorithmIdentifier,
  AttributeTypeAndValue,
  AttributeValue,
  Certificate,
  Name,
  RelativeDistinguishedName,
  SubjectPublicKeyInfo,
  TBSCertificate,
  Validity,
  Version,
} from '@peculiar/asn1-x509';
import { randomBytes } from './sodium.ts';

/**
 * A TLS server's key and the certificate that carries it. Nobody signs it but itself: what stands behind the key is
 * evidence that binds the whole certificate, so names and dates in it mean nothing.
 */
export interface TlsIdentity {
  readonly privateKeyPem: string;
  readonly certificatePem: string;
  readonly certificateDer: Uint8Array;
}

const ECDSA_WITH_SHA256 = '1.2.840.10045.4.3.2';
const COMMON_NAME = '2.5.4.3';
const SERIAL_BYTES = 16;
/** Made anew at each start of a service; a clock that is a day off must not stop it. */
const VALID_BEFORE_MS = 24 * 60 * 60 * 1000;
const VALID_AFTER_MS = 10 * 365 * 24 * 60 * 60 * 1000;

export function createTlsIdentity(commonName: string, nowMs: number): TlsIdentity {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const name = new Name([
    new RelativeDistinguishedName([
      new AttributeTypeAndValue({ type: COMMON_NAME, value: new AttributeValue({ utf8String: commonName }) }),
    ]),
  ]);
  const algorithm = new AlgorithmIdentifier({ algorithm: ECDSA_WITH_SHA256 });
  const serial = randomBytes(SERIAL_BYTES);
  serial[0] = (serial[0]! & 0x7f) | 0x01; // a positive number without leading zeros
  const content = new TBSCertificate({
    version: Version.v3,
    serialNumber: serial.buffer as ArrayBuffer,
    signature: algorithm,
    issuer: name,
    subject: name,
    validity: new Validity({
      notBefore: new Date(nowMs - VALID_BEFORE_MS),
      notAfter: new Date(nowMs + VALID_AFTER_MS),
    }),
    subjectPublicKeyInfo: AsnConvert.parse(publicKey.export({ type: 'spki', format: 'der' }), SubjectPublicKeyInfo),
  });
  const signature = createSign('sha256')
    .update(Buffer.from(AsnConvert.serialize(content)))
    .sign(privateKey);
  const certificate = new Certificate({
    tbsCertificate: content,
    signatureAlgorithm: algorithm,
    signatureValue: new Uint8Array(signature).buffer,
  });
  const certificateDer = new Uint8Array(AsnConvert.serialize(certificate));
  return {
    privateKeyPem: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    certificatePem: certificatePem(certificateDer),
    certificateDer,
  };
}

export function certificatePem(der: Uint8Array): string {
  const lines = Buffer.from(der)
    .toString('base64')
    .match(/.{1,64}/g);
  return `-----BEGIN CERTIFICATE-----\n${(lines ?? []).join('\n')}\n-----END CERTIFICATE-----\n`;
}
