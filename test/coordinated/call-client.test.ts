import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CALL_SLOTS_MAX, MESSAGE_CALL_OPEN } from '../../src/protocol/call-messages.ts';
import { MESSAGE_STATE_REQUEST, typeOf, writeHead } from '../../src/protocol/messages.ts';
import { ClientHarness, DEADLINE_MS, FIRST_RTO_MS } from './call-client-harness.ts';
import { openedOf, readCall, replyOf } from './call-fixtures.ts';

test('should open a stream at each active member, and repeat that until it has one', () => {
  const harness = new ClientHarness();
  harness.activeMask = 0b011;
  for (const member of [0, 1, 2]) harness.connect(member);
  const opens = () =>
    harness.messenger.take().map(({ control, session }) => [typeOf(control, 0), session.peer.identity.memberIndex]);
  harness.turn(0);
  assert.deepEqual(opens(), [
    [MESSAGE_CALL_OPEN, 0],
    [MESSAGE_CALL_OPEN, 1],
  ]);
  harness.say(1, openedOf(1, 5));
  harness.say(0, openedOf(1, 0));
  harness.say(0, openedOf(2, 9));
  assert.equal(
    harness.client.members.readyMask,
    0b010,
    'a refusal is none, and neither is an answer to another question',
  );
  harness.turn(50);
  assert.deepEqual(opens(), []);
  harness.turn(50);
  assert.deepEqual(opens(), [[MESSAGE_CALL_OPEN, 0]]);
});

test('should send one call to one replica, with key and value, and end with its answer', () => {
  const harness = ClientHarness.ready({ firstChoice: 1 });
  harness.put('a value');
  harness.get('another key');
  harness.delete();
  const asked = harness.asked();
  assert.deepEqual(
    asked.map(({ member, kind, key, value, stream, deadlineMs, attempt }) => ({
      member,
      kind,
      key,
      value,
      stream,
      deadlineMs,
      attempt,
    })),
    [
      { member: 1, kind: 'put', key: 'key', value: 'a value', stream: 11, deadlineMs: 1_000, attempt: 0 },
      { member: 1, kind: 'get', key: 'another key', value: '', stream: 11, deadlineMs: 1_000, attempt: 0 },
      { member: 1, kind: 'delete', key: 'key', value: '', stream: 11, deadlineMs: 1_000, attempt: 0 },
    ],
  );
  assert.equal(new Set(asked.map(({ slot }) => slot)).size, 3);
  harness.answer(asked[1]!, 'ok', { value: 'found' });
  harness.answer(asked[0]!, 'ok');
  harness.answer(asked[2]!, 'trusted-memory-full');
  assert.deepEqual(harness.ended, [
    { token: 1, outcome: 'ok', value: 'found' },
    { token: 0, outcome: 'ok', value: '' },
    { token: 2, outcome: 'trusted-memory-full', value: '' },
  ]);
  assert.equal(harness.client.active, 0);
});

test('should begin with different replicas in different clients, and not go to a far one', () => {
  for (const firstChoice of [0, 1, 2, 4_000_000_000]) {
    const harness = ClientHarness.ready({ firstChoice });
    harness.get();
    assert.equal(harness.asked()[0]!.member, firstChoice % 3);
  }
  const harness = new ClientHarness({ firstChoice: 2 });
  for (const member of [0, 1, 2]) harness.connect(member);
  harness.turn(0);
  harness.nowMs += 1;
  for (const member of [0, 1]) harness.say(member, openedOf(1, 10 + member));
  harness.nowMs += 20;
  harness.say(2, openedOf(1, 12));
  harness.get();
  assert.equal(harness.asked()[0]!.member, 0, 'member 2 is 20 ms farther');
});

test('should repeat a write at its replica only, under the same name, and wait twice as long each time', () => {
  const harness = ClientHarness.ready();
  harness.put('value', 10_000);
  const [first] = harness.asked();
  let waitedMs = 0;
  for (const [attempt, waitMs] of [FIRST_RTO_MS, 2 * FIRST_RTO_MS, 4 * FIRST_RTO_MS].entries()) {
    harness.turn(waitMs - 1);
    assert.deepEqual(harness.asked(), []);
    harness.turn(1);
    waitedMs += waitMs;
    assert.deepEqual(harness.asked(), [{ ...first!, attempt: attempt + 1, deadlineMs: 10_000 - waitedMs }]);
  }
  assert.equal(harness.client.counters.retransmissions, 3);
  harness.answer(first!, 'ok');
  assert.deepEqual(harness.outcomes(), ['ok']);
});

