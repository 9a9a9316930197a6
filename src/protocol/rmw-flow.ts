import { readU53, writeU53 } from '../../net/bytes.ts';
import { assert } from '../../net/assert.ts';
import type { Incoming } from '../../net/inbox.ts';
import type { ValueSealing } from '../../workers/sealing.ts';
import type { GetCounters } from './get-flow.ts';
import { FLAGS_REFUSED, FLAG_NOT_PERMITTED, MESSAGE_REPAIR, flagsOf, typeOf } from './messages.ts';
import type { OperationTable } from './operation-table.ts';
import {
  NO_MEMBER,
  PHASE_ACCEPT,
  PHASE_BACK_OFF,
  PHASE_COMMIT,
  PHASE_PREPARE,
  PHASE_RMW_FETCH,
  PHASE_RMW_OPEN,
  PHASE_RMW_SEAL,
} from './operation-table.ts';
import type { EndOperation, EndedStamp, Outcome } from './outcome.ts';
import { refusalOf } from './outcome.ts';
import type { Peer } from './peer.ts';
import type { Writer } from './put-flow.ts';
import { hasMember, memberCountOf } from './quorum.ts';
import type { Requests } from './requests.ts';
import { applyRmw } from './rmw-function.ts';
import type { RmwResult } from './rmw-function.ts';
import {
  MESSAGE_ACCEPTED,
  MESSAGE_BEHIND,
  MESSAGE_COMMITTED,
  MESSAGE_COMMIT_REPLY,
  MESSAGE_NACK,
  MESSAGE_PROMISE,
  WORD_NACK_BALLOT,
  WORD_REGISTER_SLOT,
} from './rmw-messages.ts';
import { PROPOSAL_ID, PROPOSAL_RMW, PROPOSAL_TAG, PROPOSAL_WRITER } from './rmw-operation.ts';
import type { CommitPurpose, OpenPurpose, Proposal, RmwOperation, RmwOperations } from './rmw-operation.ts';
import { clearPromises, gatherPromise, gatherRegister, ringVerdict } from './rmw-promises.ts';
import type { RmwRequest } from './rmw-request.ts';
import { RMW_INCREMENT, RMW_SET } from './rmw-request.ts';
import type { RmwRequests } from './rmw-requests.ts';
import type { FlowParts, Membership, Rounds } from './rounds.ts';

/**
 * A read-modify-write, phase by phase. Slot s of a key decides its s-th one; rmw-acceptor.ts is the replicas' side.
 *
 *     PREPARE    a quorum promises the ballot in the slot, and tells what it has accepted there, and its stamp
 *     FETCH      the value of the greatest stamp, when it did not come with a promise
 *     OPEN       that value is at the sealing; or that of the proposal to be helped
 *     SEAL       the new value is at the sealing
 *     ACCEPT     the proposal is sent to all, until a quorum has accepted it: it is decided
 *     COMMIT     what is decided is sent to all, until a quorum holds it. Only then the caller is answered
 *     BACK_OFF   another coordinator was in the way: a random time passes, then PREPARE with a higher ballot
 *
 * Something accepted: the one of the highest ballot is proposed, unchanged, whosever it is; when that was another's, the own
 * one goes on in the next slot. Nothing accepted: the function is computed on the greatest stamp seen (c, w, r), and what it
 * makes is proposed under (c, w, r+1); so no plain write can fall between.
 *
 * `sent` is the slot in which the own proposal was sent and may yet be decided. It moves on only with evidence that this slot
 * decided something else: that is what makes a call happen once. While it is set the slot is asked for by its number, and a
 * proposal that was sent in a slot is proposed again in it as it is: so an id stands for one proposal in a slot, everybody who
 * helps it commits the same, and its owner knows from the ring alone what its answer is. (Plain writes that came since then
 * overtake it: it was invoked before they were acknowledged.)
 *
 * A condition that does not hold is answered as a read, when nothing was ever sent and the promises showed nothing accepted:
 * what was found is written back first. Else it is decided in a slot, too, as a proposal that leaves stamp and value as
 * they are.
 */

/** Back-offs are drawn from so many units, doubled each time: 64 coordinators on one key find a turn each. */
const BACK_OFF_DOUBLINGS_MAX = 7;
const BACK_OFF_MS_MAX = 200;
/** After so many time-outs of a PREPARE it is begun anew: who has answered may know more by now. */
const PREPARE_ATTEMPTS_MAX = 2;
const NUMBER_MAX = Number.MAX_SAFE_INTEGER;
/** Ballots of others go over this only by malice, which spoils their key: own ones, of all keys, must not be used up by it. */
const NUMBER_MET_MAX = 2 ** 52;

