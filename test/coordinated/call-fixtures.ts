/** CALLs and their answers, built and taken apart; and a coordinator that does what the test says. */
import assert from 'node:assert/strict';
import { alignUp, allocateRegion, regionOf } from '../../net/bytes.ts';
import { CALL_OUTCOMES } from '../../src/coordinated/call-outcome.ts';
import type { CallOutcome } from '../../src/coordinated/call-outcome.ts';
import type { OperationStarter } from '../../src/coordinated/call-operations.ts';
import { readReplyVersion, replyBytes, writeReplyBody, writeReplyHead } from '../../src/coordinated/call-reply.ts';
import {
  CALL_BYTES,
  CALL_DELETE,
  CALL_GET,
  CALL_GET_WITH_VERSION,
  CALL_OPEN_BYTES,
  CALL_PUT,
  CALL_RMW,
  MESSAGE_CALL,
  MESSAGE_CALL_OPEN,
  MESSAGE_CALL_OPENED,
  MESSAGE_CALL_REPLY,
  WORD_CALL_ATTEMPT,
  WORD_CALL_DEADLINE_MS,
  WORD_CALL_KEY,
  WORD_CALL_KEY_BYTES,
  REPLY_FOUND,
  REPLY_VERSION,
  WORD_CALL_OPENED_STREAM,
  WORD_CALL_REPLY_ATTEMPT,
  WORD_CALL_REPLY_STREAM,
  WORD_CALL_REPLY_VALUE_BYTES,
  WORD_CALL_SLOTS,
  WORD_CALL_STREAM,
  WORD_CALL_VALUE_BYTES,
  callReplyHeadBytes,
} from '../../src/protocol/call-messages.ts';
import {
  WORD_CALL_RMW_EXPECTED,
  callRmwBytesOf,
  expectedBytesOf,
  placeCallRmw,
  readCallRmw,
} from '../../src/protocol/call-rmw.ts';
import { flagsOf, messageBytes, slotOf, typeOf, writeHead } from '../../src/protocol/messages.ts';
import type { EndedStamp, OperationSink, Outcome } from '../../src/protocol/outcome.ts';
import type { RmwRequest, Stamp } from '../../src/protocol/rmw-request.ts';
import { bytesOf } from '../protocol/fixtures.ts';
import type { Message } from '../protocol/fixtures.ts';

const KINDS = {
  get: CALL_GET,
  put: CALL_PUT,
  delete: CALL_DELETE,
  'get with version': CALL_GET_WITH_VERSION,
  rmw: CALL_RMW,
} as const;
export type Kind = keyof typeof KINDS;

export interface CallParts {
  readonly kind: Kind;
  readonly key: string;
  readonly value?: string;
  /** Of an rmw, whose value is its request's. */
  readonly request?: RmwRequest | undefined;
  readonly slot?: number;
  readonly generation?: number;
  readonly stream?: number;
  readonly deadlineMs?: number;
  readonly attempt?: number;
}

export function callOf(parts: CallParts): Message {
  const key = bytesOf(parts.key);
  const { request } = parts;
  const value = request?.value ?? bytesOf(parts.value ?? '');
  const keyBytes = alignUp(key.length);
  const plainBytes = CALL_BYTES + keyBytes + alignUp(value.length);
  const control = new Int32Array((plainBytes + (request === undefined ? 0 : callRmwBytesOf(request))) >> 2);
  if (request !== undefined) placeCallRmw(regionOf(control.buffer), plainBytes >> 2, request);
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
  const bytes = new Uint8Array(control.buffer, control.byteOffset, control.byteLength);
  assert.equal(typeOf(control, 0), MESSAGE_CALL);
  assert.equal(messageBytes(control, 0, control.length, 0), control.length * 4, 'it is one whole message');
  const keyBytes = control[WORD_CALL_KEY_BYTES]!;
  const keyByte = WORD_CALL_KEY * 4;
  const valueByte = keyByte + alignUp(keyBytes);
  const value = bytes.slice(valueByte, valueByte + control[WORD_CALL_VALUE_BYTES]!);
  const kind = (Object.keys(KINDS) as Kind[]).find((name) => KINDS[name] === flagsOf(control, 0))!;
  return {
    kind,
    key: Buffer.from(bytes.slice(keyByte, keyByte + keyBytes)).toString(),
    value: Buffer.from(value).toString(),
    request: kind === 'rmw' ? readRequest(control, (valueByte + alignUp(value.length)) >> 2, value) : undefined,
    slot: slotOf(control, 0),
    generation: control[1]!,
    stream: control[WORD_CALL_STREAM]!,
    deadlineMs: control[WORD_CALL_DEADLINE_MS]!,
    attempt: control[WORD_CALL_ATTEMPT]!,
  };
}

