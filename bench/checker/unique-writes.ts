import type { Operation } from './operation.ts';

/**
 * Decides the history of one key in O(n log n) when no two puts wrote the same value, as in our histories, where the
 * general search may need time without bound.
 *
 * A put and all gets that read its value stand next to each other in every order that fits: any write in between would
 * end the value, which is never written again. Such a block must come before whatever starts after the first end in it,
 * and after whatever ends before the last start in it; so for all others it is one operation with the start `lastStart`
 * and the end `firstEnd`, which may lie before that start (the zones of Gibbons and Korach, "Testing shared memories",
 * 1997, which decide a history without deletes).
 *
 * What is left are blocks, deletes and reads of nothing, and a register that is absent or present. An order grows from
 * its front: next may come whatever starts before all other ends. Of these, always the first that there is:
 *
 * 1. a read of nothing while the register is absent, since it changes nothing;
 * 2. a block. While present that changes nothing that anybody needs. While absent, a read of nothing still to come waits
 *    for some write to come first, and so for a delete behind it in any case: the block goes before that delete;
 * 3. the delete that ends first; one that ends later can stand wherever this one would have stood.
 *
 * What has an unknown outcome and is not needed ends never, so it stands in nobody's way and comes at last. If nothing may
 * come next, no order fits. Nothing is ever taken back.
 */
export function orderOfUniqueWrites(operations: readonly Operation[]): Int32Array | undefined {
  const parts = gatherParts(operations);
  if (parts === undefined) return undefined;
  const partOrder = orderParts(parts);
  if (partOrder === undefined) return undefined;
  const order: number[] = [];
  for (const part of partOrder) {
    for (let index = parts.firstMember[part]!; index !== NONE; index = parts.nextMember[index]!) order.push(index);
  }
  return Int32Array.from(order);
}

const NONE = -1;

const BLOCK = 0;
const DELETE = 1;
const READ_OF_NOTHING = 2;

interface Parts {
  readonly count: number;
  readonly kind: Uint8Array;
  readonly lastStart: Float64Array;
  readonly firstEnd: Float64Array;
  /** Operations of a part in the order in which they take effect: the put, then its gets by start. */
  readonly firstMember: Int32Array;
  readonly nextMember: Int32Array;
}

/** Undefined when a get ended before the put of its value began. */
function gatherParts(operations: readonly Operation[]): Parts | undefined {
  const parts = {
    count: 0,
    kind: new Uint8Array(operations.length),
    lastStart: new Float64Array(operations.length),
    firstEnd: new Float64Array(operations.length),
    firstMember: new Int32Array(operations.length),
    nextMember: new Int32Array(operations.length).fill(NONE),
  };
  const lastMember = new Int32Array(operations.length);
  const blocks = new Map<string, number>();
  const add = (kind: number, index: number): number => {
    const part = parts.count++;
    parts.kind[part] = kind;
    parts.lastStart[part] = operations[index]!.start;
    parts.firstEnd[part] = operations[index]!.end;
    parts.firstMember[part] = index;
    lastMember[part] = index;
    return part;
  };
  operations.forEach(({ kind, value }, index) => {
    if (kind === 'put') blocks.set(value!, add(BLOCK, index));
    else if (kind === 'delete') add(DELETE, index);
    else if (value === undefined) add(READ_OF_NOTHING, index);
  });
  for (const index of indexesBy(operations.length, (index) => operations[index]!.start)) {
    const { kind, value, start, end } = operations[index]!;
    if (kind !== 'get' || value === undefined) continue;
    const part = blocks.get(value)!;
    if (end < operations[parts.firstMember[part]!]!.start) return undefined;
    parts.lastStart[part] = Math.max(parts.lastStart[part]!, start);
    parts.firstEnd[part] = Math.min(parts.firstEnd[part]!, end);
    parts.nextMember[lastMember[part]!] = index;
    lastMember[part] = index;
  }
  return parts;
}

function orderParts({ count, kind, lastStart, firstEnd }: Parts): number[] | undefined {
  const byStart = indexesBy(count, (part) => lastStart[part]!);
  const byEnd = indexesBy(count, (part) => firstEnd[part]!);
  const isPlaced = new Uint8Array(count);
  const order: number[] = [];
  let isAbsent = true;
  let startCursor = 0;
  let endCursor = 0;
  // Those that may come next by kind.
  const blocks: number[] = [];
  const reads: number[] = [];
  const deletes = new EarliestFirst(firstEnd);

  for (;;) {
    while (endCursor < count && isPlaced[byEnd[endCursor]!] === 1) endCursor++;
    const first = byEnd[endCursor];
    if (first === undefined) return order;
    for (; startCursor < count && lastStart[byStart[startCursor]!]! <= firstEnd[first]!; startCursor++) {
      const part = byStart[startCursor]!;
      if (isPlaced[part] === 1) continue;
      if (kind[part] === BLOCK) blocks.push(part);
      else if (kind[part] === DELETE) deletes.push(part);
      else reads.push(part);
    }
    const next: number | undefined =
      (isAbsent ? reads.pop() : undefined) ?? blocks.pop() ?? (standsAlone(first) ? first : undefined) ?? deletes.pop();
    if (next === undefined) return undefined;
    if (kind[next] !== READ_OF_NOTHING) isAbsent = kind[next] === DELETE;
    isPlaced[next] = 1;
    order.push(next);
  }

  /** Whether the block that ends first may come next although it starts after that end: all others must end later. */
  function standsAlone(part: number): boolean {
    if (lastStart[part]! <= firstEnd[part]!) return false;
    let cursor = endCursor + 1;
    while (cursor < count && isPlaced[byEnd[cursor]!] === 1) cursor++;
    return cursor === count || lastStart[part]! <= firstEnd[byEnd[cursor]!]!;
  }
}

function indexesBy(count: number, timeOf: (index: number) => number): Int32Array {
  const times = Float64Array.from({ length: count }, (_, index) => timeOf(index));
  return Int32Array.from({ length: count }, (_, index) => index).sort((a, b) =>
    times[a] === times[b] ? a - b : times[a]! < times[b]! ? -1 : 1,
  );
}

/** A binary heap of parts. */
class EarliestFirst {
  readonly #ends: Float64Array;
  readonly #parts: number[] = [];

  constructor(ends: Float64Array) {
    this.#ends = ends;
  }

  push(part: number): void {
    let at = this.#parts.push(part) - 1;
    for (let parent = (at - 1) >> 1; at > 0 && this.#isBefore(at, parent); parent = (at - 1) >> 1) {
      this.#swap(at, parent);
      at = parent;
    }
  }

  pop(): number | undefined {
    const top = this.#parts[0];
    const last = this.#parts.pop();
    if (this.#parts.length === 0) return top;
    this.#parts[0] = last!;
    for (let at = 0; ; ) {
      const left = 2 * at + 1;
      const right = left + 1;
      const child = right < this.#parts.length && this.#isBefore(right, left) ? right : left;
      if (child >= this.#parts.length || !this.#isBefore(child, at)) return top;
      this.#swap(at, child);
      at = child;
    }
  }

  #isBefore(a: number, b: number): boolean {
    return this.#ends[this.#parts[a]!]! < this.#ends[this.#parts[b]!]!;
  }

  #swap(a: number, b: number): void {
    [this.#parts[a], this.#parts[b]] = [this.#parts[b]!, this.#parts[a]!];
  }
}
