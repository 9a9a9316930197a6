import { assert } from '../../net/assert.ts';
import type { Session } from '../../net/session.ts';
import { CALL_PART_BYTES, callPartLengthBytes } from '../protocol/call-part-messages.ts';
import { PARTS_MAX, WORD_PROGRESS_BITMAP, WORD_PROGRESS_BYTES } from '../protocol/messages.ts';
import type { Messenger } from '../protocol/messenger.ts';
import { PartTracker } from '../protocol/part-tracker.ts';
import type { Peer } from '../protocol/peer.ts';
import type { CallMembers } from './call-members.ts';
import type { CallSlots } from './call-slots.ts';

/**
 * Sends calls that are larger than a datagram: by parts, as fast as the session's credit allows, while the replica says by
 * a bitmap what it has. pump() goes on with all of them once a turn.
 *
 * A replica runs a call only when it has all of it. So as long as some part was never sent, nobody can have begun it.
 */
export interface PartsSenderCounters {
  /** Parts sent again because they were lost. */
  partsRepeated: number;
}

class Transfer {
  slot = -1;
  member = -1;
  partBytes = 0;
  beganMs = 0;
  /** Parts that were sent at least once: those from here on were not. */
  sentCount = 0;
  /** Something of it was sent. */
  isOpen = false;
  /** When parts began to be under way, or the replica last said a word of them. */
  heardMs = 0;
  /** A part that was sent once, and when: it is a round trip until the replica says that it has it. -1: none. */
  timedPart = -1;
  timedMs = 0;
  /** Time-outs in a row without a word. */
  attempt = 0;
  readonly tracker = new PartTracker();
}

/** As many as fill any credit; the others wait here, where they cost the replica nothing. */
const OPEN_PER_MEMBER_MAX = 8;

export class CallPartsSender {
  readonly #calls: CallSlots;
  readonly #members: CallMembers;
  readonly #messenger: Messenger;
  readonly #counters: PartsSenderCounters;
  /** The last part that was never sent is on its way: the call may be run from now on. */
  readonly #onWholeSent: (slot: number, member: number) => void;
  readonly #bySlot: (Transfer | undefined)[];
  readonly #active: Transfer[] = [];
  readonly #free: Transfer[] = [];
  /** By member: calls of which something has been sent. */
  readonly #openCounts: Int32Array;
  /** Where the next turn begins. */
  #turn = 0;

  constructor(
    calls: CallSlots,
    members: CallMembers,
    memberCount: number,
    messenger: Messenger,
    counters: PartsSenderCounters,
    onWholeSent: (slot: number, member: number) => void,
  ) {
    this.#calls = calls;
    this.#members = members;
    this.#messenger = messenger;
    this.#counters = counters;
    this.#onWholeSent = onWholeSent;
    this.#bySlot = Array.from<Transfer | undefined>({ length: calls.capacity });
    this.#openCounts = new Int32Array(memberCount);
  }

  /** Parts of the call go to this member from now on. */
  begin(slot: number, member: number, nowMs: number): void {
    const transfer = this.#free.pop() ?? new Transfer();
    assert(transfer.slot === -1 && this.#bySlot[slot] === undefined, 'a call goes to one member by parts');
    transfer.slot = slot;
    transfer.member = member;
    transfer.beganMs = nowMs;
    transfer.isOpen = false;
    this.#bySlot[slot] = transfer;
    this.#active.push(transfer);
    this.#cut(transfer, this.#partBytesTo(member));
  }

  /** Length of parts to the member; 0 when it has no session. */
  #partBytesTo(member: number): number {
    const session = this.#members.session(member);
    return session === undefined ? 0 : this.#messenger.valueBytesMax(session, CALL_PART_BYTES);
  }

