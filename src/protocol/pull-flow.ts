import { alignUp, copyWords } from '../../net/bytes.ts';
import type { DropCounters } from '../../net/drops.ts';
import type { Incoming } from '../../net/inbox.ts';
import type { Session } from '../../net/session.ts';
import { ENVELOPE_BYTES_MAX } from '../../workers/sealing.ts';
import {
  FLAG_GONE,
  GRANTED_PARTS_MAX,
  PARTS_MAX,
  WORD_PART_REPLY_BYTES,
  WORD_PART_REPLY_OFFSET,
  flagsOf,
  grantOf,
} from './messages.ts';
import type { OperationTable } from './operation-table.ts';
import { NO_MEMBER, OPERATION_RMW, PHASE_PULL, PHASE_READ } from './operation-table.ts';
import type { PullCounters } from './part-pulls.ts';
import { PartPulls } from './part-pulls.ts';
import type { Peer } from './peer.ts';
import type { Requests } from './requests.ts';
import type { FlowParts, Membership, Rounds } from './rounds.ts';

/**
 * The PULL phase of a get, or of a read-modify-write (rmw-parts.ts): a value larger than a datagram is asked for by parts
 * (part-pulls.ts), from the member that said it has it, and put together in a block of the operation's own.
 *
 * When the last value came by parts, the next may, too: READ grants so many, and they follow its answer unasked. They come
 * in PHASE_READ, or in PHASE_PULL, which then goes on under the same generation. A part does not say of which value it is,
 * so there is one grant a generation: a READ that is sent again may be answered with another value.
 */

/** Who pulls, and goes on when it is done. */
export interface PullOwner {
  /** Begins again: the value is gone, or does not come. */
  restart(slot: number): void;
  /** All parts are there, in the envelope of the table. */
  onWhole(slot: number): void;
  ask(session: Session<Peer>, slot: number, byteOffset: number, byteCount: number): boolean;
}

/**
 * Silence of a member for so many time-outs in a row, each twice as long: the operation begins again, and asks another one. What has
 * come is lost then: where a quarter of questions and answers gets lost, two happen before 740 parts have come.
 */
const ATTEMPTS_MAX = 4;
/** So that the parts of the longest value can be told apart, whatever was expected. */
const GRANTED_PART_BYTES_MIN = alignUp(Math.ceil(ENVELOPE_BYTES_MAX / PARTS_MAX));

export class PullFlow {
  readonly #table: OperationTable;
  readonly #rounds: Rounds;
  readonly #requests: Requests;
  readonly #membership: Membership;
  readonly #drops: DropCounters;
  readonly #gets: PullOwner;
  /** Read-modify-writes. */
  changes: PullOwner | undefined;
  readonly #pulls: PartPulls;
  /** Length of the last value that was met, if it was one of parts; else 0. */
  #lastBytes = 0;

