import { assert } from '../../net/assert.ts';
import { alignUp, regionOf } from '../../net/bytes.ts';
import { NO_DATA_KEY } from '../../workers/sealing.ts';
import type { DataKeys } from '../../workers/sealing.ts';
import { erase } from '../../workers/signing.ts';
import { hexOf } from './hex.ts';
import { KeyPrefix } from './key-prefix.ts';
import { DEFAULT_SPACE } from './key-space.ts';
import type { KeyReport } from './key-report.ts';
import type { KeySpace } from './key-space.ts';

export interface CurrentSpace extends KeySpace {
  /** Id of the data key that new values are sealed under. */
  readonly currentId: number;
}

export interface DataKey {
  /** Unique in the cluster, never used again: 1 .. 2^32 - 1. */
  readonly id: number;
  /** 32 bytes. */
  readonly key: Uint8Array;
}

export type DataKeyPhase = 'announced' | 'current' | 'retiring' | 'closing';

export interface ListedKey {
  readonly id: number;
  readonly phase: DataKeyPhase;
}

/** What CAS says of all keys. */
export interface KeyList {
  readonly keys: readonly ListedKey[];
  readonly destroyed: readonly number[];
  /** The highest id that it has given out. */
  readonly lastId: number;
}

interface Entry {
  readonly name: string;
  readonly prefix: KeyPrefix;
  readonly currentId: number;
}

const DATA_KEY_BYTES = 32;

/**
 * The key spaces of a cluster and the data keys that this process has of them. Whoever seals and opens reads them here, and
 * sees by `generation` that they have changed. Keys lie here only; those that are destroyed are overwritten.
 */
export class DataKeyRing implements DataKeys {
  generation = 0;
  /** Keys that were here and are no more. */
  destroyedCount = 0;
  readonly #keys = new Map<number, Uint8Array>();
  /** The longest prefix first. */
  #spaces: readonly Entry[] = [];
  /** As CAS said last; a key that it never spoke of is current. */
  #phases: ReadonlyMap<number, DataKeyPhase> = new Map();
  /** By CAS's last list; keys above are newer than it. */
  #lastId = 0;
  /** Retiring keys that no value was found under; whether it was one that is taken no more. */
  readonly #unused = new Map<number, { readonly wasClosing: boolean }>();
  /** Told of an id that is not here: somebody else has a newer key. */
  onUnknownKey: ((id: number) => void) | undefined;

  constructor(spaces: readonly CurrentSpace[], keys: readonly DataKey[]) {
    this.update(spaces, keys);
  }

  /** One key for all. */
  static of(id: number, key: Uint8Array): DataKeyRing {
    return new DataKeyRing([{ name: DEFAULT_SPACE, prefix: NO_BYTES, currentId: id }], [{ id, key }]);
  }

  /** Of a process that seals and opens nothing. */
  static empty(): DataKeyRing {
    return new DataKeyRing([], []);
  }

  /** Of all spaces, whether this process has their keys or not. */
  get spaces(): readonly CurrentSpace[] {
    return this.#spaces.map(({ name, prefix, currentId }) => ({ name, prefix: prefix.bytes, currentId }));
  }

