/** Who gets a session, and who does not: each refusal counted exactly, within its bounds, and survived. */
import { DataKeyRing } from '../../src/trust/data-key-ring.ts';
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  COOKIE_HALF_OPEN_MIN,
  COOKIE_HANDSHAKES_MIN,
  COOKIE_INTERVAL_MS,
  EVICT_IDLE_MS,
  HALF_OPEN_MAX,
  HALF_OPEN_PER_HOST_MAX,
  HALF_OPEN_TIMEOUT_MS,
  HANDSHAKE_RETRY_MS_MIN,
  HANDSHAKES_PER_HOST_MAX,
  RENEW_AFTER_MS,
  REQUESTS_AT_ONCE_MAX,
  REQUESTS_URGENT_INTERVAL_MS,
  REQUESTS_URGENT_MAX,
  REQUESTS_WAIT_MS,
  SESSIONS_MAX,
  WIRE_VERSION,
} from '../../net/limits.ts';
import { Session } from '../../net/session.ts';
import { COOKIE_OFFSET, KIND_COOKIE, KIND_DATA, KIND_REQUEST, KIND_RESPONSE, MAC_BYTES } from '../../net/wire.ts';
import { keyedMac } from '../../workers/handshake-macs.ts';
import { createInlineSealing } from '../../workers/inline-sealing.ts';
import { createHandshakeCrypto } from '../../workers/noise.ts';
import { seededBytes } from '../workers/random.ts';
import { changed, injectAll, intercept } from './endpoint-attacks.ts';
import { connectPair, kindOf, openPair } from './endpoint-harness.ts';
import type { Pair, TestEnd } from './endpoint-harness.ts';
import { flipBit, perfectRoute } from './memory-transport.ts';
import type { MemoryDatagram } from './memory-transport.ts';

test('should drop a request of another mode', () => {
  const { world, a, b } = openPair({ mode: 'authenticated' }, { mode: 'secure' });
  world.run(20);
  b.assertDrops({ 'wrong-mode': 1 });
  a.assertDrops({});
  assert.deepEqual([a.live, b.live], [[], []]);
});

test('should drop requests that are too short, whatever their first bytes say', () => {
  const pair = openPair();
  const request = intercept(pair, KIND_REQUEST);
  const { world, b } = pair;
  injectAll(
    world,
    [24, 40, 120, 136].map((n) => ({ ...request, bytes: request.bytes.slice(0, n) })),
  );
  b.assertDrops({ short: 4 });
});

test('should drop requests whose mac1 does not fit before any Diffie-Hellman', () => {
  const pair = openPair();
  const request = intercept(pair, KIND_REQUEST);
  const { world, a, b } = pair;
  const end = request.bytes.length;
  const places = [3, 8, 40, 100, end - 2 * MAC_BYTES, end - MAC_BYTES - 1];
  injectAll(
    world,
    places.map((byte) => flipBit(request, byte * 8)),
  );
  b.assertDrops({ 'wrong-mac1': places.length });
  assert.equal(b.handshakeCount, 0);
  world.until(() => b.live.length === 1);
  assert.equal(a.live.length, 1);
});

test('should drop answers whose mac1 does not fit, that are too short, or that no handshake waits for', () => {
  const pair = openPair();
  const response = intercept(pair, KIND_RESPONSE);
  const { world, a, b } = pair;
  injectAll(world, [flipBit(response, 16 * 8), flipBit(response, response.bytes.length * 8 - 1)]);
  a.assertDrops({ 'wrong-mac1': 2 });
  injectAll(world, [{ ...response, bytes: response.bytes.slice(0, 24) }]);
  a.assertDrops({ 'wrong-mac1': 2, short: 1 });
  injectAll(world, [{ ...response, fromPort: 9 }, changed(response, (_, view) => view.setUint32(4, 0, true))]);
  a.assertDrops({ 'wrong-mac1': 2, short: 1, 'no-handshake': 2 });
  injectAll(world, [response, response]);
  a.assertDrops({ 'wrong-mac1': 2, short: 1, 'no-handshake': 3 });
  world.run(2);
  assert.equal(b.live.length, 1);
});

