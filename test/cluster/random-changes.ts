import type { Expected } from '../../bench/checker/operation.ts';
import type { AskedChange } from './asked-changes.ts';
import type { Dice } from './dice.ts';
import type { Plan } from './plan.ts';
import type { Attempt } from './recorded-client.ts';

/** Numbers that are put lie so far apart that sums of small steps do not meet. */
const NUMBER_STEP = 1_000_000;
const DELTA_MAX = 5;
const GREATEST = '9223372036854775807';
const GREATEST_SHARE = 0.01;
/** Of increments, on keys that hold no numbers. */
const ODD_INCREMENT_SHARE = 0.05;
/** Of a key: of more increments of unknown outcome nobody can tell which were made. Then it holds no numbers any more. */
const UNKNOWN_INCREMENTS_MAX = 6;
/** States kept of each key. */
const SEEN_MAX = 4;

interface Seen {
  readonly value: string | undefined;
  readonly version: string | undefined;
}

/** Draws read-modify-writes, with what clients have seen last as what they expect. */
export class RandomChanges {
  readonly #plan: Plan;
  readonly #dice: Dice;
  /** The last states of each key that any client was told of, the newest last. */
  readonly #seen = new Map<string, Seen[]>();
  readonly #unknownIncrements = new Map<string, number>();

  constructor(plan: Plan, dice: Dice) {
    this.#plan = plan;
    this.#dice = dice;
  }

  get isNext(): boolean {
    return this.#plan.changeShare > 0 && this.#dice.chance(this.#plan.changeShare);
  }

  /** Some keys hold numbers. */
  isNumber(key: string, keyIndex: number): boolean {
    const { changeShare, numberKeys } = this.#plan;
    if (changeShare === 0 || keyIndex % 2 !== numberKeys) return false;
    return (this.#unknownIncrements.get(key) ?? 0) < UNKNOWN_INCREMENTS_MAX;
  }

  /** The text of a number, for a put; unique but for the greatest. */
  newNumber(valueCount: number): string {
    return this.#dice.chance(GREATEST_SHARE) ? GREATEST : String(NUMBER_STEP * (valueCount + 1));
  }

  draw(key: string, isNumber: boolean, newValue: () => string): AskedChange {
    const dice = this.#dice;
    const canIncrement = (this.#unknownIncrements.get(key) ?? 0) < UNKNOWN_INCREMENTS_MAX;
    const isIncrement = canIncrement && dice.chance(isNumber ? 0.6 : ODD_INCREMENT_SHARE);
    if (isIncrement) return change('incr', { delta: BigInt(dice.integer(1, DELTA_MAX) * dice.pick([1, 1, 1, -1])) });
    if (dice.chance(0.25)) return change('getset', { value: newValue() });
    const expected = this.#expected(key);
    if (dice.chance(0.15) && !('absent' in expected)) return change('delif', { expected });
    return change('cas', { expected, value: newValue() });
  }

  #expected(key: string): Expected {
    const dice = this.#dice;
    const seen = this.#seen.get(key) ?? [];
    const one = dice.chance(0.8) ? seen.at(-1) : seen.length > 0 ? dice.pick(seen) : undefined;
    if (one === undefined || dice.chance(0.05)) return dice.chance(0.8) ? { absent: true } : { value: 'never written' };
    if (one.version !== undefined && dice.chance(0.5)) return { version: one.version };
    return one.value === undefined ? { absent: true } : { value: one.value };
  }

  /** What a client was told. */
  learn({ key, kind, value, readValue, version, outcome }: Attempt): void {
    if (outcome === 'outcome-unknown' && kind === 'incr') {
      this.#unknownIncrements.set(key, (this.#unknownIncrements.get(key) ?? 0) + 1);
    }
    if (outcome !== 'ok' && outcome !== 'absent' && outcome !== 'mismatch') return;
    const isWritten = outcome === 'ok' && kind !== 'get' && kind !== 'incr';
    const isGone = kind === 'delete' || (kind === 'delif' && outcome === 'ok');
    const now = { value: isGone ? undefined : isWritten ? value : readValue, version };
    this.#seen.set(key, [...(this.#seen.get(key) ?? []), now].slice(-SEEN_MAX));
  }
}

function change(kind: AskedChange['kind'], asked: Partial<AskedChange>): AskedChange {
  return { kind, value: undefined, expected: undefined, delta: undefined, ...asked };
}
