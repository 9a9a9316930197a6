/** Published test vectors, so that a change of library or of its defaults is noticed. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  aeadOpen,
  aeadSeal,
  blake2b,
  equalBytes,
  eraseBytes,
  randomBytes,
  x25519PublicKey,
} from '../../workers/sodium.ts';

function hex(text: string): Uint8Array {
  return Uint8Array.from(Buffer.from(text.replaceAll(' ', ''), 'hex'));
}

/** RFC 8439, section 2.8.2. */
const aead = {
  clear: Uint8Array.from(
    Buffer.from(
      "Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, sunscreen would be it.",
    ),
  ),
  associated: hex('50515253c0c1c2c3c4c5c6c7'),
  key: hex('808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f'),
  nonce: hex('070000004041424344454647'),
  sealed: hex(
    'd31a8d34648e60db7b86afbc53ef7ec2 a4aded51296e08fea9e2b5a736ee62d6 3dbea45e8ca9671282fafb69da92728b' +
      '1a71de0a9e060b2905d6a5b67ecd3b36 92ddbd7f2d778b8c9803aee328091b58 fab324e4fad675945585808b4831d7bc' +
      '3ff4def08e4b7a9de576d26586cec64b 6116 1ae10b594f09e26a7e902ecbd0600691',
  ),
};

test('ChaCha20-Poly1305 as in RFC 8439', () => {
  const sealed = new Uint8Array(aead.clear.length + 16);
  aeadSeal(sealed, aead.clear, aead.associated, aead.nonce, aead.key);
  assert.deepEqual(sealed, aead.sealed);
  const opened = new Uint8Array(aead.clear.length);
  assert.equal(aeadOpen(opened, sealed, aead.associated, aead.nonce, aead.key), true);
  assert.deepEqual(opened, aead.clear);
});

test('a tag that does not fit is a return value, a wrong call an exception', () => {
  const forged = aead.sealed.slice();
  forged[forged.length - 1] = forged[forged.length - 1]! ^ 1;
  const opened = new Uint8Array(aead.clear.length);
  assert.equal(aeadOpen(opened, forged, aead.associated, aead.nonce, aead.key), false);
  assert.throws(() => aeadOpen(opened, aead.sealed, aead.associated, aead.nonce.subarray(1), aead.key));
  assert.throws(() => aeadOpen(opened.subarray(1), aead.sealed, aead.associated, aead.nonce, aead.key));
});

test('X25519 as in RFC 7748, section 6.1', () => {
  const alice = hex('77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a');
  const expected = hex('8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a');
  assert.deepEqual(x25519PublicKey(alice), expected);
});

test('BLAKE2b as in RFC 7693, appendix A', () => {
  const output = new Uint8Array(64);
  blake2b(output, hex('616263'));
  assert.deepEqual(
    output,
    hex(
      'ba80a53f981c4d0d6a2797b69f12f6e94c212f14685ac4b74b12bb6fdbffa2d1' +
        '7d87c5392aab792dc252d5de4533cc9518d38aa8dbf1925ab92386edd4009923',
    ),
  );
});

test('bytes are equal or not, whatever their lengths', () => {
  assert.equal(equalBytes(hex('0102'), hex('0102')), true);
  assert.equal(equalBytes(hex('0102'), hex('0103')), false);
  assert.equal(equalBytes(hex('0102'), hex('010200')), false);
  assert.equal(equalBytes(hex(''), hex('')), true);
});

test('erased bytes are zero, random bytes are not', () => {
  const bytes = randomBytes(32);
  assert.notDeepEqual(bytes, randomBytes(32));
  eraseBytes(bytes);
  assert.deepEqual(bytes, new Uint8Array(32));
});
