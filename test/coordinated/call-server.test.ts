import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Session } from '../../net/session.ts';
import { CALL_DEADLINE_MS_MAX } from '../../src/coordinated/call-operations.ts';
import { STREAMS_MAX, STREAM_BYTES_MAX, STREAM_IDLE_MS } from '../../src/coordinated/call-table.ts';
import { CALL_SLOTS_MAX } from '../../src/protocol/call-messages.ts';
import type { Peer } from '../../src/protocol/peer.ts';
import { Permissions } from '../../src/trust/permissions.ts';
import { memberPeer, sessionWith } from '../protocol/fixtures.ts';
import { callOf, openOf } from './call-fixtures.ts';
import type { CallParts } from './call-fixtures.ts';
import { ServerHarness, client } from './call-server-harness.ts';

const PUT: CallParts = { kind: 'put', key: 'key', value: 'value', slot: 2, generation: 5 };

test('should run a call and answer with its outcome, and a get with its value', () => {
  const harness = new ServerHarness();
  const session = client();
  const stream = harness.open(session);
  assert.deepEqual(harness.call(session, { ...PUT, stream, attempt: 3 }), []);
  const [put] = harness.coordinator.started;
  assert.deepEqual([put!.kind, put!.key, put!.value, put!.deadlineMs], ['put', 'key', 'value', 1_000]);
  assert.deepEqual(harness.end(put!, 'ok'), [{ outcome: 'ok', slot: 2, generation: 5, stream, attempt: 3, value: '' }]);
  for (const value of ['', 'short', 'as long as it takes to be copied as a whole '.repeat(3)]) {
    const generation = 6 + value.length;
    harness.call(session, { kind: 'get', key: 'k', slot: 0, generation, stream });
    const replies = harness.end(harness.coordinator.started.at(-1)!, 'ok', value);
    assert.deepEqual(replies, [{ outcome: 'ok', slot: 0, generation, stream, attempt: 0, value }]);
  }
  harness.call(session, { kind: 'delete', key: 'k', slot: 1, stream });
  assert.equal(harness.coordinator.started.at(-1)!.kind, 'delete');
  assert.equal(
    harness.end(harness.coordinator.started.at(-1)!, 'trusted-memory-full')[0]!.outcome,
    'trusted-memory-full',
  );
  assert.equal(harness.server.callCount, 5);
});

test('should run a call once, however often it arrives', () => {
  const harness = new ServerHarness();
  const session = client();
  const stream = harness.open(session);
  const put = { ...PUT, stream };
  for (let attempt = 0; attempt < 3; attempt++) assert.deepEqual(harness.call(session, { ...put, attempt }), []);
  assert.equal(harness.end(harness.coordinator.started[0]!, 'ok')[0]!.attempt, 0, 'the first one was run');
  for (let attempt = 3; attempt < 6; attempt++) {
    const [reply] = harness.call(session, { ...put, attempt });
    assert.deepEqual([reply!.outcome, reply!.generation, reply!.attempt], ['ok', 5, attempt]);
  }
  assert.equal(harness.coordinator.started.length, 1);
});

test('should give the stored outcome again, whatever it was', () => {
  const harness = new ServerHarness();
  const session = client();
  const stream = harness.open(session);
  const put = { ...PUT, stream };
  for (const [i, outcome] of (['outcome-unknown', 'host-memory-full', 'deadline'] as const).entries()) {
    harness.call(session, { ...put, generation: 10 + i });
    assert.equal(harness.end(harness.coordinator.started[i]!, outcome)[0]!.outcome, outcome);
    assert.equal(harness.call(session, { ...put, generation: 10 + i })[0]!.outcome, outcome);
  }
  assert.equal(harness.coordinator.started.length, 3);
});

test('should run a get again that was answered: its value is not kept', () => {
  const harness = new ServerHarness();
  const session = client();
  const stream = harness.open(session);
  const get: CallParts = { kind: 'get', key: 'key', stream };
  harness.call(session, get);
  harness.end(harness.coordinator.started[0]!, 'ok', 'first');
  assert.deepEqual(harness.call(session, { ...get, attempt: 1 }), []);
  const [reply] = harness.end(harness.coordinator.started[1]!, 'ok', 'second');
  assert.deepEqual([reply!.value, reply!.attempt], ['second', 1]);
});

