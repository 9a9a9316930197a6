import type { Expected, Operation, ReadModifyWrite } from './operation.ts';
import { isPlain } from './operation.ts';
import { zonesOf } from './zones.ts';

/** Says in a sentence why the operations of a minimal window fit no order, for readers who have never seen one. */
export function explainWindow(operations: readonly Operation[]): string {
  return (
    explainReadTooEarly(operations) ??
    explainOldValue(operations) ??
    explainNothing(operations) ??
    explainByCount(operations)
  );
}

/** Where a value was put twice, nobody knows which of the puts a get has seen; nor is each contradiction one of two. */
export function explainByCount(operations: readonly Operation[]): string {
  return `no order of these ${operations.length} operations gives each ${operations.every(isPlain) ? 'get ' : ''}what it returned`;
}

/** @param failedPut A put of that value which ended with an error. */
export function explainNeverWritten(read: Operation, failedPut: Operation | undefined): string {
  const known =
    failedPut === undefined
      ? 'no put of that value was recorded'
      : `${nameOf(failedPut)} had ended with an error, which promises that it had no effect`;
  return `${nameOf(read)} returned ${showValue(read.value)}, but ${known}`;
}

/** A get that had ended before anybody began to put what it returned, and the first put of that. */
export function findReadTooEarly(operations: readonly Operation[]): readonly [Operation, Operation] | undefined {
  const puts = new Map<string | undefined, Operation>();
  for (const operation of operations) {
    if (operation.kind !== 'put') continue;
    const other = puts.get(operation.value);
    if (other === undefined || operation.start < other.start) puts.set(operation.value, operation);
  }
  const early = operations.find(
    ({ kind, value, end }) => kind === 'get' && end < (puts.get(value)?.start ?? -Infinity),
  );
  return early === undefined ? undefined : [early, puts.get(early.value)!];
}

export function nameOf(operation: Operation): string {
  const { kind, value, process } = operation;
  const what = isPlain(operation) ? (kind === 'put' ? ` ${showValue(value)}` : '') : ` ${showChange(operation)}`;
  return `${kind}${what}${process === undefined ? '' : ` by process ${process}`}`;
}

/** What a read-modify-write asks for, and an increment's new number: `if "a" then "b"`, `1 -> 42`. */
export function showChange({ kind, value, expected, delta }: ReadModifyWrite): string {
  const condition = expected === undefined ? '' : `if ${showExpected(expected)}`;
  if (kind === 'incr') return `${delta}${value === undefined ? '' : ` -> ${value}`}`;
  if (kind === 'delif') return condition;
  return kind === 'getset' ? showValue(value) : `${condition} then ${showValue(value)}`;
}

function showExpected(expected: Expected): string {
  if ('version' in expected) return `version ${expected.version}`;
  return 'absent' in expected ? 'absent' : showValue(expected.value);
}

const VALUE_CHARS_MAX = 40;

export function showValue(value: string | undefined): string {
  if (value === undefined) return 'nothing';
  if (value.length <= VALUE_CHARS_MAX) return JSON.stringify(value);
  return `${JSON.stringify(value.slice(0, VALUE_CHARS_MAX))}... (${value.length} characters)`;
}

function explainReadTooEarly(operations: readonly Operation[]): string | undefined {
  const found = findReadTooEarly(operations);
  if (found === undefined) return undefined;
  const [read, put] = found;
  return `${nameOf(read)} returned ${showValue(read.value)} and had ended before ${nameOf(put)} began`;
}

/** Operations that stand next to each other in any order: a put and the gets of its value, or a single other one. */
type Block = readonly Operation[];

/** Something newer had ended before a get began that returned the older value. */
function explainOldValue(operations: readonly Operation[]): string | undefined {
  const blocks = blocksOf(operations);
  const found = blocks.flatMap((older) =>
    blocks.flatMap((newer) => {
      if (older === newer) return [];
      const [endOfOlder, startOfNewer] = endBeforeStart(older, newer) ?? [];
      const [endOfNewer, stale] = endBeforeStart(newer, older) ?? [];
      if (endOfOlder === undefined || startOfNewer === undefined || endOfNewer === undefined) return [];
      return stale?.kind === 'get' ? [{ endOfOlder, startOfNewer, endOfNewer, stale }] : [];
    }),
  );
  // Each of two blocks can be the older one; the get that came last is what a reader takes for the wrong one.
  const last = found.sort((a, b) => b.stale.end - a.stale.end)[0];
  if (last === undefined) return undefined;
  const { endOfOlder, startOfNewer, endOfNewer, stale } = last;
  const newer = startOfNewer === endOfNewer ? `that ${startOfNewer.kind}` : withResult(startOfNewer);
  return (
    `${nameOf(stale)} returned ${showValue(stale.value)} although ${withResult(endOfNewer)} had ended before it began; ` +
    `${showValue(stale.value)} was older: ${withResult(endOfOlder)} had ended before ${newer} began`
  );
}

function blocksOf(operations: readonly Operation[]): Block[] {
  return operations.flatMap((operation): Block[] => {
    if (operation.value === undefined) return [[operation]];
    if (operation.kind === 'get') return [];
    return [operations.filter(({ value }) => value === operation.value)];
  });
}

/** The end of `first` and the start of `second` that lie furthest apart, if that end comes first. */
function endBeforeStart(first: Block, second: Block): readonly [Operation, Operation] | undefined {
  const ended = first.reduce((a, b) => (b.end < a.end ? b : a));
  const begun = second.reduce((a, b) => (b.start > a.start ? b : a));
  return ended.end < begun.start ? [ended, begun] : undefined;
}

/** A get of nothing after a write, and no delete that could stand between them. */
function explainNothing(operations: readonly Operation[]): string | undefined {
  const deletes = operations.filter(({ kind }) => kind === 'delete');
  const zoneOf = zonesOf(operations);
  for (const read of operations) {
    if (read.kind !== 'get' || read.value !== undefined) continue;
    for (const put of operations) {
      if (put.kind !== 'put') continue;
      const { firstEnd, lastStart } = zoneOf(put);
      if (firstEnd >= read.start || deletes.some(({ start, end }) => start <= read.end && lastStart <= end)) continue;
      const witness =
        put.end < read.start
          ? put
          : operations.find(({ kind, value, end }) => kind === 'get' && value === put.value && end < read.start)!;
      return (
        `${nameOf(read)} returned nothing although ${withResult(witness)} had ended before it began, ` +
        'and no delete can have come in between'
      );
    }
  }
  return undefined;
}

function withResult(operation: Operation): string {
  return operation.kind === 'get'
    ? `${nameOf(operation)}, which returned ${showValue(operation.value)},`
    : nameOf(operation);
}
