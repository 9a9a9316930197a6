import { assert } from '../../net/assert.ts';
import { CALL_BYTES, CALL_PUT, NO_STREAM, isReadOnly } from '../protocol/call-messages.ts';
import type { CoordinatorCounters } from '../protocol/coordinator.ts';
import type { Messenger } from '../protocol/messenger.ts';
import type { Outcome } from '../protocol/outcome.ts';
import { hasMember } from '../protocol/quorum.ts';
import { TimerWheel } from '../protocol/timer-wheel.ts';
import type { CallMembers } from './call-members.ts';
import type { CallPartsPulls } from './call-parts-pulls.ts';
import { CallPartsSender } from './call-parts-sender.ts';
import type { CallSlots } from './call-slots.ts';

/** Sends calls, again and elsewhere, by the rules of call-client.ts, until they are answered or given up. */

/** The session takes nothing now: its flight or the send slots are full, which answers make room in. */
const SEND_AGAIN_MS = 2;
/** Nobody can be called now. A stream that opens ends the wait. */
const LOOK_AGAIN_MS = 50;
/**
 * However long calls have taken of late, after so long a replica that has said nothing to this client since is called for
 * nothing else, and another one is asked for a get.
 */
const PATIENCE_MS_MAX = 200;
/** All replicas are busy: the first wait, which doubles with each further one. */
const BUSY_MS_MIN = 2;
const BUSY_DOUBLINGS_MAX = 6;
const ATTEMPTS_MAX = 255;
/** Time-outs in a row, each twice as long, without a word of what goes by parts: it begins anew elsewhere. */
const SILENT_ATTEMPTS = 5;

export interface CallAttemptsOptions {
  readonly calls: CallSlots;
  readonly members: CallMembers;
  readonly memberCount: number;
  readonly messenger: Messenger;
  readonly counters: CoordinatorCounters;
  readonly pulls: CallPartsPulls;
  onDeadline(slot: number): void;
  end(slot: number, outcome: Outcome): void;
}

export class CallAttempts {
  readonly #options: CallAttemptsOptions;
  readonly #calls: CallSlots;
  readonly #members: CallMembers;
  readonly #pulls: CallPartsPulls;
  readonly #sender: CallPartsSender;
  readonly #timers: TimerWheel;
  #nowMs = 0;
  readonly #fire = (slot: number): void => this.#onTimer(slot);

