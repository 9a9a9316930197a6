/** Reading histories: what counts as what, and what is said of lines that are none. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import type { History } from '../../bench/history-reader.ts';
import { fieldsOf } from '../../bench/history-fields.ts';
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

const CAS =
  '{"process":0,"op":"cas","key":"k","expected":{"value":"a"},"value":"b","version":"07","start":1,"end":2,"outcome":"ok"}';
const GETSET = '{"process":0,"op":"getset","key":"k","value":"b","found":null,"start":1,"end":2,"outcome":"ok"}';
const INCR = '{"process":0,"op":"incr","key":"k","delta":"-1","value":"41","start":1,"end":2,"outcome":"ok"}';
const DELIF =
  '{"process":0,"op":"delif","key":"k","expected":{"version":"07"},"found":"b","version":"08","start":1,"end":2,"outcome":"mismatch"}';

test('read-modify-writes, and back to lines', async () => {
  const unknown = INCR.replace('"41"', 'null').replace('"end":2,"outcome":"ok"', '"end":null,"outcome":"unknown"');
  const failed = CAS.replace('"outcome":"ok"', '"outcome":"error"');
  const { operations, failedPuts, counts } = await read([CAS, GETSET, INCR, DELIF, unknown, failed].join('\n'));
  assert.deepEqual(counts, { operations: 6, processes: 1, unknown: 1, errors: 1 });
  assert.deepEqual(failedPuts, []);
  assert.deepEqual(
    operations.map(fieldsOf),
    [CAS, GETSET, INCR, DELIF.replace('"key":"k",', '"key":"k","value":null,'), unknown].map(
      (line) => JSON.parse(line) as unknown,
    ),
  );
});

test('what is wrong with a line, and what is expected', async () => {
  const ok = LINES.put;
  const wrong: [text: string, expected: RegExp][] = [
    [
      `${ok}\n{"process":0,"op"`,
      /bad\.jsonl line 2: not JSON, or cut off: \{"process":0,"op"; a line looks like \{"process"/,
    ],
    [`${ok}\n\n[1]\n`, /line 3: not a JSON object: \[1\]/],
    [ok.replace('"put"', '"pot"'), /line 1: "op" must be one of get, put, .*, incr, not "pot"/],
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
    [
      ok.replace('"outcome":"ok"', '"outcome":"mismatch"'),
      /"outcome" must be "ok", "unknown" or "error", not "mismatch"/,
    ],
    [ok.replace('"op":"put"', '"op":"put","version":7'), /"version" must be a string, not 7/],
    [CAS.replace('"outcome":"ok"', '"outcome":"no"'), /"outcome" must be "ok", "mismatch", "unknown" or "error"/],
    [CAS.replace('{"value":"a"}', '{"value":"a","absent":true}'), /"expected" must be \{"value":...\}, .* or/],
    [CAS.replace('{"value":"a"}', '{"absent":false}'), /"expected" must be/],
    [CAS.replace('"expected":{"value":"a"},', ''), /"expected" must be .*, not missing/],
    [CAS.replace('"value":"b"', '"value":null'), /"value" must be a string in a cas, not null/],
    [
      CAS.replace('{"value":"a"}', '{"version":"1"}').replace('"ok"', '"mismatch"').replace(',"version":"07"', ''),
      /"version" must be what was found, in a mismatch of versions, not missing/,
    ],
    [GETSET.replace('"found":null,', ''), /"found" must be what was there, null for nothing, not missing/],
    [GETSET.replace('"found":null', '"found":5'), /"found" must be a string, or null for absent, not 5/],
    [INCR.replace('"-1"', '-1'), /"delta" must be a whole number as text, not -1/],
    [INCR.replace('"value":"41"', '"value":null'), /"value" must be the new number as text, not null/],
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
