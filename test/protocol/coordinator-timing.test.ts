/** What a coordinator does when answers, or the sealing, take their time; and what no input may do to it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { MESSAGE_READ, MESSAGE_STAMP, MESSAGE_WRITE } from '../../src/protocol/messages.ts';
import { seededRandom } from '../workers/random.ts';
import { ReorderingSealing } from '../workers/reordering-sealing.ts';
import { incomingOf, memberPeer, readReply, readRequest, sessionWith, stampOf, stampReply } from './fixtures.ts';
import { CoordinatorHarness, flip, KEY, wantsValue } from './coordinator-harness.ts';
import type { Asked } from './coordinator-harness.ts';

/** Teaches it round trips of 1 ms, so that it waits no longer than that calls for. */
function warmUp(harness: CoordinatorHarness): void {
  for (let i = 0; i < 400; i++) {
    harness.get();
    const reads = harness.asked(MESSAGE_READ);
    harness.turn(1);
    for (const read of reads) harness.answerRead(read, { stamp: stampOf(0, 0), tombstone: true });
  }
  harness.ended.length = 0;
  for (const counter of ['retransmissions', 'hedges'] as const) harness.coordinator.counters[counter] = 0;
}

function untilAsked(harness: CoordinatorHarness, type: number, msMax = 2_000): Asked[] {
  for (let passed = 0; passed < msMax; passed++) {
    harness.turn(1);
    if (harness.messenger.sent.length > 0) return harness.asked(type);
  }
  return assert.fail('nobody is asked');
}

test('should ask the rest, too, when the first quorum takes longer than usual: for the value as well', () => {
  const harness = new CoordinatorHarness();
  warmUp(harness);
  const copy = harness.copyOf('x', stampOf(5));
  harness.get();
  const first = harness.asked(MESSAGE_READ);
  const plain = first.find((read) => !wantsValue(read))!;
  harness.answerRead(plain, { stamp: copy.stamp });
  const startMs = harness.nowMs;
  const hedged = untilAsked(harness, MESSAGE_READ);
  assert.ok(harness.nowMs - startMs < 50, `after ${harness.nowMs - startMs} ms`);
  assert.deepEqual(
    hedged.map(({ member }) => member),
    [0, 1, 2].filter((member) => !first.some((read) => read.member === member)),
  );
  assert.ok(wantsValue(hedged[0]!), 'who was to send the value is silent');
  assert.equal(hedged[0]!.generation, plain.generation, 'it is the same phase');
  harness.answerRead(hedged[0]!, copy);
  assert.deepEqual(harness.ended, [{ token: 400, outcome: 'ok', value: 'x' }]);
  assert.deepEqual([harness.coordinator.counters.hedges, harness.coordinator.counters.retransmissions], [1, 0]);
});

test('should ask again those that are silent, and only them, in the same phase under the same stamp', () => {
  const harness = new CoordinatorHarness();
  warmUp(harness);
  const writes = harness.putUntilWrite('x', [3, 3]);
  harness.answerWrites([writes[1]!]);
  const again = untilAsked(harness, MESSAGE_WRITE);
  assert.deepEqual(
    again.map(({ member }) => member),
    [0, 2],
  );
  for (const write of again) {
    const { member: _member, ...sent } = writes[write.member]!;
    const { member: _again, ...repeated } = write;
    assert.deepEqual(repeated, sent, 'byte for byte what was sent before');
  }
  assert.equal(harness.coordinator.counters.retransmissions, 2);
  harness.answerWrites(again.slice(0, 1));
  assert.deepEqual(harness.outcomes(), ['ok']);
  harness.run(2_000);
  harness.assertNothingAsked();
});

test('should wait twice as long before each further repetition, and for ever end by its deadline', () => {
  const harness = new CoordinatorHarness();
  warmUp(harness);
  harness.put('x');
  const times: number[] = [];
  const startMs = harness.nowMs;
  while (harness.ended.length === 0) {
    harness.turn(1);
    if (harness.messenger.sent.length > 0) times.push(harness.nowMs - startMs);
    harness.messenger.take();
  }
  assert.deepEqual(harness.outcomes(), ['deadline']);
  assert.ok(harness.nowMs - startMs <= 5_001);
  assert.ok(times.length > 5 && times.length < 40, `${times.length} sendings in 5 s`);
  const gaps = times.slice(1).map((time, i) => time - times[i]!);
  assert.ok(gaps.at(-1)! > gaps[1]! * 4);
});

test('should send what did not go out at once when the session takes it', () => {
  const harness = new CoordinatorHarness();
  harness.messenger.full = true;
  harness.get();
  harness.run(20);
  harness.messenger.full = false;
  const reads = untilAsked(harness, MESSAGE_READ);
  assert.ok(reads.length >= 2);
  assert.equal(harness.coordinator.counters.hedges, 0, 'nobody was asked before');
});

