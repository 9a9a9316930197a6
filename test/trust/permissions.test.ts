/** Grants: their text, and which keys and ranges they let pass, against a model that compares bytes. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { alignUp } from '../../net/bytes.ts';
import { AvocadoError } from '../../src/errors.ts';
import { grantsText, parseGrants } from '../../src/trust/grant-text.ts';
import { RIGHTS_ALL, RIGHT_ADMIN, RIGHT_READ, RIGHT_WRITE } from '../../src/trust/grants.ts';
import type { Grant } from '../../src/trust/grants.ts';
import { KEY_PREFIX_BYTES_MAX, KeyPrefix } from '../../src/trust/key-prefix.ts';
import { Permissions } from '../../src/trust/permissions.ts';

/** Not at the beginning of a buffer, as in a datagram. */
const KEY_WORD = 3;

function keyWords(key: Uint8Array): Int32Array {
  const words = new Int32Array(KEY_WORD + (alignUp(key.length) >> 2));
  new Uint8Array(words.buffer).set(key, KEY_WORD * 4);
  return words;
}

function allows(permissions: Permissions, rights: number, key: Uint8Array): boolean {
  return permissions.allows(rights, keyWords(key), KEY_WORD, key.length);
}

function allowsRange(permissions: Permissions, rights: number, start: Uint8Array, end: Uint8Array): boolean {
  const words = Int32Array.from([...keyWords(start), ...keyWords(end)]);
  const endWord = 2 * KEY_WORD + (alignUp(start.length) >> 2);
  return permissions.allowsRange(rights, words, KEY_WORD, start.length, endWord, end.length);
}

function startsWith(key: Uint8Array, prefix: Uint8Array): boolean {
  return Buffer.compare(key.subarray(0, prefix.length), prefix) === 0;
}

/** Few bytes, the least and the greatest among them, so that prefixes meet keys. */
const anyByte = fc.constantFrom(0, 0x61, 0x62, 0xff);
const anyBytes = (minLength: number, maxLength: number): fc.Arbitrary<Uint8Array> =>
  fc.array(anyByte, { minLength, maxLength }).map((bytes) => Uint8Array.from(bytes));
const anyGrants = (maxLength: number): fc.Arbitrary<Grant[]> =>
  fc.array(fc.record({ prefix: anyBytes(0, maxLength), rights: fc.integer({ min: 1, max: RIGHTS_ALL }) }), {
    maxLength: 8,
  });

test('a key has a right if any grant with that right has a prefix of it', () => {
  fc.assert(
    fc.property(anyGrants(9), anyBytes(1, 12), fc.integer({ min: 1, max: RIGHTS_ALL }), (grants, key, rights) => {
      const expected = [RIGHT_READ, RIGHT_WRITE, RIGHT_ADMIN]
        .filter((right) => (rights & right) !== 0)
        .every((right) => grants.some(({ prefix, rights: own }) => (own & right) !== 0 && startsWith(key, prefix)));
      assert.equal(allows(new Permissions(grants), rights, key), expected);
    }),
  );
});

test('a prefix of each length lets pass what begins with it, and nothing else', () => {
  for (let prefixBytes = 0; prefixBytes <= KEY_PREFIX_BYTES_MAX; prefixBytes++) {
    const key = Uint8Array.from({ length: 100 }, (_, i) => 255 - i);
    const permissions = new Permissions([{ rights: RIGHT_READ, prefix: key.slice(0, prefixBytes) }]);
    assert.ok(allows(permissions, RIGHT_READ, key));
    assert.ok(prefixBytes === 0 || allows(permissions, RIGHT_READ, key.subarray(0, prefixBytes)));
    assert.ok(!allows(permissions, RIGHT_WRITE, key));
    if (prefixBytes > 1) assert.ok(!allows(permissions, RIGHT_READ, key.subarray(0, prefixBytes - 1)));
    for (let i = 0; i < 100; i++) {
      const other = Uint8Array.from(key);
      other[i]! ^= 0x80;
      assert.equal(allows(permissions, RIGHT_READ, other), i >= prefixBytes, `byte ${i} of ${prefixBytes}`);
    }
  }
});

/** All keys of one to three of these bytes, in order. */
const BYTES = [0, 0x61, 0xff];
const KEYS = BYTES.flatMap((a) => [
  Uint8Array.of(a),
  ...BYTES.flatMap((b) => [Uint8Array.of(a, b), ...BYTES.map((c) => Uint8Array.of(a, b, c))]),
]);
const NO_BOUND = new Uint8Array(0);
const EVERYTHING = new KeyPrefix(NO_BOUND);

function isBetween(key: Uint8Array, start: Uint8Array, end: Uint8Array): boolean {
  return Buffer.compare(key, start) >= 0 && (end.length === 0 || Buffer.compare(key, end) < 0);
}

