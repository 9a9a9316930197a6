/** Every reason to drop a datagram, provoked by an attack or a mishap, counted exactly, and survived. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { DropReason } from '../../net/drops.ts';
import {
  COOKIE_HANDSHAKES_MIN,
  COOKIE_INTERVAL_MS,
  EVICT_IDLE_MS,
  HALF_OPEN_PER_HOST_MAX,
  HALF_OPEN_TIMEOUT_MS,
  HANDSHAKE_RETRY_MS_MIN,
  HANDSHAKES_PER_HOST_MAX,
  RECEIVE_SLOTS,
  REFUSE_AFTER_MS,
  RENEW_AFTER_MS,
  REPLAY_WINDOW_PACKETS,
  SEND_SLOTS,
  SESSIONS_MAX,
} from '../../net/limits.ts';
import { Session } from '../../net/session.ts';
import { HEADER_BYTES, KIND_DATA, KIND_REQUEST, KIND_RESPONSE, MAC_BYTES } from '../../net/wire.ts';
import { createInlineSealing } from '../../workers/inline-sealing.ts';
import { createHandshakeCrypto } from '../../workers/noise.ts';
import { seededBytes } from '../workers/random.ts';
import { connectPair, kindOf, openPair } from './endpoint-harness.ts';
import type { EndOptions, Pair, TestEnd, TestWorld } from './endpoint-harness.ts';
import { flipBit, perfectRoute } from './memory-transport.ts';
import type { MemoryDatagram } from './memory-transport.ts';

/** A datagram of a to b that was sent and taken off the wire. */
function capture({ world, a, link }: Pair, value: Uint8Array = seededBytes(40, 1)): MemoryDatagram {
  world.network.route = () => [];
  assert.ok(a.send(link.session!, 7, value));
  const sent = world.record(() => world.run(2));
  world.network.route = perfectRoute;
  assert.deepEqual(sent.map(kindOf), [KIND_DATA]);
  return sent[0]!;
}

/** The first datagram of a kind that is sent until something comes about; none of that kind arrives. */
function intercept({ world }: Pair, kind: number): MemoryDatagram {
  let caught: MemoryDatagram | undefined;
  world.network.route = (datagram) => {
    if (kindOf(datagram) !== kind) return [{ delayMs: 0, datagram }];
    caught = datagram;
    return [];
  };
  world.until(() => caught !== undefined);
  world.network.route = perfectRoute;
  return caught!;
}

function changed(datagram: MemoryDatagram, change: (bytes: Uint8Array, view: DataView) => void): MemoryDatagram {
  const bytes = datagram.bytes.slice();
  change(bytes, new DataView(bytes.buffer));
  return { ...datagram, bytes };
}

function injectAll(world: TestWorld, datagrams: readonly MemoryDatagram[]): void {
  for (const datagram of datagrams) world.network.inject(datagram);
  world.step();
}

/** What is injected is dropped for one reason, each of them, and messages go through as before. */
function dropTest(
  name: string,
  reason: DropReason,
  attack: (pair: Pair) => readonly MemoryDatagram[],
  options: EndOptions = {},
): void {
  test(name, () => {
    const pair = connectPair(options);
    const { world, a, b, link } = pair;
    const datagrams = attack(pair);
    const before = b.drops.of(reason);
    const totalBefore = b.drops.total();
    const receivedBefore = b.received.length;
    injectAll(world, datagrams);
    assert.equal(b.drops.of(reason) - before, datagrams.length, JSON.stringify(b.drops.nonZero()));
    assert.equal(b.drops.total() - totalBefore, datagrams.length);
    assert.equal(b.received.length, receivedBefore);
    assert.ok(a.send(link.session!, 99));
    world.run(2);
    assert.equal(b.numbers.at(-1), 99);
  });
}

dropTest('should drop as short what is no multiple of 8 or below the shortest kind', 'short', (pair) => {
  const datagram = capture(pair);
  return [0, 1, 8, 16, 23, 25, 28, 33, 52].map((n) => ({ ...datagram, bytes: datagram.bytes.slice(0, n) }));
});

dropTest('should drop as short a data datagram without room for preamble and tag', 'short', (pair) => {
  const datagram = capture(pair);
  return [24, 32, 40].map((n) => ({ ...datagram, bytes: datagram.bytes.slice(0, n) }));
});

dropTest('should drop other versions of the wire', 'unknown-version', (pair) => {
  const datagram = capture(pair);
  return [0, 2, 255].map((version) => changed(datagram, (bytes) => bytes.fill(version, 1, 2)));
});

