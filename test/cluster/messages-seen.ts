import { alignUp, readU53 } from '../../net/bytes.ts';
import { CALL_OUTCOMES } from '../../src/coordinated/call-outcome.ts';
import type { CallOutcome } from '../../src/coordinated/call-outcome.ts';
import {
  MESSAGE_CALL,
  MESSAGE_CALL_OPEN,
  MESSAGE_CALL_OPENED,
  MESSAGE_CALL_REPLY,
  REPLY_PARTS,
  WORD_CALL_ATTEMPT,
  WORD_CALL_KEY,
  WORD_CALL_REPLY_HAS,
} from '../../src/protocol/call-messages.ts';
import { MESSAGE_COUNTERS, WORD_COUNTERS_CEILING } from '../../src/protocol/counters-message.ts';
import {
  MESSAGE_CALL_PART,
  MESSAGE_CALL_PULL,
  MESSAGE_CALL_REPLY_PART,
  callPartIndexOf,
} from '../../src/protocol/call-part-messages.ts';
import {
  FLAG_CONFLICT,
  FLAG_FOLLOWED,
  FLAG_HOST_FULL,
  FLAG_NOT_PERMITTED,
  FLAG_PARTS,
  FLAG_TOMBSTONE,
  FLAG_TRUSTED_FULL,
  FLAG_VALUE,
  FLAG_WRITE_BACK,
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
  WORD_ASK_KEY,
  WORD_KEY_BYTES,
  WORD_READ_PART_COUNTER,
  WORD_READ_PART_KEY,
  WORD_READ_PART_WRITER,
  WORD_REPLY_COUNTER,
  WORD_REPLY_WRITER,
  WORD_STAMP_COUNTER,
  WORD_STATE,
  WORD_WRITE_COUNTER,
  WORD_WRITE_KEY,
  WORD_WRITE_WRITER,
  flagsOf,
  messageBytes,
  messageEnvelopeBytes,
  partIndexOf,
  slotOf,
  typeOf,
} from '../../src/protocol/messages.ts';
import {
  MESSAGE_RESOLVE,
  MESSAGE_RESOLVE_REPLY,
  WORD_RESOLVED_COUNTER,
  WORD_RESOLVED_WRITER,
  WORD_RESOLVE_KEY,
} from '../../src/protocol/resolve-messages.ts';
import {
  MESSAGE_READ_ACCEPTED,
  MESSAGE_STAGE_PART,
  WORD_READ_ACCEPTED_KEY,
} from '../../src/protocol/rmw-part-messages.ts';
import {
  FLAG_ACCEPTED,
  MESSAGE_ACCEPT,
  MESSAGE_ACCEPTED,
  MESSAGE_BEHIND,
  MESSAGE_COMMIT,
  MESSAGE_COMMITTED,
  MESSAGE_COMMIT_REPLY,
  MESSAGE_NACK,
  MESSAGE_PREPARE,
  MESSAGE_PROMISE,
  WORD_ACCEPTED_BALLOT,
  WORD_ACCEPTED_ID,
  WORD_ACCEPT_BALLOT,
  WORD_ACCEPT_COUNTER,
  WORD_ACCEPT_ID,
  WORD_ACCEPT_KEY,
  WORD_ACCEPT_SLOT,
  WORD_ACCEPT_WRITER,
  WORD_BEHIND_SLOT,
  WORD_COMMITTED_RING,
  WORD_COMMITTED_RING_COUNT,
  RING_ENTRY_WORDS,
  WORD_COMMIT_COUNTER,
  WORD_COMMIT_KEY,
  WORD_COMMIT_SLOT,
  WORD_COMMIT_WRITER,
  WORD_NACK_BALLOT,
  WORD_NACK_SLOT,
  WORD_PREPARE_BALLOT,
  WORD_PREPARE_KEY,
  WORD_PREPARE_SLOT,
  WORD_REGISTER_COUNTER,
  WORD_REGISTER_SLOT,
  WORD_REGISTER_WRITER,
} from '../../src/protocol/rmw-messages.ts';
import { MESSAGE_SCAN, MESSAGE_SCAN_REPLY } from '../../src/protocol/scan-messages.ts';
import { STATE_KINDS } from '../../src/protocol/state-message.ts';

/**
 * What the simulated world sees of messages: on the network they are encrypted, but it owns the processes, and looks at
 * control parts before they are sealed and after they were opened (observed-sealing.ts).
 */
