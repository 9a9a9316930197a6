/**
 * The handshake of the plaintext mode: the same two messages, no cryptography. Message 1 is the claimed static key and
 * the payload, message 2 the payload. Nothing is proved, neither the peer's key nor the prologue.
 */
import type { HandshakeInitiator, HandshakeRequest, SessionKeys } from '../net/sealing.ts';
import { NO_KEY } from '../net/sealing.ts';
import { STATIC_KEY_BYTES } from './sodium.ts';

const NO_KEYS: SessionKeys = { sendKey: NO_KEY, receiveKey: NO_KEY };

export const PLAINTEXT_REQUEST_OVERHEAD_BYTES = STATIC_KEY_BYTES;
export const PLAINTEXT_RESPONSE_OVERHEAD_BYTES = 0;

export function initiateInPlaintext(staticKey: Uint8Array, payload: Uint8Array): HandshakeInitiator {
  return {
    message: Uint8Array.from(Buffer.concat([staticKey, payload])),
    finish: (message) => ({ payload: Uint8Array.from(message), keys: NO_KEYS }),
    erase() {},
  };
}

export function receiveInPlaintext(message: Uint8Array): HandshakeRequest | undefined {
  if (message.byteLength < STATIC_KEY_BYTES) return undefined;
  return {
    // Not slice(): of a Buffer, as datagrams come, it would be a view.
    peerStaticKey: Uint8Array.from(message.subarray(0, STATIC_KEY_BYTES)),
    payload: Uint8Array.from(message.subarray(STATIC_KEY_BYTES)),
    respond: (payload) => ({ message: Uint8Array.from(payload), keys: NO_KEYS }),
    refuse() {},
  };
}
