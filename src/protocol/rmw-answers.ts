import { copyPadded, copyWords, readU53, writeU53 } from '../../net/bytes.ts';
import type { Session } from '../../net/session.ts';
import {
  NO_RECORD,
  RECORD_BALLOT,
  RECORD_ENVELOPE_BYTES,
  RECORD_PROMISE,
  RECORD_REF,
  RECORD_RING_COUNT,
  RECORD_SLOT,
  RECORD_TAG,
  RECORD_TOMBSTONE,
} from '../store/consensus-records.ts';
import { NO_REF } from '../store/host-memory.ts';
import type { Store } from '../store/store.ts';
import {
  FLAG_GONE,
  FLAG_PARTS,
  FLAG_TOMBSTONE,
  FLAG_VALUE,
  MESSAGE_READ_PART_REPLY,
  READ_PART_REPLY_BYTES,
  WORD_PART_REPLY_BYTES,
  WORD_PART_REPLY_OFFSET,
  flagsOf,
  slotOf,
  writeHead,
} from './messages.ts';
import type { Messenger } from './messenger.ts';
import type { Peer } from './peer.ts';
import {
  ACCEPTED_BYTES,
  BEHIND_BYTES,
  COMMITTED_BYTES,
  COMMIT_REPLY_BYTES,
  FLAG_ACCEPTED,
  FLAG_REGISTER,
  MESSAGE_ACCEPTED,
  MESSAGE_BEHIND,
  MESSAGE_COMMITTED,
  MESSAGE_COMMIT_REPLY,
  MESSAGE_NACK,
  MESSAGE_PROMISE,
  NACK_BYTES,
  PROMISE_ACCEPTED_BYTES,
  PROMISE_BYTES,
  RING_ENTRY_BYTES,
  RING_ENTRY_WORDS,
  WORD_ACCEPTED_BALLOT,
  WORD_ACCEPTED_TAG,
  WORD_ACCEPTED_TOMBSTONE,
  WORD_BEHIND_SLOT,
  WORD_COMMITTED_RING,
  WORD_COMMITTED_RING_COUNT,
  WORD_NACK_BALLOT,
  WORD_NACK_SLOT,
  WORD_PROMISE_LAST_ID,
  WORD_REGISTER_COUNTER,
  WORD_REGISTER_ENVELOPE_BYTES,
  WORD_REGISTER_RMW,
  WORD_REGISTER_SLOT,
  WORD_REGISTER_TAG,
  WORD_REGISTER_WRITER,
} from './rmw-messages.ts';

/**
 * What a replica answers to PREPARE, ACCEPT and COMMIT (rmw-acceptor.ts decides which): written from its store and its
 * records, under the id of the question, which lies at words[word].
 */
export class RmwAnswers {
  readonly #store: Store;

  constructor(store: Store) {
    this.#store = store;
  }

