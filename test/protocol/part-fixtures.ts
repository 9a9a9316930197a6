/** Messages of values that are larger than a datagram, built and taken apart. */
import assert from 'node:assert/strict';
import { alignUp, copyWords, readU53, writeU53 } from '../../net/bytes.ts';
import {
  FLAG_BUSY,
  FLAG_GONE,
  FLAG_PARTS,
  MESSAGE_READ_PART,
  MESSAGE_READ_PART_REPLY,
  MESSAGE_READ_REPLY,
  MESSAGE_WRITE_PART,
  MESSAGE_WRITE_PROGRESS,
  READ_PART_REPLY_BYTES,
  READ_REPLY_VALUE_BYTES,
  WORD_ENVELOPE_BYTES,
  WORD_KEY_BYTES,
  WORD_PART,
  WORD_PART_REPLY_BYTES,
  WORD_PART_REPLY_OFFSET,
  WORD_PROGRESS_BITMAP,
  WORD_PROGRESS_BYTES,
  WORD_READ_PART_BYTES,
  WORD_READ_PART_COUNTER,
  WORD_READ_PART_KEY,
  WORD_READ_PART_OFFSET,
  WORD_READ_PART_RMW,
  WORD_READ_PART_WRITER,
  WORD_REPLY_COUNTER,
  WORD_REPLY_ENVELOPE_BYTES,
  WORD_REPLY_RMW,
  WORD_REPLY_TAG,
  WORD_REPLY_WRITER,
  WORD_WRITE_COUNTER,
  WORD_WRITE_KEY,
  WORD_WRITE_RMW,
  WORD_WRITE_TAG,
  WORD_WRITE_WRITER,
  WRITE_BYTES,
  WRITE_PROGRESS_BYTES,
  flagsOf,
  messageBytes,
  messageEnvelopeBytes,
  partBytesOf,
  partCountOf,
  partIndexOf,
  slotOf,
  typeOf,
  writeHead,
} from '../../src/protocol/messages.ts';
import { writeOf } from './fixtures.ts';
import type { AnswerTo, Message, Stamp, WriteParts } from './fixtures.ts';

const NO_VALUE = new Uint8Array(0);

/** A WRITE, or with its flag a REPAIR, cut into parts, the key's first. */
export function partsOf(write: WriteParts, partBytes: number): Message[] {
  const { envelope = NO_VALUE } = write;
  const whole = writeOf({ ...write, type: MESSAGE_WRITE_PART });
  return Array.from({ length: partCountOf(envelope.length, partBytes) }, (_, index) => {
    const control = index === 0 ? whole.control.slice() : whole.control.slice(0, WRITE_BYTES / 4);
    control[WORD_PART] = index | ((partBytes / 8) << 16);
    control[WORD_ENVELOPE_BYTES] = envelope.length;
    if (index > 0) control[WORD_KEY_BYTES] = 0;
    const piece = index === 0 ? NO_VALUE : envelope.subarray((index - 1) * partBytes, index * partBytes);
    return { control, value: padded(piece) };
  });
}

/** A WRITE_PART taken apart. */
export interface WritePart extends AnswerTo {
  readonly type: typeof MESSAGE_WRITE_PART;
  readonly flags: number;
  readonly part: number;
  readonly partBytes: number;
  readonly partCount: number;
  readonly envelopeBytes: number;
  readonly stamp: Stamp;
  readonly tag: Int32Array;
  /** Of part 0; else empty. */
  readonly key: Uint8Array;
  /** Without padding; of part 0 empty. */
  readonly piece: Uint8Array;
}

/** A READ_PART taken apart. */
export interface ReadPartAsked extends AnswerTo {
  readonly type: typeof MESSAGE_READ_PART;
  readonly key: Uint8Array;
  readonly stamp: Stamp;
  readonly byteOffset: number;
  readonly byteCount: number;
}

