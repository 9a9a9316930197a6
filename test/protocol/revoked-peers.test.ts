/** Who is revoked is taken no more, whichever end asks, and is known again in the sessions that it has. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  acceptResponse,
  admitRequest,
  endRevokedSessions,
  requestPayload,
  responsePayload,
} from '../../src/protocol/handshake-payload.ts';
import type { Peer } from '../../src/protocol/peer.ts';
import type { Authority } from '../../src/trust/authority.ts';
import { hexOf } from '../../src/trust/hex.ts';
import { authorityOf } from '../cluster/simulated-trust.ts';

const KEY = new Uint8Array(32).fill(7);
const GROUP = 5;
const RESPONSE = responsePayload('ab'.repeat(16), 1);

function revoking(revoked: { key?: string; group?: number }): Pick<Authority, 'isRevoked'> {
  return { isRevoked: (staticKey, group) => staticKey === revoked.key || group === revoked.group };
}

/** Peers that the application says are revoked. */
function revokedOf(peers: readonly Peer[], authority: Pick<Authority, 'isRevoked'>): Peer[] {
  let revoked: Peer[] = [];
  endRevokedSessions({ endSessions: (isRefused) => (revoked = peers.filter(isRefused)) }, authority);
  return revoked;
}

test('should take no member whose key is revoked', () => {
  const refused = acceptResponse(0, RESPONSE, KEY, revoking({ key: hexOf(KEY) }));
  assert.deepEqual(refused, { ok: false, reason: 'its key was revoked by CAS' });
  assert.ok(acceptResponse(0, RESPONSE, KEY, revoking({ key: 'another', group: GROUP })).ok);
  assert.ok(acceptResponse(0, RESPONSE, KEY, {}).ok, 'where nobody ever is');
});

test('should know the peers of sessions that are revoked, by their key or what vouched for them', () => {
  const authority = authorityOf('secure', 3, 0);
  const verify: Authority['verify'] = (...asked) => {
    const verdict = authority.verify(...asked);
    return verdict.ok ? { ...verdict, voucherGroup: GROUP } : verdict;
  };
  const { certificate, staticKeyPair } = authorityOf('secure', 3, 'client');
  const payload = requestPayload(1, 2, certificate);
  const admitted = admitRequest({ ...authority, verify }, payload, staticKeyPair.publicKey, 0);
  const accepted = acceptResponse(1, RESPONSE, KEY);
  assert(admitted.ok && accepted.ok);
  const peers = [admitted.peer, accepted.peer];
  assert.deepEqual(revokedOf(peers, revoking({ key: hexOf(staticKeyPair.publicKey) })), [admitted.peer]);
  assert.deepEqual(revokedOf(peers, revoking({ group: GROUP })), [admitted.peer]);
  assert.deepEqual(revokedOf(peers, revoking({ key: hexOf(KEY) })), [accepted.peer]);
  assert.deepEqual(revokedOf(peers, {}), []);
});