test('should drop a call that was followed by another in its slot', () => {
  const harness = new ServerHarness();
  const session = client();
  const stream = harness.open(session);
  harness.call(session, { ...PUT, stream, generation: 6 });
  harness.end(harness.coordinator.started[0]!, 'ok');
  assert.deepEqual(harness.call(session, { ...PUT, stream, generation: 5 }), []);
  assert.equal(harness.coordinator.started.length, 1);
  assert.equal(harness.drops.of('late-call'), 1);
});

test('should count generations round the end of 32 bits', () => {
  const harness = new ServerHarness();
  const session = client();
  const stream = harness.open(session);
  harness.call(session, { ...PUT, stream, generation: 0x7fffffff });
  harness.end(harness.coordinator.started[0]!, 'ok');
  assert.deepEqual(harness.call(session, { ...PUT, stream, generation: -0x80000000 }), []);
  assert.equal(harness.coordinator.started.length, 2, 'the next one after 2^31 - 1');
  harness.call(session, { ...PUT, stream, generation: 0x7fffffff });
  assert.deepEqual([harness.coordinator.started.length, harness.drops.of('late-call')], [2, 1]);
});

test('should give up a call whose client has gone on, and not answer it', () => {
  const harness = new ServerHarness();
  const session = client();
  const stream = harness.open(session);
  harness.call(session, { ...PUT, stream, generation: 5 });
  assert.deepEqual(harness.call(session, { ...PUT, stream, generation: 6, value: 'next' }), []);
  assert.deepEqual(
    harness.coordinator.cancelled.map(({ id }) => id),
    [0],
  );
  const [reply] = harness.end(harness.coordinator.started[1]!, 'ok');
  assert.equal(reply!.generation, 6);
});

test('should not take the end of a call that was given up for the end of the next in its slot', () => {
  const harness = new ServerHarness();
  // It is at the sealing: cancelling it has no effect yet.
  harness.coordinator.cancel = () => {};
  const session = client();
  const stream = harness.open(session);
  harness.call(session, { ...PUT, stream, generation: 5 });
  harness.call(session, { ...PUT, stream, generation: 6 });
  const [first, second] = harness.coordinator.started;
  assert.deepEqual(harness.end(first!, 'trusted-memory-full'), []);
  assert.equal(harness.end(second!, 'ok')[0]!.outcome, 'ok');
});

test('should keep calls of two clients apart that use the same slots and generations', () => {
  const harness = new ServerHarness();
  const sessions = [client(1), client(2)];
  const streams = sessions.map((session) => harness.open(session));
  assert.notEqual(streams[0], streams[1]);
  sessions.forEach((session, i) => harness.call(session, { ...PUT, stream: streams[i]!, value: `of ${i}` }));
  assert.deepEqual(
    harness.coordinator.started.map(({ value }) => value),
    ['of 0', 'of 1'],
  );
  harness.coordinator.end(harness.coordinator.started[1]!, 'ok');
  const sent = harness.messenger.take();
  assert.deepEqual(
    sent.map(({ session }) => session),
    [sessions[1]],
  );
  const [reply] = harness.call(sessions[0]!, { ...PUT, stream: streams[1]! });
  assert.equal(reply!.outcome, 'stream-unknown', 'another client’s stream is nobody’s here');
  assert.equal(harness.coordinator.started.length, 2);
});

test('should answer on the newest session of the client', () => {
  const harness = new ServerHarness();
  const first = client();
  const stream = harness.open(first);
  harness.call(first, { ...PUT, stream });
  const renewed = Object.assign(client(), { createdMs: 10 });
  harness.call(renewed, { ...PUT, stream, attempt: 1 });
  // The older session's datagram was held back.
  harness.call(first, { ...PUT, stream, attempt: 2 });
  harness.coordinator.end(harness.coordinator.started[0]!, 'ok');
  const sent = harness.messenger.take();
  assert.deepEqual([sent.length, sent[0]!.session === renewed], [1, true]);
  assert.equal(harness.coordinator.started.length, 1, 'the call is the client’s, not the session’s');
});