test('should learn how long calls take from the answer to what was sent first, though it was repeated since', () => {
  const harness = ClientHarness.ready();
  harness.put();
  const [first] = harness.asked();
  harness.turn(FIRST_RTO_MS);
  harness.asked();
  harness.turn(50);
  harness.answer(first!, 'ok');
  harness.put('value', 10_000);
  harness.asked();
  // Smoothed 200, deviation 100: 200 + 4 * 100.
  harness.turn(599);
  assert.deepEqual(harness.asked(), []);
  harness.turn(1);
  const [again] = harness.asked();
  harness.nowMs += 100;
  harness.answer(again!, 'ok', { attempt: 1 });
  harness.put('value', 10_000);
  harness.asked();
  harness.turn(599);
  assert.deepEqual(harness.asked(), [], 'what answers a repetition says nothing');
});

test('should ask another replica for a get when its answer is overdue, and take the first answer', () => {
  const harness = ClientHarness.ready();
  harness.get();
  const [first] = harness.asked();
  harness.turn(FIRST_RTO_MS);
  const [second] = harness.asked();
  assert.deepEqual([first!.member, second!.member], [0, 1]);
  assert.deepEqual([second!.slot, second!.generation], [first!.slot, first!.generation]);
  assert.equal(harness.client.counters.hedges, 1);
  harness.answer(second!, 'ok', { value: 'from 1' });
  assert.deepEqual(harness.ended, [{ token: 0, outcome: 'ok', value: 'from 1' }]);
  harness.answer(first!, 'ok', { value: 'from 0' });
  assert.deepEqual([harness.ended.length, harness.drops.of('late-answer')], [1, 1]);
});

test('should leave a replica that has gone silent, stay with the other, and not come back by itself', () => {
  const harness = ClientHarness.ready();
  harness.get();
  harness.asked();
  harness.turn(FIRST_RTO_MS);
  const [hedge] = harness.asked();
  harness.answer(hedge!, 'ok');
  harness.put();
  harness.get();
  assert.deepEqual(
    harness.asked().map(({ member }) => member),
    [1, 1],
  );
  // A silent one is asked whether it is back; it is, but there is no reason to change.
  harness.turn(100);
  harness.say(0, openedOf(1, 10));
  harness.get();
  assert.deepEqual(
    harness.asked().map(({ member }) => member),
    [1],
  );
});

test('should not wait long for a sign of a replica, however slow its answers were', () => {
  const harness = ClientHarness.ready();
  harness.put('value', 10_000);
  const [slow] = harness.asked();
  harness.turn(3_000);
  harness.answer(slow!, 'ok');
  harness.put('value', 10_000);
  harness.get('key', 10_000);
  harness.asked();
  harness.turn(199);
  assert.deepEqual(harness.asked(), []);
  harness.turn(1);
  assert.deepEqual(
    harness.asked().map(({ kind, member }) => `${kind} ${member}`),
    ['get 1'],
    'the put is for its replica, and is not repeated yet',
  );
  harness.put('value', 10_000);
  assert.equal(harness.asked()[0]!.member, 1, 'nothing was heard of the other one');
});

test('should wait for a get as long as calls take at a replica that goes on answering, and ask another one then', () => {
  const harness = ClientHarness.ready();
  harness.put('value', 10_000);
  const [slow] = harness.asked();
  harness.turn(400);
  harness.asked();
  harness.answer(slow!, 'ok');
  harness.get('key', 10_000);
  harness.put('value', 10_000);
  const [, other] = harness.asked();
  harness.turn(150);
  harness.answer(other!, 'ok');
  // Smoothed 369, deviation 213: 369 + 4 * 213, at most a second.
  harness.turn(849);
  assert.deepEqual(harness.asked(), []);
  harness.turn(1);
  assert.deepEqual(
    harness.asked().map(({ kind, member }) => `${kind} ${member}`),
    ['get 1'],
  );
  assert.equal(harness.client.counters.hedges, 1);
});

test('should not take a replica for silent that answers other calls', () => {
  const harness = ClientHarness.ready();
  harness.put('slow', 10_000);
  harness.get();
  const [slow, get] = harness.asked();
  harness.turn(FIRST_RTO_MS - 1);
  harness.answer(get!, 'ok');
  harness.turn(1);
  assert.deepEqual(harness.asked(), [], 'calls take longer than was thought');
  harness.get();
  assert.equal(harness.asked()[0]!.member, slow!.member);
});