test('should wait for members to become ready, and use them when they do', () => {
  const harness = new CoordinatorHarness();
  harness.readyMask = 0b010;
  harness.get();
  const [only] = harness.asked(MESSAGE_READ);
  harness.answerRead(only!, { stamp: stampOf(0, 0), tombstone: true });
  harness.run(100);
  assert.deepEqual(harness.ended, [], 'one is no quorum of three');
  harness.messenger.take();
  harness.readyMask = 0b110;
  const reads = untilAsked(harness, MESSAGE_READ);
  assert.deepEqual(
    reads.map(({ member }) => member),
    [2],
  );
  harness.answerRead(reads[0]!, { stamp: stampOf(0, 0), tombstone: true });
  assert.deepEqual(harness.outcomes(), ['absent']);
});

test('should ask a member that died last, probe it now and then, and use it again once it answers', () => {
  const harness = new CoordinatorHarness();
  warmUp(harness);
  let deadAsked = 0;
  const serve = (deadMember: number) => {
    for (let i = 0; i < 300; i++) {
      harness.get();
      for (let passed = 0; harness.coordinator.active > 0; passed++) {
        assert.ok(passed < 100);
        const reads = harness.messenger.sent.length > 0 ? harness.asked(MESSAGE_READ) : [];
        harness.turn(1);
        for (const read of reads) {
          if (read.member === deadMember) deadAsked++;
          else harness.answerRead(read, { stamp: stampOf(0, 0), tombstone: true });
        }
      }
    }
  };
  const startMs = harness.nowMs;
  serve(2);
  assert.ok(deadAsked >= 3, `asked ${deadAsked} times`);
  assert.ok(
    deadAsked <= (harness.nowMs - startMs) / 50 + 5,
    `asked ${deadAsked} times in ${harness.nowMs - startMs} ms`,
  );
  serve(-1);
  const before = deadAsked;
  serve(1);
  assert.ok(deadAsked > before);
  assert.ok(harness.outcomes().every((outcome) => outcome === 'absent'));
});

// -- the sealing takes its time ---------------------------------------------------------------------------------------

/** A sealing that finishes nothing until told. */
function heldSealing() {
  const gate = { open: false };
  const wrapSealing: NonNullable<ConstructorParameters<typeof CoordinatorHarness>[0]>['wrapSealing'] = (sealing) => {
    const drain = sealing.drainValues.bind(sealing);
    sealing.drainValues = (sink) => (gate.open ? drain(sink) : 0);
    return sealing;
  };
  return { gate, wrapSealing };
}

test('should send no WRITE before its value is sealed, though every STAMP is answered', () => {
  const { gate, wrapSealing } = heldSealing();
  const harness = new CoordinatorHarness({ wrapSealing: wrapSealing! });
  harness.put('x');
  harness.turn(0);
  for (const stamp of harness.asked(MESSAGE_STAMP)) harness.answer(stamp, stampReply(stamp, 0));
  harness.run(100);
  harness.assertNothingAsked();
  gate.open = true;
  harness.turn(1);
  assert.equal(harness.asked(MESSAGE_WRITE).length, 3);
});

test('should keep a value that is being sealed or opened until that is done, however the operation ends', () => {
  for (const end of ['deadline', 'aborted', 'closed'] as const) {
    const { gate, wrapSealing } = heldSealing();
    const harness = new CoordinatorHarness({ wrapSealing: wrapSealing!, capacity: 2 });
    const put = harness.put('x');
    const get = harness.get();
    harness.turn(0);
    if (end === 'deadline') harness.run(5_001);
    else if (end === 'closed') harness.coordinator.close();
    else for (const operation of [put, get]) harness.coordinator.cancel(operation);
    assert.deepEqual(harness.outcomes(), [end, end]);
    assert.equal(harness.coordinator.active, 1, 'the put has its place until the sealing lets go');
    assert.ok(harness.memory.usedBlocks >= 2);
    gate.open = true;
    harness.turn(1);
    harness.assertIdle();
    assert.equal(harness.ended.length, 2, 'it ends once');
  }
});

test('should answer no get whose value has not been opened yet, and none after its end', () => {
  const { gate, wrapSealing } = heldSealing();
  const harness = new CoordinatorHarness({ wrapSealing: wrapSealing! });
  const copy = harness.copyOf('y', stampOf(5));
  const get = harness.get();
  for (const read of harness.asked(MESSAGE_READ)) {
    harness.answerRead(read, wantsValue(read) ? copy : { stamp: copy.stamp });
  }
  harness.run(10);
  assert.deepEqual(harness.ended, []);
  harness.coordinator.cancel(get);
  assert.deepEqual(harness.outcomes(), ['aborted']);
  gate.open = true;
  harness.turn(1);
  assert.equal(harness.ended.length, 1);
  harness.assertIdle();
});

test('should not seal the value of a put that has ended, nor take its place for another', () => {
  const harness = new CoordinatorHarness({ capacity: 1 });
  const put = harness.put('x');
  harness.coordinator.cancel(put);
  harness.get();
  harness.turn(0);
  harness.coordinator.close();
  harness.assertIdle();
  assert.deepEqual(harness.outcomes(), ['aborted', 'closed']);
});

