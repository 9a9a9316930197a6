/** SCAN and SCAN_REPLY built and taken apart. */
import assert from 'node:assert/strict';
import { alignUp, readU53, writeU53 } from '../../net/bytes.ts';
import { flagsOf, messageBytes, messageEnvelopeBytes, slotOf, typeOf, writeHead } from '../../src/protocol/messages.ts';
import {
  ENTRY_TOMBSTONE,
  ENTRY_VALUE,
  FLAG_SCAN_AFTER,
  FLAG_SCAN_MORE,
  FLAG_SCAN_REVERSE,
  FLAG_SCAN_VALUES,
  MESSAGE_SCAN,
  MESSAGE_SCAN_REPLY,
  SCAN_BYTES,
  SCAN_REPLY_BYTES,
  WORD_ENTRY_COUNTER,
  WORD_ENTRY_RMW,
  WORD_ENTRY_TAG,
  WORD_ENTRY_WRITER,
  WORD_SCAN_END_BYTES,
  WORD_SCAN_ENTRIES,
  WORD_SCAN_ENTRY_BYTES,
  WORD_SCAN_FIRST_ENTRY,
  WORD_SCAN_START,
  WORD_SCAN_START_BYTES,
  WORD_SCAN_VALUE_BYTES,
  entryEnvelopeBytes,
  entryHas,
  entryKeyBytes,
  entryKeyWord,
  nextEntryWord,
} from '../../src/protocol/scan-messages.ts';
import type { AnswerTo, Message, Stamp } from './fixtures.ts';

export interface ScanAsked {
  readonly start: string;
  readonly end: string;
  readonly entries: number;
  readonly isReverse: boolean;
  readonly isAfter: boolean;
  readonly wantsValues: boolean;
  readonly slot: number;
  readonly generation: number;
}

export interface ScanEntry {
  readonly key: string;
  readonly stamp: Stamp;
  readonly isTombstone?: boolean;
  /** With its tag. */
  readonly envelope?: Uint8Array;
  readonly tag?: Int32Array;
}

/** Keys are latin1 text here: a byte a character. */
function bytesAt(control: Int32Array, word: number, byteCount: number): string {
  return Buffer.from(control.buffer as ArrayBuffer, control.byteOffset + word * 4, byteCount).toString('latin1');
}

function putBytes(control: Int32Array, word: number, text: string): void {
  new Uint8Array(control.buffer, control.byteOffset + word * 4).set(Buffer.from(text, 'latin1'));
}

export function scanOf(asked: Partial<ScanAsked>): Message {
  const { start = '', end = '', entries = 100, slot = 1, generation = 1 } = asked;
  const control = new Int32Array((SCAN_BYTES + alignUp(start.length) + alignUp(end.length)) >> 2);
  const flags =
    (asked.wantsValues === true ? FLAG_SCAN_VALUES : 0) |
    (asked.isReverse === true ? FLAG_SCAN_REVERSE : 0) |
    (asked.isAfter === true ? FLAG_SCAN_AFTER : 0);
  writeHead(control, 0, MESSAGE_SCAN, flags, slot, generation);
  control[WORD_SCAN_START_BYTES] = start.length;
  control[WORD_SCAN_END_BYTES] = end.length;
  control[WORD_SCAN_ENTRIES] = entries;
  putBytes(control, WORD_SCAN_START, start);
  putBytes(control, WORD_SCAN_START + (alignUp(start.length) >> 2), end);
  return { control, value: new Uint8Array(0) };
}

export function readScan({ control, value }: Message): ScanAsked {
  assert.equal(typeOf(control, 0), MESSAGE_SCAN);
  assert.equal(messageBytes(control, 0, control.length, value.length), control.length * 4, 'it is one whole message');
  const flags = flagsOf(control, 0);
  const startBytes = control[WORD_SCAN_START_BYTES]!;
  return {
    start: bytesAt(control, WORD_SCAN_START, startBytes),
    end: bytesAt(control, WORD_SCAN_START + (alignUp(startBytes) >> 2), control[WORD_SCAN_END_BYTES]!),
    entries: control[WORD_SCAN_ENTRIES]!,
    isReverse: (flags & FLAG_SCAN_REVERSE) !== 0,
    isAfter: (flags & FLAG_SCAN_AFTER) !== 0,
    wantsValues: (flags & FLAG_SCAN_VALUES) !== 0,
    slot: slotOf(control, 0),
    generation: control[1]!,
  };
}

