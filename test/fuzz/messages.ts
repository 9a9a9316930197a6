/** Messages as an authenticated client can send them that keeps to no rule: each type, with lengths and fields at edges. */
import {
  ASK_BYTES,
  FLAG_TOMBSTONE,
  FLAG_VALUE,
  FLAG_WRITE_BACK,
  INCARNATION_BYTES,
  KEY_BYTES_MAX,
  MESSAGE_READ,
  MESSAGE_READ_REPLY,
  MESSAGE_REPAIR,
  MESSAGE_STAMP,
  MESSAGE_STAMP_REPLY,
  MESSAGE_STATE,
  MESSAGE_STATE_REQUEST,
  MESSAGE_STATUS,
  MESSAGE_STATUS_REQUEST,
  MESSAGE_WRITE,
  MESSAGE_WRITE_REPLY,
  READ_REPLY_VALUE_BYTES,
  STATE_BYTES,
  STATUS_BYTES,
  WORD_ASK_KEY,
  WORD_ENVELOPE_BYTES,
  WORD_KEY_BYTES,
  WORD_STATE,
  WORD_WRITE_COUNTER,
  WORD_WRITE_KEY,
  WORD_WRITE_TAG,
  WORD_WRITE_WRITER,
  WRITE_BYTES,
  writeHead,
} from '../../src/protocol/messages.ts';
import { alignUp, writeU53 } from '../../net/bytes.ts';
import type { Dice } from '../cluster/dice.ts';

export interface HostileMessage {
  readonly control: Int32Array;
  readonly value: Uint8Array;
}

const EDGES = [0, 1, -1, 7, 8, 2 ** 31 - 1, 2 ** 31 - 8, -(2 ** 31), -8, 0x20_0000, KEY_BYTES_MAX, KEY_BYTES_MAX + 1];
const COUNTERS = [0, 1, 1, 2, 2, 3, 2 ** 32 - 1, 2 ** 32, 2 ** 53 - 2, 2 ** 53 - 1];
const FLAGS = [0, 0, 0, FLAG_VALUE, FLAG_WRITE_BACK, FLAG_TOMBSTONE];
const KEY_LENGTHS = [0, 1, 3, 4, 7, 8, 9, 16, 1_023, KEY_BYTES_MAX, KEY_BYTES_MAX + 1, 2_000];
/** No key of anybody else's begins so. */
const KEY_PREFIX = Buffer.from('hostile ');
const REQUESTS_MAX = 100;
const KEYED = [MESSAGE_READ, MESSAGE_STAMP, MESSAGE_WRITE, MESSAGE_REPAIR];
const ANSWERS = [MESSAGE_STATE, MESSAGE_STATUS, MESSAGE_READ_REPLY, MESSAGE_STAMP_REPLY, MESSAGE_WRITE_REPLY];
const UNKNOWN = [0, 12, 99, 255];
const TYPES = [...KEYED, ...KEYED, ...KEYED, ...ANSWERS, MESSAGE_STATE_REQUEST, MESSAGE_STATUS_REQUEST, ...UNKNOWN];

/** @param writerLow Of the session; its writer's high word is 0. */
export function hostileMessage(dice: Dice, writerLow: number): HostileMessage {
  const type = dice.pick(TYPES);
  const message = KEYED.includes(type) ? keyed(dice, type, writerLow) : unkeyed(dice, type);
  const { control } = message;
  // One that is malformed ends the walk through its datagram, so most are well-formed.
  if (dice.chance(0.25)) control[dice.integer(0, control.length - 1)] = dice.pick(EDGES);
  if (dice.chance(0.05)) control[dice.integer(0, control.length - 1)] = dice.integer(-(2 ** 31), 2 ** 31 - 1);
  const isCut = dice.chance(0.05);
  return isCut ? { ...message, control: control.subarray(0, 2 * dice.integer(1, control.length >> 1)) } : message;
}

function keyed(dice: Dice, type: number, writerLow: number): HostileMessage {
  const isAsk = type === MESSAGE_READ || type === MESSAGE_STAMP;
  const keyBytes = dice.chance(0.9) ? dice.integer(9, 10) : dice.pick(KEY_LENGTHS);
  const control = new Int32Array(((isAsk ? ASK_BYTES : WRITE_BYTES) + alignUp(keyBytes)) / 4);
  writeHead(control, 0, type, dice.chance(0.95) ? dice.pick(FLAGS) : dice.integer(0, 255), 1, 1);
  const value = isAsk || dice.chance(0.1) ? new Uint8Array(0) : dice.bytes(dice.integer(0, 200));
  control[WORD_KEY_BYTES] = keyBytes;
  control[WORD_ENVELOPE_BYTES] = dice.chance(0.9) ? value.length : value.length + dice.pick([1, 8, 16, 1_000]);
  if (!isAsk) {
    const counter = dice.pick(COUNTERS);
    writeU53(control, WORD_WRITE_COUNTER, counter);
    // (0, 0, 0) is the stamp of a key that was never written.
    control[WORD_WRITE_WRITER] = counter === 0 || dice.chance(0.2) ? 0 : writerLow;
    control[WORD_WRITE_TAG] = dice.integer(0, 3);
  }
  const key = Buffer.alloc(keyBytes);
  KEY_PREFIX.copy(key);
  if (keyBytes > 8) key[8] = dice.integer(0, 7);
  new Uint8Array(control.buffer).set(key, 4 * (isAsk ? WORD_ASK_KEY : WORD_WRITE_KEY));
  return { control, value };
}

function unkeyed(dice: Dice, type: number): HostileMessage {
  const value = new Uint8Array(0);
  if (type === MESSAGE_STATE_REQUEST || type === MESSAGE_STATUS_REQUEST) {
    const control = new Int32Array(2 * dice.integer(1, REQUESTS_MAX));
    for (let word = 0; word < control.length; word += 2) writeHead(control, word, type, 0, word & 0xffff, word);
    return { control, value };
  }
  const memberCount = dice.integer(0, 8);
  const bytesMax =
    type === MESSAGE_STATE
      ? STATE_BYTES + memberCount * INCARNATION_BYTES
      : Math.max(READ_REPLY_VALUE_BYTES, STATUS_BYTES) + 8 * dice.integer(0, 4);
  const control = new Int32Array(bytesMax / 4).map(() => dice.integer(-(2 ** 31), 2 ** 31 - 1));
  writeHead(control, 0, type, dice.integer(0, 255), dice.integer(0, 0xffff), dice.integer(0, 3));
  if (type === MESSAGE_STATE)
    control[WORD_STATE] = dice.integer(0, 7) | (dice.integer(0, 7) << 8) | (memberCount << 16);
  return { control, value };
}
