/** Who may write can name any counter; what a replica takes of that, and what replicas tell each other. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DropCounters } from '../../net/drops.ts';
import type { Session } from '../../net/session.ts';
import { COUNTER_STEP_MAX, CounterGuard } from '../../src/protocol/counter-guard.ts';
import {
  COUNTERS_BYTES,
  FLAG_ASK,
  MESSAGE_COUNTERS,
  ceilingOf,
  greatestOf,
  sendCounters,
} from '../../src/protocol/counters-message.ts';
import {
  FLAG_TOMBSTONE,
  FLAG_WRITE_BACK,
  MESSAGE_WRITE_PART,
  WORD_PART,
  flagsOf,
  messageBytes,
  typeOf,
} from '../../src/protocol/messages.ts';
import type { Peer } from '../../src/protocol/peer.ts';
import { STAMP_COUNTER_MAX } from '../../src/stamp.ts';
import { Dice } from '../cluster/dice.ts';
import { bytesOf, clientPeer, memberPeer, MessageRecorder, NO_STAMP, sessionWith, writeOf } from './fixtures.ts';
import type { Message, SentMessage, Stamp } from './fixtures.ts';
import { ReplicaHarness, WRITER } from './replica-harness.ts';
import { acceptOf, commitOf, prepareOf } from './rmw-fixtures.ts';
import { stagedOf } from './rmw-part-fixtures.ts';

const KEY = bytesOf('a key');
const TAG = Int32Array.of(1, 2, 3, 4);
const ENVELOPE = new Uint8Array(40);
const PART_BYTES = 16;

function stampOf(counter: number, rmw = 0): Stamp {
  return { counter, rmw, ...WRITER };
}

/** The part that its key comes with. */
function partOf(stamp: Stamp): Message {
  const { control } = writeOf({ type: MESSAGE_WRITE_PART, key: KEY, stamp, tag: TAG, envelope: ENVELOPE });
  control[WORD_PART] = (PART_BYTES / 8) << 16;
  return { control, value: new Uint8Array(0) };
}

function proposalOf(stamp: Stamp) {
  return { id: { sequence: 1, writer: WRITER }, stamp, envelope: ENVELOPE, tag: TAG };
}

const BRINGERS: readonly (readonly [string, (counter: number) => Message])[] = [
  ['WRITE', (counter) => writeOf({ key: KEY, stamp: stampOf(counter), tag: TAG, envelope: ENVELOPE })],
  [
    'WRITE of a tombstone',
    (counter) => writeOf({ key: KEY, stamp: stampOf(counter), tag: TAG, flags: FLAG_TOMBSTONE }),
  ],
  [
    'WRITE that is a write-back',
    (counter) => writeOf({ key: KEY, stamp: stampOf(counter), tag: TAG, envelope: ENVELOPE, flags: FLAG_WRITE_BACK }),
  ],
  ['WRITE_PART', (counter) => partOf(stampOf(counter))],
  ['STAGE_PART', (counter) => stagedOf(KEY, proposalOf(stampOf(counter, 1)), PART_BYTES)[0]!],
  ['ACCEPT', (counter) => acceptOf(KEY, 1, { number: 1, writer: WRITER }, proposalOf(stampOf(counter, 1)))],
  ['PREPARE by its ballot', (number) => prepareOf(KEY, 1, { number, writer: WRITER })],
  [
    'ACCEPT by its ballot',
    (number) => acceptOf(KEY, 1, { number, writer: WRITER }, proposalOf({ ...NO_STAMP, rmw: 1 })),
  ],
  ['COMMIT', (counter) => commitOf(KEY, 1, { stamp: stampOf(counter, 1), sealed: proposalOf(stampOf(counter, 1)) })],
];

