import type { Incoming } from '../../net/inbox.ts';
import { readU53 } from '../../net/bytes.ts';
import type { DropCounters } from '../../net/drops.ts';
import type { ValueSealing } from '../../workers/sealing.ts';
import { compareStamps } from '../stamp.ts';
import {
  FLAGS_REFUSED,
  FLAG_BUSY,
  FLAG_FOLLOWED,
  FLAG_NOT_PERMITTED,
  FLAG_PARTS,
  FLAG_REPAIR,
  FLAG_TOMBSTONE,
  FLAG_VALUE,
  MESSAGE_REPAIR,
  WORD_REPLY_COUNTER,
  WORD_REPLY_ENVELOPE_BYTES,
  WORD_REPLY_RMW,
  WORD_REPLY_TAG,
  WORD_REPLY_WRITER,
  flagsOf,
} from './messages.ts';
import type { OperationTable } from './operation-table.ts';
import { NO_MEMBER, PHASE_FETCH, PHASE_OPEN, PHASE_READ, PHASE_RESOLVE, PHASE_WRITE_BACK } from './operation-table.ts';
import type { EndOperation } from './outcome.ts';
import { refusalOf } from './outcome.ts';
import type { Peer } from './peer.ts';
import type { PullCounters } from './part-pulls.ts';
import { PullFlow } from './pull-flow.ts';
import { hasMember, memberCountOf } from './quorum.ts';
import type { Requests } from './requests.ts';
import { WORD_RESOLVED_COUNTER, WORD_RESOLVED_RMW, WORD_RESOLVED_WRITER } from './resolve-messages.ts';
import type { FlowParts, Membership, Rounds } from './rounds.ts';
import type { WriteParts } from './write-parts.ts';

/**
 * A get, phase by phase:
 *
 *     READ        stamps of a quorum, the value of one member of it
 *     FETCH       the newest stamp's value, when it did not come with it, or the copy that came does not open
 *     PULL        the same, by parts, when it is larger than a datagram (pull-flow.ts)
 *     OPEN        the value is at the sealing, to be checked
 *     WRITE_BACK  when less than a quorum is known to hold the newest stamp: it is written to the others, before the
 *                 answer, so that no later get returns an older value
 *     RESOLVE     the same for who may not write: a replica sees to it (src/coordinated/resolve-server.ts)
 *
 * A copy that does not open loses its value, not its stamp: another member's copy under the same stamp and tag is taken,
 * and REPAIR is sent to the bad one.
 */
export interface GetCounters {
  /** Values that failed their check, and were taken from another replica. */
  tampered: number;
  /** REPAIR messages sent. */
  repairs: number;
  /** Gets that had to write the newest value back before they answered. */
  writeBacks: number;
  /** Gets that had a replica do that. */
  resolves: number;
}

/** A replica that is asked to RESOLVE reads, fetches and writes back before it answers. */
const RESOLVE_ROUNDS = 3;

export class GetFlow {
  readonly #table: OperationTable;
  readonly #rounds: Rounds;
  readonly #requests: Requests;
  readonly #membership: Membership;
  readonly #sealing: ValueSealing;
  readonly #drops: DropCounters;
  readonly #quorum: number;
  readonly #allMask: number;
  readonly #counters: GetCounters;
  readonly #writeParts: WriteParts;
  readonly #mayWrite: (slot: number) => boolean;
  readonly #end: EndOperation;
  readonly pulls: PullFlow;

  /**
   * @param pullBytesMax What answers by parts may take of the receive buffer.
   * @param mayWrite Whether this process may write the key of an operation.
   */
  constructor(
    parts: FlowParts,
    drops: DropCounters,
    counters: GetCounters & PullCounters,
    pullBytesMax: number,
    mayWrite: (slot: number) => boolean,
  ) {
    this.#table = parts.table;
    this.#rounds = parts.rounds;
    this.#requests = parts.requests;
    this.#writeParts = parts.writeParts;
    this.#membership = parts.membership;
    this.#sealing = parts.sealing;
    this.#drops = drops;
    this.#quorum = parts.quorum;
    this.#allMask = (1 << parts.membership.memberCount) - 1;
    this.#counters = counters;
    this.#mayWrite = mayWrite;
    this.#end = parts.end;
    this.pulls = new PullFlow(
      parts,
      drops,
      counters,
      pullBytesMax,
      (slot) => this.read(slot),
      (slot) => this.#open(slot),
    );
  }

  // -- READ -------------------------------------------------------------------------------------------------------

