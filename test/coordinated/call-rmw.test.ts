/** Read-modify-writes as calls: what a CALL says of one, and that its answer is told again and the call never run again. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { alignUp, regionOf } from '../../net/bytes.ts';
import { DropCounters } from '../../net/drops.ts';
import type { Session } from '../../net/session.ts';
import { add, deleteIf, setIf, setTo } from '../../src/client/read-modify-write.ts';
import { versionOf } from '../../src/client/version.ts';
import { CallServer } from '../../src/coordinated/call-server.ts';
import { KEPT_BYTES } from '../../src/coordinated/kept-answers.ts';
import { CALL_BYTES, WORD_CALL_VALUE_BYTES } from '../../src/protocol/call-messages.ts';
import { CALL_RMW_BYTES, callRmwBytes, callRmwBytesOf } from '../../src/protocol/call-rmw.ts';
import { messageBytes } from '../../src/protocol/messages.ts';
import type { Peer } from '../../src/protocol/peer.ts';
import type { RmwRequest } from '../../src/protocol/rmw-request.ts';
import { TrustedBudget } from '../../src/store/trusted-budget.ts';
import { bytesOf, clientPeer, incomingOf, MessageRecorder, sessionWith } from '../protocol/fixtures.ts';
import { ScriptedCoordinator, callOf, openOf, readCall, readOpened, readReply } from './call-fixtures.ts';
import type { CallParts, Reply } from './call-fixtures.ts';

const STAMP = { counter: 2 ** 40 + 5, writerHigh: -7, writerLow: 2 ** 31 - 1, rmw: -1 };
const NEXT = { ...STAMP, rmw: 0 };

const REQUESTS: readonly RmwRequest[] = [
  setIf({ value: 'what was there' }, 'new'),
  setIf({ value: '' }, ''),
  setIf({ version: versionOf(STAMP) }, 'new'),
  setIf({ absent: true }, 'first'),
  setTo('whatever was there'),
  deleteIf({ value: 'seven b' }),
  deleteIf({ version: versionOf(STAMP) }),
  add(1n),
  add(-(2n ** 63n)),
  add(2n ** 63n - 1n),
  add(-1),
  add(-(2n ** 32n)),
];

test('should say in a CALL what is asked for, field by field', () => {
  for (const request of REQUESTS) {
    const { control, value } = callOf({ kind: 'rmw', key: 'a key', request });
    assert.equal(value.length, 0, 'values are in the control part, which is encrypted');
    const read = readCall({ control, value }).request!;
    assert.deepEqual(
      { ...read, value: Buffer.from(read.value), expected: Buffer.from(read.expected) },
      { ...request, value: Buffer.from(request.value), expected: Buffer.from(request.expected) },
    );
  }
});

/** Changes and conditions that the library has; what replicas do for themselves, as sealing anew, is none of a client's. */
const KINDS = new Set(REQUESTS.map(({ change, condition }) => change | (condition << 8)));

test('should take no CALL that is cut off, or asks for what there is not', () => {
  for (const request of REQUESTS) {
    const { control } = callOf({ kind: 'rmw', key: 'a key', request });
    const operand = control.length - (callRmwBytesOf(request) >> 2);
    for (let words = control.length - 2; words > 0; words -= 2) {
      assert.equal(messageBytes(control, 0, words, 0), -1, `${words} of ${control.length} words`);
    }
    const changed = (change: (words: Int32Array) => void): number => {
      const words = control.slice();
      change(words);
      return messageBytes(words, 0, words.length, 0);
    };
    for (const bytes of [-1, -(2 ** 31), 2 ** 31 - 1, 2 ** 31 - 8, request.expected.length + 8]) {
      assert.equal(
        changed((words) => (words[operand + 1] = bytes)),
        -1,
        `${bytes} expected bytes`,
      );
    }
    for (let kind = 0; kind < 2 ** 16; kind += 1) {
      const accepted = changed((words) => (words[operand] = kind));
      if (!KINDS.has(kind)) assert.equal(accepted, -1, `kind ${kind}`);
    }
    assert.equal(
      changed((words) => (words[operand]! |= 1 << 16)),
      -1,
      'bytes that mean nothing are zero',
    );
    assert.equal(
      changed((words) => (words[operand + 5] = 1 << 21)),
      -1,
      'counters end at 2^53',
    );
  }
  const increment = callOf({ kind: 'rmw', key: 'a key', request: { ...add(1n), value: bytesOf('x') } });
  assert.equal(messageBytes(increment.control, 0, increment.control.length, 0), -1, 'an increment has no value');
});

test('should never read beyond what is there, whatever the words say', () => {
  fc.assert(
    fc.property(fc.int32Array({ minLength: 0, maxLength: 24 }), fc.nat(), fc.nat(40), (words, at, valueBytes) => {
      const word = words.length === 0 ? 0 : at % words.length;
      const bytesLeft = (words.length - word) * 4;
      const byteCount = callRmwBytes(words, word, valueBytes, bytesLeft);
      assert.ok(byteCount === -1 || (byteCount >= CALL_RMW_BYTES && byteCount <= alignUp(bytesLeft)));
    }),
  );
});

