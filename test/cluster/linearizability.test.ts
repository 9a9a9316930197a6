/** The checker itself: histories known to be good or bad, and small random ones judged by trying every order. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { seededRandom } from '../workers/random.ts';
import type { Operation } from './linearizability.ts';
import { describeViolation, findViolation } from './linearizability.ts';

const NEVER = Infinity;

function put(value: string, start: number, end: number, key = 'k'): Operation {
  return { kind: 'put', key, value, start, end };
}

function get(value: string | undefined, start: number, end: number, key = 'k'): Operation {
  return { kind: 'get', key, value, start, end };
}

function remove(start: number, end: number, key = 'k'): Operation {
  return { kind: 'delete', key, value: undefined, start, end };
}

const GOOD: Record<string, readonly Operation[]> = {
  'nothing happened': [],
  'a read of a key that was never written': [get(undefined, 1, 2)],
  'one after the other': [put('a', 1, 2), get('a', 3, 4), remove(5, 6), get(undefined, 7, 8), put('b', 9, 10)],
  'a read during a put sees either': [put('a', 1, 2), put('b', 3, 10), get('a', 4, 5), get('b', 6, 7), get('b', 8, 9)],
  'concurrent puts in either order': [put('a', 1, 10), put('b', 2, 9), get('b', 11, 12)],
  'a put of unknown outcome is seen late': [put('a', 1, 2), put('b', 3, NEVER), get('a', 4, 5), get('b', 50, 51)],
  'a put of unknown outcome is never seen': [put('a', 1, 2), put('b', 3, NEVER), get('a', 4, 5), get('a', 50, 51)],
  'a delete of unknown outcome takes effect late': [
    put('a', 1, 2),
    remove(3, NEVER),
    get('a', 4, 5),
    get(undefined, 6, 7),
  ],
  'an end and a start at the same instant are concurrent': [put('a', 1, 5), get(undefined, 5, 6)],
  'keys are independent': [put('a', 1, 2, 'x'), get(undefined, 3, 4, 'y'), get('a', 3, 4, 'x')],
  'the same value under two keys': [put('a', 1, 2, 'x'), put('a', 3, 4, 'y'), get('a', 5, 6, 'x'), get('a', 5, 6, 'y')],
};

const BAD: Record<string, readonly Operation[]> = {
  'a stale read': [put('a', 1, 2), put('b', 3, 4), get('a', 5, 6)],
  'a stale read of a key as absent': [put('a', 1, 2), get(undefined, 3, 4)],
  'a lost update': [put('a', 1, 2), put('b', 3, 4), get('b', 5, 6), get('a', 7, 8)],
  'a lost update, both concurrent with a third': [put('a', 1, 20), put('b', 3, 4), put('c', 5, 6), get('b', 7, 8)],
  'a read inversion': [put('a', 1, 2), put('b', 3, 20), get('b', 4, 5), get('a', 6, 7)],
  'a read inversion by a put of unknown outcome': [put('a', 1, 2), put('b', 3, NEVER), get('b', 4, 5), get('a', 6, 7)],
  'a, b, a': [put('a', 1, 9), put('b', 1, 9), get('a', 10, 11), get('b', 12, 13), get('a', 14, 15)],
  'a deleted value comes back': [put('a', 1, 2), remove(3, 4), get('a', 5, 6)],
  'a value from before its put': [get('a', 1, 2), put('a', 3, 4)],
  'a value that nobody wrote': [put('a', 1, 2), get('z', 3, 4)],
  "another key's value": [put('a', 1, 2, 'x'), get('a', 3, 4, 'y')],
  'two readers disagree on the order of two puts': [
    put('a', 1, 2),
    put('b', 3, 20),
    put('c', 3, 20),
    get('b', 4, 5),
    get('c', 6, 7),
    get('b', 8, 9),
  ],
  'bad in one of several keys': [
    put('a', 1, 2, 'x'),
    get('a', 3, 4, 'x'),
    put('b', 1, 2, 'y'),
    get(undefined, 3, 4, 'y'),
  ],
};

for (const [name, history] of Object.entries(GOOD)) {
  test(`good: ${name}`, () => {
    const violation = findViolation(history);
    assert.equal(violation === undefined ? '' : describeViolation(violation), '');
  });
}

for (const [name, history] of Object.entries(BAD)) {
  test(`bad: ${name}`, () => assert.notEqual(findViolation(history), undefined));
}

/** Every order that respects time, and every choice of the operations of unknown outcome that took effect. */
function fitsSomeOrder(left: readonly Operation[], state: string | undefined): boolean {
  const firstEnd = Math.min(...left.map(({ end }) => end));
  if (firstEnd === Infinity) return true;
  return left.some((operation) => {
    if (operation.start > firstEnd) return false;
    if (operation.kind === 'get' && operation.value !== state) return false;
    return fitsSomeOrder(
      left.filter((other) => other !== operation),
      operation.value,
    );
  });
}

/** Few values and long overlaps, so that many histories are good and many are bad. */
function randomHistory(random: () => number, withDeletes: boolean): Operation[] {
  const count = 2 + Math.floor(random() * 5);
  return Array.from({ length: count }, (_, i) => {
    const start = Math.floor(random() * 12);
    const end = start + Math.floor(random() * 8);
    const kind = random();
    if (kind < 0.4) return put(`v${i}`, start, random() < 0.3 ? NEVER : end);
    if (kind < 0.5 && withDeletes) return remove(start, random() < 0.3 ? NEVER : end);
    return get(random() < 0.2 ? undefined : `v${Math.floor(random() * count)}`, start, end);
  });
}

for (const withDeletes of [false, true]) {
  test(`agrees with trying every order, ${withDeletes ? 'with' : 'without'} deletes`, () => {
    const random = seededRandom(1);
    let goodCount = 0;
    let badCount = 0;
    for (let i = 0; i < 5_000; i++) {
      const history = randomHistory(random, withDeletes);
      const expected = fitsSomeOrder(history, undefined);
      assert.equal(findViolation(history) === undefined, expected, JSON.stringify(history));
      if (expected) goodCount++;
      else badCount++;
    }
    assert.ok(goodCount > 500 && badCount > 500, `${goodCount} good and ${badCount} bad ones are enough of each`);
  });
}

for (const withDeletes of [false, true]) {
  test(`long histories are decided, ${withDeletes ? 'with' : 'without'} deletes`, () => {
    const random = seededRandom(2);
    const history: Operation[] = [];
    let state: string | undefined;
    for (let i = 0; i < 400; i++) {
      // Each takes effect at 10 * i, within an interval that overlaps its neighbours'.
      const start = 10 * i - Math.floor(random() * 40);
      const end = 10 * i + 1 + Math.floor(random() * 40);
      const kind = random();
      if (kind < 0.5) {
        history.push(get(state, start, end));
      } else if (kind < 0.6 && withDeletes) {
        state = undefined;
        history.push(remove(start, end));
      } else {
        state = `v${i}`;
        history.push(put(state, start, random() < 0.1 ? NEVER : end));
      }
    }
    assert.equal(findViolation(history), undefined);
    const stale = get('v-none', 5_000, 5_001);
    assert.notEqual(findViolation([...history, put('v-none', -10, -9), stale]), undefined);
  });
}
