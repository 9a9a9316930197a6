import { ALL_GRANTS, RIGHTS_ALL } from './grants.ts';
import type { Grant } from './grants.ts';
import { KeyPrefix } from './key-prefix.ts';

interface PrefixRights {
  readonly prefix: KeyPrefix;
  readonly rights: number;
}

/** What a party may do with which keys: its grants, in the form in which keys of messages are compared with them. */
export class Permissions {
  readonly grants: readonly Grant[];
  /** Nothing is kept from it: what most have, and then nothing is compared. */
  readonly isAll: boolean;
  /** Rights on every key. */
  readonly everywhere: number;
  /** Rights on some key or other. */
  readonly somewhere: number;
  readonly #entries: readonly PrefixRights[];

  constructor(grants: readonly Grant[]) {
    this.grants = grants;
    this.everywhere = unionOf(grants.filter(({ prefix }) => prefix.length === 0));
    this.somewhere = unionOf(grants);
    this.isAll = this.everywhere === RIGHTS_ALL;
    this.#entries = grants.map(({ prefix, rights }) => ({ prefix: new KeyPrefix(prefix), rights }));
  }

  /** Of replicas, which coordinate for clients; and of clients, if nothing else is decided. */
  static readonly ALL = new Permissions(ALL_GRANTS);
  static readonly NONE = new Permissions([]);

  /**
   * Whether all of these rights are given on the key at words[keyWord], each by any grant. Allocates nothing. Keys are padded
   * with zeros, which messageBytes() has checked.
   */
  allows(rights: number, words: Int32Array, keyWord: number, keyBytes: number): boolean {
    let lacking = rights & ~this.everywhere;
    for (let i = 0; lacking !== 0 && i < this.#entries.length; i++) {
      const entry = this.#entries[i]!;
      if ((entry.rights & lacking) !== 0 && entry.prefix.isPrefixOf(words, keyWord, keyBytes)) lacking &= ~entry.rights;
    }
    return lacking === 0;
  }

  /**
   * Whether one grant with these rights has all keys from a start up to an end, which does not belong to them. No bytes of
   * a start: from the first key; of an end: up to the last.
   */
  allowsRange(
    rights: number,
    words: Int32Array,
    startWord: number,
    startBytes: number,
    endWord: number,
    endBytes: number,
  ): boolean {
    if ((rights & ~this.everywhere) === 0) return true;
    for (let i = 0; i < this.#entries.length; i++) {
      const { prefix, rights: own } = this.#entries[i]!;
      if (
        (rights & ~own) === 0 &&
        prefix.isPrefixOf(words, startWord, startBytes) &&
        (prefix.isPrefixOf(words, endWord, endBytes) || isEndOf(prefix, words, endWord, endBytes))
      ) {
        return true;
      }
    }
    return false;
  }

  /** Whether one grant with these rights has every key that begins with the prefix. */
  covers(rights: number, prefix: KeyPrefix): boolean {
    return this.#entries.some(({ prefix: own, rights: given }) => (rights & ~given) === 0 && own.covers(prefix));
  }
}

/** Whether it is the first key behind all that begin with the prefix: that without its last 0xff, and one more. */
function isEndOf({ bytes }: KeyPrefix, words: Int32Array, endWord: number, endBytes: number): boolean {
  let last = bytes.length - 1;
  while (last >= 0 && bytes[last] === 0xff) last--;
  if (endBytes !== last + 1) return false;
  for (let i = 0; i < last; i++) if (byteAt(words, endWord, i) !== bytes[i]) return false;
  return last < 0 || byteAt(words, endWord, last) === bytes[last]! + 1;
}

function byteAt(words: Int32Array, word: number, index: number): number {
  return (words[word + (index >> 2)]! >>> (8 * (index & 3))) & 0xff;
}

function unionOf(grants: readonly Grant[]): number {
  return grants.reduce((union, { rights }) => union | rights, 0);
}
