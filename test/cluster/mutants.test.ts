/**
 * Proves that the random runs can fail: each mutant is made in a copy of the built files and must be caught there, by a
 * history that is not linearizable or by whatever else a run checks.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { withMutatedCopy } from '../tooling/mutated-copy.ts';
import { changeMutants } from './change-mutants.ts';
import { mutants } from './mutants.ts';
import type { Script } from './mutants.ts';
import type { Bias } from './random-plan.ts';

/** What run-seeds.js needs, directly or not. */
const PARTS = ['net', 'workers', 'src', 'bench/checker', 'test/cluster', 'test/workers'];
/** What print-trace.js needs. */
const SCRIPT_PARTS = ['net', 'workers', 'src', 'test/protocol', 'test/net', 'test/store', 'test/workers'];
const SCRIPTS = fileURLToPath(new URL('../../../test/protocol/traces/', import.meta.url));
/** Most mutants show within ten. */
const SEED_COUNT_MAX = Number(process.env['MUTANT_SEEDS'] ?? 60);
const TIMEOUT_MS = 60_000;

interface Caught {
  readonly seed: number;
  readonly failure: string;
}

for (const mutant of [...mutants, ...changeMutants]) {
  const { bias, seedCountMax: seedCount = SEED_COUNT_MAX } = mutant;
  if (isScript(bias)) {
    test(`mutant caught by a script: ${mutant.name}`, async () => {
      assert.doesNotMatch(readFileSync(join(SCRIPTS, bias), 'utf8'), mutant.failure);
      const played = await withMutatedCopy(SCRIPT_PARTS, mutant.substitutions, async (distDir) => play(distDir, bias));
      assert.match(played, mutant.failure);
    });
    continue;
  }
  test(`mutant caught: ${mutant.name}`, async (context) => {
    const caught = await withMutatedCopy(PARTS, mutant.substitutions, async (distDir) =>
      runSeeds(distDir, bias, seedCount),
    );
    assert.ok(caught !== undefined, `nothing wrong was seen in ${seedCount} seeds`);
    assert.match(caught.failure, mutant.failure);
    context.diagnostic(`seed ${caught.seed}: ${caught.failure.split('\n')[0]}`);
  });
}

test('the copy without a mutant passes', async () => {
  assert.equal(await withMutatedCopy(PARTS, [], async (distDir) => runSeeds(distDir, 'none', 3)), undefined);
});

function isScript(bias: Bias | Script): bias is Script {
  return bias.endsWith('.trace');
}

function play(distDir: string, script: Script): string {
  const program = join(distDir, 'test/protocol/print-trace.js');
  const { status, stdout, stderr } = spawnSync(process.execPath, [program, join(SCRIPTS, script)], {
    encoding: 'utf8',
    timeout: TIMEOUT_MS,
    env: { ...process.env, NODE_OPTIONS: '' },
  });
  assert.equal(status, 0, stderr);
  return stdout;
}

/** The first seed that fails there. */
function runSeeds(distDir: string, bias: Bias, seedCount: number): Caught | undefined {
  const program = join(distDir, 'test/cluster/run-seeds.js');
  const { status, stdout, stderr } = spawnSync(process.execPath, [program, bias, '1', String(seedCount)], {
    encoding: 'utf8',
    timeout: TIMEOUT_MS,
    env: { ...process.env, NODE_OPTIONS: '' },
  });
  if (status === 0) return undefined;
  assert.equal(status, 1, `it ends by itself: ${stderr}`);
  return JSON.parse(stdout.trim().split('\n').at(-1)!) as Caught;
}
