import { assert } from '../../net/assert.ts';
import { alignUp, copyWords } from '../../net/bytes.ts';
import { WORD_CALL_REPLY_VALUE_BYTES } from '../protocol/call-messages.ts';
import {
  CALL_PULL_BYTES,
  CALL_REPLY_PART_BYTES,
  MESSAGE_CALL_PULL,
  WORD_PULL_ANSWER,
  WORD_PULL_BYTES,
  WORD_PULL_OFFSET,
  WORD_PULL_STREAM,
  WORD_REPLY_PART_ANSWER,
  WORD_REPLY_PART_BYTES,
  WORD_REPLY_PART_OFFSET,
} from '../protocol/call-part-messages.ts';
import { FLAG_GONE, flagsOf, writeHead } from '../protocol/messages.ts';
import type { Messenger } from '../protocol/messenger.ts';
import type { EndedStamp } from '../protocol/outcome.ts';
import type { PullCounters } from '../protocol/part-pulls.ts';
import { PartPulls } from '../protocol/part-pulls.ts';
import type { HostMemory } from '../store/host-memory.ts';
import { NO_REF } from '../store/host-memory.ts';
import type { CallMembers } from './call-members.ts';
import { readAnswerNumber, readReplyVersion } from './call-reply.ts';
import type { CallSlots } from './call-slots.ts';

/**
 * Answers that are larger than a datagram: the reply to a get says that there is one, and it is pulled by parts
 * (part-pulls.ts) from the replica that said so. It is named by a number that no other answer of that replica has.
 */
interface Pull {
  readonly member: number;
  readonly answerNumber: number;
  readonly ref: number;
  readonly valueBytes: number;
  readonly ended: EndedStamp;
  /** Time-outs in a row. */
  attempt: number;
  /** Where the part begins that is timed, which was asked for once, and when; NOT_TIMED: none is. */
  timedOffset: number;
  timedMs: number;
  /** Bytes that were asked for at least once. */
  askedBytes: number;
}

/** A value that is there, in a block that is its taker's to give back. */
export interface PulledValue {
  readonly ref: number;
  readonly bytes: Uint8Array;
  readonly ended: EndedStamp;
}

/** Silence for so many time-outs in a row, each twice as long: the get begins again, perhaps elsewhere. */
const ATTEMPTS_MAX = 4;
const NOT_TIMED = -1;

/** What a CALL_REPLY_PART says: the value is there; or more is to come; or it is not kept any more; or nothing new. */
export type PullVerdict = 'whole' | 'taken' | 'gone' | 'late' | 'malformed';

export class CallPartsPulls {
  readonly #calls: CallSlots;
  readonly #members: CallMembers;
  readonly #memory: HostMemory;
  readonly #messenger: Messenger;
  readonly #parts: PartPulls;
  readonly #bySlot: (Pull | undefined)[];
  #nowMs = 0;

