import { assert } from '../../net/assert.ts';
import type { OperationTable } from './operation-table.ts';
import { NO_MEMBER, PHASE_ACCEPT, PHASE_COMMIT, PHASE_SPREAD } from './operation-table.ts';
import type { PullFlow } from './pull-flow.ts';
import { hasMember } from './quorum.ts';
import type { OpenPurpose, RmwOperation, RmwOperations } from './rmw-operation.ts';
import type { RmwValues } from './rmw-values.ts';
import type { FlowParts, Rounds } from './rounds.ts';
import type { WriteParts } from './write-parts.ts';

/**
 * Values of read-modify-writes that are larger than a datagram.
 *
 * To members: ACCEPT and COMMIT go first, and without it. Who has the value (it was accepted there before) takes them as they
 * are; who says that it lacks it is sent the parts, and then is asked once more. A proposal's value is staged for that, under
 * the proposal's id; of a value that was read, what the parts bring is written back.
 *
 * From members: the base, or what is accepted and to be helped, is pulled by parts from who said that it has it, under the
 * ballot that is promised already. What is gone meanwhile, or does not come, is a reason to PREPARE again.
 */
export class RmwParts {
  readonly #table: OperationTable;
  readonly #operations: RmwOperations;
  readonly #rounds: Rounds;
  readonly #writeParts: WriteParts;
  readonly #pulls: PullFlow;
  readonly #values: RmwValues;

  constructor(parts: FlowParts, operations: RmwOperations, pulls: PullFlow, values: RmwValues) {
    this.#table = parts.table;
    this.#operations = operations;
    this.#rounds = parts.rounds;
    this.#writeParts = parts.writeParts;
    this.#pulls = pulls;
    this.#values = values;
  }

  /** What the phase before has sent, or asked for, by parts is not gone on with. */
  stop(slot: number, operation: RmwOperation): void {
    operation.lacks = 0;
    if (this.#table.movesByParts[slot] === 0) return;
    this.#writeParts.stop(slot);
    this.#pulls.stop(slot);
    this.#table.staged[slot] = undefined;
  }

  // -- to members -------------------------------------------------------------------------------------------------

  /** A member needs the value. `replied` has it already: it is waited for once more. */
  send(slot: number, operation: RmwOperation, member: number): void {
    const table = this.#table;
    const isProposal = table.phase[slot] === PHASE_ACCEPT || operation.isDecided;
    if (!isProposal && !table.hasEnvelope(slot)) {
      if (table.partsMember[slot] === NO_MEMBER) return this.#values.fetch(slot, operation);
      return this.pull(slot, operation, 'catch-up');
    }
    table.staged[slot] = isProposal ? operation.current : undefined;
    operation.lacks |= 1 << member;
    this.#askOnce(slot, member);
  }

  /** A member has all of it. */
  onSent(slot: number, operation: RmwOperation, member: number): void {
    // Said once more: it has been asked already.
    if (!hasMember(operation.lacks, member)) return;
    this.onRefused(slot, operation, member);
    this.#askOnce(slot, member);
  }

  /** A member takes nothing more of it. */
  onRefused(slot: number, operation: RmwOperation, member: number): void {
    this.#writeParts.onMemberDone(slot, member, this.#rounds.nowMs);
    operation.lacks &= ~(1 << member);
  }

  #askOnce(slot: number, member: number): void {
    const table = this.#table;
    table.replied[slot]! &= ~(1 << member);
    // How long that takes says nothing of round trips.
    table.sampled[slot]! &= ~(1 << member);
    table.byParts[slot]! |= 1 << member;
    this.#rounds.ask(slot, 1 << member);
    this.#rounds.waitForTimeout(slot);
  }

  /** Whether anybody is waited for to whom nothing goes by parts: then its time-out counts. */
  awaitsOthers(slot: number): boolean {
    const table = this.#table;
    return (table.asked[slot]! & ~table.replied[slot]! & ~this.#operations.of(slot).lacks) !== 0;
  }

  /** When the first of those that parts go to is overdue, if these alone are waited for; else -Infinity. */
  overdueMs(slot: number): number {
    const isMoving = this.#operations.of(slot).lacks !== 0 && !this.awaitsOthers(slot);
    const overdueMs = isMoving ? this.#writeParts.overdueMs(slot) : Infinity;
    return overdueMs === Infinity ? -Infinity : overdueMs;
  }

  // -- from members -----------------------------------------------------------------------------------------------

  /** Base and catch-up: the register's value of the greatest stamp. Help: the accepted one. */
  pull(slot: number, operation: RmwOperation, purpose: OpenPurpose): void {
    const table = this.#table;
    this.stop(slot, operation);
    operation.openPurpose = purpose;
    if (purpose === 'help') {
      table.dropEnvelope(slot);
      table.partsMember[slot] = NO_MEMBER;
      table.envelopeBytes[slot] = operation.accepted.envelopeBytes;
      table.valueMember[slot] = operation.acceptedMember;
    } else {
      assert(table.partsMember[slot] !== NO_MEMBER, 'somebody has said that it has the value');
      table.valueMember[slot] = table.partsMember[slot]!;
    }
    this.#pulls.begin(slot);
  }

  onPulled(slot: number): void {
    const table = this.#table;
    const operation = this.#operations.of(slot);
    const { openPurpose, accepted } = operation;
    if (openPurpose !== 'help') return this.#values.open(slot, operation, openPurpose, undefined);
    accepted.region = table.envelopeRegion[slot];
    accepted.word = table.envelopeWord[slot]!;
    accepted.ref = table.takeBlock(slot);
    table.dropEnvelope(slot);
    operation.hasAcceptedValue = true;
    this.#values.open(slot, operation, 'help', accepted);
  }

  invariants(slot: number): void {
    const { lacks } = this.#operations.of(slot);
    const phase = this.#table.phase[slot]!;
    const isAsking = phase === PHASE_ACCEPT || phase === PHASE_COMMIT || phase === PHASE_SPREAD;
    assert(lacks === 0 || isAsking, 'parts go to who is asked to take them');
  }
}
