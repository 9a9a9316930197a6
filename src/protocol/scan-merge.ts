import { alignUp } from '../../net/bytes.ts';
import type { Region } from '../../net/bytes.ts';
import { compareKeys } from '../store/key-order.ts';
import {
  ENTRY_TOMBSTONE,
  ENTRY_VALUE,
  WORD_ENTRY_COUNTER,
  WORD_ENTRY_RMW,
  WORD_ENTRY_WRITER,
  WORD_SCAN_ENTRY_BYTES,
  WORD_SCAN_FIRST_ENTRY,
  entryEnvelopeBytes,
  entryHas,
  entryKeyBytes,
  entryKeyWord,
  nextEntryWord,
} from './scan-messages.ts';

/**
 * Puts the answers of a quorum to one SCAN together.
 *
 * A key that all of them have under the same stamp is what a get would find in one round. Any other key, one that is
 * missing somewhere included, is not decided here (unless it was never written anywhere): it needs a get of its own, which writes back what it finds. An answer
 * says nothing of keys behind its last one when it was cut short, so nothing behind the first such end is looked at.
 */

/** A key in words, as it lies in a message. */
export interface KeyPlace {
  readonly words: Int32Array;
  readonly word: number;
  readonly keyBytes: number;
}

/** One SCAN_REPLY, kept in the datagram that brought it, read entry by entry. */
export class ScanAnswer {
  readonly member: number;
  readonly region: Region;
  readonly hasMore: boolean;
  readonly #wordEnd: number;
  #word: number;
  #valueWord: number;
  #lastWord = 0;

  constructor(member: number, region: Region, word: number, valueWord: number, hasMore: boolean) {
    this.member = member;
    this.region = region;
    this.hasMore = hasMore;
    this.#word = word + WORD_SCAN_FIRST_ENTRY;
    this.#wordEnd = this.#word + (region.words[word + WORD_SCAN_ENTRY_BYTES]! >> 2);
    this.#valueWord = valueWord;
  }

  /** Whether its keys come one behind the other in the direction of the scan. Finds the last one. */
  isInOrder(isReverse: boolean): boolean {
    const { words } = this.region;
    let before = -1;
    for (let word = this.#word; word < this.#wordEnd; word = nextEntryWord(words, word)) {
      const order = before === -1 ? -1 : compareEntries(words, before, words, word);
      if (isReverse && before !== -1 ? order <= 0 : order >= 0) return false;
      before = word;
    }
    this.#lastWord = before;
    return true;
  }

  get isRead(): boolean {
    return this.#word >= this.#wordEnd;
  }

  firstKey(): KeyPlace {
    return keyPlaceOf(this.region.words, this.#word);
  }

  /** Of the entry at hand. */
  get word(): number {
    return this.#word;
  }

  get valueWord(): number {
    return this.#valueWord;
  }

  /** The last of its entries, after isInOrder(). */
  get lastWord(): number {
    return this.#lastWord;
  }

  step(): void {
    const { words } = this.region;
    this.#valueWord += alignUp(entryEnvelopeBytes(words, this.#word)) >> 2;
    this.#word = nextEntryWord(words, this.#word);
  }
}

export type Verdict = 'absent' | 'present' | 'needs-get';

export class ScanMerge {
  readonly #answers: readonly ScanAnswer[];
  readonly #isReverse: boolean;
  /** Nothing behind this key is known of everybody. */
  readonly cut: KeyPlace | undefined;
  /** The one that has the entry at hand; of several, the one that has its value. */
  #at: ScanAnswer | undefined;

