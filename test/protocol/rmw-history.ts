/** Whether a small history of one key is linearizable: every order is tried (Wing and Gong 1993), each state once. */
import { applyRmw } from '../../src/protocol/rmw-function.ts';
import { CONDITION_NONE, RMW_INCREMENT, RMW_SET } from '../../src/protocol/rmw-request.ts';
import type { Stamp } from '../../src/protocol/rmw-request.ts';
import { bytesOf } from './fixtures.ts';
import type { Seen } from './rmw-world.ts';

/** What outcomes certainly had no effect. */
const WITHOUT_EFFECT = new Set(['deadline', 'aborted', 'closed', 'host-memory-full', 'trusted-memory-full']);
const NO_STAMP: Stamp = { counter: 0, writerHigh: 0, writerLow: 0, rmw: 0 };

/** Undefined: the key is absent. */
type Value = string | undefined;
/** The state after the operation, or null when the client could not have been told what it was. */
type After = { readonly value: Value } | null;

export function explain(history: readonly Seen[]): boolean {
  const operations = history.filter(({ outcome }) => outcome === undefined || !WITHOUT_EFFECT.has(outcome));
  const seen = new Set<string>();
  const isOpen = ({ outcome }: Seen): boolean => outcome === undefined || outcome === 'outcome-unknown';
  const search = (done: number, value: Value): boolean => {
    const state = `${done} ${value === undefined ? '' : `=${value}`}`;
    if (seen.has(state)) return false;
    seen.add(state);
    const left = operations.map((_, i) => i).filter((i) => (done & (1 << i)) === 0);
    // What never ended, or is unknown, need not have happened.
    if (left.every((i) => isOpen(operations[i]!))) return true;
    const firstEnd = Math.min(...left.map((i) => (isOpen(operations[i]!) ? Infinity : operations[i]!.endedAt!)));
    return left.some((i) => {
      const operation = operations[i]!;
      if (operation.begunAt > firstEnd) return false;
      const after = apply(operation, value);
      return after !== null && search(done | (1 << i), after.value);
    });
  };
  return search(0, undefined);
}

function apply({ call, outcome, value: told }: Seen, value: Value): After {
  const isKnown = outcome !== undefined && outcome !== 'outcome-unknown';
  switch (call.kind) {
    case 'put':
      return { value: call.value };
    case 'delete':
      return { value: undefined };
    case 'get':
      if (!isKnown) return { value };
      return (outcome === 'absent' ? value === undefined : told === value) ? { value } : null;
    case 'rmw': {
      const { request } = call;
      const result = applyRmw(request, value === undefined ? undefined : bytesOf(value), NO_STAMP, true);
      const expected = result.kind === 'none' ? result.outcome : 'ok';
      const after =
        result.kind === 'set' ? Buffer.from(result.value).toString() : result.kind === 'none' ? value : undefined;
      if (!isKnown) return { value: after };
      if (outcome !== expected) return null;
      if (outcome === 'mismatch' && told !== value) return null;
      if (outcome === 'ok' && request.change === RMW_INCREMENT && told !== after) return null;
      const isGetAndSet = request.change === RMW_SET && request.condition === CONDITION_NONE;
      if (outcome === 'ok' && isGetAndSet && told !== value) return null;
      return { value: after };
    }
  }
}
