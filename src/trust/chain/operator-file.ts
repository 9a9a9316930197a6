import { z } from 'zod';
import { generateSigningKeyPair, generateStaticKeyPair } from '../../../workers/signing.ts';
import type { KeyPair } from '../../../workers/signing.ts';
import { fileError } from '../cluster-files.ts';
import { hexOfBytes, parseStrictJson } from '../evidence/strict-json.ts';
import { bytesOfHex, hexOf } from '../hex.ts';
import { readSecretFile, writeSecretFile } from './secret-file.ts';

/** An operator's keys: Ed25519 for commands to CAS, X25519 for a share of its recovery key. */
export interface OperatorKeys {
  readonly signing: KeyPair;
  readonly recovery: KeyPair;
}

/** What CAS is told of an operator, hex: public signing key, public recovery key. */
export interface OperatorName {
  readonly signing: string;
  readonly recovery: string;
}

const FILE = z.strictObject({
  publicKey: hexOfBytes(32),
  secretKey: hexOfBytes(64),
  recoveryPublicKey: hexOfBytes(32),
  recoverySecretKey: hexOfBytes(32),
});
const FILE_CHARS_MAX = 4 * 1024;

export function newOperatorKeys(): OperatorKeys {
  return { signing: generateSigningKeyPair(), recovery: generateStaticKeyPair() };
}

/** 128 hexadecimal digits: both public keys. */
export function operatorName({ signing, recovery }: OperatorKeys): string {
  return `${hexOf(signing.publicKey)}${hexOf(recovery.publicKey)}`;
}

/** Undefined when it is none. */
export function parseOperatorName(text: string): OperatorName | undefined {
  return /^[0-9a-f]{128}$/.test(text) ? { signing: text.slice(0, 64), recovery: text.slice(64) } : undefined;
}

/** @throws AvocadoError CLUSTER_FILES, also when the file is there. */
export function writeOperatorFile(path: string, { signing, recovery }: OperatorKeys): void {
  const content = {
    publicKey: hexOf(signing.publicKey),
    secretKey: hexOf(signing.secretKey),
    recoveryPublicKey: hexOf(recovery.publicKey),
    recoverySecretKey: hexOf(recovery.secretKey),
  };
  if (writeSecretFile(path, `${JSON.stringify(content)}\n`, 'new')) return;
  throw fileError(path, 'is there already: give another name');
}

/** @throws AvocadoError CLUSTER_FILES, EVIDENCE_FILES. */
export function readOperatorFile(path: string): OperatorKeys {
  const text = readSecretFile(path);
  if (text === undefined) throw fileError(path, 'is missing: make it with avocado cas operator-key');
  const { publicKey, secretKey, recoveryPublicKey, recoverySecretKey } = parseStrictJson(
    text,
    FILE,
    path,
    FILE_CHARS_MAX,
  );
  return {
    signing: { publicKey: bytesOfHex(publicKey), secretKey: bytesOfHex(secretKey) },
    recovery: { publicKey: bytesOfHex(recoveryPublicKey), secretKey: bytesOfHex(recoverySecretKey) },
  };
}
