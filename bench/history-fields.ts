import type { Expected, Operation } from './checker/operation.ts';
import { isPlain } from './checker/operation.ts';

/** One line of a history, field by field: what it must be, and what operation it says. docs/checking.md has the format. */
export interface Fields {
  readonly process: number;
  readonly op: Operation['kind'];
  readonly key: string;
  readonly value: string | null;
  readonly start: number;
  readonly end: number | null;
  readonly outcome: Outcome;
  readonly version?: string;
  readonly expected?: Expected;
  readonly delta?: string;
  readonly found?: string | null;
}

type Outcome = 'ok' | 'mismatch' | 'unknown' | 'error';
export type RawFields = Partial<Record<keyof Fields, unknown>>;

const KINDS: readonly Operation['kind'][] = ['get', 'put', 'delete', 'cas', 'delif', 'getset', 'incr'];
const DELTA = /^-?[0-9]{1,19}$/;

/** What is wrong with a line, if anything. Without: it has Fields. */
export function problemOf(fields: RawFields): string | undefined {
  const { process, op, key, value = null, start, end, outcome, version } = fields;
  if (!Number.isSafeInteger(process)) return not(fields, 'process', 'a whole number');
  if (!isKind(op)) return not(fields, 'op', 'one of get, put, delete, cas, delif, getset, incr');
  if (typeof key !== 'string') return not(fields, 'key', 'a string');
  if (!isText(value) && value !== null) return not(fields, 'value', 'a string, or null for absent');
  if (version !== undefined && !isText(version)) return not(fields, 'version', 'a string');
  if (!isOutcome(outcome, op)) return not(fields, 'outcome', outcomesOf(op));
  const problem = problemOfKind(op, outcome, fields);
  if (problem !== undefined) return problem;
  if (typeof start !== 'number') return not(fields, 'start', 'a number');
  if (outcome === 'unknown') return end === null ? undefined : not(fields, 'end', 'null when the outcome is unknown');
  if (typeof end !== 'number') return not(fields, 'end', 'a number, or null when the outcome is unknown');
  return end < start ? `"end" ${end} lies before "start" ${start}` : undefined;
}

function problemOfKind(op: Operation['kind'], outcome: Outcome, fields: RawFields): string | undefined {
  const { value = null, expected, delta, found, version } = fields;
  if (found !== undefined && found !== null && !isText(found))
    return not(fields, 'found', 'a string, or null for absent');
  switch (op) {
    case 'get':
      return undefined;
    case 'put':
      return isText(value) ? undefined : not(fields, 'value', 'a string in a put');
    case 'delete':
      return value === null ? undefined : not(fields, 'value', 'null in a delete');
    case 'getset':
      if (!isText(value)) return not(fields, 'value', 'a string in a getset');
      return outcome === 'ok' && found === undefined
        ? not(fields, 'found', 'what was there, null for nothing')
        : undefined;
    case 'incr':
      if (typeof delta !== 'string' || !DELTA.test(delta)) return not(fields, 'delta', 'a whole number as text');
      if (outcome === 'ok') return isText(value) ? undefined : not(fields, 'value', 'the new number as text');
      return value === null ? undefined : not(fields, 'value', 'null in an incr that is not ok');
    case 'cas':
    case 'delif':
      if (!isExpected(expected)) return not(fields, 'expected', '{"value":...}, {"version":...} or {"absent":true}');
      if (outcome === 'mismatch' && 'version' in expected && version === undefined) {
        return not(fields, 'version', 'what was found, in a mismatch of versions');
      }
      if (op === 'delif') return value === null ? undefined : not(fields, 'value', 'null in a delif');
      return isText(value) ? undefined : not(fields, 'value', 'a string in a cas');
  }
}

/** Undefined when nothing is to be explained: what failed saw nothing and did nothing. */
export function operationOf(fields: Fields, key: string): Operation | undefined {
  const { process, op, outcome, start, version } = fields;
  const value = op === 'delete' || op === 'delif' ? undefined : (fields.value ?? undefined);
  const end = fields.end ?? Infinity;
  // A version belongs to what is known to have been.
  const known = version === undefined || outcome === 'unknown' ? undefined : { version };
  if (op === 'get' || op === 'put' || op === 'delete') {
    if (outcome !== 'ok' && (op === 'get' || (op === 'delete' && outcome === 'error'))) return undefined;
    return { process, kind: op, key, value, start, end, ...known };
  }
  if (outcome === 'error') return undefined;
  const { expected, delta, found } = fields;
  return {
    process,
    kind: op,
    key,
    value,
    start,
    end,
    ...known,
    result: outcome,
    ...(expected !== undefined && { expected }),
    ...(delta !== undefined && { delta: BigInt(delta) }),
    ...(found !== undefined && outcome !== 'unknown' && { found }),
  };
}

/** The line of an operation, for a window that can be checked again. */
export function fieldsOf(operation: Operation): Record<string, unknown> {
  const { process, kind, key, value, start, end, version } = operation;
  const isOpen = end === Infinity;
  const common = { process, op: kind, key, value: value ?? null, start, end: isOpen ? null : end };
  const known = version === undefined ? {} : { version };
  if (isPlain(operation)) {
    return { ...common, ...known, outcome: isOpen ? 'unknown' : 'ok' };
  }
  const { expected, delta, found, result } = operation;
  return {
    ...common,
    ...(expected !== undefined && { expected }),
    ...(delta !== undefined && { delta: String(delta) }),
    ...(found !== undefined && { found }),
    ...known,
    outcome: result,
  };
}

const SHOWN_CHARS_MAX = 60;

export function shorten(text: string): string {
  return text.length <= SHOWN_CHARS_MAX ? text : `${text.slice(0, SHOWN_CHARS_MAX)}...`;
}

function not(fields: RawFields, field: keyof Fields, expected: string): string {
  return `"${field}" must be ${expected}, not ${shorten(JSON.stringify(fields[field]) ?? 'missing')}`;
}

function isText(value: unknown): value is string {
  return typeof value === 'string';
}

function isKind(op: unknown): op is Operation['kind'] {
  return KINDS.some((kind) => kind === op);
}

function canMismatch(op: Operation['kind']): boolean {
  return op === 'cas' || op === 'delif' || op === 'incr';
}

function isOutcome(outcome: unknown, op: Operation['kind']): outcome is Outcome {
  return (
    outcome === 'ok' || outcome === 'unknown' || outcome === 'error' || (outcome === 'mismatch' && canMismatch(op))
  );
}

function outcomesOf(op: Operation['kind']): string {
  return canMismatch(op) ? '"ok", "mismatch", "unknown" or "error"' : '"ok", "unknown" or "error"';
}

function isExpected(expected: unknown): expected is Expected {
  if (typeof expected !== 'object' || expected === null) return false;
  const entries = Object.entries(expected);
  const [name, value] = entries[0] ?? [];
  if (entries.length !== 1) return false;
  return name === 'absent' ? value === true : (name === 'value' || name === 'version') && isText(value);
}