  /** @param windowBytesMax Of the process's receive buffer. */
  constructor(
    calls: CallSlots,
    members: CallMembers,
    memory: HostMemory,
    messenger: Messenger,
    counters: PullCounters,
    windowBytesMax: number,
  ) {
    this.#calls = calls;
    this.#members = members;
    this.#memory = memory;
    this.#messenger = messenger;
    this.#bySlot = Array.from<Pull | undefined>({ length: calls.capacity });
    this.#parts = new PartPulls(calls.capacity, windowBytesMax, counters, (slot, byteOffset, byteCount) =>
      this.#ask(slot, byteOffset, byteCount),
    );
  }

  has(slot: number): boolean {
    return this.#bySlot[slot] !== undefined;
  }

  memberOf(slot: number): number {
    return this.#bySlot[slot]!.member;
  }

  /** From a CALL_REPLY that has the number of an answer. False when there is no memory for it, or no session. */
  begin(slot: number, member: number, words: Int32Array, word: number): boolean {
    const valueBytes = words[word + WORD_CALL_REPLY_VALUE_BYTES]!;
    const session = this.#members.session(member);
    const partBytes = session === undefined ? 0 : this.#messenger.valueBytesMax(session, CALL_REPLY_PART_BYTES);
    if (!PartPulls.canTell(valueBytes, partBytes)) return false;
    const ref = this.#memory.allocate(alignUp(valueBytes));
    if (ref === NO_REF) return false;
    const ended: EndedStamp = { counter: 0, writerHigh: 0, writerLow: 0, rmw: 0, hasValue: true };
    readReplyVersion(words, word, ended);
    const answerNumber = readAnswerNumber(words, word);
    this.#bySlot[slot] = {
      member,
      answerNumber,
      ref,
      valueBytes,
      ended,
      attempt: 0,
      timedOffset: NOT_TIMED,
      timedMs: 0,
      askedBytes: 0,
    };
    this.#parts.begin(slot, valueBytes, partBytes);
    return true;
  }

  onPart(slot: number, member: number, words: Int32Array, word: number, nowMs: number): PullVerdict {
    const pull = this.#bySlot[slot];
    if (pull === undefined || pull.member !== member) return 'late';
    if (pull.answerNumber !== words[word + WORD_REPLY_PART_ANSWER]! >>> 0) return 'late';
    if ((flagsOf(words, word) & FLAG_GONE) !== 0) return 'gone';
    const byteOffset = words[word + WORD_REPLY_PART_OFFSET]! >>> 0;
    const byteCount = words[word + WORD_REPLY_PART_BYTES]!;
    const verdict = this.#parts.onPart(slot, byteOffset, byteCount);
    if (verdict === 'late' || verdict === 'malformed') return verdict;
    const { words: target } = this.#memory.region(pull.ref);
    const targetWord = this.#memory.wordOffset(pull.ref) + (byteOffset >> 2);
    copyWords(target, targetWord, words, word + CALL_REPLY_PART_BYTES / 4, alignUp(byteCount) >> 2);
    if (pull.timedOffset === byteOffset) {
      this.#members.partPeer(member).sample(nowMs - pull.timedMs);
      pull.timedOffset = NOT_TIMED;
    }
    pull.attempt = 0;
    return verdict;
  }

  /** Nothing has come for a time-out. False when that has been so for too often. */
  onSilence(slot: number): boolean {
    const pull = this.#bySlot[slot]!;
    pull.timedOffset = NOT_TIMED;
    if (++pull.attempt > ATTEMPTS_MAX) return false;
    this.#parts.onSilence(slot, pull.attempt === 1);
    return true;
  }

  rtoMs(slot: number): number {
    const { member, attempt } = this.#bySlot[slot]!;
    return this.#members.partPeer(member).rtoMs(attempt);
  }

  /** The value of a slot that is whole. The replica is told that it need not be kept; if that is lost, time tells. */
  take(slot: number): PulledValue {
    const { ref, valueBytes, ended } = this.#bySlot[slot]!;
    this.#ask(slot, 0, 0);
    this.#parts.stop(slot);
    this.#bySlot[slot] = undefined;
    const start = this.#memory.wordOffset(ref) * 4;
    return { ref, bytes: this.#memory.region(ref).bytes.subarray(start, start + valueBytes), ended };
  }

  stop(slot: number): void {
    const pull = this.#bySlot[slot];
    if (pull === undefined) return;
    this.#parts.stop(slot);
    this.#memory.free(pull.ref);
    this.#bySlot[slot] = undefined;
  }

  pump(nowMs: number): void {
    this.#nowMs = nowMs;
    this.#parts.pump(nowMs);
  }

  #ask(slot: number, byteOffset: number, byteCount: number): boolean {
    const pull = this.#bySlot[slot]!;
    const { member, answerNumber } = pull;
    const session = this.#members.session(member);
    if (session === undefined || !this.#messenger.append(session, CALL_PULL_BYTES, 0, true)) return false;
    const { words } = this.#messenger.out.control;
    const { word } = this.#messenger.out;
    writeHead(words, word, MESSAGE_CALL_PULL, 0, slot, this.#calls.generation[slot]!);
    words[word + WORD_PULL_STREAM] = this.#members.streamOf(member);
    words[word + WORD_PULL_ANSWER] = answerNumber;
    words[word + WORD_PULL_OFFSET] = byteOffset;
    words[word + WORD_PULL_BYTES] = byteCount;
    // Asked for twice: nobody knows which of both is answered (Karn's rule).
    if (pull.timedOffset === byteOffset) pull.timedOffset = NOT_TIMED;
    // Parts are asked for in turn: what lies behind all others is asked for the first time.
    if (pull.timedOffset === NOT_TIMED && byteOffset >= pull.askedBytes) {
      pull.timedOffset = byteOffset;
      pull.timedMs = this.#nowMs;
    }
    pull.askedBytes = Math.max(pull.askedBytes, byteOffset + byteCount);
    return true;
  }

  invariants(): void {
    this.#parts.invariants((slot) => this.has(slot));
    for (let slot = 0; slot < this.#bySlot.length; slot++) {
      if (this.has(slot)) assert(this.#calls.isSent(slot) && this.#parts.has(slot), 'who pulls was answered');
    }
  }
}
