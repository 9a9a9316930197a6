import { readU53 } from '../../net/bytes.ts';
import type { DropCounters } from '../../net/drops.ts';
import type { Session } from '../../net/session.ts';
import { NO_REF } from '../store/host-memory.ts';
import type { Store } from '../store/store.ts';
import { APPLIED, TRUSTED_FULL } from '../store/write-result.ts';
import type { CounterGuard } from './counter-guard.ts';
import {
  FLAG_CONFLICT,
  FLAG_HOST_FULL,
  FLAG_REPAIR,
  FLAG_TOMBSTONE,
  FLAG_TRUSTED_FULL,
  FLAG_WRITE_BACK,
  MESSAGE_WRITE_PART,
  MESSAGE_WRITE_REPLY,
  WORD_ENVELOPE_BYTES,
  WORD_KEY_BYTES,
  WORD_WRITE_COUNTER,
  WORD_WRITE_KEY,
  WORD_WRITE_RMW,
  WORD_WRITE_TAG,
  WORD_WRITE_WRITER,
  WRITE_REPLY_BYTES,
  flagsOf,
  slotOf,
  typeOf,
  writeHead,
} from './messages.ts';
import type { Messenger } from './messenger.ts';
import type { Peer } from './peer.ts';
import type { Reassembly } from './reassemblies.ts';
import type { Repairs } from './repairs.ts';
import type { TakesDataKey } from './rmw-acceptor.ts';

/**
 * WRITEs at a replica, whole or put together from parts: who may write under which stamp, and that a value is kept only if its
 * stamp is greater than the one that is there. Acknowledged either way.
 */
export class WriteAcceptor {
  readonly #store: Store;
  readonly #drops: DropCounters;
  readonly #repairs: Repairs;
  readonly #guard: CounterGuard;
  readonly #takesDataKey: TakesDataKey | undefined;
  #writeCount = 0;

  /** @param takesDataKey Left out: values are not sealed. */
  constructor(
    store: Store,
    drops: DropCounters,
    repairs: Repairs,
    guard: CounterGuard,
    takesDataKey: TakesDataKey | undefined,
  ) {
    this.#store = store;
    this.#drops = drops;
    this.#repairs = repairs;
    this.#guard = guard;
    this.#takesDataKey = takesDataKey;
  }

  /** WRITEs that were not refused for what they say. */
  get writeCount(): number {
    return this.#writeCount;
  }

  onWrite(
    session: Session<Peer>,
    messenger: Messenger,
    words: Int32Array,
    word: number,
    valueWord: number,
    hash: number,
  ): void {
    if (!this.mayWrite(session, words, word)) return;
    if (words[word + WORD_ENVELOPE_BYTES]! > 0 && !this.#takesKeyOf(words[valueWord]!)) return;
    this.#writeCount++;
    const counter = readU53(words, word + WORD_WRITE_COUNTER);
    const writerHigh = words[word + WORD_WRITE_WRITER + 1]!;
    const writerLow = words[word + WORD_WRITE_WRITER]!;
    this.#answer(
      session,
      messenger,
      words,
      word,
      this.#apply(words, word, valueWord, hash, counter, writerHigh, writerLow),
    );
  }

  /**
   * A value under a data key that is about to be destroyed, or was, is not kept: nobody could read it. It is not answered:
   * its writer has not heard of a change for long, or reads what is being sealed anew.
   * @param firstWord Of the envelope: the key's id.
   */
  #takesKeyOf(firstWord: number): boolean {
    if (this.#takesDataKey?.(firstWord >>> 0) !== false) return true;
    this.#drops.count('old-data-key');
    return false;
  }

  /** Whether the peer may write under this stamp; if not, that was counted. */
  mayWrite(session: Session<Peer>, words: Int32Array, word: number): boolean {
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
  answerEarly(write: Reassembly): number | undefined {
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
  onWhole(write: Reassembly): number | undefined {
    if (write.isRepair) {
      if (this.#repairs.onWhole(write)) write.ref = NO_REF;
      return 0;
    }
    const answer = this.answerEarly(write);
    if (answer !== undefined) return answer;
    // The host may have changed it since; then the value does not open, whatever is said of it here.
    if (!this.#takesKeyOf(this.#store.hostRegion(write.ref).words[this.#store.hostWord(write.ref)]!)) return undefined;
    this.#writeCount++;
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

  #answer(session: Session<Peer>, messenger: Messenger, words: Int32Array, word: number, flags: number): void {
    if (!messenger.append(session, WRITE_REPLY_BYTES, 0)) return;
    const { out } = messenger;
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