export interface Message {
  readonly type: number;
  readonly flags: number;
  readonly slot: number;
  readonly generation: number;
  /** Of requests. */
  readonly key: string | undefined;
  readonly counter: number | undefined;
  readonly writer: string | undefined;
  readonly envelopeBytes: number;
  /** WRITE_PART, CALL_PART: its index; else 0. */
  readonly part: number;
  /** STATE: what the sender says of itself. */
  readonly state: string | undefined;
  /** CALL: how often it was sent before; else 0. */
  readonly attempt: number;
  readonly callOutcome: CallOutcome | undefined;
  /** CALL_REPLY: the value is asked for by parts. */
  readonly isParted: boolean;
  /** Of read-modify-writes: slot of the key, and ballot and id as text where the message has them. */
  readonly decision: Decision | undefined;
  /** Its first word in the control part that it was read from. */
  readonly word: number;
}

export interface Decision {
  readonly slot: number;
  readonly ballot: string | undefined;
  readonly id: string | undefined;
  /** COMMITTED: ids of the last slots. */
  readonly ring: readonly string[];
}

export const MESSAGE_NAMES = {
  [MESSAGE_READ]: 'READ',
  [MESSAGE_READ_REPLY]: 'READ_REPLY',
  [MESSAGE_STAMP]: 'STAMP',
  [MESSAGE_STAMP_REPLY]: 'STAMP_REPLY',
  [MESSAGE_WRITE]: 'WRITE',
  [MESSAGE_WRITE_REPLY]: 'WRITE_REPLY',
  [MESSAGE_REPAIR]: 'REPAIR',
  [MESSAGE_STATE_REQUEST]: 'STATE_REQUEST',
  [MESSAGE_STATE]: 'STATE',
  [MESSAGE_STATUS_REQUEST]: 'STATUS_REQUEST',
  [MESSAGE_STATUS]: 'STATUS',
  [MESSAGE_WRITE_PART]: 'WRITE_PART',
  [MESSAGE_WRITE_PROGRESS]: 'WRITE_PROGRESS',
  [MESSAGE_READ_PART]: 'READ_PART',
  [MESSAGE_READ_PART_REPLY]: 'READ_PART_REPLY',
  [MESSAGE_SCAN]: 'SCAN',
  [MESSAGE_SCAN_REPLY]: 'SCAN_REPLY',
  [MESSAGE_CALL]: 'CALL',
  [MESSAGE_CALL_REPLY]: 'CALL_REPLY',
  [MESSAGE_CALL_OPEN]: 'CALL_OPEN',
  [MESSAGE_CALL_OPENED]: 'CALL_OPENED',
  [MESSAGE_RESOLVE]: 'RESOLVE',
  [MESSAGE_RESOLVE_REPLY]: 'RESOLVE_REPLY',
  [MESSAGE_COUNTERS]: 'COUNTERS',
  [MESSAGE_CALL_PART]: 'CALL_PART',
  [MESSAGE_CALL_PULL]: 'CALL_PULL',
  [MESSAGE_CALL_REPLY_PART]: 'CALL_REPLY_PART',
  [MESSAGE_PREPARE]: 'PREPARE',
  [MESSAGE_PROMISE]: 'PROMISE',
  [MESSAGE_COMMITTED]: 'COMMITTED',
  [MESSAGE_BEHIND]: 'BEHIND',
  [MESSAGE_NACK]: 'NACK',
  [MESSAGE_STAGE_PART]: 'STAGE_PART',
  [MESSAGE_READ_ACCEPTED]: 'READ_ACCEPTED',
  [MESSAGE_ACCEPT]: 'ACCEPT',
  [MESSAGE_ACCEPTED]: 'ACCEPTED',
  [MESSAGE_COMMIT]: 'COMMIT',
  [MESSAGE_COMMIT_REPLY]: 'COMMIT_REPLY',
} as const;
export type MessageName = (typeof MESSAGE_NAMES)[keyof typeof MESSAGE_NAMES];

/** Undefined for a type that nobody knows: only hostile senders have such. */
export function nameOfType(type: number): MessageName | undefined {
  return (MESSAGE_NAMES as Readonly<Record<number, MessageName | undefined>>)[type];
}

/** The messages in words [word, wordEnd), up to the first malformed one. */
export function messagesIn(words: Int32Array, word: number, wordEnd: number, valueBytes: number): Message[] {
  const messages: Message[] = [];
  let valueBytesLeft = valueBytes;
  for (let at = word; at < wordEnd; ) {
    const byteCount = messageBytes(words, at, wordEnd, valueBytesLeft);
    if (byteCount < 0) break;
    messages.push(messageAt(words, at));
    valueBytesLeft -= alignUp(messageEnvelopeBytes(words, at));
    at += byteCount >> 2;
  }
  return messages;
}

