import type { Coverage } from './coverage.ts';
import type { Fault } from './coverage-names.ts';
import type { Dice } from './dice.ts';
import { forgeryOf } from './forgeries.ts';
import type { Message } from './messages-seen.ts';
import { Schedule } from './schedule.ts';
import type { SimulatedTime } from './simulated-time.ts';

/** What the network does to datagrams at present; probabilities are of a datagram. */
export interface Weather {
  readonly loss: number;
  readonly duplicate: number;
  /** A bit flipped, or the end cut off. */
  readonly corrupt: number;
  /** An old datagram is sent once more, from and to where it went before. */
  readonly replay: number;
  /** Bytes that nobody sent, under the sender's address. */
  readonly forge: number;
  /** A copy with a field of the header altered (forgeries.ts), or under another address. */
  readonly alter: number;
  readonly delayMsMin: number;
  readonly delayMsMax: number;
  /** Held back for longer, and so overtaken by later ones. */
  readonly late: number;
  readonly lateMsMax: number;
  /** From this datagram on, itself included, its link loses everything for a while. */
  readonly outage: number;
  readonly outageMsMax: number;
  /** From this datagram on its link holds everything back for a while, and then lets all of it go at once. */
  readonly clog: number;
  readonly clogMsMax: number;
}

/** What a link adds to the weather in one direction. */
export interface LinkWeather {
  readonly loss: number;
  readonly delayMsMax: number;
}

export const CALM: Weather = {
  loss: 0,
  duplicate: 0,
  corrupt: 0,
  replay: 0,
  forge: 0,
  alter: 0,
  delayMsMin: 0.05,
  delayMsMax: 0.2,
  late: 0,
  lateMsMax: 0,
  outage: 0,
  outageMsMax: 0,
  clog: 0,
  clogMsMax: 0,
};

export interface Receiver {
  /** @param messages What it carries, as its sender sealed it; for the world's eyes, not the process's. */
  onArrival(datagram: Uint8Array, fromHost: string, fromPort: number, messages: readonly Message[]): void;
}

interface Sent {
  readonly datagram: Uint8Array;
  readonly from: Address;
  readonly to: Address;
  readonly messages: readonly Message[];
}

export interface Address {
  readonly host: string;
  readonly port: number;
}

/** Datagrams kept to be replayed. */
const KEPT_COUNT = 256;
const FORGED_BYTES_MAX = 300;
/** Where nobody is; RFC 5737. Port 0 is what a sender that takes no answers says (RFC 768). */
const ELSEWHERE: readonly Address[] = [
  { host: '192.0.2.1', port: 4_000 },
  { host: '192.0.2.1', port: 0 },
];
const NO_MESSAGES: readonly Message[] = [];
const NO_SCHEDULE = new Schedule();

/** A network that loses, repeats, reorders, delays, holds back, corrupts and forges datagrams, as the dice fall. */
export class LossyNetwork {
  weather: Weather = CALM;
  /** Who and what is slow or lost at present. */
  schedule: Schedule = NO_SCHEDULE;
  /** Told of each datagram before it is sent: to whoever makes trouble, and to whoever looks on. */
  onSend: (from: Address) => void = () => {};
  onPassing: (from: Address, to: Address, datagram: Uint8Array, messages: readonly Message[]) => void = () => {};
  /** What became of a datagram, when it is anything but delivered in time. */
  onFate: (
    sent: { readonly from: Address; readonly to: Address; readonly datagram: Uint8Array },
    fate: string,
  ) => void = () => {};
  readonly #time: SimulatedTime;
  readonly #dice: Dice;
  readonly #coverage: Coverage | undefined;
  readonly #receivers = new Map<string, Receiver>();
  /** By direction: "from>to". */
  readonly #links = new Map<string, LinkWeather>();
  readonly #outageEndsMs = new Map<string, number>();
  readonly #clogEndsMs = new Map<string, number>();
  readonly #kept: Sent[] = [];

  constructor(time: SimulatedTime, dice: Dice, coverage?: Coverage) {
    this.#time = time;
    this.#dice = dice;
    this.#coverage = coverage;
  }

  attach(address: Address, receiver: Receiver): void {
    this.#receivers.set(nameOf(address), receiver);
  }

