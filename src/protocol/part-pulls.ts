import { assert } from '../../net/assert.ts';
import { DATAGRAM_RECORD_BYTES } from '../../net/limits.ts';
import { PARTS_MAX } from './messages.ts';
import { PartTracker } from './part-tracker.ts';
import { PartTurns } from './part-turns.ts';

/**
 * What is asked for by parts, by slot of who wants it. The answers land in this process's receive buffer, so what is asked
 * for at once, by all together, keeps within a window of it, which is halved on loss and grows back as parts come. pump()
 * goes on with all of them once a turn.
 *
 * A grant is what may come unasked, of something whose length is not known yet: it is under way, and takes of the window,
 * from the question on until the answer says whether it comes.
 */
export interface PullCounters {
  /** Parts asked for again because they did not come. */
  partsRepeated: number;
}

/** Of the window: what is not known to be there leaves the rest to what is. */
const GRANTED_WINDOW_PART = 1 / 2;

class Pull {
  slot = -1;
  /** Of a grant; 0 when the length is known. */
  grantedCount = 0;
  totalBytes = 0;
  partBytes = 0;
  readonly tracker = new PartTracker();
}

/** What a part that came is: all of it is there now; or some is; or it was there before; or it is none that was asked for. */
export type PartVerdict = 'whole' | 'taken' | 'late' | 'malformed';

export class PartPulls {
  readonly #counters: PullCounters;
  readonly #windowBytesMax: number;
  /** Asks for a part. False when that can't be sent now. */
  readonly #ask: (slot: number, byteOffset: number, byteCount: number) => boolean;
  readonly #pulls: PartTurns<Pull>;
  #windowBytes: number;
  /** Asked for and neither come nor taken as lost, with what the kernel adds to a datagram. */
  #underWayBytes = 0;
  /** Of that in grants. */
  #grantedBytes = 0;

