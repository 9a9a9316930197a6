import type { Answer, EndedStamp } from '../protocol/outcome.ts';
import type { RmwRequest } from '../protocol/rmw-request.ts';
import type { Operations } from './operations.ts';

/** What a call is for the queue of calls: how it starts, and what its answer is to the caller. */
export interface CallKind<Result> {
  /** As errors name it. */
  readonly name: string;
  /** Seals or opens a value: in the direct route not without a data key. */
  readonly usesValues: boolean;
  /** An operation's id, or TABLE_FULL. */
  start(operations: Operations, token: number, input: CallInput, deadlineMs: number): number;
  /** @param value Bytes [0, valueBytes) are valid during the call only, and `ended` is. */
  answer(outcome: Answer, value: Uint8Array, valueBytes: number, ended: EndedStamp): Result;
}

export interface CallInput {
  readonly key: Uint8Array;
  /** Of a put. */
  readonly value: Uint8Array | undefined;
  /** Of a read-modify-write. */
  readonly request: RmwRequest | undefined;
}

export const GET: CallKind<Buffer | undefined> = {
  name: 'get',
  usesValues: true,
  start: (operations, token, { key }, deadlineMs) => operations.startGet(token, key, deadlineMs),
  answer: (outcome, value, valueBytes) =>
    outcome === 'absent' ? undefined : Buffer.from(value.subarray(0, valueBytes)),
};

export const PUT: CallKind<void> = {
  name: 'put',
  usesValues: true,
  start: (operations, token, { key, value }, deadlineMs) => operations.startPut(token, key, value!, deadlineMs),
  answer: () => {},
};

export const DELETE: CallKind<void> = {
  name: 'delete',
  usesValues: false,
  start: (operations, token, { key }, deadlineMs) => operations.startDelete(token, key, deadlineMs),
  answer: () => {},
};