for (const [name, bring] of BRINGERS) {
  test(`should take a ${name} up to the ceiling, and drop and count one above, without an answer or memory for it`, () => {
    const replica = new ReplicaHarness();
    const { ceiling } = replica.guard;
    const used = replica.store.stats();
    for (const counter of [STAMP_COUNTER_MAX, ceiling + 1]) {
      assert.deepEqual(replica.ask([bring(counter)]), []);
    }
    assert.equal(replica.drops.of('counter-too-far'), 2);
    assert.deepEqual(replica.store.stats(), used);
    assert.equal(replica.replica.reassemblies.openCount, 0);
    assert.equal(replica.guard.greatest, 0);
    assert.equal(replica.ask([bring(ceiling)]).length, 1, 'it is answered');
    assert.equal(replica.guard.greatest, ceiling);
    assert.equal(replica.drops.of('counter-too-far'), 2);
  });
}

// -- the ceiling and time -------------------------------------------------------------------------------------------

interface Member {
  readonly guard: CounterGuard;
  readonly messenger: MessageRecorder;
  readonly drops: DropCounters;
  /** With the others, by index; its own place is never used. */
  readonly sessions: readonly Session<Peer>[];
}

function members(count: number): Member[] {
  return Array.from({ length: count }, (_, index) => {
    const messenger = new MessageRecorder();
    const drops = new DropCounters();
    const sessions = Array.from({ length: count }, (_unused, other) => sessionWith(memberPeer(other)));
    const others = sessions.filter((_session, other) => other !== index);
    const guard = new CounterGuard({ messenger, drops, isActive: () => true, peerSessions: () => others });
    guard.begin(0);
    return { guard, messenger, drops, sessions };
  });
}

/** Hands over what a member has sent, but what is lost. */
function deliver(all: readonly Member[], from: number, nowMs: number, isLost: () => boolean = () => false): void {
  const sender = all[from]!;
  for (const { control, session } of sender.messenger.take()) {
    const to = sender.sessions.indexOf(session);
    if (isLost()) continue;
    const { guard, messenger, sessions } = all[to]!;
    guard.begin(nowMs);
    guard.onCounters(sessions[from]!, messenger, control, 0);
  }
}

test('should let the ceiling rise by a step a second, not by what is refused, and to a step above what was taken', () => {
  const { guard, drops } = members(1)[0]!;
  const step = COUNTER_STEP_MAX;
  guard.begin(10_000);
  assert.equal(guard.ceiling, step, 'nothing was written');
  assert.ok(guard.takes(step));
  guard.begin(10_500);
  assert.equal(guard.ceiling, step * 1.5);
  guard.begin(20_000);
  assert.equal(guard.ceiling, 2 * step, 'a step above the greatest');
  assert.ok(guard.takes(2 * step));
  assert.ok(!guard.takes(STAMP_COUNTER_MAX));
  assert.equal(drops.of('counter-too-far'), 1);
  guard.begin(80_000);
  assert.equal(guard.ceiling, 3 * step, 'a minute in which it stood still counts as a second');
  guard.invariants();
});

test('should rise towards what is refused again and again, for who is left alone with it', () => {
  const { guard } = members(1)[0]!;
  const counter = 5 * COUNTER_STEP_MAX;
  let tookMs = 0;
  while (!guard.takes(counter)) guard.begin((tookMs += 125));
  assert.equal(tookMs, 4_000);
  guard.begin((tookMs += 2_000));
  assert.equal(guard.ceiling, counter + COUNTER_STEP_MAX);
});

test('should ask the others at once when it refuses, and take over what they say', () => {
  const all = members(3);
  const [ahead, other, behind] = all.map(({ guard }) => guard) as [CounterGuard, CounterGuard, CounterGuard];
  for (let second = 1; second <= 60; second++) {
    ahead.takes(ahead.ceiling);
    ahead.begin(second * 1_000);
  }
  const counter = ahead.ceiling;
  assert.ok(ahead.takes(counter));
  other.begin(60_000);
  behind.begin(60_000);
  assert.ok(!behind.takes(counter));
  behind.tick(60_000);
  deliver(all, 2, 60_000);
  deliver(all, 0, 60_000);
  deliver(all, 1, 60_000);
  assert.equal(behind.ceiling, counter);
  assert.ok(behind.takes(counter));
  assert.ok(!other.takes(counter), 'nobody has told it yet');
  ahead.tick(60_000);
  deliver(all, 0, 60_000);
  assert.ok(other.takes(counter));
});

