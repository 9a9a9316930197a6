import type { Outcome } from '../src/client/operations.ts';
import { versionOf } from '../src/client/version.ts';
import { isAnswer } from '../src/protocol/outcome.ts';
import type { EndedStamp } from '../src/protocol/outcome.ts';
import type { HistorySink } from './history.ts';
import { ATOMIC_GET, ATOMIC_SET, INCREMENT, isGet } from './operation-kinds.ts';
import { idInValue } from './record.ts';

/** What an operation of the loop was started with. */
export interface StartedOperation {
  readonly kind: number;
  readonly key: string;
  readonly startNs: number;
  /** Of the value that it writes. */
  readonly id: string;
  /** Of a compare-and-set. */
  readonly expectedVersion: string | undefined;
}

/** Writes an operation of the loop that ended now to the history. */
export function recordOperation(
  history: HistorySink,
  { kind, key, startNs, id, expectedVersion }: StartedOperation,
  outcome: Outcome,
  value: Uint8Array,
  valueBytes: number,
  ended: EndedStamp,
): void {
  const endNs = outcome === 'outcome-unknown' ? null : history.nowNs();
  const said = outcome === 'outcome-unknown' ? 'unknown' : isAnswer(outcome) ? 'ok' : 'error';
  const version = (): string => versionOf(ended);
  if (isGet(kind)) {
    const found = outcome === 'ok' ? idInValue(value, valueBytes) : null;
    const rest = kind === ATOMIC_GET && said === 'ok' ? { version: version() } : undefined;
    return history.record('get', key, found, startNs, endNs, said, rest);
  }
  if (kind === INCREMENT) {
    const sum = outcome === 'ok' ? textOf(value, valueBytes) : null;
    const result = outcome === 'ok' ? ({ result: 'done', version: version() } as const) : undefined;
    return history.record('incr', key, sum, startNs, endNs, said, { delta: '1', ...result });
  }
  if (kind !== ATOMIC_SET) return history.record('put', key, id, startNs, endNs, said);
  const expected = { expectedVersion: expectedVersion! };
  if (said !== 'ok') return history.record('cas', key, id, startNs, endNs, said, expected);
  const found = ended.hasValue ? idInValue(value, valueBytes) : null;
  const result = outcome === 'ok' ? ({ result: 'done' } as const) : ({ result: 'mismatch', found } as const);
  history.record('cas', key, id, startNs, endNs, said, { ...expected, ...result, version: version() });
}

function textOf(value: Uint8Array, valueBytes: number): string {
  return Buffer.from(value.subarray(0, valueBytes)).toString('latin1');
}