  read(slot: number): void {
    const table = this.#table;
    if (table.movesByParts[slot] === 1) {
      this.pulls.stop(slot);
      this.#writeParts.stop(slot);
    }
    this.#rounds.enter(slot, PHASE_READ);
    table.counter[slot] = 0;
    table.writerHigh[slot] = 0;
    table.writerLow[slot] = 0;
    table.rmw[slot] = 0;
    table.tombstone[slot] = 1;
    table.sealed[slot] = 0;
    table.holders[slot] = 0;
    table.resolved[slot] = 0;
    table.bad[slot] = 0;
    table.lacking[slot] = 0;
    table.partsMember[slot] = NO_MEMBER;
    table.grantMember[slot] = NO_MEMBER;
    table.dropEnvelope(slot);
    const members = this.#rounds.firstMembers();
    // Not from one that is only looked at, to see whether it is back.
    const answering = members & ~this.#rounds.picker.silentMask;
    table.valueMember[slot] = this.#rounds.picker.first(answering === 0 ? members : answering);
    this.#rounds.askFirst(slot, members);
  }

  /** In READ and in FETCH. */
  onReadReply(slot: number, member: number, incoming: Incoming<Peer>, word: number, valueWord: number): void {
    const table = this.#table;
    const { words } = incoming.region;
    const order = compareStamps(
      readU53(words, word + WORD_REPLY_COUNTER),
      words[word + WORD_REPLY_WRITER + 1]!,
      words[word + WORD_REPLY_WRITER]!,
      words[word + WORD_REPLY_RMW]!,
      table.counter[slot]!,
      table.writerHigh[slot]!,
      table.writerLow[slot]!,
      table.rmw[slot]!,
    );
    if ((flagsOf(words, word) & FLAG_NOT_PERMITTED) !== 0) return this.#end(slot, 'not-permitted');
    if (table.phase[slot] === PHASE_FETCH) return this.#onFetchReply(slot, member, order, incoming, word, valueWord);
    if (order > 0) this.#raise(slot, words, word);
    if (order >= 0) {
      table.holders[slot]! |= 1 << member;
      if (!table.hasEnvelope(slot)) this.#keepValue(slot, member, incoming, word, valueWord);
    }
    if (table.grantMember[slot] === member) this.pulls.stopGrant(slot);
    if (memberCountOf(table.replied[slot]!) >= this.#quorum) this.#decide(slot);
  }

  /** A newer stamp than any met: what was known of the older one is of no use. */
  #raise(slot: number, words: Int32Array, word: number): void {
    const table = this.#table;
    table.counter[slot] = readU53(words, word + WORD_REPLY_COUNTER);
    table.writerLow[slot] = words[word + WORD_REPLY_WRITER]!;
    table.writerHigh[slot] = words[word + WORD_REPLY_WRITER + 1]!;
    table.rmw[slot] = words[word + WORD_REPLY_RMW]!;
    table.tombstone[slot] = (flagsOf(words, word) & FLAG_TOMBSTONE) !== 0 ? 1 : 0;
    table.holders[slot] = 0;
    table.partsMember[slot] = NO_MEMBER;
    if (this.pulls.has(slot)) this.pulls.stop(slot);
    table.dropEnvelope(slot);
  }