test('should drop an answer that is forged under the right mac1, and take the true one afterwards', () => {
  const pair = openPair();
  const response = intercept(pair, KIND_RESPONSE);
  const { world, a, b } = pair;
  // mac1 takes a public key only: whoever knows it can make one.
  const sealing = createInlineSealing({ mode: 'secure', dataKeys: DataKeyRing.of(1, new Uint8Array(32)) });
  const attacker = createHandshakeCrypto({ mode: 'secure', staticKeyPair: b.keyPair, sealing });
  const forged = changed(flipBit(response, 20 * 8), (bytes) => {
    const offset = bytes.length - MAC_BYTES;
    bytes.set(attacker.mac1(a.keyPair.publicKey, bytes.subarray(0, offset)), offset);
  });
  injectAll(world, [forged, forged]);
  a.assertDrops({ 'handshake-failed': 2 });
  injectAll(world, [response]);
  world.run(2);
  assert.equal(a.live.length, 1);
  assert.equal(b.live.length, 1);
});

test('should drop a request of another cluster: its handshake fails', () => {
  const { world, a, b } = openPair({ clusterId: seededBytes(16, 1) }, { clusterId: seededBytes(16, 2) });
  world.run(20);
  b.assertDrops({ 'handshake-failed': 1 });
  assert.deepEqual([a.live, b.live], [[], []]);
  assert.equal(b.endpoint.sessions.count, 0);
});

test('should drop a request whose certificate is refused, and an answer likewise', () => {
  const { world, a, b, link } = openPair();
  b.refusal = 'expired';
  world.run(20);
  b.assertDrops({ 'certificate-refused': 1 });
  assert.match(link.refusal!, /certificate/);
  assert.deepEqual([b.endpoint.sessions.count, b.keys.size], [0, 0]);
  b.refusal = undefined;
  a.refusal = 'not the member that it should be';
  world.until(() => a.drops.total() > 0);
  a.assertDrops({ 'certificate-refused': 1 });
  assert.equal(link.refusal, a.refusal);
  assert.equal(link.session, undefined);
  assert.deepEqual([a.keys.size, b.live.length], [0, 0]);
});

test('should drop cookies and hints that answer nothing', () => {
  const { world, a, b, link } = connectPair();
  const { host: fromHost, port: fromPort } = b.transport;
  const { host: toHost, port: toPort } = a.transport;
  const strays = [4, 5].flatMap((kind) =>
    [0, 1, 2, 3, 4, 5, 200].map((reason) => {
      const bytes = seededBytes(kind === 4 ? 40 : 24, reason);
      bytes.set([kind, WIRE_VERSION, 0, reason]);
      return { fromHost, fromPort, toHost, toPort, bytes };
    }),
  );
  injectAll(world, strays);
  a.assertDrops({ 'no-handshake': strays.length });
  assert.equal(link.refusal, undefined);
});

/** Requests of one host, each with another ephemeral key; none of them has arrived. */
function manyRequests({ world, b }: Pair, count: number): { stranger: TestEnd; requests: MemoryDatagram[] } {
  const stranger = world.open('c');
  for (let i = 0; i < count; i++) stranger.linkTo(b);
  world.network.route = () => [];
  const requests = world.record(() => world.run(12)).filter(({ fromPort }) => fromPort === stranger.transport.port);
  world.network.route = perfectRoute;
  assert.equal(requests.length, count);
  return { stranger, requests };
}

test('should ask for a cookie when many handshakes come at once, and answer those who return it', () => {
  const pair = openPair();
  const { world, a, b, link } = pair;
  const { requests } = manyRequests(pair, COOKIE_HANDSHAKES_MIN + 5);
  world.run(COOKIE_INTERVAL_MS);
  const before = b.handshakeCount;
  world.ends.splice(2, 1);
  injectAll(world, requests);
  assert.equal(b.drops.of('cookie-due'), 5);
  assert.equal(b.handshakeCount - before, COOKIE_HANDSHAKES_MIN);
  world.until(() => link.session !== undefined, 500);
  assert.equal(a.live.length, 1);
});

test('should spend no more than so many handshakes on one host, though it returns its cookies', () => {
  const pair = openPair();
  const { world, b } = pair;
  const { stranger } = manyRequests(pair, 60);
  // They are repeated together, every 250 ms and then less often.
  let intervalStartMs = world.nowMs;
  let intervalCount = b.handshakeCount;
  let most = 0;
  for (let passed = 0; passed < 3_000; passed++) {
    world.step();
    if (world.nowMs - intervalStartMs < COOKIE_INTERVAL_MS) continue;
    most = Math.max(most, b.handshakeCount - intervalCount);
    intervalCount = b.handshakeCount;
    intervalStartMs = world.nowMs;
  }
  assert.ok(b.drops.of('handshakes-limited') > 0);
  // The borders of its intervals are not ours.
  assert.ok(most <= 2 * (COOKIE_HANDSHAKES_MIN + HANDSHAKES_PER_HOST_MAX), `${most} in an interval`);
  world.until(() => stranger.live.length === 60, 30_000);
});

