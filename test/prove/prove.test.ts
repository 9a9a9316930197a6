import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { finished } from '../cli/avocado-process.ts';
import { CHAIN_ATTACKS } from '../../bench/attack/attacks.ts';
import { REASONS } from './admission.ts';
import { PROOFS } from './proofs.ts';

const MAIN = fileURLToPath(new URL('../prove.js', import.meta.url));

for (const [args, expected] of [
  [['--only', 'speed,nonsense'], /^error: --only nonsense names no proof: give some of fresh-clone,crash-kill/],
  [['--fast'], /^error: .*--fast/],
  [['speed'], /^error: .*speed/],
] as const) {
  test(`prove ${args.join(' ')} proves nothing and says what is wrong`, async () => {
    const child = spawn(process.execPath, [MAIN, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
    const { exitCode, stdout, stderr } = await finished(child);
    assert.equal(exitCode, 2);
    assert.match(stderr, expected);
    assert.equal(stderr.trimEnd().split('\n').length, 1);
    assert.equal(stdout, '');
  });
}

test('each proof has a name of its own', () => {
  assert.equal(new Set(PROOFS.map((proof) => proof.name)).size, PROOFS.length);
});

test('each attack on the chain of trust has the reason that its proof asks for', () => {
  assert.deepEqual(CHAIN_ATTACKS.map(({ name }) => name).toSorted(), Object.keys(REASONS).toSorted());
});
