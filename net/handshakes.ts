import type { DropCounters } from './drops.ts';
import type { EndpointApplication } from './endpoint.ts';
import { DATAGRAM_BYTES_MIN, WIRE_VERSION } from './limits.ts';
import type { Link } from './link.ts';
import type { SecurityMode } from './mode.ts';
import { SECURITY_MODES } from './mode.ts';
import type { HandshakeCrypto } from './sealing.ts';
import type { Session, SessionTable } from './session.ts';
import { MAC_BYTES, OFFSET_KIND, OFFSET_MODE, OFFSET_SESSION, OFFSET_VERSION } from './wire.ts';

/**
 * How sessions come to be: Noise IK between a link (initiator) and a peer that answers, with WireGuard's mac1 before
 * any Diffie-Hellman and a cookie when it is busy (always in plaintext, so that a spoofed address gets no data).
 *
 *   initiator                                   responder
 *   REQUEST (mac1)            ->                mac1 checked; cookie due?  -> COOKIE
 *   REQUEST (mac1, mac2)      ->                message 1 read, certificate judged, half-open session
 *                             <-                RESPONSE
 *   session live; empty DATA  ->                first valid packet: session live, older one of the same peer retires
 *
 * The left side is in initiator.ts, the right one in responder.ts; here is what both write and read.
 * Nothing acts on message 1 alone, it can be a replay. While a session is renewed the old one serves on.
 */

/** What an end says of itself. */
interface OwnTerms {
  readonly datagramBytes: number;
  /** What may be in flight to this end, from one more peer. */
  creditBytes(): number;
}

export interface HandshakesOptions<P> extends OwnTerms {
  readonly mode: SecurityMode;
  readonly clusterId: Uint8Array;
  readonly crypto: HandshakeCrypto;
  readonly application: EndpointApplication<P>;
  readonly drops: DropCounters;
  readonly sessions: SessionTable<P>;
  send(bytes: Uint8Array, host: string, port: number): void;
  makeRoom(): void;
  onEstablished(link: Link<P>, session: Session<P>): void;
  endSession(session: Session<P>): void;
}

/** Our part of both payloads, before the application's: largest datagram u32, credit u32. */
export const TERMS_BYTES = 8;

interface Terms {
  readonly datagramBytes: number;
  readonly creditBytes: number;
}

/** Bound into each handshake: both ends mean the same cluster, wire version and mode. */
export function prologueOf(clusterId: Uint8Array, mode: SecurityMode): Uint8Array {
  return Uint8Array.of(...clusterId, WIRE_VERSION, modeByteOf(mode));
}

export function modeByteOf(mode: SecurityMode): number {
  return SECURITY_MODES.indexOf(mode);
}

/** A datagram of the length, with zeroes behind its header. */
export function withHeader(kind: number, mode: SecurityMode, sessionIndex: number, byteCount: number): Uint8Array {
  const datagram = new Uint8Array(byteCount);
  datagram[OFFSET_KIND] = kind;
  datagram[OFFSET_VERSION] = WIRE_VERSION;
  datagram[OFFSET_MODE] = modeByteOf(mode);
  writeU32(datagram, OFFSET_SESSION, sessionIndex);
  return datagram;
}

/** The payload of a handshake message: terms, then the application's. */
export function withTerms(options: OwnTerms, payload: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(TERMS_BYTES + payload.length);
  writeU32(bytes, 0, options.datagramBytes);
  writeU32(bytes, 4, options.creditBytes());
  bytes.set(payload, TERMS_BYTES);
  return bytes;
}

/** Undefined when they are none. */
export function readTerms(payload: Uint8Array): Terms | undefined {
  if (payload.length < TERMS_BYTES) return undefined;
  const datagramBytes = readU32(payload, 0);
  if (datagramBytes < DATAGRAM_BYTES_MIN || datagramBytes % 8 !== 0) return undefined;
  return { datagramBytes, creditBytes: readU32(payload, 4) };
}

/** Of a REQUEST. */
export function mac1Of(request: Uint8Array): Uint8Array {
  return request.subarray(-2 * MAC_BYTES, -MAC_BYTES);
}

/** A 16-byte cookie as a 32-byte key. */
export function cookieKeyOf(cookie: Uint8Array): Uint8Array {
  const key = new Uint8Array(32);
  key.set(cookie);
  return key;
}

export function readU32(bytes: Uint8Array, offset: number): number {
  return (bytes[offset]! | (bytes[offset + 1]! << 8) | (bytes[offset + 2]! << 16) | (bytes[offset + 3]! << 24)) >>> 0;
}

export function writeU32(bytes: Uint8Array, offset: number, value: number): void {
  bytes[offset] = value;
  bytes[offset + 1] = value >>> 8;
  bytes[offset + 2] = value >>> 16;
  bytes[offset + 3] = value >>> 24;
}
