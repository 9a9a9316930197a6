/** What of a run's history and figures counts as broken. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { summarizeHistory } from '../../bench/chaos/history-summary.ts';
import type { HistorySummary } from '../../bench/chaos/history-summary.ts';
import { failuresOf } from '../../bench/chaos/verdict.ts';
import type { Findings } from '../../bench/chaos/verdict.ts';

const directory = mkdtempSync(join(tmpdir(), 'avocado-test-'));
after(() => rmSync(directory, { recursive: true }));

const RECOVERY_MS_MAX = 4_000;
/** Load until 1 s, faults until 5 s, load until 10 s. */
const TIMES = { loadedMs: 1_000, calmMs: 5_000, endMs: 10_000, clientCount: 2, recoveryMsMax: RECOVERY_MS_MAX };

type Entry = readonly [process: number, op: 'get' | 'put', startMs: number, endMs: number | null, outcome?: string];

async function summaryOf(entries: readonly Entry[]): Promise<HistorySummary> {
  const path = join(directory, 'history.jsonl');
  const lines = entries.map(([process, op, startMs, endMs, outcome]) => ({
    process,
    op,
    key: 'k',
    value: null,
    start: startMs * 1e6,
    end: endMs === null ? null : endMs * 1e6,
    outcome: outcome ?? (endMs === null ? 'unknown' : 'ok'),
  }));
  writeFileSync(path, lines.map((line) => `${JSON.stringify(line)}\n`).join(''));
  return await summarizeHistory(path, TIMES);
}

const WELL: readonly Entry[] = [
  [0, 'put', 100, 200],
  [0, 'get', 1_000, 1_500],
  [1, 'put', 1_600, 2_600, 'error'],
  [0, 'put', 2_000, null],
  [1, 'get', 3_900, 4_000],
  [0, 'get', 4_900, 5_100],
  [0, 'get', 5_100, 5_300],
  [1, 'put', 5_200, 5_450],
  [1, 'put', 9_500, 9_600],
];

test('operations are counted by outcome from the load phase’s end on', async () => {
  const { operations } = await summaryOf(WELL);
  assert.deepEqual(operations, { get: { ok: 4, unknown: 0, error: 0 }, put: { ok: 2, unknown: 1, error: 1 } });
});

test('the longest time without a success is found, whoever had it', async () => {
  const { longestGap } = await summaryOf(WELL);
  assert.deepEqual(longestGap, { atMs: 5_451, lengthMs: 4_149 });
  const last = await summaryOf([[0, 'get', 1_000, 1_500]]);
  assert.deepEqual(last.longestGap, { atMs: 1_501, lengthMs: 8_499 }, 'up to the end of the run');
});

test('well again is when each process has succeeded with what began after the last fault', async () => {
  assert.equal((await summaryOf(WELL)).recoveryMs, 450);
  const silent = await summaryOf(WELL.filter(([process, , startMs]) => process === 0 || startMs < 5_000));
  assert.equal(silent.recoveryMs, null);
});

test('what begins when all should be well and fails is counted', async () => {
  const early: Entry = [0, 'get', 8_999, 9_999, 'error'];
  assert.equal((await summaryOf([...WELL, early])).lateFailures, 0);
  const late: Entry[] = [
    [0, 'get', 9_000, 9_999, 'error'],
    [1, 'put', 9_100, null],
  ];
  assert.equal((await summaryOf([...WELL, ...late])).lateFailures, 2);
});

async function failures(changed: Partial<Findings>): Promise<string[]> {
  return failuresOf({
    history: { verdict: 'linearizable', detail: '9 operations' },
    summary: await summaryOf(WELL),
    recoveryMsMax: RECOVERY_MS_MAX,
    errorsByKind: { deadline: 1, 'outcome-unknown': 1 },
    unexpectedExits: [],
    votingRestarted: [],
    ...changed,
  });
}

test('deadlines and unknown outcomes during the faults are no failure', async () => {
  assert.deepEqual(await failures({}), []);
});

test('each broken promise is a failure', async () => {
  const summary = await summaryOf(WELL);
  const broken: [Partial<Findings>, RegExp][] = [
    [{ history: { verdict: 'violation', detail: 'key k' } }, /not linearizable: key k/],
    [{ history: { verdict: 'undecided', detail: 'key k' } }, /undecided: key k/],
    [{ errorsByKind: { 'wrong value': 1 } }, /1 x wrong value/],
    [{ errorsByKind: { 'missing record': 2 } }, /2 x missing record/],
    [{ errorsByKind: { unreadable: 1 } }, /1 x unreadable/],
    [{ unexpectedExits: ['replica 1 was not killed: it ended with code 1'] }, /replica 1 was not killed/],
    [{ votingRestarted: [2] }, /replica 2 was started again empty and did not stay outside/],
    [{ summary: { ...summary, recoveryMs: null } }, /no success after the last fault/],
    [{ summary: { ...summary, recoveryMs: RECOVERY_MS_MAX + 1 } }, /only 4\.00 s after the last fault \(at most 4 s\)/],
    [{ summary: { ...summary, lateFailures: 3 } }, /3 operations that began over 4 s after/],
  ];
  for (const [changed, pattern] of broken) {
    const found = await failures(changed);
    assert.equal(found.length, 1);
    assert.match(found[0]!, pattern);
  }
});