test('should tell the others once a second, and ask no more than once in 10 ms', () => {
  const all = members(3);
  const [{ guard, messenger }] = all as [Member];
  const sent = (nowMs: number): SentMessage[] => {
    guard.begin(nowMs);
    guard.tick(nowMs);
    return messenger.take();
  };
  const told = sent(0);
  assert.equal(told.length, 2);
  for (const { control } of told) {
    assert.equal(messageBytes(control, 0, control.length, 0), COUNTERS_BYTES);
    assert.deepEqual([typeOf(control, 0), flagsOf(control, 0)], [MESSAGE_COUNTERS, 0]);
    assert.deepEqual([greatestOf(control, 0), ceilingOf(control, 0)], [0, COUNTER_STEP_MAX]);
  }
  assert.deepEqual(sent(999), []);
  assert.equal(sent(1_000).length, 2);
  guard.takes(STAMP_COUNTER_MAX);
  assert.deepEqual(
    sent(1_001).map(({ control }) => flagsOf(control, 0)),
    [FLAG_ASK, FLAG_ASK],
  );
  guard.takes(STAMP_COUNTER_MAX);
  assert.deepEqual(sent(1_010), []);
  assert.equal(sent(1_011).length, 2);
  assert.deepEqual(sent(1_050), []);
});

test('should believe no client, and tell nothing while it is outside', () => {
  const { guard, messenger, drops } = members(1)[0]!;
  sendCounters(messenger, sessionWith(memberPeer(1)), FLAG_ASK, STAMP_COUNTER_MAX, STAMP_COUNTER_MAX);
  const [{ control }] = messenger.take() as [SentMessage];
  guard.onCounters(sessionWith(clientPeer(WRITER)), messenger, control, 0);
  assert.equal(guard.ceiling, COUNTER_STEP_MAX);
  assert.equal(drops.of('unexpected-message'), 1);
  assert.deepEqual(messenger.take(), [], 'it is not answered');

  const replica = new ReplicaHarness({ memberCount: 3 });
  replica.guard.tick(0);
  assert.deepEqual(replica.ask([{ control, value: new Uint8Array(0) }], sessionWith(memberPeer(1))), []);
  assert.equal(replica.guard.ceiling, COUNTER_STEP_MAX);
  assert.equal(replica.drops.of('not-active'), 1);
});

test('should not let a ceiling rise faster than time, whatever is written where, told, asked and lost', () => {
  for (let seed = 1; seed <= 200; seed++) {
    const dice = new Dice(seed);
    const all = members(dice.pick([1, 3, 5]));
    let nowMs = 0;
    for (let round = 0; round < 300; round++) {
      nowMs += dice.pick([0, 0.2, 3, 25, 400, 3_000]);
      const index = dice.integer(0, all.length - 1);
      const { guard } = all[index]!;
      guard.begin(nowMs);
      // The worst that a client can do, and what it does in vain.
      guard.takes(dice.pick([guard.ceiling, guard.ceiling, guard.ceiling + 1, STAMP_COUNTER_MAX]));
      guard.tick(nowMs);
      deliver(all, index, nowMs, () => dice.chance(0.3));
      guard.invariants();
      const greatest = Math.max(...all.map((member) => member.guard.ceiling));
      assert.ok(greatest <= COUNTER_STEP_MAX * (1 + nowMs / 1_000), `seed ${seed}, ${nowMs} ms`);
    }
  }
});
