import { assert } from '../../net/assert.ts';
import type { DropCounters } from '../../net/drops.ts';
import type { Session } from '../../net/session.ts';
import { STAMP_COUNTER_MAX } from '../stamp.ts';
import { FLAG_ASK, ceilingOf, greatestOf, sendCounters } from './counters-message.ts';
import { flagsOf } from './message-fields.ts';
import type { Messenger } from './messenger.ts';
import type { Peer } from './peer.ts';

/**
 * Keeps one client from using the counters of stamps up. There are 2^53, and a write takes one more than the greatest of its
 * key; but who may write can name any. So a replica takes no counter above its **ceiling**, whoever brings it: WRITE, by
 * parts too, write-back, ACCEPT, COMMIT. Numbers of ballots (PREPARE, ACCEPT) are counters to it, too.
 *
 *     ceiling   rises with time, by COUNTER_STEP_MAX a second, to COUNTER_STEP_MAX above the greatest counter known
 *     refused   is counted and not answered: for its coordinator that is a loss, and it sends again. Meanwhile the replica asks
 *               the others; and the ceiling rises towards what was refused, in case nobody is left to be asked
 *     COUNTERS  replicas tell each other greatest and ceiling, once a second and when they are asked; both are taken over
 *
 * Invariant: no counter in the store is above the ceiling, and the greatest ceiling of all replicas rises by at most a step
 * a second of the fastest of their clocks. (Of each, ceiling - step * time never grows by itself; and whoever takes over
 * what another said hears of it later than it was so.) 2^53 last for 272 years. Legitimate counters rise by one for a write, far
 * less than a step a second; so a ceiling is met by poisoned keys only, by those who write them next, and by a replica that
 * was away. The first are let in within milliseconds, the last by the answer of another.
 */
/** A million writes a second: more than all clients of a cluster do. */
export const COUNTER_STEP_MAX = 2 ** 20;
const SECOND_MS = 1_000;
/** What is told is late by a round trip; more often is of use only to who is refused something, and asks. */
const TELL_INTERVAL_MS = SECOND_MS;
/** A round trip between replicas, and some: so often are they asked while something is refused. */
const ASK_INTERVAL_MS = 10;
/** Coordinators send again sooner. Who has given up is waited for no longer. */
const WANTED_MS = SECOND_MS;

export interface CounterGuardOptions {
  readonly messenger: Messenger;
  readonly drops: DropCounters;
  /** Whether this replica belongs to an instance: what it takes and tells counts. */
  isActive(): boolean;
  /** Sessions with the other replicas that can be sent on now. */
  peerSessions(): Iterable<Session<Peer>>;
}

export class CounterGuard {
  readonly #options: CounterGuardOptions;
  /** Taken here, or told by another replica. */
  #greatest = 0;
  #ceiling = COUNTER_STEP_MAX;
  /** The greatest that was refused lately, and when. */
  #wanted = 0;
  #wantedMs = -Infinity;
  #nowMs = -Infinity;
  #toldMs = -Infinity;
  #askedMs = -Infinity;
  #isAskDue = false;

  constructor(options: CounterGuardOptions) {
    this.#options = options;
  }

  /** The greatest counter known. */
  get greatest(): number {
    return this.#greatest;
  }

  /** The greatest counter that is taken now. */
  get ceiling(): number {
    return this.#ceiling;
  }

  /** Whether a stamp with this counter is taken; if not, that was counted. */
  takes(counter: number): boolean {
    if (counter > this.#ceiling) return this.#refuse(counter);
    if (counter > this.#greatest) this.#greatest = counter;
    return true;
  }

  #refuse(counter: number): false {
    this.#options.drops.count('counter-too-far');
    this.#wanted = Math.max(this.#wanted, counter);
    this.#wantedMs = this.#nowMs;
    this.#isAskDue = true;
    return false;
  }

  /** COUNTERS, from whomever: replicas only are believed. */
  onCounters(session: Session<Peer>, messenger: Messenger, words: Int32Array, word: number): void {
    if (session.peer.identity.role !== 'replica') return this.#options.drops.count('unexpected-message');
    this.#ceiling = Math.max(this.#ceiling, ceilingOf(words, word));
    this.#greatest = Math.max(this.#greatest, Math.min(greatestOf(words, word), this.#ceiling));
    if ((flagsOf(words, word) & FLAG_ASK) !== 0) this.#tell(session, messenger, 0);
  }

  /** When the messages of a turn have been handled. */
  tick(nowMs: number): void {
    if (!this.#options.isActive()) return;
    const asks = this.#isAskDue && nowMs - this.#askedMs >= ASK_INTERVAL_MS;
    if (!asks && nowMs - this.#toldMs < TELL_INTERVAL_MS) return;
    this.#toldMs = nowMs;
    if (asks) {
      this.#askedMs = nowMs;
      this.#isAskDue = false;
    }
    const { messenger } = this.#options;
    for (const session of this.#options.peerSessions()) this.#tell(session, messenger, asks ? FLAG_ASK : 0);
  }

  /**
   * First of all in a turn: what is heard in it was so before it, and must not rise by the time before. Time in which the
   * process stood still gives one step only.
   */
  begin(nowMs: number): void {
    const elapsedMs = Math.min(Math.max(0, nowMs - this.#nowMs), SECOND_MS);
    this.#nowMs = nowMs;
    if (nowMs - this.#wantedMs > WANTED_MS) this.#wanted = 0;
    const target = Math.max(this.#greatest + COUNTER_STEP_MAX, this.#wanted);
    if (target <= this.#ceiling) return;
    const risen = this.#ceiling + Math.floor((COUNTER_STEP_MAX * elapsedMs) / SECOND_MS);
    this.#ceiling = Math.min(target, risen, STAMP_COUNTER_MAX);
  }

  #tell(session: Session<Peer>, messenger: Messenger, flags: number): void {
    sendCounters(messenger, session, flags, this.#greatest, this.#ceiling);
  }

  invariants(): void {
    assert(this.#greatest <= this.#ceiling, 'no counter above the ceiling is known');
    assert(this.#ceiling <= STAMP_COUNTER_MAX, 'the ceiling is a counter');
  }
}
