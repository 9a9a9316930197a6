import type { Dice } from './dice.ts';
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
  readonly delayMsMin: number;
  readonly delayMsMax: number;
  /** Held back for longer, and so overtaken by later ones. */
  readonly late: number;
  readonly lateMsMax: number;
  /** From this datagram on, itself included, its link loses everything for a while. */
  readonly outage: number;
  readonly outageMsMax: number;
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
  delayMsMin: 0.05,
  delayMsMax: 0.2,
  late: 0,
  lateMsMax: 0,
  outage: 0,
  outageMsMax: 0,
};

export interface Receiver {
  onArrival(datagram: Uint8Array, fromHost: string, fromPort: number): void;
}

interface Sent {
  readonly datagram: Uint8Array;
  readonly from: Address;
  readonly to: Address;
}

export interface Address {
  readonly host: string;
  readonly port: number;
}

/** Datagrams kept to be replayed. */
const KEPT_COUNT = 256;
const FORGED_BYTES_MAX = 300;

/** A network that loses, repeats, reorders, delays, corrupts and forges datagrams, as the dice fall. */
export class LossyNetwork {
  weather: Weather = CALM;
  /** Told of each datagram before it is sent. */
  onSend: (from: Address) => void = () => {};
  readonly #time: SimulatedTime;
  readonly #dice: Dice;
  readonly #receivers = new Map<string, Receiver>();
  /** By direction: "from>to". */
  readonly #links = new Map<string, LinkWeather>();
  readonly #outageEndsMs = new Map<string, number>();
  readonly #kept: Sent[] = [];

  constructor(time: SimulatedTime, dice: Dice) {
    this.#time = time;
    this.#dice = dice;
  }

  attach(address: Address, receiver: Receiver): void {
    this.#receivers.set(nameOf(address), receiver);
  }

  detach(address: Address): void {
    this.#receivers.delete(nameOf(address));
  }

  /** One direction only. A loss of 1 is a partition. */
  setLink(from: Address, to: Address, weather: LinkWeather): void {
    this.#links.set(`${nameOf(from)}>${nameOf(to)}`, weather);
  }

  /** One direction loses everything for so long. */
  interrupt(from: Address, to: Address, durationMs: number): void {
    this.#outageEndsMs.set(`${nameOf(from)}>${nameOf(to)}`, this.#time.nowMs + durationMs);
  }

  clearLinks(): void {
    this.#links.clear();
  }

  /** Nothing is lost, late or harmed from now on. */
  calm(): void {
    this.weather = CALM;
    this.#links.clear();
    this.#outageEndsMs.clear();
  }

  /** The bytes are copied. */
  send(datagram: Uint8Array, from: Address, to: Address): void {
    const dice = this.#dice;
    const { weather } = this;
    this.onSend(from);
    const sent = { datagram: Uint8Array.from(datagram), from, to };
    if (weather.replay > 0) this.#keep(sent);
    if (dice.chance(weather.replay)) this.#transmit(dice.pick(this.#kept));
    if (dice.chance(weather.forge)) {
      // Multiples of 8 get past the first check.
      this.#transmit({ datagram: dice.bytes(8 * dice.integer(0, FORGED_BYTES_MAX / 8)), from, to });
    }
    if (dice.chance(weather.duplicate)) this.#transmit(sent);
    if (!dice.chance(weather.loss)) this.#transmit(sent);
  }

  #keep(sent: Sent): void {
    if (this.#kept.length < KEPT_COUNT) this.#kept.push(sent);
    else this.#kept[this.#dice.integer(0, KEPT_COUNT - 1)] = sent;
  }

  #transmit(sent: Sent): void {
    const dice = this.#dice;
    const { weather } = this;
    const direction = `${nameOf(sent.from)}>${nameOf(sent.to)}`;
    if (this.#isOut(direction)) return;
    const link = this.#links.get(direction);
    if (link !== undefined && dice.chance(link.loss)) return;
    let delayMs = dice.between(weather.delayMsMin, weather.delayMsMax);
    if (link !== undefined) delayMs += dice.between(0, link.delayMsMax);
    if (dice.chance(weather.late)) delayMs += dice.between(0, weather.lateMsMax);
    // Each receiver owns what it is handed, and opens it in place.
    const datagram = dice.chance(weather.corrupt) ? this.#corrupted(sent.datagram) : Uint8Array.from(sent.datagram);
    this.#time.after(delayMs, () => {
      this.#receivers.get(nameOf(sent.to))?.onArrival(datagram, sent.from.host, sent.from.port);
    });
  }

  #isOut(direction: string): boolean {
    const { nowMs } = this.#time;
    if (this.#dice.chance(this.weather.outage)) {
      this.#outageEndsMs.set(direction, nowMs + this.#dice.between(0, this.weather.outageMsMax));
    }
    return nowMs < (this.#outageEndsMs.get(direction) ?? 0);
  }

  #corrupted(datagram: Uint8Array): Uint8Array {
    const dice = this.#dice;
    const copy = Uint8Array.from(datagram);
    if (copy.length === 0 || dice.chance(0.1)) return copy.slice(0, dice.integer(0, copy.length));
    copy[dice.integer(0, copy.length - 1)]! ^= 1 << dice.integer(0, 7);
    return copy;
  }
}

export function nameOf({ host, port }: Address): string {
  return `${host}:${port}`;
}