  constructor(options: CallAttemptsOptions) {
    this.#options = options;
    const { calls, members, memberCount, messenger, counters } = options;
    this.#calls = calls;
    this.#members = members;
    this.#pulls = options.pulls;
    this.#sender = new CallPartsSender(calls, members, memberCount, messenger, counters, (slot, member) =>
      this.#onSent(slot, member),
    );
    this.#timers = new TimerWheel(calls.capacity);
  }

  /** Time of the turn. */
  set nowMs(nowMs: number) {
    this.#nowMs = nowMs;
  }

  get nextDueMs(): number {
    return this.#timers.nextDueMs;
  }

  /** Nothing more is sent of the call. */
  stop(slot: number): void {
    this.#timers.clear(slot);
    this.#sender.stop(slot);
    this.#pulls.stop(slot);
  }

  // -- sending ----------------------------------------------------------------------------------------------------

  /** Calls a replica for the first time, or anew: nothing that was sent before can be carried out any more. */
  send(slot: number, excluded: number): void {
    const calls = this.#calls;
    assert(!calls.isSent(slot) && !this.#sender.has(slot), 'a call is with one replica, unless it is a get');
    const member = this.#members.choose(excluded);
    if (member === -1) return this.#wait(slot, LOOK_AGAIN_MS);
    if (this.#goesByParts(slot, member)) return this.#sendByParts(slot, member);
    if (!this.#call(slot, member)) return this.#wait(slot, SEND_AGAIN_MS);
    calls.firstMs[slot] = this.#nowMs;
    calls.sentMs[slot] = this.#nowMs;
    this.#wait(slot, Math.min(this.#members.rtoMs(member, 0), PATIENCE_MS_MAX));
  }

  /** Read-modify-writes do not: those that are larger are refused before they are started. */
  #goesByParts(slot: number, member: number): boolean {
    const calls = this.#calls;
    if (calls.kind[slot] !== CALL_PUT) return false;
    const session = this.#members.session(member)!;
    return !this.#options.messenger.fits(session, CALL_BYTES + calls.bodyBytes(slot), 0);
  }

  #sendByParts(slot: number, member: number): void {
    // Not as if it came at once: how long it takes says nothing of other calls.
    this.#calls.attempt[slot] = 1;
    this.#sender.begin(slot, member, this.#nowMs);
    this.#waitForParts(slot);
  }

  /** The replica has the call, or may have: the last of its parts is on its way. */
  #onSent(slot: number, member: number): void {
    const calls = this.#calls;
    calls.asked[slot]! |= 1 << member;
    calls.member[slot] = member;
    calls.stream[slot] = this.#members.streamOf(member);
    calls.sentMs[slot] = this.#nowMs;
  }

  /** False when the session takes nothing now. */
  #call(slot: number, member: number): boolean {
    const calls = this.#calls;
    const { messenger } = this.#options;
    const session = this.#members.session(member);
    const stream = this.#members.streamOf(member);
    const bodyBytes = calls.bodyBytes(slot);
    if (session === undefined || stream === NO_STREAM || !messenger.append(session, CALL_BYTES + bodyBytes, 0))
      return false;
    const { out } = messenger;
    calls.write(slot, out.control.words, out.word, stream);
    calls.asked[slot]! |= 1 << member;
    calls.member[slot] = member;
    calls.stream[slot] = stream;
    return true;
  }

  /** Until the call is looked at again; until the deadline at the longest. */
  #wait(slot: number, waitMs: number): void {
    // Whole, as the wheel makes it: a fraction would be passed as an object on the heap.
    this.#timers.set(slot, Math.ceil(Math.min(this.#nowMs + waitMs, this.#calls.deadlineMs[slot]!)));
  }

  /** A replica can be called again. */
  sendWaiting(): void {
    const calls = this.#calls;
    for (let slot = 0; slot < calls.capacity; slot++) {
      if (calls.isTaken(slot) && !calls.isSent(slot) && !this.#sender.has(slot)) this.send(slot, 0);
    }
  }

  /** Under another generation: what was sent before can't be carried out any more, or does not matter. */
  sendAnew(slot: number, excluded: number): void {
    this.#renew(slot);
    this.send(slot, excluded);
  }

  #renew(slot: number): void {
    this.#sender.stop(slot);
    this.#pulls.stop(slot);
    this.#calls.renew(slot);
  }

  // -- the turn ---------------------------------------------------------------------------------------------------

  tick(nowMs: number): void {
    this.#nowMs = nowMs;
    this.#timers.advance(nowMs, this.#fire);
    this.#sender.pump(nowMs);
    this.#pulls.pump(nowMs);
  }

  #onTimer(slot: number): void {
    const calls = this.#calls;
    if (this.#nowMs >= calls.deadlineMs[slot]!) return this.#options.onDeadline(slot);
    if (this.#pulls.has(slot)) return this.#onPullTimer(slot);
    if (this.#sender.isMoving(slot)) return this.#onPartsTimer(slot);
    if (!calls.isSent(slot)) return this.send(slot, 0);
    const member = calls.member[slot]!;
    this.#members.onOverdue(member, calls.sentMs[slot]!);
    const isGet = isReadOnly(calls.kind[slot]!);
    const leftMs = calls.sentMs[slot]! + this.#members.rtoMs(member, 0) - this.#nowMs;
    // A replica that answers others works on it: many large values take longer than patience lasts.
    const isWaitedFor = !isGet || !this.#members.isSilent(member);
    if (isWaitedFor && calls.attempt[slot] === 0 && leftMs > 0) return this.#wait(slot, leftMs);
    calls.attempt[slot] = Math.min(calls.attempt[slot]! + 1, ATTEMPTS_MAX);
    if (isGet && this.#askAnother(slot)) return;
    // The same call to the same replica: it is carried out once.
    const isAsked = this.#sender.has(slot) ? this.#sender.ask(slot) : this.#call(slot, member);
    if (isAsked) this.#options.counters.retransmissions++;
    this.#wait(slot, this.#members.rtoMs(member, calls.attempt[slot]!));
  }

  /** A get has no effect, so another replica may be asked for it as well. */
  #askAnother(slot: number): boolean {
    const calls = this.#calls;
    const member = this.#members.choose(calls.asked[slot]!);
    if (member === -1 || !this.#call(slot, member)) return false;
    this.#options.counters.hedges++;
    calls.sentMs[slot] = this.#nowMs;
    this.#wait(slot, Math.min(this.#members.rtoMs(member, 0), PATIENCE_MS_MAX));
    return true;
  }

  // -- parts ------------------------------------------------------------------------------------------------------

  #onPartsTimer(slot: number): void {
    const member = this.#sender.memberOf(slot);
    const heardMs = this.#sender.heardMs(slot);
    if (this.#sender.onSilence(slot, this.#nowMs)) this.#members.onOverdue(member, heardMs);
    const silentMs = this.#nowMs - Math.max(this.#members.heardMs(member), this.#sender.beganMs(slot));
    const isSilent = silentMs >= PATIENCE_MS_MAX || this.#sender.attempt(slot) >= SILENT_ATTEMPTS;
    // As long as some part was never sent there the call can't have begun.
    const mayMove = isSilent && !this.#calls.isSent(slot);
    if (mayMove && this.#members.choose(1 << member) !== -1) return this.sendAnew(slot, 1 << member);
    this.#waitForParts(slot);
  }

  #waitForParts(slot: number): void {
    this.#wait(slot, this.#sender.rtoMs(slot));
  }

  #onPullTimer(slot: number): void {
    const member = this.#pulls.memberOf(slot);
    if (this.#pulls.onSilence(slot)) return this.waitForPulled(slot);
    // Whatever else it answers: its parts do not come.
    this.#members.onOverdue(member, Infinity);
    this.sendAnew(slot, 1 << member);
  }

  waitForPulled(slot: number): void {
    this.#wait(slot, this.#pulls.rtoMs(slot));
  }

  /** A session has come, whose datagrams may have another size. */
  onSession(member: number): void {
    this.#sender.onSession(member);
  }

  // -- what replicas say ------------------------------------------------------------------------------------------

  /** The member was sent the call, or parts of it, in its present generation. */
  isCalled(slot: number, member: number): boolean {
    return hasMember(this.#calls.asked[slot]!, member) || this.#sender.memberOf(slot) === member;
  }

  /** A replica says which parts of a call it has. False when that answers nothing. */
  onProgress(slot: number, member: number, words: Int32Array, word: number): boolean {
    const calls = this.#calls;
    if (!this.#sender.onProgress(slot, member, words, word, this.#nowMs)) return false;
    if (this.#sender.isMoving(slot)) this.#waitForParts(slot);
    else {
      // It has had all of it: from now on its answer is waited for.
      calls.sentMs[slot] = this.#nowMs;
      this.#wait(slot, this.#members.rtoMs(member, 0));
    }
    return true;
  }

  /** The replica has not carried it out and never will under this generation: it may be called again, or another one. */
  onNotDone(slot: number, member: number): void {
    const calls = this.#calls;
    calls.asked[slot]! &= ~(1 << member);
    // A get that was sent to others as well.
    if (calls.isSent(slot)) return;
    this.#renew(slot);
    calls.busy[slot]! |= 1 << member;
    if (this.#members.choose(calls.busy[slot]!) !== -1) return this.send(slot, calls.busy[slot]!);
    calls.busy[slot] = 0;
    const waitMs = BUSY_MS_MIN << Math.min(calls.busyCount[slot]!, BUSY_DOUBLINGS_MAX);
    calls.busyCount[slot] = Math.min(calls.busyCount[slot]! + 1, 255);
    this.#wait(slot, waitMs);
  }

  /** What the member was asked for in this stream is beyond its knowledge. */
  onStreamLost(member: number, stream: number): void {
    const calls = this.#calls;
    for (let slot = 0; slot < calls.capacity; slot++) {
      if (!calls.isTaken(slot) || !this.isCalled(slot, member)) continue;
      const isAsked = hasMember(calls.asked[slot]!, member);
      if (isAsked && !isReadOnly(calls.kind[slot]!)) {
        assert(calls.stream[slot] === stream, 'a write ends with its stream');
        this.#options.end(slot, 'outcome-unknown');
        continue;
      }
      // A get; or a put of which some part was never sent.
      calls.asked[slot]! &= ~(1 << member);
      const isPulling = this.#pulls.has(slot) && this.#pulls.memberOf(slot) === member;
      if (!calls.isSent(slot) || isPulling) this.sendAnew(slot, 0);
    }
  }

  invariants(): void {
    this.#timers.invariants();
    this.#sender.invariants();
    this.#pulls.invariants();
  }
}