export interface RmwCounters {
  /** Proposals of others that were decided here. */
  helped: number;
  /** Times that another coordinator's ballot was in the way. */
  backOffs: number;
}

export class RmwFlow {
  readonly #table: OperationTable;
  readonly #operations: RmwOperations;
  readonly #rounds: Rounds;
  readonly #requests: Requests;
  readonly #rmwRequests: RmwRequests;
  readonly #membership: Membership;
  readonly #sealing: ValueSealing;
  readonly #quorum: number;
  readonly #allMask: number;
  readonly #writer: Writer;
  readonly #counters: RmwCounters & GetCounters;
  readonly #end: EndOperation;
  /** The greatest ballot number used or met: none is used twice, for any key. */
  #ballotNumber = 0;
  /** Read-modify-writes started: with the writer id, the id of each. */
  #sequence = 0;
  /** Of the random back-offs (mulberry32); its seed, the writer id, is drawn at random by the process. */
  #randomState: number;

  constructor(
    parts: FlowParts,
    operations: RmwOperations,
    rmwRequests: RmwRequests,
    writer: Writer,
    counters: RmwCounters & GetCounters,
  ) {
    this.#table = parts.table;
    this.#operations = operations;
    this.#rounds = parts.rounds;
    this.#requests = parts.requests;
    this.#rmwRequests = rmwRequests;
    this.#membership = parts.membership;
    this.#sealing = parts.sealing;
    this.#quorum = parts.quorum;
    this.#allMask = (1 << parts.membership.memberCount) - 1;
    this.#writer = writer;
    this.#counters = counters;
    this.#end = parts.end;
    this.#randomState = writer.writerLow ^ writer.writerHigh;
  }

  // -- starting and ending ----------------------------------------------------------------------------------------

