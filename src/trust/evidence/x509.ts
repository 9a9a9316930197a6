import { constants, verify, X509Certificate } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { AsnConvert } from '@peculiar/asn1-schema';
import {
  BasicConstraints,
  Certificate,
  CertificateList,
  KeyUsage,
  KeyUsageFlags,
  id_ce_basicConstraints,
  id_ce_keyUsage,
} from '@peculiar/asn1-x509';
import type { AlgorithmIdentifier, Extension, Name, Time } from '@peculiar/asn1-x509';
import type { BaseBlock } from 'asn1js';
import { BitString, fromBER, IA5String, Integer, ObjectIdentifier, OctetString, Sequence } from 'asn1js';

/**
 * X.509 certificates and revocation lists (RFC 5280) as bytes of strangers: read without trust, signatures checked by
 * node:crypto. What can't be read is undefined, nothing throws. The only importer of the ASN.1 library.
 */

export interface ParsedCertificate {
  readonly der: Uint8Array;
  /** SHA-256 over the DER, hex. */
  readonly fingerprint: string;
  readonly subjectName: string;
  readonly issuerName: string;
  /** Hex without leading zeros. */
  readonly serial: string;
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  readonly publicKey: KeyObject;
  /** May sign certificates: a CA by its constraints, and by its key usage where that is given. */
  readonly maySignCertificates: boolean;
  readonly maySignLists: boolean;
  /** How many authorities may stand between it and a leaf; Infinity where it doesn't say. */
  readonly pathLengthMax: number;
  /** Values of the extensions by OID, each given once. */
  readonly extensions: ReadonlyMap<string, Uint8Array>;
  /** For signature and issuer checks. */
  readonly node: X509Certificate;
}

/** Understood here; any other critical extension makes a certificate unusable (RFC 5280, 4.2). */
const CRITICAL_EXTENSIONS_KNOWN: ReadonlySet<string> = new Set([id_ce_basicConstraints, id_ce_keyUsage]);

/** @param vendorExtensions OIDs of critical extensions that the caller judges itself. */
export function parseCertificate(
  der: Uint8Array,
  vendorExtensions: ReadonlySet<string> = new Set(),
): ParsedCertificate | undefined {
  try {
    const node = new X509Certificate(der);
    // What follows the certificate would be no part of it, yet of its bytes.
    if (node.raw.length !== der.length) return undefined;
    const { tbsCertificate } = AsnConvert.parse(der, Certificate);
    const extensions = readExtensions(
      tbsCertificate.extensions ?? [],
      (oid) => CRITICAL_EXTENSIONS_KNOWN.has(oid) || vendorExtensions.has(oid),
    );
    if (extensions === undefined) return undefined;
    const constraints = parseExtension(extensions, id_ce_basicConstraints, BasicConstraints);
    const usage = parseExtension(extensions, id_ce_keyUsage, KeyUsage)?.toNumber();
    const isAuthority = constraints?.cA === true;
    return {
      der,
      fingerprint: node.fingerprint256.replaceAll(':', '').toLowerCase(),
      subjectName: describeName(tbsCertificate.subject),
      issuerName: describeName(tbsCertificate.issuer),
      serial: serialOf(tbsCertificate.serialNumber),
      notBeforeMs: tbsCertificate.validity.notBefore.getTime().getTime(),
      notAfterMs: tbsCertificate.validity.notAfter.getTime().getTime(),
      publicKey: node.publicKey,
      maySignCertificates: isAuthority && allows(usage, KeyUsageFlags.keyCertSign),
      maySignLists: isAuthority && allows(usage, KeyUsageFlags.cRLSign),
      pathLengthMax: constraints?.pathLenConstraint ?? Infinity,
      extensions,
      node,
    };
  } catch {
    return undefined;
  }
}

/** By names, key identifiers and signature. */
export function isIssuedBy(certificate: ParsedCertificate, issuer: ParsedCertificate): boolean {
  try {
    return certificate.node.checkIssued(issuer.node) && certificate.node.verify(issuer.publicKey);
  } catch {
    return false;
  }
}

export interface RevocationList {
  readonly issuerName: string;
  readonly thisUpdateMs: number;
  readonly nextUpdateMs: number;
  /** As in ParsedCertificate. */
  readonly revokedSerials: ReadonlySet<string>;
  readonly signedBytes: Uint8Array;
  readonly signature: Uint8Array;
  readonly algorithm: SignatureAlgorithm;
}

