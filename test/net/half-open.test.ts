import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AssertionError } from '../../net/assert.ts';
import { HalfOpenSessions } from '../../net/half-open.ts';
import { HALF_OPEN_MAX, HALF_OPEN_PER_HOST_MAX } from '../../net/limits.ts';
import { Session } from '../../net/session.ts';

let nextIndex = 1;

function sessionOf(host: string, port = 7_000): Session<string> {
  return new Session<string>(nextIndex++, 'half-open', host, port, 1_472, 0);
}

function fill(halfOpen: HalfOpenSessions<string>, host: string, count: number): Session<string>[] {
  return Array.from({ length: count }, (_, i) => {
    const session = sessionOf(host);
    halfOpen.add(session, `${host} ${i}`, Uint8Array.of(i));
    return session;
  });
}

test('should give the answer of a request again, to its address only', () => {
  const halfOpen = new HalfOpenSessions<string>();
  const session = sessionOf('10.0.0.1', 7);
  const response = Uint8Array.of(1, 2, 3);
  halfOpen.add(session, 'abc', response);
  assert.equal(halfOpen.responseTo('abc', '10.0.0.1', 7), response);
  assert.equal(halfOpen.responseTo('abc', '10.0.0.1', 8), undefined);
  assert.equal(halfOpen.responseTo('abc', '10.0.0.2', 7), undefined);
  assert.equal(halfOpen.responseTo('abd', '10.0.0.1', 7), undefined);
  halfOpen.remove(session);
  assert.equal(halfOpen.responseTo('abc', '10.0.0.1', 7), undefined);
  assert.equal(halfOpen.count, 0);
  assert.throws(() => halfOpen.remove(session), AssertionError);
});

test('should let a host that has its share push out its own oldest, and nobody else', () => {
  const halfOpen = new HalfOpenSessions<string>();
  const others = fill(halfOpen, '10.0.0.2', 3);
  const [oldest] = fill(halfOpen, '10.0.0.1', HALF_OPEN_PER_HOST_MAX);
  assert.equal(halfOpen.surplusFor('10.0.0.1'), oldest);
  assert.equal(halfOpen.surplusFor('10.0.0.2'), undefined);
  assert.equal(halfOpen.surplusFor('10.0.0.3'), undefined);
  halfOpen.remove(oldest!);
  assert.equal(halfOpen.surplusFor('10.0.0.1'), undefined);
  assert.equal(others.length, 3);
});

test('should let no host hold more by having many addresses of one IPv6 network', () => {
  const halfOpen = new HalfOpenSessions<string>();
  const sessions = Array.from({ length: HALF_OPEN_PER_HOST_MAX }, (_, i) => {
    const session = sessionOf(`2001:db8::${i.toString(16)}`);
    halfOpen.add(session, `${i}`, Uint8Array.of(i));
    return session;
  });
  assert.equal(halfOpen.surplusFor('2001:db8::ffff'), sessions[0]);
  assert.equal(halfOpen.surplusFor('2001:db8:0:1::ffff'), undefined);
});

test('should make room for a new host, when it is full, at the expense of the busiest', () => {
  const halfOpen = new HalfOpenSessions<string>();
  const busyCount = 40;
  const [quiet] = fill(halfOpen, '10.0.1.1', 1);
  const [busy] = fill(halfOpen, '10.0.0.1', busyCount);
  for (let host = 2; halfOpen.count < HALF_OPEN_MAX; host++) {
    fill(halfOpen, `10.0.2.${host}`, Math.min(busyCount - 1, HALF_OPEN_MAX - halfOpen.count));
  }
  assert.equal(halfOpen.surplusFor('10.0.3.3'), busy);
  assert.equal(halfOpen.surplusFor(quiet!.host), busy);
  assert.throws(() => halfOpen.add(sessionOf('10.0.3.3'), 'x', new Uint8Array(0)), AssertionError);
});
