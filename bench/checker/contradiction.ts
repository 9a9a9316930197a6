import { shrink, sortedByStart } from './minimal-window.ts';
import type { PlainOperation } from './operation.ts';
import { RunningMax } from './running-max.ts';

/**
 * Finds at once what nearly every violation comes down to when no two puts of a key wrote the same value: two things
 * that must each come before the other, or a get of nothing after a value that no delete can have ended. Rarer ones,
 * such as more gets of nothing than there are deletes for them, are left to the shrinking of the whole history.
 *
 * A part is a put with the gets of its value, a delete, or a get of nothing: whatever stands in one piece in any order
 * (unique-writes.ts says why). Part a comes before part b when something of a ends before something of b starts.
 */
export function findContradiction(operations: readonly PlainOperation[]): readonly PlainOperation[] | undefined {
  const parts = partsOf(operations);
  const pair = findPair(parts);
  if (pair !== undefined) {
    return shrink(membersOf(pair, operations), (less) => {
      const [a, b, ...others] = partsOf(less);
      const isPair = a !== undefined && b !== undefined && others.length === 0;
      return isPair && isBefore(a, b) && isBefore(b, a) ? less : undefined;
    }).operations;
  }
  return findLostValue(parts, operations);
}

interface Part {
  readonly write: PlainOperation;
  firstEnd: number;
  lastStart: number;
}

function partsOf(operations: readonly PlainOperation[]): Part[] {
  const parts: Part[] = [];
  const blocks = new Map<string, Part>();
  for (const operation of operations) {
    if (operation.kind === 'get' && operation.value !== undefined) continue;
    const part = { write: operation, firstEnd: operation.end, lastStart: operation.start };
    parts.push(part);
    if (operation.kind === 'put') blocks.set(operation.value!, part);
  }
  for (const { kind, value, start, end } of operations) {
    if (kind !== 'get' || value === undefined) continue;
    const block = blocks.get(value)!;
    block.firstEnd = Math.min(block.firstEnd, end);
    block.lastStart = Math.max(block.lastStart, start);
  }
  return parts;
}

function membersOf(parts: readonly Part[], operations: readonly PlainOperation[]): PlainOperation[] {
  const writes = new Set(parts.map(({ write }) => write));
  const values = new Set(parts.flatMap(({ write }) => (write.kind === 'put' ? [write.value] : [])));
  return sortedByStart(
    operations.filter(
      (operation) => writes.has(operation) || (operation.kind === 'get' && values.has(operation.value)),
    ),
  );
}

function isBefore(a: Part, b: Part): boolean {
  return a.firstEnd < b.lastStart;
}

/**
 * Of two parts that must each come before the other, one at least spans a time all through which it must have been the
 * key's value: its first end lies before its last start. For each part the one is looked at that spans the longest time
 * from before its last start on. Of what is found, the one whose newer value ended last is the easiest to understand.
 */
function findPair(parts: readonly Part[]): [Part, Part] | undefined {
  const lasting = parts
    .filter(({ firstEnd, lastStart }) => firstEnd < lastStart)
    .sort((a, b) => a.firstEnd - b.firstEnd);
  // longest[i]: of the first i + 1.
  const longest: Part[] = [];
  for (const part of lasting) {
    const other = longest.at(-1);
    longest.push(other === undefined || part.lastStart > other.lastStart ? part : other);
  }
  let found: [Part, Part] | undefined;
  for (const part of parts) {
    const other = longest[countBefore(lasting, part.lastStart) - 1];
    if (other === undefined || other === part || !isBefore(part, other)) continue;
    if (found === undefined || part.firstEnd > found[0].firstEnd) found = [part, other];
  }
  return found;
}

/** How many end for the first time before the time. */
function countBefore(lasting: readonly Part[], time: number): number {
  let low = 0;
  let high = lasting.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (lasting[middle]!.firstEnd < time) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** A get of nothing after a put, and each delete that had begun by then came before that put. */
function findLostValue(
  parts: readonly Part[],
  operations: readonly PlainOperation[],
): readonly PlainOperation[] | undefined {
  const deleteEnd = new RunningMax(
    parts.flatMap(({ write }) => (write.kind === 'delete' ? [[write.start, write.end] as const] : [])),
  );
  const puts = parts.filter(({ write }) => write.kind === 'put');
  const putStart = new RunningMax(puts.map(({ firstEnd, lastStart }) => [firstEnd, lastStart] as const));
  const reads = parts.filter(({ write }) => write.kind === 'get').sort((a, b) => a.firstEnd - b.firstEnd);
  for (const read of reads) {
    const lastDeleteEnd = deleteEnd.upTo(read.write.end);
    const lastPutStart = putStart.before(read.write.start);
    if (lastPutStart <= lastDeleteEnd) continue;
    const isLost = ({ firstEnd, lastStart }: Part): boolean =>
      firstEnd < read.write.start && lastStart > lastDeleteEnd && lastStart > -Infinity;
    const put = puts.find(isLost)!;
    return shrink(membersOf([read, put], operations), (less) => {
      const kept = partsOf(less);
      const isPair = kept.length === 2 && kept.some(({ write }) => write === read.write);
      return isPair && kept.some(isLost) ? less : undefined;
    }).operations;
  }
  return undefined;
}