test('should end a write whose replica is another process now, and read from it again', () => {
  const harness = ClientHarness.ready();
  harness.put();
  harness.delete();
  harness.get();
  const asked = harness.asked();
  harness.connect(0, 'another incarnation');
  assert.deepEqual(harness.outcomes(), ['outcome-unknown', 'outcome-unknown']);
  const [again] = harness.asked();
  assert.deepEqual([again!.kind, again!.member], ['get', 1]);
  assert.notEqual(again!.generation, asked[2]!.generation, 'what the first replica said of it counts no more');
  harness.answer(again!, 'absent');
  assert.deepEqual(harness.outcomes().at(-1), 'absent');
});

test('should keep its writes over a renewal of the session', () => {
  const harness = ClientHarness.ready();
  harness.put();
  const [first] = harness.asked();
  const before = harness.links[0]!.session!;
  harness.connect(0);
  assert.deepEqual(harness.outcomes(), []);
  harness.turn(FIRST_RTO_MS);
  const [sent] = harness.messenger.take();
  assert.notEqual(sent!.session, before);
  const { member: _member, ...call } = first!;
  assert.deepEqual(readCall(sent!), { ...call, attempt: 1, deadlineMs: 850 });
  harness.say(0, replyOf({ ...first!, outcome: 'ok' }), before);
  assert.deepEqual(harness.outcomes(), ['ok'], 'an answer on the session before counts');
});

test('should end a write that its replica can’t tell of, open another stream, and call nobody else for it', () => {
  const harness = ClientHarness.ready();
  harness.put();
  harness.get();
  const [put] = harness.asked();
  harness.answer(put!, 'stream-unknown');
  assert.deepEqual(harness.outcomes(), ['outcome-unknown']);
  const [get] = harness.asked();
  assert.deepEqual([get!.kind, get!.member], ['get', 1]);
  harness.turn(0);
  const open = harness.messenger.take().find(({ control }) => typeOf(control, 0) === MESSAGE_CALL_OPEN);
  assert.equal(open!.control[1], 2, 'of a new generation');
  harness.say(0, openedOf(1, 10));
  assert.equal(harness.client.members.streamOf(0), 0, 'that stream is the one that was lost');
  harness.say(0, openedOf(2, 20));
  assert.equal(harness.client.members.streamOf(0), 20);
});

test('should not lose a stream over what is said of the one before it', () => {
  const harness = ClientHarness.ready({ memberCount: 1 });
  harness.put();
  const [first] = harness.asked();
  harness.answer(first!, 'stream-unknown');
  harness.turn(0);
  harness.say(0, openedOf(2, 20));
  harness.put();
  const [second] = harness.asked();
  harness.answer(second!, 'stream-unknown', { stream: 10 });
  assert.deepEqual([harness.client.members.streamOf(0), harness.outcomes()], [20, ['outcome-unknown']]);
});

test('should end a write that was sent as of unknown outcome, and anything else as without effect', () => {
  for (const end of ['deadline', 'aborted', 'closed'] as const) {
    const harness = ClientHarness.ready();
    const sent = [harness.put(), harness.delete(), harness.get()];
    harness.activeMask = 0;
    sent.push(harness.put());
    if (end === 'deadline') harness.turn(DEADLINE_MS);
    else if (end === 'closed') harness.client.close();
    else for (const id of sent) harness.client.cancel(id);
    assert.deepEqual(
      harness.ended.toSorted((a, b) => a.token - b.token).map(({ outcome }) => outcome),
      ['outcome-unknown', 'outcome-unknown', end, end],
    );
    assert.equal(harness.client.active, 0);
  }
});

test('should call another replica when one is busy, and wait when all are', () => {
  const harness = ClientHarness.ready();
  harness.put();
  const tried = [harness.asked()[0]!];
  for (let i = 0; i < 2; i++) {
    harness.answer(tried.at(-1)!, 'busy');
    tried.push(harness.asked()[0]!);
  }
  assert.deepEqual(
    tried.map(({ member }) => member),
    [0, 1, 2],
  );
  assert.equal(new Set(tried.map(({ generation }) => generation)).size, 3, 'each time another call');
  harness.answer(tried[2]!, 'busy');
  assert.deepEqual(harness.asked(), []);
  harness.turn(2);
  const [again] = harness.asked();
  assert.ok(again !== undefined && again.attempt === 0);
  harness.answer(tried[0]!, 'ok');
  assert.deepEqual(harness.outcomes(), [], 'nobody was to carry that one out');
  harness.answer(again, 'ok');
  assert.deepEqual(harness.outcomes(), ['ok']);
});

