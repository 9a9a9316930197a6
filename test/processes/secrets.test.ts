/**
 * No secret of a cluster is where others may read it: not in what is printed, not in arguments or environments of processes,
 * not in files that are open to others; and the keys that CAS made lie in no file in clear.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { scanForSecrets } from './secret-scan.ts';

test('no secret in logs, arguments, environments, open files', { skip: process.platform !== 'linux' }, async () => {
  const { found, fileCount, printedBytes, findsWhatIsThere, left } = await scanForSecrets();
  assert.deepEqual(found, []);
  assert.ok(fileCount >= 7, 'the files of the cluster were looked at');
  assert.ok(printedBytes > 0, 'what was printed was looked at');
  assert.ok(findsWhatIsThere, 'what is looked for would be found');
  assert.deepEqual(left, []);
});
