/** The check of gets, puts and deletes: histories known to be good or bad, and drawn ones judged by trying every order. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { checkHistory } from '../../bench/checker/check.ts';
import { describeViolation } from '../../bench/checker/describe.ts';
import type { Operation } from '../../bench/checker/operation.ts';
import { seededRandom } from '../workers/random.ts';
import type { Drawing } from './histories.ts';
import { NEVER, fitsSomeOrder, get, put, randomHistory, remove } from './histories.ts';

const GOOD: Record<string, readonly Operation[]> = {
  'nothing happened': [],
  'a read of a key that was never written': [get(undefined, 1, 2)],
  'one after the other': [put('a', 1, 2), get('a', 3, 4), remove(5, 6), get(undefined, 7, 8), put('b', 9, 10)],
  'a read during a put sees either': [put('a', 1, 2), put('b', 3, 10), get('a', 4, 5), get('b', 6, 7), get('b', 8, 9)],
  'two readers during a put, the one that ends later sees the old value': [
    put('a', 1, 2),
    put('b', 3, 10),
    get('b', 4, 6),
    get('a', 5, 7),
  ],
  'concurrent puts in either order': [put('a', 1, 10), put('b', 2, 9), get('b', 11, 12)],
  'a put that ends first is overwritten by one that began before it': [
    put('a', 1, 9),
    put('b', 3, 4),
    get('a', 10, 11),
  ],
  'a put of unknown outcome is seen late': [put('a', 1, 2), put('b', 3, NEVER), get('a', 4, 5), get('b', 50, 51)],
  'a put of unknown outcome is never seen': [put('a', 1, 2), put('b', 3, NEVER), get('a', 4, 5), get('a', 50, 51)],
  'a put of unknown outcome is seen after ten others': [
    put('late', 1, NEVER),
    ...Array.from({ length: 10 }, (_, i) => put(`v${i}`, 10 * i + 2, 10 * i + 3)),
    get('late', 200, 201),
  ],
  'a delete of unknown outcome takes effect late': [
    put('a', 1, 2),
    remove(3, NEVER),
    get('a', 4, 5),
    get(undefined, 6, 7),
  ],
  'a delete absorbs a put that began before it': [put('a', 0, 13), remove(5, 10), get(undefined, 11, 12)],
  'one delete serves two reads of nothing with a put before both': [
    put('a', 0, 13),
    remove(5, 10),
    get(undefined, 11, 12),
    get(undefined, 14, 15),
  ],
  'an end and a start at the same instant are concurrent': [put('a', 1, 5), get(undefined, 5, 6)],
  'keys are independent': [put('a', 1, 2, 'x'), get(undefined, 3, 4, 'y'), get('a', 3, 4, 'x')],
  'the same value under two keys': [put('a', 1, 2, 'x'), put('a', 3, 4, 'y'), get('a', 5, 6, 'x'), get('a', 5, 6, 'y')],
  'a value put again': [put('a', 1, 2), put('b', 3, 4), get('b', 5, 6), put('a', 7, 8), get('a', 9, 10)],
};

interface Bad {
  readonly history: readonly Operation[];
  readonly explanation: RegExp;
  readonly windowCount: number;
}

const BAD: Record<string, Bad> = {
  'a stale read': {
    history: [put('a', 1, 2), put('b', 3, 4), get('a', 5, 6)],
    explanation:
      /^get returned "a" although put "b" had ended before it began; "a" was older: put "a" had ended before that put began$/,
    windowCount: 3,
  },
  'a stale read of a key as absent': {
    history: [put('a', 1, 2), get(undefined, 3, 4)],
    explanation:
      /^get returned nothing although put "a" had ended before it began, and no delete can have come in between/,
    windowCount: 2,
  },
  'a lost update': {
    history: [put('a', 1, 2), get('a', 2, 3), put('b', 4, 5), get('b', 6, 7), get('a', 8, 9)],
    explanation: /^get returned "a" although put "b" had ended/,
    windowCount: 3,
  },
  'a lost update, both concurrent with a third': {
    history: [put('a', 1, 20), put('b', 3, 4), put('c', 5, 6), get('b', 7, 8)],
    explanation: /^get returned "b" although put "c" had ended/,
    windowCount: 3,
  },
  'a read inversion': {
    history: [put('a', 1, 2), put('b', 3, 20), get('b', 4, 5), get('a', 6, 7)],
    explanation: /^get returned "a" although get, which returned "b", had ended before it began; "a" was older/,
    windowCount: 4,
  },
  'a put of unknown outcome that takes effect late and is then undone': {
    history: [put('a', 1, 2), put('b', 3, NEVER), get('a', 4, 5), get('b', 60, 61), get('a', 70, 71)],
    explanation: /^get returned "a" although get, which returned "b", had ended before it began; "a" was older/,
    windowCount: 4,
  },
  'a, b, a': {
    history: [put('a', 1, 9), put('b', 1, 9), get('a', 10, 11), get('b', 12, 13), get('a', 14, 15)],
    explanation:
      /^get returned "b" although put "a" had ended before it began; "b" was older: put "b" had ended before get, which returned "a", began$/,
    windowCount: 4,
  },
  'a deleted value comes back': {
    history: [put('a', 1, 2), remove(3, 4), get('a', 5, 6)],
    explanation:
      /^get returned "a" although delete had ended before it began; "a" was older: put "a" had ended before that/,
    windowCount: 3,
  },
  'a deleted value comes back after it was seen to be gone': {
    history: [put('a', 1, 2), remove(3, NEVER), get(undefined, 5, 6), get('a', 7, 8)],
    explanation: /^get returned "a" although get, which returned nothing, had ended before it began; "a" was older/,
    windowCount: 3,
  },
  'a value from before its put': {
    history: [get('a', 1, 2), put('a', 3, 4)],
    explanation: /^get returned "a" and had ended before put "a" began$/,
    windowCount: 2,
  },
  'a value that nobody wrote': {
    history: [put('a', 1, 2), get('z', 3, 4)],
    explanation: /^get returned "z", but no put of that value was recorded$/,
    windowCount: 1,
  },
  "another key's value": {
    history: [put('a', 1, 2, 'x'), get('a', 3, 4, 'y')],
    explanation: /no put of that value was recorded/,
    windowCount: 1,
  },
  'two readers disagree on the order of two puts': {
    history: [put('a', 1, 2), put('b', 3, 20), put('c', 3, 20), get('b', 4, 5), get('c', 6, 7), get('b', 8, 9)],
    explanation: /^get returned "b" although get, which returned "c"/,
    windowCount: 5,
  },
  'one delete for two separate reads of nothing': {
    history: [
      put('a', 1, 2),
      remove(3, NEVER),
      get(undefined, 4, 5),
      put('b', 6, 7),
      get('b', 8, 9),
      get(undefined, 10, 11),
    ],
    explanation: /^no order of these 5 operations gives each get what it returned$/,
    windowCount: 5,
  },
  'a value put twice, and a third read of it after another': {
    history: [put('a', 1, 2), put('b', 3, 4), get('b', 5, 6), put('a', 7, 8), put('c', 9, 10), get('a', 11, 12)],
    explanation: /^no order of these \d operations gives each get what it returned$/,
    windowCount: 4,
  },
  'bad in one of several keys': {
    history: [put('a', 1, 2, 'x'), get('a', 3, 4, 'x'), put('b', 1, 2, 'y'), get(undefined, 3, 4, 'y')],
    explanation: /^get returned nothing although put "b"/,
    windowCount: 2,
  },
};

for (const [name, history] of Object.entries(GOOD)) {
  test(`good: ${name}`, () => {
    const { verdict, violation } = checkHistory(history);
    assert.equal(violation === undefined ? '' : describeViolation(violation), '');
    assert.equal(verdict, 'linearizable');
  });
}

for (const [name, { history, explanation, windowCount }] of Object.entries(BAD)) {
  test(`bad: ${name}`, () => {
    const { verdict, violation } = checkHistory(history);
    assert.equal(verdict, 'violation');
    assert.match(violation!.explanation, explanation);
    assert.equal(violation!.window.length, windowCount, describeViolation(violation!));
    assert.match(violation!.reason, /^(no order of its operations fits|".*" was read and never written)$/);
  });
}

test('the sentence names processes, and a put that had failed', () => {
  const failed = { ...put('a', 1, 2), process: 4 };
  const { violation } = checkHistory([{ ...get('a', 3, 4), process: 7 }], { failedPuts: [failed] });
  assert.equal(
    violation!.explanation,
    'get by process 7 returned "a", but put "a" by process 4 had ended with an error, which promises that it had no effect',
  );
});

const DRAWINGS: Record<string, Drawing> = {
  'without deletes': { operationCountMax: 6, deleteShare: 0, valueCount: Infinity },
  'with deletes': { operationCountMax: 7, deleteShare: 0.25, valueCount: Infinity },
  'with values put more than once': { operationCountMax: 7, deleteShare: 0.1, valueCount: 2 },
};

for (const [name, drawing] of Object.entries(DRAWINGS)) {
  test(`agrees with trying every order, ${name}`, () => {
    const random = seededRandom(1);
    let goodCount = 0;
    let badCount = 0;
    for (let i = 0; i < 10_000; i++) {
      const history = randomHistory(random, drawing);
      const expected = fitsSomeOrder(history);
      const { verdict, violation } = checkHistory(history);
      assert.equal(verdict, expected ? 'linearizable' : 'violation', JSON.stringify(history));
      if (expected) goodCount++;
      else badCount++;
      if (violation !== undefined) assertIsReason(violation.window, history);
    }
    assert.ok(goodCount > 1_000 && badCount > 1_000, `${goodCount} good and ${badCount} bad ones are enough of each`);
  });
}

/** A window fits no order; neither does it with the deletes that were left out, so that none of them would have mended it. */
function assertIsReason(window: readonly Operation[], history: readonly Operation[]): void {
  assert.ok(!fitsSomeOrder(window), JSON.stringify({ window, history }));
  const deletes = history.filter((operation) => operation.kind === 'delete' && !window.includes(operation));
  assert.ok(!fitsSomeOrder([...window, ...deletes]), JSON.stringify({ window, history }));
  for (const read of window.filter(({ kind }) => kind === 'get')) {
    const less = window.filter((operation) => operation !== read);
    assert.ok(fitsSomeOrder([...less, ...deletes]), `not minimal: ${JSON.stringify({ window, history })}`);
  }
}

