import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { startEmbeddedCluster } from '../../src/server/embedded-cluster.ts';
import { docCommentExamples, expectedLines, markdownExamples, runExample } from './doc-examples.ts';

/** From dist/test/client/. */
const PROJECT = fileURLToPath(new URL('../../..', import.meta.url));
const cluster = await startEmbeddedCluster({ mode: 'secure' });
after(() => cluster.stop());

const EXAMPLES: readonly [source: string, examples: string[]][] = [
  ['src/client/client.ts', docCommentExamples(readFileSync(join(PROJECT, 'src/client/client.ts'), 'utf8'))],
  ['README.md', markdownExamples(readFileSync(join(PROJECT, 'README.md'), 'utf8'))],
];

for (const [source, examples] of EXAMPLES) {
  test(`${source} has examples`, () => assert(examples.length > 0));
  for (const [i, example] of examples.entries()) {
    test(`example ${i + 1} of ${source} runs, prints what it says, and ends by itself`, async () => {
      const { exitCode, stdout, stderr } = await runExample(example, cluster.directory, PROJECT);
      assert.equal(exitCode, 0, stderr);
      assert.equal(stderr, '');
      const lines = stdout.split('\n');
      for (const [at, expected] of expectedLines(example).entries()) {
        if (expected !== undefined) assert.equal(lines[at], expected);
      }
    });
  }
}
