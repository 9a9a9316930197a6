import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ratiosOf } from '../bench/compare-ratio.ts';
import { compareReportOf } from '../bench/compare-report.ts';
import type { CompareReport } from '../bench/compare-report.ts';
import { headOf } from '../bench/report.ts';
import { resultOf } from '../bench/result.ts';
import type { RunResult } from '../bench/result.ts';
import { workloadOf } from '../bench/workload.ts';
import { SECURITY_MODES } from '../net/mode.ts';
import type { SecurityMode } from '../net/mode.ts';
import { member, ranPart } from './bench/run-parts.ts';
import { figuresPage } from './figures-page.ts';

const OPERATIONS: Readonly<Record<SecurityMode, number>> = {
  secure: 200_400,
  authenticated: 250_600,
  plaintext: 400_000,
};
const MEMBERS = { before: [member(0, 0)], after: [member(0, 200_400)] };

function runOf(workload: 'A' | 'B' | 'C', mode: SecurityMode): RunResult {
  const part = ranPart({
    operations: OPERATIONS[mode],
    windowMs: 1_000,
    members: MEMBERS,
    cpuUs: 601_200,
  });
  return resultOf({ mode, workload: workloadOf(workload), seed: 1 }, [part]);
}

function reportOf(records: number, echoUs: number): CompareReport {
  const settings = {
    records,
    valueBytes: 256,
    valueSizes: [{ valueBytes: 256, weight: 1 }],
    fields: undefined,
    datagramBytes: undefined,
    receiveBufferBytes: undefined,
    outstanding: 256,
    clients: 1,
    processes: 1,
    seed: 1,
    durationMs: 1_000,
    warmupMs: 1_000,
  };
  const machine = { cores: 2, cpuModel: 'Model', nodeVersion: 'v20.0.0', platform: 'linux x64' };
  const head = { ...headOf('avocado bench', settings, [workloadOf('A')], true), machine };
  const rounds = (['A', 'B', 'C'] as const).flatMap((workload) =>
    SECURITY_MODES.map((mode) => ({ round: 0, ...runOf(workload, mode) })),
  );
  const calibration = {
    datagramBytes: 256,
    echoUs: { p50: echoUs, p99: 200 },
    datagramsPerSec: { sent: 200_400, received: 200_000 },
    rawRates: [],
    aeadCallsPerSec: 1_004_000,
  };
  return compareReportOf(head, 3, {}, rounds, ratiosOf(rounds), calibration);
}

test('the page has each figure in its place', () => {
  const [small, large] = [reportOf(1_000, 70), reportOf(100_000, 83)];
  const page = figuresPage({
    date: new Date('2026-11-28T12:00:00Z'),
    commit: 'abc1234',
    rounds: 3,
    durationS: 4,
    mixed: [
      { recordCount: 1_000, report: small },
      { recordCount: 100_000, report: large },
    ],
    updates: [
      { recordCount: 1_000, run: runOf('A', 'secure') },
      { recordCount: 100_000, run: runOf('A', 'authenticated') },
    ],
    latest: runOf('B', 'plaintext'),
    readModifyWrites: runOf('B', 'secure'),
    alone: small,
  });
  const lines = page.split('\n');
  assert.match(
    lines[0]!,
    /^2 cores \(Model\), Node 20\.0\.0, 2026-11-28, commit abc1234: medians of 3 interleaved rounds of 4 s/,
  );
  const row = '200,000 | 251,000 | 400,000 | 0.50 (0.50 to 0.50) | 4.0 | 500 / 990 | 500 / 990 |';
  assert.ok(lines.includes(`| A, 50 % reads | 1,000 | ${row}`), page);
  assert.ok(lines.includes(`| C, 100 % reads | 100,000 | ${row}`));
  assert.ok(lines.includes('| updates only, secure | 200,000 ops/s | 251,000 ops/s |'));
  assert.ok(lines.includes('| D, reads of the latest, secure | | 400,000 ops/s |'));
  assert.ok(lines.includes('| one outstanding: get p50, secure / plaintext | 500 / 500 µs | |'));
  assert.ok(lines.includes('| raw UDP echo p50 | 70 to 83 µs |'));
  assert.ok(lines.includes('| AEAD calls a second, 256 bytes | 1,000,000 |'));
  for (const table of page.split('\n\n').slice(1)) {
    const widths = table
      .trimEnd()
      .split('\n')
      .map((line) => line.split('|').length);
    assert.equal(new Set(widths).size, 1, 'each line of a table has as many cells');
  }
});
