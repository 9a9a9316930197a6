/** A replica's side of RESOLVE, with a coordinator that does what the test says. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DropCounters } from '../../net/drops.ts';
import type { Session } from '../../net/session.ts';
import {
  RESOLVES_MAX,
  RESOLVES_PER_SESSION_MAX,
  RESOLVE_DEADLINE_MS,
  ResolveServer,
} from '../../src/coordinated/resolve-server.ts';
import { FLAG_BUSY, FLAG_CONFLICT, FLAG_HOST_FULL, FLAG_TRUSTED_FULL } from '../../src/protocol/messages.ts';
import type { Outcome } from '../../src/protocol/outcome.ts';
import type { Peer } from '../../src/protocol/peer.ts';
import { clientPeer, incomingOf, MessageRecorder, NO_STAMP, sessionWith, stampOf } from '../protocol/fixtures.ts';
import type { SentMessage } from '../protocol/fixtures.ts';
import { readResolveReply, resolveOf } from '../protocol/resolve-fixtures.ts';
import type { Resolved } from '../protocol/resolve-fixtures.ts';
import { ScriptedCoordinator } from './call-fixtures.ts';

const FIRST_TOKEN = 100;
const STAMP = stampOf(7, 3, 2, 1);

class ServerHarness {
  readonly messenger = new MessageRecorder();
  readonly drops = new DropCounters();
  readonly coordinator: ScriptedCoordinator;
  readonly server: ResolveServer;
  hasRoom = true;

  constructor(capacity = 1_000) {
    this.coordinator = new ScriptedCoordinator(capacity);
    this.server = new ResolveServer({
      messenger: this.messenger,
      drops: this.drops,
      firstToken: FIRST_TOKEN,
      coordinator: () => (this.hasRoom ? this.coordinator : undefined),
    });
    this.coordinator.sink = this.server;
  }

  ask(session: Session<Peer>, slot: number, generation = 1): Resolved[] {
    const incoming = incomingOf(session, [resolveOf({ key: `key ${slot}`, slot, generation })]);
    this.server.onResolve(incoming, incoming.word, 0);
    return this.messenger.take().map(readResolveReply);
  }

  /** Ends the get that was begun as the n-th. */
  end(n: number, outcome: Outcome): SentMessage {
    this.coordinator.end(this.coordinator.started[n]!, outcome, outcome === 'ok' ? 'value' : undefined, STAMP);
    const [reply, ...more] = this.messenger.take();
    assert.equal(more.length, 0);
    return reply!;
  }
}

function reader(writerLow = 1): Session<Peer> {
  return sessionWith(clientPeer({ writerHigh: 0, writerLow }, 'r:'));
}

test('should get the key, and answer when that has ended with the stamp that a quorum then holds', () => {
  for (const outcome of ['ok', 'absent'] as const) {
    const harness = new ServerHarness();
    const session = reader();
    assert.deepEqual(harness.ask(session, 5, 3), [], 'no answer before the get has ended');
    const [get, ...more] = harness.coordinator.started;
    assert.deepEqual([get!.kind, get!.key, get!.deadlineMs, more.length], ['get', 'key 5', RESOLVE_DEADLINE_MS, 0]);
    const reply = harness.end(0, outcome);
    assert.equal(reply.session, session);
    assert.deepEqual(readResolveReply(reply), { slot: 5, generation: 3, flags: 0, stamp: STAMP });
    assert.equal(harness.server.resolvedCount, 1);
  }
});

test('should say why it could not, and not which stamp', () => {
  for (const [outcome, flags] of [
    ['trusted-memory-full', FLAG_TRUSTED_FULL],
    ['host-memory-full', FLAG_HOST_FULL],
    ['unreadable', FLAG_CONFLICT],
    ['deadline', FLAG_BUSY],
    ['closed', FLAG_BUSY],
  ] as const) {
    const harness = new ServerHarness();
    harness.ask(reader(), 5);
    assert.deepEqual(readResolveReply(harness.end(0, outcome)), { slot: 5, generation: 1, flags, stamp: NO_STAMP });
    assert.equal(harness.server.resolvedCount, 0);
  }
});

test('should not begin again what is under way, and begin again what was answered', () => {
  const harness = new ServerHarness();
  const session = reader();
  harness.ask(session, 5);
  assert.deepEqual(harness.ask(session, 5), []);
  assert.equal(harness.coordinator.started.length, 1);
  harness.ask(session, 5, 2);
  harness.ask(reader(), 5);
  assert.equal(harness.coordinator.started.length, 3, 'another phase of the operation, and another client');
  harness.end(0, 'ok');
  harness.ask(session, 5);
  assert.equal(harness.coordinator.started.length, 4);
});

test('should have bounded many under way, of one session and in all, and say BUSY beyond', () => {
  const harness = new ServerHarness();
  const busy = (slot: number): Resolved[] => [{ slot, generation: 1, flags: FLAG_BUSY, stamp: NO_STAMP }];
  const sessions = Array.from({ length: RESOLVES_MAX / RESOLVES_PER_SESSION_MAX }, (_, i) => reader(i));
  for (const session of sessions) {
    for (let slot = 0; slot < RESOLVES_PER_SESSION_MAX; slot++) assert.deepEqual(harness.ask(session, slot), []);
    assert.deepEqual(harness.ask(session, 77), busy(77));
  }
  assert.equal(harness.coordinator.started.length, RESOLVES_MAX);
  assert.deepEqual(harness.ask(reader(99), 5), busy(5));
  harness.end(3, 'ok');
  assert.deepEqual(harness.ask(reader(99), 5), []);
  assert.equal(harness.server.busyCount, sessions.length + 1);
});

test('should say BUSY when there is no coordinator, or that has no room, and hold no place for it', () => {
  const harness = new ServerHarness(1);
  harness.hasRoom = false;
  const session = reader();
  assert.equal(harness.ask(session, 1)[0]!.flags, FLAG_BUSY);
  harness.hasRoom = true;
  assert.deepEqual(harness.ask(session, 1), []);
  for (let round = 0; round < 2 * RESOLVES_MAX; round++) assert.equal(harness.ask(session, 2)[0]!.flags, FLAG_BUSY);
  harness.end(0, 'ok');
  assert.deepEqual(harness.ask(session, 2), []);
});

test('should lose an answer that can’t be sent, and answer when it is asked again', () => {
  const harness = new ServerHarness();
  const session = reader();
  harness.ask(session, 5);
  harness.messenger.full = true;
  harness.coordinator.end(harness.coordinator.started[0]!, 'ok', 'value', STAMP);
  harness.messenger.full = false;
  harness.ask(session, 5);
  assert.deepEqual(readResolveReply(harness.end(1, 'ok')).stamp, STAMP);
});
