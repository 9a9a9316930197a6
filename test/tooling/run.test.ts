/** The test runner against small projects in which something is wrong: it must never succeed by accident. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const RUNNER = fileURLToPath(new URL('../run.js', import.meta.url));
const PASSING = "const { test } = require('node:test'); test('fine', () => {});";

/** Runs the runner in a project with these built test files, each beside a source unless it is said to be gone. */
function runIn(files: Record<string, string>, options: { words?: string[]; withoutSource?: string[] } = {}) {
  const projectDir = mkdtempSync(join(tmpdir(), 'avocado-run-'));
  try {
    for (const [path, text] of Object.entries(files)) {
      write(join(projectDir, 'dist', 'test', `${path}.js`), text);
      if (!options.withoutSource?.includes(path)) write(join(projectDir, 'test', `${path}.ts`), '');
    }
    const env = { ...process.env };
    // Node's runner marks its children with this and refuses to run inside one.
    delete env['NODE_TEST_CONTEXT'];
    const child = spawnSync(process.execPath, [RUNNER, ...(options.words ?? [])], {
      cwd: projectDir,
      env,
      encoding: 'utf8',
    });
    return {
      exitCode: child.status,
      lastLine: child.stdout.trimEnd().split('\n').at(-1),
      stdout: child.stdout,
      stderr: child.stderr,
    };
  } finally {
    rmSync(projectDir, { recursive: true, force: true });
  }
}

function write(path: string, text: string): void {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, text);
}

test('passing tests exit 0 and are counted', () => {
  const result = runIn({ 'a.test': PASSING, 'deep/er/b.test': PASSING });
  assert.equal(result.lastLine, '2 passed, 0 failed');
  assert.equal(result.exitCode, 0);
});

test('a failing test exits 1', () => {
  const result = runIn({ 'a.test': `${PASSING} test('bad', () => { throw new Error('boom'); });` });
  assert.equal(result.lastLine, '1 passed, 1 failed');
  assert.equal(result.exitCode, 1);
  assert.match(result.stdout, /boom/);
});

test('leaves are counted, not the tests and suites around them', () => {
  const result = runIn({
    'a.test': `const { describe, it, test } = require('node:test');
      test('parent', async (t) => { await t.test('one', () => {}); await t.test('two', () => {}); });
      test('parent of a failure', async (t) => { await t.test('three', () => { throw new Error('x'); }); });
      test('parent that fails itself', async (t) => { await t.test('four', () => {}); throw new Error('y'); });
      describe('suite', () => { it('five', () => {}); it.skip('six', () => {}); it.todo('seven', () => { throw new Error('z'); }); });
      describe('empty suite', () => {});
      test('alone', () => {});`,
  });
  assert.equal(result.lastLine, '5 passed, 2 failed, 2 skipped');
  assert.equal(result.exitCode, 1);
});

test('a file that throws while it loads exits 1', () => {
  const result = runIn({ 'a.test': PASSING, 'b.test': "throw new Error('at load');" });
  assert.equal(result.lastLine, '1 passed, 1 failed');
  assert.equal(result.exitCode, 1);
});

test('a file that ends its process early exits 1', () => {
  const result = runIn({ 'a.test': PASSING, 'b.test': `${PASSING} test('exit', () => process.exit(3));` });
  assert.match(result.lastLine ?? '', /, 1 failed$/);
  assert.equal(result.exitCode, 1);
});

test('a file without tests exits 1 and is named', () => {
  const result = runIn({ 'a.test': PASSING, 'hollow.test': '' });
  assert.equal(result.lastLine, '1 passed, 1 failed');
  assert.equal(result.exitCode, 1);
  assert.match(result.stdout, /hollow\.test\.js has no tests/);
});

test('a run in which every test is skipped exits 1', () => {
  const result = runIn({ 'a.test': "require('node:test').test.skip('later', () => {});" });
  assert.equal(result.lastLine, '0 passed, 0 failed, 1 skipped');
  assert.equal(result.exitCode, 1);
});

test('no test files exit 1 with the reason', () => {
  const result = runIn({});
  assert.equal(result.lastLine, '0 passed, 0 failed');
  assert.equal(result.exitCode, 1);
  assert.match(result.stderr, /No test files under dist\/test/);
});

test('words select files by path, and words that select none exit 1', () => {
  const files = { 'store/a.test': PASSING, 'net/b.test': "throw new Error('must not run');" };
  assert.equal(runIn(files, { words: ['store'] }).lastLine, '1 passed, 0 failed');
  assert.equal(runIn(files, { words: ['test/store/', 'nothing'] }).exitCode, 0);
  const none = runIn(files, { words: ['nothing'] });
  assert.equal(none.exitCode, 1);
  assert.match(none.stderr, /"nothing"/);
});

test('a built test whose source is gone does not run', () => {
  const result = runIn(
    { 'a.test': PASSING, 'old.test': "throw new Error('must not run');" },
    { withoutSource: ['old.test'] },
  );
  assert.equal(result.lastLine, '1 passed, 0 failed');
  assert.equal(result.exitCode, 0);
});
