import { assert } from '../../net/assert.ts';
import { alignUp, allocateRegion, copyPadded } from '../../net/bytes.ts';
import type { DropCounters } from '../../net/drops.ts';
import type { Incoming } from '../../net/inbox.ts';
import { DATAGRAM_BYTES_MAX } from '../../net/limits.ts';
import type { Session } from '../../net/session.ts';
import {
  CALL_BYTES,
  CALL_DELETE,
  CALL_GET,
  CALL_GET_WITH_VERSION,
  CALL_PUT,
  CALL_RMW,
  CALL_SLOTS_MAX,
  MESSAGE_CALL_OPENED,
  MESSAGE_CALL_REPLY,
  NO_STREAM,
  WORD_CALL_REPLY_ATTEMPT,
  WORD_CALL_REPLY_STREAM,
  WORD_CALL_REPLY_VALUE_BYTES,
  callReplyHeadBytes,
  isReadOnly,
  wantsVersion,
} from '../protocol/call-messages.ts';
import type { CoordinatorCounters } from '../protocol/coordinator.ts';
import {
  OPERATION_SLOTS_MAX,
  flagsOf,
  messageBytes,
  messageEnvelopeBytes,
  slotOf,
  typeOf,
} from '../protocol/messages.ts';
import type { Messenger } from '../protocol/messenger.ts';
import type { EndedStamp, OperationSink, Outcome } from '../protocol/outcome.ts';
import type { RmwRequest } from '../protocol/rmw-request.ts';
import type { Peer } from '../protocol/peer.ts';
import { hasMember } from '../protocol/quorum.ts';
import { TimerWheel } from '../protocol/timer-wheel.ts';
import type { HostMemory } from '../store/host-memory.ts';
import { CALL_OUTCOMES } from './call-outcome.ts';
import { readReplyVersion } from './call-reply.ts';
import type { CallMembersOptions } from './call-members.ts';
import { CallMembers } from './call-members.ts';
import { CallSlots } from './call-slots.ts';

/**
 * A client's side of the coordinated route, a pure state machine: it asks one replica for an operation and repeats the
 * call until there is an answer, or the deadline.
 *
 *     waiting   nothing was sent that could still be carried out: any replica may be called
 *     sent      get: others are called, too, when the answer is overdue; the first answer counts
 *               all else: only the replica that has the call may carry it out. It is repeated there, and ends
 *               outcome-unknown when the replica can't say what became of it (deadline, another incarnation)
 *
 * A write never moves to another replica once it may have begun: under two stamps readers could see it, another value,
 * and it again.
 */
export interface CallClientOptions extends Pick<CallMembersOptions, 'links' | 'firstChoice' | 'activeMask'> {
  /** Calls at once; at most CALL_SLOTS_MAX. */
  readonly capacity: number;
  /** Keys and values of calls under way. */
  readonly memory: HostMemory;
  readonly messenger: Messenger;
  readonly drops: DropCounters;
  readonly sink: OperationSink;
  /** A message that answers no call. */
  onOtherMessage(incoming: Incoming<Peer>, word: number): void;
}

/** The session takes nothing now: its flight or the send slots are full, which answers make room in. */
const SEND_AGAIN_MS = 2;
/** Nobody can be called now. A stream that opens ends the wait. */
const LOOK_AGAIN_MS = 50;
/**
 * However long calls have taken of late, after so long another replica is asked for a get, and one that has said nothing
 * to anybody is called for nothing else.
 */
