import { assert } from '../../net/assert.ts';
import { DATAGRAM_RECORD_BYTES } from '../../net/limits.ts';
import { PARTS_MAX } from './messages.ts';
import { PartTracker } from './part-tracker.ts';
import { PartTurns } from './part-turns.ts';

/**
 * What is asked for by parts, by slot of who wants it. The answers land in this process's receive buffer, so what is asked
 * for at once, by all together, keeps within a window of it, which is halved on loss and grows back as parts come. pump()
 * goes on with all of them once a turn.
 */
export interface PullCounters {
  /** Parts asked for again because they did not come. */
  partsRepeated: number;
}

class Pull {
  slot = -1;
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
    pull.totalBytes = totalBytes;
    pull.partBytes = partBytes;
    pull.tracker.start(Math.ceil(totalBytes / partBytes));
  }

  has(slot: number): boolean {
    return this.#pulls.at(slot) !== undefined;
  }

  /** A part has come. It is the owner's to copy, if it is taken. */
  onPart(slot: number, byteOffset: number, byteCount: number): PartVerdict {
    const pull = this.#pulls.at(slot);
    if (pull === undefined) return 'late';
    const part = byteOffset / pull.partBytes;
    const { tracker } = pull;
    if (!Number.isInteger(part) || part >= tracker.partCount || byteCount !== lengthBytes(pull, part)) {
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
    const part = pull.tracker.next();
    if (part === -1) return false;
    const bytes = windowBytesOf(pull);
    if (this.#underWayBytes > 0 && this.#underWayBytes + bytes > this.#windowBytes) return false;
    if (!this.#ask(pull.slot, part * pull.partBytes, lengthBytes(pull, part))) return false;
    pull.tracker.onSent(part);
    this.#underWayBytes += bytes;
    return true;
  }

  /** @param isPulling Whether the owner of a slot waits for parts. */
  invariants(isPulling: (slot: number) => boolean): void {
    let underWayBytes = 0;
    this.#pulls.invariants();
    for (const pull of this.#pulls.active) {
      assert(isPulling(pull.slot), 'parts are under way to who waits for them only');
      pull.tracker.invariants();
      underWayBytes += pull.tracker.underWayCount * windowBytesOf(pull);
    }
    assert(underWayBytes === this.#underWayBytes, 'what is under way is counted');
  }
}

function lengthBytes(pull: Pull, part: number): number {
  return Math.min(pull.partBytes, pull.totalBytes - part * pull.partBytes);
}

/** What a part takes of the receive buffer at most. */
function windowBytesOf(pull: Pull): number {
  return pull.partBytes + DATAGRAM_RECORD_BYTES;
}
