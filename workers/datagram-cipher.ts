/**
 * Seals and opens one datagram at a time: the work behind DatagramSealing (net/sealing.ts), one class a mode. The nonce
 * is the packet number as Noise's ChaChaPoly has it: four zero bytes, then the number as u64, little endian.
 */
import { allocateRegion, writeU53 } from '../net/bytes.ts';
import type { SecurityMode } from '../net/mode.ts';
import { AEAD_NONCE_BYTES, AEAD_TAG_BYTES, aeadOpen, aeadSeal } from './sodium.ts';

export interface DatagramCipher {
  readonly tagBytes: number;
  seal(
    key: Uint8Array,
    packetNumber: number,
    packet: Uint8Array,
    controlOffset: number,
    control: Uint8Array,
    controlBytes: number,
  ): void;
  /** In place. */
  open(key: Uint8Array, packetNumber: number, packet: Uint8Array, controlOffset: number): boolean;
  /**
   * Leaves the packet as it is: the control part in clear goes to `clear`, which is as long as it, in modes that encrypt
   * it; in others it is in the packet already.
   */
  openInto(
    clear: Uint8Array,
    key: Uint8Array,
    packetNumber: number,
    packet: Uint8Array,
    controlOffset: number,
  ): boolean;
}

export function createDatagramCipher(mode: SecurityMode): DatagramCipher {
  switch (mode) {
    case 'secure':
      return new EncryptedControl();
    case 'authenticated':
      return new AuthenticatedControl();
    case 'plaintext':
      return new ClearControl();
  }
}

const NOTHING = new Uint8Array(0);

class PacketNonce {
  readonly bytes: Uint8Array;
  readonly #words: Int32Array;

  constructor() {
    const region = allocateRegion(AEAD_NONCE_BYTES);
    this.bytes = region.bytes.subarray(0, AEAD_NONCE_BYTES);
    this.#words = region.words;
  }

  of(packetNumber: number): Uint8Array {
    writeU53(this.#words, 1, packetNumber);
    return this.bytes;
  }
}

/** Secure: the control part is the message, what lies before it the associated data. */
class EncryptedControl implements DatagramCipher {
  readonly tagBytes = AEAD_TAG_BYTES;
  readonly #nonce = new PacketNonce();

  seal(
    key: Uint8Array,
    packetNumber: number,
    packet: Uint8Array,
    controlOffset: number,
    control: Uint8Array,
    controlBytes: number,
  ): void {
    aeadSeal(
      packet.subarray(controlOffset, controlOffset + controlBytes + AEAD_TAG_BYTES),
      control.subarray(0, controlBytes),
      packet.subarray(0, controlOffset),
      this.#nonce.of(packetNumber),
      key,
    );
  }

  open(key: Uint8Array, packetNumber: number, packet: Uint8Array, controlOffset: number): boolean {
    if (!isWhole(packet, controlOffset, AEAD_TAG_BYTES, packetNumber)) return false;
    return aeadOpen(
      packet.subarray(controlOffset, packet.byteLength - AEAD_TAG_BYTES),
      packet.subarray(controlOffset),
      packet.subarray(0, controlOffset),
      this.#nonce.of(packetNumber),
      key,
    );
  }

  openInto(
    clear: Uint8Array,
    key: Uint8Array,
    packetNumber: number,
    packet: Uint8Array,
    controlOffset: number,
  ): boolean {
    if (!isWhole(packet, controlOffset, AEAD_TAG_BYTES, packetNumber)) return false;
    return aeadOpen(
      clear,
      packet.subarray(controlOffset),
      packet.subarray(0, controlOffset),
      this.#nonce.of(packetNumber),
      key,
    );
  }
}

/** Authenticated: the message is empty, everything is associated data. */
class AuthenticatedControl implements DatagramCipher {
  readonly tagBytes = AEAD_TAG_BYTES;
  readonly #nonce = new PacketNonce();

  seal(
    key: Uint8Array,
    packetNumber: number,
    packet: Uint8Array,
    controlOffset: number,
    control: Uint8Array,
    controlBytes: number,
  ): void {
    const tagOffset = controlOffset + controlBytes;
    packet.set(control.subarray(0, controlBytes), controlOffset);
    aeadSeal(
      packet.subarray(tagOffset, tagOffset + AEAD_TAG_BYTES),
      NOTHING,
      packet.subarray(0, tagOffset),
      this.#nonce.of(packetNumber),
      key,
    );
  }

  open(key: Uint8Array, packetNumber: number, packet: Uint8Array, controlOffset: number): boolean {
    if (!isWhole(packet, controlOffset, AEAD_TAG_BYTES, packetNumber)) return false;
    const tagOffset = packet.byteLength - AEAD_TAG_BYTES;
    return aeadOpen(
      NOTHING,
      packet.subarray(tagOffset),
      packet.subarray(0, tagOffset),
      this.#nonce.of(packetNumber),
      key,
    );
  }

  openInto(
    _clear: Uint8Array,
    key: Uint8Array,
    packetNumber: number,
    packet: Uint8Array,
    controlOffset: number,
  ): boolean {
    return this.open(key, packetNumber, packet, controlOffset);
  }
}

class ClearControl implements DatagramCipher {
  readonly tagBytes = 0;

  seal(
    _key: Uint8Array,
    _packetNumber: number,
    packet: Uint8Array,
    controlOffset: number,
    control: Uint8Array,
    controlBytes: number,
  ): void {
    packet.set(control.subarray(0, controlBytes), controlOffset);
  }

  open(_key: Uint8Array, packetNumber: number, packet: Uint8Array, controlOffset: number): boolean {
    return isWhole(packet, controlOffset, 0, packetNumber);
  }

  openInto(
    _clear: Uint8Array,
    key: Uint8Array,
    packetNumber: number,
    packet: Uint8Array,
    controlOffset: number,
  ): boolean {
    return this.open(key, packetNumber, packet, controlOffset);
  }
}

/** A datagram from outside may be shorter than its header says, and its number larger than any that is sent. */
function isWhole(packet: Uint8Array, controlOffset: number, tagBytes: number, packetNumber: number): boolean {
  return controlOffset + tagBytes <= packet.byteLength && packetNumber <= Number.MAX_SAFE_INTEGER;
}