  /** @param fullFlag Which memory has no room for what is to be proposed, if so. */
  promise(
    session: Session<Peer>,
    messenger: Messenger,
    words: Int32Array,
    word: number,
    entry: number,
    record: number,
    slot: number,
    fullFlag: number,
  ): void {
    const store = this.#store;
    const source = store.consensus.words(record);
    const at = store.consensus.wordOffset(record);
    const asked = flagsOf(words, word);
    const offersAccepted = hasAccepted(store, record) && (asked & FLAG_REGISTER) === 0;
    const controlBytes = offersAccepted ? PROMISE_ACCEPTED_BYTES : PROMISE_BYTES;
    // A compact record promises each ballot once, so it could not be asked again for the value.
    const wantsValue = (asked & FLAG_VALUE) !== 0 || !store.consensus.isFull(record);
    const offersValue = offersAccepted || (wantsValue && !store.isTombstone(entry));
    const envelopeBytes = offersAccepted ? source[at + RECORD_ENVELOPE_BYTES]! : store.envelopeBytes(entry);
    const withValue = offersValue && messenger.fits(session, controlBytes, envelopeBytes);
    if (!messenger.append(session, controlBytes, withValue ? envelopeBytes : 0)) return;
    const { out } = messenger;
    const target = out.control.words;
    const valueFlag = withValue ? (offersAccepted ? 0 : FLAG_VALUE) : offersValue ? FLAG_PARTS : 0;
    const flags = valueFlag | fullFlag | (offersAccepted ? FLAG_ACCEPTED : 0);
    writeHead(
      target,
      out.word,
      MESSAGE_PROMISE,
      flags | this.#tombstoneFlag(entry),
      slotOf(words, word),
      words[word + 1]!,
    );
    this.#writeRegister(target, out.word, entry, slot);
    this.#writeLastId(target, out.word + WORD_PROMISE_LAST_ID, record, slot - 1);
    if (!offersAccepted) {
      if (withValue) store.copyEnvelope(entry, out.packet, out.valueWord);
      return;
    }
    // Ballot, id, counter, writer, rmw, length: as they lie in the record.
    copyWords(target, out.word + WORD_ACCEPTED_BALLOT, source, at + RECORD_BALLOT, 14);
    copyWords(target, out.word + WORD_ACCEPTED_TAG, source, at + RECORD_TAG, 4);
    target[out.word + WORD_ACCEPTED_TOMBSTONE] = source[at + RECORD_TOMBSTONE]!;
    target[out.word + WORD_ACCEPTED_TOMBSTONE + 1] = 0;
    const ref = source[at + RECORD_REF]!;
    if (!withValue || ref === NO_REF) return;
    copyPadded(out.packet.words, out.valueWord, store.hostRegion(ref).words, store.hostWord(ref), envelopeBytes);
  }