  /** Without effect when somebody else is there by now. */
  detach(address: Address, receiver: Receiver): void {
    if (this.#receivers.get(nameOf(address)) === receiver) this.#receivers.delete(nameOf(address));
  }

  /** One direction only. A loss of 1 is a partition. */
  setLink(from: Address, to: Address, weather: LinkWeather): void {
    this.#links.set(directionOf(from, to), weather);
  }

  /** One direction loses everything for so long. */
  interrupt(from: Address, to: Address, durationMs: number): void {
    this.#outageEndsMs.set(directionOf(from, to), this.#time.nowMs + durationMs);
  }

  /** One direction holds everything back for so long, and then lets all of it go at once. */
  clog(from: Address, to: Address, durationMs: number): void {
    this.#clogEndsMs.set(directionOf(from, to), this.#time.nowMs + durationMs);
  }

  clearLinks(): void {
    this.#links.clear();
  }

  /** Nothing is lost, late or harmed from now on. What is on its way stays late. */
  calm(): void {
    this.weather = CALM;
    this.schedule = NO_SCHEDULE;
    this.#links.clear();
    this.#outageEndsMs.clear();
    this.#clogEndsMs.clear();
  }

  /** The bytes are copied. */
  send(datagram: Uint8Array, from: Address, to: Address, messages = NO_MESSAGES): void {
    const dice = this.#dice;
    const { weather } = this;
    this.onSend(from);
    this.onPassing(from, to, datagram, messages);
    const sent = { datagram: Uint8Array.from(datagram), from, to, messages };
    if (weather.replay > 0) this.#keep(sent);
    if (dice.chance(weather.replay)) this.#transmit(this.#fated(dice.pick(this.#kept), 'replayed'));
    if (dice.chance(weather.forge)) {
      // Multiples of 8 get past the first check.
      const made = dice.bytes(8 * dice.integer(0, FORGED_BYTES_MAX / 8));
      this.#transmit(this.#fated({ datagram: made, from, to, messages: NO_MESSAGES }, 'random bytes'));
    }
    if (dice.chance(weather.alter)) this.#alter(sent);
    if (dice.chance(weather.duplicate)) this.#transmit(this.#fated(sent, 'duplicated'));
    if (dice.chance(weather.loss)) this.#fated(sent, 'lost');
    else this.#transmit(sent);
  }

  #keep(sent: Sent): void {
    if (this.#kept.length < KEPT_COUNT) this.#kept.push(sent);
    else this.#kept[this.#dice.integer(0, KEPT_COUNT - 1)] = sent;
  }

  #alter(sent: Sent): void {
    const dice = this.#dice;
    if (dice.chance(0.1)) {
      this.#transmit(this.#fated({ ...sent, from: dice.pick(ELSEWHERE) }, 'sent from another address'));
      return;
    }
    const altered = forgeryOf(sent.datagram, dice);
    if (altered === undefined) return;
    this.#transmit(this.#fated({ ...sent, datagram: altered, messages: NO_MESSAGES }, 'header altered'));
  }

  #transmit(sent: Sent): void {
    const dice = this.#dice;
    const { weather } = this;
    const from = nameOf(sent.from);
    const to = nameOf(sent.to);
    const direction = `${from}>${to}`;
    if (this.#isOut(direction)) return void this.#fated(sent, 'link out for a while');
    const link = this.#links.get(direction);
    if (link !== undefined && dice.chance(link.loss)) return void this.#fated(sent, 'link cut in one direction');
    const bias = this.schedule.of(from, to, sent.messages);
    if (bias.loss > 0 && dice.chance(bias.loss)) return void this.#fated(sent, 'lost by schedule');
    let delayMs = dice.between(weather.delayMsMin, weather.delayMsMax);
    if (link !== undefined) delayMs += dice.between(0, link.delayMsMax);
    if (dice.chance(weather.late)) {
      this.#fated(sent, 'late');
      delayMs += dice.between(0, weather.lateMsMax);
    }
    if (bias.delayMs > 0) {
      this.#fated(sent, 'late by schedule');
      delayMs += dice.between(0, bias.delayMs);
    }
    const heldMs = this.#heldMs(direction);
    if (heldMs > 0) {
      this.#fated(sent, 'clogged, then all at once');
      delayMs = heldMs;
    }
    // Each receiver owns what it is handed, and opens it in place.
    const datagram = dice.chance(weather.corrupt) ? this.#corrupted(sent) : Uint8Array.from(sent.datagram);
    this.#time.after(delayMs, () => {
      this.#receivers.get(to)?.onArrival(datagram, sent.from.host, sent.from.port, sent.messages);
    });
  }

  #isOut(direction: string): boolean {
    const { nowMs } = this.#time;
    if (this.#dice.chance(this.weather.outage)) {
      this.#outageEndsMs.set(direction, nowMs + this.#dice.between(0, this.weather.outageMsMax));
    }
    return nowMs < (this.#outageEndsMs.get(direction) ?? 0);
  }

  /** How long the direction still holds back what is sent now. */
  #heldMs(direction: string): number {
    const { nowMs } = this.#time;
    if (this.weather.clog > 0 && this.#dice.chance(this.weather.clog)) {
      this.#clogEndsMs.set(direction, nowMs + this.#dice.between(0, this.weather.clogMsMax));
    }
    return (this.#clogEndsMs.get(direction) ?? 0) - nowMs;
  }

  #corrupted(sent: Sent): Uint8Array {
    const dice = this.#dice;
    const copy = Uint8Array.from(sent.datagram);
    if (copy.length === 0 || dice.chance(0.1)) {
      this.#fated(sent, 'cut short');
      return copy.slice(0, dice.integer(0, copy.length));
    }
    this.#fated(sent, 'bit flipped');
    copy[dice.integer(0, copy.length - 1)]! ^= 1 << dice.integer(0, 7);
    return copy;
  }

  #fated(sent: Sent, fate: Fault): Sent {
    this.#coverage?.faults.add(fate);
    this.onFate(sent, fate);
    return sent;
  }
}

export function nameOf({ host, port }: Address): string {
  return `${host}:${port}`;
}

function directionOf(from: Address, to: Address): string {
  return `${nameOf(from)}>${nameOf(to)}`;
}