  /** False when memory is at its limit; then nothing is kept. */
  begin(slot: number, request: RmwRequest): boolean {
    const operation = this.#operations.of(slot);
    const { memory } = this.#table;
    operation.begin();
    const isKept = operation.value.set(memory, request.value) && operation.expected.set(memory, request.expected);
    if (!isKept) {
      operation.clear(memory);
      return false;
    }
    const { change, condition, version, delta } = request;
    operation.request = {
      change,
      condition,
      version,
      delta,
      value: operation.value.view(memory),
      expected: operation.expected.view(memory),
    };
    const id = operation.own.words;
    id[PROPOSAL_ID] = this.#writer.writerLow;
    id[PROPOSAL_ID + 1] = this.#writer.writerHigh;
    writeU53(id, PROPOSAL_ID + 2, ++this.#sequence);
    this.#prepare(slot, operation);
    return true;
  }

  /** When its caller gives an operation up: what was sent and is not known to have come to nothing may take effect. */
  outcomeOfGivingUp(slot: number, reason: Outcome): Outcome {
    return this.#operations.of(slot).sent === 0 ? reason : 'outcome-unknown';
  }

  /** Fills in what is told of an ended operation; its answer, valid until clear(). */
  describe(slot: number, outcome: Outcome, ended: EndedStamp): Uint8Array {
    const operation = this.#operations.of(slot);
    const { own } = operation;
    const isDecided = operation.commitPurpose === 'own' && (outcome === 'ok' || outcome === operation.outcome);
    if (isDecided) {
      ended.counter = own.counter;
      ended.writerLow = own.words[PROPOSAL_WRITER]!;
      ended.writerHigh = own.words[PROPOSAL_WRITER + 1]!;
      ended.rmw = own.words[PROPOSAL_RMW]!;
    }
    ended.hasValue = operation.hasAnswer && (outcome === 'ok' || outcome === 'mismatch');
    return operation.answer.view(this.#table.memory);
  }

  clear(slot: number): void {
    this.#operations.of(slot).clear(this.#table.memory);
  }

  /** The epoch has changed: the phase begins again, those before it stand. */
  restart(slot: number): void {
    const operation = this.#operations.of(slot);
    const phase = this.#table.phase[slot]!;
    if (phase === PHASE_ACCEPT) return this.#accept(slot, operation, operation.current);
    const isAgain = phase === PHASE_COMMIT && operation.commitPurpose !== 'catch-up';
    if (!isAgain) return this.#prepare(slot, operation);
    if (operation.commitPurpose === 'read') this.#table.holders[slot] = 0;
    this.#commit(slot, operation, operation.commitPurpose, this.#membership.readyMask());
  }

  // -- PREPARE ----------------------------------------------------------------------------------------------------

  #prepare(slot: number, operation: RmwOperation): void {
    if (this.#ballotNumber >= NUMBER_MAX || operation.floor >= NUMBER_MAX)
      return this.#giveUp(slot, 'stamps-exhausted');
    const asked = operation.sent === 0 ? operation.floor : operation.sent;
    if (asked !== operation.slot) operation.badAccepted = 0;
    operation.slot = asked;
    operation.ballot = ++this.#ballotNumber;
    clearPromises(this.#table, slot, operation);
    this.#rounds.enter(slot, PHASE_PREPARE);
    // A copy that did not open is not to be had from a few: all are asked.
    const members = operation.badAccepted === 0 ? this.#rounds.firstMembers() : this.#membership.readyMask();
    const answering = members & ~this.#rounds.picker.silentMask;
    this.#table.valueMember[slot] = this.#rounds.picker.first(answering === 0 ? members : answering);
    this.#rounds.askFirst(slot, members);
  }

  /** An answer to what the operation asks; `replied` has its member already. */
  onAnswer(slot: number, member: number, incoming: Incoming<Peer>, word: number, valueWord: number): void {
    const operation = this.#operations.of(slot);
    const { words } = incoming.region;
    switch (typeOf(words, word)) {
      case MESSAGE_PROMISE:
        return this.#onPromise(slot, operation, member, incoming, word, valueWord);
      case MESSAGE_COMMITTED:
        return this.#onCommitted(slot, operation, member, words, word);
      case MESSAGE_BEHIND:
        operation.behind |= 1 << member;
        return this.#onHindrance(slot, operation, member);
      case MESSAGE_NACK:
        return this.#onNack(slot, operation, member, words, word);
      case MESSAGE_ACCEPTED:
        return this.#onAccepted(slot, operation, member);
      case MESSAGE_COMMIT_REPLY:
        return this.#onCommitReply(slot, operation, member, flagsOf(words, word));
    }
  }

  #onPromise(
    slot: number,
    operation: RmwOperation,
    member: number,
    incoming: Incoming<Peer>,
    word: number,
    valueWord: number,
  ): void {
    if (this.#table.phase[slot] === PHASE_RMW_FETCH) {
      return this.#onFetched(slot, operation, member, incoming, word, valueWord);
    }
    const promisedSlot = readU53(incoming.region.words, word + WORD_REGISTER_SLOT);
    // No replica answers so.
    if (promisedSlot < operation.floor || (operation.sent !== 0 && promisedSlot !== operation.slot)) return;
    gatherPromise(this.#table, slot, operation, member, incoming, word, valueWord);
    this.#judge(slot, operation);
  }

  /** Whether the promises are enough; if not, who else could help. */
  #judge(slot: number, operation: RmwOperation): void {
    const table = this.#table;
    if (memberCountOf(operation.promised) >= this.#quorum && !this.#isCopySought(operation)) {
      return this.#decide(slot, operation);
    }
    if ((table.asked[slot]! & ~table.replied[slot]!) !== 0 || table.unsent[slot] !== 0) return;
    // Everyone asked has answered.
    const others = this.#rounds.others(slot);
    if (others !== 0) {
      this.#rounds.ask(slot, others);
      return this.#rounds.waitForTimeout(slot);
    }
    this.#settle(slot, operation);
  }

  /** A good copy of the accepted value may still come. */
  #isCopySought(operation: RmwOperation): boolean {
    return operation.hasAccepted && !operation.hasAcceptedValue && operation.badAccepted !== 0;
  }

  /** No more promises are to be had. */
  #settle(slot: number, operation: RmwOperation): void {
    const { promised, behind, cannotShow } = operation;
    const table = this.#table;
    if (memberCountOf(promised) >= this.#quorum && this.#isCopySought(operation)) {
      // Whoever is not ready may have a good copy. When all have answered, there is none to be had.
      const isCertain = table.replied[slot] === this.#allMask;
      return isCertain ? this.#giveUp(slot, 'unreadable') : this.#backOff(slot, operation);
    }
    if (cannotShow === this.#allMask) return this.#end(slot, 'outcome-unknown');
    if (promised !== 0 && behind !== 0 && memberCountOf(promised | behind) >= this.#quorum) {
      return this.#catchUp(slot, operation);
    }
    this.#backOff(slot, operation);
  }

  #decide(slot: number, operation: RmwOperation): void {
    this.#rounds.onQuorum(slot);
    operation.floor = operation.slot;
    if (operation.hasAccepted) {
      if (!operation.accepted.hasIdOf(operation.own.words, PROPOSAL_ID)) return this.#help(slot, operation);
      // It was sent in this slot, or in none that could still decide it.
      if (operation.sent === operation.slot) return this.#accept(slot, operation, operation.own);
      return this.#end(slot, 'outcome-unknown');
    }
    if (operation.sent === operation.slot) return this.#accept(slot, operation, operation.own);
    assert(operation.sent === 0, 'a slot is left only with evidence');
    this.#takeBase(slot, operation);
  }

