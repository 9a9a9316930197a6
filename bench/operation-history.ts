import type { Outcome } from '../src/client/operations.ts';
import { isAnswer } from '../src/protocol/outcome.ts';
import type { EndedStamp } from '../src/protocol/outcome.ts';
import type { Stamp } from '../src/protocol/rmw-request.ts';
import type { HistoryOutcome, HistorySink } from './history.ts';
import { ATOMIC_GET, ATOMIC_SET, INCREMENT, isGet } from './operation-kinds.ts';
import { idInValue } from './record.ts';

/** What an operation of the loop was started with. */
export interface StartedOperation {
  readonly kind: number;
  readonly key: string;
  readonly startNs: number;
  /** Of the value that it writes. */
  readonly id: string;
  /** Of a compare-and-set: the version that it expects. */
  readonly expected: Stamp | undefined;
}

/** Writes an operation of the loop that ended now to the history. */
export function recordOperation(
  history: HistorySink,
  { kind, key, startNs, id, expected }: StartedOperation,
  outcome: Outcome,
  value: Uint8Array,
  valueBytes: number,
  ended: EndedStamp,
): void {
  const endNs = outcome === 'outcome-unknown' ? null : history.nowNs();
  const said = saidOf(outcome);
  const version = isAnswer(outcome) ? { version: versionText(ended) } : undefined;
  if (isGet(kind)) {
    const found = outcome === 'ok' ? idInValue(value, valueBytes) : null;
    return history.record('get', key, found, startNs, endNs, said, kind === ATOMIC_GET ? version : undefined);
  }
  if (kind === INCREMENT) {
    const sum = outcome === 'ok' ? Buffer.from(value.subarray(0, valueBytes)).toString('latin1') : null;
    return history.record('incr', key, sum, startNs, endNs, said, { delta: '1', ...version });
  }
  if (kind !== ATOMIC_SET) return history.record('put', key, id, startNs, endNs, said);
  const found = outcome === 'mismatch' ? { found: ended.hasValue ? idInValue(value, valueBytes) : null } : undefined;
  history.record('cas', key, id, startNs, endNs, said, {
    expected: { version: versionText(expected!) },
    ...found,
    ...version,
  });
}

function saidOf(outcome: Outcome): HistoryOutcome {
  if (outcome === 'outcome-unknown') return 'unknown';
  if (outcome === 'mismatch') return 'mismatch';
  return isAnswer(outcome) ? 'ok' : 'error';
}

/** Hexadecimal digits of a counter of 53 bits, and of a 32-bit word. */
const COUNTER_DIGITS = 14;
const WORD_DIGITS = 8;

/** The order of these texts is that of the stamps, which makes a check faster. */
export function versionText({ counter, writerHigh, writerLow, rmw }: Stamp): string {
  const words = [writerHigh, writerLow, rmw].map((word) => (word >>> 0).toString(16).padStart(WORD_DIGITS, '0'));
  return counter.toString(16).padStart(COUNTER_DIGITS, '0') + words.join('');
}