test('should answer one and the same request with the same bytes, without another handshake', () => {
  const pair = openPair();
  const request = intercept(pair, KIND_REQUEST);
  const { world, b } = pair;
  world.network.route = () => [];
  const answers = world.record(() => {
    injectAll(
      world,
      Array.from({ length: 20 }, () => request),
    );
    world.run(2);
  });
  const responses = answers.filter((datagram) => kindOf(datagram) === KIND_RESPONSE);
  assert.equal(responses.length, 20);
  for (const { bytes } of responses) assert.deepEqual(bytes, responses[0]!.bytes);
  assert.deepEqual([b.handshakeCount, b.endpoint.sessions.count, b.keys.size], [1, 1, 2]);
  // From elsewhere it is another request.
  injectAll(world, [{ ...request, fromPort: 9 }]);
  assert.deepEqual([b.handshakeCount, b.endpoint.sessions.count], [2, 2]);
});

test('should bound the half-open sessions of one host: a further one takes the place of its oldest', () => {
  const pair = openPair();
  const { world, b } = pair;
  const { stranger } = manyRequests(pair, HALF_OPEN_PER_HOST_MAX + 7);
  world.ends.shift();
  // No answer comes back but cookies, so that nothing goes live.
  world.network.route = (datagram) => (kindOf(datagram) === KIND_RESPONSE ? [] : [{ delayMs: 0, datagram }]);
  const held = () => [...b.endpoint.sessions].length;
  let most = 0;
  for (let passed = 0; passed < 4_500; passed++) {
    world.step();
    most = Math.max(most, held());
  }
  assert.equal(most, HALF_OPEN_PER_HOST_MAX);
  assert.ok(b.drops.of('half-open-full') >= 7);
  assert.equal(b.keys.size, 2 * held());
  world.ends.splice(world.ends.indexOf(stranger), 1);
  world.run(HALF_OPEN_TIMEOUT_MS + 20, 10);
  assert.equal(held(), 0, 'they last seconds only');
  assert.equal(b.keys.size, 0);
});

test('should spend Diffie-Hellman on spoofed requests one by one, however many come at once', () => {
  const pair = openPair();
  const { world, b } = pair;
  const { stranger, requests } = manyRequests(pair, 40);
  world.ends.splice(world.ends.indexOf(stranger), 1);
  b.refusal = 'not certified';
  const spent: number[] = [];
  for (let passed = 0; passed < 10 * COOKIE_INTERVAL_MS; passed++) {
    const before = b.handshakeCount;
    injectAll(world, spoofed(requests, passed));
    spent.push(b.handshakeCount - before);
  }
  // After the first ones, and but for the pair's own client.
  assert.ok(Math.max(...spent.slice(2)) <= 2, `${Math.max(...spent.slice(2))} in a turn`);
  assert.ok(b.drops.of('cookie-due') > 0.9 * 40 * spent.length);
  assert.equal(b.endpoint.sessions.count, 0);
});

test('should let a client in during a flood of spoofed requests, also of some in its name', () => {
  const pair = openPair();
  const { world, a, b, link } = pair;
  const { stranger, requests } = manyRequests(pair, 40);
  world.ends.splice(world.ends.indexOf(stranger), 1);
  const inItsName = requests.map((request) => ({ ...request, fromHost: a.transport.host }));
  let passed = 0;
  for (; link.session === undefined; passed++) {
    injectAll(world, [...spoofed(requests, passed), ...inItsName]);
    assert.ok(passed < 1_000, 'the client gets in');
    assert.ok([...b.endpoint.sessions].length <= COOKIE_HALF_OPEN_MIN + 1, 'nobody gets more without a cookie');
  }
  // It keeps its session while the flood goes on.
  const { session } = link;
  for (let i = 0; i < 500; i++) {
    if (i % 10 === 0) a.send(session, i);
    injectAll(world, spoofed(requests, passed + i));
  }
  assert.equal(b.numbers.length, 50);
  assert.equal(link.session, session);
});

test('should answer who has a session before it looks at the requests of strangers that came with it', () => {
  const pair = connectPair();
  const { world, a, b, session } = pair;
  b.onMessage = ({ session: from, number }) => b.send(from, number);
  const { stranger, requests } = manyRequests(pair, 40);
  world.ends.splice(world.ends.indexOf(stranger), 1);
  const sent = world.record(() => {
    for (const request of spoofed(requests, 0)) world.network.inject(request);
    a.send(session, 1);
    a.endpoint.flush(world.nowMs);
    world.run(2);
  });
  const [first, ...others] = sent.filter(({ fromPort }) => fromPort === b.transport.port);
  assert.equal(kindOf(first!), KIND_DATA);
  assert.equal(others.length, 40);
});