export function parseRevocationList(der: Uint8Array): RevocationList | undefined {
  try {
    const list = AsnConvert.parse(der, CertificateList);
    const { tbsCertList, tbsCertListRaw, signatureAlgorithm } = list;
    const algorithm = signatureAlgorithmOf(signatureAlgorithm);
    if (tbsCertListRaw === undefined || algorithm === undefined || tbsCertList.nextUpdate === undefined)
      return undefined;
    // RFC 5280, 5.1.1.2.
    if (!sameBytes(AsnConvert.serialize(signatureAlgorithm), AsnConvert.serialize(tbsCertList.signature)))
      return undefined;
    // The signature covers neither its own wrapping nor the outer algorithm: they have one spelling (DER).
    const signature = new BitString({ valueHex: list.signature }).toBER();
    if (!sameBytes(sequenceOf(tbsCertListRaw, AsnConvert.serialize(signatureAlgorithm), signature), der))
      return undefined;
    // A critical extension narrows what a list speaks about (delta, indirect, parts): none is understood here.
    if (readExtensions(tbsCertList.crlExtensions ?? [], () => false) === undefined) return undefined;
    const revokedSerials = new Set<string>();
    for (const { userCertificate, crlEntryExtensions } of tbsCertList.revokedCertificates ?? []) {
      if (readExtensions(crlEntryExtensions ?? [], () => false) === undefined) return undefined;
      revokedSerials.add(serialOf(userCertificate));
    }
    return {
      issuerName: describeName(tbsCertList.issuer),
      thisUpdateMs: timeOf(tbsCertList.thisUpdate),
      nextUpdateMs: timeOf(tbsCertList.nextUpdate),
      revokedSerials,
      signedBytes: new Uint8Array(tbsCertListRaw),
      signature: new Uint8Array(list.signature),
      algorithm,
    };
  } catch {
    return undefined;
  }
}

export function isListSignedBy(list: RevocationList, issuer: ParsedCertificate): boolean {
  if (!issuer.maySignLists || list.issuerName !== issuer.subjectName) return false;
  try {
    return verifySignature(list.algorithm, list.signedBytes, issuer.publicKey, list.signature);
  } catch {
    return false;
  }
}

/** An extension's value that is an INTEGER from 0 to 255. */
export function parseSmallInteger(value: Uint8Array): number | undefined {
  const { offset, result } = fromBER(value);
  if (offset !== value.length || !(result instanceof Integer)) return undefined;
  const { valueDec } = result.valueBlock;
  return Number.isInteger(valueDec) && valueDec >= 0 && valueDec <= 0xff ? valueDec : undefined;
}

/** An extension's value that is an IA5String. */
export function parseText(value: Uint8Array): string | undefined {
  const { offset, result } = fromBER(value);
  return offset === value.length && result instanceof IA5String ? result.getValue() : undefined;
}

type SignatureAlgorithm = 'rsa-pss-sha384' | 'ecdsa-sha256' | 'ecdsa-sha384';

const ECDSA_WITH_SHA256 = '1.2.840.10045.4.3.2';
const ECDSA_WITH_SHA384 = '1.2.840.10045.4.3.3';
const RSASSA_PSS = '1.2.840.113549.1.1.10';
/** RSASSA-PSS-params (RFC 4055, 3.1): SHA-384, MGF1 with SHA-384, 48 bytes of salt; trailer field given or left out. */
const PSS_SHA384_PARAMETERS: ReadonlySet<string> = new Set([
  '3034a00f300d06096086480165030402020500a11c301a06092a864886f70d010108300d06096086480165030402020500a203020130',
  '3039a00f300d06096086480165030402020500a11c301a06092a864886f70d010108300d06096086480165030402020500a203020130a303020101',
]);
const PSS_SALT_BYTES = 48;

function signatureAlgorithmOf({ algorithm, parameters }: AlgorithmIdentifier): SignatureAlgorithm | undefined {
  if (algorithm === ECDSA_WITH_SHA256) return 'ecdsa-sha256';
  if (algorithm === ECDSA_WITH_SHA384) return 'ecdsa-sha384';
  if (algorithm !== RSASSA_PSS || !parameters) return undefined;
  return PSS_SHA384_PARAMETERS.has(Buffer.from(parameters).toString('hex')) ? 'rsa-pss-sha384' : undefined;
}