test('should answer on an older session when the newer one has ended', () => {
  const harness = new ServerHarness();
  const first = client();
  const stream = harness.open(first);
  const renewed = Object.assign(client(), { createdMs: 10 });
  harness.call(renewed, { ...PUT, stream });
  renewed.state = 'dead';
  harness.call(first, { ...PUT, stream, attempt: 1 });
  harness.coordinator.end(harness.coordinator.started[0]!, 'ok');
  assert.equal(harness.messenger.take()[0]!.session, first);
});

test('should say that it does not know a stream, and run nothing of it', () => {
  const harness = new ServerHarness();
  const session = client();
  const [reply] = harness.call(session, { ...PUT, stream: 7 });
  assert.deepEqual([reply!.outcome, reply!.stream, reply!.generation], ['stream-unknown', 7, 5]);
  assert.equal(harness.coordinator.started.length, 0);
});

test('should answer the same CALL_OPEN with the same stream, a new one with another, and an old one with none', () => {
  const harness = new ServerHarness();
  const session = client();
  const stream = harness.open(session, 4, 2);
  harness.call(session, { ...PUT, stream });
  assert.equal(harness.open(session, 4, 2), stream);
  harness.nowMs++;
  assert.equal(harness.open(session, 4, 1), 0, 'it was sent before the stream that is in use');
  assert.deepEqual(harness.coordinator.cancelled, []);
  const next = harness.open(session, 4, 3);
  assert.ok(next > stream);
  assert.equal(harness.coordinator.cancelled.length, 1, 'what ran in the stream before is given up');
  assert.equal(harness.call(session, { ...PUT, stream })[0]!.outcome, 'stream-unknown');
  assert.deepEqual(harness.call(session, { ...PUT, stream: next }), [], 'no slot of the new one was used before');
  assert.equal(harness.coordinator.started.length, 2);
});

test('should refuse calls that the client’s certificate does not permit', () => {
  const harness = new ServerHarness();
  const reader = client(1, 'r:,rw:elsewhere/');
  const writer = client(2, 'w:,rw:elsewhere/');
  const streams = [harness.open(reader), harness.open(writer)];
  const outcomeOf = (session: Session<Peer>, parts: CallParts) => harness.call(session, parts)[0]?.outcome;
  assert.equal(outcomeOf(reader, { ...PUT, stream: streams[0]! }), 'not-permitted');
  assert.equal(outcomeOf(reader, { kind: 'delete', key: 'k', slot: 1, stream: streams[0]! }), 'not-permitted');
  assert.equal(outcomeOf(reader, { kind: 'get', key: 'k', slot: 3, stream: streams[0]! }), undefined);
  assert.equal(outcomeOf(writer, { kind: 'get', key: 'k', stream: streams[1]! }), 'not-permitted');
  assert.deepEqual(
    harness.coordinator.started.map(({ kind }) => kind),
    ['get'],
  );
});

test('should take no calls from replicas', () => {
  const harness = new ServerHarness();
  const member = sessionWith({
    ...memberPeer(1),
    identity: { role: 'replica', memberIndex: 1, permissions: Permissions.ALL },
  });
  assert.deepEqual(harness.say(member, openOf(1, 4), callOf(PUT)), []);
  assert.equal(harness.drops.of('unexpected-message'), 2);
});

