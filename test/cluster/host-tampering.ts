import type { Fault } from './coverage-names.ts';
import type { Dice } from './dice.ts';
import { MESSAGE_READ, MESSAGE_READ_PART, MESSAGE_REPAIR } from '../../src/protocol/messages.ts';
import type { Message } from './messages-seen.ts';
import type { SimulatedReplica } from './simulated-replica.ts';
import type { WorldObserver } from './world-observer.ts';

/** Earlier ciphertexts kept of each key. */
const OLD_COPIES_MAX = 4;
/** Of reads and repairs that arrive: the copy is spoiled just before. */
const ON_ARRIVAL_SHARE = 0.05;

/** A host that does to a replica's values whatever it can: it knows where they lie, and what lay there before. */
export class HostTampering {
  readonly #replica: SimulatedReplica;
  readonly #keys: readonly string[];
  readonly #dice: Dice;
  readonly #world: WorldObserver;
  readonly #oldCopies = new Map<string, Uint8Array[]>();
  readonly #counters = new Map<string, number>();

  constructor(replica: SimulatedReplica, keys: readonly string[], dice: Dice, world: WorldObserver) {
    this.#replica = replica;
    this.#keys = keys;
    this.#dice = dice;
    this.#world = world;
  }

  tamperAny(): void {
    if (!this.#replica.process.isAlive) return;
    for (const key of this.#keys) this.#remember(key);
    this.#tamper(this.#dice.pick(this.#keys));
  }

  /** The host sees datagrams come, and guesses what is about to be read. */
  onReceived(messages: readonly Message[]): void {
    for (const { type, key } of messages) {
      const isRead = type === MESSAGE_READ || type === MESSAGE_READ_PART;
      if ((!isRead && type !== MESSAGE_REPAIR) || key === undefined || !this.#keys.includes(key)) continue;
      this.#remember(key);
      if (!this.#dice.chance(ON_ARRIVAL_SHARE)) continue;
      if (type === MESSAGE_READ_PART) this.#world.coverage.faults.add('host tampers between two parts');
      this.#tamper(key);
    }
  }

  /** Keeps the copy when it is a new one; what was tampered with since has the same stamp. */
  #remember(key: string): void {
    const counter = this.#replica.counterOf(key);
    const copy = this.#replica.hostCopy(key);
    if (copy === undefined || this.#counters.get(key) === counter) return;
    this.#counters.set(key, counter);
    const copies = this.#oldCopies.get(key) ?? [];
    this.#oldCopies.set(key, [...copies, copy.slice()].slice(-OLD_COPIES_MAX));
  }

  /** Flips a bit, puts back what lay there before, or exchanges two keys' values, with all that their blocks hold. */
  #tamper(key: string): void {
    const dice = this.#dice;
    const replica = this.#replica;
    const copy = replica.hostCopy(key);
    if (copy === undefined || copy.length === 0) return;
    const way = dice.fraction();
    const older = (this.#oldCopies.get(key) ?? []).filter((old) => Buffer.compare(old, copy) !== 0);
    const otherKey = dice.pick(this.#keys);
    const other = otherKey === key ? undefined : replica.hostBlock(otherKey);
    if (way < 0.3 && older.length > 0) {
      const fitting = older.filter(({ length }) => length === copy.length);
      copy.set(dice.pick(fitting.length > 0 ? fitting : older).subarray(0, copy.length));
      this.#tell('host puts an old copy back', key);
    } else if (way < 0.6 && other !== undefined) {
      const block = replica.hostBlock(key)!;
      const byteCount = Math.min(block.length, other.length);
      const held = block.slice(0, byteCount);
      block.set(other.subarray(0, byteCount));
      other.set(held);
      this.#tell('host swaps two values', `${key} and ${otherKey}`);
    } else {
      copy[dice.integer(0, copy.length - 1)]! ^= 1 << dice.integer(0, 7);
      this.#tell('host flips a bit', key);
    }
  }

  #tell(fault: Fault, what: string): void {
    this.#world.coverage.faults.add(fault);
    this.#world.tell(`${this.#replica.name}: ${fault}: ${what}`);
  }
}