  /** @param windowBytesMax Of the process's receive buffer. */
  constructor(
    parts: FlowParts,
    drops: DropCounters,
    counters: PullCounters,
    windowBytesMax: number,
    restart: (slot: number) => void,
    onWhole: (slot: number) => void,
  ) {
    this.#gets = {
      restart,
      onWhole,
      ask: (session, slot, byteOffset, byteCount) => this.#requests.readPart(session, slot, byteOffset, byteCount),
    };
    this.#table = parts.table;
    this.#rounds = parts.rounds;
    this.#membership = parts.membership;
    this.#requests = parts.requests;
    this.#drops = drops;
    this.#pulls = new PartPulls(parts.table.capacity, windowBytesMax, counters, (slot, byteOffset, byteCount) =>
      this.#ask(slot, byteOffset, byteCount),
    );
    parts.rounds.valueReads = this;
  }

  // -- in PHASE_READ ----------------------------------------------------------------------------------------------

  /** READ to the member that is to send the value. */
  askOne(session: Session<Peer>, slot: number, member: number): boolean {
    const table = this.#table;
    if (this.#lastBytes === 0 || table.grantMember[slot] !== NO_MEMBER) return this.#requests.read(session, slot, true);
    const partBytesMax = this.#requests.readPartBytes(session);
    // Equal ones leave some room beside each, which the answer itself needs.
    const equalBytes = alignUp(Math.ceil(this.#lastBytes / Math.ceil(this.#lastBytes / partBytesMax)));
    const partBytes = Math.min(partBytesMax, Math.max(equalBytes, GRANTED_PART_BYTES_MIN));
    const expectedCount = Math.ceil(this.#lastBytes / partBytes);
    const partCount = Math.min(expectedCount, GRANTED_PARTS_MAX, this.#pulls.grantableCount(partBytes));
    if (!this.#requests.read(session, slot, true, grantOf(partCount, partBytes))) return false;
    if (partCount === 0) return true;
    table.grantMember[slot] = member;
    table.movesByParts[slot] = 1;
    this.#pulls.grant(slot, partCount, partBytes);
    return true;
  }

  /** What the next value is likely to be. @param envelopeBytes 0: it came in one datagram. */
  onValueMet(envelopeBytes: number): void {
    this.#lastBytes = envelopeBytes;
  }

  /** The member's answer says that what it was granted follows; length, stamp and tag stand in the table. */
  follow(slot: number, member: number): void {
    const table = this.#table;
    const envelopeBytes = table.envelopeBytes[slot]!;
    if (table.grantMember[slot] !== member || !this.#pulls.onFollowed(slot, envelopeBytes)) return;
    if (table.allocateEnvelope(slot, envelopeBytes)) table.valueMember[slot] = member;
    else this.#pulls.stop(slot);
  }

  /** The member has answered, or is waited for no more: what it was granted follows, or nothing does. */
  stopGrant(slot: number): void {
    if (this.#table.movesByParts[slot] === 1) this.#pulls.stopGrant(slot);
  }

  /** Some of the value has come, or is under way. */
  has(slot: number): boolean {
    return this.#pulls.has(slot);
  }

  // -- PULL -------------------------------------------------------------------------------------------------------

  /** What follows has not come whole yet: from now on nothing else is waited for. */
  goOn(slot: number): void {
    const table = this.#table;
    this.#rounds.goOn(slot, PHASE_PULL);
    table.asked[slot] = 1 << table.valueMember[slot]!;
    this.#rounds.waitForTimeout(slot);
  }

  /** Stamp, tag, length and the member to ask stand in the table. */
  begin(slot: number): void {
    const table = this.#table;
    const member = table.valueMember[slot]!;
    const session = this.#membership.session(member);
    this.#rounds.enter(slot, PHASE_PULL);
    table.asked[slot] = 1 << member;
    this.#rounds.waitForTimeout(slot);
    const envelopeBytes = table.envelopeBytes[slot]!;
    const partBytes = session === undefined ? 0 : this.#requests.readPartBytes(session);
    // Without session or memory the timer looks again.
    if (!PartPulls.canTell(envelopeBytes, partBytes) || !table.allocateEnvelope(slot, envelopeBytes)) return;
    table.movesByParts[slot] = 1;
    this.#pulls.begin(slot, envelopeBytes, partBytes);
  }

  onPartReply(slot: number, incoming: Incoming<Peer>, word: number, valueWord: number): void {
    const { words } = incoming.region;
    const table = this.#table;
    const member = incoming.session.peer.identity.memberIndex;
    if (!this.#pulls.has(slot) || member !== table.valueMember[slot]) return this.#drops.count('late-answer');
    // Overwritten meanwhile.
    if ((flagsOf(words, word) & FLAG_GONE) !== 0) return this.#ownerOf(slot).restart(slot);
    const byteOffset = words[word + WORD_PART_REPLY_OFFSET]! >>> 0;
    const byteCount = words[word + WORD_PART_REPLY_BYTES]!;
    const verdict = this.#pulls.onPart(slot, byteOffset, byteCount);
    if (verdict === 'malformed') return this.#drops.count('malformed');
    if (verdict === 'late') return this.#drops.count('late-answer');
    const targetWord = table.envelopeWord[slot]! + (byteOffset >> 2);
    copyWords(table.envelopeRegion[slot]!.words, targetWord, words, valueWord, alignUp(byteCount) >> 2);
    const isReading = table.phase[slot] === PHASE_READ;
    if (verdict === 'taken') {
      if (isReading) return;
      table.attempt[slot] = 0;
      return this.#rounds.waitForTimeout(slot);
    }
    this.stop(slot);
    // Else the stamps of a quorum are still waited for.
    if (!isReading) this.#ownerOf(slot).onWhole(slot);
  }

  /** Nothing has come for a time-out. */
  onSilence(slot: number): void {
    const table = this.#table;
    table.attempt[slot]! += 1;
    if (!this.#pulls.has(slot)) return this.#ownerOf(slot).restart(slot);
    if (table.attempt[slot]! > ATTEMPTS_MAX) {
      // Whatever else it answers: its parts do not come.
      this.#rounds.picker.onOverdue(1 << table.valueMember[slot]!, Infinity);
      return this.#ownerOf(slot).restart(slot);
    }
    this.#pulls.onSilence(slot, table.attempt[slot] === 1);
    this.#rounds.waitForTimeout(slot);
  }

  /** The operation pulls no more. What it had received stays in its block. */
  stop(slot: number): void {
    this.#pulls.stop(slot);
  }

  /** Asks for what the window allows. */
  pump(): void {
    this.#pulls.pump(this.#rounds.nowMs);
  }

  #ask(slot: number, byteOffset: number, byteCount: number): boolean {
    const session = this.#membership.session(this.#table.valueMember[slot]!);
    return session !== undefined && this.#ownerOf(slot).ask(session, slot, byteOffset, byteCount);
  }

  #ownerOf(slot: number): PullOwner {
    return this.#table.kind[slot] === OPERATION_RMW ? this.changes! : this.#gets;
  }

  invariants(): void {
    const { phase } = this.#table;
    this.#pulls.invariants((slot) => phase[slot] === PHASE_PULL || phase[slot] === PHASE_READ);
  }
}
