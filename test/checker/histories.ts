/** Histories for tests of the checker, written down or drawn, and an oracle that tries every order. */
import type { Operation } from '../../bench/checker/operation.ts';

export const NEVER = Infinity;

export function put(value: string, start: number, end: number, key = 'k'): Operation {
  return { kind: 'put', key, value, start, end };
}

export function get(value: string | undefined, start: number, end: number, key = 'k'): Operation {
  return { kind: 'get', key, value, start, end };
}

export function remove(start: number, end: number, key = 'k'): Operation {
  return { kind: 'delete', key, value: undefined, start, end };
}

/** Every order that respects time, and every choice of the operations of unknown outcome that took effect. */
export function fitsSomeOrder(left: readonly Operation[], state?: string): boolean {
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

export interface Drawing {
  readonly operationCountMax: number;
  readonly deleteShare: number;
  /** Fewer than operations: values repeat. */
  readonly valueCount: number;
}

/** Few values and long overlaps, so that many histories are good and many are bad. Gets may return what nobody put. */
export function randomHistory(random: () => number, drawing: Drawing): Operation[] {
  const { operationCountMax, deleteShare, valueCount } = drawing;
  const count = 2 + Math.floor(random() * (operationCountMax - 1));
  const absentShare = deleteShare > 0 ? 0.4 : 0.2;
  return Array.from({ length: count }, (_, i) => {
    const start = Math.floor(random() * 12);
    const end = start + Math.floor(random() * 8);
    const kind = random();
    if (kind < 0.35) return put(`v${i % valueCount}`, start, random() < 0.3 ? NEVER : end);
    if (kind < 0.35 + deleteShare) return remove(start, random() < 0.3 ? NEVER : end);
    return get(
      random() < absentShare ? undefined : `v${Math.floor(random() * Math.min(count, valueCount))}`,
      start,
      end,
    );
  });
}
