import assert from 'node:assert/strict';
import { test } from 'node:test';
import { bytesBetween, formatBytes, parseBytes } from '../../src/cli/bytes.ts';
import { durationMs, parseDurationMs } from '../../src/cli/duration.ts';
import { formatTable } from '../../src/cli/table.ts';

test('byte counts are read with decimal and binary units', () => {
  const expectations: [text: string, byteCount: number | undefined][] = [
    ['0', 0],
    ['4096', 4_096],
    ['4096B', 4_096],
    ['64KiB', 65_536],
    ['64 kib', 65_536],
    ['128MiB', 134_217_728],
    ['1.5GiB', 1_610_612_736],
    ['2kB', 2_000],
    ['3MB', 3_000_000],
    ['1GB', 1_000_000_000],
    ['', undefined],
    ['MiB', undefined],
    ['-1', undefined],
    ['1e3', undefined],
    ['0x10', undefined],
    ['12 parsecs', undefined],
    ['1.MiB', undefined],
    ['1 2', undefined],
    ['5 constructor', undefined],
    ['5none', undefined],
  ];
  for (const [text, byteCount] of expectations) assert.equal(parseBytes(text), byteCount, text);
});

test('byte counts outside the bounds name the bounds', () => {
  const parse = bytesBetween(1024, 4096);
  assert.equal(parse('1KiB'), 1024);
  assert.equal(parse('4KiB'), 4096);
  assert.throws(() => parse('1023'), /Give a value from 1 KiB to 4 KiB/);
  assert.throws(() => parse('4097'), /Give a value from 1 KiB to 4 KiB/);
  assert.throws(() => parse('x'), /Give bytes like/);
});

test('byte counts are shown in the unit that fits', () => {
  const expectations: [number, string][] = [
    [0, '0 B'],
    [1023, '1023 B'],
    [1024, '1 KiB'],
    [1536, '1.5 KiB'],
    [134_217_728, '128 MiB'],
    [4 * 2 ** 30, '4 GiB'],
  ];
  for (const [byteCount, text] of expectations) assert.equal(formatBytes(byteCount), text);
});

test('durations need a unit', () => {
  const expectations: [text: string, ms: number | undefined][] = [
    ['250ms', 250],
    ['5s', 5_000],
    ['1.5 s', 1_500],
    ['2m', 120_000],
    ['1h', 3_600_000],
    ['5', undefined],
    ['s', undefined],
    ['-5s', undefined],
    ['5 days', undefined],
    ['', undefined],
  ];
  for (const [text, ms] of expectations) assert.equal(parseDurationMs(text), ms, text);
  assert.equal(durationMs('5s'), 5_000);
  for (const text of ['0s', '0ms', '600h', '5']) assert.throws(() => durationMs(text), /Give a duration like/, text);
});

test('table columns line up and lines have no trailing blanks', () => {
  assert.equal(
    formatTable([
      ['', 'keys', 'note'],
      ['replica 0', '12', ''],
    ]),
    '           keys  note\nreplica 0  12\n',
  );
});
