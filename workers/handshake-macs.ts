/** Keyed hashes of the handshake's messages: cheap checks before any Diffie-Hellman. */
import { blake2b, equalBytes } from './sodium.ts';

const MAC_BYTES = 16;
const MAC_KEY_BYTES = 32;
const MAC1_CONTEXT = new TextEncoder().encode('avocado mac1');

/** 16 bytes: BLAKE2b-128 of `bytes` under `secret`. */
export function keyedMac(secret: Uint8Array, bytes: Uint8Array): Uint8Array {
  const mac = new Uint8Array(MAC_BYTES);
  blake2b(mac, bytes, secret);
  return mac;
}

/**
 * WireGuard's mac1 (whitepaper 5.4.4) with BLAKE2b in place of BLAKE2s: it shows that the sender knows whom it talks
 * to, nothing more.
 */
export class Mac1 {
  /** Key of the last receiver: a responder asks for one only, its own. */
  #receiverStaticKey = new Uint8Array(0);
  readonly #key = new Uint8Array(MAC_KEY_BYTES);

  of(receiverStaticKey: Uint8Array, bytes: Uint8Array): Uint8Array {
    if (!equalBytes(receiverStaticKey, this.#receiverStaticKey)) {
      this.#receiverStaticKey = Uint8Array.from(receiverStaticKey);
      blake2b(this.#key, Buffer.concat([MAC1_CONTEXT, receiverStaticKey]));
    }
    return keyedMac(this.#key, bytes);
  }
}