  #help(slot: number, operation: RmwOperation): void {
    const { accepted } = operation;
    if (!operation.hasAcceptedValue || !this.#fitsAll(slot, accepted.envelopeBytes)) {
      return this.#giveUp(slot, 'value-too-large');
    }
    if (accepted.isTombstone) return this.#accept(slot, operation, accepted);
    this.#open(slot, operation, 'help', accepted);
  }

  // -- FETCH ------------------------------------------------------------------------------------------------------

  #takeBase(slot: number, operation: RmwOperation): void {
    const table = this.#table;
    operation.isCatchingUp = false;
    if (table.tombstone[slot] === 1) return this.#compute(slot, operation, undefined);
    if (table.hasEnvelope(slot)) return this.#open(slot, operation, 'base', undefined);
    if (table.partsMember[slot] !== NO_MEMBER) return this.#giveUp(slot, 'value-too-large');
    this.#fetch(slot, operation);
  }

  /** Asks who has the greatest stamp for its value, under the ballot that is promised already. */
  #fetch(slot: number, operation: RmwOperation): void {
    const table = this.#table;
    const candidates = this.#membership.readyMask() & this.#rmwRequests.holdersOfValue(slot);
    if (candidates === 0) {
      return table.bad[slot] !== 0 ? this.#giveUp(slot, 'unreadable') : this.#backOff(slot, operation);
    }
    this.#rounds.enter(slot, PHASE_RMW_FETCH);
    this.#rounds.askFirst(slot, 1 << this.#rounds.picker.first(candidates));
  }

  #onFetched(
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
      return operation.isCatchingUp ? this.#catchUp(slot, operation) : this.#takeBase(slot, operation);
    }
    table.lacking[slot]! |= 1 << member;
    if ((table.asked[slot]! & ~table.replied[slot]!) === 0) this.#fetch(slot, operation);
  }

  // -- OPEN, SEAL -------------------------------------------------------------------------------------------------

  #open(slot: number, operation: RmwOperation, purpose: OpenPurpose, proposal: Proposal | undefined): void {
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
      if (opened) return this.#accept(slot, operation, operation.accepted);
      // It may have been decided, so nothing else can be proposed: another copy of it is looked for.
      operation.badAccepted |= 1 << operation.acceptedMember;
      return this.#prepare(slot, operation);
    }
    if (!opened) {
      table.bad[slot]! |= 1 << table.valueMember[slot]!;
      table.dropEnvelope(slot);
      return this.#fetch(slot, operation);
    }
    if (table.bad[slot] !== 0) this.#repair(slot);
    const { openedValue, openedValueBytes } = this.#sealing;
    this.#compute(slot, operation, openedValue.subarray(0, openedValueBytes));
  }

  /** Members that sent a bad copy of the value found are sent the good one. */
  #repair(slot: number): void {
    const bad = this.#table.bad[slot]! & this.#table.holders[slot]!;
    for (let member = 0; member < this.#membership.memberCount; member++) {
      const session = hasMember(bad, member) ? this.#membership.session(member) : undefined;
      if (session !== undefined && this.#requests.write(session, slot, MESSAGE_REPAIR, 0)) this.#counters.repairs++;
    }
    this.#table.bad[slot] = 0;
  }

  /** @param found Undefined: the key is absent. */
  #compute(slot: number, operation: RmwOperation, found: Uint8Array | undefined): void {
    const table = this.#table;
    const { memory } = table;
    const result = applyRmw(operation.request!, found, {
      counter: table.counter[slot]!,
      writerHigh: table.writerHigh[slot]!,
      writerLow: table.writerLow[slot]!,
      rmw: table.rmw[slot]!,
    });
    const answer = answerOf(operation, found, result);
    operation.hasAnswer = answer !== undefined;
    // Memory is full of other operations' values: later there is room.
    if (!operation.answer.set(memory, answer ?? NO_BYTES)) return this.#backOff(slot, operation);
    operation.own.clear(memory);
    operation.own.words.fill(0, 4);
    if (result.kind === 'none') return this.#leaveAsIs(slot, operation, result.outcome);
    operation.outcome = 'ok';
    if (table.rmw[slot] === RMW_NUMBER_MAX) return this.#giveUp(slot, 'stamps-exhausted');
    operation.own.setStamp(
      table.counter[slot]!,
      table.writerHigh[slot]!,
      table.writerLow[slot]!,
      (table.rmw[slot]! + 1) | 0,
    );
    if (result.kind === 'set') return this.#seal(slot, operation, result.value);
    operation.own.isTombstone = true;
    this.#accept(slot, operation, operation.own);
  }

  /** The condition does not hold, or the change can't be made. */
  #leaveAsIs(slot: number, operation: RmwOperation, outcome: Outcome): void {
    const table = this.#table;
    operation.outcome = outcome;
    if (!operation.everSent) {
      if (table.tombstone[slot] === 0 && !this.#fitsAll(slot, table.envelopeBytes[slot]!)) {
        return this.#giveUp(slot, 'value-too-large');
      }
      if (memberCountOf(table.holders[slot]!) >= this.#quorum) return this.#answerRead(slot, operation);
      this.#counters.writeBacks++;
      return this.#commit(slot, operation, 'read', this.#membership.readyMask() & ~table.holders[slot]!);
    }
    const { own } = operation;
    own.setStamp(table.counter[slot]!, table.writerHigh[slot]!, table.writerLow[slot]!, table.rmw[slot]!);
    own.isTombstone = table.tombstone[slot] === 1;
    if (!own.isTombstone) {
      own.setTag(table.tags, table.tagWord(slot));
      own.region = table.envelopeRegion[slot];
      own.word = table.envelopeWord[slot]!;
      own.envelopeBytes = table.envelopeBytes[slot]!;
      if (!this.#fitsAll(slot, own.envelopeBytes)) return this.#giveUp(slot, 'value-too-large');
    }
    this.#accept(slot, operation, own);
  }

  #answerRead(slot: number, operation: RmwOperation): void {
    operation.commitPurpose = 'read';
    this.#end(slot, operation.outcome);
  }

  #seal(slot: number, operation: RmwOperation, value: Uint8Array): void {
    const table = this.#table;
    const { memory } = table;
    const { own } = operation;
    const envelopeBytes = this.#sealing.envelopeBytesOf(value.length);
    if (!this.#fitsAll(slot, envelopeBytes)) return this.#giveUp(slot, 'value-too-large');
    own.ref = memory.allocate(Math.max(envelopeBytes, 1));
    if (own.ref < 0) return this.#backOff(slot, operation);
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

  onValueSealed(slot: number): void {
    const operation = this.#operations.of(slot);
    this.#accept(slot, operation, operation.own);
  }

  /** Whether a proposal of that length goes into one datagram to every member that is there. */
  #fitsAll(slot: number, envelopeBytes: number): boolean {
    for (let member = 0; member < this.#membership.memberCount; member++) {
      const session = this.#membership.session(member);
      if (session !== undefined && !this.#rmwRequests.fits(session, slot, envelopeBytes)) return false;
    }
    return true;
  }

  // -- ACCEPT -----------------------------------------------------------------------------------------------------

  #accept(slot: number, operation: RmwOperation, proposal: Proposal): void {
    operation.current = proposal;
    operation.granted = 0;
    operation.nacked = 0;
    operation.behind = 0;
    this.#rounds.enter(slot, PHASE_ACCEPT);
    this.#rounds.askFirst(slot, this.#membership.readyMask());
  }

  #onAccepted(slot: number, operation: RmwOperation, member: number): void {
    operation.granted |= 1 << member;
    if (memberCountOf(operation.granted) < this.#quorum) return;
    this.#rounds.onQuorum(slot);
    this.#commit(slot, operation, operation.isHelping ? 'helped' : 'own', this.#membership.readyMask());
  }

  // -- what stands in the way -------------------------------------------------------------------------------------

  #onNack(slot: number, operation: RmwOperation, member: number, words: Int32Array, word: number): void {
    const flags = flagsOf(words, word) & FLAGS_REFUSED;
    if (flags !== 0) {
      const canGoOn = this.#rounds.refuse(slot, member);
      if (!canGoOn || (flags & FLAG_NOT_PERMITTED) !== 0) return this.#giveUp(slot, refusalOf(flags));
    } else {
      const metNumber = readU53(words, word + WORD_NACK_BALLOT);
      if (metNumber > NUMBER_MET_MAX) return this.#giveUp(slot, 'stamps-exhausted');
      operation.nacked |= 1 << member;
      this.#ballotNumber = Math.max(this.#ballotNumber, metNumber);
    }
    this.#onHindrance(slot, operation, member);
  }

  /** A member will not help this phase on. */
  #onHindrance(slot: number, operation: RmwOperation, member: number): void {
    const table = this.#table;
    const phase = table.phase[slot]!;
    if (phase === PHASE_RMW_FETCH) {
      if (hasMember(operation.nacked, member)) return this.#backOff(slot, operation);
      table.lacking[slot]! |= 1 << member;
      return this.#fetch(slot, operation);
    }
    const { nacked, behind, cannotShow } = operation;
    const hindered = nacked | cannotShow | table.refused[slot]! | (phase === PHASE_ACCEPT ? behind : 0);
    const canGoOn = this.#membership.memberCount - memberCountOf(hindered) >= this.#quorum;
    if (!canGoOn && nacked !== 0) return this.#backOff(slot, operation);
    if (phase === PHASE_PREPARE) return this.#judge(slot, operation);
    if (!canGoOn) this.#prepare(slot, operation);
  }

  /** The slot is decided already. */
  #onCommitted(slot: number, operation: RmwOperation, member: number, words: Int32Array, word: number): void {
    const decidedSlot = readU53(words, word + WORD_REGISTER_SLOT);
    if (decidedSlot < operation.slot) return;
    if (operation.sent !== 0) {
      const verdict = ringVerdict(words, word, operation.sent, operation.own.words);
      if (verdict === 'unknown') {
        operation.cannotShow |= 1 << member;
        return this.#onHindrance(slot, operation, member);
      }
      if (verdict === 'own') {
        operation.slot = operation.sent;
        operation.current = operation.own;
        this.#commit(slot, operation, 'own', this.#membership.readyMask());
        return;
      }
      operation.sent = 0;
    }
    operation.floor = decidedSlot + 1;
    this.#prepare(slot, operation);
  }

  /** An end before anything was sent is certain to have had no effect; so is one after evidence of that. */
  #giveUp(slot: number, reason: Outcome): void {
    const operation = this.#operations.of(slot);
    // Only a deadline ends what may still be decided: others may decide it, and then it is known.
    if (operation.sent !== 0 && (reason === 'value-too-large' || reason === 'unreadable')) {
      return this.#backOff(slot, operation);
    }
    this.#end(slot, this.outcomeOfGivingUp(slot, reason));
  }

  #backOff(slot: number, operation: RmwOperation): void {
    this.#counters.backOffs++;
    const unitMs = this.#rounds.picker.hedgeDelayMs() / 2;
    const spanMs = Math.min(BACK_OFF_MS_MAX, unitMs * 2 ** Math.min(operation.attempts, BACK_OFF_DOUBLINGS_MAX));
    operation.attempts++;
    this.#rounds.enter(slot, PHASE_BACK_OFF);
    this.#rounds.wait(slot, spanMs * this.#random());
  }

  /** In [0, 1). */
  #random(): number {
    this.#randomState = (this.#randomState + 0x6d2b79f5) | 0;
    let mixed = this.#randomState;
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  }

  // -- COMMIT -----------------------------------------------------------------------------------------------------

  /** Members that have not decided the slot before are told what it has led to. */
  #catchUp(slot: number, operation: RmwOperation): void {
    const table = this.#table;
    // A value that is larger than a datagram they may have got as it was written: else this waits until they have.
    const isFetched = table.tombstone[slot] === 1 || table.hasEnvelope(slot) || table.partsMember[slot] !== NO_MEMBER;
    operation.isCatchingUp = true;
    if (!isFetched) return this.#fetch(slot, operation);
    this.#commit(slot, operation, 'catch-up', operation.behind & this.#membership.readyMask());
  }

  #commit(slot: number, operation: RmwOperation, purpose: CommitPurpose, targets: number): void {
    operation.commitPurpose = purpose;
    operation.granted = 0;
    operation.targets = targets;
    this.#rounds.enter(slot, PHASE_COMMIT);
    this.#rounds.askFirst(slot, targets);
  }

  #onCommitReply(slot: number, operation: RmwOperation, member: number, flags: number): void {
    const { commitPurpose } = operation;
    if (flags !== 0) return this.#onCommitRefused(slot, operation, member, flags);
    operation.granted |= 1 << member;
    if (commitPurpose === 'read') this.#table.holders[slot]! |= 1 << member;
    if (memberCountOf(this.#holdersOf(slot, operation)) < this.#quorum) return;
    this.#rounds.onQuorum(slot);
    switch (commitPurpose) {
      case 'own':
        return this.#end(slot, operation.outcome);
      case 'read':
        return this.#answerRead(slot, operation);
      case 'catch-up':
        return this.#prepare(slot, operation);
      case 'helped':
        this.#counters.helped++;
        // The slot was decided, and not by the own proposal.
        if (operation.sent === operation.slot) operation.sent = 0;
        operation.floor = operation.slot + 1;
        return this.#prepare(slot, operation);
    }
  }

  /** Members that hold what is committed. */
  #holdersOf(slot: number, operation: RmwOperation): number {
    switch (operation.commitPurpose) {
      case 'read':
        return this.#table.holders[slot]!;
      case 'catch-up':
        return operation.granted | operation.promised;
      default:
        return operation.granted;
    }
  }

  #onCommitRefused(slot: number, operation: RmwOperation, member: number, flags: number): void {
    const canGoOn = this.#rounds.refuse(slot, member);
    if (operation.commitPurpose === 'catch-up') return this.#backOff(slot, operation);
    if (canGoOn) return;
    // What is decided will be known by all some day; whether a quorum is going to hold it in time is not.
    if (operation.commitPurpose === 'own') return this.#end(slot, 'outcome-unknown');
    this.#end(slot, this.outcomeOfGivingUp(slot, refusalOf(flags)));
  }

  // -- time -------------------------------------------------------------------------------------------------------

  /** No answer in time, or the back-off is over. */
  onTimer(slot: number): void {
    const operation = this.#operations.of(slot);
    const table = this.#table;
    const phase = table.phase[slot]!;
    if (phase === PHASE_BACK_OFF) return this.#prepare(slot, operation);
    if (phase === PHASE_RMW_OPEN || phase === PHASE_RMW_SEAL) return this.#rounds.waitForSealing(slot);
    if (this.#rounds.isHeldBack(slot)) return this.#rounds.waitForTimeout(slot);
    this.#rounds.onSilence(slot);
    if (phase === PHASE_PREPARE && table.replied[slot] !== 0 && this.#rounds.others(slot) === 0) {
      const { promised, behind } = operation;
      const canCatchUp = promised !== 0 && behind !== 0 && memberCountOf(promised | behind) >= this.#quorum;
      if (canCatchUp) return this.#catchUp(slot, operation);
      if (operation.nacked !== 0) return this.#backOff(slot, operation);
      if (table.attempt[slot]! >= PREPARE_ATTEMPTS_MAX) return this.#prepare(slot, operation);
    }
    if (phase === PHASE_ACCEPT && operation.nacked !== 0) return this.#backOff(slot, operation);
    if (phase === PHASE_RMW_FETCH && table.attempt[slot]! >= PREPARE_ATTEMPTS_MAX)
      return this.#prepare(slot, operation);
    this.#rounds.askAgain(slot);
  }

  invariants(slot: number): void {
    const operation = this.#operations.of(slot);
    assert(operation.request !== undefined, 'a read-modify-write has its request');
    assert(operation.sent === 0 || operation.everSent, 'what may be decided was sent');
    assert(
      operation.sent === 0 || operation.slot === operation.sent,
      'no other slot is asked while one may decide the own',
    );
    assert(operation.ballot <= this.#ballotNumber, 'ballots are given out here');
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
