import type { OperationTable } from './operation-table.ts';
import { NO_MEMBER, PHASE_COMMIT } from './operation-table.ts';
import type { EndOperation } from './outcome.ts';
import { refusalOf } from './outcome.ts';
import { memberCountOf } from './quorum.ts';
import type { CommitPurpose, RmwOperation } from './rmw-operation.ts';
import { FLAG_LACKING } from './rmw-messages.ts';
import type { RmwCounters, RmwSteps } from './rmw-steps.ts';
import type { FlowParts, Membership, Rounds } from './rounds.ts';

/**
 * COMMIT: members are told what a slot has decided, or what the slots before have led to, until a quorum holds it. What it is
 * for says what comes then (CommitPurpose).
 */
export class RmwCommits {
  readonly #table: OperationTable;
  readonly #rounds: Rounds;
  readonly #membership: Membership;
  readonly #quorum: number;
  readonly #counters: RmwCounters;
  readonly #end: EndOperation;
  readonly #steps: RmwSteps;

  constructor(parts: FlowParts, counters: RmwCounters, steps: RmwSteps) {
    this.#table = parts.table;
    this.#rounds = parts.rounds;
    this.#membership = parts.membership;
    this.#quorum = parts.quorum;
    this.#counters = counters;
    this.#end = parts.end;
    this.#steps = steps;
  }

  /** Members that have not decided the slot before are told what it has led to. */
  catchUp(slot: number, operation: RmwOperation): void {
    const table = this.#table;
    // A value that is larger than a datagram they may have got as it was written: it is sent to who says that it has not.
    const isFetched = table.tombstone[slot] === 1 || table.hasEnvelope(slot) || table.partsMember[slot] !== NO_MEMBER;
    operation.isCatchingUp = true;
    if (!isFetched) return this.#steps.fetch(slot, operation);
    this.commit(slot, operation, 'catch-up', operation.behind & this.#membership.readyMask());
  }

  commit(slot: number, operation: RmwOperation, purpose: CommitPurpose, targets: number): void {
    operation.commitPurpose = purpose;
    // What a proposal's ACCEPT has begun to send goes on.
    if (!operation.isDecided) this.#steps.stopParts(slot, operation);
    operation.granted = 0;
    operation.targets = targets;
    this.#rounds.enter(slot, PHASE_COMMIT);
    this.#rounds.askFirst(slot, targets);
    if (purpose === 'own') this.#steps.handOver(slot, operation);
  }

  onReply(slot: number, operation: RmwOperation, member: number, flags: number): void {
    const { commitPurpose } = operation;
    if (flags === FLAG_LACKING) return this.#steps.sendParts(slot, operation, member);
    if (flags !== 0) return this.#onRefused(slot, operation, member, flags);
    operation.granted |= 1 << member;
    if (commitPurpose === 'read') this.#table.holders[slot]! |= 1 << member;
    if (memberCountOf(this.#holdersOf(slot, operation)) < this.#quorum) return;
    this.#rounds.onQuorum(slot);
    switch (commitPurpose) {
      case 'own':
        return this.#end(slot, operation.outcome);
      case 'read':
        return this.#steps.answerRead(slot, operation);
      case 'catch-up':
        return this.#steps.prepare(slot, operation);
      case 'helped':
        this.#counters.helped++;
        // The slot was decided, and not by the own proposal.
        if (operation.sent === operation.slot) operation.sent = 0;
        operation.floor = operation.slot + 1;
        return this.#steps.prepare(slot, operation);
    }
  }

  /** Members that hold what is committed. */
  #holdersOf(slot: number, operation: RmwOperation): number {
    switch (operation.commitPurpose) {
      case 'read':
        return this.#table.holders[slot]!;
      case 'catch-up':
        return operation.granted | operation.promised;
      case 'own':
      case 'helped':
        return operation.granted;
    }
  }

  #onRefused(slot: number, operation: RmwOperation, member: number, flags: number): void {
    const canGoOn = this.#rounds.refuse(slot, member);
    if (operation.commitPurpose === 'catch-up') return this.#steps.backOff(slot, operation);
    if (canGoOn) return;
    // What is decided will be known by all some day; whether a quorum is going to hold it in time is not.
    if (operation.commitPurpose === 'own') return this.#end(slot, 'outcome-unknown');
    this.#end(slot, operation.outcomeOfGivingUp(refusalOf(flags)));
  }
}
