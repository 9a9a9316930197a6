import { copyPadded, copyWords, readU53, writeU53 } from '../../net/bytes.ts';
import type { DropCounters } from '../../net/drops.ts';
import type { Session } from '../../net/session.ts';
import { compareStamps } from '../stamp.ts';
import {
  NO_RECORD,
  RECORD_BALLOT,
  RECORD_COUNTER,
  RECORD_ENVELOPE_BYTES,
  RECORD_ID,
  RECORD_PROMISE,
  RECORD_REF,
  RECORD_RING_COUNT,
  RECORD_SLOT,
  RECORD_TAG,
  RECORD_TOMBSTONE,
} from '../store/consensus-records.ts';
import { NO_REF } from '../store/host-memory.ts';
import type { Store } from '../store/store.ts';
import { NO_ENTRY } from '../store/trusted-index.ts';
import { APPLIED, TRUSTED_FULL } from '../store/write-result.ts';
import {
  FLAG_CONFLICT,
  FLAG_HOST_FULL,
  FLAG_NOT_PERMITTED,
  FLAG_PARTS,
  FLAG_TOMBSTONE,
  FLAG_TRUSTED_FULL,
  FLAG_VALUE,
  WORD_ENVELOPE_BYTES,
  WORD_KEY_BYTES,
  flagsOf,
  slotOf,
  typeOf,
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
  FLAG_LACKING,
  FLAG_NEXT,
  FLAG_REGISTER,
  MESSAGE_ACCEPT,
  MESSAGE_ACCEPTED,
  MESSAGE_BEHIND,
  MESSAGE_COMMIT,
  MESSAGE_COMMITTED,
  MESSAGE_COMMIT_REPLY,
  MESSAGE_NACK,
  MESSAGE_PREPARE,
  MESSAGE_PROMISE,
  NACK_BYTES,
  PROMISE_ACCEPTED_BYTES,
  PROMISE_BYTES,
  RING_ENTRY_BYTES,
  RING_ENTRY_WORDS,
  WORD_ACCEPTED_BALLOT,
  WORD_ACCEPTED_TAG,
  WORD_ACCEPTED_TOMBSTONE,
  WORD_ACCEPT_BALLOT,
  WORD_ACCEPT_COUNTER,
  WORD_ACCEPT_ID,
  WORD_ACCEPT_KEY,
  WORD_ACCEPT_RMW,
  WORD_ACCEPT_SLOT,
  WORD_ACCEPT_TAG,
  WORD_ACCEPT_WRITER,
  WORD_BEHIND_SLOT,
  WORD_COMMITTED_RING,
  WORD_COMMITTED_RING_COUNT,
  WORD_COMMIT_COUNTER,
  WORD_COMMIT_KEY,
  WORD_COMMIT_RING_COUNT,
  WORD_COMMIT_RMW,
  WORD_COMMIT_SLOT,
  WORD_COMMIT_TAG,
  WORD_COMMIT_WRITER,
  WORD_NACK_BALLOT,
  WORD_NACK_SLOT,
  WORD_PREPARE_BALLOT,
  WORD_PREPARE_ENVELOPE_BYTES,
  WORD_PREPARE_KEY,
  WORD_PREPARE_SLOT,
  WORD_PROMISE_LAST_ID,
  WORD_REGISTER_COUNTER,
  WORD_REGISTER_ENVELOPE_BYTES,
  WORD_REGISTER_RMW,
  WORD_REGISTER_SLOT,
  WORD_REGISTER_TAG,
  WORD_REGISTER_WRITER,
  commitRingWord,
} from './rmw-messages.ts';

