import { assert } from '../../net/assert.ts';
import { alignUp, readU53, writeU53 } from '../../net/bytes.ts';
import type { DropCounters } from '../../net/drops.ts';
import type { Incoming } from '../../net/inbox.ts';
import type { Session } from '../../net/session.ts';
import { NO_REF } from '../store/host-memory.ts';
import type { Store } from '../store/store.ts';
import { NO_ENTRY, TOUCH_COUNT_MAX } from '../store/trusted-index.ts';
import { APPLIED, TRUSTED_FULL } from '../store/write-result.ts';
import { MESSAGE_CALL, MESSAGE_CALL_OPEN } from './call-messages.ts';
import type { CounterGuard } from './counter-guard.ts';
import { MESSAGE_COUNTERS } from './counters-message.ts';
import { MESSAGE_CALL_PART, MESSAGE_CALL_PULL } from './call-part-messages.ts';
import type { Formation } from './formation.ts';
import {
  FLAG_CONFLICT,
  FLAG_GONE,
  FLAG_HOST_FULL,
  FLAG_PARTS,
  FLAG_REPAIR,
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
  MESSAGE_STATUS_REQUEST,
  MESSAGE_WRITE,
  MESSAGE_WRITE_PART,
  MESSAGE_WRITE_REPLY,
  READ_PART_REPLY_BYTES,
  READ_REPLY_BYTES,
  READ_REPLY_VALUE_BYTES,
  STAMP_REPLY_BYTES,
  WORD_ASK_KEY,
  WORD_ENVELOPE_BYTES,
  WORD_KEY_BYTES,
  WORD_PART_REPLY_BYTES,
  WORD_PART_REPLY_OFFSET,
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
} from './messages.ts';
import type { Messenger } from './messenger.ts';
import type { Peer } from './peer.ts';
import { deny, isPermitted } from './permissions.ts';
import { Reassemblies } from './reassemblies.ts';
import type { Reassembly } from './reassemblies.ts';
import type { Repairs } from './repairs.ts';
import { MESSAGE_RESOLVE } from './resolve-messages.ts';
import { RmwAcceptor } from './rmw-acceptor.ts';
import type { TakesDataKey } from './rmw-acceptor.ts';
import { MESSAGE_ACCEPT, MESSAGE_COMMIT, MESSAGE_PREPARE } from './rmw-messages.ts';
import { ScanAnswers } from './scan-answers.ts';
import { MESSAGE_SCAN } from './scan-messages.ts';

/**
 * A replica as a pure state machine: messages in, answers out. It keeps the greatest stamp of each key and answers
 * nothing that counts unless its incarnation belongs to the cluster instance and the message has its epoch.
 *
 *     READ   stamp of the key, with the value when it is asked for
 *     STAMP  counter of the key's stamp, or why a write would be refused
 *     WRITE  applied when its stamp is greater than the stored one, acknowledged either way
 *     parts  of values larger than a datagram: read one by one; written into place, applied when all are there
 *            (reassemblies.ts)
 *     SCAN   keys of a range in order, with their stamps (scan-answers.ts)
 *     REPAIR a good copy for one that does not open (repairs.ts)
 *     PREPARE, ACCEPT, COMMIT  of read-modify-writes (rmw-acceptor.ts)
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
  /** The coordinator of the same process asks on this session, and is answered by this messenger. */
  readonly local?: { readonly session: Session<Peer>; readonly messenger: Messenger } | undefined;
  readonly drops: DropCounters;
  readonly repairs: Repairs;
  readonly guard: CounterGuard;
  /** Bytes of the trusted budget that only writes already let through may use. */
  readonly trustedMarginBytes: number;
  /** Left out: values are not sealed. */
  readonly takesDataKey?: TakesDataKey | undefined;
  onStatusRequest(session: Session<Peer>, slot: number, generation: number): void;
  /** A CALL, CALL_OPEN or RESOLVE (src/coordinated/). */
  onCall(incoming: Incoming<Peer>, word: number, nowMs: number): void;
}

