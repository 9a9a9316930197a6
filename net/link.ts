import type { HandshakeInitiator } from './sealing.ts';
import type { Session } from './session.ts';

/** A peer that this endpoint keeps a session with. */
export class Link<P> {
  readonly host: string;
  readonly port: number;
  readonly staticKey: Uint8Array;
  /** The session to send on; undefined until the first handshake is done. */
  session: Session<P> | undefined;
  /** Latest reason why the peer would not have us: a clear-text hint or our own judgement; for people. */
  refusal: string | undefined;
  attempt: Attempt<P> | undefined;
  begunMs = -Infinity;
  cookie: { readonly bytes: Uint8Array; readonly receivedMs: number } | undefined;

  constructor(host: string, port: number, staticKey: Uint8Array) {
    this.host = host;
    this.port = port;
    this.staticKey = staticKey;
  }
}

/** A handshake under way. */
export interface Attempt<P> {
  readonly session: Session<P>;
  readonly initiator: HandshakeInitiator;
  /** The application's in the request. */
  readonly payload: Uint8Array;
  /** The whole request; mac2 is filled in when a cookie comes. */
  readonly request: Uint8Array;
  nextSendMs: number;
  retryMs: number;
  /** A cookie that answers the last request is sent back at once, but once only: cookies can be replayed. */
  takesCookie: boolean;
}