  get keyIds(): readonly number[] {
    return [...this.#keys.keys()];
  }

  currentId(keyWords: Int32Array, keyWord: number, keyBytes: number): number {
    const spaces = this.#spaces;
    for (let i = 0; i < spaces.length; i++) {
      const { prefix, currentId } = spaces[i]!;
      if (prefix.isPrefixOf(keyWords, keyWord, keyBytes)) return currentId;
    }
    return NO_DATA_KEY;
  }

  /** Whether this process has no data key for the pair with this key. Asked for each operation: most lack none. */
  lacks(key: Uint8Array): boolean {
    if (this.#spaces.length > 0 && this.#spaces.every(({ currentId }) => currentId !== NO_DATA_KEY)) return false;
    const region = regionOf(new ArrayBuffer(alignUp(key.length)));
    region.bytes.set(key);
    return this.currentId(region.words, 0, key.length) === NO_DATA_KEY;
  }

  key(id: number): Uint8Array | undefined {
    const key = this.#keys.get(id);
    if (key === undefined) this.onUnknownKey?.(id);
    return key;
  }

  /** Whether a new value under this key may still be kept: it is known, and not about to be destroyed. */
  takesNewValues(id: number): boolean {
    return this.#keys.has(id) && this.#phases.get(id) !== 'closing';
  }

  /**
   * Takes the spaces as they are now, and further keys, which are copied. No key goes: destroy() does that. A space whose
   * current key is not here has none.
   */
  update(spaces: readonly CurrentSpace[], keys: readonly DataKey[]): void {
    for (const { id, key } of keys) {
      assert(id > NO_DATA_KEY && id <= 0xffff_ffff, 'ids of data keys are those of 32 bits, without zero');
      assert(key.length === DATA_KEY_BYTES, 'a data key has 32 bytes');
      if (!this.#keys.has(id)) this.#keys.set(id, key.slice());
    }
    const before = this.#describe();
    this.#spaces = spaces
      .map(({ name, prefix, currentId }) => ({ name, prefix: new KeyPrefix(prefix), currentId: this.#held(currentId) }))
      .toSorted((a, b) => b.prefix.byteCount - a.prefix.byteCount);
    if (this.#describe() !== before) this.generation++;
  }

  /** Of what is current: whoever follows the generation is not woken when nothing has changed. */
  #describe(): string {
    return this.#spaces.map(({ name, prefix, currentId }) => `${name} ${hexOf(prefix.bytes)} ${currentId}`).join();
  }

  /**
   * Spaces and keys as CAS has them now. What it has destroyed is destroyed here; a key that it does not know, as it lost the
   * state that had it, is kept, and values are taken away from it.
   */
  follow(spaces: readonly CurrentSpace[], { keys: listed, destroyed, lastId }: KeyList): void {
    this.#lastId = lastId;
    const isNew = listed.some(({ id, phase }) => this.#phases.get(id) !== phase);
    this.#phases = new Map(listed.map(({ id, phase }) => [id, phase]));
    if (isNew) this.generation++;
    for (const id of destroyed) if (!this.#phases.has(id)) this.destroy(id);
    this.update(spaces, []);
  }

  // -- what a replica finds out, for CAS ---------------------------------------------------------------------------

  /** Keys that values are to be taken away from. */
  get retiringIds(): readonly number[] {
    return this.keyIds.filter((id) => {
      const phase = this.#phases.get(id);
      return phase === 'retiring' || phase === 'closing' || (phase === undefined && id <= this.#lastId);
    });
  }

  isClosing(id: number): boolean {
    return this.#phases.get(id) === 'closing';
  }

  /** What a whole look at the store came to. @param wasClosing When the look began. */
  noteUse(id: number, valueCount: number, wasClosing: boolean): void {
    if (valueCount > 0) this.#unused.delete(id);
    else if (this.#keys.has(id)) this.#unused.set(id, { wasClosing });
  }

  report(): KeyReport {
    const ascending = (ids: Iterable<number>): number[] => [...ids].toSorted((a, b) => a - b);
    const closed = [...this.#unused].flatMap(([id, { wasClosing }]) => (wasClosing ? [id] : []));
    return { held: ascending(this.keyIds), unused: ascending(this.#unused.keys()), closed: ascending(closed) };
  }

  /** Overwrites a key. What was derived from it goes with the next look at `generation`. */
  destroy(id: number): void {
    const key = this.#keys.get(id);
    if (key === undefined) return;
    erase(key);
    this.#keys.delete(id);
    this.#unused.delete(id);
    this.destroyedCount++;
    this.#spaces = this.#spaces.map((space) => ({ ...space, currentId: this.#held(space.currentId) }));
    this.generation++;
  }

  close(): void {
    for (const id of this.keyIds) this.destroy(id);
  }

  #held(id: number): number {
    return this.#keys.has(id) ? id : NO_DATA_KEY;
  }
}

const NO_BYTES = new Uint8Array(0);
