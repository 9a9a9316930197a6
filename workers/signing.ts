/**
 * Key pairs, signatures and hashes for whoever issues and checks certificates. Used at start and in handshakes only, so
 * it allocates freely.
 */
import {
  blake2b,
  ed25519KeyPair,
  ed25519KeyPairOf,
  ed25519Sign,
  ed25519Verify,
  equalBytes,
  eraseBytes,
  randomBytes,
} from './sodium.ts';
import { STATIC_KEY_BYTES, x25519PublicKey } from './sodium.ts';
import type { KeyPair } from './sodium.ts';

export type { KeyPair };
export { randomBytes };

const HASH_BYTES = 32;
const LONG_HASH_BYTES = 64;

/** Ed25519: 32 bytes public, 64 bytes secret. */
export function generateSigningKeyPair(): KeyPair {
  return ed25519KeyPair();
}

/** Always the same one for a seed, 32 bytes: no more secret than that is. */
export function signingKeyPairOf(seed: Uint8Array): KeyPair {
  return ed25519KeyPairOf(seed);
}

/** 64 bytes. */
export function sign(message: Uint8Array, secretKey: Uint8Array): Uint8Array {
  return ed25519Sign(message, secretKey);
}

/** Never throws on input: anything that is no signature of the message under the key is false. */
export function verify(signature: Uint8Array, message: Uint8Array, publicKey: Uint8Array): boolean {
  return ed25519Verify(signature, message, publicKey);
}

/** X25519, the static key of a process: 32 bytes each. */
export function generateStaticKeyPair(): KeyPair {
  const secretKey = randomBytes(STATIC_KEY_BYTES);
  return { publicKey: x25519PublicKey(secretKey), secretKey };
}

/** BLAKE2b-256. */
export function hash(bytes: Uint8Array): Uint8Array {
  const output = new Uint8Array(HASH_BYTES);
  blake2b(output, bytes);
  return output;
}

/** BLAKE2b-512: fills what a report binds. */
export function longHash(bytes: Uint8Array): Uint8Array {
  const output = new Uint8Array(LONG_HASH_BYTES);
  blake2b(output, bytes);
  return output;
}

/** BLAKE2b-256 under a key of 32 bytes: a MAC, and a derived key. */
export function keyedHash(bytes: Uint8Array, key: Uint8Array): Uint8Array {
  const output = new Uint8Array(HASH_BYTES);
  blake2b(output, bytes, key);
  return output;
}

/** In constant time for equal lengths. */
export function isEqual(a: Uint8Array, b: Uint8Array): boolean {
  return equalBytes(a, b);
}

export function erase(secret: Uint8Array): void {
  eraseBytes(secret);
}