  /** @param windowBytesMax Of the process's receive buffer. */
  constructor(
    slotCount: number,
    windowBytesMax: number,
    counters: PullCounters,
    ask: (slot: number, byteOffset: number, byteCount: number) => boolean,
  ) {
    this.#counters = counters;
    this.#windowBytesMax = windowBytesMax;
    this.#windowBytes = windowBytesMax;
    this.#ask = ask;
    this.#pulls = new PartTurns(
      slotCount,
      () => new Pull(),
      (pull) => this.#askOne(pull),
    );
  }

  /** Whether parts of such a length are few enough to be told apart. */
  static canTell(totalBytes: number, partBytes: number): boolean {
    return partBytes > 0 && Math.ceil(totalBytes / partBytes) <= PARTS_MAX;
  }

  begin(slot: number, totalBytes: number, partBytes: number): void {
    const pull = this.#pulls.begin(slot);
    pull.partBytes = partBytes;
    this.#start(pull, totalBytes);
  }

  #start(pull: Pull, totalBytes: number): void {
    pull.totalBytes = totalBytes;
    pull.tracker.start(Math.ceil(totalBytes / pull.partBytes));
  }

  /** How many parts of that length may be granted now. */
  grantableCount(partBytes: number): number {
    const freeBytes = this.#windowBytes - this.#underWayBytes;
    const grantableBytes = this.#windowBytes * GRANTED_WINDOW_PART - this.#grantedBytes;
    return Math.max(0, Math.floor(Math.min(freeBytes, grantableBytes) / (partBytes + DATAGRAM_RECORD_BYTES)));
  }

  grant(slot: number, partCount: number, partBytes: number): void {
    const pull = this.#pulls.begin(slot);
    pull.partBytes = partBytes;
    pull.grantedCount = partCount;
    this.#grantedBytes += grantedBytesOf(pull);
    this.#underWayBytes += grantedBytesOf(pull);
  }

  /** What was granted comes, of something so long. False when there was no grant, or its parts can't be told apart. */
  onFollowed(slot: number, totalBytes: number): boolean {
    const pull = this.#pulls.at(slot);
    if (pull === undefined || pull.grantedCount === 0 || !PartPulls.canTell(totalBytes, pull.partBytes)) return false;
    const { grantedCount, tracker } = pull;
    this.#endGrant(pull);
    this.#start(pull, totalBytes);
    for (let part = 0; part < Math.min(grantedCount, tracker.partCount); part++) this.#onAsked(pull, part);
    return true;
  }

  /** Nothing unasked is waited for any more. */
  stopGrant(slot: number): void {
    const pull = this.#pulls.at(slot);
    if (pull === undefined || pull.grantedCount === 0) return;
    this.#endGrant(pull);
    this.#pulls.end(pull);
  }

  #endGrant(pull: Pull): void {
    this.#grantedBytes -= grantedBytesOf(pull);
    this.#underWayBytes -= grantedBytesOf(pull);
    pull.grantedCount = 0;
  }

  /** Something whose length is known; no grant. */
  has(slot: number): boolean {
    return this.#pulls.at(slot)?.grantedCount === 0;
  }

  /** A part has come. It is the owner's to copy, if it is taken. */
  onPart(slot: number, byteOffset: number, byteCount: number): PartVerdict {
    const pull = this.#pulls.at(slot);
    if (pull === undefined || pull.grantedCount > 0) return 'late';
    const part = byteOffset / pull.partBytes;
    const { tracker } = pull;
    if (!Number.isInteger(part) || !tracker.wasSent(part) || byteCount !== lengthBytes(pull, part)) {
      return 'malformed';
    }
    const wasUnderWay = tracker.isUnderWay(part);
    if (!tracker.onArrived(part)) return 'late';
    if (wasUnderWay) this.#underWayBytes -= windowBytesOf(pull);
    this.#windowBytes = Math.min(this.#windowBytesMax, this.#windowBytes + windowBytesOf(pull));
    this.#onLost(pull, tracker.takeLost());
    return tracker.isComplete ? 'whole' : 'taken';
  }

  /** Nothing has come for a time-out, the first one in a row or a later one. */
  onSilence(slot: number, isFirst: boolean): void {
    const pull = this.#pulls.at(slot)!;
    if (isFirst) this.#askAgain(pull, pull.tracker.probe());
    else this.#onLost(pull, pull.tracker.giveUp());
  }

  #onLost(pull: Pull, partCount: number): void {
    if (partCount === 0) return;
    this.#askAgain(pull, partCount);
    this.#windowBytes = Math.max(windowBytesOf(pull), this.#windowBytes / 2);
  }

  #askAgain(pull: Pull, partCount: number): void {
    this.#counters.partsRepeated += partCount;
    this.#underWayBytes -= partCount * windowBytesOf(pull);
  }

  /** Nothing more is asked for in this slot. */
  stop(slot: number): void {
    this.stopGrant(slot);
    const pull = this.#pulls.at(slot);
    if (pull === undefined) return;
    this.#underWayBytes -= pull.tracker.underWayCount * windowBytesOf(pull);
    this.#pulls.end(pull);
  }

  /** Asks for what the window allows. */
  pump(nowMs: number): void {
    this.#pulls.pump(nowMs);
  }

  #askOne(pull: Pull): boolean {
    if (pull.grantedCount > 0) return false;
    const part = pull.tracker.next();
    if (part === -1) return false;
    const bytes = windowBytesOf(pull);
    if (this.#underWayBytes > 0 && this.#underWayBytes + bytes > this.#windowBytes) return false;
    if (!this.#ask(pull.slot, part * pull.partBytes, lengthBytes(pull, part))) return false;
    this.#onAsked(pull, part);
    return true;
  }

  #onAsked(pull: Pull, part: number): void {
    pull.tracker.onSent(part);
    this.#underWayBytes += windowBytesOf(pull);
  }

  /** @param isPulling Whether the owner of a slot waits for parts. */
  invariants(isPulling: (slot: number) => boolean): void {
    let underWayBytes = 0;
    let grantedBytes = 0;
    this.#pulls.invariants();
    for (const pull of this.#pulls.active) {
      assert(isPulling(pull.slot), 'parts are under way to who waits for them only');
      grantedBytes += grantedBytesOf(pull);
      if (pull.grantedCount > 0) continue;
      pull.tracker.invariants();
      underWayBytes += pull.tracker.underWayCount * windowBytesOf(pull);
    }
    assert(grantedBytes === this.#grantedBytes, 'what is granted is counted');
    assert(underWayBytes + grantedBytes === this.#underWayBytes, 'what is under way is counted');
  }
}

function lengthBytes(pull: Pull, part: number): number {
  return Math.min(pull.partBytes, pull.totalBytes - part * pull.partBytes);
}

function grantedBytesOf(pull: Pull): number {
  return pull.grantedCount * windowBytesOf(pull);
}

/** What a part takes of the receive buffer at most. */
function windowBytesOf(pull: Pull): number {
  return pull.partBytes + DATAGRAM_RECORD_BYTES;
}
