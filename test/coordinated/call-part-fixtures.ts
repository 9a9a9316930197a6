/** CALL_PARTs, CALL_PULLs and what answers them, built and taken apart. */
import assert from 'node:assert/strict';
import { alignUp } from '../../net/bytes.ts';
import {
  CALL_REPLY_BYTES,
  REPLY_FOUND,
  REPLY_PARTS,
  REPLY_VERSION,
  VERSION_BYTES,
  WORD_CALL_REPLY_HAS,
} from '../../src/protocol/call-messages.ts';
import {
  CALL_PART_BYTES,
  CALL_PULL_BYTES,
  CALL_REPLY_PART_BYTES,
  MESSAGE_CALL_PART,
  MESSAGE_CALL_PULL,
  MESSAGE_CALL_REPLY_PART,
  WORD_CALL_PART,
  WORD_PULL_ANSWER,
  WORD_PULL_BYTES,
  WORD_PULL_OFFSET,
  WORD_PULL_STREAM,
  WORD_REPLY_PART_ANSWER,
  WORD_REPLY_PART_BYTES,
  WORD_REPLY_PART_OFFSET,
  callPartIndexOf,
} from '../../src/protocol/call-part-messages.ts';
import { readAnswerNumber, writePartedReplyBody, writeReplyHead } from '../../src/coordinated/call-reply.ts';
import {
  FLAG_GONE,
  MESSAGE_WRITE_PROGRESS,
  WORD_PROGRESS_BITMAP,
  WORD_PROGRESS_BYTES,
  flagsOf,
  messageBytes,
  slotOf,
  typeOf,
  writeHead,
} from '../../src/protocol/messages.ts';
import type { Message } from '../protocol/fixtures.ts';
import { callOf } from './call-fixtures.ts';
import type { CallParts } from './call-fixtures.ts';

const NO_VALUE = new Uint8Array(0);

/** A put, cut into parts. */
export function partsOfCall(call: CallParts, partBytes: number): Message[] {
  const { control: whole } = callOf(call);
  const bodyBytes = whole.length * 4 - CALL_PART_BYTES;
  return Array.from({ length: Math.ceil(bodyBytes / partBytes) }, (_, part) => {
    const start = CALL_PART_BYTES + part * partBytes;
    const lengthBytes = Math.min(partBytes, whole.length * 4 - start);
    const control = new Int32Array((CALL_PART_BYTES + lengthBytes) / 4);
    control.set(whole.subarray(0, CALL_PART_BYTES / 4));
    control[0] = (control[0]! & ~0xff) | MESSAGE_CALL_PART;
    control[WORD_CALL_PART] = part | ((partBytes / 8) << 16);
    control.set(whole.subarray(start / 4, (start + lengthBytes) / 4), CALL_PART_BYTES / 4);
    return { control, value: NO_VALUE };
  });
}

/** Indices of parts that a WRITE_PROGRESS says have come. */
export function readProgress({ control }: Message): number[] {
  assert.equal(typeOf(control, 0), MESSAGE_WRITE_PROGRESS);
  const parts: number[] = [];
  for (let part = 0; part < control[WORD_PROGRESS_BYTES]! * 8; part++) {
    if (((control[WORD_PROGRESS_BITMAP + (part >> 5)]! >>> (part & 31)) & 1) === 1) parts.push(part);
  }
  return parts;
}

export interface Pull {
  readonly stream: number;
  readonly answer: number;
  readonly offset: number;
  readonly bytes: number;
  readonly slot?: number;
  readonly generation?: number;
}

export function pullOf({ stream, answer, offset, bytes, slot = 0, generation = 1 }: Pull): Message {
  const control = new Int32Array(CALL_PULL_BYTES / 4);
  writeHead(control, 0, MESSAGE_CALL_PULL, 0, slot, generation);
  control[WORD_PULL_STREAM] = stream;
  control[WORD_PULL_ANSWER] = answer;
  control[WORD_PULL_OFFSET] = offset;
  control[WORD_PULL_BYTES] = bytes;
  return { control, value: NO_VALUE };
}

