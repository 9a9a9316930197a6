import { fnvHashNumber, moduloOfPair } from './fnv.ts';
import type { Random } from './random.ts';

/**
 * Which record the next operation takes: YCSB's scrambled zipfian choice. A few records are taken very often, and the
 * popular ones lie scattered over all records. The method is that of Gray et al., "Quickly Generating Billion-Record
 * Synthetic Databases" (SIGMOD 1994), with YCSB's constants.
 */

/** YCSB's ScrambledZipfianGenerator draws ranks from so many items, whatever the number of records. */
const ITEM_COUNT = 10_000_000_000;
/** Sum of 1/i^theta over these items; computing it anew takes minutes, so YCSB has it as a constant, and so have we. */
const ZETA = 26.46902820178302;
const THETA = 0.99;

/** YCSB hands 0 .. ITEM_COUNT over, both included. */
const RANK_COUNT = ITEM_COUNT + 1;
/** zeta(2, theta): the sum over the first two items. */
const ZETA_OF_TWO = 1 + 1 / 2 ** THETA;
const ETA = (1 - (2 / RANK_COUNT) ** (1 - THETA)) / (1 - ZETA_OF_TWO / ZETA);
const SECOND_BELOW = 1 + 0.5 ** THETA;

/** The rank that a uniform u in [0, 1) falls on: 0 is the most popular. */
export function zipfianRank(u: number): number {
  const scaled = u * ZETA;
  if (scaled < 1) return 0;
  if (scaled < SECOND_BELOW) return 1;
  return Math.floor(RANK_COUNT * hundredthPower(ETA * u - ETA + 1));
}

/**
 * Gray's exponent 1 / (1 - theta) is 100. By products it is seven times cheaper than by `**`, which is a call into C; the
 * result is the same to 14 digits.
 */
function hundredthPower(x: number): number {
  const x2 = x * x;
  const x4 = x2 * x2;
  const x8 = x4 * x4;
  const x16 = x8 * x8;
  const x32 = x16 * x16;
  return x32 * x32 * x32 * x4;
}

/** Draws record indexes in [0, recordCount). */
export class ScrambledZipfian {
  readonly #random: Random;
  readonly #recordCount: number;
  readonly #pair = new Int32Array(2);

  constructor(random: Random, recordCount: number) {
    this.#random = random;
    this.#recordCount = recordCount;
  }

  next(): number {
    fnvHashNumber(zipfianRank(this.#random.nextDouble()), this.#pair);
    return moduloOfPair(this.#pair, this.#recordCount);
  }
}
