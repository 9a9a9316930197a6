/** RESOLVE and its answer, built and taken apart. */
import assert from 'node:assert/strict';
import { alignUp, readU53, writeU53 } from '../../net/bytes.ts';
import { WORD_KEY_BYTES, flagsOf, messageBytes, slotOf, typeOf, writeHead } from '../../src/protocol/messages.ts';
import {
  MESSAGE_RESOLVE,
  MESSAGE_RESOLVE_REPLY,
  RESOLVE_BYTES,
  RESOLVE_REPLY_BYTES,
  WORD_RESOLVED_COUNTER,
  WORD_RESOLVED_RMW,
  WORD_RESOLVED_WRITER,
  WORD_RESOLVE_KEY,
} from '../../src/protocol/resolve-messages.ts';
import type { AnswerTo, Message, Stamp } from './fixtures.ts';
import { bytesOf } from './fixtures.ts';

export interface Resolve extends AnswerTo {
  readonly key: string;
}

export interface Resolved extends AnswerTo {
  readonly flags: number;
  readonly stamp: Stamp;
}

export function resolveOf({ key, slot, generation }: Resolve): Message {
  const bytes = bytesOf(key);
  const control = new Int32Array((RESOLVE_BYTES + alignUp(bytes.length)) >> 2);
  writeHead(control, 0, MESSAGE_RESOLVE, 0, slot, generation);
  control[WORD_KEY_BYTES] = bytes.length;
  new Uint8Array(control.buffer).set(bytes, WORD_RESOLVE_KEY * 4);
  return { control, value: new Uint8Array(0) };
}

export function readResolve({ control }: Message): Resolve {
  assert.equal(typeOf(control, 0), MESSAGE_RESOLVE);
  assert.equal(messageBytes(control, 0, control.length, 0), control.length * 4);
  assert.deepEqual([flagsOf(control, 0), control[WORD_KEY_BYTES + 1]], [0, 0]);
  const key = Buffer.from(control.buffer, control.byteOffset + WORD_RESOLVE_KEY * 4, control[WORD_KEY_BYTES]);
  return { key: key.toString(), slot: slotOf(control, 0), generation: control[1]! };
}

export function resolveReply(to: AnswerTo, stamp: Stamp, flags = 0): Message {
  const control = new Int32Array(RESOLVE_REPLY_BYTES >> 2);
  writeHead(control, 0, MESSAGE_RESOLVE_REPLY, flags, to.slot, to.generation);
  control[WORD_RESOLVED_RMW] = stamp.rmw;
  writeU53(control, WORD_RESOLVED_COUNTER, stamp.counter);
  control[WORD_RESOLVED_WRITER] = stamp.writerLow;
  control[WORD_RESOLVED_WRITER + 1] = stamp.writerHigh;
  return { control, value: new Uint8Array(0) };
}

export function readResolveReply({ control }: Message): Resolved {
  assert.equal(typeOf(control, 0), MESSAGE_RESOLVE_REPLY);
  assert.equal(messageBytes(control, 0, control.length, 0), control.length * 4);
  assert.equal(control[2], 0);
  return {
    slot: slotOf(control, 0),
    generation: control[1]!,
    flags: flagsOf(control, 0),
    stamp: {
      counter: readU53(control, WORD_RESOLVED_COUNTER),
      writerLow: control[WORD_RESOLVED_WRITER]!,
      writerHigh: control[WORD_RESOLVED_WRITER + 1]!,
      rmw: control[WORD_RESOLVED_RMW]!,
    },
  };
}
