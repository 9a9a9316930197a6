import { assert } from '../../net/assert.ts';
import { findContradiction } from './contradiction.ts';
import { explainByCount, explainNeverWritten, explainWindow, findReadTooEarly, showValue } from './explain.ts';
import { minimalWindow } from './minimal-window.ts';
import { searchMixed } from './mixed-key.ts';
import { explainMixed } from './mixed-window.ts';
import type { Operation, PlainOperation } from './operation.ts';
import { isPlain, partitionByKey } from './operation.ts';
import { isExplainedBy } from './order.ts';
import { registerModel } from './register-model.ts';
import { searchOrder } from './search.ts';
import { orderOfUniqueWrites } from './unique-writes.ts';

/**
 * Whether a history could have come from one register a key that does each operation at one instant between its start and
 * its end.
 *
 * Each key is judged on its own. Where it had gets, puts and deletes only, and its puts wrote different values, an order is
 * built directly (unique-writes.ts), and has to pass the check of order.ts; where not, it is searched for (search.ts), with
 * read-modify-writes and versions as mixed-key.ts does. A violation is cut down to its minimal window, which the search has
 * to find impossible too, whoever found it first.
 */
export type Verdict = 'linearizable' | 'violation' | 'undecided';

export interface Violation {
  readonly key: string;
  readonly reason: string;
  /** What happened, in a sentence without its capital and full stop. */
  readonly explanation: string;
  /** By start: the operations that can't be explained together. */
  readonly window: readonly Operation[];
  /** Whether the window would fit without any one of its operations. */
  readonly isMinimal: boolean;
}

export interface CheckOptions {
  /** Tried for one key before it is given up as undecided. */
  readonly statesMax: number;
  /** Certainly without effect; if one of their values was read all the same, that is worth saying. */
  readonly failedPuts: readonly Operation[];
  /** Before each key. */
  readonly onProgress: (keysDone: number, keyCount: number) => void;
}

export interface CheckResult {
  /** A violation wherever it is; else undecided if a key is. */
  readonly verdict: Verdict;
  /** In the first key that has one. */
  readonly violation: Violation | undefined;
  readonly keyCount: number;
  readonly violatingKeys: readonly string[];
  readonly undecidedKeys: readonly string[];
}

/** Some seconds and at most 256 MiB (search.ts) a key; only keys with values written twice are searched at all. */
export const STATES_MAX_DEFAULT = 1_000_000;

/** A minimal window has some ten operations. One that could not be made minimal may have any number. */
const WINDOW_COUNT_MAX = 1_000;
const WINDOW_STATES_MAX = 100_000;

export function checkHistory(operations: readonly Operation[], options: Partial<CheckOptions> = {}): CheckResult {
  const { statesMax = STATES_MAX_DEFAULT, failedPuts = [], onProgress } = options;
  const byKey = partitionByKey(operations);
  const violatingKeys: string[] = [];
  const undecidedKeys: string[] = [];
  let keysDone = 0;
  for (const [key, ofKey] of byKey) {
    onProgress?.(keysDone++, byKey.size);
    const verdict = judgeKey(ofKey, statesMax);
    if (verdict === 'violation') violatingKeys.push(key);
    if (verdict === 'undecided') undecidedKeys.push(key);
  }
  const worst = violatingKeys[0];
  return {
    verdict: worst !== undefined ? 'violation' : undecidedKeys.length > 0 ? 'undecided' : 'linearizable',
    violation: worst === undefined ? undefined : explainViolation(worst, byKey.get(worst)!, statesMax, failedPuts),
    keyCount: byKey.size,
    violatingKeys,
    undecidedKeys,
  };
}

function judgeKey(operations: readonly Operation[], statesMax: number): Verdict {
  return arePlain(operations) ? judgePlain(operations, statesMax) : searchMixed(operations, statesMax).verdict;
}

/** Whether gets, puts and deletes are all there is, and no versions. */
function arePlain(operations: readonly Operation[]): operations is readonly PlainOperation[] {
  return operations.every((operation) => isPlain(operation) && operation.version === undefined);
}

function judgePlain(operations: readonly PlainOperation[], statesMax: number): Verdict {
  const { read, written, areUnique } = valuesOf(operations);
  for (const value of read) if (!written.has(value)) return 'violation';
  if (areUnique) {
    const order = orderOfUniqueWrites(operations);
    if (order === undefined) return 'violation';
    assert(isExplainedBy(registerModel, operations, order), 'an order that was built for a key explains its history');
    return 'linearizable';
  }
  // A put of unknown outcome whose value nobody read is never needed.
  const needed = operations.filter(({ kind, value, end }) => kind !== 'put' || end < Infinity || read.has(value!));
  return searchOrder(registerModel, needed, statesMax).verdict;
}

interface Values {
  readonly read: ReadonlySet<string>;
  readonly written: ReadonlySet<string>;
  /** No value was put twice. */
  readonly areUnique: boolean;
}

function valuesOf(operations: readonly PlainOperation[]): Values {
  const read = new Set<string>();
  const written = new Set<string>();
  let putCount = 0;
  for (const { kind, value } of operations) {
    if (kind === 'get' && value !== undefined) read.add(value);
    if (kind !== 'put') continue;
    putCount++;
    written.add(value!);
  }
  return { read, written, areUnique: written.size === putCount };
}

function explainViolation(
  key: string,
  operations: readonly Operation[],
  statesMax: number,
  failedPuts: readonly Operation[],
): Violation {
  return arePlain(operations)
    ? explainPlain(key, operations, statesMax, failedPuts)
    : { key, ...explainMixed(operations, failedPuts) };
}

function explainPlain(
  key: string,
  operations: readonly PlainOperation[],
  statesMax: number,
  failedPuts: readonly Operation[],
): Violation {
  const { written, areUnique } = valuesOf(operations);
  const stray = operations.find(({ kind, value }) => kind === 'get' && value !== undefined && !written.has(value));
  if (stray !== undefined) {
    const failedPut = failedPuts.find((put) => put.key === key && put.value === stray.value);
    return {
      key,
      reason: `${showValue(stray.value)} was read and never written`,
      explanation: explainNeverWritten(stray, failedPut),
      window: [stray],
      isMinimal: true,
    };
  }
  const reason = 'no order of its operations fits';
  const early = findReadTooEarly(operations);
  if (early !== undefined) {
    return { key, reason, explanation: explainWindow(early), window: early, isMinimal: true };
  }
  const found = areUnique ? findContradiction(operations) : undefined;
  const isViolation = (candidate: readonly PlainOperation[]): boolean =>
    judgePlain(candidate, statesMax) === 'violation';
  const { operations: window, isMinimal } = minimalWindow(operations, found, isViolation);
  if (window.length > WINDOW_COUNT_MAX) return { key, reason, explanation: explainByCount(window), window, isMinimal };
  const { verdict } = searchOrder(registerModel, window, WINDOW_STATES_MAX);
  assert(verdict !== 'linearizable', 'the search finds no order for a window either');
  const explanation = areUnique ? explainWindow(window) : explainByCount(window);
  return { key, reason, explanation, window, isMinimal };
}
