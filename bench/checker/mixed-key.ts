import { numberIn } from './integers.ts';
import { keyModelOf, versionIn } from './key-model.ts';
import type { Operation } from './operation.ts';
import { isPlain, isRead } from './operation.ts';
import { searchOrder } from './search.ts';
import type { SearchResult } from './search.ts';

/**
 * Searches the history of a key that had read-modify-writes, or whose versions are known, for an order.
 *
 * Where versions are known it tries them in the order of their texts first: a store whose versions grow explains itself
 * that way at once. Whatever the order is worth, the search goes through all others when it doesn't fit.
 */
export function searchMixed(operations: readonly Operation[], statesMax: number): SearchResult {
  const few = withoutUnseen(operations);
  if (few.length < operations.length) {
    // An order of fewer is one of all: what is of unknown outcome may have had no effect.
    const found = searchAmong(few, operations, statesMax / FEW_SHARE);
    if (found.verdict === 'linearizable') return found;
  }
  return searchAmong(withoutUnneeded(operations), operations, statesMax);
}

/** Of the states that may be tried, so many times fewer where only the likeliest of unknown outcome are among those placed. */
const FEW_SHARE = 10;

function searchAmong(some: readonly Operation[], all: readonly Operation[], statesMax: number): SearchResult {
  const result = searchOrder(keyModelOf(all), some, statesMax, byVersion(some));
  if (result.verdict !== 'linearizable') return result;
  const indexes = new Map(all.map((operation, index) => [operation, index]));
  return { verdict: 'linearizable', order: result.order.map((index) => indexes.get(some[index]!)!) };
}

/** Without the writes of unknown outcome of which somebody may have seen something, but nobody the very value that they made. */
function withoutUnseen(operations: readonly Operation[]): readonly Operation[] {
  const seen = new Set(operations.map(valueSeen));
  return operations.filter((operation) => {
    const value = valueAfter(operation);
    return operation.end < Infinity || isRead(operation) || (value !== undefined && seen.has(value));
  });
}

/** What the operation tells of a value that was there: before it if it changed the key, else all along. */
export function valueSeen(operation: Operation): string | null | undefined {
  if (isPlain(operation)) return operation.kind === 'get' ? (operation.value ?? null) : undefined;
  const { kind, result, expected, found, value, delta } = operation;
  if (found !== undefined || result !== 'ok') return found;
  if (kind === 'incr') {
    const before = String(BigInt(value!) - delta!);
    return before === '0' ? undefined : before;
  }
  if (expected === undefined || 'version' in expected) return undefined;
  return 'absent' in expected ? null : expected.value;
}

/** What the key holds once the operation has had its effect; undefined when that depends. */
export function valueAfter(operation: Operation): string | null | undefined {
  const { kind, value } = operation;
  if (kind === 'delete' || kind === 'delif') return null;
  return kind === 'get' ? undefined : value;
}

/**
 * A write of unknown outcome of whose value nothing is known to have been seen is never needed: whatever comes next ends
 * that value without a look at it. Where somebody may have looked and nobody knows at what, all are kept.
 */
function withoutUnneeded(operations: readonly Operation[]): readonly Operation[] {
  const seen = new Set<string | null>();
  const versions = new Set(operations.map(({ version }) => version));
  let isSumUnknown = false;
  for (const operation of operations) {
    const value = valueSeen(operation);
    if (value !== undefined) seen.add(value);
    if (isPlain(operation)) continue;
    const { kind, result, expected, found } = operation;
    const version = versionIn(expected);
    if (version !== undefined && !versions.has(version)) return operations;
    if (result === 'mismatch' && found === undefined) return operations;
    if (expected !== undefined && 'value' in expected) seen.add(expected.value);
    // 0 is what absent counts as, too.
    if (kind === 'incr' && result === 'ok') seen.add('0').add(null);
    if (kind === 'incr' && result === 'unknown') isSumUnknown = true;
    if (expected !== undefined && 'absent' in expected) seen.add(null);
  }
  return operations.filter((operation) => {
    if (operation.end < Infinity || isRead(operation)) return true;
    const value = valueAfter(operation);
    if (value === undefined || seen.has(value)) return true;
    return isSumUnknown && (value === null || numberIn(value) !== undefined);
  });
}

/** Text after every other. */
const LAST = '\uffff';

/**
 * In the order of versions, the write before who reads it: the first of them, then whatever has no place among them, then the
 * rest. What has an unknown outcome comes after what has not: an order needs few of those. Puts of values that nobody saw
 * come just before another put, where they are in nobody's way.
 */
function byVersion(operations: readonly Operation[]): (candidates: readonly number[]) => readonly number[] {
  const seen = new Set<string | null | undefined>();
  const versionOf = new Map<string | null, string>();
  for (const operation of operations) {
    const value = valueSeen(operation);
    seen.add(value);
    if (!isPlain(operation) && operation.expected !== undefined && 'value' in operation.expected) {
      seen.add(operation.expected.value);
    }
    if (!isRead(operation) || operation.version === undefined) continue;
    if (value !== undefined && value !== null) versionOf.set(value, operation.version);
  }
  const ranks = operations.map((operation) => {
    if (operation.version !== undefined) return operation.version;
    const value = isRead(operation) ? undefined : valueAfter(operation);
    return typeof value === 'string' ? (versionOf.get(value) ?? LAST) : LAST;
  });
  const isUnseenPut = operations.map(
    ({ kind, value, version, end }) => kind === 'put' && version === undefined && end < Infinity && !seen.has(value),
  );
  const order = (a: number, b: number): number => {
    if (ranks[a]! !== ranks[b]!) return ranks[a]! < ranks[b]! ? -1 : 1;
    const isReadA = isRead(operations[a]!);
    if (isReadA !== isRead(operations[b]!)) return isReadA ? 1 : -1;
    const isOpenA = operations[a]!.end === Infinity;
    const isOpenB = operations[b]!.end === Infinity;
    if (isOpenA !== isOpenB) return isOpenA ? 1 : -1;
    return operations[a]!.start - operations[b]!.start;
  };
  return (candidates) => {
    const sorted = [...candidates].sort(order);
    const firstLast = sorted.findIndex((index) => ranks[index] === LAST);
    if (firstLast <= 0) return sorted;
    const [first, ...ranked] = sorted.slice(0, firstLast);
    const unranked = sorted.slice(firstLast);
    if (!isBlind(operations[first!]!)) return [first!, ...unranked, ...ranked];
    const unseen = unranked.filter((index) => isUnseenPut[index]);
    return [...unseen, first!, ...unranked.filter((index) => !isUnseenPut[index]), ...ranked];
  };
}

/** Whatever was there before, it fits. */
function isBlind({ kind }: Operation): boolean {
  return kind === 'put' || kind === 'delete';
}