test('no range passes that has a key outside of every grant', () => {
  const bounds = [NO_BOUND, ...KEYS, Uint8Array.of(0x62), Uint8Array.of(0x61, 1), Uint8Array.of(0x61, 0x62)];
  for (const prefix of [NO_BOUND, ...KEYS]) {
    const permissions = new Permissions([{ rights: RIGHT_READ, prefix }]);
    for (const start of bounds) {
      for (const end of bounds) {
        if (!allowsRange(permissions, RIGHT_READ, start, end)) continue;
        const outside = KEYS.filter((key) => isBetween(key, start, end) && !startsWith(key, prefix));
        assert.deepEqual(outside, [], `[${start.join()}] to [${end.join()}] under [${prefix.join()}]`);
      }
    }
  }
});

test('the range of a prefix passes, and every part of it', () => {
  const endOf = (prefix: Uint8Array): Uint8Array => {
    const kept = prefix.findLastIndex((byte) => byte !== 0xff) + 1;
    const end = prefix.slice(0, kept);
    if (kept > 0) end[kept - 1]! += 1;
    return end;
  };
  for (const prefix of [NO_BOUND, ...KEYS]) {
    const permissions = new Permissions([{ rights: RIGHT_READ, prefix }]);
    assert.ok(allowsRange(permissions, RIGHT_READ, prefix, endOf(prefix)), `[${prefix.join()}]`);
    assert.ok(!allowsRange(permissions, RIGHT_READ | RIGHT_WRITE, prefix, endOf(prefix)));
    for (const start of KEYS.filter((key) => startsWith(key, prefix))) {
      assert.ok(allowsRange(permissions, RIGHT_READ, start, endOf(prefix)));
      assert.ok(allowsRange(permissions, RIGHT_READ, prefix, start));
    }
  }
});

test('a range that only two grants together have does not pass', () => {
  const permissions = new Permissions(parseGrants('r:a,r:b'));
  const range = (start: string, end: string) =>
    allowsRange(permissions, RIGHT_READ, Buffer.from(start), Buffer.from(end));
  assert.ok(range('a', 'b') && range('b', 'c') && !range('a', 'c') && !range('ax', 'bx'));
});

test('a prefix is covered by one grant with all of the rights, not by several', () => {
  const permissions = new Permissions(parseGrants('r:orders/,w:orders/new/,rw:logs/'));
  const covers = (rights: number, prefix: string) => permissions.covers(rights, new KeyPrefix(Buffer.from(prefix)));
  assert.ok(covers(RIGHT_READ, 'orders/') && covers(RIGHT_READ, 'orders/new/'));
  assert.ok(!covers(RIGHT_READ, 'orders') && !covers(RIGHT_READ, '') && !covers(RIGHT_WRITE, 'orders/'));
  assert.ok(covers(RIGHT_READ | RIGHT_WRITE, 'logs/1') && !covers(RIGHT_READ | RIGHT_WRITE, 'orders/new/'));
  assert.ok(Permissions.ALL.covers(RIGHTS_ALL, EVERYTHING) && !Permissions.NONE.covers(RIGHT_READ, EVERYTHING));
});

test('what a text says is what is granted, and the text of grants reads as the same', () => {
  assert.deepEqual(parseGrants('rw:orders/,a:,w:%00%2c%25%fF,r:a:b'), [
    { rights: RIGHT_READ | RIGHT_WRITE, prefix: Uint8Array.from(Buffer.from('orders/')) },
    { rights: RIGHT_ADMIN, prefix: new Uint8Array(0) },
    { rights: RIGHT_WRITE, prefix: Uint8Array.of(0, 0x2c, 0x25, 0xff) },
    { rights: RIGHT_READ, prefix: Uint8Array.from(Buffer.from('a:b')) },
  ]);
  assert.deepEqual(parseGrants('r:é')[0]!.prefix, Uint8Array.of(0xc3, 0xa9));
  const anyGrant = fc
    .tuple(fc.uint8Array({ maxLength: KEY_PREFIX_BYTES_MAX }), fc.integer({ min: 1, max: RIGHTS_ALL }))
    .map(([bytes, rights]) => ({ prefix: Uint8Array.from(bytes), rights }));
  fc.assert(
    fc.property(fc.array(anyGrant, { minLength: 1, maxLength: 8 }), (grants) => {
      assert.deepEqual(parseGrants(grantsText(grants)), grants);
    }),
  );
});

test('a text that is no grant is refused with what one is', () => {
  for (const text of ['', 'orders/', ':orders/', 'x:', 'rx:', 'r:%', 'r:%4', 'r:%gg', 'r:,', ` r:`]) {
    assert.throws(() => parseGrants(text), { code: 'INVALID_ARGUMENT', message: /a grant is RIGHTS:PREFIX/ }, text);
  }
  assert.throws(() => parseGrants(`r:${'x'.repeat(65)}`), { message: /at most 64 bytes, not 65/ });
  assert.throws(() => parseGrants(new Array(9).fill('r:').join()), { message: /at most 8 grants, not 9/ });
  fc.assert(
    fc.property(fc.string(), (text) => {
      try {
        parseGrants(text);
      } catch (error) {
        assert.ok(error instanceof AvocadoError);
      }
    }),
  );
});
