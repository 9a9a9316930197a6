import { alignUp, copyPadded, copyWords, writeU53 } from '../../net/bytes.ts';
import type { Outgoing } from '../../net/outbox.ts';
import type { Session } from '../../net/session.ts';
import {
  ASK_BYTES,
  FLAG_TOMBSTONE,
  FLAG_VALUE,
  MESSAGE_READ,
  MESSAGE_READ_PART,
  MESSAGE_STAMP,
  MESSAGE_WRITE_PART,
  READ_PART_BYTES,
  READ_PART_REPLY_BYTES,
  WORD_ASK_KEY,
  WORD_ENVELOPE_BYTES,
  WORD_KEY_BYTES,
  WORD_PART,
  WORD_READ_PART_BYTES,
  WORD_READ_PART_COUNTER,
  WORD_READ_PART_KEY,
  WORD_READ_PART_OFFSET,
  WORD_READ_PART_RMW,
  WORD_READ_PART_WRITER,
  WORD_WRITE_COUNTER,
  WORD_WRITE_KEY,
  WORD_WRITE_RMW,
  WORD_WRITE_TAG,
  WORD_WRITE_WRITER,
  WRITE_BYTES,
  partLengthBytes,
  writeHead,
} from './messages.ts';
import type { Messenger } from './messenger.ts';
import type { OperationTable, StagedValue } from './operation-table.ts';
import type { Peer } from './peer.ts';
import { MESSAGE_RESOLVE } from './resolve-messages.ts';
import { PROPOSAL_COUNTER, PROPOSAL_ID, PROPOSAL_TAG } from './rmw-operation.ts';
import { MESSAGE_STAGE_PART, STAGE_PART_BYTES, WORD_STAGE_ID, WORD_STAGE_KEY } from './rmw-part-messages.ts';

/** Writes an operation's requests from its place in the table. False when the session takes nothing now. */
export class Requests {
  readonly #table: OperationTable;
  readonly #messenger: Messenger;

  constructor(table: OperationTable, messenger: Messenger) {
    this.#table = table;
    this.#messenger = messenger;
  }

  /** @param grant Parts that may come unasked with the value (messages.ts). */
  read(session: Session<Peer>, slot: number, withValue: boolean, grant = 0): boolean {
    return this.#ask(session, slot, MESSAGE_READ, withValue ? FLAG_VALUE : 0, grant);
  }

  /** Tells what the WRITE will bring, so that it can be refused before it is sent. */
  stamp(session: Session<Peer>, slot: number): boolean {
    return this.#ask(session, slot, MESSAGE_STAMP, 0, this.#table.envelopeBytes[slot]!);
  }

  /** A replica is to see to it that a quorum holds what it reads. */
  resolve(session: Session<Peer>, slot: number): boolean {
    return this.#ask(session, slot, MESSAGE_RESOLVE, 0, 0);
  }