export function scanReply(to: AnswerTo, entries: readonly ScanEntry[], flags = 0): Message {
  const bytesOfEntry = ({ key, envelope }: ScanEntry): number =>
    24 + (envelope === undefined ? 0 : 16) + alignUp(key.length);
  const entryBytes = entries.reduce((sum, entry) => sum + bytesOfEntry(entry), 0);
  const valueBytes = entries.reduce((sum, { envelope }) => sum + alignUp(envelope?.length ?? 0), 0);
  const control = new Int32Array((SCAN_REPLY_BYTES + entryBytes) >> 2);
  const value = new Uint8Array(valueBytes);
  writeHead(control, 0, MESSAGE_SCAN_REPLY, flags, to.slot, to.generation);
  control[WORD_SCAN_ENTRY_BYTES] = entryBytes;
  control[WORD_SCAN_VALUE_BYTES] = valueBytes;
  let word = WORD_SCAN_FIRST_ENTRY;
  let valueByte = 0;
  for (const entry of entries) {
    const { key, stamp, isTombstone = false, envelope, tag } = entry;
    const entryFlags = (isTombstone ? ENTRY_TOMBSTONE : 0) | (envelope === undefined ? 0 : ENTRY_VALUE);
    control[word] = key.length | entryFlags | ((envelope?.length ?? 0) << 16);
    control[word + WORD_ENTRY_RMW] = stamp.rmw;
    writeU53(control, word + WORD_ENTRY_COUNTER, stamp.counter);
    control[word + WORD_ENTRY_WRITER] = stamp.writerLow;
    control[word + WORD_ENTRY_WRITER + 1] = stamp.writerHigh;
    if (envelope !== undefined) {
      control.set(tag!, word + WORD_ENTRY_TAG);
      value.set(envelope, valueByte);
      valueByte += alignUp(envelope.length);
    }
    putBytes(control, entryKeyWord(control, word), key);
    word = nextEntryWord(control, word);
  }
  return { control, value };
}

export interface ScanAnswered {
  readonly flags: number;
  readonly hasMore: boolean;
  readonly entries: ScanEntry[];
}

export function readScanReply({ control, value }: Message): ScanAnswered {
  assert.equal(typeOf(control, 0), MESSAGE_SCAN_REPLY);
  assert.equal(messageBytes(control, 0, control.length, value.length), control.length * 4, 'it is one whole message');
  assert.equal(messageEnvelopeBytes(control, 0), value.length);
  const flags = flagsOf(control, 0);
  const entries: ScanEntry[] = [];
  let valueByte = 0;
  for (let word = WORD_SCAN_FIRST_ENTRY; word < control.length; word = nextEntryWord(control, word)) {
    const envelopeBytes = entryEnvelopeBytes(control, word);
    const hasValue = entryHas(control, word, ENTRY_VALUE);
    entries.push({
      key: bytesAt(control, entryKeyWord(control, word), entryKeyBytes(control, word)),
      stamp: {
        counter: readU53(control, word + WORD_ENTRY_COUNTER),
        writerLow: control[word + WORD_ENTRY_WRITER]!,
        writerHigh: control[word + WORD_ENTRY_WRITER + 1]!,
        rmw: control[word + WORD_ENTRY_RMW]!,
      },
      isTombstone: entryHas(control, word, ENTRY_TOMBSTONE),
      ...(hasValue && {
        envelope: value.slice(valueByte, valueByte + envelopeBytes),
        tag: control.slice(word + WORD_ENTRY_TAG, word + WORD_ENTRY_TAG + 4),
      }),
    });
    valueByte += alignUp(envelopeBytes);
  }
  return { flags, hasMore: (flags & FLAG_SCAN_MORE) !== 0, entries };
}
