/**
 * Round-trip estimator and retransmission time-out (RFC 6298; granularity and floor as RFC 9002 6.2). Only answers to
 * messages sent once are samples (Karn's rule): the caller sees to that.
 */
/** Smoothing of RFC 6298, 2.3. */
const SRTT_GAIN = 1 / 8;
const RTTVAR_GAIN = 1 / 4;
const RTTVAR_FACTOR = 4;
/** RFC 9002, 6.2.2 starts at 333 ms; before the first sample half of that keeps a cold start brisk on LANs. */
const RTT_INITIAL_MS = 50;
/** kGranularity of RFC 9002, and the floor of the time-out: a loop turn under load takes about a millisecond. */
export const RTO_MS_MIN = 1;
export const RTO_MS_MAX = 1_000;
const DOUBLINGS_MAX = 10;

export class RttEstimator {
  #srttMs = 0;
  #rttvarMs = 0;
  #sampled = false;

  get isSampled(): boolean {
    return this.#sampled;
  }

  get srttMs(): number {
    return this.#sampled ? this.#srttMs : RTT_INITIAL_MS;
  }

  /** Time after which an unanswered message is sent again; `attempt` 0 is the first sending, each further one doubles. */
  rtoMs(attempt: number): number {
    const base = this.#sampled
      ? this.#srttMs + Math.max(RTO_MS_MIN, RTTVAR_FACTOR * this.#rttvarMs)
      : RTT_INITIAL_MS * 3;
    // Shifting, as 2 ** attempt showed in profiles; over the maximum after ten doublings anyway.
    return Math.min(RTO_MS_MAX, Math.max(RTO_MS_MIN, base) * (1 << Math.min(attempt, DOUBLINGS_MAX)));
  }

  sample(rttMs: number): void {
    if (!this.#sampled) {
      this.#sampled = true;
      this.#srttMs = rttMs;
      this.#rttvarMs = rttMs / 2;
      return;
    }
    this.#rttvarMs += RTTVAR_GAIN * (Math.abs(this.#srttMs - rttMs) - this.#rttvarMs);
    this.#srttMs += SRTT_GAIN * (rttMs - this.#srttMs);
  }
}
