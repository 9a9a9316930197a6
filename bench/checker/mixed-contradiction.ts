import { numberIn } from './integers.ts';
import { versionIn } from './key-model.ts';
import { valueAfter, valueSeen } from './mixed-key.ts';
import type { Operation } from './operation.ts';
import { isPlain, isRead } from './operation.ts';

/** What contradicts itself whatever else happened, with what is to be said of it. */
export interface Contradiction {
  readonly reason: string;
  readonly window: readonly Operation[];
}

/**
 * Looks for what read-modify-writes and versions rule out at sight: a value that nobody can have written, two states of one
 * version, two writes that made the same version, two that each replaced it.
 */
export function findMixedContradiction(operations: readonly Operation[]): Contradiction | undefined {
  return findStray(operations) ?? findSplitVersion(operations);
}

function findStray(operations: readonly Operation[]): Contradiction | undefined {
  const written = new Set<string | null | undefined>([null, undefined]);
  let isSumUnknown = false;
  for (const operation of operations) {
    if (isRead(operation)) continue;
    written.add(valueAfter(operation));
    if (operation.kind === 'incr' && operation.result === 'unknown') isSumUnknown = true;
  }
  const stray = operations.find((operation) => {
    const value = valueSeen(operation);
    return !written.has(value) && !(isSumUnknown && numberIn(value!) !== undefined);
  });
  if (stray === undefined) return undefined;
  return { reason: `${JSON.stringify(valueSeen(stray))} was read and never written`, window: [stray] };
}

function findSplitVersion(operations: readonly Operation[]): Contradiction | undefined {
  const firstWith = new Map<string, Operation>();
  const makers = new Map<string, Operation>();
  const enders = new Map<string, Operation>();
  for (const operation of operations) {
    const { version } = operation;
    const ended = isPlain(operation) || operation.result !== 'ok' ? undefined : versionIn(operation.expected);
    if (ended !== undefined) {
      const other = enders.get(ended);
      if (other !== undefined) return { reason: 'a version was replaced twice', window: [other, operation] };
      enders.set(ended, operation);
    }
    if (version === undefined) continue;
    if (!isRead(operation)) {
      const other = makers.get(version);
      if (other !== undefined) return { reason: 'two writes made one version', window: [other, operation] };
      makers.set(version, operation);
    }
    const value = isRead(operation) ? valueSeen(operation) : valueAfter(operation);
    if (value === undefined) continue;
    const first = firstWith.get(version);
    if (first === undefined) firstWith.set(version, operation);
    else if (stateOf(first) !== value) return { reason: 'one version names two states', window: [first, operation] };
  }
  return undefined;
}

function stateOf(operation: Operation): string | null | undefined {
  return isRead(operation) ? valueSeen(operation) : valueAfter(operation);
}
