import { readU53, writeU53 } from '../../net/bytes.ts';
import { assert } from '../../net/assert.ts';
import type { Incoming } from '../../net/inbox.ts';
import { BackOffDelays } from './back-off-delays.ts';
import type { GetCounters } from './get-flow.ts';
import { FLAGS_REFUSED, FLAG_NOT_PERMITTED, flagsOf, typeOf } from './messages.ts';
import { KeyQueues } from './key-queues.ts';
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
import type { PutFlow, Writer } from './put-flow.ts';
import { hasMember, memberCountOf } from './quorum.ts';
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
import { PROPOSAL_ID, PROPOSAL_RMW, PROPOSAL_WRITER } from './rmw-operation.ts';
import type { CommitPurpose, Proposal, RmwOperation, RmwOperations } from './rmw-operation.ts';
import { clearPromises, gatherPromise, ringVerdict } from './rmw-promises.ts';
import type { RmwRequest } from './rmw-request.ts';
import type { RmwRequests } from './rmw-requests.ts';
import { RmwValues } from './rmw-values.ts';
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
 * A condition that does not hold is answered as a read: what was found is written back first. It is found out only where
 * `sent` is not set and the promises showed nothing accepted; so nothing that was ever sent can take effect any more.
 */

/** After so many time-outs of a PREPARE it is begun anew: who has answered may know more by now. */
const PREPARE_ATTEMPTS_MAX = 2;
/**
 * After so many, where a quorum no longer knows what its slot decided and the others say nothing, nobody is going to tell: half
 * a second or so on a local network. Until then it holds up those of its process behind it.
 */
const FORGOTTEN_ATTEMPTS_MAX = 7;
/**
 * Whoever was refused so often asks all, and yields to nobody: else a coordinator that keeps the gate's promise fresh, and
 * proposes nothing, could hold a key alone. Waits grow to 16 units, so this is after a second or so.
 */
const GATE_ATTEMPTS_MAX = 64;
/** Who was refused at the gate is in nobody's way: it looks again soon, at first. */
const GATE_UNIT_MS_MAX = 4;
/**
 * So many of one process follow each other without a pause in which the gate would let another one through. In simulated time
 * that makes increments of one key 1.36 times as fast, and the slowest in a hundred of several processes wait up to twice as
 * long; with eight it is 1.42 and 2.7 times.
 */
