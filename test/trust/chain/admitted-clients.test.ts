/** What CAS remembers of clients, in bounds. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AdmittedClients } from '../../../src/trust/chain/admitted-clients.ts';
import { CLIENTS_LISTED_MAX } from '../../../src/trust/chain/messages.ts';

const STATE = { profiles: [], revoked: [], lases: [] };
const NOW_MS = 1_000_000;
const keyOf = (i: number): string => i.toString(16).padStart(64, '0');

function noted(clients: AdmittedClients, i: number, expirySeconds: number): void {
  const detail = { role: 'client', staticKey: keyOf(i), profile: 'p', grants: 'r:', lasId: null, expirySeconds };
  clients.note({ event: 'admitted', timeMs: i, detail });
}

test('should list the latest certificate of each client, and say when some were forgotten that may be good', () => {
  const clients = new AdmittedClients();
  for (let i = 0; i < 16_384; i++) noted(clients, i, 2_000);
  noted(clients, 0, 3_000);
  let list = clients.list(STATE, NOW_MS);
  assert.deepEqual([list.clientCount, list.clients.length, list.isWhole], [16_384, CLIENTS_LISTED_MAX, true]);
  const { staticKey, sinceMs, expirySeconds } = list.clients[0]!;
  assert.deepEqual([staticKey, sinceMs, expirySeconds], [keyOf(0), 0, 3_000], 'a renewal goes on from its first');
  noted(clients, 16_384, 3_000);
  list = clients.list(STATE, NOW_MS);
  assert.deepEqual([list.clientCount, list.isWhole], [16_384, false]);
  list = clients.list(STATE, 2_000_000);
  assert.deepEqual([list.clientCount, list.isWhole], [2, true], 'what was forgotten has expired by now');
});

test('should take nothing for a client that is none', () => {
  const clients = new AdmittedClients();
  const detail = {
    role: 'replica',
    staticKey: keyOf(1),
    profile: null,
    grants: null,
    lasId: null,
    expirySeconds: 2_000,
  };
  clients.note({ event: 'admitted', timeMs: 0, detail });
  clients.note({ event: 'refused', timeMs: 0, detail: { ...detail, role: 'client', profile: 'p', grants: 'r:' } });
  assert.equal(clients.list(STATE, NOW_MS).clientCount, 0);
});
