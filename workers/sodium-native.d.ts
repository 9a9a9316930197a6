/** Types of the few functions of sodium-native that sodium.ts calls; the package brings none. */
declare module 'sodium-native' {
  const sodium: {
    /** Returns sealed.byteLength. `sealed` may begin where `clear` begins. */
    crypto_aead_chacha20poly1305_ietf_encrypt: (
      sealed: Uint8Array,
      clear: Uint8Array,
      associated: Uint8Array | null,
      nsec: null,
      nonce: Uint8Array,
      key: Uint8Array,
    ) => number;
    /** Returns clear.byteLength; throws when the tag does not fit. */
    crypto_aead_chacha20poly1305_ietf_decrypt: (
      clear: Uint8Array,
      nsec: null,
      sealed: Uint8Array,
      associated: Uint8Array | null,
      nonce: Uint8Array,
      key: Uint8Array,
    ) => number;
    /** As the function above, with a nonce of 24 bytes. */
    crypto_aead_xchacha20poly1305_ietf_encrypt: (
      sealed: Uint8Array,
      clear: Uint8Array,
      associated: Uint8Array | null,
      nsec: null,
      nonce: Uint8Array,
      key: Uint8Array,
    ) => number;
    /** Returns clear.byteLength; throws when the tag does not fit. */
    crypto_aead_xchacha20poly1305_ietf_decrypt: (
      clear: Uint8Array,
      nsec: null,
      sealed: Uint8Array,
      associated: Uint8Array | null,
      nonce: Uint8Array,
      key: Uint8Array,
    ) => number;
    /** `sealed` is 48 bytes longer than `clear`. */
    crypto_box_seal(sealed: Uint8Array, clear: Uint8Array, publicKey: Uint8Array): void;
    crypto_box_seal_open(clear: Uint8Array, sealed: Uint8Array, publicKey: Uint8Array, secretKey: Uint8Array): boolean;
    crypto_generichash(output: Uint8Array, input: Uint8Array, key?: Uint8Array): void;
    crypto_scalarmult_base(publicKey: Uint8Array, secretKey: Uint8Array): void;
    crypto_sign_keypair(publicKey: Uint8Array, secretKey: Uint8Array): void;
    crypto_sign_seed_keypair(publicKey: Uint8Array, secretKey: Uint8Array, seed: Uint8Array): void;
    crypto_sign_detached(signature: Uint8Array, message: Uint8Array, secretKey: Uint8Array): void;
    /** Accepts signatures that are too long: check the length before. */
    crypto_sign_verify_detached(signature: Uint8Array, message: Uint8Array, publicKey: Uint8Array): boolean;
    /** Both must have the same length. */
    sodium_memcmp(a: Uint8Array, b: Uint8Array): boolean;
    sodium_memzero(bytes: Uint8Array): void;
    randombytes_buf(bytes: Uint8Array): void;
  };
  export default sodium;
}
