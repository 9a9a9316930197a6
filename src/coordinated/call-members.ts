import type { Link } from '../../net/link.ts';
import { RttEstimator } from '../../net/rtt.ts';
import type { Session } from '../../net/session.ts';
import {
  CALL_OPEN_BYTES,
  MESSAGE_CALL_OPEN,
  NO_STREAM,
  WORD_CALL_OPENED_STREAM,
  WORD_CALL_SLOTS,
} from '../protocol/call-messages.ts';
import { writeHead } from '../protocol/messages.ts';
import type { Messenger } from '../protocol/messenger.ts';
import { PartPeer } from '../protocol/part-peer.ts';
import type { Peer } from '../protocol/peer.ts';
import { hasMember } from '../protocol/quorum.ts';

/**
 * The members as a client of the coordinated route sees them: at which it has a stream, how far they are, which have gone
 * silent, and whom to call. It stays with one of the nearest until that fails; different clients begin with different
 * ones, so that the load spreads.
 */
export interface CallMembersOptions {
  readonly links: readonly Link<Peer>[];
  readonly messenger: Messenger;
  /** Calls at once that are asked for. */
  readonly slotCount: number;
  /** A random number: where this client begins to look for its replica. */
  readonly firstChoice: number;
  /** Members that are active in the pinned instance. */
  activeMask(): number;
  /** Calls can be sent to the member from now on. */
  onOpen(member: number): void;
  /** The member knows nothing of the calls of this stream any more. */
  onLost(member: number, stream: number): void;
}

/** CALL_OPEN is repeated so often; it also finds out whether a silent member is back. */
const OPEN_INTERVAL_MS = 100;
/** Farther than this beyond the nearest, a member is called only when there is no nearer one (as MemberPicker has it). */
const FARTHER_FACTOR = 2;
const FARTHER_MS_MIN = 1;
const NOBODY = -1;

export class CallMembers {
  readonly #options: CallMembersOptions;
  readonly #streams: Uint32Array;
  /** Of the CALL_OPEN that each stream is asked for with. */
  readonly #openGenerations: Int32Array;
  readonly #openSentMs: Float64Array;
  /** CALL_OPENs sent since the last answer: the answer to the only one is a round trip. */
  readonly #openAttempts: Int32Array;
  /** That the stream was opened with. */
  readonly #incarnations: (string | undefined)[];
  /** Of CALL_OPEN: how far a member is. And of calls, which are answered when the operation has ended. */
  readonly #distances: RttEstimator[];
  readonly #callTimes: RttEstimator[];
  /** Parts are acknowledged at once, while other parts are under way. */
  readonly #partPeers: readonly PartPeer[];
  readonly #heardMs: Float64Array;
  #silentMask = 0;
  #openMask = 0;
  #current = NOBODY;

  constructor(options: CallMembersOptions) {
    this.#options = options;
    const memberCount = options.links.length;
    this.#streams = new Uint32Array(memberCount);
    this.#openGenerations = new Int32Array(memberCount).fill(1);
    this.#openSentMs = new Float64Array(memberCount).fill(-Infinity);
    this.#openAttempts = new Int32Array(memberCount);
    this.#incarnations = options.links.map(() => undefined);
    this.#distances = options.links.map(() => new RttEstimator());
    this.#callTimes = options.links.map(() => new RttEstimator());
    this.#partPeers = options.links.map(() => new PartPeer());
    this.#heardMs = new Float64Array(memberCount).fill(-Infinity);
  }