export function readPull({ control }: Message): Required<Pull> {
  assert.equal(typeOf(control, 0), MESSAGE_CALL_PULL);
  return {
    slot: slotOf(control, 0),
    generation: control[1]!,
    stream: control[WORD_PULL_STREAM]!,
    answer: control[WORD_PULL_ANSWER]!,
    offset: control[WORD_PULL_OFFSET]!,
    bytes: control[WORD_PULL_BYTES]!,
  };
}

/** A CALL_REPLY of a value that is asked for by parts. */
export function partedReplyOf(
  to: { slot: number; generation: number; stream: number },
  answer: number,
  valueBytes: number,
): Message {
  const control = new Int32Array((CALL_REPLY_BYTES + VERSION_BYTES + 8) / 4);
  writeReplyHead(control, 0, 'ok', to.stream, to.slot, to.generation, 0);
  const ended = { counter: 7, writerHigh: 1, writerLow: 2, rmw: 3, hasValue: true };
  writePartedReplyBody(control, 0, REPLY_VERSION | REPLY_FOUND, ended, answer, valueBytes);
  return { control, value: NO_VALUE };
}

/** The number of the answer that a CALL_REPLY names; 0: none. */
export function readAnswer({ control }: Message): number {
  assert.equal(messageBytes(control, 0, control.length, 0), control.length * 4);
  return (control[WORD_CALL_REPLY_HAS]! & REPLY_PARTS) === 0 ? 0 : readAnswerNumber(control, 0);
}

/** @param piece Undefined: gone. */
export function replyPartOf(pull: Pull, piece: string | undefined): Message {
  const bytes = Buffer.from(piece ?? '');
  const control = new Int32Array((CALL_REPLY_PART_BYTES + alignUp(bytes.length)) / 4);
  const { slot = 0, generation = 1 } = pull;
  writeHead(control, 0, MESSAGE_CALL_REPLY_PART, piece === undefined ? FLAG_GONE : 0, slot, generation);
  control[WORD_REPLY_PART_ANSWER] = pull.answer;
  control[WORD_REPLY_PART_OFFSET] = pull.offset;
  control[WORD_REPLY_PART_BYTES] = bytes.length;
  new Uint8Array(control.buffer).set(bytes, CALL_REPLY_PART_BYTES);
  return { control, value: NO_VALUE };
}

/** What a CALL_REPLY_PART brings; undefined: gone. */
export function readReplyPart({ control }: Message): string | undefined {
  assert.equal(typeOf(control, 0), MESSAGE_CALL_REPLY_PART);
  assert.equal(messageBytes(control, 0, control.length, 0), control.length * 4);
  const at = control.byteOffset + CALL_REPLY_PART_BYTES;
  const text = Buffer.from(control.buffer, at, control[WORD_REPLY_PART_BYTES]!).toString();
  return (flagsOf(control, 0) & FLAG_GONE) === 0 ? text : undefined;
}

export function readPart({ control }: Message): { part: number; slot: number; generation: number } {
  assert.equal(typeOf(control, 0), MESSAGE_CALL_PART);
  assert.equal(messageBytes(control, 0, control.length, 0), control.length * 4);
  return { part: callPartIndexOf(control, 0), slot: slotOf(control, 0), generation: control[1]! };
}

/** WRITE_PROGRESS of so many parts, at most 64. */
export function progressOf(
  { slot, generation }: { slot: number; generation: number },
  parts: readonly number[],
): Message {
  const control = new Int32Array(WORD_PROGRESS_BITMAP + 2);
  writeHead(control, 0, MESSAGE_WRITE_PROGRESS, 0, slot, generation);
  control[WORD_PROGRESS_BYTES] = 8;
  for (const part of parts) control[WORD_PROGRESS_BITMAP + (part >> 5)]! |= 1 << (part & 31);
  return { control, value: NO_VALUE };
}
