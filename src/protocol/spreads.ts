import type { OperationTable } from './operation-table.ts';
import { PHASE_SPREAD } from './operation-table.ts';
import type { Outcome } from './outcome.ts';
import type { Rounds } from './rounds.ts';
import type { WriteParts } from './write-parts.ts';

/**
 * So many large values at once go on to the rest of the members after their operation has ended; they have places of
 * their own in the table. Beyond that a member that is slower than the quorum lacks values until they are read.
 */
export const SPREADS_MAX = 16;
/** So many time-outs in a row without a word: members that are still to get a large value whole are given up. */
const SPREAD_ATTEMPTS_MAX = 2;

/**
 * Large values of operations that have ended: a quorum has all of it, or its only reader. The others, who have most of it or a
 * bad copy, get the rest while its owner goes on.
 */
export class Spreads {
  /** Under way. */
  count = 0;
  readonly #table: OperationTable;
  readonly #rounds: Rounds;
  readonly #writeParts: WriteParts;
  readonly #countMax: number;

  constructor(table: OperationTable, rounds: Rounds, writeParts: WriteParts, countMax: number) {
    this.#table = table;
    this.#rounds = rounds;
    this.#writeParts = writeParts;
    this.#countMax = countMax;
  }

  /** Whether somebody lacks something of a value that is whole, and there is a place for it. */
  isDue(slot: number, outcome: Outcome): boolean {
    const isWhole = outcome === 'ok' || outcome === 'absent';
    return isWhole && this.#writeParts.membersOf(slot) !== 0 && this.count < this.#countMax;
  }

  begin(slot: number): void {
    const table = this.#table;
    table.phase[slot] = PHASE_SPREAD;
    this.count++;
    table.replied[slot] = 0;
    table.attempt[slot] = 0;
    table.asked[slot] = this.#writeParts.membersOf(slot);
    this.#rounds.waitForTimeout(slot);
  }

  /** One is over, however. */
  onOver(): void {
    this.count--;
  }

  /** True when nobody lacks anything any more. */
  onReply(slot: number, member: number): boolean {
    this.#writeParts.onMemberDone(slot, member);
    return this.#writeParts.membersOf(slot) === 0;
  }

  /** True when those that are left are given up. */
  onSilence(slot: number): boolean {
    const table = this.#table;
    if (table.attempt[slot]! >= SPREAD_ATTEMPTS_MAX) return true;
    this.#writeParts.onSilence(slot);
    table.attempt[slot]! += 1;
    this.#rounds.waitForTimeout(slot);
    return false;
  }
}
