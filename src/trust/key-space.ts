import { hexOf } from './hex.ts';
import { KEY_PREFIX_BYTES_MAX } from './key-prefix.ts';

/** A part of the keys with data keys of its own: those with its prefix, unless a longer prefix of another space fits them. */
export interface KeySpace {
  readonly name: string;
  readonly prefix: Uint8Array;
}

/** Has the empty prefix: each key is in a space. */
export const DEFAULT_SPACE = 'default';

/** Looked through for each value that is sealed. */
export const SPACES_MAX = 32;

export const SPACE_NAME = /^[a-z0-9-]{1,32}$/;

/** What is wrong with the spaces of a cluster, or undefined. */
export function spacesProblem(spaces: readonly KeySpace[]): string | undefined {
  if (spaces.length > SPACES_MAX) return `a cluster has at most ${SPACES_MAX} key spaces, not ${spaces.length}`;
  const bad = spaces.find(({ name }) => !SPACE_NAME.test(name));
  if (bad !== undefined) return `a key space has a name of 1 to 32 of a-z, 0-9 and -, not ${JSON.stringify(bad.name)}`;
  const long = spaces.find(({ prefix }) => prefix.length > KEY_PREFIX_BYTES_MAX);
  if (long !== undefined) return `the prefix of key space ${long.name} is over ${KEY_PREFIX_BYTES_MAX} bytes`;
  if (new Set(spaces.map(({ name }) => name)).size < spaces.length) return 'two key spaces have one name';
  const prefixes = new Set(spaces.map(({ prefix }) => hexOf(prefix)));
  if (prefixes.size < spaces.length) return 'two key spaces have one prefix';
  const standard = spaces.find(({ name }) => name === DEFAULT_SPACE);
  if (standard === undefined || standard.prefix.length > 0) {
    return `the key space ${DEFAULT_SPACE} has the empty prefix, and is always there`;
  }
  return undefined;
}
