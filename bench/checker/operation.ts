import type { Interval } from './model.ts';

/** A get, put or delete as its client saw it. */
export interface Operation extends Interval {
  /** Whose it was, for people; the check has no use for it. */
  readonly process?: number;
  readonly kind: 'get' | 'put' | 'delete';
  readonly key: string;
  /** Put: what was written. Get: what was read, undefined when absent. */
  readonly value: string | undefined;
}

/** Linearizability is local (Herlihy and Wing 1990): a history is linearizable when that of each key is. */
export function partitionByKey(operations: readonly Operation[]): Map<string, Operation[]> {
  const byKey = new Map<string, Operation[]>();
  for (const operation of operations) {
    const others = byKey.get(operation.key);
    if (others === undefined) byKey.set(operation.key, [operation]);
    else others.push(operation);
  }
  return byKey;
}
