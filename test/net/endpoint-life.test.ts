/** How sessions age: renewal, expiry, silence, replacement. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  FORGERIES_MAX,
  HALF_OPEN_TIMEOUT_MS,
  HANDSHAKE_RETRY_MS_MIN,
  REFUSE_AFTER_MS,
  RENEW_AFTER_MS,
  RENEW_AFTER_PACKETS,
  RETIRE_GRACE_MS,
  SILENCE_MS,
} from '../../net/limits.ts';
import { SECURITY_MODES } from '../../net/mode.ts';
import { KIND_DATA, KIND_REQUEST } from '../../net/wire.ts';
import { seededRandom } from '../workers/random.ts';
import { connectPair, kindOf, openPair } from './endpoint-harness.ts';
import { faultyRoute, flipBit, perfectRoute } from './memory-transport.ts';
import type { MemoryDatagram } from './memory-transport.ts';

for (const mode of SECURITY_MODES) {
  describe(`in mode ${mode}`, () => {
    test('should renew a session after 120 s while a message goes out each millisecond: none is lost or late', () => {
      const { world, a, b, link, session } = connectPair({ mode });
      b.onMessage = ({ session: from, number }) => assert.ok(b.send(from, number));
      const startMs = session.createdMs;
      let number = 0;
      // Nothing happens for most of the time but a message now and then.
      for (; world.nowMs < startMs + RENEW_AFTER_MS - 100; number++) {
        assert.ok(a.send(link.session!, number));
        world.step(90);
      }
      const end = number + 6_000;
      for (; number < end; number++) {
        assert.ok(a.send(link.session!, number), 'a session is there at all times');
        world.step();
        // Out in this turn, there and back in the next two.
        assert.ok(b.received.at(-1)!.number >= number - 1, `message ${number} is not late`);
        assert.ok(a.received.at(-1)!.number >= number - 2, `the answer to message ${number} is not late`);
      }
      world.run(3);
      const all = Array.from({ length: end }, (_, i) => i);
      assert.deepEqual(b.numbers, all);
      assert.deepEqual(a.numbers, all);
      assert.notEqual(link.session, session);
      assert.equal(a.live.length, 2);
      assert.equal(b.live.length, 2);
      assert.equal(session.state, 'dead');
      assert.equal(a.endpoint.sessions.count, 1);
      assert.equal(b.endpoint.sessions.count, 1);
      for (const side of [a, b]) assert.equal(side.keys.size, mode === 'plaintext' ? 0 : 2, 'old keys are erased');
      a.assertDrops({});
    });
  });
}

test('should leave an old session to what is under way for a while, then erase its keys', () => {
  const { world, a, b, link, session } = connectPair();
  const oldAtB = b.live[0]!;
  world.nowMs = session.createdMs + RENEW_AFTER_MS;
  world.until(() => b.live.length === 2);
  assert.equal(session.state, 'retiring');
  assert.equal(oldAtB.state, 'retiring');
  assert.equal(a.send(session, 1), true);
  assert.equal(b.send(oldAtB, 2), true);
  world.run(2);
  assert.deepEqual([b.numbers, a.numbers], [[1], [2]]);
  assert.equal(b.received[0]!.session, oldAtB);
  assert.deepEqual([a.keys.size, b.keys.size], [4, 4]);
  world.run(RETIRE_GRACE_MS + 20, 10);
  assert.equal(a.send(session, 3), false);
  assert.equal(link.session!.state, 'live');
  assert.deepEqual([a.keys.size, b.keys.size], [2, 2]);
});

test('should renew after 2^32 packets as well', () => {
  const { world, a, b, session } = connectPair();
  session.sendNumber = RENEW_AFTER_PACKETS;
  world.until(() => b.live.length === 2, 2 * HANDSHAKE_RETRY_MS_MIN);
  assert.equal(a.live.length, 2);
});

test('should refuse a session at 180 s when it could not be renewed, at both ends', () => {
  const { world, a, b, link, session } = connectPair();
  const [atB] = b.live;
  // The peers hear each other, but no handshake gets through.
  world.network.route = (datagram) => (kindOf(datagram) === KIND_DATA ? [{ delayMs: 0, datagram }] : []);
  b.onMessage = ({ session: from, number }) => b.send(from, number);
  for (let number = 0; world.nowMs < session.createdMs + REFUSE_AFTER_MS - 20; number++) {
    assert.ok(a.send(session, number));
    world.step(10);
  }
  assert.equal(session.state, 'live');
  world.run(60, 10);
  assert.equal(session.state, 'dead');
  assert.equal(atB!.state, 'dead');
  assert.equal(link.session, undefined);
  assert.deepEqual([a.keys.size, b.keys.size], [0, 0]);
  world.network.route = perfectRoute;
  world.until(() => b.live.length === 2, 5_000);
  assert.equal(link.session!.state, 'live');
});

test('should end a session that met too many forgeries', () => {
  const { world, a, b, session } = connectPair();
  const atB = b.live[0]!;
  atB.forgeries = FORGERIES_MAX - 2;
  for (const expected of ['live', 'dead']) {
    world.network.route = (datagram) => [{ delayMs: 0, datagram: flipBit(datagram, 250) }];
    a.send(session, 1);
    world.step();
    world.step();
    assert.equal(atB.state, expected);
  }
  assert.equal(b.keys.size, 0);
});

test('should end the sessions with peers that are taken no more, those alone, and erase their keys', () => {
  const { world, a, b, link, session } = connectPair();
  const c = world.open('c');
  const other = c.linkTo(b);
  world.until(() => b.live.length === 2);
  world.run(2);
  const [ofA, ofC] = b.live;
  b.onMessage = ({ session: from, number }) => b.send(from, number);
  assert.ok(b.send(ofA!, 1), 'something waits to be sent');
  b.refusal = 'revoked';
  b.endpoint.endSessions(({ name }) => name === 'a');
  assert.deepEqual([ofA!.state, ofC!.state], ['dead', 'live']);
  assert.equal(b.keys.size, 2, 'only the keys of the other are left');
  assert.equal(b.drops.of('session-revoked'), 1);
  assert.ok(a.send(session, 2));
  assert.ok(c.send(other.session!, 3));
  world.run(3);
  assert.deepEqual([a.numbers, b.numbers, c.numbers], [[], [3], [3]]);
  assert.equal(b.drops.of('no-session'), 1);
  // It is told that it has no session, and gets none.
  world.until(() => b.drops.of('certificate-refused') > 0, 2_000);
  assert.equal(b.endpoint.sessions.count, 1);
  a.endpoint.endSessions(({ name }) => name === 'b');
  assert.deepEqual([session.state, link.session], ['dead', undefined], 'the same at the end that asked');
});

test('should end half-open and retiring sessions of a peer that is taken no more', () => {
  const { world, a, b, session } = connectPair();
  world.nowMs = session.createdMs + RENEW_AFTER_MS;
  world.until(() => b.live.length === 2);
  const states = (): string[] => [...b.endpoint.sessions].map(({ state }) => state);
  assert.deepEqual(states(), ['retiring', 'live']);
  world.network.route = (datagram) => (kindOf(datagram) === KIND_REQUEST ? [{ delayMs: 0, datagram }] : []);
  a.linkTo(b);
  world.until(() => states().includes('half-open'));
  b.endpoint.endSessions(() => true);
  assert.deepEqual([states(), b.keys.size], [[], 0]);
  assert.equal(b.drops.of('session-revoked'), 3);
  world.run(20);
});

test('should make no handshake while a session is idle', () => {
  const { world, a, b } = connectPair();
  world.run(60_000, 10);
  assert.equal(a.live.length, 1);
  assert.equal(a.handshakeCount + b.handshakeCount, 2);
});

test('should make no handshake because of messages that ask for no answer', () => {
  const { world, a, b, session } = connectPair();
  for (let number = 0; number < 20; number++) {
    assert.ok(a.send(session, number));
    world.run(1_700, 10);
  }
  assert.equal(b.numbers.length, 20);
  assert.equal(a.live.length, 1);
  assert.equal(session.flight!.inFlightBytes, 0);
});

test('should make no handshake because of messages that only its peer sends', () => {
  const { world, a, b } = connectPair();
  for (let number = 0; number < 20; number++) {
    assert.ok(b.send(b.live[0]!, number));
    world.run(1_700, 10);
  }
  assert.equal(a.numbers.length, 20);
  assert.equal(a.live.length, 1);
});

test('should send nothing more once everything is answered', () => {
  const { world, a, b, session } = connectPair();
  b.onMessage = ({ session: from, number }) => b.send(from, number);
  for (let number = 0; number < 20; number++) {
    a.send(session, number);
    world.run(3);
  }
  const sent = world.record(() => world.run(10_000, 10));
  // The last answer is acknowledged, as its sender can't know that it came.
  assert.ok(sent.length <= 1, `${sent.length} datagrams`);
});

test('should not let the first packet of an older handshake oust the session of a newer one', () => {
  const { world, a, b, link } = openPair();
  let held: MemoryDatagram | undefined;
  world.network.route = (datagram) => {
    if (kindOf(datagram) !== KIND_DATA || held !== undefined) return [{ delayMs: 0, datagram }];
    held = datagram;
    return [];
  };
  world.until(() => held !== undefined);
  // It seems lost, so a makes another session.
  world.until(() => b.live.length === 1, 2_000);
  const [newer] = b.live;
  world.network.inject(held!);
  world.run(3);
  assert.equal(newer!.state, 'live');
  assert.equal(link.session!.peerIndex, newer!.index);
  a.send(link.session!, 1);
  world.run(2);
  assert.deepEqual(b.numbers, [1]);
  world.run(RETIRE_GRACE_MS + 20, 10);
  assert.equal(b.endpoint.sessions.count, 1);
});

test('should learn that the first packet of a session was lost, and begin anew', () => {
  const { world, a, b, link } = openPair();
  world.network.route = (datagram) => (kindOf(datagram) === KIND_DATA ? [] : [{ delayMs: 0, datagram }]);
  world.until(() => a.live.length === 1);
  world.run(10);
  world.network.route = perfectRoute;
  world.run(SILENCE_MS + HANDSHAKE_RETRY_MS_MIN, 10);
  assert.equal(b.live.length, 1);
  assert.equal(link.session!.peerIndex, b.live[0]!.index);
  world.run(HALF_OPEN_TIMEOUT_MS, 10);
  assert.equal(b.endpoint.sessions.count, 1);
});

test('should try a new handshake when the peer is silent, and keep the session while nobody answers', () => {
  const { world, a, b, link, session } = connectPair();
  world.network.route = () => [];
  a.send(session, 1);
  const sent = world.record(() => world.run(SILENCE_MS - 50, 10));
  assert.ok(sent.every((datagram) => kindOf(datagram) === KIND_DATA));
  const later = world.record(() => world.run(20_000, 10));
  const requests = later.filter((datagram) => kindOf(datagram) === KIND_REQUEST);
  assert.ok(requests.length >= 9 && requests.length <= 14, `${requests.length} requests in 20 s`);
  assert.equal(a.handshakeCount, 2, 'it is one handshake, its message repeated');
  assert.equal(link.session, session);
  world.network.route = perfectRoute;
  world.until(() => b.live.length === 2, 3_000);
});

test('should make one usable session when the peer answers minutes later', () => {
  const { world, a, b, link } = openPair();
  const { route } = world.network;
  world.network.route = () => [];
  world.run(REFUSE_AFTER_MS + 10_000, 10);
  world.network.route = route;
  world.until(() => a.live.length === 1, 3_000);
  const session = link.session!;
  world.run(1_000, 10);
  assert.equal(link.session, session, 'it is not refused for the age of the first try');
  assert.equal(a.live.length, 1);
  assert.equal(b.live.length, 1);
});

test('should replace a session when its peer comes back with another one', () => {
  const { world, b } = connectPair();
  const [first] = b.live;
  // The same process on another port, as after a change of address.
  const again = world.open('a');
  const link = again.linkTo(b);
  world.until(() => b.live.length === 2);
  assert.equal(first!.state, 'retiring');
  assert.equal(link.session!.state, 'live');
  // Another peer replaces nobody.
  world.open('c').linkTo(b);
  world.until(() => b.live.length === 3);
  assert.equal(b.live[1]!.state, 'live');
});

test('should erase every key when it closes, also that of a handshake under way', () => {
  const { world, a, b } = connectPair();
  const c = world.open('c');
  c.linkTo(b);
  world.network.route = () => [];
  world.run(20);
  assert.equal(c.endpoint.sessions.count, 1);
  for (const end of [a, b, c]) {
    end.endpoint.close();
    assert.equal(end.keys.size, 0);
    assert.equal(end.endpoint.sessions.count, 0);
  }
});

test('should lose nothing but single messages when renewal meets loss, duplicates and reordering', () => {
  for (const seed of [1, 2, 3]) {
    const { world, a, b, link, session } = connectPair();
    b.onMessage = ({ session: from, number }) => b.send(from, number);
    world.nowMs = session.createdMs + RENEW_AFTER_MS - 200;
    const random = seededRandom(seed);
    world.network.route = faultyRoute({ random, loss: 0.3, duplicate: 0.2, mutate: 0.02, delayMsMax: 30 });
    let stalledMs = 0;
    for (let number = 0; number < 4_000; number++) {
      const heard = b.received.length;
      a.send(link.session!, number);
      world.step();
      stalledMs = b.received.length > heard ? 0 : stalledMs + 1;
      assert.ok(stalledMs < 400, `seed ${seed}: no message got through for ${stalledMs} ms`);
    }
    assert.ok(a.live.length >= 2, 'it was renewed');
    assert.equal(new Set(b.numbers).size, b.numbers.length);
  }
});