test('should call again when the replica gave up without effect before the client’s deadline', () => {
  const harness = ClientHarness.ready();
  for (const outcome of ['deadline', 'closed'] as const) {
    harness.put();
    const [first] = harness.asked();
    harness.answer(first!, outcome);
    const [second] = harness.asked();
    assert.notEqual(second!.member, first!.member);
    harness.answer(second!, 'ok');
  }
  assert.deepEqual(harness.outcomes(), ['ok', 'ok']);
});

test('should end no get for what one of two replicas can’t do', () => {
  const harness = ClientHarness.ready();
  harness.get();
  const [first] = harness.asked();
  harness.turn(FIRST_RTO_MS);
  const [second] = harness.asked();
  harness.answer(second!, 'busy');
  assert.deepEqual(harness.asked(), [], 'the other one may still answer');
  harness.answer(first!, 'absent');
  assert.deepEqual(harness.outcomes(), ['absent']);
});

test('should send what waits as soon as a replica takes calls', () => {
  const harness = new ClientHarness();
  harness.connect(1);
  harness.get();
  harness.put();
  harness.turn(0);
  assert.deepEqual(harness.asked(), []);
  harness.say(1, openedOf(1, 11));
  assert.deepEqual(
    harness.asked().map(({ member, kind }) => `${kind} ${member}`),
    ['get 1', 'put 1'],
  );
});

test('should try soon again when the session takes nothing now', () => {
  const harness = ClientHarness.ready();
  harness.messenger.full = true;
  harness.put();
  harness.messenger.full = false;
  harness.turn(2);
  assert.equal(harness.asked().length, 1);
  harness.messenger.full = true;
  harness.put();
  harness.turn(DEADLINE_MS);
  assert.deepEqual(harness.outcomes().toSorted(), ['deadline', 'outcome-unknown'], 'the second one never left');
});

test('should drop answers to calls that have ended, to no call, and from a replica that was not called', () => {
  const harness = ClientHarness.ready();
  harness.put();
  const [call] = harness.asked();
  harness.answer({ ...call!, member: 2 }, 'ok');
  harness.answer({ ...call!, slot: 7 }, 'ok');
  harness.answer({ ...call!, slot: 60_000 }, 'ok');
  harness.answer({ ...call!, generation: call!.generation + 1 }, 'ok');
  assert.deepEqual([harness.outcomes(), harness.drops.of('late-answer')], [[], 4]);
  const unknown = replyOf({ ...call!, outcome: 'ok' });
  unknown.control[0] = unknown.control[0]! | 0xff00;
  harness.say(0, unknown);
  assert.deepEqual([harness.outcomes(), harness.drops.of('malformed')], [[], 1]);
  harness.answer(call!, 'ok');
  harness.answer(call!, 'ok');
  assert.deepEqual([harness.outcomes(), harness.drops.of('late-answer')], [['ok'], 5]);
});

test('should hold as many calls as its table, and hand on what is no answer', () => {
  const harness = ClientHarness.ready({ capacity: 2 });
  assert.ok(harness.get() >= 0 && harness.put() >= 0);
  assert.equal(harness.get(), -1);
  harness.answer(harness.asked()[0]!, 'absent');
  assert.ok(harness.get() >= 0);
  const control = new Int32Array(2);
  writeHead(control, 0, MESSAGE_STATE_REQUEST, 0, 0, 0);
  harness.say(0, { control, value: new Uint8Array(0) });
  assert.equal(harness.others.length, 1);
  assert.equal(ClientHarness.ready({ capacity: 65_536 }).client.capacity, CALL_SLOTS_MAX);
});

test('should start the next call from the end of one', () => {
  const harness = ClientHarness.ready({ capacity: 1 });
  harness.put();
  harness.onEnded = () => {
    harness.onEnded = undefined;
    assert.ok(harness.get() >= 0);
  };
  harness.answer(harness.asked()[0]!, 'ok');
  const [get] = harness.asked();
  assert.equal(get!.kind, 'get');
  harness.answer(get!, 'absent');
  assert.deepEqual(harness.outcomes(), ['ok', 'absent']);
});
