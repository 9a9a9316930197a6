/** Messages as an authenticated client can send them that keeps to no rule: each type, with lengths and fields at edges. */
import { add, deleteIf, setIf, setTo } from '../../src/client/read-modify-write.ts';
import { versionOf } from '../../src/client/version.ts';
import {
  MESSAGE_CALL_PART,
  MESSAGE_CALL_PULL,
  MESSAGE_CALL_REPLY_PART,
} from '../../src/protocol/call-part-messages.ts';
import {
  CALL_BYTES,
  CALL_KIND_MAX,
  CALL_RMW,
  CALL_SLOTS_MAX,
  MESSAGE_CALL,
  MESSAGE_CALL_OPEN,
  MESSAGE_CALL_OPENED,
  MESSAGE_CALL_REPLY,
  WORD_CALL_DEADLINE_MS,
  WORD_CALL_KEY,
  WORD_CALL_KEY_BYTES,
  WORD_CALL_SLOTS,
  WORD_CALL_STREAM,
  WORD_CALL_VALUE_BYTES,
} from '../../src/protocol/call-messages.ts';
import { callRmwBytesOf, placeCallRmw } from '../../src/protocol/call-rmw.ts';
import {
  ASK_BYTES,
  FLAG_REPAIR,
  FLAG_TOMBSTONE,
  FLAG_VALUE,
  FLAG_WRITE_BACK,
  INCARNATION_BYTES,
  KEY_BYTES_MAX,
  MESSAGE_READ,
  MESSAGE_READ_PART,
  MESSAGE_READ_PART_REPLY,
  MESSAGE_READ_REPLY,
  MESSAGE_REPAIR,
  MESSAGE_STAMP,
  MESSAGE_STAMP_REPLY,
  MESSAGE_STATE,
  MESSAGE_STATE_REQUEST,
  MESSAGE_STATUS,
  MESSAGE_STATUS_REQUEST,
  MESSAGE_WRITE,
  MESSAGE_WRITE_PART,
  MESSAGE_WRITE_PROGRESS,
  MESSAGE_WRITE_REPLY,
  PROGRESS_BITMAP_BYTES_MAX,
  READ_PART_BYTES,
  READ_REPLY_VALUE_BYTES,
  STATE_BYTES,
  STATUS_BYTES,
  WORD_ASK_KEY,
  WORD_ENVELOPE_BYTES,
  WORD_KEY_BYTES,
  WORD_PART,
  WORD_PROGRESS_BYTES,
  WORD_READ_PART_BYTES,
  WORD_READ_PART_COUNTER,
  WORD_READ_PART_KEY,
  WORD_READ_PART_OFFSET,
  WORD_READ_PART_WRITER,
  WORD_STATE,
  WORD_WRITE_COUNTER,
  WORD_WRITE_KEY,
  WORD_WRITE_TAG,
  WORD_WRITE_WRITER,
  WRITE_BYTES,
  partLengthBytes,
  writeHead,
} from '../../src/protocol/messages.ts';
import { alignUp, writeU53, regionOf } from '../../net/bytes.ts';
import {
  MESSAGE_STAGE_PART,
  STAGE_PART_BYTES,
  WORD_STAGE_ID,
  WORD_STAGE_KEY,
} from '../../src/protocol/rmw-part-messages.ts';
import { MESSAGE_SCAN, MESSAGE_SCAN_REPLY } from '../../src/protocol/scan-messages.ts';
import type { Dice } from '../cluster/dice.ts';
import { DATA_KEY_ID } from '../cluster/simulated-trust.ts';
import { hostileCallPart } from './call-part-messages.ts';
import { hostileScan } from './scan-messages.ts';

export interface HostileMessage {
  readonly control: Int32Array;
  readonly value: Uint8Array;
}

