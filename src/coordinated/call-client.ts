import { assert } from '../../net/assert.ts';
import { alignUp, allocateRegion, copyPadded } from '../../net/bytes.ts';
import type { DropCounters } from '../../net/drops.ts';
import type { Incoming } from '../../net/inbox.ts';
import { DATAGRAM_BYTES_MAX } from '../../net/limits.ts';
import type { Session } from '../../net/session.ts';
import {
  CALL_DELETE,
  CALL_GET,
  CALL_GET_WITH_VERSION,
  CALL_PUT,
  CALL_RMW,
  CALL_SLOTS_MAX,
  MESSAGE_CALL_OPENED,
  MESSAGE_CALL_REPLY,
  WORD_CALL_REPLY_ATTEMPT,
  WORD_CALL_REPLY_STREAM,
  WORD_CALL_REPLY_VALUE_BYTES,
  callReplyHeadBytes,
  isReadOnly,
  wantsVersion,
} from '../protocol/call-messages.ts';
import { MESSAGE_CALL_REPLY_PART } from '../protocol/call-part-messages.ts';
import type { CoordinatorCounters } from '../protocol/coordinator.ts';
import {
  MESSAGE_WRITE_PROGRESS,
  OPERATION_SLOTS_MAX,
  flagsOf,
  messageBytes,
  messageEnvelopeBytes,
  slotOf,
  typeOf,
} from '../protocol/messages.ts';
import type { Messenger } from '../protocol/messenger.ts';
import type { Answer, EndedStamp, OperationSink, Outcome } from '../protocol/outcome.ts';
import type { RmwRequest } from '../protocol/rmw-request.ts';
import type { Peer } from '../protocol/peer.ts';
import type { HostMemory } from '../store/host-memory.ts';
import { CallAttempts } from './call-attempts.ts';
import { CALL_OUTCOMES, endingOf } from './call-outcome.ts';
import { CallPartsPulls } from './call-parts-pulls.ts';
import { readAnswerNumber, readReplyVersion } from './call-reply.ts';
import type { CallMembersOptions } from './call-members.ts';
import { CallMembers } from './call-members.ts';
import { CallSlots } from './call-slots.ts';

/**
 * A client's side of the coordinated route, a pure state machine: it asks one replica for an operation and repeats the
 * call until there is an answer, or the deadline.
 *
 *     waiting   nothing was sent that could still be carried out: any replica may be called
 *     in parts  a call that is larger than a datagram goes to a replica by parts, some of which were never sent: so it
 *               can't have begun, and may still go to another one (call-parts-sender.ts)
 *     sent      get: others are called, too, when the answer is overdue; the first answer counts
 *               all else: only the replica that has the call may carry it out. It is repeated there, and ends
 *               outcome-unknown when the replica can't say what became of it (deadline, another incarnation)
 *     pulling   a get's answer is larger than a datagram and is asked for by parts (call-parts-pulls.ts)
 *
 * A write never moves to another replica once it may have begun: under two stamps readers could see it, another value,
 * and it again.
 */
export interface CallClientOptions extends Pick<CallMembersOptions, 'links' | 'firstChoice' | 'activeMask'> {
  /** Calls at once; at most CALL_SLOTS_MAX. */
  readonly capacity: number;
  /** Keys and values of calls under way, and of answers that come by parts. */
  readonly memory: HostMemory;
  /** What answers by parts may take of the process's receive buffer at once. */
  readonly pullBytesMax: number;
  readonly messenger: Messenger;
  readonly drops: DropCounters;
  readonly sink: OperationSink;
  /** A message that answers no call. */
  onOtherMessage(incoming: Incoming<Peer>, word: number): void;
}

export class CallClient {
  readonly counters: CoordinatorCounters = {
    retransmissions: 0,
    hedges: 0,
    tampered: 0,
    repairs: 0,
    writeBacks: 0,
    resolves: 0,
    partsRepeated: 0,
    helped: 0,
    backOffs: 0,
  };
  readonly members: CallMembers;
  readonly #options: CallClientOptions;
  readonly #calls: CallSlots;
  readonly #attempts: CallAttempts;
  readonly #pulls: CallPartsPulls;
  /** Of the answer at hand, when its call was to bring a version. */
  readonly ended: EndedStamp = {
    counter: 0,
    writerHigh: 0,
    writerLow: 0,
    rmw: 0,
    hasValue: false,
  };
  /** The value of the answer at hand. */
  readonly #value = allocateRegion(DATAGRAM_BYTES_MAX);
  #nowMs = 0;
  #closed = false;

