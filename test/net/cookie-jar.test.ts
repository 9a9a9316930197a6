import { DataKeyRing } from '../../src/trust/data-key-ring.ts';
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CookieJar } from '../../net/cookie-jar.ts';
import {
  COOKIE_HALF_OPEN_MIN,
  COOKIE_HANDSHAKES_INTERVAL_MS,
  COOKIE_HANDSHAKES_MIN,
  COOKIE_INTERVAL_MS,
  COOKIE_SECRET_MS,
  HANDSHAKES_PER_HOST_MAX,
  PROVED_HANDSHAKES_MAX,
} from '../../net/limits.ts';
import { createInlineSealing } from '../../workers/inline-sealing.ts';
import { createHandshakeCrypto } from '../../workers/noise.ts';
import { generateStaticKeyPair } from '../../workers/signing.ts';

function makeJar(always = false): CookieJar {
  const sealing = createInlineSealing({ mode: 'secure', dataKeys: DataKeyRing.of(1, new Uint8Array(32)) });
  const crypto = createHandshakeCrypto({ mode: 'secure', staticKeyPair: generateStaticKeyPair(), sealing });
  return new CookieJar(crypto, always);
}

test('should bake the same cookie for an address while its secret lasts, and another one afterwards', () => {
  const jar = makeJar();
  const cookie = jar.bake('10.0.0.1', 7_000, 1_000);
  assert.equal(cookie.length, 16);
  assert.deepEqual(jar.bake('10.0.0.1', 7_000, 1_000 + COOKIE_SECRET_MS - 1), cookie);
  assert.notDeepEqual(jar.bake('10.0.0.1', 7_000, 1_000 + COOKIE_SECRET_MS), cookie);
});

test('should bake another cookie for each host, port and responder', () => {
  const jar = makeJar();
  const cookies = [
    jar.bake('10.0.0.1', 7_000, 0),
    jar.bake('10.0.0.1', 7_001, 0),
    jar.bake('10.0.0.2', 7_000, 0),
    jar.bake('10.0.0.17', 0, 0),
    jar.bake('10.0.0.1', 70, 0),
    makeJar().bake('10.0.0.1', 7_000, 0),
  ];
  assert.equal(new Set(cookies.map((cookie) => Buffer.from(cookie).toString('hex'))).size, cookies.length);
});

test('should be due when many sessions are half-open', () => {
  const jar = makeJar();
  assert.equal(jar.isDue(COOKIE_HALF_OPEN_MIN - 1, 0), false);
  assert.equal(jar.isDue(COOKIE_HALF_OPEN_MIN, 0), true);
});

test('should be due when many handshakes come at once, and no more when that is over', () => {
  const jar = makeJar();
  for (let i = 0; i < COOKIE_HANDSHAKES_MIN; i++) {
    assert.equal(jar.isDue(0, 1_000), false);
    assert.equal(jar.allowsHandshake(`10.0.0.${i % 2}`, 1_000), true);
  }
  assert.equal(jar.isDue(0, 1_000), true);
  assert.equal(jar.isDue(0, 1_000 + COOKIE_HANDSHAKES_INTERVAL_MS - 1), true);
  assert.equal(jar.isDue(0, 1_000 + 2 * COOKIE_HANDSHAKES_INTERVAL_MS - 1), false);
});

test('should give a flood without cookies no more handshakes than those after a rest, however long it goes on', () => {
  const jar = makeJar();
  let count = 0;
  for (let nowMs = 0; nowMs < 5 * COOKIE_HANDSHAKES_INTERVAL_MS; nowMs++) {
    for (let i = 0; i < 20 && !jar.isDue(0, nowMs); i++) if (jar.allowsHandshake(`10.1.${i}.1`, nowMs)) count++;
  }
  assert.equal(count, COOKIE_HANDSHAKES_MIN);
});

test('should take the addresses of one IPv6 network for one host', () => {
  const jar = makeJar();
  for (let i = 0; i < COOKIE_HANDSHAKES_MIN; i++) jar.allowsHandshake('10.0.0.1', 0);
  let allowed = 0;
  for (let i = 0; i < 100; i++) if (jar.allowsHandshake(`2001:db8::${i.toString(16)}`, 0)) allowed++;
  assert.equal(allowed, HANDSHAKES_PER_HOST_MAX);
  assert.equal(jar.allowsHandshake('2001:db8:0:1::1', 0), true);
});

test('should give each host that has proved its address its share of handshakes, and all together no more than so many', () => {
  const jar = makeJar();
  for (let i = 0; i < COOKIE_HANDSHAKES_MIN; i++) jar.allowsHandshake('10.0.0.1', 0);
  const allowed = (host: string, nowMs: number) => {
    let count = 0;
    while (jar.allowsHandshake(host, nowMs)) count++;
    return count;
  };
  assert.equal(allowed('10.0.0.1', 0), HANDSHAKES_PER_HOST_MAX, 'what was not proved is not held against it');
  assert.equal(allowed('10.0.0.1', 0), 0);
  assert.equal(allowed('10.0.0.2', 0), PROVED_HANDSHAKES_MAX - HANDSHAKES_PER_HOST_MAX);
  assert.equal(allowed('10.0.0.3', 0), 0);
  const unproved = Math.floor((COOKIE_HANDSHAKES_MIN * COOKIE_INTERVAL_MS) / COOKIE_HANDSHAKES_INTERVAL_MS);
  assert.equal(allowed('10.0.0.1', COOKIE_INTERVAL_MS), unproved + HANDSHAKES_PER_HOST_MAX);
});

test('should always be due in plaintext', () => {
  assert.equal(makeJar(true).isDue(0, 0), true);
});

test('should send a cookie back no longer than a secret lives', () => {
  assert.equal(CookieJar.isFresh(1_000, 1_000 + COOKIE_SECRET_MS - 1), true);
  assert.equal(CookieJar.isFresh(1_000, 1_000 + COOKIE_SECRET_MS), false);
});
