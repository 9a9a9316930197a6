/** Messages of read-modify-writes whose values are larger than a datagram, built and taken apart. */
import assert from 'node:assert/strict';
import { alignUp, readU53, writeU53 } from '../../net/bytes.ts';
import {
  FLAG_PARTS,
  WORD_ENVELOPE_BYTES,
  WORD_KEY_BYTES,
  WORD_PART,
  WORD_WRITE_COUNTER,
  WORD_WRITE_RMW,
  WORD_WRITE_TAG,
  WORD_WRITE_WRITER,
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
import * as parts from '../../src/protocol/rmw-part-messages.ts';
import type { AnswerTo, Message, Stamp, Writer } from './fixtures.ts';
import type { Id, Proposed } from './rmw-fixtures.ts';

const TO: AnswerTo = { slot: 1, generation: 1 };

/** An ACCEPT or COMMIT that came with its value, as one that is sent without. */
export function withoutValue({ control }: Message, flags: number): Message {
  const bare = control.slice();
  writeHead(bare, 0, typeOf(control, 0), flags | FLAG_PARTS, slotOf(control, 0), control[1]!);
  return { control: bare, value: new Uint8Array(0) };
}

/** The value of a proposal, cut into parts, the key's first. */
export function stagedOf(
  key: Uint8Array,
  { id, stamp, envelope, tag }: Proposed,
  partBytes: number,
  to = TO,
): Message[] {
  return Array.from({ length: partCountOf(envelope!.length, partBytes) }, (_, index) => {
    const keyBytes = index === 0 ? key.length : 0;
    const control = new Int32Array((parts.STAGE_PART_BYTES + alignUp(keyBytes)) >> 2);
    writeHead(control, 0, parts.MESSAGE_STAGE_PART, 0, to.slot, to.generation);
    control[WORD_KEY_BYTES] = keyBytes;
    control[WORD_ENVELOPE_BYTES] = envelope!.length;
    writeU53(control, WORD_WRITE_COUNTER, stamp.counter);
    putWriter(control, WORD_WRITE_WRITER, stamp);
    control[WORD_WRITE_RMW] = stamp.rmw;
    control[WORD_PART] = index | ((partBytes / 8) << 16);
    if (tag !== undefined) control.set(tag, WORD_WRITE_TAG);
    putWriter(control, parts.WORD_STAGE_ID, id.writer);
    writeU53(control, parts.WORD_STAGE_ID + 2, id.sequence);
    if (index === 0) new Uint8Array(control.buffer).set(key, parts.WORD_STAGE_KEY * 4);
    const piece = index === 0 ? new Uint8Array(0) : envelope!.subarray((index - 1) * partBytes, index * partBytes);
    const value = new Uint8Array(alignUp(piece.length));
    value.set(piece);
    return { control, value };
  });
}

export function readAcceptedOf(key: Uint8Array, slot: number, id: Id, byteOffset: number, byteCount: number): Message {
  const control = new Int32Array((parts.READ_ACCEPTED_BYTES + alignUp(key.length)) >> 2);
  writeHead(control, 0, parts.MESSAGE_READ_ACCEPTED, 0, TO.slot, TO.generation);
  control[WORD_KEY_BYTES] = key.length;
  control[parts.WORD_READ_ACCEPTED_BYTES] = byteCount;
  writeU53(control, parts.WORD_READ_ACCEPTED_SLOT, slot);
  putWriter(control, parts.WORD_READ_ACCEPTED_ID, id.writer);
  writeU53(control, parts.WORD_READ_ACCEPTED_ID + 2, id.sequence);
  control[parts.WORD_READ_ACCEPTED_OFFSET] = byteOffset;
  new Uint8Array(control.buffer).set(key, parts.WORD_READ_ACCEPTED_KEY * 4);
  return { control, value: new Uint8Array(0) };
}

export interface StagePart {
  readonly flags: number;
  readonly id: Id;
  readonly stamp: Stamp;
  readonly part: number;
  readonly partCount: number;
  /** Of part 0; else empty. */
  readonly key: string;
  readonly piece: Uint8Array;
}

export function stagePart({ control, value }: Message): StagePart {
  assert.equal(messageBytes(control, 0, control.length, value.length), control.length * 4, 'it is one whole message');
  assert.equal(typeOf(control, 0), parts.MESSAGE_STAGE_PART);
  return {
    flags: flagsOf(control, 0),
    id: idAt(control, parts.WORD_STAGE_ID),
    stamp: {
      counter: readU53(control, WORD_WRITE_COUNTER),
      ...writerAt(control, WORD_WRITE_WRITER),
      rmw: control[WORD_WRITE_RMW]!,
    },
    part: partIndexOf(control, 0),
    partCount: partCountOf(control[WORD_ENVELOPE_BYTES]!, partBytesOf(control, 0)),
    key: keyAt(control, parts.WORD_STAGE_KEY),
    piece: value.slice(0, messageEnvelopeBytes(control, 0)),
  };
}

export interface ReadAccepted {
  readonly key: string;
  readonly consensusSlot: number;
  readonly id: Id;
  readonly byteOffset: number;
  readonly byteCount: number;
}

export function readAccepted({ control, value }: Message): ReadAccepted {
  assert.equal(messageBytes(control, 0, control.length, value.length), control.length * 4, 'it is one whole message');
  assert.equal(typeOf(control, 0), parts.MESSAGE_READ_ACCEPTED);
  return {
    key: keyAt(control, parts.WORD_READ_ACCEPTED_KEY),
    consensusSlot: readU53(control, parts.WORD_READ_ACCEPTED_SLOT),
    id: idAt(control, parts.WORD_READ_ACCEPTED_ID),
    byteOffset: control[parts.WORD_READ_ACCEPTED_OFFSET]!,
    byteCount: control[parts.WORD_READ_ACCEPTED_BYTES]!,
  };
}

function putWriter(control: Int32Array, word: number, { writerHigh, writerLow }: Writer): void {
  control[word] = writerLow;
  control[word + 1] = writerHigh;
}

function writerAt(control: Int32Array, word: number): Writer {
  return { writerLow: control[word]!, writerHigh: control[word + 1]! };
}

function idAt(control: Int32Array, word: number): Id {
  return { writer: writerAt(control, word), sequence: readU53(control, word + 2) };
}

function keyAt(control: Int32Array, word: number): string {
  const bytes = new Uint8Array(control.buffer, control.byteOffset + word * 4, control[WORD_KEY_BYTES]);
  return Buffer.from(bytes).toString();
}
