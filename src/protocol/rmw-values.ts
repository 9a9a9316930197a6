import type { Incoming } from '../../net/inbox.ts';
import { STAMP_COUNTER_MAX } from '../stamp.ts';
import type { ValueSealing } from '../../workers/sealing.ts';
import type { GetCounters } from './get-flow.ts';
import { MESSAGE_REPAIR } from './messages.ts';
import type { OperationTable } from './operation-table.ts';
import { NO_MEMBER, PHASE_RMW_FETCH, PHASE_RMW_OPEN, PHASE_RMW_SEAL } from './operation-table.ts';
import type { Outcome } from './outcome.ts';
import type { Peer } from './peer.ts';
import { hasMember, memberCountOf } from './quorum.ts';
import type { Requests } from './requests.ts';
import { applyRmw, needsFound } from './rmw-function.ts';
import type { RmwResult } from './rmw-function.ts';
import { PROPOSAL_TAG } from './rmw-operation.ts';
import type { OpenPurpose, Proposal, RmwOperation, RmwOperations } from './rmw-operation.ts';
import { gatherRegister } from './rmw-promises.ts';
import type { Stamp } from './rmw-request.ts';
import { RMW_INCREMENT, RMW_RESEAL, RMW_SET } from './rmw-request.ts';
import type { RmwRequests } from './rmw-requests.ts';
import type { RmwSteps } from './rmw-steps.ts';
import type { FlowParts, Membership, Rounds } from './rounds.ts';

/**
 * The values of a read-modify-write, between its promises and its proposal:
 *
 *     FETCH    the value of the greatest stamp, when it did not come with a promise, or its copy does not open
 *     OPEN     that value is at the sealing; or that of another's proposal, which is not forwarded unless it opens
 *     SEAL     the new value, computed from it, is at the sealing, under a fresh nonce
 */

export class RmwValues {
  readonly #table: OperationTable;
  readonly #operations: RmwOperations;
  readonly #rounds: Rounds;
  readonly #requests: Requests;
  readonly #rmwRequests: RmwRequests;
  readonly #membership: Membership;
  readonly #sealing: ValueSealing;
  readonly #quorum: number;
  readonly #counters: GetCounters;
  readonly #steps: RmwSteps;

  constructor(
    parts: FlowParts,
    operations: RmwOperations,
    rmwRequests: RmwRequests,
    counters: GetCounters,
    steps: RmwSteps,
  ) {
    this.#table = parts.table;
    this.#operations = operations;
    this.#rounds = parts.rounds;
    this.#requests = parts.requests;
    this.#rmwRequests = rmwRequests;
    this.#membership = parts.membership;
    this.#sealing = parts.sealing;
    this.#quorum = parts.quorum;
    this.#counters = counters;
    this.#steps = steps;
  }

  // -- FETCH ------------------------------------------------------------------------------------------------------

