import { assert } from '../../net/assert.ts';
import type { Session } from '../../net/session.ts';
import { FLAG_BUSY, WORD_PROGRESS_BITMAP, WORD_PROGRESS_BYTES, flagsOf } from './messages.ts';
import type { PartPeer } from './part-peer.ts';
import { PartTracker } from './part-tracker.ts';
import type { Peer } from './peer.ts';

/**
 * One thing that is larger than a datagram, on its way to one peer by parts: what is sent next, and when; what counts as
 * lost; how long a part takes. The peer says by a bitmap what has arrived.
 *
 * A time-out begins when parts get under way, or when the peer says a word of them (RFC 6298, 5). After the first one a
 * part is sent again, after the next all are.
 */
export interface PartTransferCounters {
  /** Parts sent again because they were lost, or because the peer was busy. */
  partsRepeated: number;
}

const NO_PART = -1;
/**
 * A peer takes 16 values of one sender at once (reassemblies.ts). Half of that fills any credit, ends each sooner, and leaves
 * room for those that were given up here and not yet there.
 */
export const OPEN_PER_PEER_MAX = 8;
/** A busy peer is left alone for so long: a few round trips of what keeps it busy. */
const BUSY_MS = 5;
const ATTEMPTS_MAX = 255;

export class PartTransfer {
  readonly #counters: PartTransferCounters;
  readonly #tracker = new PartTracker();
  #peer: PartPeer | undefined;
  #partBytes = 0;
  /** Something of it has been sent, so the peer has a place for it. */
  #isOpen = false;
  /** Nothing is sent before: the peer said that it is busy. */
  #notBeforeMs = 0;
  /** It has no place for it, as far as is known: one part at a time, so that no more is sent in vain. */
  #isBusy = false;
  /** When it last said a word of it, or when parts began to be under way again. */
  #heardMs = 0;
  /** Time-outs in a row that it has let pass. */
  #attempt = 0;
  /** The part whose round trip is taken, or NO_PART; one at a time, and none that was sent twice (Karn's rule). */
  #timedPart = NO_PART;
  #timedMs = 0;
  /** No part from this one on has been sent. */
  #sentEnd = 0;

  constructor(counters: PartTransferCounters) {
    this.#counters = counters;
  }