test('should seal each of two puts that had the same place in one turn', () => {
  const harness = new CoordinatorHarness({ capacity: 1 });
  harness.coordinator.cancel(harness.put('first'));
  harness.messenger.take();
  harness.put('second');
  harness.turn(0);
  for (const stamp of harness.asked(MESSAGE_STAMP)) harness.answer(stamp, stampReply(stamp, 0));
  harness.answerWrites(harness.asked(MESSAGE_WRITE));
  assert.deepEqual(harness.outcomes(), ['aborted', 'ok']);
  harness.assertIdle();
});

/** Replicas that hold what they are told, one of them with a copy that was tampered with. */
class Replicas {
  readonly #held = new Map<string, ReturnType<CoordinatorHarness['copyOf']>>();
  readonly #harness: CoordinatorHarness;

  constructor(harness: CoordinatorHarness) {
    this.#harness = harness;
  }

  serve(): void {
    const harness = this.#harness;
    for (const { control, value, session } of harness.messenger.take()) {
      const member = session.peer.identity.memberIndex;
      const request = { ...readRequest({ control, value }), member };
      const place = `${member} ${request.key.join()}`;
      const held = this.#held.get(place);
      if (request.type === MESSAGE_READ) {
        if (held === undefined) harness.answerRead(request, { stamp: stampOf(0, 0), tombstone: true });
        else if (!wantsValue(request)) harness.answerRead(request, { stamp: held.stamp });
        else harness.answerRead(request, member === 1 ? flip(held) : held);
      } else if (request.type === MESSAGE_STAMP) {
        harness.answer(request, stampReply(request, held?.stamp.counter ?? 0));
      } else if (request.type === MESSAGE_WRITE) {
        if (held === undefined || request.stamp.counter > held.stamp.counter) {
          this.#held.set(place, { stamp: request.stamp, envelope: request.value, tag: request.tag });
        }
        harness.answerWrites([request]);
      }
    }
  }
}

test('should get what was put with a sealing that is late and out of order, and with bad copies', () => {
  const harness = new CoordinatorHarness({
    capacity: 64,
    wrapSealing: (sealing) => new ReorderingSealing(sealing, seededRandom(3)),
  });
  const replicas = new Replicas(harness);
  const settle = () => {
    for (let passed = 0; harness.coordinator.active > 0; passed++) {
      assert.ok(passed < 3_000, 'it never ends');
      replicas.serve();
      harness.turn(1);
    }
  };
  const keys = Array.from({ length: 40 }, (_, i) => Uint8Array.of(7, i));
  keys.forEach((key, i) => harness.put(`value ${i}`, key));
  settle();
  assert.ok(harness.outcomes().every((outcome) => outcome === 'ok'));
  harness.ended.length = 0;
  for (const key of keys) harness.get(key);
  settle();
  assert.equal(harness.ended.length, 40);
  for (const { token, outcome, value } of harness.ended) {
    assert.deepEqual([outcome, value], ['ok', `value ${token - 40}`]);
  }
  assert.ok(harness.coordinator.counters.repairs > 0);
  harness.assertIdle();
});

// -- input ------------------------------------------------------------------------------------------------------------

test('should take any words as messages, in any phase, without throwing', () => {
  const word = fc.oneof(fc.integer(), fc.integer({ min: -8, max: 60 }), fc.constantFrom(2 ** 31 - 1, -(2 ** 31)));
  const session = sessionWith(memberPeer(1), true);
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.integer({ min: 1, max: 12 }), fc.nat(255), fc.array(word, { maxLength: 20 })), {
        maxLength: 6,
      }),
      fc.constantFrom('get', 'put', 'write', 'fetch'),
      (messages, stage) => {
        const harness = new CoordinatorHarness();
        if (stage === 'write') harness.putUntilWrite('x');
        else if (stage === 'put') harness.put('x');
        else harness.get(KEY);
        harness.turn(0);
        if (stage === 'fetch') {
          const [read] = harness.asked(MESSAGE_READ);
          harness.answer(read!, readReply(read!, { stamp: stampOf(3) }));
        }
        for (const [type, flags, rest] of messages) {
          // Slot 0 and small generations: some hit the operation.
          const control = Int32Array.from([
            type | (flags << 8),
            rest.length % 5,
            ...rest,
            ...(rest.length % 2 === 0 ? [] : [0]),
          ]);
          harness.coordinator.onMessages(incomingOf(session, [{ control, value: new Uint8Array(48) }]), harness.nowMs);
          harness.sealing.drainValues(harness.coordinator);
          harness.coordinator.invariants();
        }
        harness.coordinator.close();
        harness.turn(0);
        harness.assertIdle();
        assert.equal(harness.ended.length, 1);
      },
    ),
    { numRuns: 300 },
  );
});
