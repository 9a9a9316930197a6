import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { makeSandbox } from '../cli/avocado-process.ts';
import { buildBefore } from './earlier-build.ts';

test('a file that the history does not know leads to no earlier build, and to the reason', async () => {
  const sandbox = makeSandbox();
  try {
    const directory = join(sandbox.temporaryDirectory, 'earlier');
    const build = await buildBefore('src/never-was.ts', directory);
    // A copy without its history says so in git's words.
    assert.match(build.ok ? '' : build.reason, /no commit that brought src\/never-was\.ts|not a git repository/);
    assert.equal(existsSync(directory), false);
  } finally {
    sandbox.remove();
  }
});
