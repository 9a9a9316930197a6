import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Authority } from '../../src/trust/authority.ts';
import { OwnRights } from '../../src/trust/own-rights.ts';
import { authorityOf } from '../cluster/simulated-trust.ts';

const mayWrite = (rights: OwnRights) => rights.mayWrite(new Int32Array(2), 0, 5);

test('should know from the own certificate whether it permits to write', () => {
  for (const [party, expected] of [
    ['client', true],
    ['writer', true],
    ['reader', false],
  ] as const) {
    assert.equal(mayWrite(new OwnRights(authorityOf('secure', 3, party), () => 0)), expected, party);
  }
});

test('should look again when the certificate was renewed, only then, and leave it to replicas when it can’t tell', () => {
  const reader = authorityOf('secure', 3, 'reader');
  let looks = 0;
  const authority: Authority & { certificate: Uint8Array } = {
    ...reader,
    verify: (certificate, staticKey, nowSeconds) => {
      looks++;
      assert.equal(staticKey, reader.staticKeyPair.publicKey);
      if (certificate.length === 8) return reader.verify(certificate, staticKey, nowSeconds);
      return { ok: false, reason: 'it is no certificate' };
    },
  };
  const rights = new OwnRights(authority, () => 0);
  assert.deepEqual([mayWrite(rights), mayWrite(rights), looks], [false, false, 1]);
  authority.certificate = new Uint8Array(16);
  assert.deepEqual([mayWrite(rights), mayWrite(rights), looks], [true, true, 2]);
});
