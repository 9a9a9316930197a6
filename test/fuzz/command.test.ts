/** The command line of `npm run fuzz`. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const PROGRAM = fileURLToPath(new URL('../fuzz.js', import.meta.url));

function fuzz(...args: string[]): { status: number | null; stdout: string; stderr: string } {
  return spawnSync(process.execPath, [PROGRAM, ...args], {
    encoding: 'utf8',
    env: { ...process.env, NODE_OPTIONS: '' },
  });
}

test('should say in one line what is wrong with its arguments', () => {
  for (const args of [['--seed', 'x'], ['--seconds', '0'], ['--only', 'both'], ['--sed', '1'], ['1']]) {
    const { status, stdout, stderr } = fuzz(...args);
    assert.equal(status, 2, args.join(' '));
    assert.equal(stdout, '');
    assert.equal(stderr.trim().split('\n').length, 1, stderr);
  }
});

test('should show examples', () => {
  const { status, stdout } = fuzz('--help');
  assert.equal(status, 0);
  assert.match(stdout, /npm run fuzz -- --seconds 600/);
});
