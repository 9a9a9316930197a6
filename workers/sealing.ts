import type { Region } from '../net/bytes.ts';
import type { DatagramSealing, KeyHandle, SealingSink } from '../net/sealing.ts';

/**
 * One sealing for all AEAD work of a process: datagrams (net/sealing.ts) and values. Asynchronous by contract: submit,
 * then drain completions in any order. Today's only implementation works inline; workers slot in behind the same calls.
 */
export interface ValueSealingSink {
  /** `sealed` is false when this process has no data key for the pair: the envelope is to be used for nothing. */
  onValueSealed(token: number, sealed: boolean): void;
  /** `opened` is false when the tag does not fit: the copy was tampered with, or is another key's. */
  onValueOpened(token: number, opened: boolean): void;
}

/**
 * The envelope of a sealed value, as it lies on the wire and in host memory (docs/wire.md):
 *
 *     data key id (u32) | nonce (12) | salt (16) | ciphertext (same length as the value)
 *
 * A value over VALUE_CHUNK_BYTES is sealed in chunks, so that it holds up the loop for no longer than one of them; the
 * tags of the chunks lie between header and ciphertext (chunked-values.ts). The 16-byte tag of the value is not part of
 * the envelope: it travels in the control part and is kept in trusted memory.
 * In plaintext mode the envelope is the value itself, no header.
 */
export const ENVELOPE_HEADER_BYTES = 32;
export const VALUE_TAG_BYTES = 16;

/** Largest value. No longer envelope opens. */
export const SEALED_VALUE_BYTES_MAX = 1_048_576;

/** Sealing so much takes 15 us or so, less than a datagram of that size costs the system. A multiple of 8. */
export const VALUE_CHUNK_BYTES = 16_384;

/** The envelope of the largest value, in the modes that seal. */
export const ENVELOPE_BYTES_MAX =
  ENVELOPE_HEADER_BYTES + (SEALED_VALUE_BYTES_MAX / VALUE_CHUNK_BYTES) * VALUE_TAG_BYTES + SEALED_VALUE_BYTES_MAX;

/** Largest key of a pair. */
export const ASSOCIATED_KEY_BYTES_MAX = 1_024;

export interface ValueSealing {
  /** Bytes of the envelope of a value of that length, without padding; in plaintext that length itself. */
  envelopeBytesOf(valueBytes: number): number;

  /** Bytes of the envelope before the value: its header and the tags of its chunks. A multiple of 8; in plaintext 0. */
  valueOffsetOf(valueBytes: number): number;

  /**
   * Seals the value that lies valueOffsetOf(valueBytes) bytes into the envelope, in place; writes what comes before it,
   * from envelope.words[envelopeWord] on, and the tag to tagWords[tagWord .. +4). The associated data is the key of the
   * pair: exactly keyBytes from keyWords[keyWord] on. Neither padding nor anything else around the envelope is touched.
   * The nonces come from the process's own counter and are allocated by submit, never by a worker.
   * @param envelopeBytes envelopeBytesOf(valueBytes).
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

  /**
   * Whether an envelope names the data key that new values of the pair are sealed under; true in plaintext. Reads its first
   * word only: for one that has opened.
   */
  isUnderCurrentKey(
    envelope: Region,
    envelopeWord: number,
    keyWords: Int32Array,
    keyWord: number,
    keyBytes: number,
  ): boolean;

  /** During onValueOpened(token, true): the value is openedValue[0 .. openedValueBytes). Valid in that call only. */
  readonly openedValue: Uint8Array;
  readonly openedValueBytes: number;

  /**
   * Reports finished jobs; returns how many. Of values that are sealed in chunks one call does one chunk at most, so
   * that other work of the loop comes in between.
   */
  drainValues(sink: ValueSealingSink): number;

  /**
   * Jobs that wait for drainValues() to go on with them: while there are any, the owner calls it once a turn, and turns
   * follow each other at once. Jobs that are done elsewhere are not among them: who does them wakes the owner.
   */
  readonly pendingValueJobs: number;
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

/** The id of no data key. */
export const NO_DATA_KEY = 0;

/** The keys that values are sealed under. They change while they are in use. */
export interface DataKeys {
  /** Grows whenever a current id changes or a key is destroyed: whoever keeps derived keys compares it and forgets. */
  readonly generation: number;
  /**
   * Id that new values of the pair with this key are sealed under: keyBytes from keyWords[keyWord] on. NO_DATA_KEY when this
   * process has none. Allocates nothing.
   */
  currentId(keyWords: Int32Array, keyWord: number, keyBytes: number): number;
  /** 32-byte key of an id, undefined when unknown or destroyed. Stays the owner's: read in place, never kept or erased. */
  key(id: number): Uint8Array | undefined;
}

export type { KeyHandle, SealingSink };
