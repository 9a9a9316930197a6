import { readU53 } from '../../net/bytes.ts';
import type { ValueSealing } from '../../workers/sealing.ts';
import { STAMP_COUNTER_MAX } from '../stamp.ts';
import { FLAGS_REFUSED, FLAG_NOT_PERMITTED, WORD_STAMP_COUNTER, flagsOf } from './messages.ts';
import type { OperationTable } from './operation-table.ts';
import { OPERATION_PUT, PHASE_SEAL, PHASE_STAMP, PHASE_WRITE } from './operation-table.ts';
import type { EndOperation, Outcome } from './outcome.ts';
import { refusalOf } from './outcome.ts';
import { memberCountOf } from './quorum.ts';
import type { FlowParts, Membership, Rounds } from './rounds.ts';
import type { WriteParts } from './write-parts.ts';

/**
 * A put, phase by phase; a delete is a put of a tombstone:
 *
 *     STAMP   the greatest counter of a quorum, while the value is sealed
 *     SEAL    the counter is known, the value not sealed yet
 *     WRITE   under counter + 1, to all; done at a quorum of acknowledgements
 */
export interface Writer {
  /** The process's random writer id. */
  readonly writerHigh: number;
  readonly writerLow: number;
}

export class PutFlow {
  readonly #table: OperationTable;
  readonly #rounds: Rounds;
  readonly #membership: Membership;
  readonly #sealing: ValueSealing;
  readonly #writer: Writer;
  readonly #quorum: number;
  readonly #allMask: number;
  readonly #writeParts: WriteParts;
  readonly #end: EndOperation;
  /** Puts whose value is to be sealed after this turn's datagrams have left. */
  readonly #unsealed: number[] = [];
  /** An array that is emptied gives its memory back, and would get it anew in each turn. */
  #unsealedCount = 0;
  /** The greatest counter this writer has allocated, or proposed a read-modify-write under: no two of its writes share a stamp. */
  #ownCounter = 0;

  constructor(parts: FlowParts, writer: Writer) {
    this.#table = parts.table;
    this.#rounds = parts.rounds;
    this.#membership = parts.membership;
    this.#sealing = parts.sealing;
    this.#writer = writer;
    this.#quorum = parts.quorum;
    this.#allMask = (1 << parts.membership.memberCount) - 1;
    this.#writeParts = parts.writeParts;
    this.#end = parts.end;
  }

  get ownCounter(): number {
    return this.#ownCounter;
  }

  /**
   * Later writes of this process get counters above this one: that of a read-modify-write's proposal, so that they supersede it
   * however late it is decided.
   */
  raiseOwnCounter(counter: number): void {
    this.#ownCounter = Math.max(this.#ownCounter, counter);
  }

  // -- STAMP ------------------------------------------------------------------------------------------------------

  stamp(slot: number): void {
    this.#rounds.enter(slot, PHASE_STAMP);
    this.#table.counter[slot] = 0;
    this.#rounds.askFirst(slot, this.#rounds.firstMembers());
  }

  onStampReply(slot: number, member: number, words: Int32Array, word: number): void {
    const table = this.#table;
    const flags = flagsOf(words, word);
    if ((flags & FLAGS_REFUSED) !== 0) return this.#onStampRefused(slot, member, flags);
    table.counter[slot] = Math.max(table.counter[slot]!, readU53(words, word + WORD_STAMP_COUNTER));
    // Only a malicious writer gets there; checked before a stamp is allocated, so that other keys can still be written.
    if (table.counter[slot]! >= STAMP_COUNTER_MAX) return this.#end(slot, 'stamps-exhausted');
    // Who refuses would refuse the WRITE, too: it takes a quorum of others.
    if (memberCountOf(table.replied[slot]! & ~table.refused[slot]!) < this.#quorum) return;
    this.#rounds.onQuorum(slot);
    if (table.sealed[slot] === 1) return this.#write(slot);
    table.phase[slot] = PHASE_SEAL;
    this.#rounds.waitForSealing(slot);
  }

  /** A member that lacks a key needs room for it, while those that have it may need none: it takes more than one refusal. */
  #onStampRefused(slot: number, member: number, flags: number): void {
    this.#table.refusalFlags[slot] = flags;
    const canGoOn = this.#rounds.refuse(slot, member);
    // Nothing was written yet: the put certainly had no effect.
    if (!canGoOn || (flags & FLAG_NOT_PERMITTED) !== 0) return this.#end(slot, refusalOf(flags));
    this.#rounds.ask(slot, this.#rounds.others(slot));
  }