dropTest('should drop unknown kinds', 'unknown-kind', (pair) => {
  const datagram = capture(pair);
  return [0, 6, 255].map((kind) => changed(datagram, (bytes) => bytes.fill(kind, 0, 1)));
});

dropTest(
  'should drop data for sessions that never were, and for earlier ones in the same place',
  'no-session',
  (pair) => {
    const datagram = capture(pair);
    const { index } = pair.b.live[0]!;
    return [0, 1, index + 1, index + SESSIONS_MAX, index - SESSIONS_MAX, 0xffff_ffff].map((wrong) =>
      changed(datagram, (_, view) => view.setUint32(4, wrong, true)),
    );
  },
);

dropTest('should drop data from another address than the session was made with', 'wrong-address', (pair) => {
  const datagram = capture(pair);
  return [
    { ...datagram, fromPort: datagram.fromPort + 1 },
    { ...datagram, fromHost: '10.0.0.2' },
  ];
});

dropTest('should drop what comes from port 0, where no answer can be sent', 'wrong-address', (pair) => {
  const datagram = capture(pair);
  const request = pair.world.record(() => {
    pair.world.open('c').linkTo(pair.b);
    pair.world.step(20);
    pair.world.network.route = () => [];
    pair.world.step();
  })[0]!;
  assert.equal(kindOf(request), KIND_REQUEST);
  pair.world.network.route = perfectRoute;
  const stray = changed(datagram, (_, view) => view.setUint32(4, 1, true));
  return [datagram, stray, request].map((d) => ({ ...d, fromPort: 0 }));
});

dropTest('should drop a value part that is no multiple of 8 or reaches past the end', 'wrong-length', (pair) => {
  const datagram = capture(pair);
  const room = datagram.bytes.length - HEADER_BYTES - 8 - 16;
  return [1, 39, room + 8, datagram.bytes.length, 0x8000_0000, 0xffff_fff8].map((valueBytes) =>
    changed(datagram, (_, view) => view.setUint32(16, valueBytes, true)),
  );
});

dropTest('should drop packet numbers beyond 2^53 and reserved bits before any cryptography', 'malformed', (pair) => {
  const datagram = capture(pair);
  return [
    changed(datagram, (_, view) => view.setBigUint64(8, 1n << 53n, true)),
    changed(datagram, (_, view) => view.setBigUint64(8, 0xffff_ffff_ffff_ffffn, true)),
    changed(datagram, (bytes) => bytes.fill(1, 20, 21)),
    changed(datagram, (bytes) => bytes.fill(1, 2, 3)),
  ];
});

for (const mode of ['secure', 'authenticated'] as const) {
  const flipAll = (pair: Pair): MemoryDatagram[] => {
    const datagram = capture(pair);
    // Every byte behind the header, and of the header the packet number; the rest is caught earlier.
    const places = Array.from({ length: datagram.bytes.length }, (_, byte) => byte);
    return places.filter((byte) => byte >= HEADER_BYTES || byte === 9).map((byte) => flipBit(datagram, byte * 8));
  };
  dropTest(`should drop a datagram with one bit flipped anywhere, in mode ${mode}`, 'forged', flipAll, { mode });
}

test('should drop a replayed datagram, and one from behind the window', () => {
  const pair = connectPair();
  const { world, a, b, session } = pair;
  const early = capture(pair);
  injectAll(world, [early]);
  assert.deepEqual(b.numbers, [7]);
  injectAll(world, [early, early]);
  const late = capture(pair);
  session.sendNumber += REPLAY_WINDOW_PACKETS;
  a.send(session, 8);
  world.run(2);
  injectAll(world, [late]);
  assert.deepEqual(b.numbers, [7, 8]);
  b.assertDrops({ replayed: 3 });
});

test('should drop the second of two equal datagrams that arrive in one turn', () => {
  const pair = connectPair();
  const datagram = capture(pair);
  injectAll(pair.world, [datagram, datagram, datagram]);
  assert.deepEqual(pair.b.numbers, [7]);
  pair.b.assertDrops({ replayed: 2 });
});

test('should not let forgeries move the replay window', () => {
  const pair = connectPair();
  const { world, b } = pair;
  const datagram = capture(pair);
  const ahead = changed(datagram, (_, view) => view.setBigUint64(8, 1_000_000n, true));
  injectAll(world, [ahead, ahead]);
  const largest = b.live[0]!.window.largest;
  assert.ok(largest < 10);
  injectAll(world, [datagram]);
  assert.deepEqual(b.numbers, [7]);
  b.assertDrops({ forged: 2 });
});

