/**
 * Scripts of single steps, each with what must come of it (traces/*.trace; trace-world.ts has the steps). A line that is
 * indented is what a step gave when the script was written; `UPDATE_TRACES=1 npm test -- traces` writes these lines anew.
 */
import assert from 'node:assert/strict';
import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { TraceWorld } from './trace-world.ts';

/** From dist/test/protocol/. */
const directory = fileURLToPath(new URL('../../../test/protocol/traces/', import.meta.url));
const INDENT = '    ';

for (const file of readdirSync(directory).filter((name) => name.endsWith('.trace'))) {
  test(`step by step: ${file}`, () => {
    const path = join(directory, file);
    const kept = readFileSync(path, 'utf8');
    const world = new TraceWorld();
    const played = kept
      .split('\n')
      .filter((line) => !line.startsWith(INDENT))
      .flatMap((line) =>
        line === '' || line.startsWith('#') ? [line] : [line, ...world.step(line).map((said) => INDENT + said)],
      )
      .join('\n');
    if (process.env['UPDATE_TRACES'] === '1') writeFileSync(path, played);
    else assert.equal(played, kept);
  });
}

test('there are scripts', () => {
  assert.ok(readdirSync(directory).length >= 3);
});
