/** CALLs and their answers, built and taken apart; and a coordinator that does what the test says. */
import assert from 'node:assert/strict';
import { alignUp } from '../../net/bytes.ts';
import { CALL_OUTCOMES } from '../../src/coordinated/call-outcome.ts';
import type { CallOutcome } from '../../src/coordinated/call-outcome.ts';
import type { OperationStarter } from '../../src/coordinated/call-server.ts';
import {
  CALL_BYTES,
  CALL_OPEN_BYTES,
  MESSAGE_CALL,
  MESSAGE_CALL_OPEN,
  MESSAGE_CALL_OPENED,
  MESSAGE_CALL_REPLY,
  WORD_CALL_ATTEMPT,
  WORD_CALL_DEADLINE_MS,
  WORD_CALL_KEY,
  WORD_CALL_KEY_BYTES,
  WORD_CALL_OPENED_STREAM,
  WORD_CALL_REPLY_ATTEMPT,
  WORD_CALL_REPLY_STREAM,
  WORD_CALL_REPLY_VALUE,
  WORD_CALL_REPLY_VALUE_BYTES,
  WORD_CALL_SLOTS,
  WORD_CALL_STREAM,
  WORD_CALL_VALUE_BYTES,
} from '../../src/protocol/call-messages.ts';
import { flagsOf, messageBytes, slotOf, typeOf, writeHead } from '../../src/protocol/messages.ts';
import { OPERATION_DELETE, OPERATION_GET, OPERATION_PUT } from '../../src/protocol/operation-table.ts';
import type { OperationSink, Outcome } from '../../src/protocol/outcome.ts';
import { bytesOf } from '../protocol/fixtures.ts';
import type { Message } from '../protocol/fixtures.ts';

const KINDS = { get: OPERATION_GET, put: OPERATION_PUT, delete: OPERATION_DELETE } as const;
export type Kind = keyof typeof KINDS;

export interface CallParts {
  readonly kind: Kind;
  readonly key: string;
  readonly value?: string;
  readonly slot?: number;
  readonly generation?: number;
  readonly stream?: number;
  readonly deadlineMs?: number;
  readonly attempt?: number;
}

export function callOf(parts: CallParts): Message {
  const key = bytesOf(parts.key);
  const value = bytesOf(parts.value ?? '');
  const keyBytes = alignUp(key.length);
  const control = new Int32Array((CALL_BYTES + keyBytes + alignUp(value.length)) >> 2);
  writeHead(control, 0, MESSAGE_CALL, KINDS[parts.kind], parts.slot ?? 0, parts.generation ?? 1);
  control[WORD_CALL_KEY_BYTES] = key.length;
  control[WORD_CALL_VALUE_BYTES] = value.length;
  control[WORD_CALL_STREAM] = parts.stream ?? 1;
  control[WORD_CALL_DEADLINE_MS] = parts.deadlineMs ?? 1_000;
  control[WORD_CALL_ATTEMPT] = parts.attempt ?? 0;
  new Uint8Array(control.buffer).set(key, WORD_CALL_KEY * 4);
  new Uint8Array(control.buffer).set(value, WORD_CALL_KEY * 4 + keyBytes);
  return { control, value: new Uint8Array(0) };
}

export function readCall({ control }: Message): Required<CallParts> {
  assert.equal(typeOf(control, 0), MESSAGE_CALL);
  assert.equal(messageBytes(control, 0, control.length, 0), control.length * 4, 'it is one whole message');
  const keyBytes = control[WORD_CALL_KEY_BYTES]!;
  const keyByte = control.byteOffset + WORD_CALL_KEY * 4;
  const valueByte = keyByte + alignUp(keyBytes);
  const kind = (Object.keys(KINDS) as Kind[]).find((name) => KINDS[name] === flagsOf(control, 0))!;
  return {
    kind,
    key: Buffer.from(control.buffer, keyByte, keyBytes).toString(),
    value: Buffer.from(control.buffer, valueByte, control[WORD_CALL_VALUE_BYTES]!).toString(),
    slot: slotOf(control, 0),
    generation: control[1]!,
    stream: control[WORD_CALL_STREAM]!,
    deadlineMs: control[WORD_CALL_DEADLINE_MS]!,
    attempt: control[WORD_CALL_ATTEMPT]!,
  };
}

export interface Reply {
  readonly outcome: CallOutcome;
  readonly slot: number;
  readonly generation: number;
  readonly stream: number;
  readonly attempt: number;
  readonly value: string;
}

