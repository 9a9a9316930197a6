/** What a replica answers to SCAN, against a sorted model. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { alignUp } from '../../net/bytes.ts';
import { FLAG_NOT_PERMITTED, FLAG_TOMBSTONE, messageBytes } from '../../src/protocol/messages.ts';
import {
  FLAG_SCANS_OFF,
  MESSAGE_SCAN,
  MESSAGE_SCAN_REPLY,
  SCAN_ENTRIES_MAX,
  WORD_SCAN_END_BYTES,
  WORD_SCAN_ENTRIES,
  WORD_SCAN_FIRST_ENTRY,
  WORD_SCAN_START,
  WORD_SCAN_START_BYTES,
  WORD_SCAN_VALUE_BYTES,
} from '../../src/protocol/scan-messages.ts';
import { clientPeer, sessionWith, stampOf, writeOf } from './fixtures.ts';
import type { Message } from './fixtures.ts';
import { ReplicaHarness, WRITER } from './replica-harness.ts';
import { acceptOf, commitOf, prepareOf } from './rmw-fixtures.ts';
import { readScanReply, scanOf, scanReply } from './scan-fixtures.ts';
import type { ScanAnswered, ScanAsked } from './scan-fixtures.ts';

interface Pair {
  readonly key: string;
  /** Undefined: deleted. */
  readonly envelopeBytes: number | undefined;
}

function harnessWith(pairs: readonly Pair[], bytesMax = 60_000, isUnordered = false): ReplicaHarness {
  const harness = new ReplicaHarness({ isUnordered });
  pairs.forEach(({ key, envelopeBytes }, i) => {
    const write = writeOf({
      key: Buffer.from(key, 'latin1'),
      stamp: { ...WRITER, counter: i + 1, rmw: 0 },
      ...(envelopeBytes === undefined
        ? { flags: FLAG_TOMBSTONE }
        : { envelope: new Uint8Array(envelopeBytes).fill(i + 1), tag: Int32Array.of(i, 1, 2, 3) }),
    });
    harness.ask([write]);
  });
  harness.messenger.bytesMax = bytesMax;
  return harness;
}

function scan(harness: ReplicaHarness, asked: Partial<ScanAsked>): ScanAnswered {
  const [reply, ...others] = harness.ask([scanOf(asked)]);
  assert.equal(others.length, 0);
  assert.ok(reply!.control.length * 4 + reply!.value.length <= harness.messenger.bytesMax);
  return readScanReply(reply!);
}

const order = (a: string, b: string): number => Buffer.compare(Buffer.from(a, 'latin1'), Buffer.from(b, 'latin1'));

function inRange({ start = '', end = '', isAfter = false }: Partial<ScanAsked>, key: string): boolean {
  if (start !== '' && order(key, start) < (isAfter ? 1 : 0)) return false;
  return end === '' || order(key, end) < 0;
}

const keyText = fc.oneof(
  fc.array(fc.constantFrom('\0', 'a', 'b', 'ÿ'), { minLength: 1, maxLength: 10 }).map((chars) => chars.join('')),
  fc.nat(30).map((number) => `user${number}`),
  fc.constantFrom('k'.repeat(1_024), `${'k'.repeat(1_023)}l`, 'k'.repeat(1_023)),
);
const bound = fc.oneof({ weight: 1, arbitrary: fc.constant('') }, { weight: 3, arbitrary: keyText });
const question = fc.record({
  start: bound,
  end: bound,
  isAfter: fc.boolean(),
  isReverse: fc.boolean(),
  wantsValues: fc.boolean(),
  entries: fc.integer({ min: 1, max: 40 }),
});

