/** Messages of read-modify-writes, built and taken apart. */
import assert from 'node:assert/strict';
import { alignUp, readU53, writeU53 } from '../../net/bytes.ts';
import {
  FLAG_HOST_FULL,
  FLAG_PARTS,
  FLAG_TOMBSTONE,
  FLAG_VALUE,
  WORD_ENVELOPE_BYTES,
  WORD_KEY_BYTES,
  flagsOf,
  messageBytes,
  messageEnvelopeBytes,
  slotOf,
  typeOf,
  writeHead,
} from '../../src/protocol/messages.ts';
import * as rmw from '../../src/protocol/rmw-messages.ts';
import type { AnswerTo, Message, Stamp, Writer } from './fixtures.ts';
import { NO_STAMP } from './fixtures.ts';

export interface Ballot {
  readonly number: number;
  readonly writer: Writer;
}

/** Of a read-modify-write. */
export interface Id {
  readonly writer: Writer;
  readonly sequence: number;
}

export interface RingEntry {
  readonly slot: number;
  readonly id: Id;
}

export interface Sealed {
  /** Undefined: a tombstone. */
  readonly envelope: Uint8Array | undefined;
  readonly tag?: Int32Array;
}

const NO_TAG = new Int32Array(4);

function messageOf(
  type: number,
  flags: number,
  to: AnswerTo,
  byteCount: number,
  envelope: Uint8Array = new Uint8Array(0),
): Message & { readonly bytes: Uint8Array } {
  const control = new Int32Array(byteCount >> 2);
  writeHead(control, 0, type, flags, to.slot, to.generation);
  const value = new Uint8Array(alignUp(envelope.length));
  value.set(envelope);
  return { control, value, bytes: new Uint8Array(control.buffer) };
}

function putWriter(control: Int32Array, word: number, { writerHigh, writerLow }: Writer): void {
  control[word] = writerLow;
  control[word + 1] = writerHigh;
}

function putId(control: Int32Array, word: number, { writer, sequence }: Id): void {
  putWriter(control, word, writer);
  writeU53(control, word + 2, sequence);
}

function putBallot(control: Int32Array, word: number, { number, writer }: Ballot): void {
  writeU53(control, word, number);
  putWriter(control, word + 2, writer);
}

function putRing(control: Int32Array, word: number, ring: readonly RingEntry[]): void {
  ring.forEach(({ slot, id }, i) => {
    writeU53(control, word + i * rmw.RING_ENTRY_WORDS, slot);
    putId(control, word + i * rmw.RING_ENTRY_WORDS + 2, id);
  });
}

const TO: AnswerTo = { slot: 1, generation: 1 };

// -- requests -------------------------------------------------------------------------------------------------------

export function prepareOf(
  key: Uint8Array,
  slot: number,
  ballot: Ballot,
  flags = FLAG_VALUE,
  envelopeBytes = 0,
  to = TO,
): Message {
  const message = messageOf(rmw.MESSAGE_PREPARE, flags, to, rmw.PREPARE_BYTES + alignUp(key.length));
  message.control[WORD_KEY_BYTES] = key.length;
  message.control[rmw.WORD_PREPARE_ENVELOPE_BYTES] = envelopeBytes;
  writeU53(message.control, rmw.WORD_PREPARE_SLOT, slot);
  putBallot(message.control, rmw.WORD_PREPARE_BALLOT, ballot);
  message.bytes.set(key, rmw.WORD_PREPARE_KEY * 4);
  return message;
}

export interface Proposed extends Sealed {
  readonly id: Id;
  readonly stamp: Stamp;
}

export function acceptOf(key: Uint8Array, slot: number, ballot: Ballot, proposed: Proposed, to = TO): Message {
  const { envelope, tag = NO_TAG, stamp } = proposed;
  const flags = envelope === undefined ? FLAG_TOMBSTONE : 0;
  const message = messageOf(rmw.MESSAGE_ACCEPT, flags, to, rmw.ACCEPT_BYTES + alignUp(key.length), envelope);
  const { control } = message;
  control[WORD_KEY_BYTES] = key.length;
  control[WORD_ENVELOPE_BYTES] = envelope?.length ?? 0;
  writeU53(control, rmw.WORD_ACCEPT_SLOT, slot);
  putBallot(control, rmw.WORD_ACCEPT_BALLOT, ballot);
  putId(control, rmw.WORD_ACCEPT_ID, proposed.id);
  writeU53(control, rmw.WORD_ACCEPT_COUNTER, stamp.counter);
  putWriter(control, rmw.WORD_ACCEPT_WRITER, stamp);
  control[rmw.WORD_ACCEPT_RMW] = stamp.rmw;
  control.set(tag, rmw.WORD_ACCEPT_TAG);
  message.bytes.set(key, rmw.WORD_ACCEPT_KEY * 4);
  return message;
}

