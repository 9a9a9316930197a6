import { copyWords, equalWords, readU53, writeU53 } from '../../net/bytes.ts';
import type { DropCounters } from '../../net/drops.ts';
import type { Session } from '../../net/session.ts';
import { compareStamps } from '../stamp.ts';
import {
  NO_RECORD,
  RECORD_BALLOT,
  RECORD_CHANGED_MS,
  RECORD_COUNTER,
  RECORD_ENVELOPE_BYTES,
  RECORD_ID,
  RECORD_PROMISE,
  RECORD_REF,
  RECORD_SLOT,
  RECORD_TAG,
  RECORD_TOMBSTONE,
} from '../store/consensus-records.ts';
import { NO_REF } from '../store/host-memory.ts';
import type { Store } from '../store/store.ts';
import { NO_ENTRY } from '../store/trusted-index.ts';
import { APPLIED, TRUSTED_FULL } from '../store/write-result.ts';
import { AcceptedParts } from './accepted-parts.ts';
import {
  FLAG_CONFLICT,
  FLAG_HOST_FULL,
  FLAG_PARTS,
  FLAG_TOMBSTONE,
  FLAG_TRUSTED_FULL,
  FLAG_VALUE,
  WORD_ENVELOPE_BYTES,
  WORD_KEY_BYTES,
  flagsOf,
  typeOf,
} from './messages.ts';
import type { CounterGuard } from './counter-guard.ts';
import type { Messenger } from './messenger.ts';
import type { Peer } from './peer.ts';
import type { Reassemblies } from './reassemblies.ts';
import {
  FLAG_LACKING,
  FLAG_NEXT,
  FLAG_RELEASE,
  FLAG_YIELD,
  MESSAGE_ACCEPT,
  MESSAGE_COMMIT,
  MESSAGE_PREPARE,
  RING_ENTRY_WORDS,
  WORD_ACCEPT_BALLOT,
  WORD_ACCEPT_COUNTER,
  WORD_ACCEPT_ID,
  WORD_ACCEPT_KEY,
  WORD_ACCEPT_RMW,
  WORD_ACCEPT_SLOT,
  WORD_ACCEPT_TAG,
  WORD_ACCEPT_WRITER,
  WORD_COMMIT_COUNTER,
  WORD_COMMIT_KEY,
  WORD_COMMIT_RING_COUNT,
  WORD_COMMIT_RMW,
  WORD_COMMIT_SLOT,
  WORD_COMMIT_TAG,
  WORD_COMMIT_WRITER,
  WORD_PREPARE_BALLOT,
  WORD_PREPARE_ENVELOPE_BYTES,
  WORD_PREPARE_KEY,
  WORD_PREPARE_SLOT,
  commitRingWord,
} from './rmw-messages.ts';
import { RmwAnswers, decidedSlot, hasAccepted } from './rmw-answers.ts';

/**
 * A replica's side of read-modify-writes: consensus a key, slot by slot (as in Gryff, NSDI 2020, but with numbered slots).
 * Slot s decides the s-th read-modify-write of the key. Its state is a record (store/consensus-records.ts), beside the
 * register that plain reads and writes use; that of an idle key is compact, and expanded when something is to be kept in it.
 *
 *     PREPARE(s, ballot)     slot >= s: COMMITTED.  slot < s-1: BEHIND.  ballot < promise: NACK.  Else promise = ballot; PROMISE,
 *                            and whether there is room for the value that is to come
 *     ACCEPT(s, ballot, p)   the same three checks.  Else promise = ballot, accepted = (ballot, p); ACCEPTED
 *     COMMIT(s, st, v)       the register takes (st, v) if that is newer; if s > slot: slot = s, promise and accepted cleared;
 *                            rings are merged
 *
 * Invariant: that slot s is decided here means that the stamp here is at least the one that slot s created. So a replica that
 * can't take the value of a COMMIT does not take its slot either. What is only accepted no READ ever sees.
 *
 * A value larger than a datagram does not come with ACCEPT or COMMIT. The proposal that is accepted here has it; else its
 * coordinator is told that it is lacking, stages it (reassemblies.ts), and asks again: all is checked both times.
 *
 * Ballot numbers are kept from being used up as counters of stamps are, under the same ceiling (counter-guard.ts): coordinators go
 * on from the greatest that they are told, for all their keys. So numbers must not run away at one replica only, either: the
 * others would take none of those coordinators' ballots, and they would be done with read-modify-writes.
 *
 * A promise is fresh for a while, as long as its coordinator takes to come back with a proposal. Meanwhile others, who ask for
 * that (FLAG_YIELD), are refused, however high their ballots: else coordinators of a contended key take each other's promises
 * away all the time. To refuse is always safe; when the coordinator is gone, the next one waits no longer than that.
 *
 * What a replica can check of its peers, and does: ballots carry the session's writer; one ballot proposes one thing, one id is proposed as one thing in a slot; a stamp stands for one value. What it can't: that
 * an id of another writer was accepted elsewhere before (whoever helps says so), and that what is committed was decided. By
 * that a writer can do to a key no more than by writing it: make values, and make numbers so large that nobody can exceed
 * them, which ends operations with stamps-exhausted.
 */
