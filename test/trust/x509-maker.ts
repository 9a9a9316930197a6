import { constants, generateKeyPairSync, sign } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { AsnConvert, OctetString } from '@peculiar/asn1-schema';
import * as x509 from '@peculiar/asn1-x509';

/** X.509 certificates and revocation lists as a test wants them, signed as AMD and Intel sign. */
export interface Holder {
  readonly der: Uint8Array;
  readonly name: string;
  readonly serial: number;
  readonly privateKey: KeyObject;
}

export interface KeyPair {
  readonly publicKey: KeyObject;
  readonly privateKey: KeyObject;
}

/** 2,048 bits instead of AMD's 4,096: the same code, made in a tenth of the time. */
export function makeRsaKeys(): KeyPair {
  return generateKeyPairSync('rsa', { modulusLength: 2_048 });
}

export function makeEcKeys(namedCurve: 'P-256' | 'P-384'): KeyPair {
  return generateKeyPairSync('ec', { namedCurve });
}

export interface CertificatePlan {
  readonly name: string;
  /** Undefined: signs itself. */
  readonly issuer: Holder | undefined;
  readonly keys: KeyPair;
  readonly serial: number;
  readonly notBefore: Date;
  readonly notAfter: Date;
  readonly isAuthority?: boolean;
  readonly keyUsage?: number;
  readonly pathLengthMax?: number;
  readonly extensions?: readonly { readonly oid: string; readonly value: Uint8Array; readonly isCritical?: boolean }[];
}

export function makeCertificate(plan: CertificatePlan): Holder {
  const { name, issuer, keys, serial, isAuthority = false, pathLengthMax } = plan;
  const usage =
    plan.keyUsage ?? (isAuthority ? x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign : undefined);
  const constraints = new x509.BasicConstraints({
    cA: isAuthority,
    ...(pathLengthMax === undefined ? {} : { pathLenConstraint: pathLengthMax }),
  });
  const extensions = [
    ...(isAuthority ? [standard(x509.id_ce_basicConstraints, constraints)] : []),
    ...(usage === undefined ? [] : [standard(x509.id_ce_keyUsage, new x509.KeyUsage(usage))]),
    ...(plan.extensions ?? []).map(
      ({ oid, value, isCritical = false }) =>
        new x509.Extension({ extnID: oid, critical: isCritical, extnValue: new OctetString(exact(value)) }),
    ),
  ];
  const signer = issuer?.privateKey ?? keys.privateKey;
  const algorithm = algorithmOf(signer);
  const tbsCertificate = new x509.TBSCertificate({
    version: x509.Version.v3,
    serialNumber: exact(Uint8Array.of(serial)),
    signature: algorithm,
    issuer: makeName(issuer?.name ?? name),
    validity: new x509.Validity({ notBefore: plan.notBefore, notAfter: plan.notAfter }),
    subject: makeName(name),
    subjectPublicKeyInfo: AsnConvert.parse(
      keys.publicKey.export({ type: 'spki', format: 'der' }),
      x509.SubjectPublicKeyInfo,
    ),
    extensions: new x509.Extensions(extensions),
  });
  const signatureValue = signedBy(signer, new Uint8Array(AsnConvert.serialize(tbsCertificate)));
  const certificate = new x509.Certificate({ tbsCertificate, signatureAlgorithm: algorithm, signatureValue });
  return { der: new Uint8Array(AsnConvert.serialize(certificate)), name, serial, privateKey: keys.privateKey };
}

export interface ListPlan {
  readonly signer: Holder;
  /** Left out: the signer. */
  readonly issuerName?: string;
  readonly thisUpdate: Date;
  /** Undefined: it doesn't say. */
  readonly nextUpdate: Date | undefined;
  readonly revokedSerials?: readonly number[];
  readonly criticalExtension?: string;
}

export function makeList(plan: ListPlan): Uint8Array {
  const algorithm = algorithmOf(plan.signer.privateKey);
  const revoked = (plan.revokedSerials ?? []).map(
    (serial) =>
      new x509.RevokedCertificate({
        userCertificate: exact(Uint8Array.of(serial)),
        revocationDate: new x509.Time(plan.thisUpdate),
      }),
  );
  const tbsCertList = new x509.TBSCertList({
    version: x509.Version.v2,
    signature: algorithm,
    issuer: makeName(plan.issuerName ?? plan.signer.name),
    thisUpdate: new x509.Time(plan.thisUpdate),
    ...(plan.nextUpdate === undefined ? {} : { nextUpdate: new x509.Time(plan.nextUpdate) }),
    ...(revoked.length === 0 ? {} : { revokedCertificates: revoked }),
    ...(plan.criticalExtension === undefined
      ? {}
      : {
          crlExtensions: [
            new x509.Extension({
              extnID: plan.criticalExtension,
              critical: true,
              extnValue: new OctetString(exact(Uint8Array.of(2, 1, 1))),
            }),
          ],
        }),
  });
  const signature = signedBy(plan.signer.privateKey, new Uint8Array(AsnConvert.serialize(tbsCertList)));
  const list = new x509.CertificateList({ tbsCertList, signatureAlgorithm: algorithm, signature });
  return new Uint8Array(AsnConvert.serialize(list));
}

export function pemOf(label: 'CERTIFICATE' | 'X509 CRL', der: Uint8Array): string {
  const lines =
    Buffer.from(der)
      .toString('base64')
      .match(/.{1,64}/g) ?? [];
  return `-----BEGIN ${label}-----\n${lines.join('\n')}\n-----END ${label}-----\n`;
}

/** RFC 4055, 3.1: SHA-384, MGF1 with SHA-384, 48 bytes of salt, trailer field 1, as in AMD's certificates. */
const PSS_SHA384 = Buffer.from(
  '3039a00f300d06096086480165030402020500a11c301a06092a864886f70d010108300d06096086480165030402020500a203020130a303020101',
  'hex',
);

function algorithmOf(key: KeyObject): x509.AlgorithmIdentifier {
  if (key.asymmetricKeyType === 'rsa') {
    return new x509.AlgorithmIdentifier({ algorithm: '1.2.840.113549.1.1.10', parameters: exact(PSS_SHA384) });
  }
  return new x509.AlgorithmIdentifier({ algorithm: '1.2.840.10045.4.3.2' });
}

function signedBy(key: KeyObject, message: Uint8Array): ArrayBuffer {
  if (key.asymmetricKeyType === 'rsa') {
    return exact(sign('sha384', message, { key, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: 48 }));
  }
  return exact(sign('sha256', message, key));
}

function standard(extnID: string, value: unknown): x509.Extension {
  return new x509.Extension({ extnID, critical: true, extnValue: new OctetString(AsnConvert.serialize(value)) });
}

function makeName(commonName: string): x509.Name {
  const parts = [
    ['2.5.4.10', 'Avocado test'],
    ['2.5.4.3', commonName],
  ] as const;
  return new x509.Name(
    parts.map(
      ([type, value]) =>
        new x509.RelativeDistinguishedName([
          new x509.AttributeTypeAndValue({ type, value: new x509.AttributeValue({ utf8String: value }) }),
        ]),
    ),
  );
}

/** A buffer of its own: small Buffers are parts of a pool. */
function exact(bytes: Uint8Array): ArrayBuffer {
  return new Uint8Array(bytes).buffer;
}
