/** What CAS answers for lies on the disk, under its name, before it answers. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { writeSecretFile } from '../../../src/trust/chain/secret-file.ts';

test('should bring the file to the disk before its name, and the name before it returns', {
  skip: process.platform === 'win32',
}, (t) => {
  const directory = fs.mkdtempSync(join(tmpdir(), 'avocado-durable-'));
  t.after(() => fs.rmSync(directory, { recursive: true }));
  const steps: string[] = [];
  const { fsyncSync, renameSync, linkSync } = fs;
  t.mock.method(fs, 'fsyncSync', (file: number) => {
    steps.push(fs.fstatSync(file).isDirectory() ? 'directory' : 'file');
    fsyncSync(file);
  });
  t.mock.method(fs, 'renameSync', (from: string, to: string) => {
    steps.push('name');
    renameSync(from, to);
  });
  t.mock.method(fs, 'linkSync', (from: string, to: string) => {
    steps.push('name');
    linkSync(from, to);
  });
  syncBuiltinESMExports();
  t.after(() => {
    t.mock.restoreAll();
    syncBuiltinESMExports();
  });
  const path = join(directory, 'a');
  for (const how of ['new', 'replace'] as const) {
    steps.length = 0;
    assert.equal(writeSecretFile(path, how, how), true);
    assert.deepEqual(steps, ['file', 'name', 'directory'], how);
    assert.equal(fs.readFileSync(path, 'utf8'), how);
    assert.equal(fs.statSync(path).mode & 0o777, 0o600);
  }
  assert.equal(writeSecretFile(path, 'again', 'new'), false);
  assert.deepEqual(fs.readdirSync(directory), ['a'], 'nothing is left beside it');
});
