import { assert } from '../../net/assert.ts';
import { RttEstimator } from '../../net/rtt.ts';
import type { Session } from '../../net/session.ts';
import { FLAG_BUSY, WORD_PROGRESS_BITMAP, WORD_PROGRESS_BYTES, flagsOf, partCountOf } from './messages.ts';
import type { OperationTable } from './operation-table.ts';
import { PartTracker } from './part-tracker.ts';
import type { Peer } from './peer.ts';
import type { Requests } from './requests.ts';

/**
 * Sends what is larger than a datagram: a WRITE or REPAIR goes to a member by parts, as fast as its session's credit
 * allows, and the member says by a bitmap what has arrived. pump() goes on with all of them once a turn.
 *
 * A part takes longer than a small message: others are before it in the member's receive buffer. So time-outs are learned
 * from parts, and a member's begins when parts of the transfer get under way, or when it says a word of it (RFC 6298, 5).
 */
export interface WritePartsCounters {
  /** Parts sent again because they were lost, or because a member was busy. */
  partsRepeated: number;
}

const NO_PART = -1;

/** What goes to one member. */
class MemberParts {
  session: Session<Peer> | undefined;
  flags = 0;
  /** Phase of the operation that it was last sent in. */
  generation = 0;
  partBytes = 0;
  /** Something of it has been sent, so the member has a place for it. */
  isOpen = false;
  /** Nothing is sent before: the member said that it is busy. */
  notBeforeMs = 0;
  /** It has no place for it, as far as is known: one part at a time, so that no more is sent in vain. */
  isBusy = false;
  /** When it last said a word of it, or when parts began to be under way again. */
  heardMs = 0;
  /** Time-outs in a row that it has let pass. */
  attempt = 0;
  /** The part whose round trip is taken, or NO_PART; one at a time, and none that was sent twice (Karn's rule). */
  timedPart = NO_PART;
  timedMs = 0;
  /** No part from this one on has been sent. */
  sentEnd = 0;
  readonly tracker = new PartTracker();
}

/** What an operation sends by parts. */
class Transfer {
  slot = -1;
  /** Members that it goes to. */
  mask = 0;
  readonly members: readonly MemberParts[];

  constructor(memberCount: number) {
    this.members = Array.from({ length: memberCount }, () => new MemberParts());
  }
}

/**
 * A member takes 16 values of one peer at once (reassemblies.ts). Half of that fills any credit, ends each sooner, and leaves
 * room for those that were given up here and not yet there.
 */
const OPEN_PER_MEMBER_MAX = 8;
/** Ten doublings are over the longest time-out whatever it was (net/rtt.ts). */
const BACK_OFF_MAX = 10;
/** A busy member is left alone for so long: a few round trips of what keeps it busy. */
const BUSY_MS = 5;

export class WriteParts {
  readonly #table: OperationTable;
  readonly #requests: Requests;
  readonly #memberCount: number;
  readonly #counters: WritePartsCounters;
  readonly #bySlot: (Transfer | undefined)[];
  readonly #active: Transfer[] = [];
  readonly #free: Transfer[] = [];
  /** By member: values of which something has been sent, and not all acknowledged. */
  readonly #openCounts: Int32Array;
  /** By member: round trips of parts. */
  readonly #rtts: readonly RttEstimator[];
  /** By member: time-outs that passed before it was heard, kept until a round trip is taken (RFC 6298, 5.5 to 5.7). */
  readonly #backOffs: Uint8Array;
  /** Of small messages to a member, while nothing is known of parts. */
  readonly #messageRtoMs: (member: number, attempt: number) => number;
  /** Where the next turn begins, so that each transfer comes first once. */
  #turn = 0;

  constructor(
    table: OperationTable,
    requests: Requests,
    memberCount: number,
    counters: WritePartsCounters,
    messageRtoMs: (member: number, attempt: number) => number,
  ) {
    this.#table = table;
    this.#messageRtoMs = messageRtoMs;
    this.#rtts = Array.from({ length: memberCount }, () => new RttEstimator());
    this.#backOffs = new Uint8Array(memberCount);
    this.#requests = requests;
    this.#memberCount = memberCount;
    this.#counters = counters;
    this.#openCounts = new Int32Array(memberCount);
    this.#bySlot = Array.from<Transfer | undefined>({ length: table.capacity });
  }