  #cut(transfer: Transfer, partBytes: number): void {
    transfer.partBytes = partBytes;
    transfer.sentCount = 0;
    transfer.attempt = 0;
    transfer.timedPart = -1;
    const bodyBytes = this.#calls.bodyBytes(transfer.slot);
    assert(bodyBytes <= partBytes * PARTS_MAX, 'parts are few enough for a bitmap');
    transfer.tracker.start(Math.ceil(bodyBytes / partBytes));
  }

  has(slot: number): boolean {
    return this.#bySlot[slot] !== undefined;
  }

  /** The member that parts go to; -1: none. */
  memberOf(slot: number): number {
    return this.#bySlot[slot]?.member ?? -1;
  }

  /** The replica is not known to have had all of it. */
  isMoving(slot: number): boolean {
    const transfer = this.#bySlot[slot];
    return transfer !== undefined && !transfer.tracker.isComplete;
  }

  /** When the replica last said a word of what is on its way; Infinity when nothing is. */
  heardMs(slot: number): number {
    const { tracker, heardMs } = this.#bySlot[slot]!;
    return tracker.underWayCount === 0 ? Infinity : heardMs;
  }

  /** When parts began to go to the member. */
  beganMs(slot: number): number {
    return this.#bySlot[slot]!.beganMs;
  }

  /** Time-outs in a row without a word. */
  attempt(slot: number): number {
    return this.#bySlot[slot]!.attempt;
  }

  /** Until a word is overdue. */
  rtoMs(slot: number): number {
    const { member, attempt } = this.#bySlot[slot]!;
    return this.#members.partRtoMs(member, attempt);
  }

  stop(slot: number): void {
    const transfer = this.#bySlot[slot];
    if (transfer === undefined) return;
    this.#bySlot[slot] = undefined;
    this.#close(transfer);
    transfer.slot = -1;
    this.#active.splice(this.#active.indexOf(transfer), 1);
    this.#free.push(transfer);
  }

  /** The replica says what it has. */
  onProgress(slot: number, member: number, words: Int32Array, word: number, nowMs: number): boolean {
    const transfer = this.#bySlot[slot];
    if (transfer === undefined || transfer.member !== member) return false;
    const { tracker } = transfer;
    transfer.heardMs = nowMs;
    transfer.attempt = 0;
    const wordCount = words[word + WORD_PROGRESS_BYTES]! >> 2;
    tracker.onBitmap(words, word + WORD_PROGRESS_BITMAP, wordCount);
    if (transfer.timedPart !== -1 && !tracker.isUnderWay(transfer.timedPart)) {
      this.#members.onPart(member, nowMs - transfer.timedMs);
      transfer.timedPart = -1;
    }
    const lostCount = tracker.takeLost();
    if (lostCount > 0) this.#members.session(member)?.flight?.onLost();
    if (lostCount > 0) transfer.timedPart = -1;
    this.#counters.partsRepeated += lostCount;
    // All has arrived, and yet the replica has not got all: it gave up what it had, and began anew.
    if (tracker.isComplete) {
      this.#counters.partsRepeated += tracker.onForgotten(words, word + WORD_PROGRESS_BITMAP, wordCount);
    }
    if (tracker.isComplete) this.#close(transfer);
    return true;
  }

  /** The replica holds no more memory for it. */
  #close(transfer: Transfer): void {
    if (!transfer.isOpen) return;
    transfer.isOpen = false;
    this.#openCounts[transfer.member]! -= 1;
  }

  /** The replica has said nothing of it for a time-out: one part is sent again, after a second time all are. */
  onSilence(slot: number): void {
    const transfer = this.#bySlot[slot]!;
    const { tracker, attempt } = transfer;
    transfer.timedPart = -1;
    this.#counters.partsRepeated += attempt === 0 ? tracker.probe() : tracker.giveUp();
    transfer.attempt = Math.min(attempt + 1, 255);
  }

  /** Asks what has become of a call that the replica had all of: any part of it does. */
  ask(slot: number): boolean {
    const transfer = this.#bySlot[slot]!;
    const session = this.#members.session(transfer.member);
    return session !== undefined && this.#write(transfer, session, 0, false);
  }

  /** Sends what credit and slots allow: of each call one part a round, so that none waits for another's end. */
  pump(nowMs: number): void {
    const count = this.#active.length;
    if (count === 0) return;
    this.#turn = (this.#turn + 1) % count;
    for (let isMoving = true; isMoving; ) {
      isMoving = false;
      for (let i = 0; i < count; i++) {
        if (this.#sendOne(this.#active[(this.#turn + i) % count]!, nowMs)) isMoving = true;
      }
    }
  }

  #sendOne(transfer: Transfer, nowMs: number): boolean {
    const { slot, member, tracker } = transfer;
    const session = this.#members.session(member);
    if (session === undefined) return false;
    if (!transfer.isOpen && this.#openCounts[member]! >= OPEN_PER_MEMBER_MAX) return false;
    const part = tracker.next();
    if (part === -1 || !this.#write(transfer, session, part, true)) return false;
    if (tracker.underWayCount === 0) transfer.heardMs = nowMs;
    tracker.onSent(part);
    if (!transfer.isOpen) {
      transfer.isOpen = true;
      this.#openCounts[member]! += 1;
    }
    if (part < transfer.sentCount) return true;
    if (transfer.timedPart === -1) {
      transfer.timedPart = part;
      transfer.timedMs = nowMs;
    }
    transfer.sentCount = part + 1;
    if (transfer.sentCount === tracker.partCount) this.#onWholeSent(slot, member);
    return true;
  }

  #write(transfer: Transfer, session: Session<Peer>, part: number, isBulk: boolean): boolean {
    const { slot, member, partBytes } = transfer;
    const controlBytes = CALL_PART_BYTES + callPartLengthBytes(part, partBytes, this.#calls.bodyBytes(slot));
    if (!this.#messenger.append(session, controlBytes, 0, isBulk)) return false;
    const { out } = this.#messenger;
    const stream = this.#members.streamOf(member);
    this.#calls.writePart(slot, out.control.words, out.word, stream, part, partBytes);
    return true;
  }

  /** A session has come whose datagrams have another size. */
  onSession(member: number): void {
    const partBytes = this.#partBytesTo(member);
    for (const transfer of this.#active) {
      if (transfer.member === member && transfer.partBytes !== partBytes) this.#cut(transfer, partBytes);
    }
  }

  invariants(): void {
    const openCounts = new Int32Array(this.#openCounts.length);
    for (const { slot, member, isOpen, tracker } of this.#active) {
      assert(this.#bySlot[slot]?.slot === slot, 'an active transfer is listed under its slot');
      tracker.invariants();
      if (isOpen) openCounts[member]!++;
    }
    for (const [member, openCount] of openCounts.entries()) {
      assert(openCount === this.#openCounts[member], 'what is open is counted');
    }
  }
}
