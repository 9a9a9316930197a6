/** What the tests of the protocol's modules share: sessions without a network, and messages taken apart and built. */
import assert from 'node:assert/strict';
import type { Region } from '../../net/bytes.ts';
import { alignUp, allocateRegion, copyWords, readU53, writeU53 } from '../../net/bytes.ts';
import type { Incoming } from '../../net/inbox.ts';
import type { Outgoing } from '../../net/outbox.ts';
import { NO_KEY } from '../../net/sealing.ts';
import { Session } from '../../net/session.ts';
import {
  FLAG_PARTS,
  FLAG_TOMBSTONE,
  FLAG_VALUE,
  MESSAGE_READ,
  MESSAGE_READ_PART,
  MESSAGE_READ_REPLY,
  MESSAGE_REPAIR,
  MESSAGE_STAMP,
  MESSAGE_STAMP_REPLY,
  MESSAGE_WRITE,
  MESSAGE_WRITE_REPLY,
  READ_PART_BYTES,
  READ_REPLY_BYTES,
  READ_REPLY_VALUE_BYTES,
  STAMP_REPLY_BYTES,
  WORD_ASK_KEY,
  WORD_ENVELOPE_BYTES,
  WORD_READ_GRANT,
  WORD_KEY_BYTES,
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
  WORD_STAMP_COUNTER,
  WORD_WRITE_COUNTER,
  WORD_WRITE_KEY,
  WORD_WRITE_RMW,
  WORD_WRITE_TAG,
  WORD_WRITE_WRITER,
  WRITE_REPLY_BYTES,
  flagsOf,
  messageBytes,
  messageEnvelopeBytes,
  slotOf,
  typeOf,
  writeHead,
} from '../../src/protocol/messages.ts';
import type { Messenger } from '../../src/protocol/messenger.ts';
import type { Peer } from '../../src/protocol/peer.ts';
import { parseGrants } from '../../src/trust/grant-text.ts';
import { Permissions } from '../../src/trust/permissions.ts';

export function memberPeer(memberIndex: number, incarnation?: string): Peer {
  return {
    identity: { role: 'replica', memberIndex, permissions: Permissions.NONE },
    writerHigh: 0,
    writerLow: 0,
    incarnation,
    staticKey: '',
    voucherGroup: 0,
    key: `member ${memberIndex}`,
  };
}

export interface Writer {
  readonly writerHigh: number;
  readonly writerLow: number;
}

/** @param grants As at the command line (src/trust/grant-text.ts). */
export function clientPeer(writer: Writer, grants = 'rwa:'): Peer {
  return {
    identity: { role: 'client', memberIndex: -1, permissions: new Permissions(parseGrants(grants)) },
    ...writer,
    incarnation: undefined,
    staticKey: '',
    voucherGroup: 0,
    key: `client ${writer.writerHigh} ${writer.writerLow}`,
  };
}

let sessionCount = 0;

/** A live session with the peer; `initiator` as seen from this side. */
export function sessionWith(peer: Peer, initiator = false): Session<Peer> {
  const index = ++sessionCount;
  const session = new Session<Peer>(index, initiator ? 'initiating' : 'half-open', '10.0.0.9', index, 65_504, 0);
  session.establish(peer, index, { sendKey: NO_KEY, receiveKey: NO_KEY }, 1e9, 65_504);
  session.state = 'live';
  return session;
}

/** A message with its value, as it would lie in a datagram. */
export interface Message {
  readonly control: Int32Array;
  /** Padded to 8 bytes. */
  readonly value: Uint8Array;
}

export interface SentMessage extends Message {
  readonly session: Session<Peer>;
  /** Leaves a share of the credit to others. */
  readonly isBulk: boolean;
}

/** Takes down what is sent. Nothing is batched, nothing arrives. */
export class MessageRecorder implements Messenger {
  out: Outgoing = { control: allocateRegion(0), word: 0, packet: allocateRegion(0), valueWord: 0 };
  sent: SentMessage[] = [];
  /** While true, nothing can be sent. */
  full = false;
  /** Datagrams that can be made beside answers to other things. */
  slotCount = 128;
  /** Largest control and value bytes together. */
  bytesMax = 60_000;
  /** How many more messages a session takes; any number when it is not listed. */
  readonly room = new Map<Session<Peer>, number>();