const PATIENCE_MS_MAX = 200;
/** All replicas are busy: the first wait, which doubles with each further one. */
const BUSY_MS_MIN = 2;
const BUSY_DOUBLINGS_MAX = 6;
const ATTEMPTS_MAX = 255;

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
  readonly #timers: TimerWheel;
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
  readonly #fire = (slot: number): void => this.#onTimer(slot);

  constructor(options: CallClientOptions) {
    this.#options = options;
    const capacity = Math.min(options.capacity, CALL_SLOTS_MAX);
    this.#calls = new CallSlots(capacity, options.memory);
    this.#timers = new TimerWheel(capacity);
    const { links, messenger, firstChoice } = options;
    this.members = new CallMembers({
      links,
      messenger,
      firstChoice,
      slotCount: capacity,
      activeMask: () => options.activeMask(),
      onOpen: () => this.#sendWaiting(),
      onLost: (member, stream) => this.#onStreamLost(member, stream),
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
    this.#nowMs = nowMs;
    if (this.#closed) return -1;
    const slot = this.#calls.take(kind, token, key, value, request, nowMs + deadlineMs);
    if (slot === -1) return -1;
    this.#send(slot, 0);
    return this.#operationId(slot);
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
    const token = this.#calls.token[slot]!;
    this.#timers.clear(slot);
    this.#calls.release(slot);
    // Last of all: the sink may start calls.
    this.#options.sink.onOperationEnded(token, outcome, this.#value.bytes, valueBytes);
  }

  // -- sending ----------------------------------------------------------------------------------------------------

  /** Calls a replica for the first time, or anew: nothing that was sent before can be carried out any more. */
  #send(slot: number, excluded: number): void {
    const calls = this.#calls;
    assert(!calls.isSent(slot), 'a call is with one replica, unless it is a get');
    const member = this.members.choose(excluded);
    if (member === -1) return this.#wait(slot, LOOK_AGAIN_MS);
    if (!this.#call(slot, member)) return this.#wait(slot, SEND_AGAIN_MS);
    calls.firstMs[slot] = this.#nowMs;
    calls.sentMs[slot] = this.#nowMs;
    this.#wait(slot, Math.min(this.members.rtoMs(member, 0), PATIENCE_MS_MAX));
  }

  /** False when the session takes nothing now. */
  #call(slot: number, member: number): boolean {
    const calls = this.#calls;
    const { messenger } = this.#options;
    const session = this.members.session(member);
    const stream = this.members.streamOf(member);
    const bodyBytes = calls.bodyBytes(slot);
    if (session === undefined || stream === NO_STREAM || !messenger.append(session, CALL_BYTES + bodyBytes, 0))
      return false;
    const { out } = messenger;
    calls.write(slot, out.control.words, out.word, stream, this.#nowMs);
    calls.asked[slot]! |= 1 << member;
    calls.member[slot] = member;
    calls.stream[slot] = stream;
    return true;
  }

  /** Until the call is looked at again; until the deadline at the longest. */
  #wait(slot: number, waitMs: number): void {
    this.#timers.set(slot, Math.min(this.#nowMs + waitMs, this.#calls.deadlineMs[slot]!));
  }

  /** A replica can be called again. */
  #sendWaiting(): void {
    for (let slot = 0; slot < this.capacity; slot++) {
      if (this.#calls.isTaken(slot) && !this.#calls.isSent(slot)) this.#send(slot, 0);
    }
  }

  // -- the turn ---------------------------------------------------------------------------------------------------

  /** When tick() is to be called next; Infinity when nothing is under way. */
  get nextTickMs(): number {
    return this.#timers.nextDueMs;
  }

  /** Repetitions and deadlines that are due. */
  tick(nowMs: number): void {
    this.#nowMs = nowMs;
    this.members.tick(nowMs);
    this.#timers.advance(nowMs, this.#fire);
  }

  #onTimer(slot: number): void {
    const calls = this.#calls;
    if (this.#nowMs >= calls.deadlineMs[slot]!) return this.#giveUp(slot, 'deadline');
    if (!calls.isSent(slot)) return this.#send(slot, 0);
    const member = calls.member[slot]!;
    this.members.onOverdue(member, calls.sentMs[slot]!);
    const isGet = isReadOnly(calls.kind[slot]!);
    const leftMs = calls.sentMs[slot]! + this.members.rtoMs(member, 0) - this.#nowMs;
    if (!isGet && calls.attempt[slot] === 0 && leftMs > 0) return this.#wait(slot, leftMs);
    calls.attempt[slot] = Math.min(calls.attempt[slot]! + 1, ATTEMPTS_MAX);
    if (isGet && this.#askAnother(slot)) return;
    // The same call to the same replica: it is carried out once.
    if (this.#call(slot, member)) this.counters.retransmissions++;
    this.#wait(slot, this.members.rtoMs(member, calls.attempt[slot]!));
  }

  /** A get has no effect, so another replica may be asked for it as well. */
  #askAnother(slot: number): boolean {
    const calls = this.#calls;
    const member = this.members.choose(calls.asked[slot]!);
    if (member === -1 || !this.#call(slot, member)) return false;
    this.counters.hedges++;
    calls.sentMs[slot] = this.#nowMs;
    this.#wait(slot, Math.min(this.members.rtoMs(member, 0), PATIENCE_MS_MAX));
    return true;
  }

  // -- answers ----------------------------------------------------------------------------------------------------

  onSessionLive(session: Session<Peer>): void {
    this.members.onSessionLive(session);
  }

  onMessages(incoming: Incoming<Peer>, nowMs: number): void {
    this.#nowMs = nowMs;
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
      else if (type === MESSAGE_CALL_OPENED) this.members.onOpened(session, words, word, nowMs);
      else this.#options.onOtherMessage(incoming, word);
      valueWord += alignUp(messageEnvelopeBytes(words, word)) >> 2;
      word += byteCount >> 2;
    }
  }

  #onReply(member: number, words: Int32Array, word: number): void {
    const calls = this.#calls;
    const slot = slotOf(words, word);
    if (
      slot >= calls.capacity ||
      calls.generation[slot] !== words[word + 1] ||
      !hasMember(calls.asked[slot]!, member)
    ) {
      return this.#options.drops.count('late-answer');
    }
    const outcome = CALL_OUTCOMES[flagsOf(words, word)];
    if (outcome === undefined) return this.#options.drops.count('malformed');
    // Nothing else was sent first: what answers that has made one round trip, though the call was repeated meanwhile.
    if (words[word + WORD_CALL_REPLY_ATTEMPT] === 0) this.members.onAnswer(member, this.#nowMs - calls.firstMs[slot]!);
    switch (outcome) {
      case 'ok':
      case 'absent':
      case 'mismatch': {
        const isWhole = readReplyVersion(words, word, this.ended) || !wantsVersion(calls.kind[slot]!);
        if (!isWhole) return this.#options.drops.count('malformed');
        const valueBytes = words[word + WORD_CALL_REPLY_VALUE_BYTES]!;
        copyPadded(this.#value.words, 0, words, word + (callReplyHeadBytes(words, word) >> 2), valueBytes);
        return this.#end(slot, outcome, valueBytes);
      }
      case 'stream-unknown':
        // It may be of a call that was sent before, in a stream that was lost before.
        if (words[word + WORD_CALL_REPLY_STREAM]! >>> 0 === this.members.streamOf(member)) this.members.lose(member);
        return;
      case 'busy':
      case 'closed':
      case 'deadline':
      case 'aborted':
        return this.#onNotDone(slot, member);
      case 'outcome-unknown':
      case 'trusted-memory-full':
      case 'host-memory-full':
      case 'unreadable':
      case 'too-large':
      case 'stamps-exhausted':
      case 'not-permitted':
      case 'not-an-integer':
      case 'overflow':
      case 'value-too-large':
      case 'done-too-large':
        return this.#end(slot, outcome, 0);
    }
  }

  /** The replica has not carried it out and never will under this generation: it may be called again, or another one. */
  #onNotDone(slot: number, member: number): void {
    const calls = this.#calls;
    calls.asked[slot]! &= ~(1 << member);
    // A get that was sent to others as well.
    if (calls.isSent(slot)) return;
    calls.renew(slot);
    calls.busy[slot]! |= 1 << member;
    if (this.members.choose(calls.busy[slot]!) !== -1) return this.#send(slot, calls.busy[slot]!);
    calls.busy[slot] = 0;
    const waitMs = BUSY_MS_MIN << Math.min(calls.busyCount[slot]!, BUSY_DOUBLINGS_MAX);
    calls.busyCount[slot] = Math.min(calls.busyCount[slot]! + 1, 255);
    this.#wait(slot, waitMs);
  }

  /** What the member was asked for in this stream is beyond its knowledge. */
  #onStreamLost(member: number, stream: number): void {
    const calls = this.#calls;
    for (let slot = 0; slot < this.capacity; slot++) {
      if (!calls.isTaken(slot) || !hasMember(calls.asked[slot]!, member)) continue;
      if (!isReadOnly(calls.kind[slot]!)) {
        assert(calls.stream[slot] === stream, 'a write ends with its stream');
        this.#end(slot, 'outcome-unknown', 0);
        continue;
      }
      calls.asked[slot]! &= ~(1 << member);
      if (calls.isSent(slot)) continue;
      calls.renew(slot);
      this.#send(slot, 0);
    }
  }

  invariants(): void {
    this.#timers.invariants();
    this.#calls.invariants();
  }
}

const NO_VALUE = new Uint8Array(0);
