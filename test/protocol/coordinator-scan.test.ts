/** Pages of scans at a coordinator: what is taken from a quorum's answers, and what goes through gets. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FLAG_NOT_PERMITTED, MESSAGE_READ, MESSAGE_REPAIR } from '../../src/protocol/messages.ts';
import { SCAN_READS_MAX } from '../../src/protocol/scan-flow.ts';
import { FLAG_SCANS_OFF, FLAG_SCAN_MORE } from '../../src/protocol/scan-messages.ts';
import type { ScanOutcome } from '../../src/protocol/outcome.ts';
import type { ScanPage, ScanRequest } from '../../src/protocol/scan-request.ts';
import { CoordinatorHarness, DEADLINE_MS, flip, wantsValue } from './coordinator-harness.ts';
import type { CoordinatorHarnessOptions, Copy } from './coordinator-harness.ts';
import { bytesOf, NO_STAMP, stampOf } from './fixtures.ts';
import type { Stamp } from './fixtures.ts';
import { readScan, scanReply } from './scan-fixtures.ts';
import type { ScanAsked, ScanEntry } from './scan-fixtures.ts';

interface ScanEnded {
  readonly outcome: ScanOutcome;
  readonly keys: string[] | undefined;
  readonly values: string[] | undefined;
  readonly covered: string | undefined;
  readonly failedKey: string | undefined;
}

interface AskedScan extends ScanAsked {
  readonly member: number;
}

class ScanHarness extends CoordinatorHarness {
  readonly pages: ScanEnded[] = [];
  #members = new Map<object, number>();

  constructor(options: CoordinatorHarnessOptions = {}) {
    super(options);
    for (let member = 0; member < (options.memberCount ?? 3); member++)
      this.#members.set(this.sessionOf(member), member);
  }

  scan(request: Partial<Omit<ScanRequest, 'start' | 'end'>> & { start?: string; end?: string } = {}): number {
    return this.coordinator.startScan(
      {
        isAfterStart: false,
        isReverse: false,
        keysMax: 100,
        wantsValues: false,
        ...request,
        start: bytesOf(request.start ?? ''),
        end: bytesOf(request.end ?? ''),
        onScanEnded: (outcome, page, failedKey) => this.#ended(outcome, page, failedKey),
      },
      DEADLINE_MS,
      this.nowMs,
    );
  }

  #ended(outcome: ScanOutcome, page: ScanPage | undefined, failedKey: Buffer | undefined): void {
    this.pages.push({
      outcome,
      keys: page?.keys.map(String),
      values: page?.values.map(String),
      covered: page?.covered === undefined ? undefined : String(page.covered),
      failedKey: failedKey === undefined ? undefined : String(failedKey),
    });
  }

  /** All SCANs sent since the last call, and nothing else; who is asked for values first. */
  askedScans(): AskedScan[] {
    return this.messenger
      .take()
      .map((message) => ({ ...readScan(message), member: this.#members.get(message.session)! }))
      .sort((a, b) => Number(b.wantsValues) - Number(a.wantsValues));
  }

  reply(asked: AskedScan, entries: readonly ScanEntry[], flags = 0): void {
    this.answer(asked, scanReply(asked, entries, flags));
  }

  /** Both of the quorum that was asked answer so. */
  replies(first: readonly ScanEntry[], second: readonly ScanEntry[], flags = 0): AskedScan[] {
    const asked = this.askedScans();
    assert.equal(asked.length, 2, 'a quorum is asked');
    this.reply(asked[0]!, first, flags);
    this.reply(asked[1]!, second, flags);
    return asked;
  }

  page(): ScanEnded {
    assert.equal(this.pages.length, 1, 'the scan has ended');
    this.assertIdle();
    return this.pages[0]!;
  }
}

const textOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString();
const entry = (key: string, counter: number): ScanEntry => ({ key, stamp: stampOf(counter) });
const tombstone = (key: string, counter: number): ScanEntry => ({ ...entry(key, counter), isTombstone: true });
const withValue = (key: string, copy: Copy): ScanEntry => ({
  key,
  stamp: copy.stamp,
  envelope: copy.envelope,
  tag: copy.tag,
});

test('keys that a quorum has under one stamp are the page; one answer has the values, and nobody is asked again', () => {
  const harness = new ScanHarness();
  harness.scan({ start: 'a', end: 'x', wantsValues: true, keysMax: 7 });
  const copies = ['b', 'c'].map((key, i) => harness.copyOf(`value of ${key}`, stampOf(i + 1), bytesOf(key)));
  const entries = [withValue('b', copies[0]!), withValue('c', copies[1]!)];
  const asked = harness.replies(entries, [entry('b', 1), entry('c', 2)]);
  assert.deepEqual(
    asked.map(({ start, end, entries: wanted, wantsValues }) => [start, end, wanted, wantsValues]),
    [
      ['a', 'x', 7, true],
      ['a', 'x', 7, false],
    ],
  );
  harness.assertNothingAsked();
  const values = ['value of b', 'value of c'];
  assert.deepEqual(harness.page(), {
    outcome: 'ok',
    keys: ['b', 'c'],
    values,
    covered: undefined,
    failedKey: undefined,
  });
  assert.deepEqual(harness.ended, [], 'gets of scans are told to nobody else');
});

test('keys alone need no values', () => {
  const harness = new ScanHarness();
  harness.scan();
  const asked = harness.replies([entry('b', 1), tombstone('c', 2)], [entry('b', 1), tombstone('c', 2)]);
  assert.ok(asked.every(({ wantsValues }) => !wantsValues));
  harness.assertNothingAsked();
  assert.deepEqual([harness.page().keys, harness.page().values], [['b'], []]);
});

const disagreements: Record<string, [ScanEntry[], ScanEntry[]]> = {
  'has a greater counter at one': [[entry('k', 2)], [entry('k', 1)]],
  'has another writer at one': [[{ key: 'k', stamp: stampOf(2, 7) }], [entry('k', 2)]],
  'has another high word of its writer at one': [[{ key: 'k', stamp: stampOf(2, 1, 7) }], [entry('k', 2)]],
  'has a read-modify-write at one': [[{ key: 'k', stamp: stampOf(2, 1, 0, 1) }], [entry('k', 2)]],
  'has a counter that differs in its high word': [[entry('k', 2)], [entry('k', 2 + 2 ** 40)]],
  'was never written at one': [[entry('k', 2)], [{ key: 'k', stamp: NO_STAMP, isTombstone: true }]],
  'is a first read-modify-write at one': [[{ key: 'k', stamp: { ...NO_STAMP, rmw: 1 }, isTombstone: true }], []],
  'is missing at one': [[entry('k', 2)], []],
  'is missing at the other': [[], [entry('k', 2)]],
  'is deleted at one': [[tombstone('k', 3)], [entry('k', 2)]],
  'is deleted at one and missing at the other': [[], [tombstone('k', 3)]],
};
for (const [name, [first, second]] of Object.entries(disagreements)) {
  test(`a key that ${name} goes through a get, which decides`, () => {
    for (const isThere of [true, false]) {
      const harness = new ScanHarness();
      harness.scan();
      harness.replies([entry('a', 1), ...first, entry('z', 1)], [entry('a', 1), ...second, entry('z', 1)]);
      const reads = harness.asked(MESSAGE_READ);
      assert.deepEqual(new Set(reads.map(({ key }) => textOf(key))), new Set(['k']));
      assert.equal(harness.pages.length, 0, 'it waits for the get');
      const copy = harness.copyOf('the newest', stampOf(9), bytesOf('k'));
      for (const read of reads) {
        if (!isThere) harness.answerRead(read, { stamp: NO_STAMP, tombstone: true });
        else harness.answerRead(read, wantsValue(read) ? copy : { stamp: copy.stamp });
      }
      assert.deepEqual(harness.page().keys, isThere ? ['a', 'k', 'z'] : ['a', 'z']);
    }
  });
}

test('a key that was never written needs no get, whether members have an entry for it or not', () => {
  const harness = new ScanHarness();
  const none: ScanEntry = { key: 'k', stamp: NO_STAMP, isTombstone: true };
  const [a, l] = [entry('a', 1), { ...none, key: 'l' }];
  harness.scan();
  harness.replies([a, none], [a, l]);
  harness.assertNothingAsked();
  assert.deepEqual(harness.page().keys, ['a']);
});

test('nothing is taken from behind the first end of an answer that was cut short', () => {
  const harness = new ScanHarness();
  harness.scan();
  const [first, second] = harness.askedScans();
  harness.reply(first!, [entry('a', 1), entry('b', 1), entry('d', 1)], FLAG_SCAN_MORE);
  // It says nothing of c and d: that they are missing at the one or the other can't be told.
  harness.reply(second!, [entry('a', 1), entry('b', 1)], FLAG_SCAN_MORE);
  harness.assertNothingAsked();
  assert.deepEqual([harness.page().keys, harness.page().covered], [['a', 'b'], 'b']);
});

test('an answer that was not cut short says that nothing more is there', () => {
  const harness = new ScanHarness();
  harness.scan();
  const [first, second] = harness.askedScans();
  harness.reply(first!, [entry('a', 1), entry('b', 1)], FLAG_SCAN_MORE);
  harness.reply(second!, [entry('a', 1)]);
  const reads = harness.asked(MESSAGE_READ);
  for (const read of reads) harness.answerRead(read, { stamp: NO_STAMP, tombstone: true });
  assert.deepEqual([reads.map(({ key }) => textOf(key)), harness.page().keys], [['b', 'b'], ['a']]);
  assert.equal(harness.page().covered, 'b');
});

test('a page of deleted keys has none and still goes on', () => {
  const harness = new ScanHarness();
  harness.scan({ keysMax: 2 });
  const entries = [tombstone('a', 1), tombstone('b', 1)];
  harness.replies(entries, entries, FLAG_SCAN_MORE);
  assert.deepEqual([harness.page().keys, harness.page().covered], [[], 'b']);
});

test('more entries than keys may be asked for, and the page has as many keys as were wanted', () => {
  const harness = new ScanHarness();
  harness.scan({ keysMax: 1, entriesMax: 100 });
  const entries = [tombstone('a', 1), entry('b', 1), entry('c', 1)];
  const asked = harness.replies(entries, entries);
  assert.ok(asked.every(({ entries: wanted }) => wanted === 100));
  assert.deepEqual([harness.page().keys, harness.page().covered], [['b'], 'b']);
});

test('a page ends when it has as many keys as were wanted', () => {
  const harness = new ScanHarness();
  harness.scan({ keysMax: 2 });
  const [first, second] = harness.askedScans();
  harness.reply(first!, [entry('a', 1), tombstone('b', 1), entry('c', 1), entry('d', 1)]);
  harness.reply(second!, [entry('a', 1), tombstone('b', 1), entry('c', 1), entry('d', 1)]);
  assert.deepEqual([harness.page().keys, harness.page().covered], [['a', 'c'], 'c']);
});

test('in reverse the order turns round, and so does the cut', () => {
  const harness = new ScanHarness();
  harness.scan({ isReverse: true, end: 'x' });
  const [first, second] = harness.askedScans();
  assert.ok(first!.isReverse && second!.isReverse);
  harness.reply(first!, [entry('w', 1), entry('v', 1), entry('t', 1)], FLAG_SCAN_MORE);
  harness.reply(second!, [entry('w', 1), entry('v', 1)], FLAG_SCAN_MORE);
  assert.deepEqual([harness.page().keys, harness.page().covered], [['w', 'v'], 'v']);
});

test('of two keys that are too long for one datagram the far one is left out, and kept to all the same', () => {
  const long = (last: string): string => 'k'.repeat(1_000) + last;
  for (const isReverse of [false, true]) {
    const harness = new ScanHarness();
    harness.messenger.bytesMax = 1_200;
    harness.scan({ start: long('b'), end: long('y'), isReverse, isAfterStart: isReverse });
    const [first, second] = harness.askedScans();
    assert.deepEqual([first!.start, first!.end], isReverse ? ['', long('y')] : [long('b'), '']);
    const entries = ['a', 'b', 'c', 'x', 'y', 'z'].map((last) => entry(long(last), 1));
    const sent = isReverse ? entries.slice(0, 4).toReversed() : entries.slice(1);
    harness.reply(first!, sent);
    harness.reply(second!, sent);
    // A start that is not in the range itself is left out, too.
    const expected = isReverse ? [long('x'), long('c')] : [long('b'), long('c'), long('x')];
    assert.deepEqual([harness.page().keys, harness.page().covered], [expected, undefined]);
  }
});

test('a value that does not open is taken from another replica, as a get takes it, and repaired', () => {
  const harness = new ScanHarness();
  harness.scan({ wantsValues: true });
  const copy = harness.copyOf('the value', stampOf(3), bytesOf('k'));
  const asked = harness.replies([withValue('k', flip(copy))], [{ key: 'k', stamp: copy.stamp }]);
  const [read] = harness.asked(MESSAGE_READ);
  assert.ok(read!.member !== asked[0]!.member && wantsValue(read!));
  harness.answerRead(read!, copy);
  const [repair] = harness.asked(MESSAGE_REPAIR);
  assert.deepEqual([repair!.member, textOf(repair!.key)], [asked[0]!.member, 'k']);
  assert.deepEqual(harness.page().values, ['the value']);
  assert.equal(harness.coordinator.counters.tampered, 1);
});

test('a value that did not come is asked for by a get', () => {
  const harness = new ScanHarness();
  harness.scan({ wantsValues: true });
  harness.replies([entry('k', 3)], [entry('k', 3)]);
  const copy = harness.copyOf('a long value', stampOf(3), bytesOf('k'));
  for (const read of harness.asked(MESSAGE_READ))
    harness.answerRead(read, wantsValue(read) ? copy : { stamp: copy.stamp });
  assert.deepEqual(harness.page().values, ['a long value']);
});

test('a value that nobody can read ends the scan and names its key', () => {
  const harness = new ScanHarness({ memberCount: 1 });
  harness.scan({ wantsValues: true });
  const copy = flip(harness.copyOf('the value', stampOf(3), bytesOf('k')));
  const [asked] = harness.askedScans();
  harness.reply(asked!, [withValue('k', copy)]);
  assert.deepEqual([harness.page().outcome, harness.page().failedKey], ['unreadable', 'k']);
});

test('more keys than there are places for are read one after the other', () => {
  const harness = new ScanHarness();
  const count = SCAN_READS_MAX + 20;
  harness.scan({ keysMax: 4_000 });
  const names = Array.from({ length: count }, (_, i) => `k${String(i).padStart(4, '0')}`);
  harness.replies(
    names.map((key) => entry(key, 1)),
    [],
  );
  let answered = 0;
  for (let reads = harness.asked(MESSAGE_READ); reads.length > 0; reads = harness.asked(MESSAGE_READ)) {
    assert.ok(reads.length <= 2 * SCAN_READS_MAX);
    const copies = new Map(names.map((key) => [key, key]));
    for (const read of reads) {
      const key = copies.get(textOf(read.key))!;
      const copy = harness.copyOf(key, stampOf(1), bytesOf(key));
      harness.answerRead(read, wantsValue(read) ? copy : { stamp: copy.stamp });
      answered++;
    }
  }
  assert.equal(answered, 2 * count);
  assert.deepEqual(harness.page().keys, names);
});

test('large values end a page early, and few are asked for before it is known how large they are', () => {
  for (const isReverse of [false, true]) {
    const harness = new ScanHarness();
    const names = Array.from({ length: 60 }, (_, i) => `k${String(i).padStart(2, '0')}`);
    if (isReverse) names.reverse();
    harness.scan({ wantsValues: true, isReverse });
    const entries = names.map((key) => entry(key, 1));
    harness.replies(entries, entries);
    const value = 'x'.repeat(400_000);
    const asked: string[] = [];
    for (let reads = harness.asked(MESSAGE_READ); reads.length > 0; reads = harness.asked(MESSAGE_READ)) {
      const copies = new Map(reads.map(({ key }) => [textOf(key), harness.copyOf(value, stampOf(1), key)]));
      asked.push(...copies.keys());
      if (asked.length === copies.size) assert.equal(asked.length, 16);
      for (const read of reads) {
        const copy = copies.get(textOf(read.key))!;
        harness.answerRead(read, wantsValue(read) ? copy : { stamp: copy.stamp });
      }
      // A chunk a turn is opened.
      while (harness.pages.length === 0 && harness.messenger.sent.length === 0) harness.turn(0);
    }
    const { keys, values, covered } = harness.page();
    assert.deepEqual(keys, names.slice(0, 16), 'so many are more than enough');
    assert.deepEqual(new Set(asked), new Set(keys), 'and no more were asked for');
    assert.ok(values!.every((one) => one === value));
    assert.equal(covered, keys!.at(-1), 'the next page begins behind them');
  }
});

test('small values that did not come are asked for side by side, as soon as it is known that they are', () => {
  const harness = new ScanHarness();
  const names = Array.from({ length: 60 }, (_, i) => `k${String(i).padStart(2, '0')}`);
  harness.scan({ wantsValues: true });
  const entries = names.map((key) => entry(key, 1));
  harness.replies(entries, entries);
  const rounds: number[] = [];
  for (let reads = harness.asked(MESSAGE_READ); reads.length > 0; reads = harness.asked(MESSAGE_READ)) {
    rounds.push(reads.length / 2);
    for (const read of reads) {
      const copy = harness.copyOf('small', stampOf(1), read.key);
      harness.answerRead(read, wantsValue(read) ? copy : { stamp: copy.stamp });
    }
  }
  assert.deepEqual(rounds, [16, 44]);
  assert.deepEqual([harness.page().keys, harness.page().covered], [names, undefined]);
});

test('gets of scans take no places from operations, and operations none from them', () => {
  const harness = new ScanHarness({ capacity: 2 });
  assert.notEqual(harness.scan(), -1);
  harness.replies([entry('a', 1), entry('b', 1), entry('c', 1)], []);
  assert.equal(harness.coordinator.active, 1);
  assert.notEqual(harness.get(), -1);
  assert.equal(harness.get(), -1);
  assert.equal(harness.scan(), -1);
  harness.coordinator.close();
  harness.messenger.take();
  assert.equal(harness.page().outcome, 'closed');
});

test('an answer whose keys are not in order, or not in the range, is counted and not taken', () => {
  const to = (entries: ScanEntry[], isReverse = false): void => {
    const harness = new ScanHarness();
    harness.scan({ isReverse, start: 'b', end: 'x' });
    const [first] = harness.askedScans();
    harness.reply(first!, entries);
    assert.deepEqual([harness.drops.nonZero().malformed, harness.pages.length], [1, 0]);
    harness.turn(DEADLINE_MS + 1);
  };
  to([entry('d', 1), entry('c', 1)]);
  to([entry('c', 1), entry('c', 1)]);
  to([entry('a', 1), entry('c', 1)]);
  to([entry('c', 1), entry('d', 1)], true);
  to([entry('x', 1), entry('d', 1)], true);
});

test('a silent member is replaced by another, which is asked for the values, too', () => {
  const harness = new ScanHarness();
  harness.scan({ wantsValues: true });
  const [first, second] = harness.askedScans();
  const copy = harness.copyOf('v', stampOf(1), bytesOf('k'));
  harness.reply(second!, [entry('k', 1)]);
  let hedged: AskedScan[] = [];
  for (let passed = 0; passed < 300 && hedged.length === 0; passed++) {
    harness.turn(1);
    hedged = harness.askedScans();
  }
  const third = hedged.find(({ member }) => member !== first!.member && member !== second!.member);
  assert.ok(third?.wantsValues);
  harness.reply(third, [withValue('k', copy)]);
  assert.deepEqual(harness.page().values, ['v']);
});

test('one replica without an ordered view does no harm, too many end the scan', () => {
  const harness = new ScanHarness();
  harness.scan();
  const [first, second] = harness.askedScans();
  harness.reply(first!, [], FLAG_SCANS_OFF);
  harness.reply(second!, [entry('k', 1)]);
  let third: AskedScan | undefined;
  for (let passed = 0; passed < 300 && third === undefined; passed++) {
    harness.turn(1);
    third = harness.askedScans().find(({ member }) => member !== first!.member && member !== second!.member);
  }
  harness.reply(third!, [entry('k', 1)]);
  assert.deepEqual(harness.page().keys, ['k']);

  const other = new ScanHarness();
  other.scan();
  for (const asked of other.askedScans()) other.reply(asked, [], FLAG_SCANS_OFF);
  assert.equal(other.page().outcome, 'scans-off');
});

test('a refusal, the deadline, cancelling and closing end the scan with all its gets', () => {
  const refused = new ScanHarness();
  refused.scan();
  const [asked] = refused.askedScans();
  refused.reply(asked!, [], FLAG_NOT_PERMITTED);
  assert.equal(refused.page().outcome, 'not-permitted');

  for (const [outcome, end] of [
    ['deadline', (harness: ScanHarness) => harness.turn(DEADLINE_MS + 1)],
    ['aborted', (harness: ScanHarness, id: number) => harness.coordinator.cancel(id)],
    ['closed', (harness: ScanHarness) => harness.coordinator.close()],
  ] as const) {
    for (const isReading of [false, true]) {
      const harness = new ScanHarness();
      const id = harness.scan();
      if (isReading) harness.replies([entry('a', 1), entry('b', 1)], []);
      end(harness, id);
      harness.messenger.take();
      assert.equal(harness.page().outcome, outcome);
    }
  }
});

test('when the epoch changes the members are asked anew', () => {
  const harness = new ScanHarness();
  harness.scan();
  const [first, second] = harness.askedScans();
  harness.reply(first!, [entry('k', 1)]);
  harness.epoch = 2;
  harness.reply(second!, [entry('k', 1)]);
  assert.equal(harness.pages.length, 0);
  harness.replies([entry('k', 1)], [entry('k', 1)]);
  assert.deepEqual(harness.page().keys, ['k']);
});

test('a member counts once', () => {
  const harness = new ScanHarness();
  harness.scan();
  const [first] = harness.askedScans();
  harness.reply(first!, [entry('k', 1)]);
  harness.reply(first!, [entry('k', 1)]);
  assert.deepEqual([harness.pages.length, harness.drops.nonZero()['late-answer']], [0, 1]);
});

/** Stamps of the lower and higher kind are told apart by what they are, not by who sends them. */
const stamps: Stamp[] = [stampOf(1, 1), stampOf(1, -1), stampOf(1, 1, -1), stampOf(1, 1, 0, -1)];
test('the same stamp is the same in every field', () => {
  for (const stamp of stamps) {
    const harness = new ScanHarness();
    harness.scan();
    harness.replies([{ key: 'k', stamp }], [{ key: 'k', stamp }]);
    harness.assertNothingAsked();
    assert.deepEqual(harness.page().keys, ['k']);
  }
});
