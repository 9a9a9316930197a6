import type { Identity } from '../trust/authority.ts';

/** What the application knows of the other end of a session: proved by the handshake. */
export interface Peer {
  readonly identity: Identity;
  /** Writer id of the process, two words: a fresh WRITE carries it in its stamp. */
  readonly writerHigh: number;
  readonly writerLow: number;
  /** Hex of a replica's incarnation, as its message 2 says; undefined when the peer sent message 1. */
  readonly incarnation: string | undefined;
  /** Hex of the static key that the handshake has proved. */
  readonly staticKey: string;
  /** What its certificate is revoked with (certificate.ts); 0: nothing, or it showed none, as responders don't. */
  readonly voucherGroup: number;
  /** Names the process: static key and writer id. A new session of the same process replaces the old one. */
  readonly key: string;
}
