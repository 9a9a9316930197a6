import { RttEstimator } from '../../net/rtt.ts';
import { hasMember, memberCountOf } from './quorum.ts';

/**
 * Which members to ask first, and how long to wait for them: round trips per member, who has gone silent, and the delay
 * after which the rest are asked as well (hedging; Dean and Barroso, "The Tail at Scale", 2013).
 */

/** A member this much slower than the fastest is asked only when it is needed. Load evens out among the others. */
const SLOWER_FACTOR = 2;
/** Round trips on one machine differ by loop turns of a millisecond or so: no reason to prefer one. */
const SLOWER_MS_MIN = 1;
/**
 * One operation in so many asks members whether they are near or not: else nobody would learn that one has become faster.
 * Rarer than one in a hundred, so that the 99th percentile does not see it.
 */
const ANY_MEMBER_INTERVAL = 256;
/** A silent member gets one extra request each so often, to see whether it is back. */
const PROBE_INTERVAL_MS = 50;

/** The hedge delay follows the 99th percentile of phase times: at most one request in a hundred is hedged. */
const HEDGE_QUANTILE = 0.99;
const HEDGE_FACTOR = 1.25;
const HEDGE_MS_MIN = 2;
const HEDGE_MS_MAX = 200;
/** From the smallest delay to the largest. */
const HEDGE_DOUBLINGS_MAX = 7;
/** Step of the quantile estimate, relative to it. */
const QUANTILE_STEP = 0.05;

const NOT_LOOKED_AT = -1;

export class MemberPicker {
  readonly #rtts: RttEstimator[];
  readonly #heardMs: Float64Array;
  #silentMask = 0;
  #turn = 0;
  /** Operations until one may ask any member. */
  #anyMemberIn = ANY_MEMBER_INTERVAL;
  /** The near ones among the members of #nearOf. */
  #near = 0;
  #nearOf = NOT_LOOKED_AT;
  #probedMs = 0;
  #phaseQuantileMs = 20;

  constructor(memberCount: number) {
    this.#rtts = Array.from({ length: memberCount }, () => new RttEstimator());
    this.#heardMs = new Float64Array(memberCount);
  }

  get silentMask(): number {
    return this.#silentMask;
  }

  onHeard(member: number, nowMs: number): void {
    this.#heardMs[member] = nowMs;
    this.#silentMask &= ~(1 << member);
  }

