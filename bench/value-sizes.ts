import { parseBytes } from '../src/cli/bytes.ts';
import type { Random } from './random.ts';
import { count } from './report-text.ts';

/** How large values are: one size, or several of which each put draws one by weight. */
export interface ValueSize {
  readonly valueBytes: number;
  /** Beside the others' weights. */
  readonly weight: number;
}

/** Each size has a view in each load process; a dozen is more than any known mix has. */
const SIZES_MAX = 32;

/**
 * "256", or sizes with weights like "64:60,256:30,4096:10".
 * @returns The sizes, or what is wrong with the text.
 */
export function parseValueSizes(text: string, valueBytesMax: number): ValueSize[] | string {
  const parts = text.split(',').map((part) => part.split(':'));
  if (parts.length > SIZES_MAX) return `Give at most ${SIZES_MAX} sizes.`;
  const sizes: ValueSize[] = [];
  for (const part of parts) {
    const [bytesText = '', weightText] = part;
    const valueBytes = parseBytes(bytesText);
    if (valueBytes === undefined || valueBytes < 1 || valueBytes > valueBytesMax) {
      return `Give bytes like 256 or 4KiB, from 1 to ${valueBytesMax}.`;
    }
    if (part.length > 2) return 'Give one weight a size, like 64:60,256:40.';
    if (weightText === undefined && parts.length > 1) return 'Give each size of a list its weight, like 64:60,256:40.';
    const weight = weightText === undefined ? 1 : parseWeight(weightText);
    if (weight === undefined) return 'Give weights above 0, like 64:60,256:40.';
    if (sizes.some((size) => size.valueBytes === valueBytes)) return 'Give each size once.';
    sizes.push({ valueBytes, weight });
  }
  return sizes;
}

function parseWeight(text: string): number | undefined {
  const weight = Number(text);
  return /^\d*\.?\d+$/.test(text) && weight > 0 && Number.isFinite(weight) ? weight : undefined;
}

export function largestOf(sizes: readonly ValueSize[]): number {
  return Math.max(...sizes.map((size) => size.valueBytes));
}

export function smallestOf(sizes: readonly ValueSize[]): number {
  return Math.min(...sizes.map((size) => size.valueBytes));
}

/** "256 bytes", or "64 (60 %), 256 (30 %) or 4,096 (10 %) bytes". */
export function describeSizes(sizes: readonly ValueSize[]): string {
  const total = sizes.reduce((sum, size) => sum + size.weight, 0);
  const parts = sizes.map(({ valueBytes, weight }) => {
    const percent = Number(((weight * 100) / total).toPrecision(3));
    return sizes.length === 1 ? count(valueBytes) : `${count(valueBytes)} (${percent} %)`;
  });
  const last = parts.pop();
  return `${parts.length === 0 ? last : `${parts.join(', ')} or ${last}`} bytes`;
}

/** Draws one of several sizes, by its index. */
export class SizeChoice {
  readonly sizes: readonly ValueSize[];
  #random: Random;
  /** Sums of the weights up to and with each size. */
  readonly #weightUpTo: Float64Array;

  constructor(sizes: readonly ValueSize[], random: Random) {
    this.sizes = sizes;
    this.#random = random;
    this.#weightUpTo = new Float64Array(sizes.length);
    let sum = 0;
    sizes.forEach(({ weight }, index) => (this.#weightUpTo[index] = sum += weight));
  }

  /** From now on by this source: each run repeats its choices by its seed. */
  reseed(random: Random): void {
    this.#random = random;
  }

  next(): number {
    const weightUpTo = this.#weightUpTo;
    const lastIndex = weightUpTo.length - 1;
    const scaled = this.#random.nextDouble() * weightUpTo[lastIndex]!;
    let index = 0;
    while (index < lastIndex && scaled >= weightUpTo[index]!) index++;
    return index;
  }
}