  constructor(options: CallClientOptions) {
    this.#options = options;
    const capacity = Math.min(options.capacity, CALL_SLOTS_MAX);
    this.#calls = new CallSlots(capacity, options.memory);
    const { links, messenger, firstChoice, memory, pullBytesMax } = options;
    this.members = new CallMembers({
      links,
      messenger,
      firstChoice,
      slotCount: capacity,
      activeMask: () => options.activeMask(),
      onOpen: () => this.#attempts.sendWaiting(),
      onLost: (member, stream) => this.#attempts.onStreamLost(member, stream),
    });
    const { members, counters } = this;
    const calls = this.#calls;
    this.#pulls = new CallPartsPulls(calls, members, memory, messenger, counters, pullBytesMax);
    this.#attempts = new CallAttempts({
      calls,
      members,
      memberCount: links.length,
      messenger,
      counters,
      pulls: this.#pulls,
      onDeadline: (slot) => this.#giveUp(slot, 'deadline'),
      end: (slot, outcome) => this.#end(slot, outcome, 0),
    });
  }

  get active(): number {
    return this.#calls.active;
  }

  get capacity(): number {
    return this.#calls.capacity;
  }

  // -- starting and ending ----------------------------------------------------------------------------------------

  /** Starts a call; its id, or -1 when table or memory is full. Key and value are copied. */
  startGet(token: number, key: Uint8Array, deadlineMs: number, nowMs: number, withVersion = false): number {
    const kind = withVersion ? CALL_GET_WITH_VERSION : CALL_GET;
    return this.#start(kind, token, key, NO_VALUE, undefined, deadlineMs, nowMs);
  }

  startPut(token: number, key: Uint8Array, value: Uint8Array, deadlineMs: number, nowMs: number): number {
    return this.#start(CALL_PUT, token, key, value, undefined, deadlineMs, nowMs);
  }

  startDelete(token: number, key: Uint8Array, deadlineMs: number, nowMs: number): number {
    return this.#start(CALL_DELETE, token, key, NO_VALUE, undefined, deadlineMs, nowMs);
  }

  startRmw(token: number, key: Uint8Array, request: RmwRequest, deadlineMs: number, nowMs: number): number {
    return this.#start(CALL_RMW, token, key, request.value, request, deadlineMs, nowMs);
  }

  #start(
    kind: number,
    token: number,
    key: Uint8Array,
    value: Uint8Array,
    request: RmwRequest | undefined,
    deadlineMs: number,
    nowMs: number,
  ): number {
    assert(Number.isFinite(deadlineMs), 'a call has a deadline');
    this.#setTime(nowMs);
    if (this.#closed) return -1;
    const slot = this.#calls.take(kind, token, key, value, request, deadlineMs);
    if (slot === -1) return -1;
    this.#attempts.send(slot, 0);
    return this.#operationId(slot);
  }

  #setTime(nowMs: number): void {
    this.#nowMs = nowMs;
    this.#calls.nowMs = nowMs;
    this.#attempts.nowMs = nowMs;
  }

  #operationId(slot: number): number {
    return this.#calls.serial[slot]! * OPERATION_SLOTS_MAX + slot;
  }

  /** Ends a call at the caller's wish; without effect when it has ended. */
  cancel(operationId: number): void {
    const slot = operationId % OPERATION_SLOTS_MAX;
    if (slot < this.capacity && this.#operationId(slot) === operationId) this.#giveUp(slot, 'aborted');
  }

  /** Ends every call; no other is started any more. */
  close(): void {
    this.#closed = true;
    for (let slot = 0; slot < this.capacity; slot++) this.#giveUp(slot, 'closed');
  }

  /** Deadline, cancellation, close: a write that was sent may still take effect, or have taken it. */
  #giveUp(slot: number, reason: 'deadline' | 'aborted' | 'closed'): void {
    const calls = this.#calls;
    if (!calls.isTaken(slot)) return;
    this.#end(slot, !isReadOnly(calls.kind[slot]!) && calls.isSent(slot) ? 'outcome-unknown' : reason, 0);
  }

  #end(slot: number, outcome: Outcome, valueBytes: number): void {
    const token = this.#release(slot);
    // Last of all: the sink may start calls.
    this.#options.sink.onOperationEnded(token, outcome, this.#value.bytes, valueBytes);
  }

  #release(slot: number): number {
    this.#attempts.stop(slot);
    this.#calls.release(slot);
    return this.#calls.token[slot]!;
  }

  /** With a value that came by parts. */
  #endPulled(slot: number): void {
    const { memory, sink } = this.#options;
    const { ref, bytes, ended } = this.#pulls.take(slot);
    Object.assign(this.ended, ended);
    sink.onOperationEnded(this.#release(slot), 'ok', bytes, bytes.length);
    memory.free(ref);
  }

  // -- the turn ---------------------------------------------------------------------------------------------------

  /** When tick() is to be called next; Infinity when nothing is under way. */
  get nextTickMs(): number {
    return this.#attempts.nextDueMs;
  }

  /** Repetitions and deadlines that are due. */
  tick(nowMs: number): void {
    this.#setTime(nowMs);
    this.members.tick(nowMs);
    this.#attempts.tick(nowMs);
  }

  // -- answers ----------------------------------------------------------------------------------------------------

  onSessionLive(session: Session<Peer>): void {
    this.members.onSessionLive(session);
    this.#attempts.onSession(session.peer.identity.memberIndex);
  }

  onMessages(incoming: Incoming<Peer>, nowMs: number): void {
    this.#setTime(nowMs);
    const { words } = incoming.region;
    const { wordEnd, valueWordEnd, session } = incoming;
    const member = session.peer.identity.memberIndex;
    this.members.onHeard(member, nowMs);
    let { word, valueWord } = incoming;
    while (word < wordEnd) {
      const byteCount = messageBytes(words, word, wordEnd, (valueWordEnd - valueWord) * 4);
      if (byteCount < 0) return this.#options.drops.count('malformed');
      const type = typeOf(words, word);
      if (type === MESSAGE_CALL_REPLY) this.#onReply(member, words, word);
      else if (type === MESSAGE_CALL_REPLY_PART) this.#onReplyPart(member, words, word);
      else if (type === MESSAGE_WRITE_PROGRESS) this.#onProgress(member, words, word);
      else if (type === MESSAGE_CALL_OPENED) this.members.onOpened(session, words, word, nowMs);
      else this.#options.onOtherMessage(incoming, word);
      valueWord += alignUp(messageEnvelopeBytes(words, word)) >> 2;
      word += byteCount >> 2;
    }
  }

  /** The slot of an answer; -1 when it is of a call that is over, or of nobody who was called. */
  #slotOfAnswer(member: number, words: Int32Array, word: number): number {
    const calls = this.#calls;
    const slot = slotOf(words, word);
    const isExpected =
      slot < calls.capacity && calls.generation[slot] === words[word + 1] && this.#attempts.isCalled(slot, member);
    if (isExpected) return slot;
    this.#options.drops.count('late-answer');
    return -1;
  }

  #onReply(member: number, words: Int32Array, word: number): void {
    const calls = this.#calls;
    const slot = this.#slotOfAnswer(member, words, word);
    if (slot === -1) return;
    const outcome = CALL_OUTCOMES[flagsOf(words, word)];
    if (outcome === undefined) return this.#options.drops.count('malformed');
    // Nothing else was sent first: what answers that has made one round trip, though the call was repeated meanwhile.
    if (words[word + WORD_CALL_REPLY_ATTEMPT] === 0) this.members.onAnswer(member, calls.firstMs, slot);
    switch (endingOf(outcome)) {
      case 'answer':
        return this.#onAnswer(slot, member, outcome as Answer, words, word);
      case 'stream-unknown':
        // It may be of a call that was sent before, in a stream that was lost before.
        if (words[word + WORD_CALL_REPLY_STREAM]! >>> 0 === this.members.streamOf(member)) this.members.lose(member);
        return;
      case 'not-done':
        return this.#attempts.onNotDone(slot, member);
      case 'over':
        return this.#end(slot, outcome as Outcome, 0);
    }
  }

  #onAnswer(slot: number, member: number, outcome: Answer, words: Int32Array, word: number): void {
    const isWhole = readReplyVersion(words, word, this.ended) || !wantsVersion(this.#calls.kind[slot]!);
    if (!isWhole) return this.#options.drops.count('malformed');
    if (readAnswerNumber(words, word) !== 0) return this.#pull(slot, member, words, word);
    const valueBytes = words[word + WORD_CALL_REPLY_VALUE_BYTES]!;
    copyPadded(this.#value.words, 0, words, word + (callReplyHeadBytes(words, word) >> 2), valueBytes);
    this.#end(slot, outcome, valueBytes);
  }

  /** The answer to a get is too large for a datagram. */
  #pull(slot: number, member: number, words: Int32Array, word: number): void {
    if (!isReadOnly(this.#calls.kind[slot]!)) return this.#options.drops.count('malformed');
    if (this.#pulls.has(slot)) return this.#options.drops.count('late-answer');
    if (!this.#pulls.begin(slot, member, words, word)) return this.#attempts.onNotDone(slot, member);
    this.#attempts.waitForPulled(slot);
  }

  #onReplyPart(member: number, words: Int32Array, word: number): void {
    const slot = this.#slotOfAnswer(member, words, word);
    if (slot === -1) return;
    switch (this.#pulls.onPart(slot, member, words, word, this.#nowMs)) {
      case 'whole':
        return this.#endPulled(slot);
      case 'taken':
        return this.#attempts.waitForPulled(slot);
      case 'gone':
        return this.#attempts.sendAnew(slot, 0);
      case 'late':
        return this.#options.drops.count('late-answer');
      case 'malformed':
        return this.#options.drops.count('malformed');
    }
  }

  #onProgress(member: number, words: Int32Array, word: number): void {
    const slot = this.#slotOfAnswer(member, words, word);
    if (slot !== -1 && !this.#attempts.onProgress(slot, member, words, word)) this.#options.drops.count('late-answer');
  }

  invariants(): void {
    this.#calls.invariants();
    this.#attempts.invariants();
  }
}

const NO_VALUE = new Uint8Array(0);
