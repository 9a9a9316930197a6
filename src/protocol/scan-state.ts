import { alignUp, regionOf } from '../../net/bytes.ts';
import type { Region } from '../../net/bytes.ts';
import { compareKeys } from '../store/key-order.ts';
import type { KeyPlace, ScanAnswer } from './scan-merge.ts';
import { ScanMerge } from './scan-merge.ts';
import { ENTRY_VALUE, entryHas } from './scan-messages.ts';
import type { ScanPage, ScanRequest } from './scan-request.ts';

/** A page of a scan on its way: what was asked, who has answered, and the keys that it will have. */

export interface Item {
  readonly key: Buffer;
  /** Undefined: not there (yet), or not wanted. */
  value: Buffer | undefined;
  isThere: boolean;
  /** The answer that has the value, with its places; undefined: a get asks for it. */
  readonly found: Found | undefined;
}

export interface Found {
  readonly member: number;
  readonly region: Region;
  readonly entryWord: number;
  readonly valueWord: number;
}

/** Values of a page, about: four of the largest. A client has two pages at once. */
const PAGE_VALUE_BYTES_MAX = 4 * 2 ** 20;
/** Values that are asked for before it is known how large they are. */
const FIRST_READS_MAX = 16;

export class Scan {
  readonly slot: number;
  readonly request: ScanRequest;
  readonly start: KeyPlace;
  readonly end: KeyPlace;
  /** One of each member at most. */
  answers: ScanAnswer[] = [];
  /** Members that the page was merged from. */
  holders = 0;
  readonly items: Item[] = [];
  /** Items that are still to be read. */
  readonly unread: Item[] = [];
  /** Of gets that are under way. */
  readonly readSlots = new Set<number>();
  failedKey: Buffer | undefined;
  #covered: Buffer | undefined;
  /** Of the values that are here: together, and of the largest. */
  #valueBytes = 0;
  #largestBytes = 0;

  constructor(slot: number, request: ScanRequest) {
    this.slot = slot;
    this.request = request;
    this.start = keyPlace(request.start);
    this.end = keyPlace(request.end);
  }

  /** Whether an answer begins on this side of the bound that is walked from. Its first key decides, as they are in order. */
  isBegunBy(answer: ScanAnswer): boolean {
    if (answer.isRead) return true;
    const key = answer.firstKey();
    if (this.request.isReverse) return this.end.keyBytes === 0 || compare(key, this.end) < 0;
    if (this.start.keyBytes === 0) return true;
    const order = compare(key, this.start);
    return this.request.isAfterStart ? order > 0 : order >= 0;
  }

  /** Makes the items of the page from the answers of a quorum. */
  merge(): void {
    const { request, answers } = this;
    const merge = new ScanMerge(answers, request.isReverse);
    this.holders = answers.reduce((mask, { member }) => mask | (1 << member), 0);
    this.#covered = merge.cut === undefined ? undefined : bufferOf(merge.cut);
    let last: KeyPlace | undefined;
    for (let key = merge.next(); key !== undefined; key = merge.next()) {
      if (this.#isPastEnd(key)) {
        this.#covered = undefined;
        break;
      }
      if (this.items.length >= request.keysMax) {
        this.#covered = bufferOf(last!);
        break;
      }
      const verdict = merge.judge(key);
      if (verdict !== 'absent') this.#addItem(key, merge.at, verdict === 'present');
      merge.pass(key);
      last = key;
    }
    this.answers = [];
  }

  #addItem(key: KeyPlace, { region, member, word, valueWord }: ScanAnswer, isPresent: boolean): void {
    const isDone = isPresent && !this.request.wantsValues;
    const hasValue = isPresent && !isDone && entryHas(region.words, word, ENTRY_VALUE);
    const found = hasValue ? { member, region, entryWord: word, valueWord } : undefined;
    const item: Item = { key: bufferOf(key), value: undefined, isThere: isDone, found };
    this.items.push(item);
    if (!isDone) this.unread.push(item);
  }

  /** Behind the bound that is walked to, which a SCAN may have left out. */
  #isPastEnd(key: KeyPlace): boolean {
    if (!this.request.isReverse) return this.end.keyBytes > 0 && compare(key, this.end) >= 0;
    if (this.start.keyBytes === 0) return false;
    const order = compare(key, this.start);
    return this.request.isAfterStart ? order <= 0 : order < 0;
  }

  /** Whether the next item may be read: its value is here, or there is room for one as large as the largest before. */
  get mayReadOn(): boolean {
    const next = this.unread.at(-1);
    if (next === undefined || next.found !== undefined || !this.request.wantsValues) return next !== undefined;
    const readsMax =
      this.#largestBytes === 0 ? FIRST_READS_MAX : (PAGE_VALUE_BYTES_MAX - this.#valueBytes) / this.#largestBytes;
    return this.readSlots.size < Math.max(1, readsMax);
  }

  /** A key of the page is there. When the page has enough, what was not begun is left to the next one. */
  onFound(item: Item, value: Uint8Array, valueBytes: number): void {
    item.isThere = true;
    if (!this.request.wantsValues) return;
    item.value = Buffer.from(value.subarray(0, valueBytes));
    this.#valueBytes += valueBytes;
    this.#largestBytes = Math.max(this.#largestBytes, valueBytes);
    if (this.#valueBytes < PAGE_VALUE_BYTES_MAX || this.unread.length === 0) return;
    // All items are read, in their order, when values are wanted.
    this.items.length -= this.unread.length;
    this.unread.length = 0;
    this.#covered = this.items.at(-1)!.key;
  }

  page(): ScanPage {
    const there = this.items.filter(({ isThere }) => isThere);
    return {
      keys: there.map(({ key }) => key),
      values: this.request.wantsValues ? there.map(({ value }) => value!) : [],
      covered: this.#covered,
    };
  }
}

function compare(a: KeyPlace, b: KeyPlace): number {
  return compareKeys(a.words, a.word, a.keyBytes, b.words, b.word, b.keyBytes);
}

function keyPlace(key: Uint8Array): KeyPlace {
  const region = regionOf(new ArrayBuffer(alignUp(key.length)));
  region.bytes.set(key);
  return { words: region.words, word: 0, keyBytes: key.length };
}

function bufferOf({ words, word, keyBytes }: KeyPlace): Buffer {
  const bytes = new Uint8Array(words.buffer, words.byteOffset + word * 4, keyBytes);
  return Buffer.from(bytes);
}
