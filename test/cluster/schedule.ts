import type { Dice } from './dice.ts';
import type { Message } from './messages-seen.ts';
import { MESSAGE_NAMES } from './messages-seen.ts';

/**
 * Biased schedules: uniform random delays seldom make the orders that matter, so a run draws who and what is slow or
 * lost for a while, by sender, receiver and kind of message, and draws again later.
 */
export interface Bias {
  /** Added to the weather, probability and milliseconds. */
  readonly loss: number;
  readonly delayMs: number;
}

const NO_BIAS: Bias = { loss: 0, delayMs: 0 };
const TYPES = Object.keys(MESSAGE_NAMES).map(Number);

export class Schedule {
  readonly #byName = new Map<string, Bias>();

  /** @param places Names of processes' addresses. */
  static draw(dice: Dice, places: readonly string[], strength: 'mild' | 'strong'): Schedule {
    const schedule = new Schedule();
    const share = strength === 'mild' ? 0.12 : 0.3;
    for (const place of places) {
      for (const way of ['from', 'to'])
        if (dice.chance(share / 2)) schedule.#byName.set(`${way} ${place}`, drawBias(dice));
    }
    for (const type of TYPES) {
      if (dice.chance(share)) schedule.#byName.set(`type ${type}`, drawBias(dice));
      // One kind to one place: the rarest orders need nothing else to be slow.
      if (dice.chance(share)) schedule.#byName.set(`type ${type} to ${dice.pick(places)}`, drawBias(dice));
    }
    return schedule;
  }

  /** So many messages of a type are lost, whatever was drawn. */
  lose(type: number, loss: number): void {
    this.#byName.set(`type ${type}`, { loss, delayMs: 0 });
  }

  describe(): string {
    const texts = [...this.#byName].map(([name, { loss, delayMs }]) =>
      loss > 0 ? `${name} lost ${loss}` : `${name} late by up to ${delayMs} ms`,
    );
    return texts.join(', ') || 'even';
  }

  /** The strongest of what applies. */
  of(from: string, to: string, messages: readonly Message[]): Bias {
    if (this.#byName.size === 0) return NO_BIAS;
    let { loss, delayMs } = NO_BIAS;
    const apply = (name: string): void => {
      const bias = this.#byName.get(name);
      if (bias === undefined) return;
      loss = Math.max(loss, bias.loss);
      delayMs = Math.max(delayMs, bias.delayMs);
    };
    apply(`from ${from}`);
    apply(`to ${to}`);
    for (const { type } of messages) {
      apply(`type ${type}`);
      apply(`type ${type} to ${to}`);
    }
    return { loss, delayMs };
  }
}

function drawBias(dice: Dice): Bias {
  const isLost = dice.chance(0.4);
  return { loss: isLost ? dice.pick([0.3, 0.7, 1]) : 0, delayMs: isLost ? 0 : dice.pick([0.5, 2, 10]) };
}