export interface Committed {
  readonly stamp: Stamp;
  readonly ring?: readonly RingEntry[];
  /** Undefined: it comes without. */
  readonly sealed?: Sealed;
  readonly tag?: Int32Array;
}

export function commitOf(key: Uint8Array, slot: number, committed: Committed, to = TO): Message {
  const { stamp, ring = [], sealed } = committed;
  const flags = sealed === undefined ? 0 : sealed.envelope === undefined ? FLAG_TOMBSTONE : FLAG_VALUE;
  const keyedBytes = rmw.COMMIT_BYTES + alignUp(key.length);
  const byteCount = keyedBytes + ring.length * rmw.RING_ENTRY_BYTES;
  const message = messageOf(rmw.MESSAGE_COMMIT, flags, to, byteCount, sealed?.envelope);
  const { control } = message;
  control[WORD_KEY_BYTES] = key.length;
  control[WORD_ENVELOPE_BYTES] = sealed?.envelope?.length ?? 0;
  writeU53(control, rmw.WORD_COMMIT_SLOT, slot);
  writeU53(control, rmw.WORD_COMMIT_COUNTER, stamp.counter);
  putWriter(control, rmw.WORD_COMMIT_WRITER, stamp);
  control[rmw.WORD_COMMIT_RMW] = stamp.rmw;
  control[rmw.WORD_COMMIT_RING_COUNT] = ring.length;
  control.set(committed.tag ?? sealed?.tag ?? NO_TAG, rmw.WORD_COMMIT_TAG);
  message.bytes.set(key, rmw.WORD_COMMIT_KEY * 4);
  putRing(control, keyedBytes >> 2, ring);
  return message;
}

// -- answers --------------------------------------------------------------------------------------------------------

export interface Register {
  readonly stamp: Stamp;
  /** Undefined: a tombstone, or never written. 'elsewhere': it does not come along; 'parts': it is too large to. */
  readonly envelope: Uint8Array | undefined | 'elsewhere' | 'parts';
  readonly tag?: Int32Array;
}

export const ABSENT: Register = { stamp: NO_STAMP, envelope: undefined };

function putRegister(control: Int32Array, slot: number, { stamp, envelope, tag = NO_TAG }: Register): void {
  control[rmw.WORD_REGISTER_ENVELOPE_BYTES] = envelope instanceof Uint8Array ? envelope.length : 0;
  control[rmw.WORD_REGISTER_RMW] = stamp.rmw;
  writeU53(control, rmw.WORD_REGISTER_COUNTER, stamp.counter);
  putWriter(control, rmw.WORD_REGISTER_WRITER, stamp);
  control.set(tag, rmw.WORD_REGISTER_TAG);
  writeU53(control, rmw.WORD_REGISTER_SLOT, slot);
}

function registerFlags({ envelope }: Register): number {
  if (envelope === undefined) return FLAG_TOMBSTONE;
  return envelope === 'parts' ? FLAG_PARTS : envelope === 'elsewhere' ? 0 : FLAG_VALUE;
}

export interface Promised {
  readonly slot: number;
  readonly register?: Register;
  readonly lastId?: Id;
  readonly accepted?: Proposed & { readonly ballot: Ballot };
  /** There is no room for what is to be proposed. */
  readonly isFull?: boolean;
}