export class Replica {
  readonly #store: Store;
  readonly #formation: Formation;
  /** For the datagram at hand. */
  #messenger: Messenger;
  readonly #drops: DropCounters;
  readonly #repairs: Repairs;
  readonly #guard: CounterGuard;
  readonly #options: ReplicaOptions;
  readonly reassemblies: Reassemblies;
  readonly acceptor: RmwAcceptor;
  readonly #scans: ScanAnswers;
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
    this.#guard = options.guard;
    this.acceptor = new RmwAcceptor(
      options.store,
      options.guard,
      options.drops,
      options.trustedMarginBytes,
      options.takesDataKey,
    );
    this.#scans = new ScanAnswers(options.store);
    this.reassemblies = new Reassemblies(options.store, options.local?.messenger ?? options.messenger, {
      answerEarly: (write) => this.#answerEarly(write),
      onWhole: (write) => this.#onWhole(write),
    });
  }

  /** READs, WRITEs and SCANs answered. */
  get operationCount(): number {
    return this.#operationCount;
  }

  onMessages(incoming: Incoming<Peer>, nowMs: number): void {
    this.#nowMs = nowMs;
    const { messenger, local } = this.#options;
    this.#messenger = local !== undefined && incoming.session === local.session ? local.messenger : messenger;
    const { words } = incoming.region;
    const { wordEnd, valueWordEnd } = incoming;
    let { word, valueWord } = incoming;
    let isSpent = true;
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
        isSpent &&= isCopied(typeOf(words, word));
        count++;
        valueWord += alignUp(messageEnvelopeBytes(words, word)) >> 2;
        word += byteCount >> 2;
      }
      this.#store.touch(this.#groupHashes, count);
      for (let i = 0; i < count; i++) {
        this.#onMessage(incoming, this.#groupWords[i]!, this.#groupValueWords[i]!, this.#groupHashes[i]!, nowMs);
      }
      if (isMalformed) return this.#drops.count('malformed');
    }
    incoming.isSpent = isSpent;
  }

  /** Hash of a message's key; 0 when it has none. */
  #hashOf(words: Int32Array, word: number): number {
    switch (typeOf(words, word)) {
      case MESSAGE_READ:
      case MESSAGE_STAMP:
        return this.#store.hashOf(words, word + WORD_ASK_KEY, words[word + WORD_KEY_BYTES]!);
      case MESSAGE_WRITE:
        return this.#store.hashOf(words, word + WORD_WRITE_KEY, words[word + WORD_KEY_BYTES]!);
      case MESSAGE_READ_PART:
        return this.#store.hashOf(words, word + WORD_READ_PART_KEY, words[word + WORD_KEY_BYTES]!);
      default:
        return 0;
    }
  }

  #onMessage(incoming: Incoming<Peer>, word: number, valueWord: number, hash: number, nowMs: number): void {
    const { words } = incoming.region;
    const { session } = incoming;
    switch (typeOf(words, word)) {
      case MESSAGE_READ:
        if (this.#takes(incoming, word)) this.#onRead(session, words, word, hash);
        return;
      case MESSAGE_STAMP:
        if (this.#takes(incoming, word)) this.#onStamp(session, words, word, hash);
        return;
      case MESSAGE_WRITE:
        if (this.#takes(incoming, word)) this.#onWrite(session, words, word, valueWord, hash);
        return;
      default:
        return this.#onRareMessage(incoming, word, valueWord, hash, nowMs);
    }
  }

  #onRareMessage(incoming: Incoming<Peer>, word: number, valueWord: number, hash: number, nowMs: number): void {
    const { words } = incoming.region;
    const { session } = incoming;
    switch (typeOf(words, word)) {
      case MESSAGE_READ_PART:
        if (this.#takes(incoming, word)) this.#onReadPart(session, words, word, hash);
        return;
      case MESSAGE_WRITE_PART:
        if (this.#takes(incoming, word)) this.#onWritePart(session, words, word, valueWord);
        return;
      case MESSAGE_REPAIR:
        if (this.#takes(incoming, word)) this.#repairs.onRepair(incoming, word, valueWord);
        return;
      case MESSAGE_SCAN:
        if (!this.#takes(incoming, word)) return;
        this.#operationCount++;
        return this.#scans.onScan(session, this.#messenger, words, word);
      case MESSAGE_PREPARE:
      case MESSAGE_ACCEPT:
      case MESSAGE_COMMIT:
        if (this.#takes(incoming, word))
          this.acceptor.onMessage(session, this.#messenger, words, word, valueWord, this.#nowMs);
        return;
      case MESSAGE_CALL:
      case MESSAGE_CALL_OPEN:
      case MESSAGE_CALL_PART:
      case MESSAGE_CALL_PULL:
        if (this.#serves(incoming)) this.#options.onCall(incoming, word, nowMs);
        return;
      case MESSAGE_RESOLVE:
        if (this.#takes(incoming, word)) this.#options.onCall(incoming, word, nowMs);
        return;
      case MESSAGE_COUNTERS:
        if (this.#serves(incoming)) this.#guard.onCounters(session, this.#messenger, words, word);
        return;
      case MESSAGE_STATE_REQUEST:
        return this.#tellState(session);
      case MESSAGE_STATE:
        return this.#formation.onState(session, words, word);
      case MESSAGE_STATUS_REQUEST:
        if (this.#mayTell(session, this.#statusToldMs) && this.#permits(session, words, word))
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

  /** Whether a message about keys is carried out; if not, it was answered or counted. */
  #takes(incoming: Incoming<Peer>, word: number): boolean {
    return this.#serves(incoming) && this.#permits(incoming.session, incoming.region.words, word);
  }

  #permits(session: Session<Peer>, words: Int32Array, word: number): boolean {
    const { permissions } = session.peer.identity;
    if (permissions.isAll || isPermitted(permissions, words, word)) return true;
    this.#drops.count('not-permitted');
    deny(session, this.#messenger, words, word);
    return false;
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
    this.#operationCount++;
    const store = this.#store;
    const entry = store.find(words, word + WORD_ASK_KEY, words[word + WORD_KEY_BYTES]!, hash);
    const absent = entry === NO_ENTRY || store.isTombstone(entry);
    const wantsValue = !absent && (flagsOf(words, word) & FLAG_VALUE) !== 0;
    const withValue = wantsValue && this.#messenger.fits(session, READ_REPLY_VALUE_BYTES, store.envelopeBytes(entry));
    // A larger one is asked for by parts: length and tag come instead.
    const byParts = wantsValue && !withValue;
    const envelopeBytes = withValue ? store.envelopeBytes(entry) : 0;
    if (!this.#messenger.append(session, wantsValue ? READ_REPLY_VALUE_BYTES : READ_REPLY_BYTES, envelopeBytes)) return;
    const { out } = this.#messenger;
    const target = out.control.words;
    const flags = (withValue ? FLAG_VALUE : 0) | (absent ? FLAG_TOMBSTONE : 0) | (byParts ? FLAG_PARTS : 0);
    writeHead(target, out.word, MESSAGE_READ_REPLY, flags, slotOf(words, word), words[word + 1]!);
    target[out.word + WORD_REPLY_ENVELOPE_BYTES] = byParts ? store.envelopeBytes(entry) : envelopeBytes;
    target[out.word + WORD_REPLY_RMW] = entry === NO_ENTRY ? 0 : store.rmw(entry);
    writeU53(target, out.word + WORD_REPLY_COUNTER, entry === NO_ENTRY ? 0 : store.counter(entry));
    target[out.word + WORD_REPLY_WRITER] = entry === NO_ENTRY ? 0 : store.writerLow(entry);
    target[out.word + WORD_REPLY_WRITER + 1] = entry === NO_ENTRY ? 0 : store.writerHigh(entry);
    if (!wantsValue) return;
    store.copyTag(entry, target, out.word + WORD_REPLY_TAG);
    if (withValue) store.copyEnvelope(entry, out.packet, out.valueWord);
  }

  #onReadPart(session: Session<Peer>, words: Int32Array, word: number, hash: number): void {
    const store = this.#store;
    const entry = store.find(words, word + WORD_READ_PART_KEY, words[word + WORD_KEY_BYTES]!, hash);
    const byteOffset = words[word + WORD_READ_PART_OFFSET]!;
    const byteCount = words[word + WORD_READ_PART_BYTES]!;
    if (byteOffset % 8 !== 0 || byteCount === 0) return this.#drops.count('malformed');
    const isThere =
      entry !== NO_ENTRY &&
      !store.isTombstone(entry) &&
      store.compareStamp(
        entry,
        readU53(words, word + WORD_READ_PART_COUNTER),
        words[word + WORD_READ_PART_WRITER + 1]!,
        words[word + WORD_READ_PART_WRITER]!,
        words[word + WORD_READ_PART_RMW]!,
      ) === 0 &&
      byteOffset + byteCount <= store.envelopeBytes(entry) &&
      this.#messenger.fits(session, READ_PART_REPLY_BYTES, byteCount);
    if (!this.#messenger.append(session, READ_PART_REPLY_BYTES, isThere ? byteCount : 0)) return;
    const { out } = this.#messenger;
    const target = out.control.words;
    const flags = isThere ? 0 : FLAG_GONE;
    writeHead(target, out.word, MESSAGE_READ_PART_REPLY, flags, slotOf(words, word), words[word + 1]!);
    target[out.word + WORD_PART_REPLY_OFFSET] = byteOffset;
    target[out.word + WORD_PART_REPLY_BYTES] = isThere ? byteCount : 0;
    if (isThere) store.copyEnvelopePart(entry, byteOffset, byteCount, out.packet, out.valueWord);
  }

  #onStamp(session: Session<Peer>, words: Int32Array, word: number, hash: number): void {
    const store = this.#store;
    const keyBytes = words[word + WORD_KEY_BYTES]!;
    const entry = store.find(words, word + WORD_ASK_KEY, keyBytes, hash);
    if (!this.#messenger.append(session, STAMP_REPLY_BYTES, 0)) return;
    const { out } = this.#messenger;
    const flags = this.#roomFlags(entry, keyBytes, words[word + WORD_ENVELOPE_BYTES]!);
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
    if (!this.#mayWrite(session, words, word)) return;
    if (words[word + WORD_ENVELOPE_BYTES]! > 0 && !this.#takesKeyOf(words[valueWord]!)) return;
    this.#operationCount++;
    const counter = readU53(words, word + WORD_WRITE_COUNTER);
    const writerHigh = words[word + WORD_WRITE_WRITER + 1]!;
    const writerLow = words[word + WORD_WRITE_WRITER]!;
    this.#answerWrite(session, words, word, this.#apply(words, word, valueWord, hash, counter, writerHigh, writerLow));
  }

  #onWritePart(session: Session<Peer>, words: Int32Array, word: number, valueWord: number): void {
    if (this.#mayWrite(session, words, word)) this.reassemblies.onPart(session, words, word, valueWord, this.#nowMs);
  }

  /**
   * A value under a data key that is about to be destroyed, or was, is not kept: nobody could read it. It is not answered:
   * its writer has not heard of a change for long, or reads what is being sealed anew.
   * @param firstWord Of the envelope: the key's id.
   */
  #takesKeyOf(firstWord: number): boolean {
    if (this.#options.takesDataKey?.(firstWord >>> 0) !== false) return true;
    this.#drops.count('old-data-key');
    return false;
  }

  /** Whether the peer may write under this stamp; if not, that was counted. */
  #mayWrite(session: Session<Peer>, words: Int32Array, word: number): boolean {
    const { peer } = session;
    const flags = flagsOf(words, word);
    const isRepair = typeOf(words, word) === MESSAGE_WRITE_PART && (flags & FLAG_REPAIR) !== 0;
    const isFresh = !isRepair && (flags & FLAG_WRITE_BACK) === 0;
    if (!isWritten(words, word, isFresh)) {
      this.#drops.count('malformed');
      return false;
    }
    if (isRepair) return true;
    const isOwn =
      words[word + WORD_WRITE_WRITER] === peer.writerLow && words[word + WORD_WRITE_WRITER + 1] === peer.writerHigh;
    if (isFresh && !isOwn) {
      this.#drops.count('wrong-writer');
      return false;
    }
    return this.#guard.takes(readU53(words, word + WORD_WRITE_COUNTER));
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

  /** Of a value that comes by parts: what is answered when its key alone decides that. */
  #answerEarly(write: Reassembly): number | undefined {
    if (write.isRepair) return this.#answerRepairEarly(write);
    const store = this.#store;
    const entry = store.find(write.keyWords, 0, write.keyBytes);
    const order = store.compareStamp(entry, write.counter, write.writerHigh, write.writerLow, write.rmw);
    if (order < 0) return undefined;
    if (order > 0 || store.tagEquals(entry, write.tagWords, 0)) return 0;
    this.#drops.count('stamp-conflict');
    return FLAG_CONFLICT;
  }

  /** An offer that nobody needs is not waited for. */
  #answerRepairEarly(offer: Reassembly): number | undefined {
    if (this.#repairs.wants(offer)) return undefined;
    this.#drops.count('repair-unusable');
    return 0;
  }

  /** A value is whole: the entry takes its block over, if the stamp is still greater. */
  #onWhole(write: Reassembly): number | undefined {
    if (write.isRepair) {
      if (this.#repairs.onWhole(write)) write.ref = NO_REF;
      return 0;
    }
    const answer = this.#answerEarly(write);
    if (answer !== undefined) return answer;
    // The host may have changed it since; then the value does not open, whatever is said of it here.
    if (!this.#takesKeyOf(this.#store.hostRegion(write.ref).words[this.#store.hostWord(write.ref)]!)) return undefined;
    this.#operationCount++;
    const result = this.#store.adopt(
      write.keyWords,
      0,
      write.keyBytes,
      write.counter,
      write.writerHigh,
      write.writerLow,
      write.rmw,
      write.tagWords,
      0,
      write.ref,
      write.envelopeBytes,
    );
    if (result !== APPLIED) return result === TRUSTED_FULL ? FLAG_TRUSTED_FULL : FLAG_HOST_FULL;
    write.ref = NO_REF;
    return 0;
  }

  /** At the end of a turn's datagrams. */
  endTurn(nowMs: number): void {
    this.reassemblies.flush();
    this.reassemblies.tick(nowMs);
  }

  #answerWrite(session: Session<Peer>, words: Int32Array, word: number, flags: number): void {
    if (!this.#messenger.append(session, WRITE_REPLY_BYTES, 0)) return;
    const { out } = this.#messenger;
    writeHead(out.control.words, out.word, MESSAGE_WRITE_REPLY, flags, slotOf(words, word), words[word + 1]!);
  }
}

/**
 * Whether the stamp can be that of a written value: not none, and with counter 0 without a writer. Stamps with an rmw are made
 * by consensus alone (rmw-acceptor.ts), so a fresh WRITE carries none; who only repairs or writes back may name them.
 */
function isWritten(words: Int32Array, word: number, isFresh: boolean): boolean {
  const rmw = words[word + WORD_WRITE_RMW]!;
  if (readU53(words, word + WORD_WRITE_COUNTER) !== 0) return rmw === 0 || !isFresh;
  return rmw !== 0 && !isFresh && words[word + WORD_WRITE_WRITER] === 0 && words[word + WORD_WRITE_WRITER + 1] === 0;
}

/** Nothing of them is kept in the datagram. Small WRITEs come many in one: there is little to gain. */
function isCopied(type: number): boolean {
  return type === MESSAGE_WRITE_PART || type === MESSAGE_STAMP || type === MESSAGE_READ || type === MESSAGE_READ_PART;
}