/** Some round trips of a busy local network; of a longer way the first round trip only is protected, or nothing. */
const FRESH_MS = 5;

/** Whether new values under a data key are kept; by its id. */
export type TakesDataKey = (id: number) => boolean;

export class RmwAcceptor {
  readonly #store: Store;
  readonly #guard: CounterGuard;
  readonly #drops: DropCounters;
  readonly #marginBytes: number;
  readonly #answers: RmwAnswers;
  readonly parts: AcceptedParts;
  /** Slots that this replica learnt the decision of; those that it jumped over are not known to it. */
  decidedCount = 0;
  /** PREPAREs and ACCEPTs that a greater ballot was in the way of. */
  nackedCount = 0;
  #nowMs = 0;
  readonly #takesDataKey: TakesDataKey | undefined;

  /**
   * @param staged Values larger than a datagram, which came by parts.
   * @param marginBytes Of the trusted budget, left to plain writes.
   * @param takesDataKey Of values that a proposer has made himself; what others proposed may have been decided.
   */
  constructor(
    store: Store,
    staged: Reassemblies,
    guard: CounterGuard,
    drops: DropCounters,
    marginBytes: number,
    takesDataKey: TakesDataKey | undefined,
  ) {
    this.#takesDataKey = takesDataKey;
    this.#store = store;
    this.#guard = guard;
    this.#drops = drops;
    this.#marginBytes = marginBytes;
    this.#answers = new RmwAnswers(store);
    this.parts = new AcceptedParts(store, staged, this.#answers, drops);
  }

  /** A PREPARE, ACCEPT or COMMIT that messageBytes() has accepted. */
  onMessage(
    session: Session<Peer>,
    messenger: Messenger,
    words: Int32Array,
    word: number,
    valueWord: number,
    nowMs: number,
  ): void {
    this.#nowMs = nowMs;
    switch (typeOf(words, word)) {
      case MESSAGE_PREPARE:
        return this.#onPrepare(session, messenger, words, word);
      case MESSAGE_ACCEPT:
        return this.#onAccept(session, messenger, words, word, valueWord);
      case MESSAGE_COMMIT:
        return this.#onCommit(session, messenger, words, word, valueWord);
      default:
        this.#drops.count('unexpected-message');
    }
  }

  // -- PREPARE ----------------------------------------------------------------------------------------------------

  #onPrepare(session: Session<Peer>, messenger: Messenger, words: Int32Array, word: number): void {
    if (!isOwn(session.peer, words, word + WORD_PREPARE_BALLOT + 2)) return this.#drops.count('wrong-writer');
    if (!this.#guard.takes(readU53(words, word + WORD_PREPARE_BALLOT))) return;
    const flags = flagsOf(words, word);
    const keyBytes = words[word + WORD_KEY_BYTES]!;
    let entry = this.#store.find(words, word + WORD_PREPARE_KEY, keyBytes);
    let record = entry === NO_ENTRY ? NO_RECORD : this.#store.consensus.find(entry);
    if ((flags & FLAG_RELEASE) !== 0) return this.#release(record, words, word);
    const decided = decidedSlot(this.#store, record);
    const askedSlot = readU53(words, word + WORD_PREPARE_SLOT);
    const slot = (flags & FLAG_NEXT) !== 0 ? Math.max(askedSlot, decided + 1) : askedSlot;
    if (decided >= slot) return this.#answers.committed(session, messenger, words, word, entry, record);
    if (decided < slot - 1) return this.#answers.behind(session, messenger, words, word, decided);
    const yields = (flags & FLAG_YIELD) !== 0 && this.#isFresh(record, words, word + WORD_PREPARE_BALLOT);
    if (yields || this.#comparePromise(record, words, word + WORD_PREPARE_BALLOT) > 0) {
      this.nackedCount++;
      return this.#answers.refuse(session, messenger, words, word, record, 0);
    }
    if (!this.#store.consensus.isFull(record)) {
      entry = entry === NO_ENTRY ? this.#addEntry(words, word + WORD_PREPARE_KEY, keyBytes) : entry;
      const expanded = this.#expand(entry, this.#marginBytes);
      if (expanded === NO_RECORD) return this.#promiseCompact(session, messenger, words, word, entry, record, slot);
      record = expanded;
    }
    // As at STAMP: what will not fit is refused before anything of it is sent. Yet it is told what this replica knows of the
    // slot: it may be the only one, and others may have room as soon as they are told.
    const hasRoom = this.#store.hasRoomForEnvelope(
      entry,
      words[word + WORD_PREPARE_ENVELOPE_BYTES]!,
      this.#marginBytes,
    );
    this.#promise(record, words, word + WORD_PREPARE_BALLOT);
    this.#answers.promise(session, messenger, words, word, entry, record, slot, hasRoom ? 0 : this.#fullFlag());
  }

  #promise(record: number, words: Int32Array, ballotWord: number): void {
    const target = this.#store.consensus.words(record);
    const at = this.#store.consensus.wordOffset(record);
    copyWords(target, at + RECORD_PROMISE, words, ballotWord, 4);
    target[at + RECORD_CHANGED_MS] = this.#nowMs | 0;
  }

