/** How sessions come to be, against a network and strangers that do their worst. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import {
  HALF_OPEN_TIMEOUT_MS,
  HANDSHAKE_RETRY_MS_MIN,
  HINTS_INTERVAL_MS,
  HINTS_MAX,
  SILENCE_MS,
  WIRE_VERSION,
} from '../../net/limits.ts';
import { SECURITY_MODES } from '../../net/mode.ts';
import {
  HINT_REASONS,
  KIND_COOKIE,
  KIND_DATA,
  KIND_HINT,
  KIND_REQUEST,
  KIND_RESPONSE,
  MAC_BYTES,
} from '../../net/wire.ts';
import { seededRandom } from '../workers/random.ts';
import { connectPair, keyPairOf, kindOf, openPair } from './endpoint-harness.ts';
import type { Pair } from './endpoint-harness.ts';
import { faultyRoute, perfectRoute } from './memory-transport.ts';
import type { MemoryDatagram } from './memory-transport.ts';

function kindsOf(datagrams: readonly MemoryDatagram[]): number[] {
  return datagrams.map(kindOf);
}

for (const mode of SECURITY_MODES) {
  describe(`in mode ${mode}`, () => {
    test('should exchange the datagrams of docs/wire.md, and no answer longer than its request', () => {
      const { world } = openPair({ mode });
      const sent = world.record(() => world.run(30));
      const cookie = mode === 'plaintext' ? [KIND_REQUEST, KIND_COOKIE] : [];
      assert.deepEqual(kindsOf(sent), [...cookie, KIND_REQUEST, KIND_RESPONSE, KIND_DATA, KIND_DATA]);
      for (const [i, datagram] of sent.entries()) {
        if (kindOf(datagram) !== KIND_REQUEST) continue;
        assert.ok(sent[i + 1]!.bytes.length <= datagram.bytes.length);
      }
    });

    test('should end well although datagrams are lost, doubled, changed and overtake each other', () => {
      fc.assert(
        fc.property(fc.integer(), (seed) => {
          const { world, a, b, link } = openPair({ mode });
          // A flipped bit in a plaintext handshake can change what it says unnoticed.
          const mutate = mode === 'plaintext' ? 0 : 0.1;
          const random = seededRandom(seed);
          world.network.route = faultyRoute({ random, loss: 0.4, duplicate: 0.3, mutate, delayMsMax: 400 });
          world.run(30_000, 10);
          world.network.route = perfectRoute;
          world.run(3_000, 10);
          assert.ok(link.session !== undefined);
          a.send(link.session, 5);
          world.run(3);
          assert.equal(b.numbers.at(-1), 5);
          assert.equal(b.received.at(-1)!.session.index, link.session.peerIndex);
          world.run(HALF_OPEN_TIMEOUT_MS + 100, 50);
          assert.equal(b.endpoint.sessions.count, 1, 'what came to nothing is gone');
          assert.equal(a.endpoint.sessions.count, 1);
        }),
        { numRuns: 8 },
      );
    });

    test('should make one session of a request and an answer that arrive many times', () => {
      const { world, a, b } = openPair({ mode });
      world.network.route = (datagram) => [0, 0, 20].map((delayMs) => ({ delayMs, datagram }));
      world.run(100);
      assert.equal(a.live.length, 1);
      assert.equal(b.live.length, 1);
      world.run(HALF_OPEN_TIMEOUT_MS, 10);
      assert.equal(b.endpoint.sessions.count, 1);
      assert.equal(a.live.length, 1);
    });

    test('should not let a replayed request replace, disturb or use the session that it once made', () => {
      const pair = openPair({ mode });
      const { world, a, b } = pair;
      const requests = world.record(() => world.run(30)).filter((datagram) => kindOf(datagram) === KIND_REQUEST);
      const request = requests.at(-1)!;
      const [live] = b.live;
      const answers = world.record(() => {
        for (let i = 0; i < 5; i++) {
          world.network.inject(request);
          world.run(100);
        }
      });
      assert.equal(b.live.length, 1);
      assert.equal(live!.state, 'live');
      assert.ok(
        answers.every((datagram) => kindOf(datagram) !== KIND_DATA),
        'nothing is sent on a half-open session',
      );
      world.run(HALF_OPEN_TIMEOUT_MS + 50, 10);
      assert.equal(b.endpoint.sessions.count, 1);
      assert.equal(a.drops.of('no-handshake'), 5);
    });
  });
}

test('should take no message on a half-open session unless it proves the keys', () => {
  const { world, b } = openPair();
  world.network.route = (datagram) => (kindOf(datagram) === KIND_DATA ? [] : [{ delayMs: 0, datagram }]);
  const sent = world.record(() => world.run(30));
  const data = sent.find((datagram) => kindOf(datagram) === KIND_DATA)!;
  const forged = data.bytes.slice();
  forged[40]! ^= 1;
  world.network.inject({ ...data, bytes: forged });
  world.step();
  b.assertDrops({ forged: 1 });
  assert.equal(b.live.length, 0);
  world.network.inject(data);
  world.step();
  assert.equal(b.live.length, 1);
});

test('should not let a stranger with our certificate, but without our key, become us', () => {
  const pair = openPair();
  const { world, a, b } = pair;
  // Message 1 of somebody else, with a's payload.
  const mallory = world.open('mallory');
  mallory.requestPayload = () => a.requestPayload();
  b.admit = (payload, staticKey?: Uint8Array) => {
    const name = Buffer.from(payload).toString().replaceAll('\0', '');
    const isKeyOwner = Buffer.compare(staticKey!, keyPairOf(name).publicKey) === 0;
    return isKeyOwner ? { ok: true, peer: { name } } : { ok: false, reason: 'the certificate is for another key' };
  };
  mallory.linkTo(b);
  world.run(50);
  assert.equal(b.drops.of('certificate-refused'), 1);
  assert.deepEqual(
    b.live.map((session) => session.peer.name),
    ['a'],
  );
});

test('should send a spoofed address no more bytes than came from it, in plaintext, until a cookie came back', () => {
  const { world, a, b } = openPair({ mode: 'plaintext' });
  world.network.route = () => [];
  const [request] = world.record(() => world.run(20));
  const victim = { fromHost: '10.6.6.6', fromPort: 53 };
  let spoofedBytes = 0;
  const sent = world.record(() => {
    for (let i = 0; i < 50; i++) {
      world.network.inject({ ...request!, ...victim });
      spoofedBytes += request!.bytes.length;
      // Data for any session, as if a handshake had been.
      const data = new Uint8Array(1_472);
      data.set([KIND_DATA, WIRE_VERSION]);
      new DataView(data.buffer).setUint32(4, 4_096 + (i % 3), true);
      world.network.inject({ ...request!, ...victim, bytes: data });
      spoofedBytes += data.length;
      world.step(20);
    }
  });
  const toVictim = sent.filter(({ toHost }) => toHost === victim.fromHost);
  assert.ok(toVictim.length > 0);
  assert.ok(toVictim.every((datagram) => [KIND_COOKIE, KIND_HINT].includes(kindOf(datagram))));
  assert.ok(toVictim.reduce((sum, { bytes }) => sum + bytes.length, 0) <= spoofedBytes / 10);
  assert.equal(b.endpoint.sessions.count, 0);
  assert.equal(b.handshakeCount, 0);
  assert.equal(a.live.length, 0);
});

test('should not take the cookie of another address, nor one of an earlier secret', () => {
  const { world, a, b } = openPair({ mode: 'plaintext' });
  world.network.route = (datagram) => (kindOf(datagram) === KIND_RESPONSE ? [] : [{ delayMs: 0, datagram }]);
  const requests = world.record(() => world.run(30)).filter((datagram) => kindOf(datagram) === KIND_REQUEST);
  const proved = requests.at(-1)!;
  world.ends.splice(world.ends.indexOf(a), 1);
  const answerTo = (request: MemoryDatagram) => {
    world.network.inject(request);
    return kindsOf(world.record(() => world.run(2)));
  };
  assert.deepEqual(answerTo(proved), [KIND_RESPONSE]);
  assert.deepEqual(answerTo({ ...proved, fromPort: proved.fromPort + 50 }), [KIND_COOKIE]);
  assert.deepEqual(answerTo({ ...proved, fromHost: '10.0.0.2' }), [KIND_COOKIE]);
  world.run(130_000, 50);
  assert.deepEqual(answerTo(proved), [KIND_COOKIE]);
  assert.equal(b.drops.of('cookie-due'), 4);
});

test('should not be driven to repeat its request by a cookie that comes again and again', () => {
  const { world, a } = openPair({ mode: 'plaintext' });
  let cookie: MemoryDatagram | undefined;
  world.network.route = (datagram) => {
    if (kindOf(datagram) === KIND_COOKIE) cookie ??= datagram;
    return kindOf(datagram) === KIND_RESPONSE ? [] : [{ delayMs: 0, datagram }];
  };
  world.run(30);
  const sent = world.record(() => {
    for (let i = 0; i < 200; i++) {
      world.network.inject(cookie!);
      world.step();
    }
  });
  const requests = sent.filter(({ fromPort, bytes }) => fromPort === a.transport.port && bytes[0] === KIND_REQUEST);
  assert.ok(requests.length <= 2, `${requests.length} requests for 200 cookies`);
});

test('should get over a forged cookie that comes before the true one', () => {
  const { world, a, b, link } = openPair({ mode: 'plaintext' });
  let forgedCount = 0;
  world.network.route = (datagram) => {
    if (kindOf(datagram) !== KIND_COOKIE || forgedCount > 0) return [{ delayMs: 0, datagram }];
    forgedCount++;
    const bytes = datagram.bytes.slice();
    bytes.fill(7, 8, 24);
    return [
      { delayMs: 0, datagram: { ...datagram, bytes } },
      { delayMs: 1, datagram },
    ];
  };
  world.until(() => link.session !== undefined, 2_000);
  assert.equal(forgedCount, 1);
  assert.deepEqual([a.live.length, b.handshakeCount], [1, 1]);
});

// -- hints ------------------------------------------------------------------------------------------------------------

/** b has forgotten everything, as after a restart on the same address. */
function restartB({ world, b }: Pair): void {
  b.endpoint.close();
  world.run(2);
}