/** What a real register answers: each operation takes effect at its instant, some time between its start and its end. */
const realHistory = fc
  .array(
    fc.record({
      kind: fc.constantFrom('get', 'get', 'put', 'put', 'delete'),
      key: fc.constantFrom('x', 'y'),
      at: fc.integer({ min: 0, max: 400 }),
      before: fc.integer({ min: 0, max: 60 }),
      after: fc.integer({ min: 0, max: 60 }),
      isUnknown: fc.boolean(),
      value: fc.integer({ min: 0, max: 999_999 }),
    }),
    { maxLength: 120 },
  )
  .map((drawn) => {
    const state = new Map<string, string>();
    const history: Operation[] = [];
    for (const { kind, key, at, before, after, isUnknown, value } of drawn.toSorted((a, b) => a.at - b.at)) {
      const times = { start: at - before, end: isUnknown && kind !== 'get' ? NEVER : at + after };
      if (kind === 'get') {
        history.push({ kind, key, value: state.get(key), ...times });
      } else if (kind === 'put') {
        // Unique by its place in the history.
        const unique = `${value}-${history.length}`;
        state.set(key, unique);
        history.push({ kind, key, value: unique, ...times });
      } else {
        state.delete(key);
        history.push({ kind: 'delete', key, value: undefined, ...times });
      }
    }
    return history;
  });

