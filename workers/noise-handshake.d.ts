/** Types of the part of noise-handshake that noise.ts uses; the package brings none. */
declare module 'noise-handshake' {
  interface NoiseKeyPair {
    publicKey: Uint8Array;
    secretKey: Uint8Array;
  }

  export default class Noise {
    constructor(pattern: 'IK', initiator: boolean, staticKeyPair: NoiseKeyPair);
    initialise(prologue: Uint8Array, remoteStatic?: Uint8Array): void;
    send(payload: Uint8Array): Uint8Array;
    /** Throws on anything unexpected and is then unusable. Overwrites the beginning of `message` when it completes. */
    recv(message: Uint8Array): Uint8Array;

    readonly complete: boolean;
    /** Ephemeral key pair: drawn by the first send unless set before; overwritten on completion. */
    e: NoiseKeyPair | null;
    /** Static key of the other side. */
    readonly rs: Uint8Array | null;
    /** Keys of the transport, once complete. */
    readonly tx: Uint8Array | null;
    readonly rx: Uint8Array | null;

    /** Secrets of the handshake, null once complete. */
    readonly key: Uint8Array | null;
    readonly chainingKey: Uint8Array | null;
    readonly digest: Uint8Array | null;
  }
}