  /** The value that the function is computed on. */
  takeBase(slot: number, operation: RmwOperation): void {
    const table = this.#table;
    operation.isCatchingUp = false;
    if (table.tombstone[slot] === 1) return this.#compute(slot, operation, undefined);
    if (table.hasEnvelope(slot)) return this.open(slot, operation, 'base', undefined);
    if (table.partsMember[slot] === NO_MEMBER) return this.fetch(slot, operation);
    if (needsFound(operation.request!, this.#stampOf(slot))) return this.#steps.pull(slot, operation, 'base');
    this.#compute(slot, operation, undefined);
  }

  /** Asks who has the greatest stamp for its value, under the ballot that is promised already. */
  fetch(slot: number, operation: RmwOperation): void {
    const table = this.#table;
    const candidates = this.#membership.readyMask() & this.#rmwRequests.holdersOfValue(slot);
    if (candidates === 0) {
      return table.bad[slot] !== 0 ? this.#steps.giveUp(slot, 'unreadable') : this.#steps.backOff(slot, operation);
    }
    this.#steps.stopParts(slot, operation);
    table.partsMember[slot] = NO_MEMBER;
    this.#rounds.enter(slot, PHASE_RMW_FETCH);
    this.#rounds.askFirst(slot, 1 << this.#rounds.picker.first(candidates));
  }

  onFetched(
    slot: number,
    operation: RmwOperation,
    member: number,
    incoming: Incoming<Peer>,
    word: number,
    valueWord: number,
  ): void {
    const table = this.#table;
    gatherRegister(table, slot, member, incoming, word, valueWord);
    if (table.tombstone[slot] === 1 || table.hasEnvelope(slot) || table.partsMember[slot] !== NO_MEMBER) {
      return operation.isCatchingUp ? this.#steps.catchUp(slot, operation) : this.takeBase(slot, operation);
    }
    table.lacking[slot]! |= 1 << member;
    if ((table.asked[slot]! & ~table.replied[slot]!) === 0) this.fetch(slot, operation);
  }

  // -- OPEN, SEAL -------------------------------------------------------------------------------------------------

  open(slot: number, operation: RmwOperation, purpose: OpenPurpose, proposal: Proposal | undefined): void {
    const table = this.#table;
    const { memory } = table;
    const keyRef = table.keyRef[slot]!;
    operation.openPurpose = purpose;
    this.#atSealing(slot, PHASE_RMW_OPEN);
    this.#sealing.submitOpenValue(
      slot,
      proposal === undefined ? table.envelopeRegion[slot]! : proposal.region!,
      proposal === undefined ? table.envelopeWord[slot]! : proposal.word,
      proposal === undefined ? table.envelopeBytes[slot]! : proposal.envelopeBytes,
      proposal === undefined ? table.tags : proposal.words,
      proposal === undefined ? table.tagWord(slot) : PROPOSAL_TAG,
      memory.region(keyRef).words,
      memory.wordOffset(keyRef),
      table.keyBytes[slot]!,
    );
  }

  #atSealing(slot: number, phase: number): void {
    this.#rounds.enter(slot, phase);
    this.#table.jobPending[slot] = 1;
    this.#rounds.waitForSealing(slot);
  }

  onValueOpened(slot: number, opened: boolean): void {
    const operation = this.#operations.of(slot);
    const table = this.#table;
    if (!opened) this.#counters.tampered++;
    if (operation.openPurpose === 'help') {
      if (opened) return this.#steps.accept(slot, operation, operation.accepted);
      // It may have been decided, so nothing else can be proposed: another copy of it is looked for.
      operation.badAccepted |= 1 << operation.acceptedMember;
      return this.#steps.prepare(slot, operation);
    }
    if (!opened) {
      table.bad[slot]! |= 1 << table.valueMember[slot]!;
      table.dropEnvelope(slot);
      return this.fetch(slot, operation);
    }
    if (table.bad[slot] !== 0) this.#repair(slot);
    if (operation.openPurpose === 'catch-up') return this.#steps.catchUp(slot, operation);
    const { openedValue, openedValueBytes } = this.#sealing;
    this.#compute(slot, operation, openedValue.subarray(0, openedValueBytes));
  }

  /** Members that sent a bad copy of the value found are sent the good one. A large one who reads it sends them. */
  #repair(slot: number): void {
    const bad = this.#table.bad[slot]! & this.#table.holders[slot]!;
    for (let member = 0; member < this.#membership.memberCount; member++) {
      const session = hasMember(bad, member) ? this.#membership.session(member) : undefined;
      if (session === undefined || !this.#requests.fits(session, slot)) continue;
      if (this.#requests.write(session, slot, MESSAGE_REPAIR, 0)) this.#counters.repairs++;
    }
    this.#table.bad[slot] = 0;
  }

  /** @param found Undefined: the key is absent. */
  #compute(slot: number, operation: RmwOperation, found: Uint8Array | undefined): void {
    const table = this.#table;
    const { memory } = table;
    const stamp = this.#stampOf(slot);
    const result = applyRmw(operation.request!, found, stamp, found !== undefined && this.#isUnderCurrentKey(slot));
    const answer = answerOf(operation, found, result);
    operation.hasAnswer = answer !== undefined;
    const { answerBytesMax = Infinity } = operation.request!;
    if (answer !== undefined && answer.length > answerBytesMax) return this.#steps.giveUp(slot, 'value-too-large');
    // Memory is full of other operations' values: later there is room.
    if (!operation.answer.set(memory, answer ?? NO_BYTES)) return this.#steps.backOff(slot, operation);
    operation.own.clear(memory);
    operation.own.words.fill(0, 4);
    if (result.kind === 'none') return this.#leaveAsIs(slot, operation, result.outcome);
    operation.outcome = 'ok';
    // As of a put: only a malicious writer gets there, and the own counter, which other keys need, must not.
    const isExhausted = table.rmw[slot] === RMW_NUMBER_MAX || table.counter[slot]! >= STAMP_COUNTER_MAX;
    if (isExhausted) return this.#steps.giveUp(slot, 'stamps-exhausted');
    operation.own.setStamp(
      table.counter[slot]!,
      table.writerHigh[slot]!,
      table.writerLow[slot]!,
      (table.rmw[slot]! + 1) | 0,
    );
    if (result.kind === 'set') return this.#seal(slot, operation, result.value);
    operation.own.isTombstone = true;
    this.#steps.accept(slot, operation, operation.own);
  }

  #stampOf(slot: number): Stamp {
    const table = this.#table;
    return {
      counter: table.counter[slot]!,
      writerHigh: table.writerHigh[slot]!,
      writerLow: table.writerLow[slot]!,
      rmw: table.rmw[slot]!,
    };
  }

