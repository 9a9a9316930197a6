import type { PlainOperation } from './operation.ts';
import { RunningMax } from './running-max.ts';
import { zonesOf } from './zones.ts';

/**
 * Makes a violation small enough to be understood: the operations of a key without which it would be none.
 *
 * Only what can't have been the reason is dropped, so that what stays is a violation of the whole history too:
 * - a get at any time, since it changes nothing;
 * - a put together with all gets of its value;
 * - a delete together with all gets of nothing that could have been due to it.
 */
export interface Window {
  /** By start. */
  readonly operations: readonly PlainOperation[];
  /** Whether without any one of them the rest fits. Else the search for less was given up. */
  readonly isMinimal: boolean;
}

/** So many operations are judged before what there is must do; that takes some ten seconds. */
const JUDGED_MAX = 20_000_000;

/**
 * @param found A part of the operations that is known to be a violation, if any: what to start from.
 * @param isViolation Of some of the operations, by start.
 */
export function minimalWindow(
  operations: readonly PlainOperation[],
  found: readonly PlainOperation[] | undefined,
  isViolation: (operations: readonly PlainOperation[]) => boolean,
): Window {
  const deletes = operations.filter(({ kind }) => kind === 'delete');
  const from = found ?? shortestPrefix(sortedByStart(operations), isViolation);
  return shrink(from, (less) => {
    const certain = withoutDoubtfulReads(less, deletes);
    return isViolation(certain) ? certain : undefined;
  });
}

export function sortedByStart(operations: readonly PlainOperation[]): PlainOperation[] {
  return operations.toSorted((a, b) => a.start - b.start);
}

/**
 * What was under way or over when the violation became certain. A prefix of a linearizable history is linearizable, so
 * the instant can be halved for.
 */
function shortestPrefix(
  byStart: readonly PlainOperation[],
  isViolation: (operations: readonly PlainOperation[]) => boolean,
): readonly PlainOperation[] {
  const ends = byStart.flatMap(({ end }) => (end < Infinity ? [end] : [])).sort((a, b) => a - b);
  const prefixUntil = (time: number): PlainOperation[] =>
    byStart.filter(({ kind, start, end }) => start <= time && (kind !== 'get' || end <= time));
  let low = 0;
  let high = ends.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (isViolation(prefixUntil(ends[middle]!))) high = middle;
    else low = middle + 1;
  }
  return prefixUntil(ends[low] ?? Infinity);
}

/**
 * Drops ever smaller pieces, the oldest first, as long as what stays is still a contradiction (the delta debugging of
 * Zeller and Hildebrandt, 2002). With a put go the gets of its value.
 *
 * @param byStart A contradiction.
 * @param contradictionIn What contradicts itself in what stays: all of it or less. Undefined: nothing does.
 */
export function shrink(
  byStart: readonly PlainOperation[],
  contradictionIn: (operations: readonly PlainOperation[]) => readonly PlainOperation[] | undefined,
): Window {
  let kept = byStart;
  let judged = 0;
  let pieceCount = Math.ceil(kept.length / 2);
  for (;;) {
    const countBefore = kept.length;
    for (let at = 0; at < kept.length; ) {
      judged += kept.length;
      if (judged > JUDGED_MAX) return { operations: kept, isMinimal: false };
      const less = contradictionIn(without(kept, at, pieceCount));
      if (less === undefined) at += pieceCount;
      else kept = less;
    }
    if (pieceCount > 1) pieceCount = Math.ceil(pieceCount / 2);
    else if (kept.length === countBefore) return { operations: kept, isMinimal: true };
  }
}

function without(operations: readonly PlainOperation[], from: number, count: number): PlainOperation[] {
  const dropped = operations.slice(from, from + count);
  const values = new Set(dropped.flatMap(({ kind, value }) => (kind === 'put' ? [value] : [])));
  return operations.filter(
    ({ kind, value }, index) => (index < from || index >= from + count) && !(kind === 'get' && values.has(value)),
  );
}

/**
 * Leaves out the gets of nothing that could be due to a delete that is missing. A delete is out of the question when it
 * began after the get had ended, or was over before a write began that was itself over before the get began.
 */
function withoutDoubtfulReads(
  kept: readonly PlainOperation[],
  deletes: readonly PlainOperation[],
): readonly PlainOperation[] {
  if (deletes.length === 0) return kept;
  const keptSet = new Set(kept);
  const missing = deletes.filter((operation) => !keptSet.has(operation));
  const lastDeleteEnd = new RunningMax(missing.map(({ start, end }) => [start, end]));
  const zoneOf = zonesOf(kept);
  const lastWriteStart = new RunningMax(
    kept.flatMap((operation) => {
      if (operation.kind === 'get') return [];
      const { firstEnd, lastStart } = zoneOf(operation);
      return [[firstEnd, lastStart] as const];
    }),
  );
  return kept.filter(({ kind, value, start, end }) => {
    if (kind !== 'get' || value !== undefined) return true;
    const deleteEnd = lastDeleteEnd.upTo(end);
    return deleteEnd === -Infinity || deleteEnd < lastWriteStart.before(start);
  });
}