  /** Begins, or goes on after silence, to send to a member; the parts themselves leave by pump(). */
  send(session: Session<Peer>, slot: number, member: number, flags: number, nowMs: number): void {
    const transfer = this.#bySlot[slot] ?? this.#begin(slot);
    const parts = transfer.members[member]!;
    const partBytes = this.#requests.writePartBytes(session);
    const goesOn = (transfer.mask & (1 << member)) !== 0 && parts.partBytes === partBytes;
    transfer.mask |= 1 << member;
    const isSamePhase = parts.generation === this.#table.generation[slot];
    parts.session = session;
    parts.flags = flags;
    parts.generation = this.#table.generation[slot]!;
    if (goesOn && isSamePhase) return this.#onSilence(parts, member, nowMs);
    // In a new epoch: what was under way in the old one is not taken.
    if (goesOn) return this.#giveUp(parts);
    parts.partBytes = partBytes;
    parts.notBeforeMs = 0;
    parts.isBusy = false;
    parts.attempt = 0;
    parts.timedPart = NO_PART;
    parts.sentEnd = 0;
    parts.tracker.start(partCountOf(this.#table.envelopeBytes[slot]!, partBytes));
  }

  /** Members that have said nothing for a time-out of their own are sent something again. */
  onSilence(slot: number, nowMs: number): void {
    const transfer = this.#bySlot[slot]!;
    for (let member = 0; member < this.#memberCount; member++) {
      if ((transfer.mask & (1 << member)) !== 0) this.#onSilence(transfer.members[member]!, member, nowMs);
    }
  }

  /** When the first of the members is overdue; Infinity while nothing is under way to any. */
  overdueMs(slot: number): number {
    const transfer = this.#bySlot[slot];
    let overdueMs = Infinity;
    if (transfer === undefined) return overdueMs;
    for (let member = 0; member < this.#memberCount; member++) {
      if ((transfer.mask & (1 << member)) === 0) continue;
      overdueMs = Math.min(overdueMs, this.#overdueMs(transfer.members[member]!, member));
    }
    return overdueMs;
  }

  #overdueMs({ tracker, heardMs, attempt }: MemberParts, member: number): number {
    if (tracker.underWayCount === 0) return Infinity;
    const rtt = this.#rtts[member]!;
    const doublings = attempt + this.#backOffs[member]!;
    return heardMs + (rtt.isSampled ? rtt.rtoMs(doublings) : this.#messageRtoMs(member, doublings));
  }

  #onSilence(parts: MemberParts, member: number, nowMs: number): void {
    if (nowMs < this.#overdueMs(parts, member)) return;
    if (parts.attempt === 0) this.#wait(parts, parts.tracker.probe());
    else this.#giveUp(parts);
    parts.attempt = Math.min(parts.attempt + 1, 255);
  }

  #giveUp(parts: MemberParts): void {
    this.#wait(parts, parts.tracker.giveUp());
  }

  /** So many parts wait to be sent again. */
  #wait(parts: MemberParts, partCount: number): void {
    this.#counters.partsRepeated += partCount;
    if (!parts.tracker.isUnderWay(parts.timedPart)) parts.timedPart = NO_PART;
  }

  #begin(slot: number): Transfer {
    const transfer = this.#free.pop() ?? new Transfer(this.#memberCount);
    assert(transfer.slot === -1 && transfer.mask === 0, 'a free transfer is clean');
    transfer.slot = slot;
    this.#table.movesByParts[slot] = 1;
    this.#bySlot[slot] = transfer;
    this.#active.push(transfer);
    return transfer;
  }

  /** True when the member has got further since its last word. */
  onProgress(slot: number, member: number, words: Int32Array, word: number, nowMs: number): boolean {
    const transfer = this.#bySlot[slot];
    if (transfer === undefined || (transfer.mask & (1 << member)) === 0) return false;
    const parts = transfer.members[member]!;
    const { tracker } = parts;
    this.#onHeard(parts, member, nowMs);
    parts.isBusy = (flagsOf(words, word) & FLAG_BUSY) !== 0;
    if (parts.isBusy) {
      parts.notBeforeMs = nowMs + BUSY_MS;
      this.#giveUp(parts);
      return true;
    }
    const wordCount = words[word + WORD_PROGRESS_BYTES]! >> 2;
    const isTimed = parts.timedPart !== NO_PART && tracker.isUnderWay(parts.timedPart);
    const isNews = tracker.onBitmap(words, word + WORD_PROGRESS_BITMAP, wordCount);
    if (isTimed && !tracker.isUnderWay(parts.timedPart)) this.#sample(parts, member, nowMs);
    const lostCount = tracker.takeLost();
    if (lostCount > 0) parts.session?.flight?.onLost();
    this.#wait(parts, lostCount);
    if (!tracker.isComplete) return isNews;
    // All has arrived, and yet the member has not got all: it gave up what it had, and began anew.
    this.#counters.partsRepeated += tracker.onForgotten(words, word + WORD_PROGRESS_BITMAP, wordCount);
    return true;
  }

