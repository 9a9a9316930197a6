import assert from 'node:assert/strict';
import { test } from 'node:test';
import { erase, generateSigningKeyPair, generateStaticKeyPair, hash, sign, verify } from '../../workers/signing.ts';
import { x25519PublicKey } from '../../workers/sodium.ts';
import { bytesOf } from './sealing-driver.ts';

function hex(text: string): Uint8Array {
  return Uint8Array.from(Buffer.from(text, 'hex'));
}

/** RFC 8032, section 7.1, test 2. The secret key is libsodium's: seed, then public key. */
const publicKey = hex('3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c');
const secretKey = Uint8Array.from([
  ...hex('4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb'),
  ...publicKey,
]);
const message = hex('72');
const signature = hex(
  '92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da' +
    '085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00',
);

test('Ed25519 as in RFC 8032', () => {
  assert.deepEqual(sign(message, secretKey), signature);
  assert.equal(verify(signature, message, publicKey), true);
});

test('a flipped bit of signature, message or public key is caught', () => {
  for (const [at, parts] of [signature, message, publicKey].entries()) {
    for (let bit = 0; bit < parts.length * 8; bit++) {
      const changed = [signature, message, publicKey].map((bytes) => bytes.slice());
      changed[at]![bit >> 3] = changed[at]![bit >> 3]! ^ (1 << (bit & 7));
      assert.equal(verify(changed[0]!, changed[1]!, changed[2]!), false);
    }
  }
});

test('a signature or key of the wrong length verifies nothing and throws nothing', () => {
  const longer = Uint8Array.from([...signature, 0]);
  assert.equal(verify(longer, message, publicKey), false, 'a byte behind the signature');
  assert.equal(verify(signature.subarray(0, 63), message, publicKey), false);
  assert.equal(verify(new Uint8Array(0), message, publicKey), false);
  assert.equal(verify(signature, message, publicKey.subarray(1)), false);
  assert.equal(verify(signature, message, Uint8Array.from([...publicKey, 0])), false);
});

test('key pairs are fresh, and their halves belong together', () => {
  const [a, b] = [generateSigningKeyPair(), generateSigningKeyPair()];
  assert.notDeepEqual(a.publicKey, b.publicKey);
  assert.equal(verify(sign(bytesOf('text'), a.secretKey), bytesOf('text'), a.publicKey), true);
  assert.equal(verify(sign(bytesOf('text'), a.secretKey), bytesOf('text'), b.publicKey), false);
  const pair = generateStaticKeyPair();
  assert.notDeepEqual(pair.secretKey, generateStaticKeyPair().secretKey);
  assert.deepEqual(x25519PublicKey(pair.secretKey), pair.publicKey);
});

test('a hash is BLAKE2b-256', () => {
  // Computed with Python's hashlib.blake2b.
  const expected = 'bddd813c634239723171ef3fee98579b94964e3bb1cb3e427262c8c068d52319';
  assert.equal(Buffer.from(hash(bytesOf('abc'))).toString('hex'), expected);
});

test('an erased secret is zero', () => {
  const secret = generateSigningKeyPair().secretKey;
  erase(secret);
  assert.deepEqual(secret, new Uint8Array(64));
});
