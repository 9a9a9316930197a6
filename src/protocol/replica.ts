import { assert } from '../../net/assert.ts';
import { alignUp, readU53, writeU53 } from '../../net/bytes.ts';
import type { DropCounters } from '../../net/drops.ts';
import type { Incoming } from '../../net/inbox.ts';
import type { Session } from '../../net/session.ts';
import type { Store } from '../store/store.ts';
import { NO_ENTRY, TOUCH_COUNT_MAX } from '../store/trusted-index.ts';
import { APPLIED, TRUSTED_FULL } from '../store/write-result.ts';
import type { Formation } from './formation.ts';
import {
  FLAG_CONFLICT,
  FLAG_HOST_FULL,
  FLAG_NOT_PERMITTED,
  FLAG_TOMBSTONE,
  FLAG_TOO_LARGE,
  FLAG_TRUSTED_FULL,
  FLAG_VALUE,
  FLAG_WRITE_BACK,
  MESSAGE_READ,
  MESSAGE_READ_REPLY,
  MESSAGE_REPAIR,
  MESSAGE_STAMP,
  MESSAGE_STAMP_REPLY,
  MESSAGE_STATE,
  MESSAGE_STATE_REQUEST,
  MESSAGE_STATUS_REQUEST,
  MESSAGE_WRITE,
  MESSAGE_WRITE_REPLY,
  READ_REPLY_BYTES,
  READ_REPLY_VALUE_BYTES,
  STAMP_REPLY_BYTES,
  WORD_ASK_KEY,
  WORD_ENVELOPE_BYTES,
  WORD_KEY_BYTES,
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
  WRITE_BYTES,
  WRITE_REPLY_BYTES,
  flagsOf,
  messageBytes,
  messageEnvelopeBytes,
  slotOf,
  typeOf,
  writeHead,
} from './messages.ts';
import type { Messenger } from './messenger.ts';
import type { Peer } from './peer.ts';
import type { Repairs } from './repairs.ts';

/**
 * A replica as a pure state machine: messages in, answers out. It keeps the greatest stamp of each key and answers
 * nothing that counts unless its incarnation belongs to the cluster instance and the message has its epoch.
 *
 *     READ   stamp of the key, with the value when it is asked for
 *     STAMP  counter of the key's stamp, or why a write would be refused
 *     WRITE  applied when its stamp is greater than the stored one, acknowledged either way
 *     REPAIR a good copy for one that does not open (repairs.ts)
 */

/**
 * Room of the budget left to writes that were let through at STAMP and are still to come: 64 chunks' worth of entries
 * and keys for a few thousand operations in flight.
 */
export const TRUSTED_MARGIN_BYTES = 2 * 1024 * 1024;

/** Messages that are looked up together; a datagram of 16 KiB holds some 200 small ones. */
const GROUP_COUNT_MAX = 64;
assert(GROUP_COUNT_MAX <= TOUCH_COUNT_MAX, 'a group is touched at once');

export interface ReplicaOptions {
  readonly store: Store;
  readonly formation: Formation;
  readonly messenger: Messenger;
  readonly drops: DropCounters;
  readonly repairs: Repairs;
  /** Bytes of the trusted budget that only writes already let through may use. */
  readonly trustedMarginBytes: number;
  onStatusRequest(session: Session<Peer>, slot: number, generation: number): void;
}

export class Replica {
  readonly #store: Store;
  readonly #formation: Formation;
  readonly #messenger: Messenger;
  readonly #drops: DropCounters;
  readonly #repairs: Repairs;
  readonly #options: ReplicaOptions;
  #operationCount = 0;
  #nowMs = 0;
  readonly #groupWords = new Int32Array(GROUP_COUNT_MAX);
  readonly #groupValueWords = new Int32Array(GROUP_COUNT_MAX);
  readonly #groupHashes = new Int32Array(GROUP_COUNT_MAX);
  /** When a session was last told state or status: once a turn is enough, they cost far more than they are asked with. */
  readonly #stateToldMs = new WeakMap<Session<Peer>, number>();
  readonly #statusToldMs = new WeakMap<Session<Peer>, number>();

  constructor(options: ReplicaOptions) {
    this.#options = options;
    this.#store = options.store;
    this.#formation = options.formation;
    this.#messenger = options.messenger;
    this.#drops = options.drops;
    this.#repairs = options.repairs;
  }

  /** READs and WRITEs answered. */
  get operationCount(): number {
    return this.#operationCount;
  }

  onMessages(incoming: Incoming<Peer>, nowMs: number): void {
    this.#nowMs = nowMs;
    const { words } = incoming.region;
    const { wordEnd, valueWordEnd } = incoming;
    let { word, valueWord } = incoming;
    while (word < wordEnd) {
      // Groups of messages, so that what the store has to fetch from memory for each is fetched for all at once.
      let count = 0;
      let isMalformed = false;
      while (word < wordEnd && count < GROUP_COUNT_MAX) {
        const byteCount = messageBytes(words, word, wordEnd, (valueWordEnd - valueWord) * 4);
        isMalformed = byteCount < 0;
        if (isMalformed) break;
        this.#groupWords[count] = word;
        this.#groupValueWords[count] = valueWord;
        this.#groupHashes[count] = this.#hashOf(words, word);
        count++;
        valueWord += alignUp(messageEnvelopeBytes(words, word)) >> 2;
        word += byteCount >> 2;
      }
      this.#store.touch(this.#groupHashes, count);
      for (let i = 0; i < count; i++) {
        this.#onMessage(incoming, this.#groupWords[i]!, this.#groupValueWords[i]!, this.#groupHashes[i]!);
      }
      if (isMalformed) return this.#drops.count('malformed');
    }
  }

