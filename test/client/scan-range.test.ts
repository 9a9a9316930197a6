/** What part of the keys a scan covers, as bounds, and which requests pages are made of. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { boundsOf } from '../../src/client/scan-range.ts';
import type { ScanRange } from '../../src/client/scan-range.ts';
import { scanPages } from '../../src/client/scans.ts';
import type { PageRequest, ScanOptions } from '../../src/client/scans.ts';
import type { ScanPage } from '../../src/protocol/scan-request.ts';

const key = fc
  .array(fc.constantFrom(0, 1, 97, 254, 255), { minLength: 1, maxLength: 4 })
  .map((bytes) => Uint8Array.from(bytes));
const bound = fc.option(key, { nil: undefined });

function inRange({ start, end, prefix }: ScanRange, bytes: Uint8Array): boolean {
  if (start !== undefined && Buffer.compare(bytes, start as Uint8Array) < 0) return false;
  if (end !== undefined && Buffer.compare(bytes, end as Uint8Array) >= 0) return false;
  return (
    prefix === undefined || Buffer.from(bytes.subarray(0, prefix.length)).equals(Buffer.from(prefix as Uint8Array))
  );
}

test('a key lies between the bounds exactly when it meets start, end and prefix', () => {
  fc.assert(
    fc.property(bound, bound, bound, fc.array(key), (start, end, prefix, keys) => {
      const range: ScanRange = {
        ...(start !== undefined && { start }),
        ...(end !== undefined && { end }),
        ...(prefix !== undefined && { prefix }),
      };
      const bounds = boundsOf(range);
      for (const bytes of [...keys, ...[start, end, prefix].filter((some) => some !== undefined)]) {
        const isIn =
          bounds !== undefined &&
          Buffer.compare(bytes, bounds.start) >= 0 &&
          (bounds.end.length === 0 || Buffer.compare(bytes, bounds.end) < 0);
        assert.equal(isIn, inRange(range, bytes));
      }
    }),
    { numRuns: 1_000 },
  );
});

test('bounds are copies, and what is no key is refused', () => {
  const start = Buffer.from('abc');
  const bounds = boundsOf({ start, prefix: 'ab' })!;
  start.fill(0);
  assert.equal(String(Buffer.from(bounds.start)), 'abc');
  assert.equal(String(Buffer.from(bounds.end)), 'ac');
  assert.equal(boundsOf({ start: '', prefix: '' })!.end.length, 0, 'empty ones are no bounds');
  assert.equal(boundsOf({ end: '' }), undefined, 'nothing is before the empty key');
  const wrong = (value: unknown): never => value as never;
  for (const name of ['start', 'end', 'prefix']) {
    for (const value of [wrong(7), 'k'.repeat(1_025)]) {
      assert.throws(() => boundsOf({ [name]: value }), { code: 'INVALID_KEY', message: new RegExp(`^${name} `) });
    }
  }
});

/** Pages of ten keys, a to z, as a cluster would give them. */
class Pages {
  readonly requests: PageRequest[] = [];
  readonly signals: AbortSignal[] = [];
  readonly #keys = Array.from({ length: 26 }, (_, i) => Buffer.from(String.fromCodePoint(97 + i)));

  fetch = async (request: PageRequest, signal: AbortSignal): Promise<ScanPage> => {
    this.requests.push(request);
    this.signals.push(signal);
    const inRange = this.#keys.filter(
      (one) =>
        Buffer.compare(one, request.start) >= (request.isAfterStart ? 1 : 0) &&
        (request.end.length === 0 || Buffer.compare(one, request.end) < 0),
    );
    if (request.isReverse) inRange.reverse();
    const keys = inRange.slice(0, Math.min(request.keysMax, 10));
    return { keys, values: keys, covered: keys.length < inRange.length ? keys.at(-1)! : undefined };
  };

  async all(options: ScanOptions): Promise<string> {
    let found = '';
    for await (const { keys } of scanPages(options, this.fetch)) found += keys.join('');
    return found;
  }
}