function readRequest(control: Int32Array, word: number, value: Uint8Array): RmwRequest {
  const bytes = new Uint8Array(control.buffer, control.byteOffset, control.byteLength);
  const at = (word + WORD_CALL_RMW_EXPECTED) * 4;
  return readCallRmw(control, word, value, bytes.slice(at, at + expectedBytesOf(control, word)));
}

export interface Reply {
  readonly outcome: CallOutcome;
  readonly slot: number;
  readonly generation: number;
  readonly stream: number;
  readonly attempt: number;
  readonly value: string;
  /** With a version only. */
  readonly version?: Stamp;
  readonly found?: boolean;
}

export function readReply({ control }: Message): Reply {
  assert.equal(typeOf(control, 0), MESSAGE_CALL_REPLY);
  assert.equal(messageBytes(control, 0, control.length, 0), control.length * 4, 'it is one whole message');
  const valueByte = control.byteOffset + callReplyHeadBytes(control, 0);
  const ended: EndedStamp = { counter: 0, writerHigh: 0, writerLow: 0, rmw: 0, hasValue: false };
  const { hasValue, ...version } = readReplyVersion(control, 0, ended) ? ended : { ...ended, hasValue: undefined };
  return {
    ...(hasValue !== undefined && { version, found: hasValue }),
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
  const has = parts.version === undefined ? 0 : REPLY_VERSION | (parts.found === true ? REPLY_FOUND : 0);
  const region = allocateRegion(replyBytes(has, value.length));
  const { stream = 1, slot = 0, generation = 1, attempt = 0 } = parts;
  writeReplyHead(region.words, 0, parts.outcome, stream, slot, generation, attempt);
  const ended = { counter: 0, writerHigh: 0, writerLow: 0, rmw: 0, ...parts.version, hasValue: parts.found === true };
  writeReplyBody(region, 0, has, ended, value, value.length);
  return { control: region.words, value: new Uint8Array(0) };
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
  readonly request: RmwRequest | undefined;
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
  readonly ended: EndedStamp = { counter: 0, writerHigh: 0, writerLow: 0, rmw: 0, hasValue: false };

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

  startRmw(token: number, key: Uint8Array, request: RmwRequest, deadlineMs: number): number {
    const { value, expected } = request;
    const copied = { ...request, value: value.slice(), expected: expected.slice() };
    return this.#start('rmw', token, key, value, deadlineMs, copied);
  }

  #start(
    kind: Kind,
    token: number,
    key: Uint8Array,
    value: Uint8Array,
    deadlineMs: number,
    request?: RmwRequest,
  ): number {
    if (this.running.size >= this.capacity) return -1;
    const id = this.started.length;
    const operation = {
      id,
      token,
      kind,
      key: Buffer.from(key).toString(),
      value: Buffer.from(value).toString(),
      request,
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

  /** @param value Undefined: none came with it. */
  end(operation: Operation, outcome: Outcome, value?: string, stamp?: Stamp): void {
    assert.ok(this.running.delete(operation.id), 'an operation ends once');
    const bytes = bytesOf(`${value ?? ''}and what was opened before`);
    Object.assign(this.ended, stamp, { hasValue: value !== undefined });
    // As the real one does: without a value it means nothing.
    const valueBytes = value !== undefined ? bytesOf(value).length : outcome === 'ok' ? bytes.length : 0;
    this.sink!.onOperationEnded(operation.token, outcome, bytes, valueBytes);
  }
}
