import { assert } from '../../net/assert.ts';
import { readU53 } from '../../net/bytes.ts';
import type { Incoming } from '../../net/inbox.ts';
import { FLAGS_REFUSED, flagsOf } from './messages.ts';
import type { OperationTable } from './operation-table.ts';
import { PHASE_PREPARE } from './operation-table.ts';
import type { EndOperation } from './outcome.ts';
import { refusalOf } from './outcome.ts';
import type { Peer } from './peer.ts';
import { hasMember, memberCountOf } from './quorum.ts';
import type { RmwGate } from './rmw-gate.ts';
import { WORD_REGISTER_SLOT } from './rmw-messages.ts';
import { PROPOSAL_ID } from './rmw-operation.ts';
import type { RmwOperation } from './rmw-operation.ts';
import { clearPromises, gatherPromise } from './rmw-promises.ts';
import type { RmwSteps } from './rmw-steps.ts';
import type { RmwValues } from './rmw-values.ts';
import type { FlowParts, Rounds } from './rounds.ts';

/**
 * PREPARE: promises of a quorum for one slot, under a ballot that no greater one is in the way of. They say what is to be proposed:
 * what was accepted there, the own proposal as it was sent there, or what is computed on the greatest stamp.
 */

/** After so many time-outs of a PREPARE it is begun anew: who has answered may know more by now. */
export const PREPARE_ATTEMPTS_MAX = 2;
/**
 * After so many, where a quorum no longer knows what its slot decided and the others say nothing, nobody is going to tell: half
 * a second or so on a local network. Until then it holds up those of its process behind it.
 */
const FORGOTTEN_ATTEMPTS_MAX = 7;
const NUMBER_MAX = Number.MAX_SAFE_INTEGER;

export class RmwPrepare {
  readonly #table: OperationTable;
  readonly #rounds: Rounds;
  readonly #quorum: number;
  readonly #allMask: number;
  readonly #end: EndOperation;
  readonly #gate: RmwGate;
  readonly #values: RmwValues;
  readonly #steps: RmwSteps;
  /** The greatest ballot number used or met: none is used twice, for any key. */
  #ballotNumber = 0;

  constructor(parts: FlowParts, gate: RmwGate, values: RmwValues, steps: RmwSteps) {
    this.#table = parts.table;
    this.#rounds = parts.rounds;
    this.#quorum = parts.quorum;
    this.#allMask = (1 << parts.membership.memberCount) - 1;
    this.#end = parts.end;
    this.#gate = gate;
    this.#values = values;
    this.#steps = steps;
  }

  /** A NACK tells of it. */
  onBallotMet(ballotNumber: number): void {
    this.#ballotNumber = Math.max(this.#ballotNumber, ballotNumber);
  }