  fits(_session: Session<Peer>, controlBytes: number, valueBytes: number): boolean {
    return controlBytes + alignUp(valueBytes) <= this.bytesMax;
  }

  valueBytesMax(_session: Session<Peer>, controlBytes: number): number {
    return (this.bytesMax - controlBytes) & ~7;
  }

  hasRoom(session: Session<Peer>): boolean {
    return !this.full && this.room.get(session) !== 0;
  }

  hasSlots(_session: Session<Peer>, datagramCount: number): boolean {
    return datagramCount <= this.slotCount;
  }

  append(session: Session<Peer>, controlBytes: number, valueBytes: number, isBulk = false): boolean {
    assert.equal(controlBytes % 8, 0, 'messages are multiples of 8 bytes');
    if (this.full || !this.fits(session, controlBytes, valueBytes)) return false;
    const room = this.room.get(session) ?? Infinity;
    if (room === 0) return false;
    this.room.set(session, room - 1);
    // Not clean, not at the beginning, and with something behind: the writer must write every byte and no other.
    const control = allocateRegion(24 + controlBytes);
    const packet = allocateRegion(24 + alignUp(valueBytes));
    control.words.fill(-0x5a5a5a5a);
    packet.words.fill(-0x5a5a5a5a);
    this.out = { control, word: 4, packet, valueWord: 4 };
    this.sent.push({
      session,
      isBulk,
      control: control.words.subarray(4, 4 + (controlBytes >> 2)),
      value: packet.bytes.subarray(16, 16 + alignUp(valueBytes)),
    });
    this.checks.push({ control, packet });
    return true;
  }

  readonly checks: { control: Region; packet: Region }[] = [];

  /** All that was sent since the last call. */
  take(): SentMessage[] {
    for (const { control, packet } of this.checks) {
      for (const { words } of [control, packet]) {
        assert.ok([...words.subarray(0, 4), ...words.subarray(-2)].every((word) => word === -0x5a5a5a5a));
      }
    }
    this.checks.length = 0;
    const { sent } = this;
    this.sent = [];
    return sent;
  }
}

/** An opened datagram that carries these messages, in a region that other things lie around. */
export function incomingOf(session: Session<Peer>, messages: readonly Message[], epoch = 1): Incoming<Peer> {
  const valueBytes = messages.reduce((sum, { value }) => sum + alignUp(value.length), 0);
  const controlWords = messages.reduce((sum, { control }) => sum + control.length, 0);
  const region = allocateRegion(24 + valueBytes + 8 + controlWords * 4 + 16);
  region.words.fill(0x3c3c3c3c);
  let valueByte = 24;
  let word = (24 + valueBytes + 8) >> 2;
  for (const { value, control } of messages) {
    region.bytes.set(value, valueByte);
    valueByte += alignUp(value.length);
    region.words.set(control, word);
    word += control.length;
  }
  const valueWordEnd = (24 + valueBytes) >> 2;
  return { session, region, word: valueWordEnd + 2, wordEnd: word, valueWord: 6, valueWordEnd, epoch, isSpent: false };
}

export interface Stamp extends Writer {
  readonly counter: number;
  readonly rmw: number;
}

export const NO_STAMP: Stamp = { counter: 0, writerHigh: 0, writerLow: 0, rmw: 0 };

export function stampOf(counter: number, writerLow = 1, writerHigh = 0, rmw = 0): Stamp {
  return { counter, writerHigh, writerLow, rmw };
}

/** A READ, STAMP, WRITE or REPAIR taken apart. */
export interface Request {
  readonly type: number;
  readonly flags: number;
  readonly slot: number;
  readonly generation: number;
  readonly key: Uint8Array;
  readonly envelopeBytes: number;
  /** Of READ: parts that may follow the answer (messages.ts). */
  readonly grant: number;
  /** Of WRITE and REPAIR. */
  readonly stamp: Stamp;
  readonly tag: Int32Array;
  readonly value: Uint8Array;
}

