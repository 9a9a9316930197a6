import { assert } from '../../net/assert.ts';
import { alignUp } from '../../net/bytes.ts';
import { AvocadoError } from '../errors.ts';
import {
  CONDITION_ABSENT,
  CONDITION_NONE,
  CONDITION_VALUE,
  CONDITION_VERSION,
  RMW_DELETE,
  RMW_INCREMENT,
  RMW_SET,
} from '../protocol/rmw-request.ts';
import type { Answer, EndedStamp } from '../protocol/outcome.ts';
import type { RmwRequest } from '../protocol/rmw-request.ts';
import { valueBytesOf } from './arguments.ts';
import type { CallInput, CallKind } from './call-kind.ts';
import type { Operations } from './operations.ts';
import { stampOf, versionOf } from './version.ts';

/**
 * The read-modify-writes of the public API, as requests to the core and as what callers get: each is one atomic operation
 * on one key, and takes effect once or not at all.
 */

/** A value: up to 1 MiB, in read-modify-writes what fits into one datagram; strings are taken as UTF-8. */
export type Value = string | Uint8Array;

/** What a key must be for a change to be made: have this value, be in this state, or be absent. */
export type Expected =
  | { readonly value: Value; readonly version?: never; readonly absent?: never }
  | { readonly version: string; readonly value?: never; readonly absent?: never }
  | { readonly absent: true; readonly value?: never; readonly version?: never };

/** A state of a key: its value, undefined when absent, and the version that names it. */
export interface Versioned {
  readonly value: Buffer | undefined;
  /** For compareAndSet and deleteIf. Two states of a key never have the same, even if their values are equal. */
  readonly version: string;
}

/** Whether the condition held and the change was made. If not, nothing was changed, and the state that was found is told. */
export type ConditionalResult = { readonly ok: true; readonly version: string } | ({ readonly ok: false } & Versioned);

// -- requests -----------------------------------------------------------------------------------------------------------

export const DELTA_MIN = -(2n ** 63n);
export const DELTA_MAX = 2n ** 63n - 1n;
const NO_BYTES = new Uint8Array(0);
const NO_CONDITION = { condition: CONDITION_NONE, expected: NO_BYTES, version: undefined } as const;

/** @throws AvocadoError INVALID_ARGUMENT */
export function setIf(expected: Expected, value: Value): RmwRequest {
  return { change: RMW_SET, ...conditionOf(expected), value: valueBytesOf(value), delta: 0n };
}

/** @throws AvocadoError INVALID_ARGUMENT */
export function deleteIf(expected: Expected): RmwRequest {
  const condition = conditionOf(expected);
  if (condition.condition !== CONDITION_ABSENT) return { change: RMW_DELETE, ...condition, value: NO_BYTES, delta: 0n };
  throw new AvocadoError('INVALID_ARGUMENT', 'what is absent can’t be deleted: expect a value or a version');
}

/** @throws AvocadoError INVALID_ARGUMENT */
export function setTo(value: Value): RmwRequest {
  return { change: RMW_SET, ...NO_CONDITION, value: valueBytesOf(value), delta: 0n };
}

/** @throws AvocadoError INVALID_ARGUMENT */
export function add(delta: bigint | number): RmwRequest {
  const exact = typeof delta === 'number' && Number.isSafeInteger(delta) ? BigInt(delta) : delta;
  if (typeof exact === 'bigint' && exact >= DELTA_MIN && exact <= DELTA_MAX) {
    return { change: RMW_INCREMENT, ...NO_CONDITION, value: NO_BYTES, delta: exact };
  }
  throw new AvocadoError(
    'INVALID_ARGUMENT',
    `delta is ${String(delta)}: give a bigint of 64 bits, or a number that is a safe integer`,
  );
}

/** What a request's values take in a message. */
export function rmwBytes({ value, expected }: RmwRequest): number {
  return alignUp(value.length) + alignUp(expected.length);
}

function conditionOf(expected: Expected): Pick<RmwRequest, 'condition' | 'expected' | 'version'> {
  const { value, version, absent } = (expected ?? {}) as { value?: Value; version?: string; absent?: boolean };
  const given = [value, version, absent].filter((field) => field !== undefined).length;
  if (given === 1 && absent === true) return { ...NO_CONDITION, condition: CONDITION_ABSENT };
  if (given === 1 && version !== undefined) {
    return { condition: CONDITION_VERSION, expected: NO_BYTES, version: stampOf(version) };
  }
  if (given === 1 && value !== undefined) {
    return { condition: CONDITION_VALUE, expected: valueBytesOf(value), version: undefined };
  }
  throw new AvocadoError('INVALID_ARGUMENT', 'expect one of { value }, { version } and { absent: true }');
}

// -- answers ------------------------------------------------------------------------------------------------------------

export const GET_WITH_VERSION: CallKind<Versioned> = {
  name: 'getWithVersion',
  usesValues: true,
  start: (operations, token, { key }, deadlineMs) => operations.startGet(token, key, deadlineMs, true),
  answer: (outcome, value, valueBytes, ended) => ({
    value: outcome === 'absent' ? undefined : copyOf(value, valueBytes),
    version: versionOf(ended),
  }),
};

export const COMPARE_AND_SET: CallKind<ConditionalResult> = conditional('compareAndSet');
export const PUT_IF_ABSENT: CallKind<ConditionalResult> = conditional('putIfAbsent');
export const DELETE_IF: CallKind<ConditionalResult> = conditional('deleteIf');

function conditional(name: string): CallKind<ConditionalResult> {
  return {
    name,
    usesValues: true,
    start: startRmw,
    answer: (outcome, value, valueBytes, ended) =>
      outcome === 'mismatch'
        ? { ok: false, value: foundIn(value, valueBytes, ended), version: versionOf(ended) }
        : { ok: true, version: versionOf(ended) },
  };
}

export const GET_AND_SET: CallKind<Buffer | undefined> = {
  name: 'getAndSet',
  usesValues: true,
  start: startRmw,
  answer: (outcome, value, valueBytes, ended) => {
    assertDone(outcome);
    return foundIn(value, valueBytes, ended);
  },
};

export const INCREMENT: CallKind<bigint> = {
  name: 'increment',
  usesValues: true,
  start: startRmw,
  answer: (outcome, value, valueBytes) => {
    assertDone(outcome);
    return BigInt(copyOf(value, valueBytes).toString('latin1'));
  },
};

function startRmw(operations: Operations, token: number, { key, request }: CallInput, deadlineMs: number): number {
  return operations.startRmw(token, key, request!, deadlineMs);
}

function assertDone(outcome: Answer): void {
  assert(outcome === 'ok', 'a change without a condition is made');
}

function foundIn(value: Uint8Array, valueBytes: number, ended: EndedStamp): Buffer | undefined {
  return ended.hasValue ? copyOf(value, valueBytes) : undefined;
}

function copyOf(value: Uint8Array, valueBytes: number): Buffer {
  return Buffer.from(value.subarray(0, valueBytes));
}