export function readReply({ control }: Message): Reply {
  assert.equal(typeOf(control, 0), MESSAGE_CALL_REPLY);
  assert.equal(messageBytes(control, 0, control.length, 0), control.length * 4, 'it is one whole message');
  const valueByte = control.byteOffset + WORD_CALL_REPLY_VALUE * 4;
  return {
    outcome: CALL_OUTCOMES[flagsOf(control, 0)]!,
    slot: slotOf(control, 0),
    generation: control[1]!,
    stream: control[WORD_CALL_REPLY_STREAM]!,
    attempt: control[WORD_CALL_REPLY_ATTEMPT]!,
    value: Buffer.from(control.buffer, valueByte, control[WORD_CALL_REPLY_VALUE_BYTES]!).toString(),
  };
}

export function replyOf(parts: Partial<Reply> & { outcome: CallOutcome }): Message {
  const value = bytesOf(parts.value ?? '');
  const control = new Int32Array(WORD_CALL_REPLY_VALUE + (alignUp(value.length) >> 2));
  const outcome = CALL_OUTCOMES.indexOf(parts.outcome);
  writeHead(control, 0, MESSAGE_CALL_REPLY, outcome, parts.slot ?? 0, parts.generation ?? 1);
  control[WORD_CALL_REPLY_STREAM] = parts.stream ?? 1;
  control[WORD_CALL_REPLY_VALUE_BYTES] = value.length;
  control[WORD_CALL_REPLY_ATTEMPT] = parts.attempt ?? 0;
  new Uint8Array(control.buffer).set(value, WORD_CALL_REPLY_VALUE * 4);
  return { control, value: new Uint8Array(0) };
}

export function openOf(generation: number, slotCount: number): Message {
  const control = new Int32Array(CALL_OPEN_BYTES >> 2);
  writeHead(control, 0, MESSAGE_CALL_OPEN, 0, 0, generation);
  control[WORD_CALL_SLOTS] = slotCount;
  return { control, value: new Uint8Array(0) };
}

export function openedOf(generation: number, stream: number): Message {
  const control = new Int32Array(4);
  writeHead(control, 0, MESSAGE_CALL_OPENED, 0, 0, generation);
  control[WORD_CALL_OPENED_STREAM] = stream;
  return { control, value: new Uint8Array(0) };
}

/** The stream that a CALL_OPENED names. */
export function readOpened({ control }: Message): { generation: number; stream: number } {
  assert.equal(typeOf(control, 0), MESSAGE_CALL_OPENED);
  return { generation: control[1]!, stream: control[WORD_CALL_OPENED_STREAM]! };
}

export interface Operation {
  readonly id: number;
  readonly token: number;
  readonly kind: Kind;
  readonly key: string;
  readonly value: string;
  readonly deadlineMs: number;
}

/** Operations stay under way until the test ends them. */
export class ScriptedCoordinator implements OperationStarter {
  readonly capacity: number;
  /** All that were ever started. */
  readonly started: Operation[] = [];
  readonly running = new Map<number, Operation>();
  readonly cancelled: Operation[] = [];
  /** What a cancelled write is reported as. */
  cancelledAs: Outcome = 'aborted';
  sink: OperationSink | undefined;

  constructor(capacity = 16) {
    this.capacity = capacity;
  }

  startGet(token: number, key: Uint8Array, deadlineMs: number): number {
    return this.#start('get', token, key, new Uint8Array(0), deadlineMs);
  }

  startPut(token: number, key: Uint8Array, value: Uint8Array, deadlineMs: number): number {
    return this.#start('put', token, key, value, deadlineMs);
  }

  startDelete(token: number, key: Uint8Array, deadlineMs: number): number {
    return this.#start('delete', token, key, new Uint8Array(0), deadlineMs);
  }

  #start(kind: Kind, token: number, key: Uint8Array, value: Uint8Array, deadlineMs: number): number {
    if (this.running.size >= this.capacity) return -1;
    const id = this.started.length;
    const operation = {
      id,
      token,
      kind,
      key: Buffer.from(key).toString(),
      value: Buffer.from(value).toString(),
      deadlineMs,
    };
    this.started.push(operation);
    this.running.set(id, operation);
    return id;
  }

  cancel(id: number): void {
    const operation = this.running.get(id);
    if (operation === undefined) return;
    this.cancelled.push(operation);
    this.end(operation, this.cancelledAs);
  }

  end(operation: Operation, outcome: Outcome, value = ''): void {
    assert.ok(this.running.delete(operation.id), 'an operation ends once');
    const bytes = bytesOf(`${value}and what was opened before`);
    // As the real one does: only with a get does it mean anything.
    const valueBytes = operation.kind === 'get' ? bytesOf(value).length : outcome === 'ok' ? bytes.length : 0;
    this.sink!.onOperationEnded(operation.token, outcome, bytes, valueBytes);
  }
}
