import { assert } from '../../net/assert.ts';
import { alignUp, readU53 } from '../../net/bytes.ts';
import type { DropCounters } from '../../net/drops.ts';
import type { Incoming } from '../../net/inbox.ts';
import type { Session } from '../../net/session.ts';
import type { Store } from '../store/store.ts';
import { TOUCH_COUNT_MAX } from '../store/trusted-index.ts';
import { MESSAGE_CALL, MESSAGE_CALL_OPEN } from './call-messages.ts';
import type { CounterGuard } from './counter-guard.ts';
import { MESSAGE_COUNTERS } from './counters-message.ts';
import { MESSAGE_CALL_PART, MESSAGE_CALL_PULL } from './call-part-messages.ts';
import type { Formation } from './formation.ts';
import {
  MESSAGE_READ,
  MESSAGE_READ_PART,
  MESSAGE_REPAIR,
  MESSAGE_STAMP,
  MESSAGE_STATE,
  MESSAGE_STATE_REQUEST,
  MESSAGE_STATUS_REQUEST,
  MESSAGE_WRITE,
  MESSAGE_WRITE_PART,
  WORD_ASK_KEY,
  WORD_KEY_BYTES,
  WORD_READ_PART_KEY,
  WORD_WRITE_COUNTER,
  WORD_WRITE_KEY,
  messageBytes,
  messageEnvelopeBytes,
  slotOf,
  typeOf,
} from './messages.ts';
import type { Messenger } from './messenger.ts';
import type { Peer } from './peer.ts';
import { deny, isPermitted } from './permissions.ts';
import { ReadAnswers } from './read-answers.ts';
import { Reassemblies } from './reassemblies.ts';
import type { Repairs } from './repairs.ts';
import { MESSAGE_RESOLVE } from './resolve-messages.ts';
import { RmwAcceptor } from './rmw-acceptor.ts';
import type { TakesDataKey } from './rmw-acceptor.ts';
import { MESSAGE_ACCEPT, MESSAGE_COMMIT, MESSAGE_PREPARE } from './rmw-messages.ts';
import { MESSAGE_READ_ACCEPTED, MESSAGE_STAGE_PART } from './rmw-part-messages.ts';
import { ScanAnswers } from './scan-answers.ts';
import { MESSAGE_SCAN } from './scan-messages.ts';
import { WriteAcceptor } from './write-acceptor.ts';

/**
 * A replica as a pure state machine: messages in, answers out. It keeps the greatest stamp of each key and answers
 * nothing that counts unless its incarnation belongs to the cluster instance and the message has its epoch.
 *
 *     READ   stamp of the key, with the value when it is asked for (read-answers.ts)
 *     STAMP  counter of the key's stamp, or why a write would be refused (read-answers.ts)
 *     WRITE  applied when its stamp is greater than the stored one, acknowledged either way (write-acceptor.ts)
 *     parts  of values larger than a datagram: read one by one; written into place, applied when all are there
 *            (reassemblies.ts)
 *     SCAN   keys of a range in order, with their stamps (scan-answers.ts)
 *     REPAIR a good copy for one that does not open (repairs.ts)
 *     PREPARE, ACCEPT, COMMIT  of read-modify-writes (rmw-acceptor.ts)
 *
 * Here it is seen to who is answered at all, and that what many messages need of the store is fetched at once.
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
  readonly #reads: ReadAnswers;
  readonly #writes: WriteAcceptor;
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
    const { store, messenger, drops, repairs, guard, trustedMarginBytes, takesDataKey } = options;
    this.#store = store;
    this.#formation = options.formation;
    this.#messenger = messenger;
    this.#drops = drops;
    this.#repairs = repairs;
    this.#guard = guard;
    this.#reads = new ReadAnswers(store, drops, trustedMarginBytes);
    this.#writes = new WriteAcceptor(store, drops, repairs, guard, takesDataKey);
    this.#scans = new ScanAnswers(store);
    this.reassemblies = new Reassemblies(store, options.local?.messenger ?? messenger, {
      answerEarly: (write) => this.#writes.answerEarly(write),
      onWhole: (write) => this.#writes.onWhole(write),
    });
    this.acceptor = new RmwAcceptor(store, this.reassemblies, guard, drops, trustedMarginBytes, takesDataKey);
  }

  /** READs, WRITEs and SCANs answered. */
  get operationCount(): number {
    return this.#operationCount + this.#writes.writeCount;
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
        if (!this.#takes(incoming, word)) return;
        this.#operationCount++;
        return this.#reads.onRead(session, this.#messenger, words, word, hash);
      case MESSAGE_STAMP:
        if (this.#takes(incoming, word)) this.#reads.onStamp(session, this.#messenger, words, word, hash);
        return;
      case MESSAGE_WRITE:
        if (this.#takes(incoming, word)) this.#writes.onWrite(session, this.#messenger, words, word, valueWord, hash);
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
        if (this.#takes(incoming, word)) this.#reads.onReadPart(session, this.#messenger, words, word, hash);
        return;
      case MESSAGE_WRITE_PART:
        if (this.#takes(incoming, word) && this.#writes.mayWrite(session, words, word))
          this.reassemblies.onPart(session, words, word, valueWord, nowMs);
        return;
      case MESSAGE_STAGE_PART:
        // What it is for is looked at when an ACCEPT or COMMIT names it.
        if (this.#takes(incoming, word) && this.#guard.takes(readU53(words, word + WORD_WRITE_COUNTER)))
          this.reassemblies.onPart(session, words, word, valueWord, nowMs);
        return;
      case MESSAGE_READ_ACCEPTED:
        if (this.#takes(incoming, word)) this.acceptor.parts.onReadAccepted(session, this.#messenger, words, word);
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

  /** At the end of a turn's datagrams. */
  endTurn(nowMs: number): void {
    this.reassemblies.flush();
    this.reassemblies.tick(nowMs);
  }
}

/** Nothing of them is kept in the datagram. Small WRITEs come many in one: there is little to gain. */
function isCopied(type: number): boolean {
  return (
    type === MESSAGE_WRITE_PART ||
    type === MESSAGE_STAGE_PART ||
    type === MESSAGE_STAMP ||
    type === MESSAGE_READ ||
    type === MESSAGE_READ_PART
  );
}
