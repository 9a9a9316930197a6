/**
 * The keys of values. No value is sealed under a data key itself: each process that writes draws a salt when it starts
 * and seals under a key derived from data key and salt, with a counter as nonce. So no two processes, and no two runs
 * of one, share a key, and nobody has to hand out ids or remember a counter over a restart.
 *
 *     value key           = BLAKE2b-256(key: data key, message: "avocado value key v1" | data key id (u32) | salt (16))
 *     chunk key | tag key = BLAKE2b-512(key: data key, message: "avocado chunk key v1" | data key id (u32) | salt (16))
 *
 * The latter two are those of values in chunks (chunked-values.ts).
 */
import { assert } from '../net/assert.ts';
import type { Region } from '../net/bytes.ts';
import { regionOf } from '../net/bytes.ts';
import type { DataKeys } from './sealing.ts';
import { AEAD_KEY_BYTES, blake2b, eraseBytes } from './sodium.ts';

export const SALT_BYTES = 16;
const SALT_WORDS = SALT_BYTES / 4;
const DATA_KEY_BYTES = 32;

/** Chunk key and tag key. */
export const CHUNK_KEYS_BYTES = 2 * AEAD_KEY_BYTES;

const CONTEXT_BYTES = 20;
const KEY_ID_WORD = CONTEXT_BYTES / 4;
const SALT_WORD = KEY_ID_WORD + 1;

/** Inputs of the derivations; reused, they hold nothing secret. */
const valueKeyInput = derivationInput('avocado value key v1');
const chunkKeysInput = derivationInput('avocado chunk key v1');

function derivationInput(context: string): Region {
  const bytes = new TextEncoder().encode(context);
  assert(bytes.byteLength === CONTEXT_BYTES, 'the fields behind the context start on words');
  const input = regionOf(new ArrayBuffer((SALT_WORD + SALT_WORDS) * 4));
  input.bytes.set(bytes);
  return input;
}

/** Writes the value key of (key id, saltWords[saltWord .. +4)) to `target`. Allocates nothing. */
export function deriveValueKey(
  target: Uint8Array,
  dataKey: Uint8Array,
  keyId: number,
  saltWords: Int32Array,
  saltWord: number,
): void {
  assert(target.byteLength === AEAD_KEY_BYTES, 'a value key has 32 bytes');
  derive(target, valueKeyInput, dataKey, keyId, saltWords, saltWord);
}

/** Writes chunk key and tag key, one behind the other. */
export function deriveChunkKeys(
  target: Uint8Array,
  dataKey: Uint8Array,
  keyId: number,
  saltWords: Int32Array,
  saltWord: number,
): void {
  assert(target.byteLength === CHUNK_KEYS_BYTES, 'they are two keys of 32 bytes');
  derive(target, chunkKeysInput, dataKey, keyId, saltWords, saltWord);
}

function derive(
  target: Uint8Array,
  input: Region,
  dataKey: Uint8Array,
  keyId: number,
  saltWords: Int32Array,
  saltWord: number,
): void {
  assert(dataKey.byteLength === DATA_KEY_BYTES, 'a data key has 32 bytes');
  input.words[KEY_ID_WORD] = keyId | 0;
  for (let i = 0; i < SALT_WORDS; i++) input.words[SALT_WORD + i] = saltWords[saltWord + i]!;
  blake2b(target, input.bytes, dataKey);
}

/**
 * Nonces of one process's salt: 1, 2, 3, ... The top 43 of their 96 bits stay zero, since a number counts to 2^53: at a
 * million writes a second that lasts 285 years.
 */
export class NonceCounter {
  #last: number;

  constructor(last = 0) {
    this.#last = last;
  }

  /** The first of `count` nonces in a row. */
  take(count: number): number {
    assert(this.#last <= Number.MAX_SAFE_INTEGER - count, 'the nonces of a salt are not used up');
    const first = this.#last + 1;
    this.#last += count;
    return first;
  }
}

/** Enough for that many writers at once; a further one costs a derivation (1 to 2 us) a value. */
export const DERIVED_KEYS_MAX = 1_024;
/** Entries that a salt may lie in. Salts are random, so that sets fill evenly. */
const WAYS = 4;
const SETS = DERIVED_KEYS_MAX / WAYS;
/** Key id, salt. */
const NAME_WORDS = 1 + SALT_WORDS;

/**
 * Finds the key of a value that is to be opened. Only keys that have opened a value are kept: salts come from host
 * memory, and a host that makes salts up must not be able to push out the keys that are in use.
 */
export class ReaderKeys {
  readonly #dataKeys: DataKeys;
  readonly #cache = new DerivedKeyCache();
  /** A key that was derived and has not opened anything yet; zero between uses. */
  readonly #candidate = new Uint8Array(AEAD_KEY_BYTES);
  #candidateInUse = false;

