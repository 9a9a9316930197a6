import type { ScanOutcome } from './outcome.ts';

/** One page of a scan, as a coordinator is asked for it. Keys are compared bytewise. */
export interface ScanRequest {
  /** The first key that belongs to the range; empty: from the first one there is. */
  readonly start: Uint8Array;
  /** The start itself does not belong to it: a page that goes on behind another's last key. */
  readonly isAfterStart: boolean;
  /** The first key behind the range; empty: up to the last one there is. */
  readonly end: Uint8Array;
  /** From the end down. */
  readonly isReverse: boolean;
  /** Keys that the page has at most. */
  readonly keysMax: number;
  /** Entries, deleted ones among them, that a replica answers with at most; default: keysMax. */
  readonly entriesMax?: number;
  readonly wantsValues: boolean;
  /**
   * Not before startScan() has returned.
   * @param page Exactly when the outcome is 'ok'.
   * @param failedKey Whose get ended with that outcome, if it was one.
   */
  onScanEnded(outcome: ScanOutcome, page: ScanPage | undefined, failedKey: Buffer | undefined): void;
}

export interface ScanPage {
  /** In the order of the scan: each was there at some moment between the start of the page and its end. */
  readonly keys: readonly Buffer[];
  /** Beside the keys, when values were wanted; else empty. */
  readonly values: readonly Buffer[];
  /** What the page has covered: up to this key, which belongs to it whether it is there or not. Undefined: all of the range. */
  readonly covered: Buffer | undefined;
}
