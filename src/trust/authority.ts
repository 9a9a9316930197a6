import type { SecurityMode } from '../../net/mode.ts';
import type { DataKeyRing } from './data-key-ring.ts';
import type { Permissions } from './permissions.ts';

/**
 * Who takes part, with which keys, in which epoch. CAS decides it (chain/cas-authority.ts); for tests and
 * clusters without attestation a cluster directory written by `avocado init` does (open-authority.ts).
 */
export interface Authority {
  /** 16 random bytes that name the cluster. */
  readonly clusterId: Uint8Array;
  readonly mode: SecurityMode;
  readonly configuration: Configuration;
  /** X25519 key pair of this process's role, 32 bytes each. */
  readonly staticKeyPair: { readonly publicKey: Uint8Array; readonly secretKey: Uint8Array };
  /** Own certificate, certificate.ts; to be read for each handshake, because it is renewed. */
  readonly certificate: Uint8Array;
  /** Changes while it is in use. */
  readonly dataKeys: DataKeyRing;
  /**
   * The identity a certificate proves for a static key, or why it is refused. Never throws on input.
   * @param nowSeconds Unix time.
   */
  verify(certificate: Uint8Array, staticKey: Uint8Array, nowSeconds: number): Verdict;
  /**
   * Whether a peer is admitted no more; left out: nobody ever is revoked.
   * @param staticKey Hex.
   * @param voucherGroup Of its certificate; 0: none.
   */
  isRevoked?(staticKey: string, voucherGroup: number): boolean;
  /** Called when isRevoked() has become true for more peers. Whoever has sessions sets it, and ends theirs. */
  onRevoked?: (() => void) | undefined;
  /** Ends renewals, where there are any. */
  close?(): void;
}

export interface Configuration {
  /** Starts at 1; grows with each change of members. */
  readonly epoch: number;
  readonly members: readonly Member[];
}

export interface Member {
  /** Place in the configuration, 0 .. n-1. */
  readonly index: number;
  readonly host: string;
  readonly port: number;
  readonly staticKey: Uint8Array;
}

export interface Identity {
  readonly role: 'replica' | 'client';
  /** Index of a replica, -1 for a client. */
  readonly memberIndex: number;
  /** What the holder may ask of replicas. */
  readonly permissions: Permissions;
}

export type Verdict =
  | {
      readonly ok: true;
      readonly identity: Identity;
      /** What the certificate is revoked with; left out: nothing. */
      readonly voucherGroup?: number;
    }
  | { readonly ok: false; readonly reason: string };
