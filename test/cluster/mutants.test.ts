/**
 * Proves that the random runs can fail: each mutant is made in a copy of the built files and must be caught there, by a
 * history that is not linearizable or by whatever else a run checks.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { Mutant } from './mutants.ts';
import { mutants } from './mutants.ts';
import type { Bias } from './random-plan.ts';

const builtDir = fileURLToPath(new URL('../../', import.meta.url));
/** What run-seeds.js needs, directly or not. */
const PARTS = ['net', 'workers', 'src', 'bench/checker', 'test/cluster', 'test/workers'];
/** Most mutants show within ten. */
const SEED_COUNT_MAX = Number(process.env['MUTANT_SEEDS'] ?? 60);
const TIMEOUT_MS = 60_000;

interface Caught {
  readonly seed: number;
  readonly failure: string;
}

for (const mutant of mutants) {
  test(`mutant caught: ${mutant.name}`, (context) => {
    const caught = withCopy((copyDir) => {
      mutate(copyDir, mutant);
      return runSeeds(copyDir, mutant.bias, SEED_COUNT_MAX);
    });
    assert.ok(caught !== undefined, `nothing wrong was seen in ${SEED_COUNT_MAX} seeds`);
    assert.match(caught.failure, mutant.failure);
    context.diagnostic(`seed ${caught.seed}: ${caught.failure.split('\n')[0]}`);
  });
}

test('the copy without a mutant passes', () => {
  assert.equal(
    withCopy((copyDir) => runSeeds(copyDir, 'none', 3)),
    undefined,
  );
});

function withCopy<T>(use: (copyDir: string) => T): T {
  const copyDir = mkdtempSync(join(tmpdir(), 'avocado-mutant-'));
  try {
    for (const part of PARTS) {
      cpSync(join(builtDir, part), join(copyDir, 'dist', part), {
        recursive: true,
        filter: (path) => !/\.(map|d\.ts)$|\.test\.js$/.test(path),
      });
    }
    cpSync(join(builtDir, '../package.json'), join(copyDir, 'package.json'));
    symlinkSync(join(builtDir, '../node_modules'), join(copyDir, 'node_modules'));
    return use(copyDir);
  } finally {
    rmSync(copyDir, { recursive: true, force: true });
  }
}

function mutate(copyDir: string, mutant: Mutant): void {
  for (const { file, find, replace } of mutant.substitutions) {
    const path = join(copyDir, 'dist', file);
    const source = readFileSync(path, 'utf8');
    const count = source.split(find).length - 1;
    assert.equal(count, 1, `${file} has ${JSON.stringify(find)} once: the mutant must follow the code`);
    writeFileSync(
      path,
      source.replace(find, () => replace),
    );
  }
}

/** The first seed that fails there. */
function runSeeds(copyDir: string, bias: Bias, seedCount: number): Caught | undefined {
  const program = join(copyDir, 'dist/test/cluster/run-seeds.js');
  const { status, stdout, stderr } = spawnSync(process.execPath, [program, bias, '1', String(seedCount)], {
    encoding: 'utf8',
    timeout: TIMEOUT_MS,
    env: { ...process.env, NODE_OPTIONS: '' },
  });
  if (status === 0) return undefined;
  assert.equal(status, 1, `it ends by itself: ${stderr}`);
  return JSON.parse(stdout.trim().split('\n').at(-1)!) as Caught;
}
