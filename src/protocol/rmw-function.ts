import type { RmwRequest, Stamp } from './rmw-request.ts';
import {
  CONDITION_ABSENT,
  CONDITION_NONE,
  CONDITION_VALUE,
  CONDITION_VERSION,
  RMW_DELETE,
  RMW_INCREMENT,
  RMW_RESEAL,
  RMW_SET,
} from './rmw-request.ts';

/** What a read-modify-write makes of what it finds. A pure function of the two; it changes nothing by itself. */
export type RmwResult =
  | { readonly kind: 'set'; readonly value: Uint8Array }
  | { readonly kind: 'delete' }
  | { readonly kind: 'none'; readonly outcome: 'mismatch' | 'not-an-integer' | 'overflow' };

const DELETE: RmwResult = { kind: 'delete' };
const MISMATCH: RmwResult = { kind: 'none', outcome: 'mismatch' };
const NOT_AN_INTEGER: RmwResult = { kind: 'none', outcome: 'not-an-integer' };
const OVERFLOW: RmwResult = { kind: 'none', outcome: 'overflow' };

const INTEGER_MIN = -(2n ** 63n);
const INTEGER_MAX = 2n ** 63n - 1n;
/** Of the text of INTEGER_MIN. */
const INTEGER_BYTES_MAX = 20;
/** The one text of each integer, as Redis has it: no plus sign, no leading zeros, no "-0", no spaces. */
const INTEGER_TEXT = /^(?:0|-?[1-9][0-9]*)$/;

/**
 * @param found Undefined: the key is absent.
 * @param isUnderCurrentKey Whether what was found lies under the data key that is current.
 */
export function applyRmw(
  request: RmwRequest,
  found: Uint8Array | undefined,
  stamp: Stamp,
  isUnderCurrentKey: boolean,
): RmwResult {
  if (!holds(request, found, stamp)) return MISMATCH;
  switch (request.change) {
    case RMW_SET:
      return { kind: 'set', value: request.value };
    case RMW_DELETE:
      return DELETE;
    case RMW_INCREMENT:
      return increment(found, request.delta);
    case RMW_RESEAL:
      return found === undefined || isUnderCurrentKey ? MISMATCH : { kind: 'set', value: found };
  }
}

/** Whether what comes of it depends on the value, and not on the stamp alone. */
export function needsFound(request: RmwRequest, stamp: Stamp): boolean {
  const isGiven = request.change === RMW_SET || request.change === RMW_DELETE;
  return !isGiven || request.condition !== CONDITION_VERSION || !holds(request, undefined, stamp);
}

function holds({ condition, expected, version }: RmwRequest, found: Uint8Array | undefined, stamp: Stamp): boolean {
  switch (condition) {
    case CONDITION_NONE:
      return true;
    case CONDITION_ABSENT:
      return found === undefined;
    case CONDITION_VALUE:
      return found !== undefined && Buffer.compare(found, expected) === 0;
    case CONDITION_VERSION:
      return (
        version !== undefined &&
        stamp.counter === version.counter &&
        stamp.writerHigh === version.writerHigh &&
        stamp.writerLow === version.writerLow &&
        stamp.rmw === version.rmw
      );
  }
}

function increment(found: Uint8Array | undefined, delta: bigint): RmwResult {
  const number = found === undefined ? 0n : integerOf(found);
  if (number === undefined) return NOT_AN_INTEGER;
  const sum = number + delta;
  if (sum < INTEGER_MIN || sum > INTEGER_MAX) return OVERFLOW;
  return { kind: 'set', value: Buffer.from(sum.toString(), 'latin1') };
}

function integerOf(bytes: Uint8Array): bigint | undefined {
  if (bytes.length === 0 || bytes.length > INTEGER_BYTES_MAX) return undefined;
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1');
  if (!INTEGER_TEXT.test(text)) return undefined;
  const number = BigInt(text);
  return number >= INTEGER_MIN && number <= INTEGER_MAX ? number : undefined;
}
