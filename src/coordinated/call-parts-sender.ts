import { assert } from '../../net/assert.ts';
import type { Session } from '../../net/session.ts';
import { CALL_PART_BYTES, callPartLengthBytes } from '../protocol/call-part-messages.ts';
import { PARTS_MAX } from '../protocol/messages.ts';
import type { Messenger } from '../protocol/messenger.ts';
import type { PartTransferCounters } from '../protocol/part-transfer.ts';
import { PartTransfer } from '../protocol/part-transfer.ts';
import { PartTurns } from '../protocol/part-turns.ts';
import type { Peer } from '../protocol/peer.ts';
import type { CallMembers } from './call-members.ts';
import type { CallSlots } from './call-slots.ts';

/**
 * Sends calls that are larger than a datagram: by parts (part-transfer.ts), as fast as the session's credit allows. pump()
 * goes on with all of them once a turn.
 *
 * A replica runs a call only when it has all of it. So as long as some part was never sent, nobody can have begun it.
 */
class CallTransfer {
  slot = -1;
  member = -1;
  beganMs = 0;
  readonly parts: PartTransfer;

  constructor(counters: PartTransferCounters) {
    this.parts = new PartTransfer(counters);
  }
}

export class CallPartsSender {
  readonly #calls: CallSlots;
  readonly #members: CallMembers;
  readonly #memberCount: number;
  readonly #messenger: Messenger;
  /** A part has left, and by now each was sent at least once: the call may be run from now on. */
  readonly #onWholeSent: (slot: number, member: number) => void;
  readonly #transfers: PartTurns<CallTransfer>;

  constructor(
    calls: CallSlots,
    members: CallMembers,
    memberCount: number,
    messenger: Messenger,
    counters: PartTransferCounters,
    onWholeSent: (slot: number, member: number) => void,
  ) {
    this.#calls = calls;
    this.#members = members;
    this.#memberCount = memberCount;
    this.#messenger = messenger;
    this.#onWholeSent = onWholeSent;
    this.#transfers = new PartTurns(
      calls.capacity,
      () => new CallTransfer(counters),
      (transfer, nowMs) => this.#sendOne(transfer, nowMs),
    );
  }

  /** Parts of the call go to this member from now on. */
  begin(slot: number, member: number, nowMs: number): void {
    const transfer = this.#transfers.begin(slot);
    transfer.member = member;
    transfer.beganMs = nowMs;
    this.#cut(transfer, this.#partBytesTo(member));
  }

  /** Length of parts to the member; 0 when it has no session. */
  #partBytesTo(member: number): number {
    const session = this.#members.session(member);
    return session === undefined ? 0 : this.#messenger.valueBytesMax(session, CALL_PART_BYTES);
  }

  #cut({ slot, member, parts }: CallTransfer, partBytes: number): void {
    const bodyBytes = this.#calls.bodyBytes(slot);
    assert(bodyBytes <= partBytes * PARTS_MAX, 'parts are few enough for a bitmap');
    parts.start(this.#members.partPeer(member), Math.ceil(bodyBytes / partBytes), partBytes);
  }

  has(slot: number): boolean {
    return this.#transfers.at(slot) !== undefined;
  }

  /** The member that parts go to; -1: none. */
  memberOf(slot: number): number {
    return this.#transfers.at(slot)?.member ?? -1;
  }

  /** The replica is not known to have had all of it. */
  isMoving(slot: number): boolean {
    return this.#transfers.at(slot)?.parts.isComplete === false;
  }

  /** When the replica last said a word of what is on its way; Infinity when nothing is. */
  heardMs(slot: number): number {
    return this.#transfers.at(slot)!.parts.heardMs;
  }

  /** When parts began to go to the member. */
  beganMs(slot: number): number {
    return this.#transfers.at(slot)!.beganMs;
  }

  /** Time-outs in a row without a word. */
  attempt(slot: number): number {
    return this.#transfers.at(slot)!.parts.attempt;
  }

  /** Until a word is overdue. */
  rtoMs(slot: number): number {
    return this.#transfers.at(slot)!.parts.rtoMs;
  }

  stop(slot: number): void {
    const transfer = this.#transfers.at(slot);
    if (transfer === undefined) return;
    transfer.parts.close();
    this.#transfers.end(transfer);
  }

  /** The replica says what it has. False when that answers nothing. */
  onProgress(slot: number, member: number, words: Int32Array, word: number, nowMs: number): boolean {
    const transfer = this.#transfers.at(slot);
    if (transfer === undefined || transfer.member !== member) return false;
    const { parts } = transfer;
    parts.onProgress(this.#members.session(member), words, word, nowMs);
    // It holds no more memory for it.
    if (parts.isComplete) parts.close();
    return true;
  }

  /** True when the replica has said nothing of it for a time-out: it is sent some of it again. */
  onSilence(slot: number, nowMs: number): boolean {
    return this.#transfers.at(slot)!.parts.onSilence(nowMs);
  }

  /** Asks what has become of a call that the replica had all of: any part of it does. */
  ask(slot: number): boolean {
    const transfer = this.#transfers.at(slot)!;
    const session = this.#members.session(transfer.member);
    return session !== undefined && this.#write(transfer, session, 0, false);
  }

  /** Sends what credit and slots allow. */
  pump(nowMs: number): void {
    this.#transfers.pump(nowMs);
  }

  #sendOne(transfer: CallTransfer, nowMs: number): boolean {
    const { slot, member, parts } = transfer;
    const session = this.#members.session(member);
    const part = session === undefined ? -1 : parts.next(nowMs);
    if (part === -1 || !this.#write(transfer, session!, part, true)) return false;
    parts.onSent(part, nowMs);
    if (parts.isWholeSent) this.#onWholeSent(slot, member);
    return true;
  }

  #write({ slot, member, parts }: CallTransfer, session: Session<Peer>, part: number, isBulk: boolean): boolean {
    const { partBytes } = parts;
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
    for (const transfer of this.#transfers.active) {
      if (transfer.member === member && transfer.parts.partBytes !== partBytes) this.#cut(transfer, partBytes);
    }
  }

  invariants(): void {
    this.#transfers.invariants();
    const openCounts = new Int32Array(this.#memberCount);
    for (const { member, parts } of this.#transfers.active) {
      parts.invariants();
      if (parts.isOpen) openCounts[member]!++;
    }
    for (let member = 0; member < this.#memberCount; member++) {
      const { openCount } = this.#members.partPeer(member);
      assert(openCounts[member] === openCount, 'what is open is counted');
    }
  }
}