test('should drop data for a session that has expired', () => {
  const pair = connectPair();
  const datagram = capture(pair);
  pair.world.nowMs = pair.b.live[0]!.createdMs + REFUSE_AFTER_MS;
  injectAll(pair.world, [datagram]);
  pair.b.assertDrops({ 'session-expired': 1 });
  assert.deepEqual(pair.b.numbers, []);
  injectAll(pair.world, [datagram]);
  pair.b.assertDrops({ 'session-expired': 1, 'no-session': 1 });
});

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
  const sealing = createInlineSealing({ mode: 'secure', dataKeys: { currentId: 1, key: () => new Uint8Array(32) } });
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
      bytes.set([kind, 1, 0, reason]);
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

test('should drop what arrives in one turn beyond its receive slots', () => {
  const pair = connectPair();
  const { world, b } = pair;
  const datagram = capture(pair);
  for (let i = 0; i < RECEIVE_SLOTS + 6; i++) world.network.inject({ ...datagram, fromPort: 9 });
  world.step();
  b.assertDrops({ 'receive-slots-full': 6, 'wrong-address': RECEIVE_SLOTS });
});

test('should drop what arrives while the sealing holds all receive slots', () => {
  let held = true;
  const options: EndOptions = {
    wrapSealing(sealing) {
      const drain = sealing.drainDatagrams.bind(sealing);
      sealing.drainDatagrams = (sink) => (held ? 0 : drain(sink));
      return sealing;
    },
  };
  held = false;
  const pair = connectPair({}, options);
  const { world, b } = pair;
  const datagram = capture(pair);
  held = true;
  for (let i = 0; i < RECEIVE_SLOTS + 3; i++) {
    world.network.inject(changed(datagram, (_, view) => view.setBigUint64(8, BigInt(100 + i), true)));
    if (i === 500) world.step();
  }
  world.step();
  b.assertDrops({ 'receive-slots-full': 3 });
  held = false;
  injectAll(world, [datagram]);
  b.assertDrops({ 'receive-slots-full': 4, forged: RECEIVE_SLOTS });
  injectAll(world, [datagram]);
  assert.deepEqual(b.numbers, [7]);
});

test('should refuse to send more datagrams than it has slots, until the kernel takes them', () => {
  const { world, a, b, session } = connectPair({ receiveBufferBytes: 100_000_000 });
  a.transport.stalled = true;
  let sentCount = 0;
  while (a.send(session, sentCount, new Uint8Array(1_300))) sentCount++;
  assert.equal(sentCount, SEND_SLOTS);
  a.assertDrops({ 'send-slots-full': 1 });
  world.run(2);
  assert.equal(a.send(session, 0), false);
  a.transport.stalled = false;
  world.run(2);
  assert.equal(a.send(session, sentCount), true);
  world.run(2);
  assert.deepEqual(
    b.numbers,
    Array.from({ length: SEND_SLOTS + 1 }, (_, i) => i),
  );
});

test('should refuse to send more bytes than the receiver can hold, until it has answered', () => {
  const { world, a, b, session } = connectPair({ receiveBufferBytes: 80_000 });
  let sentCount = 0;
  while (a.send(session, sentCount, new Uint8Array(1_300))) sentCount++;
  // An eighth of its buffer is one sender's share.
  assert.equal(sentCount, Math.floor(10_000 / 1_400));
  a.assertDrops({ 'flight-full': 1 });
  world.step();
  assert.equal(a.send(session, 99), false);
  b.onMessage = ({ session: from }) => b.send(from, 0);
  world.run(3);
  assert.equal(a.send(session, 100), true);
});

test('should let answers through whatever is in flight: they ride on the credit of who asks', () => {
  const { world, a, b, session } = connectPair({ receiveBufferBytes: 1_000 });
  a.send(session, 1);
  world.run(2);
  const [atB] = b.live;
  for (let i = 0; i < 100; i++) assert.ok(b.send(atB!, i, new Uint8Array(1_300)));
  world.run(2);
  assert.equal(a.numbers.length, 100);
});

test('should count a datagram that the system did not take, and use its slot again', () => {
  const { world, a, b, session } = connectPair({ receiveBufferBytes: 100_000_000 });
  a.transport.failing = true;
  for (let i = 0; i < SEND_SLOTS; i++) a.send(session, i, new Uint8Array(1_300));
  world.run(2);
  a.assertDrops({ 'send-failed': SEND_SLOTS });
  a.transport.failing = false;
  a.send(session, 77);
  world.run(2);
  assert.deepEqual(b.numbers, [77]);
});
