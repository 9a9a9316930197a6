/**
 * The only importer of sodium-native: thin functions with the project's names and types. Lengths are the callers'
 * business; sodium-native checks them once more and throws, which is a bug of ours and stays an exception. The one
 * failure that input can cause, a tag or signature that does not fit, is a return value.
 */
import sodium from 'sodium-native';

/** ChaCha20-Poly1305 (RFC 8439). */
export const AEAD_KEY_BYTES = 32;
export const AEAD_NONCE_BYTES = 12;
export const AEAD_TAG_BYTES = 16;

/** X25519 (RFC 7748), each half of a pair. */
export const STATIC_KEY_BYTES = 32;

/** Ed25519 (RFC 8032); the secret key is libsodium's seed || public key. */
export const SIGNING_PUBLIC_KEY_BYTES = 32;
export const SIGNING_SECRET_KEY_BYTES = 64;
export const SIGNATURE_BYTES = 64;

export interface KeyPair {
  readonly publicKey: Uint8Array;
  readonly secretKey: Uint8Array;
}

const encrypt = sodium.crypto_aead_chacha20poly1305_ietf_encrypt;
const decrypt = sodium.crypto_aead_chacha20poly1305_ietf_decrypt;

/** Writes ciphertext and tag to `sealed` (16 bytes longer than `clear`; may start at the same byte). */
export function aeadSeal(
  sealed: Uint8Array,
  clear: Uint8Array,
  associated: Uint8Array,
  nonce: Uint8Array,
  key: Uint8Array,
): void {
  encrypt(sealed, clear, associated, null, nonce, key);
}

/** False when the tag does not fit. `clear` may start at the same byte as `sealed`. */
export function aeadOpen(
  clear: Uint8Array,
  sealed: Uint8Array,
  associated: Uint8Array,
  nonce: Uint8Array,
  key: Uint8Array,
): boolean {
  try {
    return decrypt(clear, null, sealed, associated, nonce, key) === clear.byteLength;
  } catch (error) {
    if (isMisuse(error)) throw error;
    return false;
  }
}

/** sodium-native's own argument checks: they must not pass for a forged tag. */
function isMisuse(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ERR_ASSERTION';
}

/** BLAKE2b; output.byteLength (16 to 64) is part of the function, as is the optional key (16 to 64 bytes). */
export function blake2b(output: Uint8Array, input: Uint8Array, key?: Uint8Array): void {
  sodium.crypto_generichash(output, input, key);
}

export function x25519PublicKey(secretKey: Uint8Array): Uint8Array {
  const publicKey = new Uint8Array(STATIC_KEY_BYTES);
  sodium.crypto_scalarmult_base(publicKey, secretKey);
  return publicKey;
}

export function ed25519KeyPair(): KeyPair {
  const publicKey = new Uint8Array(SIGNING_PUBLIC_KEY_BYTES);
  const secretKey = new Uint8Array(SIGNING_SECRET_KEY_BYTES);
  sodium.crypto_sign_keypair(publicKey, secretKey);
  return { publicKey, secretKey };
}

/** The key pair that a 32-byte seed stands for. */
export function ed25519KeyPairOf(seed: Uint8Array): KeyPair {
  const publicKey = new Uint8Array(SIGNING_PUBLIC_KEY_BYTES);
  const secretKey = new Uint8Array(SIGNING_SECRET_KEY_BYTES);
  sodium.crypto_sign_seed_keypair(publicKey, secretKey, seed);
  return { publicKey, secretKey };
}

export function ed25519Sign(message: Uint8Array, secretKey: Uint8Array): Uint8Array {
  const signature = new Uint8Array(SIGNATURE_BYTES);
  sodium.crypto_sign_detached(signature, message, secretKey);
  return signature;
}

/** False for wrong lengths, too: sodium-native would throw on a short signature and accept a long one. */
export function ed25519Verify(signature: Uint8Array, message: Uint8Array, publicKey: Uint8Array): boolean {
  if (signature.byteLength !== SIGNATURE_BYTES || publicKey.byteLength !== SIGNING_PUBLIC_KEY_BYTES) return false;
  return sodium.crypto_sign_verify_detached(signature, message, publicKey);
}

/** Constant-time for equal lengths; lengths are no secret. */
export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.byteLength === b.byteLength && sodium.sodium_memcmp(a, b);
}

/** Overwrites a secret with zeros. */
export function eraseBytes(bytes: Uint8Array): void {
  sodium.sodium_memzero(bytes);
}

export function randomBytes(count: number): Uint8Array {
  const bytes = new Uint8Array(count);
  sodium.randombytes_buf(bytes);
  return bytes;
}

/** XChaCha20-Poly1305: its nonce is long enough to be drawn at random. */
export const XAEAD_NONCE_BYTES = 24;

export function xaeadSeal(
  sealed: Uint8Array,
  clear: Uint8Array,
  associated: Uint8Array,
  nonce: Uint8Array,
  key: Uint8Array,
): void {
  sodium.crypto_aead_xchacha20poly1305_ietf_encrypt(sealed, clear, associated, null, nonce, key);
}

/** False when the tag does not fit. */
export function xaeadOpen(
  clear: Uint8Array,
  sealed: Uint8Array,
  associated: Uint8Array,
  nonce: Uint8Array,
  key: Uint8Array,
): boolean {
  try {
    return (
      sodium.crypto_aead_xchacha20poly1305_ietf_decrypt(clear, null, sealed, associated, nonce, key) ===
      clear.byteLength
    );
  } catch (error) {
    if (isMisuse(error)) throw error;
    return false;
  }
}

/** How much longer a message is once it is sealed to a public key. */
export const BOX_SEAL_BYTES = 48;

/** To the holder of an X25519 key, by nobody in particular: libsodium's sealed box. */
export function boxSeal(sealed: Uint8Array, clear: Uint8Array, publicKey: Uint8Array): void {
  sodium.crypto_box_seal(sealed, clear, publicKey);
}

/** False when it was not sealed to this key. */
export function boxSealOpen(clear: Uint8Array, sealed: Uint8Array, keys: KeyPair): boolean {
  return sodium.crypto_box_seal_open(clear, sealed, keys.publicKey, keys.secretKey);
}