test('whatever a real register answers is accepted', () => {
  fc.assert(
    fc.property(realHistory, (history) => {
      assert.equal(checkHistory(history).verdict, 'linearizable');
    }),
    { numRuns: 2_000 },
  );
});

for (const deleteShare of [0, 0.1]) {
  test(`a hundred thousand operations on one key, ${deleteShare > 0 ? 'with' : 'without'} deletes, are decided`, () => {
    const history = hotKey(100_000, deleteShare);
    assert.equal(checkHistory(history).verdict, 'linearizable');
    // Somebody reads the first value a second time, long after.
    const first = history.find(({ kind, end }) => kind === 'put' && end < NEVER)!;
    const lastEnd = history.reduce((last, { end }) => (end < NEVER ? Math.max(last, end) : last), 0);
    const { violation } = checkHistory([...history, get(first.value, lastEnd + 1, lastEnd + 2)]);
    assert.ok(violation!.isMinimal && violation!.window.length <= 4, describeViolation(violation!));
    assert.match(violation!.explanation, new RegExp(`^get returned "${first.value}" although .* was older`));
  });
}

test('one delete for two reads of nothing is found among many others', () => {
  // An unknown delete among the others could serve the second read.
  const history = hotKey(20_000, 0.1, 0);
  const lastEnd = history.reduce((last, { end }) => (end < NEVER ? Math.max(last, end) : last), 0);
  const times = [1, 2, 3, 4, 5].map((i) => [lastEnd + 10 * i, lastEnd + 10 * i + 1] as const);
  const rare = [
    put('a', ...times[0]!),
    remove(times[1]![0], NEVER),
    get(undefined, ...times[2]!),
    put('b', ...times[3]!),
    get(undefined, ...times[4]!),
  ];
  const { violation } = checkHistory([...history, ...rare]);
  assert.deepEqual(violation!.window, rare);
  assert.ok(violation!.isMinimal);
});

/** Some 250 operations are under way at a time. */
function hotKey(operationCount: number, deleteShare: number, unknownShare = 0.001): Operation[] {
  const random = seededRandom(2);
  let state: string | undefined;
  return Array.from({ length: operationCount }, (_, i) => {
    const start = 10 * i - Math.floor(random() * 2_500);
    const end = 10 * i + 1 + Math.floor(random() * 2_500);
    const kind = random();
    if (kind < 0.5) return get(state, start, end);
    state = kind < 0.5 + deleteShare ? undefined : `v${i}`;
    const writeEnd = random() < unknownShare ? NEVER : end;
    return state === undefined ? remove(start, writeEnd) : put(state, start, writeEnd);
  });
}

test('what can not be decided within the bound is said to be undecided, never linearizable', () => {
  // Two puts of each of two values at once can change the value four times; the gets see more changes.
  const puts = ['a', 'b', 'a', 'b'].map((value, i) => put(value, i, 1_000 + i));
  const gets = ['a', 'b', 'a', 'b', 'a'].map((value, i) => get(value, 10 * i + 10, 10 * i + 12));
  const { verdict, undecidedKeys, violation } = checkHistory([...puts, ...gets], { statesMax: 3 });
  assert.equal(verdict, 'undecided');
  assert.deepEqual(undecidedKeys, ['k']);
  assert.equal(violation, undefined);
  assert.equal(checkHistory([...puts, ...gets]).verdict, 'violation');
});
