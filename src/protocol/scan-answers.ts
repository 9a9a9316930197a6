import { alignUp, writeU53 } from '../../net/bytes.ts';
import type { Session } from '../../net/session.ts';
import type { Store } from '../store/store.ts';
import type { OrderedView } from '../store/ordered-view.ts';
import { NO_POSITION } from '../store/ordered-view.ts';
import { flagsOf, slotOf, writeHead } from './messages.ts';
import type { Messenger } from './messenger.ts';
import type { Peer } from './peer.ts';
import {
  ENTRY_TOMBSTONE,
  ENTRY_VALUE,
  FLAG_SCANS_OFF,
  FLAG_SCAN_AFTER,
  FLAG_SCAN_MORE,
  FLAG_SCAN_REVERSE,
  FLAG_SCAN_VALUES,
  MESSAGE_SCAN_REPLY,
  SCAN_ENTRY_BYTES,
  SCAN_ENTRY_VALUE_BYTES,
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
} from './scan-messages.ts';

/**
 * A replica's answers to SCAN: one datagram each, whatever the range and however much of it is deleted. An entry that is
 * looked at is an entry of the answer, deleted or not, so a SCAN costs no more than its answer has room for.
 */

/**
 * A value that would fill more than this share of an answer is left to a get: gets of many keys go side by side, while one
 * answer follows the other.
 */
const VALUE_SHARE_MAX = 1 / 4;

export class ScanAnswers {
  readonly #store: Store;
  /** Of the message at hand. */
  #words: Int32Array = new Int32Array(0);
  #word = 0;
  #startBytes = 0;
  #endBytes = 0;
  #isReverse = false;
  #isAfter = false;
  #wantsValues = false;
  /** Bytes that entries and values share. */
  #roomBytes = 0;

  constructor(store: Store) {
    this.#store = store;
  }

  onScan(session: Session<Peer>, messenger: Messenger, words: Int32Array, word: number): void {
    const { view } = this.#store;
    if (view === undefined) return this.#refuse(session, messenger, words, word, FLAG_SCANS_OFF);
    this.#read(words, word);
    this.#roomBytes = messenger.valueBytesMax(session, SCAN_REPLY_BYTES);
    const entriesMax = words[word + WORD_SCAN_ENTRIES]!;
    const first = this.#first(view);
    let controlBytes = 0;
    let valueBytes = 0;
    let entryCount = 0;
    let at = first;
    for (; at !== NO_POSITION && this.#isInRange(view.entryAt(at)); at = this.#step(view, at)) {
      const entry = view.entryAt(at);
      const ownValueBytes = this.#valueBytesOf(entry);
      const ownBytes = this.#entryBytesOf(entry);
      const isFull = controlBytes + valueBytes + ownBytes + alignUp(Math.max(ownValueBytes, 0)) > this.#roomBytes;
      if (isFull || entryCount === entriesMax) break;
      controlBytes += ownBytes;
      valueBytes += alignUp(Math.max(ownValueBytes, 0));
      entryCount++;
    }
    const hasMore = at !== NO_POSITION && this.#isInRange(view.entryAt(at));
    if (!messenger.append(session, SCAN_REPLY_BYTES + controlBytes, valueBytes)) return;
    const { out } = messenger;
    const target = out.control.words;
    const flags = hasMore ? FLAG_SCAN_MORE : 0;
    writeHead(target, out.word, MESSAGE_SCAN_REPLY, flags, slotOf(words, word), words[word + 1]!);
    target[out.word + WORD_SCAN_ENTRY_BYTES] = controlBytes;
    target[out.word + WORD_SCAN_VALUE_BYTES] = valueBytes;
    this.#writeEntries(view, messenger, first, entryCount);
  }