export function readRequest({ control, value }: Message): Request {
  assert.equal(messageBytes(control, 0, control.length, value.length), control.length * 4, 'it is one whole message');
  assert.equal(alignUp(messageEnvelopeBytes(control, 0)), value.length);
  const type = typeOf(control, 0);
  assert.ok([MESSAGE_READ, MESSAGE_STAMP, MESSAGE_WRITE, MESSAGE_REPAIR].includes(type));
  const isWrite = type === MESSAGE_WRITE || type === MESSAGE_REPAIR;
  const keyByte = control.byteOffset + (isWrite ? WORD_WRITE_KEY : WORD_ASK_KEY) * 4;
  const envelopeBytes = control[WORD_ENVELOPE_BYTES]!;
  return {
    type,
    flags: flagsOf(control, 0),
    slot: slotOf(control, 0),
    generation: control[1]!,
    key: new Uint8Array(control.buffer.slice(keyByte, keyByte + control[WORD_KEY_BYTES]!)),
    envelopeBytes,
    grant: type === MESSAGE_READ ? control[WORD_READ_GRANT]! : 0,
    stamp: isWrite
      ? {
          counter: readU53(control, WORD_WRITE_COUNTER),
          writerLow: control[WORD_WRITE_WRITER]!,
          writerHigh: control[WORD_WRITE_WRITER + 1]!,
          rmw: control[WORD_WRITE_RMW]!,
        }
      : NO_STAMP,
    tag: isWrite ? control.slice(WORD_WRITE_TAG, WORD_WRITE_TAG + 4) : new Int32Array(4),
    value: value.slice(0, isWrite ? envelopeBytes : 0),
  };
}

export interface AnswerTo {
  readonly slot: number;
  readonly generation: number;
}

export interface ReadReply {
  readonly stamp: Stamp;
  readonly tombstone?: boolean;
  readonly flags?: number;
  /** With its tag, when the value comes along. */
  readonly envelope?: Uint8Array;
  readonly tag?: Int32Array;
}

export function readReply(to: AnswerTo, reply: ReadReply): Message {
  const { envelope, stamp } = reply;
  const control = new Int32Array((envelope === undefined ? READ_REPLY_BYTES : READ_REPLY_VALUE_BYTES) >> 2);
  const flags =
    (reply.flags ?? 0) | (envelope === undefined ? 0 : FLAG_VALUE) | (reply.tombstone === true ? FLAG_TOMBSTONE : 0);
  writeHead(control, 0, MESSAGE_READ_REPLY, flags, to.slot, to.generation);
  control[WORD_REPLY_ENVELOPE_BYTES] = envelope?.length ?? 0;
  control[WORD_REPLY_RMW] = stamp.rmw;
  writeU53(control, WORD_REPLY_COUNTER, stamp.counter);
  control[WORD_REPLY_WRITER] = stamp.writerLow;
  control[WORD_REPLY_WRITER + 1] = stamp.writerHigh;
  if (envelope === undefined) return { control, value: new Uint8Array(0) };
  copyWords(control, WORD_REPLY_TAG, reply.tag!, 0, 4);
  const value = new Uint8Array(alignUp(envelope.length));
  value.set(envelope);
  return { control, value };
}

export function stampReply(to: AnswerTo, counter: number, flags = 0): Message {
  const control = new Int32Array(STAMP_REPLY_BYTES >> 2);
  writeHead(control, 0, MESSAGE_STAMP_REPLY, flags, to.slot, to.generation);
  writeU53(control, WORD_STAMP_COUNTER, counter);
  return { control, value: new Uint8Array(0) };
}

export function writeReply(to: AnswerTo, flags = 0): Message {
  const control = new Int32Array(WRITE_REPLY_BYTES >> 2);
  writeHead(control, 0, MESSAGE_WRITE_REPLY, flags, to.slot, to.generation);
  return { control, value: new Uint8Array(0) };
}

