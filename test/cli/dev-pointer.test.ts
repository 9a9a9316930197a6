import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, beforeEach, test } from 'node:test';
import { claimDevPointer, devPointerPath, readDevPointer, releaseDevPointer } from '../../src/cli/dev-pointer.ts';
import { findCluster } from '../../src/cli/find-cluster.ts';

const runtimeDirectory = mkdtempSync(join(tmpdir(), 'avocado-test-'));
process.env['XDG_RUNTIME_DIR'] = runtimeDirectory;
delete process.env['AVOCADO_CLUSTER'];
after(() => rmSync(runtimeDirectory, { recursive: true }));
const path = devPointerPath();
beforeEach(() => rmSync(path, { force: true }));

function writePointer(content: unknown): void {
  writeFileSync(path, typeof content === 'string' ? content : JSON.stringify(content), { mode: 0o600 });
}

/** The pid of a process that has ended. */
function deadPid(): number {
  return spawnSync(process.execPath, ['--version']).pid;
}

test('a claimed pointer is found, private, and gone when released', () => {
  assert.equal(readDevPointer(), undefined);
  assert.equal(claimDevPointer('/some/cluster'), undefined);
  assert.equal(statSync(path).mode & 0o777, 0o600);
  assert.equal(readDevPointer()?.directory, '/some/cluster');
  assert.equal(readDevPointer()?.pid, process.pid);
  assert.equal(findCluster(), '/some/cluster');
  assert.deepEqual(readdirSync(runtimeDirectory).length, 1, 'nothing else is left of claiming');
  releaseDevPointer();
  assert.equal(existsSync(path), false);
  assert.throws(() => findCluster(), { code: 'CLUSTER_FILES' });
});

test('a second claim gets the first one back and changes nothing', () => {
  writePointer({ pid: process.ppid, directory: '/first' });
  assert.equal(claimDevPointer('/second')?.directory, '/first');
  assert.equal(readDevPointer()?.directory, '/first');
  releaseDevPointer();
  assert.equal(existsSync(path), true, "another process's pointer is not released");
});

test('the pointer of a dead process is ignored, removed and replaced', () => {
  writePointer({ pid: deadPid(), directory: '/dead' });
  assert.equal(readDevPointer(), undefined);
  assert.equal(existsSync(path), false);
  writePointer({ pid: deadPid(), directory: '/dead' });
  assert.equal(claimDevPointer('/alive'), undefined);
  assert.equal(readDevPointer()?.directory, '/alive');
});

test('a pid that was given to another process is not taken for the dev cluster', {
  skip: process.platform !== 'linux',
}, () => {
  assert.equal(claimDevPointer('/mine'), undefined);
  const pointer = JSON.parse(readFileSync(path, 'utf8')) as { startTicks: string };
  assert.match(pointer.startTicks, /^\d+$/);
  writePointer({ ...pointer, startTicks: String(Number(pointer.startTicks) - 1) });
  assert.equal(readDevPointer(), undefined);
  assert.equal(existsSync(path), false);
});

test('a pointer that another user could have written is refused', { skip: process.platform === 'win32' }, () => {
  for (const mode of [0o644, 0o660, 0o602]) {
    writePointer({ pid: process.pid, directory: '/trap' });
    chmodSync(path, mode);
    assert.throws(() => readDevPointer(), { code: 'CLUSTER_FILES', message: /is open to other users: remove it/ });
    assert.throws(() => claimDevPointer('/mine'), { code: 'CLUSTER_FILES' });
    rmSync(path);
  }
  const target = join(runtimeDirectory, 'target');
  writeFileSync(target, JSON.stringify({ pid: process.pid, directory: '/trap' }), { mode: 0o600 });
  symlinkSync(target, path);
  assert.throws(() => readDevPointer(), { code: 'CLUSTER_FILES', message: /can't be read \(ELOOP\)/ });
  rmSync(target);
});

test("another user's pointer is refused", { skip: process.geteuid?.() !== 0 }, () => {
  writePointer({ pid: process.pid, directory: '/trap' });
  spawnSync('chown', ['12345', path]);
  assert.throws(() => readDevPointer(), { code: 'CLUSTER_FILES', message: /belongs to user 12345/ });
});

test('a damaged pointer is named, with what to do', () => {
  for (const content of [
    '',
    '{',
    'null',
    '[]',
    '{"pid":"1","directory":"/x"}',
    '{"pid":0,"directory":"/x"}',
    '{"pid":1}',
  ]) {
    writePointer(content);
    assert.throws(
      () => readDevPointer(),
      { code: 'CLUSTER_FILES', message: /is damaged: remove it, or give --cluster DIR/ },
      content,
    );
  }
});

test('a runtime directory that is missing is named when a pointer must be written', () => {
  process.env['XDG_RUNTIME_DIR'] = join(runtimeDirectory, 'missing');
  try {
    assert.equal(readDevPointer(), undefined);
    assert.throws(() => claimDevPointer('/mine'), {
      code: 'CLUSTER_FILES',
      message: /\(ENOENT\): set XDG_RUNTIME_DIR/,
    });
  } finally {
    process.env['XDG_RUNTIME_DIR'] = runtimeDirectory;
  }
});