  constructor(dataKeys: DataKeys) {
    this.#dataKeys = dataKeys;
  }

  /** Undefined when the data key is unknown; otherwise settle() has to follow, with the same name. */
  take(keyId: number, saltWords: Int32Array, saltWord: number): Uint8Array | undefined {
    assert(!this.#candidateInUse, 'a key is settled before the next is taken');
    const known = this.#cache.find(keyId, saltWords, saltWord);
    if (known !== undefined) return known;
    const dataKey = this.#dataKeys.key(keyId);
    if (dataKey === undefined) return undefined;
    deriveValueKey(this.#candidate, dataKey, keyId, saltWords, saltWord);
    this.#candidateInUse = true;
    return this.#candidate;
  }

  settle(opened: boolean, keyId: number, saltWords: Int32Array, saltWord: number): void {
    if (!this.#candidateInUse) return;
    if (opened) this.#cache.insert(keyId, saltWords, saltWord, this.#candidate);
    eraseBytes(this.#candidate);
    this.#candidateInUse = false;
  }

  /** A data key is no more, or another one is current: what is still in use is derived again. */
  forget(): void {
    this.#cache.clear();
  }

  close(): void {
    this.#cache.clear();
  }
}

/** Derived keys by (key id, salt), bounded. */
export class DerivedKeyCache {
  readonly #names = new Int32Array(DERIVED_KEYS_MAX * NAME_WORDS);
  readonly #used = new Uint8Array(DERIVED_KEYS_MAX);
  /** The way of each set that is evicted next. */
  readonly #nextWays = new Uint8Array(SETS);
  readonly #memory = new Uint8Array(DERIVED_KEYS_MAX * AEAD_KEY_BYTES);
  readonly #keys: readonly Uint8Array[] = Array.from({ length: DERIVED_KEYS_MAX }, (_, entry) =>
    this.#memory.subarray(entry * AEAD_KEY_BYTES, (entry + 1) * AEAD_KEY_BYTES),
  );

  /** The key, valid until the next insert. */
  find(keyId: number, saltWords: Int32Array, saltWord: number): Uint8Array | undefined {
    const first = setOf(keyId, saltWords[saltWord]!) * WAYS;
    for (let entry = first; entry < first + WAYS; entry++) {
      if (this.#used[entry] === 1 && this.#isNamed(entry, keyId, saltWords, saltWord)) return this.#keys[entry];
    }
    return undefined;
  }

  /** Copies a key that find() did not know; it takes the place of the set's oldest. */
  insert(keyId: number, saltWords: Int32Array, saltWord: number, key: Uint8Array): void {
    const set = setOf(keyId, saltWords[saltWord]!);
    const way = this.#nextWays[set]!;
    const entry = set * WAYS + way;
    this.#nextWays[set] = (way + 1) % WAYS;
    this.#used[entry] = 1;
    this.#keys[entry]!.set(key);
    const name = entry * NAME_WORDS;
    this.#names[name] = keyId | 0;
    for (let i = 0; i < SALT_WORDS; i++) this.#names[name + 1 + i] = saltWords[saltWord + i]!;
  }

  /** Keys held. */
  get count(): number {
    return this.#used.reduce((sum, used) => sum + used, 0);
  }

  /** Overwrites every key. */
  clear(): void {
    eraseBytes(this.#memory);
    this.#used.fill(0);
  }

  #isNamed(entry: number, keyId: number, saltWords: Int32Array, saltWord: number): boolean {
    const name = entry * NAME_WORDS;
    if (this.#names[name] !== (keyId | 0)) return false;
    for (let i = 0; i < SALT_WORDS; i++) {
      if (this.#names[name + 1 + i] !== saltWords[saltWord + i]) return false;
    }
    return true;
  }
}

function setOf(keyId: number, saltWord0: number): number {
  return (keyId ^ saltWord0) & (SETS - 1);
}