/** A READ_REPLY taken apart. */
export function parseReadReply({ control, value }: Message): {
  slot: number;
  generation: number;
  flags: number;
  stamp: Stamp;
  tag: Int32Array | undefined;
  envelopeBytes: number;
  envelope: Uint8Array | undefined;
} {
  assert.equal(typeOf(control, 0), MESSAGE_READ_REPLY);
  assert.equal(messageBytes(control, 0, control.length, value.length), control.length * 4);
  const flags = flagsOf(control, 0);
  const hasValue = (flags & FLAG_VALUE) !== 0;
  return {
    slot: slotOf(control, 0),
    generation: control[1]!,
    flags,
    stamp: {
      counter: readU53(control, WORD_REPLY_COUNTER),
      writerLow: control[WORD_REPLY_WRITER]!,
      writerHigh: control[WORD_REPLY_WRITER + 1]!,
      rmw: control[WORD_REPLY_RMW]!,
    },
    envelopeBytes: control[WORD_REPLY_ENVELOPE_BYTES]!,
    tag: hasValue || (flags & FLAG_PARTS) !== 0 ? control.slice(WORD_REPLY_TAG, WORD_REPLY_TAG + 4) : undefined,
    envelope: hasValue ? value.slice(0, control[WORD_REPLY_ENVELOPE_BYTES]!) : undefined,
  };
}

export interface WriteParts {
  readonly type?: number;
  readonly flags?: number;
  readonly key: Uint8Array;
  readonly stamp: Stamp;
  readonly tag?: Int32Array;
  readonly envelope?: Uint8Array;
  readonly slot?: number;
  readonly generation?: number;
}

/** A WRITE, or with its type a REPAIR. */
export function writeOf(parts: WriteParts): Message {
  const { key, stamp, envelope = new Uint8Array(0) } = parts;
  const control = new Int32Array((56 + alignUp(key.length)) >> 2);
  writeHead(control, 0, parts.type ?? MESSAGE_WRITE, parts.flags ?? 0, parts.slot ?? 1, parts.generation ?? 1);
  control[WORD_KEY_BYTES] = key.length;
  control[WORD_ENVELOPE_BYTES] = envelope.length;
  writeU53(control, WORD_WRITE_COUNTER, stamp.counter);
  control[WORD_WRITE_WRITER] = stamp.writerLow;
  control[WORD_WRITE_WRITER + 1] = stamp.writerHigh;
  control[WORD_WRITE_RMW] = stamp.rmw;
  if (parts.tag !== undefined) control.set(parts.tag, WORD_WRITE_TAG);
  new Uint8Array(control.buffer).set(key, WORD_WRITE_KEY * 4);
  const value = new Uint8Array(alignUp(envelope.length));
  value.set(envelope);
  return { control, value };
}

/** A READ or a STAMP. */
export function askOf(type: number, flags: number, key: Uint8Array, envelopeBytes = 0, slot = 1): Message {
  const control = new Int32Array((16 + alignUp(key.length)) >> 2);
  writeHead(control, 0, type, flags, slot, 1);
  control[WORD_KEY_BYTES] = key.length;
  control[WORD_ENVELOPE_BYTES] = envelopeBytes;
  new Uint8Array(control.buffer).set(key, WORD_ASK_KEY * 4);
  return { control, value: new Uint8Array(0) };
}

export interface ReadPart {
  readonly key: Uint8Array;
  readonly stamp: Stamp;
  readonly byteOffset: number;
  readonly byteCount: number;
}

export function readPartOf({ key, stamp, byteOffset, byteCount }: ReadPart): Message {
  const control = new Int32Array((READ_PART_BYTES + alignUp(key.length)) >> 2);
  writeHead(control, 0, MESSAGE_READ_PART, 0, 1, 1);
  control[WORD_KEY_BYTES] = key.length;
  control[WORD_READ_PART_BYTES] = byteCount;
  writeU53(control, WORD_READ_PART_COUNTER, stamp.counter);
  control[WORD_READ_PART_WRITER] = stamp.writerLow;
  control[WORD_READ_PART_WRITER + 1] = stamp.writerHigh;
  control[WORD_READ_PART_RMW] = stamp.rmw;
  control[WORD_READ_PART_OFFSET] = byteOffset;
  new Uint8Array(control.buffer).set(key, WORD_READ_PART_KEY * 4);
  return { control, value: new Uint8Array(0) };
}

export function bytesOf(text: string): Uint8Array {
  return Uint8Array.from(Buffer.from(text));
}
