import { AvocadoError } from '../errors.ts';
import { SCAN_ENTRIES_MAX } from '../protocol/scan-messages.ts';
import type { ScanPage, ScanRequest } from '../protocol/scan-request.ts';
import { errorOf } from './failures.ts';
import { boundsOf } from './scan-range.ts';
import type { ScanRange } from './scan-range.ts';

/** Scans page by page: the next one is asked for while the caller has this one. */
export interface CountOptions extends ScanRange {
  /** Of each page, milliseconds from when it is asked for. */
  readonly deadlineMs?: number;
  /** Ends the scan: ABORTED. */
  readonly signal?: AbortSignal;
}

export interface ScanOptions extends CountOptions {
  /** Keys at most; default: all of the range. */
  readonly limit?: number;
  /** From the end of the range down. */
  readonly reverse?: boolean;
  /** Without values. */
  readonly keysOnly?: boolean;
  /** Keys of a page at most, 1 to 4,096; default 256. Large values make pages shorter: they have some 4 MiB. */
  readonly pageSize?: number;
}

export interface ScannedKey {
  readonly key: Buffer;
}

export interface ScannedPair extends ScannedKey {
  readonly value: Buffer;
}

/** What is asked of the client for a page. */
export type PageRequest = Omit<ScanRequest, 'onScanEnded'>;
export type FetchPage = (request: PageRequest, signal: AbortSignal) => Promise<ScanPage>;

const PAGE_SIZE_DEFAULT = 256;
/** So many times as many entries are asked for behind a page that was not full: it may be that most keys there are deleted. */
const ENTRIES_GROWTH = 4;

/** @throws AvocadoError INVALID_KEY or INVALID_ARGUMENT, with the first page. */
export async function* scanPages(options: ScanOptions, fetchPage: FetchPage): AsyncGenerator<ScanPage, void, void> {
  let left = wholeNumber('limit', options.limit ?? Infinity, 0, Infinity);
  const pageSize = wholeNumber('pageSize', options.pageSize ?? PAGE_SIZE_DEFAULT, 1, SCAN_ENTRIES_MAX);
  const bounds = boundsOf(options);
  if (bounds === undefined || left === 0) return;
  const isReverse = options.reverse ?? false;
  let request: PageRequest | undefined = {
    ...bounds,
    isAfterStart: false,
    isReverse,
    keysMax: Math.min(pageSize, left),
    wantsValues: options.keysOnly !== true,
  };
  const stop = new AbortController();
  const { signal } = stop;
  const onAbort = (): void => stop.abort();
  if (options.signal?.aborted === true) onAbort();
  else options.signal?.addEventListener('abort', onAbort, { once: true });
  let fetched = fetchPage(request, signal);
  try {
    for (;;) {
      const page = await fetched;
      throwIfAborted(options);
      left -= page.keys.length;
      request = left > 0 ? requestBehind(request, page, Math.min(pageSize, left)) : undefined;
      if (request !== undefined) {
        fetched = fetchPage(request, signal);
        // It is awaited in the next round, if there is one.
        fetched.catch(() => {});
      }
      yield page;
      if (request === undefined) return;
    }
  } finally {
    options.signal?.removeEventListener('abort', onAbort);
    stop.abort();
  }
}

/** A page may have come before its caller gave up. @throws AvocadoError ABORTED. */
export function throwIfAborted({ signal }: CountOptions): void {
  if (signal?.aborted === true) throw errorOf('scan', 'aborted');
}

/** Undefined: the range ends with this page. */
export function requestBehind(
  request: PageRequest,
  { keys, covered }: ScanPage,
  keysMax: number,
): PageRequest | undefined {
  if (covered === undefined) return undefined;
  const isFull = keys.length === request.keysMax;
  const grown = (request.entriesMax ?? request.keysMax) * ENTRIES_GROWTH;
  const entriesMax = isFull ? keysMax : Math.min(grown, SCAN_ENTRIES_MAX);
  if (request.isReverse) return { ...request, end: covered, keysMax, entriesMax };
  return { ...request, start: covered, isAfterStart: true, keysMax, entriesMax };
}

function wholeNumber(name: string, value: number, min: number, max: number): number {
  if (typeof value === 'number' && value >= min && value <= max && (Number.isInteger(value) || value === Infinity)) {
    return value;
  }
  const range = max === Infinity ? `from ${min} on` : `from ${min} to ${max}`;
  throw new AvocadoError('INVALID_ARGUMENT', `${name} is ${value}: give a whole number ${range}`);
}
