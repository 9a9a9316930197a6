/**
 * Scripts of single steps, each with what must come of it (traces/*.trace; trace-world.ts has the steps). A line that is
 * indented is what a step gave when the script was written; `UPDATE_TRACES=1 npm test -- traces` writes these lines anew.
 */
import assert from 'node:assert/strict';
import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { playTrace } from './play-trace.ts';

/** From dist/test/protocol/. */
const directory = fileURLToPath(new URL('../../../test/protocol/traces/', import.meta.url));

for (const file of readdirSync(directory).filter((name) => name.endsWith('.trace'))) {
  test(`step by step: ${file}`, () => {
    const path = join(directory, file);
    const kept = readFileSync(path, 'utf8');
    const played = playTrace(kept);
    if (process.env['UPDATE_TRACES'] === '1') writeFileSync(path, played);
    else assert.equal(played, kept);
  });
}

test('there are scripts', () => {
  assert.ok(readdirSync(directory).length >= 3);
});