test('should make a new session at once when the peer says that it has forgotten the old one', () => {
  const pair = connectPair();
  const { world, a, b, link, session } = pair;
  restartB(pair);
  a.send(session, 1);
  world.until(() => b.live.length === 2, HANDSHAKE_RETRY_MS_MIN + 50);
  assert.equal(b.drops.of('no-session'), 1);
  a.send(link.session!, 2);
  world.run(2);
  assert.deepEqual(b.numbers, [2]);
});

test('should spend a bounded number of handshakes on hints, which anybody can forge', () => {
  const pair = connectPair();
  const { world, a, b, link } = pair;
  const hintTo = (index: number): MemoryDatagram => {
    const bytes = new Uint8Array(24);
    bytes.set([KIND_HINT, WIRE_VERSION, 0, HINT_REASONS.indexOf('no-session')]);
    new DataView(bytes.buffer).setUint32(8, index, true);
    const [from, to] = [b.transport, a.transport];
    return { fromHost: from.host, fromPort: from.port, toHost: to.host, toPort: to.port, bytes };
  };
  const before = a.handshakeCount;
  b.onMessage = ({ session }) => b.send(session, 0);
  for (let i = 0; i < 2_000; i++) {
    for (let copies = 0; copies < 5; copies++) world.network.inject(hintTo(link.session!.peerIndex));
    a.send(link.session!, i);
    world.step();
  }
  assert.ok(a.handshakeCount - before <= 2_000 / HANDSHAKE_RETRY_MS_MIN + 1, `${a.handshakeCount - before} handshakes`);
  world.run(2);
  assert.equal(b.received.length, 2_000, 'all the while messages go through');
});

