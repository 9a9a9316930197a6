/** Calls and answers that are larger than a datagram, at the calling end. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MESSAGE_CALL_PART, MESSAGE_CALL_PULL } from '../../src/protocol/call-part-messages.ts';
import { typeOf } from '../../src/protocol/messages.ts';
import type { SentMessage } from '../protocol/fixtures.ts';
import { openedOf, replyOf } from './call-fixtures.ts';
import { partedReplyOf, progressOf, readPart, readPull, replyPartOf } from './call-part-fixtures.ts';
import type { Pull } from './call-part-fixtures.ts';
import { ClientHarness, DEADLINE_MS, FIRST_RTO_MS } from './call-client-harness.ts';

const VALUE = 'a value that is larger than a datagram '.repeat(10);
/** Of a message: parts of calls have 64, of answers 72. */
const SMALL_BYTES = 96;
const COUNT = Math.ceil((8 + 392) / 64);
const ALL = Array.from({ length: COUNT }, (_, part) => part);

interface Part {
  readonly part: number;
  readonly slot: number;
  readonly generation: number;
  readonly member: number;
  readonly isBulk: boolean;
}

class PartsHarness {
  readonly harness: ClientHarness;

  constructor(options: ConstructorParameters<typeof ClientHarness>[0] = {}) {
    this.harness = ClientHarness.ready(options);
    this.harness.messenger.bytesMax = SMALL_BYTES;
  }

  /** How many more messages the member takes. */
  room(member: number, count: number): void {
    const { links, messenger } = this.harness;
    messenger.room.set(links[member]!.session!, count);
  }

  /** Parts sent in a turn so much later. */
  parts(ms = 0): Part[] {
    return this.#sent(ms, MESSAGE_CALL_PART).map((message) => ({
      ...readPart(message),
      member: message.session.peer.identity.memberIndex,
      isBulk: message.isBulk,
    }));
  }

  pulls(ms = 0): Required<Pull>[] {
    return this.#sent(ms, MESSAGE_CALL_PULL).map(readPull);
  }

  #sent(ms: number, type: number): SentMessage[] {
    this.harness.turn(ms);
    return this.harness.messenger.take().filter(({ control }) => typeOf(control, 0) === type);
  }

  progress({ slot, generation, member }: Part, parts: readonly number[]): void {
    this.harness.say(member, progressOf({ slot, generation }, parts));
  }
}

test('should send a put that is larger than a datagram by parts, as credit allows, and end it as any', () => {
  const world = new PartsHarness();
  const { harness } = world;
  world.room(0, 3);
  harness.put(VALUE);
  const first = world.parts();
  assert.deepEqual(
    first.map(({ part }) => part),
    [0, 1, 2],
  );
  assert.ok(first.every(({ isBulk, member }) => isBulk && member === 0));
  world.room(0, 100);
  assert.deepEqual(
    world.parts().map(({ part }) => part),
    [3, 4, 5, 6],
  );
  world.progress(first[0]!, ALL);
  assert.deepEqual(world.parts(1), [], 'its answer is waited for');
  assert.deepEqual(harness.outcomes(), []);
  const { slot, generation } = first[0]!;
  harness.say(0, replyOf({ outcome: 'ok', slot, generation, stream: 10, attempt: 1 }));
  assert.deepEqual(harness.outcomes(), ['ok']);
  assert.equal(harness.client.active, 0);
});

test('should send one part again when one is lost, and any part to ask for the answer', () => {
  const world = new PartsHarness();
  const { harness } = world;
  harness.put(VALUE);
  const [first] = world.parts();
  world.progress(first!, [0, 2, 3, 4]);
  assert.deepEqual(
    world.parts().map(({ part }) => part),
    [1],
  );
  assert.equal(harness.client.counters.partsRepeated, 1);
  world.progress(first!, ALL);
  assert.deepEqual(world.parts(FIRST_RTO_MS - 1), []);
  const [again, ...none] = world.parts(1);
  assert.deepEqual([again!.part, again!.generation, again!.member, none.length], [0, first!.generation, 0, 0]);
  // The replica has begun anew: it had lost what it had.
  world.progress(first!, [0]);
  assert.deepEqual(
    world.parts(1).map(({ part }) => part),
    ALL.slice(1),
  );
});

test('should say that a put had no effect as long as some part was never sent, and not after that', () => {
  for (const [count, outcome] of [
    [COUNT - 1, 'deadline'],
    [COUNT, 'outcome-unknown'],
  ] as const) {
    const world = new PartsHarness({ memberCount: 1 });
    world.room(0, count);
    world.harness.put(VALUE);
    assert.equal(world.parts().length, count);
    world.room(0, 0);
    world.harness.turn(DEADLINE_MS);
    assert.deepEqual(world.harness.outcomes(), [outcome]);
  }
});

test('should send a put to another replica while some part was never sent to the first, and never after that', () => {
  for (const [count, moves] of [
    [COUNT - 1, true],
    [COUNT, false],
  ] as const) {
    const world = new PartsHarness();
    world.room(0, count);
    world.harness.put(VALUE);
    const [first] = world.parts();
    world.room(0, 0);
    const later: Part[] = [];
    for (let ms = 0; ms < DEADLINE_MS - 50; ms += 10) later.push(...world.parts(10));
    assert.equal(
      later.some(({ member }) => member !== 0),
      moves,
    );
    if (!moves) continue;
    const [other] = later.filter(({ member }) => member !== 0);
    assert.ok(other!.generation > first!.generation, 'under another generation');
    assert.deepEqual(world.harness.outcomes(), []);
  }
});

