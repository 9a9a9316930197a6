import type { Dice } from './dice.ts';
import type { SimulatedTime } from './simulated-time.ts';

/** Oscillators of servers are some 50 ppm off; a thousand times that makes minutes tell what takes years. */
const DRIFT_MAX = 0.05;
const START_MS_MAX = 1e6;

/**
 * The clocks of a process. Clocks of different machines neither agree nor run at the same pace. The product reads
 * time from performance.now(), which is monotonic (CLOCK_MONOTONIC): it may drift, and jump forwards when a virtual
 * machine was stopped, and it never goes back. The wall clock, which only dates of certificates are compared with, goes
 * where it is set to.
 */
export class SimulatedClock {
  /** Unix time as this process sees it, less the true one. */
  wallOffsetSeconds = 0;
  readonly #time: SimulatedTime;
  #sinceMs: number;
  #atSinceMs: number;
  #rate: number;

  constructor(time: SimulatedTime, dice: Dice) {
    this.#time = time;
    this.#sinceMs = time.nowMs;
    this.#atSinceMs = dice.between(0, START_MS_MAX);
    this.#rate = dice.between(1 - DRIFT_MAX, 1 + DRIFT_MAX);
  }

  get nowMs(): number {
    return this.#atSinceMs + (this.#time.nowMs - this.#sinceMs) * this.#rate;
  }

  get wallSeconds(): number {
    return this.#time.nowMs / 1_000 + this.wallOffsetSeconds;
  }

  jump(forwardMs: number): void {
    this.#rebase(this.nowMs + forwardMs);
  }

  drift(dice: Dice): void {
    this.#rebase(this.nowMs);
    this.#rate = dice.between(1 - DRIFT_MAX, 1 + DRIFT_MAX);
  }

  #rebase(nowMs: number): void {
    this.#atSinceMs = nowMs;
    this.#sinceMs = this.#time.nowMs;
  }
}