test('should believe no hint from another address than its peer', () => {
  const { world, a, b, link } = connectPair();
  const bytes = new Uint8Array(24);
  bytes.set([KIND_HINT, WIRE_VERSION]);
  new DataView(bytes.buffer).setUint32(8, link.session!.peerIndex, true);
  const [from, to] = [b.transport, a.transport];
  world.network.inject({ fromHost: '10.6.6.6', fromPort: from.port, toHost: to.host, toPort: to.port, bytes });
  world.network.inject({ fromHost: from.host, fromPort: 6, toHost: to.host, toPort: to.port, bytes });
  world.run(HANDSHAKE_RETRY_MS_MIN + 50);
  a.assertDrops({ 'no-handshake': 2 });
  assert.equal(a.live.length, 1);
});

test('should keep using the session that a hint speaks against, until a new one is proved', () => {
  const { world, a, b, link, session } = connectPair();
  world.network.route = (datagram) => (kindOf(datagram) === KIND_DATA ? [{ delayMs: 0, datagram }] : []);
  const bytes = new Uint8Array(24);
  bytes.set([KIND_HINT, WIRE_VERSION]);
  new DataView(bytes.buffer).setUint32(8, session.peerIndex, true);
  const [from, to] = [b.transport, a.transport];
  world.network.inject({ fromHost: from.host, fromPort: from.port, toHost: to.host, toPort: to.port, bytes });
  world.run(HANDSHAKE_RETRY_MS_MIN + SILENCE_MS);
  assert.equal(link.session, session);
  a.send(session, 1);
  world.run(2);
  assert.deepEqual(b.numbers, [1]);
});

