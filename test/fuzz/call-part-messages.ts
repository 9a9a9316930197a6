import { alignUp } from '../../net/bytes.ts';
import {
  WORD_CALL_DEADLINE_MS,
  WORD_CALL_KEY_BYTES,
  WORD_CALL_STREAM,
  WORD_CALL_VALUE_BYTES,
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
} from '../../src/protocol/call-part-messages.ts';
import { writeHead } from '../../src/protocol/messages.ts';
import type { Dice } from '../cluster/dice.ts';
import type { HostileMessage } from './messages.ts';

/** What hostile clients send of calls by parts, some of it well-formed. */
const EDGES = [0, 1, -1, 7, 8, 2 ** 31 - 1, 2 ** 31 - 8, -(2 ** 31), -8, 2 ** 20, 2 ** 20 + 8];
const STREAMS = [0, 1, 1, 2, 3, 2 ** 31, -1];
const KEY = Buffer.from('hostile 1');
const KEY_LENGTHS = [KEY.length, KEY.length, KEY.length, 0, 1, 8, 1_024, 1_025];
const VALUE_LENGTHS = [1, 40, 64, 65, 200, 1, 40, 64, 65, 200, 2 ** 20, 2 ** 20 + 1, -1];
/** In units of 8 bytes. */
const PART_UNITS = [1, 2, 8, 16];
const PUT = 1;

/** Undefined for other types. */
export function hostileCallPart(dice: Dice, type: number): HostileMessage | undefined {
  switch (type) {
    case MESSAGE_CALL_PART:
      return callPart(dice);
    case MESSAGE_CALL_PULL:
      return callPull(dice);
    case MESSAGE_CALL_REPLY_PART:
      return callReplyPart(dice);
    default:
      return undefined;
  }
}

/** A few parts of few calls, so that some are put together; of lengths that change, behind the last one, of none. */
function callPart(dice: Dice): HostileMessage {
  const keyBytes = dice.pick(KEY_LENGTHS);
  const valueBytes = dice.pick(VALUE_LENGTHS);
  const partBytes = 8 * dice.pick(PART_UNITS);
  const index = dice.integer(0, 3);
  const bodyBytes = alignUp(keyBytes) + alignUp(Math.max(valueBytes, 0));
  const lengthBytes = Math.max(0, Math.min(partBytes, bodyBytes - index * partBytes));
  const control = new Int32Array((CALL_PART_BYTES + lengthBytes) / 4);
  const kind = dice.chance(0.9) ? PUT : dice.integer(0, 255);
  writeHead(control, 0, MESSAGE_CALL_PART, kind, dice.integer(0, 5), dice.integer(-1, 4));
  control[WORD_CALL_KEY_BYTES] = keyBytes;
  control[WORD_CALL_VALUE_BYTES] = valueBytes;
  control[WORD_CALL_STREAM] = dice.pick(STREAMS);
  control[WORD_CALL_DEADLINE_MS] = dice.pick([0, 1, 50, 1_000, -1]);
  control[WORD_CALL_PART] = dice.chance(0.95) ? index | ((partBytes / 8) << 16) : dice.pick(EDGES);
  if (index === 0) new Uint8Array(control.buffer).set(KEY.subarray(0, lengthBytes), CALL_PART_BYTES);
  return { control, value: new Uint8Array(0) };
}

function callPull(dice: Dice): HostileMessage {
  const control = new Int32Array(CALL_PULL_BYTES / 4);
  writeHead(control, 0, MESSAGE_CALL_PULL, 0, dice.integer(0, 5_000), dice.integer(-1, 4));
  control[WORD_PULL_STREAM] = dice.pick(STREAMS);
  control[WORD_PULL_ANSWER] = dice.integer(-1, 20);
  control[WORD_PULL_OFFSET] = dice.chance(0.7) ? 8 * dice.integer(0, 30) : dice.pick(EDGES);
  control[WORD_PULL_BYTES] = dice.chance(0.7) ? dice.integer(0, 200) : dice.pick(EDGES);
  return { control, value: new Uint8Array(0) };
}

function callReplyPart(dice: Dice): HostileMessage {
  const partBytes = dice.integer(0, 100);
  const control = new Int32Array((CALL_REPLY_PART_BYTES + alignUp(partBytes)) / 4);
  writeHead(control, 0, MESSAGE_CALL_REPLY_PART, dice.integer(0, 2), dice.integer(0, 5_000), dice.integer(-1, 4));
  control[WORD_REPLY_PART_ANSWER] = dice.integer(-1, 20);
  control[WORD_REPLY_PART_OFFSET] = dice.pick(EDGES);
  control[WORD_REPLY_PART_BYTES] = dice.chance(0.7) ? partBytes : dice.pick(EDGES);
  return { control, value: new Uint8Array(0) };
}