/**
 * A replica's side of read-modify-writes: consensus a key, slot by slot (as in Gryff, NSDI 2020, but with numbered slots).
 * Slot s decides the s-th read-modify-write of the key. Its state is a record (store/consensus-records.ts), beside the
 * register that plain reads and writes use.
 *
 *     PREPARE(s, ballot)     slot >= s: COMMITTED.  slot < s-1: BEHIND.  ballot < promise: NACK.  Else promise = ballot; PROMISE
 *     ACCEPT(s, ballot, p)   the same three checks.  Else promise = ballot, accepted = (ballot, p); ACCEPTED
 *     COMMIT(s, st, v)       the register takes (st, v) if that is newer; if s > slot: slot = s, promise and accepted cleared;
 *                            rings are merged
 *
 * Invariant: that slot s is decided here means that the stamp here is at least the one that slot s created. So a replica that
 * can't take the value of a COMMIT does not take its slot either. What is only accepted no READ ever sees.
 *
 * What a replica can check of its peers, and does: who proposes may read and write; ballots carry the session's writer;
 * one ballot proposes one thing, one id is proposed as one thing in a slot; a stamp stands for one value. What it can't: that
 * an id of another writer was accepted elsewhere before (whoever helps says so), and that what is committed was decided. By
 * that a writer can do to a key no more than by writing it: make values, and make numbers so large that nobody can exceed
 * them, which ends operations with stamps-exhausted.
 */
export class RmwAcceptor {
  readonly #store: Store;
  readonly #drops: DropCounters;
  readonly #marginBytes: number;

  /** @param marginBytes Of the trusted budget, left to plain writes. */
  constructor(store: Store, drops: DropCounters, marginBytes: number) {
    this.#store = store;
    this.#drops = drops;
    this.#marginBytes = marginBytes;
  }

  /** A PREPARE, ACCEPT or COMMIT that messageBytes() has accepted. */
  onMessage(session: Session<Peer>, messenger: Messenger, words: Int32Array, word: number, valueWord: number): void {
    switch (typeOf(words, word)) {
      case MESSAGE_PREPARE:
        return this.#onPrepare(session, messenger, words, word);
      case MESSAGE_ACCEPT:
        return this.#onAccept(session, messenger, words, word, valueWord);
      case MESSAGE_COMMIT:
        return this.#answerCommit(session, messenger, words, word, this.#commit(session, words, word, valueWord));
      default:
        this.#drops.count('unexpected-message');
    }
  }

  // -- PREPARE ----------------------------------------------------------------------------------------------------

