import { explainByCount, explainNeverWritten, nameOf, showValue } from './explain.ts';
import { findMixedContradiction } from './mixed-contradiction.ts';
import { searchMixed } from './mixed-key.ts';
import type { Operation } from './operation.ts';
import { isPlain, isRead } from './operation.ts';

/** What is to be said of a key with read-modify-writes, or versions, whose operations fit no order. */
export interface MixedViolation {
  readonly reason: string;
  readonly explanation: string;
  readonly window: readonly Operation[];
  readonly isMinimal: boolean;
}

/** For each that is tried while the window is made smaller; what can't be decided within it stays in. */
const STATES_MAX = 20_000;
/** So many operations are judged before what there is must do; that takes some seconds. */
const JUDGED_MAX = 1_000_000;

export function explainMixed(operations: readonly Operation[], failedPuts: readonly Operation[]): MixedViolation {
  const found = findMixedContradiction(operations);
  if (found !== undefined) {
    const { reason, window } = found;
    return { reason, explanation: explainContradiction(window, failedPuts), window, isMinimal: true };
  }
  const { window, isMinimal } = smallerWindow(operations);
  const reason = 'no order of its operations fits';
  return { reason, explanation: explainByCount(window), window, isMinimal };
}

function explainContradiction(window: readonly Operation[], failedPuts: readonly Operation[]): string {
  const [first, second] = window;
  if (second !== undefined) return `${describe(first!)}, and ${describe(second)}`;
  const { key } = first!;
  const value = isPlain(first!) ? first!.value : (first!.found ?? undefined);
  const failed = failedPuts.find((put) => put.key === key && put.value === value);
  return isPlain(first!)
    ? explainNeverWritten(first!, failed)
    : `${describe(first!)}, which nobody is known to have written`;
}

/** "cas "a" by process 0, which found "b", version 7" */
function describe(operation: Operation): string {
  const { version } = operation;
  const seen = isPlain(operation)
    ? operation.kind === 'get'
      ? `, which returned ${showValue(operation.value)}`
      : ''
    : operation.found === undefined
      ? ''
      : `, which found ${showValue(operation.found ?? undefined)}`;
  return `${nameOf(operation)}${seen}${version === undefined ? '' : `, version ${version}`}`;
}

/**
 * What was under way or over when the violation became certain, without the reads that are not needed for it. Writes stay:
 * each may have been what a later one builds on.
 */
function smallerWindow(operations: readonly Operation[]): { window: readonly Operation[]; isMinimal: boolean } {
  const isViolation = (some: readonly Operation[]): boolean => searchMixed(some, STATES_MAX).verdict === 'violation';
  const byStart = operations.toSorted((a, b) => a.start - b.start);
  const ends = byStart.flatMap(({ end }) => (end < Infinity ? [end] : [])).sort((a, b) => a - b);
  let low = 0;
  let high = ends.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (isViolation(prefixUntil(byStart, ends[middle]!))) high = middle;
    else low = middle + 1;
  }
  const window = prefixUntil(byStart, ends[low] ?? Infinity);
  return isViolation(window) ? withoutReads(window, isViolation) : { window: byStart, isMinimal: false };
}

/** Drops ever smaller pieces of what only reads, as minimal-window.ts does. */
function withoutReads(
  whole: readonly Operation[],
  isViolation: (some: readonly Operation[]) => boolean,
): { window: readonly Operation[]; isMinimal: boolean } {
  let window = whole;
  let reads = window.filter(isRead);
  let judged = 0;
  for (let pieceCount = reads.length; pieceCount >= 1; pieceCount = Math.floor(pieceCount / 2)) {
    for (let at = 0; at < reads.length; ) {
      judged += window.length;
      if (judged > JUDGED_MAX) return { window, isMinimal: false };
      const dropped = new Set(reads.slice(at, at + pieceCount));
      const less = window.filter((operation) => !dropped.has(operation));
      if (isViolation(less)) {
        window = less;
        reads = reads.filter((read) => !dropped.has(read));
      } else {
        at += pieceCount;
      }
    }
  }
  // Of writes nobody knows whether fewer would do.
  return { window, isMinimal: window.every(isRead) };
}

/** A prefix of a linearizable history is linearizable: what had not ended by then may or may not have had its effect. */
function prefixUntil(byStart: readonly Operation[], time: number): Operation[] {
  return byStart.flatMap((operation): Operation[] => {
    const { start, end } = operation;
    if (start > time) return [];
    if (end <= time) return [operation];
    if (isRead(operation)) return [];
    if (isPlain(operation)) return [{ ...operation, end: Infinity, version: undefined }];
    const { process, key, kind, value, expected, delta } = operation;
    return [
      {
        ...(process !== undefined && { process }),
        key,
        kind,
        result: 'unknown',
        value: kind === 'incr' ? undefined : value,
        expected,
        delta,
        start,
        end: Infinity,
      },
    ];
  });
}