  #read(words: Int32Array, word: number): void {
    const flags = flagsOf(words, word);
    this.#words = words;
    this.#word = word;
    this.#startBytes = words[word + WORD_SCAN_START_BYTES]!;
    this.#endBytes = words[word + WORD_SCAN_END_BYTES]!;
    this.#isReverse = (flags & FLAG_SCAN_REVERSE) !== 0;
    this.#isAfter = (flags & FLAG_SCAN_AFTER) !== 0;
    this.#wantsValues = (flags & FLAG_SCAN_VALUES) !== 0;
  }

  get #startWord(): number {
    return this.#word + WORD_SCAN_START;
  }

  get #endWord(): number {
    return this.#startWord + (alignUp(this.#startBytes) >> 2);
  }

  #first(view: OrderedView): number {
    if (this.#isReverse) {
      if (this.#endBytes === 0) return view.last();
      const end = view.seek(this.#words, this.#endWord, this.#endBytes);
      return end === NO_POSITION ? view.last() : view.previous(end);
    }
    if (this.#startBytes === 0) return view.first();
    const start = view.seek(this.#words, this.#startWord, this.#startBytes);
    if (start === NO_POSITION || !this.#isAfter || this.#orderToStart(view.entryAt(start)) !== 0) return start;
    return view.next(start);
  }

  #step(view: OrderedView, at: number): number {
    return this.#isReverse ? view.previous(at) : view.next(at);
  }

  /** Whether it is on this side of the bound that is walked to. */
  #isInRange(entry: number): boolean {
    if (this.#isReverse) {
      return this.#startBytes === 0 || this.#orderToStart(entry) >= (this.#isAfter ? 1 : 0);
    }
    return this.#endBytes === 0 || this.#store.compareKey(entry, this.#words, this.#endWord, this.#endBytes) < 0;
  }

  #orderToStart(entry: number): number {
    return this.#store.compareKey(entry, this.#words, this.#startWord, this.#startBytes);
  }

  /** Length of the value that goes with an entry, -1 when none does. */
  #valueBytesOf(entry: number): number {
    const store = this.#store;
    if (!this.#wantsValues || store.isTombstone(entry)) return -1;
    const valueBytes = store.envelopeBytes(entry);
    const withIt = SCAN_ENTRY_VALUE_BYTES + alignUp(store.keyBytes(entry)) + alignUp(valueBytes);
    return valueBytes <= this.#roomBytes * VALUE_SHARE_MAX && withIt <= this.#roomBytes ? valueBytes : -1;
  }

  #entryBytesOf(entry: number): number {
    const fixedBytes = this.#valueBytesOf(entry) >= 0 ? SCAN_ENTRY_VALUE_BYTES : SCAN_ENTRY_BYTES;
    return fixedBytes + alignUp(this.#store.keyBytes(entry));
  }

  #writeEntries(view: OrderedView, messenger: Messenger, first: number, entryCount: number): void {
    const store = this.#store;
    const { control, packet } = messenger.out;
    const target = control.words;
    let word = messenger.out.word + WORD_SCAN_FIRST_ENTRY;
    let { valueWord } = messenger.out;
    let at = first;
    for (let i = 0; i < entryCount; i++) {
      const entry = view.entryAt(at);
      const keyBytes = store.keyBytes(entry);
      const valueBytes = this.#valueBytesOf(entry);
      const flags = (store.isTombstone(entry) ? ENTRY_TOMBSTONE : 0) | (valueBytes >= 0 ? ENTRY_VALUE : 0);
      target[word] = keyBytes | flags | (Math.max(valueBytes, 0) << 16);
      target[word + WORD_ENTRY_RMW] = store.rmw(entry);
      writeU53(target, word + WORD_ENTRY_COUNTER, store.counter(entry));
      target[word + WORD_ENTRY_WRITER] = store.writerLow(entry);
      target[word + WORD_ENTRY_WRITER + 1] = store.writerHigh(entry);
      if (valueBytes >= 0) {
        store.copyTag(entry, target, word + WORD_ENTRY_TAG);
        store.copyEnvelope(entry, packet, valueWord);
        valueWord += alignUp(valueBytes) >> 2;
      }
      store.copyKey(entry, target, word + ((valueBytes >= 0 ? SCAN_ENTRY_VALUE_BYTES : SCAN_ENTRY_BYTES) >> 2));
      word += this.#entryBytesOf(entry) >> 2;
      at = this.#step(view, at);
    }
  }

  #refuse(session: Session<Peer>, messenger: Messenger, words: Int32Array, word: number, flag: number): void {
    if (!messenger.append(session, SCAN_REPLY_BYTES, 0)) return;
    const { out } = messenger;
    const target = out.control.words;
    writeHead(target, out.word, MESSAGE_SCAN_REPLY, flag, slotOf(words, word), words[word + 1]!);
    target[out.word + WORD_SCAN_ENTRY_BYTES] = 0;
    target[out.word + WORD_SCAN_VALUE_BYTES] = 0;
  }
}
