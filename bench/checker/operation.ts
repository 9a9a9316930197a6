import type { Interval } from './model.ts';

/** What a client asked of one key and saw. */
export type Operation = PlainOperation | ReadModifyWrite;

interface Common extends Interval {
  /** Whose it was, for people; the check has no use for it. */
  readonly process?: number;
  readonly key: string;
  /**
   * What names the key's state after the operation, when that is known: of what was read, written, or found. One version
   * names one state that the key once had: it comes about once, and never again.
   */
  readonly version?: string | undefined;
}

export interface PlainOperation extends Common {
  readonly kind: 'get' | 'put' | 'delete';
  /** Put: what was written. Get: what was read, undefined when absent. */
  readonly value: string | undefined;
}

/** Compare-and-set (put-if-absent too), delete-if, get-and-set, increment. */
export interface ReadModifyWrite extends Common {
  readonly kind: 'cas' | 'delif' | 'getset' | 'incr';
  /** ok: it changed the key. mismatch: what it found did not allow it. unknown: either, or nothing yet; `end` is Infinity. */
  readonly result: 'ok' | 'mismatch' | 'unknown';
  /** Cas, getset: what it writes. Incr: the new number, when ok. */
  readonly value: string | undefined;
  /** Cas, delif: the condition. */
  readonly expected?: Expected | undefined;
  /** Incr. */
  readonly delta?: bigint | undefined;
  /** What was there before; null: nothing. Undefined: not known. Getset has it when ok, others may when mismatch. */
  readonly found?: string | null | undefined;
}

export type Expected = { readonly value: string } | { readonly version: string } | { readonly absent: true };

export function isPlain(operation: Operation): operation is PlainOperation {
  const { kind } = operation;
  return kind === 'get' || kind === 'put' || kind === 'delete';
}

/** Whether it certainly left the key as it was. */
export function isRead(operation: Operation): boolean {
  return isPlain(operation) ? operation.kind === 'get' : operation.result === 'mismatch';
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