class Harness {
  readonly messenger = new MessageRecorder();
  readonly drops = new DropCounters();
  readonly coordinator = new ScriptedCoordinator(64);
  readonly budget: TrustedBudget;
  readonly server: CallServer;
  readonly session: Session<Peer>;
  stream = 0;

  constructor({ grants = 'rw:', trustedBytes = 2 ** 26, slotCount = 4 } = {}) {
    this.budget = new TrustedBudget(trustedBytes);
    this.server = new CallServer({
      messenger: this.messenger,
      drops: this.drops,
      budget: this.budget,
      coordinator: () => this.coordinator,
    });
    this.coordinator.sink = this.server;
    this.session = sessionWith(clientPeer({ writerHigh: 0, writerLow: 1 }, grants));
    const opened = incomingOf(this.session, [openOf(1, slotCount)]);
    this.server.onOpen(opened, opened.word, 1_000);
    this.stream = readOpened(this.messenger.take()[0]!).stream;
  }

  call(parts: Omit<CallParts, 'key' | 'stream'>, session = this.session): Reply[] {
    const incoming = incomingOf(session, [callOf({ key: 'key', ...parts, stream: this.stream })]);
    this.server.onCall(incoming, incoming.word, 1_000);
    this.server.invariants();
    return this.replies();
  }

  replies(): Reply[] {
    return this.messenger.take().map(readReply);
  }

  end(
    ...[outcome, value, stamp]: Parameters<ScriptedCoordinator['end']> extends [unknown, ...infer Rest] ? Rest : never
  ) {
    this.coordinator.end([...this.coordinator.running.values()].at(-1)!, outcome, value, stamp);
    this.server.invariants();
    return this.replies();
  }
}

const RMW = { kind: 'rmw', slot: 2, generation: 5 } as const;

test('should run what is asked for, and answer with what came of it', () => {
  const harness = new Harness();
  for (const [i, request] of REQUESTS.entries()) {
    const call = { ...RMW, generation: 5 + i, request };
    assert.deepEqual(harness.call(call), []);
    const started = harness.coordinator.started.at(-1)!;
    assert.equal(started.key, 'key');
    assert.deepEqual(started.request, {
      ...request,
      value: Uint8Array.from(request.value),
      expected: Uint8Array.from(request.expected),
      // What a CALL_REPLY with a version has room for in this session's datagrams.
      answerBytesMax: (60_000 - 48) & ~7,
    });
    const [outcome, value] = (
      [
        ['mismatch', 'was there'],
        ['mismatch', ''],
        ['mismatch', undefined],
        ['ok', undefined],
        ['ok', 'before'],
      ] as const
    )[i % 5]!;
    assert.deepEqual(harness.end(outcome, value, STAMP), [
      {
        version: STAMP,
        found: value !== undefined,
        outcome,
        slot: 2,
        generation: 5 + i,
        stream: harness.stream,
        attempt: 0,
        value: value ?? '',
      },
    ]);
  }
});

test('should answer a get with a version when it is asked for, and a plain one without', () => {
  const harness = new Harness();
  harness.call({ kind: 'get with version', slot: 0 });
  assert.deepEqual([harness.end('ok', 'value', STAMP)[0]!.version], [STAMP]);
  harness.call({ kind: 'get with version', slot: 0, generation: 2 });
  const [absent] = harness.end('absent', undefined, NEXT);
  assert.deepEqual([absent!.outcome, absent!.version, absent!.value], ['absent', NEXT, '']);
  harness.call({ kind: 'get', slot: 0, generation: 3 });
  assert.equal(harness.end('ok', 'value', STAMP)[0]!.version, undefined);
  harness.call({ kind: 'get with version', slot: 0, generation: 3, attempt: 1 });
  assert.equal(harness.coordinator.started.length, 4, 'it has no effect: it is run again');
});

test('should tell a repeated call what was told, and not run it again', () => {
  const harness = new Harness();
  const call = { ...RMW, generation: 9, request: setTo('new') };
  harness.call(call);
  const [first] = harness.end('ok', 'before', STAMP);
  // Other clients' operations end meanwhile, and what is opened last is theirs.
  harness.call({ ...RMW, slot: 0, request: setTo('other') });
  harness.end('mismatch', 'another', NEXT);
  for (const attempt of [1, 2, 3]) {
    assert.deepEqual(harness.call({ ...call, attempt }), [{ ...first!, attempt }]);
  }
  assert.equal(harness.coordinator.started.length, 2);
  const outcomes = ['outcome-unknown', 'not-an-integer', 'overflow', 'value-too-large', 'deadline'] as const;
  for (const [i, outcome] of outcomes.entries()) {
    const next = { ...call, generation: 10 + i };
    harness.call(next);
    assert.equal(harness.end(outcome)[0]!.outcome, outcome);
    assert.equal(harness.call({ ...next, attempt: 1 })[0]!.outcome, outcome);
  }
  assert.equal(harness.coordinator.started.length, 7);
});

