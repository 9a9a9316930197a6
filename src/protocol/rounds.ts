import type { Session } from '../../net/session.ts';
import type { ValueSealing } from '../../workers/sealing.ts';
import type { MemberPicker } from './member-picker.ts';
import type { Messenger } from './messenger.ts';
import { FLAG_WRITE_BACK, MESSAGE_WRITE } from './messages.ts';
import type { OperationTable } from './operation-table.ts';
import {
  PHASE_ACCEPT,
  PHASE_COMMIT,
  PHASE_FETCH,
  PHASE_PREPARE,
  PHASE_READ,
  PHASE_RESOLVE,
  PHASE_RMW_FETCH,
  PHASE_SCAN,
  PHASE_STAMP,
  PHASE_WRITE,
  PHASE_WRITE_BACK,
} from './operation-table.ts';
import type { EndOperation } from './outcome.ts';
import type { Peer } from './peer.ts';
import { hasMember, memberCountOf } from './quorum.ts';
import type { Requests } from './requests.ts';
import type { RmwRequests } from './rmw-requests.ts';
import type { TimerWheel } from './timer-wheel.ts';
import type { WriteParts } from './write-parts.ts';

/**
 * A phase of an operation is a round of questions. Here is whom it asks first (just a quorum, the nearest), whom after
 * the hedge delay, what is sent again when no answer comes, and how long each of these is waited for. What is asked, and
 * what the answers mean, is the flows' business (get-flow.ts, put-flow.ts).
 */
export interface Membership {
  readonly memberCount: number;
  /** Members whose answers count now. */
  readyMask(): number;
  /** Epoch whose answers count now. */
  epoch(): number;
  session(member: number): Session<Peer> | undefined;
}

/** What each flow works with. */
export interface FlowParts {
  readonly table: OperationTable;
  readonly requests: Requests;
  readonly rounds: Rounds;
  readonly writeParts: WriteParts;
  readonly membership: Membership;
  readonly sealing: ValueSealing;
  readonly quorum: number;
  readonly end: EndOperation;
}

export interface RoundCounters {
  /** Messages sent again because no answer came in time. */
  retransmissions: number;
  /** Further members asked because the first quorum was slow. */
  hedges: number;
}

export class Rounds {
  /** Time of the turn, handed in by the coordinator. */
  nowMs = 0;
  readonly picker: MemberPicker;
  /** Asks for the value with a READ. */
  valueReads: { askOne(session: Session<Peer>, slot: number, member: number): boolean } | undefined;
  /** Writes SCANs; undefined: there are none. */
  scans: { askOne(session: Session<Peer>, slot: number, withValues: boolean): boolean } | undefined;
  readonly #table: OperationTable;
  readonly #requests: Requests;
  readonly #rmwRequests: RmwRequests;
  readonly #timers: TimerWheel;
  readonly #membership: Membership;
  readonly #quorum: number;
  readonly #counters: RoundCounters;
  readonly #writeParts: WriteParts;
  readonly #messenger: Messenger;
  /** Slots whose requests a session did not take, in the order of asking. */
  readonly #unsent: number[] = [];
  /** Members whose sessions took nothing more: further requests wait behind those in #unsent. */
  #full = 0;
  /** Members from which answers came of late. */
  #answering = 0;

  constructor(
    table: OperationTable,
    requests: Requests,
    rmwRequests: RmwRequests,
    writeParts: WriteParts,
    picker: MemberPicker,
    timers: TimerWheel,
    membership: Membership,
    quorum: number,
    counters: RoundCounters,
    messenger: Messenger,
  ) {
    this.#messenger = messenger;
    this.#table = table;
    this.#requests = requests;
    this.#rmwRequests = rmwRequests;
    this.#writeParts = writeParts;
    this.picker = picker;
    this.#timers = timers;
    this.#membership = membership;
    this.#quorum = quorum;
    this.#counters = counters;
  }

  /** A new phase has a new generation: answers to an earlier one count for nothing. */
  enter(slot: number, phase: number): void {
    const table = this.#table;
    table.generation[slot] = (table.generation[slot]! + 1) | 0;
    table.epoch[slot] = this.#membership.epoch();
    this.goOn(slot, phase);
  }

  /** Another phase, for which answers to the one before count, too. */
  goOn(slot: number, phase: number): void {
    const table = this.#table;
    table.phase[slot] = phase;
    table.asked[slot] = 0;
    table.replied[slot] = 0;
    table.sampled[slot] = 0;
    table.refused[slot] = 0;
    table.attempt[slot] = 0;
    table.unsent[slot] = 0;
    table.byParts[slot] = 0;
    table.phaseMs[slot] = this.nowMs;
  }