  /** Without room for a full record: a compact one can promise, and tell what is known of the slot. */
  #promiseCompact(
    session: Session<Peer>,
    messenger: Messenger,
    words: Int32Array,
    word: number,
    entry: number,
    record: number,
    slot: number,
  ): void {
    const { consensus } = this.#store;
    const number = readU53(words, word + WORD_PREPARE_BALLOT);
    if (record !== NO_RECORD && consensus.fitsCompact(slot - 1, number)) {
      consensus.setCompact(entry, slot - 1, number);
      return this.#answers.promise(session, messenger, words, word, entry, record, slot, FLAG_TRUSTED_FULL);
    }
    this.#answers.refuse(session, messenger, words, word, NO_RECORD, FLAG_TRUSTED_FULL);
  }

  /** Whether another coordinator has been promised something lately. */
  #isFresh(record: number, words: Int32Array, ballotWord: number): boolean {
    if (!this.#store.consensus.isFull(record)) return false;
    const held = this.#store.consensus.words(record);
    const at = this.#store.consensus.wordOffset(record);
    if (readU53(held, at + RECORD_PROMISE) === 0) return false;
    if (equalWords(held, at + RECORD_PROMISE + 2, words, ballotWord + 2, 2)) return false;
    const ageMs = ((this.#nowMs | 0) - held[at + RECORD_CHANGED_MS]!) | 0;
    return ageMs >= 0 && ageMs < FRESH_MS;
  }

  #release(record: number, words: Int32Array, word: number): void {
    const { consensus } = this.#store;
    if (!consensus.isFull(record) || this.#comparePromise(record, words, word + WORD_PREPARE_BALLOT) !== 0) return;
    const at = consensus.wordOffset(record);
    consensus.words(record)[at + RECORD_CHANGED_MS] = (this.#nowMs - FRESH_MS) | 0;
  }

  #addEntry(words: Int32Array, keyWord: number, keyBytes: number): number {
    return this.#store.addAbsent(words, keyWord, keyBytes, this.#marginBytes);
  }

  // -- ACCEPT -----------------------------------------------------------------------------------------------------

  #onAccept(session: Session<Peer>, messenger: Messenger, words: Int32Array, word: number, valueWord: number): void {
    if (!isOwn(session.peer, words, word + WORD_ACCEPT_BALLOT + 2)) return this.#drops.count('wrong-writer');
    if (!this.#guard.takes(readU53(words, word + WORD_ACCEPT_COUNTER))) return;
    if (!this.#guard.takes(readU53(words, word + WORD_ACCEPT_BALLOT))) return;
    const byParts = (flagsOf(words, word) & FLAG_PARTS) !== 0;
    if (
      !byParts &&
      words[word + WORD_ENVELOPE_BYTES]! > 0 &&
      !this.#takesKeyOf(session.peer, words, word, words[valueWord]!)
    )
      return;
    const store = this.#store;
    const keyBytes = words[word + WORD_KEY_BYTES]!;
    let entry = store.find(words, word + WORD_ACCEPT_KEY, keyBytes);
    let record = entry === NO_ENTRY ? NO_RECORD : store.consensus.find(entry);
    const decided = decidedSlot(this.#store, record);
    const slot = readU53(words, word + WORD_ACCEPT_SLOT);
    if (decided >= slot) return this.#answers.committed(session, messenger, words, word, entry, record);
    if (decided < slot - 1) return this.#answers.behind(session, messenger, words, word, decided);
    if (this.#comparePromise(record, words, word + WORD_ACCEPT_BALLOT) > 0 || this.#isOutdated(entry, words, word)) {
      this.nackedCount++;
      return this.#answers.refuse(session, messenger, words, word, record, 0);
    }
    if (record !== NO_RECORD && this.#contradicts(record, words, word)) {
      this.#drops.count('stamp-conflict');
      return this.#answers.refuse(session, messenger, words, word, record, FLAG_CONFLICT);
    }
    if (!store.consensus.isFull(record)) {
      entry = entry === NO_ENTRY ? this.#addEntry(words, word + WORD_ACCEPT_KEY, keyBytes) : entry;
      record = this.#expand(entry, this.#marginBytes);
      if (record === NO_RECORD) return this.#answers.refuse(session, messenger, words, word, record, FLAG_TRUSTED_FULL);
    }
    const envelopeBytes = words[word + WORD_ENVELOPE_BYTES]!;
    const target = store.consensus.words(record);
    const at = store.consensus.wordOffset(record);
    // The proposal that is here already, under another ballot: it needs no more room than it has.
    const isHeld = hasAccepted(store, record) && equalWords(target, at + RECORD_ID, words, word + WORD_ACCEPT_ID, 4);
    let ref = isHeld ? target[at + RECORD_REF]! : NO_REF;
    if (byParts) {
      const staged = isHeld ? undefined : this.parts.findStaged(session.peer, words, word);
      if (!isHeld && staged === undefined) {
        // Nobody else's is taken meanwhile but by a greater ballot.
        this.#promise(record, words, word + WORD_ACCEPT_BALLOT);
        return this.#answers.refuse(session, messenger, words, word, record, FLAG_LACKING);
      }
      const keyId = this.parts.keyIdAt(staged === undefined ? ref : staged.ref);
      if (!this.#takesKeyOf(session.peer, words, word, keyId)) return;
      if (staged !== undefined) ref = this.parts.take(staged);
    } else {
      if (!isHeld && envelopeBytes !== 0) ref = store.reserve(envelopeBytes, 0);
      if (envelopeBytes !== 0 && ref === NO_REF) {
        return this.#answers.refuse(session, messenger, words, word, record, this.#fullFlag());
      }
      if (ref !== NO_REF) store.fillReserved(ref, 0, words, valueWord, envelopeBytes);
    }
    if (!isHeld) this.#releaseAccepted(record);
    this.#promise(record, words, word + WORD_ACCEPT_BALLOT);
    // Ballot, id, counter, writer, rmw: as they lie in the message.
    copyWords(target, at + RECORD_BALLOT, words, word + WORD_ACCEPT_BALLOT, 13);
    target[at + RECORD_ENVELOPE_BYTES] = envelopeBytes;
    target[at + RECORD_TOMBSTONE] = (flagsOf(words, word) & FLAG_TOMBSTONE) !== 0 ? 1 : 0;
    target[at + RECORD_REF] = ref;
    copyWords(target, at + RECORD_TAG, words, word + WORD_ACCEPT_TAG, 4);
    this.#answers.accepted(session, messenger, words, word);
  }

  /** Under a data key that is closing nobody's own proposal is taken. @param keyId First word of the envelope. */
  #takesKeyOf(peer: Peer, words: Int32Array, word: number, keyId: number): boolean {
    const isNew = isOwn(peer, words, word + WORD_ACCEPT_ID);
    if (!isNew || this.#takesDataKey?.(keyId >>> 0) !== false) return true;
    this.#drops.count('old-data-key');
    return false;
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
    if (!hasAccepted(this.#store, record)) return false;
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

  #onCommit(session: Session<Peer>, messenger: Messenger, words: Int32Array, word: number, valueWord: number): void {
    if (!this.#guard.takes(readU53(words, word + WORD_COMMIT_COUNTER))) return;
    this.#answers.commitReply(session, messenger, words, word, this.#commit(session.peer, words, word, valueWord));
  }

  /** Flags of the answer: 0 when slot and stamp here are at least those of the message. */
  #commit(peer: Peer, words: Int32Array, word: number, valueWord: number): number {
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
    let record = entry === NO_ENTRY ? NO_RECORD : store.consensus.find(entry);
    const byParts = (flags & FLAG_PARTS) !== 0;
    const isAccepted = byParts && this.parts.hasAccepted(record, words, word);
    const staged = byParts && !isAccepted && order < 0 ? this.parts.findDecided(peer, words, word) : undefined;
    const hasValue = (flags & (FLAG_VALUE | FLAG_TOMBSTONE)) !== 0 || isAccepted || staged !== undefined;
    if (order < 0 && !hasValue) return FLAG_LACKING;
    if (
      (order === 0 && entry !== NO_ENTRY && !store.tagEquals(entry, words, word + WORD_COMMIT_TAG)) ||
      this.#isOtherRing(record, words, word)
    ) {
      this.#drops.count('stamp-conflict');
      return FLAG_CONFLICT;
    }
    // All that may be refused, before anything is changed.
    const isNews = slot > decidedSlot(store, record);
    if (isNews && !store.consensus.isFull(record)) {
      if (entry === NO_ENTRY) entry = store.addAbsent(words, word + WORD_COMMIT_KEY, keyBytes, 0);
      const expanded = this.#expand(entry, 0);
      // Without room for a full record a compact one takes the slot, and no ring.
      const isTaken = expanded !== NO_RECORD || (record !== NO_RECORD && store.consensus.fitsCompact(slot, 0));
      if (!isTaken) return FLAG_TRUSTED_FULL;
      if (expanded !== NO_RECORD) record = expanded;
    }
    if (order < 0 && byParts) this.parts.adopt(entry, record, staged, words, word);
    else if (order < 0) {
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
    if (isNews) this.decidedCount++;
    // Of an idle key that has decided the slot there is nothing to be kept.
    if (slot > 0 && store.consensus.isFull(record)) this.#decide(record, slot, words, word);
    else if (isNews) store.consensus.setCompact(entry, slot, 0);
    return 0;
  }

  #decide(record: number, slot: number, words: Int32Array, word: number): void {
    const target = this.#store.consensus.words(record);
    const at = this.#store.consensus.wordOffset(record);
    if (slot > readU53(target, at + RECORD_SLOT)) {
      writeU53(target, at + RECORD_SLOT, slot);
      target[at + RECORD_CHANGED_MS] = this.#nowMs | 0;
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

  // -- records ----------------------------------------------------------------------------------------------------

  /** The full record of an entry, or NO_RECORD when there is no room; NO_ENTRY: there was none for the entry. */
  #expand(entry: number, marginBytes: number): number {
    return entry === NO_ENTRY ? NO_RECORD : this.#store.consensus.expand(entry, marginBytes, this.#nowMs);
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
