import { MESSAGE_ACCEPT, MESSAGE_ACCEPTED, MESSAGE_COMMIT } from '../../src/protocol/rmw-messages.ts';
import type { Dice } from './dice.ts';
import type { Message } from './messages-seen.ts';
import { MESSAGE_NAMES, isOfReadModifyWrite } from './messages-seen.ts';
import type { Plan } from './plan.ts';

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
type ChangeSchedule = Plan['changeSchedule'];
const CHANGE_TYPES = Object.keys(MESSAGE_NAMES).map(Number).filter(isOfReadModifyWrite);
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

  /**
   * Kinds of messages of read-modify-writes that are slow or lost on their way to one place or another, beside what there is.
   *
   * @param clients Places of clients: one of them is the one that starves.
   */
  disturbChanges(dice: Dice, how: ChangeSchedule, replicas: readonly string[], clients: readonly string[]): void {
    const set = (name: string): void => void this.#byName.set(name, drawBias(dice));
    switch (how) {
      case 'even':
        return;
      case 'late commits':
        for (const place of replicas) if (dice.chance(0.6)) set(`type ${MESSAGE_COMMIT} to ${place}`);
        // Its proposals are helped, and it learns of that late.
        if (dice.chance(0.5))
          this.#byName.set(`from ${dice.pick(clients)}`, { loss: 0, delayMs: dice.pick([1, 3, 8]) });
        return;
      case 'lagging':
        // Who has accepted is not who gets to know what was decided, and who proposed does not hear of it.
        for (const place of replicas) {
          if (dice.chance(0.4)) this.#byName.set(`type ${MESSAGE_ACCEPT} to ${place}`, { loss: 1, delayMs: 0 });
          if (dice.chance(0.6)) this.#byName.set(`type ${MESSAGE_COMMIT} to ${place}`, { loss: 1, delayMs: 0 });
        }
        if (dice.chance(0.5))
          this.#byName.set(`type ${MESSAGE_ACCEPTED} to ${dice.pick(clients)}`, { loss: 1, delayMs: 0 });
        return;
      case 'lost accepts':
        for (const place of replicas) if (dice.chance(0.6)) set(`type ${MESSAGE_ACCEPT} to ${place}`);
        if (dice.chance(0.3)) set(`type ${MESSAGE_ACCEPTED}`);
        return;
      case 'one starved': {
        const starved = dice.pick(clients);
        this.#byName.set(`from ${starved}`, { loss: 0, delayMs: dice.pick([2, 5, 10]) });
        this.#byName.set(`to ${starved}`, { loss: 0, delayMs: dice.pick([0.5, 2, 5]) });
        return;
      }
      case 'any':
        for (const type of CHANGE_TYPES) {
          if (dice.chance(0.25)) set(`type ${type}`);
          if (dice.chance(0.4)) set(`type ${type} to ${dice.pick([...replicas, ...clients])}`);
        }
    }
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