export function readPart({ control, value }: Message): WritePart | ReadPartAsked {
  assert.equal(messageBytes(control, 0, control.length, value.length), control.length * 4, 'it is one whole message');
  const type = typeOf(control, 0);
  const head = { flags: flagsOf(control, 0), slot: slotOf(control, 0), generation: control[1]! };
  if (type === MESSAGE_READ_PART) {
    assert.deepEqual([value.length, head.flags], [0, 0]);
    return {
      ...head,
      type,
      key: keyAt(control, WORD_READ_PART_KEY),
      stamp: stampAt(control, WORD_READ_PART_COUNTER, WORD_READ_PART_WRITER, WORD_READ_PART_RMW),
      byteOffset: control[WORD_READ_PART_OFFSET]!,
      byteCount: control[WORD_READ_PART_BYTES]!,
    };
  }
  assert.equal(type, MESSAGE_WRITE_PART);
  const pieceBytes = messageEnvelopeBytes(control, 0);
  assert.equal(alignUp(pieceBytes), value.length);
  assert.ok(
    value.subarray(pieceBytes).every((byte) => byte === 0),
    'padding is zero',
  );
  const part = partIndexOf(control, 0);
  if (part > 0) assert.equal(control[WORD_KEY_BYTES], 0);
  return {
    ...head,
    type: MESSAGE_WRITE_PART,
    part,
    partBytes: partBytesOf(control, 0),
    partCount: partCountOf(control[WORD_ENVELOPE_BYTES]!, partBytesOf(control, 0)),
    envelopeBytes: control[WORD_ENVELOPE_BYTES]!,
    stamp: stampAt(control, WORD_WRITE_COUNTER, WORD_WRITE_WRITER, WORD_WRITE_RMW),
    tag: control.slice(WORD_WRITE_TAG, WORD_WRITE_TAG + 4),
    key: keyAt(control, WORD_WRITE_KEY),
    piece: value.slice(0, pieceBytes),
  };
}

function keyAt(control: Int32Array, word: number): Uint8Array {
  const start = control.byteOffset + word * 4;
  return new Uint8Array(control.buffer.slice(start, start + control[WORD_KEY_BYTES]!));
}

function stampAt(control: Int32Array, counterWord: number, writerWord: number, rmwWord: number): Stamp {
  return {
    counter: readU53(control, counterWord),
    writerLow: control[writerWord]!,
    writerHigh: control[writerWord + 1]!,
    rmw: control[rmwWord]!,
  };
}

/** @param parts What the member has; of so many. */
export function progressReply(to: AnswerTo, parts: readonly number[], partCount: number): Message {
  const bitmapBytes = alignUp((partCount + 7) >> 3);
  const control = new Int32Array((WRITE_PROGRESS_BYTES + bitmapBytes) >> 2);
  writeHead(control, 0, MESSAGE_WRITE_PROGRESS, 0, to.slot, to.generation);
  control[WORD_PROGRESS_BYTES] = bitmapBytes;
  for (const part of parts) control[WORD_PROGRESS_BITMAP + (part >> 5)]! |= 1 << (part & 31);
  return { control, value: NO_VALUE };
}

export function busyReply(to: AnswerTo): Message {
  const control = new Int32Array(WRITE_PROGRESS_BYTES >> 2);
  writeHead(control, 0, MESSAGE_WRITE_PROGRESS, FLAG_BUSY, to.slot, to.generation);
  return { control, value: NO_VALUE };
}

/** READ_REPLY: stamp, tag and length of a value that is to be asked for by parts. */
export function partsReply(to: AnswerTo, stamp: Stamp, tag: Int32Array, envelopeBytes: number, flags = 0): Message {
  const control = new Int32Array(READ_REPLY_VALUE_BYTES >> 2);
  writeHead(control, 0, MESSAGE_READ_REPLY, FLAG_PARTS | flags, to.slot, to.generation);
  control[WORD_REPLY_ENVELOPE_BYTES] = envelopeBytes;
  control[WORD_REPLY_RMW] = stamp.rmw;
  writeU53(control, WORD_REPLY_COUNTER, stamp.counter);
  control[WORD_REPLY_WRITER] = stamp.writerLow;
  control[WORD_REPLY_WRITER + 1] = stamp.writerHigh;
  copyWords(control, WORD_REPLY_TAG, tag, 0, 4);
  return { control, value: NO_VALUE };
}

export function partReply(to: AnswerTo, byteOffset: number, piece: Uint8Array): Message {
  const control = new Int32Array(READ_PART_REPLY_BYTES >> 2);
  writeHead(control, 0, MESSAGE_READ_PART_REPLY, 0, to.slot, to.generation);
  control[WORD_PART_REPLY_OFFSET] = byteOffset;
  control[WORD_PART_REPLY_BYTES] = piece.length;
  return { control, value: padded(piece) };
}

export function goneReply(to: AnswerTo, byteOffset: number): Message {
  const control = new Int32Array(READ_PART_REPLY_BYTES >> 2);
  writeHead(control, 0, MESSAGE_READ_PART_REPLY, FLAG_GONE, to.slot, to.generation);
  control[WORD_PART_REPLY_OFFSET] = byteOffset;
  return { control, value: NO_VALUE };
}

function padded(piece: Uint8Array): Uint8Array {
  const value = new Uint8Array(alignUp(piece.length));
  value.set(piece);
  return value;
}