test('answers hold the keys of the range in order, deleted ones too, from its near end on, as far as they fit', () => {
  fc.assert(
    fc.property(
      fc.uniqueArray(fc.record({ key: keyText, envelopeBytes: fc.option(fc.nat(500), { nil: undefined }) }), {
        maxLength: 60,
        selector: ({ key }) => key,
      }),
      fc.constantFrom(1_136, 4_000, 60_000),
      fc.array(question, { minLength: 1, maxLength: 10 }),
      (pairs, bytesMax, questions) => {
        const harness = harnessWith(pairs, bytesMax);
        const sorted = pairs.toSorted((a, b) => order(a.key, b.key));
        for (const asked of questions) {
          if (alignUp(asked.start.length) + alignUp(asked.end.length) > 1_000) continue;
          const expected = sorted.filter(({ key }) => inRange(asked, key));
          if (asked.isReverse) expected.reverse();
          const { entries, hasMore } = scan(harness, asked);
          assert.deepEqual(
            entries.map(({ key }) => key),
            expected.slice(0, entries.length).map(({ key }) => key),
          );
          assert.equal(hasMore, entries.length < expected.length);
          if (hasMore) assert.ok(entries.length > 0);
          for (const { key, stamp, isTombstone, envelope, tag } of entries) {
            const number = pairs.findIndex((pair) => pair.key === key);
            const { envelopeBytes } = pairs[number]!;
            assert.deepEqual(stamp, { ...WRITER, counter: number + 1, rmw: 0 });
            assert.equal(isTombstone, envelopeBytes === undefined);
            if (envelope === undefined) continue;
            assert.ok(asked.wantsValues);
            assert.deepEqual(envelope, new Uint8Array(envelopeBytes!).fill(number + 1));
            assert.deepEqual(tag, Int32Array.of(number, 1, 2, 3));
          }
        }
        assert.deepEqual(harness.drops.nonZero(), {});
      },
    ),
    { numRuns: 150 },
  );
});

test('a value comes along up to a quarter of an answer; a longer one is left to a get', () => {
  const harness = harnessWith(
    [
      { key: 'a', envelopeBytes: 0 },
      { key: 'b', envelopeBytes: 500 },
      { key: 'c', envelopeBytes: 520 },
      { key: 'd', envelopeBytes: 500 },
    ],
    16 + 2_000,
  );
  const { entries } = scan(harness, { wantsValues: true });
  assert.deepEqual(
    entries.map(({ key, envelope }) => [key, envelope?.length]),
    [
      ['a', 0],
      ['b', 500],
      ['c', undefined],
      ['d', 500],
    ],
  );
  assert.ok(scan(harness, {}).entries.every(({ envelope }) => envelope === undefined));
});

test('a key of 1 KiB fits into an answer of the smallest datagrams, with a value it goes alone', () => {
  const key = 'k'.repeat(1_024);
  const harness = harnessWith([{ key, envelopeBytes: 200 }], 1_200 - 24 - 8 - 16);
  const { entries, hasMore } = scan(harness, { wantsValues: true });
  assert.deepEqual([entries.length, entries[0]!.key, entries[0]!.envelope, hasMore], [1, key, undefined, false]);
});

test('who may not read gets no keys, and neither does anybody from a replica without an ordered view', () => {
  const pairs = [{ key: 'a', envelopeBytes: 10 }];
  const harness = harnessWith(pairs);
  const blind = sessionWith(clientPeer(WRITER, 'w:'));
  const [refusal] = harness.ask([scanOf({})], blind);
  assert.deepEqual(readScanReply(refusal!), { flags: FLAG_NOT_PERMITTED, hasMore: false, entries: [] });
  const unordered = harnessWith(pairs, 60_000, true);
  assert.deepEqual(scan(unordered, {}), { flags: FLAG_SCANS_OFF, hasMore: false, entries: [] });
});

test('a SCAN for another epoch is not answered', () => {
  const harness = harnessWith([{ key: 'a', envelopeBytes: 10 }]);
  const replies = harness.ask([scanOf({})], harness.session, 2);
  assert.ok(replies.every(({ control }) => (control[0]! & 0xff) !== MESSAGE_SCAN_REPLY));
  assert.equal(harness.drops.nonZero()['wrong-epoch'], 1);
});

function malformed(message: Message, change: (control: Int32Array) => void): boolean {
  const control = message.control.slice();
  change(control);
  return messageBytes(control, 0, control.length, message.value.length) === -1;
}

test('malformed SCANs are told', () => {
  const good = scanOf({ start: 'abc', end: 'abd' });
  const at = (word: number, value: number) => malformed(good, (control) => (control[word] = value));
  assert.ok(!at(WORD_SCAN_ENTRIES, 1) && !at(WORD_SCAN_ENTRIES, SCAN_ENTRIES_MAX));
  assert.ok(at(WORD_SCAN_ENTRIES, 0) && at(WORD_SCAN_ENTRIES, SCAN_ENTRIES_MAX + 1) && at(WORD_SCAN_ENTRIES, -1));
  assert.ok(at(WORD_SCAN_START_BYTES, 1_025) && at(WORD_SCAN_START_BYTES, -1) && at(WORD_SCAN_START_BYTES, 40));
  assert.ok(at(WORD_SCAN_END_BYTES, 1_025) && at(WORD_SCAN_END_BYTES, -8) && at(WORD_SCAN_END_BYTES, 9));
  assert.ok(at(WORD_SCAN_START + 1, 1), 'padding of the start');
  assert.ok(at(WORD_SCAN_START + 3, 1), 'padding of the end');
  assert.equal(messageBytes(good.control, 0, 5, 0), -1);
});