test('pages follow each other to the end of the range, either way, up to the limit', async () => {
  assert.equal(await new Pages().all({}), 'abcdefghijklmnopqrstuvwxyz');
  assert.equal(await new Pages().all({ reverse: true }), 'zyxwvutsrqponmlkjihgfedcba');
  assert.equal(await new Pages().all({ start: 'c', end: 'q', pageSize: 4 }), 'cdefghijklmnop');
  assert.equal(await new Pages().all({ start: 'c', end: 'q', reverse: true, pageSize: 4 }), 'ponmlkjihgfedc');
  const limited = new Pages();
  assert.equal(await limited.all({ limit: 13 }), 'abcdefghijklm');
  assert.deepEqual(
    limited.requests.map(({ keysMax }) => keysMax),
    [13, 3],
  );
  const none = new Pages();
  assert.equal(await none.all({ limit: 0 }), '');
  assert.equal(await none.all({ start: 'q', end: 'c' }), '');
  assert.equal(none.requests.length, 0);
});

test('behind a page that is not full more entries are asked for: a key is found behind many deleted ones in a few rounds', async () => {
  for (const isReverse of [false, true]) {
    const requests: PageRequest[] = [];
    let passed = 0;
    // Ten thousand deleted keys, and one.
    const fetchPage = async (request: PageRequest): Promise<ScanPage> => {
      requests.push(request);
      passed += request.entriesMax ?? request.keysMax;
      const key = Buffer.from(isReverse ? 'a' : 'z');
      return passed > 10_000
        ? { keys: [key], values: [], covered: key }
        : { keys: [], values: [], covered: Buffer.from('m') };
    };
    const found: string[] = [];
    for await (const { keys } of scanPages({ limit: 1, reverse: isReverse }, fetchPage))
      found.push(...keys.map(String));
    assert.deepEqual(found, [isReverse ? 'a' : 'z']);
    assert.deepEqual(
      requests.map(({ keysMax, entriesMax }) => [keysMax, entriesMax]),
      [undefined, 4, 16, 64, 256, 1_024, 4_096, 4_096, 4_096].map((entries) => [1, entries]),
    );
  }
  const full = new Pages();
  await full.all({ pageSize: 4 });
  assert.ok(full.requests.every(({ entriesMax = 4 }) => entriesMax === 4));
});

test('the next page is asked for while the caller has one, and given up when the caller leaves', async () => {
  const pages = new Pages();
  for await (const { keys } of scanPages({}, pages.fetch)) {
    assert.equal(keys.length, 10);
    assert.equal(pages.requests.length, 2);
    assert.ok(!pages.signals[1]!.aborted);
    break;
  }
  assert.ok(pages.signals[1]!.aborted);
});

test('the signal of the caller ends pages, before and while they are asked for', async () => {
  const pages = new Pages();
  const aborted = { code: 'ABORTED', message: 'scan: the caller aborted it; it had no effect' };
  await assert.rejects(pages.all({ signal: AbortSignal.abort() }), aborted);
  assert.ok(pages.signals[0]!.aborted);
  const caller = new AbortController();
  const others = new Pages();
  const read = async (): Promise<void> => {
    for await (const { keys } of scanPages({ signal: caller.signal }, others.fetch)) {
      assert.equal(keys[0]!.toString(), 'a', 'nor is the next one handed out, though it has come');
      caller.abort();
    }
  };
  await assert.rejects(read(), aborted);
  assert.ok(others.signals[1]!.aborted);
});

test('a page that fails ends the scan with its error, the one fetched ahead only when it is its turn', async () => {
  let fetchCount = 0;
  const pages = new Pages();
  const fetchPage = async (request: PageRequest, signal: AbortSignal): Promise<ScanPage> => {
    if (++fetchCount === 2) throw new Error('no quorum');
    return await pages.fetch(request, signal);
  };
  const found: string[] = [];
  await assert.rejects(async () => {
    for await (const { keys } of scanPages({}, fetchPage)) {
      await new Promise((resolve) => setTimeout(resolve, 5));
      found.push(keys.join(''));
    }
  }, /no quorum/);
  assert.deepEqual(found, ['abcdefghij']);
});

test('limits and page sizes that are none', async () => {
  const wrong = (value: unknown): never => value as never;
  for (const options of [{ limit: -1 }, { limit: 1.5 }, { limit: wrong('1') }, { pageSize: 0 }, { pageSize: 4_097 }]) {
    await assert.rejects(new Pages().all(options), { code: 'INVALID_ARGUMENT' });
  }
});
