import type { Region } from '../net/bytes.ts';
import type { DatagramSealing, KeyHandle, SealingSink } from '../net/sealing.ts';

/**
 * One sealing for all AEAD work of a process: datagrams (net/sealing.ts) and values. Asynchronous by contract: submit,
 * then drain completions in any order. Today's only implementation works inline; workers slot in behind the same calls.
 */
export interface ValueSealingSink {
  onValueSealed(token: number): void;
  /** `opened` is false when the tag does not fit: the copy was tampered with, or is another key's. */
  onValueOpened(token: number, opened: boolean): void;
}

/**
 * The envelope of a sealed value, as it lies on the wire and in host memory (design: docs/wire.md):
 *
 *     data key id (u32) | nonce (12) | salt (16) | ciphertext (same length as the value)
 *
 * The 16-byte tag is not part of it: it travels in the control part and is kept in trusted memory.
 * In plaintext mode the envelope is the value itself, no header.
 */
export const ENVELOPE_HEADER_BYTES = 32;
export const VALUE_TAG_BYTES = 16;

/** Largest value the sealing takes: one datagram holds no more. A longer envelope from outside does not open. */
export const SEALED_VALUE_BYTES_MAX = 65_536;

/** Largest key of a pair. */
export const ASSOCIATED_KEY_BYTES_MAX = 1_024;

export interface ValueSealing {
  /** Header bytes of an envelope in this mode: 32, or 0 in plaintext. */
  readonly envelopeHeaderBytes: number;

  /**
   * Seals the value that lies behind the place of the envelope's header, in place; writes the header to
   * envelope.words[envelopeWord ..) and the tag to tagWords[tagWord .. +4). The associated data is the key of the pair:
   * exactly keyBytes from keyWords[keyWord] on. Neither padding nor anything else around the envelope is touched.
   * The nonce comes from the process's own counter and is allocated by submit, never by a worker.
   * @param envelopeBytes Header and value, without padding.
   */
  submitSealValue(
    token: number,
    envelope: Region,
    envelopeWord: number,
    envelopeBytes: number,
    tagWords: Int32Array,
    tagWord: number,
    keyWords: Int32Array,
    keyWord: number,
    keyBytes: number,
  ): void;

  /**
   * Opens an envelope. The envelope is copied before it is checked (it may lie in host memory) and left as it is.
   * The value is handed out by drain(): see openedValue.
   */
  submitOpenValue(
    token: number,
    envelope: Region,
    envelopeWord: number,
    envelopeBytes: number,
    tagWords: Int32Array,
    tagWord: number,
    keyWords: Int32Array,
    keyWord: number,
    keyBytes: number,
  ): void;

  /** During onValueOpened(token, true): the value is openedValue[0 .. openedValueBytes). Valid in that call only. */
  readonly openedValue: Uint8Array;
  readonly openedValueBytes: number;

  /** Reports finished jobs; returns how many. */
  drainValues(sink: ValueSealingSink): number;
}

/** How keys of sessions get into a sealing. They never come out again. */
export interface KeyRegistry {
  /** Copies a 32-byte key; the caller erases its own. To be ended by DatagramSealing.eraseKey. */
  importKey(key: Uint8Array): KeyHandle;
}

export interface Sealing extends DatagramSealing, ValueSealing {
  /** Erases every key and drops jobs that were not drained. Nothing may be submitted afterwards. */
  close(): void;
}

/** The keys that values are sealed under. */
export interface DataKeys {
  /** Key id that new values are sealed with; read once, at the start of the sealing. */
  readonly currentId: number;
  /** 32-byte key of an id, undefined when unknown. Stays the owner's: read in place, never kept or erased. */
  key(id: number): Uint8Array | undefined;
}

export type { KeyHandle, SealingSink };
