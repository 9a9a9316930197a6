/** Reading histories: what counts as what, and what is said of lines that are none. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import type { History } from '../../bench/history-reader.ts';
import { readHistory } from '../../bench/history-reader.ts';
import { CommandFailure, EXIT_WRONG_INPUT } from '../../src/cli/failure.ts';

const directory = mkdtempSync(join(tmpdir(), 'avocado-history-reader-test-'));
after(() => rmSync(directory, { recursive: true, force: true }));

const path = join(directory, 'bad.jsonl');
const LINES = {
  put: '{"process":0,"op":"put","key":"k","value":"a","start":1000,"end":2000,"outcome":"ok"}',
  get: '{"process":1,"op":"get","key":"k","value":null,"start":3000,"end":4000,"outcome":"ok"}',
  delete: '{"process":2,"op":"delete","key":"k","value":null,"start":5000,"end":6000,"outcome":"ok"}',
};

async function read(text: string): Promise<History> {
  writeFileSync(path, text);
  return readHistory([path], () => {});
}

function changed(text: string, from: string, to: string): string {
  assert.ok(text.includes(from));
  return text.replace(from, to);
}

test('each outcome of each operation counts as what it promises', async () => {
  const failed = Object.values(LINES).map((line) => changed(line, '"ok"', '"error"'));
  const unknown = Object.values(LINES).map((line) =>
    line.replace(/"end":\d+,"outcome":"ok"/, '"end":null,"outcome":"unknown"'),
  );
  const { operations, failedPuts, counts } = await read([...Object.values(LINES), ...failed, ...unknown].join('\n'));
  assert.deepEqual(
    operations.map(({ kind, value, end }) => [kind, value, end]),
    [
      ['put', 'a', 2_000],
      ['get', undefined, 4_000],
      ['delete', undefined, 6_000],
      ['put', 'a', Infinity],
      ['delete', undefined, Infinity],
    ],
  );
  assert.deepEqual(
    failedPuts.map(({ value }) => value),
    ['a'],
  );
  assert.deepEqual(counts, { operations: 9, processes: 3, unknown: 3, errors: 3 });
});

test('lines are found whole wherever the pieces of a big file end', async () => {
  const lines = Array.from({ length: 30_000 }, (_, i) => changed(LINES.put, '"a"', `"ä-${i}"`));
  const { operations } = await read(`${lines.join('\n\n')}\r\n`);
  assert.equal(operations.length, lines.length);
  assert.ok(operations.every(({ value }, i) => value === `ä-${i}`));
});

test('what is wrong with a line, and what is expected', async () => {
  const ok = LINES.put;
  const wrong: [text: string, expected: RegExp][] = [
    [
      `${ok}\n{"process":0,"op"`,
      /bad\.jsonl line 2: not JSON, or cut off: \{"process":0,"op"; a line looks like \{"process"/,
    ],
    [`${ok}\n\n[1]\n`, /line 3: not a JSON object: \[1\]/],
    [ok.replace('"put"', '"pot"'), /line 1: "op" must be "get", "put" or "delete", not "pot"/],
    [ok.replace('"process":0', '"process":"a"'), /"process" must be a whole number, not "a"/],
    [ok.replace('"key":"k"', '"key":null'), /"key" must be a string, not null/],
    [ok.replace('"value":"a"', '"value":null'), /"value" must be a string in a put, not null/],
    [LINES.get.replace('"value":null', '"value":5'), /"value" must be a string, or null for absent, not 5/],
    [LINES.delete.replace('"value":null', '"value":"a"'), /"value" must be null in a delete, not "a"/],
    [ok.replace('"start":1000,', ''), /"start" must be a number, not missing/],
    [ok.replace('"end":2000', '"end":null'), /"end" must be a number, or null when the outcome is unknown, not null/],
    [ok.replace('"outcome":"ok"', '"outcome":"unknown"'), /"end" must be null when the outcome is unknown, not 2000/],
    [ok.replace('"outcome":"ok"', '"outcome":"fine"'), /"outcome" must be "ok", "unknown" or "error", not "fine"/],
    [ok.replace('"end":2000', '"end":999'), /"end" 999 lies before "start" 1000/],
    ['\n', /bad\.jsonl holds no operations: give a file that avocado bench --history wrote/],
  ];
  for (const [text, expected] of wrong) {
    await assert.rejects(read(text), (error) => {
      assert.ok(error instanceof CommandFailure && error.exitCode === EXIT_WRONG_INPUT);
      assert.match(error.message, expected);
      return true;
    });
  }
});

test('what is wrong with a file', async () => {
  await assert.rejects(
    readHistory([join(directory, 'nowhere')], () => {}),
    /nowhere can't be read \(ENOENT\)/,
  );
  await assert.rejects(
    readHistory([directory], () => {}),
    /can't be read \(EISDIR\)/,
  );
  await assert.rejects(read(`"${'x'.repeat(9 * 1024 * 1024)}"`), /bad\.jsonl line 1 is over 8388608 bytes/);
});
