import type { Random } from '../random.ts';

/**
 * One direction of a bad network: what comes in is dropped, doubled, changed, delayed, overtaken, or passed on. What
 * happens to the nth datagram depends on the present conditions and on the nth draws of the random source only, so that
 * a seed repeats it as far as the traffic itself repeats.
 */
export interface Conditions {
  /** Shares of datagrams, 0 to 1. */
  readonly loss: number;
  readonly duplicate: number;
  readonly reorder: number;
  readonly corrupt: number;
  /** For each datagram. */
  readonly delayMs: number;
}

export const CALM: Conditions = { loss: 0, duplicate: 0, reorder: 0, corrupt: 0, delayMs: 0 };

/** What became of datagrams; one can be in several. */
export interface ChannelCounters {
  received: number;
  /** By loss, and what was held when the channel closed. */
  dropped: number;
  duplicated: number;
  /** Those that were overtaken by a later one. */
  reordered: number;
  /** Late copies of duplicates not among them. */
  delayed: number;
  corrupted: number;
  /** Dropped because too many were held already, as by a router's queue, or their senders were too many. */
  overflowed: number;
}

export function noCounts(): ChannelCounters {
  return { received: 0, dropped: 0, duplicated: 0, reordered: 0, delayed: 0, corrupted: 0, overflowed: 0 };
}

export interface ChannelOptions {
  /** Asked for each datagram. */
  readonly conditions: () => Conditions;
  readonly random: Random;
  /** May be shared by channels. */
  readonly counters: ChannelCounters;
  deliver(datagram: Uint8Array): void;
}

/** Datagrams of 16,640 bytes at most, on loopback: 33 MiB. */
const HELD_MAX = 2_048;
/** A late copy comes after its answer, and after retransmissions. */
export const DUPLICATE_AFTER_MS_MAX = 20;
/** Datagrams by which one is overtaken. */
export const OVERTAKEN_BY_MAX = 8;
/** Where nothing comes to overtake it, it goes on: above the floor of retransmission, so that something comes. */
const OVERTAKEN_AFTER_MS = 10;

/** Waits to be overtaken. */
interface Waiting {
  readonly datagram: Uint8Array;
  left: number;
  overtaken: boolean;
  readonly timer: NodeJS.Timeout;
}

export class FaultyChannel {
  readonly #options: ChannelOptions;
  readonly #waiting = new Set<Waiting>();
  /** Of delayed datagrams. */
  readonly #timers = new Set<NodeJS.Timeout>();
  #closed = false;

  constructor(options: ChannelOptions) {
    this.#options = options;
  }

  /** The datagram is the channel's from now on. */
  pass(datagram: Uint8Array): void {
    const { random, counters } = this.#options;
    const conditions = this.#options.conditions();
    counters.received++;
    // Always as many draws, so that the conditions don't shift the luck of what follows.
    const isLost = random.nextDouble() < conditions.loss;
    const isDuplicated = random.nextDouble() < conditions.duplicate;
    const duplicateAfterMs = Math.ceil(random.nextDouble() * DUPLICATE_AFTER_MS_MAX);
    const first = this.#fateOf(conditions);
    const second = this.#fateOf(conditions);
    if (isLost) {
      counters.dropped++;
      return;
    }
    if (conditions.delayMs > 0) counters.delayed++;
    this.#route(datagram, first, conditions.delayMs);
    if (!isDuplicated) return;
    counters.duplicated++;
    this.#route(datagram, second, conditions.delayMs + duplicateAfterMs);
  }

  /** Drops what is held. */
  close(): void {
    this.#closed = true;
    this.#options.counters.dropped += this.#timers.size + this.#waiting.size;
    for (const timer of this.#timers) clearTimeout(timer);
    for (const { timer } of this.#waiting) clearTimeout(timer);
    this.#timers.clear();
    this.#waiting.clear();
  }

  #fateOf(conditions: Conditions): Fate {
    const { random } = this.#options;
    const isCorrupted = random.nextDouble() < conditions.corrupt;
    const place = random.nextDouble();
    const difference = 1 + Math.floor(random.nextDouble() * 255);
    const isReordered = random.nextDouble() < conditions.reorder;
    const overtakenBy = 1 + Math.floor(random.nextDouble() * OVERTAKEN_BY_MAX);
    return { isCorrupted, place, difference, overtakenBy: isReordered ? overtakenBy : 0 };
  }

  #route(datagram: Uint8Array, fate: Fate, delayMs: number): void {
    const { counters } = this.#options;
    let content = datagram;
    if (fate.isCorrupted && datagram.length > 0) {
      counters.corrupted++;
      content = new Uint8Array(datagram);
      content[Math.floor(fate.place * content.length)]! ^= fate.difference;
    }
    if (delayMs === 0) {
      this.#leave(content, fate.overtakenBy);
      return;
    }
    if (!this.#hasRoom()) return;
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      this.#leave(content, fate.overtakenBy);
    }, delayMs);
    this.#timers.add(timer);
  }

  #leave(datagram: Uint8Array, overtakenBy: number): void {
    if (overtakenBy === 0) {
      this.#deliver(datagram);
      return;
    }
    if (!this.#hasRoom()) return;
    const waiting: Waiting = {
      datagram,
      left: overtakenBy,
      overtaken: false,
      timer: setTimeout(() => this.#release(waiting), OVERTAKEN_AFTER_MS),
    };
    this.#waiting.add(waiting);
  }

  #deliver(datagram: Uint8Array): void {
    if (this.#closed) return;
    this.#options.deliver(datagram);
    for (const waiting of this.#waiting) {
      waiting.overtaken = true;
      if (--waiting.left === 0) this.#release(waiting);
    }
  }

  /** It overtakes no one itself: those that wait came before it, or later and are overtaken by others. */
  #release(waiting: Waiting): void {
    clearTimeout(waiting.timer);
    this.#waiting.delete(waiting);
    if (waiting.overtaken) this.#options.counters.reordered++;
    this.#options.deliver(waiting.datagram);
  }

  #hasRoom(): boolean {
    if (this.#timers.size + this.#waiting.size < HELD_MAX) return true;
    this.#options.counters.overflowed++;
    return false;
  }
}

/** Drawn for each copy of a datagram. */
interface Fate {
  readonly isCorrupted: boolean;
  /** Of the changed byte, as a share of the length. */
  readonly place: number;
  /** By which it is changed; never 0. */
  readonly difference: number;
  /** 0: not held. */
  readonly overtakenBy: number;
}
