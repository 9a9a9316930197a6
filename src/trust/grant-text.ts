import { AvocadoError } from '../errors.ts';
import { GRANTS_MAX, RIGHT_ADMIN, RIGHT_READ, RIGHT_WRITE } from './grants.ts';
import type { Grant } from './grants.ts';
import { KEY_PREFIX_BYTES_MAX } from './key-prefix.ts';

/**
 * Grants as people write them: RIGHTS:PREFIX, several with commas between. Rights are letters: r read, w write, a admin. A
 * byte of the prefix may stand as % and two hexadecimal digits; comma and % must.
 *
 *     rw:orders/          read and write keys that begin with orders/
 *     r:,w:logs/%2C       read all; write those that begin with logs/,
 */
const LETTERS = [
  ['r', RIGHT_READ],
  ['w', RIGHT_WRITE],
  ['a', RIGHT_ADMIN],
] as const;

/** @throws AvocadoError INVALID_ARGUMENT. */
export function parseGrants(text: string): Grant[] {
  const grants = text.split(',').map(parseGrant);
  if (grants.length <= GRANTS_MAX) return grants;
  throw new AvocadoError('INVALID_ARGUMENT', `a client has at most ${GRANTS_MAX} grants, not ${grants.length}`);
}

function parseGrant(text: string): Grant {
  const match = /^([rwa]+):((?:[^%]|%[0-9A-Fa-f]{2})*)$/su.exec(text);
  if (match === null) {
    throw new AvocadoError(
      'INVALID_ARGUMENT',
      `a grant is RIGHTS:PREFIX with rights of the letters r, w and a, like rw:orders/, not ${JSON.stringify(text)}`,
    );
  }
  const rights = LETTERS.reduce((union, [letter, right]) => (match[1]!.includes(letter) ? union | right : union), 0);
  const prefix = Buffer.concat(
    match[2]!
      .split(/(%..)/s)
      .map((piece) => (piece.startsWith('%') ? Buffer.from(piece.slice(1), 'hex') : Buffer.from(piece, 'utf8'))),
  );
  if (prefix.length <= KEY_PREFIX_BYTES_MAX) return { rights, prefix: Uint8Array.from(prefix) };
  throw new AvocadoError(
    'INVALID_ARGUMENT',
    `a prefix has at most ${KEY_PREFIX_BYTES_MAX} bytes, not ${prefix.length}: ${JSON.stringify(text)}`,
  );
}

/** What parseGrants() reads as these grants. */
export function grantsText(grants: readonly Grant[]): string {
  return grants.map(grantText).join(',');
}

function grantText({ rights, prefix }: Grant): string {
  const letters = LETTERS.map(([letter, right]) => ((rights & right) !== 0 ? letter : '')).join('');
  const text = Array.from(prefix, (byte) => {
    const character = String.fromCharCode(byte);
    return /[!-~]/.test(character) && character !== '%' && character !== ','
      ? character
      : `%${byte.toString(16).padStart(2, '0')}`;
  }).join('');
  return `${letters}:${text}`;
}