function messageAt(words: Int32Array, word: number): Message {
  const type = typeOf(words, word);
  const [keyWord, counterWord, writerWord] = fieldsOf(type);
  return {
    type,
    flags: flagsOf(words, word),
    slot: slotOf(words, word),
    generation: words[word + 1]!,
    key: keyWord === 0 ? undefined : keyAt(words, word + keyWord, words[word + WORD_KEY_BYTES]!),
    counter: counterWord === 0 ? undefined : readU53(words, word + counterWord),
    writer: writerWord === 0 ? undefined : (words[word + writerWord]! >>> 0).toString(16).padStart(8, '0'),
    envelopeBytes: messageEnvelopeBytes(words, word),
    part: partAt(words, word),
    state: type === MESSAGE_STATE ? STATE_KINDS[words[word + WORD_STATE]! & 0xff] : undefined,
    attempt: type === MESSAGE_CALL ? words[word + WORD_CALL_ATTEMPT]! : 0,
    callOutcome: type === MESSAGE_CALL_REPLY ? CALL_OUTCOMES[flagsOf(words, word)] : undefined,
    isParted: type === MESSAGE_CALL_REPLY && (words[word + WORD_CALL_REPLY_HAS]! & REPLY_PARTS) !== 0,
    decision: isOfReadModifyWrite(type) ? decisionAt(words, word) : undefined,
    word,
  };
}

function partAt(words: Int32Array, word: number): number {
  switch (typeOf(words, word)) {
    case MESSAGE_WRITE_PART:
    case MESSAGE_STAGE_PART:
      return partIndexOf(words, word);
    case MESSAGE_CALL_PART:
      return callPartIndexOf(words, word);
    default:
      return 0;
  }
}

/** Words of key, counter and writer; 0 where a type has none. */
function fieldsOf(type: number): readonly [number, number, number] {
  switch (type) {
    case MESSAGE_READ:
    case MESSAGE_STAMP:
      return [WORD_ASK_KEY, 0, 0];
    case MESSAGE_WRITE:
    case MESSAGE_REPAIR:
      return [WORD_WRITE_KEY, WORD_WRITE_COUNTER, WORD_WRITE_WRITER];
    case MESSAGE_WRITE_PART:
      return [0, WORD_WRITE_COUNTER, WORD_WRITE_WRITER];
    case MESSAGE_STAGE_PART:
      return [0, WORD_WRITE_COUNTER, WORD_WRITE_WRITER];
    case MESSAGE_READ_ACCEPTED:
      return [WORD_READ_ACCEPTED_KEY, 0, 0];
    case MESSAGE_READ_PART:
      return [WORD_READ_PART_KEY, WORD_READ_PART_COUNTER, WORD_READ_PART_WRITER];
    case MESSAGE_READ_REPLY:
      return [0, WORD_REPLY_COUNTER, WORD_REPLY_WRITER];
    case MESSAGE_STAMP_REPLY:
      return [0, WORD_STAMP_COUNTER, 0];
    case MESSAGE_RESOLVE:
      return [WORD_RESOLVE_KEY, 0, 0];
    case MESSAGE_RESOLVE_REPLY:
      return [0, WORD_RESOLVED_COUNTER, WORD_RESOLVED_WRITER];
    case MESSAGE_COUNTERS:
      return [0, WORD_COUNTERS_CEILING, 0];
    case MESSAGE_CALL:
      return [WORD_CALL_KEY, 0, 0];
    case MESSAGE_PREPARE:
      return [WORD_PREPARE_KEY, 0, 0];
    case MESSAGE_ACCEPT:
      return [WORD_ACCEPT_KEY, WORD_ACCEPT_COUNTER, WORD_ACCEPT_WRITER];
    case MESSAGE_COMMIT:
      return [WORD_COMMIT_KEY, WORD_COMMIT_COUNTER, WORD_COMMIT_WRITER];
    case MESSAGE_PROMISE:
    case MESSAGE_COMMITTED:
      return [0, WORD_REGISTER_COUNTER, WORD_REGISTER_WRITER];
    default:
      return [0, 0, 0];
  }
}

export function isOfReadModifyWrite(type: number): boolean {
  return type >= MESSAGE_PREPARE && type <= MESSAGE_COMMIT_REPLY;
}