test('should send a put elsewhere when a replica is busy, or knows nothing of its stream', () => {
  const world = new PartsHarness();
  const { harness } = world;
  world.room(0, 2);
  harness.put(VALUE);
  const [first] = world.parts();
  const { slot, generation } = first!;
  harness.say(0, replyOf({ outcome: 'busy', slot, generation, stream: 10, attempt: 1 }));
  world.room(1, 2);
  const [second] = world.parts();
  assert.deepEqual([second!.member, second!.part, second!.generation], [1, 0, generation + 1]);
  harness.say(1, replyOf({ outcome: 'stream-unknown', slot, generation: generation + 1, stream: 11, attempt: 1 }));
  world.room(0, 100);
  assert.ok(world.parts(1).every(({ member }) => member !== 1));
  assert.deepEqual(harness.outcomes(), [], 'it can’t have begun');
});

test('should take no more calls by parts to a replica at once than fill any credit', () => {
  const world = new PartsHarness({ capacity: 20 });
  for (let i = 0; i < 12; i++) world.harness.put(VALUE);
  const slots = new Set(world.parts().map(({ slot }) => slot));
  assert.equal(slots.size, 8);
  const [slot] = slots;
  world.progress({ part: 0, slot: slot!, generation: 1, member: 0, isBulk: true }, ALL);
  assert.equal(new Set(world.parts(1).map(({ slot: next }) => next)).size, 1);
});

test('should go on in parts of another length when a session has other datagrams', () => {
  const world = new PartsHarness();
  const { harness } = world;
  world.room(0, 2);
  harness.put(VALUE);
  const [first] = world.parts();
  harness.messenger.bytesMax = SMALL_BYTES + 64;
  harness.connect(0, '0');
  const parts = world.parts(1);
  assert.deepEqual(
    parts.map(({ part }) => part),
    [0, 1, 2, 3],
  );
  assert.ok(parts.every(({ generation }) => generation === first!.generation));
});

/** A get whose answer goes by parts, and what asks for them. */
function pulled(): { world: PartsHarness; harness: ClientHarness; pulls: Required<Pull>[] } {
  const world = new PartsHarness();
  const { harness } = world;
  harness.get();
  const [call] = harness.asked();
  harness.say(0, partedReplyOf(call!, 77, VALUE.length));
  return { world, harness, pulls: world.pulls(1) };
}

const piece = ({ offset, bytes }: Pull): string => VALUE.slice(offset, offset + bytes);

test('should pull an answer that is larger than a datagram, and say when it has all', () => {
  const { world, harness, pulls } = pulled();
  assert.deepEqual(
    pulls.map(({ offset, bytes }) => [offset, bytes]),
    [0, 72, 144, 216, 288, 360].map((offset) => [offset, Math.min(72, VALUE.length - offset)]),
  );
  assert.ok(pulls.every(({ answer, stream }) => answer === 77 && stream === 10));
  for (const pull of pulls.toReversed()) harness.say(0, replyPartOf(pull, piece(pull)));
  assert.deepEqual(harness.ended, [{ token: 0, outcome: 'ok', value: VALUE }]);
  assert.deepEqual(harness.client.ended, { counter: 7, writerHigh: 1, writerLow: 2, rmw: 3, hasValue: true });
  assert.deepEqual(
    world.pulls().map(({ bytes }) => bytes),
    [0],
  );
});

test('should ask again for a part that is lost, and take none of another answer, member or length', () => {
  const { world, harness, pulls } = pulled();
  const [lost, ...others] = pulls;
  for (const pull of others.slice(0, 3)) harness.say(0, replyPartOf(pull, piece(pull)));
  assert.deepEqual(
    world.pulls(1).map(({ offset }) => offset),
    [0],
  );
  harness.say(0, replyPartOf({ ...lost!, answer: 78 }, piece(lost!)));
  harness.say(1, replyPartOf(lost!, piece(lost!)));
  harness.say(0, replyPartOf(lost!, 'short'));
  harness.say(0, replyPartOf({ ...lost!, offset: 8 }, piece(lost!)));
  harness.say(0, partedReplyOf(lost!, 78, VALUE.length));
  assert.deepEqual(harness.outcomes(), []);
  assert.deepEqual([harness.drops.of('late-answer'), harness.drops.of('malformed')], [3, 2]);
  for (const pull of [lost!, ...others.slice(3)]) harness.say(0, replyPartOf(pull, piece(pull)));
  assert.deepEqual(harness.ended, [{ token: 0, outcome: 'ok', value: VALUE }]);
});

test('should call a get anew when its answer is gone, when nothing comes, and when its stream is lost', () => {
  for (const end of [
    ({ harness, pulls }: ReturnType<typeof pulled>) => harness.say(0, replyPartOf(pulls[0]!, undefined)),
    ({ harness, pulls }: ReturnType<typeof pulled>) => {
      harness.say(0, replyPartOf(pulls[0]!, piece(pulls[0]!)));
      for (let ms = 0; ms < 100; ms += 1) harness.turn(1);
    },
    ({ harness }: ReturnType<typeof pulled>) => harness.connect(0, 'another'),
  ]) {
    const get = pulled();
    const { harness } = get;
    end(get);
    const [again] = harness.asked();
    assert.deepEqual([again!.kind, again!.generation], ['get', 2]);
    if (again!.member === 0) harness.say(0, openedOf(2, 20));
    harness.answer(again!, 'ok', { value: 'another' });
    assert.deepEqual(harness.ended, [{ token: 0, outcome: 'ok', value: 'another' }]);
    harness.client.invariants();
  }
});
