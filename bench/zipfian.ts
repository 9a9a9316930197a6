import { assert } from '../net/assert.ts';
import { fnvHashNumber, moduloOfPair } from './fnv.ts';
import type { Random } from './random.ts';

/**
 * Which record the next operation takes, as in YCSB: a few records are taken very often. By the scrambled zipfian choice
 * the popular ones lie scattered over all records; by the latest choice they are those that were inserted last. The method
 * is that of Gray et al., "Quickly Generating Billion-Record Synthetic Databases" (SIGMOD 1994), with YCSB's constants.
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

/** With two items both have exact shares and eta is 0 / 0. */
const ITEMS_MIN = 3;
/** What SkewedLatest needs to begin with. */
export const LATEST_RECORDS_MIN = ITEMS_MIN + 1;

/** The rank that a uniform u in [0, 1) falls on: 0 is the most popular. */
export function zipfianRank(u: number): number {
  const scaled = u * ZETA;
  if (scaled < 1) return 0;
  if (scaled < SECOND_BELOW) return 1;
  return Math.floor(RANK_COUNT * hundredthPower(ETA * u - ETA + 1));
}

/**
 * Zipfian ranks over a number of items that grows: YCSB's ZipfianGenerator when it is given an item count. Zeta is
 * carried on by the new items' terms. YCSB takes the count of the beginning, not the present one, for the other part of
 * eta; kept, because figures are compared with YCSB's. It only means that some ranks near the head are skipped once the
 * items have doubled.
 */
export class GrowingZipfian {
  /** 1 - (2 / items)^(1 - theta), of the items at the beginning. */
  readonly #numerator: number;
  #itemCount = 0;
  #zeta = 0;
  #eta = 0;

  /** @param itemCount At least ITEMS_MIN: below, eta is not between 0 and 1. */
  constructor(itemCount: number) {
    assert(itemCount >= ITEMS_MIN, 'the formula needs three items');
    this.#numerator = 1 - (2 / itemCount) ** (1 - THETA);
    this.#grow(itemCount);
  }

  /**
   * The rank that a uniform u in [0, 1) falls on, in [0, itemCount]: the last only if rounding lifts the largest u to 1.
   * @param itemCount Never less than before.
   */
  rank(u: number, itemCount: number): number {
    if (itemCount > this.#itemCount) this.#grow(itemCount);
    const scaled = u * this.#zeta;
    if (scaled < 1) return 0;
    if (scaled < SECOND_BELOW) return 1;
    return Math.floor(itemCount * hundredthPower(this.#eta * u - this.#eta + 1));
  }

  #grow(itemCount: number): void {
    let zeta = this.#zeta;
    for (let i = this.#itemCount + 1; i <= itemCount; i++) zeta += 1 / i ** THETA;
    this.#zeta = zeta;
    this.#itemCount = itemCount;
    this.#eta = this.#numerator / (1 - ZETA_OF_TWO / zeta);
  }
}

/**
 * YCSB's choice of workload D (SkewedLatestGenerator): zipfian over the records that are there, the latest being the most
 * popular. As in YCSB the item count is the last record's index, one less than the records, so that record 0 is left out.
 */
export class SkewedLatest implements RecordChoice {
  readonly #random: Random;
  readonly #records: { readonly last: number };
  readonly #zipfian: GrowingZipfian;

  /** @param records Tells the last record that may be read; it never falls, and is at least LATEST_RECORDS_MIN - 1. */
  constructor(random: Random, records: { readonly last: number }) {
    this.#random = random;
    this.#records = records;
    this.#zipfian = new GrowingZipfian(records.last);
  }

  next(): number {
    const last = this.#records.last;
    return last - this.#zipfian.rank(this.#random.nextDouble(), last);
  }
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

/** Chooses the record of an operation, by its index. */
export interface RecordChoice {
  next(): number;
}

/** Draws record indexes in [0, recordCount). */
export class ScrambledZipfian implements RecordChoice {
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

/** Every record is as likely. */
export class UniformChoice implements RecordChoice {
  readonly #random: Random;
  readonly #recordCount: number;

  constructor(random: Random, recordCount: number) {
    this.#random = random;
    this.#recordCount = recordCount;
  }

  next(): number {
    return Math.floor(this.#random.nextDouble() * this.#recordCount);
  }
}