const IN_ROW_MAX = 4;
const NUMBER_MAX = Number.MAX_SAFE_INTEGER;

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
  readonly #rmwRequests: RmwRequests;
  readonly #membership: Membership;
  readonly #quorum: number;
  readonly #allMask: number;
  readonly #writer: Writer;
  readonly #puts: PutFlow;
  readonly #counters: RmwCounters & GetCounters;
  readonly #end: EndOperation;
  readonly #values: RmwValues;
  /** The greatest ballot number used or met: none is used twice, for any key. */
  #ballotNumber = 0;
  /** Read-modify-writes started: with the writer id, the id of each. */
  #sequence = 0;
  readonly #delays: BackOffDelays;
  readonly #queues: KeyQueues;

  constructor(
    parts: FlowParts,
    operations: RmwOperations,
    rmwRequests: RmwRequests,
    writer: Writer,
    puts: PutFlow,
    counters: RmwCounters & GetCounters,
  ) {
    this.#table = parts.table;
    this.#operations = operations;
    this.#rounds = parts.rounds;
    this.#rmwRequests = rmwRequests;
    this.#membership = parts.membership;
    this.#quorum = parts.quorum;
    this.#allMask = (1 << parts.membership.memberCount) - 1;
    this.#writer = writer;
    this.#puts = puts;
    this.#counters = counters;
    this.#end = parts.end;
    this.#values = new RmwValues(parts, operations, rmwRequests, counters, {
      prepare: (slot, operation) => this.#prepare(slot, operation),
      accept: (slot, operation, proposal) => this.#accept(slot, operation, proposal),
      commit: (slot, operation, purpose, targets) => this.#commit(slot, operation, purpose, targets),
      catchUp: (slot, operation) => this.#catchUp(slot, operation),
      answerRead: (slot, operation) => this.#answerRead(slot, operation),
      giveUp: (slot, reason) => this.#giveUp(slot, reason),
      backOff: (slot, operation) => this.#backOff(slot, operation),
    });
    // The process has drawn its writer id at random.
    this.#queues = new KeyQueues(parts.table.capacity);
    this.#delays = new BackOffDelays(writer.writerLow ^ writer.writerHigh);
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
    if (this.#queues.join(slot, this.#table.keyHash(slot))) {
      this.#prepare(slot, operation);
      return true;
    }
    this.#rounds.enter(slot, PHASE_BACK_OFF);
    // Until it is its turn; at the longest until its deadline.
    this.#rounds.waitForSealing(slot);
    return true;
  }

  /** It has ended: the next one of its key begins, if it has not already. */
  leave(slot: number): void {
    const operation = this.#operations.of(slot);
    if (operation.isQueued) this.#leaveQueue(slot, operation, 0);
  }

  /** It is decided, and its COMMIT has left: the next one's PREPARE leaves with that, and is answered with what it has made. */
  #handOver(slot: number, operation: RmwOperation): void {
    if (operation.isQueued && operation.inRow < IN_ROW_MAX) this.#leaveQueue(slot, operation, operation.inRow + 1);
  }

  #leaveQueue(slot: number, operation: RmwOperation, inRow: number): void {
    operation.isQueued = false;
    const next = this.#queues.leave(slot);
    if (next === -1) return;
    const following = this.#operations.of(next);
    following.inRow = inRow;
    // Whose deadline has passed too ends by its own timer, in this very turn: what it asked now would put that off.
    if (this.#rounds.nowMs < this.#table.deadlineMs[next]!) this.#prepare(next, following);
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

  #prepare(slot: number, operation: RmwOperation, isLetThrough = false): void {
    if (this.#ballotNumber >= NUMBER_MAX || operation.floor >= NUMBER_MAX)
      return this.#giveUp(slot, 'stamps-exhausted');
    const asked = operation.sent === 0 ? operation.floor : operation.sent;
    if (asked !== operation.slot) operation.badAccepted = 0;
    operation.slot = asked;
    operation.ballot = ++this.#ballotNumber;
    clearPromises(this.#table, slot, operation);
    this.#rounds.enter(slot, PHASE_PREPARE);
    operation.isLetThrough = isLetThrough;
    operation.gate = operation.attempts < GATE_ATTEMPTS_MAX ? this.#gateOf(slot) : NO_MEMBER;
    const members = this.#firstMembers(operation);
    const answering = members & ~this.#rounds.picker.silentMask;
    this.#table.valueMember[slot] = this.#rounds.picker.first(answering === 0 ? members : answering);
    this.#rounds.askFirst(slot, members);
  }

  /**
   * The member whose promise comes first, the same for all coordinators of the key as far as they know the same members to be
   * there: who is refused there leaves the others alone, or coordinators that met would each have a part of the promises.
   */
  #gateOf(slot: number): number {
    const { memberCount } = this.#membership;
    const ready = this.#membership.readyMask();
    const answering = ready & ~this.#rounds.picker.silentMask;
    const first = (this.#table.keyHash(slot) >>> 0) % memberCount;
    for (let i = 0; i < memberCount; i++) {
      const member = (first + i) % memberCount;
      if (hasMember(answering === 0 ? ready : answering, member)) return member;
    }
    return NO_MEMBER;
  }

  #firstMembers({ badAccepted, attempts, gate, isLetThrough }: RmwOperation): number {
    // A copy that did not open is not to be had from a few: all are asked. So they are when the gate is not kept to.
    if (badAccepted !== 0 || gate === NO_MEMBER || isLetThrough) return this.#membership.readyMask();
    // Others are at work on the key: the gate alone, and the others when it has let this one through.
    if (attempts > 0) return 1 << gate;
    // A far gate is not worth a longer way to who is alone.
    return this.#rounds.firstMembers(1 << gate);
  }

  onValueOpened(slot: number, opened: boolean): void {
    this.#values.onValueOpened(slot, opened);
  }

  onValueSealed(slot: number): void {
    const operation = this.#operations.of(slot);
    this.#accept(slot, operation, operation.own);
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
      return this.#values.onFetched(slot, operation, member, incoming, word, valueWord);
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
    if (memberCountOf(operation.promised) >= this.#quorum) return this.#decide(slot, operation);
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
    if (this.#canCatchUp(operation)) return this.#catchUp(slot, operation);
    // What too many accepted for a quorum of the others opens nowhere, when all have answered.
    const isCertain = operation.nacked === 0 && this.#table.replied[slot] === this.#allMask;
    if (operation.badAccepted !== 0 && isCertain) return this.#giveUp(slot, 'unreadable');
    this.#outbid(slot, operation);
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
      if (operation.sent === operation.slot) return this.#accept(slot, operation, operation.own);
      return this.#end(slot, 'outcome-unknown');
    }
    if (operation.sent === operation.slot) return this.#accept(slot, operation, operation.own);
    assert(operation.sent === 0, 'a slot is left only with evidence');
    this.#values.takeBase(slot, operation);
  }

  #help(slot: number, operation: RmwOperation): void {
    const { accepted } = operation;
    if (!operation.hasAcceptedValue || !this.#values.fitsAll(slot, accepted.envelopeBytes)) {
      return this.#giveUp(slot, 'value-too-large');
    }
    if (accepted.isTombstone) return this.#accept(slot, operation, accepted);
    this.#values.open(slot, operation, 'help', accepted);
  }

  #answerRead(slot: number, operation: RmwOperation): void {
    operation.commitPurpose = 'read';
    this.#releaseGate(slot, operation);
    this.#end(slot, operation.outcome);
  }

  /** Nothing is going to be proposed: whoever waits for the promise need not wait longer. */
  #releaseGate(slot: number, { promised, gate }: RmwOperation): void {
    const session = hasMember(promised, gate) ? this.#membership.session(gate) : undefined;
    if (session !== undefined) this.#rmwRequests.release(session, slot);
  }

  // -- ACCEPT -----------------------------------------------------------------------------------------------------

  #accept(slot: number, operation: RmwOperation, proposal: Proposal): void {
    // A put that is begun when this has ended, in whatever way, has a greater stamp: what it is told becomes of its value is true.
    if (proposal === operation.own) this.#puts.raiseOwnCounter(proposal.counter);
    operation.current = proposal;
    operation.granted = 0;
    operation.nacked = 0;
    operation.behind = 0;
    operation.cannotShow = 0;
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
      operation.nacked |= 1 << member;
      this.#ballotNumber = Math.max(this.#ballotNumber, metNumber);
      if (member === operation.gate && this.#table.phase[slot] === PHASE_PREPARE) {
        return this.#backOff(slot, operation, GATE_UNIT_MS_MAX);
      }
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
      return this.#values.fetch(slot, operation);
    }
    const { nacked, behind, cannotShow } = operation;
    const inTheWay = nacked | cannotShow | (phase === PHASE_ACCEPT ? behind : 0);
    // Who is silent may be dead, and its time-out is much longer than it takes to see to what is in the way.
    const away = inTheWay === 0 ? 0 : this.#rounds.picker.silentMask & ~table.replied[slot]!;
    const hindered = inTheWay | table.refused[slot]! | away;
    const canGoOn = this.#membership.memberCount - memberCountOf(hindered) >= this.#quorum;
    if (!canGoOn && nacked !== 0) return this.#outbid(slot, operation);
    if (phase === PHASE_PREPARE) return this.#judge(slot, operation);
    if (!canGoOn) this.#prepare(slot, operation);
  }

  /**
   * A greater ballot is promised where this one needs a promise. Whom the gate has let through goes over it at once, before all:
   * mostly it is that of somebody whom the gate has refused meanwhile, and everybody else waits. Once: else two that do not
   * keep to the same gate would outbid each other without end.
   */
  #outbid(slot: number, operation: RmwOperation): void {
    const { promised, nacked, gate, isLetThrough } = operation;
    if (!isLetThrough && hasMember(promised & ~nacked, gate)) this.#prepare(slot, operation, true);
    else this.#backOff(slot, operation);
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
    if (operation.sent === 0) this.#releaseGate(slot, operation);
    this.#end(slot, this.outcomeOfGivingUp(slot, reason));
  }

  #backOff(slot: number, operation: RmwOperation, unitMsMax = Infinity): void {
    this.#counters.backOffs++;
    // A round trip or so, by the members that have answered: others may be gone, or were never met.
    const { picker } = this.#rounds;
    const unitMs = Math.min(picker.rtoMs(this.#table.replied[slot]!, 0), picker.hedgeDelayMs(), unitMsMax);
    // The gate alone is asked so often.
    const isQuick = operation.sent !== 0 && operation.attempts < GATE_ATTEMPTS_MAX;
    const waitMs = this.#delays.draw(operation.attempts++, isQuick, unitMs);
    this.#rounds.enter(slot, PHASE_BACK_OFF);
    this.#rounds.wait(slot, waitMs);
  }

  // -- COMMIT -----------------------------------------------------------------------------------------------------

  /** Members that have not decided the slot before are told what it has led to. */
  #catchUp(slot: number, operation: RmwOperation): void {
    const table = this.#table;
    // A value that is larger than a datagram they may have got as it was written: else this waits until they have.
    const isFetched = table.tombstone[slot] === 1 || table.hasEnvelope(slot) || table.partsMember[slot] !== NO_MEMBER;
    operation.isCatchingUp = true;
    if (!isFetched) return this.#values.fetch(slot, operation);
    this.#commit(slot, operation, 'catch-up', operation.behind & this.#membership.readyMask());
  }

  #commit(slot: number, operation: RmwOperation, purpose: CommitPurpose, targets: number): void {
    operation.commitPurpose = purpose;
    operation.granted = 0;
    operation.targets = targets;
    this.#rounds.enter(slot, PHASE_COMMIT);
    this.#rounds.askFirst(slot, targets);
    if (purpose === 'own') this.#handOver(slot, operation);
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
      case 'own':
      case 'helped':
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
      if (this.#canCatchUp(operation)) return this.#catchUp(slot, operation);
      if (operation.nacked !== 0) return this.#backOff(slot, operation);
      const isForgotten = memberCountOf(operation.cannotShow) >= this.#quorum;
      if (isForgotten && table.attempt[slot]! >= FORGOTTEN_ATTEMPTS_MAX) return this.#end(slot, 'outcome-unknown');
      if (!isForgotten && table.attempt[slot]! >= PREPARE_ATTEMPTS_MAX) return this.#prepare(slot, operation);
    }
    // Who has answered otherwise may accept under another ballot, when it has been told what it lacks.
    const { nacked, behind, cannotShow } = operation;
    if (phase === PHASE_ACCEPT && (nacked | behind | cannotShow) !== 0) return this.#backOff(slot, operation);
    const isForOthers = phase === PHASE_RMW_FETCH || (phase === PHASE_COMMIT && operation.commitPurpose === 'catch-up');
    if (isForOthers && table.attempt[slot]! >= PREPARE_ATTEMPTS_MAX) return this.#prepare(slot, operation);
    this.#rounds.askAgain(slot);
  }

  invariants(slot: number): void {
    const operation = this.#operations.of(slot);
    assert(operation.request !== undefined, 'a read-modify-write has its request');
    assert(
      operation.sent === 0 || operation.slot === operation.sent,
      'no other slot is asked while one may decide the own',
    );
    assert(operation.ballot <= this.#ballotNumber, 'ballots are given out here');
  }
}