  /** Of what was found, which has opened. */
  #isUnderCurrentKey(slot: number): boolean {
    const table = this.#table;
    const { memory } = table;
    const keyRef = table.keyRef[slot]!;
    return this.#sealing.isUnderCurrentKey(
      table.envelopeRegion[slot]!,
      table.envelopeWord[slot]!,
      memory.region(keyRef).words,
      memory.wordOffset(keyRef),
      table.keyBytes[slot]!,
    );
  }

  /**
   * The condition does not hold, or the change can't be made: a read. What may ever have been sent is known to have come to
   * nothing, as the function is computed in no slot that could still decide it.
   */
  #leaveAsIs(slot: number, operation: RmwOperation, outcome: Outcome): void {
    const table = this.#table;
    operation.outcome = outcome;
    // Re-sealing is for every member, not for a quorum: who lacks what was found has an old value.
    const lacking = this.#membership.readyMask() & ~table.holders[slot]!;
    const isForAll = operation.request!.change === RMW_RESEAL && lacking !== 0;
    if (memberCountOf(table.holders[slot]!) >= this.#quorum && !isForAll) {
      return this.#steps.answerRead(slot, operation);
    }
    this.#counters.writeBacks++;
    this.#steps.commit(slot, operation, 'read', lacking);
  }

  #seal(slot: number, operation: RmwOperation, value: Uint8Array): void {
    const table = this.#table;
    const { memory } = table;
    const { own } = operation;
    const envelopeBytes = this.#sealing.envelopeBytesOf(value.length);
    own.ref = memory.allocate(Math.max(envelopeBytes, 1));
    if (own.ref < 0) return this.#steps.backOff(slot, operation);
    own.region = memory.region(own.ref);
    own.word = memory.wordOffset(own.ref);
    own.envelopeBytes = envelopeBytes;
    own.region.bytes.set(value, own.word * 4 + this.#sealing.valueOffsetOf(value.length));
    this.#atSealing(slot, PHASE_RMW_SEAL);
    const keyRef = table.keyRef[slot]!;
    this.#sealing.submitSealValue(
      slot,
      own.region,
      own.word,
      envelopeBytes,
      own.words,
      PROPOSAL_TAG,
      memory.region(keyRef).words,
      memory.wordOffset(keyRef),
      table.keyBytes[slot]!,
    );
  }
}

const NO_BYTES = new Uint8Array(0);
/** 2^32-1, in signed clothes. */
const RMW_NUMBER_MAX = -1;

/** What the caller is told beside the outcome. */
function answerOf(operation: RmwOperation, found: Uint8Array | undefined, result: RmwResult): Uint8Array | undefined {
  if (result.kind === 'none') return result.outcome === 'mismatch' ? found : undefined;
  if (operation.request!.change === RMW_INCREMENT) return result.kind === 'set' ? result.value : undefined;
  return operation.request!.change === RMW_SET && operation.answersBefore ? found : undefined;
}