  /** @param answers Of a quorum, each in order. */
  constructor(answers: readonly ScanAnswer[], isReverse: boolean) {
    this.#answers = answers;
    this.#isReverse = isReverse;
    let cut: KeyPlace | undefined;
    for (const answer of answers) {
      if (!answer.hasMore) continue;
      const last = keyPlaceOf(answer.region.words, answer.lastWord);
      if (cut === undefined || this.#order(last, cut) < 0) cut = last;
    }
    this.cut = cut;
  }

  /** The next key of any answer, or undefined when what is known of everybody ends. */
  next(): KeyPlace | undefined {
    let first: KeyPlace | undefined;
    for (const answer of this.#answers) {
      if (answer.isRead) continue;
      const key = keyPlaceOf(answer.region.words, answer.word);
      if (first !== undefined && this.#order(key, first) >= 0) continue;
      first = key;
      this.#at = answer;
    }
    if (first === undefined || (this.cut !== undefined && this.#order(first, this.cut) > 0)) return undefined;
    return first;
  }

  /** What is known of the key that next() gave. Whichever has its value is taken by take(). */
  judge(key: KeyPlace): Verdict {
    const holder = this.#at!;
    let isSame = true;
    for (const answer of this.#answers) {
      const hasKey = !answer.isRead && this.#order(keyPlaceOf(answer.region.words, answer.word), key) === 0;
      if (!hasKey) isSame &&= hasNoStamp(holder);
      else if (!isSameStamp(holder, answer)) isSame = false;
      else if (entryHas(answer.region.words, answer.word, ENTRY_VALUE)) this.#at = answer;
    }
    if (!isSame) return 'needs-get';
    return entryHas(holder.region.words, holder.word, ENTRY_TOMBSTONE) ? 'absent' : 'present';
  }

  get at(): ScanAnswer {
    return this.#at!;
  }

  /** Goes on behind the key in all answers. */
  pass(key: KeyPlace): void {
    for (const answer of this.#answers) {
      if (answer.isRead) continue;
      if (this.#order(keyPlaceOf(answer.region.words, answer.word), key) === 0) answer.step();
    }
  }

  #order(a: KeyPlace, b: KeyPlace): number {
    const order = compareKeys(a.words, a.word, a.keyBytes, b.words, b.word, b.keyBytes);
    return this.#isReverse ? -order : order;
  }
}

function keyPlaceOf(words: Int32Array, entryWord: number): KeyPlace {
  return { words, word: entryKeyWord(words, entryWord), keyBytes: entryKeyBytes(words, entryWord) };
}

function compareEntries(wordsA: Int32Array, entryA: number, wordsB: Int32Array, entryB: number): number {
  return compareKeys(
    wordsA,
    entryKeyWord(wordsA, entryA),
    entryKeyBytes(wordsA, entryA),
    wordsB,
    entryKeyWord(wordsB, entryB),
    entryKeyBytes(wordsB, entryB),
  );
}

/** As good as missing: a read-modify-write has left the entry, and changed nothing. */
function hasNoStamp({ region: { words }, word }: ScanAnswer): boolean {
  return (
    words[word + WORD_ENTRY_COUNTER] === 0 &&
    words[word + WORD_ENTRY_COUNTER + 1] === 0 &&
    words[word + WORD_ENTRY_RMW] === 0 &&
    entryHas(words, word, ENTRY_TOMBSTONE)
  );
}

function isSameStamp(a: ScanAnswer, b: ScanAnswer): boolean {
  const wordsA = a.region.words;
  const wordsB = b.region.words;
  return (
    wordsA[a.word + WORD_ENTRY_COUNTER] === wordsB[b.word + WORD_ENTRY_COUNTER] &&
    wordsA[a.word + WORD_ENTRY_COUNTER + 1] === wordsB[b.word + WORD_ENTRY_COUNTER + 1] &&
    wordsA[a.word + WORD_ENTRY_WRITER] === wordsB[b.word + WORD_ENTRY_WRITER] &&
    wordsA[a.word + WORD_ENTRY_WRITER + 1] === wordsB[b.word + WORD_ENTRY_WRITER + 1] &&
    wordsA[a.word + WORD_ENTRY_RMW] === wordsB[b.word + WORD_ENTRY_RMW] &&
    entryHas(wordsA, a.word, ENTRY_TOMBSTONE) === entryHas(wordsB, b.word, ENTRY_TOMBSTONE)
  );
}