  /** Begins, or begins anew with parts of another length. */
  start(peer: PartPeer, partCount: number, partBytes: number): void {
    assert(!this.#isOpen || this.#peer === peer, 'who has a place for one is told when it goes to another');
    this.#peer = peer;
    this.#partBytes = partBytes;
    this.#notBeforeMs = 0;
    this.#isBusy = false;
    this.#attempt = 0;
    this.#timedPart = NO_PART;
    this.#sentEnd = 0;
    this.#tracker.start(partCount);
  }

  get partBytes(): number {
    return this.#partBytes;
  }

  get isOpen(): boolean {
    return this.#isOpen;
  }

  /** The peer has said that it has all of it. */
  get isComplete(): boolean {
    return this.#tracker.isComplete;
  }

  /** Each part was sent at least once. */
  get isWholeSent(): boolean {
    return this.#sentEnd === this.#tracker.partCount;
  }

  /** Time-outs in a row without a word. */
  get attempt(): number {
    return this.#attempt;
  }

  // -- sending ----------------------------------------------------------------------------------------------------

  /** The part to be sent next, or -1. */
  next(nowMs: number): number {
    const part = this.#tracker.next();
    if (part === NO_PART || nowMs < this.#notBeforeMs) return NO_PART;
    // From now on it is the session that has to have room, and nobody waits for the time.
    this.#notBeforeMs = 0;
    if (this.#isBusy && this.#tracker.underWayCount > 0) return NO_PART;
    return this.#isOpen || this.#peer!.openCount < OPEN_PER_PEER_MAX ? part : NO_PART;
  }

  onSent(part: number, nowMs: number): void {
    if (this.#tracker.underWayCount === 0) this.#heardMs = nowMs;
    // The last of those that leave together: the first is the one that is sent again when nobody says a word.
    if ((this.#timedPart === NO_PART || this.#timedMs === nowMs) && part >= this.#sentEnd) {
      this.#timedPart = part;
      this.#timedMs = nowMs;
    }
    this.#sentEnd = Math.max(this.#sentEnd, part + 1);
    this.#tracker.onSent(part);
    if (this.#isOpen) return;
    this.#isOpen = true;
    this.#peer!.openCount += 1;
  }

  /** When sending goes on though nothing comes; Infinity when it does not. */
  get sendsAgainMs(): number {
    return this.#notBeforeMs > 0 && this.#tracker.underWayCount === 0 ? this.#notBeforeMs : Infinity;
  }

  // -- silence ----------------------------------------------------------------------------------------------------

  /** When the peer last said a word of what is under way; Infinity when nothing is. */
  get heardMs(): number {
    return this.#tracker.underWayCount === 0 ? Infinity : this.#heardMs;
  }

  /** When a word is overdue; Infinity while nothing is under way. */
  get overdueMs(): number {
    return this.#tracker.underWayCount === 0 ? Infinity : this.#heardMs + this.#peer!.rtoMs(this.#attempt);
  }

  /** Until a word is overdue. */
  get rtoMs(): number {
    return this.#peer!.rtoMs(this.#attempt);
  }

  /** True when a word was overdue: parts wait to be sent again. */
  onSilence(nowMs: number): boolean {
    if (this.#tracker.underWayCount === 0 || nowMs < this.#heardMs + this.#peer!.rtoMs(this.#attempt)) return false;
    if (this.#attempt === 0) this.#repeat(this.#tracker.probe());
    else this.giveUp();
    this.#attempt = Math.min(this.#attempt + 1, ATTEMPTS_MAX);
    return true;
  }

  /** What is under way is not taken any more: all of it waits to be sent again. */
  giveUp(): void {
    this.#repeat(this.#tracker.giveUp());
  }

  /** So many parts wait to be sent again. */
  #repeat(partCount: number): void {
    this.#counters.partsRepeated += partCount;
    if (!this.#isTiming) this.#timedPart = NO_PART;
  }

  // -- what the peer says -----------------------------------------------------------------------------------------

  /** The peer says by a WRITE_PROGRESS what it has. True when it has got further since its last word. */
  onProgress(session: Session<Peer> | undefined, words: Int32Array, word: number, nowMs: number): boolean {
    const tracker = this.#tracker;
    this.#onHeard(nowMs);
    this.#isBusy = (flagsOf(words, word) & FLAG_BUSY) !== 0;
    if (this.#isBusy) {
      this.#notBeforeMs = nowMs + BUSY_MS;
      this.giveUp();
      return true;
    }
    const wordCount = words[word + WORD_PROGRESS_BYTES]! >> 2;
    const wasTiming = this.#isTiming;
    const isNews = tracker.onBitmap(words, word + WORD_PROGRESS_BITMAP, wordCount);
    if (wasTiming && !this.#isTiming) this.#sample(nowMs);
    const lostCount = tracker.takeLost();
    if (lostCount > 0) session?.flight?.onLost();
    this.#repeat(lostCount);
    if (!tracker.isComplete) return isNews;
    // All has arrived, and yet the peer has not got all: it gave up what it had, and began anew.
    this.#counters.partsRepeated += tracker.onForgotten(words, word + WORD_PROGRESS_BITMAP, wordCount);
    return true;
  }

  /** The peer has all of it, or needs no more. */
  onDone(nowMs: number): void {
    this.#onHeard(nowMs);
    if (this.#timedPart !== NO_PART) this.#sample(nowMs);
    this.close();
  }

  /** A round trip is being taken. */
  get #isTiming(): boolean {
    return this.#timedPart !== NO_PART && this.#tracker.isUnderWay(this.#timedPart);
  }

  #onHeard(nowMs: number): void {
    this.#peer!.onHeard(this.#attempt);
    this.#heardMs = nowMs;
    this.#attempt = 0;
  }

  #sample(nowMs: number): void {
    this.#timedPart = NO_PART;
    this.#peer!.sample(nowMs - this.#timedMs);
  }

  /** The peer keeps no more memory for it. */
  close(): void {
    this.#timedPart = NO_PART;
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#peer!.openCount -= 1;
  }

  invariants(): void {
    this.#tracker.invariants();
    assert(this.#timedPart < this.#sentEnd, 'what is timed was sent');
  }
}