test('malformed SCAN_REPLYs are told', () => {
  const to = { slot: 1, generation: 1 };
  const tag = Int32Array.of(1, 2, 3, 4);
  const good = scanReply(to, [
    { key: 'abc', stamp: stampOf(5), envelope: new Uint8Array(20), tag },
    { key: 'abd', stamp: stampOf(6), isTombstone: true },
  ]);
  assert.ok(!malformed(good, () => {}));
  const at = (word: number, value: number) => malformed(good, (control) => (control[word] = value));
  const first = WORD_SCAN_FIRST_ENTRY;
  const second = first + 12;
  assert.ok(at(2, 72) && at(2, 82) && at(2, -8) && at(2, 88), 'bytes of entries');
  assert.ok(at(WORD_SCAN_VALUE_BYTES, 16) && at(WORD_SCAN_VALUE_BYTES, 32) && at(WORD_SCAN_VALUE_BYTES, -24));
  assert.ok(at(first, (20 << 16) | (1 << 15)), 'a key of no bytes');
  assert.ok(at(first, (20 << 16) | (1 << 15) | 1_025), 'a key that is too long');
  assert.ok(at(first, (20 << 16) | (1 << 15) | (1 << 12) | 3), 'an unknown flag');
  assert.ok(at(first, (20 << 16) | (1 << 15) | (1 << 14) | 3), 'a deleted key with a value');
  assert.ok(at(first, (20 << 16) | 3), 'an envelope without the flag');
  assert.ok(at(first + 3, 1 << 21), 'a counter over 2^53');
  assert.ok(at(first + 11, 1), 'padding of a key');
  assert.ok(at(second, (1 << 15) | 3), 'past the end');
  assert.equal(messageBytes(good.control, 0, good.control.length, 16), -1, 'a value past the end');
  const empty = scanReply(to, [], 1);
  assert.equal(messageBytes(empty.control, 0, empty.control.length, 0), -1, 'more, but behind what?');
});

test('no sequence of words makes the checks of scans fail', () => {
  fc.assert(
    fc.property(
      fc.constantFrom(MESSAGE_SCAN, MESSAGE_SCAN_REPLY),
      fc.array(fc.oneof(fc.integer(), fc.integer({ min: 0, max: 64 })), { minLength: 2, maxLength: 60 }),
      (type, numbers) => {
        const words = Int32Array.from(numbers);
        words[0] = (words[0]! & ~0xff) | type;
        const byteCount = messageBytes(words, 0, words.length, 64);
        assert.ok(byteCount === -1 || (byteCount >= 16 && byteCount <= words.length * 4));
      },
    ),
    { numRuns: 2_000 },
  );
});

test('a key that read-modify-writes have made is in answers, from the promise for it on', () => {
  const harness = harnessWith([
    { key: 'a', envelopeBytes: 10 },
    { key: 'c', envelopeBytes: 10 },
  ]);
  const key = Buffer.from('b');
  const ballot = { number: 1, writer: WRITER };
  const stamp = { counter: 0, writerHigh: 0, writerLow: 0, rmw: 1 };
  const proposed = { id: { writer: WRITER, sequence: 1 }, stamp, envelope: new Uint8Array(10).fill(7) };
  const found = (): unknown[] => {
    const { entries } = scan(harness, { wantsValues: true });
    harness.store.invariants();
    assert.deepEqual(
      entries.map((entry) => entry.key),
      ['a', 'b', 'c'],
    );
    const { stamp: ownStamp, isTombstone, envelope } = entries[1]!;
    return [ownStamp, isTombstone, envelope];
  };
  harness.ask([prepareOf(key, 1, ballot)]);
  assert.deepEqual(found(), [{ ...stamp, rmw: 0 }, true, undefined]);
  harness.ask([acceptOf(key, 1, ballot, proposed)]);
  assert.deepEqual(found(), [{ ...stamp, rmw: 0 }, true, undefined], 'nothing is decided yet');
  harness.ask([commitOf(key, 1, { stamp, sealed: proposed })]);
  assert.deepEqual(found(), [stamp, false, proposed.envelope]);
});
