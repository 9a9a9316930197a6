/** The general search with models of other kinds than the store has today, and the check of what it answers. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Interval, Model } from '../../bench/checker/model.ts';
import { isExplainedBy } from '../../bench/checker/order.ts';
import { registerModel } from '../../bench/checker/register-model.ts';
import { searchOrder } from '../../bench/checker/search.ts';
import { seededRandom } from '../workers/random.ts';
import { NEVER, fitsSomeOrder, get, put, randomHistory } from './histories.ts';

const STATES_MAX = 100_000;

/** A number that is set only where it has the expected value, or counted up. */
type NumberOperation = Interval &
  (
    | { readonly kind: 'read'; readonly result: number }
    /** result undefined: unknown. */
    | { readonly kind: 'compare-and-set'; readonly from: number; readonly to: number; readonly result?: boolean }
    | { readonly kind: 'increment'; readonly result?: number }
  );

const numberModel: Model<number, NumberOperation> = {
  initial: 0,
  step(state, operation) {
    switch (operation.kind) {
      case 'read':
        return operation.result === state ? state : undefined;
      case 'compare-and-set': {
        const { from, to, result } = operation;
        if (result !== undefined && result !== (state === from)) return undefined;
        return state === from ? to : state;
      }
      case 'increment':
        return operation.result === undefined || operation.result === state + 1 ? state + 1 : undefined;
    }
  },
  identify: String,
  isReadOnly: ({ kind }) => kind === 'read',
};

function verdictOf(operations: readonly NumberOperation[]): string {
  const result = searchOrder(numberModel, operations, STATES_MAX);
  if (result.verdict === 'linearizable') assert.ok(isExplainedBy(numberModel, operations, result.order));
  return result.verdict;
}

const increment = (result: number | undefined, start: number, end: number): NumberOperation =>
  result === undefined ? { kind: 'increment', start, end } : { kind: 'increment', result, start, end };
const read = (result: number, start: number, end: number): NumberOperation => ({ kind: 'read', result, start, end });

test('increments: each result once, in an order that fits', () => {
  assert.equal(
    verdictOf([increment(2, 1, 10), increment(1, 2, 9), increment(3, 3, 8), read(3, 11, 12)]),
    'linearizable',
  );
  assert.equal(verdictOf([increment(1, 1, 10), increment(1, 2, 9)]), 'violation');
  assert.equal(verdictOf([increment(2, 1, 2), increment(1, 3, 4)]), 'violation');
});

test('increments of unknown outcome count once or not at all', () => {
  assert.equal(verdictOf([increment(undefined, 1, NEVER), read(0, 2, 3), read(1, 4, 5)]), 'linearizable');
  assert.equal(verdictOf([increment(undefined, 1, NEVER), read(0, 2, 3)]), 'linearizable');
  assert.equal(verdictOf([increment(undefined, 1, NEVER), read(2, 2, 3)]), 'violation');
  assert.equal(verdictOf([increment(undefined, 1, NEVER), read(1, 2, 3), read(0, 4, 5)]), 'violation');
});

test('compare-and-set: one of two that expect the same wins', () => {
  const swap = (to: number, result: boolean): NumberOperation => ({
    kind: 'compare-and-set',
    from: 0,
    to,
    result,
    start: 1,
    end: 9,
  });
  assert.equal(verdictOf([swap(5, true), swap(6, false), read(5, 10, 11)]), 'linearizable');
  assert.equal(verdictOf([swap(5, true), swap(6, true)]), 'violation');
  assert.equal(verdictOf([swap(5, false), swap(6, false)]), 'violation');
  const unknown: NumberOperation = { kind: 'compare-and-set', from: 5, to: 6, start: 2, end: NEVER };
  assert.equal(verdictOf([unknown, swap(5, true), read(6, 20, 21)]), 'linearizable');
});

test('of the store: agrees with trying every order, and its orders explain the history', () => {
  const random = seededRandom(4);
  const counts = { linearizable: 0, violation: 0, undecided: 0 };
  for (let i = 0; i < 5_000; i++) {
    const history = randomHistory(random, { operationCountMax: 7, deleteShare: 0.2, valueCount: 3 });
    const result = searchOrder(registerModel, history, STATES_MAX);
    assert.equal(result.verdict, fitsSomeOrder(history) ? 'linearizable' : 'violation', JSON.stringify(history));
    if (result.verdict === 'linearizable') assert.ok(isExplainedBy(registerModel, history, result.order));
    counts[result.verdict]++;
  }
  assert.ok(counts.linearizable > 500 && counts.violation > 500, JSON.stringify(counts));
});

test('long histories with little going on at a time are searched from end to end', () => {
  const history = Array.from({ length: 20_000 }, (_, i) =>
    i % 3 === 0 ? put(`v${i % 7}`, 10 * i, 10 * i + 15) : get(`v${(i - (i % 3)) % 7}`, 10 * i, 10 * i + 5),
  );
  assert.equal(searchOrder(registerModel, history, STATES_MAX).verdict, 'linearizable');
  const stale = get('v-none', 199_990, 199_995);
  assert.equal(searchOrder(registerModel, [...history, stale], STATES_MAX).verdict, 'violation');
});

test('orders that lead to the same are tried once', () => {
  // Twelve puts at once have 479,001,600 orders, but only 24,576 sets of them with a last one.
  const puts = Array.from({ length: 12 }, (_, i) => put(`v${i}`, 0, 10));
  const result = searchOrder(registerModel, [...puts, get('v0', 20, 30), get('v1', 40, 50)], STATES_MAX);
  assert.equal(result.verdict, 'violation');
});

test('an order explains a history only if it is whole, in time, and fits the model', () => {
  const history = [put('a', 1, 2), get('a', 3, 4), put('b', 5, NEVER)];
  const isExplained = (order: number[]): boolean => isExplainedBy(registerModel, history, order);
  assert.ok(isExplained([0, 1]) && isExplained([0, 1, 2]));
  assert.ok(!isExplained([0]), 'a get is missing');
  assert.ok(!isExplained([0, 1, 1]), 'one twice');
  assert.ok(!isExplained([1, 0]), 'the get before the put');
  assert.ok(!isExplained([0, 1, 3]), 'one that is not there');
  assert.ok(
    !isExplainedBy(registerModel, [put('a', 1, 2), put('b', 3, 4)], [1, 0]),
    'fits the model, but not the time',
  );
});
