/** The check of read-modify-writes and versions: histories known to be good or bad, and drawn ones judged by every order. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkHistory } from '../../bench/checker/check.ts';
import { describeViolation } from '../../bench/checker/describe.ts';
import type { Operation } from '../../bench/checker/operation.ts';
import { isRead } from '../../bench/checker/operation.ts';
import { seededRandom } from '../workers/random.ts';
import { NEVER, get, put, remove } from './histories.ts';
import { cas, delif, fitsSomeMixedOrder, getset, incr, randomMixedHistory, withVersion } from './mixed-histories.ts';

const GOOD: Record<string, readonly Operation[]> = {
  'increments from nothing, one after the other': [incr(1n, '1', 1, 2), incr(2n, '3', 3, 4), get('3', 5, 6)],
  'increments at once, each result once': [incr(1n, '2', 1, 9), incr(1n, '1', 1, 9), incr(1n, '3', 1, 9)],
  'an increment of unknown outcome between two others': [
    incr(1n, undefined, 1, NEVER),
    incr(1n, '1', 2, 3),
    incr(1n, '3', 4, 5),
  ],
  'an increment of unknown outcome that never was': [
    incr(1n, undefined, 1, NEVER),
    incr(1n, '1', 2, 3),
    get('1', 4, 5),
  ],
  'an increment of the greatest number, and of a text': [
    put('9223372036854775807', 1, 2),
    incr(1n, 'mismatch', 3, 4, { found: '9223372036854775807' }),
    incr(-1n, '9223372036854775806', 5, 6),
    put('abc', 7, 8),
    incr(1n, 'mismatch', 9, 10),
  ],
  'one of two that expect the same': [
    put('a', 1, 2),
    cas({ value: 'a' }, 'b', 'ok', 3, 9),
    cas({ value: 'a' }, 'c', 'mismatch', 3, 9, { found: 'b' }),
    get('b', 10, 11),
  ],
  'put if absent, twice': [
    cas({ absent: true }, 'a', 'ok', 1, 9),
    cas({ absent: true }, 'b', 'mismatch', 1, 9, { found: 'a' }),
  ],
  'deleted if it is what is expected': [
    put('a', 1, 2),
    delif({ value: 'b' }, 'mismatch', 3, 4),
    delif({ value: 'a' }, 'ok', 5, 6),
    get(undefined, 7, 8),
    delif({ value: 'a' }, 'mismatch', 9, 10, { found: null }),
  ],
  'what a get-and-set found': [getset('a', null, 1, 2), getset('b', 'a', 3, 4), getset('c', 'b', 5, 6)],
  'a read-modify-write just before the put that overtook it': [
    put('1', 1, 2),
    incr(1n, '2', 3, 20),
    put('7', 4, 5),
    get('7', 6, 7),
    get('7', 21, 22),
  ],
  'a version is replaced once': [
    withVersion(put('a', 1, 2), 'v1'),
    cas({ version: 'v1' }, 'b', 'ok', 3, 9, { version: 'v2' }),
    cas({ version: 'v1' }, 'c', 'mismatch', 3, 9, { version: 'v2', found: 'b' }),
  ],
  'the same value under another version is not what was expected': [
    withVersion(put('a', 1, 2), 'v1'),
    put('b', 3, 4),
    put('a', 5, 6),
    cas({ version: 'v1' }, 'c', 'mismatch', 7, 8, { version: 'v3', found: 'a' }),
  ],
  'a write of unknown outcome gets its version from who reads it': [
    withVersion(put('a', 1, 2), 'v1'),
    put('b', 3, NEVER),
    withVersion(get('b', 4, 5), 'v2'),
    cas({ version: 'v2' }, 'c', 'ok', 6, 7, { version: 'v3' }),
  ],
  'versions of a key that was never written, and of a deleted one': [
    withVersion(get(undefined, 1, 2), 'v0'),
    cas({ version: 'v0' }, 'a', 'ok', 3, 4, { version: 'v1' }),
    withVersion(remove(5, 6), 'v2'),
    withVersion(get(undefined, 7, 8), 'v2'),
  ],
  'versions that grow the other way round': [
    withVersion(put('a', 1, 2), 'v9'),
    withVersion(put('b', 3, 4), 'v8'),
    withVersion(get('b', 5, 6), 'v8'),
  ],
  'a compare-and-set of unknown outcome on a version that nobody has met': [
    put('a', 1, NEVER),
    cas({ version: 'v1' }, 'b', 'unknown', 2, NEVER),
    get('b', 3, 4),
  ],
};

interface Bad {
  readonly history: readonly Operation[];
  readonly reason: RegExp;
  readonly windowCount: number;
}

const NO_ORDER = /^no order of its operations fits$/;

const BAD: Record<string, Bad> = {
  'two increments with one result': {
    history: [get(undefined, 0, 1), incr(1n, '1', 2, 9), incr(1n, '1', 2, 9), get('1', 10, 11)],
    reason: NO_ORDER,
    windowCount: 2,
  },
  'a version that was found, and is the one that was expected': {
    history: [put('a', 1, 2), cas({ version: 'v1' }, 'b', 'mismatch', 3, 4, { version: 'v1' })],
    reason: NO_ORDER,
    windowCount: 2,
  },
  'an increment that is lost': {
    history: [incr(1n, '1', 1, 2), incr(1n, '2', 3, 4), get('1', 5, 6)],
    reason: NO_ORDER,
    windowCount: 3,
  },
  'a sum that nobody can have made': {
    history: [incr(1n, '1', 1, 2), get('2', 3, 4)],
    reason: /^"2" was read and never written$/,
    windowCount: 1,
  },
  'an increment of unknown outcome that counts twice': {
    history: [incr(1n, undefined, 1, NEVER), incr(1n, '2', 2, 3), incr(1n, '4', 4, 5)],
    reason: NO_ORDER,
    windowCount: 3,
  },
  'two compare-and-sets of one value': {
    history: [put('a', 1, 2), cas({ value: 'a' }, 'b', 'ok', 3, 9), cas({ value: 'a' }, 'c', 'ok', 3, 9)],
    reason: NO_ORDER,
    windowCount: 3,
  },
  'none of two compare-and-sets of one value': {
    history: [put('a', 1, 2), cas({ value: 'a' }, 'b', 'mismatch', 3, 9, { found: 'a' }), get('a', 10, 11)],
    reason: NO_ORDER,
    windowCount: 2,
  },
  'a version that is replaced twice': {
    history: [
      withVersion(put('a', 1, 2), 'v1'),
      cas({ version: 'v1' }, 'b', 'ok', 3, 9),
      cas({ version: 'v1' }, 'c', 'ok', 3, 9),
    ],
    reason: /^a version was replaced twice$/,
    windowCount: 2,
  },
  'a version of two states': {
    history: [withVersion(put('a', 1, 2), 'v1'), put('b', 3, 4), withVersion(get('b', 5, 6), 'v1')],
    reason: /^one version names two states$/,
    windowCount: 2,
  },
  'a version that two writes made': {
    history: [withVersion(put('a', 1, 2), 'v1'), withVersion(put('a', 3, 4), 'v1')],
    reason: /^two writes made one version$/,
    windowCount: 2,
  },
  'a version that comes back': {
    history: [withVersion(put('a', 1, 2), 'v1'), put('b', 3, 4), put('a', 5, 6), withVersion(get('a', 7, 8), 'v1')],
    reason: NO_ORDER,
    windowCount: 4,
  },
  'two put-if-absents': {
    history: [cas({ absent: true }, 'a', 'ok', 1, 9), cas({ absent: true }, 'b', 'ok', 1, 9), get('b', 10, 11)],
    reason: NO_ORDER,
    windowCount: 2,
  },
  'a get-and-set that found what was gone': {
    history: [put('a', 1, 2), getset('b', 'a', 3, 4), getset('c', 'a', 5, 6)],
    reason: NO_ORDER,
    windowCount: 3,
  },
  'a put between a value and the read-modify-write on it': {
    history: [put('1', 1, 2), put('7', 3, 4), incr(1n, '2', 5, 6)],
    reason: NO_ORDER,
    windowCount: 3,
  },
  'a compare-and-set that failed and was seen all the same': {
    history: [put('a', 1, 2), cas({ value: 'x' }, 'b', 'mismatch', 3, 4, { found: 'a' }), get('b', 5, 6)],
    reason: /^"b" was read and never written$/,
    windowCount: 1,
  },
  'deleted twice': {
    history: [put('a', 1, 2), delif({ value: 'a' }, 'ok', 3, 9), delif({ value: 'a' }, 'ok', 3, 9)],
    reason: NO_ORDER,
    windowCount: 3,
  },
};

for (const [name, history] of Object.entries(GOOD)) {
  test(`good: ${name}`, () => {
    assert.ok(fitsSomeMixedOrder(history), 'the oracle agrees');
    const { verdict, violation } = checkHistory(history);
    assert.equal(violation === undefined ? '' : describeViolation(violation), '');
    assert.equal(verdict, 'linearizable');
  });
}

for (const [name, { history, reason, windowCount }] of Object.entries(BAD)) {
  test(`bad: ${name}`, () => {
    assert.ok(!fitsSomeMixedOrder(history), 'the oracle agrees');
    const { verdict, violation } = checkHistory(history);
    assert.equal(verdict, 'violation');
    assert.match(violation!.reason, reason);
    assert.equal(violation!.window.length, windowCount, describeViolation(violation!));
  });
}

for (const versionShare of [0, 0.5, 1]) {
  test(`agrees with trying every order, ${versionShare} of versions known`, () => {
    const random = seededRandom(7 + versionShare);
    let goodCount = 0;
    let badCount = 0;
    for (let i = 0; i < 8_000; i++) {
      const history = randomMixedHistory(random, { operationCountMax: 7, versionShare });
      const expected = fitsSomeMixedOrder(history);
      const { verdict, violation } = checkHistory(history);
      assert.equal(verdict, expected ? 'linearizable' : 'violation', JSON.stringify(history, bigints));
      if (expected) goodCount++;
      else badCount++;
      if (violation === undefined || violation.window.length === 1) continue;
      const { window } = violation;
      assert.ok(!fitsSomeMixedOrder(window), JSON.stringify({ window, history }, bigints));
      if (!violation.reason.startsWith('no order')) continue;
      for (const read of window.filter(isRead)) {
        const less = window.filter((operation) => operation !== read);
        assert.ok(fitsSomeMixedOrder(less), `not minimal: ${JSON.stringify({ window, history }, bigints)}`);
      }
    }
    assert.ok(goodCount > 1_000 && badCount > 400, `${goodCount} good and ${badCount} bad ones are enough of each`);
  });
}

function bigints(_: string, value: unknown): unknown {
  return typeof value === 'bigint' ? String(value) : value;
}

for (const hasVersions of [true, false]) {
  test(`increments and puts of many clients on one key, ${hasVersions ? 'with' : 'without'} versions, are decided`, () => {
    assert.equal(checkHistory(counterHistory(20_000, hasVersions)).verdict, 'linearizable');
    const history = counterHistory(1_000, hasVersions);
    const lastEnd = history.reduce((last, { end }) => (end < NEVER ? Math.max(last, end) : last), 0);
    assert.equal(checkHistory([...history, get('1', lastEnd + 1, lastEnd + 2)]).verdict, 'violation');
  });
}

/** Sixty or so at once; one in two thousand of unknown outcome, half of which take effect. */
function counterHistory(operationCount: number, hasVersions: boolean): Operation[] {
  const random = seededRandom(3);
  let sum = 0;
  return Array.from({ length: operationCount }, (_, i): Operation => {
    const start = 10 * i - Math.floor(random() * 600);
    const end = 10 * i + 1 + Math.floor(random() * 600);
    const isUnknown = random() < 0.0005;
    if (random() < 0.1) {
      const read = get(sum === 0 ? undefined : String(sum), start, end);
      return hasVersions ? withVersion(read, versionOf(sum)) : read;
    }
    if (!isUnknown || random() < 0.5) sum++;
    if (isUnknown) return incr(1n, undefined, start, end);
    const known = hasVersions ? { version: versionOf(sum) } : {};
    return incr(1n, String(sum), start, end, known);
  });
}

function versionOf(count: number): string {
  return String(count).padStart(8, '0');
}

test('writes of unknown outcome that nobody need have seen keep no order from being found', () => {
  // Each subset of the sums is a state, on the value that the get does not return.
  const unknown = Array.from({ length: 12 }, (_, i) => incr(2n ** BigInt(i), undefined, 0, NEVER));
  const history = [...unknown, put('1000000', 1, 10), put('2000000', 2, 10), get('1000000', 11, 12)];
  assert.equal(checkHistory(history, { statesMax: 1_000 }).verdict, 'linearizable');
  const seen = [...history, get('1000003', 13, 14)];
  assert.equal(checkHistory(seen).verdict, 'linearizable', 'two of them have taken effect');
  assert.equal(checkHistory([...history, get('3000000', 13, 14)]).verdict, 'violation');
});
