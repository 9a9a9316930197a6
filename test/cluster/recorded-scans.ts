import type { Operation } from '../../bench/checker/operation.ts';
import type { ClientNode } from '../../src/client/client-node.ts';
import { TABLE_FULL } from '../../src/client/operations.ts';
import type { ScanOutcome } from '../../src/protocol/outcome.ts';
import type { ScanPage, ScanRequest } from '../../src/protocol/scan-request.ts';
import type { Journal } from './recorded-client.ts';

/** A range of keys as text, latin1; empty: no bound. */
export interface ScanWish {
  readonly start: string;
  readonly isAfterStart: boolean;
  readonly end: string;
  readonly isReverse: boolean;
  readonly keysMax: number;
  readonly wantsValues: boolean;
}

export interface ScanAttempt {
  readonly wish: ScanWish;
  readonly start: number;
  readonly deadlineAtMs: number;
  operationId: number;
  /** Undefined while it runs. */
  outcome: ScanOutcome | undefined;
}

/**
 * Pages of scans that one client asks for, and what they say of each key: that it has a value, or that it is not there. Either
 * is a get of that key from the page's start to its end, as far as the page goes.
 */
export class RecordedScans {
  readonly attempts: ScanAttempt[] = [];
  /** What pages say of keys. */
  readonly gets: Operation[] = [];
  /** How often something came to bear. */
  readonly seen = { cutShort: 0, reversed: 0, absent: 0 };
  /** A page that can't be right, whatever was written. */
  problem: string | undefined;
  readonly #journal: Journal;
  readonly #node: () => ClientNode;
  /** All keys that anybody writes. */
  readonly #keys: readonly string[];

  constructor(journal: Journal, node: () => ClientNode, keys: readonly string[]) {
    this.#journal = journal;
    this.#node = node;
    this.#keys = keys;
  }

  /** Undefined when there is no room for it. */
  tryStart(
    wish: ScanWish,
    deadlineMs: number,
    nowMs: number,
    onEnd: (page?: ScanPage) => void,
  ): ScanAttempt | undefined {
    const attempt: ScanAttempt = {
      wish,
      start: this.#journal.nextNumber(),
      deadlineAtMs: nowMs + deadlineMs,
      operationId: TABLE_FULL,
      outcome: undefined,
    };
    const request: ScanRequest = {
      ...wish,
      start: Buffer.from(wish.start, 'latin1'),
      end: Buffer.from(wish.end, 'latin1'),
      onScanEnded: (outcome, page) => {
        if (attempt.outcome !== undefined) throw new Error('a scan ended twice');
        attempt.outcome = outcome;
        if (page !== undefined) this.#take(attempt, page);
        onEnd(page);
      },
    };
    attempt.operationId = this.#node().coordinator.startScan(request, deadlineMs, nowMs);
    if (attempt.operationId === TABLE_FULL) return undefined;
    this.attempts.push(attempt);
    return attempt;
  }

  /** The earliest deadline of those that run. */
  overdue(nowMs: number): ScanAttempt | undefined {
    return this.attempts.find(({ outcome, deadlineAtMs }) => outcome === undefined && deadlineAtMs < nowMs);
  }

  #take({ wish, start }: ScanAttempt, page: ScanPage): void {
    const end = this.#journal.nextNumber();
    const keys = page.keys.map((key) => key.toString('latin1'));
    const covered = page.covered?.toString('latin1');
    this.#checkOrder(wish, keys, covered);
    if (covered !== undefined) this.seen.cutShort++;
    if (wish.isReverse) this.seen.reversed++;
    for (const key of this.#keys) {
      if (!isIn(wish, key) || (covered !== undefined && isBehind(wish, key, covered))) continue;
      const place = keys.indexOf(key);
      if (place === -1) this.seen.absent++;
      // Of a key without its value no get could tell more than that it is there.
      else if (!wish.wantsValues) continue;
      const value = place === -1 ? undefined : page.values[place]!.toString('latin1');
      this.gets.push({ kind: 'get', key, value, start, end });
    }
  }

  #checkOrder(wish: ScanWish, keys: readonly string[], covered: string | undefined): void {
    keys.forEach((key, i) => {
      const isOut = !isIn(wish, key) || (covered !== undefined && isBehind(wish, key, covered));
      if (isOut || (i > 0 && !isBehind(wish, key, keys[i - 1]!))) this.problem ??= `a page has ${key} in a wrong place`;
    });
    if (keys.length > wish.keysMax) this.problem ??= `a page has ${keys.length} keys, more than ${wish.keysMax}`;
  }
}

function isIn({ start, end, isAfterStart }: ScanWish, key: string): boolean {
  if (start !== '' && (isAfterStart ? key <= start : key < start)) return false;
  return end === '' || key < end;
}

/** In the direction of the scan. */
function isBehind({ isReverse }: ScanWish, key: string, other: string): boolean {
  return isReverse ? key < other : key > other;
}
