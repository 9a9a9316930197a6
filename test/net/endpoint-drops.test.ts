/** Every reason to drop a datagram, provoked by an attack or a mishap, counted exactly, and survived. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { DropReason } from '../../net/drops.ts';
import {
  ANSWERS_A_DATAGRAM_MAX,
  CREDIT_PART,
  DATAGRAM_RECORD_BYTES,
  RECEIVE_SLOTS,
  REFUSE_AFTER_MS,
  REPLAY_WINDOW_PACKETS,
  SEND_SLOTS,
  SESSIONS_MAX,
} from '../../net/limits.ts';
import { HEADER_BYTES, KIND_REQUEST, PREAMBLE_BYTES } from '../../net/wire.ts';
import { capture, changed, injectAll } from './endpoint-attacks.ts';
import { MESSAGE_BYTES, connectPair, kindOf } from './endpoint-harness.ts';
import type { EndOptions, Pair } from './endpoint-harness.ts';
import { flipBit, perfectRoute } from './memory-transport.ts';
import type { MemoryDatagram } from './memory-transport.ts';

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
  return [0, 1, 255].map((version) => changed(datagram, (bytes) => bytes.fill(version, 1, 2)));
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

test('should let what has arrived wait while there is little room for answers, and answer all of it', () => {
  const { world, a, b, session } = connectPair({ receiveBufferBytes: 100_000_000 });
  b.onMessage = ({ session: from, number }) => void b.send(from, number, new Uint8Array(1_300));
  // Small datagrams, which leave just so much room that more is handled, and then such as ask for all they can.
  const small = { count: 8, questions: 15 };
  const questionCount = small.count * small.questions + 16 * ANSWERS_A_DATAGRAM_MAX;
  for (let number = 0; number < questionCount; number++) {
    assert.equal(a.send(session, number), true);
    const behind = number + 1 - small.count * small.questions;
    if (behind > 0 ? behind % ANSWERS_A_DATAGRAM_MAX === 0 : (number + 1) % small.questions === 0) {
      a.endpoint.flush(world.nowMs);
    }
  }
  world.step();
  assert.ok(b.received.length > 0 && b.received.length <= SEND_SLOTS, `${b.received.length} were answered in one turn`);
  assert.equal(b.endpoint.isWorkLeft, true);
  world.run(20);
  assert.equal(b.endpoint.isWorkLeft, false);
  b.assertDrops({});
  assert.deepEqual(
    a.numbers,
    Array.from({ length: questionCount }, (_, i) => i),
  );
});

test('should leave slots to its sessions when strangers ask for more cookies than it has slots', () => {
  const pair = connectPair({ receiveBufferBytes: 100_000_000 });
  const { world, a, b, session } = pair;
  b.onMessage = ({ session: from, number }) => b.send(from, number + 1);
  const stranger = world.open('c');
  stranger.linkTo(b);
  world.network.route = () => [];
  const [request] = world.record(() => world.run(12)).filter(({ fromPort }) => fromPort === stranger.transport.port);
  world.network.route = perfectRoute;
  world.ends.splice(world.ends.indexOf(stranger), 1);
  // First those that it answers without a cookie; the kernel takes nothing meanwhile.
  b.transport.stalled = true;
  for (let i = 0; i < 2 * SEND_SLOTS; i++) world.network.inject({ ...request!, fromPort: 20_000 + i });
  a.send(session, 1);
  world.run(2);
  assert.ok(b.drops.of('send-slots-full') > 0);
  b.transport.stalled = false;
  world.run(4);
  assert.deepEqual(a.numbers, [2], 'its answer was not lost');
});

test('should refuse to send more bytes than the receiver can hold, until it has answered', () => {
  const { world, a, b, session } = connectPair({ receiveBufferBytes: 80_000 });
  let sentCount = 0;
  while (a.send(session, sentCount, new Uint8Array(1_300))) sentCount++;
  // Three quarters of the buffer are there for the only sender; each datagram also takes the kernel's record.
  const datagramBytes = HEADER_BYTES + PREAMBLE_BYTES + MESSAGE_BYTES + 1_304 + 16;
  assert.equal(sentCount, Math.floor((80_000 * CREDIT_PART) / (datagramBytes + DATAGRAM_RECORD_BYTES)));
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
