import type { SecurityMode } from '../../net/mode.ts';
import type { Authority, Identity } from '../../src/trust/authority.ts';
import { STATIC_KEY_BYTES, x25519PublicKey } from '../../workers/sodium.ts';
import { seededBytes } from '../workers/random.ts';

/**
 * Authorities without files and signatures: who holds a static key is looked up. Certificates and cluster files have
 * tests of their own.
 */
const MEMBERS_MAX = 5;
const CLIENT = MEMBERS_MAX;
const EPOCH = 1;
const DATA_KEY_ID = 7;

interface KeyPair {
  readonly publicKey: Uint8Array;
  readonly secretKey: Uint8Array;
}

/** Made once: the same in every simulation. The last one is the clients'. */
const keyPairs: readonly KeyPair[] = Array.from({ length: MEMBERS_MAX + 1 }, (_, i) => {
  const secretKey = seededBytes(STATIC_KEY_BYTES, 1_000 + i);
  return { publicKey: x25519PublicKey(secretKey), secretKey };
});
const dataKey = seededBytes(32, 2_000);
const clusterId = seededBytes(16, 3_000);
/** Handshake payloads are multiples of 8 bytes. */
const certificate = new Uint8Array(8);

export const REPLICA_PORT = 7_000;

export function replicaHost(index: number): string {
  return `10.0.0.${index + 1}`;
}

export function authorityOf(mode: SecurityMode, memberCount: number, memberIndex: number | 'client'): Authority {
  return {
    clusterId,
    mode,
    configuration: {
      epoch: EPOCH,
      members: Array.from({ length: memberCount }, (_, index) => ({
        index,
        host: replicaHost(index),
        port: REPLICA_PORT,
        staticKey: keyPairs[index]!.publicKey,
      })),
    },
    staticKeyPair: keyPairs[memberIndex === 'client' ? CLIENT : memberIndex]!,
    certificate,
    dataKeys: { currentId: DATA_KEY_ID, key: (id) => (id === DATA_KEY_ID ? dataKey : undefined) },
    verify: (_certificate, staticKey) => {
      const holder = keyPairs.findIndex(({ publicKey }) => Buffer.compare(publicKey, staticKey) === 0);
      if (holder === -1) return { ok: false, reason: 'a key that nobody has' };
      return { ok: true, identity: identityOf(holder) };
    },
  };
}

function identityOf(holder: number): Identity {
  if (holder === CLIENT) return { role: 'client', memberIndex: -1, mayRead: true, mayWrite: true };
  return { role: 'replica', memberIndex: holder, mayRead: false, mayWrite: false };
}
