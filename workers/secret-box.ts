import { AEAD_TAG_BYTES, BOX_SEAL_BYTES, boxSeal, boxSealOpen, randomBytes, XAEAD_NONCE_BYTES } from './sodium.ts';
import { xaeadOpen, xaeadSeal } from './sodium.ts';
import type { KeyPair } from './sodium.ts';

/**
 * Sealing of small things that are kept on a disk or sent once: a service's state, keys on their way to whoever was
 * admitted. Used a few times a second at most, so it allocates freely.
 */

/** XChaCha20-Poly1305 under a random nonce, which begins what it returns. */
export function sealBytes(clear: Uint8Array, associated: Uint8Array, key: Uint8Array): Uint8Array {
  const sealed = new Uint8Array(XAEAD_NONCE_BYTES + clear.length + AEAD_TAG_BYTES);
  const nonce = randomBytes(XAEAD_NONCE_BYTES);
  sealed.set(nonce);
  xaeadSeal(sealed.subarray(XAEAD_NONCE_BYTES), clear, associated, nonce, key);
  return sealed;
}

/** Undefined for all that was not sealed with this key and these associated data. Never throws on input. */
export function openBytes(sealed: Uint8Array, associated: Uint8Array, key: Uint8Array): Uint8Array | undefined {
  const clearBytes = sealed.length - XAEAD_NONCE_BYTES - AEAD_TAG_BYTES;
  if (clearBytes < 0) return undefined;
  const clear = new Uint8Array(clearBytes);
  const nonce = sealed.subarray(0, XAEAD_NONCE_BYTES);
  return xaeadOpen(clear, sealed.subarray(XAEAD_NONCE_BYTES), associated, nonce, key) ? clear : undefined;
}

/** Only the holder of the X25519 secret key can open it. */
export function sealTo(clear: Uint8Array, publicKey: Uint8Array): Uint8Array {
  const sealed = new Uint8Array(clear.length + BOX_SEAL_BYTES);
  boxSeal(sealed, clear, publicKey);
  return sealed;
}

/** Undefined when it was not sealed to this key. Never throws on input. */
export function openSealedTo(sealed: Uint8Array, keys: KeyPair): Uint8Array | undefined {
  if (sealed.length < BOX_SEAL_BYTES) return undefined;
  const clear = new Uint8Array(sealed.length - BOX_SEAL_BYTES);
  return boxSealOpen(clear, sealed, keys) ? clear : undefined;
}