export function promiseOf(to: AnswerTo, promised: Promised): Message {
  const { register = ABSENT, accepted, lastId, isFull = false } = promised;
  const flags =
    (isFull ? FLAG_HOST_FULL : 0) |
    (accepted === undefined ? registerFlags(register) : (registerFlags(register) & FLAG_TOMBSTONE) | rmw.FLAG_ACCEPTED);
  const envelope = register.envelope instanceof Uint8Array ? register.envelope : undefined;
  const byteCount = accepted === undefined ? rmw.PROMISE_BYTES : rmw.PROMISE_ACCEPTED_BYTES;
  const message = messageOf(
    rmw.MESSAGE_PROMISE,
    flags,
    to,
    byteCount,
    accepted === undefined ? envelope : accepted.envelope,
  );
  const { control } = message;
  putRegister(control, promised.slot, register);
  if (lastId !== undefined) putId(control, rmw.WORD_PROMISE_LAST_ID, lastId);
  if (accepted === undefined) return message;
  putBallot(control, rmw.WORD_ACCEPTED_BALLOT, accepted.ballot);
  putId(control, rmw.WORD_ACCEPTED_ID, accepted.id);
  writeU53(control, rmw.WORD_ACCEPTED_COUNTER, accepted.stamp.counter);
  putWriter(control, rmw.WORD_ACCEPTED_WRITER, accepted.stamp);
  control[rmw.WORD_ACCEPTED_RMW] = accepted.stamp.rmw;
  control[rmw.WORD_ACCEPTED_ENVELOPE_BYTES] = accepted.envelope?.length ?? 0;
  control.set(accepted.tag ?? NO_TAG, rmw.WORD_ACCEPTED_TAG);
  control[rmw.WORD_ACCEPTED_TOMBSTONE] = accepted.envelope === undefined ? 1 : 0;
  return message;
}

export function committedOf(to: AnswerTo, slot: number, ring: readonly RingEntry[], register = ABSENT): Message {
  const envelope = register.envelope instanceof Uint8Array ? register.envelope : undefined;
  const byteCount = rmw.COMMITTED_BYTES + ring.length * rmw.RING_ENTRY_BYTES;
  const message = messageOf(rmw.MESSAGE_COMMITTED, registerFlags(register), to, byteCount, envelope);
  putRegister(message.control, slot, register);
  message.control[rmw.WORD_COMMITTED_RING_COUNT] = ring.length;
  putRing(message.control, rmw.WORD_COMMITTED_RING, ring);
  return message;
}

export function behindOf(to: AnswerTo, slot: number): Message {
  const message = messageOf(rmw.MESSAGE_BEHIND, 0, to, rmw.BEHIND_BYTES);
  writeU53(message.control, rmw.WORD_BEHIND_SLOT, slot);
  return message;
}

export function nackOf(to: AnswerTo, ballot: Ballot | undefined, flags = 0): Message {
  const message = messageOf(rmw.MESSAGE_NACK, flags, to, rmw.NACK_BYTES);
  if (ballot !== undefined) putBallot(message.control, rmw.WORD_NACK_BALLOT, ballot);
  return message;
}

export function acceptedOf(to: AnswerTo): Message {
  return messageOf(rmw.MESSAGE_ACCEPTED, 0, to, rmw.ACCEPTED_BYTES);
}

export function commitReplyOf(to: AnswerTo, flags = 0): Message {
  return messageOf(rmw.MESSAGE_COMMIT_REPLY, flags, to, rmw.COMMIT_REPLY_BYTES);
}

// -- taken apart ----------------------------------------------------------------------------------------------------

function writerAt(control: Int32Array, word: number): Writer {
  return { writerLow: control[word]!, writerHigh: control[word + 1]! };
}

function idAt(control: Int32Array, word: number): Id {
  return { writer: writerAt(control, word), sequence: readU53(control, word + 2) };
}

function ballotAt(control: Int32Array, word: number): Ballot {
  return { number: readU53(control, word), writer: writerAt(control, word + 2) };
}

function stampAt(control: Int32Array, word: number, rmwWord: number): Stamp {
  return { counter: readU53(control, word), ...writerAt(control, word + 2), rmw: control[rmwWord]! };
}

function ringAt(control: Int32Array, word: number, count: number): RingEntry[] {
  return Array.from({ length: count }, (_, i) => {
    const at = word + i * rmw.RING_ENTRY_WORDS;
    return { slot: readU53(control, at), id: idAt(control, at + 2) };
  });
}

/** Fields that the type does not have are undefined. */
export interface RmwMessage {
  readonly type: number;
  readonly flags: number;
  readonly slot: number;
  readonly generation: number;
  readonly key: string | undefined;
  readonly consensusSlot: number;
  readonly ballot: Ballot | undefined;
  readonly id: Id | undefined;
  readonly stamp: Stamp | undefined;
  readonly tag: Int32Array | undefined;
  readonly envelope: Uint8Array;
  readonly ring: readonly RingEntry[];
  readonly accepted: (Proposed & { readonly ballot: Ballot }) | undefined;
}