  heardSince(sinceMs: number): number {
    let mask = 0;
    for (let member = 0; member < this.#rtts.length; member++)
      if (this.#heardMs[member]! >= sinceMs) mask |= 1 << member;
    return mask;
  }

  /** Members that were heard within the time that their answers take. */
  answeringMask(nowMs: number): number {
    let mask = 0;
    for (let member = 0; member < this.#rtts.length; member++)
      if (nowMs - this.#heardMs[member]! <= this.#rtts[member]!.rtoMs(0)) mask |= 1 << member;
    return mask & ~this.#silentMask;
  }

  onRoundTrip(member: number, rttMs: number): void {
    this.#nearOf = NOT_LOOKED_AT;
    this.#rtts[member]!.sample(rttMs);
  }

  /** Answers of these members are overdue. Those that have said nothing since are silent. */
  onOverdue(mask: number, sinceMs: number): void {
    for (let member = 0; member < this.#rtts.length; member++) {
      if (hasMember(mask, member) && this.#heardMs[member]! < sinceMs) this.#silentMask |= 1 << member;
    }
  }

  /** A phase took so long until its quorum. Stochastic estimate of a quantile: up by q steps, down by 1-q. */
  onPhase(phaseMs: number): void {
    const step = this.#phaseQuantileMs * QUANTILE_STEP;
    this.#phaseQuantileMs += phaseMs > this.#phaseQuantileMs ? step * HEDGE_QUANTILE : -step * (1 - HEDGE_QUANTILE);
    this.#phaseQuantileMs = Math.min(HEDGE_MS_MAX, Math.max(HEDGE_MS_MIN / HEDGE_FACTOR, this.#phaseQuantileMs));
  }

  hedgeDelayMs(): number {
    return Math.min(HEDGE_MS_MAX, Math.max(HEDGE_MS_MIN, this.#phaseQuantileMs * HEDGE_FACTOR));
  }

  /** The longest time-out among the members, the silent left out. */
  rtoMs(mask: number, attempt: number): number {
    let rtoMs = 0;
    for (let member = 0; member < this.#rtts.length; member++) {
      if (hasMember(mask & ~this.#silentMask, member)) rtoMs = Math.max(rtoMs, this.#rtts[member]!.rtoMs(attempt));
    }
    return rtoMs > 0 ? rtoMs : Math.min(HEDGE_MS_MAX, HEDGE_MS_MIN * (1 << Math.min(attempt, HEDGE_DOUBLINGS_MAX)));
  }

  /**
   * The first member of the next pick(): the turn moves on with each operation, so that load spreads
   * (by operation, not by loop turn: measured ratio 0.81).
   */
  advanceTurn(): void {
    this.#turn = this.#turn + 1 === this.#rtts.length ? 0 : this.#turn + 1;
    this.#anyMemberIn = this.#anyMemberIn === 0 ? ANY_MEMBER_INTERVAL : this.#anyMemberIn - 1;
  }

  /**
   * `count` members of readyMask to ask first: not silent, near, in turn; fewer when there are not so many.
   * @param preferredMask Of them in any case those of these that are near.
   */
  pick(readyMask: number, count: number, preferredMask = 0): number {
    const answering = readyMask & ~this.#silentMask;
    const near = this.#nearMask(answering);
    let picked = near & preferredMask;
    if (this.#anyMemberIn !== 0) picked = this.#take(near, picked, count);
    if (memberCountOf(picked) < count) picked = this.#take(answering, picked, count);
    if (memberCountOf(picked) < count) picked = this.#take(readyMask, picked, count);
    return picked;
  }

  /** The member of the mask whose turn it is first: the one that sends the value. Mask must not be empty. */
  first(mask: number): number {
    const memberCount = this.#rtts.length;
    for (let i = 0; i < memberCount; i++) {
      const member = (this.#turn + i) % memberCount;
      if (hasMember(mask, member)) return member;
    }
    return -1;
  }

  /** Silent members that are due for a probe now, or 0. */
  probeMask(readyMask: number, nowMs: number): number {
    const silent = readyMask & this.#silentMask;
    if (silent === 0 || nowMs - this.#probedMs < PROBE_INTERVAL_MS) return 0;
    this.#probedMs = nowMs;
    return silent;
  }

  /** Looked at again with new round trips only, not for each operation. */
  #nearMask(mask: number): number {
    if (mask === this.#nearOf) return this.#near;
    this.#nearOf = mask;
    let bestMs = Infinity;
    for (let member = 0; member < this.#rtts.length; member++) {
      if (hasMember(mask, member)) bestMs = Math.min(bestMs, this.#rtts[member]!.srttMs);
    }
    const limitMs = Math.max(bestMs * SLOWER_FACTOR, bestMs + SLOWER_MS_MIN);
    let near = 0;
    for (let member = 0; member < this.#rtts.length; member++) {
      const rtt = this.#rtts[member]!;
      // Who was never asked may be as near as any.
      if (hasMember(mask, member) && (!rtt.isSampled || rtt.srttMs <= limitMs)) near |= 1 << member;
    }
    this.#near = near;
    return near;
  }

  /** Adds members of `from` to the mask, in turn, until it has `count`. */
  #take(from: number, mask: number, count: number): number {
    const memberCount = this.#rtts.length;
    let picked = mask;
    for (let i = 0; i < memberCount && memberCountOf(picked) < count; i++) {
      const member = (this.#turn + i) % memberCount;
      if (hasMember(from, member)) picked |= 1 << member;
    }
    return picked;
  }
}