test('should answer strangers with so many hints a second and no more', () => {
  const { world, b } = openPair();
  const bytes = new Uint8Array(64);
  bytes.set([KIND_DATA, WIRE_VERSION]);
  const to = b.transport;
  const flood = () => {
    for (let i = 0; i < 3 * HINTS_MAX; i++) {
      world.network.inject({ fromHost: '10.6.6.6', fromPort: 1 + i, toHost: to.host, toPort: to.port, bytes });
    }
    return world.record(() => world.run(2)).filter((datagram) => kindOf(datagram) === KIND_HINT).length;
  };
  assert.equal(flood(), HINTS_MAX);
  assert.equal(flood(), 0);
  world.run(HINTS_INTERVAL_MS);
  assert.equal(flood(), HINTS_MAX);
});

test('should tell a peer of another mode, key or version why it is refused, and never go down to its mode', () => {
  const { world, a, b, link } = openPair({ mode: 'secure' }, { mode: 'plaintext' });
  const sent = world.record(() => world.run(5_000, 10));
  assert.match(link.refusal!, /it speaks mode plaintext, this side secure/);
  assert.ok(sent.filter(({ fromPort }) => fromPort === a.transport.port).every(({ bytes }) => bytes[2] === 0));
  assert.deepEqual([a.live, b.live], [[], []]);

  const stranger = world.open('c');
  const wrongKey = stranger.endpoint.openLink(a.transport.host, a.transport.port, keyPairOf('nobody').publicKey);
  world.run(50);
  assert.match(wrongKey.refusal!, /another static key/);
});

test('should learn from a hint of another version that the versions differ', () => {
  const { world, b, link } = openPair();
  // b answers as a later release would: hints keep their layout in all versions.
  world.network.route = (datagram) => {
    if (kindOf(datagram) !== KIND_REQUEST) return [];
    const bytes = new Uint8Array(24);
    bytes.set([KIND_HINT, WIRE_VERSION + 1, 0, HINT_REASONS.indexOf('version')]);
    bytes.set(datagram.bytes.subarray(4, 8), 4);
    bytes.set(datagram.bytes.subarray(-2 * MAC_BYTES, -MAC_BYTES), 8);
    const { host, port } = b.transport;
    const { fromHost, fromPort } = datagram;
    return [{ delayMs: 0, datagram: { fromHost: host, fromPort: port, toHost: fromHost, toPort: fromPort, bytes } }];
  };
  world.run(30);
  assert.match(link.refusal!, new RegExp(`another wire version than ${WIRE_VERSION}`));
});

test('should answer a request of another version with the hint that says so', () => {
  const { world, b } = openPair();
  world.network.route = () => [];
  const [request] = world.record(() => world.run(20));
  const bytes = request!.bytes.slice();
  bytes[1] = WIRE_VERSION + 1;
  world.network.inject({ ...request!, bytes });
  const [hint] = world.record(() => world.run(2)).filter(({ fromPort }) => fromPort === b.transport.port);
  assert.equal(kindOf(hint!), KIND_HINT);
  assert.equal(hint!.bytes[3], HINT_REASONS.indexOf('version'));
  assert.deepEqual(hint!.bytes.slice(8, 24), bytes.slice(-2 * MAC_BYTES, -MAC_BYTES));
  b.assertDrops({ 'unknown-version': 1 });
});

test('should believe no hint about a request that its sender has not seen', () => {
  const { world, a, b, link } = openPair();
  world.network.route = () => [];
  const [request] = world.record(() => world.run(20));
  const bytes = new Uint8Array(24);
  bytes.set([KIND_HINT, WIRE_VERSION, 2, HINT_REASONS.indexOf('mode')]);
  bytes.set(request!.bytes.subarray(4, 8), 4);
  const [from, to] = [b.transport, a.transport];
  world.network.inject({ fromHost: from.host, fromPort: from.port, toHost: to.host, toPort: to.port, bytes });
  world.step();
  assert.equal(link.refusal, undefined);
  a.assertDrops({ 'no-handshake': 1 });
});

test('should forget a refusal once a session is there', () => {
  const { world, b, link } = openPair();
  b.refusal = 'expired';
  world.run(20);
  assert.notEqual(link.refusal, undefined);
  b.refusal = undefined;
  world.until(() => link.session !== undefined);
  assert.equal(link.refusal, undefined);
});

test('should begin a handshake anew when what it says of itself has changed, as a renewed certificate does', () => {
  const { world, a, b, link } = openPair();
  // The peer is away, and has an answer only for the renewed one.
  world.network.route = () => [];
  world.run(5_000, 10);
  const judge = b.admit.bind(b);
  b.admit = (payload) => (payload[0] === 0x72 ? judge(payload) : { ok: false, reason: 'it expired' });
  const renewed = new Uint8Array(a.requestPayload().length);
  renewed.set(Buffer.from('renewed'));
  a.requestPayload = () => renewed;
  world.network.route = perfectRoute;
  world.until(() => link.session !== undefined, 3_000);
  assert.equal(b.drops.of('certificate-refused'), 0);
});