test('should look at few requests of strangers before sessions have their turn again', () => {
  const pair = connectPair();
  const { world, a, b, session } = pair;
  b.onMessage = ({ session: from, number }) => b.send(from, number);
  const { stranger, requests } = manyRequests(pair, 40);
  world.ends.splice(world.ends.indexOf(stranger), 1);
  const turn = (): void => {
    b.endpoint.turn(world.nowMs);
    b.endpoint.flush(world.nowMs);
  };
  const sent = world.record(() => {
    for (const request of spoofed(requests, 0)) world.network.inject(request);
    world.network.deliver(world.nowMs);
    turn();
    assert.equal(b.endpoint.isWorkLeft, true);
    // It comes while strangers wait.
    a.send(session, 1);
    a.endpoint.flush(world.nowMs);
    world.network.deliver(world.nowMs + 1);
    turn();
    for (let turns = 2; turns * REQUESTS_AT_ONCE_MAX < requests.length; turns++) turn();
    assert.equal(b.endpoint.isWorkLeft, false);
    world.network.deliver(world.nowMs + 1);
  });
  const kinds = sent.filter(({ fromPort }) => fromPort === b.transport.port).map(kindOf);
  assert.equal(kinds.indexOf(KIND_DATA), REQUESTS_AT_ONCE_MAX);
  assert.equal(kinds.length, requests.length + 1);
});

test('should ask for a turn for the requests of clients that start together, and not for each of a flood', () => {
  const pair = connectPair();
  const { world, a, b, session } = pair;
  const { stranger, requests } = manyRequests(pair, 4);
  world.ends.splice(world.ends.indexOf(stranger), 1);
  world.run(REQUESTS_URGENT_INTERVAL_MS);
  const asksForTurn = (round: number): boolean =>
    b.endpoint.onDatagram(requests[round % requests.length]!.bytes, `10.8.0.${round}`, 9_000);
  const urgent = Array.from({ length: 2 * REQUESTS_URGENT_MAX }, (_, round) => asksForTurn(round));
  assert.deepEqual(urgent, [
    ...Array.from({ length: REQUESTS_URGENT_MAX }, () => true),
    ...Array.from({ length: REQUESTS_URGENT_MAX }, () => false),
  ]);
  const [datagram] = world.record(() => {
    a.send(session, 1);
    a.endpoint.flush(world.nowMs);
    world.network.deliver(world.nowMs);
  });
  assert.equal(b.endpoint.onDatagram(datagram!.bytes, a.transport.host, a.transport.port), true, 'sessions always do');
  world.run(REQUESTS_URGENT_INTERVAL_MS);
  assert.equal(asksForTurn(0), true);
});

test('should let requests of a flood wait for one another, and not for long', () => {
  const pair = connectPair();
  const { world, b } = pair;
  const { stranger, requests } = manyRequests(pair, REQUESTS_AT_ONCE_MAX);
  world.ends.splice(world.ends.indexOf(stranger), 1);
  const ask = (round: number): unknown =>
    b.endpoint.onDatagram(requests[round % requests.length]!.bytes, `10.8.1.${round}`, 9_000);
  const answersTo = (body: () => void): number => world.record(body).length;
  for (let round = 0; round < REQUESTS_URGENT_MAX; round++) ask(round);
  world.run(2);
  assert.equal(
    answersTo(() => {
      for (let round = 1; round < REQUESTS_AT_ONCE_MAX; round++) ask(round);
      world.run(2);
    }),
    0,
    'so few wait',
  );
  assert.equal(
    answersTo(() => {
      ask(0);
      world.run(2);
    }),
    REQUESTS_AT_ONCE_MAX,
    'for one more',
  );
  assert.equal(
    answersTo(() => {
      ask(0);
      world.run(REQUESTS_WAIT_MS + 2);
    }),
    1,
    'or for the time',
  );
});

