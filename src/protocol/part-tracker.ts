import { assert } from '../../net/assert.ts';
import { PARTS_MAX } from './messages.ts';

/**
 * Which parts of something large have arrived, which are under way, which are lost: one for each direction of a transfer
 * between two processes. Parts are sent in turn; one is taken as lost when three that were sent later have arrived
 * (RFC 9002, 6.1.1, kPacketThreshold). When nothing has come for a time-out, one is sent again to learn more: that alone
 * does not tell loss (RFC 9002, 6.2); after another time-out all are. So the loss of one part costs one part.
 */
const REORDER_PARTS = 3;

const WAITING = 0;
const UNDER_WAY = 1;
const ARRIVED = 2;

export class PartTracker {
  #partCount = 0;
  #arrivedCount = 0;
  #underWayCount = 0;
  readonly #state = new Uint8Array(PARTS_MAX);
  /** Parts in the order of their sending, from #first on; a part is listed once, arrived ones until they come first. */
  readonly #sent = new Uint16Array(PARTS_MAX);
  #first = 0;
  #end = 0;
  /** Place of a part in that order. */
  readonly #places = new Float64Array(PARTS_MAX);
  #latestArrived = -1;
  /** No part before this one waits. */
  #cursor = 0;
  /** Parts are sent for the first time in order: none from this one on was ever sent. */
  #sentCount = 0;

  start(partCount: number): void {
    assert(partCount >= 1 && partCount <= PARTS_MAX, 'parts are numbered by a bitmap of bounded length');
    this.#partCount = partCount;
    this.#arrivedCount = 0;
    this.#underWayCount = 0;
    this.#state.fill(WAITING, 0, partCount);
    this.#first = 0;
    this.#end = 0;
    this.#latestArrived = -1;
    this.#cursor = 0;
    this.#sentCount = 0;
  }

  get partCount(): number {
    return this.#partCount;
  }

  get isComplete(): boolean {
    return this.#arrivedCount === this.#partCount;
  }

  get underWayCount(): number {
    return this.#underWayCount;
  }

  /** Whether it ever was under way. */
  wasSent(part: number): boolean {
    return part < this.#sentCount;
  }

  isUnderWay(part: number): boolean {
    return part < this.#partCount && this.#state[part] === UNDER_WAY;
  }

  /** The part to be sent next, or -1. */
  next(): number {
    while (this.#cursor < this.#partCount && this.#state[this.#cursor] !== WAITING) this.#cursor++;
    return this.#cursor < this.#partCount ? this.#cursor : -1;
  }

  onSent(part: number): void {
    assert(this.#state[part] === WAITING, 'a part is under way once');
    this.#state[part] = UNDER_WAY;
    this.#sentCount = Math.max(this.#sentCount, part + 1);
    this.#underWayCount++;
    this.#places[part] = this.#end;
    this.#sent[this.#end++ % PARTS_MAX] = part;
  }

  /** True when that is news. */
  onArrived(part: number): boolean {
    if (part >= this.#partCount || this.#state[part] === ARRIVED) return false;
    if (this.#state[part] === UNDER_WAY) {
      this.#underWayCount--;
      this.#latestArrived = Math.max(this.#latestArrived, this.#places[part]!);
    }
    this.#state[part] = ARRIVED;
    this.#arrivedCount++;
    return true;
  }

  /** The receiver's bitmap (messages.ts), wordCount words from here on. True when it has news. */
  onBitmap(words: Int32Array, bitmapWord: number, wordCount: number): boolean {
    let isNews = false;
    for (let i = 0; i < wordCount; i++) {
      for (let bits = words[bitmapWord + i]!; bits !== 0; bits &= bits - 1) {
        if (this.onArrived(i * 32 + 31 - Math.clz32(bits & -bits))) isNews = true;
      }
    }
    return isNews;
  }

  /** After news: parts that were overtaken by later ones wait again. Returns how many. */
  takeLost(): number {
    let lostCount = 0;
    for (; this.#first < this.#end; this.#first++) {
      const part = this.#sent[this.#first % PARTS_MAX]!;
      if (this.#state[part] === UNDER_WAY) {
        if (this.#latestArrived - this.#first < REORDER_PARTS) break;
        this.#wait(part);
        lostCount++;
      }
    }
    return lostCount;
  }

  /** Nothing has come for too long: the part that was sent first waits again. Returns how many parts, none or one. */
  probe(): number {
    for (; this.#first < this.#end; this.#first++) {
      const part = this.#sent[this.#first % PARTS_MAX]!;
      if (this.#state[part] !== UNDER_WAY) continue;
      this.#first++;
      this.#wait(part);
      return 1;
    }
    return 0;
  }

  /** And still nothing: all that is under way waits again. Returns how many parts. */
  giveUp(): number {
    const lostCount = this.#underWayCount;
    while (this.probe() > 0);
    return lostCount;
  }

  /**
   * The receiver has begun anew: what it lacks, of parts that had arrived, waits again. Only when nothing is under way.
   * @param bitmapWord The receiver's bitmap (messages.ts), wordCount words from here on.
   */
  onForgotten(words: Int32Array, bitmapWord: number, wordCount: number): number {
    assert(this.#underWayCount === 0 && this.#first === this.#end, 'nothing is under way');
    let lostCount = 0;
    for (let part = 0; part < this.#partCount; part++) {
      const has = part >> 5 < wordCount && ((words[bitmapWord + (part >> 5)]! >>> (part & 31)) & 1) === 1;
      if (has || this.#state[part] !== ARRIVED) continue;
      this.#state[part] = WAITING;
      this.#arrivedCount--;
      this.#cursor = Math.min(this.#cursor, part);
      lostCount++;
    }
    return lostCount;
  }

  #wait(part: number): void {
    this.#state[part] = WAITING;
    this.#underWayCount--;
    this.#cursor = Math.min(this.#cursor, part);
  }

  invariants(): void {
    let underWay = 0;
    let arrived = 0;
    for (let part = 0; part < this.#partCount; part++) {
      if (this.#state[part] === UNDER_WAY) underWay++;
      if (this.#state[part] === ARRIVED) arrived++;
      if (this.#state[part] === WAITING) assert(part >= this.#cursor, 'no part that waits is passed over');
    }
    assert(underWay === this.#underWayCount && arrived === this.#arrivedCount, 'parts are counted');
    assert(this.#end - this.#first <= PARTS_MAX, 'a part is listed once');
  }
}
