import { assert } from '../../net/assert.ts';
import type { Session } from '../../net/session.ts';
import { partCountOf } from './messages.ts';
import type { OperationTable } from './operation-table.ts';
import { PartPeer } from './part-peer.ts';
import type { PartTransferCounters } from './part-transfer.ts';
import { OPEN_PER_PEER_MAX, PartTransfer } from './part-transfer.ts';
import { PartTurns } from './part-turns.ts';
import type { Peer } from './peer.ts';
import { hasMember } from './quorum.ts';
import type { Requests } from './requests.ts';

/**
 * Sends what is larger than a datagram: a WRITE or REPAIR goes to each member by parts (part-transfer.ts), as fast as its
 * session's credit allows. pump() goes on with all of them once a turn.
 */

/** What goes to one member. */
class MemberWrite {
  session: Session<Peer> | undefined;
  flags = 0;
  /** Phase of the operation that it was last sent in. */
  generation = 0;
  readonly parts: PartTransfer;

  constructor(counters: PartTransferCounters) {
    this.parts = new PartTransfer(counters);
  }
}

/** What an operation sends by parts. */
class Write {
  slot = -1;
  /** Members that it goes to. */
  mask = 0;
  readonly members: readonly MemberWrite[];

  constructor(memberCount: number, counters: PartTransferCounters) {
    this.members = Array.from({ length: memberCount }, () => new MemberWrite(counters));
  }
}

export class WriteParts {
  readonly #table: OperationTable;
  readonly #requests: Requests;
  readonly #memberCount: number;
  /** By member. */
  readonly #peers: readonly PartPeer[];
  readonly #writes: PartTurns<Write>;

  /** @param messageRtoMs Of small messages to a member, while nothing is known of parts. */
  constructor(
    table: OperationTable,
    requests: Requests,
    memberCount: number,
    counters: PartTransferCounters,
    messageRtoMs: (member: number, attempt: number) => number,
  ) {
    this.#table = table;
    this.#requests = requests;
    this.#memberCount = memberCount;
    this.#peers = Array.from(
      { length: memberCount },
      (_, member) => new PartPeer((attempt) => messageRtoMs(member, attempt)),
    );
    this.#writes = new PartTurns(
      table.capacity,
      () => new Write(memberCount, counters),
      (write, nowMs) => this.#sendOne(write, nowMs),
    );
  }

  /** Begins, or goes on after silence, to send to a member; the parts themselves leave by pump(). */
  send(session: Session<Peer>, slot: number, member: number, flags: number, nowMs: number): void {
    const write = this.#writes.at(slot) ?? this.#begin(slot);
    const memberWrite = write.members[member]!;
    const { parts } = memberWrite;
    const partBytes = this.#requests.writePartBytes(session, slot);
    const goesOn = hasMember(write.mask, member) && parts.partBytes === partBytes;
    write.mask |= 1 << member;
    const isSamePhase = memberWrite.generation === this.#table.generation[slot];
    memberWrite.session = session;
    memberWrite.flags = flags;
    memberWrite.generation = this.#table.generation[slot]!;
    if (!goesOn) parts.start(this.#peers[member]!, partCountOf(this.#requests.partedBytes(slot), partBytes), partBytes);
    else if (isSamePhase) parts.onSilence(nowMs);
    // In a new epoch: what was under way in the old one is not taken.
    else parts.giveUp();
  }

  #begin(slot: number): Write {
    const write = this.#writes.begin(slot);
    assert(write.mask === 0, 'a free one is clean');
    this.#table.movesByParts[slot] = 1;
    return write;
  }

  /** Members that have said nothing for a time-out of their own are sent something again. */
  onSilence(slot: number, nowMs: number): void {
    const { mask, members } = this.#writes.at(slot)!;
    for (let member = 0; member < this.#memberCount; member++) {
      if (hasMember(mask, member)) members[member]!.parts.onSilence(nowMs);
    }
  }

  /** When the first of the members is overdue; Infinity while nothing is under way to any. */
  overdueMs(slot: number): number {
    const write = this.#writes.at(slot);
    let overdueMs = Infinity;
    if (write === undefined) return overdueMs;
    for (let member = 0; member < this.#memberCount; member++) {
      if (hasMember(write.mask, member)) overdueMs = Math.min(overdueMs, write.members[member]!.parts.overdueMs);
    }
    return overdueMs;
  }

  /** True when the member has got further since its last word. */
  onProgress(slot: number, member: number, words: Int32Array, word: number, nowMs: number): boolean {
    const write = this.#writes.at(slot);
    if (write === undefined || !hasMember(write.mask, member)) return false;
    const { parts, session } = write.members[member]!;
    return parts.onProgress(session, words, word, nowMs);
  }

  /** The member has all of it, or needs no more. */
  onMemberDone(slot: number, member: number, nowMs: number): void {
    const write = this.#writes.at(slot);
    if (write === undefined || !hasMember(write.mask, member)) return;
    write.members[member]!.parts.onDone(nowMs);
    this.#leave(write, member);
  }

  #leave(write: Write, member: number): void {
    write.mask &= ~(1 << member);
    const { parts } = write.members[member]!;
    parts.close();
    write.members[member]!.session = undefined;
  }

  /** Members that it still goes to. */
  membersOf(slot: number): number {
    return this.#writes.at(slot)?.mask ?? 0;
  }

  stop(slot: number): void {
    const write = this.#writes.at(slot);
    if (write === undefined) return;
    for (let member = 0; member < this.#memberCount; member++) this.#leave(write, member);
    this.#writes.end(write);
  }

  /** Sends what credit and slots allow. */
  pump(nowMs: number): void {
    this.#writes.pump(nowMs);
  }

  /** One part to each member. False when nothing could be sent. */
  #sendOne({ slot, mask, members }: Write, nowMs: number): boolean {
    let sent = false;
    for (let member = 0; member < this.#memberCount; member++) {
      if (!hasMember(mask, member)) continue;
      const { parts, session, flags } = members[member]!;
      const part = session === undefined ? -1 : parts.next(nowMs);
      if (part === -1 || !this.#requests.writePart(session!, slot, flags, part, parts.partBytes)) continue;
      parts.onSent(part, nowMs);
      sent = true;
    }
    return sent;
  }

  /** When pump() has something to do that nothing else calls it for; Infinity when there is nothing. */
  get nextPumpMs(): number {
    let nextMs = Infinity;
    for (const { mask, members } of this.#writes.active) {
      for (let member = 0; member < this.#memberCount; member++) {
        if (hasMember(mask, member)) nextMs = Math.min(nextMs, members[member]!.parts.sendsAgainMs);
      }
    }
    return nextMs;
  }

  invariants(): void {
    this.#writes.invariants();
    const openCounts = new Int32Array(this.#memberCount);
    for (const { mask, members } of this.#writes.active) {
      for (const [member, { parts }] of members.entries()) {
        if (hasMember(mask, member)) parts.invariants();
        else assert(!parts.isOpen, 'nothing is open to whom nothing goes');
        if (parts.isOpen) openCounts[member]!++;
      }
    }
    for (const [member, { openCount }] of this.#peers.entries()) {
      assert(openCounts[member] === openCount, 'what is open is counted');
      assert(openCount <= OPEN_PER_PEER_MAX, 'and bounded');
    }
  }
}
