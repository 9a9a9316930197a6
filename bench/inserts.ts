import { AcknowledgedCounter } from './acknowledged-counter.ts';
import type { RecordKeys } from './record.ts';

/**
 * The records that one client adds, and which of them its reads may ask for.
 *
 * YCSB divides the load phase among processes by insertstart and insertcount, but each process of a run inserts from
 * recordcount on, so that several would insert the same keys. Here client p of n inserts every n-th record: numbers
 * records + p, records + p + n, and so on. No two clients meet, and which keys one inserts depends on nothing but
 * p and n. A client reads the loaded records and its own; alone it does exactly what YCSB does.
 *
 * YCSB counts a failed insert as acknowledged; here it is tried again by the next insert, and reads ask for nothing from it
 * on until it has succeeded, so that a read without an answer is always lost data.
 */
export class Inserts {
  readonly #keys: RecordKeys;
  readonly #loaded: number;
  readonly #clientIndex: number;
  readonly #clientCount: number;
  readonly #counter: AcknowledgedCounter;
  readonly #again: number[] = [];

  /** @param keys Holds the loaded records and gets the inserted ones. */
  constructor(keys: RecordKeys, clientIndex: number, clientCount: number) {
    this.#keys = keys;
    this.#loaded = keys.count;
    this.#clientIndex = clientIndex;
    this.#clientCount = clientCount;
    this.#counter = new AcknowledgedCounter(keys.count);
  }

  /** The last record that reads may ask for: it and all before it are there. */
  get last(): number {
    return this.#counter.last;
  }

  /** No insert can begin: a million wait for one that is under way, or there is no room for further keys. */
  get isFull(): boolean {
    return this.#again.length === 0 && (this.#counter.isFull || this.#keys.isFull);
  }

  /** The record of the next insert, by its index among the keys. */
  next(): number {
    const again = this.#again.pop();
    if (again !== undefined) return again;
    const record = this.#counter.next();
    this.#keys.append(this.#loaded + (record - this.#loaded) * this.#clientCount + this.#clientIndex);
    return record;
  }

  succeeded(record: number): void {
    this.#counter.acknowledge(record);
  }

  failed(record: number): void {
    this.#again.push(record);
  }
}