test('should answer busy when the coordinator has no place, and never run that call', () => {
  const harness = new ServerHarness(1);
  const session = client();
  const stream = harness.open(session);
  harness.call(session, { ...PUT, stream, slot: 0 });
  assert.equal(harness.call(session, { ...PUT, stream, slot: 1 })[0]!.outcome, 'busy');
  harness.end(harness.coordinator.started[0]!, 'ok');
  // A copy that was under way; the client may be told by another replica meanwhile that it was done.
  assert.equal(harness.call(session, { ...PUT, stream, slot: 1, attempt: 1 })[0]!.outcome, 'busy');
  assert.equal(harness.coordinator.started.length, 1);
  assert.deepEqual(
    harness.call(session, { ...PUT, stream, slot: 1, generation: 6 }),
    [],
    'a new call is another matter',
  );
  assert.equal(harness.server.busyCount, 1);
});

test('should drop a call in a slot that the client did not ask for', () => {
  const harness = new ServerHarness();
  const session = client();
  const stream = harness.open(session, 4);
  assert.deepEqual(harness.call(session, { ...PUT, stream, slot: 4 }), []);
  assert.deepEqual([harness.coordinator.started.length, harness.drops.of('malformed')], [0, 1]);
});

test('should hold no operation for longer than its bound', () => {
  const harness = new ServerHarness();
  const session = client();
  const stream = harness.open(session);
  harness.call(session, { ...PUT, stream, deadlineMs: 0xffff_ffff });
  assert.equal(harness.coordinator.started[0]!.deadlineMs, CALL_DEADLINE_MS_MAX);
});

test('should give no stream while there is no coordinator, and none of a size that is not offered', () => {
  const harness = new ServerHarness();
  const session = client();
  harness.hasRoom = false;
  assert.equal(harness.open(session), 0);
  harness.hasRoom = true;
  for (const slotCount of [0, -1, CALL_SLOTS_MAX + 1]) assert.equal(harness.open(session, slotCount), 0);
  assert.notEqual(harness.open(session, CALL_SLOTS_MAX), 0);
});

test('should give an idle client’s stream to another when there are too many, and never one that is in use', () => {
  const harness = new ServerHarness();
  const sessions = Array.from({ length: STREAMS_MAX }, (_, i) => client(i + 1));
  const streams = sessions.map((session) => harness.open(session, 1));
  harness.call(sessions[0]!, { ...PUT, slot: 0, stream: streams[0]! });
  harness.nowMs += STREAM_IDLE_MS - 1;
  harness.call(sessions[1]!, { ...PUT, slot: 0, stream: streams[1]! });
  harness.end(harness.coordinator.started[1]!, 'ok');
  const newcomer = client(STREAMS_MAX + 1);
  assert.equal(harness.open(newcomer, 1), 0, 'nobody has been idle long enough');
  harness.nowMs++;
  const stream = harness.open(newcomer, 1);
  assert.ok(stream > streams.at(-1)!, 'numbers are never given twice');
  assert.equal(harness.server.table.streamCount, STREAMS_MAX);
  // The one that runs a call and the one that was used lately are still there; the next one is gone.
  const again = (i: number) => harness.call(sessions[i]!, { ...PUT, slot: 0, stream: streams[i]! })[0]?.outcome;
  assert.deepEqual([again(0), again(1), again(2)], [undefined, 'ok', 'stream-unknown']);
  assert.equal(harness.coordinator.started.length, 2, 'what was forgotten is not run again');
});

test('should keep to its bytes, whatever clients ask for', () => {
  const harness = new ServerHarness();
  for (let i = 0; i < 200; i++) harness.open(client(i + 1), CALL_SLOTS_MAX);
  assert.ok(harness.server.table.bytes <= STREAM_BYTES_MAX);
  assert.ok(harness.server.table.streamCount > 20);
  assert.equal(harness.budget.used, harness.server.table.bytes);
  const small = new ServerHarness(16, 40_000);
  assert.equal(small.open(client(1), CALL_SLOTS_MAX), 0, 'no more than the budget has');
  small.nowMs++;
  assert.notEqual(small.open(client(1), 16), 0);
});

test('should open no second stream for a client at one time', () => {
  const harness = new ServerHarness();
  const session = client();
  const stream = harness.open(session, 4, 1);
  assert.equal(harness.open(session, 4, 2), 0);
  harness.nowMs++;
  assert.ok(harness.open(session, 4, 2) > stream);
});
