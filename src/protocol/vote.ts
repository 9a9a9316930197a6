import type { Instance } from './instance.ts';

/**
 * What a replica knows of the set that it voted for. The set is waited for as long as a member of it may be active, or
 * may yet become so: that one would need this member for its quorum.
 *
 * A member of the set is *gone* when another process has its place, or when it went on as another incarnation. The
 * first that is gone makes this one withdraw: it promises not to become active by votes, nor by the words of those that
 * it knows are gone. When all who are not gone have promised the same, nobody of the set is active, and nobody will be.
 */
export class Vote {
  readonly instance: Instance;
  readonly #memberIndex: number;
  /** Bits of members of the set that are gone, by this replica's own evidence. Only grows. */
  #goneMask = 0;
  /** What each member of the set gave as gone when it said that it had withdrawn; 0 when it has not. Only grow. */
  readonly #withdrawnMasks: number[];
  /** A member of the set voted for another one: not all can vote for this one any more. */
  #isRefused = false;

  constructor(instance: Instance, memberIndex: number) {
    this.instance = instance;
    this.#memberIndex = memberIndex;
    this.#withdrawnMasks = instance.incarnations.map(() => 0);
  }

  get goneMask(): number {
    return this.#goneMask;
  }

  get isWithdrawn(): boolean {
    return this.#goneMask !== 0;
  }

  /** Whether this is news. */
  onGone(member: number): boolean {
    const before = this.#goneMask;
    this.#goneMask |= 1 << member;
    return this.#goneMask !== before;
  }

  /** @param goneMask 0 when the member has not withdrawn. */
  onVoteOf(member: number, incarnation: string, instanceId: string, goneMask: number): void {
    // Of an incarnation that is not in the set it can't be told whether it came before or after the one that is.
    if (this.instance.incarnations[member] !== incarnation) return;
    if (instanceId !== this.instance.id) this.#isRefused = true;
    else this.#withdrawnMasks[member]! |= goneMask;
  }

  /** True when nobody is active in this set, and nobody can become so. */
  isOver(): boolean {
    if (this.#isRefused) return true;
    if (!this.isWithdrawn) return false;
    return this.#withdrawnMasks.every((mask, member) => {
      const isSettled = member === this.#memberIndex || (this.#goneMask & (1 << member)) !== 0;
      return isSettled || (mask & this.#goneMask) === this.#goneMask;
    });
  }
}