test('should have an answer for a client that the first one could not be sent to', () => {
  const harness = new Harness();
  const call = { ...RMW, request: setTo('new') };
  harness.call(call);
  harness.messenger.full = true;
  assert.deepEqual(harness.end('ok', 'before', STAMP), []);
  harness.messenger.full = false;
  const [again] = harness.call({ ...call, attempt: 1 });
  assert.deepEqual([again!.outcome, again!.value, again!.version], ['ok', 'before', STAMP]);
  // A session with smaller datagrams has taken the place of the one that it came by.
  harness.messenger.bytesMax = 48;
  assert.equal(harness.call({ ...call, attempt: 2 })[0]!.outcome, 'outcome-unknown');
  assert.equal(harness.coordinator.started.length, 1);
});

test('should not know any more what came of a call whose answer has given way, and not run it again', () => {
  const harness = new Harness();
  const call = { ...RMW, slot: 3, request: setTo('new') };
  harness.call(call);
  harness.end('ok', 'before', STAMP);
  const value = 'x'.repeat(30_000);
  let told = 0;
  for (let generation = 1; generation <= 2 * (KEPT_BYTES / value.length); generation++) {
    if (harness.call({ ...call, attempt: 1 })[0]!.outcome === 'ok') told++;
    harness.call({ ...RMW, slot: 0, generation, request: setTo('other') });
    assert.equal(harness.end('ok', value, NEXT)[0]!.value, value);
    assert.equal(harness.call({ ...RMW, slot: 0, generation, request: setTo('other') })[0]!.value, value);
  }
  assert.ok(told >= 7, `${told}`);
  const started = harness.coordinator.started.length;
  assert.equal(harness.call({ ...call, attempt: 2 })[0]!.outcome, 'outcome-unknown');
  assert.equal(harness.coordinator.started.length, started);
});

test('should show nobody an answer under the name of a call that has none', () => {
  const harness = new Harness();
  harness.call({ ...RMW, slot: 0, request: setTo('new') });
  harness.end('ok', 'a secret of another client', STAMP);
  // A put's slot has the id of its operation, 1, until it ends; a read-modify-write's has the place of its answer.
  harness.call({ kind: 'put', value: 'v', slot: 1, generation: 9 });
  harness.end('ok');
  const [reply] = harness.call({ ...RMW, slot: 1, generation: 9, request: setTo('new') });
  assert.deepEqual([reply!.outcome, reply!.value, reply!.version], ['ok', '', undefined]);
});

test('should say that a value is too large for the client, and whether the change was made', () => {
  const harness = new Harness();
  // A session that came since has smaller datagrams than the one that called.
  harness.messenger.bytesMax = 96;
  const value = 'x'.repeat(60);
  harness.call({ ...RMW, request: setIf({ value: 'a' }, 'b') });
  assert.equal(harness.end('mismatch', value, STAMP)[0]!.outcome, 'too-large');
  harness.call({ ...RMW, generation: 6, request: setTo('b') });
  assert.equal(harness.end('ok', value, STAMP)[0]!.outcome, 'done-too-large');
  assert.equal(harness.call({ ...RMW, generation: 6, request: setTo('b') })[0]!.outcome, 'done-too-large');
});

test('should do for a client what its certificate permits: to read and to write', () => {
  for (const grants of ['r:', 'w:', 'r:,w:other/']) {
    const harness = new Harness({ grants });
    for (const request of REQUESTS) assert.equal(harness.call({ ...RMW, request })[0]!.outcome, 'not-permitted');
    assert.equal(harness.coordinator.started.length, 0);
    const [versioned] = harness.call({ kind: 'get with version', slot: 0 });
    assert.equal(versioned?.outcome, grants === 'w:' ? 'not-permitted' : undefined);
  }
});

test('should be busy when there is no trusted memory for answers, and count what it takes', () => {
  const small = new Harness({ trustedBytes: KEPT_BYTES });
  assert.equal(small.call({ ...RMW, request: add(1n) })[0]!.outcome, 'busy');
  assert.deepEqual(small.call({ kind: 'put', value: 'v', slot: 0 }), []);
  const harness = new Harness();
  const before = harness.budget.used;
  harness.call({ ...RMW, request: add(1n) });
  harness.call({ ...RMW, slot: 0, request: add(1n) });
  assert.equal(harness.budget.used, before + KEPT_BYTES);
});

test('should take a CALL by what its lengths say, and find the rest behind', () => {
  const { control } = callOf({ kind: 'rmw', key: 'k', request: setIf({ value: 'xyz' }, 'v') });
  assert.equal(control.length * 4, CALL_BYTES + 8 + 8 + CALL_RMW_BYTES + 8);
  control[WORD_CALL_VALUE_BYTES] = 9;
  assert.equal(messageBytes(control, 0, control.length, 0), -1, 'what follows the value is no request any more');
  assert.equal(regionOf(control.buffer).words.length, control.length);
});