  /** Thrifty: just a quorum, and now and then a silent member to see whether it is back. */
  firstMembers(preferredMask = 0): number {
    const ready = this.#membership.readyMask();
    return this.picker.pick(ready, this.#quorum, preferredMask) | this.picker.probeMask(ready, this.nowMs);
  }

  /** Everyone who is ready and was not asked in this phase. */
  others(slot: number): number {
    return this.#membership.readyMask() & ~this.#table.asked[slot]!;
  }

  askFirst(slot: number, members: number): void {
    const table = this.#table;
    // A transfer by parts takes longer than a round trip.
    table.sampled[slot] = this.ask(slot, members) & ~table.byParts[slot]!;
    // No hedge later than an answer is overdue: its delay follows how long phases take, and where more of them lose a
    // datagram than are to be hedged, it would follow itself up to its bound.
    const rtoMs = this.#rtoMs(slot);
    const canHedge = table.asked[slot] !== 0 && this.others(slot) !== 0;
    this.wait(slot, canHedge ? Math.min(rtoMs, this.picker.hedgeDelayMs()) : rtoMs);
  }

  /** Members that the request went out to. To the others it goes as soon as their sessions take it. */
  ask(slot: number, members: number): number {
    const table = this.#table;
    const sent = this.#send(slot, members);
    const before = table.unsent[slot]!;
    const unsent = (before | members) & ~sent;
    if (unsent !== before) {
      table.unsent[slot] = unsent;
      if (before === 0) this.#unsent.push(slot);
    }
    return sent;
  }

  /** Once a turn: what sessions did not take before, for want of credit most of all, first come first served. */
  sendUnsent(): void {
    const unsent = this.#unsent;
    const table = this.#table;
    let kept = 0;
    this.#full = 0;
    if (unsent.length === 0) return;
    this.#lookForRoom();
    for (const slot of unsent) {
      const wanted = isAsking(table.phase[slot]!) ? table.unsent[slot]! & this.#eligible(slot) : 0;
      const sent = this.#send(slot, wanted);
      table.unsent[slot] = wanted & ~sent;
      if (table.unsent[slot] !== 0) unsent[kept++] = slot;
      if (sent === 0) continue;
      if (table.attempt[slot] === 0) table.sampled[slot]! |= sent & ~table.byParts[slot]!;
      // Its timer was set when it was not under way: it has the time of a round trip from now on, as others have.
      this.waitForTimeout(slot);
    }
    unsent.length = kept;
  }

  #send(slot: number, members: number): number {
    if (this.#waitsForAll(members)) return 0;
    let sent = 0;
    for (let member = 0; member < this.#membership.memberCount; member++) {
      if (!hasMember(members & ~this.#full, member)) continue;
      if (this.#askOne(slot, member)) sent |= 1 << member;
      else this.#full |= 1 << member;
    }
    this.#table.asked[slot]! |= sent;
    return sent;
  }

  #lookForRoom(): void {
    this.#answering = this.picker.answeringMask(this.nowMs);
    for (let member = 0; member < this.#membership.memberCount; member++) {
      const session = this.#membership.session(member);
      if (session === undefined || !this.#messenger.hasRoom(session)) this.#full |= 1 << member;
    }
  }

  /**
   * Whether a request waits for a member that takes nothing now and will soon. It is then sent to none of them: a write
   * that some members have long before the others makes every get in between write back what it finds.
   */
  #waitsForAll(members: number): boolean {
    if ((members & this.#full & this.#answering) === 0) return false;
    this.#full |= members;
    return true;
  }

  /**
   * Whether nothing is waited for but credit, of members that have been heard since: then asking others, or again, would
   * only add to what is too much.
   */
  isHeldBack(slot: number): boolean {
    const table = this.#table;
    const unsent = table.unsent[slot]!;
    if (unsent === 0 || (table.asked[slot]! & ~table.replied[slot]!) !== 0) return false;
    return (unsent & ~this.picker.heardSince(table.phaseMs[slot]!)) === 0;
  }

  #askOne(slot: number, member: number): boolean {
    const session = this.#membership.session(member);
    if (session === undefined) return false;
    switch (this.#table.phase[slot]!) {
      case PHASE_READ:
        if (this.#table.valueMember[slot] === member) return this.valueReads!.askOne(session, slot, member);
        return this.#requests.read(session, slot, false);
      case PHASE_FETCH:
        return this.#requests.read(session, slot, true);
      case PHASE_STAMP:
        return this.#requests.stamp(session, slot);
      case PHASE_WRITE:
        return this.#write(session, slot, member, 0);
      case PHASE_WRITE_BACK:
        return this.#write(session, slot, member, FLAG_WRITE_BACK);
      case PHASE_RESOLVE:
        return this.#requests.resolve(session, slot);
      case PHASE_SCAN:
        return this.scans!.askOne(session, slot, this.#table.valueMember[slot] === member);
      default:
        return this.#change(session, slot, member);
    }
  }

  /** A read-modify-write. */
  #change(session: Session<Peer>, slot: number, member: number): boolean {
    if (!this.#rmwRequests.lacks(slot, member)) return this.#rmwRequests.ask(session, slot, member);
    const flags = this.#table.staged[slot] === undefined ? FLAG_WRITE_BACK : 0;
    this.#table.byParts[slot]! |= 1 << member;
    this.#writeParts.send(session, slot, member, flags, this.nowMs);
    return true;
  }

  #write(session: Session<Peer>, slot: number, member: number, flags: number): boolean {
    if (this.#requests.fits(session, slot)) return this.#requests.write(session, slot, MESSAGE_WRITE, flags);
    this.#table.byParts[slot]! |= 1 << member;
    this.#writeParts.send(session, slot, member, flags, this.nowMs);
    return true;
  }

  /** Until the phase is looked at again; until the deadline at the longest. */
  wait(slot: number, waitMs: number): void {
    // Whole, as the wheel makes it: a fraction would be passed as an object on the heap.
    this.#timers.set(slot, Math.ceil(Math.min(this.nowMs + waitMs, this.#table.deadlineMs[slot]!)));
  }

  /** From now on a whole time-out is waited for: parts are under way and some have come, or nothing has left yet. */
  waitForTimeout(slot: number): void {
    this.wait(slot, this.#rtoMs(slot));
  }

  /** Of those that were asked, and of those that will be when there is credit: a few milliseconds are too short for that, too. */
  #rtoMs(slot: number): number {
    const table = this.#table;
    return this.picker.rtoMs(table.asked[slot]! | table.unsent[slot]!, table.attempt[slot]!);
  }

  /** Only the deadline is waited for: the operation is at the sealing. */
  waitForSealing(slot: number): void {
    this.#timers.set(slot, this.#table.deadlineMs[slot]!);
  }

  /** Nobody is waited for any more. */
  stop(slot: number): void {
    this.#timers.clear(slot);
  }

  /** The phase has its quorum. */
  onQuorum(slot: number): void {
    this.picker.onPhase(this.nowMs - this.#table.phaseMs[slot]!);
  }

  /** Those that were asked have not answered in time. */
  onSilence(slot: number): void {
    const table = this.#table;
    this.picker.onOverdue(table.asked[slot]! & ~table.replied[slot]!, table.phaseMs[slot]!);
  }

  /** A member refuses the write. True while those that have not refused are enough for a quorum. */
  refuse(slot: number, member: number): boolean {
    const table = this.#table;
    table.refused[slot]! |= 1 << member;
    return this.#membership.memberCount - memberCountOf(table.refused[slot]!) >= this.#quorum;
  }

  /** Asks whom it has not asked yet; when it has asked all, those once more that have not answered. */
  askAgain(slot: number): void {
    const table = this.#table;
    const eligible = this.#eligible(slot);
    if (this.#hedge(slot, eligible & ~table.asked[slot]!) === 0) {
      table.sampled[slot] = 0;
      const again = this.ask(slot, eligible & table.asked[slot]! & ~table.replied[slot]!);
      this.#counters.retransmissions += memberCountOf(again);
      table.attempt[slot] = Math.min(table.attempt[slot]! + 1, 255);
    }
    this.waitForTimeout(slot);
  }

  /** Asks members that were not asked yet; returns those it could send to. */
  #hedge(slot: number, members: number): number {
    if (members === 0) return 0;
    const table = this.#table;
    const hadAsked = table.asked[slot] !== 0;
    // The one that was to send the value has not: another one is asked for it, too.
    const phase = table.phase[slot]!;
    if (
      (phase === PHASE_READ || phase === PHASE_PREPARE || phase === PHASE_SCAN) &&
      !hasMember(table.replied[slot]!, table.valueMember[slot]!)
    ) {
      table.valueMember[slot] = this.picker.first(members);
    }
    const sent = this.ask(slot, members);
    if (hadAsked) this.#counters.hedges += memberCountOf(sent);
    return sent;
  }

  /** Members whose answer would help the phase on. */
  #eligible(slot: number): number {
    const ready = this.#membership.readyMask();
    const table = this.#table;
    if (table.phase[slot] === PHASE_WRITE_BACK) return ready & ~table.holders[slot]!;
    if (table.phase[slot] === PHASE_FETCH) return ready & ~(table.bad[slot]! | table.lacking[slot]!);
    return table.phase[slot]! >= PHASE_PREPARE ? ready & this.#rmwRequests.eligible(slot) : ready;
  }
}

function isRmwAsking(phase: number): boolean {
  return phase === PHASE_PREPARE || phase === PHASE_RMW_FETCH || phase === PHASE_ACCEPT || phase === PHASE_COMMIT;
}

/** Phases that ask members something in one message each. */
function isAsking(phase: number): boolean {
  return (
    phase === PHASE_READ ||
    phase === PHASE_FETCH ||
    phase === PHASE_STAMP ||
    phase === PHASE_WRITE ||
    phase === PHASE_WRITE_BACK ||
    phase === PHASE_RESOLVE ||
    phase === PHASE_SCAN ||
    isRmwAsking(phase)
  );
}