test('should bound what hosts that prove their addresses, and finish nothing, hold together', () => {
  const pair = connectPair();
  const { world, a, b, session } = pair;
  const { stranger, requests } = manyRequests(pair, 4);
  world.ends.splice(world.ends.indexOf(stranger), 1);
  // Cookies go to whoever is named as the sender; here the attacker receives for all of them.
  const waiting = new Map<string, MemoryDatagram>();
  world.network.onSend = (cookie) => {
    if (kindOf(cookie) !== KIND_COOKIE || cookie.fromPort !== b.transport.port) return;
    const request = waiting.get(`${cookie.toHost} ${cookie.toPort}`);
    if (request !== undefined) waiting.set(`${cookie.toHost} ${cookie.toPort}`, withCookie(request, cookie.bytes));
  };
  let most = 0;
  for (let passed = 0; passed < 3_000; passed++) {
    const fromHost = `10.9.${(passed >> 7) & 255}.${passed & 127}`;
    const fromPort = stranger.transport.port;
    const request = { ...requests[passed % requests.length]!, fromHost, fromPort };
    waiting.set(`${fromHost} ${fromPort}`, request);
    injectAll(world, [...waiting.values()].slice(-8));
    if (waiting.size > 64) waiting.delete([...waiting.keys()][0]!);
    if (passed % 100 === 0) a.send(session, passed);
    most = Math.max(most, [...b.endpoint.sessions].filter(({ state }) => state === 'half-open').length);
  }
  assert.equal(most, HALF_OPEN_MAX);
  assert.ok(b.drops.of('half-open-full') > 0);
  assert.equal(b.keys.size, 2 * [...b.endpoint.sessions].length);
  assert.equal(b.numbers.length, 30, 'who has a session is served');
});

/** From another address each, in each round other ones. */
function spoofed(requests: readonly MemoryDatagram[], round: number): MemoryDatagram[] {
  return requests.map((request, i) => ({ ...request, fromHost: `10.7.${round & 255}.${(round >> 8) * 64 + i}` }));
}

function withCookie(request: MemoryDatagram, cookieDatagram: Uint8Array): MemoryDatagram {
  return changed(request, (bytes) => {
    const secret = new Uint8Array(32);
    secret.set(cookieDatagram.subarray(COOKIE_OFFSET, COOKIE_OFFSET + MAC_BYTES));
    bytes.set(keyedMac(secret, bytes.subarray(0, -MAC_BYTES)), bytes.length - MAC_BYTES);
  });
}

function fillSessions(end: TestEnd, leftCount: number): void {
  const { sessions } = end.endpoint;
  while (sessions.count < SESSIONS_MAX - leftCount) {
    sessions.add((index) => new Session(index, 'initiating', '10.0.0.9', 9, 1_472, 0));
  }
}

test('should refuse a peer when its table of sessions is full, and begin none of its own', () => {
  const { world, a, b, link } = openPair();
  fillSessions(b, 0);
  world.run(20);
  b.assertDrops({ 'sessions-full': 1 });
  assert.match(link.refusal!, /room/);
  fillSessions(a, 0);
  a.linkTo(b);
  world.run(HANDSHAKE_RETRY_MS_MIN + 50);
  assert.equal(a.drops.of('sessions-full'), 2);
  assert.equal(b.keys.size, 0);
});

test('should make room for a new peer by ending the session that has been silent longest', () => {
  const { world, b, link } = connectPair();
  const [silent] = b.live;
  fillSessions(b, 0);
  const other = world.open('c').linkTo(b);
  world.run(100);
  assert.equal(other.session, undefined);
  assert.equal(silent!.state, 'live');
  world.nowMs += EVICT_IDLE_MS;
  world.until(() => other.session !== undefined, 3_000);
  assert.equal(silent!.state, 'dead');
  assert.equal(link.session!.state, 'live', 'a finds out when it asks');
});

test('should make room by ending a session that was replaced, before any that serves', () => {
  const { world, a, b, link, session } = connectPair();
  world.nowMs = session.createdMs + RENEW_AFTER_MS;
  world.until(() => b.live.length === 2);
  const [replaced, serving] = b.live;
  fillSessions(b, 0);
  const other = world.open('c').linkTo(b);
  world.until(() => other.session !== undefined, 3_000);
  assert.deepEqual([replaced!.state, serving!.state], ['dead', 'live']);
  a.send(link.session!, 1);
  world.run(2);
  assert.equal(b.numbers.at(-1), 1);
});

test('should end the silent session for a new peer, not the one that was used a moment ago', () => {
  const { world, a, b, link } = connectPair();
  const silent = world.open('silent');
  silent.linkTo(b);
  world.until(() => b.live.length === 2);
  fillSessions(b, 0);
  world.nowMs += EVICT_IDLE_MS;
  a.send(link.session!, 1);
  world.run(3);
  world.open('c').linkTo(b);
  world.until(() => b.live.length === 3, 3_000);
  assert.deepEqual([b.live[0]!.state, b.live[1]!.state], ['live', 'dead']);
});
