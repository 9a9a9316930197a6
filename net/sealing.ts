/**
 * The cryptography that the message layer needs, as interfaces. They are implemented in workers/ and handed in, so
 * that net/ imports no cryptography and the simulator can put its own in.
 *
 * Sealing is asynchronous by contract: submit() starts a job, drain() reports finished ones in any order, each exactly
 * once. The inline implementation is done by the time submit() returns, but no caller may count on that: buffers named
 * in a job belong to the sealing until drain() has reported its token.
 */

/** Names a key held by the sealing; the key itself never leaves it. */
export type KeyHandle = number;

/** No key: sessions of the plaintext mode carry it. */
export const NO_KEY: KeyHandle = -1;

export interface SealingSink {
  onDatagramSealed(token: number): void;
  /** `opened` is false when the tag did not fit: forged or corrupted. */
  onDatagramOpened(token: number, opened: boolean): void;
}

export interface DatagramSealing {
  /** Bytes that sealing adds behind the control part: 16 with a MAC, 0 in plaintext. */
  readonly datagramTagBytes: number;

  /**
   * Makes packet[0 .. controlOffset+controlBytes+datagramTagBytes) ready to send.
   * On entry packet[0 .. controlOffset) holds header and value part (the associated data) and
   * control[0 .. controlBytes) the control part in clear. The control part goes into the packet at controlOffset,
   * encrypted or in clear as the mode says, the tag behind it. The nonce is the packet number.
   */
  submitSealDatagram(
    token: number,
    key: KeyHandle,
    packetNumber: number,
    packet: Uint8Array,
    controlOffset: number,
    control: Uint8Array,
    controlBytes: number,
  ): void;

  /**
   * Checks packet (whole datagram) and decrypts its control part in place:
   * afterwards packet[controlOffset .. packet.length - datagramTagBytes) is the control part in clear.
   */
  submitOpenDatagram(
    token: number,
    key: KeyHandle,
    packetNumber: number,
    packet: Uint8Array,
    controlOffset: number,
  ): void;

  /** Reports finished jobs; returns how many. */
  drainDatagrams(sink: SealingSink): number;

  /** Overwrites and forgets a key. The handle may be given out again. */
  eraseKey(key: KeyHandle): void;
}

/** The two keys of a finished handshake, already inside the sealing. */
export interface SessionKeys {
  readonly sendKey: KeyHandle;
  readonly receiveKey: KeyHandle;
}

/** Message 1 as the responder sees it. Nothing may act on it alone: it can be a replay. */
export interface HandshakeRequest {
  readonly peerStaticKey: Uint8Array;
  readonly payload: Uint8Array;
  /** Writes message 2 and ends the handshake. To be called once at most. */
  respond(payload: Uint8Array): { readonly message: Uint8Array; readonly keys: SessionKeys };
  /** Erases what the handshake holds; called instead of respond(). */
  refuse(): void;
}

/** An initiator that waits for message 2. */
export interface HandshakeInitiator {
  /** Message 1. */
  readonly message: Uint8Array;
  /** Undefined when message 2 does not fit (forged, corrupted, for another handshake): the initiator stays usable. */
  finish(message: Uint8Array): { readonly payload: Uint8Array; readonly keys: SessionKeys } | undefined;
  /** Erases what the handshake holds. */
  erase(): void;
}

/** Key exchange and keyed hashes of the message layer. Not on the hot path: it may allocate. */
export interface HandshakeCrypto {
  /** The process's own static public key, 32 bytes. */
  readonly staticKey: Uint8Array;
  /** Bytes that message 1 and message 2 add to their payloads. */
  readonly requestOverheadBytes: number;
  readonly responseOverheadBytes: number;
  initiate(responderStaticKey: Uint8Array, prologue: Uint8Array, payload: Uint8Array): HandshakeInitiator;
  /** Undefined for anything that is no message 1 for this process and prologue. Never throws on input. */
  receive(message: Uint8Array, prologue: Uint8Array): HandshakeRequest | undefined;
  /** 16 bytes: WireGuard's mac1, a keyed BLAKE2b under a hash of the receiver's static key (whitepaper 5.4.4). */
  mac1(receiverStaticKey: Uint8Array, bytes: Uint8Array): Uint8Array;
  /** 16 bytes: keyed BLAKE2b under a 32-byte secret. */
  mac(secret: Uint8Array, bytes: Uint8Array): Uint8Array;
  /** Constant-time comparison; false when the lengths differ. */
  equal(a: Uint8Array, b: Uint8Array): boolean;
  randomBytes(count: number): Uint8Array;
}