export function parseRmw({ control, value }: Message): RmwMessage {
  assert.equal(messageBytes(control, 0, control.length, value.length), control.length * 4, 'it is one whole message');
  const type = typeOf(control, 0);
  const flags = flagsOf(control, 0);
  const envelope = value.slice(0, messageEnvelopeBytes(control, 0));
  const key = (word: number): string =>
    Buffer.from(new Uint8Array(control.buffer, control.byteOffset + word * 4, control[WORD_KEY_BYTES])).toString();
  const head = {
    type,
    flags,
    slot: slotOf(control, 0),
    generation: control[1]!,
    key: undefined,
    consensusSlot: 0,
    ballot: undefined,
    id: undefined,
    stamp: undefined,
    tag: undefined,
    envelope,
    ring: [],
    accepted: undefined,
  };
  switch (type) {
    case rmw.MESSAGE_PREPARE:
      return {
        ...head,
        key: key(rmw.WORD_PREPARE_KEY),
        consensusSlot: readU53(control, rmw.WORD_PREPARE_SLOT),
        ballot: ballotAt(control, rmw.WORD_PREPARE_BALLOT),
      };
    case rmw.MESSAGE_PROMISE:
    case rmw.MESSAGE_COMMITTED: {
      const isPromise = type === rmw.MESSAGE_PROMISE;
      const isAccepted = isPromise && (flags & rmw.FLAG_ACCEPTED) !== 0;
      const lastId = idAt(control, rmw.WORD_PROMISE_LAST_ID);
      return {
        ...head,
        consensusSlot: readU53(control, rmw.WORD_REGISTER_SLOT),
        stamp: stampAt(control, rmw.WORD_REGISTER_COUNTER, rmw.WORD_REGISTER_RMW),
        tag: control.slice(rmw.WORD_REGISTER_TAG, rmw.WORD_REGISTER_TAG + 4),
        id: isPromise && lastId.sequence !== 0 ? lastId : undefined,
        ring: isPromise ? [] : ringAt(control, rmw.WORD_COMMITTED_RING, control[rmw.WORD_COMMITTED_RING_COUNT]!),
        accepted: isAccepted
          ? {
              ballot: ballotAt(control, rmw.WORD_ACCEPTED_BALLOT),
              id: idAt(control, rmw.WORD_ACCEPTED_ID),
              stamp: stampAt(control, rmw.WORD_ACCEPTED_COUNTER, rmw.WORD_ACCEPTED_RMW),
              tag: control.slice(rmw.WORD_ACCEPTED_TAG, rmw.WORD_ACCEPTED_TAG + 4),
              envelope: control[rmw.WORD_ACCEPTED_TOMBSTONE] === 1 ? undefined : envelope,
            }
          : undefined,
      };
    }
    case rmw.MESSAGE_BEHIND:
      return { ...head, consensusSlot: readU53(control, rmw.WORD_BEHIND_SLOT) };
    case rmw.MESSAGE_NACK:
      return {
        ...head,
        consensusSlot: readU53(control, rmw.WORD_NACK_SLOT),
        ballot: ballotAt(control, rmw.WORD_NACK_BALLOT),
      };
    case rmw.MESSAGE_ACCEPT:
      return {
        ...head,
        key: key(rmw.WORD_ACCEPT_KEY),
        consensusSlot: readU53(control, rmw.WORD_ACCEPT_SLOT),
        ballot: ballotAt(control, rmw.WORD_ACCEPT_BALLOT),
        id: idAt(control, rmw.WORD_ACCEPT_ID),
        stamp: stampAt(control, rmw.WORD_ACCEPT_COUNTER, rmw.WORD_ACCEPT_RMW),
        tag: control.slice(rmw.WORD_ACCEPT_TAG, rmw.WORD_ACCEPT_TAG + 4),
      };
    case rmw.MESSAGE_COMMIT:
      return {
        ...head,
        key: key(rmw.WORD_COMMIT_KEY),
        consensusSlot: readU53(control, rmw.WORD_COMMIT_SLOT),
        stamp: stampAt(control, rmw.WORD_COMMIT_COUNTER, rmw.WORD_COMMIT_RMW),
        tag: control.slice(rmw.WORD_COMMIT_TAG, rmw.WORD_COMMIT_TAG + 4),
        ring: ringAt(control, rmw.commitRingWord(control, 0), control[rmw.WORD_COMMIT_RING_COUNT]!),
      };
    default:
      return head;
  }
}