  /** Hash of a message's key; 0 when it has none. */
  #hashOf(words: Int32Array, word: number): number {
    switch (typeOf(words, word)) {
      case MESSAGE_READ:
      case MESSAGE_STAMP:
        return this.#store.hashOf(words, word + WORD_ASK_KEY, words[word + WORD_KEY_BYTES]!);
      case MESSAGE_WRITE:
        return this.#store.hashOf(words, word + WORD_WRITE_KEY, words[word + WORD_KEY_BYTES]!);
      default:
        return 0;
    }
  }

  #onMessage(incoming: Incoming<Peer>, word: number, valueWord: number, hash: number): void {
    const { words } = incoming.region;
    const { session } = incoming;
    switch (typeOf(words, word)) {
      case MESSAGE_READ:
        if (this.#serves(incoming)) this.#onRead(session, words, word, hash);
        return;
      case MESSAGE_STAMP:
        if (this.#serves(incoming)) this.#onStamp(session, words, word, hash);
        return;
      case MESSAGE_WRITE:
        if (this.#serves(incoming)) this.#onWrite(session, words, word, valueWord, hash);
        return;
      case MESSAGE_REPAIR:
        if (this.#serves(incoming)) this.#repairs.onRepair(words, word, valueWord);
        return;
      case MESSAGE_STATE_REQUEST:
        return this.#tellState(session);
      case MESSAGE_STATE:
        return this.#formation.onState(session, words, word);
      case MESSAGE_STATUS_REQUEST:
        if (this.#mayTell(session, this.#statusToldMs))
          this.#options.onStatusRequest(session, slotOf(words, word), words[word + 1]!);
        return;
      default:
        this.#drops.count('unexpected-message');
    }
  }

  #tellState(session: Session<Peer>): void {
    if (this.#mayTell(session, this.#stateToldMs)) this.#formation.onStateRequest(session);
  }

  #mayTell(session: Session<Peer>, toldMs: WeakMap<Session<Peer>, number>): boolean {
    if (toldMs.get(session) === this.#nowMs) return false;
    toldMs.set(session, this.#nowMs);
    return true;
  }

  /** Only an active member answers quorum messages, and only those of its own epoch. */
  #serves(incoming: Incoming<Peer>): boolean {
    if (!this.#formation.isActive) {
      this.#drops.count('not-active');
      return false;
    }
    if (incoming.epoch !== this.#formation.epoch) {
      this.#drops.count('wrong-epoch');
      this.#tellState(incoming.session);
      return false;
    }
    return true;
  }

  #onRead(session: Session<Peer>, words: Int32Array, word: number, hash: number): void {
    if (!session.peer.identity.mayRead) return this.#refuseRead(session, words, word);
    this.#operationCount++;
    const store = this.#store;
    const entry = store.find(words, word + WORD_ASK_KEY, words[word + WORD_KEY_BYTES]!, hash);
    const absent = entry === NO_ENTRY || store.isTombstone(entry);
    const wantsValue = !absent && (flagsOf(words, word) & FLAG_VALUE) !== 0;
    // Who can't write the value back in one datagram is not sent it either.
    const keyBytes = words[word + WORD_KEY_BYTES]!;
    const withValue =
      wantsValue && this.#messenger.fits(session, WRITE_BYTES + alignUp(keyBytes), store.envelopeBytes(entry));
    const envelopeBytes = withValue ? store.envelopeBytes(entry) : 0;
    const byteCount = withValue ? READ_REPLY_VALUE_BYTES : READ_REPLY_BYTES;
    if (!this.#messenger.append(session, byteCount, envelopeBytes)) return;
    const { out } = this.#messenger;
    const target = out.control.words;
    const flags =
      (withValue ? FLAG_VALUE : 0) | (absent ? FLAG_TOMBSTONE : 0) | (wantsValue && !withValue ? FLAG_TOO_LARGE : 0);
    writeHead(target, out.word, MESSAGE_READ_REPLY, flags, slotOf(words, word), words[word + 1]!);
    target[out.word + WORD_REPLY_ENVELOPE_BYTES] = envelopeBytes;
    target[out.word + WORD_REPLY_RMW] = entry === NO_ENTRY ? 0 : store.rmw(entry);
    writeU53(target, out.word + WORD_REPLY_COUNTER, entry === NO_ENTRY ? 0 : store.counter(entry));
    target[out.word + WORD_REPLY_WRITER] = entry === NO_ENTRY ? 0 : store.writerLow(entry);
    target[out.word + WORD_REPLY_WRITER + 1] = entry === NO_ENTRY ? 0 : store.writerHigh(entry);
    if (!withValue) return;
    store.copyTag(entry, target, out.word + WORD_REPLY_TAG);
    store.copyEnvelope(entry, out.packet, out.valueWord);
  }

  #refuseRead(session: Session<Peer>, words: Int32Array, word: number): void {
    this.#drops.count('not-permitted');
    if (!this.#messenger.append(session, READ_REPLY_BYTES, 0)) return;
    const { out } = this.#messenger;
    writeHead(
      out.control.words,
      out.word,
      MESSAGE_READ_REPLY,
      FLAG_NOT_PERMITTED,
      slotOf(words, word),
      words[word + 1]!,
    );
    out.control.words.fill(0, out.word + 2, out.word + READ_REPLY_BYTES / 4);
  }

  #onStamp(session: Session<Peer>, words: Int32Array, word: number, hash: number): void {
    const store = this.#store;
    const keyBytes = words[word + WORD_KEY_BYTES]!;
    const entry = store.find(words, word + WORD_ASK_KEY, keyBytes, hash);
    if (!this.#messenger.append(session, STAMP_REPLY_BYTES, 0)) return;
    const { out } = this.#messenger;
    const flags = session.peer.identity.mayWrite
      ? this.#roomFlags(entry, keyBytes, words[word + WORD_ENVELOPE_BYTES]!)
      : FLAG_NOT_PERMITTED;
    writeHead(out.control.words, out.word, MESSAGE_STAMP_REPLY, flags, slotOf(words, word), words[word + 1]!);
    writeU53(out.control.words, out.word + WORD_STAMP_COUNTER, entry === NO_ENTRY ? 0 : store.counter(entry));
  }

  /** A put that will not fit is refused before anything of it is written anywhere. */
  #roomFlags(entry: number, keyBytes: number, envelopeBytes: number): number {
    const margin = this.#options.trustedMarginBytes;
    const store = this.#store;
    const hasRoom =
      entry === NO_ENTRY
        ? store.hasRoomForKey(keyBytes, envelopeBytes, margin)
        : store.hasRoomForEnvelope(entry, envelopeBytes, margin);
    if (hasRoom) return 0;
    return store.lastRefusal === TRUSTED_FULL ? FLAG_TRUSTED_FULL : FLAG_HOST_FULL;
  }

  #onWrite(session: Session<Peer>, words: Int32Array, word: number, valueWord: number, hash: number): void {
    const { peer } = session;
    const flags = flagsOf(words, word);
    const writerLow = words[word + WORD_WRITE_WRITER]!;
    const writerHigh = words[word + WORD_WRITE_WRITER + 1]!;
    const counter = readU53(words, word + WORD_WRITE_COUNTER);
    if (counter === 0) return this.#drops.count('malformed');
    if (!peer.identity.mayWrite) {
      this.#drops.count('not-permitted');
      return this.#answerWrite(session, words, word, FLAG_NOT_PERMITTED);
    }
    const isFresh = (flags & FLAG_WRITE_BACK) === 0;
    if (isFresh && (writerLow !== peer.writerLow || writerHigh !== peer.writerHigh)) {
      return this.#drops.count('wrong-writer');
    }
    this.#operationCount++;
    this.#answerWrite(session, words, word, this.#apply(words, word, valueWord, hash, counter, writerHigh, writerLow));
  }

  /** Flags of the answer: 0 when the replica now holds this stamp or a greater one. */
  #apply(
    words: Int32Array,
    word: number,
    valueWord: number,
    hash: number,
    counter: number,
    writerHigh: number,
    writerLow: number,
  ): number {
    const store = this.#store;
    const keyBytes = words[word + WORD_KEY_BYTES]!;
    const rmw = words[word + WORD_WRITE_RMW]!;
    const entry = store.find(words, word + WORD_WRITE_KEY, keyBytes, hash);
    const order = store.compareStamp(entry, counter, writerHigh, writerLow, rmw);
    if (order > 0) return 0;
    if (order === 0) {
      if (store.tagEquals(entry, words, word + WORD_WRITE_TAG)) return 0;
      this.#drops.count('stamp-conflict');
      return FLAG_CONFLICT;
    }
    const result = store.write(
      words,
      word + WORD_WRITE_KEY,
      keyBytes,
      counter,
      writerHigh,
      writerLow,
      rmw,
      (flagsOf(words, word) & FLAG_TOMBSTONE) !== 0,
      words,
      word + WORD_WRITE_TAG,
      words,
      valueWord,
      words[word + WORD_ENVELOPE_BYTES]!,
      entry,
    );
    if (result === APPLIED) return 0;
    return result === TRUSTED_FULL ? FLAG_TRUSTED_FULL : FLAG_HOST_FULL;
  }

  #answerWrite(session: Session<Peer>, words: Int32Array, word: number, flags: number): void {
    if (!this.#messenger.append(session, WRITE_REPLY_BYTES, 0)) return;
    const { out } = this.#messenger;
    writeHead(out.control.words, out.word, MESSAGE_WRITE_REPLY, flags, slotOf(words, word), words[word + 1]!);
  }
}