  /** The value, or where it can be had by parts: whichever the answer has. */
  #keepValue(slot: number, member: number, incoming: Incoming<Peer>, word: number, valueWord: number): void {
    const { words } = incoming.region;
    const table = this.#table;
    const flags = flagsOf(words, word);
    const envelopeBytes = words[word + WORD_REPLY_ENVELOPE_BYTES]!;
    if ((flags & FLAG_PARTS) !== 0 && envelopeBytes > 0) {
      table.partsMember[slot] = member;
      table.envelopeBytes[slot] = envelopeBytes;
      table.setTag(slot, words, word + WORD_REPLY_TAG);
      this.pulls.onValueMet(envelopeBytes);
      if ((flags & FLAG_FOLLOWED) !== 0 && table.phase[slot] === PHASE_READ) this.pulls.follow(slot, member);
    }
    if ((flags & FLAG_VALUE) === 0) return;
    this.pulls.onValueMet(0);
    table.keepEnvelope(slot, incoming.region, valueWord, envelopeBytes, words, word + WORD_REPLY_TAG);
    table.valueMember[slot] = member;
  }

  /**
   * A get whose READ a scan has done: these members hold the stamp that stands in the table, and one of them has sent the
   * value that is kept there.
   */
  openFound(slot: number, member: number, holders: number): void {
    const table = this.#table;
    this.#rounds.enter(slot, PHASE_READ);
    table.bad[slot] = 0;
    table.lacking[slot] = 0;
    table.partsMember[slot] = NO_MEMBER;
    table.resolved[slot] = 0;
    table.holders[slot] = holders;
    table.valueMember[slot] = member;
    this.#open(slot);
  }

  #decide(slot: number): void {
    const table = this.#table;
    this.#rounds.onQuorum(slot);
    this.pulls.stopGrant(slot);
    if (table.tombstone[slot] === 1) {
      // Counter 0 is not enough: a read-modify-write may have made and deleted the key before any put.
      const isNone = table.counter[slot] === 0 && table.rmw[slot] === 0;
      if (isNone || this.#isHeldByQuorum(slot)) this.#end(slot, 'absent');
      else this.writeBack(slot);
    } else this.#takeValue(slot);
  }

  /** What is known of the newest value decides what comes next. */
  #takeValue(slot: number): void {
    const table = this.#table;
    if (this.pulls.has(slot)) return this.pulls.goOn(slot);
    if (table.hasEnvelope(slot)) return this.#open(slot);
    if (table.partsMember[slot] === NO_MEMBER) return this.fetch(slot);
    table.valueMember[slot] = table.partsMember[slot]!;
    this.pulls.begin(slot);
  }

  // -- FETCH ------------------------------------------------------------------------------------------------------

  /** Asks for the newest value where it is known to be; where it may be, when it is known nowhere else. */
  fetch(slot: number): void {
    const table = this.#table;
    const useless = table.bad[slot]! | table.lacking[slot]!;
    if (useless === this.#allMask) {
      // Everyone was asked. Those that lacked the value may have it by now: that is looked at once more.
      const isLastLook = table.lacking[slot] === 0 || table.rereads[slot]! > 0;
      if (table.bad[slot] !== 0 && isLastLook) return this.#end(slot, 'unreadable');
      if (table.bad[slot] !== 0) table.rereads[slot]! += 1;
      return this.read(slot);
    }
    const usable = this.#membership.readyMask() & ~useless;
    const holders = usable & table.holders[slot]!;
    const candidates = holders !== 0 ? holders : usable;
    this.#rounds.enter(slot, PHASE_FETCH);
    table.partsMember[slot] = NO_MEMBER;
    this.#rounds.askFirst(slot, candidates === 0 ? 0 : 1 << this.#rounds.picker.first(candidates));
  }

  /** No answer in time. True when something else was begun than asking again. */
  onFetchSilence(slot: number): boolean {
    const table = this.#table;
    // A candidate for the value may have none left that is ready: look again.
    if (table.asked[slot] === 0) {
      this.fetch(slot);
      return true;
    }
    // The one that holds it is silent, and a quorum of others does not: nothing was answered yet, so read anew.
    if (memberCountOf(table.lacking[slot]!) >= this.#quorum) {
      this.read(slot);
      return true;
    }
    return false;
  }

  #onFetchReply(
    slot: number,
    member: number,
    order: number,
    incoming: Incoming<Peer>,
    word: number,
    valueWord: number,
  ): void {
    const table = this.#table;
    const { words } = incoming.region;
    const flags = flagsOf(words, word);
    // Overwritten meanwhile: the newest stamp is another one, begin again.
    if (order > 0) return this.read(slot);
    if (order === 0 && (flags & (FLAG_VALUE | FLAG_PARTS)) !== 0) {
      table.holders[slot]! |= 1 << member;
      // After a bad copy only one with the same tag will do: a stamp names one value.
      if (table.bad[slot] === 0 || table.tagEquals(slot, words, word + WORD_REPLY_TAG)) {
        this.#keepValue(slot, member, incoming, word, valueWord);
        return this.#takeValue(slot);
      }
      this.#drops.count('stamp-conflict');
      table.bad[slot]! |= 1 << member;
    } else table.lacking[slot]! |= 1 << member;
    // Others may have been asked, too: theirs may still come.
    if ((table.asked[slot]! & ~table.replied[slot]!) === 0) this.fetch(slot);
  }

  // -- OPEN -------------------------------------------------------------------------------------------------------

  /** Hands the value to the sealing: to check it before it is written back, or to answer with it. */
  #open(slot: number): void {
    const table = this.#table;
    const { memory } = table;
    const keyRef = table.keyRef[slot]!;
    table.phase[slot] = PHASE_OPEN;
    table.jobPending[slot] = 1;
    this.#rounds.waitForSealing(slot);
    this.#sealing.submitOpenValue(
      slot,
      table.envelopeRegion[slot]!,
      table.envelopeWord[slot]!,
      table.envelopeBytes[slot]!,
      table.tags,
      table.tagWord(slot),
      memory.region(keyRef).words,
      memory.wordOffset(keyRef),
      table.keyBytes[slot]!,
    );
  }

  onValueOpened(slot: number, opened: boolean): void {
    const table = this.#table;
    if (!opened) {
      this.#counters.tampered++;
      table.bad[slot]! |= 1 << table.valueMember[slot]!;
      table.dropEnvelope(slot);
      return this.fetch(slot);
    }
    if (table.bad[slot] !== 0) this.#repair(slot);
    if (this.#isHeldByQuorum(slot)) this.#end(slot, 'ok');
    else this.writeBack(slot);
  }

  /**
   * Members that sent a bad copy of this stamp are sent the good one; the answer does not wait for them. A large one goes
   * by parts, when the operation has ended for its caller.
   */
  #repair(slot: number): void {
    const table = this.#table;
    const bad = table.bad[slot]! & table.holders[slot]!;
    for (let member = 0; member < this.#membership.memberCount; member++) {
      const session = hasMember(bad, member) ? this.#membership.session(member) : undefined;
      if (session === undefined) continue;
      if (!this.#requests.fits(session, slot))
        this.#writeParts.send(session, slot, member, FLAG_REPAIR, this.#rounds.nowMs);
      else if (!this.#requests.write(session, slot, MESSAGE_REPAIR, 0)) continue;
      this.#counters.repairs++;
    }
    table.bad[slot] = 0;
  }

  // -- WRITE_BACK -------------------------------------------------------------------------------------------------

  writeBack(slot: number): void {
    if (!this.#mayWrite(slot)) return this.resolve(slot);
    this.#counters.writeBacks++;
    this.#rounds.enter(slot, PHASE_WRITE_BACK);
    this.#rounds.askFirst(slot, this.#membership.readyMask() & ~this.#table.holders[slot]!);
  }

  onWriteBackReply(slot: number, member: number, flags: number): void {
    const table = this.#table;
    this.#writeParts.onMemberDone(slot, member, this.#rounds.nowMs);
    // Its rights have changed meanwhile.
    if ((flags & FLAG_NOT_PERMITTED) !== 0) return this.resolve(slot);
    if ((flags & FLAGS_REFUSED) !== 0) {
      if (!this.#rounds.refuse(slot, member)) this.#end(slot, refusalOf(flags));
      return;
    }
    table.holders[slot]! |= 1 << member;
    if (this.#isHeldByQuorum(slot)) this.#answer(slot);
  }

  #answer(slot: number): void {
    if (this.#table.tombstone[slot] === 1) return this.#end(slot, 'absent');
    // Others have been opened since it was checked: it is opened once more, to answer with it.
    this.#open(slot);
  }

  #isHeldByQuorum(slot: number): boolean {
    return this.#table.resolved[slot] === 1 || memberCountOf(this.#table.holders[slot]!) >= this.#quorum;
  }

  // -- RESOLVE ----------------------------------------------------------------------------------------------------

  /** Asks one replica, one that holds the newest stamp if there is: that meets it for certain. */
  resolve(slot: number): void {
    const table = this.#table;
    const { picker } = this.#rounds;
    this.#counters.resolves++;
    if (table.movesByParts[slot] === 1) this.#writeParts.stop(slot);
    this.#rounds.enter(slot, PHASE_RESOLVE);
    const ready = this.#membership.readyMask();
    const holders = ready & table.holders[slot]!;
    const candidates = holders === 0 ? ready : holders;
    this.#rounds.ask(slot, candidates === 0 ? 0 : 1 << picker.first(candidates));
    this.#rounds.wait(slot, RESOLVE_ROUNDS * picker.rtoMs(table.asked[slot]!, 0));
  }

  /** At least the stamp in the answer is held by a quorum. */
  onResolveReply(slot: number, member: number, words: Int32Array, word: number): void {
    const table = this.#table;
    const flags = flagsOf(words, word);
    // No answer, then: it is asked again in time, and others are.
    if ((flags & FLAG_BUSY) !== 0) return;
    table.replied[slot]! |= 1 << member;
    if ((flags & FLAGS_REFUSED) !== 0) return this.#end(slot, refusalOf(flags));
    const order = compareStamps(
      readU53(words, word + WORD_RESOLVED_COUNTER),
      words[word + WORD_RESOLVED_WRITER + 1]!,
      words[word + WORD_RESOLVED_WRITER]!,
      words[word + WORD_RESOLVED_RMW]!,
      table.counter[slot]!,
      table.writerHigh[slot]!,
      table.writerLow[slot]!,
      table.rmw[slot]!,
    );
    // It has not met what was read here.
    if (order < 0) return this.read(slot);
    table.resolved[slot] = 1;
    this.#answer(slot);
  }
}
