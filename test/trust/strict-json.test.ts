/** What is wrong with a file is told by its place, never by its content: it may hold keys. */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { AvocadoError } from '../../src/errors.ts';
import { newOperatorKeys, readOperatorFile, writeOperatorFile } from '../../src/trust/chain/operator-file.ts';

test('should say what is wrong with a damaged file of keys, and nothing that stands in it', (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'avocado-strict-'));
  t.after(() => rmSync(directory, { recursive: true }));
  const path = join(directory, 'operator.json');
  writeOperatorFile(path, newOperatorKeys());
  const text = readFileSync(path, 'utf8');
  const at = text.indexOf('"secretKey":"') + '"secretKey":"'.length;
  const secret = text.slice(at, at + 128);
  for (const damaged of [
    text.replace(`"${secret}"`, secret.replace(/^./, 'a')),
    text.replace(`"${secret}"`, `x"${secret}"`),
    text.slice(0, at + 60),
    text.slice(0, at + 60) + text.slice(at + 61),
    text.replace('"secretKey"', `"${'s'.repeat(10)}"`),
    text.replace(secret, `${secret.slice(0, 60)}\n${secret.slice(60)}`),
    text.replace(secret, `${secret.slice(0, 60)}"${secret.slice(60)}`),
    JSON.stringify(secret),
  ]) {
    writeFileSync(path, damaged, { mode: 0o600 });
    let message = '';
    try {
      readOperatorFile(path);
    } catch (error) {
      assert(error instanceof AvocadoError);
      message = `${error.stack} ${String(error.cause)}`;
    }
    assert.match(message, /operator\.json is (wrong|not JSON)/);
    for (let i = 0; i + 6 <= secret.length; i++) {
      const part = secret.slice(i, i + 6);
      assert.ok(!message.includes(part), `${part} of the secret is in: ${message}`);
    }
  }
});
