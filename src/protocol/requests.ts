import { alignUp, copyPadded, copyWords, writeU53 } from '../../net/bytes.ts';
import type { Session } from '../../net/session.ts';
import {
  ASK_BYTES,
  FLAG_TOMBSTONE,
  FLAG_VALUE,
  MESSAGE_READ,
  MESSAGE_STAMP,
  WORD_ASK_KEY,
  WORD_ENVELOPE_BYTES,
  WORD_KEY_BYTES,
  WORD_WRITE_COUNTER,
  WORD_WRITE_KEY,
  WORD_WRITE_RMW,
  WORD_WRITE_TAG,
  WORD_WRITE_WRITER,
  WRITE_BYTES,
  writeHead,
} from './messages.ts';
import type { Messenger } from './messenger.ts';
import type { OperationTable } from './operation-table.ts';
import type { Peer } from './peer.ts';

/** Writes an operation's requests from its place in the table. False when the session takes nothing now. */
export class Requests {
  readonly #table: OperationTable;
  readonly #messenger: Messenger;

  constructor(table: OperationTable, messenger: Messenger) {
    this.#table = table;
    this.#messenger = messenger;
  }

  read(session: Session<Peer>, slot: number, withValue: boolean): boolean {
    return this.#ask(session, slot, MESSAGE_READ, withValue ? FLAG_VALUE : 0, 0);
  }

  /** Tells what the WRITE will bring, so that it can be refused before it is sent. */
  stamp(session: Session<Peer>, slot: number): boolean {
    return this.#ask(session, slot, MESSAGE_STAMP, 0, this.#table.envelopeBytes[slot]!);
  }

  /** WRITE or REPAIR: key, stamp, tag and envelope as they stand in the table. */
  write(session: Session<Peer>, slot: number, type: number, flags: number): boolean {
    const table = this.#table;
    const keyBytes = table.keyBytes[slot]!;
    const isTombstone = table.tombstone[slot] === 1;
    const envelopeBytes = isTombstone ? 0 : table.envelopeBytes[slot]!;
    if (!this.#messenger.append(session, WRITE_BYTES + alignUp(keyBytes), envelopeBytes)) return false;
    const { out } = this.#messenger;
    const { words } = out.control;
    const { word } = out;
    writeHead(words, word, type, flags | (isTombstone ? FLAG_TOMBSTONE : 0), slot, table.generation[slot]!);
    words[word + WORD_KEY_BYTES] = keyBytes;
    words[word + WORD_ENVELOPE_BYTES] = envelopeBytes;
    writeU53(words, word + WORD_WRITE_COUNTER, table.counter[slot]!);
    words[word + WORD_WRITE_WRITER] = table.writerLow[slot]!;
    words[word + WORD_WRITE_WRITER + 1] = table.writerHigh[slot]!;
    words[word + WORD_WRITE_RMW] = table.rmw[slot]!;
    words[word + WORD_WRITE_RMW + 1] = 0;
    const tagWord = table.tagWord(slot);
    for (let i = 0; i < 4; i++) words[word + WORD_WRITE_TAG + i] = isTombstone ? 0 : table.tags[tagWord + i]!;
    this.#copyKey(words, word + WORD_WRITE_KEY, slot, keyBytes);
    if (envelopeBytes > 0) {
      const source = table.envelopeRegion[slot]!.words;
      copyPadded(out.packet.words, out.valueWord, source, table.envelopeWord[slot]!, envelopeBytes);
    }
    return true;
  }

  #ask(session: Session<Peer>, slot: number, type: number, flags: number, envelopeBytes: number): boolean {
    const table = this.#table;
    const keyBytes = table.keyBytes[slot]!;
    if (!this.#messenger.append(session, ASK_BYTES + alignUp(keyBytes), 0)) return false;
    const { out } = this.#messenger;
    const { words } = out.control;
    const { word } = out;
    writeHead(words, word, type, flags, slot, table.generation[slot]!);
    words[word + WORD_KEY_BYTES] = keyBytes;
    words[word + WORD_ENVELOPE_BYTES] = envelopeBytes;
    this.#copyKey(words, word + WORD_ASK_KEY, slot, keyBytes);
    return true;
  }

  #copyKey(words: Int32Array, word: number, slot: number, keyBytes: number): void {
    const ref = this.#table.keyRef[slot]!;
    const { memory } = this.#table;
    copyWords(words, word, memory.region(ref).words, memory.wordOffset(ref), alignUp(keyBytes) >> 2);
  }
}