  /** Words 2 to 13 of PROMISE and COMMITTED. */
  #writeRegister(target: Int32Array, word: number, entry: number, slot: number): void {
    const store = this.#store;
    target[word + WORD_REGISTER_ENVELOPE_BYTES] = store.envelopeBytes(entry);
    target[word + WORD_REGISTER_RMW] = store.rmw(entry);
    writeU53(target, word + WORD_REGISTER_COUNTER, store.counter(entry));
    target[word + WORD_REGISTER_WRITER] = store.writerLow(entry);
    target[word + WORD_REGISTER_WRITER + 1] = store.writerHigh(entry);
    store.copyTag(entry, target, word + WORD_REGISTER_TAG);
    writeU53(target, word + WORD_REGISTER_SLOT, slot);
  }

  #tombstoneFlag(entry: number): number {
    return this.#store.isTombstone(entry) ? FLAG_TOMBSTONE : 0;
  }

  #writeLastId(target: Int32Array, targetWord: number, record: number, slot: number): void {
    const source = this.#store.consensus.words(record);
    const ringWord = this.#store.consensus.ringWord(record, slot);
    if (slot > 0 && readU53(source, ringWord) === slot) copyWords(target, targetWord, source, ringWord + 2, 4);
    else target.fill(0, targetWord, targetWord + 4);
  }

  committed(
    session: Session<Peer>,
    messenger: Messenger,
    words: Int32Array,
    word: number,
    entry: number,
    record: number,
  ): void {
    const store = this.#store;
    const source = store.consensus.words(record);
    const decided = decidedSlot(store, record);
    let ringCount = 0;
    for (let place = 0; place < RECORD_RING_COUNT; place++) {
      if (readU53(source, store.consensus.ringWord(record, place)) !== 0) ringCount++;
    }
    const controlBytes = COMMITTED_BYTES + ringCount * RING_ENTRY_BYTES;
    const isTombstone = store.isTombstone(entry);
    const withValue = !isTombstone && messenger.fits(session, controlBytes, store.envelopeBytes(entry));
    if (!messenger.append(session, controlBytes, withValue ? store.envelopeBytes(entry) : 0)) return;
    const { out } = messenger;
    const target = out.control.words;
    const flags = isTombstone ? FLAG_TOMBSTONE : withValue ? FLAG_VALUE : FLAG_PARTS;
    writeHead(target, out.word, MESSAGE_COMMITTED, flags, slotOf(words, word), words[word + 1]!);
    this.#writeRegister(target, out.word, entry, decided);
    target[out.word + WORD_COMMITTED_RING_COUNT] = ringCount;
    target[out.word + WORD_COMMITTED_RING_COUNT + 1] = 0;
    let targetWord = out.word + WORD_COMMITTED_RING;
    for (let place = 0; place < RECORD_RING_COUNT; place++) {
      const ringWord = store.consensus.ringWord(record, place);
      if (readU53(source, ringWord) === 0) continue;
      copyWords(target, targetWord, source, ringWord, RING_ENTRY_WORDS);
      targetWord += RING_ENTRY_WORDS;
    }
    if (withValue) store.copyEnvelope(entry, out.packet, out.valueWord);
  }

  behind(session: Session<Peer>, messenger: Messenger, words: Int32Array, word: number, decided: number): void {
    if (!messenger.append(session, BEHIND_BYTES, 0)) return;
    const { out } = messenger;
    writeHead(out.control.words, out.word, MESSAGE_BEHIND, 0, slotOf(words, word), words[word + 1]!);
    writeU53(out.control.words, out.word + WORD_BEHIND_SLOT, decided);
  }

  /** @param flags Why, when it is not for the ballot. */
  refuse(
    session: Session<Peer>,
    messenger: Messenger,
    words: Int32Array,
    word: number,
    record: number,
    flags: number,
  ): void {
    if (!messenger.append(session, NACK_BYTES, 0)) return;
    const { out } = messenger;
    const target = out.control.words;
    writeHead(target, out.word, MESSAGE_NACK, flags, slotOf(words, word), words[word + 1]!);
    target.fill(0, out.word + WORD_NACK_SLOT, out.word + NACK_BYTES / 4);
    if (record === NO_RECORD || flags !== 0) return;
    const source = this.#store.consensus.words(record);
    const at = this.#store.consensus.wordOffset(record);
    copyWords(target, out.word + WORD_NACK_SLOT, source, at + RECORD_SLOT, 2);
    copyWords(target, out.word + WORD_NACK_BALLOT, source, at + RECORD_PROMISE, 4);
  }

  commitReply(session: Session<Peer>, messenger: Messenger, words: Int32Array, word: number, flags: number): void {
    if (!messenger.append(session, COMMIT_REPLY_BYTES, 0)) return;
    const { out } = messenger;
    writeHead(out.control.words, out.word, MESSAGE_COMMIT_REPLY, flags, slotOf(words, word), words[word + 1]!);
  }

  /** READ_PART_REPLY with bytes of a reserved block. @param ref NO_REF: what was asked for is not accepted here. */
  acceptedPart(
    session: Session<Peer>,
    messenger: Messenger,
    words: Int32Array,
    word: number,
    ref: number,
    byteOffset: number,
    byteCount: number,
  ): void {
    const isThere = ref !== NO_REF && messenger.fits(session, READ_PART_REPLY_BYTES, byteCount);
    if (!messenger.append(session, READ_PART_REPLY_BYTES, isThere ? byteCount : 0)) return;
    const { out } = messenger;
    const target = out.control.words;
    const flags = isThere ? 0 : FLAG_GONE;
    writeHead(target, out.word, MESSAGE_READ_PART_REPLY, flags, slotOf(words, word), words[word + 1]!);
    target[out.word + WORD_PART_REPLY_OFFSET] = byteOffset;
    target[out.word + WORD_PART_REPLY_BYTES] = isThere ? byteCount : 0;
    if (!isThere) return;
    const source = this.#store.hostRegion(ref).words;
    copyPadded(out.packet.words, out.valueWord, source, this.#store.hostWord(ref) + (byteOffset >> 2), byteCount);
  }

  accepted(session: Session<Peer>, messenger: Messenger, words: Int32Array, word: number): void {
    if (!messenger.append(session, ACCEPTED_BYTES, 0)) return;
    const { out } = messenger;
    writeHead(out.control.words, out.word, MESSAGE_ACCEPTED, 0, slotOf(words, word), words[word + 1]!);
  }
}

/** The last slot that is decided here. */
export function decidedSlot({ consensus }: Store, record: number): number {
  return record === NO_RECORD ? 0 : readU53(consensus.words(record), consensus.wordOffset(record) + RECORD_SLOT);
}

/** Whether a proposal was accepted in the slot behind it. */
export function hasAccepted({ consensus }: Store, record: number): boolean {
  return readU53(consensus.words(record), consensus.wordOffset(record) + RECORD_BALLOT) !== 0;
}