  /** With a new ballot. @param isLetThrough Over a greater one that is in the way, without yielding. */
  prepare(slot: number, operation: RmwOperation, isLetThrough = false): void {
    if (this.#ballotNumber >= NUMBER_MAX || operation.floor >= NUMBER_MAX)
      return this.#steps.giveUp(slot, 'stamps-exhausted');
    const asked = operation.sent === 0 ? operation.floor : operation.sent;
    this.#steps.stopParts(slot, operation);
    if (asked !== operation.slot) operation.badAccepted = 0;
    operation.slot = asked;
    operation.ballot = ++this.#ballotNumber;
    clearPromises(this.#table, slot, operation);
    this.#rounds.enter(slot, PHASE_PREPARE);
    operation.isLetThrough = isLetThrough;
    operation.gate = this.#gate.of(slot, operation);
    const members = this.#gate.firstMembers(operation);
    const answering = members & ~this.#rounds.picker.silentMask;
    this.#table.valueMember[slot] = this.#rounds.picker.first(answering === 0 ? members : answering);
    this.#rounds.askFirst(slot, members);
  }

  /** Of this phase; what FETCH brings is told by rmw-values.ts. */
  onPromise(
    slot: number,
    operation: RmwOperation,
    member: number,
    incoming: Incoming<Peer>,
    word: number,
    valueWord: number,
  ): void {
    const promisedSlot = readU53(incoming.region.words, word + WORD_REGISTER_SLOT);
    // No replica answers so.
    if (promisedSlot < operation.floor || (operation.sent !== 0 && promisedSlot !== operation.slot)) return;
    gatherPromise(this.#table, slot, operation, member, incoming, word, valueWord);
    const flags = flagsOf(incoming.region.words, word) & FLAGS_REFUSED;
    // It promises and tells, but will not accept.
    if (flags !== 0 && !this.#rounds.refuse(slot, member)) return this.#steps.giveUp(slot, refusalOf(flags));
    this.judge(slot, operation);
  }

  /** Whether the promises are enough; if not, who else could help. */
  judge(slot: number, operation: RmwOperation): void {
    const table = this.#table;
    // What is accepted already may have its room where there is none for anything new.
    const refusing = operation.hasAccepted ? 0 : table.refused[slot]!;
    if (memberCountOf(operation.promised & ~refusing) >= this.#quorum) return this.#decide(slot, operation);
    const awaited = table.asked[slot]! & ~table.replied[slot]!;
    const { picker } = this.#rounds;
    if ((awaited & ~picker.silentMask) !== 0 || table.unsent[slot] !== 0) return;
    // Everyone asked has answered, but who is silent.
    const others = this.#rounds.others(slot);
    if (others !== 0) {
      this.#rounds.ask(slot, others);
      // Not long, for members that were never met: there may be a way without them.
      return this.#rounds.wait(slot, Math.min(picker.rtoMs(this.#table.asked[slot]!, 0), picker.hedgeDelayMs()));
    }
    // Who is silent may be dead: waited for only where there is no way without.
    if (awaited === 0 || this.#canCatchUp(operation)) this.#settle(slot, operation);
  }

  /** No more promises are to be had. */
  #settle(slot: number, operation: RmwOperation): void {
    if (operation.cannotShow === this.#allMask) return this.#end(slot, 'outcome-unknown');
    if (this.#canCatchUp(operation)) return this.#steps.catchUp(slot, operation);
    // What too many accepted for a quorum of the others opens nowhere, when all have answered.
    const isCertain = operation.nacked === 0 && this.#table.replied[slot] === this.#allMask;
    if (operation.badAccepted !== 0 && isCertain) return this.#steps.giveUp(slot, 'unreadable');
    this.outbid(slot, operation);
  }

  /** With those that are only behind there would be a quorum. */
  #canCatchUp({ promised, behind }: RmwOperation): boolean {
    return promised !== 0 && behind !== 0 && memberCountOf(promised | behind) >= this.#quorum;
  }

  #decide(slot: number, operation: RmwOperation): void {
    this.#rounds.onQuorum(slot);
    operation.floor = operation.slot;
    if (operation.hasAccepted) {
      if (!operation.accepted.hasIdOf(operation.own.words, PROPOSAL_ID)) return this.#help(slot, operation);
      // It was sent in this slot, or in none that could still decide it.
      if (operation.sent === operation.slot) return this.#steps.accept(slot, operation, operation.own);
      return this.#end(slot, 'outcome-unknown');
    }
    if (operation.sent === operation.slot) return this.#steps.accept(slot, operation, operation.own);
    assert(operation.sent === 0, 'a slot is left only with evidence');
    this.#values.takeBase(slot, operation);
  }

  #help(slot: number, operation: RmwOperation): void {
    const { accepted } = operation;
    if (accepted.isTombstone) return this.#steps.accept(slot, operation, accepted);
    if (!operation.hasAcceptedValue) return this.#steps.pull(slot, operation, 'help');
    this.#values.open(slot, operation, 'help', accepted);
  }

  /**
   * A greater ballot is promised where this one needs a promise. Whom the gate has let through goes over it at once, before all:
   * mostly it is that of somebody whom the gate has refused meanwhile, and everybody else waits. Once: else two that do not
   * keep to the same gate would outbid each other without end.
   */
  outbid(slot: number, operation: RmwOperation): void {
    const { promised, nacked, gate, isLetThrough } = operation;
    if (!isLetThrough && hasMember(promised & ~nacked, gate)) this.prepare(slot, operation, true);
    else this.#steps.backOff(slot, operation);
  }

  /** No answer in time: the way on with those that there are. False: they are asked again. */
  onSilence(slot: number, operation: RmwOperation): boolean {
    const table = this.#table;
    if (table.replied[slot] === 0 || this.#rounds.others(slot) !== 0) return false;
    if (this.#canCatchUp(operation)) this.#steps.catchUp(slot, operation);
    else if (operation.nacked !== 0) this.#steps.backOff(slot, operation);
    else if (memberCountOf(operation.cannotShow) >= this.#quorum) {
      if (table.attempt[slot]! < FORGOTTEN_ATTEMPTS_MAX) return false;
      this.#end(slot, 'outcome-unknown');
    } else {
      if (table.attempt[slot]! < PREPARE_ATTEMPTS_MAX) return false;
      this.prepare(slot, operation);
    }
    return true;
  }

  invariants(operation: RmwOperation): void {
    assert(operation.ballot <= this.#ballotNumber, 'ballots are given out here');
  }
}