const EDGES = [0, 1, -1, 7, 8, 2 ** 31 - 1, 2 ** 31 - 8, -(2 ** 31), -8, 0x20_0000, KEY_BYTES_MAX, KEY_BYTES_MAX + 1];
/** The last small one often: a write that meets it at a replica meets its equal, mostly with another tag. */
const COUNTERS = [0, 1, 1, 2, 2, 3, 3, 3, 3, 2 ** 32 - 1, 2 ** 32, 2 ** 53 - 2, 2 ** 53 - 1];
const FLAGS = [0, 0, 0, FLAG_VALUE, FLAG_WRITE_BACK, FLAG_TOMBSTONE];
const KEY_LENGTHS = [0, 1, 3, 4, 7, 8, 9, 16, 1_023, KEY_BYTES_MAX, KEY_BYTES_MAX + 1, 2_000];
/** No key of anybody else's begins so. */
const KEY_PREFIX = Buffer.from('hostile ');
const REQUESTS_MAX = 100;
const KEYED = [MESSAGE_READ, MESSAGE_STAMP, MESSAGE_WRITE, MESSAGE_REPAIR];
const PARTS = [MESSAGE_WRITE_PART, MESSAGE_WRITE_PART, MESSAGE_WRITE_PART, MESSAGE_STAGE_PART, MESSAGE_READ_PART];
/** Few lengths and stamps, so that parts meet others of the same value, and of another that is nearly the same. */
const PART_UNITS = [1, 2, 8, 16];
const PARTED_BYTES = [1, 40, 64, 65, 200];
const ANSWERS = [
  MESSAGE_STATE,
  MESSAGE_STATUS,
  MESSAGE_READ_REPLY,
  MESSAGE_STAMP_REPLY,
  MESSAGE_WRITE_REPLY,
  MESSAGE_WRITE_PROGRESS,
  MESSAGE_READ_PART_REPLY,
  MESSAGE_SCAN_REPLY,
];
const CALLS = [
  MESSAGE_CALL,
  MESSAGE_CALL,
  MESSAGE_CALL_OPEN,
  MESSAGE_CALL_REPLY,
  MESSAGE_CALL_OPENED,
  MESSAGE_CALL_PART,
  MESSAGE_CALL_PART,
  MESSAGE_CALL_PULL,
  MESSAGE_CALL_REPLY_PART,
];
const REQUESTS = [
  setTo('set'),
  setIf({ absent: true }, 'set'),
  setIf({ value: 'set' }, 'other'),
  setIf({ version: versionOf({ counter: 1, writerHigh: 0, writerLow: 1, rmw: 0 }) }, 'set'),
  deleteIf({ value: 'other' }),
  add(1n),
  add(2n ** 63n - 1n),
];
const STREAMS = [0, 1, 1, 2, 3, 2 ** 31, -1];
const UNKNOWN = [0, 99, 255];
const TYPES = [
  ...KEYED,
  ...KEYED,
  ...KEYED,
  ...KEYED,
  ...PARTS,
  ...CALLS,
  MESSAGE_SCAN,
  MESSAGE_SCAN,
  ...ANSWERS,
  MESSAGE_STATE_REQUEST,
  MESSAGE_STATUS_REQUEST,
  ...UNKNOWN,
];

/** @param writerLow Of the session; its writer's high word is 0. */
export function hostileMessage(dice: Dice, writerLow: number): HostileMessage {
  const type = dice.pick(TYPES);
  const message = PARTS.includes(type)
    ? part(dice, type, writerLow)
    : KEYED.includes(type)
      ? keyed(dice, type, writerLow)
      : type === MESSAGE_CALL
        ? call(dice)
        : type === MESSAGE_SCAN
          ? hostileScan(dice)
          : (hostileCallPart(dice, type) ?? unkeyed(dice, type));
  const { control } = message;
  // One that is malformed ends the walk through its datagram, so most are well-formed.
  if (dice.chance(0.25)) control[dice.integer(0, control.length - 1)] = dice.pick(EDGES);
  if (dice.chance(0.05)) control[dice.integer(0, control.length - 1)] = dice.integer(-(2 ** 31), 2 ** 31 - 1);
  const isCut = dice.chance(0.05);
  return isCut ? { ...message, control: control.subarray(0, 2 * dice.integer(1, control.length >> 1)) } : message;
}

function call(dice: Dice): HostileMessage {
  const keyBytes = dice.chance(0.9) ? dice.integer(9, 10) : dice.pick(KEY_LENGTHS);
  const kind = dice.integer(0, CALL_KIND_MAX + 1);
  const request = kind === CALL_RMW ? dice.pick(REQUESTS) : undefined;
  const valueBytes = request === undefined ? dice.integer(0, 100) : request.value.length;
  const plainBytes = CALL_BYTES + alignUp(keyBytes) + alignUp(valueBytes);
  const control = new Int32Array((plainBytes + (request === undefined ? 0 : callRmwBytesOf(request))) / 4);
  if (request !== undefined) placeCallRmw(regionOf(control.buffer), plainBytes / 4, request);
  writeHead(control, 0, MESSAGE_CALL, kind, dice.integer(0, 5), dice.integer(-1, 4));
  control[WORD_CALL_KEY_BYTES] = keyBytes;
  control[WORD_CALL_VALUE_BYTES] = dice.chance(0.9) ? valueBytes : dice.pick(EDGES);
  control[WORD_CALL_STREAM] = dice.pick(STREAMS);
  control[WORD_CALL_DEADLINE_MS] = dice.pick([0, 1, 50, 1_000, -1]);
  const key = Buffer.alloc(keyBytes);
  KEY_PREFIX.copy(key);
  if (keyBytes > 8) key[8] = dice.integer(0, 7);
  new Uint8Array(control.buffer).set(key, 4 * WORD_CALL_KEY);
  return { control, value: new Uint8Array(0) };
}