  /**
   * The deadline has passed in STAMP: some members have no room, and too few of the others have answered. That there is no
   * room says more than that there was no time; not before, as a member that was away may come back.
   */
  stampRefusal(slot: number): Outcome | undefined {
    const table = this.#table;
    return table.refused[slot] === 0 ? undefined : refusalOf(table.refusalFlags[slot]!);
  }

  // -- SEAL -------------------------------------------------------------------------------------------------------

  /** To be sealed by the end of the turn. */
  sealLater(slot: number): void {
    this.#table.sealed[slot] = 0;
    this.#unsealed[this.#unsealedCount++] = slot;
  }

  /** Hands new values to the sealing, true when there were any. */
  submitSeals(): boolean {
    if (this.#unsealedCount === 0) return false;
    const table = this.#table;
    const { memory } = table;
    for (let i = 0; i < this.#unsealedCount; i++) {
      const slot = this.#unsealed[i]!;
      // Ended already, perhaps begun anew as something else.
      if (table.kind[slot] !== OPERATION_PUT || !table.hasEnvelope(slot) || table.jobPending[slot] === 1) continue;
      if (table.sealed[slot] === 1) continue;
      const keyRef = table.keyRef[slot]!;
      table.jobPending[slot] = 1;
      this.#sealing.submitSealValue(
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
    this.#unsealedCount = 0;
    return true;
  }

  onValueSealed(slot: number): void {
    const table = this.#table;
    table.sealed[slot] = 1;
    if (table.phase[slot] === PHASE_SEAL) this.#write(slot);
  }

  // -- WRITE ------------------------------------------------------------------------------------------------------

  /** Own counter is raised as the stamp is allocated, whatever becomes of the write. */
  #write(slot: number): void {
    const table = this.#table;
    if (this.#ownCounter >= STAMP_COUNTER_MAX) return this.#end(slot, 'stamps-exhausted');
    this.#ownCounter = Math.max(table.counter[slot]!, this.#ownCounter) + 1;
    table.counter[slot] = this.#ownCounter;
    table.writerHigh[slot] = this.#writer.writerHigh;
    table.writerLow[slot] = this.#writer.writerLow;
    table.rmw[slot] = 0;
    this.write(slot);
  }

  /** Under the stamp that the operation has: a write is never repeated under another one. */
  write(slot: number): void {
    this.#table.holders[slot] = 0;
    this.#rounds.enter(slot, PHASE_WRITE);
    this.#rounds.askFirst(slot, this.#membership.readyMask());
  }

  onWriteReply(slot: number, member: number, flags: number): void {
    const table = this.#table;
    this.#writeParts.onMemberDone(slot, member, this.#rounds.nowMs);
    if ((flags & FLAGS_REFUSED) === 0) {
      table.holders[slot]! |= 1 << member;
      if (memberCountOf(table.holders[slot]!) >= this.#quorum) this.#end(slot, 'ok');
      return;
    }
    if (this.#rounds.refuse(slot, member)) return;
    // Some member may have taken the write, or will when an earlier sending of it arrives, and a reader find it there.
    const refusedByAll = table.refused[slot] === this.#allMask && table.attempt[slot] === 0;
    this.#end(slot, refusedByAll ? refusalOf(flags) : 'outcome-unknown');
  }
}
