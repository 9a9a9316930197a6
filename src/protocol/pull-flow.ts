import { alignUp, copyWords } from '../../net/bytes.ts';
import type { DropCounters } from '../../net/drops.ts';
import type { Incoming } from '../../net/inbox.ts';
import type { Session } from '../../net/session.ts';
import { FLAG_GONE, WORD_PART_REPLY_BYTES, WORD_PART_REPLY_OFFSET, flagsOf } from './messages.ts';
import type { OperationTable } from './operation-table.ts';
import { OPERATION_RMW, PHASE_PULL } from './operation-table.ts';
import type { PullCounters } from './part-pulls.ts';
import { PartPulls } from './part-pulls.ts';
import type { Peer } from './peer.ts';
import type { Requests } from './requests.ts';
import type { FlowParts, Membership, Rounds } from './rounds.ts';

/**
 * The PULL phase of a get, or of a read-modify-write (rmw-parts.ts): a value larger than a datagram is asked for by parts (part-pulls.ts), from the member that said
 * it has it, and put together in a block of the operation's own.
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
    table.attempt[slot] = 0;
    if (verdict === 'taken') return this.#rounds.waitForTimeout(slot);
    this.stop(slot);
    this.#ownerOf(slot).onWhole(slot);
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
    this.#pulls.invariants((slot) => this.#table.phase[slot] === PHASE_PULL);
  }
}
