import { RttEstimator } from '../../net/rtt.ts';

/** Ten doublings are over the longest time-out whatever it was (net/rtt.ts). */
const BACK_OFF_MAX = 10;

/**
 * What all transfers by parts to one peer have in common: how long a part takes, so when a word of it is overdue, and how
 * many of them the peer keeps memory for.
 *
 * A part takes longer than a small message: others are before it in the peer's receive buffer. So its time-outs are learned
 * from parts.
 */
export class PartPeer {
  /** Transfers of which something has been sent, and not all acknowledged. */
  openCount = 0;
  readonly #rtt = new RttEstimator();
  /** Time-outs that passed before it was heard, kept until a round trip is taken (RFC 6298, 5.5 to 5.7). */
  #backOff = 0;
  readonly #messageRtoMs: ((attempt: number) => number) | undefined;

  /** @param messageRtoMs Of small messages to it, while nothing is known of parts. Left out: nothing is known of those either. */
  constructor(messageRtoMs?: (attempt: number) => number) {
    this.#messageRtoMs = messageRtoMs;
  }

  /** @param attempt Time-outs in a row without a word. */
  rtoMs(attempt: number): number {
    const doublings = attempt + this.#backOff;
    if (this.#rtt.isSampled || this.#messageRtoMs === undefined) return this.#rtt.rtoMs(doublings);
    return this.#messageRtoMs(doublings);
  }

  /** A part was acknowledged, or came, so long after it was sent or asked for, once. */
  sample(partMs: number): void {
    this.#rtt.sample(partMs);
    this.#backOff = 0;
  }

  /** It has said a word, after so many time-outs in a row without one. */
  onHeard(attempt: number): void {
    this.#backOff = Math.max(this.#backOff, Math.min(attempt, BACK_OFF_MAX));
  }
}