function decisionAt(words: Int32Array, word: number): Decision {
  const slot = (at: number): number => readU53(words, word + at);
  const ballot = (at: number): string => `${readU53(words, word + at)}.${writerAt(words, word + at + 2)}`;
  const id = (at: number): string => idAt(words, word + at);
  const none = { slot: 0, ballot: undefined, id: undefined, ring: [] };
  switch (typeOf(words, word)) {
    case MESSAGE_PREPARE:
      return { ...none, slot: slot(WORD_PREPARE_SLOT), ballot: ballot(WORD_PREPARE_BALLOT) };
    case MESSAGE_ACCEPT:
      return { ...none, slot: slot(WORD_ACCEPT_SLOT), ballot: ballot(WORD_ACCEPT_BALLOT), id: id(WORD_ACCEPT_ID) };
    case MESSAGE_COMMIT:
      return { ...none, slot: slot(WORD_COMMIT_SLOT) };
    case MESSAGE_PROMISE:
      if ((flagsOf(words, word) & FLAG_ACCEPTED) === 0) return { ...none, slot: slot(WORD_REGISTER_SLOT) };
      return {
        ...none,
        slot: slot(WORD_REGISTER_SLOT),
        ballot: ballot(WORD_ACCEPTED_BALLOT),
        id: id(WORD_ACCEPTED_ID),
      };
    case MESSAGE_COMMITTED: {
      const ringCount = words[word + WORD_COMMITTED_RING_COUNT]!;
      const entryWord = (entry: number): number => word + WORD_COMMITTED_RING + entry * RING_ENTRY_WORDS + 2;
      const ring = Array.from({ length: ringCount }, (_, entry) => idAt(words, entryWord(entry)));
      return { ...none, slot: slot(WORD_REGISTER_SLOT), ring };
    }
    case MESSAGE_BEHIND:
      return { ...none, slot: slot(WORD_BEHIND_SLOT) };
    case MESSAGE_NACK:
      return { ...none, slot: slot(WORD_NACK_SLOT), ballot: ballot(WORD_NACK_BALLOT) };
    default:
      return none;
  }
}

function idAt(words: Int32Array, word: number): string {
  return `${writerAt(words, word)}#${readU53(words, word + 2)}`;
}

/** The low half: enough to tell them apart. */
function writerAt(words: Int32Array, word: number): string {
  return (words[word]! >>> 0).toString(16).padStart(8, '0');
}

function keyAt(words: Int32Array, word: number, keyBytes: number): string {
  return Buffer.from(words.buffer, words.byteOffset + word * 4, keyBytes).toString('latin1');
}

const FLAG_NAMES: readonly (readonly [number, string])[] = [
  [FLAG_VALUE, 'value'],
  [FLAG_TOMBSTONE, 'tombstone'],
  [FLAG_WRITE_BACK, 'write-back'],
  [FLAG_TRUSTED_FULL, 'trusted-full'],
  [FLAG_HOST_FULL, 'host-full'],
  [FLAG_NOT_PERMITTED, 'not-permitted'],
  [FLAG_CONFLICT, 'conflict'],
  [FLAG_PARTS, 'parts'],
];
/** By OPERATION_* of operation-table.ts. */
const CALL_KINDS = ['get', 'put', 'delete'] as const;
const TEXT_SHOWN_MAX = 24;

/** Keys and values are padded at their ends: what names them stands first. */
export function shorten(text: string): string {
  return text.length <= TEXT_SHOWN_MAX ? text : `${text.slice(0, TEXT_SHOWN_MAX / 2)}.. (${text.length} B)`;
}

/** "WRITE key-0 12.9f3a0c11 write-back 64 B op 3/41": stamp as counter and low half of the writer, operation id. */
export function describe(message: Message): string {
  const { type, flags, slot, generation, key, counter, writer, envelopeBytes, part, state, callOutcome } = message;
  const parts: string[] = [nameOfType(type) ?? `type ${type}`];
  if (key !== undefined) parts.push(shorten(key));
  if (counter !== undefined) parts.push(writer === undefined ? `${counter}` : `${counter}.${writer}`);
  if (type === MESSAGE_CALL) parts.push(CALL_KINDS[flags]!, `attempt ${message.attempt}`);
  else if (callOutcome !== undefined) parts.push(callOutcome);
  else if (type === MESSAGE_READ_REPLY && (flags & FLAG_FOLLOWED) !== 0) parts.push('parts', 'followed');
  else for (const [flag, name] of FLAG_NAMES) if ((flags & flag) !== 0) parts.push(name);
  if (message.decision !== undefined) {
    const { slot: decided, ballot, id } = message.decision;
    parts.push(`slot ${decided}`);
    if (ballot !== undefined) parts.push(`ballot ${ballot}`);
    if (id !== undefined) parts.push(`id ${id}`);
    if (message.decision.ring.length > 0) parts.push(`ring ${message.decision.ring.join(' ')}`);
  }
  if (envelopeBytes > 0) parts.push(`${envelopeBytes} B`);
  if (state !== undefined) parts.push(state);
  if (type === MESSAGE_WRITE_PART || type === MESSAGE_STAGE_PART || type === MESSAGE_CALL_PART)
    parts.push(`part ${part}`);
  if (message.isParted) parts.push('by parts');
  if (type <= MESSAGE_REPAIR || type >= MESSAGE_WRITE_PART) parts.push(`op ${slot}/${generation >>> 0}`);
  return parts.join(' ');
}