  /** Members that can be called now. */
  get readyMask(): number {
    let mask = this.#openMask & this.#options.activeMask();
    for (let member = 0; member < this.#streams.length; member++) {
      if (this.#options.links[member]!.session === undefined) mask &= ~(1 << member);
    }
    return mask;
  }

  /** NO_STREAM when there is none. */
  streamOf(member: number): number {
    return this.#streams[member]!;
  }

  session(member: number): Session<Peer> | undefined {
    return this.#options.links[member]!.session;
  }

  rtoMs(member: number, attempt: number): number {
    return this.#callTimes[member]!.rtoMs(attempt);
  }

  /** What is known of parts that go to the member, or come from it. */
  partPeer(member: number): PartPeer {
    return this.#partPeers[member]!;
  }

  // -- whom to call -----------------------------------------------------------------------------------------------

  /** The member to call, none of `excluded`; -1 when there is none. */
  choose(excluded: number): number {
    const ready = this.readyMask & ~excluded;
    if (ready === 0) return NOBODY;
    const answering = ready & ~this.#silentMask;
    if (this.#current !== NOBODY && hasMember(answering, this.#current)) return this.#current;
    const member = this.#nearest(answering === 0 ? ready : answering);
    // One that is left out for a single call stays the one for the others.
    if (excluded === 0 || !this.#isUsable(this.#current)) this.#current = member;
    return member;
  }

  #isUsable(member: number): boolean {
    return member !== NOBODY && hasMember(this.readyMask & ~this.#silentMask, member);
  }

  /** One of the near ones of the mask, from the first choice on. */
  #nearest(mask: number): number {
    const memberCount = this.#streams.length;
    let bestMs = Infinity;
    for (let member = 0; member < memberCount; member++) {
      if (hasMember(mask, member)) bestMs = Math.min(bestMs, this.#distances[member]!.srttMs);
    }
    const limitMs = Math.max(bestMs * FARTHER_FACTOR, bestMs + FARTHER_MS_MIN);
    for (let i = 0; i < memberCount; i++) {
      const member = (this.#options.firstChoice + i) % memberCount;
      if (hasMember(mask, member) && this.#distances[member]!.srttMs <= limitMs) return member;
    }
    return NOBODY;
  }

  onHeard(member: number, nowMs: number): void {
    this.#heardMs[member] = nowMs;
    this.#silentMask &= ~(1 << member);
  }

  /** What was heard last is the answer to the call that was sent at sentMs[slot]. A difference would be passed as an object. */
  onAnswer(member: number, sentMs: Float64Array, slot: number): void {
    this.#callTimes[member]!.sample(this.#heardMs[member]! - sentMs[slot]!);
  }

  /** An answer is overdue. A member that has said nothing since it was asked is silent. */
  onOverdue(member: number, askedMs: number): void {
    if (this.#heardMs[member]! <= askedMs) this.#silentMask |= 1 << member;
  }

  /** An answer of it is overdue, and it has said nothing else. */
  isSilent(member: number): boolean {
    return hasMember(this.#silentMask, member);
  }

  /** When it last said anything to this client. */
  heardMs(member: number): number {
    return this.#heardMs[member]!;
  }

  // -- streams ----------------------------------------------------------------------------------------------------

  /** Another incarnation is another process: it knows nothing of what the one before was asked. */
  onSessionLive(session: Session<Peer>): void {
    const member = session.peer.identity.memberIndex;
    if (this.#streams[member] !== NO_STREAM && this.#incarnations[member] !== session.peer.incarnation) {
      this.lose(member);
    }
  }

  /** The stream is gone: another one is asked for. */
  lose(member: number): void {
    const stream = this.#streams[member]!;
    this.#streams[member] = NO_STREAM;
    this.#openMask &= ~(1 << member);
    this.#openGenerations[member]! += 1;
    this.#openAttempts[member] = 0;
    this.#openSentMs[member] = -Infinity;
    this.#options.onLost(member, stream);
  }

  onOpened(session: Session<Peer>, words: Int32Array, word: number, nowMs: number): void {
    const member = session.peer.identity.memberIndex;
    const stream = words[word + WORD_CALL_OPENED_STREAM]! >>> 0;
    if (words[word + 1] !== this.#openGenerations[member] || this.#streams[member] !== NO_STREAM) return;
    // It has no room, or isn't active: it is asked again.
    if (stream === NO_STREAM || session !== this.session(member)) return;
    if (this.#openAttempts[member] === 1) this.#distances[member]!.sample(nowMs - this.#openSentMs[member]!);
    this.#streams[member] = stream;
    this.#incarnations[member] = session.peer.incarnation;
    this.#openMask |= 1 << member;
    this.#options.onOpen(member);
  }

  /** To be called each turn. */
  tick(nowMs: number): void {
    const due = this.#options.activeMask() & (~this.#openMask | this.#silentMask);
    if (due === 0) return;
    for (let member = 0; member < this.#streams.length; member++) {
      if (hasMember(due, member) && nowMs - this.#openSentMs[member]! >= OPEN_INTERVAL_MS)
        this.#sendOpen(member, nowMs);
    }
  }

  #sendOpen(member: number, nowMs: number): void {
    const { messenger, slotCount } = this.#options;
    const session = this.session(member);
    if (session === undefined || !messenger.append(session, CALL_OPEN_BYTES, 0)) return;
    const { out } = messenger;
    writeHead(out.control.words, out.word, MESSAGE_CALL_OPEN, 0, 0, this.#openGenerations[member]!);
    out.control.words[out.word + WORD_CALL_SLOTS] = slotCount;
    out.control.words[out.word + WORD_CALL_SLOTS + 1] = 0;
    this.#openSentMs[member] = nowMs;
    this.#openAttempts[member]! += 1;
  }
}
