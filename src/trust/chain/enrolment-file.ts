import { z } from 'zod';
import { generateSigningKeyPair } from '../../../workers/signing.ts';
import type { KeyPair } from '../../../workers/signing.ts';
import { fileError } from '../cluster-files.ts';
import { hexOfBytes, parseStrictJson } from '../evidence/strict-json.ts';
import { bytesOfHex, hexOf } from '../hex.ts';
import { readSecretFile, writeSecretFile } from './secret-file.ts';

/** The key pair (Ed25519) by which clients show that they belong to a profile (profiles.ts). */
const FILE = z.strictObject({ publicKey: hexOfBytes(32), secretKey: hexOfBytes(64) });
const FILE_CHARS_MAX = 4 * 1024;

/** @throws AvocadoError CLUSTER_FILES, also when the file is there. */
export function makeEnrolmentFile(path: string): KeyPair {
  const keys = generateSigningKeyPair();
  const content = { publicKey: hexOf(keys.publicKey), secretKey: hexOf(keys.secretKey) };
  if (!writeSecretFile(path, `${JSON.stringify(content, null, 2)}\n`, 'new')) {
    throw fileError(path, 'is there already, and may hold a key in use: give another path');
  }
  return keys;
}

/** @throws AvocadoError CLUSTER_FILES. */
export function readEnrolmentFile(path: string): Uint8Array {
  const text = readSecretFile(path);
  if (text === undefined) throw fileError(path, 'is missing: avocado cas enrolment-key makes one');
  return bytesOfHex(parseStrictJson(text, FILE, path, FILE_CHARS_MAX).secretKey);
}
