import { readU53 } from '../../net/bytes.ts';
import { assert } from '../../net/assert.ts';
import type { Incoming } from '../../net/inbox.ts';
import type { GetCounters } from './get-flow.ts';
import { FLAGS_REFUSED, FLAG_NOT_PERMITTED, flagsOf, typeOf } from './messages.ts';
import { KeyQueues } from './key-queues.ts';
import type { OperationTable } from './operation-table.ts';
import {
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
import type { PullFlow } from './pull-flow.ts';
import type { PutFlow, Writer } from './put-flow.ts';
import { hasMember, memberCountOf } from './quorum.ts';
import { RmwCommits } from './rmw-commits.ts';
import { RmwGate } from './rmw-gate.ts';
import {
  FLAG_LACKING,
  MESSAGE_ACCEPTED,
  MESSAGE_BEHIND,
  MESSAGE_COMMITTED,
  MESSAGE_COMMIT_REPLY,
  MESSAGE_NACK,
  MESSAGE_PROMISE,
  WORD_NACK_BALLOT,
  WORD_REGISTER_SLOT,
} from './rmw-messages.ts';
import { PROPOSAL_RMW, PROPOSAL_WRITER } from './rmw-operation.ts';
import type { Proposal, RmwOperation, RmwOperations } from './rmw-operation.ts';
import { PREPARE_ATTEMPTS_MAX, RmwPrepare } from './rmw-prepare.ts';
import { ringVerdict } from './rmw-promises.ts';
import type { RmwRequest } from './rmw-request.ts';
import type { RmwRequests } from './rmw-requests.ts';
import type { RmwCounters, RmwSteps } from './rmw-steps.ts';
import { RmwParts } from './rmw-parts.ts';
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

/**
 * So many of one process follow each other without a pause in which the gate would let another one through. In simulated time
 * that makes increments of one key 1.36 times as fast, and the slowest in a hundred of several processes wait up to twice as
 * long; with eight it is 1.42 and 2.7 times.
 */
const IN_ROW_MAX = 4;

export class RmwFlow {
  readonly #table: OperationTable;
  readonly #operations: RmwOperations;
  readonly #rounds: Rounds;
  readonly #membership: Membership;
  readonly #quorum: number;
  readonly #writer: Writer;
  readonly #puts: PutFlow;
  readonly #counters: RmwCounters & GetCounters;
  readonly #end: EndOperation;
  readonly #gate: RmwGate;
  readonly #values: RmwValues;
  readonly #prepares: RmwPrepare;
  readonly #commits: RmwCommits;
  readonly #parts: RmwParts;
  readonly #rmwRequests: RmwRequests;
  readonly #queues: KeyQueues;
  /** Read-modify-writes started: with the writer id, the id of each. */
  #sequence = 0;

  constructor(
    parts: FlowParts,
    operations: RmwOperations,
    rmwRequests: RmwRequests,
    writer: Writer,
    puts: PutFlow,
    pulls: PullFlow,
    counters: RmwCounters & GetCounters,
  ) {
    this.#table = parts.table;
    this.#operations = operations;
    this.#rounds = parts.rounds;
    this.#membership = parts.membership;
    this.#quorum = parts.quorum;
    this.#rmwRequests = rmwRequests;
    this.#writer = writer;
    this.#puts = puts;
    this.#counters = counters;
    this.#end = parts.end;
    const steps: RmwSteps = {
      prepare: (slot, operation) => this.#prepares.prepare(slot, operation),
      fetch: (slot, operation) => this.#values.fetch(slot, operation),
      pull: (slot, operation, purpose) => this.#parts.pull(slot, operation, purpose),
      sendParts: (slot, operation, member) => this.#parts.send(slot, operation, member),
      stopParts: (slot, operation) => this.#parts.stop(slot, operation),
      accept: (slot, operation, proposal) => this.#accept(slot, operation, proposal),
      commit: (slot, operation, purpose, targets) => this.#commits.commit(slot, operation, purpose, targets),
      catchUp: (slot, operation) => this.#commits.catchUp(slot, operation),
      handOver: (slot, operation) => this.#handOver(slot, operation),
      answerRead: (slot, operation) => this.#answerRead(slot, operation),
      giveUp: (slot, reason) => this.#giveUp(slot, reason),
      backOff: (slot, operation) => this.#backOff(slot, operation),
    };
    this.#gate = new RmwGate(parts, rmwRequests, writer);
    this.#values = new RmwValues(parts, operations, rmwRequests, counters, steps);
    this.#prepares = new RmwPrepare(parts, this.#gate, this.#values, steps);
    this.#parts = new RmwParts(parts, operations, pulls, this.#values);
    pulls.changes = {
      restart: (slot) => this.#prepares.prepare(slot, operations.of(slot)),
      onWhole: (slot) => this.#parts.onPulled(slot),
      ask: (session, slot, byteOffset, byteCount) => rmwRequests.readPart(session, slot, byteOffset, byteCount),
    };
    this.#commits = new RmwCommits(parts, counters, steps);
    this.#queues = new KeyQueues(parts.table.capacity, (a, b) => parts.table.hasSameKey(a, b));
  }

  // -- starting and ending ----------------------------------------------------------------------------------------

  /** False when memory is at its limit; then nothing is kept. */
  begin(slot: number, request: RmwRequest): boolean {
    const operation = this.#operations.of(slot);
    if (!operation.begin(this.#table.memory, request, this.#writer, ++this.#sequence)) return false;
    if (this.#queues.join(slot, this.#table.keyHash(slot))) {
      this.#prepares.prepare(slot, operation);
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
    if (this.#rounds.nowMs < this.#table.deadlineMs[next]!) this.#prepares.prepare(next, following);
  }

  /** When its caller gives an operation up. */
  outcomeOfGivingUp(slot: number, reason: Outcome): Outcome {
    return this.#operations.of(slot).outcomeOfGivingUp(reason);
  }

  /** Fills in what is told of an ended operation; its answer, valid until clear(). */
  describe(slot: number, outcome: Outcome, ended: EndedStamp): Uint8Array {
    const operation = this.#operations.of(slot);
    const { own } = operation;
    if (operation.commitPurpose === 'own' && (outcome === 'ok' || outcome === operation.outcome)) {
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
    if (!isAgain) return this.#prepares.prepare(slot, operation);
    if (operation.commitPurpose === 'read') this.#table.holders[slot] = 0;
    this.#commits.commit(slot, operation, operation.commitPurpose, this.#membership.readyMask());
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
        return this.#table.phase[slot] === PHASE_RMW_FETCH
          ? this.#values.onFetched(slot, operation, member, incoming, word, valueWord)
          : this.#prepares.onPromise(slot, operation, member, incoming, word, valueWord);
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
        return this.#commits.onReply(slot, operation, member, flagsOf(words, word));
    }
  }

  #answerRead(slot: number, operation: RmwOperation): void {
    operation.commitPurpose = 'read';
    this.#gate.release(slot, operation);
    this.#end(slot, operation.outcome);
  }

  // -- ACCEPT -----------------------------------------------------------------------------------------------------

  #accept(slot: number, operation: RmwOperation, proposal: Proposal): void {
    // A put that is begun when this has ended, in whatever way, has a greater stamp: what it is told becomes of its value is true.
    if (proposal === operation.own) this.#puts.raiseOwnCounter(proposal.counter);
    this.#parts.stop(slot, operation);
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
    this.#commits.commit(slot, operation, operation.isHelping ? 'helped' : 'own', this.#membership.readyMask());
  }

  // -- what stands in the way -------------------------------------------------------------------------------------

  #onNack(slot: number, operation: RmwOperation, member: number, words: Int32Array, word: number): void {
    const isLacking = (flagsOf(words, word) & FLAG_LACKING) !== 0;
    if (isLacking && this.#table.phase[slot] === PHASE_ACCEPT) return this.#parts.send(slot, operation, member);
    const flags = flagsOf(words, word) & FLAGS_REFUSED;
    if (flags !== 0) {
      if (!this.#canGoOnWithout(slot, member, flags)) return this.#giveUp(slot, refusalOf(flags));
    } else {
      const metNumber = readU53(words, word + WORD_NACK_BALLOT);
      operation.nacked |= 1 << member;
      this.#prepares.onBallotMet(metNumber);
      if (member === operation.gate && this.#table.phase[slot] === PHASE_PREPARE) {
        return this.#backOff(slot, operation, true);
      }
    }
    this.#onHindrance(slot, operation, member);
  }

  /** It refuses what it is asked. */
  #canGoOnWithout(slot: number, member: number, flags: number): boolean {
    return this.#rounds.refuse(slot, member) && (flags & FLAG_NOT_PERMITTED) === 0;
  }

  /** A member says of a value by parts that it has all of it, or will not take it. */
  onPartsReply(slot: number, member: number, flags: number): void {
    const operation = this.#operations.of(slot);
    if ((flags & FLAGS_REFUSED) === 0) return this.#parts.onSent(slot, operation, member);
    this.#table.replied[slot]! |= 1 << member;
    this.#parts.onRefused(slot, operation, member);
    if (this.#table.phase[slot] === PHASE_COMMIT) return this.#commits.onReply(slot, operation, member, flags);
    if (!this.#canGoOnWithout(slot, member, flags)) return this.#giveUp(slot, refusalOf(flags));
    this.#onHindrance(slot, operation, member);
  }

  /** Whether what it has had decided is still on its way to members that lack it. */
  isSpreading(slot: number, outcome: Outcome): boolean {
    const { commitPurpose } = this.#operations.of(slot);
    return outcome === 'ok' && this.#table.phase[slot] === PHASE_COMMIT && commitPurpose === 'own';
  }

  /** It has ended, and one more member has the value: it is told, once, that it is decided. */
  onSpread(slot: number, member: number): void {
    const session = this.#membership.session(member);
    if (session !== undefined) this.#rmwRequests.commit(session, slot);
  }

  /** Whether a word about parts says nothing of those that are waited for. */
  awaitsOthers(slot: number): boolean {
    return this.#parts.awaitsOthers(slot);
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
    if (!canGoOn && nacked !== 0) return this.#prepares.outbid(slot, operation);
    if (phase === PHASE_PREPARE) return this.#prepares.judge(slot, operation);
    if (canGoOn) return;
    // A quorum promises again without those that are behind: it would come to the same.
    if (behind !== 0) return this.#commits.catchUp(slot, operation);
    this.#prepares.prepare(slot, operation);
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
        this.#commits.commit(slot, operation, 'own', this.#membership.readyMask());
        return;
      }
      operation.sent = 0;
    }
    operation.floor = decidedSlot + 1;
    this.#prepares.prepare(slot, operation);
  }

  /** An end before anything was sent is certain to have had no effect; so is one after evidence of that. */
  #giveUp(slot: number, reason: Outcome): void {
    const operation = this.#operations.of(slot);
    // Only a deadline ends what may still be decided: others may decide it, and then it is known.
    if (operation.sent !== 0 && reason === 'unreadable') return this.#backOff(slot, operation);
    if (operation.sent === 0) this.#gate.release(slot, operation);
    this.#end(slot, operation.outcomeOfGivingUp(reason));
  }

  #backOff(slot: number, operation: RmwOperation, isRefusedAtGate = false): void {
    this.#counters.backOffs++;
    const waitMs = this.#gate.drawWaitMs(slot, operation, isRefusedAtGate);
    this.#parts.stop(slot, operation);
    this.#rounds.enter(slot, PHASE_BACK_OFF);
    this.#rounds.wait(slot, waitMs);
  }

  // -- time -------------------------------------------------------------------------------------------------------

  /** No answer in time, or the back-off is over. */
  onTimer(slot: number): void {
    const operation = this.#operations.of(slot);
    const table = this.#table;
    const phase = table.phase[slot]!;
    if (phase === PHASE_BACK_OFF) return this.#prepares.prepare(slot, operation);
    if (phase === PHASE_RMW_OPEN || phase === PHASE_RMW_SEAL) return this.#rounds.waitForSealing(slot);
    if (this.#rounds.isHeldBack(slot)) return this.#rounds.waitForTimeout(slot);
    // Parts have a time-out of their own.
    const overdueMs = this.#parts.overdueMs(slot);
    if (this.#rounds.nowMs < overdueMs) return this.#rounds.wait(slot, overdueMs - this.#rounds.nowMs);
    this.#rounds.onSilence(slot);
    if (phase === PHASE_PREPARE && this.#prepares.onSilence(slot, operation)) return;
    // Who has answered otherwise may accept under another ballot, when it has been told what it lacks.
    const { nacked, behind, cannotShow } = operation;
    const isTried = operation.lacks === 0 || table.attempt[slot]! >= PREPARE_ATTEMPTS_MAX;
    if (phase === PHASE_ACCEPT && isTried && (nacked | behind | cannotShow) !== 0)
      return this.#backOff(slot, operation);
    const isForOthers = phase === PHASE_RMW_FETCH || (phase === PHASE_COMMIT && operation.commitPurpose === 'catch-up');
    if (isForOthers && table.attempt[slot]! >= PREPARE_ATTEMPTS_MAX) return this.#prepares.prepare(slot, operation);
    this.#rounds.askAgain(slot);
  }

  invariants(slot: number): void {
    const operation = this.#operations.of(slot);
    assert(operation.request !== undefined, 'a read-modify-write has its request');
    assert(
      operation.sent === 0 || operation.slot === operation.sent,
      'no other slot is asked while one may decide the own',
    );
    this.#prepares.invariants(operation);
    this.#parts.invariants(slot);
  }
}
