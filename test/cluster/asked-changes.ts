import type { Expected, ReadModifyWrite } from '../../bench/checker/operation.ts';
import {
  CONDITION_ABSENT,
  CONDITION_NONE,
  CONDITION_VALUE,
  CONDITION_VERSION,
  RMW_DELETE,
  RMW_INCREMENT,
  RMW_SET,
} from '../../src/protocol/rmw-request.ts';
import type { RmwRequest, Stamp } from '../../src/protocol/rmw-request.ts';

/** A read-modify-write as a history names it. Versions are stamps as text whose order is that of the stamps. */
export type AskedChange = Pick<ReadModifyWrite, 'kind' | 'value' | 'expected' | 'delta'>;

const NO_BYTES = new Uint8Array(0);

export function requestOf({ kind, value, expected, delta = 0n }: AskedChange): RmwRequest {
  return {
    change: kind === 'incr' ? RMW_INCREMENT : kind === 'delif' ? RMW_DELETE : RMW_SET,
    condition: conditionOf(expected),
    value: value === undefined ? NO_BYTES : Buffer.from(value, 'latin1'),
    expected: expected !== undefined && 'value' in expected ? Buffer.from(expected.value, 'latin1') : NO_BYTES,
    version: expected !== undefined && 'version' in expected ? stampOf(expected.version) : undefined,
    delta,
  };
}

function conditionOf(expected: Expected | undefined): RmwRequest['condition'] {
  if (expected === undefined) return CONDITION_NONE;
  if ('absent' in expected) return CONDITION_ABSENT;
  return 'value' in expected ? CONDITION_VALUE : CONDITION_VERSION;
}

const COUNTER_DIGITS = 14;
const WORD_DIGITS = 8;

export function versionOf({ counter, writerHigh, writerLow, rmw }: Stamp): string {
  const words = [writerHigh, writerLow, rmw].map((word) => (word >>> 0).toString(16).padStart(WORD_DIGITS, '0'));
  return counter.toString(16).padStart(COUNTER_DIGITS, '0') + words.join('');
}

function stampOf(version: string): Stamp {
  const word = (index: number): number => {
    const from = COUNTER_DIGITS + index * WORD_DIGITS;
    return Number.parseInt(version.slice(from, from + WORD_DIGITS), 16) | 0;
  };
  return {
    counter: Number.parseInt(version.slice(0, COUNTER_DIGITS), 16),
    writerHigh: word(0),
    writerLow: word(1),
    rmw: word(2),
  };
}
