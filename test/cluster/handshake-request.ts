import { WIRE_VERSION } from '../../net/limits.ts';
import type { HandshakeCrypto } from '../../net/sealing.ts';
import {
  COOKIE_OFFSET,
  KIND_REQUEST,
  MAC_BYTES,
  OFFSET_KIND,
  OFFSET_MODE,
  OFFSET_SESSION,
  OFFSET_VERSION,
  REQUEST_HEADER_BYTES,
} from '../../net/wire.ts';

/** Requests for a handshake as attackers make them: datagrams by themselves, with no endpoint behind them. */

/** Largest datagram u32, credit u32 (net/handshakes.ts). */
export const TERMS = new Uint8Array(new Uint32Array([1_200, 100_000]).buffer);

/** Whoever knows a replica's static key, which is public, can make mac1; what it covers may be anything. */
export function requestWithMac1(
  crypto: HandshakeCrypto,
  staticKey: Uint8Array,
  modeByte: number,
  sessionIndex: number,
  message: Uint8Array,
): Uint8Array {
  const request = new Uint8Array(REQUEST_HEADER_BYTES + message.length + 2 * MAC_BYTES);
  request[OFFSET_KIND] = KIND_REQUEST;
  request[OFFSET_VERSION] = WIRE_VERSION;
  request[OFFSET_MODE] = modeByte;
  new DataView(request.buffer).setUint32(OFFSET_SESSION, sessionIndex, true);
  request.set(message, REQUEST_HEADER_BYTES);
  request.set(crypto.mac1(staticKey, request.subarray(0, -2 * MAC_BYTES)), request.length - 2 * MAC_BYTES);
  return request;
}

/** Fills in mac2 from the cookie that came for the request. */
export function showCookie(crypto: HandshakeCrypto, request: Uint8Array, cookieDatagram: Uint8Array): void {
  const secret = new Uint8Array(32);
  secret.set(cookieDatagram.subarray(COOKIE_OFFSET, COOKIE_OFFSET + MAC_BYTES));
  request.set(crypto.mac(secret, request.subarray(0, -MAC_BYTES)), request.length - MAC_BYTES);
}

/** What both ends bind their handshake to. */
export function prologueOf(clusterId: Uint8Array, modeByte: number): Uint8Array {
  return Uint8Array.of(...clusterId, WIRE_VERSION, modeByte);
}
