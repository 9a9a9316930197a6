/**
 * What this process seals its values under: one salt and one count of nonces for its whole life, and of each data key that
 * it writes under the keys derived from it. The count goes on when the data key changes, and when it changes back: so no
 * nonce comes twice under any derived key.
 */
import type { Region } from '../net/bytes.ts';
import { allocateRegion } from '../net/bytes.ts';
import type { DataKeys } from './sealing.ts';
import { NO_DATA_KEY } from './sealing.ts';
import { AEAD_KEY_BYTES, eraseBytes } from './sodium.ts';
import { CHUNK_KEYS_BYTES, deriveChunkKeys, deriveValueKey, SALT_BYTES } from './value-keys.ts';

/** Derived from one data key and the process's salt. Its owner erases it as soon as the data key is destroyed. */
export class WriterKey {
  readonly keyId: number;
  readonly valueKey = new Uint8Array(AEAD_KEY_BYTES);
  /** Chunk key and tag key. */
  readonly chunkKeys = new Uint8Array(CHUNK_KEYS_BYTES);
  isErased = false;

  constructor(keyId: number, dataKey: Uint8Array, salt: Region) {
    this.keyId = keyId;
    deriveValueKey(this.valueKey, dataKey, keyId, salt.words, 0);
    deriveChunkKeys(this.chunkKeys, dataKey, keyId, salt.words, 0);
  }

  erase(): void {
    eraseBytes(this.valueKey);
    eraseBytes(this.chunkKeys);
    this.isErased = true;
  }
}

export class WriterKeys {
  readonly salt = allocateRegion(SALT_BYTES);
  readonly #dataKeys: DataKeys;
  readonly #keys = new Map<number, WriterKey>();
  #closed = false;

  constructor(dataKeys: DataKeys, salt: Uint8Array) {
    this.#dataKeys = dataKeys;
    this.salt.bytes.set(salt);
  }

  /** Of a new value of the pair with this key; undefined when this process has no data key for it. */
  of(keyWords: Int32Array, keyWord: number, keyBytes: number): WriterKey | undefined {
    const keyId = this.#dataKeys.currentId(keyWords, keyWord, keyBytes);
    return keyId === NO_DATA_KEY ? undefined : (this.#keys.get(keyId) ?? this.#derive(keyId));
  }

  #derive(keyId: number): WriterKey | undefined {
    const dataKey = this.#dataKeys.key(keyId);
    if (dataKey === undefined || this.#closed) return undefined;
    const key = new WriterKey(keyId, dataKey, this.salt);
    this.#keys.set(keyId, key);
    return key;
  }

  /** Erases what was derived from data keys that are no more. */
  forget(): void {
    for (const key of this.#keys.values()) {
      if (this.#dataKeys.key(key.keyId) !== undefined) continue;
      key.erase();
      this.#keys.delete(key.keyId);
    }
  }

  /** Nothing is sealed any more. */
  close(): void {
    this.#closed = true;
    for (const key of this.#keys.values()) key.erase();
    this.#keys.clear();
  }
}
