import { assert } from '../../net/assert.ts';

/** The slot of what it belongs to; -1 while it is free. */
export interface InSlot {
  slot: number;
}

/**
 * What moves by parts, by slot, taking turns: each moves one part a round, so that none waits for another's end, and each
 * comes first once. Those that are over are used again: nothing is allocated for each.
 */
export class PartTurns<T extends InSlot> {
  readonly #create: () => T;
  readonly #moveOne: (transfer: T, nowMs: number) => boolean;
  readonly #bySlot: (T | undefined)[];
  readonly #active: T[] = [];
  readonly #free: T[] = [];
  /** Who comes first. */
  #first = 0;

  /** @param moveOne Moves one part; false when that can't be done now. */
  constructor(slotCount: number, create: () => T, moveOne: (transfer: T, nowMs: number) => boolean) {
    this.#bySlot = Array.from<T | undefined>({ length: slotCount });
    this.#create = create;
    this.#moveOne = moveOne;
  }

  /** Those that are under way, in no order. */
  get active(): readonly T[] {
    return this.#active;
  }

  at(slot: number): T | undefined {
    return this.#bySlot[slot];
  }

  /** What was left in it by its last user is the caller's to clear. */
  begin(slot: number): T {
    assert(this.#bySlot[slot] === undefined, 'a slot moves one thing');
    const transfer = this.#free.pop() ?? this.#create();
    transfer.slot = slot;
    this.#bySlot[slot] = transfer;
    this.#active.push(transfer);
    return transfer;
  }

  end(transfer: T): void {
    this.#bySlot[transfer.slot] = undefined;
    transfer.slot = -1;
    const last = this.#active.pop()!;
    if (last !== transfer) this.#active[this.#active.indexOf(transfer)] = last;
    this.#free.push(transfer);
  }

  /** Moves what can be moved. The time is handed on as it came: one that is kept here would be passed as an object a part. */
  pump(nowMs: number): void {
    const count = this.#active.length;
    if (count === 0) return;
    this.#first = (this.#first + 1) % count;
    for (let isMoving = true; isMoving; ) {
      isMoving = false;
      for (let i = 0; i < count; i++) {
        if (this.#moveOne(this.#active[(this.#first + i) % count]!, nowMs)) isMoving = true;
      }
    }
  }

  invariants(): void {
    for (const transfer of this.#active) {
      assert(this.#bySlot[transfer.slot] === transfer, 'what is under way is listed under its slot');
    }
    for (const { slot } of this.#free) assert(slot === -1, 'what is free has no slot');
  }
}
