import type { Operations } from '../src/client/operations.ts';
import { TABLE_FULL } from '../src/client/operations.ts';
import type { PageRequest } from '../src/client/scans.ts';
import { requestBehind } from '../src/client/scans.ts';
import type { ScanOutcome } from '../src/protocol/outcome.ts';
import type { ScanPage } from '../src/protocol/scan-request.ts';
import { fnvHashBytes } from './fnv.ts';
import type { HistorySink } from './history.ts';
import { idInValue } from './record.ts';
import type { RecordValues } from './record.ts';

/**
 * The scans of a closed loop: so many records from a key on, page by page, each value checked against its key. In a history
 * each key of a page is a get from the page's start to its end, which is what a scan promises.
 */

/** workloads/workloade of YCSB: maxscanlength, uniform from CoreWorkload's minscanlength of 1. */
export const SCAN_LENGTH_MAX = 100;

/** A value that is not its key's, or keys that are not in order. */
export const WRONG_SCAN = 'wrong scan';

export interface ScanEnded {
  readonly outcome: ScanOutcome;
  /** Undefined: all is well. */
  readonly error: string | undefined;
  readonly valueBytes: number;
}

interface Running {
  readonly slot: number;
  request: PageRequest;
  left: number;
  valueBytes: number;
  startNs: number;
}

const NO_BOUND = new Uint8Array(0);

export class LoadScans {
  readonly #operations: Operations;
  readonly #values: RecordValues;
  readonly #deadlineMs: number;
  readonly #history: HistorySink | undefined;
  readonly #onEnded: (slot: number, ended: ScanEnded) => void;
  readonly #pair = new Int32Array(2);

  constructor(
    operations: Operations,
    values: RecordValues,
    deadlineMs: number,
    history: HistorySink | undefined,
    onEnded: (slot: number, ended: ScanEnded) => void,
  ) {
    this.#operations = operations;
    this.#values = values;
    this.#deadlineMs = deadlineMs;
    this.#history = history;
    this.#onEnded = onEnded;
  }

  /** @param key Copied. Returns an operation's id, or TABLE_FULL. */
  start(slot: number, key: Uint8Array, recordCount: number): number {
    const request: PageRequest = {
      start: new Uint8Array(key),
      isAfterStart: false,
      end: NO_BOUND,
      isReverse: false,
      keysMax: recordCount,
      wantsValues: true,
    };
    return this.#startPage({ slot, request, left: recordCount, valueBytes: 0, startNs: 0 });
  }

  #startPage(running: Running): number {
    if (this.#history !== undefined) running.startNs = this.#history.nowNs();
    return this.#operations.startScan(
      { ...running.request, onScanEnded: (outcome, page) => this.#onPage(running, outcome, page) },
      this.#deadlineMs,
    );
  }

  #onPage(running: Running, outcome: ScanOutcome, page: ScanPage | undefined): void {
    const { slot } = running;
    if (page === undefined) return this.#onEnded(slot, { outcome, error: outcome, valueBytes: 0 });
    if (!this.#take(running, page)) return this.#onEnded(slot, { outcome, error: WRONG_SCAN, valueBytes: 0 });
    running.left -= page.keys.length;
    const next = running.left > 0 ? requestBehind(running.request, page, running.left) : undefined;
    if (next === undefined) return this.#onEnded(slot, { outcome, error: undefined, valueBytes: running.valueBytes });
    running.request = next;
    // Its place has just become free.
    if (this.#startPage(running) === TABLE_FULL) {
      this.#onEnded(slot, { outcome: 'aborted', error: 'no place for a further page', valueBytes: 0 });
    }
  }

  /** False when something in the page can't be. */
  #take(running: Running, { keys, values }: ScanPage): boolean {
    const endNs = this.#history?.nowNs() ?? 0;
    let before: Uint8Array | undefined;
    for (const [i, key] of keys.entries()) {
      const value = values[i]!;
      if (before !== undefined && Buffer.compare(before, key) >= 0) return false;
      before = key;
      fnvHashBytes(key, 0, key.length, this.#pair);
      if (!this.#values.verify(this.#pair[0]!, this.#pair[1]!, value, value.length)) return false;
      running.valueBytes += value.length;
      const id = idInValue(value, value.length);
      this.#history?.record('get', key.toString('latin1'), id, running.startNs, endNs, 'ok');
    }
    return true;
  }
}