/** Bytes that do not open; mostly under a data key of the simulated or of a real cluster, or they would not be kept. */
function envelope(dice: Dice, byteCount: number): Uint8Array {
  const bytes = dice.bytes(byteCount);
  if (dice.chance(0.9)) bytes.fill(0, 0, 4).fill(dice.pick([1, DATA_KEY_ID]), 0, 1);
  return bytes;
}

function keyed(dice: Dice, type: number, writerLow: number): HostileMessage {
  const isAsk = type === MESSAGE_READ || type === MESSAGE_STAMP;
  const keyBytes = dice.chance(0.9) ? dice.integer(9, 10) : dice.pick(KEY_LENGTHS);
  const control = new Int32Array(((isAsk ? ASK_BYTES : WRITE_BYTES) + alignUp(keyBytes)) / 4);
  writeHead(control, 0, type, dice.chance(0.95) ? dice.pick(FLAGS) : dice.integer(0, 255), 1, 1);
  const value = isAsk || dice.chance(0.1) ? new Uint8Array(0) : envelope(dice, dice.integer(0, 200));
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

function part(dice: Dice, type: number, writerLow: number): HostileMessage {
  const key = Buffer.alloc(9);
  KEY_PREFIX.copy(key);
  key[8] = dice.integer(0, 7);
  const none = new Uint8Array(0);
  if (type === MESSAGE_READ_PART) {
    const control = new Int32Array((READ_PART_BYTES + alignUp(key.length)) / 4);
    writeHead(control, 0, type, 0, 1, 1);
    control[WORD_KEY_BYTES] = key.length;
    control[WORD_READ_PART_BYTES] = dice.pick([0, 1, 8, 40, 64, 200, 1_200]);
    writeU53(control, WORD_READ_PART_COUNTER, dice.pick(COUNTERS));
    control[WORD_READ_PART_WRITER] = dice.chance(0.2) ? 0 : writerLow;
    control[WORD_READ_PART_OFFSET] = dice.pick([0, 0, 0, 4, 8, 64, 200, 1_000_000]);
    new Uint8Array(control.buffer).set(key, 4 * WORD_READ_PART_KEY);
    return { control, value: none };
  }
  const units = dice.pick(PART_UNITS);
  const envelopeBytes = dice.pick(PARTED_BYTES);
  const partCount = 1 + Math.ceil(envelopeBytes / (8 * units));
  const index = dice.chance(0.95) ? dice.integer(0, partCount - 1) : dice.pick([partCount, 1_023, 1_024, 0xffff]);
  const isKey = index === 0;
  const isStage = type === MESSAGE_STAGE_PART;
  const fixedBytes = isStage ? STAGE_PART_BYTES : WRITE_BYTES;
  const control = new Int32Array((fixedBytes + (isKey ? alignUp(key.length) : 0)) / 4);
  writeHead(control, 0, type, dice.pick([0, 0, 0, FLAG_REPAIR, FLAG_WRITE_BACK]), 1, 1);
  if (isStage) control[WORD_STAGE_ID + 2] = dice.integer(0, 2);
  control[WORD_KEY_BYTES] = isKey ? key.length : 0;
  control[WORD_ENVELOPE_BYTES] = envelopeBytes;
  writeU53(control, WORD_WRITE_COUNTER, dice.pick(COUNTERS));
  control[WORD_WRITE_WRITER] = dice.chance(0.1) ? 0 : writerLow;
  control[WORD_WRITE_TAG] = dice.integer(0, 1);
  control[WORD_PART] = index | (units << 16);
  if (isKey) new Uint8Array(control.buffer).set(key, 4 * (isStage ? WORD_STAGE_KEY : WORD_WRITE_KEY));
  const pieceBytes = Math.max(0, partLengthBytes(index, 8 * units, envelopeBytes));
  return { control, value: envelope(dice, alignUp(pieceBytes)) };
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
  if (type === MESSAGE_CALL_OPEN) {
    control[1] = dice.integer(0, 3);
    control[WORD_CALL_SLOTS] = dice.pick([0, 1, 4, CALL_SLOTS_MAX, CALL_SLOTS_MAX + 1, -1]);
  }
  if (type === MESSAGE_STATE)
    control[WORD_STATE] = dice.integer(0, 7) | (dice.integer(0, 7) << 8) | (memberCount << 16);
  if (type === MESSAGE_WRITE_PROGRESS) control[WORD_PROGRESS_BYTES] = dice.pick([0, 8, 24, PROGRESS_BITMAP_BYTES_MAX]);
  return { control, value };
}