  /** WRITE or REPAIR: key, stamp, tag and envelope as they stand in the table. */
  write(session: Session<Peer>, slot: number, type: number, flags: number): boolean {
    const table = this.#table;
    const keyBytes = table.keyBytes[slot]!;
    const envelopeBytes = table.tombstone[slot] === 1 ? 0 : table.envelopeBytes[slot]!;
    if (!this.#messenger.append(session, WRITE_BYTES + alignUp(keyBytes), envelopeBytes)) return false;
    const { out } = this.#messenger;
    this.#writeHeader(out, slot, type, flags, keyBytes, envelopeBytes, 0);
    table.copyKey(slot, out.control.words, out.word + WORD_WRITE_KEY);
    if (envelopeBytes > 0) this.#copyEnvelope(out, slot, 0, envelopeBytes);
    return true;
  }

  /** Whether a WRITE or REPAIR of the operation goes into one datagram to this peer. */
  fits(session: Session<Peer>, slot: number): boolean {
    const table = this.#table;
    if (table.tombstone[slot] === 1) return true;
    return this.#messenger.fits(session, WRITE_BYTES + alignUp(table.keyBytes[slot]!), table.envelopeBytes[slot]!);
  }

  /** Length of what goes by parts. */
  partedBytes(slot: number): number {
    return this.#table.staged[slot]?.envelopeBytes ?? this.#table.envelopeBytes[slot]!;
  }

  /** Length of parts to this peer. */
  writePartBytes(session: Session<Peer>, slot: number): number {
    const controlBytes = this.#table.staged[slot] === undefined ? WRITE_BYTES : STAGE_PART_BYTES;
    return this.#messenger.valueBytesMax(session, controlBytes);
  }

  /** One part of a WRITE or REPAIR, or of the value of a proposal: the key, or a piece of the envelope (messages.ts). */
  writePart(session: Session<Peer>, slot: number, flags: number, partIndex: number, partBytes: number): boolean {
    const table = this.#table;
    const staged = table.staged[slot];
    if (staged !== undefined) return this.#stagePart(session, slot, staged, partIndex, partBytes);
    const keyBytes = partIndex === 0 ? table.keyBytes[slot]! : 0;
    const envelopeBytes = table.envelopeBytes[slot]!;
    const lengthBytes = partLengthBytes(partIndex, partBytes, envelopeBytes);
    if (!this.#messenger.append(session, WRITE_BYTES + alignUp(keyBytes), lengthBytes, true)) return false;
    const { out } = this.#messenger;
    const part = partIndex | ((partBytes / 8) << 16);
    this.#writeHeader(out, slot, MESSAGE_WRITE_PART, flags, keyBytes, envelopeBytes, part);
    if (partIndex === 0) table.copyKey(slot, out.control.words, out.word + WORD_WRITE_KEY);
    else this.#copyEnvelope(out, slot, (partIndex - 1) * partBytes, lengthBytes);
    return true;
  }

  /** The same of a proposal's value. */
  #stagePart(
    session: Session<Peer>,
    slot: number,
    { words: proposal, region, word: envelopeWord, envelopeBytes }: StagedValue,
    partIndex: number,
    partBytes: number,
  ): boolean {
    const table = this.#table;
    const keyBytes = partIndex === 0 ? table.keyBytes[slot]! : 0;
    const lengthBytes = partLengthBytes(partIndex, partBytes, envelopeBytes);
    if (!this.#messenger.append(session, STAGE_PART_BYTES + alignUp(keyBytes), lengthBytes, true)) return false;
    const { out } = this.#messenger;
    const { words } = out.control;
    const { word } = out;
    writeHead(words, word, MESSAGE_STAGE_PART, 0, slot, table.generation[slot]!);
    words[word + WORD_KEY_BYTES] = keyBytes;
    words[word + WORD_ENVELOPE_BYTES] = envelopeBytes;
    // Counter, writer, rmw: as they lie in the proposal.
    copyWords(words, word + WORD_WRITE_COUNTER, proposal, PROPOSAL_COUNTER, 5);
    words[word + WORD_PART] = partIndex | ((partBytes / 8) << 16);
    copyWords(words, word + WORD_WRITE_TAG, proposal, PROPOSAL_TAG, 4);
    copyWords(words, word + WORD_STAGE_ID, proposal, PROPOSAL_ID, 4);
    if (partIndex === 0) table.copyKey(slot, words, word + WORD_STAGE_KEY);
    else {
      const sourceWord = envelopeWord + (((partIndex - 1) * partBytes) >> 2);
      copyPadded(out.packet.words, out.valueWord, region!.words, sourceWord, lengthBytes);
    }
    return true;
  }

  /** Length of the parts that this peer can send. */
  readPartBytes(session: Session<Peer>): number {
    return this.#messenger.valueBytesMax(session, READ_PART_REPLY_BYTES);
  }

  /** Asks for envelope bytes [byteOffset, byteOffset + byteCount) of the value under the stamp in the table. */
  readPart(session: Session<Peer>, slot: number, byteOffset: number, byteCount: number): boolean {
    const table = this.#table;
    const keyBytes = table.keyBytes[slot]!;
    if (!this.#messenger.append(session, READ_PART_BYTES + alignUp(keyBytes), 0, true)) return false;
    const { words } = this.#messenger.out.control;
    const { word } = this.#messenger.out;
    writeHead(words, word, MESSAGE_READ_PART, 0, slot, table.generation[slot]!);
    words[word + WORD_KEY_BYTES] = keyBytes;
    words[word + WORD_READ_PART_BYTES] = byteCount;
    writeU53(words, word + WORD_READ_PART_COUNTER, table.counter[slot]!);
    words[word + WORD_READ_PART_WRITER] = table.writerLow[slot]!;
    words[word + WORD_READ_PART_WRITER + 1] = table.writerHigh[slot]!;
    words[word + WORD_READ_PART_RMW] = table.rmw[slot]!;
    words[word + WORD_READ_PART_OFFSET] = byteOffset;
    table.copyKey(slot, words, word + WORD_READ_PART_KEY);
    return true;
  }

  #writeHeader(
    out: Outgoing,
    slot: number,
    type: number,
    flags: number,
    keyBytes: number,
    envelopeBytes: number,
    part: number,
  ): void {
    const table = this.#table;
    const { words } = out.control;
    const { word } = out;
    const isTombstone = table.tombstone[slot] === 1;
    writeHead(words, word, type, flags | (isTombstone ? FLAG_TOMBSTONE : 0), slot, table.generation[slot]!);
    words[word + WORD_KEY_BYTES] = keyBytes;
    words[word + WORD_ENVELOPE_BYTES] = envelopeBytes;
    writeU53(words, word + WORD_WRITE_COUNTER, table.counter[slot]!);
    words[word + WORD_WRITE_WRITER] = table.writerLow[slot]!;
    words[word + WORD_WRITE_WRITER + 1] = table.writerHigh[slot]!;
    words[word + WORD_WRITE_RMW] = table.rmw[slot]!;
    words[word + WORD_PART] = part;
    const tagWord = table.tagWord(slot);
    for (let i = 0; i < 4; i++) words[word + WORD_WRITE_TAG + i] = isTombstone ? 0 : table.tags[tagWord + i]!;
  }

  /** @param byteOffset Multiple of 8. */
  #copyEnvelope(out: Outgoing, slot: number, byteOffset: number, byteCount: number): void {
    const table = this.#table;
    const source = table.envelopeRegion[slot]!.words;
    copyPadded(out.packet.words, out.valueWord, source, table.envelopeWord[slot]! + (byteOffset >> 2), byteCount);
  }

  /** @param lengths Of STAMP the envelope's, of READ the grant. */
  #ask(session: Session<Peer>, slot: number, type: number, flags: number, lengths: number): boolean {
    const table = this.#table;
    const keyBytes = table.keyBytes[slot]!;
    if (!this.#messenger.append(session, ASK_BYTES + alignUp(keyBytes), 0)) return false;
    const { out } = this.#messenger;
    const { words } = out.control;
    const { word } = out;
    writeHead(words, word, type, flags, slot, table.generation[slot]!);
    words[word + WORD_KEY_BYTES] = keyBytes;
    words[word + WORD_ENVELOPE_BYTES] = lengths;
    table.copyKey(slot, words, word + WORD_ASK_KEY);
    return true;
  }
}
