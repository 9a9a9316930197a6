import { assert } from '../../net/assert.ts';
import { KEY_PREFIX_BYTES_MAX } from './key-prefix.ts';

/**
 * A grant: rights on all keys that begin with a prefix. Certificates carry them (certificate.ts), replicas hold clients to
 * them (protocol/permissions.ts).
 *
 *     read   get, scan, count; a repair of what could be read
 *     write  put, delete
 *     both   read-modify-writes, which tell what was there
 *     admin  on the empty prefix: figures of the replicas
 */
export interface Grant {
  /** At most KEY_PREFIX_BYTES_MAX bytes (key-prefix.ts); empty: all keys. */
  readonly prefix: Uint8Array;
  /** RIGHT_* */
  readonly rights: number;
}

export const RIGHT_READ = 1;
export const RIGHT_WRITE = 2;
export const RIGHT_ADMIN = 4;
export const RIGHTS_ALL = RIGHT_READ | RIGHT_WRITE | RIGHT_ADMIN;

/** With prefixes of any length a certificate stays within 656 bytes, and message 1 within the smallest datagram. */
export const GRANTS_MAX = 8;
const GRANT_HEAD_BYTES = 2;
export const GRANTS_BYTES_MAX = GRANTS_MAX * (GRANT_HEAD_BYTES + KEY_PREFIX_BYTES_MAX);

export const ALL_GRANTS: readonly Grant[] = [{ prefix: new Uint8Array(0), rights: RIGHTS_ALL }];

/** Each rights u8, length of the prefix u8, prefix; one behind the other. */
export function grantsBytes(grants: readonly Grant[]): Uint8Array {
  assert(grants.length <= GRANTS_MAX, 'a certificate has a few grants');
  return Buffer.concat(
    grants.map(({ prefix, rights }) => {
      assert(areRights(rights), 'a grant gives known rights');
      assert(prefix.length <= KEY_PREFIX_BYTES_MAX, 'a prefix is bounded');
      return Buffer.concat([Uint8Array.of(rights, prefix.length), prefix]);
    }),
  );
}

/**
 * The grants at the beginning of bytes that nobody vouches for, and how many bytes they take; undefined when they are
 * malformed or cut off.
 */
export function readGrants(
  bytes: Uint8Array,
  grantCount: number,
): { readonly grants: readonly Grant[]; readonly byteCount: number } | undefined {
  if (grantCount > GRANTS_MAX) return undefined;
  const grants: Grant[] = [];
  let at = 0;
  for (let i = 0; i < grantCount; i++) {
    const rights = bytes[at];
    const prefixBytes = bytes[at + 1];
    if (rights === undefined || prefixBytes === undefined || !areRights(rights)) return undefined;
    if (prefixBytes > KEY_PREFIX_BYTES_MAX) return undefined;
    at += GRANT_HEAD_BYTES;
    if (at + prefixBytes > bytes.length) return undefined;
    // A copy: the bytes lie in a datagram's buffer, which is used again.
    grants.push({ prefix: Uint8Array.from(bytes.subarray(at, at + prefixBytes)), rights });
    at += prefixBytes;
  }
  return { grants, byteCount: at };
}

/** A grant without rights says nothing, so nobody issues one. */
function areRights(rights: number): boolean {
  return rights > 0 && (rights & ~RIGHTS_ALL) === 0;
}
