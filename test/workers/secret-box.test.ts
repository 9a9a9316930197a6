import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openBytes, openSealedTo, sealBytes, sealTo } from '../../workers/secret-box.ts';
import { combineShares, splitSecret } from '../../workers/secret-shares.ts';
import { generateStaticKeyPair, randomBytes } from '../../workers/signing.ts';

const associated = new TextEncoder().encode('state 1');

test('what was sealed at rest opens with its key and its associated data, and with any byte changed it does not', () => {
  const key = randomBytes(32);
  const clear = randomBytes(40);
  const sealed = sealBytes(clear, associated, key);
  assert.deepEqual(openBytes(sealed, associated, key), clear);
  assert.equal(openBytes(sealed, associated, randomBytes(32)), undefined);
  assert.equal(openBytes(sealed, associated.subarray(1), key), undefined);
  for (let i = 0; i < sealed.length; i++) {
    const changed = Uint8Array.from(sealed);
    changed[i]! ^= 1;
    assert.equal(openBytes(changed, associated, key), undefined, `byte ${i}`);
    assert.equal(openBytes(sealed.subarray(0, i), associated, key), undefined, `cut to ${i}`);
  }
});

test('what is sealed to a key opens for its holder alone', () => {
  const keys = generateStaticKeyPair();
  const sealed = sealTo(associated, keys.publicKey);
  assert.deepEqual(openSealedTo(sealed, keys), associated);
  assert.equal(openSealedTo(sealed, generateStaticKeyPair()), undefined);
  for (let i = 0; i < sealed.length; i++) {
    assert.equal(openSealedTo(sealed.subarray(0, i), keys), undefined, `cut to ${i}`);
  }
});

test('any k of n shares give the secret back, fewer or wrong ones do not', async () => {
  const secret = randomBytes(32);
  const shares = await splitSecret(secret, 5, 3);
  assert.deepEqual(await combineShares([shares[4]!, shares[0]!, shares[2]!]), secret);
  assert.notDeepEqual(await combineShares([shares[4]!, shares[0]!]), secret);
  assert.equal(await combineShares([shares[1]!, shares[1]!, shares[2]!]), undefined);
  assert.equal(await combineShares([shares[1]!, shares[2]!.subarray(1), shares[3]!]), undefined);
  assert.equal(await combineShares([]), undefined);
});