  /** The member has all of it, or needs no more. */
  onMemberDone(slot: number, member: number, nowMs: number): void {
    const transfer = this.#bySlot[slot];
    if (transfer === undefined) return;
    const parts = transfer.members[member]!;
    if ((transfer.mask & (1 << member)) !== 0) {
      this.#onHeard(parts, member, nowMs);
      if (parts.timedPart !== NO_PART) this.#sample(parts, member, nowMs);
    }
    this.#leave(transfer, member);
  }

  #onHeard(parts: MemberParts, member: number, nowMs: number): void {
    const backOff = Math.min(parts.attempt, BACK_OFF_MAX);
    if (backOff > this.#backOffs[member]!) this.#backOffs[member] = backOff;
    parts.heardMs = nowMs;
    parts.attempt = 0;
  }

  #sample(parts: MemberParts, member: number, nowMs: number): void {
    parts.timedPart = NO_PART;
    this.#rtts[member]!.sample(nowMs - parts.timedMs);
    this.#backOffs[member] = 0;
  }

  #leave(transfer: Transfer, member: number): void {
    transfer.mask &= ~(1 << member);
    const parts = transfer.members[member]!;
    parts.session = undefined;
    parts.timedPart = NO_PART;
    if (!parts.isOpen) return;
    parts.isOpen = false;
    this.#openCounts[member]! -= 1;
  }

  /** Members that it still goes to. */
  membersOf(slot: number): number {
    return this.#bySlot[slot]?.mask ?? 0;
  }

  stop(slot: number): void {
    const transfer = this.#bySlot[slot];
    if (transfer === undefined) return;
    this.#bySlot[slot] = undefined;
    transfer.slot = -1;
    for (let member = 0; member < this.#memberCount; member++) this.#leave(transfer, member);
    this.#active.splice(this.#active.indexOf(transfer), 1);
    this.#free.push(transfer);
  }

  /** Sends what credit and slots allow: of each transfer one part a round, so that none waits for another's end. */
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

  /** One part to each member. False when nothing could be sent. */
  #sendOne(transfer: Transfer, nowMs: number): boolean {
    let sent = false;
    for (let member = 0; member < this.#memberCount; member++) {
      if ((transfer.mask & (1 << member)) === 0) continue;
      const parts = transfer.members[member]!;
      const { tracker, session, flags, partBytes, notBeforeMs } = parts;
      const part = tracker.next();
      if (part === -1 || session === undefined || nowMs < notBeforeMs) continue;
      // From now on it is the session that has to have room, and nobody waits for the time.
      parts.notBeforeMs = 0;
      if (parts.isBusy && tracker.underWayCount > 0) continue;
      if (!parts.isOpen && this.#openCounts[member]! >= OPEN_PER_MEMBER_MAX) continue;
      if (!this.#requests.writePart(session, transfer.slot, flags, part, partBytes)) continue;
      if (tracker.underWayCount === 0) parts.heardMs = nowMs;
      // The last of those that leave together: the first is the one that is sent again when nobody says a word.
      if ((parts.timedPart === NO_PART || parts.timedMs === nowMs) && part >= parts.sentEnd) {
        parts.timedPart = part;
        parts.timedMs = nowMs;
      }
      parts.sentEnd = Math.max(parts.sentEnd, part + 1);
      tracker.onSent(part);
      sent = true;
      if (parts.isOpen) continue;
      parts.isOpen = true;
      this.#openCounts[member]! += 1;
    }
    return sent;
  }

  /** When pump() has something to do that nothing else calls it for; Infinity when there is nothing. */
  get nextPumpMs(): number {
    let nextMs = Infinity;
    for (const transfer of this.#active) {
      for (let member = 0; member < this.#memberCount; member++) {
        const { notBeforeMs, tracker } = transfer.members[member]!;
        if ((transfer.mask & (1 << member)) === 0 || tracker.underWayCount > 0) continue;
        if (notBeforeMs > 0) nextMs = Math.min(nextMs, notBeforeMs);
      }
    }
    return nextMs;
  }

  invariants(): void {
    const openCounts = new Int32Array(this.#memberCount);
    for (const transfer of this.#active) {
      assert(this.#bySlot[transfer.slot] === transfer, 'an active transfer is listed under its slot');
      for (let member = 0; member < this.#memberCount; member++) {
        const { isOpen, tracker } = transfer.members[member]!;
        if ((transfer.mask & (1 << member)) !== 0) tracker.invariants();
        else assert(!isOpen, 'nothing is open to whom nothing goes');
        if (isOpen) openCounts[member]!++;
      }
    }
    for (let member = 0; member < this.#memberCount; member++) {
      assert(openCounts[member] === this.#openCounts[member], 'what is open is counted');
      assert(openCounts[member]! <= OPEN_PER_MEMBER_MAX, 'and bounded');
    }
  }
}