function verifySignature(
  algorithm: SignatureAlgorithm,
  message: Uint8Array,
  key: KeyObject,
  signature: Uint8Array,
): boolean {
  if (algorithm === 'rsa-pss-sha384') {
    if (key.asymmetricKeyType !== 'rsa') return false;
    return verify(
      'sha384',
      message,
      { key, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: PSS_SALT_BYTES },
      signature,
    );
  }
  if (key.asymmetricKeyType !== 'ec') return false;
  return verify(algorithm === 'ecdsa-sha256' ? 'sha256' : 'sha384', message, key, signature);
}

/** Undefined if one is given twice, or is critical and not understood. */
function readExtensions(
  list: readonly Extension[],
  isKnown: (oid: string) => boolean,
): Map<string, Uint8Array> | undefined {
  const extensions = new Map<string, Uint8Array>();
  for (const { extnID, critical, extnValue } of list) {
    if (extensions.has(extnID) || (critical && !isKnown(extnID))) return undefined;
    extensions.set(extnID, new Uint8Array(extnValue.buffer));
  }
  return extensions;
}

function parseExtension<T>(extensions: ReadonlyMap<string, Uint8Array>, oid: string, type: new () => T): T | undefined {
  const value = extensions.get(oid);
  return value === undefined ? undefined : AsnConvert.parse(value, type);
}

/** Without a key usage every use is allowed (RFC 5280, 4.2.1.3). */
function allows(usage: number | undefined, flag: number): boolean {
  return usage === undefined || (usage & flag) !== 0;
}

function timeOf(time: Time): number {
  return time.getTime().getTime();
}

/** Attributes in their order, so that equal texts are equal names. */
function describeName(name: Name): string {
  return name
    .map((attributes) =>
      [...attributes].map(({ type, value }) => `${type}=${JSON.stringify(value.toString())}`).join('+'),
    )
    .join(',');
}

function serialOf(serial: ArrayBuffer): string {
  return Buffer.from(serial).toString('hex').replace(/^0+/, '');
}

function sameBytes(a: ArrayBuffer | Uint8Array, b: ArrayBuffer | Uint8Array): boolean {
  return Buffer.compare(new Uint8Array(a), new Uint8Array(b)) === 0;
}

const SEQUENCE_TAG = 0x30;

/** DER of a SEQUENCE of parts that are DER already. */
function sequenceOf(...parts: readonly ArrayBuffer[]): Uint8Array {
  const content = Buffer.concat(parts.map((part) => new Uint8Array(part)));
  // Led in by a length like an OCTET STRING.
  const sequence = new Uint8Array(new OctetString({ valueHex: new Uint8Array(content).buffer }).toBER());
  sequence[0] = SEQUENCE_TAG;
  return sequence;
}

/**
 * A vendor's table in an extension's value: a SEQUENCE of pairs, each an OID and a value. By OID, each given once, the
 * content of an OCTET STRING or INTEGER, and of a SEQUENCE its DER, so that a table in a table is read like this one.
 */
export function parseVendorTable(value: Uint8Array): ReadonlyMap<string, Uint8Array> | undefined {
  const { offset, result } = fromBER(value);
  if (offset !== value.length || !(result instanceof Sequence)) return undefined;
  const table = new Map<string, Uint8Array>();
  for (const pair of result.valueBlock.value) {
    if (!(pair instanceof Sequence) || pair.valueBlock.value.length !== 2) return undefined;
    const [name, content] = pair.valueBlock.value;
    if (!(name instanceof ObjectIdentifier) || table.has(name.getValue())) return undefined;
    const bytes = contentOf(content!);
    if (bytes !== undefined) table.set(name.getValue(), bytes);
  }
  return table;
}

function contentOf(block: BaseBlock): Uint8Array | undefined {
  if (block instanceof OctetString) return new Uint8Array(block.getValue());
  // An ENUMERATED is an Integer, too.
  if (block instanceof Integer) return block.valueBlock.valueHexView;
  return block instanceof Sequence ? block.valueBeforeDecodeView : undefined;
}
