import { DataKeyRing } from '../../src/trust/data-key-ring.ts';
import type { SecurityMode } from '../../net/mode.ts';
import { MEMBERS_MAX } from '../../src/protocol/messages.ts';
import type { Authority, Identity } from '../../src/trust/authority.ts';
import { parseGrants } from '../../src/trust/grant-text.ts';
import { Permissions } from '../../src/trust/permissions.ts';
import { STATIC_KEY_BYTES, x25519PublicKey } from '../../workers/sodium.ts';
import { seededBytes } from '../workers/random.ts';

/**
 * Authorities without files and signatures: who holds a static key is looked up. Certificates and cluster files have
 * tests of their own.
 */

/** Who is no member; the stranger holds a key that no authority knows. */
const OTHERS = ['client', 'reader', 'writer', 'stranger', 'limited'] as const;
export type OtherParty = (typeof OTHERS)[number];
const PERMISSIONS: Readonly<Record<Exclude<OtherParty, 'stranger'>, Permissions>> = {
  client: Permissions.ALL,
  reader: new Permissions(parseGrants('ra:')),
  writer: new Permissions(parseGrants('wa:')),
  /** To keys that nobody works with. */
  limited: new Permissions(parseGrants('rwa:hostile-,rw:nobody%00')),
};
const EPOCH = 1;
/** Values under any other are not kept. */
export const DATA_KEY_ID = 7;
/** Unix times between which certificates are valid; clocks that have jumped out of it refuse everybody. */
export const VALID_UNTIL_SECONDS = 1_000_000;

interface KeyPair {
  readonly publicKey: Uint8Array;
  readonly secretKey: Uint8Array;
}

/** Made once: the same in every simulation. Members first. */
const keyPairs: readonly KeyPair[] = Array.from({ length: MEMBERS_MAX + OTHERS.length }, (_, i) => {
  const secretKey = seededBytes(STATIC_KEY_BYTES, 1_000 + i);
  return { publicKey: x25519PublicKey(secretKey), secretKey };
});
export const dataKey = seededBytes(32, 2_000);
const clusterId = seededBytes(16, 3_000);
/** Handshake payloads are multiples of 8 bytes. */
const certificate = new Uint8Array(8);

export const REPLICA_PORT = 7_000;

export function replicaHost(index: number): string {
  return `10.0.0.${index + 1}`;
}

export function authorityOf(mode: SecurityMode, memberCount: number, holder: number | OtherParty): Authority {
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
    staticKeyPair: keyPairs[typeof holder === 'number' ? holder : MEMBERS_MAX + OTHERS.indexOf(holder)]!,
    certificate,
    dataKeys: DataKeyRing.of(DATA_KEY_ID, dataKey),
    verify: (_certificate, staticKey, nowSeconds) => {
      const found = keyPairs.findIndex(({ publicKey }) => Buffer.compare(publicKey, staticKey) === 0);
      const identity = found === -1 ? undefined : identityOf(found);
      if (identity === undefined) return { ok: false, reason: 'a key that nobody has' };
      if (nowSeconds < 0 || nowSeconds > VALID_UNTIL_SECONDS) return { ok: false, reason: 'its certificate expired' };
      return { ok: true, identity };
    },
  };
}

function identityOf(holder: number): Identity | undefined {
  if (holder < MEMBERS_MAX) return { role: 'replica', memberIndex: holder, permissions: Permissions.ALL };
  const other = OTHERS[holder - MEMBERS_MAX]!;
  if (other === 'stranger') return undefined;
  return { role: 'client', memberIndex: -1, permissions: PERMISSIONS[other] };
}
