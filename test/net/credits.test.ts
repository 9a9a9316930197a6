/** How a receiver's buffer is divided among those that send to it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  CREDIT_AGE_MS,
  CREDIT_BYTES_MIN,
  CREDIT_PART,
  DATAGRAM_RECORD_BYTES,
  TICK_INTERVAL_MS,
} from '../../net/limits.ts';
import type { Link } from '../../net/link.ts';
import { KIND_DATA } from '../../net/wire.ts';
import { TestWorld, kindOf } from './endpoint-harness.ts';
import type { TestEnd, TestPeer } from './endpoint-harness.ts';
import { perfectRoute } from './memory-transport.ts';

/** What Linux grants where nobody has changed net.core.rmem_max. */
const BUFFER_BYTES = 212_992;
const SHARED_BYTES = BUFFER_BYTES * CREDIT_PART;
/** Answers come two steps after their questions; grants are reckoned each tick. */
const ROUND_MS = 2 + TICK_INTERVAL_MS;

interface Crowd {
  readonly world: TestWorld;
  readonly server: TestEnd;
  readonly senders: readonly { readonly end: TestEnd; readonly link: Link<TestPeer> }[];
}

/** Senders with live sessions to one server that answers each message. */
function crowdOf(senderCount: number): Crowd {
  const world = new TestWorld();
  const server = world.open('server', { receiveBufferBytes: BUFFER_BYTES });
  server.onMessage = ({ session, number }) => server.send(session, number);
  const senders: Crowd['senders'][number][] = [];
  for (let i = 0; i < senderCount; i++) {
    const end = world.open(`sender ${i}`);
    senders.push({ end, link: end.linkTo(server) });
    world.until(() => server.live.length > i);
  }
  world.run(ROUND_MS);
  return { world, server, senders };
}

function greet({ world, senders }: Crowd): void {
  for (const { end, link } of senders) end.send(link.session!, 0);
  world.run(ROUND_MS);
  for (const { end, link } of senders) end.send(link.session!, 0);
  world.run(ROUND_MS);
}

function grantOf(link: Link<TestPeer>): number {
  // Grows to the grant by what is acknowledged: a limit above it shows at once, one below in time.
  return link.session!.flight!.limitBytes;
}

/** What the kernel holds for these, in the worst case all at once. */
function burstBytes({ world, server }: Crowd, send: () => void): number {
  const datagrams = world.record(() => {
    send();
    // Handed to the network in one step, taken by it in the next.
    world.run(2);
  });
  return datagrams
    .filter((datagram) => kindOf(datagram) === KIND_DATA && datagram.toPort === server.transport.port)
    .reduce((sum, datagram) => sum + datagram.bytes.length + DATAGRAM_RECORD_BYTES, 0);
}

test('a single sender may use all that is shared out, each of several its part', () => {
  for (const senderCount of [1, 2, 10]) {
    const crowd = crowdOf(senderCount);
    for (let i = 0; i < 400; i++) greet(crowd);
    for (const { link } of crowd.senders) assert.equal(grantOf(link), Math.floor(SHARED_BYTES / senderCount));
  }
});

test('what those leave who have fallen silent goes to the others', () => {
  const crowd = crowdOf(4);
  greet(crowd);
  const [first] = crowd.senders;
  assert.ok(grantOf(first!.link) <= SHARED_BYTES / 4);
  const alone = { ...crowd, senders: [first!] };
  for (let ms = 0; ms < CREDIT_AGE_MS + 400 * 2 * ROUND_MS; ms += 2 * ROUND_MS) greet(alone);
  assert.equal(grantOf(first!.link), SHARED_BYTES);
});

test('64 senders that send all they may at once do not overfill a buffer of 212,992 bytes', () => {
  const crowd = crowdOf(64);
  for (let i = 0; i < 5; i++) greet(crowd);
  for (let round = 0; round < 20; round++) {
    const bytes = burstBytes(crowd, () => {
      for (const { end, link } of crowd.senders) {
        for (let number = 0; end.send(link.session!, number, new Uint8Array(200)); number++);
      }
    });
    assert.ok(bytes > SHARED_BYTES / 2, `only ${bytes} bytes were sent: they are held back too much`);
    assert.ok(bytes <= BUFFER_BYTES, `${bytes} bytes at once`);
    crowd.world.run(ROUND_MS);
  }
});

test('who has not proved to be there has no share', () => {
  const crowd = crowdOf(1);
  const [first] = crowd.senders;
  greet(crowd);
  for (let i = 0; i < 20; i++) crowd.world.open(`half-open ${i}`).linkTo(crowd.server);
  const before = crowd.server.endpoint.sessions.count;
  // Their requests arrive, answers to them do not: they stay half-open.
  crowd.world.network.route = (datagram) =>
    datagram.fromPort === crowd.server.transport.port && datagram.toPort !== first!.end.transport.port
      ? []
      : perfectRoute(datagram);
  crowd.world.run(50);
  assert.ok(crowd.server.endpoint.sessions.count > before + 5);
  for (let i = 0; i < 400; i++) greet(crowd);
  assert.equal(grantOf(first!.link), SHARED_BYTES);
});

test('however many there are, none is granted less than a small datagram', () => {
  const crowd = crowdOf(100);
  greet(crowd);
  assert.ok(SHARED_BYTES / 100 < CREDIT_BYTES_MIN);
  for (const { link } of crowd.senders) assert.equal(grantOf(link), CREDIT_BYTES_MIN);
});