  #onPrepare(session: Session<Peer>, messenger: Messenger, words: Int32Array, word: number): void {
    const { identity } = session.peer;
    if (!identity.mayRead || !identity.mayWrite) return this.#forbid(session, messenger, words, word);
    if (!isOwn(session.peer, words, word + WORD_PREPARE_BALLOT + 2)) return this.#drops.count('wrong-writer');
    const flags = flagsOf(words, word);
    const keyBytes = words[word + WORD_KEY_BYTES]!;
    let entry = this.#store.find(words, word + WORD_PREPARE_KEY, keyBytes);
    let record = entry === NO_ENTRY ? NO_RECORD : this.#store.consensus.find(entry);
    const decided = this.#slot(record);
    const askedSlot = readU53(words, word + WORD_PREPARE_SLOT);
    const slot = (flags & FLAG_NEXT) !== 0 ? Math.max(askedSlot, decided + 1) : askedSlot;
    if (decided >= slot) return this.#tellCommitted(session, messenger, words, word, entry, record);
    if (decided < slot - 1) return this.#tellBehind(session, messenger, words, word, decided);
    if (this.#comparePromise(record, words, word + WORD_PREPARE_BALLOT) > 0) {
      return this.#refuse(session, messenger, words, word, record, 0);
    }
    if (record === NO_RECORD) {
      entry = entry === NO_ENTRY ? this.#addEntry(words, word + WORD_PREPARE_KEY, keyBytes) : entry;
      record = entry === NO_ENTRY ? NO_RECORD : this.#store.consensus.add(entry, this.#marginBytes);
      if (record === NO_RECORD) return this.#refuse(session, messenger, words, word, record, FLAG_TRUSTED_FULL);
    }
    // As at STAMP: what will not fit is refused before anything of it is sent.
    if (!this.#store.hasRoomForEnvelope(entry, words[word + WORD_PREPARE_ENVELOPE_BYTES]!, this.#marginBytes)) {
      return this.#refuse(session, messenger, words, word, record, this.#fullFlag());
    }
    const target = this.#store.consensus.words(record);
    const at = this.#store.consensus.wordOffset(record);
    copyWords(target, at + RECORD_PROMISE, words, word + WORD_PREPARE_BALLOT, 4);
    this.#promise(session, messenger, words, word, entry, record, slot);
  }

  #addEntry(words: Int32Array, keyWord: number, keyBytes: number): number {
    return this.#store.addAbsent(words, keyWord, keyBytes, this.#marginBytes);
  }

  #promise(
    session: Session<Peer>,
    messenger: Messenger,
    words: Int32Array,
    word: number,
    entry: number,
    record: number,
    slot: number,
  ): void {
    const store = this.#store;
    const source = store.consensus.words(record);
    const at = store.consensus.wordOffset(record);
    const asked = flagsOf(words, word);
    const hasAccepted = this.#hasAccepted(record) && (asked & FLAG_REGISTER) === 0;
    const controlBytes = hasAccepted ? PROMISE_ACCEPTED_BYTES : PROMISE_BYTES;
    const offersValue = hasAccepted || ((asked & FLAG_VALUE) !== 0 && !store.isTombstone(entry));
    const envelopeBytes = hasAccepted ? source[at + RECORD_ENVELOPE_BYTES]! : store.envelopeBytes(entry);
    const withValue = offersValue && messenger.fits(session, controlBytes, envelopeBytes);
    if (!messenger.append(session, controlBytes, withValue ? envelopeBytes : 0)) return;
    const { out } = messenger;
    const target = out.control.words;
    const valueFlag = withValue ? (hasAccepted ? 0 : FLAG_VALUE) : offersValue ? FLAG_PARTS : 0;
    const flags = valueFlag | (hasAccepted ? FLAG_ACCEPTED : 0);
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
    if (!hasAccepted) {
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

  // -- ACCEPT -----------------------------------------------------------------------------------------------------

  #onAccept(session: Session<Peer>, messenger: Messenger, words: Int32Array, word: number, valueWord: number): void {
    if (!session.peer.identity.mayWrite) return this.#forbid(session, messenger, words, word);
    if (!isOwn(session.peer, words, word + WORD_ACCEPT_BALLOT + 2)) return this.#drops.count('wrong-writer');
    const store = this.#store;
    const keyBytes = words[word + WORD_KEY_BYTES]!;
    let entry = store.find(words, word + WORD_ACCEPT_KEY, keyBytes);
    let record = entry === NO_ENTRY ? NO_RECORD : store.consensus.find(entry);
    const decided = this.#slot(record);
    const slot = readU53(words, word + WORD_ACCEPT_SLOT);
    if (decided >= slot) return this.#tellCommitted(session, messenger, words, word, entry, record);
    if (decided < slot - 1) return this.#tellBehind(session, messenger, words, word, decided);
    if (this.#comparePromise(record, words, word + WORD_ACCEPT_BALLOT) > 0 || this.#isOutdated(entry, words, word)) {
      return this.#refuse(session, messenger, words, word, record, 0);
    }
    if (record !== NO_RECORD && this.#contradicts(record, words, word)) {
      this.#drops.count('stamp-conflict');
      return this.#refuse(session, messenger, words, word, record, FLAG_CONFLICT);
    }
    if (record === NO_RECORD) {
      entry = entry === NO_ENTRY ? this.#addEntry(words, word + WORD_ACCEPT_KEY, keyBytes) : entry;
      record = entry === NO_ENTRY ? NO_RECORD : store.consensus.add(entry, this.#marginBytes);
      if (record === NO_RECORD) return this.#refuse(session, messenger, words, word, record, FLAG_TRUSTED_FULL);
    }
    const envelopeBytes = words[word + WORD_ENVELOPE_BYTES]!;
    const ref = envelopeBytes === 0 ? NO_REF : store.reserve(envelopeBytes, 0);
    if (envelopeBytes !== 0 && ref === NO_REF) {
      return this.#refuse(session, messenger, words, word, record, this.#fullFlag());
    }
    if (ref !== NO_REF) store.fillReserved(ref, 0, words, valueWord, envelopeBytes);
    this.#releaseAccepted(record);
    const target = store.consensus.words(record);
    const at = store.consensus.wordOffset(record);
    copyWords(target, at + RECORD_PROMISE, words, word + WORD_ACCEPT_BALLOT, 4);
    // Ballot, id, counter, writer, rmw: as they lie in the message.
    copyWords(target, at + RECORD_BALLOT, words, word + WORD_ACCEPT_BALLOT, 13);
    target[at + RECORD_ENVELOPE_BYTES] = envelopeBytes;
    target[at + RECORD_TOMBSTONE] = (flagsOf(words, word) & FLAG_TOMBSTONE) !== 0 ? 1 : 0;
    target[at + RECORD_REF] = ref;
    copyWords(target, at + RECORD_TAG, words, word + WORD_ACCEPT_TAG, 4);
    if (!messenger.append(session, ACCEPTED_BYTES, 0)) return;
    const { out } = messenger;
    writeHead(out.control.words, out.word, MESSAGE_ACCEPTED, 0, slotOf(words, word), words[word + 1]!);
  }

  /**
   * The stamp is here already with another tag: another proposal with this stamp was decided, and has come by a write-back.
   * This one was not, and never will be.
   */
  #isOutdated(entry: number, words: Int32Array, word: number): boolean {
    const order = this.#store.compareStamp(
      entry,
      readU53(words, word + WORD_ACCEPT_COUNTER),
      words[word + WORD_ACCEPT_WRITER + 1]!,
      words[word + WORD_ACCEPT_WRITER]!,
      words[word + WORD_ACCEPT_RMW]!,
    );
    return order === 0 && entry !== NO_ENTRY && !this.#store.tagEquals(entry, words, word + WORD_ACCEPT_TAG);
  }

  /** One ballot proposes one thing; one id is proposed as one thing in a slot, whoever helps it. */
  #contradicts(record: number, words: Int32Array, word: number): boolean {
    if (!this.#hasAccepted(record)) return false;
    const held = this.#store.consensus.words(record);
    const at = this.#store.consensus.wordOffset(record);
    const isSameBallot = equalWords(held, at + RECORD_BALLOT, words, word + WORD_ACCEPT_BALLOT, 4);
    const isSameId = equalWords(held, at + RECORD_ID, words, word + WORD_ACCEPT_ID, 4);
    if (!isSameBallot && !isSameId) return false;
    const isTombstone = (flagsOf(words, word) & FLAG_TOMBSTONE) !== 0 ? 1 : 0;
    return !(
      isSameId &&
      equalWords(held, at + RECORD_COUNTER, words, word + WORD_ACCEPT_COUNTER, 5) &&
      equalWords(held, at + RECORD_TAG, words, word + WORD_ACCEPT_TAG, 4) &&
      held[at + RECORD_ENVELOPE_BYTES] === words[word + WORD_ENVELOPE_BYTES] &&
      held[at + RECORD_TOMBSTONE] === isTombstone
    );
  }

  #releaseAccepted(record: number): void {
    const words = this.#store.consensus.words(record);
    const at = this.#store.consensus.wordOffset(record);
    const ref = words[at + RECORD_REF]!;
    if (ref !== NO_REF) this.#store.releaseReserved(ref);
    words[at + RECORD_REF] = NO_REF;
  }

  // -- COMMIT -----------------------------------------------------------------------------------------------------

  /** Flags of the answer: 0 when slot and stamp here are at least those of the message. */
  #commit(session: Session<Peer>, words: Int32Array, word: number, valueWord: number): number {
    if (!session.peer.identity.mayWrite) {
      this.#drops.count('not-permitted');
      return FLAG_NOT_PERMITTED;
    }
    const store = this.#store;
    const keyBytes = words[word + WORD_KEY_BYTES]!;
    const slot = readU53(words, word + WORD_COMMIT_SLOT);
    const counter = readU53(words, word + WORD_COMMIT_COUNTER);
    const writerHigh = words[word + WORD_COMMIT_WRITER + 1]!;
    const writerLow = words[word + WORD_COMMIT_WRITER]!;
    const rmw = words[word + WORD_COMMIT_RMW]!;
    const flags = flagsOf(words, word);
    let entry = store.find(words, word + WORD_COMMIT_KEY, keyBytes);
    const order = store.compareStamp(entry, counter, writerHigh, writerLow, rmw);
    if (order < 0 && (flags & (FLAG_VALUE | FLAG_TOMBSTONE)) === 0) return FLAG_LACKING;
    let record = entry === NO_ENTRY ? NO_RECORD : store.consensus.find(entry);
    if (
      (order === 0 && entry !== NO_ENTRY && !store.tagEquals(entry, words, word + WORD_COMMIT_TAG)) ||
      this.#isOtherRing(record, words, word)
    ) {
      this.#drops.count('stamp-conflict');
      return FLAG_CONFLICT;
    }
    // All that may be refused, before anything is changed.
    if (slot > 0 && record === NO_RECORD) {
      if (entry === NO_ENTRY) entry = store.addAbsent(words, word + WORD_COMMIT_KEY, keyBytes, 0);
      record = entry === NO_ENTRY ? NO_RECORD : store.consensus.add(entry, 0);
      if (record === NO_RECORD) return FLAG_TRUSTED_FULL;
    }
    if (order < 0) {
      const result = store.write(
        words,
        word + WORD_COMMIT_KEY,
        keyBytes,
        counter,
        writerHigh,
        writerLow,
        rmw,
        (flags & FLAG_TOMBSTONE) !== 0,
        words,
        word + WORD_COMMIT_TAG,
        words,
        valueWord,
        words[word + WORD_ENVELOPE_BYTES]!,
        entry,
      );
      if (result !== APPLIED) return result === TRUSTED_FULL ? FLAG_TRUSTED_FULL : FLAG_HOST_FULL;
    }
    if (slot > 0) this.#decide(record, slot, words, word);
    return 0;
  }

  #decide(record: number, slot: number, words: Int32Array, word: number): void {
    const target = this.#store.consensus.words(record);
    const at = this.#store.consensus.wordOffset(record);
    if (slot > readU53(target, at + RECORD_SLOT)) {
      writeU53(target, at + RECORD_SLOT, slot);
      this.#releaseAccepted(record);
      target.fill(0, at + RECORD_PROMISE, at + RECORD_REF);
    }
    const ringWord = commitRingWord(words, word);
    for (let i = 0; i < words[word + WORD_COMMIT_RING_COUNT]!; i++) {
      const entryWord = ringWord + i * RING_ENTRY_WORDS;
      const ringSlot = readU53(words, entryWord);
      const ownWord = this.#store.consensus.ringWord(record, ringSlot);
      // What lies ahead of the slot is not decided here.
      if (ringSlot > slot || ringSlot <= readU53(target, ownWord)) continue;
      copyWords(target, ownWord, words, entryWord, RING_ENTRY_WORDS);
    }
  }

  /** Of some slot the ring in the message has another id than the one here. */
  #isOtherRing(record: number, words: Int32Array, word: number): boolean {
    if (record === NO_RECORD) return false;
    const held = this.#store.consensus.words(record);
    const ringWord = commitRingWord(words, word);
    for (let i = 0; i < words[word + WORD_COMMIT_RING_COUNT]!; i++) {
      const entryWord = ringWord + i * RING_ENTRY_WORDS;
      const ownWord = this.#store.consensus.ringWord(record, readU53(words, entryWord));
      if (!equalWords(held, ownWord, words, entryWord, 2)) continue;
      if (!equalWords(held, ownWord + 2, words, entryWord + 2, 4)) return true;
    }
    return false;
  }

  #answerCommit(session: Session<Peer>, messenger: Messenger, words: Int32Array, word: number, flags: number): void {
    if (!messenger.append(session, COMMIT_REPLY_BYTES, 0)) return;
    const { out } = messenger;
    writeHead(out.control.words, out.word, MESSAGE_COMMIT_REPLY, flags, slotOf(words, word), words[word + 1]!);
  }

  // -- other answers ----------------------------------------------------------------------------------------------

  #tellCommitted(
    session: Session<Peer>,
    messenger: Messenger,
    words: Int32Array,
    word: number,
    entry: number,
    record: number,
  ): void {
    const store = this.#store;
    const source = store.consensus.words(record);
    const decided = this.#slot(record);
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

  #tellBehind(session: Session<Peer>, messenger: Messenger, words: Int32Array, word: number, decided: number): void {
    if (!messenger.append(session, BEHIND_BYTES, 0)) return;
    const { out } = messenger;
    writeHead(out.control.words, out.word, MESSAGE_BEHIND, 0, slotOf(words, word), words[word + 1]!);
    writeU53(out.control.words, out.word + WORD_BEHIND_SLOT, decided);
  }

  #forbid(session: Session<Peer>, messenger: Messenger, words: Int32Array, word: number): void {
    this.#drops.count('not-permitted');
    this.#refuse(session, messenger, words, word, NO_RECORD, FLAG_NOT_PERMITTED);
  }

  /** @param flags Why, when it is not for the ballot. */
  #refuse(
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

  // -- records ----------------------------------------------------------------------------------------------------

  /** The last slot decided here. */
  #slot(record: number): number {
    if (record === NO_RECORD) return 0;
    return readU53(this.#store.consensus.words(record), this.#store.consensus.wordOffset(record) + RECORD_SLOT);
  }

  #hasAccepted(record: number): boolean {
    const word = this.#store.consensus.wordOffset(record) + RECORD_BALLOT;
    return readU53(this.#store.consensus.words(record), word) !== 0;
  }

  /** Order of the promise here and the ballot in the message. */
  #comparePromise(record: number, words: Int32Array, ballotWord: number): number {
    if (record === NO_RECORD) return -1;
    const held = this.#store.consensus.words(record);
    const at = this.#store.consensus.wordOffset(record) + RECORD_PROMISE;
    return compareBallots(held, at, words, ballotWord);
  }

  #fullFlag(): number {
    return this.#store.lastRefusal === TRUSTED_FULL ? FLAG_TRUSTED_FULL : FLAG_HOST_FULL;
  }
}

/** Number first, then writer. */
export function compareBallots(a: Int32Array, aWord: number, b: Int32Array, bWord: number): number {
  return compareStamps(
    readU53(a, aWord),
    a[aWord + 3]!,
    a[aWord + 2]!,
    0,
    readU53(b, bWord),
    b[bWord + 3]!,
    b[bWord + 2]!,
    0,
  );
}

function isOwn({ writerLow, writerHigh }: Peer, words: Int32Array, writerWord: number): boolean {
  return words[writerWord] === writerLow && words[writerWord + 1] === writerHigh;
}

function equalWords(a: Int32Array, aWord: number, b: Int32Array, bWord: number, count: number): boolean {
  for (let i = 0; i < count; i++) if (a[aWord + i] !== b[bWord + i]) return false;
  return true;
}
